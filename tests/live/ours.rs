//! What a handler on the victim is told of the healing that calls it into being.

use crate::audit::stored_as;
use crate::healing::Scene;
use crate::unkind::shape;
use unsplit::engine::drbd::ours::{Ours, overwritten_by_us};
use unsplit::engine::journal::{Cursor, Ready, Recorded};
use unsplit::judge::incident::Incident;
use unsplit::model::drbd_live::Generation;
use unsplit::model::id::{IncidentId, ResourceName};
use unsplit::model::record::Consent;
use unsplit::model::seen::End;
use unsplit::model::stage::Stage;

/// An incident with a plan that keeps the victim's data, or not, in the middle of overwriting: its incidents, then and once it
/// is parked.
fn overwriting(scene: &Scene, salvage: bool) -> [Vec<Incident>; 2] {
    let (mut plan, _) = scene.drawn().unwrap();
    plan.salvage = salvage;
    let sealed = stored_as(&*scene.cluster.store, &plan).unwrap();
    let journal = scene.journal().unwrap();
    let id = IncidentId::new("i1").unwrap();
    let mut cursor: Cursor<'_, Ready> =
        journal.begin(id, plan.resource.clone(), sealed.id(), Consent::Operator).unwrap();
    for (at, name) in plan.steps().into_iter().enumerate() {
        let (overwrites, preserves) = (name.stage == Stage::Overwrite, name.stage == Stage::Preserve);
        let declared = cursor.declare(at, name).unwrap();
        if overwrites {
            let now = journal.incidents().as_slice().to_vec();
            let Recorded::Badly(stopped) = declared.perform(|_| End::Unknown("cut".into())).record().unwrap()
            else {
                panic!("it ended well")
            };
            stopped.park("cut", "unsplit resolve --resume i1").unwrap();
            return [now, journal.incidents().as_slice().to_vec()];
        }
        let end = if preserves && !salvage { End::AlreadySo } else { End::Done };
        let Recorded::Well(next) = declared.perform(|_| end).record().unwrap() else { panic!("{at}") };
        cursor = next;
    }
    panic!("{:?} overwrites nothing", plan.steps())
}

#[test]
fn a_handler_keeps_nothing_more_only_of_what_the_healing_has_seen_to() {
    for salvage in [true, false] {
        let scene = Scene::new(&shape(Generation::V9));
        let [now, parked] = overwriting(&scene, salvage);
        let plan = scene.drawn().unwrap().0;
        let machines = &plan.drbd().unwrap().ground.machines;
        let (victim, survivor) = (&machines[plan.victim()], &machines[plan.survivor]);
        let asked = |incidents: &[Incident], resource: &str, volume, machine: &Option<String>| {
            let resource = ResourceName::new(resource).unwrap();
            overwritten_by_us(&*scene.cluster.store, incidents, (&resource, volume), machine.as_deref())
        };
        let id = now[0].id.clone();
        let seen_to = if salvage { Ours::Kept(id) } else { Ours::Waived(id) };
        let resource = plan.resource.as_str();
        assert_eq!(asked(&now, resource, 0, victim), Some(seen_to));
        // Not this node, another volume or resource, a machine without a name, and nobody at work.
        assert_eq!(asked(&now, resource, 0, survivor), None);
        assert_eq!(asked(&now, resource, 7, victim), None);
        assert_eq!(asked(&now, "another", 0, victim), None);
        assert_eq!(asked(&now, resource, 0, &None), None);
        assert_eq!(asked(&parked, resource, 0, victim), None);
    }
}
