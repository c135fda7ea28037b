//! Plans for resources that run: DRBD itself overwrites the victim, so a plan says in which order both nodes are told what,
//! what is kept before, and what must be true at each point.

use super::drbd::GenerationUuid;
use super::drbd_live::Generation;
use super::evidence::Source;
use super::extent::ExtentSet;
use super::id::{Digest, NodeName, ResourceName};
use super::node::{AfterSb, Toward};
use super::plan::{Purpose, UnitLoss};
use super::side::{Pair, Side};
use super::stage::{Stage, StepName};
use super::verdict::Trace;
use serde::{Deserialize, Serialize};

/// The generation of one side of a volume, as its superblock says. Bit 0 is not compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generations {
    /// Current.
    pub current: GenerationUuid,
    /// Toward the other side.
    pub bitmap: GenerationUuid,
    /// Past ones, newest first.
    pub history: Vec<GenerationUuid>,
}

impl Generations {
    /// Whether both say the same.
    #[must_use]
    pub fn same(&self, other: &Generations) -> bool {
        let set = |list: &[GenerationUuid]| -> Vec<GenerationUuid> {
            list.iter().map(|uuid| uuid.masked()).filter(|uuid| *uuid != GenerationUuid::UNSET).collect()
        };
        self.current.same(other.current)
            && self.bitmap.same(other.bitmap)
            && set(&self.history) == set(&other.history)
    }
}

/// How DRBD comes to overwrite all that differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// The bitmaps start from the same generation: what they mark is all that can differ.
    Bitmaps,
    /// DRBD 9 sees that they do not, and syncs everything.
    Everything,
    /// 8.4 would believe the bitmaps although they do not: the victim is invalidated first, so that everything is synced.
    Invalidate,
}

/// One volume of the connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveVolume {
    /// Its number.
    pub volume: u32,
    /// Its minor number on each node.
    pub minors: Pair<u32>,
    /// Its backing device on each node.
    pub sources: Pair<Source>,
    /// Bytes of replicated data.
    pub size: u64,
    /// Both generations.
    pub generations: Pair<Generations>,
    /// What is synced.
    pub reach: Reach,
    /// What the victim may have written alone: its bitmap, and the hot extents of a Primary. What its bitmap shows when the plan
    /// runs lies within. In an undo: what the healing took for equal, which stays as it is.
    pub victim_marks: ExtentSet,
    /// The same of the survivor when the plan was drawn; it may have written more since. `None` in an undo, and in plans of
    /// unsplit up to 0.1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub survivor_marks: Option<ExtentSet>,
    /// What both devices told of their writes when the plan was drawn. `None` as above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown: Option<Pair<Untouched>>,
    /// What differed.
    pub overwrite: ExtentSet,
    /// Digest of the victim's bytes in `victim_marks` and `overwrite` together; in an undo of both nodes' in `overwrite`.
    pub content: Digest,
    /// What the victim loses, per unit.
    pub losses: Vec<UnitLoss>,
    /// Bytes counted as the survivor's only that the victim may have written, too.
    pub doubtful: u64,
}

impl LiveVolume {
    /// What of the victim must be as it was: all that it wrote, and all that differs.
    #[must_use]
    pub fn guarded(&self) -> ExtentSet {
        self.victim_marks.union(&self.overwrite)
    }
}

/// One step. Each is idempotent: it looks first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "step")]
pub enum LiveStep {
    /// The victim's connection is ended, so that nothing begins before its time.
    Isolate,
    /// The victim leaves the Primary role; whoever uses its devices is named and stops it.
    Demote,
    /// Fresh evidence is compared with the plan.
    CheckBasis,
    /// What will be overwritten is copied and read back.
    Preserve {
        /// Bytes, as far as known.
        bytes: u64,
    },
    /// 8.4, without a common base: the victim's volumes are declared out of date.
    Invalidate,
    /// The victim connects with `--discard-my-data`, the survivor connects, no policy may decide.
    Reconnect,
    /// DRBD's resync is watched to its end.
    Resync,
    /// Both nodes say that they hold the same generation.
    VerifyRelation,
    /// The contents are compared.
    VerifyContent {
        /// The whole volume, rather than what was overwritten.
        full: bool,
    },
    /// The connection's own policies are put back.
    RestorePolicies,
    /// 9, with more than two nodes: the healed victim connects with those others that hold the survivor's data.
    ConnectOthers,
    /// Undo: this node becomes Primary, and nobody else uses the devices.
    Promote,
    /// Undo: what was kept is written back through DRBD, to both nodes.
    WriteBack {
        /// Bytes.
        bytes: u64,
    },
    /// Undo: the node leaves the Primary role again.
    StepDown,
    /// The incident is closed.
    Record,
}

