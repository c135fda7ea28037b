//! The state directory on a real file system.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod skipped;

use std::io::{ErrorKind, Read};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use unsplit::edge::state_dir::{LOCK, StateDir, StateDirError};
use unsplit::ports::store::Store;

fn fresh() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("a/state");
    (folder, root)
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn it_is_created_for_its_owner_only() {
    let (_folder, root) = fresh();
    let dir = StateDir::open(&root).unwrap();
    dir.create_dir("x/y").unwrap();
    dir.create("x/y/f").unwrap();
    assert_eq!(mode(&root), 0o700);
    assert_eq!(mode(&root.join("x/y")), 0o700);
    assert_eq!(mode(&root.join("x/y/f")), 0o600);
    assert_eq!(mode(&root.join(LOCK)), 0o600);
    assert_eq!(dir.locate("x/y/f"), dir.path().join("x/y/f").display().to_string());
}

#[test]
fn files_do_what_the_port_promises() {
    let (_folder, root) = fresh();
    let dir = StateDir::open(&root).unwrap();
    assert_eq!(dir.len("f").unwrap(), None);
    assert_eq!(dir.read_at("f", 0, &mut [0]).unwrap_err().source.kind(), ErrorKind::NotFound);
    assert_eq!(dir.write_at("f", 0, b"x").unwrap_err().source.kind(), ErrorKind::NotFound);
    dir.create("f").unwrap();
    dir.write_at("f", 10, b"0123456789").unwrap();
    assert_eq!(dir.len("f").unwrap(), Some(20));
    let mut buffer = [9; 12];
    dir.read_at("f", 5, &mut buffer).unwrap();
    assert_eq!(&buffer, b"\0\0\0\0\x000123456");
    let short = dir.read_at("f", 15, &mut buffer).unwrap_err();
    assert_eq!(short.source.kind(), ErrorKind::UnexpectedEof);
    assert_eq!(short.to_string(), format!("cannot read {}", dir.path().join("f").display()));
    dir.set_len("f", 12).unwrap();
    dir.sync("f").unwrap();
    dir.sync_dir("").unwrap();
    assert_eq!(std::fs::read(root.join("f")).unwrap(), b"\0\0\0\0\0\0\0\0\0\x0001");

    dir.create_dir("sub").unwrap();
    dir.create_dir("sub").unwrap();
    dir.rename("f", "sub/g").unwrap();
    dir.sync_dir("sub").unwrap();
    assert_eq!((dir.len("f").unwrap(), dir.len("sub/g").unwrap()), (None, Some(12)));
    assert_eq!(dir.list("").unwrap(), ["sub"], "the lock is not ours to see");
    assert_eq!(dir.list("sub").unwrap(), ["g"]);
    assert!(dir.list("nowhere").unwrap().is_empty());
    dir.create("sub/g").unwrap();
    assert_eq!(dir.len("sub/g").unwrap(), Some(0), "emptied");
    dir.remove("sub/g").unwrap();
    dir.remove("sub/g").unwrap();
    assert!(dir.list("sub").unwrap().is_empty());
    let free = dir.free_space().unwrap();
    assert!(free > 0 && free < 1 << 60, "{free}");
}

#[test]
fn an_open_file_never_outlives_its_name() {
    let (_folder, root) = fresh();
    let dir = StateDir::open(&root).unwrap();
    for name in ["a", "b"] {
        dir.create(name).unwrap();
        dir.write_at(name, 0, name.as_bytes()).unwrap();
    }
    dir.rename("a", "b").unwrap();
    let mut buffer = [0];
    dir.read_at("b", 0, &mut buffer).unwrap();
    assert_eq!(&buffer, b"a");
    assert_eq!(dir.read_at("a", 0, &mut buffer).unwrap_err().source.kind(), ErrorKind::NotFound);
    dir.remove("b").unwrap();
    assert_eq!(dir.write_at("b", 0, b"x").unwrap_err().source.kind(), ErrorKind::NotFound);
    assert!(dir.list("").unwrap().is_empty());
    // Many more files than are kept open, in turns.
    for round in 0u8..3 {
        for index in 0..30u8 {
            let name = format!("f{index}");
            if round == 0 {
                dir.create(&name).unwrap();
            }
            dir.write_at(&name, u64::from(round), &[index ^ round]).unwrap();
        }
    }
    for index in 0..30u8 {
        assert_eq!(std::fs::read(root.join(format!("f{index}"))).unwrap(), [index, index ^ 1, index ^ 2]);
    }
    let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let open = open.filter(|fd| std::fs::read_link(fd.path()).is_ok_and(|to| to.starts_with(dir.path())));
    assert!(open.count() <= 9, "eight files and the lock");
}

