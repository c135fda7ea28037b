//! What went wrong once, through the real binary. Crashes are made by cutting the journal: every prefix of it is what a
//! crash at that moment leaves, and the images after any later step are among those that such a crash can leave.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod captures;

use captures::Capture;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use tempfile::TempDir;
use unsplit::edge::blockdev::{BlockFile, Mode};
use unsplit::edge::drbd::offline::OfflineReplica;
use unsplit::edge::state_dir::StateDir;
use unsplit::model::extent::ExtentSet;
use unsplit::model::id::NodeName;
use unsplit::model::side::Pair;
use unsplit::ports::replica::WritableReplica;
use unsplit::proof::quiesced::Quiesced;

/// A folder with both images of one split brain, and a state directory.
struct Scene {
    folder: TempDir,
    images: [PathBuf; 2],
    before: [Vec<u8>; 2],
}

impl Scene {
    fn new() -> Scene {
        Scene::of(Capture::Drbd84Down)
    }

    fn of(capture: Capture) -> Scene {
        let folder = tempfile::tempdir().unwrap();
        let images = capture.unpack(folder.path());
        let before = images.each_ref().map(|image| fs::read(image).unwrap());
        Scene { folder, images, before }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs the binary; its output and its exit code.
    fn run(&self, words: &[&str]) -> (String, i32) {
        let output: Output = Command::new(env!("CARGO_BIN_EXE_unsplit"))
            .args(["--state-dir", "state"])
            .args(words)
            .current_dir(self.folder.path())
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        (text, output.status.code().unwrap())
    }

    /// The same, when it must end with this exit code.
    fn ends(&self, words: &[&str], code: i32) -> String {
        let (text, found) = self.run(words);
        assert_eq!(found, code, "{words:?}: {text}");
        text
    }

    fn heal(&self, keep: &str) {
        self.ends(&["resolve", "node1.img", "node2.img", "--keep", keep, "--yes"], 0);
    }

    fn now(&self) -> [Vec<u8>; 2] {
        self.images.each_ref().map(|image| fs::read(image).unwrap())
    }

    fn put_back(&self) {
        for (image, bytes) in self.images.iter().zip(&self.before) {
            fs::write(image, bytes).unwrap();
        }
    }

    /// Forgets what the journal says after the last record that contains `word`.
    fn crash_after(&self, word: &str) {
        let path = self.path("state/journal");
        let text = fs::read_to_string(&path).unwrap();
        let end = text.rfind(word).map(|at| at + text[at..].find('\n').unwrap() + 1).unwrap();
        fs::write(&path, &text[..end]).unwrap();
    }

    /// Names of all incidents, first one first, and their states.
    fn incidents(&self) -> Vec<(String, String)> {
        let history: Value = serde_json::from_str(&self.ends(&["--json", "history"], 0)).unwrap();
        let word = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
        let rows = history["incidents"].as_array().unwrap();
        rows.iter().map(|row| (word(row, "id"), word(row, "state"))).collect()
    }
}

/// The first plan in the state directory; there must be only one.
fn only_plan(state: &Path) -> String {
    let mut names = fs::read_dir(state.join("plans")).unwrap().map(|entry| entry.unwrap().file_name());
    let name = names.next().unwrap().into_string().unwrap();
    assert!(names.next().is_none());
    name.trim_end_matches(".json").to_owned()
}

/// A healing was cut off, its undo was cut off too and then taken up: the healing is over and must not go on.
#[test]
fn an_undo_that_was_taken_up_closes_its_healing() {
    for take_up in [&["undo"][..], &["resolve", "--resume"]] {
        let scene = Scene::new();
        scene.heal("a");
        scene.crash_after("\"settle-metadata\"");
        scene.ends(&["undo"], 0);
        scene.crash_after("\"mark-inconsistent\"");
        scene.ends(take_up, 0);
        assert!(scene.now() == scene.before);
        let states: Vec<String> = scene.incidents().into_iter().map(|(_, state)| state).collect();
        assert_eq!(states, ["undone", "undone"]);
        scene.ends(&["status"], 0);
        scene.ends(&["resolve", "--resume"], 0);
        assert!(scene.now() == scene.before, "the undone healing went on");
    }
}

/// The first 4 KiB that the only plan compared and found equal.
fn equal_block(state: &Path) -> u64 {
    let text = fs::read_to_string(state.join(format!("plans/{}.json", only_plan(state)))).unwrap();
    let plan: Value = serde_json::from_str(&text).unwrap();
    let set = |at: &str| -> ExtentSet { serde_json::from_value(plan.pointer(at).unwrap().clone()).unwrap() };
    set("/ground/images/compared")
        .subtract(&set("/volumes/0/overwrite"))
        .first()
        .expect("something is equal")
        .start
}

/// While a healing was cut off, somebody wrote where both sides had been found equal: no bitmap, log or superblock shows it.
/// It was called healed and verified, and the sides differed for ever.
#[test]
fn a_write_to_equal_blocks_while_cut_off_is_noticed() {
    for image in 0..2 {
        let scene = Scene::new();
        scene.ends(&["resolve", "node1.img", "node2.img", "--keep", "a", "--full", "--yes"], 0);
        scene.crash_after("\"word\":\"overwrite\"");
        let at = equal_block(&scene.path("state"));
        let healed = scene.now();
        // Closed again before anybody looks.
        let write = |bytes: &[u8]| {
            let file = fs::OpenOptions::new().write(true).open(&scene.images[image]).unwrap();
            file.write_all_at(bytes, at + 77).unwrap();
        };
        write(b"somebody's");
        let written = scene.now();
        let said = scene.ends(&["resolve", "--resume"], 6);
        assert!(said.contains(&format!("the first at byte {at}, that did not")), "{said}");
        assert!(said.contains("--give-up"), "it says the way on: {said}");
        assert!(scene.now() == written, "nothing more was written");
        // The same before an undo, which then leaves everything as it is.
        let said = scene.ends(&["undo"], 4);
        assert!(said.contains(&format!("the first at byte {at}")), "{said}");
        assert!(scene.now() == written);
        // Put back, it goes on.
        let then = usize::try_from(at).unwrap() + 77;
        write(&healed[image][then..then + 10]);
        scene.ends(&["resolve", "--resume"], 0);
        assert!(scene.now() == healed);
    }
}

/// The power went between the record that closes the undo and those that close its healing.
#[test]
fn an_undone_healing_does_not_go_on_after_a_crash() {
    let scene = Scene::new();
    scene.heal("a");
    scene.crash_after("\"settle-metadata\"");
    scene.ends(&["undo"], 0);
    let path = scene.path("state/journal");
    let text = fs::read_to_string(&path).unwrap();
    let closed = text.find("\"outcome\":\"undone\"").unwrap();
    let end = closed + text[closed..].find('\n').unwrap() + 1;
    fs::write(&path, &text[..end]).unwrap();
    let healing = scene.incidents()[0].0.clone();
    scene.ends(&["resolve", "--resume", &healing], 2);
    assert!(scene.now() == scene.before, "the undone healing went on");
}

#[test]
fn a_dry_run_changes_nothing_while_an_undo_is_open() {
    let scene = Scene::new();
    scene.heal("a");
    scene.ends(&["undo"], 0);
    scene.crash_after("\"mark-inconsistent\"");
    let (states, journal) = (scene.incidents(), fs::read(scene.path("state/journal")).unwrap());
    let shown = scene.ends(&["undo", "--dry-run"], 1);
    assert!(shown.contains("from the salvage back"), "{shown}");
    assert_eq!(scene.incidents(), states);
    assert!(fs::read(scene.path("state/journal")).unwrap() == journal, "the undo went on");
}

/// An undo that cannot go on, because its disk is gone, does not keep other healings from being undone.
#[test]
fn an_open_undo_does_not_stand_in_for_another() {
    let scene = Scene::new();
    let copies = ["other1.img", "other2.img"].map(|name| scene.path(name));
    for (image, copy) in scene.images.iter().zip(&copies) {
        fs::copy(image, copy).unwrap();
    }
    scene.ends(&["resolve", "other1.img", "other2.img", "--keep", "a", "--yes"], 0);
    let other = scene.incidents()[0].0.clone();
    scene.heal("b");
    scene.ends(&["undo"], 0);
    scene.crash_after("\"restore-metadata\"");
    fs::remove_file(&scene.images[0]).unwrap();
    scene.ends(&["undo", &other], 0);
    for (copy, before) in copies.iter().zip(&scene.before) {
        assert!(fs::read(copy).unwrap() == *before);
    }
}

/// A plan that was drawn earlier does not run while another incident on the same devices is open.
#[test]
fn an_older_plan_does_not_overtake_an_open_incident() {
    let scene = Scene::new();
    scene.ends(&["plan", "node1.img", "node2.img", "--keep", "b"], 1);
    let older = only_plan(&scene.path("state"));
    scene.heal("a");
    scene.put_back();
    scene.crash_after("\"preserve\"");
    let text = scene.ends(&["resolve", "--plan", &older], 6);
    assert!(text.contains("is not over"), "{text}");
    // Both ways out, each a line of its own that can be pasted.
    let open = &scene.incidents().pop().unwrap().0;
    for words in ["--resume", "--give-up"] {
        let command = format!("unsplit resolve {words} {open} --state-dir ");
        let line = text.lines().find(|line| line.trim_start_matches("  next:").trim().starts_with(&command));
        assert!(line.is_some_and(|line| !line.contains('`')), "{command}: {text}");
    }
    assert!(scene.now() == scene.before);
}

/// While another process has the state directory, what stands open is not simply called interrupted; and no plan is offered for
/// devices of an open incident, because none would be drawn.
#[test]
fn who_works_in_the_state_directory_is_named() {
    let scene = Scene::new();
    scene.heal("a");
    scene.put_back();
    scene.crash_after("\"preserve\"");
    let works = format!("Process {} works in this state directory just now", std::process::id());
    let looks = [&["status"][..], &["status", "node1.img", "node2.img"], &["history"]];
    for (words, code) in looks.into_iter().zip([6, 6, 0]) {
        let text = scene.ends(words, code);
        assert!(text.contains("interrupted") && !text.contains("works in this"), "{text}");
        assert!(!text.contains("unsplit plan"), "{text}");
    }
    let held = StateDir::open(&scene.path("state")).unwrap();
    for (words, code) in looks.into_iter().zip([6, 6, 0]) {
        let text = scene.ends(words, code);
        assert!(text.contains(&works), "{text}");
    }
    drop(held);
}

/// A half overwritten side that somebody else wrote to: neither going on nor an undo leads out, and neither is offered as if.
#[test]
fn what_leads_nowhere_is_not_offered() {
    let scene = Scene::new();
    scene.heal("a");
    scene.crash_after("\"overwrite\"");
    let kept =
        scene.before[1].iter().zip(&scene.before[0]).position(|(theirs, ours)| theirs != ours).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&scene.images[1]).unwrap();
    file.write_all_at(b"somebody else's", kept as u64).unwrap();
    drop(file);
    let text = scene.ends(&["resolve", "--resume"], 6);
    assert!(text.contains("end this one with `unsplit resolve --give-up"), "{text}");
    assert!(text.contains("parks again, and an undo refuses") && !text.contains("go back with"), "{text}");
    scene.ends(&["undo"], 4);
    let open = scene.incidents()[0].0.clone();
    scene.ends(&["resolve", "--give-up", &open, "--yes"], 0);
    scene.ends(&["resolve", "node1.img", "node2.img", "--keep", "a", "--yes"], 0);
}

