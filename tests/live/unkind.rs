//! A healing where the two nodes are not what they were when the plan was drawn, do not tell all, or do something else than they were told.

use crate::cluster::{Apart, BLOCK, Meddling, Shape, Third};
use crate::healing::Scene;
use unsplit::engine::incident::{Ending, Obstacle};
use unsplit::judge::incident::IncidentState;
use unsplit::model::drbd::GenerationUuid;
use unsplit::model::drbd_live::Generation;
use unsplit::model::drbd_live::words::{ConnectionState, DiskState, Role};
use unsplit::model::extent::{Extent, ExtentSet};
use unsplit::model::record::Outcome;
use unsplit::model::side::Side;

pub const BOTH: [Generation; 2] = [Generation::V84, Generation::V9];

pub fn shape(generation: Generation) -> Shape {
    Shape {
        generation,
        survivor: Side::A,
        volumes: vec![Apart::Diverged],
        busy: false,
        survivor_primary: false,
        victim_primary: false,
        seed: 3,
    }
}

#[track_caller]
fn is_stale(scene: &mut Scene, ending: Result<Ending, String>, word: &str) {
    match ending {
        Ok(Ending::Abandoned { obstacle: Obstacle::Stale, why }) => assert!(why.contains(word), "{why}"),
        other => panic!("{other:?}\n{}", scene.log()),
    }
    scene.untouched().unwrap();
}

type Change = fn(&Scene);

/// A block of that node that neither marked, and both hold the same.
pub fn equal_block(scene: &Scene) -> u64 {
    let state = scene.cluster.lock();
    let marked = |side: Side, block: u64| state.hosts[side].volumes[0].bits.contains(&block);
    (0..state.hosts.a.volumes[0].blocks())
        .find(|block| Side::BOTH.iter().all(|side| !marked(*side, *block)))
        .unwrap()
}

fn as_extents(block: u64) -> ExtentSet {
    [Extent { start: block * BLOCK, len: BLOCK }].into_iter().collect()
}

/// A guest of a node that is promoted for it writes a block.
fn write(scene: &Scene, side: Side, block: u64, fill: u8) {
    let mut state = scene.cluster.lock();
    let before = state.hosts[side].role;
    state.hosts[side].role = Role::Primary;
    state.write(side, 0, block, &[fill; 4096], &scene.cluster.store);
    state.hosts[side].role = before;
    scene.cluster.persist(&mut state, side);
}

#[test]
fn a_plan_runs_only_on_what_it_was_drawn_for() {
    for generation in BOTH {
        let changes: [(&str, Change); 4] = [
            ("is not the resource on the nodes", |scene| scene.cluster.add_volume()),
            ("is not the resource on the nodes", |scene| {
                scene.cluster.lock().hosts.b.machine = "another".to_owned();
            }),
            ("one was resized while the two were apart", |scene| {
                scene.cluster.lock().hosts.b.grown = 16 << 20
            }),
            ("was resized on node1 since", |scene| {
                let mut state = scene.cluster.lock();
                (state.hosts.a.grown, state.hosts.b.grown) = (16 << 20, 16 << 20);
            }),
        ];
        for (word, change) in changes {
            let mut scene = Scene::new(&shape(generation));
            let sealed = scene.plan().unwrap();
            change(&scene);
            let ending = scene.resolve(sealed.id());
            is_stale(&mut scene, ending, word);
            // Before anything was told to anybody.
            let state = scene.cluster.lock();
            assert!(!state.log.iter().any(|line| line.contains("Demote") || line.contains("Disconnect")));
        }
    }
}

/// Not only what differed when the plan was drawn: the survivor went on, and what the victim holds there is overwritten, too.
#[test]
fn what_differs_only_since_the_plan_is_kept_too() {
    for generation in BOTH {
        let mut scene = Scene::new(&Shape { survivor_primary: true, ..shape(generation) });
        let sealed = scene.plan().unwrap();
        let block = equal_block(&scene);
        write(&scene, Side::A, block, 0x77);
        assert!(sealed.plan().volumes[0].overwrite.intersect(&as_extents(block)).is_empty());
        assert_eq!(scene.resolve(sealed.id()), Ok(Ending::Finished(Outcome::Healed)), "{}", scene.log());
        scene.healed().unwrap();
        let id = scene.journal().unwrap().incidents()[0].id.clone();
        let kept = scene.kept_of(&id, 0, false).unwrap();
        assert_eq!(kept.intersect(&as_extents(block)), as_extents(block), "{generation}");
    }
}

