//! The audit of plans for running resources: an independent reading before one may run. Shares nothing with what draws them; it
//! knows the model, the promises, and what the evidence says.
//!
//! A plan that was just drawn is held against all that it was drawn from. A stored one has only itself: what it tells must be
//! sound and add up. Before anything is kept or overwritten it is held against fresh evidence once more ([`against_now`]).

use crate::judge::audit::Finding;
use crate::model::delta::{Class, Delta, Scope};
use crate::model::drbd::{GenerationUuid, MetadataFormat, Superblock, device_flag};
use crate::model::drbd_live::Generation;
use crate::model::evidence::Evidence;
use crate::model::extent::ExtentSet;
use crate::model::id::{Digest, PlanId};
use crate::model::live_plan::{Generations, LivePlan, LiveStep, LiveVolume, Reach, Untouched};
use crate::model::plan::Purpose;
use crate::model::side::{Pair, Side};
use crate::model::stage::Stage;

/// A live plan that passed the audit. There is no other way to get one:
///
/// ```compile_fail,E0451
/// use unsplit::{judge::audit_live::SealedLivePlan, model::{id::PlanId, live_plan::LivePlan}};
/// fn forge(plan: LivePlan, id: PlanId) -> SealedLivePlan {
///     SealedLivePlan { plan, id }
/// }
/// ```
///
/// ```
/// use unsplit::{judge::{audit::Finding, audit_live::{SealedLivePlan, unseal_stored}}, model::{id::Digest, live_plan::LivePlan}};
/// fn ask(plan: LivePlan, canonical: Digest) -> Result<SealedLivePlan, Vec<Finding>> {
///     unseal_stored(plan, canonical)
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedLivePlan {
    plan: LivePlan,
    id: PlanId,
}

impl SealedLivePlan {
    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &LivePlan {
        &self.plan
    }

    /// Its identity.
    #[must_use]
    pub fn id(&self) -> PlanId {
        self.id
    }
}

/// What was found out about one volume.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'e> {
    /// What was read of both sides' metadata.
    pub evidence: &'e Pair<Evidence>,
    /// What differs.
    pub delta: &'e Delta,
}

