//! What went wrong once, through the real binary. Crashes are made by cutting the journal: every prefix of it is what a
//! crash at that moment leaves, and the images after any later step are among those that such a crash can leave.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod captures;

use captures::Capture;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// A folder with both images of one split brain, and a state directory.
struct Scene {
    folder: TempDir,
    images: [PathBuf; 2],
    before: [Vec<u8>; 2],
}

impl Scene {
    fn new() -> Scene {
        let folder = tempfile::tempdir().unwrap();
        let images = Capture::Drbd84Down.unpack(folder.path());
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
