//! What only a plan for two images must be: both metadata, before, during and after.

mod metadata;

use super::{Finding, Seen, note};
use crate::model::delta::{Class, Scope};
use crate::model::drbd::{DiskState, GenerationUuid, MetadataFormat, Superblock, device_flag, peer_flag};
use crate::model::extent::ExtentSet;
use crate::model::plan::Purpose;
use crate::model::plan::images::{ImagesPlan, Step};
use crate::model::side::{Pair, Side};

/// Any plan.
pub(super) fn sound(plan: ImagesPlan<'_>, out: &mut Vec<Finding>) {
    places(plan, out);
    order(plan, plan.survivor, plan.victim(), out);
    promised_metadata(plan, plan.survivor, plan.victim(), out);
    metadata::slots(plan, out);
}

/// A healing that has changed nothing yet, against the superblocks that it was drawn from. A stored plan holds them as they
/// stood on disk, which no audit can read: whoever runs it can.
///
/// # Errors
/// What would be written that no resync leaves behind.
pub fn against_basis(plan: ImagesPlan<'_>, before: Pair<&Superblock>) -> Result<(), Vec<Finding>> {
    let mut findings = Vec::new();
    metadata::against_superblocks(plan, before, &mut findings);
    if findings.is_empty() { Ok(()) } else { Err(findings) }
}

/// A healing, against what it was drawn from.
pub(super) fn as_seen(plan: ImagesPlan<'_>, seen: &[Seen<'_>], out: &mut Vec<Finding>) {
    seen.iter().for_each(|seen| against_evidence(plan, *seen, out));
}

/// An undo, against the healing.
pub(super) fn undoes(plan: ImagesPlan<'_>, healed: ImagesPlan<'_>, out: &mut Vec<Finding>) {
    let same = plan.resource == healed.resource && plan.volume.at == healed.volume.at;
    note(out, "undoes-that", !same, || "the undo is about other devices than the healing".to_owned());
    note(out, "undoes-that", plan.ground.metadata != healed.ground.metadata, || {
        "the undo speaks of other metadata than the healing wrote".to_owned()
    });
}

/// A stored undo, against the healing that it undoes: what the audit of a new one asks, asked again when it runs.
///
/// # Errors
/// Everything that is wrong with it.
pub fn against_healing(plan: ImagesPlan<'_>, healed: ImagesPlan<'_>) -> Result<(), Vec<Finding>> {
    let mut findings = Vec::new();
    undoes(plan, healed, &mut findings);
    if findings.is_empty() { Ok(()) } else { Err(findings) }
}

/// Position of the only step that `is` recognises; a finding when there is none or more than one.
fn only(
    plan: ImagesPlan<'_>,
    findings: &mut Vec<Finding>,
    word: &str,
    is: impl Fn(&Step) -> bool,
) -> Option<usize> {
    let mut places = plan.ground.steps.iter().enumerate().filter(|(_, step)| is(step)).map(|(at, _)| at);
    let first = places.next();
    note(findings, "exactly-once", first.is_none() || places.next().is_some(), || {
        format!("a plan has exactly one step `{word}`")
    });
    first
}

fn places(plan: ImagesPlan<'_>, out: &mut Vec<Finding>) {
    let (at, size) = (&plan.volume.at, plan.volume.size);
    note(out, "volumes", plan.volume.number != 0, || "the only volume needs no number".to_owned());
    let one_data = at.a.data == at.b.data;
    let one_metadata = (&at.a.metadata, at.a.superblock_at) == (&at.b.metadata, at.b.superblock_at);
    note(out, "two-sides", at.a.on == at.b.on && (one_data || one_metadata), || {
        format!("both sides stand on {}", at.a.data)
    });
    if let Some(compared) = &plan.ground.compared {
        note(out, "inside", compared.end() > size, || format!("speaks of byte {} of {size}", compared.end()));
        let beside = plan.volume.overwrite.subtract(compared);
        note(out, "everything-compared", !beside.is_empty(), || {
            format!("overwrites {} bytes that it did not compare", beside.bytes())
        });
        note(out, "everything-compared", plan.is_full() && compared.bytes() != size, || {
            format!("verifies all of {size} bytes, compared {}", compared.bytes())
        });
    }
    for (side, change) in plan.ground.metadata.iter() {
        let after = &change.after;
        note(out, "geometry", after.effective_size.checked_mul(512) != Some(size), || {
            format!(
                "side {side} would hold {} sectors afterwards, the plan speaks of {size} bytes",
                after.effective_size
            )
        });
    }
}

