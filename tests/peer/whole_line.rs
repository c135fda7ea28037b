//! The whole line with B on a peer comes to the same bytes as with both sides here.

use crate::captures::Capture;
use crate::scene::{Scene, agent, text};
use crate::world::pair::{Log, Spec};
use serde_json::Value;
use unsplit::model::drbd::MetadataFormat;
use unsplit::model::evidence::MetadataPlace;
use unsplit::model::side::Pair;

/// Without what depends on where B is, or on the moment.
fn told(document: &Value) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(map) => {
                for key in ["on", "taken_at", "generated_at", "next"] {
                    map.remove(key);
                }
                map.values_mut().for_each(strip);
            }
            Value::Array(all) => all.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let mut told = document.clone();
    strip(&mut told);
    told
}

#[test]
fn looking_across_a_link_says_what_looking_here_says() {
    for capture in Capture::ALL {
        let scene = Scene::of(capture);
        let peer = agent();
        for (command, more) in [("status", &[][..]), ("diff", &[]), ("diff", &["--full"])] {
            let (here, there) = (scene.json(command, None, more), scene.json(command, Some(&peer), more));
            assert_eq!(here.0, there.0, "{command}");
            assert_eq!(told(&here.1), told(&there.1), "{capture:?} {command} {more:?}");
        }
        let (code, status) = scene.json("status", Some(&peer), &[]);
        assert_eq!(code, 1);
        assert_eq!(status["sides"]["b"]["evidence"]["source"]["on"]["peer"], peer.as_str());
        assert!(scene.now() == scene.before, "looking changes nothing");
    }
}

#[test]
fn the_next_command_names_the_peer() {
    let scene = Scene::of(Capture::Drbd84Down);
    let peer = agent();
    for command in ["status", "report"] {
        let shown = text(&scene.on(command, Some(&peer), &[]));
        assert!(shown.contains(&format!("--peer '{peer}'")), "{command}: {shown}");
    }
    assert!(text(&scene.on("status", Some(&peer), &[])).contains("b.img on "));
}

#[test]
fn heal_and_undo_leave_the_same_bytes() {
    let external = |format| Spec {
        slots: if format == MetadataFormat::V09 { 2 } else { 1 },
        logs: Pair::new(Log::Hot, Log::Hot),
        places: Pair::new(MetadataPlace::Internal, MetadataPlace::FlexibleExternal),
        ..Spec::plain(format, 7)
    };
    let scenes: [fn() -> Scene; 5] = [
        || Scene::of(Capture::Drbd84Attached),
        || Scene::of(Capture::Drbd84Down),
        || Scene::of(Capture::Drbd9Attached),
        || Scene::made(&Spec { slots: 1, ..Spec::plain(MetadataFormat::V08, 5) }),
        || Scene::made(&Spec { slots: 2, ..Spec::plain(MetadataFormat::V09, 5) }),
    ];
    for make in scenes {
        for keep in ["a", "b"] {
            heal_and_undo(&make(), &make(), keep);
        }
    }
    for format in [MetadataFormat::V08, MetadataFormat::V09] {
        heal_and_undo(&Scene::made(&external(format)), &Scene::made(&external(format)), "a");
    }
}

fn heal_and_undo(local: &Scene, remote: &Scene, keep: &str) {
    let peer = agent();
    let bytes = |scene: &Scene| scene.now().into_iter().map(|(_, bytes)| bytes).collect::<Vec<_>>();
    let healed = local.json("resolve", None, &["--keep", keep, "--yes"]);
    assert_eq!((healed.0, &healed.1["outcome"]), (0, &Value::from("healed")));
    let (code, plan) = remote.json("plan", Some(&peer), &["--keep", keep]);
    assert_eq!(code, 1);
    assert!(remote.now() == remote.before, "a plan changes nothing");
    assert_eq!(plan["plan"]["volumes"][0]["at"]["b"]["on"]["peer"], peer.as_str());
    assert!(plan["plan"]["volumes"][0]["at"]["a"].get("on").is_none());

    let id = plan["id"].as_str().unwrap();
    let resolved = remote.run(&["--json", "resolve", "--plan", id]);
    assert_eq!(resolved.status.code(), Some(0), "{}", text(&resolved));
    assert!(bytes(local) == bytes(remote), "healed across a link, the same as here");
    assert_eq!(remote.on("status", Some(&peer), &[]).status.code(), Some(0));
    assert_eq!(remote.on("diff", Some(&peer), &["--full"]).status.code(), Some(0));
    let verified = remote.run(&["salvage", "verify"]);
    assert_eq!(verified.status.code(), Some(0), "{}", text(&verified));

    let undone = remote.run(&["undo"]);
    assert_eq!(undone.status.code(), Some(0), "{}", text(&undone));
    assert!(remote.now() == remote.before, "undone: byte for byte as before");
}

#[test]
fn a_plan_for_a_peer_is_not_a_plan_for_the_same_paths_here() {
    let scene = Scene::of(Capture::Drbd84Down);
    let (_, here) = scene.json("plan", None, &["--keep", "a"]);
    let (_, there) = scene.json("plan", Some(&agent()), &["--keep", "a"]);
    assert_ne!(here["id"], there["id"]);
    // An open incident on a device keeps another away from it by whatever way it is reached.
    let refused = scene.run(&["resolve", "--plan", there["id"].as_str().unwrap(), "--peer", "ssh:elsewhere"]);
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused));
}

#[test]
fn what_is_wrong_over_there_is_said_as_it_would_be_here() {
    let scene = Scene::of(Capture::Drbd84Down);
    let peer = agent();
    std::fs::write(scene.path("b.img"), vec![0; 1 << 20]).unwrap();
    let said = scene.on("status", Some(&peer), &[]);
    assert_eq!(said.status.code(), Some(4));
    assert!(text(&said).contains("no DRBD metadata found"), "{}", text(&said));
    std::fs::remove_file(scene.path("b.img")).unwrap();
    let said = scene.on("status", Some(&peer), &[]);
    assert_eq!(said.status.code(), Some(4));
    assert!(text(&said).contains("there is no such file or device"), "{}", text(&said));
    // The peer is this very machine.
    std::fs::hard_link(scene.path("a.img"), scene.path("b.img")).unwrap();
    let said = scene.on("status", Some(&peer), &[]);
    assert_eq!(said.status.code(), Some(2), "{}", text(&said));
    assert!(text(&said).contains("are the same thing"), "{}", text(&said));
    let relative = scene.run(&["status", "a.img", "b.img", "--peer", &peer]);
    assert_eq!(relative.status.code(), Some(2), "{}", text(&relative));
}

#[test]
fn plain_comparing_across_a_link() {
    let scene = Scene::of(Capture::Drbd84Down);
    let sides = [scene.path("a.img").display().to_string(), scene.path("b.img").display().to_string()];
    let peer = agent();
    let compare = |more: &[&str]| {
        let output = scene.run(&[&["--json", "compare", &sides[0], &sides[1]][..], more].concat());
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let (here, there) = (compare(&[]), compare(&["--peer", &peer]));
    for field in ["sizes", "size", "compared", "differs", "differing_bytes", "unreadable"] {
        assert_eq!(here[field], there[field], "{field}");
    }
    // What crosses the link follows what differs, not the 96 MiB that were compared.
    let wire = |way: &str| there["wire"][way].as_u64().unwrap();
    assert!(wire("sent") + wire("received") < 1 << 20, "{}", there["wire"]);
    assert!(here["wire"].is_null());
}
