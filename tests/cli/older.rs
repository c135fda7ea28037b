//! State directories that older versions wrote. How those in `tests/data` were made stands beside them.

use crate::scene::Scene;
use serde_json::Value;
use std::fs;
use std::path::Path;

const HEALED: &str = "20261130-173604-025e16";
const UNDONE: &str = "20261130-173607-ce4ade";
const CUT_OFF: &str = "20261130-173620-571f11";

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let into = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &into)
        } else {
            let _bytes = fs::copy(entry.path(), &into).unwrap();
        }
    }
}

fn scene_of(state: &str) -> Scene {
    let scene = Scene::empty();
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(state), &scene.state());
    scene
}

fn scene() -> Scene {
    scene_of("state-0.1")
}

#[test]
fn journals_without_stages_tell_what_they_did() {
    let scene = scene();
    let ran = scene.run(&["history", "--json"]);
    let history: Value = serde_json::from_str(&ran.out).unwrap();
    let states: Vec<(&str, &str)> = history["incidents"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["id"].as_str().unwrap(), one["state"].as_str().unwrap()))
        .collect();
    assert_eq!(
        states,
        [
            (HEALED, "healed, and undone since"),
            (UNDONE, "undone"),
            (CUT_OFF, "interrupted in step 5 (overwrite)")
        ]
    );
    // It was overwriting, so it does not end without a word; and then says what it left.
    let asked = scene.run(&["resolve", "--give-up", CUT_OFF]);
    asked.says(3, &["has begun to change a side", "--yes"]);
    scene.run(&["resolve", "--give-up", CUT_OFF, "--yes"]).says(0, &["one may be half overwritten"]);
    scene.run(&["history"]).says(0, &["given up in the middle"]);
}

#[test]
fn plans_of_older_versions_are_read() {
    let scene = scene();
    // An undone healing may run again, so its plan is read, audited, and goes on to look for the images.
    scene.run(&["resolve", "--plan", "025e16"]).says(6, &[CUT_OFF]);
    scene.run(&["resolve", "--give-up", CUT_OFF, "--yes"]).says(0, &[]);
    scene.run(&["resolve", "--plan", "025e16"]).says(4, &["/tmp/unsplit-fixture/d/node"]);
    scene.run(&["resolve", "--plan", "ce4ade"]).says(2, &["is an undo"]);
}

/// Of a resource that runs: the healing is found by its old id, in its old folder. The peer answers nobody: so far it comes.
#[test]
fn a_healing_of_what_runs_is_taken_up_again() {
    let scene = scene_of("state-0.1-running/healing-cut-off");
    let id = "20261121-031502-healed";
    let resume = format!("unsplit resolve --resume {id}");
    scene.run(&["status"]).says(6, &["(r0): interrupted in step 6 (resync)", &resume]);
    scene.run(&["undo"]).says(4, &["must be healed first"]);
    let ran = scene.run(&["resolve", "--resume", id]);
    assert!(ran.code == 4 && ran.all().contains("exec:false"), "{}: {}", ran.code, ran.all());
    scene.run(&["resolve", "--plan", "3d624b", "--yes"]).says(4, &["exec:false"]);
    scene.run(&["resolve", "--give-up", id]).says(3, &["has told DRBD to overwrite a node"]);
    scene.run(&["resolve", "--give-up", id, "--yes"]).says(0, &["DRBD was told to overwrite node2"]);
    // It may run again, and looks for its nodes.
    scene.run(&["resolve", "--plan", "3d624b", "--yes"]).says(4, &["exec:false"]);
}

#[test]
fn an_undo_of_what_runs_is_taken_up_again() {
    let scene = scene_of("state-0.1-running/undo-cut-off");
    let dry = scene.run(&["undo", "--dry-run"]);
    dry.says(1, &["is under way", "make r0 Primary on node1", "of what node2 held through DRBD"]);
    let ran = scene.run(&["undo"]);
    assert!(ran.code == 4 && ran.all().contains("exec:false"), "{}: {}", ran.code, ran.all());
    let again = scene.run(&["resolve", "--plan", "3d624b", "--yes"]);
    again.says(6, &["20261121-041502-undone on these devices is not over"]);
}