fn order(plan: ImagesPlan<'_>, survivor: Side, victim: Side, out: &mut Vec<Finding>) {
    let heal = plan.purpose == Purpose::Heal;
    only(plan, out, "quiesce", |step| *step == Step::Quiesce);
    let mark = only(plan, out, "mark-inconsistent", |step| matches!(step, Step::MarkInconsistent { .. }));
    let overwrite = only(plan, out, "overwrite", |step| matches!(step, Step::Overwrite { .. }));
    let content = only(plan, out, "verify-content", |step| matches!(step, Step::VerifyContent { .. }));
    let changes = |step: &Step| {
        let metadata = matches!(step, Step::SettleMetadata { .. } | Step::RestoreMetadata { .. });
        metadata || matches!(step, Step::Overwrite { .. } | Step::MarkInconsistent { .. })
    };
    let last_act = plan.ground.steps.iter().rposition(changes);
    let relations = plan.ground.steps.iter().filter(|step| **step == Step::VerifyRelation).count();
    let relation = plan.ground.steps.iter().position(|step| *step == Step::VerifyRelation);
    note(out, "exactly-once", relations > 1 || heal && relations == 0, || {
        "a plan has exactly one step `verify-relation`".to_owned()
    });
    let settled = |side| plan.ground.steps.iter().position(|step| *step == Step::SettleMetadata { side });
    let restored = |side| plan.ground.steps.iter().position(|step| *step == Step::RestoreMetadata { side });
    let (rule, on_victim, on_survivor) = match heal {
        true => ("settle", settled(victim), settled(survivor)),
        false => ("restore", restored(victim), restored(survivor)),
    };
    note(out, rule, on_victim.is_none() || on_survivor.is_none(), || {
        "a side's metadata is never settled, or put back".to_owned()
    });
    let mut must = |earlier: Option<usize>, later: Option<usize>, rule: &'static str, what: &str| {
        let turned = matches!((earlier, later), (Some(earlier), Some(later)) if earlier > later);
        note(out, rule, turned, || what.to_owned());
    };
    let unmarked = "data is overwritten before the victim is marked Inconsistent";
    must(mark, overwrite, "half-written-unmarked", unmarked);
    must(last_act, relation, "verify-last", "the relation is verified before the last change");
    must(overwrite, content, "verify-last", "content is verified before it is overwritten");
    must(overwrite, on_victim, rule, "the victim's metadata is settled, or put back, before its data");
    if heal {
        let forgets = "the survivor forgets the difference before the victim has caught up";
        must(on_victim, on_survivor, rule, forgets);
    }
    for step in &plan.ground.steps {
        if let Step::MarkInconsistent { side } | Step::Overwrite { side, .. } = step {
            note(out, "survivor-untouched", *side == survivor, || {
                format!("`{}` would overwrite the survivor", step.word())
            });
        }
    }
}

/// No side's metadata may say that the contents agree, or that the victim is whole, before that was verified.
pub(super) fn as_drawn(plan: ImagesPlan<'_>, out: &mut Vec<Finding>) {
    let content = plan.ground.steps.iter().position(|step| matches!(step, Step::VerifyContent { .. }));
    let said = plan
        .ground
        .steps
        .iter()
        .position(|step| matches!(step, Step::SettleMetadata { .. } | Step::RestoreMetadata { .. }));
    let before = matches!((content, said), (Some(content), Some(said)) if content < said);
    note(out, "proven-before-said", !before, || {
        "the metadata would say that all is well before the contents were verified".to_owned()
    });
    let unseen = plan.purpose != Purpose::Heal && !plan.ground.steps.contains(&Step::VerifyRelation);
    note(out, "exactly-once", unseen, || "a plan has exactly one step `verify-relation`".to_owned());
    note(out, "everything-compared", plan.ground.compared.is_none(), || {
        "the plan does not say what was compared".to_owned()
    });
    let all = plan.ground.compared.as_ref().is_some_and(|compared| compared.bytes() == plan.volume.size);
    note(out, "common-base", !plan.ground.common_base && !all, || {
        "the bitmaps have no common base, yet not everything was compared".to_owned()
    });
    // An undo repeats what its healing said, and writes none of it.
    if plan.purpose == Purpose::Heal {
        metadata::complete(plan, out);
    }
}

