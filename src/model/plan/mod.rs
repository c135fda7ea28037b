//! Plans: what will happen, with no choices left, bound to the evidence they were drawn from.
//!
//! One plan for every backend. What all of them have stands in [`Plan`] and [`VolumePlan`]; what only one backend knows is
//! its [`Ground`]: [`images`], [`drbd`].

pub mod drbd;
pub mod fence;
pub mod images;
#[cfg(feature = "memory-disks")]
pub mod memory;

use super::evidence::Source;
use super::extent::ExtentSet;
use super::id::{IncidentId, NodeName, ResourceName};
use super::side::{Pair, Side};
use super::stage::StepName;
use super::verdict::Trace;
use drbd::DrbdPlan;
use fence::FencePlan;
use images::ImagesPlan;
#[cfg(feature = "memory-disks")]
use memory::MemoryPlan;
use serde::{Deserialize, Serialize};

/// The version of plans that are drawn now.
pub const VERSION: u32 = 2;

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
    /// Prove that the peer cannot write. There is nothing to heal yet: that plan follows in the same incident, when the peer
    /// is back.
    Fence,
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

/// What a plan does to one volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumePlan {
    /// Its number; 0 where there is one that needs none.
    pub number: u32,
    /// Where it stands on each side.
    pub at: Pair<Source>,
    /// Bytes of replicated data.
    pub size: u64,
    /// What will be overwritten on the victim.
    pub overwrite: ExtentSet,
    /// What will be lost from the survivor's point of view, per unit, in the survivor's layout.
    pub losses: Vec<UnitLoss>,
    /// Bytes counted as the survivor's only that the victim may have written, too: its activity log was hot there, or the
    /// bitmaps have no common base.
    pub doubtful: u64,
}

/// What only the plan's backend knows.
///
/// The steps stand here and not beside it, so that a plan whose steps are another backend's cannot be written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(clippy::large_enum_variant)] // a plan is one of a few, never of many
pub enum Ground {
    /// Two images, snapshots or devices that nobody else uses.
    Images(images::Ground),
    /// A DRBD resource that runs.
    Drbd(drbd::Ground),
    /// A peer that is out of reach: no volume of its is looked at.
    Fence(fence::Ground),
    /// Two disks that are only in memory.
    #[cfg(feature = "memory-disks")]
    Memory(memory::Ground),
}

/// A step, as every plan tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Its word and its stage.
    pub name: StepName,
    /// The bytes that it says it will keep or write.
    pub bytes: Option<u64>,
}

impl Ground {
    /// The steps, in order. Each is idempotent.
    #[must_use]
    pub fn steps(&self) -> Vec<Told> {
        match self {
            Ground::Images(ground) => ground.steps.iter().map(images::Step::told).collect(),
            Ground::Drbd(ground) => ground.steps.iter().map(|step| step.told()).collect(),
            Ground::Fence(ground) => ground.steps.iter().map(|step| step.told()).collect(),
            #[cfg(feature = "memory-disks")]
            Ground::Memory(ground) => ground.steps.iter().map(|step| step.told()).collect(),
        }
    }
}

/// A plan, not yet audited. Only sealed plans run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Version of this schema: [`VERSION`].
    pub version: u32,
    /// Heal or undo.
    pub purpose: Purpose,
    /// What the pair is called.
    pub resource: ResourceName,
    /// The sides' names. Of a resource that runs A is the node where unsplit runs, B its peer.
    pub names: Pair<NodeName>,
    /// Whose data is kept.
    pub survivor: Side,
    /// Whether the victim's content is kept first.
    pub salvage: bool,
    /// What is done to each volume, in the order of their numbers; none where the peer is only fenced.
    pub volumes: Vec<VolumePlan>,
    /// What only the backend knows.
    pub ground: Ground,
    /// Why.
    pub trace: Trace,
}

/// A plan, seen as its backend's.
#[derive(Debug, Clone, Copy)]
pub enum Kind<'p> {
    /// For two images.
    Images(ImagesPlan<'p>),
    /// For a resource that runs.
    Drbd(DrbdPlan<'p>),
    /// For a peer that is out of reach.
    Fence(FencePlan<'p>),
    /// For two memory disks.
    #[cfg(feature = "memory-disks")]
    Memory(MemoryPlan<'p>),
}

impl Plan {
    /// Whose data is overwritten.
    #[must_use]
    pub fn victim(&self) -> Side {
        self.survivor.other()
    }

    /// The incident whose healing it undoes, if it undoes one.
    #[must_use]
    pub fn undoes(&self) -> Option<&IncidentId> {
        match &self.purpose {
            Purpose::Undo { incident } => Some(incident),
            Purpose::Heal | Purpose::Fence => None,
        }
    }

    /// Bytes that will be overwritten, of all volumes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.volumes.iter().map(|volume| volume.overwrite.bytes()).fold(0, u64::saturating_add)
    }

    /// The steps, in order.
    #[must_use]
    pub fn steps(&self) -> Vec<StepName> {
        self.ground.steps().into_iter().map(|told| told.name).collect()
    }

    /// As its backend's; `None` when the ground does not fit the volumes, which no sealed plan's does.
    #[must_use]
    pub fn kind(&self) -> Option<Kind<'_>> {
        match (&self.ground, self.volumes.as_slice()) {
            (Ground::Images(ground), [volume]) => {
                Some(Kind::Images(ImagesPlan { plan: self, volume, ground }))
            }
            (Ground::Drbd(ground), volumes) if ground.volumes.len() == volumes.len() => {
                Some(Kind::Drbd(DrbdPlan { plan: self, ground }))
            }
            (Ground::Fence(ground), []) => Some(Kind::Fence(FencePlan { plan: self, ground })),
            #[cfg(feature = "memory-disks")]
            (Ground::Memory(ground), [volume]) => {
                Some(Kind::Memory(MemoryPlan { plan: self, volume, ground }))
            }
            _ => None,
        }
    }

    /// As a plan for two images, if it is one.
    #[must_use]
    pub fn images(&self) -> Option<ImagesPlan<'_>> {
        match self.kind() {
            Some(Kind::Images(plan)) => Some(plan),
            _ => None,
        }
    }

    /// As a plan for a resource that runs, if it is one.
    #[must_use]
    pub fn drbd(&self) -> Option<DrbdPlan<'_>> {
        match self.kind() {
            Some(Kind::Drbd(plan)) => Some(plan),
            _ => None,
        }
    }

    /// As a plan for two memory disks, if it is one.
    #[cfg(feature = "memory-disks")]
    #[must_use]
    pub fn memory(&self) -> Option<MemoryPlan<'_>> {
        match self.kind() {
            Some(Kind::Memory(plan)) => Some(plan),
            _ => None,
        }
    }
}
