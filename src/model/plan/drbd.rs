//! What only a plan for a resource that runs knows: DRBD itself overwrites the victim, so it says in which order both nodes
//! are told what, what is kept before, and what must be true at each point.

use super::{Plan, Told, VolumePlan};
use crate::model::drbd::GenerationUuid;
use crate::model::drbd_live::Generation;
use crate::model::extent::ExtentSet;
use crate::model::id::Digest;
use crate::model::node::{AfterSb, Toward};
use crate::model::side::Pair;
use crate::model::stage::{Stage, StepName};
use serde::{Deserialize, Serialize};
use std::ops::Deref;

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

/// What only such a plan knows of one volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeGround {
    /// Its minor number on each node.
    pub minors: Pair<u32>,
    /// Both generations.
    pub generations: Pair<Generations>,
    /// What is synced.
    pub reach: Reach,
    /// What the victim may have written alone: its bitmap, and the hot extents of a Primary. What its bitmap shows when the
    /// plan runs lies within. In an undo: what the healing took for equal, which stays as it is.
    pub victim_marks: ExtentSet,
    /// The same of the survivor when the plan was drawn; it may have written more since. `None` in an undo, and in plans of
    /// unsplit up to 0.1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub survivor_marks: Option<ExtentSet>,
    /// What both devices told of their writes when the plan was drawn. `None` as above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown: Option<Pair<Untouched>>,
    /// Digest of the victim's bytes in `victim_marks` and `overwrite` together; in an undo of both nodes' in `overwrite`.
    pub content: Digest,
}

/// One step. Each is idempotent: it looks first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "step")]
pub enum Step {
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

impl Step {
    /// A word for journal and progress.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Step::Isolate => "isolate",
            Step::Demote => "demote",
            Step::CheckBasis => "check-basis",
            Step::Preserve { .. } => "preserve",
            Step::Invalidate => "invalidate",
            Step::Reconnect => "reconnect",
            Step::Resync => "resync",
            Step::VerifyRelation => "verify-relation",
            Step::VerifyContent { .. } => "verify-content",
            Step::RestorePolicies => "restore-policies",
            Step::ConnectOthers => "connect-others",
            Step::Promote => "promote",
            Step::WriteBack { .. } => "write-back",
            Step::StepDown => "step-down",
            Step::Record => "record",
        }
    }

    /// Where on the line it stands.
    #[must_use]
    pub fn stage(self) -> Stage {
        match self {
            Step::Isolate | Step::Demote | Step::Promote => Stage::Quiesce,
            Step::CheckBasis => Stage::CheckBasis,
            Step::Preserve { .. } => Stage::Preserve,
            Step::Invalidate | Step::Reconnect | Step::Resync | Step::WriteBack { .. } => Stage::Overwrite,
            Step::VerifyRelation | Step::VerifyContent { .. } => Stage::Verify,
            Step::RestorePolicies | Step::ConnectOthers | Step::StepDown => Stage::Tidy,
            Step::Record => Stage::Record,
        }
    }

    /// As every plan tells it.
    pub(super) fn told(self) -> Told {
        let bytes = match self {
            Step::Preserve { bytes } | Step::WriteBack { bytes } => Some(bytes),
            _ => None,
        };
        Told { name: StepName::new(self.word(), self.stage()), bytes }
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

/// What only a plan for a resource that runs knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ground {
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
    /// Of each of the plan's volumes, in their order. They are all volumes of the connection.
    pub volumes: Vec<VolumeGround>,
    /// The steps.
    pub steps: Vec<Step>,
}

/// A plan for a resource that runs, with its parts at hand.
#[derive(Debug, Clone, Copy)]
pub struct DrbdPlan<'p> {
    pub(super) plan: &'p Plan,
    /// What only it knows.
    pub ground: &'p Ground,
}

impl Deref for DrbdPlan<'_> {
    type Target = Plan;

    fn deref(&self) -> &Plan {
        self.plan
    }
}

impl<'p> DrbdPlan<'p> {
    /// Its volumes, in order.
    pub fn volumes(self) -> impl Iterator<Item = DrbdVolume<'p>> {
        let both = self.plan.volumes.iter().zip(&self.ground.volumes);
        both.map(|(plan, ground)| DrbdVolume { plan, ground })
    }

    /// Whether the contents of the whole volumes are compared in the end.
    #[must_use]
    pub fn is_full(self) -> bool {
        self.ground.steps.contains(&Step::VerifyContent { full: true })
    }
}

/// One volume of it.
#[derive(Debug, Clone, Copy)]
pub struct DrbdVolume<'p> {
    plan: &'p VolumePlan,
    /// What only such a plan knows of it.
    pub ground: &'p VolumeGround,
}

impl Deref for DrbdVolume<'_> {
    type Target = VolumePlan;

    fn deref(&self) -> &VolumePlan {
        self.plan
    }
}

impl DrbdVolume<'_> {
    /// What of the victim must be as it was: all that it wrote, and all that differs.
    #[must_use]
    pub fn guarded(self) -> ExtentSet {
        self.ground.victim_marks.union(&self.plan.overwrite)
    }
}
