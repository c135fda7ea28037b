//! What two generation histories say about each other.

use super::drbd::{DiskState, GenerationUuid, MetadataFormat, Role};
use super::side::Side;
use serde::{Deserialize, Serialize};

/// One side's lineage as it would stand in DRBD's handshake, facing one peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lineage {
    /// Whose rules apply.
    pub format: MetadataFormat,
    /// Current generation.
    pub current: GenerationUuid,
    /// Bitmap UUID toward this peer.
    pub bitmap: GenerationUuid,
    /// v09: bitmap UUIDs toward other node ids, unset ones left out.
    pub other_bitmaps: Vec<GenerationUuid>,
    /// Past generations, newest first, as stored (unset ones included).
    pub history: Vec<GenerationUuid>,
    /// Disk state that would be negotiated.
    pub disk: DiskState,
    /// Role at the handshake.
    pub role: Role,
    /// Went down as Primary, or would be treated so at the next attach.
    pub crashed_primary: bool,
    /// v09: was Primary when it lost quorum.
    pub primary_lost_quorum: bool,
    /// v09: had quorum, as noted. Also noted when quorum is off, so only a difference between the sides tells; `None` when not known.
    pub quorate: Option<bool>,
    /// Blocks (bits) this side would report as dirty.
    pub dirty_bits: u64,
}

/// What the two lineages say, from A's point of view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Relation {
    /// The same generation.
    InSync,
    /// A is a strict successor of B.
    Ahead,
    /// B is a strict successor of A.
    Behind,
    /// Both went on from a common ancestor: split brain.
    Diverged,
    /// Nothing in common.
    Unrelated,
}

impl Relation {
    /// The relation seen from the other side.
    #[must_use]
    pub fn mirrored(self) -> Relation {
        match self {
            Relation::Ahead => Relation::Behind,
            Relation::Behind => Relation::Ahead,
            same => same,
        }
    }

    /// In words, of the two sides.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Relation::InSync => "of the same generation",
            Relation::Ahead => "a successor (a) and its ancestor (b)",
            Relation::Behind => "an ancestor (a) and its successor (b)",
            Relation::Diverged => "in split brain",
            Relation::Unrelated => "unrelated",
        }
    }

    /// The sides that have data of their own since the two parted.
    #[must_use]
    pub fn wrote_apart(self) -> &'static [Side] {
        match self {
            Relation::InSync => &[],
            Relation::Ahead => &[Side::A],
            Relation::Behind => &[Side::B],
            Relation::Diverged | Relation::Unrelated => &Side::BOTH,
        }
    }
}

/// What DRBD itself would do if the two nodes connected now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "action")]
pub enum Reconnect {
    /// Connect without a resync.
    Connect {
        /// Dirty bits that would stay behind although nothing is resynced (LINBIT/drbd#145).
        leftover_bits: u64,
    },
    /// Resync: `source` overwrites the other side.
    Resync {
        /// Whose data is kept.
        source: Side,
        /// Everything, rather than what the bitmaps mark.
        full: bool,
        /// Why this direction: row, disk states, quorum or policy.
        because: String,
    },
    /// Drop the connection; nothing is changed.
    Disconnect {
        /// The alert, in DRBD's words.
        because: String,
    },
    /// Depends on which end of the connection holds the RESOLVE_CONFLICTS flag: treat as unpredictable.
    Unpredictable {
        /// What it depends on and what the two outcomes are.
        because: String,
    },
}

/// The comparison's result: the row of DRBD's table that matched, and what follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparison {
    /// Whose table: v08 or v09.
    pub format: MetadataFormat,
    /// Rule number of 8.4 (`40`, `90`, ...); `None` in 9, which names its rules.
    pub rule: Option<u16>,
    /// Rule name: DRBD 9's own (`bitmap-both`), or ours for 8.4's number.
    pub name: String,
    /// What DRBD prints for the result, from A's point of view: 8.4 a number (`100`), 9 a strategy name.
    pub result: String,
    /// The relation, from A's point of view.
    pub relation: Relation,
    /// The side whose data the row alone would take, before disk states, options and roles are asked. Equal generations
    /// have one, too, where a resync was cut off or a node crashed; that does not make the other side older.
    #[serde(default)]
    pub source: Option<Side>,
    /// Whether the union of both bitmaps (and hot extents) covers every difference.
    pub common_base: bool,
    /// What DRBD would do on reconnect, with the `net` options it was asked for.
    pub reconnect: Reconnect,
    /// Quirks that apply to this very pair, for the operator: rule 100 matching unset values, disk states overriding, and so on.
    pub quirks: Vec<String>,
}

impl Comparison {
    /// Both sides hold the same generation, nothing is marked, and DRBD would connect them with nothing to do. No
    /// content was compared for that.
    #[must_use]
    pub fn settled(&self) -> bool {
        self.relation == Relation::InSync && self.reconnect == Reconnect::Connect { leftover_bits: 0 }
    }

    /// The same generation, and a node that went down as Primary: both generations of DRBD follow that, whatever the disks say.
    #[must_use]
    pub fn follows_a_crash(&self) -> bool {
        self.relation == Relation::InSync && self.source.is_some() && self.name.contains("crash")
    }

    /// A resync came to its end on one side only, by the rows that DRBD calls `*-missed-finish`.
    #[must_use]
    pub fn missed_finish(&self) -> bool {
        self.name.ends_with("missed-finish")
    }
}