impl LiveStep {
    /// A word for journal and progress.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            LiveStep::Isolate => "isolate",
            LiveStep::Demote => "demote",
            LiveStep::CheckBasis => "check-basis",
            LiveStep::Preserve { .. } => "preserve",
            LiveStep::Invalidate => "invalidate",
            LiveStep::Reconnect => "reconnect",
            LiveStep::Resync => "resync",
            LiveStep::VerifyRelation => "verify-relation",
            LiveStep::VerifyContent { .. } => "verify-content",
            LiveStep::RestorePolicies => "restore-policies",
            LiveStep::ConnectOthers => "connect-others",
            LiveStep::Promote => "promote",
            LiveStep::WriteBack { .. } => "write-back",
            LiveStep::StepDown => "step-down",
            LiveStep::Record => "record",
        }
    }

    /// Where on the line it stands.
    #[must_use]
    pub fn stage(self) -> Stage {
        match self {
            LiveStep::Isolate | LiveStep::Demote | LiveStep::Promote => Stage::Quiesce,
            LiveStep::CheckBasis => Stage::CheckBasis,
            LiveStep::Preserve { .. } => Stage::Preserve,
            LiveStep::Invalidate | LiveStep::Reconnect | LiveStep::Resync | LiveStep::WriteBack { .. } => {
                Stage::Overwrite
            }
            LiveStep::VerifyRelation | LiveStep::VerifyContent { .. } => Stage::Verify,
            LiveStep::RestorePolicies | LiveStep::ConnectOthers | LiveStep::StepDown => Stage::Tidy,
            LiveStep::Record => Stage::Record,
        }
    }

    /// The bytes that it says it will keep or write.
    #[must_use]
    pub fn bytes(self) -> Option<u64> {
        match self {
            LiveStep::Preserve { bytes } | LiveStep::WriteBack { bytes } => Some(bytes),
            _ => None,
        }
    }

    /// Its word and its stage, as the journal has them.
    #[must_use]
    pub fn name(self) -> StepName {
        StepName::new(self.word(), self.stage())
    }
}

/// What one node's device showed at a moment: nothing was written since if it still shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Untouched {
    /// The node's boot id.
    pub boot: Option<String>,
    /// Sectors written to the device since it was attached.
    pub written: Option<u64>,
    /// The device's generation.
    pub current: Option<GenerationUuid>,
}

/// A plan for a running resource, not yet audited.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LivePlan {
    /// Version of this schema: 1.
    pub version: u32,
    /// Heal or undo.
    pub purpose: Purpose,
    /// The resource.
    pub resource: ResourceName,
    /// The nodes: A is where unsplit runs, B its peer.
    pub names: Pair<NodeName>,
    /// How side B is reached, as `--peer` says it.
    pub peer: String,
    /// The nodes' machine ids: a plan runs on the machines it was drawn for.
    pub machines: Pair<Option<String>>,
    /// Which DRBD runs there.
    pub generation: Generation,
    /// The connection, as each side names it.
    pub toward: Pair<Toward>,
    /// The connection's policies, as each side had them; `None` where DRBD did not tell.
    pub policies: Pair<Option<AfterSb>>,
    /// Whose data is kept.
    pub survivor: Side,
    /// All volumes of the connection.
    pub volumes: Vec<LiveVolume>,
    /// Whether the victim's content is kept first.
    pub salvage: bool,
    /// The steps.
    pub steps: Vec<LiveStep>,
    /// Why.
    pub trace: Trace,
}

impl LivePlan {
    /// Whose data is overwritten.
    #[must_use]
    pub fn victim(&self) -> Side {
        self.survivor.other()
    }

    /// Bytes that differ, of all volumes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.volumes.iter().map(|volume| volume.overwrite.bytes()).sum()
    }
}
