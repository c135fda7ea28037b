//! Exit codes, and errors that carry one.

use super::screen::visible;
pub use crate::resolver::failure::{Failure, Kind};
use std::fmt::Write as _;

/// The sides agree, or the command did what it was asked.
pub const FINE: u8 = 0;
/// Divergence was found.
pub const DIVERGED: u8 = 1;
/// The command line, or a policy file, is wrong.
pub const USAGE: u8 = 2;
/// The policy holds or refuses: a person must decide.
pub const HELD: u8 = 3;
/// Evidence is missing, damaged or stale.
pub const EVIDENCE: u8 = 4;
/// Somebody else may write: fencing or quiescence is not proven.
pub const NOT_FENCED: u8 = 5;
/// The incident is parked and waits for a person.
pub const PARKED: u8 = 6;
/// The daemon is not reachable.
pub const NO_DAEMON: u8 = 7;
/// Something went wrong inside unsplit or its state directory.
pub const INTERNAL: u8 = 70;

/// The end of `--help`: examples and the exit codes.
pub const HELP: &str = "\
Examples:
  unsplit status node1.img node2.img            how do the two sides relate, what would DRBD do
  unsplit plan node1.img node2.img --keep a     what would happen, be lost, be kept
  unsplit COMMAND --help                        options and examples of a command

Exit codes:
  0   the sides agree, or the command did what it was asked
  1   divergence found
  2   the command line or a policy file is wrong
  3   the policy holds or refuses: a person must decide
  4   evidence is missing, damaged or stale; nothing was changed
  5   somebody else may be writing, or fencing is not proven; nothing was changed
  6   open or parked: stopped in the middle, nothing is lost, a person must look
  7   the daemon is not reachable
  70  something went wrong inside unsplit or its state directory";

/// The exit code of a kind of failure.
#[must_use]
pub fn code(kind: Kind) -> u8 {
    match kind {
        Kind::Usage => USAGE,
        Kind::Held => HELD,
        Kind::Evidence => EVIDENCE,
        Kind::NotFenced => NOT_FENCED,
        Kind::Parked => PARKED,
        Kind::Internal => INTERNAL,
    }
}

/// How a failure is shown.
impl Failure {
    /// The exit code.
    #[must_use]
    pub fn code(&self) -> u8 {
        code(self.kind)
    }

    /// The same, where each line of the hint that is a command of ours names the state directory, too:
    /// ` --state-dir DIR` or nothing.
    #[must_use]
    pub fn in_state_dir(mut self, words: &str) -> Self {
        let completed = |line: &str| match line.starts_with("unsplit ") && !line.contains("--state-dir") {
            true => format!("{line}{words}"),
            false => line.to_owned(),
        };
        self.hint = self.hint.map(|hint| hint.lines().map(completed).collect::<Vec<_>>().join("\n"));
        self
    }

    /// The failure as `--json` shows it.
    #[must_use]
    pub fn document(&self) -> serde_json::Value {
        let causes: Vec<String> = self.error.chain().map(ToString::to_string).collect();
        serde_json::json!({
            "schema": "unsplit.error", "version": 1, "exit_code": self.code(), "causes": causes, "next": self.hint,
        })
    }

    /// The error and its causes, one a line, then the hint.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("error: {}", self.error);
        for cause in self.error.chain().skip(1) {
            let _ = write!(text, "\n  because: {cause}");
        }
        if let Some(hint) = &self.hint {
            let _ = write!(text, "\n  next: {}", hint.replace('\n', "\n        "));
        }
        visible(&text)
    }
}

impl From<std::io::Error> for Failure {
    /// Printing failed.
    fn from(error: std::io::Error) -> Self {
        Failure::internal(anyhow::Error::new(error).context("the output could not be written"))
    }
}
