//! before-resync-target: this node's own changes are in a salvage before DRBD goes on.

use super::world::pair::{Images, Log, Spec};
use super::{V9, V84, events, handler, run};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use unsplit::edge::blockdev::{BlockFile, Mode};
use unsplit::edge::clock::SystemClock;
use unsplit::edge::drbd::image::ImageReplica;
use unsplit::edge::state_dir::StateDir;
use unsplit::engine::journal::Journal;
use unsplit::engine::salvage::{reader, verify};
use unsplit::model::drbd::{MetadataFormat, Role};
use unsplit::model::extent::{Extent, ExtentSet};
use unsplit::model::handled::Outcome;
use unsplit::model::salvage::PartKind;
use unsplit::ports::disk::Disk;
use unsplit::ports::progress::Silent;

struct Scene {
    folder: tempfile::TempDir,
    images: Images,
    format: MetadataFormat,
}

impl Scene {
    fn new(format: MetadataFormat) -> Scene {
        let folder = tempfile::tempdir().unwrap();
        let images =
            Spec { logs: unsplit::model::side::Pair::new(Log::Clean, Log::Clean), ..Spec::plain(format, 5) }
                .build();
        fs::write(folder.path().join("disk"), &images.sides.b.data).unwrap();
        Scene { folder, images, format }
    }

