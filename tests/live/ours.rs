//! What a handler on the victim is told of the healing that calls it into being.

use crate::audit::{ground, stored_as};
use crate::healing::Scene;
use crate::scene::{ran, skips::not_here};
use crate::unkind::shape;
use crate::world::pair::Spec;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use unsplit::edge::clock::SystemClock;
use unsplit::edge::events;
use unsplit::edge::peer::greet::machine_id;
use unsplit::edge::state_dir::StateDir;
use unsplit::engine::drbd::ours::{Ours, overwritten_by_us};
use unsplit::engine::journal::{Cursor, Declared, Journal, Ready, Recorded};
use unsplit::judge::audit::SealedPlan;
use unsplit::judge::incident::Incident;
use unsplit::model::drbd::MetadataFormat;
use unsplit::model::drbd_live::Generation;
use unsplit::model::handled::Outcome;
use unsplit::model::id::{IncidentId, ResourceName};
use unsplit::model::plan::Plan;
use unsplit::model::record::Consent;
use unsplit::model::seen::End;
use unsplit::model::stage::Stage;

/// A healing in the middle of overwriting, its intent written down; whoever drops it leaves it so.
fn overwriting<'j>(journal: &'j Journal, sealed: &SealedPlan) -> Cursor<'j, Declared> {
    let (id, plan) = (IncidentId::new("i1").unwrap(), sealed.plan());
    let mut cursor: Cursor<'_, Ready> =
        journal.begin(id, plan.resource.clone(), sealed.id(), Consent::Operator).unwrap();
    for (at, name) in plan.steps().into_iter().enumerate() {
        let (overwrites, preserves) = (name.stage == Stage::Overwrite, name.stage == Stage::Preserve);
        let declared = cursor.declare(at, name).unwrap();
        if overwrites {
            return declared;
        }
        let end = if preserves && !plan.salvage { End::AlreadySo } else { End::Done };
        let Recorded::Well(next) = declared.perform(|_| end).record().unwrap() else { panic!("{at}") };
        cursor = next;
    }
    panic!("{:?} overwrites nothing", plan.steps())
}

/// It waits for a person from here on.
fn park(overwriting: Cursor<'_, Declared>) {
    let ended = overwriting.perform(|_| End::Unknown("cut".into())).record().unwrap();
    let Recorded::Badly(stopped) = ended else { panic!("it ended well") };
    stopped.park("cut", "unsplit resolve --resume i1").unwrap();
}

/// A plan that keeps the victim's data, or not.
fn plan(scene: &Scene, salvage: bool) -> Plan {
    let (mut plan, _) = scene.drawn().unwrap();
    plan.salvage = salvage;
    plan
}

#[test]
fn a_handler_keeps_nothing_more_only_of_what_the_healing_has_seen_to() {
    for salvage in [true, false] {
        let scene = Scene::new(&shape(Generation::V9));
        let plan = plan(&scene, salvage);
        let sealed = stored_as(&*scene.cluster.store, &plan).unwrap();
        let journal = scene.journal().unwrap();
        let begun = overwriting(&journal, &sealed);
        let now = journal.incidents();
        park(begun);
        let parked = journal.incidents();
        let machines = &plan.drbd().unwrap().ground.machines;
        let (victim, survivor) = (&machines[plan.victim()], &machines[plan.survivor]);
        let asked = |incidents: &[Incident], resource: &str, volume, machine: &Option<String>| {
            let resource = ResourceName::new(resource).unwrap();
            overwritten_by_us(&*scene.cluster.store, incidents, (&resource, volume), machine.as_deref())
        };
        let (now, parked) = (now.as_slice(), parked.as_slice());
        let id = now[0].id.clone();
        let seen_to = if salvage { Ours::Kept(id) } else { Ours::Waived(id) };
        let resource = plan.resource.as_str();
        assert_eq!(asked(now, resource, 0, victim), Some(seen_to));
        // Not this node, another volume or resource, a machine without a name, and nobody at work.
        assert_eq!(asked(now, resource, 0, survivor), None);
        assert_eq!(asked(now, resource, 7, victim), None);
        assert_eq!(asked(now, "another", 0, victim), None);
        assert_eq!(asked(now, resource, 0, &None), None);
        assert_eq!(asked(parked, resource, 0, victim), None);
    }
}

