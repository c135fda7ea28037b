//! Whose a salvage is, and how what is in it can be put back.

use super::{WayBack, taken_by};
use crate::engine::undone::undone_by;
use crate::engine::{drbd, plans};
use crate::judge::incident::Incident;
use crate::model::evidence::Source;
use crate::model::plan::Purpose;
use crate::model::salvage::Manifest;
use crate::ports::store::Store;
use crate::resolver::desk::{can_be_undone_now, is_open, resume_command};

/// The incident that took a salvage.
pub struct Owner<'a> {
    /// Which.
    pub incident: &'a Incident,
    /// All that it took: one, or for a running resource one for each volume that differed.
    pub salvages: Vec<String>,
    purpose: Option<Purpose>,
}

/// The incident that took the salvage of this name.
#[must_use]
pub fn owner<'a>(store: &dyn Store, incidents: &'a [Incident], name: &str) -> Option<Owner<'a>> {
    incidents.iter().find_map(|incident| {
        let salvages = taken_by(store, incident);
        // Where the plan is gone, the name alone says it: an incident's, or with a volume's number.
        let by_name = || {
            let rest = name.strip_prefix(incident.id.as_str());
            let volume =
                rest.and_then(|rest| rest.strip_prefix("-v")).map(|number| number.parse::<u32>().is_ok());
            rest == Some("") || volume == Some(true)
        };
        let found = salvages.iter().any(|known| known == name) || (salvages.is_empty() && by_name());
        found.then(|| Owner { incident, salvages, purpose: plans::purpose(store, incident.plan).ok() })
    })
}

/// The incident that somebody means who types its name, or one of its salvages'.
pub(super) fn meant<'a>(store: &dyn Store, incidents: &'a [Incident], word: &str) -> Option<&'a Incident> {
    let by_name = incidents.iter().find(|incident| incident.id.as_str() == word);
    by_name.or_else(|| owner(store, incidents, word).map(|owner| owner.incident))
}

impl Owner<'_> {
    /// How to put back what is in its salvages.
    pub(super) fn way_back(&self, store: &dyn Store, all: &[Incident]) -> WayBack {
        let (incident, id) = (self.incident, &self.incident.id);
        let undo = || WayBack::Type(format!("unsplit undo {id}"));
        match &self.purpose {
            None => {
                return WayBack::No(format!(
                    "the plan of incident {id} cannot be read, and an undo needs it"
                ));
            }
            Some(Purpose::Undo { incident: healing }) => {
                return WayBack::No(format!(
                    "incident {id} was itself an undo, of {healing}: it kept what stood there before. An undo is not undone; \
                     open this as above, and copy over what is needed"
                ));
            }
            Some(Purpose::Heal | Purpose::Fence) => {}
        }
        if let Ok(Some(undo)) = undone_by(store, all, id) {
            return WayBack::No(format!("it was put back, by incident {}", undo.id));
        }
        if is_open(incident) && !can_be_undone_now(incident, store) {
            let why = if incident.touched() {
                format!("incident {id} is not over: DRBD may still be overwriting. It must be healed first")
            } else {
                format!("incident {id} is not over, and has overwritten nothing so far")
            };
            return WayBack::First(why, resume_command(id));
        }
        if !incident.touched() {
            return WayBack::No(format!("incident {id} overwrote nothing: it is all still there"));
        }
        undo()
    }

    /// The victim's own device on this machine, which holds the survivor's data now; `None` when it is elsewhere.
    pub(super) fn own_device(&self, store: &dyn Store, name: &str, manifest: &Manifest) -> Option<String> {
        let here = |source: &Source| source.on.is_none().then(|| source.data.clone());
        let sealed = plans::load(store, self.incident.plan).ok()?;
        let volume = match sealed.plan().images() {
            Some(images) => images.volume,
            None => sealed.plan().volumes.iter().find(|volume| {
                drbd::salvage_of(&self.incident.id, volume.number).is_ok_and(|id| id.as_str() == name)
            })?,
        };
        here(&volume.at[manifest.victim])
    }
}
