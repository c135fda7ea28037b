//! What only a plan for a running resource must be: the nodes, the connection, how DRBD reaches what differs.
//!
//! Before anything is kept or overwritten it is held against fresh evidence once more ([`against_now`]).

use super::{Audited, Finding, Outline, Seen, Volume, note};
use crate::model::delta::{Class, Scope};
use crate::model::drbd::{GenerationUuid, MetadataFormat, Superblock};
use crate::model::drbd_live::Generation;
use crate::model::extent::ExtentSet;
use crate::model::live_plan::{Generations, LivePlan, LiveStep, LiveVolume, Reach, Untouched};
use crate::model::plan::Purpose;
use crate::model::side::Pair;
use std::mem::discriminant;

impl Audited for LivePlan {
    fn outline(&self) -> Outline<'_> {
        Outline {
            version: self.version,
            purpose: &self.purpose,
            names: &self.names,
            survivor: self.survivor,
            salvage: self.salvage,
            steps: self.steps.iter().map(|step| (step.name(), step.bytes())).collect(),
            volumes: self.volumes.iter().map(outline).collect(),
        }
    }

    fn own(&self, out: &mut Vec<Finding>) {
        let same_machine = self.machines.a.is_some() && self.machines.a == self.machines.b;
        note(out, "two-sides", same_machine, || "both nodes are the same machine".into());
        for (side, toward) in self.toward.iter() {
            let names_peer = toward.peer.is_some() == (self.generation == Generation::V9);
            note(out, "connection", !names_peer, || {
                format!("side {side} does not name its connection as {}", self.generation)
            });
            note(out, "connection", toward.resource != self.resource, || {
                format!("side {side} names a connection of {}", toward.resource)
            });
        }
        note(out, "volumes", self.volumes.is_empty(), || "there is no volume".into());
        let ascending = self.volumes.windows(2).all(|pair| pair[0].volume < pair[1].volume);
        note(out, "volumes", !ascending, || "a volume stands twice, or out of order".into());
        for volume in &self.volumes {
            sound(self, volume, out);
        }
        order(self, out);
    }

    fn as_seen(&self, seen: &[Seen<'_>], out: &mut Vec<Finding>) {
        for (volume, seen) in self.volumes.iter().zip(seen) {
            as_seen(self, volume, *seen, out);
        }
    }

    fn undoes(&self, healed: &LivePlan, out: &mut Vec<Finding>) {
        let about = |plan: &LivePlan| {
            let minors: Vec<_> = plan.volumes.iter().map(|one| one.minors).collect();
            (plan.resource.clone(), plan.machines.clone(), plan.toward.clone(), minors)
        };
        note(out, "undoes-that", about(self) != about(healed), || {
            "the undo is about another resource, other nodes or other volumes than the healing".into()
        });
    }
}

fn outline(volume: &LiveVolume) -> Volume<'_> {
    Volume {
        number: Some(volume.volume),
        sources: volume.sources.as_ref(),
        size: volume.size,
        overwrite: &volume.overwrite,
        losses: &volume.losses,
        doubtful: volume.doubtful,
    }
}

/// What one volume of any plan must be.
fn sound(plan: &LivePlan, volume: &LiveVolume, out: &mut Vec<Finding>) {
    let number = volume.volume;
    let end = volume.guarded().end().max(volume.survivor_marks.as_ref().map_or(0, ExtentSet::end));
    note(out, "inside", end > volume.size, || format!("volume {number} ends before byte {end}"));
    let v84 = plan.generation == Generation::V84;
    let wrong = match volume.reach {
        Reach::Bitmaps => false,
        Reach::Everything => v84,
        Reach::Invalidate => !v84,
    };
    note(out, "reach", wrong, || {
        format!("volume {number}: {:?} is not {}'s way", volume.reach, plan.generation)
    });
}

