//! How the demonstration speaks: commentary as shell comments, commands as typed, proofs with a tick.

use crate::cli::exit::{DIVERGED, Failure, Kind};
use crate::cli::screen::{Screen, Tone};
use crate::cli::{Cli, run};
use anyhow::anyhow;
use clap::Parser as _;
use std::cell::RefCell;
use std::io::{self, BufRead as _, Write};
use std::rc::Rc;

/// Longest line of commentary, in characters.
const WIDTH: usize = 80;

/// Where the demonstration is shown.
pub(super) struct Stage<'a> {
    pub(super) screen: &'a mut Screen,
    /// Whether somebody is there to press Enter between chapters.
    pause: bool,
    chapter: u32,
}

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Go,
    Stop,
}

impl<'a> Stage<'a> {
    pub(super) fn new(screen: &'a mut Screen, pause: bool) -> Self {
        Stage { screen, pause, chapter: 0 }
    }

    /// A new chapter, after a pause if one was asked for.
    pub(super) fn chapter(&mut self, title: &str) -> Result<Next, Failure> {
        if self.pause && self.chapter > 0 {
            write!(self.screen.out(), "\n[Enter: go on, q: stop] ")?;
            self.screen.out().flush()?;
            let mut answer = String::new();
            let read = io::stdin().lock().read_line(&mut answer)?;
            if read == 0 || answer.trim().eq_ignore_ascii_case("q") {
                return Ok(Next::Stop);
            }
        }
        self.chapter += 1;
        let head = format!("── {} ── {title} ", self.chapter);
        let rule = "─".repeat(WIDTH.saturating_sub(head.chars().count()));
        let line = self.screen.paint(Tone::Strong, &format!("{head}{rule}"));
        self.screen.line("")?;
        self.screen.line(line)?;
        self.screen.line("")?;
        Ok(Next::Go)
    }

    /// A sentence or two of commentary.
    pub(super) fn say(&mut self, text: &str) -> io::Result<()> {
        for line in wrapped(text) {
            let line = self.screen.paint(Tone::Aside, &format!("# {line}"));
            self.screen.line(line)?;
        }
        Ok(())
    }

    /// A line that stands as it is.
    pub(super) fn show(&mut self, line: &str) -> io::Result<()> {
        self.screen.line(line)
    }

    /// Shows a command line, and does what it says by the very code that a shell would reach. Any exit code but
    /// the `expected` ones is an error of the demonstration.
    pub(super) fn run(&mut self, line: &str, expected: &[u8]) -> Result<(), Failure> {
        self.screen.line("")?;
        let typed = self.screen.paint(Tone::Strong, &format!("$ unsplit {line}"));
        self.screen.line(typed)?;
        let code = perform(line, self.screen)?;
        if !expected.contains(&code) {
            let error = anyhow!(
                "the demonstration failed: `unsplit {line}` ended with exit code {code}, {expected:?} was expected"
            );
            return Err(Failure::new(Kind::Internal, error));
        }
        let meaning = if code == DIVERGED { "divergence found" } else { "done" };
        let ended = self.screen.paint(Tone::Faint, &format!("[exit code {code}: {meaning}]"));
        self.screen.line(ended)?;
        self.screen.line("")?;
        Ok(())
    }

    /// A fact that was just checked.
    ///
    /// # Errors
    /// It is not so: exit code 70.
    pub(super) fn proven(&mut self, holds: bool, fact: &str) -> Result<(), Failure> {
        if !holds {
            return Err(Failure::new(
                Kind::Internal,
                anyhow!("the demonstration failed; this does not hold: {fact}"),
            ));
        }
        let tick = self.screen.paint(Tone::Good, "✓");
        let mut lines = wrapped(fact).into_iter();
        self.screen.line(format!("{tick} {}", lines.next().unwrap_or_default()))?;
        for line in lines {
            self.screen.line(format!("  {line}"))?;
        }
        Ok(())
    }
}

/// Runs a command line without showing it; gives its exit code and what it would have shown.
pub(super) fn overheard(line: &str) -> Result<(u8, Vec<u8>), Failure> {
    let buffer = Rc::new(RefCell::new(Vec::new()));
    let code = perform(line, &mut Screen::plain(Box::new(Ear(Rc::clone(&buffer)))))?;
    Ok((code, buffer.take()))
}

fn perform(line: &str, screen: &mut Screen) -> Result<u8, Failure> {
    let words = std::iter::once("unsplit").chain(line.split_whitespace());
    let failed = |error: anyhow::Error| {
        Failure::new(Kind::Internal, error.context(format!("the demonstration failed at `unsplit {line}`")))
    };
    let cli = Cli::try_parse_from(words).map_err(|error| failed(error.into()))?;
    run(&cli, screen).map_err(|failure| failed(failure.error))
}

/// A writer that remembers.
struct Ear(Rc<RefCell<Vec<u8>>>);

impl Write for Ear {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Lines of at most [`WIDTH`] characters, longer only where one word is.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        if let Some(line) = lines.last_mut() {
            if line.is_empty() || line.chars().count() + 1 + word.chars().count() <= WIDTH - 2 {
                if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(word);
            } else {
                lines.push(word.to_owned());
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_wrapped_at_words() {
        let text = "word ".repeat(60);
        let lines = wrapped(&text);
        assert!(lines.len() > 1 && lines.iter().all(|line| line.len() <= WIDTH - 2));
        assert_eq!(lines.join(" "), text.trim_end());
        let long = "x".repeat(200);
        assert_eq!(wrapped(&format!("a {long} b")), ["a", &long, "b"]);
    }

    #[test]
    fn what_does_not_hold_ends_the_demonstration() {
        let mut screen = Screen::plain(Box::new(io::sink()));
        let mut stage = Stage::new(&mut screen, false);
        assert!(stage.proven(true, "fine").is_ok());
        assert_eq!(stage.proven(false, "not so").unwrap_err().kind, crate::resolver::failure::Kind::Internal);
        let folder = tempfile::tempdir().unwrap();
        let line = format!("status --state-dir {}/none", folder.path().display());
        let (code, shown) = overheard(&line).unwrap();
        assert!(code == 0 && shown.starts_with(b"No incidents"));
        assert!(stage.run(&line, &[0]).is_ok());
        assert_eq!(stage.run(&line, &[1]).unwrap_err().kind, crate::resolver::failure::Kind::Internal);
        assert_eq!(
            stage.run("no-such-command", &[0]).unwrap_err().kind,
            crate::resolver::failure::Kind::Internal
        );
    }
}
