//! `unsplit man`.

use super::Cli;
use super::exit::{FINE, Failure, Kind};
use super::screen::Screen;
use clap::{Args, CommandFactory};
use std::path::{Path, PathBuf};

/// Write manual pages, one for each command.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  unsplit man /usr/local/share/man/man1\n  unsplit man pages && man -l pages/unsplit-diff.1"
)]
pub struct ManArgs {
    /// Folder for the pages; created if it is not there
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
}

pub(super) fn run(cli: &Cli, args: &ManArgs, screen: &mut Screen) -> Result<u8, Failure> {
    let failed = |what: &'static str, path: &Path| {
        let text = format!("cannot {what} {}", path.display());
        move |error: std::io::Error| Failure::new(Kind::Internal, anyhow::Error::new(error).context(text))
    };
    std::fs::create_dir_all(&args.dir).map_err(failed("create the folder", &args.dir))?;
    let mut root = Cli::command().disable_help_subcommand(true);
    // Gives every command its full name, which becomes the page's.
    root.build();
    let mut commands = vec![root];
    let mut written = Vec::new();
    while let Some(command) = commands.pop() {
        commands.extend(command.get_subcommands().filter(|sub| !sub.is_hide_set()).cloned());
        let page = clap_mangen::Man::new(command);
        let path = args.dir.join(page.get_filename());
        let mut text = Vec::new();
        page.render(&mut text)?;
        std::fs::write(&path, text).map_err(failed("write", &path))?;
        written.push(path.display().to_string());
    }
    written.sort();
    if cli.json {
        screen.json(&serde_json::json!({"schema": "unsplit.man", "version": 1, "pages": written}))?;
    } else {
        screen.line(format!("{} pages written to {}", written.len(), args.dir.display()))?;
    }
    Ok(FINE)
}
