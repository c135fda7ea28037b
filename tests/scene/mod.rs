//! A small split brain on disk, the real binary over it, and a way to say: refused like this, and nothing was written.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr
)]

#[path = "../image/mod.rs"]
pub mod image;
#[path = "../skipped/mod.rs"]
pub mod skips;

use self::image::{Metadata, Shape};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;
use unsplit::model::drbd::MetadataFormat;
use unsplit::model::evidence::MetadataPlace;

pub const BLOCK: u64 = 4096;
/// Size of a small image.
pub const SIZE: u64 = 4 << 20;
/// Where its superblock is.
pub const SUPERBLOCK: u64 = SIZE - BLOCK;
/// A block that only side a wrote, one that only b wrote, one that both wrote.
pub const ONLY_A: u64 = 100;
pub const ONLY_B: u64 = 200;
pub const BOTH: u64 = 700;

/// What a command came to.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    pub fn all(&self) -> String {
        format!("{}{}", self.out, self.err)
    }

    #[track_caller]
    pub fn says(&self, code: i32, words: &[&str]) -> &Ran {
        assert_eq!(self.code, code, "{}", self.all());
        for word in words {
            assert!(self.all().contains(word), "`{word}` is not in:\n{}", self.all());
        }
        assert!(!self.all().contains('\u{1b}'), "escape codes without a terminal:\n{}", self.all());
        self
    }
}

/// Two images in a folder of their own, and a state directory that may come to be.
pub struct Scene {
    pub folder: TempDir,
}

impl Scene {
    pub fn empty() -> Scene {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Scene { folder }
    }