/// The bits do not change, nor the generation: the content tells.
#[test]
fn a_victim_that_wrote_again_where_it_wrote_before_is_stale() {
    for generation in BOTH {
        let mut scene = Scene::new(&shape(generation));
        let sealed = scene.plan().unwrap();
        scene.cluster.meddle(Meddling::Rewrite(Side::B));
        let ending = scene.resolve(sealed.id());
        is_stale(&mut scene, ending, "is not what it was when the plan was drawn");
    }
}

/// At each moment of a healing, with a kernel that tells all and one that tells neither its boot id nor what it counts: what the guest
/// wrote is in the salvage, or still on the disk.
#[test]
fn a_victim_that_writes_again_while_it_is_healed_loses_nothing() {
    let mut stopped = 0;
    for hides in [false, true] {
        for generation in BOTH {
            for at in 1..40 {
                let mut scene = Scene::new(&shape(generation));
                scene.cluster.lock().hosts.b.hides = hides;
                let sealed = scene.plan().unwrap();
                let now = scene.cluster.lock().tick;
                scene.cluster.lock().meddling = vec![(now + at, Meddling::Rewrite(Side::B))];
                let ending = scene.resolve(sealed.id());
                assert!(ending.is_ok(), "{generation} at {at}: {ending:?}\n{}", scene.log());
                if scene.cluster.lock().victim_wrote && ending != Ok(Ending::Finished(Outcome::Healed)) {
                    stopped += 1;
                }
            }
        }
    }
    assert!(stopped > 20, "{stopped}");
}

/// The survivor was declared out of date meanwhile: its generation is what it was, and 8.4 would overwrite it.
#[test]
fn a_direction_that_turned_round_since_the_plan_is_seen() {
    let mut scene = Scene::new(&shape(Generation::V84));
    let sealed = scene.plan().unwrap();
    {
        let mut state = scene.cluster.lock();
        state.hosts.a.volumes[0].state = DiskState::Inconsistent;
        scene.cluster.persist(&mut state, Side::A);
    }
    let ending = scene.resolve(sealed.id());
    is_stale(&mut scene, ending, "whose data is to be kept");
}

#[test]
fn a_third_node_that_came_in_the_way_since_the_plan_is_seen() {
    for (connected_to, role, word) in
        [(Side::B, Role::Secondary, "would go on to"), (Side::A, Role::Primary, "writes through node1")]
    {
        let mut scene = Scene::new(&shape(Generation::V9));
        let sealed = scene.plan().unwrap();
        scene.cluster.lock().third = Some(Third { connected_to, role });
        let ending = scene.resolve(sealed.id());
        match &ending {
            Ok(Ending::Abandoned { obstacle: Obstacle::Busy, why }) => assert!(why.contains(word), "{why}"),
            other => panic!("{other:?}\n{}", scene.log()),
        }
        scene.untouched().unwrap();
    }
}

/// Whoever uses the victim may be writing: what cannot be found out is not nobody.
#[test]
fn a_victim_whose_users_are_not_known_is_not_demoted() {
    for generation in BOTH {
        let mut scene = Scene::new(&Shape { victim_primary: true, ..shape(generation) });
        let sealed = scene.plan().unwrap();
        scene.cluster.lock().hosts.b.users_unknown = true;
        let ending = scene.resolve(sealed.id());
        assert!(
            matches!(&ending, Ok(Ending::Abandoned { obstacle: Obstacle::Busy, .. })),
            "{ending:?}\n{}",
            scene.log()
        );
        assert_eq!(scene.cluster.lock().hosts.b.role, Role::Primary);
    }
}

/// At each moment somebody lets DRBD overwrite the survivor. It takes some looks until the first block, and unsplit ends it on both nodes.
#[test]
fn a_resync_in_the_wrong_direction_is_stopped_on_both_nodes() {
    let mut stopped = 0;
    for generation in BOTH {
        for at in 1..40 {
            let mut scene = Scene::new(&shape(generation));
            let sealed = scene.plan().unwrap();
            let held = scene.cluster.lock().hosts.a.volumes[0].data();
            let now = scene.cluster.lock().tick;
            scene.cluster.lock().meddling = vec![(now + at, Meddling::Turn(12))];
            let ending = scene.resolve(sealed.id());
            if !scene.cluster.lock().turned_by_others {
                continue;
            }
            if let Ok(Ending::Parked { why, .. }) = &ending
                && why.contains("whose data is to be kept")
            {
                let state = scene.cluster.lock();
                for (side, host) in state.hosts.iter() {
                    assert_eq!(host.connection, ConnectionState::StandAlone, "{side}, at {at}: {why}");
                }
                assert!(state.hosts.a.volumes[0].data() == held, "at {at}");
                stopped += 1;
            } else if ending == Ok(Ending::Finished(Outcome::Healed)) {
                // The two were equal when it began.
                assert!(scene.cluster.lock().hosts.a.volumes[0].data() == held, "at {at}: {}", scene.log());
            }
        }
    }
    assert!(stopped > 2, "{stopped}");
}