/// Audits a healing against what it claims to be drawn from: `seen`, one for each volume, in order. `canonical` is the BLAKE3 of
/// the plan's canonical form.
///
/// # Errors
/// Everything that is wrong with it.
pub fn seal(plan: LivePlan, canonical: Digest, seen: &[Seen<'_>]) -> Result<SealedLivePlan, Vec<Finding>> {
    let mut out = structure(&plan);
    note(&mut out, "purpose", plan.purpose != Purpose::Heal, || {
        "only a healing is drawn from a delta".into()
    });
    note(&mut out, "volumes", plan.volumes.len() != seen.len(), || {
        format!("{} volumes were looked at, the plan has {}", seen.len(), plan.volumes.len())
    });
    for (volume, seen) in plan.volumes.iter().zip(seen) {
        as_seen(&plan, volume, *seen, &mut out);
    }
    finish(plan, canonical, out)
}

/// Audits an undo against the healing that it undoes.
///
/// # Errors
/// Everything that is wrong with it.
pub fn seal_undo(
    plan: LivePlan,
    canonical: Digest,
    healed: &LivePlan,
) -> Result<SealedLivePlan, Vec<Finding>> {
    let mut out = structure(&plan);
    note(&mut out, "purpose", plan.purpose == Purpose::Heal, || "a healing undoes nothing".into());
    let about = |plan: &LivePlan| {
        let volumes: Vec<_> = plan.volumes.iter().map(|one| (one.volume, one.size, one.minors)).collect();
        (plan.resource.clone(), plan.names.clone(), plan.machines.clone(), plan.toward.clone(), volumes)
    };
    note(&mut out, "undoes-that", about(&plan) != about(healed), || {
        "the undo is about another resource, other nodes or other volumes than the healing".into()
    });
    note(&mut out, "undoes-that", plan.survivor != healed.survivor, || {
        format!("the healing kept side {}'s data", healed.survivor)
    });
    for (undo, healed) in plan.volumes.iter().zip(&healed.volumes) {
        let missing = healed.overwrite.subtract(&undo.overwrite).bytes();
        note(&mut out, "puts-all-back", missing > 0, || {
            format!("volume {}: {missing} bytes that the healing overwrote are not put back", undo.volume)
        });
    }
    finish(plan, canonical, out)
}

/// Audits a plan that was stored: everything that can be told from the plan itself. That it still fits the world is looked at when
/// it runs, before anything is kept or overwritten.
///
/// # Errors
/// Everything that is wrong with it.
pub fn unseal_stored(plan: LivePlan, canonical: Digest) -> Result<SealedLivePlan, Vec<Finding>> {
    let findings = structure(&plan);
    finish(plan, canonical, findings)
}

fn finish(plan: LivePlan, canonical: Digest, findings: Vec<Finding>) -> Result<SealedLivePlan, Vec<Finding>> {
    if findings.is_empty() { Ok(SealedLivePlan { plan, id: PlanId(canonical) }) } else { Err(findings) }
}

fn note(out: &mut Vec<Finding>, rule: &'static str, wrong: bool, what: impl FnOnce() -> String) {
    if wrong {
        out.push(Finding { rule, what: what() });
    }
}

fn structure(plan: &LivePlan) -> Vec<Finding> {
    let mut findings = Vec::new();
    let out = &mut findings;
    note(out, "schema", plan.version != 1, || format!("version {} is not 1", plan.version));
    note(out, "two-sides", plan.names.a == plan.names.b, || {
        format!("both nodes are called {}", plan.names.a)
    });
    let same_machine = plan.machines.a.is_some() && plan.machines.a == plan.machines.b;
    note(out, "two-sides", same_machine, || "both nodes are the same machine".into());
    for (side, toward) in plan.toward.iter() {
        let names_peer = toward.peer.is_some() == (plan.generation == Generation::V9);
        note(out, "connection", !names_peer, || {
            format!("side {side} does not name its connection as {}", plan.generation)
        });
        note(out, "connection", toward.resource != plan.resource, || {
            format!("side {side} names a connection of {}", toward.resource)
        });
    }
    note(out, "volumes", plan.volumes.is_empty(), || "there is no volume".into());
    let ascending = plan.volumes.windows(2).all(|pair| pair[0].volume < pair[1].volume);
    note(out, "volumes", !ascending, || "a volume stands twice, or out of order".into());
    for volume in &plan.volumes {
        sound(plan, volume, out);
    }
    order(plan, out);
    numbers(plan, out);
    findings
}

/// What one volume of any plan must be.
fn sound(plan: &LivePlan, volume: &LiveVolume, out: &mut Vec<Finding>) {
    let number = volume.volume;
    let end = volume.guarded().end().max(volume.survivor_marks.as_ref().map_or(0, ExtentSet::end));
    note(out, "inside", end > volume.size, || format!("volume {number} ends before byte {end}"));
    for side in Side::BOTH {
        note(out, "inside", volume.size > volume.sources[side].data_size, || {
            format!("volume {number}: side {side}'s device is smaller than the replicated data")
        });
    }
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

/// What a plan tells must add up: a person agreed to these numbers.
fn numbers(plan: &LivePlan, out: &mut Vec<Finding>) {
    let all = plan.bytes();
    for step in &plan.steps {
        if let LiveStep::Preserve { bytes } | LiveStep::WriteBack { bytes } = step {
            note(out, "numbers", *bytes != all, || {
                format!("`{}` says {bytes} bytes, {all} are overwritten", step.word())
            });
        }
    }
    if plan.purpose != Purpose::Heal {
        return;
    }
    for volume in &plan.volumes {
        let (number, bytes) = (volume.volume, volume.overwrite.bytes());
        let lost: u64 = volume.losses.iter().fold(0, |sum, unit| {
            let parts = [unit.victim_only, unit.both, unit.survivor_only, unit.unmarked];
            parts.into_iter().fold(sum, u64::saturating_add)
        });
        note(out, "losses", lost != bytes, || {
            format!("volume {number}: the losses told add up to {lost} bytes, {bytes} are overwritten")
        });
        note(out, "losses", volume.doubtful > bytes, || {
            format!("volume {number}: {} bytes in doubt, {bytes} are overwritten", volume.doubtful)
        });
    }
}

fn order(plan: &LivePlan, out: &mut Vec<Finding>) {
    let at = |word: &str| plan.steps.iter().position(|step| step.word() == word);
    let heal = plan.purpose == Purpose::Heal;
    let wanted: &[&str] = if heal {
        &[
            "isolate",
            "demote",
            "check-basis",
            "preserve",
            "reconnect",
            "resync",
            "verify-relation",
            "verify-content",
            "restore-policies",
            "record",
        ]
    } else {
        &["promote", "check-basis", "preserve", "write-back", "verify-content", "step-down", "record"]
    };
    for word in wanted {
        let count = plan.steps.iter().filter(|step| step.word() == *word).count();
        note(out, "exactly-once", count != 1, || {
            format!("a plan has exactly one step `{word}`, this one {count}")
        });
    }
    for pair in wanted.windows(2) {
        let turned = matches!((at(pair[0]), at(pair[1])), (Some(first), Some(then)) if first > then);
        note(out, "order", turned, || format!("`{}` comes after `{}`", pair[0], pair[1]));
    }
    for step in &plan.steps {
        let word = step.word();
        let optional = heal && ["invalidate", "connect-others"].contains(&word);
        note(out, "purpose", !optional && !wanted.contains(&word), || {
            format!("`{word}` does not belong here")
        });
    }
    let first = plan.steps.iter().position(|step| step.stage() >= Stage::Overwrite);
    let mut before = |earlier: &str, rule: &'static str, what: &str| {
        let fine = matches!((at(earlier), first), (Some(earlier), Some(first)) if earlier < first);
        note(out, rule, !fine, || what.to_owned());
    };
    before("check-basis", "stale-evidence", "something is overwritten before the basis is checked");
    before("preserve", "discard-before-preserve", "something is overwritten before it is kept");
    if heal {
        before("isolate", "quiesce-first", "something is overwritten before the victim is alone");
        before("demote", "quiesce-first", "something is overwritten while the victim may be Primary");
        let invalidates = plan.volumes.iter().any(|volume| volume.reach == Reach::Invalidate);
        note(out, "reach", invalidates != at("invalidate").is_some(), || {
            "a volume without a common base is invalidated on 8.4, and no other".into()
        });
        let turned = matches!((at("invalidate"), at("reconnect")), (Some(first), Some(then)) if first > then);
        note(out, "reach", turned, || "it is invalidated before it connects".into());
    } else {
        note(out, "salvage", !plan.salvage, || "an undo keeps what it overwrites".into());
    }
    let last = plan.steps.iter().rposition(|step| step.stage() == Stage::Overwrite);
    let verified = matches!((last, at("verify-content")), (Some(last), Some(verify)) if last < verify);
    note(out, "verify-last", !verified, || "the content is verified before the last change".into());
    note(out, "record-last", at("record").is_some_and(|record| record + 1 != plan.steps.len()), || {
        "steps follow the record".into()
    });
}

/// A volume of a healing, against what it was drawn from.
fn as_seen(plan: &LivePlan, volume: &LiveVolume, seen: Seen<'_>, out: &mut Vec<Finding>) {
    let (number, victim, Seen { evidence, delta }) = (volume.volume, plan.victim(), seen);
    note(out, "everything-that-differs", volume.overwrite != delta.differs, || {
        let missing = delta.differs.subtract(&volume.overwrite).bytes();
        let extra = volume.overwrite.subtract(&delta.differs).bytes();
        format!(
            "volume {number}: {missing} differing bytes are left out and {extra} equal bytes are included"
        )
    });
    note(out, "unreadable", !delta.unreadable.is_empty(), || {
        format!("volume {number}: {} extents could not be read", delta.unreadable.len())
    });
    note(out, "inside", volume.size != delta.size, || {
        format!("volume {number}: a plan for {} bytes, {} were compared", volume.size, delta.size)
    });
    note(out, "common-base", (volume.reach == Reach::Bitmaps) != delta.marks_complete, || {
        format!("volume {number}: {:?} is not how DRBD reaches all that can differ", volume.reach)
    });
    let unmarked = delta.differs_as(Class::Unmarked).bytes();
    note(out, "reach", volume.reach == Reach::Bitmaps && unmarked > 0, || {
        format!("volume {number}: DRBD follows the bitmaps, which do not mark {unmarked} bytes that differ")
    });
    note(out, "common-base", !delta.marks_complete && delta.compared != delta.size, || {
        format!(
            "volume {number}: the bitmaps have no common base, yet only {} of {} bytes were compared",
            delta.compared, delta.size
        )
    });
    note(out, "marks", volume.victim_marks != evidence[victim].marks.candidates(volume.size), || {
        format!("volume {number}: what {} may have written is not what it marked", plan.names[victim])
    });
    let survivors = evidence[plan.survivor].marks.candidates(volume.size);
    note(out, "marks", volume.survivor_marks != Some(survivors), || {
        format!("volume {number}: what {} may have written is not what it marked", plan.names[plan.survivor])
    });
    note(out, "basis", volume.shown.is_none(), || {
        format!("volume {number}: what its devices counted as written is not told")
    });
    for (side, seen) in evidence.iter() {
        let peer = &evidence[side.other()].superblock;
        note(out, "basis", volume.sources[side] != seen.source, || {
            format!("volume {number}: side {side} was read from another place")
        });
        note(out, "basis", !says(&seen.superblock, peer).same(&volume.generations[side]), || {
            format!("volume {number}: side {side} has another generation than the plan says")
        });
    }
    let kept = &evidence[plan.survivor].superblock;
    note(out, "survivor-consistent", !kept.has(device_flag::CONSISTENT), || {
        format!("volume {number}: side {} is Inconsistent: its data is a mixture", plan.survivor)
    });
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