/// By another path the devices are the same devices.
#[test]
fn a_link_does_not_hide_an_open_incident() {
    let scene = Scene::new();
    scene.heal("a");
    scene.put_back();
    scene.crash_after("\"preserve\"");
    for (link, image) in [("link1", "node1.img"), ("link2", "node2.img")] {
        std::os::unix::fs::symlink(image, scene.path(link)).unwrap();
    }
    scene.ends(&["plan", "link1", "link2", "--keep", "b"], 6);
}

#[test]
fn a_plan_in_the_middle_of_its_undo_is_not_called_carried_out() {
    let scene = Scene::new();
    scene.ends(&["plan", "node1.img", "node2.img", "--keep", "a"], 1);
    let plan = only_plan(&scene.path("state"));
    scene.ends(&["resolve", "--plan", &plan], 0);
    scene.ends(&["undo"], 0);
    scene.crash_after("\"overwrite\"");
    let text = scene.ends(&["resolve", "--plan", &plan], 6);
    assert!(!text.contains("already carried out"), "{text}");
}

/// Interrupted before anything was changed: the operator may want the other side by now.
#[test]
fn an_incident_without_a_change_can_be_given_up() {
    let scene = Scene::new();
    scene.heal("a");
    scene.put_back();
    scene.crash_after("\"preserve\"");
    let id = scene.incidents()[0].0.clone();
    let text = scene.ends(&["undo", &id], 2);
    assert!(text.contains("--give-up") && !text.contains("ended"), "{text}");
    scene.ends(&["resolve", "--give-up", &id], 0);
    assert!(scene.now() == scene.before);
    scene.ends(&["resolve", "--give-up", &id], 2);
    scene.heal("b");
}

