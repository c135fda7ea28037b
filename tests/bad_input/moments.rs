//! The wrong moment: somebody else uses a side, it changed meanwhile, it cannot be written, or not be read.

use super::scene::{
    BLOCK, BOTH, Loop, ONLY_A, ONLY_B, SIZE, SUPERBLOCK, Scene, Tmpfs, image_with_external_metadata, is_root,
};
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;

const HEAL: [&str; 6] = ["resolve", "a.img", "b.img", "--keep", "a", "--yes"];

#[track_caller]
fn both_in_use(scene: &Scene, says: &[&str]) {
    scene.gives_up(&HEAL, 5, says);
    scene.gives_up(&["resolve", "a.img", "b.img", "--keep", "b", "--yes"], 5, says);
    // Looking disturbs nobody.
    scene.run(&["status", "a.img", "b.img"]).says(1, &["SPLIT BRAIN"]);
}

#[test]
fn a_side_in_use() {
    let us = format!("process {} (", std::process::id());
    for name in ["a.img", "b.img"] {
        let scene = Scene::split();
        let path = scene.path(name);
        // Not `in use by {us}`: a child that another test has just forked has the same descriptors until it runs its
        // program, and may be named first.
        let says = [&*format!("{} is in use by process ", path.display()), &us, "stop"];

        let held = File::open(&path).unwrap();
        rustix::fs::flock(&held, rustix::fs::FlockOperation::LockShared).unwrap();
        both_in_use(&scene, &says);
        drop(held);

        let held = File::open(&path).unwrap();
        let lock = libc::flock {
            l_type: libc::F_RDLCK as i16,
            l_whence: libc::SEEK_SET as i16,
            l_start: 100,
            l_len: 1,
            l_pid: 0,
        };
        fcntl(&held, FcntlArg::F_OFD_SETLK(&lock)).unwrap();
        both_in_use(&scene, &says);
        drop(held);

        let held = File::options().write(true).open(&path).unwrap();
        both_in_use(&scene, &says);
        drop(held);

        if let Some(device) = Loop::over(&path, true) {
            both_in_use(&scene, &["is in use by the loop device", &device.0]);
        }
        scene.heal();
    }
}

#[test]
fn an_undo_of_a_side_in_use() {
    let scene = Scene::split();
    scene.heal();
    let held = File::options().write(true).open(scene.path("b.img")).unwrap();
    scene.gives_up(&["undo"], 5, &["b.img is in use by process", "run the same command again"]);
    drop(held);
    scene.run(&["undo"]).says(0, &["Undone"]);
}

#[test]
fn a_read_only_side() {
    let scene = Scene::split();
    fs::create_dir(scene.state()).unwrap();
    if is_root() {
        std::os::unix::fs::chown(scene.state(), Some(65534), None).unwrap();
    }
    for name in ["a.img", "b.img"] {
        fs::set_permissions(scene.path(name), fs::Permissions::from_mode(0o444)).unwrap();
    }
    let before = fs::read(scene.path("b.img")).unwrap();
    let Some(ran) = scene.run_unprivileged(&HEAL) else { return };
    ran.says(
        4,
        &["a.img: may not be opened for writing", "read-only, or you are not root", "Permission denied"],
    );
    assert!(fs::read(scene.path("b.img")).unwrap() == before);
}

#[test]
fn a_read_only_device() {
    let scene = Scene::split();
    let Some(device) = Loop::over(&scene.path("b.img"), true) else { return };
    let words = ["resolve", "a.img", &device.0, "--keep", "a", "--yes"];
    scene.refuses(&words, 4, &[&device.0, "is a read-only device", "make it writable, or name a copy"]);
    // A plan can be drawn all the same, and cannot be run.
    let ran = scene.run(&["--json", "plan", "a.img", &device.0, "--keep", "a"]);
    let plan: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    scene.refuses(&["resolve", "--plan", plan["id"].as_str().unwrap()], 4, &["is a read-only device"]);
}

/// Where the metadata is, from the end of a small image: 4 KiB bitmap, 32 KiB log, superblock.
const LOG: u64 = SUPERBLOCK - (32 << 10);
const BITMAP: u64 = LOG - BLOCK;

#[test]
fn changed_between_plan_and_resolve() {
    let scene = Scene::split();
    let plan = scene.plan();
    for (name, side, other) in [("a.img", "side a", ONLY_B), ("b.img", "side b", ONLY_A)] {
        for (at, says) in [
            (BOTH * BLOCK + 17, "data is not as expected"),
            (other * BLOCK, "data is not as expected"),
            (BITMAP + 3, "bitmap or activity log is not as expected"),
            (LOG + 100, "bitmap or activity log is not as expected"),
            (SUPERBLOCK + 8, "superblock is not as expected"),
            (SUPERBLOCK + 2000, "superblock is not as expected"),
        ] {
            let good = fs::read(scene.path(name)).unwrap();
            scene.poke(name, at, &[0x5a]);
            scene.gives_up(&["resolve", "--plan", &plan], 4, &[side, says, "meanwhile", "`unsplit plan "]);
            fs::write(scene.path(name), good).unwrap();
        }
    }
    // The sides exchanged.
    fs::rename(scene.path("a.img"), scene.path("x.img")).unwrap();
    scene.refuses(&["resolve", "--plan", &plan], 4, &["a.img: there is no such file"]);
    scene.copy("b.img", "a.img");
    fs::rename(scene.path("x.img"), scene.path("b.img")).unwrap();
    scene.gives_up(&["resolve", "--plan", &plan], 4, &["superblock is not as expected"]);
    fs::rename(scene.path("b.img"), scene.path("x.img")).unwrap();
    fs::rename(scene.path("a.img"), scene.path("b.img")).unwrap();
    fs::rename(scene.path("x.img"), scene.path("a.img")).unwrap();
    // Cut and grown.
    for size in [SIZE - BLOCK, SIZE + BLOCK] {
        let good = fs::read(scene.path("b.img")).unwrap();
        File::options().write(true).open(scene.path("b.img")).unwrap().set_len(size).unwrap();
        scene.refuses(&["resolve", "--plan", &plan], 4, &["side b"]);
        fs::write(scene.path("b.img"), good).unwrap();
    }
    scene.run(&["resolve", "--plan", &plan]).says(0, &["Healed"]);
}

