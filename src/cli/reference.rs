//! The reference of all commands, docs/cli-reference.md: made of the same definitions as `--help`, so that it cannot
//! say anything else.

use super::Cli;
use clap::{Command, CommandFactory};
use std::fmt::Write as _;

/// Columns of a rendered help text.
const WIDTH: usize = 100;

/// A command, and the words that call it.
pub struct Entry {
    /// `unsplit salvage show`.
    pub words: String,
    /// `--help` as plain text.
    pub help: String,
}

/// Every command that is not hidden, parents before their children, in the order of `--help`.
#[must_use]
pub fn commands() -> Vec<Entry> {
    let mut root = Cli::command().term_width(WIDTH);
    root.build();
    let mut all = Vec::new();
    walk(&root, &mut all);
    all
}

fn walk(command: &Command, all: &mut Vec<Entry>) {
    let words = command.get_bin_name().unwrap_or(command.get_name()).to_owned();
    let help = command.clone().term_width(WIDTH).render_long_help().to_string();
    all.push(Entry { words, help: trimmed(&help) });
    // clap's own `help` says what `--help` says.
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
        walk(sub, all);
    }
}

/// Without blanks at the ends of lines, which editors and version control trip over.
fn trimmed(help: &str) -> String {
    let lines: Vec<&str> = help.trim_end().lines().map(str::trim_end).collect();
    lines.join("\n") + "\n"
}

/// docs/cli-reference.md.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::from(
        "# Command line reference\n\nEvery command with every option, as `--help` prints it. Made from the same definitions: \
         `UNSPLIT_UPDATE=1 cargo test --test cli` writes this file, and the test fails when it is out of date.\n",
    );
    for Entry { words, help } in commands() {
        let _ = write!(text, "\n## {words}\n\n```text\n{help}```\n");
    }
    text
}
