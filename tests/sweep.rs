//! Passing over files and devices once: right bytes on every path, exact faults, and a page cache left alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod skipped;

use proptest::prelude::*;
use rustix::fs::{Advice, fadvise};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use unsplit::digest::aligned::Aligned;
use unsplit::digest::compare::{CompareOptions, compare};
use unsplit::edge::blockdev::{BlockFile, Mode};
use unsplit::edge::pace::Pace;
use unsplit::model::extent::{Extent, ExtentSet};
use unsplit::model::side::Side;
use unsplit::ports::disk::{Disk, DiskFault};
use unsplit::ports::progress::Silent;

const MIB: u64 = 1 << 20;

fn open(path: &Path) -> BlockFile {
    BlockFile::open(path, Mode::ReadOnly).unwrap()
}

fn noise(len: u64, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8 | 1
    };
    (0..len).map(|_| next()).collect()
}

/// Drops a file's pages from the page cache, as far as the file system has them elsewhere.
fn chill(path: &Path) {
    let file = File::open(path).unwrap();
    file.sync_all().unwrap();
    fadvise(&file, 0, None, Advice::DontNeed).unwrap();
}

/// A file that is not in the page cache; nothing where that cannot be had (tmpfs).
fn cold(dir: &TempDir, name: &str, bytes: &[u8]) -> Option<BlockFile> {
    let path = dir.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    chill(&path);
    let disk = open(&path);
    if disk.at_hand(Extent { start: 0, len: bytes.len() as u64 }) {
        skipped::not_here("this file system has no direct I/O, or keeps all in memory");
        return None;
    }
    Some(disk)
}

#[test]
fn a_sweep_gives_the_bytes_and_leaves_the_page_cache_alone() {
    let dir = TempDir::new().unwrap();
    // A last block that is not whole.
    let bytes = noise(6 * MIB + 777, 1);
    let Some(disk) = cold(&dir, "a.img", &bytes) else { return };
    let mut buffer = Aligned::new(2 * MIB as usize);
    for start in [0, 2 * MIB, 4 * MIB] {
        disk.sweep_at(start, buffer.as_mut_slice()).unwrap();
        assert!(buffer.as_slice() == &bytes[start as usize..][..2 * MIB as usize]);
    }
    for start in (0..6 * MIB).step_by(4096) {
        assert!(!disk.at_hand(Extent { start, len: 4096 }), "byte {start} was brought into the page cache");
    }
    let tail = &mut buffer.as_mut_slice()[..4096 + 777];
    disk.sweep_at(6 * MIB - 4096, tail).unwrap();
    assert!(tail == &bytes[bytes.len() - 4096 - 777..]);

    // What was read through the cache stays there, and is taken from there.
    let mut one = vec![0; 4096];
    disk.read_at(3 * MIB, &mut one).unwrap();
    assert!(disk.at_hand(Extent { start: 3 * MIB, len: 4096 }));
    assert!(!disk.at_hand(Extent { start: 2 * MIB, len: 2 * MIB }), "part of it is not");
}

#[test]
fn comparing_cold_files_finds_what_differs_and_caches_nothing() {
    let dir = TempDir::new().unwrap();
    let bytes = noise(9 * MIB + 512, 7);
    let mut other = bytes.clone();
    for at in [0, 5 * MIB as usize + 4095, 9 * MIB as usize + 511] {
        other[at] ^= 1;
    }
    let (Some(a), Some(b)) = (cold(&dir, "a.img", &bytes), cold(&dir, "b.img", &other)) else { return };
    for threads in [1, 3] {
        let options = CompareOptions { threads, ..CompareOptions::default() };
        let found = compare(&a, &b, &ExtentSet::whole(a.size()), &options, &Silent).unwrap();
        let starts: Vec<u64> = found.differs.iter().map(|run| run.start).collect();
        assert_eq!(starts, [0, 5 * MIB, 9 * MIB]);
        assert_eq!(found.compared, a.size());
    }
    for start in (0..9 * MIB).step_by(4096) {
        assert!(!a.at_hand(Extent { start, len: 4096 }), "byte {start} was brought into the page cache");
    }
}

