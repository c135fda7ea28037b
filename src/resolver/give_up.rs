//! Ending an open incident as it is.

use super::desk::{Desk, give_up_command};
use super::failure::{Failure, Kind};
use super::run::open_incident;
use crate::engine::drbd::overwrite::carried_word;
use crate::engine::{before, plans, recall};
use crate::judge::audit::SealedPlan;
use crate::model::id::IncidentId;
use crate::model::plan::{Plan, Purpose};
use crate::model::record::Outcome;
use crate::model::stage::Stage;
use crate::ports::store::Store;

/// An incident that was given up.
#[derive(Debug)]
pub struct GivenUp {
    /// Which.
    pub incident: IncidentId,
    /// A side was, or may have been, changed by it.
    pub changed: bool,
    /// Its plan, if that can be read.
    pub sealed: Option<SealedPlan>,
    /// What a node may still carry of it, in a sentence.
    pub carried: Option<String>,
}

/// Ends an open incident. Nothing but the journal is read or written: it must be possible whatever became of the devices,
/// the plan and the salvage. `sure`: also where a side was changed already.
///
/// # Errors
/// There is no such open incident, or it has changed a side and nobody is sure.
pub fn give_up(desk: &Desk, asked: &str, sure: bool) -> Result<GivenUp, Failure> {
    let incident = open_incident(desk, asked)?;
    let (id, changed) = (incident.id.clone(), incident.touched());
    let sealed = plans::load(&*desk.store, incident.plan).ok();
    let plan = sealed.as_ref().map(SealedPlan::plan);
    let running = plan.and_then(Plan::drbd);
    if changed && !sure {
        let text = match (running.is_some(), incident.carried_out(Stage::Overwrite)) {
            (true, true) => format!(
                "incident {id} has told DRBD to overwrite a node: given up now, DRBD goes on by itself if it can, and nothing \
                 is verified"
            ),
            (true, false) => format!(
                "incident {id} may have told DRBD to overwrite a node: given up now, DRBD goes on by itself if it was told and \
                 can, and nothing is verified"
            ),
            (false, true) => format!(
                "incident {id} has begun to change a side: given up now, that side stays Inconsistent and may be half \
                 overwritten"
            ),
            (false, false) => format!(
                "incident {id} may have begun to change a side, which is not known: given up now, that side may stay \
                 Inconsistent"
            ),
        };
        let next = format!("{} --yes", give_up_command(&id));
        return Err(Failure::new(Kind::Held, anyhow::Error::msg(text)).hint(next));
    }
    desk.journal.end(&id, "the operator gave it up", Outcome::Abandoned).map_err(Failure::internal)?;
    before::forget(&*desk.store, &id);
    if let Some(images) = plan.and_then(Plan::images) {
        forget_comparisons(&*desk.store, &images);
    }
    let told = running.filter(|plan| changed && plan.purpose == Purpose::Heal);
    let carried = told.and_then(carried_word).map(|word| word.trim().to_owned());
    Ok(GivenUp { incident: id, changed, sealed, carried })
}

/// What was kept of the pair belongs to an incident that is over. Left behind it would do no harm: nothing that can still be
/// asked has its key.
pub fn forget_comparisons(store: &dyn Store, plan: &Plan) {
    for volume in &plan.volumes {
        if let Err(fault) = recall::forget(store, volume.at.as_ref()) {
            tracing::debug!(%fault, "kept comparisons of a closed incident stay behind");
        }
    }
}
