//! Files and block devices as disks: opening, reading, writing, holes, and claiming. The parts that need
//! loop devices are skipped, with a word, where those cannot be made.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod skipped;

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use tempfile::TempDir;
use unsplit::digest::compare::{CompareOptions, compare};
use unsplit::edge::blockdev::{BlockFile, Mode, OpenError};
use unsplit::edge::claim::ClaimError;
use unsplit::model::extent::{Extent, ExtentSet};
use unsplit::model::side::Side;
use unsplit::ports::disk::{Disk, DiskFault, DiskMut, Stretch};
use unsplit::ports::progress::Silent;

const MIB: u64 = 1 << 20;

fn pattern(len: u64) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + at / 511) as u8).collect()
}

fn image(dir: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn open(path: &Path, mode: Mode) -> BlockFile {
    BlockFile::open(path, mode).unwrap_or_else(|error| panic!("{error:?}"))
}

#[test]
fn what_is_no_disk_is_refused_by_name() {
    let dir = TempDir::new().unwrap();
    let refused = |path: &Path| BlockFile::open(path, Mode::ReadOnly).expect_err("opened");
    assert!(matches!(refused(&dir.path().join("none")), OpenError::Missing { .. }));
    assert!(matches!(refused(dir.path()), OpenError::Directory { .. }));
    assert!(matches!(
        refused(Path::new("/dev/null")),
        OpenError::NotStorage { what: "character device", .. }
    ));
    assert!(matches!(refused(&image(&dir, "empty", b"")), OpenError::Empty { .. }));
    let socket = dir.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    assert!(matches!(refused(&socket), OpenError::NotStorage { what: "socket", .. }));
    let message = refused(&dir.path().join("none")).to_string();
    assert!(message.starts_with(dir.path().to_str().unwrap()), "{message}");
}

#[test]
fn files_are_read_and_written_in_place() {
    let dir = TempDir::new().unwrap();
    let bytes = pattern(100_000);
    let path = image(&dir, "a.img", &bytes);
    let disk = open(&path, Mode::ReadWrite);
    assert_eq!((disk.size(), disk.name()), (100_000, path.to_str().unwrap()));
    let mut buffer = vec![0; 5000];
    disk.read_at(95_000, &mut buffer).unwrap();
    assert_eq!(buffer, bytes[95_000..]);
    disk.write_at(77, b"hello").unwrap();
    disk.flush().unwrap();
    assert_eq!(std::fs::read(&path).unwrap()[76..83], [bytes[76], b'h', b'e', b'l', b'l', b'o', bytes[82]]);

    for (offset, len) in [(95_001, 5000), (u64::MAX, 5000), (100_000, 1)] {
        let mut buffer = vec![0; len];
        assert!(matches!(disk.read_at(offset, &mut buffer), Err(DiskFault::Outside { .. })));
        assert!(matches!(disk.write_at(offset, &buffer), Err(DiskFault::Outside { .. })));
    }
    assert_eq!(disk.as_disk().size(), std::fs::metadata(&path).unwrap().len(), "a disk never grows");
    let reader = open(&path, Mode::ReadOnly);
    assert!(matches!(reader.write_at(0, b"x"), Err(DiskFault::Io { act: "write", .. })));
}

#[test]
fn a_file_that_shrinks_is_unreadable_not_zero() {
    let dir = TempDir::new().unwrap();
    // Zeros on the other side: taking lost bytes for a hole would make them equal.
    let (lost, zeros) = (dir.path().join("a.img"), dir.path().join("b.img"));
    for path in [&lost, &zeros] {
        File::create(path).unwrap().set_len(4 * MIB).unwrap();
    }
    let (a, b) = (open(&lost, Mode::ReadWrite), open(&zeros, Mode::ReadOnly));
    OpenOptions::new().write(true).open(&lost).unwrap().set_len(MIB + 100).unwrap();

    let mut buffer = vec![0; 4096];
    assert!(matches!(a.read_at(MIB, &mut buffer), Err(DiskFault::Short { got: 100, .. })));
    assert!(matches!(a.write_at(2 * MIB, &buffer), Err(DiskFault::Short { got: 0, .. })));
    let found = compare(&a, &b, &ExtentSet::whole(4 * MIB), &CompareOptions::default(), &Silent).unwrap();
    assert!(found.differs.is_empty());
    assert_eq!(found.unreadable.len(), 1);
    assert_eq!(
        (found.unreadable[0].side, found.unreadable[0].extent),
        (Side::A, Extent::between(MIB, 4 * MIB))
    );
    assert_eq!(found.compared, MIB);
}

#[test]
fn holes_of_sparse_files_are_told() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("sparse.img");
    let file = File::create(&path).unwrap();
    file.set_len(64 * MIB).unwrap();
    file.write_all_at(&[7; 4096], 32 * MIB).unwrap();
    let disk = open(&path, Mode::ReadOnly);
    if disk.stretch(0) == Stretch::Data(64 * MIB) {
        skipped::not_here("this file system has no holes");
        return;
    }
    let Stretch::Hole(first) = disk.stretch(5) else { panic!("data at 5") };
    assert!((5..=32 * MIB).contains(&first), "{first}");
    let Stretch::Data(end) = disk.stretch(32 * MIB) else { panic!("hole where data is") };
    assert!((32 * MIB + 4096..64 * MIB).contains(&end), "{end}");
    assert_eq!(disk.stretch(end), Stretch::Hole(64 * MIB));

    let dense = image(&dir, "dense.img", &vec![0; 64 * MIB as usize]);
    let other = open(&dense, Mode::ReadOnly);
    let found =
        compare(&disk, &other, &ExtentSet::whole(64 * MIB), &CompareOptions::default(), &Silent).unwrap();
    assert_eq!(Vec::from_iter(&found.differs), [Extent { start: 32 * MIB, len: 4096 }]);
    assert_eq!(found.compared, 64 * MIB);
}