#[test]
fn paths_do_not_lead_out() {
    let (folder, root) = fresh();
    std::fs::write(folder.path().join("secret"), b"s").unwrap();
    let dir = StateDir::open(&root).unwrap();
    let long = "x".repeat(2000);
    for path in
        ["..", "../secret", "a/../../secret", "/etc/passwd", "", ".", "a//b", "a/", "a\0b", LOCK, &long]
    {
        let refused = |result: Result<(), unsplit::ports::store::StoreFault>| {
            assert_eq!(result.unwrap_err().source.kind(), ErrorKind::InvalidInput, "{path:?}");
        };
        refused(dir.create(path));
        refused(dir.write_at(path, 0, b"x"));
        refused(dir.read_at(path, 0, &mut [0]));
        refused(dir.len(path).map(|_| ()));
        refused(dir.remove(path));
        refused(dir.rename(path, "x"));
        refused(dir.rename("x", path));
        refused(dir.create_dir(path));
    }
    symlink(folder.path().join("secret"), root.join("link")).unwrap();
    assert!(dir.read_at("link", 0, &mut [0]).is_err(), "links are not followed");
    assert!(dir.create("link").is_err());
    assert!(dir.len("link").is_err());
    assert_eq!(std::fs::read(folder.path().join("secret")).unwrap(), b"s");
    std::fs::create_dir(root.join("d")).unwrap();
    assert!(dir.len("d").is_err(), "a folder is not an absent file");
}

#[test]
fn one_process_writes_and_the_others_learn_which() {
    let (_folder, root) = fresh();
    let first = StateDir::open(&root).unwrap();
    first.create("f").unwrap();
    let error = StateDir::open(&root).unwrap_err();
    let pid = std::process::id();
    assert!(matches!(error, StateDirError::Locked { holder: Some(found), .. } if found == pid), "{error}");
    assert!(error.to_string().contains(&format!("process {pid}")), "{error}");

    let reader = StateDir::open_read_only(&root).unwrap();
    assert_eq!(reader.len("f").unwrap(), Some(0));
    for result in [
        reader.create("g"),
        reader.write_at("f", 0, b"x"),
        reader.set_len("f", 1),
        reader.remove("f"),
        reader.rename("f", "g"),
        reader.create_dir("g"),
        reader.sync("f"),
    ] {
        assert_eq!(result.unwrap_err().source.kind(), ErrorKind::ReadOnlyFilesystem);
    }
    drop(first);
    StateDir::open(&root).unwrap();
}

/// The lock of a process that dies without a word is free again.
#[test]
fn a_dead_holder_holds_nothing() {
    let (_folder, root) = fresh();
    drop(StateDir::open(&root).unwrap());
    let holder = Command::new("flock")
        .args(["--exclusive", "--no-fork"])
        .arg(root.join(LOCK))
        .args(["sh", "-c", "echo held; exec sleep 60"])
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut holder) = holder else {
        return skipped::lacking("there is no flock(1) here");
    };
    holder.stdout.take().unwrap().read_exact(&mut [0; 5]).unwrap();
    let error = StateDir::open(&root).unwrap_err();
    assert!(matches!(error, StateDirError::Locked { .. }), "{error}");
    holder.kill().unwrap();
    holder.wait().unwrap();
    StateDir::open(&root).unwrap();
}

#[test]
fn what_is_no_state_directory_is_named_so() {
    let (folder, root) = fresh();
    let error = StateDir::open_read_only(&root).unwrap_err();
    assert!(matches!(error, StateDirError::NotThere { .. }), "{error}");
    assert!(!root.exists(), "reading creates nothing");
    let file = folder.path().join("file");
    std::fs::write(&file, b"").unwrap();
    for error in [StateDir::open(&file).unwrap_err(), StateDir::open_read_only(&file).unwrap_err()] {
        assert!(matches!(error, StateDirError::NotAFolder { .. }), "{error}");
    }
}
