//! The agent dies in the middle of a healing: nothing is lost, and `resolve` again finishes.

use crate::captures::Capture;
use crate::scene::{BIN, Scene, agent, shell, text, tool};
use crate::world::pair::Spec;
use serde_json::Value;
use std::process::Command;
use unsplit::model::drbd::MetadataFormat;

fn small(format: MetadataFormat) -> Scene {
    Scene::made(&Spec { slots: if format == MetadataFormat::V09 { 2 } else { 1 }, ..Spec::plain(format, 3) })
}

/// A plan whose peer is a link to `peer`, which can be changed while the plan's words stay the same.
struct Planned {
    scene: Scene,
    id: String,
    size: usize,
}

/// The peer is a script in the scene's folder, so that it can die in one run and live in the next.
fn plan(scene: Scene) -> Planned {
    let fixed = format!("exec:sh {}", scene.path("peer.sh").display());
    set_peer(&scene, &format!("exec {BIN} agent --stdio"));
    let (code, plan) = scene.json("plan", Some(&fixed), &["--keep", "a"]);
    assert_eq!(code, 1, "{plan}");
    let size = usize::try_from(plan["plan"]["volumes"][0]["size"].as_u64().unwrap()).unwrap();
    Planned { scene, id: plan["id"].as_str().unwrap().to_owned(), size }
}

fn set_peer(scene: &Scene, script: &str) {
    std::fs::write(scene.path("peer.sh"), script).unwrap();
}

impl Planned {
    fn resolve(&self) -> std::process::Output {
        self.scene.run(&["resolve", "--threads", "1", "--plan", &self.id])
    }

    fn original(&self, name: &str) -> &[u8] {
        &self.scene.before.iter().find(|(path, _)| path.ends_with(name)).unwrap().1
    }

    /// Whatever the dead agent left: nothing of the victim is lost, nothing of the survivor touched.
    fn assert_nothing_lost(&self) {
        let (a, b) = (self.original("a.img"), self.original("b.img"));
        assert!(self.scene.read("a.img")[..self.size] == a[..self.size], "the survivor's data is as it was");
        let now = self.scene.read("b.img");
        let changed: Vec<usize> =
            (0..self.size).step_by(512).filter(|at| now[*at..at + 512] != b[*at..at + 512]).collect();
        assert!(changed.iter().all(|at| now[*at..at + 512] == a[*at..at + 512]), "old or new, nothing else");
        if !changed.is_empty() {
            let verified = self.scene.run(&["salvage", "verify"]);
            assert!(verified.status.success(), "a verified copy exists: {}", text(&verified));
        }
    }

    /// The link is mended: the same command finishes, and an undo brings every byte back.
    fn finish(&self, undo: bool) {
        set_peer(&self.scene, &format!("exec {BIN} agent --stdio"));
        let finished = self.resolve();
        assert_eq!(finished.status.code(), Some(0), "{}", text(&finished));
        let now = self.scene.read("b.img");
        assert!(now[..self.size] == self.original("a.img")[..self.size], "the victim equals the survivor");
        if undo {
            let undone = self.scene.run(&["undo"]);
            assert_eq!(undone.status.code(), Some(0), "{}", text(&undone));
            assert!(self.scene.now() == self.scene.before, "undone: byte for byte as before");
        }
    }
}

/// Dies once it has received (or sent) that many bytes.
fn cut_after(bytes: usize, sending: bool) -> String {
    match sending {
        true => format!("{BIN} agent --stdio | stdbuf -o0 head -c {bytes}"),
        false => format!("stdbuf -o0 head -c {bytes} | {BIN} agent --stdio"),
    }
}

#[test]
fn cut_in_either_direction_at_many_places() {
    // All at once: each of them mostly waits for a link that does not come back.
    let cases = [300, 1500, 6000, 60_000, 200_000].into_iter().enumerate();
    let cases: Vec<_> = cases.flat_map(|(at, bytes)| [(at, bytes, false), (at, bytes, true)]).collect();
    let cut: usize = std::thread::scope(|scope| {
        let all: Vec<_> = cases.into_iter().map(|case| scope.spawn(move || was_cut(case))).collect();
        all.into_iter().map(|one| usize::from(one.join().unwrap())).sum()
    });
    assert!(cut >= 5, "only {cut} runs were cut");
}

