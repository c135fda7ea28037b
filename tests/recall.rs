//! Comparisons that are kept: found again while nothing changed, and by no change survived.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    unused_crate_dependencies
)]

mod scene;

use scene::{BLOCK, ONLY_A, Scene, image};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use unsplit::edge::blockdev::{BlockFile, Mode};
use unsplit::edge::clock::SystemClock;
use unsplit::edge::drbd::offline::OfflineReplica;
use unsplit::edge::state_dir::StateDir;
use unsplit::edge::unwritten::write_stamp;
use unsplit::engine::inquiry::look;
use unsplit::engine::recall::{Memory, Place, Recalled, diff, forget};
use unsplit::model::drbd::Superblock;
use unsplit::model::evidence::{Evidence, Source};
use unsplit::model::extent::ExtentSet;
use unsplit::model::id::{Digest, NodeName};
use unsplit::model::plan::images::{MetadataChange, RawBlock};
use unsplit::model::policy::Settings;
use unsplit::model::remembered::WriteStamp;
use unsplit::model::seen::{Stamp, Why};
use unsplit::model::side::Pair;
use unsplit::ports::disk::{Disk, DiskFault, DiskMut, Stretch};
use unsplit::ports::progress::Silent;
use unsplit::ports::replica::{AreaLeft, Replica, Unseen};
use unsplit::ports::store::Store;

/// A replica whose data counts the bytes that are read, and whose stamp can be given.
struct Watched {
    replica: OfflineReplica,
    read: Arc<AtomicU64>,
    stamp: Option<&'static str>,
    data: Counting,
}

struct Counting(Arc<BlockFile>, u64, Arc<AtomicU64>);

