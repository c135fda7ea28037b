//! What is said of an incident that is open, and of salvages, wherever somebody looks.

use super::cluster::{Apart, CONFIGURED, Cluster, FakeNode, Shape};
use super::command::{Cut, cut_off};
use super::scene::Scene;
use clap::Parser;
use std::sync::Arc;
use unsplit::cli::Cli;
use unsplit::cli::screen::Screen;
use unsplit::cli::still_open::{About, StillOpen};
use unsplit::edge::clock::SystemClock;
use unsplit::edge::state_dir::StateDir;
use unsplit::engine::drbd::policies::held;
use unsplit::engine::drbd::salvage_of;
use unsplit::engine::journal::{Journal, Recorded};
use unsplit::engine::plans;
use unsplit::engine::salvage::{Label, PartSource, dir_of, take_moving};
use unsplit::model::drbd_live::Generation;
use unsplit::model::drbd_live::words::ConnectionState;
use unsplit::model::id::IncidentId;
use unsplit::model::node::AfterSb;
use unsplit::model::record::{Consent, Outcome};
use unsplit::model::salvage::PartKind;
use unsplit::model::seen::{End, Stamp};
use unsplit::model::side::Side;
use unsplit::ports::disk::{Disk, DiskFault};
use unsplit::ports::node::Node;
use unsplit::ports::progress::Silent;

/// As large as it must be; what is in it does not matter.
struct Sevens(u64);

impl Disk for Sevens {
    fn name(&self) -> &str {
        "victim"
    }

    fn size(&self) -> u64 {
        self.0
    }

    fn read_at(&self, _offset: u64, buffer: &mut [u8]) -> Result<(), DiskFault> {
        buffer.fill(7);
        Ok(())
    }
}

/// The salvages of a running resource are named after their volumes; what puts them back is the incident.
#[test]
fn a_live_salvage_names_the_incident_that_puts_it_back() {
    for (volumes, wanted) in [(1, true), (2, false)] {
        let scene = Scene::empty();
        let id = healed(&scene, volumes);
        for volume in 0..volumes {
            let shown = scene.run(&["salvage", "show", &format!("{id}-v{volume}")]);
            shown.says(0, &[&format!("\n  unsplit undo {id} --state-dir")]);
            assert!(!shown.all().contains(&format!("undo {id}-v")), "{}", shown.all());
            // The device behind it is one that DRBD writes to, past its page cache.
            shown.says(0, &["qemu-nbd --read-only --cache=none", "qemu-img convert -T none -O raw"]);
            let other = format!("the whole incident: {id}-v{}, too", 1 - volume);
            assert_eq!(shown.all().contains(&other), !wanted, "{}", shown.all());
            // That command is understood, whichever name is typed. The peer cannot be reached: so far it comes.
            scene.run(&["undo", &format!("{id}-v{volume}")]).says(4, &["the agent ended"]);
        }
        scene.run(&["undo", &id]).says(4, &["the agent ended"]);
        // The incident's own name is enough where it took one salvage.
        let by_incident = scene.run(&["salvage", "show", &id]);
        if wanted {
            by_incident.says(0, &[&format!("Salvage of incident {id}-v0")]);
        } else {
            by_incident.says(2, &[&format!("unsplit salvage show {id}-v0; unsplit salvage show {id}-v1")]);
        }
    }
}

#[test]
fn a_salvage_of_a_healing_that_is_not_over_names_what_comes_first() {
    let scene = Scene::empty();
    let (id, _) = cut_off(&scene, Cut::WhileHealed);
    take_salvages(&scene, &id);
    let shown = scene.run(&["salvage", "show", &id]);
    shown.says(0, &[&format!("unsplit resolve --resume {id} --state-dir"), "must be healed first"]);
    assert!(!shown.all().contains("unsplit undo"), "{}", shown.all());
    let printed = scene.run(&["--json", "salvage", "show", &id]);
    let document: serde_json::Value = serde_json::from_str(&printed.out).unwrap();
    assert_eq!((&document["incident"], document["undo"].is_null()), (&serde_json::json!(id), true));
}

/// A state directory with a live healing that is over, and its salvages.
fn healed(scene: &Scene, volumes: u32) -> String {
    let shape = Shape {
        generation: Generation::V9,
        survivor: Side::A,
        volumes: (0..volumes).map(|_| Apart::Diverged).collect(),
        busy: false,
        survivor_primary: false,
        victim_primary: false,
        seed: 3,
    };
    let mut plan = crate::healing::Scene::new(&shape).plan().unwrap().plan().clone();
    crate::audit::ground(&mut plan).peer = "exec:false".to_owned();
    let store = Arc::new(StateDir::open(&scene.state()).unwrap());
    let healing = crate::audit::stored_as(&*store, &plan).unwrap();
    let id = IncidentId::new("20261121-031502-healed").unwrap();
    let journal = Journal::open(store, Arc::new(SystemClock)).unwrap();
    let resource = healing.plan().resource.clone();
    let mut cursor = journal.begin(id.clone(), resource, healing.id(), Consent::Operator).unwrap();
    for (index, step) in healing.plan().steps().into_iter().enumerate() {
        match cursor.declare(index, step.clone()).unwrap().perform(|_| End::Done).record().unwrap() {
            Recorded::Well(next) => cursor = next,
            Recorded::Badly(_) => panic!("{} did not end well", step.word),
        }
    }
    cursor.close(Outcome::Healed).unwrap();
    drop(journal);
    take_salvages(scene, id.as_str());
    id.to_string()
}

