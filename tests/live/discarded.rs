//! Undo of what DRBD itself discarded, over two fake nodes: what the handlers kept and wrote down is all that tells of it.

use crate::cluster::{Apart, Nodes, Shape};
use crate::healing::Scene;
use crate::several::Paper;
use clap::Parser;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use unsplit::cli::plan::state_dir_words;
use unsplit::cli::screen::Screen;
use unsplit::cli::undo::of_discarded;
use unsplit::cli::{Cli, Command};
use unsplit::edge::events::append;
use unsplit::engine::incident::Ending;
use unsplit::engine::salvage::{Label, PartSource, dir_of, take_moving};
use unsplit::format::events::encode;
use unsplit::model::drbd_live::Generation;
use unsplit::model::drbd_live::words::Role;
use unsplit::model::extent::ExtentSet;
use unsplit::model::handled::{Call, Handled, Handler, Outcome, Then, VolumeThen};
use unsplit::model::id::{Digest, IncidentId, PlanId, ResourceName};
use unsplit::model::node::DrbdSeen;
use unsplit::model::record;
use unsplit::model::salvage::PartKind;
use unsplit::model::seen::Stamp;
use unsplit::model::side::Side;
use unsplit::ports::node::Node;
use unsplit::ports::progress::Silent;
use unsplit::resolver::desk::open_desk;

const NAME: &str = "resync-r0-0-whole-20261121-031502-4711";

fn shape(generation: Generation, seed: u64) -> Shape {
    Shape {
        generation,
        // unsplit runs on A, which is overwritten.
        survivor: Side::B,
        volumes: vec![Apart::Diverged, Apart::Diverged],
        busy: false,
        survivor_primary: false,
        victim_primary: false,
        seed,
    }
}

/// What A's kernel shows of volume 0, as its handler writes it down.
fn event(scene: &Scene, handler: Handler, did: Outcome) -> Handled {
    let state = scene.nodes.a.state().unwrap();
    let DrbdSeen::Told(live) = &state.drbd else { panic!() };
    let device = &live.resource("r0").unwrap().devices[0];
    let volume = VolumeThen {
        volume: 0,
        minor: device.minor,
        disk: device.info.disk,
        peer_disk: None,
        replication: None,
        current: device.statistics.current,
        bitmap: None,
        history: Vec::new(),
        out_of_sync: None,
        written: device.statistics.written,
    };
    let then = Then {
        role: Some(Role::Secondary),
        connection: None,
        peer_role: Some(Role::Secondary),
        volumes: vec![volume],
    };
    Handled {
        at: Stamp(0),
        host: state.host,
        boot: state.boot,
        handler,
        call: Call { resource: Some("r0".to_owned()), volumes: vec![0], ..Call::default() },
        then: Ok(then),
        did,
        exit: 0,
    }
}

fn record_event(state: &Path, event: &Handled) {
    append(state, &encode(event).unwrap(), Instant::now() + Duration::from_secs(60)).unwrap();
}

fn content(scene: &Scene, side: Side, volume: usize) -> Vec<u8> {
    let state = scene.cluster.lock();
    let volume = &state.hosts[side].volumes[volume];
    volume.disk.content()[..usize::try_from(volume.size).unwrap()].to_vec()
}