    fn disk(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// What the bitmap on the disk says that this side changed.
    fn marked(&self) -> ExtentSet {
        let disk = Arc::new(BlockFile::open(&self.disk(), Mode::ReadOnly).unwrap());
        let replica = ImageReplica::open(disk, None, None).unwrap();
        replica.marked_toward(Some(0), Role::Secondary).unwrap().unwrap()
    }

    fn call(&self, words: &[&str]) -> super::Ended {
        let disk = self.disk().display().to_string();
        let environment: Vec<(&str, &str)> = match self.format {
            MetadataFormat::V08 => V84,
            MetadataFormat::V09 => V9,
        }
        .iter()
        .map(|(name, value)| if *value == "/nowhere/disk" { (*name, disk.as_str()) } else { (*name, *value) })
        .collect();
        let words: Vec<&str> = ["before-resync-target"].into_iter().chain(words.iter().copied()).collect();
        run(handler(&self.state(), &environment, &words))
    }

    fn last(&self) -> Outcome {
        events(&self.state()).pop().unwrap().did
    }

    fn salvages(&self) -> Vec<String> {
        let names = fs::read_dir(self.state().join("salvage")).into_iter().flatten();
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

#[test]
fn own_changes_are_kept_before_drbd_goes_on() {
    for format in [MetadataFormat::V08, MetadataFormat::V09] {
        let scene = Scene::new(format);
        let marked = scene.marked();
        assert!(!marked.is_empty());
        let ended = scene.call(&[]);
        assert_eq!(ended.code, 0, "{}", ended.said);
        let Outcome::Kept { salvage, bytes, whole, .. } = scene.last() else { panic!("{}", ended.said) };
        assert_eq!((bytes, whole), (marked.bytes(), false));
        // DRBD overwrites everything now.
        fs::write(scene.disk(), vec![0; scene.images.spec.device]).unwrap();
        let store = StateDir::open_read_only(&scene.state()).unwrap();
        let dir = format!("salvage/{salvage}");
        let manifest = verify(&store, &dir, &Silent).unwrap();
        assert_eq!((manifest.resource.as_str(), manifest.survivor_name.as_str()), ("r0", "node1"));
        let kept = reader(&store, &dir, PartKind::VictimData).unwrap();
        assert_eq!(kept.kept(), &marked);
        for run in marked.iter() {
            let mut bytes = vec![0; usize::try_from(run.len).unwrap()];
            kept.read_at(run.start, &mut bytes).unwrap();
            let at = usize::try_from(run.start).unwrap();
            assert!(bytes == scene.images.sides.b.data[at..at + bytes.len()], "{run:?} is as it was");
        }
        for words in
            [&["salvage", "list"][..], &["salvage", "verify"], &["salvage", "show", salvage.as_str()]]
        {
            let mut command = Command::new(super::BINARY);
            command.arg("--state-dir").arg(scene.state()).args(words);
            let ended = run(command);
            assert_eq!(ended.code, 0, "{words:?}: {}", ended.said);
            assert!(ended.said.contains(salvage.as_str()));
            assert_eq!(
                words[1] == "show",
                ended.said.contains("every block that this node had changed"),
                "{}",
                ended.said
            );
            // How much DRBD was about to overwrite is not known here, so nothing proves that it is all there.
            assert_eq!(words[1] == "show", ended.said.contains("Not as a whole: "), "{}", ended.said);
        }
        let mut command = Command::new(super::BINARY);
        command.arg("--state-dir").arg(scene.state()).args([
            "undo",
            salvage.as_str(),
            "--peer",
            "exec:false",
        ]);
        let ended = run(command);
        assert_eq!(ended.code, 4, "{}", ended.said);
        for word in
            ["cannot be put back as a whole", "so both would be mixed", "unsplit salvage show resync-"]
        {
            assert!(ended.said.contains(word), "{word}: {}", ended.said);
        }
    }
}

/// The last 40 KiB of the victim's disk, as the handler found them: DRBD 8.4.11 and 9.3.3, `connect --discard-my-data` by hand. The
/// node had written blocks 140-189 and 7000-7063, the peer 100-149 and 6000-6063; both kernels said that 872 KiB were
/// out of sync, and named the union when they began.
#[test]
fn at_that_moment_the_disk_holds_the_nodes_own_bits_alone() {
    const DISK: u64 = 32 << 20;
    for (name, tail) in [
        ("8.4.11", &include_bytes!("../data/handlers/drbd84-before-resync-target.tail")[..]),
        ("9.3.3", &include_bytes!("../data/handlers/drbd9-before-resync-target.tail")[..]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        let file = fs::File::create(&path).unwrap();
        file.set_len(DISK).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, tail, DISK - tail.len() as u64).unwrap();
        let disk = Arc::new(BlockFile::open(&path, Mode::ReadOnly).unwrap());
        let replica = ImageReplica::open(disk, None, None).unwrap();
        let marked = replica.marked_toward(Some(0), Role::Secondary).unwrap().unwrap();
        let own: ExtentSet =
            [(140 * 4096, 50 * 4096), (7000 * 4096, 64 * 4096)].into_iter().map(Extent::from).collect();
        assert_eq!(marked, own, "{name}");
        // No bitmap for a peer that is none; 8.4 knows one peer only.
        let other = replica.marked_toward(Some(7), Role::Secondary).unwrap();
        assert_eq!(other.is_some(), name == "8.4.11", "{name}");
    }
}

/// A salvage without an incident is no sign that the journal was lost.
#[test]
fn healings_go_on_beside_it() {
    let scene = Scene::new(MetadataFormat::V08);
    assert_eq!(scene.call(&["--required"]).code, 0);
    assert_eq!(scene.salvages().len(), 1);
    for words in [&["history"][..], &["status"]] {
        let mut command = Command::new(super::BINARY);
        command.arg("--state-dir").arg(scene.state()).args(words);
        let ended = run(command);
        assert_eq!(ended.code, 0, "{words:?}: {}", ended.said);
    }
    let store = Arc::new(StateDir::open(&scene.state()).unwrap());
    Journal::open(store, Arc::new(SystemClock)).unwrap();
}

#[test]
fn who_changed_nothing_keeps_nothing() {
    let scene = Scene::new(MetadataFormat::V08);
    let disk = Arc::new(BlockFile::open(&scene.disk(), Mode::ReadOnly).unwrap());
    let bitmap = ImageReplica::open(disk, None, None).unwrap().geometry().bitmap;
    let mut image = fs::read(scene.disk()).unwrap();
    image[usize::try_from(bitmap.start).unwrap()..][..usize::try_from(bitmap.len).unwrap()].fill(0);
    fs::write(scene.disk(), image).unwrap();
    assert_eq!(scene.call(&["--required"]).code, 0);
    assert!(matches!(scene.last(), Outcome::NothingToKeep { .. }), "{:?}", scene.last());
    assert!(scene.salvages().is_empty());
}

#[test]
fn what_cannot_be_kept_stops_the_resync_only_if_required() {
    let scene = Scene::new(MetadataFormat::V09);
    let refused: [&[&str]; 3] =
        [&["--max-bytes", "4KiB"], &["--max-bytes", "0"], &["--deadline", "100ms", "--max-bytes", "1"]];
    for words in refused {
        for (policy, code) in [("--best-effort", 0), ("--required", 1)] {
            let words: Vec<&str> = [policy].into_iter().chain(words.iter().copied()).collect();
            let ended = scene.call(&words);
            assert_eq!(ended.code, code, "{words:?}: {}", ended.said);
        }
    }
    assert!(scene.salvages().is_empty());
    // No disk, no metadata, no peer: each is a reason, none a panic.
    for break_it in [
        |path: &Path| fs::remove_file(path).unwrap(),
        |path: &Path| fs::write(path, vec![0; 1 << 20]).unwrap(),
    ] {
        break_it(&scene.disk());
        for (policy, code) in [("--best-effort", 0), ("--required", 1)] {
            let ended = scene.call(&[policy]);
            assert_eq!(ended.code, code, "{}", ended.said);
            assert!(matches!(scene.last(), Outcome::NotKept { .. }));
        }
    }
}

#[test]
fn a_state_directory_that_cannot_be_used() {
    let scene = Scene::new(MetadataFormat::V08);
    fs::write(scene.state(), "a file").unwrap();
    let ended = scene.call(&["--required"]);
    assert_eq!(ended.code, 1, "{}", ended.said);
    let ended = scene.call(&[]);
    assert_eq!(ended.code, 0, "{}", ended.said);
    assert!(ended.said.contains("NOT KEPT, the resync overwrites it"), "{}", ended.said);
}

#[test]
fn beside_a_healing_that_has_the_lock() {
    let scene = Scene::new(MetadataFormat::V08);
    let _held = StateDir::open(&scene.state()).unwrap();
    assert_eq!(scene.call(&["--required"]).code, 0);
    assert_eq!(scene.salvages().len(), 1);
}

/// What stands in the salvages now.
fn kept(folder: &Path) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().map(Result::unwrap) {
        let kind = fs::symlink_metadata(entry.path()).unwrap();
        if kind.is_dir() {
            found.extend(kept(&entry.path()));
        } else {
            found.push((entry.path(), kind.len()));
        }
    }
    found.sort();
    found
}

/// Once DRBD has its answer it overwrites: a copy that went on would hold a mixture, and nobody would know.
#[test]
fn nothing_is_kept_after_the_answer() {
    use std::io::{BufRead, BufReader, Read};
    let scene = Scene::new(MetadataFormat::V08);
    if !super::cut::can_trace() {
        return crate::skipped::needs_root("strace may not trace here");
    }
    // Every write of the copy takes two seconds, so that the deadline falls into one of them.
    let mut command = Command::new("strace");
    let environment = V84.iter().map(|(name, value)| match *value {
        "/nowhere/disk" => (*name, scene.disk().display().to_string()),
        value => (*name, value.to_owned()),
    });
    command.env_clear().envs(environment).current_dir("/").stdin(std::process::Stdio::null());
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=pwrite64"]);
    command
        .args(["-e", "inject=pwrite64:delay_enter=2000000", super::BINARY, "--state-dir"])
        .arg(scene.state());
    command.args(["handler", "before-resync-target", "--required", "--deadline", "2s"]);
    let mut traced = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(traced.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("s are over") {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0, "it was done in time");
    }
    // The answer is given. What works on would end its write, and go on to the next one or tidy up.
    let then = kept(&scene.state().join("salvage"));
    assert!(!then.is_empty(), "the copy had begun");
    // Until nobody is traced any more.
    said.read_to_string(&mut line).unwrap();
    traced.wait().unwrap();
    assert_eq!(kept(&scene.state().join("salvage")), then);
    assert!(events(&scene.state()).is_empty(), "the worker lived on, and recorded");
}
