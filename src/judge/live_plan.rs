//! Plans for running resources: drawing them, and auditing them before they may run. The audit reads the finished plan and
//! shares nothing with what drew it.

use crate::judge::audit::Finding;
use crate::judge::lineage::{Handshake, compare_in};
use crate::model::drbd::{DiskState, Role};
use crate::model::drbd_live::Generation;
use crate::model::extent::ExtentSet;
use crate::model::id::{Digest, IncidentId, PlanId};
use crate::model::lineage::{Lineage, Reconnect};
use crate::model::live_plan::{LivePlan, LiveStep, Reach};
use crate::model::plan::Purpose;
use crate::model::policy::Settings;
use crate::model::side::{Pair, Side};

/// The steps that heal a running resource. `others`: it has nodes beside the two.
#[must_use]
pub fn steps(bytes: u64, invalidate: bool, full: bool, others: bool) -> Vec<LiveStep> {
    let mut steps =
        vec![LiveStep::Isolate, LiveStep::Demote, LiveStep::CheckBasis, LiveStep::Preserve { bytes }];
    if invalidate {
        steps.push(LiveStep::Invalidate);
    }
    steps.extend([
        LiveStep::Reconnect,
        LiveStep::Resync,
        LiveStep::VerifyRelation,
        LiveStep::VerifyContent { full },
        LiveStep::RestorePolicies,
    ]);
    if others {
        steps.push(LiveStep::ConnectOthers);
    }
    steps.push(LiveStep::Record);
    steps
}

/// The plan that puts back, through DRBD, what a live healing overwrote. Both nodes hold the survivor's data now, so what is
/// overwritten, and kept first, is the survivor's. `kept`: for each volume what the salvage holds of it, and the digest of what
/// stands there now.
#[must_use]
pub fn draw_undo(healed: &LivePlan, incident: IncidentId, kept: Vec<(ExtentSet, Digest)>) -> LivePlan {
    let mut plan = healed.clone();
    let bytes = kept.iter().map(|(extents, _)| extents.bytes()).sum();
    let lost = &healed.names[healed.victim()];
    plan.trace.push(
        "undo",
        format!("incident {incident} overwrote {bytes} bytes of {lost}'s data"),
        format!("write what {lost} held through DRBD to both nodes, after keeping what stands there now"),
    );
    plan.purpose = Purpose::Undo { incident };
    for (volume, (extents, content)) in plan.volumes.iter_mut().zip(kept) {
        volume.victim_marks = ExtentSet::empty();
        volume.overwrite = extents;
        volume.content = content;
        volume.losses = Vec::new();
        volume.doubtful = 0;
    }
    plan.salvage = true;
    plan.steps = vec![
        LiveStep::Promote,
        LiveStep::CheckBasis,
        LiveStep::Preserve { bytes },
        LiveStep::WriteBack { bytes },
        LiveStep::VerifyContent { full: false },
        LiveStep::StepDown,
        LiveStep::Record,
    ];
    plan
}

/// A live plan that passed the audit. There is no other way to get one:
///
/// ```compile_fail,E0451
/// use unsplit::{judge::live_plan::SealedLivePlan, model::{id::PlanId, live_plan::LivePlan}};
/// fn forge(plan: LivePlan, id: PlanId) -> SealedLivePlan {
///     SealedLivePlan { plan, id }
/// }
/// ```
///
/// ```
/// use unsplit::{judge::{audit::Finding, live_plan::{SealedLivePlan, seal}}, model::{id::Digest, live_plan::LivePlan}};
/// fn ask(plan: LivePlan, canonical: Digest) -> Result<SealedLivePlan, Vec<Finding>> {
///     seal(plan, canonical)
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

