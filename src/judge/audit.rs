//! The audit: an independent reading of a plan before it may run. Shares no code with the planner; it knows
//! the model, the promises, and what the evidence says.

use crate::model::delta::{Class, Delta, Scope};
use crate::model::drbd::{DiskState, GenerationUuid, MetadataFormat, Superblock, device_flag, peer_flag};
use crate::model::evidence::Evidence;
use crate::model::extent::ExtentSet;
use crate::model::id::{Digest, PlanId};
use crate::model::plan::{Plan, Purpose, Step};
use crate::model::side::{Pair, Side};

/// One thing wrong with a plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{rule}: {what}")]
pub struct Finding {
    /// The rule that is broken.
    pub rule: &'static str,
    /// Where and how.
    pub what: String,
}

/// A plan that passed the audit, with its id. Only sealed plans run.
///
/// There is no other way to get one than [`seal`] and [`unseal_stored`]:
///
/// ```compile_fail,E0451
/// use unsplit::{judge::audit::SealedPlan, model::{id::PlanId, plan::Plan}};
/// fn forge(plan: Plan, id: PlanId) -> SealedPlan {
///     SealedPlan { plan, id }
/// }
/// ```
///
/// while asking the audit compiles:
///
/// ```
/// use unsplit::{judge::audit::{Finding, SealedPlan, unseal_stored}, model::{id::Digest, plan::Plan}};
/// fn ask(plan: Plan, canonical: Digest) -> Result<SealedPlan, Vec<Finding>> {
///     unseal_stored(plan, canonical)
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedPlan {
    plan: Plan,
    id: PlanId,
}

impl SealedPlan {
    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Its identity.
    #[must_use]
    pub fn id(&self) -> PlanId {
        self.id
    }
}

/// Audits a healing plan against the evidence it claims to be drawn from.
///
/// `canonical` is the BLAKE3 of the plan's canonical form.
///
/// # Errors
/// Everything that is wrong with it.
pub fn seal(
    plan: Plan,
    canonical: Digest,
    evidence: &Pair<Evidence>,
    delta: &Delta,
) -> Result<SealedPlan, Vec<Finding>> {
    let mut findings = structure(&plan);
    proven_before_said(&plan, &mut findings);
    against_evidence(&plan, evidence, delta, &mut findings);
    finish(plan, canonical, findings)
}

/// Audits an undo that was just drawn.
///
/// # Errors
/// Everything that is wrong with it.
pub fn seal_undo(plan: Plan, canonical: Digest) -> Result<SealedPlan, Vec<Finding>> {
    let mut findings = structure(&plan);
    note(&mut findings, "purpose", plan.purpose == Purpose::Heal, || "this is no undo".to_owned());
    proven_before_said(&plan, &mut findings);
    finish(plan, canonical, findings)
}

/// Audits a plan that was stored: everything that can be told from the plan itself. That it still fits the world is
/// checked by its `check-basis` step. Plans of earlier versions verified contents last; whoever runs one proves them before any
/// metadata is settled all the same.
///
/// # Errors
/// Everything that is wrong with it.
pub fn unseal_stored(plan: Plan, canonical: Digest) -> Result<SealedPlan, Vec<Finding>> {
    let findings = structure(&plan);
    finish(plan, canonical, findings)
}

fn finish(plan: Plan, canonical: Digest, findings: Vec<Finding>) -> Result<SealedPlan, Vec<Finding>> {
    if findings.is_empty() { Ok(SealedPlan { plan, id: PlanId(canonical) }) } else { Err(findings) }
}

fn note(findings: &mut Vec<Finding>, rule: &'static str, wrong: bool, what: impl FnOnce() -> String) {
    if wrong {
        findings.push(Finding { rule, what: what() });
    }
}

/// Position of the only step that `is` recognises; a finding when there is none or more than one.
fn only(plan: &Plan, findings: &mut Vec<Finding>, word: &str, is: impl Fn(&Step) -> bool) -> Option<usize> {
    let mut places = plan.steps.iter().enumerate().filter(|(_, step)| is(step)).map(|(at, _)| at);
    let first = places.next();
    note(findings, "exactly-once", first.is_none() || places.next().is_some(), || {
        format!("a plan has exactly one step `{word}`")
    });
    first
}

