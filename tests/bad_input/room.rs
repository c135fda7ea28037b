//! A state directory with little room.

use super::scene::{Scene, Tmpfs};
use std::fs;

const OFF: [&str; 5] = ["--keep", "a", "--policy", "off.toml", "--no-salvage"];

/// Two sides, a policy that keeps nothing, and a state directory of so much. The plan's id.
fn planned(size: &str) -> Option<(Scene, Tmpfs, String)> {
    let scene = Scene::split();
    fs::write(scene.path("off.toml"), "salvage = \"off\"\n").unwrap();
    let room = Tmpfs::at(scene.state(), size)?;
    fs::set_permissions(scene.state(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let drawn = scene.run(&[&["plan", "a.img", "b.img", "--json"], &OFF[..]].concat());
    drawn.says(1, &[]);
    let drawn: serde_json::Value = serde_json::from_str(&drawn.out).unwrap();
    let id = drawn["id"].as_str().unwrap().to_owned();
    Some((scene, room, id))
}

/// What keeps no salvage needs no room for one.
#[test]
fn without_a_salvage_a_little_room_is_enough() {
    let Some((scene, _room, plan)) = planned("1m") else { return };
    scene.run(&["resolve", "--plan", &plan, "--no-salvage"]).says(0, &["Healed"]);
}

#[test]
fn not_even_room_for_a_note() {
    let Some((scene, room, plan)) = planned("256k") else { return };
    let free = || rustix::fs::statvfs(&room.0).map(|told| told.f_bavail * told.f_frsize).unwrap();
    let full = usize::try_from(free().saturating_sub(48 << 10)).unwrap();
    fs::write(scene.state().join("others"), vec![1; full]).unwrap();
    let says = ["to notice what others write there", "needed in the state directory", "make room"];
    scene.gives_up(&["resolve", "--plan", &plan, "--no-salvage"], 70, &says);
}
