//! Plans: what will happen, with no choices left, bound to the evidence they were drawn from.

use super::drbd::Superblock;
use super::evidence::Source;
use super::extent::ExtentSet;
use super::id::{Digest, IncidentId, NodeName, ResourceName};
use super::side::{Pair, Side};
use super::stage::{Stage, StepName};
use super::verdict::Trace;
use serde::{Deserialize, Serialize};

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
    /// Where it was.
    pub source: Source,
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

/// What a plan is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Purpose {
    /// Make the victim equal to the survivor.
    Heal,
    /// Put back what an earlier incident's healing overwrote.
    Undo {
        /// That incident.
        incident: IncidentId,
    },
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

    /// The bytes that it says it will keep or write.
    #[must_use]
    pub fn bytes(&self) -> Option<u64> {
        match self {
            Step::Preserve { bytes } | Step::Overwrite { bytes, .. } => Some(*bytes),
            _ => None,
        }
    }

    /// Its word and its stage, as the journal has them.
    #[must_use]
    pub fn name(&self) -> StepName {
        StepName::new(self.word(), self.stage())
    }
}

/// What becomes of a unit of the victim when the survivor's tables take the place of the victim's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "becomes")]
pub enum Fate {
    /// It exists only on the victim.
    Disappears,
    /// It exists only on the survivor, and no byte is counted for it: those are counted as the victim describes them.
    Appears,
    /// The survivor calls it differently.
    Renamed {
        /// The survivor's name for it.
        to: String,
    },
    /// The survivor gives it another size on this volume.
    Resized {
        /// Bytes.
        to: u64,
    },
    /// The survivor has it in another place.
    Moved,
}

/// What one unit would lose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitLoss {
    /// The unit's name.
    pub unit: String,
    /// Bytes that differ and were written by the victim only.
    pub victim_only: u64,
    /// Bytes that differ and were written by both.
    pub both: u64,
    /// Bytes that differ and were written by the survivor only: the victim is brought up to date, nothing is lost.
    pub survivor_only: u64,
    /// Bytes that differ and that nobody marked.
    pub unmarked: u64,
    /// What becomes of the unit itself, where the two sides describe it differently.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fate: Option<Fate>,
}

fn common_base() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn is_common_base(said: &bool) -> bool {
    *said
}

/// A plan, not yet audited. Only sealed plans run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Version of this schema: 1.
    pub version: u32,
    /// Heal or undo.
    pub purpose: Purpose,
    /// What the pair is called.
    pub resource: ResourceName,
    /// The sides' names.
    pub names: Pair<NodeName>,
    /// Whose data is kept.
    pub survivor: Side,
    /// Evidence the plan was drawn from.
    pub basis: Pair<SideBasis>,
    /// Bytes of replicated data.
    pub size: u64,
    /// What will be overwritten on the victim.
    pub overwrite: ExtentSet,
    /// What was compared: `overwrite`, and all that was found equal. Until the end nobody may make it differ. `None` in
    /// plans of versions that did not note it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compared: Option<ExtentSet>,
    /// How each side's metadata changes.
    pub metadata: Pair<MetadataChange>,
    /// Whether the victim's content is kept first.
    pub salvage: bool,
    /// The steps.
    pub steps: Vec<Step>,
    /// What will be lost from the survivor's point of view, per unit, in the survivor's layout.
    pub losses: Vec<UnitLoss>,
    /// Bytes counted as the survivor's only that the victim may have written, too: its activity log was hot there, or the bitmaps
    /// have no common base.
    pub doubtful: u64,
    /// Whether the bitmaps had a common base. Plans of versions that did not note it say so only where it was.
    #[serde(default = "common_base", skip_serializing_if = "is_common_base")]
    pub common_base: bool,
    /// Why.
    pub trace: Trace,
}

impl Plan {
    /// Whose data is overwritten.
    #[must_use]
    pub fn victim(&self) -> Side {
        self.survivor.other()
    }

    /// What must be equal when all is done: what was compared, or everything, where the plan does not say what that was.
    #[must_use]
    pub fn must_agree(&self) -> ExtentSet {
        self.compared.clone().unwrap_or_else(|| ExtentSet::whole(self.size))
    }

    /// Whether the whole volume is compared.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.steps.contains(&Step::VerifyContent { full: true })
    }
}
