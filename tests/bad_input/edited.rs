//! A stored plan that somebody edited, its name computed again: it does not run, and says nothing to the terminal.

use super::scene::Scene;
use std::fs;
use unsplit::model::drbd::GenerationUuid;
use unsplit::model::plan::images::{self, Step};
use unsplit::model::plan::{Ground, Plan};
use unsplit::model::side::Side;

/// An edit of a stored plan.
type Change = fn(&mut Plan);

fn keep(scene: &Scene, text: &str) -> String {
    let id = blake3::hash(text.as_bytes()).to_string();
    fs::write(scene.path(format!("state/plans/{id}.json")), text).unwrap();
    id
}

fn stored(scene: &Scene) -> String {
    let id = scene.plan();
    fs::read_to_string(scene.path(format!("state/plans/{id}.json"))).unwrap()
}

/// A pair with a plan that keeps a, edited; and the plan's id.
fn edited(edit: impl FnOnce(&mut Plan)) -> (Scene, String) {
    let scene = Scene::split();
    let mut plan: Plan = serde_json::from_str(&stored(&scene)).unwrap();
    edit(&mut plan);
    let text = serde_json::to_string(&plan).unwrap() + "\n";
    let id = keep(&scene, &text);
    (scene, id)
}

fn ground(plan: &mut Plan) -> &mut images::Ground {
    let Ground::Images(ground) = &mut plan.ground else { panic!("not a plan for two images") };
    ground
}

#[test]
fn what_shows_in_the_plan_itself_is_refused_at_once() {
    let edits: [(Change, &str); 5] = [
        (
            |plan| {
                let steps = &mut ground(plan).steps;
                let content =
                    steps.iter().position(|step| matches!(step, Step::VerifyContent { .. })).unwrap();
                let step = steps.remove(content);
                steps.insert(content + 2, step);
            },
            "before the contents were verified",
        ),
        (|plan| ground(plan).metadata.b.mark_slots = vec![0], "slot 0 would be cleared and marked"),
        (|plan| ground(plan).metadata.a.mark_hot_slots = vec![0], "slot 0 would be cleared and marked"),
        (|plan| ground(plan).metadata.b.mark_slots = vec![1], "side b has no bitmap slot 1"),
        (|plan| ground(plan).metadata.b.reset_log = false, "activity log would stay as it is"),
    ];
    for (edit, says) in edits {
        let (scene, id) = edited(edit);
        scene.refuses(&["resolve", "--plan", &id, "--yes"], 4, &["did not pass the audit", says]);
    }
}

#[test]
fn what_shows_beside_the_superblocks_is_refused_before_anything_is_written() {
    let edits: [(Change, &str); 6] = [
        (|plan| ground(plan).metadata.b.after.al_extents += 1, "another geometry or identity"),
        (|plan| ground(plan).metadata.a.after.device_uuid = 1, "another geometry or identity"),
        (
            |plan| ground(plan).metadata.b.during.as_mut().unwrap().device_uuid = 1,
            "another geometry or identity",
        ),
        (|plan| ground(plan).metadata.b.after.flags |= 0x100, "which no resync does"),
        (|plan| ground(plan).metadata.b.after.history[0] = GenerationUuid(0x1234), "which neither side had"),
        (
            |plan| {
                for side in Side::BOTH {
                    ground(plan).metadata[side].after.current = GenerationUuid(0x1234);
                }
            },
            "not the survivor's",
        ),
    ];
    for (edit, says) in edits {
        let (scene, id) = edited(edit);
        let ran = scene.gives_up(&["resolve", "--plan", &id, "--yes"], 4, &["the plan is not sound", says]);
        ran.says(4, &["draw a new plan"]);
    }
}

#[test]
fn a_file_that_holds_more_than_a_plan_is_refused() {
    let scene = Scene::split();
    let text = stored(&scene);
    for (from, to) in [
        (r#"{"version":2,"#, r#"{"version":2,"note":"x","#),
        (r#"{"step":"quiesce"}"#, r#"{"step":"quiesce","unless":"x"}"#),
        (r#""reset_log":true"#, r#""reset_log":true,"keep_log":true"#),
        (r#""salvage":true"#, r#""salvage": true"#),
    ] {
        assert!(text.contains(from), "{from}");
        let id = keep(&scene, &text.replacen(from, to, 1));
        scene.refuses(&["resolve", "--plan", &id, "--yes"], 4, &["is not as `unsplit plan` writes a plan"]);
    }
    let (start, end) = (text.find(r#""trace":["#).unwrap() + 9, text.rfind(']').unwrap());
    let id = keep(&scene, &format!("{}{}", &text[..start], &text[end..]));
    scene.refuses(&["resolve", "--plan", &id, "--yes"], 4, &["does not hold a plan", "at least one reason"]);
}

/// Names of volumes come from disks, and a plan may have been written by anybody.
#[test]
fn what_a_plan_tells_does_nothing_to_the_terminal() {
    let bad = "x\u{1b}]0;owned\u{7}\u{9b}2J\u{202e}y\nNothing will be lost.";
    let (scene, id) = edited(|plan| {
        plan.volumes[0].losses[0].unit = bad.to_owned();
        plan.trace.push(bad, bad, bad);
    });
    for words in [&["resolve", "--plan", &id, "--yes"][..], &["history"], &["undo", "--dry-run"]] {
        let ran = scene.run(words);
        let acting = ran.all().chars().any(|c| c != '\n' && unsplit::model::shell::acts(c));
        assert!(ran.code < 2 && !acting, "{words:?} {}:\n{}", ran.code, ran.all());
        let forged = ran.all().lines().any(|line| line.starts_with("Nothing will be lost."));
        assert!(!forged, "{words:?}:\n{}", ran.all());
    }
}