impl Disk for Counting {
    fn name(&self) -> &str {
        self.0.name()
    }
    fn size(&self) -> u64 {
        self.1
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskFault> {
        self.2.fetch_add(buffer.len() as u64, Ordering::Relaxed);
        self.0.read_at(offset, buffer)
    }
    fn stretch(&self, offset: u64) -> Stretch {
        Stretch::Data(if offset < self.1 { self.1 } else { offset })
    }
}

impl Replica for Watched {
    fn name(&self) -> &NodeName {
        self.replica.name()
    }
    fn source(&self) -> Source {
        self.replica.source()
    }
    fn size(&self) -> u64 {
        self.replica.size()
    }
    fn superblock(&self) -> Result<Superblock, Unseen> {
        self.replica.superblock()
    }
    fn superblock_block(&self) -> Result<RawBlock, Unseen> {
        self.replica.superblock_block()
    }
    fn area_digest(&self) -> Result<Digest, Unseen> {
        self.replica.area_digest()
    }
    fn observe(&self, peer: &Superblock, now: Stamp) -> Result<Evidence, Unseen> {
        self.replica.observe(peer, now)
    }
    fn data(&self) -> &dyn Disk {
        &self.data
    }
    fn metadata(&self) -> &dyn Disk {
        self.replica.metadata()
    }
    fn write_stamp(&self) -> Result<WriteStamp, Why> {
        match self.stamp {
            Some(words) => Ok(WriteStamp { words: words.to_owned(), settled_at: Stamp(0) }),
            None => self.replica.write_stamp(),
        }
    }
    fn changed_blocks(&self, change: &MetadataChange, overwritten: &ExtentSet) -> Result<ExtentSet, Unseen> {
        self.replica.changed_blocks(change, overwritten)
    }
    fn area_left(
        &self,
        change: &MetadataChange,
        overwritten: &ExtentSet,
        before: &dyn Disk,
        blocks: &ExtentSet,
    ) -> Result<AreaLeft, Unseen> {
        self.replica.area_left(change, overwritten, before, blocks)
    }
}

/// Two images and a state directory on a file system that dates writes (a temporary folder may be in memory).
struct Stage {
    folder: TempDir,
    stamps: Option<[&'static str; 2]>,
    settings: Settings,
    believe: bool,
    swapped: bool,
}

impl Stage {
    /// `stamps`: what the sides say instead of their true stamps, to see what the rest of the key is worth.
    fn new(stamps: Option<[&'static str; 2]>) -> Stage {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        fs::write(folder.path().join("a.img"), image(0)).unwrap();
        fs::write(folder.path().join("b.img"), image(1)).unwrap();
        Stage { folder, stamps, settings: Settings::drbd_defaults(), believe: true, swapped: false }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn state(&self) -> StateDir {
        StateDir::open(&self.path("state")).unwrap()
    }

    /// Compares; also says how many bytes of data were read.
    fn diff(&self, full: bool) -> (Recalled, u64) {
        let store = self.state();
        self.diff_in(Place::Open(&store), full)
    }

    /// The same without keeping anything.
    fn diff_only_looking(&self) -> (Recalled, u64) {
        let store = StateDir::open_read_only(&self.path("state")).unwrap();
        let writing = || Err(Why::from("not this time"));
        self.diff_in(Place::Briefly { reading: &store, writing: &writing }, false)
    }

    fn diff_in(&self, place: Place<'_>, full: bool) -> (Recalled, u64) {
        let read = Arc::new(AtomicU64::new(0));
        let names = if self.swapped { ["b.img", "a.img"] } else { ["a.img", "b.img"] };
        let watched = |index: usize| {
            let file = Arc::new(BlockFile::open(&self.path(names[index]), Mode::ReadOnly).unwrap());
            let name = NodeName::new(["a", "b"][index]).unwrap();
            let replica = OfflineReplica::open(name, file.clone(), None, None, None).unwrap();
            let data = Counting(file, replica.data().size(), read.clone());
            Watched { replica, read: read.clone(), stamp: self.stamps.map(|stamps| stamps[index]), data }
        };
        let (a, b) = (watched(0), watched(1));
        let replicas: Pair<&dyn Replica> = Pair::new(&a, &b);
        let sight = look(replicas, &self.settings, &SystemClock).unwrap();
        a.read.store(0, Ordering::Relaxed);
        let memory = Memory { place, clock: &SystemClock, believe: self.believe };
        let found = diff(replicas, &sight, full, 2, &Silent, &memory).unwrap();
        (found, read.load(Ordering::Relaxed))
    }

    fn poke(&self, name: &str, at: u64, bytes: &[u8]) {
        File::options().write(true).open(self.path(name)).unwrap().write_all_at(bytes, at).unwrap();
    }

    fn kept(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path("state/compared")).into_iter().flatten();
        let mut all: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        all.sort();
        all
    }
}

/// Longer than a time stamp may lag behind.
fn settle() {
    std::thread::sleep(Duration::from_millis(400));
}

#[track_caller]
fn read_anew(found: &(Recalled, u64)) {
    assert!(found.0.compared_at.is_none() && found.1 > 0, "{found:?}");
}

#[track_caller]
fn recalled(found: &(Recalled, u64)) {
    assert!(found.0.compared_at.is_some() && found.1 == 0, "{found:?}");
}

const STILL: Option<[&str; 2]> = Some(["nothing written to a", "nothing written to b"]);

#[test]
fn what_was_compared_is_not_read_again() {
    let stage = Stage::new(None);
    settle();
    let first = stage.diff(false);
    read_anew(&first);
    assert!(first.0.not_kept.is_none(), "{:?}", first.0.not_kept);
    let second = stage.diff(false);
    recalled(&second);
    assert_eq!(second.0.delta, first.0.delta);
    // The whole volume is another question.
    let all = stage.diff(true);
    read_anew(&all);
    let again = stage.diff(true);
    recalled(&again);
    assert_eq!(again.0.delta, all.0.delta);
    eprintln!("bytes read: {} then {}; full: {} then {}", first.1, second.1, all.1, again.1);
}

#[test]
fn one_byte_with_its_date_set_back_is_noticed() {
    let stage = Stage::new(None);
    settle();
    stage.diff(false);
    recalled(&stage.diff(false));
    for name in ["a.img", "b.img"] {
        let before = fs::metadata(stage.path(name)).unwrap();
        stage.poke(name, ONLY_A * BLOCK + 77, &[0xEE]);
        let file = File::options().write(true).open(stage.path(name)).unwrap();
        file.set_modified(before.modified().unwrap()).unwrap();
        drop(file);
        assert_eq!(fs::metadata(stage.path(name)).unwrap().modified().unwrap(), before.modified().unwrap());
        settle();
        read_anew(&stage.diff(false));
        recalled(&stage.diff(false));
    }
    // Also where nothing is marked, and with the size as it was.
    stage.poke("b.img", 900 * BLOCK, &[1]);
    settle();
    read_anew(&stage.diff(false));
}

#[test]
fn what_was_written_a_moment_ago_is_not_kept() {
    let stage = Stage::new(None);
    stage.poke("a.img", 0, &[1]);
    let found = stage.diff(false);
    read_anew(&found);
    assert!(found.0.not_kept.as_ref().unwrap().0.contains("a moment before"), "{:?}", found.0.not_kept);
    assert!(stage.kept().is_empty());
}

#[test]
fn who_has_it_open_for_writing_could_write() {
    let stage = Stage::new(None);
    settle();
    stage.diff(false);
    let open = File::options().append(true).open(stage.path("a.img")).unwrap();
    let mut writer = Command::new("sleep").arg("30").stdout(open).stdin(Stdio::null()).spawn().unwrap();
    let found = stage.diff(false);
    writer.kill().unwrap();
    writer.wait().unwrap();
    read_anew(&found);
    assert!(found.0.not_kept.as_ref().unwrap().0.contains("in use by process"), "{:?}", found.0.not_kept);
    recalled(&stage.diff(false));
}

#[test]
fn each_piece_of_evidence_counts_by_itself() {
    // The stamps say that nothing was written: the metadata must tell.
    let kept = || {
        let stage = Stage::new(STILL);
        read_anew(&stage.diff(false));
        recalled(&stage.diff(false));
        stage
    };
    let superblock = scene::SUPERBLOCK;
    // A bit of the bitmap (which lies before the log), one of the log, one of a part of the superblock without meaning.
    for (what, at) in [
        ("bitmap", superblock - 32768 - BLOCK + 5),
        ("log", superblock - 4096),
        ("superblock", superblock + 4000),
    ] {
        for name in ["a.img", "b.img"] {
            let stage = kept();
            let byte = fs::read(stage.path(name)).unwrap()[usize::try_from(at).unwrap()];
            stage.poke(name, at, &[byte ^ 0x10]);
            let found = stage.diff(false);
            assert!(found.0.compared_at.is_none(), "{what} of {name}");
            stage.poke(name, at, &[byte]);
            recalled(&stage.diff(false));
        }
    }
    let mut stage = kept();
    stage.stamps = Some(["something written to a", "nothing written to b"]);
    read_anew(&stage.diff(false));
    let mut stage = kept();
    stage.swapped = true;
    read_anew(&stage.diff(false));
    let mut stage = kept();
    stage.stamps = STILL.map(|[a, b]| [b, a]);
    read_anew(&stage.diff(false));
    let mut stage = kept();
    stage.believe = false;
    read_anew(&stage.diff(false));
    // Another policy asks the same of the disks.
    let mut stage = kept();
    stage.settings.always_asbp = !stage.settings.always_asbp;
    recalled(&stage.diff(false));
}

#[test]
fn damage_of_any_kind_costs_a_comparison_and_no_more() {
    let stage = Stage::new(STILL);
    let (first, _) = stage.diff(false);
    let [file] = stage.kept().try_into().unwrap();
    let good = fs::read(&file).unwrap();
    let differs = |bytes: &[u8], what: &str| {
        fs::write(&file, bytes).unwrap();
        let found = stage.diff_only_looking();
        read_anew(&found);
        assert_eq!(found.0.delta, first.delta, "{what}");
        assert!(found.0.remarks.iter().any(|remark| remark.contains("is not used")), "{what}: {found:?}");
    };
    for at in 0..good.len() {
        let mut flipped = good.clone();
        flipped[at] ^= 1 << (at % 8);
        differs(&flipped, &format!("byte {at}"));
    }
    for len in (0..good.len()).step_by(7) {
        differs(&good[..len], &format!("{len} bytes"));
    }
    differs(&[good.as_slice(), b"more"].concat(), "longer");
    fs::write(&file, &good).unwrap();
    recalled(&stage.diff_only_looking());
    // And it is replaced by a sound one.
    fs::write(&file, b"nonsense").unwrap();
    read_anew(&stage.diff(false));
    recalled(&stage.diff(false));
    assert_eq!(stage.kept().len(), 1);
}

#[test]
fn one_of_another_incident_is_not_taken() {
    let (ours, theirs) = (Stage::new(STILL), Stage::new(STILL));
    theirs.poke("a.img", ONLY_A * BLOCK, &[9; 512]);
    // Same words in the stamp, another size on disk: another key, and other contents.
    File::options().append(true).open(theirs.path("b.img")).unwrap().set_len(scene::SIZE).unwrap();
    let mut theirs = theirs;
    theirs.stamps = Some(["elsewhere", "nothing written to b"]);
    ours.diff(false);
    theirs.diff(false);
    let ([mine], [other]) =
        (<[PathBuf; 1]>::try_from(ours.kept()).unwrap(), <[PathBuf; 1]>::try_from(theirs.kept()).unwrap());
    assert_ne!(mine.file_name(), other.file_name());
    // Under its own name it is never looked at; under ours it says that it is another one's.
    fs::copy(&other, mine.with_file_name(other.file_name().unwrap())).unwrap();
    recalled(&ours.diff_only_looking());
    fs::copy(&other, &mine).unwrap();
    let found = ours.diff_only_looking();
    read_anew(&found);
    assert!(found.0.remarks[0].contains("belongs to other evidence"), "{:?}", found.0.remarks);
}

#[test]
fn few_are_kept_and_those_of_a_closed_incident_are_removed() {
    let mut stage = Stage::new(STILL);
    let names: Vec<&'static str> = (0..20).map(|at| &*format!("stamp {at}").leak()).collect();
    for name in &names {
        stage.stamps = Some([name, "nothing written to b"]);
        read_anew(&stage.diff(false));
    }
    assert_eq!(stage.kept().len(), 8);
    recalled(&stage.diff(false));
    let source = |name: &str| {
        let file = Arc::new(BlockFile::open(&stage.path(name), Mode::ReadOnly).unwrap());
        OfflineReplica::open(NodeName::new("x").unwrap(), file, None, None, None).unwrap().source()
    };
    let (a, b) = (source("a.img"), source("b.img"));
    let store = stage.state();
    forget(&store, Pair::new(&b, &a)).unwrap();
    assert_eq!(stage.kept().len(), 8, "another pair");
    forget(&store, Pair::new(&a, &b)).unwrap();
    assert!(stage.kept().is_empty());
    assert!(store.list("compared").unwrap().is_empty());
}

#[test]
fn through_the_command_line() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let scene = Scene { folder };
    for (name, side) in [("a.img", 0), ("b.img", 1)] {
        fs::write(scene.path(name), image(side)).unwrap();
    }
    settle();
    // Looking alone makes no state directory.
    scene.run(&["diff", "a.img", "b.img"]).says(1, &[]);
    assert!(!scene.state().exists());
    scene.plan();
    let told = "nothing written since";
    scene.run(&["diff", "a.img", "b.img"]).says(1, &[told, "--no-cache reads again"]);
    scene.run(&["report", "a.img", "b.img"]).says(1, &[told]);
    let json = scene.run(&["--json", "diff", "a.img", "b.img"]);
    assert!(
        serde_json::from_str::<serde_json::Value>(&json.out).unwrap()["volumes"][0]["compared_at"].is_i64()
    );
    for words in [&["diff", "--no-cache", "a.img", "b.img"][..], &["diff", "--full", "a.img", "b.img"]] {
        let ran = scene.run(words);
        assert!(!ran.all().contains(told), "{}", ran.all());
    }
    scene.run(&["diff", "--full", "a.img", "b.img"]).says(1, &[told]);
    let count = |path: &Path| fs::read_dir(path).unwrap().count();
    assert_eq!(count(&scene.state().join("compared")), 2);
    // What overwrites reads for itself, and what was kept goes with the incident.
    scene.heal();
    assert_eq!(count(&scene.state().join("compared")), 0);
    scene.run(&["diff", "a.img", "b.img"]).says(0, &["Nothing was compared"]);
}

/// A stamp of a device, of whatever lies below it, and of what else leads to the same bytes.
#[test]
fn writes_to_devices_are_counted() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = folder.path().join("behind.img");
    fs::write(&path, vec![7; 4 << 20]).unwrap();
    settle();
    let Some(device) = scene::Loop::over(&path, false) else { return };
    let disk = || BlockFile::open(Path::new(&device.0), Mode::ReadOnly).unwrap();
    let stamp = || write_stamp([&disk()]).map(|stamp| stamp.words);
    let first = match stamp() {
        Ok(first) => first,
        Err(why) => return scene::skips::not_here(&format!("this device has no stamp: {why}")),
    };
    eprintln!("{first}");
    assert_eq!(stamp().unwrap(), first);
    let mut buffer = vec![0; 4096];
    disk().read_at(4096, &mut buffer).unwrap();
    assert_eq!(stamp().unwrap(), first, "reading is not writing");
    let write = || {
        let writable = BlockFile::open(Path::new(&device.0), Mode::ReadWrite).unwrap();
        writable.write_at(8192, &[9; 4096]).unwrap();
    };
    write();
    let second = stamp().unwrap();
    assert_ne!(second, first);
    // The same bytes once more: what counts is that somebody wrote.
    write();
    let third = stamp().unwrap();
    assert_ne!(third, second);
    // Past the device, into the file behind it.
    settle();
    File::options().write(true).open(&path).unwrap().write_all_at(&[1], 5).unwrap();
    assert_ne!(stamp().unwrap(), third);
    // The file itself has no stamp while a loop device leads to it.
    let file = BlockFile::open(&path, Mode::ReadOnly).unwrap();
    assert!(write_stamp([&file]).unwrap_err().0.contains("loop device"));
}