fn structure(plan: &Plan) -> Vec<Finding> {
    let mut findings = Vec::new();
    let out = &mut findings;
    let (survivor, victim) = (plan.survivor, plan.victim());
    note(out, "schema", plan.version != 1, || format!("version {} is not 1", plan.version));
    note(out, "two-sides", plan.names.a == plan.names.b, || {
        format!("both sides are called {}", plan.names.a)
    });
    let sources =
        plan.basis.as_ref().map(|side| (&side.source.data, &side.source.metadata, side.source.superblock_at));
    note(
        out,
        "two-sides",
        sources.a.0 == sources.b.0 || (sources.a.1, sources.a.2) == (sources.b.1, sources.b.2),
        || format!("both sides stand on {}", sources.a.0),
    );
    note(out, "inside", plan.overwrite.end() > plan.size, || {
        format!("overwrites up to byte {} of {}", plan.overwrite.end(), plan.size)
    });
    if let Some(compared) = &plan.compared {
        note(out, "inside", compared.end() > plan.size, || {
            format!("speaks of byte {} of {}", compared.end(), plan.size)
        });
        let beside = plan.overwrite.subtract(compared);
        note(out, "everything-compared", !beside.is_empty(), || {
            format!("overwrites {} bytes that it did not compare", beside.bytes())
        });
        note(out, "everything-compared", plan.is_full() && compared.bytes() != plan.size, || {
            format!("verifies all of {} bytes, compared {}", plan.size, compared.bytes())
        });
    }
    for (side, basis) in plan.basis.iter() {
        note(out, "inside", plan.size > basis.source.data_size, || {
            format!(
                "side {side} has {} bytes, fewer than the {} replicated",
                basis.source.data_size, plan.size
            )
        });
        let after = &plan.metadata[side].after;
        note(out, "geometry", after.effective_size * 512 != plan.size, || {
            format!(
                "side {side} would hold {} sectors afterwards, the plan speaks of {} bytes",
                after.effective_size, plan.size
            )
        });
    }
    order(plan, survivor, victim, out);
    promised_metadata(plan, survivor, victim, out);
    findings
}

