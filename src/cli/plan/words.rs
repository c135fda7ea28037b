//! The steps of a plan in words.

use crate::model::plan::drbd::{self, DrbdPlan, Reach};
use crate::model::plan::images::{self, ImagesPlan};
use crate::model::plan::{Kind, Plan, Purpose};
use crate::model::side::Side;
use crate::model::size::human;

/// All steps, in order.
#[must_use]
pub(super) fn steps(plan: &Plan) -> Vec<String> {
    match plan.kind() {
        Some(Kind::Images(plan)) => plan.ground.steps.iter().map(|step| of_images(step, plan)).collect(),
        Some(Kind::Drbd(plan)) => plan.ground.steps.iter().map(|step| of_drbd(*step, plan)).collect(),
        Some(Kind::Fence(_)) => vec!["prove that the peer cannot write".to_owned()],
        #[cfg(feature = "memory-disks")]
        Some(Kind::Memory(_)) => Vec::new(),
        None => Vec::new(),
    }
}

fn of_images(step: &images::Step, plan: ImagesPlan<'_>) -> String {
    let undo = plan.purpose != Purpose::Heal;
    let name = |side: &Side| plan.names[*side].to_string();
    match step {
        images::Step::Quiesce => {
            "take both sides for ourselves, so that nobody else writes; stop if anybody does".to_owned()
        }
        images::Step::CheckBasis if undo => {
            "check that neither side was used since the healing; stop if one was".to_owned()
        }
        images::Step::CheckBasis => {
            "check that nothing that was compared has changed on either side; stop if it has".to_owned()
        }
        images::Step::Preserve { bytes } if plan.salvage => format!(
            "copy {} of {}'s data to the salvage, flush it, read it back and compare",
            human(*bytes),
            plan.names[plan.victim()]
        ),
        images::Step::Preserve { .. } => "keep nothing, as told".to_owned(),
        images::Step::MarkInconsistent { side } => {
            format!("mark {} as Inconsistent, so that nothing attaches it half-written", name(side))
        }
        images::Step::Overwrite { side, bytes } if undo => {
            format!("write {} from the salvage back to {}", human(*bytes), name(side))
        }
        images::Step::Overwrite { side, bytes } => {
            format!("overwrite {} on {} with {}'s data", human(*bytes), name(side), name(&side.other()))
        }
        images::Step::SettleMetadata { side } => {
            format!(
                "write {}'s DRBD metadata as after a finished resync: same generation, nothing left to sync",
                name(side)
            )
        }
        images::Step::RestoreMetadata { side } => {
            format!("write {}'s DRBD metadata back as it was", name(side))
        }
        images::Step::VerifyRelation if undo => {
            "compare both sides' metadata with the salvage: every byte as it was".to_owned()
        }
        images::Step::VerifyRelation => "compare the generations again: they must be in sync".to_owned(),
        images::Step::VerifyContent { .. } if undo => {
            format!("compare {}'s data with the salvage: every byte as it was", plan.names[plan.victim()])
        }
        images::Step::VerifyContent { full: true } => {
            "compare the whole volume again: it must be equal".to_owned()
        }
        images::Step::VerifyContent { full: false } => {
            "compare again all that was compared for this plan: it must be equal".to_owned()
        }
        images::Step::Record => "close the incident in the journal".to_owned(),
    }
}

fn of_drbd(step: drbd::Step, plan: DrbdPlan<'_>) -> String {
    let (keep, lose, resource) = (&plan.names[plan.survivor], &plan.names[plan.victim()], &plan.resource);
    let here = &plan.names.a;
    match step {
        drbd::Step::Isolate => {
            format!("disconnect {resource} on {lose}, so that nothing begins before its time")
        }
        drbd::Step::Demote => {
            format!("make {resource} Secondary on {lose}; whoever uses it there is named, and stops this")
        }
        drbd::Step::CheckBasis => "check that everything is still as this plan was drawn from".to_owned(),
        drbd::Step::Preserve { bytes } => format!("copy {} into the salvage and read it back", human(bytes)),
        drbd::Step::Invalidate => format!(
            "declare {lose}'s data out of date, because DRBD 8.4 would otherwise believe bitmaps that do not cover all that differs"
        ),
        drbd::Step::Reconnect => format!(
            "connect {lose} with --discard-my-data, and {keep}; no after-sb policy may decide otherwise"
        ),
        drbd::Step::Resync => {
            let all = plan.ground.volumes.iter().any(|volume| volume.reach != Reach::Bitmaps);
            let what = if all { "everything" } else { "what either side marked" };
            format!("watch DRBD copy {what} from {keep} to {lose}")
        }
        drbd::Step::VerifyRelation => "check that DRBD calls both the same generation".to_owned(),
        drbd::Step::VerifyContent { full: true } => "compare the contents of the whole volumes".to_owned(),
        drbd::Step::VerifyContent { full: false } => "compare the contents wherever they differed".to_owned(),
        drbd::Step::RestorePolicies => "put the connection's after-sb policies back".to_owned(),
        drbd::Step::ConnectOthers => {
            format!("connect {lose} with the other nodes that hold {keep}'s data")
        }
        drbd::Step::Promote => format!("make {resource} Primary on {here}; nobody else may use it"),
        drbd::Step::WriteBack { bytes } => {
            format!("write {} of what {lose} held through DRBD, to both nodes", human(bytes))
        }
        drbd::Step::StepDown => format!("make {resource} Secondary on {here} again"),
        drbd::Step::Record => "close the incident".to_owned(),
    }
}
