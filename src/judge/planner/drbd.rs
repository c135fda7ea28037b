//! Plans for running resources: their steps, the undo of one, and whether DRBD would heal as planned. They are audited in
//! [`crate::judge::audit`], which shares nothing with this.

use crate::judge::lineage::{Handshake, compare_in};
use crate::model::drbd::{DiskState, Role};
use crate::model::drbd_live::Generation;
use crate::model::extent::ExtentSet;
use crate::model::id::{Digest, IncidentId};
use crate::model::lineage::{Lineage, Reconnect};
use crate::model::plan::drbd::{DrbdPlan, Ground, Reach, Step, VolumeGround};
use crate::model::plan::{self, Plan, Purpose, VolumePlan};
use crate::model::policy::Settings;
use crate::model::side::{Pair, Side};

/// The steps that heal a running resource. `others`: it has nodes beside the two.
#[must_use]
pub fn steps(bytes: u64, invalidate: bool, full: bool, others: bool) -> Vec<Step> {
    let mut steps = vec![Step::Isolate, Step::Demote, Step::CheckBasis, Step::Preserve { bytes }];
    if invalidate {
        steps.push(Step::Invalidate);
    }
    steps.extend([
        Step::Reconnect,
        Step::Resync,
        Step::VerifyRelation,
        Step::VerifyContent { full },
        Step::RestorePolicies,
    ]);
    if others {
        steps.push(Step::ConnectOthers);
    }
    steps.push(Step::Record);
    steps
}

/// The plan that puts back, through DRBD, what a live healing overwrote. Both nodes hold the survivor's data now, so what is
/// overwritten, and kept first, is the survivor's. `kept`: for each volume what the salvage holds of it, and the digest of what
/// stands there now.
#[must_use]
pub fn draw_undo(healed: DrbdPlan<'_>, incident: IncidentId, kept: Vec<(ExtentSet, Digest)>) -> Plan {
    let mut trace = healed.trace.clone();
    let bytes = kept.iter().map(|(extents, _)| extents.bytes()).sum();
    let lost = &healed.names[healed.victim()];
    trace.push(
        "undo",
        format!("incident {incident} overwrote {bytes} bytes of {lost}'s data"),
        format!("write what {lost} held through DRBD to both nodes, after keeping what stands there now"),
    );
    let (mut volumes, mut grounds) = (Vec::new(), Vec::new());
    for (volume, (extents, content)) in healed.volumes().zip(kept) {
        // What the healing took for equal: it stays as it is.
        let mut marked = volume.guarded();
        if let Some(theirs) = &volume.ground.survivor_marks {
            marked = marked.union(theirs);
        }
        grounds.push(VolumeGround {
            victim_marks: marked.subtract(&extents),
            survivor_marks: None,
            shown: None,
            content,
            ..volume.ground.clone()
        });
        volumes.push(VolumePlan {
            overwrite: extents,
            losses: Vec::new(),
            doubtful: 0,
            ..VolumePlan::clone(&volume)
        });
    }
    let steps = vec![
        Step::Promote,
        Step::CheckBasis,
        Step::Preserve { bytes },
        Step::WriteBack { bytes },
        Step::VerifyContent { full: false },
        Step::StepDown,
        Step::Record,
    ];
    Plan {
        purpose: Purpose::Undo { incident },
        salvage: true,
        volumes,
        ground: plan::Ground::Drbd(Ground { volumes: grounds, steps, ..healed.ground.clone() }),
        trace,
        ..Plan::clone(&healed)
    }
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
            "DRBD would connect without a resync although {leftover_bits} bits mark blocks as different"
        )),
        Reconnect::Disconnect { because } | Reconnect::Unpredictable { because } => {
            Err(format!("DRBD would not heal them that way: {because}"))
        }
    }
}
