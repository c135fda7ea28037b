//! Small notes about a running resource's incident, as JSON in a folder of the state directory.

use crate::model::id::IncidentId;
use crate::model::seen::in_words;
use crate::ports::store::{Store, StoreFault};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Longest note that is read back, in bytes.
const LONGEST: u64 = 1 << 20;

fn path_of(folder: &str, incident: &IncidentId) -> String {
    format!("{folder}/{incident}.json")
}

/// Notes it durably, whole or not at all, in place of what was noted before: written beside, synced, renamed.
///
/// # Errors
/// In words.
pub(super) fn put(
    store: &dyn Store,
    folder: &str,
    incident: &IncidentId,
    what: &(impl Serialize + ?Sized),
) -> Result<(), String> {
    let text = serde_json::to_vec(what).map_err(|error| error.to_string())?;
    let path = path_of(folder, incident);
    let write = || -> Result<(), StoreFault> {
        store.create_dir(folder)?;
        let beside = format!("{path}.tmp");
        store.create(&beside)?;
        store.write_at(&beside, 0, &text)?;
        store.sync(&beside)?;
        store.rename(&beside, &path)?;
        store.sync_dir(folder)?;
        // The folder itself may be new.
        store.sync_dir("")
    };
    write().map_err(|fault| in_words(&fault))
}

/// What was noted; `None` when nothing was.
///
/// # Errors
/// In words.
pub(super) fn get<T: DeserializeOwned>(
    store: &dyn Store,
    folder: &str,
    incident: &IncidentId,
) -> Result<Option<T>, String> {
    let path = path_of(folder, incident);
    let Some(len) = store.len(&path).map_err(|fault| in_words(&fault))? else { return Ok(None) };
    if len > LONGEST {
        return Err(format!("{} is far too long", store.locate(&path)));
    }
    let mut text = vec![0; usize::try_from(len).unwrap_or(0)];
    store.read_at(&path, 0, &mut text).map_err(|fault| in_words(&fault))?;
    serde_json::from_slice(&text).map(Some).map_err(|error| format!("{}: {error}", store.locate(&path)))
}
