//! An undo of a live healing while others write, promote, or lose power.

use crate::cluster::{BLOCK, Meddling};
use crate::healing::Scene;
use crate::unkind::{BOTH, equal_block, shape};
use crate::world::faults::Fault;
use crate::world::rng::Rng;
use unsplit::engine::incident::{Ending, Obstacle};
use unsplit::judge::audit::SealedPlan;
use unsplit::model::drbd_live::Generation;
use unsplit::model::drbd_live::words::Role;
use unsplit::model::id::IncidentId;
use unsplit::model::record::Outcome;
use unsplit::model::side::Side;

/// Healed, and what an undo needs noted.
fn healed(generation: Generation) -> (Scene, SealedPlan, IncidentId) {
    let mut scene = Scene::new(&shape(generation));
    let sealed = scene.plan().unwrap();
    assert_eq!(scene.resolve(sealed.id()), Ok(Ending::Finished(Outcome::Healed)), "{}", scene.log());
    let id = scene.journal().unwrap().incidents()[0].id.clone();
    scene.note(&id).unwrap();
    (scene, sealed, id)
}

fn first_kept(scene: &Scene, id: &IncidentId) -> u64 {
    scene.kept_of(id, 0, false).unwrap().first().unwrap().start / BLOCK
}

/// Changes a block of a node's disk; nobody counts it.
fn alter(scene: &Scene, side: Side, block: u64) {
    let state = scene.cluster.lock();
    state.hosts[side].volumes[0].disk.meddle(usize::try_from(block * BLOCK).unwrap(), &[0xEE; 64]);
}

fn at_cut(scene: &mut Scene, sealed: &SealedPlan, at: u64) -> bool {
    scene.cluster.faults.go_on([(at, Fault::Cut)]);
    let _ = scene.undo(sealed);
    let cut = scene.cluster.faults.is_off();
    scene.cluster.store.power_cut(&mut Rng::new(at));
    scene.cluster.faults.reboot();
    cut
}

fn came_to_write(scene: &Scene) -> bool {
    let journal = scene.journal().unwrap();
    journal.incidents().iter().any(|incident| format!("{:?}", incident.history).contains("write-back"))
}

/// Cut off at each operation, and somebody writes to what it puts back before it goes on: that is not overwritten.
#[test]
fn an_undo_that_goes_on_overwrites_nothing_of_others() {
    let (mut before, mut amid) = (0, 0);
    for generation in BOTH {
        for at in 0.. {
            let (mut scene, sealed, id) = healed(generation);
            if !at_cut(&mut scene, &sealed, at) {
                break;
            }
            let (block, wrote) = (first_kept(&scene, &id), came_to_write(&scene));
            let closed = scene.journal().unwrap().incidents().iter().all(|incident| incident.is_closed());
            if closed {
                continue;
            }
            Side::BOTH.into_iter().for_each(|side| alter(&scene, side, block));
            let holds = scene.cluster.lock().hosts.a.volumes[0].data();
            let ending = scene.undo(&sealed);
            let (Ok(Ending::Abandoned { why, .. } | Ending::Parked { why, .. }) | Err(why)) = &ending else {
                // All was written before the cut: what was altered then is found by the last comparison.
                panic!("{generation} cut at {at}: {ending:?}\n{}", scene.log())
            };
            assert!(!why.starts_with("BROKEN"), "{generation} cut at {at}: {why}\n{}", scene.log());
            let range =
                usize::try_from(block * BLOCK).unwrap()..usize::try_from((block + 1) * BLOCK).unwrap();
            assert_eq!(
                scene.cluster.lock().hosts.a.volumes[0].data()[range.clone()],
                holds[range],
                "cut at {at}"
            );
            if wrote { amid += 1 } else { before += 1 }
        }
    }
    assert!(before > 5 && amid > 2, "{before} {amid}");
}