/// Between the intent of the first change and the change nobody knows more than the intent: that is what is said, of a healing
/// and of an undo.
#[test]
fn giving_up_says_no_more_than_what_is_known() {
    for (cut, says) in [("\"mark-inconsistent\"", "may have begun"), ("\"overwrite\"", "has begun")] {
        for undone in [false, true] {
            let scene = Scene::new();
            scene.heal("a");
            if undone {
                scene.ends(&["undo"], 0);
            }
            scene.crash_after(cut);
            let id = scene.incidents().into_iter().map(|(id, _)| id).next_back().unwrap();
            let text = scene.ends(&["resolve", "--give-up", &id], 3);
            assert!(text.contains(&format!("{says} to change a side")), "{undone} {cut}: {text}");
        }
    }
}

/// Somebody wrote to the victim after the healing was cut off: it can neither go on nor be undone, but the pair must not
/// be out of bounds for ever. Nor when plan and devices are gone.
#[test]
fn a_stuck_incident_can_be_given_up() {
    let scene = Scene::new();
    scene.heal("a");
    scene.crash_after("\"overwrite\"");
    let mut victim = scene.now()[1].clone();
    victim[1 << 20..(1 << 20) + 8].copy_from_slice(b"foreign!");
    fs::write(&scene.images[1], &victim).unwrap();
    let id = scene.incidents()[0].0.clone();
    scene.ends(&["resolve", "--resume"], 6);
    scene.ends(&["undo"], 4);
    // What cannot succeed is not offered.
    for words in [&["status"][..], &["status", "node1.img", "node2.img"], &["status", "--json"]] {
        let text = scene.ends(words, 6);
        assert!(text.contains(&format!("unsplit resolve --give-up {id} --yes")), "{text}");
        assert!(!text.contains("--resume") && !text.contains("unsplit undo"), "{text}");
    }
    let text = scene.ends(&["history", &id], 0);
    assert!(text.contains(&format!("Next: unsplit resolve --give-up {id} --yes")), "{text}");
    scene.ends(&["plan", "node1.img", "node2.img", "--keep", "a"], 6);
    scene.ends(&["resolve", "--give-up", &id], 3);
    fs::remove_dir_all(scene.path("state/plans")).unwrap();
    fs::rename(&scene.images[1], scene.path("gone.img")).unwrap();
    scene.ends(&["resolve", "--give-up", &id, "--yes"], 0);
    fs::rename(scene.path("gone.img"), &scene.images[1]).unwrap();
    scene.ends(&["status"], 0);
    assert_eq!(scene.incidents()[0].1, "given up in the middle");
    // What b holds now, the foreign write included, is kept before it is overwritten. (A write that no DRBD saw is marked
    // nowhere, so only the full comparison finds it.)
    scene.ends(&["resolve", "node1.img", "node2.img", "--keep", "a", "--full", "--yes"], 0);
    scene.ends(&["undo"], 0);
    assert!(fs::read(&scene.images[1]).unwrap()[1 << 20..].starts_with(b"foreign!"));
}

