//! From two sides to a plan.

use super::{Agreed, Drawn, DrawnPlan, Held, judge, salvage_wanted};
use crate::engine::inquiry::Sight;
use crate::engine::plans;
use crate::engine::recall::Place;
use crate::judge::audit::Seen;
use crate::judge::planner::images::{Inputs, draw};
use crate::judge::units::losses;
use crate::judge::worse::keepable;
use crate::model::id::ResourceName;
use crate::model::plan::Plan;
use crate::model::policy::Settings;
use crate::model::side::Side;
use crate::model::verdict::{Trace, Verdict};
use crate::resolver::access::{Access, Choice};
use crate::resolver::contents::Found;
use crate::resolver::desk::{Desk, refuse_while_open};
use crate::resolver::driver::Driver;
use crate::resolver::failure::Failure;
use crate::resolver::sides::OpenPair;

/// Observes, compares, decides, plans, seals; keeps the plan in the state directory.
///
/// # Errors
/// Anything that keeps a plan from being drawn.
pub(super) fn draw_plan(
    opened: &OpenPair,
    access: &Access,
    choice: &Choice,
    settings: &Settings,
    desk: &Desk,
    by: &mut dyn Driver,
) -> Result<Drawn, Failure> {
    let sight = opened.look(settings)?;
    // One incident at a time for a device: an open one must be ended first.
    refuse_while_open(sight.evidence.as_ref().map(|seen| &seen.source), &*desk.store, &desk.journal, &[])?;
    let names = sight.evidence.as_ref().map(|seen| seen.name.clone());
    let keep = choice.keep_side(&names)?;
    let found = opened.diff_in(&sight, choice.full, access, Place::Open(&*desk.store), &*by.progress())?;
    found.remarks.iter().try_for_each(|remark| by.remark(remark))?;
    let seen = found.delta.coverage();
    let (survivor, auto, trace) = match judge(settings, &sight, &found, keep) {
        Verdict::Agree { trace } => return Ok(Drawn::Agree(Agreed { trace, seen })),
        Verdict::Heal { survivor, auto, trace } => (survivor, auto, trace),
        verdict @ (Verdict::Hold { .. } | Verdict::Refuse { .. }) => {
            let keepable = keepable(sight.disks(), &sight.comparison);
            return Ok(Drawn::Held(Box::new(Held { verdict, names, keepable, seen })));
        }
    };
    let salvage = salvage_wanted(settings, choice)?;
    let plan = draw_from(access.resource.clone(), &sight, &found, survivor, salvage, choice.full, trace)?;
    let sealed = plans::seal_healing(plan, &[Seen::of_replicas(&sight.evidence, &found.delta)])
        .map_err(Failure::internal)?;
    plans::keep(&*desk.store, &sealed).map_err(Failure::internal)?;
    Ok(Drawn::Sealed(Box::new(DrawnPlan { sealed, auto, in_use: None, seen })))
}

fn draw_from(
    resource: ResourceName,
    sight: &Sight,
    found: &Found,
    survivor: Side,
    salvage: bool,
    full: bool,
    trace: Trace,
) -> Result<Plan, Failure> {
    draw(Inputs {
        resource,
        evidence: &sight.evidence,
        superblocks: sight.superblocks.clone(),
        delta: &found.delta,
        survivor,
        salvage,
        full,
        losses: losses(&found.units, survivor),
        trace,
    })
    .map_err(Failure::evidence)
}
