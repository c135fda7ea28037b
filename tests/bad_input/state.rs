//! A bad state directory: its journal, its plans, its salvages, its place.

use super::scene::{Scene, Tmpfs, pattern};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;

const HEAL: [&str; 6] = ["resolve", "a.img", "b.img", "--keep", "a", "--yes"];

/// Commands that need the state directory.
const ALL: [&[&str]; 8] = [
    &["status"],
    &["history"],
    &["salvage", "list"],
    &["salvage", "verify"],
    &["plan", "a.img", "b.img", "--keep", "a"],
    &HEAL,
    &["undo"],
    &["resolve", "--resume"],
];

/// Those that write, or need the journal.
fn journaled() -> impl Iterator<Item = &'static [&'static str]> {
    ALL.into_iter().filter(|words| words[0] != "salvage")
}

fn replace(scene: &Scene, path: &str, from: &str, to: &str) {
    let text = fs::read_to_string(scene.path(path)).unwrap();
    assert!(text.contains(from));
    fs::write(scene.path(path), text.replacen(from, to, 1)).unwrap();
}

/// Keeps a text as a plan, under the name that its digest gives it.
fn keep_as_plan(scene: &Scene, text: &str) -> String {
    let id = blake3::hash(text.as_bytes()).to_string();
    fs::write(scene.path(format!("state/plans/{id}.json")), text).unwrap();
    id
}

#[test]
fn plans() {
    let scene = Scene::split();
    scene.refuses(
        &["resolve", "--plan", "3f9a"],
        2,
        &["no plan starts with `3f9a`", "there are none", "`unsplit plan`"],
    );
    let id = scene.plan();
    scene.refuses(&["resolve", "--plan", "xyz"], 2, &["no plan starts with `xyz`", "there are 1", &id[..12]]);
    scene.refuses(&["resolve", "--plan", &id[..5]], 2, &["too short to name a plan", "at least 6"]);
    scene.refuses(&["resolve", "--plan", ""], 2, &["no plan starts with ``"]);
    scene.refuses(&["resolve", "--plan", "../../journal"], 2, &["no plan starts with"]);

    let file = format!("state/plans/{id}.json");
    let text = fs::read_to_string(scene.path(&file)).unwrap();
    replace(&scene, &file, "\"survivor\":\"a\"", "\"survivor\":\"b\"");
    scene.refuses(
        &["resolve", "--plan", &id],
        4,
        &[&file, "was changed since the plan was drawn", "Draw a new plan"],
    );
    fs::write(scene.path(&file), "").unwrap();
    scene.refuses(&["resolve", "--plan", &id], 4, &[&file, "was changed"]);
    fs::remove_file(scene.path(&file)).unwrap();
    scene.refuses(&["resolve", "--plan", &id], 2, &["no plan starts with", "there are none"]);

    // Altered, and the name with it: the audit reads it again.
    let altered = keep_as_plan(&scene, &text.replacen("\"survivor\":\"a\"", "\"survivor\":\"b\"", 1));
    scene.refuses(&["resolve", "--plan", &altered], 4, &["did not pass the audit", "will not run"]);
    fs::remove_file(scene.path(format!("state/plans/{altered}.json"))).unwrap();
    let empty = keep_as_plan(&scene, "{}\n");
    scene.refuses(&["resolve", "--plan", &empty], 4, &["does not hold a plan of this version"]);
    fs::remove_file(scene.path(format!("state/plans/{empty}.json"))).unwrap();

    // Of 17 plans two begin with the same digit.
    let mut ids = Vec::new();
    for at in 0..17 {
        let ran =
            scene.run(&["--json", "plan", "a.img", "b.img", "--keep", "a", "--resource", &format!("r{at}")]);
        let plan: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        ids.push(plan["id"].as_str().unwrap().to_owned());
    }
    let digit = (b'0'..=b'f')
        .map(|c| char::from(c).to_string())
        .find(|digit| ids.iter().filter(|id| id.starts_with(digit)).count() > 1);
    scene.refuses(&["resolve", "--plan", &digit.unwrap()], 2, &["plans start with", "give more digits"]);
}