/// The same, and over before unsplit looks: both are connected and equal, with what the victim held.
#[test]
fn nodes_that_both_hold_the_victims_data_are_not_called_healed() {
    let mut overrun = 0;
    for generation in BOTH {
        for at in 1..40 {
            let mut scene = Scene::new(&shape(generation));
            let sealed = scene.plan().unwrap();
            let kept = scene.cluster.lock().hosts.a.volumes[0].data();
            let now = scene.cluster.lock().tick;
            scene.cluster.lock().meddling = vec![(now + at, Meddling::Overrun)];
            let ending = scene.resolve(sealed.id());
            let state = scene.cluster.lock();
            if !state.turned_by_others {
                continue;
            }
            // Where the victim had become equal before, nothing was lost.
            if state.hosts.a.volumes[0].data() != kept {
                drop(state);
                assert_ne!(ending, Ok(Ending::Finished(Outcome::Healed)), "at {at}: {}", scene.log());
                overrun += 1;
            }
        }
    }
    assert!(overrun > 2, "{overrun}");
}

/// DRBD exchanges the bitmaps, and goes no further: a handler of the victim forbids the resync. The cause is named, nobody is accused,
/// and once it is mended `--resume` heals.
#[test]
fn a_resync_that_a_handler_forbids_is_healed_once_it_is_allowed() {
    for generation in BOTH {
        for apart in [Apart::Diverged, Apart::History] {
            for survivor in Side::BOTH {
                for survivor_primary in [false, true] {
                    let volumes = vec![apart, Apart::Diverged];
                    let mut scene =
                        Scene::new(&Shape { survivor, survivor_primary, volumes, ..shape(generation) });
                    let sealed = scene.plan().unwrap();
                    assert_eq!(scene.bitmaps_exchanged(), None);
                    let victim = survivor.other();
                    scene.cluster.lock().hosts[victim].refuses = 7;
                    for run in 1..=2 {
                        let ending = scene.resolve(sealed.id());
                        let Ok(Ending::Parked { why, .. }) = &ending else {
                            panic!("{generation} {apart:?}: {ending:?}\n{}", scene.log())
                        };
                        let name = if victim == Side::A { "node1" } else { "node2" };
                        let told = format!("`before-resync-target` on {name} ended with exit code 7");
                        assert!(why.contains(&told) && !why.contains("wrote to volume"), "{why}");
                        // What it forbids it forbids every time: it is asked once in a run.
                        let story = scene.log();
                        assert_eq!(story.matches("the handler on").count(), run, "{story}");
                        // 8.4 gave the victim a new generation: it is behind, and nobody is accused. 9 says what its bitmaps are worth.
                        if generation == Generation::V9 {
                            assert_eq!(scene.bitmaps_exchanged(), Some(victim), "{apart:?}");
                        }
                        scene.untouched().unwrap();
                    }
                    scene.cluster.lock().hosts[victim].refuses = 0;
                    let ending = scene.resolve(sealed.id());
                    assert_eq!(
                        ending,
                        Ok(Ending::Finished(Outcome::Healed)),
                        "{generation} {apart:?}: {}",
                        scene.log()
                    );
                    scene.healed().unwrap();
                }
            }
        }
    }
}

/// The link breaks at that moment, as often as it likes, and is back: DRBD finds a split brain again, and unsplit heals it.
#[test]
fn a_link_that_breaks_after_the_bitmaps_were_exchanged_is_no_reason_to_stop() {
    for generation in BOTH {
        for apart in [Apart::Diverged, Apart::History] {
            for many in 1..=3 {
                let mut scene = Scene::new(&Shape { volumes: vec![apart], ..shape(generation) });
                let sealed = scene.plan().unwrap();
                scene.cluster.lock().exchanges_that_break = many;
                let ending = scene.resolve(sealed.id());
                assert_eq!(
                    ending,
                    Ok(Ending::Finished(Outcome::Healed)),
                    "{generation} {apart:?}: {}",
                    scene.log()
                );
                scene.healed().unwrap();
            }
        }
    }
}

