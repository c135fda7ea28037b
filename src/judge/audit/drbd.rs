//! What only a plan for a running resource must be: the nodes, the connection, how DRBD reaches what differs.
//!
//! Before anything is kept or overwritten it is held against fresh evidence once more ([`against_now`]).

use super::{Finding, Seen, note};
use crate::model::delta::{Class, Scope};
use crate::model::drbd::{GenerationUuid, MetadataFormat, Superblock};
use crate::model::drbd_live::Generation;
use crate::model::extent::ExtentSet;
use crate::model::plan::Purpose;
use crate::model::plan::drbd::{DrbdPlan, DrbdVolume, Generations, Reach, Step, Untouched};
use crate::model::side::Pair;
use std::mem::discriminant;

/// Any plan.
pub(super) fn sound(plan: DrbdPlan<'_>, out: &mut Vec<Finding>) {
    let ground = plan.ground;
    let same_machine = ground.machines.a.is_some() && ground.machines.a == ground.machines.b;
    note(out, "two-sides", same_machine, || "both nodes are the same machine".into());
    for (side, toward) in ground.toward.iter() {
        let names_peer = toward.peer.is_some() == (ground.generation == Generation::V9);
        note(out, "connection", !names_peer, || {
            format!("side {side} does not name its connection as {}", ground.generation)
        });
        note(out, "connection", toward.resource != plan.resource, || {
            format!("side {side} names a connection of {}", toward.resource)
        });
    }
    for volume in plan.volumes() {
        sound_volume(plan, volume, out);
    }
    order(plan, out);
}

/// A healing, against what it was drawn from: as many as it has volumes, in order.
pub(super) fn as_seen(plan: DrbdPlan<'_>, seen: &[Seen<'_>], out: &mut Vec<Finding>) {
    for (volume, seen) in plan.volumes().zip(seen) {
        volume_as_seen(plan, volume, *seen, out);
    }
}

/// An undo, against the healing.
pub(super) fn undoes(plan: DrbdPlan<'_>, healed: DrbdPlan<'_>, out: &mut Vec<Finding>) {
    let about = |plan: DrbdPlan<'_>| {
        let minors: Vec<_> = plan.volumes().map(|volume| volume.ground.minors).collect();
        (plan.resource.clone(), plan.ground.machines.clone(), plan.ground.toward.clone(), minors)
    };
    note(out, "undoes-that", about(plan) != about(healed), || {
        "the undo is about another resource, other nodes or other volumes than the healing".into()
    });
}

/// What one volume of any plan must be.
fn sound_volume(plan: DrbdPlan<'_>, volume: DrbdVolume<'_>, out: &mut Vec<Finding>) {
    let number = volume.number;
    let end = volume.guarded().end().max(volume.ground.survivor_marks.as_ref().map_or(0, ExtentSet::end));
    note(out, "inside", end > volume.size, || format!("volume {number} ends before byte {end}"));
    let v84 = plan.ground.generation == Generation::V84;
    let wrong = match volume.ground.reach {
        Reach::Bitmaps => false,
        Reach::Everything => v84,
        Reach::Invalidate => !v84,
    };
    note(out, "reach", wrong, || {
        format!("volume {number}: {:?} is not {}'s way", volume.ground.reach, plan.ground.generation)
    });
}

/// The steps of a healing, or of an undo, each once and in this order. Two more belong to some healings only.
fn order(plan: DrbdPlan<'_>, out: &mut Vec<Finding>) {
    const HEALING: [Step; 10] = [
        Step::Isolate,
        Step::Demote,
        Step::CheckBasis,
        Step::Preserve { bytes: 0 },
        Step::Reconnect,
        Step::Resync,
        Step::VerifyRelation,
        Step::VerifyContent { full: false },
        Step::RestorePolicies,
        Step::Record,
    ];
    const UNDO: [Step; 7] = [
        Step::Promote,
        Step::CheckBasis,
        Step::Preserve { bytes: 0 },
        Step::WriteBack { bytes: 0 },
        Step::VerifyContent { full: false },
        Step::StepDown,
        Step::Record,
    ];
    let heal = plan.purpose == Purpose::Heal;
    let wanted: &[Step] = if heal { &HEALING } else { &UNDO };
    let same = |a: &Step, b: &Step| discriminant(a) == discriminant(b);
    let at = |wanted: &Step| plan.ground.steps.iter().position(|step| same(step, wanted));
    for step in wanted {
        let count = plan.ground.steps.iter().filter(|other| same(other, step)).count();
        note(out, "exactly-once", count != 1, || {
            format!("a plan has exactly one step `{}`, this one {count}", step.word())
        });
    }
    for pair in wanted.windows(2) {
        let turned = matches!((at(&pair[0]), at(&pair[1])), (Some(first), Some(then)) if first > then);
        note(out, "order", turned, || format!("`{}` comes after `{}`", pair[0].word(), pair[1].word()));
    }
    for step in &plan.ground.steps {
        let optional = heal && matches!(step, Step::Invalidate | Step::ConnectOthers);
        note(out, "purpose", !optional && !wanted.iter().any(|wanted| same(wanted, step)), || {
            format!("`{}` does not belong here", step.word())
        });
    }
    if heal {
        let invalidate = at(&Step::Invalidate);
        let invalidates = plan.volumes().any(|volume| volume.ground.reach == Reach::Invalidate);
        note(out, "reach", invalidates != invalidate.is_some(), || {
            "a volume without a common base is invalidated on 8.4, and no other".into()
        });
        let turned = matches!((invalidate, at(&Step::Reconnect)), (Some(first), Some(then)) if first > then);
        note(out, "reach", turned, || "it is invalidated before it connects".into());
    }
}

