//! Comparing two disks that only a link connects: two agents find what differs in a few messages, whose bytes follow the
//! differences and not the volume. docs/link.md works out the protocol, its cost and its error probability.
//!
//! Each side reads and hashes what is asked about once, in parallel (`pass`); everything kept of it is a sum of
//! 128-bit values of 16 KiB leaves, keyed for this session (`value`), in several groupings: all leaves, chunks
//! of 1 MiB or more, a small estimator (`estimate`) and a sketch that gives the places of what differs
//! (`sketch`). The differing leaves are read again and compared block by block with short hashes (`examine`). At
//! the end sums of 128 bits over everything that was taken for equal must agree on both sides, so the short hashes on the way
//! cost retries at worst, never a wrong result.

mod answer;
mod ask;
mod estimate;
mod examine;
mod grid;
mod order;
mod pass;
mod sketch;
mod talk;
mod value;
mod verdict;

pub use answer::{Answered, answer};
pub use ask::{LinkCompared, Question, ask};
pub use grid::LEAF;
pub use talk::{FRAME, Wire};

/// What `bench/link.rs` measures piece by piece. Not for other uses.
#[doc(hidden)]
pub mod bench {
    pub use super::sketch::{FULL, Sketch};
    pub use super::value::Key;
}

use super::compare::threads;
use crate::format::wire::reconcile::WireError;
use crate::model::side::Side;
use crate::ports::channel::ChannelFault;
use crate::ports::disk::DiskFault;
use std::io;
use std::time::Duration;

/// How to compare. The result does not depend on any of it.
#[derive(Debug, Clone, Copy)]
pub struct LinkOptions {
    /// Threads that hash; at least 1. Requests in flight are apart from this.
    pub threads: usize,
    /// Bytes per request, rounded up to whole leaves of 16 KiB, at most 16 MiB.
    pub piece: u64,
    /// Up to how many differing leaves to look for their places by a sketch, and beyond by the sums of chunks; at most about
    /// 240,000. Asked of the answering side.
    pub sketch_up_to: u64,
    /// How long to be silent at most while working: then the peer gets a sign of life.
    pub pulse: Duration,
}

impl Default for LinkOptions {
    fn default() -> Self {
        LinkOptions {
            threads: threads(),
            piece: 1 << 20,
            sketch_up_to: u64::MAX,
            pulse: Duration::from_secs(5),
        }
    }
}

impl LinkOptions {
    fn piece(&self) -> u64 {
        self.piece.clamp(1, 16 << 20).next_multiple_of(LEAF)
    }

    fn threads(&self) -> usize {
        self.threads.clamp(1, 256)
    }
}

/// Why a comparison across a link gave no result. Nothing was changed on either side.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// More was asked for than a disk has.
    #[error("side {side}, {disk}, has {has} bytes, fewer than the {end} to compare")]
    Outside {
        /// Whose disk.
        side: Side,
        /// The disk's name.
        disk: String,
        /// The disk's size in bytes.
        has: u64,
        /// First byte behind what was to be compared.
        end: u64,
    },
    /// The volume is larger than this protocol is made for.
    #[error("a volume of {size} bytes is larger than the 256 TiB that can be compared across a link")]
    TooLarge {
        /// Its size in bytes.
        size: u64,
    },
    /// The link failed, or the peer behind it.
    #[error("the comparison was cut off")]
    Channel(#[from] ChannelFault),
    /// What arrived is no message of this protocol.
    #[error("the peer is no unsplit of this version, or the link damages what it carries")]
    Wire(#[from] WireError),
    /// A message that is well formed but has no place here.
    #[error("the peer broke the rules of the comparison: {what}")]
    Rules {
        /// Which one.
        what: &'static str,
    },
    /// The peer gave up.
    #[error("the peer gave up: {why}")]
    Peer {
        /// What it said.
        why: String,
    },
    /// What could be read once could not be read again.
    #[error("what differs could not be read a second time")]
    Again(#[source] DiskFault),
    /// A disk was written to.
    #[error("a disk changed while it was compared; stop whatever writes to side {side}")]
    Moving {
        /// Which one, if only that is to blame: otherwise the side that noticed.
        side: Side,
    },
    /// The scope, or what came of it, has more runs than can be held.
    #[error(
        "there are more than {most} separate ranges to keep; compare parts of the volume one after the other"
    )]
    TooScattered {
        /// Most runs.
        most: usize,
    },
    /// The system lets us start no more threads.
    #[error("no thread could be started")]
    NoThread(#[source] io::Error),
    /// The system gave no random numbers.
    #[error("the system gave no random numbers for the session's key")]
    Random(#[source] io::Error),
}

impl LinkError {
    fn rules(what: &'static str) -> Self {
        LinkError::Rules { what }
    }
}
