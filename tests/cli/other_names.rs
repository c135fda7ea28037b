//! A device has many names: an incident that is open about it is seen by each of them.

use crate::scene::{Loop, Scene};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use unsplit::cli::Cli;
use unsplit::cli::still_open::{About, StillOpen};

/// `a.img` by every name that needs no rights: relative, absolute, through links as in /dev/disk/by-id, as a hard link.
fn names_of_a(scene: &Scene) -> Vec<PathBuf> {
    fs::create_dir_all(scene.path("by-id")).unwrap();
    symlink("../a.img", scene.path("by-id/scsi-1")).unwrap();
    symlink("by-id/scsi-1", scene.path("link-to-a-link")).unwrap();
    fs::hard_link(scene.path("a.img"), scene.path("hard")).unwrap();
    let relative = ["./a.img", "by-id/../a.img", "by-id/scsi-1", "link-to-a-link", "hard"];
    relative.iter().map(PathBuf::from).chain([scene.path("a.img"), scene.path("by-id/scsi-1")]).collect()
}

/// Every look and every way to begin names the incident; nothing else is begun.
#[track_caller]
fn seen(scene: &Scene, a: &str, b: &str, id: &str) {
    for (look, code) in [("status", 6), ("diff", 1), ("report", 1)] {
        let ran = scene.run(&["--json", look, a, b]);
        ran.says(code, &[]);
        let document: Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!(document["incidents"]["open"][0]["id"], id, "{look} {a}: {}", ran.out);
    }
    let ran = scene.run(&["report", a, b]);
    ran.says(1, &[id, "is not over", "unsplit resolve --resume"]);
    assert!(!ran.out.contains("unsplit plan"), "offers what is refused: {}", ran.out);
    for words in [&["plan", a, b, "--keep", "b"][..], &["resolve", a, b, "--keep", "b", "--yes"]] {
        scene.run(words).says(6, &[id]);
    }
}

#[test]
fn an_open_incident_is_seen_by_every_name_of_a_side() {
    let scene = Scene::split();
    let id = scene.cut_off();
    scene.copy("b.img", "copy.img");
    let before = scene.files();
    let b = scene.path("b.img");
    for a in names_of_a(&scene) {
        let a = a.to_str().unwrap();
        seen(&scene, a, b.to_str().unwrap(), &id);
        seen(&scene, "b.img", a, &id);
        // The one side alone is enough.
        seen(&scene, a, "copy.img", &id);
    }
    let mut after = scene.files();
    for made in ["by-id/scsi-1", "link-to-a-link", "hard"] {
        after.remove(&scene.path(made));
    }
    assert!(after == before, "something was written");
    // Other devices with the same bytes are others.
    scene.copy("a.img", "other.img");
    scene.run(&["status", "other.img", "copy.img"]).says(1, &[]);
    scene.run(&["plan", "other.img", "copy.img", "--keep", "a"]).says(1, &[]);
}

#[test]
fn an_open_incident_is_seen_through_a_loop_device() {
    let scene = Scene::split();
    let id = scene.cut_off();
    let Some(device) = Loop::over(&scene.path("a.img"), false) else { return };
    seen(&scene, &device.0, "b.img", &id);
    scene.copy("b.img", "copy.img");
    seen(&scene, &device.0, "copy.img", &id);
    symlink(&device.0, scene.path("link")).unwrap();
    seen(&scene, "link", "b.img", &id);
}

/// Healed as two devices while the resource was down, then looked at as a resource that is up on one of them.
#[test]
fn an_open_incident_is_seen_by_a_resource_that_stands_on_the_device() {
    let scene = Scene::split();
    let id = scene.cut_off();
    let state = scene.state();
    let line = ["unsplit", "--state-dir", state.to_str().unwrap(), "status"];
    let cli = <Cli as clap::Parser>::try_parse_from(line).unwrap();
    let open = |path: &Path| {
        let devices = [path.to_str().unwrap().to_owned()];
        let open = StillOpen::about(&cli, About::Resources { names: &["r7"], devices: &devices });
        serde_json::to_value(open.view()).unwrap()["open"].clone()
    };
    // As the kernel tells it, a path is never relative to this process.
    for name in names_of_a(&scene) {
        assert_eq!(open(&scene.path(name))[0]["id"], id.as_str());
    }
    scene.copy("a.img", "copy.img");
    assert_eq!(open(&scene.path("copy.img")), Value::Array(Vec::new()));
    let Some(device) = Loop::over(&scene.path("b.img"), true) else { return };
    assert_eq!(open(Path::new(&device.0))[0]["id"], id.as_str());
}
