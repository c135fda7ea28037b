//! The whole line through the real binary, on captures of real split brains, against their ground truth.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod captures;
mod skipped;

use captures::Capture;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

const BLOCK: u64 = 4096;

/// First byte of each logical volume on the DRBD device: extents of 4 MiB after a physical extent start of 1 MiB.
const VM_101: std::ops::Range<u64> = (1 << 20)..(25 << 20);
const VM_102: std::ops::Range<u64> = (25 << 20)..(49 << 20);
const SHARED: std::ops::Range<u64> = (49 << 20)..(57 << 20);

struct Scene {
    folder: TempDir,
    images: [PathBuf; 2],
    before: [Vec<u8>; 2],
}

impl Scene {
    fn of(capture: Capture) -> Scene {
        let folder = tempfile::tempdir().unwrap();
        let images = capture.unpack(folder.path());
        let before = images.each_ref().map(|image| fs::read(image).unwrap());
        Scene { folder, images, before }
    }

    fn unsplit(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_unsplit"));
        command
            .arg("--state-dir")
            .arg(self.folder.path().join("state"))
            .args(words)
            .current_dir(self.folder.path());
        command.output().unwrap()
    }

    fn json(&self, words: &[&str], code: i32) -> Value {
        let mut all = vec!["--json"];
        all.extend(words);
        let output = self.unsplit(&all);
        assert_eq!(output.status.code(), Some(code), "{}", text(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn now(&self) -> [Vec<u8>; 2] {
        self.images.each_ref().map(|image| fs::read(image).unwrap())
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Blocks of 4 KiB in a JSON list of `[start, length]`.
fn blocks(extents: &Value) -> Vec<u64> {
    let mut all = Vec::new();
    for extent in extents.as_array().unwrap() {
        let (start, len) = (extent[0].as_u64().unwrap(), extent[1].as_u64().unwrap());
        assert_eq!((start % BLOCK, len % BLOCK), (0, 0));
        all.extend(start / BLOCK..(start + len) / BLOCK);
    }
    all
}

fn class<'a>(diff: &'a Value, class: &str) -> &'a Value {
    diff["volumes"][0]["classes"].as_array().unwrap().iter().find(|view| view["class"] == class).unwrap()
}

fn truly_different(before: &[Vec<u8>; 2], size: u64) -> Vec<u64> {
    let [a, b] = before;
    (0..size / BLOCK)
        .filter(|block| {
            let range =
                usize::try_from(block * BLOCK).unwrap()..usize::try_from((block + 1) * BLOCK).unwrap();
            a[range.clone()] != b[range]
        })
        .collect()
}

#[test]
fn the_difference_is_exactly_what_was_written() {
    for capture in Capture::ALL {
        let scene = Scene::of(capture);
        for full in [false, true] {
            let mut words = vec!["diff", "node1.img", "node2.img"];
            words.extend(full.then_some("--full"));
            let diff = scene.json(&words, 1);
            assert_eq!(diff["volumes"][0]["relation"], "diverged");
            let found = blocks(&diff["volumes"][0]["delta"]["differs"]);
            assert_eq!(
                found,
                truly_different(&scene.before, diff["volumes"][0]["delta"]["size"].as_u64().unwrap()),
                "{capture:?}"
            );
            assert!(
                class(&diff, "unmarked")["extents"].as_array().unwrap().is_empty(),
                "nothing outside the candidates"
            );

            // `shared`: node1 wrote its blocks 20..59, node2 40..79.
            let in_shared = |extents: &Value| -> Vec<u64> {
                blocks(extents)
                    .into_iter()
                    .filter(|b| SHARED.contains(&(b * BLOCK)))
                    .map(|b| b - SHARED.start / BLOCK)
                    .collect()
            };
            let all: Vec<u64> = found
                .iter()
                .filter(|b| SHARED.contains(&(**b * BLOCK)))
                .map(|b| b - SHARED.start / BLOCK)
                .collect();
            assert_eq!(all, (20..80).collect::<Vec<_>>());
            // On a node that was still Primary the hot activity log must not blur what the bitmaps are certain of.
            assert_eq!(in_shared(&class(&diff, "only-a")["extents"]), (20..40).collect::<Vec<_>>());
            assert_eq!(in_shared(&class(&diff, "only-b")["extents"]), (60..80).collect::<Vec<_>>());
            assert_eq!(in_shared(&class(&diff, "both")["extents"]), (40..60).collect::<Vec<_>>());
            let inside = |class_name: &str, lv: &std::ops::Range<u64>| {
                blocks(&class(&diff, class_name)["extents"])
                    .iter()
                    .filter(|b| lv.contains(&(**b * BLOCK)))
                    .count()
            };
            assert!(inside("only-a", &VM_101) > 0 && inside("only-b", &VM_102) > 0);
            assert_eq!(
                (inside("only-b", &VM_101), inside("both", &VM_101)),
                (0, 0),
                "vm-101 was touched by node1 only"
            );
            assert_eq!(
                (inside("only-a", &VM_102), inside("both", &VM_102)),
                (0, 0),
                "vm-102 was touched by node2 only"
            );
        }
        assert!(scene.now() == scene.before, "looking changes nothing");
    }
}

#[test]
fn units_are_named() {
    let scene = Scene::of(Capture::Drbd84Down);
    let output = scene.unsplit(&["diff", "node1.img", "node2.img"]);
    let shown = text(&output);
    for name in ["drbdvg/vm-101-disk-0", "drbdvg/vm-102-disk-0", "drbdvg/shared"] {
        assert!(shown.contains(name), "{shown}");
    }
}

#[test]
fn heal_and_undo_in_both_directions() {
    for capture in Capture::ALL {
        for (keep, survivor, victim) in [("a", 0, 1), ("b", 1, 0)] {
            heal_and_undo(capture, keep, survivor, victim);
        }
    }
}

fn heal_and_undo(capture: Capture, keep: &str, survivor: usize, victim: usize) {
    let scene = Scene::of(capture);
    let plan = scene.json(&["plan", "node1.img", "node2.img", "--keep", keep], 1);
    assert!(scene.now() == scene.before, "a plan changes nothing");
    let size = usize::try_from(plan["plan"]["volumes"][0]["size"].as_u64().unwrap()).unwrap();
    let id = plan["id"].as_str().unwrap();

    let resolved = scene.json(&["resolve", "--plan", id], 0);
    assert_eq!(resolved["outcome"], "healed");
    let after = scene.now();
    assert!(after[survivor][..size] == scene.before[survivor][..size], "the survivor's data is untouched");
    assert!(after[victim][..size] == scene.before[survivor][..size], "the victim equals the survivor");
    scene.json(&["status", "node1.img", "node2.img"], 0);
    scene.json(&["diff", "node1.img", "node2.img", "--full"], 0);
    drbdmeta_agrees(capture, &scene.images);
    salvage_opens(&scene, &resolved, survivor, victim, size);

    // Saying it again does nothing.
    let again = scene.unsplit(&["resolve", "--plan", id]);
    assert_eq!(again.status.code(), Some(0), "{}", text(&again));
    assert!(scene.now() == after);

    scene.json(&["undo"], 0);
    let undone = scene.now();
    assert!(
        undone[0] == scene.before[0] && undone[1] == scene.before[1],
        "{capture:?} {keep}: byte for byte as before"
    );

    // And the same plan can be run once more.
    scene.json(&["resolve", "--plan", id], 0);
    assert!(scene.now() == after);
}

/// What DRBD's own tool says of the healed pair: equal generations, nothing to sync, clean.
fn drbdmeta_agrees(capture: Capture, images: &[PathBuf; 2]) {
    let Some(drbdmeta) = tool("drbdmeta") else { return };
    let format = if capture == Capture::Drbd9Attached { "v09" } else { "v08" };
    let dumps = images.each_ref().map(|image| {
        let output = Command::new(&drbdmeta)
            .args(["--force", "-", format])
            .arg(image)
            .args(["internal", "dump-md"])
            .output()
            .unwrap();
        let dump = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success() && !dump.contains("unclean"),
            "{dump}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        dump
    });
    let generation = |dump: &str| {
        let key = if format == "v09" { "current-uuid 0x" } else { "uuid {\n    0x" };
        let at = dump.find(key).unwrap() + key.len();
        dump[at..at + 16].to_owned()
    };
    assert_eq!(generation(&dumps[0]), generation(&dumps[1]));
    if format == "v08" {
        assert!(dumps.iter().all(|dump| dump.contains("# bits-set 0;")));
    }
}

/// The overlay on the survivor's image is the victim's data as it was, for qemu's tools, too.
fn salvage_opens(scene: &Scene, resolved: &Value, survivor: usize, victim: usize, size: usize) {
    let folder = PathBuf::from(resolved["salvage"].as_str().unwrap());
    let manifest: Value = serde_json::from_slice(&fs::read(folder.join("manifest.json")).unwrap()).unwrap();
    let part = manifest["manifest"]["parts"]
        .as_array()
        .unwrap()
        .iter()
        .find(|part| part["kind"] == "victim-data")
        .unwrap();
    assert!(part["backing"].as_str().unwrap().ends_with(["node1.img", "node2.img"][survivor]));
    let overlay = folder.join(part["file"].as_str().unwrap());
    let Some(qemu_img) = tool("qemu-img") else { return };
    let run = |words: &[&str], paths: &[&Path]| {
        let output = Command::new(&qemu_img).args(words).args(paths).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", text(&output));
    };
    run(&["check", "-q"], &[&overlay]);
    let original = scene.folder.path().join("victim-data.raw");
    fs::write(&original, &scene.before[victim][..size]).unwrap();
    run(&["compare", "-q", "-f", "qcow2", "-F", "raw"], &[&overlay, &original]);
    let verified = scene.unsplit(&["salvage", "verify"]);
    assert_eq!(verified.status.code(), Some(0), "{}", text(&verified));
}

/// A tool of the system; tests that need one say so when it is not there.
fn tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let found = path.split(':').map(|dir| Path::new(dir).join(name)).find(|path| path.is_file());
    if found.is_none() {
        skipped::lacking(&format!("{name} is not installed"));
    }
    found
}
