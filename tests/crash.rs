//! Kills the real process, on real files, and runs it again: every time it ends healed, and an undo brings back every
//! byte. Where strace may trace, it kills exactly before every single write, sync and rename; in any case the test
//! kills at every length of the journal and at random moments.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod skipped;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use unsplit::model::drbd::MetadataFormat;
use unsplit::model::evidence::MetadataPlace;
use unsplit::model::side::{Pair, Side};
use world::pair::{Images, Log, Spec};
use world::rng::Rng;

/// What changes something for good, or makes it durable.
const CALLS: &str =
    "pwrite64,write,fsync,fdatasync,rename,renameat,renameat2,ftruncate,unlink,unlinkat,mkdir,mkdirat";

/// Two images in a folder of their own, and a plan for them.
struct Scene {
    folder: TempDir,
    images: Images,
    plan: String,
}

impl Scene {
    fn new(spec: Spec) -> Scene {
        // A killed process leaves its page cache behind: memory is as good as a disk here, and faster.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let images = spec.build();
        for (side, volume) in images.sides.iter() {
            fs::write(folder.path().join(format!("{side}.img")), &volume.data).unwrap();
            if let Some(metadata) = &volume.metadata {
                fs::write(folder.path().join(format!("{side}.md")), metadata).unwrap();
            }
        }
        let mut scene = Scene { folder, images, plan: String::new() };
        let mut words = vec!["--json", "plan", "a.img", "b.img", "--keep", "a"];
        for (side, flag, file) in [(Side::A, "--meta-a", "a.md"), (Side::B, "--meta-b", "b.md")] {
            if scene.images.sides[side].metadata.is_some() {
                words.extend([flag, file]);
            }
        }
        let drawn = scene.unsplit(&words).output().unwrap();
        let shown: serde_json::Value =
            serde_json::from_slice(&drawn.stdout).unwrap_or_else(|_| panic!("{}", text(&drawn)));
        scene.plan = shown["id"].as_str().unwrap().to_owned();
        scene
    }

    fn unsplit(&self, words: &[&str]) -> Command {
        let mut command = alone(Path::new(env!("CARGO_BIN_EXE_unsplit")));
        self.dress(&mut command);
        command.args(["--state-dir", "state"]).args(words);
        command
    }

    /// One worker thread, so that two runs do the same things in the same order.
    fn dress(&self, command: &mut Command) {
        command.current_dir(self.folder.path()).env("RAYON_NUM_THREADS", "1").stdin(Stdio::null());
    }

    fn words(&self, act: Act) -> Vec<&str> {
        match act {
            Act::Resolve => vec!["resolve", "--threads", "1", "--plan", &self.plan],
            Act::Undo => vec!["undo", "--threads", "1"],
        }
    }