/// What a process is at work on is not interrupted.
#[test]
fn an_incident_at_work_runs() {
    let scene = Scene::new();
    scene.heal("a");
    scene.crash_after("\"overwrite\"");
    let id = scene.incidents()[0].0.clone();
    let desk = StateDir::open(&scene.path("state")).unwrap();
    let pid = std::process::id();
    for words in
        [&["status", "--json"][..], &["history", "--json"], &["status", "node1.img", "node2.img", "--json"]]
    {
        let (text, _) = scene.run(words);
        let document: Value = serde_json::from_str(&text).unwrap();
        let list = [&document["open"], &document["incidents"]["open"], &document["incidents"]];
        let one = list.into_iter().find_map(|list| list.as_array()).unwrap();
        let one = one.iter().find(|one| one["id"] == id.as_str()).unwrap();
        assert_eq!(one["process"], pid, "{text}");
        let state = one["state"].as_str().unwrap();
        assert!(state.starts_with(&format!("running, by process {pid}")), "{state}");
        assert_eq!(one["next"], Value::Null);
    }
    let (text, _) = scene.run(&["status"]);
    assert!(!text.contains("interrupted") && !text.contains("--resume"), "{text}");
    drop(desk);
    let (text, _) = scene.run(&["status"]);
    assert!(text.contains("interrupted") && text.contains("--resume"), "{text}");
}

