//! What the agent said was wrong, as errors of ours.

use super::session::Lost;
use crate::format::wire::believe::Unbelievable;
use crate::format::wire::control::{Act, Fault};
use crate::model::extent::Extent;
use crate::ports::disk::DiskFault;
use crate::ports::replica::Unseen;
use std::io;

/// Causes that are told of, and characters of each.
const DEEPEST: usize = 16;
const LONGEST: usize = 4000;

/// An error of the other side, with its causes.
#[derive(Debug)]
pub struct Told {
    words: String,
    cause: Option<Box<Told>>,
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.words)
    }
}

impl std::error::Error for Told {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

impl Told {
    /// From words, outermost first.
    #[must_use]
    pub fn new(causes: Vec<String>) -> Told {
        let mut inner = None;
        let shown = |words: String| -> String {
            words.chars().take(LONGEST).map(|c| if c.is_control() { '?' } else { c }).collect()
        };
        for words in causes.into_iter().take(DEEPEST).map(shown).rev() {
            inner = Some(Box::new(Told { words, cause: inner }));
        }
        inner
            .map_or_else(|| Told { words: "the peer does not say why".to_owned(), cause: None }, |told| *told)
    }
}

/// Why something asked of the peer was not done.
#[derive(Debug)]
pub enum Trouble {
    /// The connection is lost.
    Lost(Lost),
    /// The peer said so.
    Fault(Fault),
    /// It answered something else than what was asked.
    Nonsense,
    /// It answered what cannot be.
    Unbelievable(Unbelievable),
}

impl From<Unbelievable> for Trouble {
    fn from(why: Unbelievable) -> Self {
        Trouble::Unbelievable(why)
    }
}

impl From<Lost> for Trouble {
    fn from(lost: Lost) -> Self {
        Trouble::Lost(lost)
    }
}

impl Trouble {
    /// In words, outermost first.
    #[must_use]
    pub fn causes(self) -> Vec<String> {
        match self {
            Trouble::Lost(lost) => vec![lost.to_string()],
            Trouble::Nonsense => {
                vec!["the peer answered something else than what was asked: a defect of unsplit".to_owned()]
            }
            Trouble::Unbelievable(why) => vec![why.to_string()],
            Trouble::Fault(Fault::Unseen { causes, .. }) => causes,
            Trouble::Fault(Fault::Forbidden { what, .. }) => vec![format!("the peer does not allow {what}")],
            Trouble::Fault(Fault::Refused(why)) => vec![format!("the peer refused: {why}")],
            Trouble::Fault(Fault::Io { act, words, .. }) => vec![format!("{} failed: {words}", act.word())],
            Trouble::Fault(Fault::Short { got }) => {
                vec![format!("only {got} bytes are there: the disk became shorter while in use")]
            }
            Trouble::Fault(Fault::Outside { size }) => {
                vec![format!("that is outside the disk's {size} bytes")]
            }
            Trouble::Fault(Fault::Changed) => {
                vec!["what stands there is not what was checked before: it was left as it is".to_owned()]
            }
        }
    }

    /// As a replica's error.
    #[must_use]
    pub fn unseen(self) -> Unseen {
        Unseen(Box::new(Told::new(self.causes())))
    }

    /// As a disk's error.
    #[must_use]
    pub fn disk(self, disk: &str, act: Act, extent: Extent) -> DiskFault {
        let disk = disk.to_owned();
        let io = |act: Act, source: io::Error| DiskFault::Io {
            disk: disk.clone(),
            act: act.word(),
            extent,
            source,
        };
        match self {
            Trouble::Fault(Fault::Io { act, words, errno }) => {
                io(act, errno.map_or_else(|| io::Error::other(words), io::Error::from_raw_os_error))
            }
            Trouble::Fault(Fault::Short { got }) => DiskFault::Short { disk, extent, got },
            Trouble::Fault(Fault::Outside { size }) => DiskFault::Outside { disk, extent, size },
            Trouble::Fault(Fault::Changed) => DiskFault::Changed { disk, extent },
            other => io(act, io::Error::other(other.causes().join(": "))),
        }
    }
}