    /// To be killed: the process itself, with nothing around it that would die in its place.
    fn start(&self, act: Act) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_unsplit"));
        self.dress(&mut command);
        command.args(["--state-dir", "state"]).args(self.words(act));
        command
    }

    fn finish(&self, act: Act) {
        let output = self.unsplit(&self.words(act)).output().unwrap();
        // The killed process may have come as far as having undone everything.
        let fine =
            output.status.success() || (act == Act::Undo && text(&output).contains("was already undone by"));
        assert!(fine, "{act:?}: {:?}\n{}\n{}", output.status, text(&output), self.journal());
    }

    fn journal(&self) -> String {
        fs::read_to_string(self.folder.path().join("state/journal")).unwrap_or_default()
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.folder.path().join(name)).unwrap()
    }

    fn assert_healed(&self) {
        let size = usize::try_from(self.images.size).unwrap();
        let now = Pair::new(self.read("a.img"), self.read("b.img"));
        assert!(now.a[..size] == self.images.sides.a.data[..size], "the survivor's data is as it was");
        assert!(now.b[..size] == now.a[..size], "the victim equals the survivor");
        let open = self.unsplit(&["--json", "resolve", "--resume"]).output().unwrap();
        assert!(text(&open).contains("nothing-open"), "{}", text(&open));
    }

    fn assert_undone(&self) {
        for (side, volume) in self.images.sides.iter() {
            assert!(
                self.read(&format!("{side}.img")) == volume.data,
                "side {side} is byte for byte as it was"
            );
            if let Some(metadata) = &volume.metadata {
                assert!(self.read(&format!("{side}.md")) == *metadata, "its metadata, too");
            }
        }
    }

    /// Whatever the killed process left: nothing of the victim is lost, nothing of the survivor touched.
    fn assert_nothing_lost(&self) {
        let size = usize::try_from(self.images.size).unwrap();
        let (a, b) = (&self.images.sides.a.data, &self.images.sides.b.data);
        assert!(self.read("a.img")[..size] == a[..size], "the survivor's data is as it was");
        let now = self.read("b.img");
        let changed: Vec<usize> =
            (0..size).step_by(512).filter(|at| now[*at..at + 512] != b[*at..at + 512]).collect();
        assert!(changed.iter().all(|at| now[*at..at + 512] == a[*at..at + 512]), "old or new, nothing else");
        if !changed.is_empty() {
            let verified = self.unsplit(&["salvage", "verify"]).output().unwrap();
            assert!(verified.status.success(), "a verified copy exists: {}", text(&verified));
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Resolve,
    Undo,
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Small, with everything that metadata can have.
fn small(format: MetadataFormat) -> Spec {
    Spec {
        slots: if format == MetadataFormat::V09 { 2 } else { 1 },
        logs: Pair::new(Log::Hot, Log::Hot),
        places: Pair::new(MetadataPlace::Internal, MetadataPlace::FlexibleExternal),
        ..Spec::plain(format, 11)
    }
}

/// Large enough that copying takes a while.
fn large(format: MetadataFormat) -> Spec {
    Spec { device: 5 << 20, differing: 60, ..small(format) }
}

/// Starts `program` where it sees no other processes, if this user may do that. unsplit looks for writers among all
/// processes of the machine, many thousand system calls, and strace stops it at each.
fn alone(program: &Path) -> Command {
    static MAY: OnceLock<bool> = OnceLock::new();
    const APART: [&str; 3] = ["--pid", "--fork", "--mount-proc"];
    let may = MAY.get_or_init(|| {
        let tried = Command::new("unshare").args(APART).arg("true").output();
        tried.is_ok_and(|tried| tried.status.success())
    });
    if !may {
        return Command::new(program);
    }
    let mut command = Command::new("unshare");
    command.args(APART).arg(program);
    command
}

fn strace() -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let found = path.split(':').map(|dir| Path::new(dir).join("strace")).find(|path| path.is_file());
    let Some(strace) = found else {
        skipped::lacking("strace is not installed, so nothing is killed at exact system calls");
        return None;
    };
    let tried =
        Command::new(&strace).args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync", "true"]).output();
    if tried.is_ok_and(|output| output.status.success()) {
        return Some(strace);
    }
    skipped::needs_root("strace may not trace here, so nothing is killed at exact system calls");
    None
}

/// Runs under strace; `inject` as strace spells it. Says whether the process was killed, and what it called.
fn traced(
    strace: &Path,
    scene: &Scene,
    act: Act,
    calls: &str,
    kill_at: Option<usize>,
) -> (bool, Vec<String>) {
    let log = scene.folder.path().join("trace");
    let mut command = alone(strace);
    scene.dress(&mut command);
    command.args(["-f", "-y", "-qq", "-e", "signal=none", "-e", &format!("trace={calls}"), "-o"]).arg(&log);
    if let Some(at) = kill_at {
        command.args(["-e", &format!("inject={calls}:signal=KILL:when={at}")]);
    }
    let output = command
        .arg(env!("CARGO_BIN_EXE_unsplit"))
        .args(["--state-dir", "state"])
        .args(scene.words(act))
        .output()
        .unwrap();
    let lines: Vec<String> =
        fs::read_to_string(&log).unwrap_or_default().lines().map(str::to_owned).collect();
    let killed = !output.status.success();
    assert!(killed || kill_at.is_none() || output.status.success());
    (killed, lines)
}

/// Where a run can be killed: each call with a number. strace counts each system call of each thread for itself.
fn places(lines: &[String]) -> Vec<(String, usize)> {
    let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
    for line in lines {
        let Some((thread, rest)) = line.split_once(char::is_whitespace) else { continue };
        let Some((call, _)) = rest.trim_start().split_once('(') else { continue };
        *counts.entry((call.to_owned(), thread.to_owned())).or_default() += 1;
    }
    let mut most: BTreeMap<String, usize> = BTreeMap::new();
    for ((call, _), count) in counts {
        let known = most.entry(call).or_default();
        *known = count.max(*known);
    }
    most.into_iter().flat_map(|(call, most)| (1..=most).map(move |at| (call.clone(), at))).collect()
}

/// Does `attempt` for all numbers, two at a time.
fn in_parallel(numbers: &[(String, usize)], attempt: impl Fn(&str, usize) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((calls, number)) = numbers.get(next.fetch_add(1, Ordering::Relaxed)) {
                    attempt(calls, *number);
                }
            });
        }
    });
}