#[test]
fn a_plan_that_the_journal_names_is_gone() {
    let scene = Scene::split();
    scene.heal();
    fs::remove_dir_all(scene.path("state/plans")).unwrap();
    scene.refuses(&["undo"], 4, &["is gone, but the journal names it", "backup"]);
}

#[test]
fn not_a_folder() {
    let scene = Scene::split();
    fs::write(scene.state(), "x").unwrap();
    for words in ALL {
        scene.refuses(words, 70, &["state is not a folder", "--state-dir"]);
    }
    for (name, code) in [(&b"bad\xff"[..], 70), (b"x\x1b[31m", 70)] {
        let ran = scene.run_in(OsStr::from_bytes(name), &["undo"]);
        ran.says(code, &["not UTF-8 or holds control characters", "--state-dir"]);
    }
    scene
        .run_in(OsStr::new("state with spaces"), &["plan", "a.img", "b.img", "--keep", "a"])
        .says(1, &[&format!("--state-dir '{}/state with spaces'", scene.folder.path().display())]);
}

#[test]
fn not_allowed() {
    let scene = Scene::split();
    for words in [&["undo"][..], &HEAL] {
        let Some(ran) = scene.run_unprivileged(words) else { return };
        ran.says(70, &["cannot create the state directory", "Permission denied", "run as root"]);
    }
    scene.heal();
    let Some(ran) = scene.run_unprivileged(&["status"]) else { return };
    ran.says(70, &["Permission denied"]);
    fs::set_permissions(scene.state(), fs::Permissions::from_mode(0o755)).unwrap();
    let Some(ran) = scene.run_unprivileged(&["history"]) else { return };
    ran.says(
        70,
        &["the journal cannot be read", "nothing is known about earlier incidents", "Permission denied"],
    );
}

