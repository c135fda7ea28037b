//! What only a plan for two memory disks knows. It is the smallest backend there can be, for tests: what a disk holds is all
//! there is to it.

use super::{Plan, Told, VolumePlan};
use crate::model::evidence::Source;
use crate::model::id::Digest;
use crate::model::side::{Pair, Side};
use crate::model::stage::{Stage, StepName};
use serde::{Deserialize, Serialize};
use std::ops::Deref;

/// What was seen of one disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// Which disk.
    pub source: Source,
    /// The digest of all that it holds.
    pub whole: Digest,
}

/// One step. Steps are done in order; each is idempotent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "step")]
pub enum Step {
    /// Claim both disks.
    Quiesce,
    /// Compare what both hold with the plan's basis.
    CheckBasis,
    /// Copy what will be overwritten to the salvage, and read the copy back.
    Preserve {
        /// Bytes that will be kept.
        bytes: u64,
    },
    /// Overwrite the plan's extents: with the survivor's content, or from the salvage for an undo.
    Overwrite {
        /// The victim.
        side: Side,
        /// Bytes that will be written.
        bytes: u64,
    },
    /// Compare all that the victim holds with what was promised.
    VerifyContent,
    /// Close the incident.
    Record,
}

impl Step {
    /// As every plan tells it.
    pub(super) fn told(&self) -> Told {
        let (word, stage, bytes) = match self {
            Step::Quiesce => ("quiesce", Stage::Quiesce, None),
            Step::CheckBasis => ("check-basis", Stage::CheckBasis, None),
            Step::Preserve { bytes } => ("preserve", Stage::Preserve, Some(*bytes)),
            Step::Overwrite { bytes, .. } => ("overwrite", Stage::Overwrite, Some(*bytes)),
            Step::VerifyContent => ("verify-content", Stage::Verify, None),
            Step::Record => ("record", Stage::Record, None),
        };
        Told { name: StepName::new(word, stage), bytes }
    }
}

/// What only a plan for two memory disks knows. It has one volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ground {
    /// The digest of all that each disk holds when the plan begins.
    pub whole: Pair<Digest>,
    /// The digest of all that the victim holds when it is done.
    pub becomes: Digest,
    /// The digest of the bytes that are written, and of those that they replace.
    pub content: Pair<Digest>,
    /// The steps.
    pub steps: Vec<Step>,
}

/// A plan for two memory disks, with its parts at hand.
#[derive(Debug, Clone, Copy)]
pub struct MemoryPlan<'p> {
    pub(super) plan: &'p Plan,
    /// Its volume.
    pub volume: &'p VolumePlan,
    /// What only it knows.
    pub ground: &'p Ground,
}

impl Deref for MemoryPlan<'_> {
    type Target = Plan;

    fn deref(&self) -> &Plan {
        self.plan
    }
}