/// Kills before every call of `act`, or every `step`th of them.
fn killed_at_every_call(format: MetadataFormat, act: Act, step: usize) {
    let Some(strace) = strace() else { return };
    let prepared = || {
        let scene = Scene::new(small(format));
        if act == Act::Undo {
            scene.finish(Act::Resolve);
        }
        scene
    };
    let (_, lines) = traced(&strace, &prepared(), act, CALLS, None);
    let all = places(&lines);
    assert!(all.len() > 60, "{} calls", all.len());
    let kills: Vec<(String, usize)> = all.into_iter().step_by(step).collect();
    let deaths = AtomicUsize::new(0);
    in_parallel(&kills, |calls, at| {
        let scene = prepared();
        let (killed, _) = traced(&strace, &scene, act, calls, Some(at));
        deaths.fetch_add(usize::from(killed), Ordering::Relaxed);
        scene.assert_nothing_lost();
        scene.finish(act);
        if act == Act::Resolve {
            scene.assert_healed();
            if at % 4 != 0 {
                return;
            }
            scene.finish(Act::Undo);
        }
        scene.assert_undone();
    });
    assert_eq!(deaths.into_inner(), kills.len(), "every one of them was killed");
}

#[test]
fn a_healing_of_v08_killed_at_every_call() {
    killed_at_every_call(MetadataFormat::V08, Act::Resolve, 1);
}

#[test]
fn a_healing_of_v09_killed_at_every_third_call() {
    killed_at_every_call(MetadataFormat::V09, Act::Resolve, 3);
}

#[test]
fn an_undo_killed_at_every_call() {
    killed_at_every_call(MetadataFormat::V09, Act::Undo, 1);
}

/// What is not durable yet, as the order of system calls has it.
#[derive(Default)]
struct Unsettled {
    /// Files written to since they were last synced.
    files: BTreeSet<PathBuf>,
    /// Folders in which a name came, went or changed since they were last synced.
    folders: BTreeSet<PathBuf>,
    wrong: Vec<String>,
}

impl Unsettled {
    /// `call` and its arguments, as strace shows them with the paths of descriptors.
    fn take(&mut self, state: &Path, root: &Path, call: &str, arguments: &str) {
        let of_descriptor = || Some(PathBuf::from(arguments.split_once('<')?.1.split_once('>')?.0));
        let quoted = || arguments.split('"').skip(1).step_by(2).map(|name| root.join(name));
        let is_ours = |path: &Path| path.starts_with(root);
        let is_kept = |path: &Path| path.starts_with(state) && !path.ends_with("lock");
        match call {
            "pwrite64" | "ftruncate" => {
                let Some(path) = of_descriptor().filter(|path| is_ours(path)) else { return };
                if path.ends_with("journal") {
                    // A record says what is so: everything before it must be.
                    self.nothing_left("the journal is written", |left| *left != path && !is_kept(left));
                } else if !is_kept(&path) {
                    // Whatever the state directory holds by now is what an image is overwritten on.
                    self.nothing_left("an image is written", |left| is_kept(left));
                    let folders: Vec<_> =
                        self.folders.iter().map(|path| path.display().to_string()).collect();
                    if !folders.is_empty() {
                        self.wrong.push(format!("an image is written, and names may vanish in {folders:?}"));
                    }
                }
                if is_kept(&path) || !path.starts_with(state) {
                    self.files.insert(path);
                }
            }
            "fsync" | "fdatasync" => {
                if let Some(path) = of_descriptor() {
                    self.files.remove(&path);
                    self.folders.remove(&path);
                }
            }
            "rename" | "renameat" | "renameat2" | "mkdir" | "mkdirat" | "unlink" | "unlinkat" => {
                for path in quoted() {
                    let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
                    self.files.remove(&path);
                    if folder.starts_with(state) {
                        self.folders.insert(folder);
                    }
                }
            }
            "openat" if arguments.contains("O_CREAT") => {
                let created = quoted().next().filter(|path| is_kept(path));
                self.folders.extend(created.and_then(|path| Some(path.parent()?.to_path_buf())));
            }
            _ => {}
        }
    }

    fn nothing_left(&mut self, when: &str, matters: impl Fn(&PathBuf) -> bool) {
        let left: Vec<_> =
            self.files.iter().filter(|path| matters(path)).map(|path| path.display().to_string()).collect();
        if !left.is_empty() {
            self.wrong.push(format!("{when}, and {left:?} is not durable"));
        }
    }
}

