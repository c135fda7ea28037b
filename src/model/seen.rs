//! What was seen, when, and how an act ended. Silence is not a value: unreachable, unreadable and empty
//! are three different things.

use serde::{Deserialize, Serialize};

/// A moment: wall clock, in milliseconds since 1970-01-01 UTC. For people and records, never for safety.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Stamp(pub i64);

/// Why something could not be seen or done, in words that say what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Why(pub String);

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl<T: Into<String>> From<T> for Why {
    fn from(text: T) -> Self {
        Why(text.into())
    }
}

/// How an act ended. A timeout is not an answer: `Unknown` means look again, never assume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "end", content = "why")]
#[must_use]
pub enum End {
    /// Done now, and durable.
    Done,
    /// Nothing was left to do.
    AlreadySo,
    /// Not done, and nothing was changed.
    NotDone(Why),
    /// It may or may not have been done, wholly or in part.
    Unknown(Why),
}

/// An error and its causes in one line, for records that outlive the process.
pub fn in_words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        words.push_str(": ");
        words.push_str(&next.to_string());
        cause = next.source();
    }
    words
}
