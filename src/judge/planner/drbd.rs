//! Plans for running resources: their steps, the undo of one, and whether DRBD would heal as planned. They are audited in
//! [`crate::judge::audit`], which shares nothing with this.

use crate::judge::lineage::{Handshake, compare_in};
use crate::model::drbd::{DiskState, Role};
use crate::model::drbd_live::Generation;
use crate::model::extent::ExtentSet;
use crate::model::id::{Digest, IncidentId};
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
        // What the healing took for equal: it stays as it is.
        let marked = volume.guarded().union(&volume.survivor_marks.take().unwrap_or_else(ExtentSet::empty));
        volume.victim_marks = marked.subtract(&extents);
        volume.shown = None;
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

/// Which way DRBD reaches all that differs.
#[must_use]
pub fn reach(generation: Generation, common_base: bool) -> Reach {
    match (common_base, generation) {
        (true, _) => Reach::Bitmaps,
        (false, Generation::V9) => Reach::Everything,
        (false, Generation::V84) => Reach::Invalidate,
    }
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