/// The steps of a healing, or of an undo, each once and in this order. Two more belong to some healings only.
fn order(plan: &LivePlan, out: &mut Vec<Finding>) {
    const HEALING: [LiveStep; 10] = [
        LiveStep::Isolate,
        LiveStep::Demote,
        LiveStep::CheckBasis,
        LiveStep::Preserve { bytes: 0 },
        LiveStep::Reconnect,
        LiveStep::Resync,
        LiveStep::VerifyRelation,
        LiveStep::VerifyContent { full: false },
        LiveStep::RestorePolicies,
        LiveStep::Record,
    ];
    const UNDO: [LiveStep; 7] = [
        LiveStep::Promote,
        LiveStep::CheckBasis,
        LiveStep::Preserve { bytes: 0 },
        LiveStep::WriteBack { bytes: 0 },
        LiveStep::VerifyContent { full: false },
        LiveStep::StepDown,
        LiveStep::Record,
    ];
    let heal = plan.purpose == Purpose::Heal;
    let wanted: &[LiveStep] = if heal { &HEALING } else { &UNDO };
    let same = |a: &LiveStep, b: &LiveStep| discriminant(a) == discriminant(b);
    let at = |wanted: &LiveStep| plan.steps.iter().position(|step| same(step, wanted));
    for step in wanted {
        let count = plan.steps.iter().filter(|other| same(other, step)).count();
        note(out, "exactly-once", count != 1, || {
            format!("a plan has exactly one step `{}`, this one {count}", step.word())
        });
    }
    for pair in wanted.windows(2) {
        let turned = matches!((at(&pair[0]), at(&pair[1])), (Some(first), Some(then)) if first > then);
        note(out, "order", turned, || format!("`{}` comes after `{}`", pair[0].word(), pair[1].word()));
    }
    for step in &plan.steps {
        let optional = heal && matches!(step, LiveStep::Invalidate | LiveStep::ConnectOthers);
        note(out, "purpose", !optional && !wanted.iter().any(|wanted| same(wanted, step)), || {
            format!("`{}` does not belong here", step.word())
        });
    }
    if heal {
        let invalidate = at(&LiveStep::Invalidate);
        let invalidates = plan.volumes.iter().any(|volume| volume.reach == Reach::Invalidate);
        note(out, "reach", invalidates != invalidate.is_some(), || {
            "a volume without a common base is invalidated on 8.4, and no other".into()
        });
        let turned =
            matches!((invalidate, at(&LiveStep::Reconnect)), (Some(first), Some(then)) if first > then);
        note(out, "reach", turned, || "it is invalidated before it connects".into());
    }
}

/// A volume of a healing, against what it was drawn from.
fn as_seen(plan: &LivePlan, volume: &LiveVolume, seen: Seen<'_>, out: &mut Vec<Finding>) {
    let (number, Seen { evidence, delta }) = (volume.volume, seen);
    note(out, "common-base", (volume.reach == Reach::Bitmaps) != delta.marks_complete, || {
        format!("volume {number}: {:?} is not how DRBD reaches all that can differ", volume.reach)
    });
    let unmarked = delta.differs_as(Class::Unmarked).bytes();
    note(out, "reach", volume.reach == Reach::Bitmaps && unmarked > 0, || {
        format!("volume {number}: DRBD follows the bitmaps, which do not mark {unmarked} bytes that differ")
    });
    let marked = |side| evidence[side].marks.candidates(volume.size);
    let (victim, survivor) = (plan.victim(), plan.survivor);
    note(out, "marks", volume.victim_marks != marked(victim), || {
        format!("volume {number}: what {} may have written is not what it marked", plan.names[victim])
    });
    note(out, "marks", volume.survivor_marks != Some(marked(survivor)), || {
        format!("volume {number}: what {} may have written is not what it marked", plan.names[survivor])
    });
    note(out, "basis", volume.shown.is_none(), || {
        format!("volume {number}: what its devices counted as written is not told")
    });
    for (side, seen) in evidence.iter() {
        let peer = &evidence[side.other()].superblock;
        note(out, "basis", !says(&seen.superblock, peer).same(&volume.generations[side]), || {
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
    plan: &LivePlan,
    volume: &LiveVolume,
    seen: Seen<'_>,
    shown: &Pair<Untouched>,
) -> Result<(), Vec<Finding>> {
    let mut findings = Vec::new();
    let out = &mut findings;
    let (survivor, Seen { evidence, delta }) = (plan.survivor, seen);
    let number = volume.volume;
    for (side, seen) in evidence.iter() {
        note(out, "basis", volume.sources[side] != seen.source, || {
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
    let stood_still = volume.shown.as_ref().is_some_and(|then| unwritten(&then[survivor], &shown[survivor]));
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