fn order(plan: &Plan, survivor: Side, victim: Side, out: &mut Vec<Finding>) {
    let heal = plan.purpose == Purpose::Heal;
    let quiesce = only(plan, out, "quiesce", |s| *s == Step::Quiesce);
    let check = only(plan, out, "check-basis", |s| *s == Step::CheckBasis);
    let mark = only(plan, out, "mark-inconsistent", |s| matches!(s, Step::MarkInconsistent { .. }));
    let overwrite = only(plan, out, "overwrite", |s| matches!(s, Step::Overwrite { .. }));
    let record = only(plan, out, "record", |s| *s == Step::Record);
    let content = only(plan, out, "verify-content", |s| matches!(s, Step::VerifyContent { .. }));
    let last_act = plan.steps.iter().rposition(|step| {
        matches!(
            step,
            Step::Overwrite { .. }
                | Step::SettleMetadata { .. }
                | Step::RestoreMetadata { .. }
                | Step::MarkInconsistent { .. }
        )
    });
    let relations = plan.steps.iter().filter(|step| **step == Step::VerifyRelation).count();
    let relation = plan.steps.iter().position(|step| *step == Step::VerifyRelation);
    note(out, "exactly-once", relations > 1 || heal && relations == 0, || {
        "a plan has exactly one step `verify-relation`".to_owned()
    });
    let ascending = |earlier: Option<usize>, later: Option<usize>| match (earlier, later) {
        (Some(earlier), Some(later)) => earlier < later,
        _ => true,
    };
    let mut must = |earlier: Option<usize>, later: Option<usize>, rule: &'static str, what: &str| {
        note(out, rule, !ascending(earlier, later), || what.to_owned());
    };
    must(quiesce, check, "quiesce-first", "the basis is checked before writers are kept out");
    must(check, mark, "stale-evidence", "something is overwritten before the basis is checked");
    must(
        mark,
        overwrite,
        "half-written-unmarked",
        "data is overwritten before the victim is marked Inconsistent",
    );
    must(overwrite, content, "verify-last", "content is verified before it is overwritten");
    must(last_act, relation, "verify-last", "the relation is verified before the last change");
    must(content, record, "record-last", "the incident is closed before it is verified");
    note(out, "record-last", record.is_some_and(|at| at + 1 != plan.steps.len()), || {
        "steps follow the record".to_owned()
    });

    if heal {
        let preserve = only(plan, out, "preserve", |s| matches!(s, Step::Preserve { .. }));
        note(out, "discard-before-preserve", !ascending(preserve, mark), || {
            "the victim is changed before it is preserved".to_owned()
        });
        note(out, "stale-evidence", !ascending(check, preserve), || {
            "the copy is taken before the basis is checked".to_owned()
        });
        let settled = |side| plan.steps.iter().position(|s| *s == Step::SettleMetadata { side });
        note(out, "settle", settled(victim).is_none() || settled(survivor).is_none(), || {
            "a side's metadata is never settled".to_owned()
        });
        note(out, "settle", !ascending(overwrite, settled(victim)), || {
            "the victim claims to be current before its data is".to_owned()
        });
        note(out, "settle", !ascending(settled(victim), settled(survivor)), || {
            "the survivor forgets the difference before the victim has caught up".to_owned()
        });
    } else {
        let restored = |side| plan.steps.iter().position(|s| *s == Step::RestoreMetadata { side });
        note(out, "restore", restored(victim).is_none() || restored(survivor).is_none(), || {
            "a side's metadata is never put back".to_owned()
        });
        note(out, "restore", !ascending(overwrite, restored(victim)), || {
            "the victim's old metadata is put back before its data".to_owned()
        });
        note(out, "restore", !plan.salvage, || "nothing was kept, so nothing can be put back".to_owned());
    }
    for step in &plan.steps {
        match step {
            Step::MarkInconsistent { side } | Step::Overwrite { side, .. } => {
                note(out, "survivor-untouched", *side == survivor, || {
                    format!("`{}` would overwrite the survivor", step.word())
                });
            }
            Step::Preserve { bytes } => note(out, "numbers", *bytes != plan.overwrite.bytes(), || {
                format!("preserves {bytes} bytes, overwrites {}", plan.overwrite.bytes())
            }),
            _ => {}
        }
        if let Step::Overwrite { bytes, .. } = step {
            note(out, "numbers", *bytes != plan.overwrite.bytes(), || {
                format!("step says {bytes} bytes, the extents are {}", plan.overwrite.bytes())
            });
        }
    }
}

/// No side's metadata may say that the contents agree, or that the victim is whole, before that was verified.
fn proven_before_said(plan: &Plan, out: &mut Vec<Finding>) {
    let content = plan.steps.iter().position(|step| matches!(step, Step::VerifyContent { .. }));
    let said = plan
        .steps
        .iter()
        .position(|step| matches!(step, Step::SettleMetadata { .. } | Step::RestoreMetadata { .. }));
    let before = matches!((content, said), (Some(content), Some(said)) if content < said);
    note(out, "proven-before-said", !before, || {
        "the metadata would say that all is well before the contents were verified".to_owned()
    });
    let unseen = plan.purpose != Purpose::Heal && !plan.steps.contains(&Step::VerifyRelation);
    note(out, "exactly-once", unseen, || "a plan has exactly one step `verify-relation`".to_owned());
    note(out, "everything-compared", plan.compared.is_none(), || {
        "the plan does not say what was compared".to_owned()
    });
}