#[test]
fn a_file_that_shrinks_while_it_is_swept_is_unreadable_not_zero() {
    let dir = TempDir::new().unwrap();
    let bytes = noise(8 * MIB, 3);
    let (Some(a), Some(b)) = (cold(&dir, "a.img", &bytes), cold(&dir, "b.img", &bytes)) else { return };
    OpenOptions::new().write(true).open(dir.path().join("a.img")).unwrap().set_len(3 * MIB + 100).unwrap();
    let mut buffer = Aligned::new(MIB as usize);
    match a.sweep_at(3 * MIB, buffer.as_mut_slice()) {
        Err(DiskFault::Short { .. }) => {}
        end => panic!("{end:?}"),
    }
    let found = compare(&a, &b, &ExtentSet::whole(8 * MIB), &CompareOptions::default(), &Silent).unwrap();
    assert!(found.differs.is_empty());
    let gaps: Vec<_> = found.unreadable.iter().map(|gap| (gap.side, gap.extent)).collect();
    assert_eq!(gaps, [(Side::A, Extent::between(3 * MIB, 8 * MIB))]);
}

/// The file keeps changing its length under the comparison; blocks are equal or unreadable, never different.
#[test]
fn a_file_that_shrinks_and_grows_meanwhile_never_differs() {
    let dir = TempDir::new().unwrap();
    let zeros = vec![0; 8 * MIB as usize];
    let paths = ["a.img", "b.img"].map(|name| dir.path().join(name));
    paths.iter().for_each(|path| std::fs::write(path, &zeros).unwrap());
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let file = OpenOptions::new().write(true).open(&paths[0]).unwrap();
            for round in 0u64.. {
                file.set_len(round * 137 * 4096 % (8 * MIB)).unwrap();
                file.set_len(8 * MIB).unwrap();
                if stop.load(std::sync::atomic::Ordering::Relaxed) {
                    break;
                }
            }
        });
        // Opened at a moment when it is long.
        let a = loop {
            match BlockFile::open(&paths[0], Mode::ReadOnly) {
                Ok(disk) if disk.size() == 8 * MIB => break disk,
                _ => {}
            }
        };
        let b = open(&paths[1]);
        for round in 0..30 {
            if round % 3 == 0 {
                chill(&paths[1]);
            }
            let whole = ExtentSet::whole(8 * MIB);
            let found = compare(&a, &b, &whole, &CompareOptions::default(), &Silent).unwrap();
            assert!(found.differs.is_empty(), "{:?}", found.differs);
            assert!(found.unreadable.iter().all(|gap| gap.side == Side::A));
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

/// Cut by another thread at any moment: what was lost is told as unreadable, and nothing as different or zero.
#[test]
fn a_file_that_is_cut_while_it_is_compared_in_place_is_unreadable_not_zero() {
    let dir = TempDir::new().unwrap();
    let size = 24 * MIB + 3000;
    let bytes = noise(size, 11);
    let [a, b] = ["a.img", "b.img"].map(|name| dir.path().join(name));
    std::fs::write(&b, &bytes).unwrap();
    let mut cut_short = 0;
    for round in 0..60u64 {
        std::fs::write(&a, &bytes).unwrap();
        let disks = [open(&a), open(&b)];
        // On a page, inside of one, near the end, near the beginning.
        let cut =
            [round * 400_009 % size, round * 97 % 6000 * 4096, size - 1 - round * 50][round as usize % 3];
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_micros(round % 20 * 300));
                OpenOptions::new().write(true).open(&a).unwrap().set_len(cut).unwrap();
            });
            let options = CompareOptions { threads: 1 + round as usize % 3, ..CompareOptions::default() };
            let found = compare(&disks[0], &disks[1], &ExtentSet::whole(size), &options, &Silent).unwrap();
            assert!(found.differs.is_empty(), "round {round}: {:?}", found.differs);
            let lost: u64 = found.unreadable.iter().map(|gap| gap.extent.len).sum();
            assert_eq!(found.compared + lost, size);
            assert!(found.unreadable.iter().all(|gap| gap.side == Side::A && gap.extent.end() > cut));
            cut_short += u32::from(lost > 0);
        });
    }
    eprintln!("{cut_short} of 60 were cut in time");
}

