//! Single healings and undos of the fake cluster: what went wrong once, each as it was.

use crate::cluster::{Apart, BLOCK, Meddling, Shape};
use crate::healing::Scene;
use crate::world::faults::Fault;
use crate::world::rng::Rng;
use std::sync::Arc;
use unsplit::engine::incident::Ending;
use unsplit::judge::incident::Incident;
use unsplit::model::drbd_live::Generation;
use unsplit::model::drbd_live::words::{ConnectionState, Role};
use unsplit::model::extent::Extent;
use unsplit::model::record::Outcome;
use unsplit::model::side::Side;

/// A Primary's bits reach its disk when it is demoted, which is after the plan was drawn.
#[test]
fn what_a_primary_victim_marked_in_memory_only_is_no_reason_to_refuse() {
    for generation in [Generation::V84, Generation::V9] {
        let mut scene = Scene::new(&Shape {
            generation,
            survivor: Side::A,
            volumes: vec![Apart::Diverged],
            busy: false,
            survivor_primary: true,
            victim_primary: true,
            seed: 11,
        });
        let store = Arc::clone(&scene.cluster.store);
        scene.cluster.lock().write(Side::B, 0, 3, &[0x5A; 4096], &store);
        let sealed = scene.plan().unwrap();
        let ending = scene.resolve(sealed.id());
        assert_eq!(ending, Ok(Ending::Finished(Outcome::Healed)), "{}", scene.log());
        scene.healed().unwrap();
    }
}

/// A volume that nobody wrote to since has a hot log, too, while its node is Primary.
#[test]
fn a_hot_log_is_no_difference_where_the_generations_are_equal() {
    let mut scene = Scene::new(&Shape {
        generation: Generation::V9,
        survivor: Side::A,
        volumes: vec![Apart::Diverged, Apart::Equal],
        busy: false,
        survivor_primary: true,
        victim_primary: true,
        seed: 3,
    });
    let sealed = scene.plan().unwrap();
    assert_eq!(scene.resolve(sealed.id()), Ok(Ending::Finished(Outcome::Healed)), "{}", scene.log());
    scene.healed().unwrap();
}

/// 9 remembers the word over StandAlone; with both ends offering their data it connects nobody.
#[test]
fn a_survivor_that_still_offers_its_data_is_named_with_what_takes_it_back() {
    let mut scene = Scene::new(&Shape {
        generation: Generation::V9,
        survivor: Side::A,
        volumes: vec![Apart::Diverged],
        busy: false,
        survivor_primary: false,
        victim_primary: false,
        seed: 5,
    });
    let sealed = scene.plan().unwrap();
    scene.cluster.lock().hosts.a.discard = true;
    let Ok(Ending::Parked { why, .. }) = scene.resolve(sealed.id()) else { panic!("{}", scene.log()) };
    assert!(why.contains("On node1 `drbdadm down r0 && drbdadm up r0` takes it back"), "{why}");
    // What it says to type.
    scene.cluster.meddle(Meddling::Reboot(Side::A));
    scene.cluster.meddle(Meddling::Up(Side::A));
    assert_eq!(scene.resolve(sealed.id()), Ok(Ending::Finished(Outcome::Healed)), "{}", scene.log());
    scene.healed().unwrap();
}

/// One run of `resolve` that is cut at each of its operations in turn: journal records, plan and salvage writes, acts.
#[test]
fn a_cut_at_every_operation_ends_healed() {
    let mut runs = 0;
    for generation in [Generation::V84, Generation::V9] {
        for survivor in Side::BOTH {
            let shape = Shape {
                generation,
                survivor,
                volumes: vec![Apart::Diverged],
                busy: false,
                survivor_primary: true,
                victim_primary: true,
                seed: 7,
            };
            let mut at = 0;
            loop {
                let mut scene = Scene::new(&shape);
                let sealed = scene.plan().unwrap();
                scene.cluster.faults.go_on([(at, Fault::Cut)]);
                let first = scene.resolve(sealed.id());
                let cut = scene.cluster.faults.is_off();
                if cut {
                    scene.cut(&mut Rng::new(at));
                    scene.cluster.pass();
                    let second = scene.resolve(sealed.id());
                    if second != Ok(Ending::Finished(Outcome::Healed)) {
                        panic!("{generation} {survivor} cut at {at}: {second:?}\n{}", scene.log());
                    }
                } else {
                    assert_eq!(first, Ok(Ending::Finished(Outcome::Healed)), "{}", scene.log());
                }
                if let Err(why) = scene.healed() {
                    panic!("{generation} {survivor} cut at {at}: {why}\n{}", scene.log());
                }
                runs += 1;
                if !cut {
                    break;
                }
                at += 1;
            }
        }
    }
    assert!(runs > 100, "{runs}");
    eprintln!("{runs} runs");
}

