//! Whether a resync that is about to begin is that of a healing of ours, which has seen to what it overwrites.

use crate::engine::plans;
use crate::judge::incident::{Incident, IncidentState};
use crate::model::id::{IncidentId, ResourceName};
use crate::model::stage::Stage;
use crate::ports::store::Store;

/// What a healing has done about the volume that it overwrites.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ours {
    /// It has a verified copy.
    Kept(IncidentId),
    /// It keeps none: the policy and the command line said so.
    Waived(IncidentId),
}

/// The healing that overwrites this volume on this machine now. `None` where that is not certain: an incident that waits for a
/// person overwrites nothing, and one whose victim is the other node has kept nothing of this one.
#[must_use]
pub fn overwritten_by_us(
    store: &dyn Store,
    incidents: &[Incident],
    (resource, volume): (&ResourceName, u32),
    machine: Option<&str>,
) -> Option<Ours> {
    let under_way = |one: &&Incident| {
        let waits = matches!(one.state, IncidentState::Parked { .. } | IncidentState::Closed { .. });
        !waits && one.resource == *resource && one.reached(Stage::Overwrite)
    };
    incidents.iter().filter(under_way).find_map(|incident| {
        // A plan that cannot be read tells nothing.
        let sealed = plans::load(store, incident.plan).ok()?;
        let plan = sealed.plan().drbd()?;
        let here = |machine_of: &Option<String>| machine_of.is_some() && machine_of.as_deref() == machine;
        let overwritten = match plan.undoes() {
            None => here(&plan.ground.machines[plan.victim()]),
            // It writes through DRBD on one node, and so to both.
            Some(_) => plan.ground.machines.iter().any(|(_, machine)| here(machine)),
        };
        if !overwritten || plan.volumes.iter().all(|planned| planned.number != volume) {
            return None;
        }
        let id = incident.id.clone();
        match plan.salvage {
            false => Some(Ours::Waived(id)),
            true => incident.preserved().then_some(Ours::Kept(id)),
        }
    })
}
