//! What a decision looks at.

use crate::model::delta::{Class, Delta};
use crate::model::id::NodeName;
use crate::model::lineage::{Comparison, Lineage};
use crate::model::seen::Stamp;
use crate::model::side::{Pair, Side};
use serde::{Deserialize, Serialize};

/// One volume's incident, as far as a decision needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// What the sides are called.
    pub names: Pair<NodeName>,
    /// Their lineages.
    pub lineages: Pair<Lineage>,
    /// What the lineages say of each other.
    pub comparison: Comparison,
    /// What differs by content.
    pub delta: DeltaSummary,
    /// What else is known.
    pub clues: Clues,
    /// The operator's `--keep`: overrides the policy's choice, but no guard.
    pub keep: Option<Side>,
}

/// A [`Delta`] in numbers. Units: bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct DeltaSummary {
    /// Differs, marked by A only.
    pub only_a: u64,
    /// Differs, marked by B only.
    pub only_b: u64,
    /// Differs, marked by both.
    pub both: u64,
    /// Differs, marked by neither.
    pub unmarked: u64,
    /// Differs, marked by B's bitmap, but hot in A's activity log: A may have written it, too. Part of `only-b`.
    pub doubt_a: u64,
    /// The same of B; part of `only-a`.
    pub doubt_b: u64,
    /// The marks explain every difference: the lineages have a common base.
    pub marks_complete: bool,
    /// Could not be read on A, of what had to be compared.
    pub unreadable_a: u64,
    /// Could not be read on B, of what had to be compared.
    pub unreadable_b: u64,
    /// Compared on each side.
    pub compared: u64,
    /// What there is to compare; 0 where nobody said.
    pub size: u64,
}

impl DeltaSummary {
    /// A delta's numbers.
    #[must_use]
    pub fn of(delta: &Delta) -> Self {
        let bytes = |class| delta.differs_as(class).bytes();
        let unreadable = |side| {
            delta.unreadable.iter().filter(|range| range.side == side).map(|range| range.extent.len).sum()
        };
        DeltaSummary {
            only_a: bytes(Class::OnlyA),
            only_b: bytes(Class::OnlyB),
            both: bytes(Class::Both),
            unmarked: bytes(Class::Unmarked),
            doubt_a: delta.doubtful(Side::A).bytes(),
            doubt_b: delta.doubtful(Side::B).bytes(),
            marks_complete: delta.marks_complete,
            unreadable_a: unreadable(Side::A),
            unreadable_b: unreadable(Side::B),
            compared: delta.compared,
            size: delta.size,
        }
    }

    /// Bytes that differ.
    #[must_use]
    pub fn differs(&self) -> u64 {
        [self.only_a, self.only_b, self.both, self.unmarked].into_iter().fold(0, u64::saturating_add)
    }

    /// Bytes that differ and that this side alone marked.
    #[must_use]
    pub fn only(&self, side: Side) -> u64 {
        match side {
            Side::A => self.only_a,
            Side::B => self.only_b,
        }
    }

    /// Bytes that could not be read on this side.
    #[must_use]
    pub fn unreadable(&self, side: Side) -> u64 {
        match side {
            Side::A => self.unreadable_a,
            Side::B => self.unreadable_b,
        }
    }

    /// Bytes of `victim` that may hold something the survivor never had: what it marked, what its hot activity log leaves in
    /// doubt, and, because nobody knows who wrote them, what nobody marked. Without complete marks, everything that differs.
    #[must_use]
    pub fn discarded(&self, victim: Side) -> u64 {
        let doubt = match victim {
            Side::A => self.doubt_a,
            Side::B => self.doubt_b,
        };
        if self.marks_complete {
            self.differs().saturating_sub(self.only(victim.other())).saturating_add(doubt).min(self.differs())
        } else {
            self.differs()
        }
    }

    /// The same numbers seen from the other side.
    #[must_use]
    pub fn mirrored(&self) -> Self {
        DeltaSummary {
            only_a: self.only_b,
            only_b: self.only_a,
            doubt_a: self.doubt_b,
            doubt_b: self.doubt_a,
            unreadable_a: self.unreadable_b,
            unreadable_b: self.unreadable_a,
            ..*self
        }
    }
}

/// Evidence from outside the storage. `None` means that nothing is known, never "no".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Clues {
    /// When each side last wrote.
    pub last_write: Option<Pair<Stamp>>,
    /// Whether a guest runs on the volume, per side.
    pub running_guest: Option<Pair<bool>>,
    /// Whether the side had quorum during the split.
    pub quorate: Option<Pair<bool>>,
}

impl Clues {
    /// The same evidence seen from the other side.
    #[must_use]
    pub fn mirrored(&self) -> Self {
        Clues {
            last_write: self.last_write.map(Pair::swapped),
            running_guest: self.running_guest.map(Pair::swapped),
            quorate: self.quorate.map(Pair::swapped),
        }
    }
}