/// A victim whose resync was forbidden is used again, by a kernel that took its `Outdated` back. It writes where only the survivor had
/// marked, so that the merged bitmaps hide it. It is seen by what the kernel counts; and where that is gone, it is kept.
#[test]
fn what_a_victim_writes_under_the_survivors_marks_is_not_lost() {
    for (restarted, survivor_wrote) in [(false, false), (true, false), (true, true)] {
        let mut scene = Scene::new(&shape(Generation::V9));
        let sealed = scene.plan().unwrap();
        let hidden = {
            let state = scene.cluster.lock();
            let theirs = &state.hosts.b.volumes[0].bits;
            *state.hosts.a.volumes[0].bits.iter().find(|block| !theirs.contains(block)).unwrap()
        };
        // Marked by the survivor, and equal: no content that the plan knows.
        let common = scene.cluster.lock().hosts.b.volumes[0].data();
        let range = usize::try_from(hidden * BLOCK).unwrap()..usize::try_from((hidden + 1) * BLOCK).unwrap();
        {
            let mut state = scene.cluster.lock();
            let bytes = common[range.clone()].to_vec();
            state.hosts.a.role = Role::Primary;
            state.write(Side::A, 0, hidden, &bytes, &scene.cluster.store);
            state.hosts.a.role = Role::Secondary;
            scene.cluster.persist(&mut state, Side::A);
        }
        let sealed = scene.plan().unwrap_or(sealed);
        assert!(
            sealed
                .plan()
                .drbd()
                .unwrap()
                .volumes()
                .next()
                .unwrap()
                .guarded()
                .intersect(&as_extents(hidden))
                .is_empty()
        );
        scene.cluster.lock().hosts.b.refuses = 1;
        assert!(matches!(scene.resolve(sealed.id()), Ok(Ending::Parked { .. })));
        {
            let mut state = scene.cluster.lock();
            state.hosts.b.refuses = 0;
            state.hosts.b.volumes[0].state = DiskState::UpToDate;
        }
        write(&scene, Side::B, hidden, 0x99);
        if restarted {
            scene.cluster.meddle(Meddling::Reboot(Side::B));
            scene.cluster.meddle(Meddling::Up(Side::B));
        }
        if survivor_wrote {
            write(&scene, Side::A, equal_block(&scene), 0x55);
        }
        let ending = scene.resolve(sealed.id());
        if survivor_wrote {
            // The fake calls it broken when what was overwritten is in no salvage.
            assert_eq!(ending, Ok(Ending::Finished(Outcome::Healed)), "{}", scene.log());
            let id = scene.journal().unwrap().incidents()[0].id.clone();
            let kept = scene.kept_of(&id, 0, false).unwrap();
            assert_eq!(kept.intersect(&as_extents(hidden)), as_extents(hidden));
        } else {
            let word =
                if restarted { "the plan leaves out 4096 bytes" } else { "node2 wrote 4 KiB to volume 0" };
            let told = matches!(&ending, Ok(Ending::Parked { why, .. }) if why.contains(word));
            assert!(told, "{ending:?}\n{}", scene.log());
            assert_eq!(scene.cluster.lock().hosts.b.volumes[0].data()[range], [0x99; 4096]);
        }
    }
}

/// The survivor restarts at each moment, the other node is promoted and writes, and the survivor comes back. Before the two were equal
/// that write is not overwritten unseen; afterwards DRBD brings the survivor up to date, and nothing is wrong with that.
#[test]
fn a_survivor_that_restarts_while_the_other_goes_on_breaks_nothing() {
    let (mut healed, mut behind) = (0, 0);
    for generation in BOTH {
        for at in 1..45 {
            let mut scene = Scene::new(&shape(generation));
            let sealed = scene.plan().unwrap();
            let now = scene.cluster.lock().tick;
            scene.cluster.lock().meddling = vec![
                (now + at, Meddling::Reboot(Side::A)),
                (now + at + 1, Meddling::Promote(Side::B)),
                (now + at + 3, Meddling::Up(Side::A)),
                (now + at + 9, Meddling::Demote(Side::B)),
            ];
            let ending = scene.resolve(sealed.id());
            let broken = matches!(&ending, Err(why) if why.starts_with("BROKEN"));
            assert!(!broken, "{generation} at {at}: {ending:?}\n{}", scene.log());
            healed += u32::from(ending == Ok(Ending::Finished(Outcome::Healed)));
            for _ in 0..20 {
                scene.cluster.pass();
            }
            let state = scene.cluster.lock();
            assert_eq!(state.broken, Vec::<String>::new(), "{generation} at {at}");
            behind += u32::from(state.log.iter().any(|line| line.contains("sources [Some((B")));
        }
    }
    assert!(healed > 4 && behind > 1, "{healed} {behind}");
}