/// Both nodes joined with B's data, after a resync that overwrote A's; what A held of volume 0 is kept whole, and the events tell of
/// it. What A held.
fn discarded(scene: &mut Scene, state: &Path) -> Vec<u8> {
    let id = IncidentId::new(NAME).unwrap();
    let before = content(scene, Side::A, 0);
    let size = before.len() as u64;
    {
        let desk = open_desk(state).unwrap();
        let lock = scene.cluster.lock();
        let disk = Arc::clone(&lock.hosts.a.volumes[0].disk);
        drop(lock);
        let part = PartSource {
            kind: PartKind::VictimData,
            disk: &*disk,
            extents: &ExtentSet::whole(size),
            virtual_size: size,
            backing: None,
        };
        let [a, b] = [Side::A, Side::B].map(|side| scene.nodes[side].name().clone());
        let label = Label {
            incident: id.clone(),
            plan: PlanId(Digest([7; 32])),
            resource: ResourceName::new("r0").unwrap(),
            victim: Side::A,
            victim_name: a,
            survivor_name: b,
            taken_at: Stamp(0),
        };
        take_moving(&*desk.store, &dir_of(&id), &label, &[part], &Silent).unwrap();
    }
    let did = Outcome::Kept { salvage: id, bytes: size, whole: true, overwritten: Some(size) };
    record_event(state, &event(scene, Handler::BeforeResyncTarget, did));
    let plan = scene.plan().unwrap();
    assert_eq!(scene.resolve(plan.id()).unwrap(), Ending::Finished(record::Outcome::Healed));
    record_event(state, &event(scene, Handler::AfterResyncTarget, Outcome::Recorded));
    before
}

/// `unsplit undo resync-... WORDS`: exit code and words.
fn undo(scene: &Scene, state: &Path, words: &[&str]) -> (u8, String) {
    let mut line =
        vec!["unsplit", "--state-dir", state.to_str().unwrap(), "undo", NAME, "--peer", "ssh:node2"];
    line.extend(words);
    let cli = Cli::try_parse_from(line).unwrap();
    let Command::Undo(args) = &cli.command else { panic!() };
    let nodes = Nodes::new(vec![("r0", Arc::clone(&scene.cluster))]);
    let (both, paper) = (nodes.both(), Paper::default());
    let mut screen = Screen::plain(Box::new(paper.clone()));
    let desk = open_desk(state).unwrap();
    scene.cluster.lock().undoing = true;
    let id = IncidentId::new(NAME).unwrap();
    match of_discarded(&cli, args, &mut screen, &desk, &both, &id) {
        Ok(code) => (code, paper.text()),
        Err(failure) => {
            let failure = failure.in_state_dir(&state_dir_words(&cli));
            (failure.code(), format!("{}{}", paper.text(), failure.text()))
        }
    }
}

#[test]
fn what_drbd_discarded_is_put_back_on_both() {
    for (generation, seed) in [(Generation::V9, 3), (Generation::V84, 4), (Generation::V9, 5)] {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let mut scene = Scene::new(&shape(generation, seed));
        let before = discarded(&mut scene, &state);
        let other = content(&scene, Side::B, 1);
        assert_ne!(content(&scene, Side::A, 0), before, "{generation}: the resync overwrote nothing");
        let (code, said) = undo(&scene, &state, &["--dry-run"]);
        assert_eq!(code, 1, "{said}");
        assert_ne!(content(&scene, Side::A, 0), before, "a dry run changed something");
        let (code, said) = undo(&scene, &state, &[]);
        assert_eq!(code, 0, "{said}");
        for side in Side::BOTH {
            assert!(content(&scene, side, 0) == before, "{generation}, {side}: not what A held");
            assert!(content(&scene, side, 1) == other, "{generation}, {side}: another volume was touched");
        }
        // Once, and never again.
        let (code, said) = undo(&scene, &state, &[]);
        assert_eq!(code, 2, "{said}");
        assert!(said.contains("was put back by incident"), "{said}");
    }
}

#[test]
fn what_was_written_since_the_resync_is_never_mixed_with_it() {
    for seed in [3, 4] {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let mut scene = Scene::new(&shape(Generation::V9, seed));
        let before = discarded(&mut scene, &state);
        // B is Primary for a moment and writes one block, which reaches A.
        let store = Arc::clone(&scene.cluster.store);
        scene.cluster.lock().write(Side::B, 0, 0, &[9; 4096], &store);
        let now = content(&scene, Side::A, 0);
        let (code, said) = undo(&scene, &state, &[]);
        assert_eq!(code, 4, "{said}");
        assert!(said.contains("were written to volume 0"), "{said}");
        assert!(said.contains(&format!("unsplit salvage show {NAME} --state-dir")), "{said}");
        assert!(content(&scene, Side::A, 0) == now && now != before);
    }
}
