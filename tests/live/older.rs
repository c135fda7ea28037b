//! Plans of version 1 for resources that run: where they stood, they are read, carried out, taken up again and undone.

use crate::cluster::{Apart, Shape};
use crate::healing::Scene;
use crate::world::faults::Fault;
use crate::world::older;
use crate::world::rng::Rng;
use unsplit::engine::incident::Ending;
use unsplit::engine::plans;
use unsplit::judge::audit::SealedPlan;
use unsplit::model::drbd_live::Generation;
use unsplit::model::record::Outcome;
use unsplit::model::side::Side;
use unsplit::ports::store::Store;

const BOTH: [Generation; 2] = [Generation::V84, Generation::V9];

/// Two nodes apart, and a plan that version 1 drew for them.
fn planned(generation: Generation) -> (Scene, SealedPlan) {
    let shape = Shape {
        generation,
        survivor: Side::A,
        volumes: vec![Apart::Diverged, Apart::Diverged],
        busy: false,
        survivor_primary: false,
        victim_primary: false,
        seed: 3,
    };
    let scene = Scene::new(&shape);
    let (plan, _) = scene.drawn().unwrap();
    let store = &*scene.cluster.store;
    let id = older::keep(store, &plan);
    let sealed = plans::load(store, id).unwrap();
    assert_eq!((sealed.plan(), sealed.id()), (&plan, id));
    assert_eq!(plans::find(store, &id.0.to_string()[..12]).unwrap(), sealed);
    (scene, sealed)
}

#[test]
fn a_plan_of_version_1_is_carried_out_and_undone() {
    for generation in BOTH {
        let (mut scene, sealed) = planned(generation);
        assert_eq!(scene.resolve(sealed.id()), Ok(Ending::Finished(Outcome::Healed)), "{}", scene.log());
        scene.healed().unwrap();
        assert_eq!(scene.undo(&sealed), Ok(Ending::Finished(Outcome::Undone)), "{}", scene.log());
        let healing = scene.journal().unwrap().incidents()[0].clone();
        assert_eq!(healing.plan, sealed.id());
        scene.was_undone(&sealed, &healing.id).unwrap();
        // The undo was drawn now, and stands where plans stand now.
        assert_eq!(scene.cluster.store.list("live-plans").unwrap().len(), 1);
        assert_eq!(scene.cluster.store.list("plans").unwrap().len(), 1);
    }
}

#[test]
fn a_healing_of_version_1_that_was_cut_off_is_taken_up_again() {
    let mut cuts = 0;
    for generation in BOTH {
        for at in (0..).step_by(11) {
            let (mut scene, sealed) = planned(generation);
            scene.cluster.faults.go_on([(at, Fault::Cut)]);
            let _ = scene.resolve(sealed.id());
            if !scene.cluster.faults.is_off() {
                break;
            }
            scene.cut(&mut Rng::new(at));
            scene.cluster.pass();
            let again = scene.resolve(sealed.id());
            assert_eq!(again, Ok(Ending::Finished(Outcome::Healed)), "cut at {at}\n{}", scene.log());
            scene.healed().unwrap();
            cuts += 1;
        }
    }
    assert!(cuts > 10, "{cuts}");
}