    /// `a.img` and `b.img`, 8.4, in split brain, clean.
    pub fn split() -> Scene {
        let scene = Scene::empty();
        for (name, side) in [("a.img", 0), ("b.img", 1)] {
            fs::write(scene.path(name), image(side)).unwrap();
        }
        scene
    }

    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn state(&self) -> PathBuf {
        self.path("state")
    }

    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_unsplit"));
        command.arg("--state-dir").arg(self.state()).args(words).current_dir(self.folder.path());
        command.stdin(Stdio::null()).env_remove("UNSPLIT_LOG");
        command
    }

    pub fn run(&self, words: &[&str]) -> Ran {
        ran(self.command(words))
    }

    /// The same with another state directory.
    pub fn run_in(&self, state: &std::ffi::OsStr, words: &[&str]) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_unsplit"));
        command
            .arg("--state-dir")
            .arg(state)
            .args(words)
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        ran(command)
    }

    /// The same as somebody without rights. `None`, said aloud, when that cannot be arranged.
    pub fn run_unprivileged(&self, words: &[&str]) -> Option<Ran> {
        if !is_root() {
            return Some(self.run(words));
        }
        // The folder of the binary may not be open to everybody.
        let copy = self.path("unsplit-for-everybody");
        fs::copy(env!("CARGO_BIN_EXE_unsplit"), &copy).unwrap();
        let mut command = Command::new(&copy);
        command.arg("--state-dir").arg(self.state()).args(words).current_dir(self.folder.path());
        command.stdin(Stdio::null()).uid(65534).gid(65534);
        let ran = ran(command);
        fs::remove_file(copy).unwrap();
        Some(ran)
    }

    /// Every file with its bytes, except what looking leaves in a state directory: a lock, an empty journal, and
    /// comparisons that are kept so that nothing is read twice (tests/recall.rs has those).
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut all = BTreeMap::new();
        collect(self.folder.path(), &mut all);
        let state = self.state();
        all.remove(&state.join("lock"));
        all.retain(|path, _| !path.starts_with(state.join("compared")));
        if all.get(&state.join("journal")).is_some_and(|bytes| bytes == b"unsplit-journal 1\n") {
            all.remove(&state.join("journal"));
        }
        all
    }

    fn images(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = self.files();
        files.retain(|path, _| {
            !path.starts_with(self.state()) || path.starts_with(self.state().join("salvage"))
        });
        files
    }

    /// The command fails with this code and these words, and leaves every byte as it was.
    #[track_caller]
    pub fn refuses(&self, words: &[&str], code: i32, says: &[&str]) -> Ran {
        let before = self.files();
        let ran = self.run(words);
        ran.says(code, says);
        assert!(self.files() == before, "something was written by {words:?}: {}", self.differing(&before));
        ran
    }

    /// The command fails after it opened an incident: images and salvages are as they were, the journal says why.
    #[track_caller]
    pub fn gives_up(&self, words: &[&str], code: i32, says: &[&str]) -> Ran {
        let before = self.images();
        let ran = self.run(words);
        ran.says(code, says).says(code, &["before anything was changed"]);
        assert!(self.images() == before, "something was written by {words:?}");
        self.run(&["history"]).says(0, &["given up, nothing changed"]);
        self.run(&["status"]).says(0, &["No open incidents"]);
        ran
    }

    fn differing(&self, before: &BTreeMap<PathBuf, Vec<u8>>) -> String {
        let now = self.files();
        let all: std::collections::BTreeSet<_> = before.keys().chain(now.keys()).collect();
        let changed: Vec<_> = all
            .into_iter()
            .filter(|path| before.get(*path) != now.get(*path))
            .map(|path| path.display().to_string())
            .collect();
        changed.join(", ")
    }

    /// Draws a plan that keeps a, and returns its id.
    pub fn plan(&self) -> String {
        let ran = self.run(&["--json", "plan", "a.img", "b.img", "--keep", "a"]);
        ran.says(1, &[]);
        let plan: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        plan["id"].as_str().unwrap().to_owned()
    }

    /// Heals, keeping a, and returns the incident.
    pub fn heal(&self) -> String {
        let ran = self.run(&["--json", "resolve", "a.img", "b.img", "--keep", "a", "--yes"]);
        ran.says(0, &["healed"]);
        let done: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        done["incident"].as_str().unwrap().to_owned()
    }

    /// A healing that was cut off when it had kept everything and changed nothing yet; its incident.
    pub fn cut_off(&self) -> String {
        let images = ["a.img", "b.img"].map(|name| (self.path(name), fs::read(self.path(name)).unwrap()));
        let id = self.heal();
        for (path, bytes) in images {
            fs::write(path, bytes).unwrap();
        }
        let journal = self.state().join("journal");
        let text = fs::read_to_string(&journal).unwrap();
        let last = text.rfind("\"preserve\"").unwrap();
        fs::write(journal, &text[..=last + text[last..].find('\n').unwrap()]).unwrap();
        id
    }

    /// Overwrites bytes of a file.
    pub fn poke(&self, name: &str, at: u64, bytes: &[u8]) {
        let file = File::options().write(true).open(self.path(name)).unwrap();
        file.write_all_at(bytes, at).unwrap();
    }

    /// Copies a file of the scene.
    pub fn copy(&self, from: &str, to: &str) {
        fs::copy(self.path(from), self.path(to)).unwrap();
    }
}

pub fn ran(mut command: Command) -> Ran {
    let mut output = command.output();
    // A copy of the binary is busy for as long as a child that another test forks still has it open for writing.
    while output.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::ExecutableFileBusy) {
        std::thread::sleep(std::time::Duration::from_millis(10));
        output = command.output();
    }
    let output = output.unwrap();
    Ran {
        code: output.status.code().expect("no signal ended it"),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn collect(folder: &Path, all: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let kind = fs::symlink_metadata(&path).unwrap().file_type();
        if kind.is_dir() {
            collect(&path, all);
        } else if kind.is_file() {
            let bytes = fs::read(&path).unwrap();
            all.insert(path, bytes);
        }
    }
}

pub fn pattern(seed: u8) -> Vec<u8> {
    (0..BLOCK).map(|i| u8::try_from(i % 251).unwrap() ^ seed).collect()
}