/// Audits a plan. `canonical` is the BLAKE3 of its canonical form.
///
/// # Errors
/// Everything that is wrong with it.
pub fn seal(plan: LivePlan, canonical: Digest) -> Result<SealedLivePlan, Vec<Finding>> {
    let findings = audit(&plan);
    if findings.is_empty() { Ok(SealedLivePlan { plan, id: PlanId(canonical) }) } else { Err(findings) }
}

fn audit(plan: &LivePlan) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut note = |rule: &'static str, wrong: bool, what: String| {
        if wrong {
            findings.push(Finding { rule, what });
        }
    };
    note("schema", plan.version != 1, format!("version {} is not 1", plan.version));
    note("two-sides", plan.names.a == plan.names.b, format!("both nodes are called {}", plan.names.a));
    let same_machine = plan.machines.a.is_some() && plan.machines.a == plan.machines.b;
    note("two-sides", same_machine, "both nodes are the same machine".to_owned());
    note("volumes", plan.volumes.is_empty(), "there is no volume".to_owned());
    for (side, toward) in plan.toward.iter() {
        let names_peer = toward.peer.is_some() == (plan.generation == Generation::V9);
        note(
            "connection",
            !names_peer,
            format!("side {side} does not name its connection as {}", plan.generation),
        );
        note(
            "connection",
            toward.resource != plan.resource,
            format!("side {side} names a connection of {}", toward.resource),
        );
    }
    let mut numbers: Vec<u32> = plan.volumes.iter().map(|volume| volume.volume).collect();
    numbers.dedup();
    let ascending = numbers.windows(2).all(|pair| pair[0] < pair[1]) && numbers.len() == plan.volumes.len();
    note("volumes", !ascending, "a volume stands twice, or out of order".to_owned());
    for volume in &plan.volumes {
        let number = volume.volume;
        let end = volume.overwrite.end().max(volume.victim_marks.end());
        note("inside", end > volume.size, format!("volume {number} ends before byte {end}"));
        for side in Side::BOTH {
            note(
                "inside",
                volume.size > volume.sources[side].data_size,
                format!("volume {number}: side {side}'s device is smaller than the replicated data"),
            );
        }
        let v84 = plan.generation == Generation::V84;
        note(
            "reach",
            (volume.reach == Reach::Everything && v84) || (volume.reach == Reach::Invalidate && !v84),
            format!("volume {number}: {:?} is not {}'s way", volume.reach, plan.generation),
        );
    }
    order(plan, &mut note);
    findings
}

/// `note` gets a rule, whether it is broken, and how.
fn order(plan: &LivePlan, note: &mut dyn FnMut(&'static str, bool, String)) {
    let at = |word: &str| plan.steps.iter().position(|step| step.word() == word);
    let heal = plan.purpose == Purpose::Heal;
    let wanted: &[&str] = if heal {
        &["isolate", "demote", "check-basis", "preserve", "reconnect", "resync", "verify-relation"]
    } else {
        &["promote", "check-basis", "preserve", "write-back", "step-down"]
    };
    for word in wanted.iter().chain(&["verify-content", "record"]) {
        let count = plan.steps.iter().filter(|step| step.word() == *word).count();
        note("exactly-once", count != 1, format!("a plan has exactly one step `{word}`, this one {count}"));
    }
    let foreign = plan.steps.iter().find(|step| {
        let undoing = ["promote", "write-back", "step-down"].contains(&step.word());
        let common = ["check-basis", "preserve", "verify-content", "record"].contains(&step.word());
        !common && undoing == heal
    });
    if let Some(step) = foreign {
        note("purpose", true, format!("`{}` does not belong here", step.word()));
    }
    let first = plan.steps.iter().position(|step| step.overwrites());
    let mut before = |earlier: &str, rule: &'static str, what: &str| {
        let fine = matches!((at(earlier), first), (Some(earlier), Some(first)) if earlier < first);
        note(rule, !fine, what.to_owned());
    };
    before("check-basis", "stale-evidence", "something is overwritten before the basis is checked");
    before("preserve", "discard-before-preserve", "something is overwritten before it is kept");
    if heal {
        before("isolate", "quiesce-first", "something is overwritten before the victim is alone");
        before("demote", "quiesce-first", "something is overwritten while the victim may be Primary");
        let invalidates = plan.volumes.iter().any(|volume| volume.reach == Reach::Invalidate);
        note(
            "reach",
            invalidates != at("invalidate").is_some(),
            "a volume without a common base is invalidated on 8.4, and no other".to_owned(),
        );
        note(
            "reach",
            matches!((at("invalidate"), at("reconnect")), (Some(first), Some(then)) if first > then),
            "it is invalidated before it connects".to_owned(),
        );
        let check = matches!((at("demote"), at("check-basis")), (Some(first), Some(then)) if first < then);
        note("quiesce-first", !check, "the basis is checked before writers are kept out".to_owned());
    } else {
        note("salvage", !plan.salvage, "an undo keeps what it overwrites".to_owned());
    }
    let last = plan.steps.iter().rposition(|step| step.overwrites());
    let verified = matches!((last, at("verify-content")), (Some(last), Some(verify)) if last < verify);
    note("verify-last", !verified, "the content is verified before the last change".to_owned());
    note(
        "record-last",
        at("record").is_some_and(|record| record + 1 != plan.steps.len()),
        "steps follow the record".to_owned(),
    );
}

