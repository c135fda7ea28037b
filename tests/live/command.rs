//! Commands about running resources where none runs.

use super::cluster::{Apart, Shape};
use super::scene::Scene;
use std::sync::Arc;
use unsplit::edge::clock::SystemClock;
use unsplit::edge::state_dir::StateDir;
use unsplit::engine::journal::{Journal, Recorded};
use unsplit::engine::plans;
use unsplit::judge::planner::drbd::draw_undo;
use unsplit::model::drbd_live::Generation;
use unsplit::model::id::{IncidentId, PlanId};
use unsplit::model::plan::Purpose;
use unsplit::model::record::{Consent, Outcome};
use unsplit::model::seen::End;
use unsplit::model::side::Side;

#[test]
fn a_resource_that_is_not_known_says_what_is() {
    let scene = Scene::split();
    scene.run(&["status", "no-such-resource"]).says(4, &["no resource `no-such-resource` is known", "next:"]);
    // A file of that name was meant as one side of two.
    scene.run(&["status", "a.img"]).says(2, &["one side alone says nothing"]);
    scene.run(&["status", "./a.img"]).says(2, &["one side alone says nothing"]);
    scene.run(&["status", "r0", "--all"]).says(2, &["--all"]);
}

#[test]
fn a_peer_that_is_this_machine_is_refused() {
    let scene = Scene::empty();
    let peer = format!("exec:{} agent --stdio", env!("CARGO_BIN_EXE_unsplit"));
    scene.run(&["status", "--all", "--peer", &peer]).says(2, &["is this very machine"]);
}

#[test]
fn a_peer_that_does_not_answer_leaves_this_nodes_view() {
    let scene = Scene::empty();
    let ran = scene.run(&["status", "--all", "--peer", "exec:false"]);
    assert!([0, 4].contains(&ran.code), "{}", ran.all());
    assert!(ran.all().contains("the agent ended"), "{}", ran.all());
}

/// Where it was cut off.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    WhileHealed,
    InTheUndo,
    AfterTheUndo,
}

/// A state directory with a live healing that ended and whose undo was cut off in its first step, or with one that was cut off while
/// DRBD overwrote. The peer is one that cannot be reached. Ids of the healing and, if there is one, of the undo.
pub fn cut_off(scene: &Scene, at: Cut) -> (String, String) {
    let shape = Shape {
        generation: Generation::V84,
        survivor: Side::A,
        volumes: vec![Apart::Diverged],
        busy: false,
        survivor_primary: false,
        victim_primary: false,
        seed: 3,
    };
    let mut plan = crate::healing::Scene::new(&shape).plan().unwrap().plan().clone();
    crate::audit::ground(&mut plan).peer = "exec:false".to_owned();
    let store = Arc::new(StateDir::open(&scene.state()).unwrap());
    let healing = crate::audit::stored_as(&*store, &plan).unwrap();
    let (id, undo_id) = ("20261121-031502-healed", "20261121-041502-undone");
    let (healed, undone) = (IncidentId::new(id).unwrap(), IncidentId::new(undo_id).unwrap());
    let journal = Journal::open(store.clone(), Arc::new(SystemClock)).unwrap();
    let resource = healing.plan().resource.clone();
    let mut cursor =
        journal.begin(healed.clone(), resource.clone(), healing.id(), Consent::Operator).unwrap();
    for (index, step) in healing.plan().steps().into_iter().enumerate() {
        let declared = cursor.declare(index, step.clone()).unwrap();
        if at == Cut::WhileHealed && step.word == "resync" {
            return (id.to_owned(), String::new());
        }
        match declared.perform(|_| End::Done).record().unwrap() {
            Recorded::Well(next) => cursor = next,
            Recorded::Badly(_) => panic!("{} did not end well", step.word),
        }
    }
    cursor.close(Outcome::Healed).unwrap();
    let heals = healing.plan().drbd().unwrap();
    let kept = heals.volumes().map(|volume| (volume.overwrite.clone(), volume.ground.content)).collect();
    let undo = plans::seal_undo(draw_undo(heals, healed, kept), healing.plan()).unwrap();
    plans::keep(&*store, &undo).unwrap();
    let mut cursor = journal.begin(undone, resource, undo.id(), Consent::Operator).unwrap();
    if at == Cut::InTheUndo {
        drop(cursor.declare(0, undo.plan().steps()[0].clone()).unwrap());
        return (id.to_owned(), undo_id.to_owned());
    }
    for (index, step) in undo.plan().steps().into_iter().enumerate() {
        match cursor.declare(index, step.clone()).unwrap().perform(|_| End::Done).record().unwrap() {
            Recorded::Well(next) => cursor = next,
            Recorded::Badly(_) => panic!("{} did not end well", step.word),
        }
    }
    cursor.close(Outcome::Undone).unwrap();
    (id.to_owned(), undo_id.to_owned())
}

#[test]
fn an_undo_that_was_cut_off_before_it_wrote_goes_on() {
    let scene = Scene::empty();
    let (healing, undo) = cut_off(&scene, Cut::InTheUndo);
    // Whichever way it is named. The peer cannot be reached: so far it comes.
    for words in [vec!["undo"], vec!["undo", &healing], vec!["undo", &undo], vec!["resolve", "--resume"]] {
        scene.run(&words).says(4, &["the agent ended"]);
    }
    let before = scene.files();
    scene.run(&["undo", "--dry-run"]).says(1, &["is under way (interrupted in step 1 (promote))"]);
    assert_eq!(scene.files(), before);
}

/// The screen names no command that would refuse.
#[test]
fn an_open_live_healing_is_not_said_to_be_undoable() {
    let scene = Scene::empty();
    let (healing, _) = cut_off(&scene, Cut::WhileHealed);
    let shown = scene.run(&["status"]);
    shown.says(6, &[&format!("unsplit resolve --resume {healing}"), &format!("--give-up {healing}")]);
    assert!(!shown.all().contains("unsplit undo"), "{}", shown.all());
    scene.run(&["undo"]).says(4, &["must be healed first"]);
}

/// A plan whose undo is under way, or done, is not carried out: its data is not there.
#[test]
fn a_plan_that_is_being_undone_is_not_called_carried_out() {
    let healing = |scene: &Scene| {
        let store = StateDir::open(&scene.state()).unwrap();
        let all = plans::kept(&store).unwrap();
        let heals = |id: &PlanId| plans::load(&store, *id).unwrap().plan().purpose == Purpose::Heal;
        all.into_iter().find(heals).unwrap().0.to_string()
    };
    let scene = Scene::empty();
    let (_, undo) = cut_off(&scene, Cut::InTheUndo);
    let ran = scene.run(&["resolve", "--plan", &healing(&scene), "--yes"]);
    ran.says(6, &[&format!("incident {undo} on these devices is not over")]);
    assert!(!ran.all().contains("already carried out"), "{}", ran.all());

    // Done: it would be run anew, and is held against what both nodes show. The peer cannot be reached: so far it comes.
    let scene = Scene::empty();
    cut_off(&scene, Cut::AfterTheUndo);
    for json in [&[][..], &["--json"]] {
        let id = healing(&scene);
        let words: Vec<&str> =
            ["resolve", "--plan", &id, "--yes"].into_iter().chain(json.iter().copied()).collect();
        let ran = scene.run(&words);
        assert_eq!(ran.code, 4, "{}", ran.all());
        assert!(!ran.all().contains("already"), "{}", ran.all());
    }
}
