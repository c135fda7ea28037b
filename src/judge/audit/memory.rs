//! What only a plan for two memory disks must be.

use super::{Finding, Looked, Seen, note};
use crate::model::plan::Purpose;
use crate::model::plan::memory::{MemoryPlan, Step};

/// Any plan.
pub(super) fn sound(plan: MemoryPlan<'_>, out: &mut Vec<Finding>) {
    let at = &plan.volume.at;
    note(out, "two-sides", at.a.data == at.b.data, || format!("both sides are {}", at.a.data));
    note(out, "salvage", !plan.salvage, || "what a memory disk loses is always kept".to_owned());
    let [survivor, victim] = [plan.survivor, plan.victim()].map(|side| plan.ground.whole[side]);
    let (heal, becomes) = (plan.purpose == Purpose::Heal, plan.ground.becomes);
    note(out, "promise", heal && becomes != survivor, || {
        "afterwards the victim would not hold what the survivor holds".to_owned()
    });
    note(out, "promise", !heal && victim != survivor, || {
        "a healing leaves both sides with the same content".to_owned()
    });
    let victims = |step: &Step| !matches!(step, Step::Overwrite { side, .. } if *side == plan.survivor);
    note(out, "survivor-untouched", !plan.ground.steps.iter().all(victims), || {
        "the survivor would be overwritten".to_owned()
    });
}

/// A healing, against what it was drawn from.
pub(super) fn as_seen(plan: MemoryPlan<'_>, seen: &[Seen<'_>], out: &mut Vec<Finding>) {
    for Seen { looked, delta } in seen {
        let Looked::Memory(found) = looked else {
            note(out, "basis", true, || "memory disks have no metadata".to_owned());
            continue;
        };
        for (side, found) in found.iter() {
            note(out, "basis", plan.ground.whole[side] != found.whole, || {
                format!("side {side} does not hold what was seen")
            });
        }
        note(out, "basis", plan.ground.content != delta.content, || {
            "what is overwritten is not what was compared".to_owned()
        });
    }
}

/// An undo, against the healing.
pub(super) fn undoes(plan: MemoryPlan<'_>, healed: MemoryPlan<'_>, out: &mut Vec<Finding>) {
    let (undo, of) = (plan.ground, healed.ground);
    note(out, "undoes-that", plan.volume.at != healed.volume.at, || {
        "the undo is about other disks than the healing".to_owned()
    });
    let back = undo.becomes == of.whole[healed.victim()] && undo.whole[plan.victim()] == of.becomes;
    note(out, "undoes-that", !back || undo.content != of.content, || {
        "the undo does not lead back to where the healing began".to_owned()
    });
}