#[test]
fn used_between_healing_and_undo() {
    let scene = Scene::split();
    let before = scene.files();
    let incident = scene.heal();
    for (name, at, says) in [
        ("a.img", BOTH * BLOCK, "side a's data is not as expected"),
        ("b.img", BOTH * BLOCK, "side b holds data near byte 2867200 that is neither"),
        ("a.img", SUPERBLOCK + 8, "side a's DRBD superblock is not as expected"),
        ("b.img", SUPERBLOCK + 8, "side b's DRBD superblock is not as expected"),
    ] {
        let good = fs::read(scene.path(name)).unwrap();
        scene.poke(name, at, &[0x77; 8]);
        scene.gives_up(
            &["undo"],
            4,
            &[
                says,
                "an undo never overwrites newer data",
                &format!("unsplit salvage show {incident} --state-dir"),
            ],
        );
        fs::write(scene.path(name), good).unwrap();
    }
    scene.run(&["undo"]).says(0, &["Undone"]);
    for name in ["a.img", "b.img"] {
        assert!(fs::read(scene.path(name)).unwrap() == before[&scene.path(name)]);
    }
    let history = scene.run(&["--json", "history"]);
    let history: serde_json::Value = serde_json::from_str(&history.out).unwrap();
    let last = history["incidents"].as_array().unwrap().last().unwrap()["id"].as_str().unwrap().to_owned();
    scene.refuses(&["undo", &incident], 2, &["was already undone by", &last]);
    scene.refuses(&["undo", &last], 2, &["is an undo", "draw a new plan"]);
    scene.refuses(&["undo"], 2, &["already undone"]);
}

#[test]
fn nothing_to_undo() {
    let scene = Scene::split();
    scene.refuses(&["undo"], 2, &["no incident has changed anything yet"]);
    scene.refuses(&["undo", "20200101-000000-abcdef"], 2, &["there is no incident", "`unsplit history`"]);
    scene.refuses(
        &["resolve", "--resume", "20200101-000000-abcdef"],
        2,
        &["there is no incident", "`unsplit history`"],
    );
    scene.refuses(&["history", "20200101-000000-abcdef"], 2, &["there is no incident"]);
    scene.run(&["resolve", "--resume"]).says(0, &["nothing to resume"]);
}

#[test]
fn nobody_agreed() {
    let scene = Scene::split();
    let before = fs::read(scene.path("b.img")).unwrap();
    let ran = scene.run(&["resolve", "a.img", "b.img", "--keep", "a"]);
    ran.says(3, &["nobody agreed", "nothing was changed", "next: unsplit resolve --plan"]);
    scene.run(&["resolve", "a.img", "b.img"]).says(3, &["Held", "--keep a", "Nothing was changed"]);
    assert!(fs::read(scene.path("b.img")).unwrap() == before);
}

/// A loop device over a file that became shorter fails to read what is gone.
#[test]
fn unreadable_blocks() {
    let scene = Scene::empty();
    if !is_root() {
        return super::scene::skipped("read errors need a loop device, so root");
    }
    let Some(memory) = Tmpfs::at(scene.path("memory"), "16m") else { return };
    let (a, a_meta) = image_with_external_metadata(0);
    let (b, b_meta) = image_with_external_metadata(1);
    fs::write(scene.path("a.img"), a).unwrap();
    fs::write(scene.path("a.meta"), a_meta).unwrap();
    fs::write(scene.path("b.meta"), b_meta).unwrap();
    let backing = memory.0.join("b.img");
    fs::write(&backing, b).unwrap();
    let Some(device) = Loop::over(&backing, false) else { return };
    // Whole again later, with the block that both wrote still gone.
    File::options().write(true).open(&backing).unwrap().set_len(BOTH * BLOCK).unwrap();
    let side = ["a.img", &*device.0, "--meta-a", "a.meta", "--meta-b", "b.meta"];
    let with = |command: &'static str, more: &[&'static str]| {
        let mut words = vec![command];
        words.extend(side);
        words.extend(more);
        words.into_iter().map(ToOwned::to_owned).collect::<Vec<String>>()
    };
    let words = |words: &[String]| scene.run(&words.iter().map(String::as_str).collect::<Vec<_>>());
    let before = scene.files();
    words(&with("status", &[])).says(1, &["SPLIT BRAIN"]);
    words(&with("diff", &[])).says(4, &["UNREADABLE on b", "4 KiB at byte 2867200", "Input/output error"]);
    for command in ["plan", "resolve"] {
        let ran = words(&with(command, &["--keep", "a"]));
        ran.says(4, &["1 extents (4 KiB) on side b cannot be read", "byte 2867200", "ddrescue"]);
    }
    assert!(scene.files() == before, "nothing was written");

    // The metadata itself.
    fs::write(&backing, super::scene::image(1)).unwrap();
    fs::write(scene.path("a.img"), super::scene::image(0)).unwrap();
    File::options().write(true).open(&backing).unwrap().set_len(SUPERBLOCK).unwrap();
    scene.refuses(
        &["status", "a.img", &device.0],
        4,
        &["side b", "read of 4096 bytes at byte 4190208 failed", "Input/output error", "ddrescue"],
    );
}