/// Heals over a link that is cut after so many bytes in one direction, and again until it is done. Whether it was cut.
fn was_cut((at, bytes, sending): (usize, usize, bool)) -> bool {
    let format = if at.is_multiple_of(2) { MetadataFormat::V08 } else { MetadataFormat::V09 };
    let planned = plan(small(format));
    set_peer(&planned.scene, &cut_after(bytes, sending));
    let stopped = planned.resolve();
    let shown = text(&stopped);
    let cut = match stopped.status.code() {
        Some(0) => false,
        Some(4 | 6) => {
            assert!(shown.contains("next: "), "{shown}");
            true
        }
        other => panic!("{bytes} {sending}: {other:?} {shown}"),
    };
    planned.assert_nothing_lost();
    planned.finish(true);
    cut
}

pub fn strace() -> Option<()> {
    tool("strace")?;
    let tried =
        Command::new("strace").args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=ppoll", "true"]).output();
    if tried.is_ok_and(|output| output.status.success()) {
        return Some(());
    }
    crate::skipped::needs_root("strace may not trace here, so no agent is killed at an exact request");
    None
}

/// Kills the agent at each thing it reads (every request is two: header and payload), or at each write to its disk.
fn killed_at_each(call: &str, format: MetadataFormat, step: usize, at_least: usize) {
    if strace().is_none() {
        return;
    }
    let mut deaths = 0;
    for at in (1..).step_by(step) {
        let planned = plan(small(format));
        let inject = format!("inject={call}:signal=KILL:when={at}");
        let traced =
            format!("exec strace -f -qq -e signal=none -o {}", planned.scene.path("trace").display());
        set_peer(&planned.scene, &format!("{traced} -e trace={call} -e {inject} {BIN} agent --stdio"));
        let stopped = planned.resolve();
        planned.assert_nothing_lost();
        if stopped.status.code() == Some(0) {
            break;
        }
        assert!(matches!(stopped.status.code(), Some(4 | 6)), "{call} {at}: {}", text(&stopped));
        deaths += 1;
        planned.finish(deaths % 4 == 0);
    }
    assert!(deaths >= at_least, "killed only {deaths} times");
}

#[test]
fn killed_at_every_seventh_read_of_v08() {
    killed_at_each("ppoll", MetadataFormat::V08, 7, 6);
}

#[test]
fn killed_at_every_ninth_read_of_v09() {
    killed_at_each("ppoll", MetadataFormat::V09, 9, 5);
}

#[test]
fn killed_at_every_write_to_its_disk() {
    killed_at_each("pwrite64", MetadataFormat::V08, 1, 3);
}

#[test]
fn killed_at_every_flush_of_its_disk() {
    killed_at_each("fdatasync,fsync", MetadataFormat::V09, 1, 3);
}

#[test]
fn reading_survives_a_link_that_dies_again_and_again() {
    let scene = Scene::of(Capture::Drbd9Attached);
    let (_, whole) = scene.json("diff", Some(&agent()), &[]);
    // The first agent dies in the middle of the comparison; the next one lives.
    let flag = scene.path("died").display().to_string();
    let script = format!(
        "if mkdir {flag}; then {BIN} agent --stdio | stdbuf -o0 head -c 12000; else exec {BIN} agent --stdio; fi"
    );
    let dying = shell(&script);
    let sides = scene.sides(Some(&dying));
    let mut command = scene.command(&["--json", "diff"]);
    command.args(&sides).env("UNSPLIT_LOG", "warn");
    let output = crate::scene::in_time(command);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(String::from_utf8_lossy(&output.stderr).contains("connected again"), "{}", text(&output));
    let survived: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(whole["volumes"][0]["delta"], survived["volumes"][0]["delta"]);
    // And one that always dies at once is no unreadable disk: it is a lost link.
    let output = scene.on(
        "diff",
        Some(&shell(&format!("{BIN} agent --stdio | stdbuf -o0 head -c 3000"))),
        &["--json"],
    );
    assert_eq!(output.status.code(), Some(4));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["schema"], "unsplit.error", "{document}");
    assert!(document["next"].as_str().is_some(), "{document}");
}