/// What a completed resync leaves behind, checked from the outside: equal generations, nothing left to sync.
fn promised_metadata(plan: &Plan, survivor: Side, victim: Side, out: &mut Vec<Finding>) {
    let after = plan.metadata.as_ref().map(|change| &change.after);
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
            slot.is_some_and(|slot| !plan.metadata[side].clear_slots.contains(&slot)),
            || format!("side {side}'s bitmap for the other is not cleared"),
        );
        note(
            out,
            "third-peers",
            plan.metadata[side].clear_slots.iter().any(|cleared| Some(*cleared) != slot),
            || format!("side {side}'s bitmap for a third peer would be cleared"),
        );
    }
    let during = plan.metadata[victim].during.as_ref();
    note(
        out,
        "half-written-unmarked",
        during.is_none_or(|sb| disk_state(sb) != DiskState::Inconsistent),
        || "the victim would not be Inconsistent while it is being overwritten".to_owned(),
    );
    note(out, "survivor-untouched", plan.metadata[survivor].during.is_some(), || {
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

fn against_evidence(plan: &Plan, evidence: &Pair<Evidence>, delta: &Delta, out: &mut Vec<Finding>) {
    let (survivor, victim) = (plan.survivor, plan.victim());
    note(out, "purpose", plan.purpose != Purpose::Heal, || "only a healing is drawn from a delta".to_owned());
    note(out, "everything-that-differs", plan.overwrite != delta.differs, || {
        let missing = delta.differs.subtract(&plan.overwrite).bytes();
        let extra = plan.overwrite.subtract(&delta.differs).bytes();
        format!("{missing} differing bytes are left out and {extra} equal bytes are included")
    });
    let looked_at = match delta.scope {
        Scope::Everything => ExtentSet::whole(delta.size),
        Scope::Candidates => {
            Class::ALL[..3].iter().fold(ExtentSet::empty(), |all, class| all.union(&delta.marked_as(*class)))
        }
    };
    let left_out = looked_at.subtract(plan.compared.as_ref().unwrap_or(&ExtentSet::empty()));
    note(out, "everything-compared", !left_out.is_empty(), || {
        format!("{} bytes that were compared could change unseen", left_out.bytes())
    });
    note(out, "unreadable", !delta.unreadable.is_empty(), || {
        format!("{} extents could not be read", delta.unreadable.len())
    });
    note(out, "inside", plan.size != delta.size, || {
        format!("plan for {} bytes, compared {}", plan.size, delta.size)
    });
    note(out, "common-base", plan.common_base != delta.marks_complete, || {
        let says = if plan.common_base { "have" } else { "have not" };
        format!("the plan says that the bitmaps {says} a common base")
    });
    if !delta.marks_complete {
        let all = delta.compared == delta.size;
        note(out, "common-base", !all, || {
            format!(
                "the bitmaps have no common base, yet only {} of {} bytes were compared",
                delta.compared, delta.size
            )
        });
    }
    let unmarked = delta.differs_as(Class::Unmarked).bytes();
    let lost: u64 = plan
        .losses
        .iter()
        .map(|unit| unit.victim_only + unit.both + unit.survivor_only + unit.unmarked)
        .sum();
    note(out, "losses", lost != delta.differs.bytes(), || {
        format!(
            "the losses told add up to {lost} bytes, {} differ ({unmarked} of them unmarked)",
            delta.differs.bytes()
        )
    });
    for (side, seen) in evidence.iter() {
        let basis = &plan.basis[side];
        note(out, "basis", basis.source != seen.source, || {
            format!("side {side} was read from another place")
        });
        note(out, "basis", basis.area != seen.area_digest, || {
            format!("side {side}'s metadata area is not the one seen")
        });
        note(out, "basis", basis.content != delta.content[side], || {
            format!("side {side}'s content is not the one compared")
        });
        note(out, "names", plan.names[side] != seen.name, || format!("side {side} is called {}", seen.name));
        let after = &plan.metadata[side].after;
        note(out, "geometry", !same_geometry(after, &seen.superblock), || {
            format!("side {side}'s metadata would get another geometry or identity")
        });
    }
    let kept = &evidence[survivor].superblock;
    note(out, "survivor-consistent", disk_state(kept) == DiskState::Inconsistent, || {
        format!("side {survivor} is Inconsistent: its data is a mixture and cannot be kept")
    });
    note(out, "same-generation", !plan.metadata[victim].after.current.same(kept.current), || {
        format!(
            "afterwards both would have generation {}, not the survivor's {}",
            plan.metadata[victim].after.current, kept.current
        )
    });
    note(out, "nothing-lost-untold", plan.overwrite != ExtentSet::empty() && plan.losses.is_empty(), || {
        "something is overwritten, but no loss is told".to_owned()
    });
}

/// Everything a healing must never change in a superblock.
fn same_geometry(after: &Superblock, before: &Superblock) -> bool {
    after.format == before.format
        && after.effective_size == before.effective_size
        && after.device_uuid == before.device_uuid
        && after.md_size == before.md_size
        && after.al_offset == before.al_offset
        && after.bm_offset == before.bm_offset
        && after.bm_bytes_per_bit == before.bm_bytes_per_bit
        && after.max_peers == before.max_peers
        && after.node_id == before.node_id
        && after.al_stripes == before.al_stripes
        && after.al_stripe_size_4k == before.al_stripe_size_4k
}