/// A volume of a healing, against what it was drawn from.
fn volume_as_seen(plan: DrbdPlan<'_>, volume: DrbdVolume<'_>, seen: Seen<'_>, out: &mut Vec<Finding>) {
    let number = volume.number;
    let Some((evidence, delta)) = seen.of_drbd(out) else { return };
    note(out, "common-base", (volume.ground.reach == Reach::Bitmaps) != delta.marks_complete, || {
        format!("volume {number}: {:?} is not how DRBD reaches all that can differ", volume.ground.reach)
    });
    let unmarked = delta.differs_as(Class::Unmarked).bytes();
    note(out, "reach", volume.ground.reach == Reach::Bitmaps && unmarked > 0, || {
        format!("volume {number}: DRBD follows the bitmaps, which do not mark {unmarked} bytes that differ")
    });
    let marked = |side| evidence[side].marks.candidates(volume.size);
    let (victim, survivor) = (plan.victim(), plan.survivor);
    note(out, "marks", volume.ground.victim_marks != marked(victim), || {
        format!("volume {number}: what {} may have written is not what it marked", plan.names[victim])
    });
    note(out, "marks", volume.ground.survivor_marks != Some(marked(survivor)), || {
        format!("volume {number}: what {} may have written is not what it marked", plan.names[survivor])
    });
    note(out, "basis", volume.ground.shown.is_none(), || {
        format!("volume {number}: what its devices counted as written is not told")
    });
    for (side, seen) in evidence.iter() {
        let peer = &evidence[side.other()].superblock;
        note(out, "basis", !says(&seen.superblock, peer).same(&volume.ground.generations[side]), || {
            format!("volume {number}: side {side} has another generation than the plan says")
        });
    }
}

fn says(superblock: &Superblock, peer: &Superblock) -> Generations {
    let id = (superblock.format == MetadataFormat::V09).then_some(peer.node_id);
    let bitmap: GenerationUuid = superblock.bitmap_toward(id);
    Generations { current: superblock.current, bitmap, history: superblock.history.clone() }
}

/// Whether a device still counts what it counted: nothing was written to it since. One that does not tell proves nothing.
#[must_use]
pub fn unwritten(then: &Untouched, now: &Untouched) -> bool {
    then.boot.is_some() && then.boot == now.boot && then.written.is_some() && then.written == now.written
}

/// A volume of a healing that has overwritten nothing yet, against what both sides show now. The survivor may have gone on writing
/// since the plan was drawn, and nobody else. `shown`: what the two devices tell of their writes now.
///
/// # Errors
/// What the plan leaves out, or has too much, or where else it stands.
pub fn against_now(
    plan: DrbdPlan<'_>,
    volume: DrbdVolume<'_>,
    seen: Seen<'_>,
    shown: &Pair<Untouched>,
) -> Result<(), Vec<Finding>> {
    let mut findings = Vec::new();
    let out = &mut findings;
    let survivor = plan.survivor;
    let Some((evidence, delta)) = seen.of_drbd(out) else { return Err(findings) };
    let number = volume.number;
    for (side, seen) in evidence.iter() {
        note(out, "basis", volume.at[side] != seen.source, || {
            format!("volume {number}: {} stands on another device than planned", plan.names[side])
        });
    }
    note(out, "inside", volume.size != delta.size, || {
        format!("volume {number}: the plan is for {} bytes, now there are {}", volume.size, delta.size)
    });
    // What the survivor did not mark it did not write since the plan was drawn: there the difference is as old as the plan. What
    // counts is its own bitmap and log. A doubt without a common base is about writes of long ago.
    let theirs = evidence[survivor].marks.candidates(delta.size);
    let missing = delta.differs.subtract(&theirs).subtract(&volume.overwrite).bytes();
    note(out, "everything-that-differs", missing > 0, || {
        format!(
            "volume {number}: the plan leaves out {missing} bytes that differ and that only the node wrote whose data is given up"
        )
    });
    let stood_still =
        volume.ground.shown.as_ref().is_some_and(|then| unwritten(&then[survivor], &shown[survivor]));
    if stood_still {
        let within = match delta.scope {
            Scope::Everything => volume.overwrite.clone(),
            Scope::Candidates => volume.overwrite.subtract(&delta.marked_as(Class::Unmarked)),
        };
        note(out, "everything-that-differs", !delta.differs.subtract(&volume.overwrite).is_empty(), || {
            let missing = delta.differs.subtract(&volume.overwrite).bytes();
            format!(
                "volume {number}: nobody wrote since, and the plan leaves out {missing} bytes that differ"
            )
        });
        note(out, "everything-that-differs", !within.subtract(&delta.differs).is_empty(), || {
            let extra = within.subtract(&delta.differs).bytes();
            format!("volume {number}: nobody wrote since, and the plan has {extra} bytes that are equal")
        });
    }
    if findings.is_empty() { Ok(()) } else { Err(findings) }
}