/// A file system in a file, mounted.
struct Mounted<'p>(&'p Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

/// The kernel ends a process that meets a read error in a mapping, unless somebody handles that: here it is a result.
#[test]
fn a_disk_that_fails_under_the_mapping_is_unreadable() {
    const LOST: Extent = Extent { start: 7 * MIB, len: 8 * 4096 };
    let dir = TempDir::new().unwrap();
    let [image, place, twin] = ["disk.img", "mounted", "b.img"].map(|name| dir.path().join(name));
    let backing = File::create(&image).unwrap();
    backing.set_len(64 * MIB).unwrap();
    std::fs::create_dir(&place).unwrap();
    let does = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
    if !does(Command::new("mkfs.ext4").args(["-q", "-b", "4096"]).arg(&image))
        || !does(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&place))
    {
        skipped::needs_root("no file system can be made and mounted");
        return;
    }
    let mounted = Mounted(&place);
    let path = place.join("a.img");
    let bytes = noise(8 * MIB, 9);
    std::fs::write(&twin, &bytes).unwrap();
    // Piece by piece, so that single pages can be put out of the page cache.
    let mut file = File::create(&path).unwrap();
    bytes.chunks(4096).for_each(|page| file.write_all(page).unwrap());
    file.sync_all().unwrap();
    fadvise(&file, LOST.start, std::num::NonZero::new(LOST.len), Advice::DontNeed).unwrap();
    drop(file);
    backing.set_len(MIB).unwrap();
    fadvise(&backing, 0, None, Advice::DontNeed).unwrap();

    let (a, b) = (open(&path), open(&twin));
    if a.read_at(LOST.start, &mut vec![0; LOST.len as usize]).is_ok()
        || !a.at_hand(Extent { start: 6 * MIB, len: MIB })
    {
        skipped::not_here("the read error could not be had");
        return;
    }
    let part = &bytes[7 * MIB as usize..];
    assert!(!a.in_place(Extent { start: 7 * MIB, len: MIB }, &mut |seen| assert!(seen != part)));
    // The first portions are looked at in place.
    let options = CompareOptions { threads: 1, ..CompareOptions::default() };
    let found = compare(&a, &b, &ExtentSet::whole(8 * MIB), &options, &Silent).unwrap();
    assert!(found.differs.is_empty());
    let lost: ExtentSet = found.unreadable.iter().map(|gap| gap.extent).collect();
    assert!(lost.covers(&LOST), "{:?}", found.unreadable);
    // The kernel may have taken other pages away meanwhile.
    assert!(lost.bytes() < MIB && found.unreadable.iter().all(|gap| gap.side == Side::A));
    drop(a);
    drop(mounted);
}