/// The program as DRBD calls it before a resync of volume 0 of r0, on a disk that holds changes of its own. What it did, and how
/// many salvages there are then.
fn called(state: &Path, disk: &Path) -> (Outcome, usize) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_unsplit"));
    let environment = [
        ("DRBD_RESOURCE", "r0"),
        ("DRBD_VOLUME", "0"),
        ("DRBD_MINOR", "0"),
        ("DRBD_MY_NODE_ID", "1"),
        ("DRBD_PEER_NODE_ID", "0"),
        ("DRBD_LL_DISK", disk.to_str().unwrap()),
        ("PATH", "/sbin:/usr/sbin:/bin:/usr/bin"),
    ];
    command.env_clear().envs(environment).current_dir("/").stdin(Stdio::null());
    command.arg("--state-dir").arg(state).args(["handler", "before-resync-target", "--required"]);
    ran(command).says(0, &[]);
    let salvages = fs::read_dir(state.join("salvage")).into_iter().flatten().count();
    (events::read(state).unwrap().events.pop().unwrap().did, salvages)
}

/// The whole handler, a process of its own, while this one is at work on the victim and holds the state directory: what the
/// healing has seen to is not kept twice. In every other case it is kept, not overwritten without a copy.
#[test]
fn the_handler_knows_a_healing_that_is_at_work() {
    let Some(here) = machine_id() else { return not_here("this machine has no id in /etc/machine-id") };
    for (salvage, said) in [(true, "has kept it already, in incident i1"), (false, "--no-salvage was said")] {
        let scene = Scene::new(&shape(Generation::V9));
        let (folder, drawn) = (tempfile::tempdir().unwrap(), plan(&scene, salvage));
        let disk = folder.path().join("disk");
        fs::write(&disk, &Spec::plain(MetadataFormat::V09, 5).build().sides.b.data).unwrap();
        // The victim is this machine; the second time the survivor is, and the resync is not that of the healing.
        for (side, ours) in [(drawn.victim(), true), (drawn.survivor, false)] {
            let state = folder.path().join(side.to_string());
            let mut plan = drawn.clone();
            ground(&mut plan).machines[side] = Some(here.clone());
            let store = Arc::new(StateDir::open(&state).unwrap());
            let sealed = stored_as(&*store, &plan).unwrap();
            let journal = Journal::open(store.clone(), Arc::new(SystemClock)).unwrap();
            let begun = overwriting(&journal, &sealed);

            let (did, salvages) = called(&state, &disk);
            match &did {
                Outcome::NothingToKeep { why } if ours => assert!(why.0.contains(said), "{did:?}"),
                Outcome::Kept { .. } if !ours => {}
                _ => panic!("{salvage} {side}: {did:?}"),
            }
            assert_eq!(salvages, usize::from(!ours));
            if !ours {
                continue;
            }
            // The same files, and nobody at work: it was cut off, and DRBD goes on by itself.
            let left = folder.path().join("left");
            copy(&state, &left);
            let (did, salvages) = called(&left, &disk);
            assert!(matches!(did, Outcome::Kept { .. }), "{did:?}");
            assert_eq!(salvages, 1);
            // At work, but not on this: the incident waits for a person.
            park(begun);
            let (did, salvages) = called(&state, &disk);
            assert!(matches!(did, Outcome::Kept { .. }), "{did:?}");
            assert_eq!(salvages, 1);
        }
    }
}

/// What a process that is gone leaves: its files without its lock.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let into = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &into),
            false => drop(fs::copy(entry.path(), &into).unwrap()),
        }
    }
}