#[test]
fn two_ways_to_one_file_are_one_identity() {
    let dir = TempDir::new().unwrap();
    let path = image(&dir, "a.img", b"content");
    let (hard, soft) = (dir.path().join("hard"), dir.path().join("soft"));
    std::fs::hard_link(&path, &hard).unwrap();
    symlink(&path, &soft).unwrap();
    let identity = open(&path, Mode::ReadOnly).identity();
    assert_eq!(open(&hard, Mode::ReadOnly).identity(), identity);
    assert_eq!(open(&soft, Mode::ReadOnly).identity(), identity);
    let other = image(&dir, "b.img", b"content");
    assert_ne!(open(&other, Mode::ReadOnly).identity(), identity);
}

/// A process that is ended when the test is over.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn in_use(disk: &BlockFile) -> Vec<String> {
    match disk.claim() {
        Err(ClaimError::InUse { by, .. }) => by,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_claim_is_exclusive_until_dropped() {
    let dir = TempDir::new().unwrap();
    let path = image(&dir, "a.img", b"content");
    let first = open(&path, Mode::Exclusive);
    assert!(first.is_claimed());
    let second = open(&path, Mode::ReadWrite);
    in_use(&second);
    assert!(matches!(BlockFile::open(&path, Mode::Exclusive), Err(OpenError::Busy { .. })));
    // Closing some other descriptor of the file must not end the claim, as it would with POSIX locks.
    drop(open(&path, Mode::ReadWrite));
    in_use(&second);
    drop(first);
    let claimed = second.claim().unwrap();
    in_use(&second);
    drop(claimed);
    drop(second.claim().unwrap());
}

#[test]
fn writers_and_lock_holders_are_named() {
    let dir = TempDir::new().unwrap();
    let path = image(&dir, "a.img", b"content");
    let disk = open(&path, Mode::ReadOnly);
    let hold = |file: File| Running(Command::new("sleep").arg("60").stdin(file).spawn().unwrap());

    let reader = hold(File::open(&path).unwrap());
    drop(disk.claim().expect("a reader is no obstacle"));
    let writer = hold(OpenOptions::new().append(true).open(&path).unwrap());
    let by = in_use(&disk);
    assert_eq!(by, [format!("process {} (sleep)", writer.0.id())]);
    drop(writer);
    drop(disk.claim().unwrap());

    // A lock through a descriptor that only reads, shared with the process that is named.
    let locked = File::open(&path).unwrap();
    locked.try_lock_shared().unwrap();
    let locker = hold(locked);
    let by = in_use(&disk);
    assert!(by.contains(&format!("process {} (sleep)", locker.0.id())), "{by:?}");
    drop((reader, locker));
    drop(disk.claim().unwrap());
}

#[test]
fn an_image_that_qemu_has_open_is_in_use() {
    let dir = TempDir::new().unwrap();
    let path = image(&dir, "a.img", &pattern(MIB));
    let command = ["-f", "raw", "-c", "write -P 1 0 512", "-c", "flush", "-c", "sleep 60000"];
    let Ok(qemu) =
        Command::new("qemu-io").args(command).arg(&path).stdout(std::process::Stdio::null()).spawn()
    else {
        skipped::lacking("there is no qemu-io");
        return;
    };
    let qemu = Running(qemu);
    let disk = open(&path, Mode::ReadOnly);
    let mut first = [0; 512];
    for _ in 0..200 {
        disk.read_at(0, &mut first).unwrap();
        if first == [1; 512] {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(first, [1; 512], "qemu-io did not start within 10 s");
    let by = in_use(&disk);
    assert!(by.iter().any(|who| who.starts_with(&format!("process {}", qemu.0.id()))), "{by:?}");
    drop(qemu);
    drop(disk.claim().unwrap());
}

/// A loop device, detached when dropped.
struct Loop(PathBuf);

impl Loop {
    fn new(file: &Path, sector: &str) -> Option<Loop> {
        let made =
            Command::new("losetup").args(["--find", "--show", "--sector-size", sector]).arg(file).output();
        match made {
            Ok(output) if output.status.success() => {
                Some(Loop(PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())))
            }
            other => {
                skipped::needs_root(&format!("no loop device can be made: {other:?}"));
                None
            }
        }
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("--detach").arg(&self.0).status();
    }
}

#[test]
fn devices_are_read_and_written_at_any_offset() {
    for sector in ["512", "4096"] {
        let dir = TempDir::new().unwrap();
        let mut bytes = pattern(3 * MIB);
        let path = image(&dir, "backing.img", &bytes);
        let Some(device) = Loop::new(&path, sector) else { return };
        let disk = open(&device.0, Mode::Exclusive);
        assert!(disk.is_device());
        assert_eq!(disk.size(), 3 * MIB);
        let requests = [(0, 4096), (1, 511), (4095, 2), (512, 512), (100, 2 * MIB), (3 * MIB - 7, 7), (9, 0)];
        for (offset, len) in requests {
            let mut buffer = vec![0; len as usize];
            disk.read_at(offset, &mut buffer).unwrap();
            assert!(buffer == bytes[offset as usize..(offset + len) as usize], "{offset} {len}");
        }
        for (at, (offset, len)) in requests.into_iter().enumerate() {
            let fresh = vec![at as u8; len as usize];
            disk.write_at(offset, &fresh).unwrap();
            bytes[offset as usize..(offset + len) as usize].copy_from_slice(&fresh);
        }
        disk.flush().unwrap();
        let mut all = vec![0; 3 * MIB as usize];
        disk.read_at(0, &mut all).unwrap();
        assert!(all == bytes);
        assert!(std::fs::read(&path).unwrap() == bytes, "what was flushed is in the backing file");
        let mut buffer = [0; 2];
        assert!(matches!(disk.read_at(3 * MIB - 1, &mut buffer), Err(DiskFault::Outside { .. })));
    }
}

#[test]
fn devices_are_claimed_against_everybody() {
    let dir = TempDir::new().unwrap();
    let path = image(&dir, "backing.img", &vec![0; 8 * MIB as usize]);
    let backing = open(&path, Mode::ReadWrite);
    drop(backing.claim().unwrap());
    let Some(device) = Loop::new(&path, "512") else { return };

    // The file below a loop device is not free, even if nobody else has opened it.
    let by = in_use(&backing);
    assert_eq!(by, [format!("the loop device {}", device.0.display())]);

    let link = dir.path().join("link");
    symlink(&device.0, &link).unwrap();
    let disk = open(&device.0, Mode::ReadWrite);
    assert_eq!(open(&link, Mode::ReadOnly).identity(), disk.identity());
    assert_ne!(disk.identity(), backing.identity());

    let claimed = disk.claim().unwrap();
    in_use(&open(&link, Mode::ReadWrite));
    drop(claimed);

    let writer = OpenOptions::new().write(true).open(&device.0).unwrap();
    let writer = Running(Command::new("sleep").arg("60").stdin(writer).spawn().unwrap());
    assert_eq!(in_use(&disk), [format!("process {} (sleep)", writer.0.id())]);
    drop(writer);

    let made = Command::new("mke2fs").arg("-q").arg(&device.0).status();
    let place = dir.path().join("mounted");
    std::fs::create_dir(&place).unwrap();
    if !made.is_ok_and(|status| status.success())
        || !Command::new("mount").arg(&device.0).arg(&place).status().is_ok_and(|status| status.success())
    {
        skipped::needs_root("no file system can be made and mounted");
        return;
    }
    let caught = std::panic::catch_unwind(|| in_use(&disk));
    assert!(Command::new("umount").arg(&place).status().unwrap().success());
    assert_eq!(caught.unwrap(), [format!("the file system mounted at {}", place.display())]);
    drop(disk.claim().unwrap());
}

#[test]
fn a_claim_notices_who_comes_later_without_asking() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk.img");
    std::fs::write(&path, vec![0; 8192]).unwrap();
    let disk = BlockFile::open(&path, Mode::ReadWrite).unwrap();
    let _claimed = disk.claim().unwrap();
    disk.still_alone().unwrap();
    // A process of its own that opens the file for writing and takes no lock.
    let mut other = std::process::Command::new("sh")
        .args(["-c", "exec 3>>\"$1\"; echo ready; read _", "sh"])
        .arg(&path)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = [0; 6];
    std::io::Read::read_exact(other.stdout.as_mut().unwrap(), &mut ready).unwrap();
    let error = disk.still_alone().unwrap_err();
    assert!(error.contains("in use by"), "{error}");
    drop(other.stdin.take());
    other.wait().unwrap();
    disk.still_alone().unwrap();
}

/// Two loop devices over one file are two ways to the same bytes.
#[test]
fn a_second_loop_device_over_the_same_file_is_in_the_way() {
    let dir = TempDir::new().unwrap();
    let path = image(&dir, "backing.img", &vec![0; MIB as usize]);
    let Some(first) = Loop::new(&path, "512") else { return };
    let disk = open(&first.0, Mode::ReadWrite);
    drop(disk.claim().unwrap());
    let Some(second) = Loop::new(&path, "512") else { return };
    let error = disk.claim().unwrap_err().to_string();
    assert!(error.contains(&second.0.display().to_string()), "{error}");
    drop(second);
    drop(disk.claim().unwrap());
    // And who writes to the file below it.
    let mut writer = Command::new("sh")
        .args(["-c", "exec 3>>\"$1\"; echo ready; read _", "sh"])
        .arg(&path)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Read::read_exact(writer.stdout.as_mut().unwrap(), &mut [0; 6]).unwrap();
    let error = disk.claim().unwrap_err().to_string();
    assert!(error.contains("writes to the file behind it"), "{error}");
    drop(writer.stdin.take());
    writer.wait().unwrap();
    drop(disk.claim().unwrap());
}
