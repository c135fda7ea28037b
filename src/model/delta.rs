//! What differs, and who changed it.

use super::extent::{Extent, ExtentSet};
use super::id::Digest;
use super::seen::Why;
use super::side::{Pair, Side};
use serde::{Deserialize, Serialize};

/// What was compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Only what either side marked.
    Candidates,
    /// The whole volume.
    Everything,
}

/// How much was compared, of how much: all that may be said of two sides being equal. Units: bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// What was compared.
    pub scope: Scope,
    /// Bytes compared on each side.
    pub compared: u64,
    /// Bytes of replicated data that both sides have.
    pub size: u64,
}

impl Coverage {
    /// Everything was to be compared.
    #[must_use]
    pub fn whole(&self) -> bool {
        self.scope == Scope::Everything
    }

    /// Nothing was: no side marked a block.
    #[must_use]
    pub fn nothing(&self) -> bool {
        !self.whole() && self.compared == 0
    }

    /// This and another volume's together.
    #[must_use]
    pub fn and(&self, other: &Coverage) -> Coverage {
        Coverage {
            scope: if self.whole() && other.whole() { Scope::Everything } else { Scope::Candidates },
            compared: self.compared.saturating_add(other.compared),
            size: self.size.saturating_add(other.size),
        }
    }
}

/// Who marked a block as changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Marked on side A only.
    OnlyA,
    /// Marked on side B only.
    OnlyB,
    /// Marked on both: a conflict if the contents differ.
    Both,
    /// Marked on neither: nothing may differ here, unless there is no common base.
    Unmarked,
}

impl Class {
    /// All classes, in the order of reports.
    pub const ALL: [Class; 4] = [Class::OnlyA, Class::OnlyB, Class::Both, Class::Unmarked];

    /// The class of blocks that only this side marked.
    #[must_use]
    pub fn only(side: Side) -> Class {
        match side {
            Side::A => Class::OnlyA,
            Side::B => Class::OnlyB,
        }
    }
}

/// Why a side may have written what only the other one marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uncertain {
    /// Its activity log was hot there.
    HotLog,
    /// The bitmaps have no common base, so that neither shows all that its side wrote alone.
    NoCommonBase,
}

impl Uncertain {
    /// Which of them it is.
    #[must_use]
    pub fn from_marks(complete: bool) -> Self {
        if complete { Uncertain::HotLog } else { Uncertain::NoCommonBase }
    }
}

/// A range that could not be read, and why. Never treated as equal, zero or empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreadable {
    /// Whose disk.
    pub side: Side,
    /// Where.
    pub extent: Extent,
    /// What the read said.
    pub why: Why,
}

/// The divergence of two replicas. A mark is a claim, the content is the fact: both are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delta {
    /// Bytes of replicated data that both sides have.
    pub size: u64,
    /// What was compared.
    pub scope: Scope,
    /// What each side marked as changed, clipped to `size`: its bitmap, and what its activity log kept hot where
    /// the other side's bitmap does not claim the block.
    pub marked: Pair<ExtentSet>,
    /// Marked by the other side, not by this one's bitmap, and this side may have written it, too: it is hot in its
    /// activity log, or, without a common base, its bitmap does not tell.
    pub doubt: Pair<ExtentSet>,
    /// Whether the marks explain every difference (the lineages have a common base).
    pub marks_complete: bool,
    /// What really differs, in whole 4 KiB blocks (the last may be shorter).
    pub differs: ExtentSet,
    /// Digest of each side's bytes in `differs`, in order (see `digest::content`).
    pub content: Pair<Digest>,
    /// What could not be read, ascending.
    pub unreadable: Vec<Unreadable>,
    /// Bytes compared on each side.
    pub compared: u64,
}

impl Delta {
    /// How much was compared.
    #[must_use]
    pub fn coverage(&self) -> Coverage {
        Coverage { scope: self.scope, compared: self.compared, size: self.size }
    }

    /// Why what one side alone marked may have been written by the other one.
    #[must_use]
    pub fn uncertain(&self) -> Uncertain {
        Uncertain::from_marks(self.marks_complete)
    }

    /// The blocks of a class, by mark, whether or not their contents differ.
    #[must_use]
    pub fn marked_as(&self, class: Class) -> ExtentSet {
        let Pair { a, b } = &self.marked;
        match class {
            Class::OnlyA => a.subtract(b),
            Class::OnlyB => b.subtract(a),
            Class::Both => a.intersect(b),
            Class::Unmarked => ExtentSet::whole(self.size).subtract(&a.union(b)),
        }
    }

    /// The blocks of a class whose contents differ.
    #[must_use]
    pub fn differs_as(&self, class: Class) -> ExtentSet {
        // What differs is little beside what is marked.
        let (Pair { a, b }, differs) = (&self.marked, &self.differs);
        match class {
            Class::OnlyA => differs.intersect(a).subtract(b),
            Class::OnlyB => differs.intersect(b).subtract(a),
            Class::Both => differs.intersect(a).intersect(b),
            Class::Unmarked => differs.subtract(a).subtract(b),
        }
    }

    /// Differing blocks that the other side marked and that this side may have written, too; [`Uncertain`] says why.
    #[must_use]
    pub fn doubtful(&self, side: Side) -> ExtentSet {
        self.doubt[side].intersect(&self.differs)
    }

    /// Marked blocks of a class that turned out equal by content. Empty for [`Class::Unmarked`].
    #[must_use]
    pub fn equal_as(&self, class: Class) -> ExtentSet {
        match class {
            Class::Unmarked => ExtentSet::empty(),
            _ => self.marked_as(class).subtract(&self.differs),
        }
    }
}
