//! Plans for two memory disks.

use crate::model::delta::Delta;
use crate::model::id::{IncidentId, NodeName, ResourceName};
use crate::model::plan::memory::{Ground, MemoryPlan, Observed, Step};
use crate::model::plan::{self, Plan, Purpose, UnitLoss, VERSION, VolumePlan};
use crate::model::side::{Pair, Side};
use crate::model::verdict::Trace;

/// Draws the healing.
#[must_use]
pub fn draw(
    (resource, names): (ResourceName, Pair<NodeName>),
    seen: &Pair<Observed>,
    delta: &Delta,
    survivor: Side,
    trace: Trace,
) -> Plan {
    let (side, bytes) = (survivor.other(), delta.differs.bytes());
    let steps = vec![
        Step::Quiesce,
        Step::CheckBasis,
        Step::Preserve { bytes },
        Step::Overwrite { side, bytes },
        Step::VerifyContent,
        Step::Record,
    ];
    // Nobody marks what is written to memory.
    let all = UnitLoss {
        unit: "the whole disk".to_owned(),
        victim_only: 0,
        both: 0,
        survivor_only: 0,
        unmarked: bytes,
        fate: None,
    };
    Plan {
        version: VERSION,
        purpose: Purpose::Heal,
        resource,
        names,
        survivor,
        salvage: true,
        volumes: vec![VolumePlan {
            number: 0,
            at: seen.as_ref().map(|seen| seen.source.clone()),
            size: delta.size,
            overwrite: delta.differs.clone(),
            losses: vec![all],
            doubtful: 0,
        }],
        ground: plan::Ground::Memory(Ground {
            whole: seen.as_ref().map(|seen| seen.whole),
            becomes: seen[survivor].whole,
            content: delta.content,
            steps,
        }),
        trace,
    }
}

/// Draws the plan that puts back what `healed` overwrote.
#[must_use]
pub fn draw_undo(healed: MemoryPlan<'_>, incident: IncidentId) -> Plan {
    let (side, bytes) = (healed.victim(), healed.bytes());
    let steps = vec![
        Step::Quiesce,
        Step::CheckBasis,
        Step::Overwrite { side, bytes },
        Step::VerifyContent,
        Step::Record,
    ];
    let after = healed.ground.becomes;
    Plan {
        purpose: Purpose::Undo { incident },
        volumes: vec![VolumePlan { losses: Vec::new(), ..healed.volume.clone() }],
        ground: plan::Ground::Memory(Ground {
            whole: Pair::new(after, after),
            becomes: healed.ground.whole[side],
            steps,
            ..healed.ground.clone()
        }),
        ..Plan::clone(&healed)
    }
}
