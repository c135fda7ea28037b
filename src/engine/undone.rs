//! Which incidents undo which, and which one an undo means: told by the plans that the journal names.

use super::journal::{Journal, JournalError};
use super::plans::{PlanError, load, purpose};
use crate::judge::audit::SealedPlan;
use crate::judge::incident::Incident;
use crate::model::id::IncidentId;
use crate::model::plan::Purpose;
use crate::model::record::Outcome;
use crate::model::side::Side;
use crate::ports::replica::Unseen;
use crate::ports::store::Store;
use std::collections::BTreeSet;

/// The first incident, of those that `may` be it, that undoes this healing.
///
/// # Errors
/// None is known to, and the plan of one cannot be read: nobody knows whether that one does.
pub fn undo_of<'i>(
    store: &dyn Store,
    incidents: &'i [Incident],
    healing: &IncidentId,
    may: impl Fn(&Incident) -> bool,
) -> Result<Option<&'i Incident>, PlanError> {
    let mut unread = None;
    for incident in incidents.iter().filter(|incident| may(incident)) {
        match purpose(store, incident.plan) {
            Ok(Purpose::Undo { incident: of }) if of == *healing => return Ok(Some(incident)),
            Ok(_) => {}
            Err(error) => drop(unread.get_or_insert(error)),
        }
    }
    unread.map_or(Ok(None), Err)
}

/// The incident that came to the end of undoing this healing.
///
/// # Errors
/// As for [`undo_of`].
pub fn undone_by<'i>(
    store: &dyn Store,
    incidents: &'i [Incident],
    healing: &IncidentId,
) -> Result<Option<&'i Incident>, PlanError> {
    undo_of(store, incidents, healing, Incident::is_undone)
}

/// The healings that were undone since. An undo whose plan cannot be read counts for none: who needs it reports it.
#[must_use]
pub fn undone(store: &dyn Store, incidents: &[Incident]) -> BTreeSet<IncidentId> {
    let undos = incidents.iter().filter(|incident| incident.is_undone());
    let healing = |undo: &Incident| match purpose(store, undo.plan) {
        Ok(Purpose::Undo { incident }) => Some(incident),
        Ok(Purpose::Heal | Purpose::Fence) | Err(_) => None,
    };
    undos.filter_map(healing).collect()
}

/// A healing that was parked and then undone is over, too. The run of the undo ends it; this mends a cut between the two
/// records.
///
/// # Errors
/// The journal cannot be written.
pub fn end_what_was_undone(journal: &Journal, store: &dyn Store) -> Result<(), JournalError> {
    let incidents = journal.incidents();
    for healing in incidents.iter().filter(|incident| !incident.is_closed()) {
        // An unreadable plan must not stand in the way of everything else: who takes up a healing looks at it once more.
        if let Ok(Some(_)) = undone_by(store, &incidents, &healing.id) {
            journal.end(&healing.id, "it was undone", Outcome::Undone)?;
        }
    }
    Ok(())
}

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
    let candidates: Vec<_> =
        incidents.iter().filter(|incident| asked.is_none_or(|asked| incident.id.as_str() == asked)).collect();
    if let (true, Some(asked)) = (candidates.is_empty(), asked) {
        return Err(UndoError::Unknown { asked: asked.to_owned() });
    }
    for incident in candidates.into_iter().rev() {
        if !incident.touched() && asked.is_none() {
            continue;
        }
        let sealed = load(store, incident.plan)?;
        // DRBD goes on by itself with one that was given up: what it came to is not known here.
        let given_up = incident.is_closed() && !incident.is_healed();
        if asked.is_none() && given_up && sealed.plan().drbd().is_some() {
            continue;
        }
        if matches!(sealed.plan().purpose, Purpose::Undo { .. }) {
            if asked.is_some() {
                return Err(UndoError::IsUndo { incident: incident.id.clone() });
            }
            continue;
        }
        if !incident.touched() {
            return Err(UndoError::NothingChanged { incident: incident.id.clone() });
        }
        if let Some(by) = undone_by(store, &incidents, &incident.id)? {
            return Err(UndoError::AlreadyUndone { incident: incident.id.clone(), by: by.id.clone() });
        }
        if !sealed.plan().salvage {
            return Err(UndoError::NothingKept { incident: incident.id.clone() });
        }
        return Ok((incident.id.clone(), sealed));
    }
    Err(UndoError::NothingHealed)
}