/// The salvages that its plan takes.
fn take_salvages(scene: &Scene, id: &str) {
    let store = StateDir::open(&scene.state()).unwrap();
    let id = IncidentId::new(id).unwrap();
    let story = Journal::read(&store).unwrap().unwrap();
    let incident = story.incidents.as_slice().iter().find(|incident| incident.id == id).unwrap();
    let sealed = plans::load(&store, incident.plan).unwrap();
    let plan = sealed.plan();
    let victim = plan.victim();
    for volume in plan.volumes.iter().filter(|volume| !volume.overwrite.is_empty()) {
        let incident = salvage_of(&id, volume.number).unwrap();
        let disk = Sevens(volume.size);
        let part = PartSource {
            kind: PartKind::VictimData,
            disk: &disk,
            extents: &volume.overwrite,
            virtual_size: volume.size,
            backing: Some("/dev/drbd-backing/survivor".to_owned()),
        };
        let label = Label {
            incident: incident.clone(),
            plan: sealed.id(),
            resource: plan.resource.clone(),
            victim,
            victim_name: plan.names[victim].clone(),
            survivor_name: plan.names[plan.survivor].clone(),
            taken_at: Stamp(0),
        };
        take_moving(&store, &dir_of(&incident), &label, &[part], &Silent).unwrap();
    }
}

/// What a live healing holds is said with it, in every look at the resource.
#[test]
fn what_an_open_live_healing_holds_is_said() {
    let scene = Scene::empty();
    let (id, _) = cut_off(&scene, Cut::WhileHealed);
    let cli =
        Cli::try_parse_from(["unsplit", "--state-dir", scene.state().to_str().unwrap(), "status"]).unwrap();
    let said = |about: About<'_>| {
        let open = StillOpen::about(&cli, about);
        let paper = crate::several::Paper::default();
        open.show(&mut Screen::plain(Box::new(paper.clone()))).unwrap();
        (open.or(0), paper.text())
    };
    let (code, text) = said(About::Resources { names: &["r0"], devices: &[] });
    assert_eq!(code, 6);
    assert!(text.contains(&format!("unsplit resolve --resume {id}")), "{text}");
    assert!(
        text.contains(
            "after-sb policies are `disconnect` until it is over, then again what the files say on node1"
        ),
        "{text}"
    );
    // Another resource, and other devices.
    let others = ["/dev/other".to_owned()];
    assert_eq!(said(About::Resources { names: &["r7"], devices: &others }), (0, String::new()));
    assert_eq!(said(About::Everything).0, 6);
    // By the device that it stands on, whatever the resource is called now.
    let store = StateDir::open_read_only(&scene.state()).unwrap();
    let story = Journal::read(&store).unwrap().unwrap();
    let sealed = plans::load(&store, story.incidents.as_slice()[0].plan).unwrap();
    let devices = [sealed.plan().volumes[0].at.a.data.clone()];
    assert_eq!(said(About::Resources { names: &["renamed"], devices: &devices }).0, 6);
}

/// Also on the node that has no journal: a kernel that would not do what its files say, though all looks healthy.
#[test]
fn a_kernel_that_holds_the_policies_is_told_by_its_files() {
    for generation in [Generation::V84, Generation::V9] {
        let shape = Shape {
            generation,
            survivor: Side::A,
            volumes: vec![Apart::Diverged],
            busy: false,
            survivor_primary: false,
            victim_primary: false,
            seed: 3,
        };
        let cluster = Cluster::new(&shape);
        let node = FakeNode { cluster: Arc::clone(&cluster), side: Side::B };
        cluster.lock().hosts.b.connection = ConnectionState::Connecting;
        assert_eq!(held(&node.report().unwrap(), "r0"), None, "{generation}: as the files say");
        cluster.lock().hosts.b.policies = AfterSb::DISCONNECT;
        assert_eq!(held(&node.report().unwrap(), "r0"), Some(CONFIGURED), "{generation}");
        assert_eq!(held(&node.report().unwrap(), "r1"), None);
        cluster.lock().hosts.b.configured = AfterSb::DISCONNECT;
        assert_eq!(held(&node.report().unwrap(), "r0"), None, "{generation}: the files say so, too");
    }
}