/// An undo that was cut off before it wrote anything, and taken up again when guests had used the healed data: what they wrote is not
/// among what it would write, and would be mixed with it all the same.
#[test]
fn an_undo_taken_up_again_does_not_mix_newer_data() {
    let mut runs = 0;
    for generation in [Generation::V84, Generation::V9] {
        let shape = Shape {
            generation,
            survivor: Side::A,
            volumes: vec![Apart::Diverged],
            busy: false,
            survivor_primary: false,
            victim_primary: false,
            seed: 7,
        };
        for at in 0.. {
            let mut scene = Scene::new(&shape);
            let sealed = scene.plan().unwrap();
            assert_eq!(scene.resolve(sealed.id()), Ok(Ending::Finished(Outcome::Healed)));
            let id = scene.journal().unwrap().incidents()[0].id.clone();
            scene.cluster.faults.go_on([(at, Fault::Cut)]);
            let _ = scene.undo(&sealed);
            scene.cluster.store.power_cut(&mut Rng::new(at));
            scene.cluster.faults.reboot();
            let incidents = scene.journal().unwrap().incidents().to_vec();
            let words = |incident: &Incident| format!("{:?}", incident.history);
            if incidents.iter().any(|incident| words(incident).contains("write-back")) {
                break;
            }
            let kept = scene.kept_of(&id, 0, false).unwrap();
            {
                let mut state = scene.cluster.lock();
                let elsewhere = (0..state.hosts.a.volumes[0].blocks())
                    .find(|block| {
                        kept.intersect(&[Extent { start: block * BLOCK, len: BLOCK }].into_iter().collect())
                            .is_empty()
                    })
                    .unwrap();
                state.hosts.a.role = Role::Primary;
                state.write(Side::A, 0, elsewhere, &[0x5A; 4096], &scene.cluster.store);
                state.hosts.a.role = Role::Secondary;
            }
            let before = scene.cluster.lock().hosts.a.volumes[0].data();
            let ending = scene.undo(&sealed);
            let refused = matches!(&ending, Ok(Ending::Abandoned { why, .. }) if why.contains("mix it with newer data"));
            assert!(refused, "{generation} cut at {at}: {ending:?}\n{}", scene.log());
            assert_eq!(scene.cluster.lock().hosts.a.volumes[0].data(), before);
            runs += 1;
        }
    }
    assert!(runs > 10, "{runs}");
}

/// The victim's agent falls silent at each moment of a healing whose nodes do not find each other: whoever reads why it stopped learns
/// that the victim still waits with its word given.
#[test]
fn a_victim_that_is_left_armed_is_told_of() {
    let mut armed = 0;
    for generation in [Generation::V84, Generation::V9] {
        let shape = Shape {
            generation,
            survivor: Side::A,
            volumes: vec![Apart::Diverged],
            busy: false,
            survivor_primary: false,
            victim_primary: false,
            seed: 7,
        };
        for at in 0..60 {
            let mut scene = Scene::new(&shape);
            let sealed = scene.plan().unwrap();
            {
                let mut state = scene.cluster.lock();
                state.link = false;
                let now = state.tick;
                state.meddling = vec![(now + at, Meddling::Deaf(Side::B, 100_000))];
            }
            let ending = scene.resolve(sealed.id());
            let state = scene.cluster.lock();
            let victim = &state.hosts.b;
            if victim.discard && victim.connection == ConnectionState::Connecting {
                let told =
                    matches!(&ending, Ok(Ending::Parked { why, .. }) if why.contains("--discard-my-data"));
                assert!(told, "{generation}, silent from {at}: {ending:?}");
                armed += 1;
            }
        }
    }
    assert!(armed > 3, "{armed}");
}