/// A healing that was undone does not stand there as one that holds.
#[test]
fn what_was_undone_is_not_called_healed() {
    let scene = Scene::new();
    scene.heal("a");
    assert_eq!(scene.incidents()[0].1, "healed");
    scene.ends(&["undo"], 0);
    assert_eq!(scene.incidents()[0].1, "healed, and undone since");
    let text = scene.ends(&["history"], 0);
    assert!(text.contains("healed, and undone since"), "{text}");
}

#[test]
fn resuming_asks_which_when_several_are_open() {
    let scene = Scene::new();
    for (image, name) in scene.images.iter().zip(["other1.img", "other2.img"]) {
        fs::copy(image, scene.path(name)).unwrap();
    }
    scene.ends(&["resolve", "other1.img", "other2.img", "--keep", "a", "--yes"], 0);
    scene.crash_after("\"overwrite\"");
    scene.heal("a");
    scene.crash_after("\"overwrite\"");
    let text = scene.ends(&["resolve", "--resume"], 2);
    assert!(text.contains("say which"), "{text}");
}

/// Nothing claims that a copy exists where none was taken, and the printed commands can be typed.
#[test]
fn without_a_salvage_no_salvage_is_spoken_of() {
    let scene = Scene::new();
    fs::write(scene.path("p.toml"), "salvage = \"off\"\n").unwrap();
    let words = ["plan", "node1.img", "node2.img", "--keep", "a", "--policy", "p.toml", "--no-salvage"];
    let shown = scene.ends(&words, 1);
    let plan = only_plan(&scene.path("state"));
    let printed = format!("resolve --plan {} --no-salvage", &plan[..12]);
    assert!(shown.contains(&printed), "{shown}");
    scene.ends(&["resolve", "--plan", &plan], 2);
    assert!(scene.incidents().is_empty(), "an incident was opened for nothing");
    scene.ends(&["resolve", "--plan", &plan, "--no-salvage"], 0);
    scene.crash_after("\"overwrite\"");
    let mut survivor = scene.now()[0].clone();
    survivor[1 << 20] ^= 1;
    fs::write(&scene.images[0], survivor).unwrap();
    // Nothing can be put back, and what is offered runs as it stands.
    for words in [&["status"][..], &["--json", "status"], &["--json", "history"]] {
        let text = scene.ends(words, if words.contains(&"history") { 0 } else { 6 });
        let resume = text.split("resolve --resume ").nth(1).unwrap_or_else(|| panic!("{text}"));
        let resume = resume.split(['"', '\n']).next().unwrap();
        assert!(resume.contains(" --no-salvage") && !text.contains("unsplit undo"), "{text}");
    }
    let text = scene.ends(&["resolve", "--resume", "--no-salvage"], 6);
    assert!(text.contains("No copy was kept") && !text.contains("unsplit undo"), "{text}");
}

#[test]
fn a_busy_state_directory_is_no_reason_to_use_another() {
    let scene = Scene::new();
    scene.ends(&["plan", "node1.img", "node2.img", "--keep", "a"], 1);
    let lock = fs::File::open(scene.path("state/lock")).unwrap();
    lock.try_lock().unwrap();
    let (text, _) = scene.run(&["plan", "node1.img", "node2.img", "--keep", "a"]);
    assert!(text.contains("in use") && !text.contains("another folder"), "{text}");
}