#[test]
fn what_is_shown_in_place_is_what_the_file_has_or_void() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a.img");
    let bytes = noise(40 * MIB, 5);
    std::fs::write(&path, &bytes).unwrap();
    let disk = open(&path);
    let part = |extent: Extent| &bytes[extent.start as usize..extent.end() as usize];
    let shown = |extent: Extent| {
        let mut same = None;
        let sound = disk.in_place(extent, &mut |seen| same = Some(seen == part(extent)));
        (sound, same)
    };
    for start in (0..40 * MIB).step_by(MIB as usize) {
        assert_eq!(shown(Extent { start, len: MIB }), (true, Some(true)));
    }
    assert_eq!(shown(Extent { start: 5000, len: 1 }), (true, Some(true)));
    // The rest of the file's last page reads as zeros in a mapping, and is not the file's.
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(20 * MIB + 100).unwrap();
    assert_eq!(shown(Extent { start: 20 * MIB, len: 100 }), (true, Some(true)));
    assert!(!shown(Extent { start: 20 * MIB, len: 101 }).0);
    assert!(!shown(Extent { start: 20 * MIB, len: 8192 }).0);
    // What is left stands beside it and can still be seen.
    assert_eq!(shown(Extent { start: 19 * MIB, len: MIB }), (true, Some(true)));
    assert!(!shown(Extent { start: 39 * MIB, len: MIB }).0);
    assert!(!disk.in_place(Extent { start: 40 * MIB, len: 1 }, &mut |_| panic!("outside")));
    file.set_len(40 * MIB).unwrap();
    assert_eq!(
        shown(Extent { start: 39 * MIB, len: MIB }),
        (true, Some(false)),
        "zeros now, as reading says"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn any_part_any_alignment_any_residence(
        len in 1u64..3 * MIB,
        warm in prop::collection::vec((0u64..3 * MIB, 1u64..MIB), 0..4),
        parts in prop::collection::vec((0.0f64..1.0, 0.0f64..1.0, any::<bool>(), 0usize..3), 1..8),
    ) {
        let dir = TempDir::new().unwrap();
        let bytes = noise(len, len);
        let Some(disk) = cold(&dir, "a.img", &bytes) else { return Ok(()) };
        for run in warm.into_iter().map(Extent::from).collect::<ExtentSet>().clip(len).iter() {
            disk.read_at(run.start, &mut vec![0; run.len as usize]).unwrap();
        }
        for (start, part, aligned, skew) in parts {
            let mut start = (start * len as f64) as u64;
            if aligned {
                start = start / 4096 * 4096;
            }
            let part = ((len - start) as f64 * part).ceil() as usize;
            let mut buffer = Aligned::new(part + 2);
            let place = &mut buffer.as_mut_slice()[skew..][..part.min(part + 2 - skew)];
            disk.sweep_at(start, place).unwrap();
            prop_assert!(place == &bytes[start as usize..][..place.len()]);
        }
        let outside = disk.sweep_at(len, &mut [0]);
        let refused = matches!(outside, Err(DiskFault::Outside { .. }));
        prop_assert!(refused);
    }
}

#[test]
fn a_paced_disk_is_read_no_faster_than_asked() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a.img");
    std::fs::write(&path, noise(2 * MIB, 5)).unwrap();
    let disk = open(&path).paced(Some(Arc::new(Pace::new(4 * MIB))));
    let begin = Instant::now();
    let mut buffer = Aligned::new(MIB as usize / 2);
    for part in 0..4 {
        let read = if part % 2 == 0 { Disk::read_at } else { Disk::sweep_at };
        read(&disk, part * MIB / 2, buffer.as_mut_slice()).unwrap();
    }
    // The last begins when three were paid, less what may be read at once.
    assert!(begin.elapsed() >= Duration::from_millis(3 * 125 - 50), "{:?}", begin.elapsed());
}

/// Asks the kernel what `--nice` came to while the command, slowed by `--rate`, is at work.
#[test]
fn nice_is_what_the_kernel_says() {
    let dir = TempDir::new().unwrap();
    let bytes = noise(MIB, 5);
    let paths = ["a.img", "b.img"].map(|name| dir.path().join(name));
    paths.iter().for_each(|path| std::fs::write(path, &bytes).unwrap());
    let mut child = Command::new(env!("CARGO_BIN_EXE_unsplit"))
        .args(["compare", "--nice", "--rate", "512KiB"])
        .args(&paths)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut nice = None;
    let end = loop {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap_or_default();
        // proc(5): nice is the 19th field, the 17th behind the name in parentheses.
        let field =
            stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(16)).map(str::to_owned);
        if field.as_deref() == Some("19") {
            nice = field;
        }
        if let Some(end) = child.try_wait().unwrap() {
            break end;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert_eq!(end.code(), Some(0));
    assert_eq!(nice.as_deref(), Some("19"));
}
