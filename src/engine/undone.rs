//! Which incidents undo which: told by the plans that the journal names.

use super::journal::{Journal, JournalError};
use super::plans::{PlanError, purpose};
use crate::judge::incident::Incident;
use crate::model::id::IncidentId;
use crate::model::plan::Purpose;
use crate::model::record::Outcome;
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
        Ok(Purpose::Heal) | Err(_) => None,
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