#[test]
fn an_undo_names_no_salvage_that_does_not_exist() {
    let scene = Scene::new();
    scene.heal("a");
    let undone: Value = serde_json::from_str(&scene.ends(&["--json", "undo"], 0)).unwrap();
    assert_eq!(undone["salvage"], Value::Null, "an undo takes none");
}

/// Without its journal nobody knows what became of the incident whose salvage is there.
#[test]
fn a_missing_journal_is_noticed_when_salvages_are_there() {
    let scene = Scene::new();
    scene.heal("a");
    fs::remove_file(scene.path("state/journal")).unwrap();
    for words in [&["undo"][..], &["history"], &["plan", "node1.img", "node2.img"]] {
        let text = scene.ends(words, 70);
        assert!(text.contains("was removed"), "{text}");
    }
    assert!(!scene.path("state/journal").exists());
}

/// Between opening the images and writing to them somebody (a copy that has just ended) renamed another file over one.
#[test]
fn an_image_that_was_replaced_is_not_written() {
    let scene = Scene::new();
    let open = |side: usize| {
        let disk = Arc::new(BlockFile::open(&scene.images[side], Mode::ReadWrite).unwrap());
        let name = NodeName::new(["a", "b"][side]).unwrap();
        OfflineReplica::open(name, disk, None, None, None).unwrap()
    };
    let sides = Pair::new(open(0), open(1));
    let quiet = || Quiesced::by_holding(sides.as_ref().map(|side| side.hold().unwrap()));
    let held = quiet().unwrap();
    fs::write(scene.path("new.img"), &scene.before[1]).unwrap();
    fs::rename(scene.path("new.img"), &scene.images[1]).unwrap();
    assert!(held.check().unwrap_err().to_string().contains("replaced"), "noticed before every act");
    drop(held);
    assert!(quiet().unwrap_err().to_string().contains("replaced"), "and when claiming");
}

/// Both sides' metadata on one device, at two indexes: as where a third machine holds everything.
#[test]
fn both_sides_may_keep_their_metadata_on_one_device() {
    let scene = Scene::new();
    let slot = 128 << 20;
    let meta = fs::File::create(scene.path("meta.img")).unwrap();
    meta.set_len(2 * slot).unwrap();
    for (index, image) in (0u64..).zip(&scene.before) {
        let at = image.len() / 4096 * 4096 - 4096;
        let mut superblock = image[at..].to_vec();
        let field = |offset: usize| i32::from_be_bytes(superblock[offset..offset + 4].try_into().unwrap());
        let place = |sectors: i32| at.strict_add_signed(isize::try_from(sectors).unwrap() * 512);
        let (log, bitmap) = (place(field(68)), place(field(76)));
        meta.write_all_at(&image[log..at], index * slot + 4096).unwrap();
        meta.write_all_at(&image[bitmap..log], index * slot + 36864).unwrap();
        for (offset, value) in [(64, 262_144i32), (68, 8), (76, 72)] {
            superblock[offset..offset + 4].copy_from_slice(&value.to_be_bytes());
        }
        meta.write_all_at(&superblock[..4096], index * slot).unwrap();
    }
    drop(meta);
    let before = fs::read(scene.path("meta.img")).unwrap();
    let sides = ["node1.img", "node2.img", "--meta-a", "meta.img:0", "--meta-b", "meta.img:1"];
    scene.ends(&[&["resolve"], &sides[..], &["--keep", "a", "--yes"]].concat(), 0);
    scene.ends(&[&["status"], &sides[..]].concat(), 0);
    assert!(scene.now()[1] != scene.before[1]);
    scene.ends(&["undo"], 0);
    assert!(scene.now() == scene.before && fs::read(scene.path("meta.img")).unwrap() == before);
}