/// Data before the record that says so; records and salvage before the data that rests on them; folders after their names.
/// No test that only kills sees a flush that does nothing: the page cache outlives the process.
#[test]
fn everything_is_durable_before_what_relies_on_it() {
    let Some(strace) = strace() else { return };
    for format in [MetadataFormat::V08, MetadataFormat::V09] {
        let scene = Scene::new(small(format));
        let root = fs::canonicalize(scene.folder.path()).unwrap();
        let state = root.join("state");
        for act in [Act::Resolve, Act::Undo] {
            let calls = format!("{CALLS},openat");
            let (killed, lines) = traced(&strace, &scene, act, &calls, None);
            assert!(!killed, "{}", scene.journal());
            let (mut unsettled, mut seen) = (Unsettled::default(), BTreeMap::<&str, usize>::new());
            for line in &lines {
                let Some((_, rest)) = line.split_once(char::is_whitespace) else { continue };
                let Some((call, arguments)) = rest.trim_start().split_once('(') else { continue };
                if arguments.contains(") = -1 ") {
                    continue;
                }
                let of_state = arguments.contains("/state/");
                *seen.entry(if of_state { "of the state directory" } else { "of images" }).or_default() += 1;
                unsettled.take(&state, &root, call, arguments);
            }
            assert!(seen.values().all(|many| *many > 10) && seen.len() == 2, "{seen:?}");
            unsettled.nothing_left("it is done", |_| true);
            assert!(unsettled.wrong.is_empty(), "{act:?}: {:#?}\n{}", unsettled.wrong, lines.join("\n"));
        }
    }
}

/// A device that is not what it was when the plan was drawn, though all that the plan compares is.
#[test]
fn a_device_that_grew_since_the_plan_is_not_touched() {
    let scene = Scene::new(small(MetadataFormat::V08));
    let path = scene.folder.path().join("b.img");
    let before = fs::metadata(&path).unwrap().len();
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(before + (1 << 20)).unwrap();
    let output = scene.unsplit(&scene.words(Act::Resolve)).output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", text(&output));
    assert!(text(&output).contains("side b is not where or what the plan says"), "{}", text(&output));
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(before).unwrap();
    scene.assert_undone();
    scene.finish(Act::Resolve);
    scene.assert_healed();
}

/// Kills as soon as `now` says so, or when the process is done. Says whether it was killed.
fn killed_when(scene: &Scene, act: Act, now: impl Fn(Duration) -> bool) -> bool {
    let started = Instant::now();
    let mut child = scene.start(act).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "{act:?}: {status}\n{}", scene.journal());
            return false;
        }
        if now(started.elapsed()) {
            child.kill().unwrap();
            return !child.wait().unwrap().success();
        }
        std::thread::sleep(Duration::from_micros(50));
    }
}

#[test]
fn killed_at_every_length_of_the_journal() {
    let whole = Scene::new(small(MetadataFormat::V08));
    whole.finish(Act::Resolve);
    let lines = whole.journal().lines().count();
    assert!(lines > 20, "{}", whole.journal());
    let mut reached = BTreeSet::new();
    for length in 0..lines {
        let format = if length % 2 == 0 { MetadataFormat::V08 } else { MetadataFormat::V09 };
        let scene = Scene::new(large(format));
        let journal = scene.folder.path().join("state/journal");
        // The plan's header line is there already. What is read may be more than what was waited for.
        let there = |_| {
            fs::read(&journal).is_ok_and(|bytes| bytes.iter().filter(|byte| **byte == b'\n').count() > length)
        };
        if killed_when(&scene, Act::Resolve, there) {
            reached.insert(scene.journal().lines().count());
        }
        scene.assert_nothing_lost();
        scene.finish(Act::Resolve);
        scene.assert_healed();
        scene.finish(Act::Undo);
        scene.assert_undone();
    }
    assert!(reached.len() > lines / 4, "killed at the lengths {reached:?} of {lines}");
}

#[test]
fn killed_at_random_moments() {
    let whole = Scene::new(large(MetadataFormat::V09));
    let started = Instant::now();
    whole.finish(Act::Resolve);
    let took = started.elapsed();
    let mut rng = Rng::new(u64::from(std::process::id()));
    let mut kills = 0;
    for round in 0..24 {
        let scene = Scene::new(large(if round % 2 == 0 { MetadataFormat::V08 } else { MetadataFormat::V09 }));
        let mut moment = || took.mul_f64(f64::from(u32::try_from(rng.below(1000)).unwrap()) / 1000.0);
        // Sometimes killed again while it goes on.
        for _ in 0..1 + round % 3 {
            let at = moment();
            kills += u32::from(killed_when(&scene, Act::Resolve, |elapsed| elapsed >= at));
            scene.assert_nothing_lost();
        }
        scene.finish(Act::Resolve);
        scene.assert_healed();
        let at = moment();
        kills += u32::from(killed_when(&scene, Act::Undo, |elapsed| elapsed >= at));
        scene.finish(Act::Undo);
        scene.assert_undone();
    }
    assert!(kills >= 12, "only {kills} kills");
}