/// The same with what was marked and equal when it was healed: an undo does not put that back, and does not mix it with newer data.
#[test]
fn an_undo_that_goes_on_finds_what_was_taken_for_equal_as_it_was() {
    let mut runs = 0;
    for generation in BOTH {
        for at in 0.. {
            let mut scene = Scene::new(&shape(generation));
            let block = {
                let block = equal_block(&scene);
                let mut state = scene.cluster.lock();
                let range =
                    usize::try_from(block * BLOCK).unwrap()..usize::try_from((block + 1) * BLOCK).unwrap();
                let bytes = state.hosts.b.volumes[0].data()[range].to_vec();
                state.hosts.a.role = Role::Primary;
                state.write(Side::A, 0, block, &bytes, &scene.cluster.store);
                state.hosts.a.role = Role::Secondary;
                scene.cluster.persist(&mut state, Side::A);
                block
            };
            let sealed = scene.plan().unwrap();
            assert_eq!(scene.resolve(sealed.id()), Ok(Ending::Finished(Outcome::Healed)));
            if !at_cut(&mut scene, &sealed, at) {
                break;
            }
            let closed = scene.journal().unwrap().incidents().iter().all(|incident| incident.is_closed());
            if closed || !came_to_write(&scene) {
                continue;
            }
            Side::BOTH.into_iter().for_each(|side| alter(&scene, side, block));
            let ending = scene.undo(&sealed);
            let told =
                matches!(&ending, Ok(Ending::Parked { why, .. }) if why.contains("beside what it puts back"));
            assert!(told, "{generation} cut at {at}: {ending:?}\n{}", scene.log());
            runs += 1;
        }
    }
    assert!(runs > 4, "{runs}");
}

/// What one node alone holds differently since, and neither counts: the contents are looked at on both.
#[test]
fn an_undo_of_what_is_not_as_the_healing_left_it_is_refused() {
    for generation in BOTH {
        let (mut scene, sealed, id) = healed(generation);
        alter(&scene, Side::B, first_kept(&scene, &id));
        let ending = scene.undo(&sealed);
        let refused = matches!(&ending, Ok(Ending::Abandoned { obstacle: Obstacle::Stale, why }) if why.contains("on node2"));
        assert!(refused, "{ending:?}\n{}", scene.log());
    }
}

/// Resources that allow two Primaries: the other node is promoted at each moment of an undo, or was before.
#[test]
fn an_undo_writes_nothing_under_a_peer_that_is_primary() {
    let mut refused = 0;
    for generation in BOTH {
        for at in 0..40 {
            let (mut scene, sealed, _) = healed(generation);
            {
                let mut state = scene.cluster.lock();
                state.dual = true;
                if at == 0 {
                    state.hosts.b.role = Role::Primary;
                } else {
                    let now = state.tick;
                    state.meddling = vec![(now + at, Meddling::Raise(Side::B))];
                }
            }
            let ending = scene.undo(&sealed);
            let broken = matches!(&ending, Err(why) if why.starts_with("BROKEN"));
            assert!(!broken, "{generation} at {at}: {ending:?}\n{}", scene.log());
            if at == 0 {
                let early = matches!(&ending, Ok(Ending::Abandoned { obstacle: Obstacle::Busy, why }) if why.contains("Primary on node2"));
                assert!(early, "{ending:?}");
                assert_eq!(scene.cluster.lock().hosts.a.role, Role::Secondary);
            }
            refused += u32::from(!matches!(ending, Ok(Ending::Finished(_))));
        }
    }
    assert!(refused > 4, "{refused}");
}

/// The power goes right after an undo said that it is done.
#[test]
fn what_an_undo_put_back_outlasts_the_power() {
    for generation in BOTH {
        let (mut scene, sealed, id) = healed(generation);
        assert_eq!(scene.undo(&sealed), Ok(Ending::Finished(Outcome::Undone)), "{}", scene.log());
        scene.cluster.lose_unflushed();
        scene.was_undone(&sealed, &id).unwrap();
    }
}