/// A Primary writes where its bit is set and its log is hot already, after the plan was drawn, and crashes: no metadata
/// tells. If the block was equal before, the plan does not overwrite it, and the healed sides would differ unnoticed.
#[test]
fn a_write_that_no_metadata_shows_makes_a_plan_stale() {
    for side in 0..2 {
        let scene = Scene::of(Capture::Drbd84Attached);
        let diff: Value =
            serde_json::from_str(&scene.ends(&["--json", "diff", "node1.img", "node2.img"], 1)).unwrap();
        let blocks = |list: &Value| -> BTreeSet<u64> {
            let extents = list.as_array().unwrap().iter();
            extents
                .flat_map(|extent| {
                    let (start, len) = (extent[0].as_u64().unwrap(), extent[1].as_u64().unwrap());
                    start / 4096..(start + len) / 4096
                })
                .collect()
        };
        let marked = blocks(&diff["volumes"][0]["delta"]["marked"][["a", "b"][side]]);
        let equal = *marked.difference(&blocks(&diff["volumes"][0]["delta"]["differs"])).next().unwrap();
        scene.ends(&["plan", "node1.img", "node2.img", "--keep", "a"], 1);
        let image = fs::File::options().write(true).open(&scene.images[side]).unwrap();
        image.write_all_at(b"written after the plan", equal * 4096).unwrap();
        drop(image);
        let before = scene.now();
        let text = scene.ends(&["resolve", "--plan", &only_plan(&scene.path("state"))], 4);
        assert!(text.contains("did not when the plan was drawn"), "{text}");
        assert!(scene.now() == before);
        scene.heal("a");
        scene.ends(&["diff", "node1.img", "node2.img", "--full"], 0);
    }
}

/// A plan that keeps a, run with the word to keep b, did what the plan said.
#[test]
fn a_choice_beside_a_plan_is_refused() {
    let scene = Scene::new();
    scene.ends(&["plan", "node1.img", "node2.img", "--keep", "a"], 1);
    let plan = only_plan(&scene.path("state"));
    for choice in [&["--keep", "b"][..], &["--full"], &["--role-a", "primary"]] {
        let text = scene.ends(&[&["resolve", "--plan", &plan], choice].concat(), 2);
        assert!(text.contains(choice[0]), "{text}");
    }
    assert!(scene.now() == scene.before && scene.incidents().is_empty());
}

#[test]
fn an_undo_is_not_run_as_a_plan() {
    let scene = Scene::new();
    scene.heal("a");
    let first = only_plan(&scene.path("state"));
    scene.ends(&["undo"], 0);
    let names = fs::read_dir(scene.path("state/plans")).unwrap();
    let mut ids = names.map(|name| name.unwrap().file_name().into_string().unwrap());
    let undo = ids.find(|name| !name.starts_with(&first)).unwrap();
    scene.ends(&["resolve", "--plan", undo.trim_end_matches(".json")], 2);
    assert_eq!(scene.incidents().len(), 2);
}

/// Who asked for JSON gets it, also when there is nothing to do.
#[test]
fn nothing_to_do_is_said_in_json_too() {
    let scene = Scene::new();
    scene.heal("a");
    let plan = only_plan(&scene.path("state"));
    for words in [&["--json", "resolve", "--resume"][..], &["--json", "resolve", "--plan", &plan]] {
        let said: Value = serde_json::from_str(&scene.ends(words, 0)).unwrap();
        assert_eq!(said["schema"], "unsplit.resolve");
    }
}

/// The salvage is gone in the middle: nothing says that it is there.
#[test]
fn a_missing_salvage_is_not_said_to_hold_everything() {
    let scene = Scene::new();
    scene.heal("a");
    scene.crash_after("\"overwrite\"");
    fs::rename(scene.path("state/salvage"), scene.path("moved")).unwrap();
    let text = scene.ends(&["resolve", "--resume"], 6);
    assert!(!text.contains("Nothing is lost") && !text.contains("unsplit undo"), "{text}");
    fs::rename(scene.path("moved"), scene.path("state/salvage")).unwrap();
    scene.ends(&["resolve", "--resume"], 0);
}

/// Somebody has prepared the folder for salvages, as a link to a larger disk: that is no trace of a lost journal.
#[test]
fn a_prepared_folder_is_no_witness() {
    let scene = Scene::new();
    fs::create_dir(scene.path("large")).unwrap();
    fs::create_dir(scene.path("state")).unwrap();
    std::os::unix::fs::symlink("../large", scene.path("state/salvage")).unwrap();
    scene.heal("a");
    scene.ends(&["undo"], 0);
}