/// What a completed resync leaves behind, checked from the outside: equal generations, nothing left to sync.
fn promised_metadata(plan: ImagesPlan<'_>, survivor: Side, victim: Side, out: &mut Vec<Finding>) {
    let after = plan.ground.metadata.as_ref().map(|change| &change.after);
    note(out, "same-generation", !after.a.current.same(after.b.current), || {
        format!("the sides would have generations {} and {}", after.a.current, after.b.current)
    });
    note(out, "same-generation", after.a.current == GenerationUuid::UNSET, || {
        "the sides would have no generation".to_owned()
    });
    for (side, superblock) in after.iter() {
        let peer = (superblock.format == MetadataFormat::V09).then(|| after[side.other()].node_id);
        note(out, "nothing-left", superblock.bitmap_toward(peer) != GenerationUuid::UNSET, || {
            format!("side {side} would still collect changes against the other")
        });
        for (flag, word) in
            [(device_flag::PRIMARY_IND, "Primary"), (device_flag::CRASHED_PRIMARY, "a crashed Primary")]
        {
            note(out, "nothing-left", superblock.has(flag), || format!("side {side} would attach as {word}"));
        }
        note(
            out,
            "nothing-left",
            superblock.format == MetadataFormat::V08 && superblock.has(device_flag::FULL_SYNC),
            || format!("side {side} would still want a full sync"),
        );
        note(
            out,
            "nothing-left",
            superblock.peer(peer).is_some_and(|slot| slot.flags & peer_flag::FULL_SYNC != 0),
            || format!("side {side} would still want a full sync"),
        );
        note(out, "up-to-date", disk_state(superblock) != DiskState::UpToDate, || {
            format!("side {side} would not be UpToDate")
        });
        let slot = match peer {
            None => Some(0),
            Some(_) => superblock.peer(peer).and_then(|slot| u32::try_from(slot.bitmap_index).ok()),
        };
        note(
            out,
            "nothing-left",
            slot.is_some_and(|slot| !plan.ground.metadata[side].clear_slots.contains(&slot)),
            || format!("side {side}'s bitmap for the other is not cleared"),
        );
        note(
            out,
            "third-peers",
            plan.ground.metadata[side].clear_slots.iter().any(|cleared| Some(*cleared) != slot),
            || format!("side {side}'s bitmap for a third peer would be cleared"),
        );
    }
    let during = plan.ground.metadata[victim].during.as_ref();
    note(
        out,
        "half-written-unmarked",
        during.is_none_or(|sb| disk_state(sb) != DiskState::Inconsistent),
        || "the victim would not be Inconsistent while it is being overwritten".to_owned(),
    );
    note(out, "survivor-untouched", plan.ground.metadata[survivor].during.is_some(), || {
        "the survivor would be marked Inconsistent".to_owned()
    });
}

fn disk_state(superblock: &Superblock) -> DiskState {
    match (superblock.has(device_flag::CONSISTENT), superblock.has(device_flag::WAS_UP_TO_DATE)) {
        (false, _) => DiskState::Inconsistent,
        (true, false) => DiskState::Outdated,
        (true, true) => DiskState::UpToDate,
    }
}

fn against_evidence(plan: ImagesPlan<'_>, seen: Seen<'_>, out: &mut Vec<Finding>) {
    let Some((evidence, delta)) = seen.of_drbd(out) else { return };
    let looked_at = match delta.scope {
        Scope::Everything => ExtentSet::whole(delta.size),
        Scope::Candidates => {
            Class::ALL[..3].iter().fold(ExtentSet::empty(), |all, class| all.union(&delta.marked_as(*class)))
        }
    };
    let left_out = looked_at.subtract(plan.ground.compared.as_ref().unwrap_or(&ExtentSet::empty()));
    note(out, "everything-compared", !left_out.is_empty(), || {
        format!("{} bytes that were compared could change unseen", left_out.bytes())
    });
    note(out, "common-base", plan.ground.common_base != delta.marks_complete, || {
        let says = if plan.ground.common_base { "have" } else { "have not" };
        format!("the plan says that the bitmaps {says} a common base")
    });
    for (side, seen) in evidence.iter() {
        let basis = &plan.ground.basis[side];
        note(out, "basis", basis.area != seen.area_digest, || {
            format!("side {side}'s metadata area is not the one seen")
        });
        note(out, "basis", basis.content != delta.content[side], || {
            format!("side {side}'s content is not the one compared")
        });
        note(out, "names", plan.names[side] != seen.name, || format!("side {side} is called {}", seen.name));
    }
    metadata::against_superblocks(plan, evidence.as_ref().map(|seen| &seen.superblock), out);
}
