//! Undo: puts back what a healing overwrote, as an incident of its own.

use super::journal::Journal;
use super::plans::{PlanError, load, seal_undo};
use crate::judge::audit::SealedPlan;
use crate::judge::incident::{Incident, IncidentState};
use crate::judge::planner::draw_undo;
use crate::model::id::IncidentId;
use crate::model::plan::{Plan, Purpose};
use crate::model::record::{Event, Outcome, Record};
use crate::model::side::{Pair, Side};
use crate::ports::replica::{Replica, Unseen};
use crate::ports::store::Store;

/// Why an incident cannot be undone.
#[derive(Debug, thiserror::Error)]
pub enum UndoError {
    /// No such incident.
    #[error("there is no incident `{asked}`; `unsplit history` lists them")]
    Unknown {
        /// What was asked for.
        asked: String,
    },
    /// No incident has healed anything.
    #[error("no incident has changed anything yet: there is nothing to undo")]
    NothingHealed,
    /// It was undone before.
    #[error("incident {incident} was already undone by {by}")]
    AlreadyUndone {
        /// Which.
        incident: IncidentId,
        /// By which.
        by: IncidentId,
    },
    /// It never changed anything.
    #[error("incident {incident} ended before anything was changed: there is nothing to undo")]
    NothingChanged {
        /// Which.
        incident: IncidentId,
    },
    /// It is an undo itself.
    #[error("incident {incident} is an undo. To heal again, draw a new plan")]
    IsUndo {
        /// Which.
        incident: IncidentId,
    },
    /// Nothing was kept.
    #[error(
        "incident {incident} ran without a salvage (policy `salvage = \"off\"` and --no-salvage): what it overwrote was not kept"
    )]
    NothingKept {
        /// Which.
        incident: IncidentId,
    },
    /// Its plan is gone or altered.
    #[error("the plan of the incident cannot be used")]
    Plan(#[from] PlanError),
    /// A side cannot be seen.
    #[error("side {side} cannot be used")]
    Unseen {
        /// Which.
        side: Side,
        /// Why.
        #[source]
        source: Unseen,
    },
}

/// The healing plan of the incident to undo: the named one, or the last that changed anything.
///
/// # Errors
/// [`UndoError`].
pub fn healing_of(
    journal: &Journal,
    store: &dyn Store,
    asked: Option<&str>,
) -> Result<(IncidentId, SealedPlan), UndoError> {
    let incidents = journal.incidents();
    let changed = |incident: &Incident| {
        let mark = |record: &Record| matches!(&record.event, Event::Intent { word, .. } if word == "mark-inconsistent");
        incident.history.iter().any(mark)
    };
    let candidates: Vec<_> =
        incidents.iter().filter(|incident| asked.is_none_or(|asked| incident.id.as_str() == asked)).collect();
    if let (true, Some(asked)) = (candidates.is_empty(), asked) {
        return Err(UndoError::Unknown { asked: asked.to_owned() });
    }
    for incident in candidates.into_iter().rev() {
        let sealed = load(store, incident.plan)?;
        if sealed.plan().purpose != Purpose::Heal {
            if asked.is_some() {
                return Err(UndoError::IsUndo { incident: incident.id.clone() });
            }
            continue;
        }
        if !changed(incident) {
            if asked.is_some() {
                return Err(UndoError::NothingChanged { incident: incident.id.clone() });
            }
            continue;
        }
        if let Some(by) = undone_by(journal, store, &incident.id)? {
            return Err(UndoError::AlreadyUndone { incident: incident.id.clone(), by });
        }
        if !sealed.plan().salvage {
            return Err(UndoError::NothingKept { incident: incident.id.clone() });
        }
        return Ok((incident.id.clone(), sealed));
    }
    Err(UndoError::NothingHealed)
}

fn undone_by(
    journal: &Journal,
    store: &dyn Store,
    healed: &IncidentId,
) -> Result<Option<IncidentId>, UndoError> {
    for incident in journal.incidents() {
        if !matches!(incident.state, IncidentState::Closed { outcome: Outcome::Undone }) {
            continue;
        }
        let plan = load(store, incident.plan)?;
        if matches!(&plan.plan().purpose, Purpose::Undo { incident } if incident == healed) {
            return Ok(Some(incident.id.clone()));
        }
    }
    Ok(None)
}

/// Draws and seals the undo of a healing, from what the two sides look like now.
///
/// # Errors
/// [`UndoError`].
pub fn plan_undo(
    healed: &Plan,
    incident: &IncidentId,
    replicas: Pair<&dyn Replica>,
) -> Result<SealedPlan, UndoError> {
    let unseen = |side| move |source| UndoError::Unseen { side, source };
    let present =
        Pair::from_fn(|side| replicas[side].superblock_block().map_err(unseen(side))).transpose()?;
    let areas = Pair::from_fn(|side| replicas[side].area_digest().map_err(unseen(side))).transpose()?;
    Ok(seal_undo(draw_undo(healed, incident.clone(), present, areas))?)
}