/// The data of one side: equal but for what each wrote.
fn data(side: u8) -> Vec<u8> {
    let mut data = vec![0; usize::try_from(SIZE).unwrap()];
    let own = if side == 0 { ONLY_A } else { ONLY_B };
    for (block, seed) in [(1, 1), (own, 0x40), (BOTH, 0x80 + side)] {
        let at = usize::try_from(block * BLOCK).unwrap();
        data[at..at + 4096].copy_from_slice(&pattern(seed));
    }
    data
}

/// What a side that went on alone says of itself.
fn apart(metadata: Metadata, side: u8) -> Metadata {
    let past = (1..).map(|age| 0x5555_0000_0000_0000 + age * 2);
    let current = 0xA1B2_C3D4_E5F6_0710 + u64::from(side) * 0x1000;
    metadata.of_node(side, 1 - side).generations(current, 0x1122_3344_5566_7788, past)
}

/// The same, with what it wrote marked.
fn split(metadata: Metadata, side: u8) -> Metadata {
    let mut metadata = apart(metadata, side);
    [if side == 0 { ONLY_A } else { ONLY_B }, BOTH].iter().for_each(|block| metadata.mark(0, *block));
    metadata
}

/// One side of the small split brain: 8.4, internal metadata.
pub fn image(side: u8) -> Vec<u8> {
    let mut image = data(side);
    split(Metadata::internal(MetadataFormat::V08, SIZE), side).put_into(&mut image);
    image
}

/// The same with flexible external metadata: data device, metadata device.
pub fn image_with_external_metadata(side: u8) -> (Vec<u8>, Vec<u8>) {
    let shape = Shape { place: MetadataPlace::FlexibleExternal, ..Shape::usual(MetadataFormat::V08) };
    let mut metadata = vec![0; 256 << 10];
    split(Metadata::of(shape, metadata.len() as u64, SIZE), side).put_into(&mut metadata);
    (data(side), metadata)
}

/// A node of DRBD 9 with this node id, attached once, that knows two places for peers.
pub fn image_of_drbd9(node: u8) -> Vec<u8> {
    let shape = Shape { max_peers: 2, ..Shape::usual(MetadataFormat::V09) };
    let mut image = data(0);
    apart(Metadata::of(shape, SIZE, SIZE), node).put_into(&mut image);
    image
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Says aloud that a test did not run: something is missing that root has.
pub fn skipped(why: &str) {
    skips::needs_root(why);
}

fn quietly(program: &str, words: &[&str]) -> Option<String> {
    let output = Command::new(program).args(words).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A loop device, for as long as this lives.
pub struct Loop(pub String);

impl Loop {
    /// `None`, said aloud, where there is none to be had.
    pub fn over(file: &Path, read_only: bool) -> Option<Loop> {
        Loop::with(file, if read_only { &["--read-only"] } else { &[] })
    }

    /// The same over a part of the file.
    pub fn over_part(file: &Path, from: u64, len: u64) -> Option<Loop> {
        Loop::with(file, &["--offset", &from.to_string(), "--sizelimit", &len.to_string()])
    }

    fn with(file: &Path, options: &[&str]) -> Option<Loop> {
        let words = [&["--find", "--show"], options, &[file.to_str().unwrap()]].concat();
        let device = is_root().then(|| quietly("losetup", &words)).flatten();
        if device.is_none() {
            skipped("loop devices need root and losetup");
        }
        device.map(Loop)
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        quietly("losetup", &["--detach", &self.0]);
    }
}

/// A small file system in memory, for as long as this lives.
pub struct Tmpfs(pub PathBuf);

impl Tmpfs {
    /// `None`, said aloud, where none can be mounted.
    pub fn at(folder: PathBuf, size: &str) -> Option<Tmpfs> {
        fs::create_dir_all(&folder).unwrap();
        let options = format!("size={size},mode=755");
        let mounted = is_root()
            .then(|| quietly("mount", &["-t", "tmpfs", "-o", &options, "tmpfs", folder.to_str().unwrap()]));
        if mounted.flatten().is_none() {
            skipped("mounting a tmpfs needs root");
            return None;
        }
        Some(Tmpfs(folder))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        quietly("umount", &["-l", self.0.to_str().unwrap()]);
    }
}
