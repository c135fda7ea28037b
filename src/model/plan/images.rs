//! What only a plan for two images knows: both metadata, before, during and after.

use super::{Plan, Told, VolumePlan};
use crate::model::drbd::Superblock;
use crate::model::extent::ExtentSet;
use crate::model::id::Digest;
use crate::model::side::{Pair, Side};
use crate::model::stage::{Stage, StepName};
use serde::{Deserialize, Serialize};
use std::ops::Deref;

/// A 4 KiB block as it stands on disk, serialised as hex digits without the trailing zeros.
#[derive(Clone, PartialEq, Eq)]
pub struct RawBlock(pub Box<[u8; 4096]>);

impl std::fmt::Debug for RawBlock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RawBlock({})", self.hex())
    }
}

impl RawBlock {
    fn hex(&self) -> String {
        let used = self.0.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        self.0[..used].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Serialize for RawBlock {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.hex())
    }
}

impl<'de> Deserialize<'de> for RawBlock {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut block = Box::new([0u8; 4096]);
        let digits = text.as_bytes();
        if digits.len() % 2 != 0 || digits.len() > 8192 {
            return Err(serde::de::Error::custom("a block is an even number of up to 8192 hex digits"));
        }
        for (slot, pair) in block.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |byte: u8| (byte as char).to_digit(16);
            match (digit(pair[0]), digit(pair[1])) {
                (Some(high), Some(low)) => *slot = u8::try_from(high * 16 + low).unwrap_or_default(),
                _ => return Err(serde::de::Error::custom("a block is hex digits only")),
            }
        }
        Ok(RawBlock(block))
    }
}

/// What one side looked like when the plan was drawn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SideBasis {
    /// The superblock's 4 KiB as they stood on disk: after a cut in the middle of writing it, each of its
    /// sectors must be one of those the plan knows.
    pub superblock: RawBlock,
    /// Digest of activity log and bitmap area.
    pub area: Digest,
    /// Digest of the side's bytes in the extents to be overwritten.
    pub content: Digest,
}

/// How one side's DRBD metadata is changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetadataChange {
    /// The superblock while the data is being overwritten: Inconsistent. Victim only.
    pub during: Option<Superblock>,
    /// The superblock afterwards.
    pub after: Superblock,
    /// Bitmap slots that are cleared.
    pub clear_slots: Vec<u32>,
    /// Bitmap slots (of other peers) in which the overwritten extents are marked. Victim only.
    pub mark_slots: Vec<u32>,
    /// Bitmap slots (of other peers) in which everything is marked that the activity log may hide, before the log is
    /// reset: hot extents, or the whole volume when the log proves nothing. Empty when the log is clean.
    pub mark_hot_slots: Vec<u32>,
    /// Whether the activity log is reset to its initial, empty state.
    pub reset_log: bool,
}

/// One step. Steps are done in order; each is idempotent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "step")]
pub enum Step {
    /// Claim both sides for ourselves and prove that nobody else writes.
    Quiesce,
    /// Compare fresh evidence with the plan's basis.
    CheckBasis,
    /// Copy the victim's extents and both sides' metadata to the salvage, and read the copy back.
    Preserve {
        /// Bytes of data that will be kept.
        bytes: u64,
    },
    /// Note in the victim's superblock that its data is being overwritten.
    MarkInconsistent {
        /// The victim.
        side: Side,
    },
    /// Overwrite the plan's extents on the victim: with the survivor's content, or from the salvage for an undo.
    Overwrite {
        /// The victim.
        side: Side,
        /// Bytes that will be written.
        bytes: u64,
    },
    /// Write bitmap, activity log and superblock as they shall be afterwards.
    SettleMetadata {
        /// Whose.
        side: Side,
    },
    /// Undo: write the kept metadata blocks back.
    RestoreMetadata {
        /// Whose.
        side: Side,
    },
    /// Observe both sides' metadata again: the relation must be what the plan promises; for an undo, every kept block of it
    /// must be back.
    VerifyRelation,
    /// Compare contents again: before any metadata says that they agree.
    VerifyContent {
        /// The whole volume, rather than what was compared for the plan.
        full: bool,
    },
    /// Close the incident.
    Record,
}

impl Step {
    /// A word for journal and progress.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Step::Quiesce => "quiesce",
            Step::CheckBasis => "check-basis",
            Step::Preserve { .. } => "preserve",
            Step::MarkInconsistent { .. } => "mark-inconsistent",
            Step::Overwrite { .. } => "overwrite",
            Step::SettleMetadata { .. } => "settle-metadata",
            Step::RestoreMetadata { .. } => "restore-metadata",
            Step::VerifyRelation => "verify-relation",
            Step::VerifyContent { .. } => "verify-content",
            Step::Record => "record",
        }
    }

    /// Where on the line it stands.
    #[must_use]
    pub fn stage(&self) -> Stage {
        match self {
            Step::Quiesce => Stage::Quiesce,
            Step::CheckBasis => Stage::CheckBasis,
            Step::Preserve { .. } => Stage::Preserve,
            Step::MarkInconsistent { .. } | Step::Overwrite { .. } => Stage::Overwrite,
            Step::VerifyContent { .. } => Stage::Verify,
            // The relation is what the metadata says, so it is looked at when that is in order.
            Step::SettleMetadata { .. } | Step::RestoreMetadata { .. } | Step::VerifyRelation => Stage::Tidy,
            Step::Record => Stage::Record,
        }
    }

    /// As every plan tells it.
    pub(super) fn told(&self) -> Told {
        let bytes = match self {
            Step::Preserve { bytes } | Step::Overwrite { bytes, .. } => Some(*bytes),
            _ => None,
        };
        Told { name: StepName::new(self.word(), self.stage()), bytes }
    }
}

/// What only a plan for two images knows. It has one volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ground {
    /// What the plan was drawn from.
    pub basis: Pair<SideBasis>,
    /// What was compared: all that is overwritten, and all that was found equal. Until the end nobody may make it differ.
    /// `None` in plans of versions that did not note it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compared: Option<ExtentSet>,
    /// How each side's metadata changes.
    pub metadata: Pair<MetadataChange>,
    /// Whether the bitmaps had a common base.
    pub common_base: bool,
    /// The steps.
    pub steps: Vec<Step>,
}

/// A plan for two images, with its parts at hand.
#[derive(Debug, Clone, Copy)]
pub struct ImagesPlan<'p> {
    pub(super) plan: &'p Plan,
    /// Its volume.
    pub volume: &'p VolumePlan,
    /// What only it knows.
    pub ground: &'p Ground,
}

impl Deref for ImagesPlan<'_> {
    type Target = Plan;

    fn deref(&self) -> &Plan {
        self.plan
    }
}

impl ImagesPlan<'_> {
    /// What must be equal when all is done: what was compared, or everything, where the plan does not say what that was.
    #[must_use]
    pub fn must_agree(&self) -> ExtentSet {
        self.ground.compared.clone().unwrap_or_else(|| ExtentSet::whole(self.volume.size))
    }

    /// Whether the whole volume is compared.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.ground.steps.contains(&Step::VerifyContent { full: true })
    }
}
