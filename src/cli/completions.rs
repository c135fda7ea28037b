//! `unsplit completions`.

use super::Cli;
use super::exit::{FINE, Failure};
use super::screen::Screen;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

/// Print a completion script for a shell.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  unsplit completions bash > /etc/bash_completion.d/unsplit\n  unsplit completions zsh > /usr/local/share/zsh/site-functions/_unsplit\n  unsplit completions fish > ~/.config/fish/completions/unsplit.fish"
)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

pub(super) fn run(args: &CompletionsArgs, screen: &mut Screen) -> Result<u8, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "unsplit", &mut script);
    screen.out().write_all(&script)?;
    Ok(FINE)
}