#[test]
fn in_use_by_another_process() {
    let scene = Scene::split();
    scene.heal();
    let lock = File::options().write(true).open(scene.path("state/lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    for words in [&["plan", "a.img", "b.img", "--keep", "a"][..], &HEAL, &["undo"], &["resolve", "--resume"]]
    {
        scene.refuses(
            words,
            70,
            &["is in use by process", "wait", "never go round it with another --state-dir"],
        );
    }
    for words in [&["status"][..], &["history"], &["salvage", "verify"]] {
        assert_eq!(scene.run(words).code, 0, "reading goes on");
    }
}

#[test]
fn a_damaged_journal() {
    let scene = Scene::split();
    scene.heal();
    let good = fs::read(scene.path("state/journal")).unwrap();
    let lines: Vec<&[u8]> = good.split_inclusive(|byte| *byte == b'\n').collect();

    let mut flipped = good.clone();
    let middle = good.len() / 2;
    flipped[middle] ^= 1;
    let mut removed = lines.clone();
    removed.remove(3);
    let mut exchanged = lines.clone();
    exchanged.swap(3, 4);
    for (bytes, says) in [
        (flipped, "line"),
        (removed.concat(), "line 4 (byte"),
        (exchanged.concat(), "line 4 (byte"),
        (Vec::new(), "does not begin with `unsplit-journal 1`"),
        (b"something else\n".to_vec(), "does not begin with `unsplit-journal 1`"),
    ] {
        fs::write(scene.path("state/journal"), bytes).unwrap();
        for words in journaled().filter(|words| words[0] != "plan" && words[0] != "resolve") {
            scene.refuses(words, 70, &["state/journal is damaged", says, "Nothing was changed", "backup"]);
        }
        scene.refuses(&HEAL, 70, &["state/journal is damaged"]);
        // The salvages can be read without it.
        scene.run(&["salvage", "verify"]).says(0, &["every piece as its digest says"]);
    }

    fs::remove_file(scene.path("state/journal")).unwrap();
    for words in journaled() {
        scene.refuses(
            words,
            70,
            &["state/journal is missing", "a journal was here and was removed", "restore it"],
        );
    }
    fs::create_dir(scene.path("state/journal")).unwrap();
    for words in journaled() {
        scene.refuses(words, 70, &["the journal cannot be read", "state/journal", "not a regular file"]);
    }
    fs::remove_dir(scene.path("state/journal")).unwrap();
    fs::write(scene.path("state/journal"), &good).unwrap();
    scene.run(&["undo"]).says(0, &["Undone"]);
}

#[test]
fn a_torn_journal() {
    let scene = Scene::split();
    let incident = scene.heal();
    let good = fs::read(scene.path("state/journal")).unwrap();
    fs::write(scene.path("state/journal"), &good[..good.len() - 7]).unwrap();
    // The torn record closed the incident. Looking does not mend it.
    scene.refuses(
        &["status"],
        6,
        &[&incident, "interrupted", &format!("unsplit resolve --resume {incident} --state-dir")],
    );
    scene.run(&["history"]).says(0, &["interrupted"]);
    // Wherever one looks at the two, also by another path, and never where it is about others.
    let next = format!("unsplit resolve --resume {incident} --state-dir");
    scene.run(&["status", "a.img", "b.img"]).says(6, &["IN SYNC", &incident, &next]);
    scene.run(&["status", "./a.img", "b.img"]).says(6, &[&incident]);
    scene.run(&["diff", "a.img", "b.img"]).says(0, &["Nothing was compared", &incident, &next]);
    scene.copy("a.img", "x.img");
    scene.copy("b.img", "y.img");
    let others = scene.run(&["status", "x.img", "y.img"]);
    others.says(0, &["IN SYNC"]);
    assert!(!others.all().contains(&incident), "{}", others.all());
    let images = ["a.img", "b.img"].map(|name| fs::read(scene.path(name)).unwrap());
    scene.run(&["resolve", "--resume"]).says(0, &["Healed"]);
    assert!(images == ["a.img", "b.img"].map(|name| fs::read(scene.path(name)).unwrap()));
    scene.run(&["history"]).says(0, &["healed", "torn by a crash", "kept in journal.torn-"]);
    scene.run(&["undo"]).says(0, &["Undone"]);
}

#[test]
fn damaged_salvages() {
    let scene = Scene::split();
    let incident = scene.heal();
    let folder = format!("state/salvage/{incident}");
    let magic: &[u8] = &[0x83, 0x74, 0x02, 0x6b];
    for (part, kept) in [
        ("victim-data.qcow2", &pattern(0x81)[..64]),
        ("victim-metadata.qcow2", magic),
        ("survivor-metadata.qcow2", magic),
        ("manifest.json", b"offline"),
    ] {
        let file = format!("{folder}/{part}");
        let good = fs::read(scene.path(&file)).unwrap();
        let mut flipped = good.clone();
        let at = good.windows(kept.len()).position(|bytes| bytes == kept).unwrap();
        flipped[at] ^= 0x10;
        let mut ways = vec![Some(flipped), Some(good[..good.len() / 2].to_vec()), Some(Vec::new()), None];
        for spoilt in ways.drain(..) {
            match spoilt {
                Some(bytes) => fs::write(scene.path(&file), bytes).unwrap(),
                None => fs::remove_file(scene.path(&file)).unwrap(),
            }
            let says = if part == "manifest.json" { &incident } else { &file };
            let ran = scene.refuses(&["salvage", "verify"], 4, &["NOT GOOD"]);
            ran.says(4, &[says]);
            scene.gives_up(&["undo"], 4, &[says, "unsplit salvage verify"]);
            if part == "manifest.json" {
                scene.refuses(&["salvage", "list"], 4, &[&incident, "not usable"]);
                scene.refuses(&["salvage", "show", &incident], 4, &[&incident, "not usable"]);
            }
            fs::write(scene.path(&file), &good).unwrap();
        }
    }
    scene.run(&["salvage", "verify"]).says(0, &["every piece as its digest says"]);
    fs::rename(scene.path("state/salvage"), scene.path("elsewhere")).unwrap();
    for words in [&["salvage", "list"][..], &["salvage", "verify"], &["salvage", "show", &incident]] {
        scene.refuses(words, 4, &[&incident, "manifest is gone", "backup"]);
    }
    scene.gives_up(&["undo"], 4, &["there is no complete salvage"]);
    fs::rename(scene.path("elsewhere"), scene.path("state/salvage")).unwrap();
    scene.run(&["undo"]).says(0, &["Undone"]);
}

#[test]
fn no_room_for_the_salvage() {
    let scene = Scene::split();
    let Some(_small) = Tmpfs::at(scene.state(), "16450k") else { return };
    scene.gives_up(&HEAL, 70, &["the salvage needs", "bytes", "shall stay free", "are free", "--state-dir"]);
    assert!(!scene.path("state/salvage").exists(), "not even begun");
}

#[test]
fn no_room_at_all() {
    let scene = Scene::split();
    let Some(_small) = Tmpfs::at(scene.state(), "8k") else { return };
    let before = ["a.img", "b.img"].map(|name| fs::read(scene.path(name)).unwrap());
    scene.run(&HEAL).says(70, &["No space left on device", "state/"]);
    assert!(before == ["a.img", "b.img"].map(|name| fs::read(scene.path(name)).unwrap()));
}

/// Whoever can change the journal decides what is overwritten.
#[test]
fn others_may_change_it() {
    let scene = Scene::split();
    fs::create_dir(scene.state()).unwrap();
    fs::set_permissions(scene.state(), fs::Permissions::from_mode(0o777)).unwrap();
    let says = ["not safe to act by", "chmod go-w"];
    scene.refuses(&HEAL, 70, &says);
    fs::set_permissions(scene.state(), fs::Permissions::from_mode(0o700)).unwrap();
    // A part that leads to another place is as safe as that place.
    let larger = scene.path("larger");
    fs::create_dir(&larger).unwrap();
    fs::set_permissions(&larger, fs::Permissions::from_mode(0o775)).unwrap();
    std::os::unix::fs::symlink(&larger, scene.path("state/salvage")).unwrap();
    scene.refuses(&HEAL, 70, &says);
    fs::set_permissions(&larger, fs::Permissions::from_mode(0o755)).unwrap();
    scene.heal();
}

/// An older copy of the journal tells of less than was done.
#[test]
fn a_journal_that_was_rolled_back() {
    let scene = Scene::split();
    scene.heal();
    let (journal, whole) = (scene.path("state/journal"), fs::read(scene.path("state/journal")).unwrap());
    let lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
    let preserve =
        lines.iter().position(|line| line.windows(10).any(|word| word == b"\"preserve\"")).unwrap();
    // None of the incident; or its beginning, before the salvage was taken.
    for kept in [1, 2, preserve] {
        fs::write(&journal, lines[..kept].concat()).unwrap();
        for words in [&HEAL[..], &["undo"], &["history"], &["resolve", "--resume"]] {
            scene.refuses(
                words,
                70,
                &["ends before", "state/salvage/", "an older copy was put in its place"],
            );
        }
    }
    // From there on the journal tells of the salvage, as after a cut.
    fs::write(&journal, lines[..=preserve].concat()).unwrap();
    scene.run(&["history"]).says(0, &[]);
    fs::write(&journal, &whole).unwrap();
    scene.run(&["undo"]).says(0, &[]);
}

/// Nobody ever writes into the pipe.
#[test]
fn a_policy_on_a_pipe() {
    let scene = Scene::split();
    let pipe = scene.path("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let says = ["pipe", "not a regular file"];
    scene.refuses(&["plan", "a.img", "b.img", "--policy", "pipe"], 2, &says);
    scene.refuses(&["policy", "check", "pipe"], 2, &says);
}