/// Two volumes: one began to be overwritten, and the handler of the other forbade it. The other is used again, and written to under the
/// survivor's marks: by what its kernel counts that is seen, also beside a volume that is half overwritten.
#[test]
fn a_volume_that_is_still_whole_is_looked_at_beside_one_that_is_not() {
    for writes in [false, true] {
        let volumes = vec![Apart::Diverged, Apart::Diverged];
        let mut scene = Scene::new(&Shape { volumes, ..shape(Generation::V9) });
        let hidden = {
            let mut state = scene.cluster.lock();
            let marked = |side: Side, block: u64| state.hosts[side].volumes[1].bits.contains(&block);
            let block = (0..state.hosts.a.volumes[1].blocks())
                .find(|block| Side::BOTH.iter().all(|side| !marked(*side, *block)))
                .unwrap();
            let range =
                usize::try_from(block * BLOCK).unwrap()..usize::try_from((block + 1) * BLOCK).unwrap();
            let bytes = state.hosts.b.volumes[1].data()[range].to_vec();
            state.hosts.a.role = Role::Primary;
            state.write(Side::A, 1, block, &bytes, &scene.cluster.store);
            state.hosts.a.role = Role::Secondary;
            scene.cluster.persist(&mut state, Side::A);
            block
        };
        let sealed = scene.plan().unwrap();
        {
            let mut state = scene.cluster.lock();
            (state.hosts.b.refuses, state.hosts.b.refuses_from) = (3, 1);
        }
        assert!(matches!(scene.resolve(sealed.id()), Ok(Ending::Parked { .. })), "{}", scene.log());
        {
            let mut state = scene.cluster.lock();
            assert_eq!(state.hosts.b.volumes[0].state, DiskState::Inconsistent);
            assert_eq!(state.hosts.b.volumes[1].state, DiskState::Outdated);
            state.hosts.b.refuses = 0;
            if writes {
                state.hosts.b.role = Role::Primary;
                state.write(Side::B, 1, hidden, &[0x99; 4096], &scene.cluster.store);
                state.hosts.b.role = Role::Secondary;
                scene.cluster.persist(&mut state, Side::B);
            }
        }
        let ending = scene.resolve(sealed.id());
        if writes {
            let told = matches!(&ending, Ok(Ending::Parked { why, .. }) if why.contains("node2 wrote 4 KiB to volume 1"));
            assert!(told, "{ending:?}\n{}", scene.log());
        } else {
            assert_eq!(ending, Ok(Ending::Finished(Outcome::Healed)), "{}", scene.log());
            scene.healed().unwrap();
        }
    }
}

/// While a healing waits, the victim begins a generation of its own: going on cannot succeed any more, and is not offered first.
#[test]
fn a_generation_that_went_on_meanwhile_leaves_only_a_new_plan() {
    for generation in BOTH {
        let mut scene = Scene::new(&shape(generation));
        let sealed = scene.plan().unwrap();
        scene.cluster.lock().hosts.b.refuses = 1;
        let waits = scene.resolve(sealed.id());
        assert!(matches!(waits, Ok(Ending::Parked { may_pass: true, .. })), "{waits:?}\n{}", scene.log());
        {
            let mut state = scene.cluster.lock();
            state.hosts.b.refuses = 0;
            state.hosts.b.volumes[0].metadata.told.current = GenerationUuid(0x1234_5678_9ABC_DEF0);
            scene.cluster.persist(&mut state, Side::B);
        }
        let ending = scene.resolve(sealed.id());
        let Ok(Ending::Parked { obstacle: Obstacle::Stale, may_pass: false, why }) = &ending else {
            panic!("{generation}: {ending:?}\n{}", scene.log())
        };
        assert!(why.contains("another generation on node2"), "{why}");
        let incidents = scene.journal().unwrap().incidents();
        let IncidentState::Parked { next, .. } = &incidents[0].state else { panic!("{incidents:?}") };
        assert_eq!(*next, format!("unsplit resolve --give-up {} --yes", incidents[0].id));
    }
}