/// Which way DRBD reaches all that differs.
#[must_use]
pub fn reach(generation: Generation, common_base: bool) -> Reach {
    match (common_base, generation) {
        (true, _) => Reach::Bitmaps,
        (false, Generation::V9) => Reach::Everything,
        (false, Generation::V84) => Reach::Invalidate,
    }
}

/// The node that a word names: a node's name, or `a` and `b`.
#[must_use]
pub fn side_named(names: &Pair<crate::model::id::NodeName>, word: &str) -> Option<Side> {
    let by_name = Side::BOTH.into_iter().find(|side| names[*side].as_str() == word);
    by_name.or_else(|| Side::BOTH.into_iter().find(|side| side.word() == word))
}

/// Whether DRBD, asked to connect as the plan says, would overwrite the victim with the survivor's data and reach all that
/// differs: by its own rules, on these lineages. No policy decides, the victim is Secondary and connects with
/// `--discard-my-data`.
///
/// # Errors
/// In words, what it would do instead.
pub fn would_heal(
    lineages: Pair<&Lineage>,
    names: Pair<&str>,
    survivor: Side,
    reach: Reach,
) -> Result<(), String> {
    let victim = survivor.other();
    let mut lineages = lineages.map(Lineage::clone);
    lineages[victim].role = Role::Secondary;
    if reach == Reach::Invalidate {
        lineages[victim].disk = DiskState::Inconsistent;
    }
    let mut with = Handshake::newest(lineages.a.format);
    with.discard_my_data[victim] = true;
    let settings = Settings::drbd_defaults();
    let predicted =
        compare_in(lineages.as_ref(), names, &settings, &with).map_err(|error| error.to_string())?;
    match predicted.reconnect {
        Reconnect::Resync { source, full, .. } if source == survivor => {
            if full || reach == Reach::Bitmaps {
                Ok(())
            } else {
                Err("DRBD would sync only what the bitmaps mark, and they do not cover all that can differ"
                    .to_owned())
            }
        }
        Reconnect::Resync { because, .. } => Err(format!(
            "DRBD would overwrite {} instead, whose data is to be kept ({because})",
            names[survivor]
        )),
        Reconnect::Connect { leftover_bits: 0 } => Ok(()),
        Reconnect::Connect { leftover_bits } => Err(format!(
            "DRBD would connect without a resync although {leftover_bits} blocks are marked as different"
        )),
        Reconnect::Disconnect { because } | Reconnect::Unpredictable { because } => {
            Err(format!("DRBD would not heal them that way: {because}"))
        }
    }
}
