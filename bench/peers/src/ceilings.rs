//! What the machine itself can do, each measured in a process of its own, like a tool: `__ceiling NAME [A B [LIST]]`.

use crate::data::BLOCK;
use crate::mapped::map;
use crate::quantity::{GIB, MIB};
use anyhow::{Context as _, bail};
use rustix::fs::OFlags;
use std::fs::{File, OpenOptions};
use std::hint::black_box;
use std::io::{Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use unsplit::digest::aligned::Aligned;

/// The hidden command.
pub(crate) const COMMAND: &str = "__ceiling";
/// Bytes of each buffer in memory: beyond any cache.
const BUFFER: u64 = GIB / 2;
/// Bytes that a thread takes at a time.
const WORK: u64 = 4 * MIB;
/// Requests in flight, half of them on each file.
const DEPTH: usize = 8;

/// Runs in flight where each is a request of its own and the disk decides.
const DEEP: u64 = 64;

/// Ceilings of two files, with words for the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Files {
    Mapped,
    Pread,
    DirectCompare,
    Direct(u64),
    /// Only what a list says, each run a request on each side.
    ListPread,
    ListDirect,
}

/// Ceilings of memory and processor.
pub(crate) const KERNELS: [(&str, &str); 7] = [
    ("read-1", "read and sum memory, 1 thread"),
    ("read-2", "read and sum memory, 2 threads"),
    ("memcmp-1", "memcmp of two buffers in memory, 1 thread (bytes of one)"),
    ("memcmp-2", "memcmp of two buffers in memory, 2 threads (bytes of one)"),
    ("copy-1", "memcpy, 1 thread"),
    ("blake3-1", "BLAKE3 keyed, 64 KiB at a time, 1 thread"),
    ("blake3-2", "BLAKE3 keyed, 64 KiB at a time, 2 threads"),
];

impl Files {
    pub(crate) fn key(self) -> String {
        match self {
            Files::Mapped => "mapped".to_owned(),
            Files::Pread => "pread".to_owned(),
            Files::DirectCompare => "direct-compare".to_owned(),
            Files::Direct(len) => format!("direct-{len}"),
            Files::ListPread => "list-pread".to_owned(),
            Files::ListDirect => "list-direct".to_owned(),
        }
    }

    pub(crate) fn words(self) -> String {
        match self {
            Files::Mapped => "ceiling: both mapped, 2 threads memcmp".to_owned(),
            Files::Pread => "ceiling: pread 256 KiB, 2 threads memcmp".to_owned(),
            Files::DirectCompare => "ceiling: O_DIRECT pread 4 MiB, 4 threads memcmp".to_owned(),
            Files::ListPread => "ceiling: pread of each run, 2 threads memcmp".to_owned(),
            Files::ListDirect => format!("ceiling: O_DIRECT pread of each run, {DEEP} threads memcmp"),
            Files::Direct(len) => {
                format!("ceiling: O_DIRECT read of both, {} MiB, {DEPTH} in flight", len / MIB)
            }
        }
    }

    /// Whether it compares, or only reads.
    pub(crate) fn compares(self) -> bool {
        !matches!(self, Files::Direct(_))
    }
}

/// Prints `SECONDS BYTES` for a kernel, and the number of differing blocks for files.
pub(crate) fn serve(words: &[String]) -> anyhow::Result<String> {
    match words {
        [name] => kernel(name),
        [name, a, b] => Ok(files(name, a, b)?.to_string()),
        [name, a, b, list] => Ok(listed(name, a, b, list)?.to_string()),
        _ => bail!("which ceiling?"),
    }
}

fn kernel(name: &str) -> anyhow::Result<String> {
    let (what, threads) = name.rsplit_once('-').context("which kernel?")?;
    let threads: u64 = threads.parse()?;
    let one: Vec<u8> = (0..BUFFER / 8).flat_map(|word| word.to_le_bytes()).collect();
    let other = if matches!(what, "memcmp" | "copy") { one.clone() } else { Vec::new() };
    let copy = std::sync::Mutex::new(other.clone());
    let key = [7; 32];
    let begin = Instant::now();
    let next = AtomicU64::new(0);
    in_threads(threads, || {
        // Its target has been written before, so that no page is fetched in here.
        let mut target = (what == "copy").then(|| copy.lock().map(|mut bytes| std::mem::take(&mut *bytes)));
        while let Some(range) = take(&next, BUFFER) {
            match (what, &mut target) {
                ("read", _) => black_box(sum(&one[range])),
                ("memcmp", _) => u64::from(black_box(one[range.clone()] == other[range])),
                ("copy", Some(Ok(target))) => {
                    target[range.clone()].copy_from_slice(&one[range.clone()]);
                    u64::from(black_box(target[range.start]))
                }
                ("blake3", _) => one[range]
                    .chunks(64 << 10)
                    .map(|piece| u64::from(black_box(blake3::keyed_hash(&key, piece)).as_bytes()[0]))
                    .sum(),
                _ => bail!("which kernel?"),
            };
        }
        Ok(0)
    })?;
    Ok(format!("{} {BUFFER}", begin.elapsed().as_secs_f64()))
}

fn sum(bytes: &[u8]) -> u64 {
    let words = bytes.as_chunks::<8>().0;
    words.iter().fold(0, |sum: u64, word| sum.wrapping_add(u64::from_le_bytes(*word)))
}

fn in_threads(threads: u64, work: impl Fn() -> anyhow::Result<u64> + Sync) -> anyhow::Result<u64> {
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(&work)).collect();
        running.into_iter().map(|each| each.join().unwrap_or_else(|_| bail!("a thread died"))).sum()
    })
}

#[allow(clippy::cast_possible_truncation)]
fn take(next: &AtomicU64, size: u64) -> Option<std::ops::Range<usize>> {
    let start = next.fetch_add(WORK, Ordering::Relaxed);
    (start < size).then(|| start as usize..(start + WORK).min(size) as usize)
}

fn differing(a: &[u8], b: &[u8]) -> u64 {
    if a == b {
        return 0;
    }
    let pairs = a.chunks(BLOCK as usize).zip(b.chunks(BLOCK as usize));
    pairs.map(|(a, b)| u64::from(a != b)).sum()
}

fn open(path: &str, direct: bool) -> anyhow::Result<(File, u64)> {
    let flags = if direct { OFlags::DIRECT } else { OFlags::empty() };
    let mut file =
        OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path).with_context(
            || format!("{path} cannot be opened{}", if direct { " with O_DIRECT" } else { "" }),
        )?;
    let size = file.seek(SeekFrom::End(0))?;
    Ok((file, size))
}

fn files(name: &str, a: &str, b: &str) -> anyhow::Result<u64> {
    let direct = name.starts_with("direct");
    let ((a, size), (b, _)) = (open(a, direct)?, open(b, direct)?);
    let next = AtomicU64::new(0);
    match name {
        "mapped" => {
            let (a, b) = (map(&a, 0, size)?, map(&b, 0, size)?);
            in_threads(2, || {
                let mut found = 0;
                while let Some(range) = take(&next, size) {
                    found += differing(&a[range.clone()], &b[range]);
                }
                Ok(found)
            })
        }
        "pread" => in_threads(2, || read_and_compare(&a, &b, &next, size, 256 << 10)),
        "direct-compare" => in_threads(4, || read_and_compare(&a, &b, &next, size, WORK)),
        _ => {
            let len: u64 = name.strip_prefix("direct-").context("which ceiling?")?.parse()?;
            let turns = AtomicU64::new(0);
            in_threads(DEPTH as u64, || {
                let mut buffer = Aligned::new(usize::try_from(len)?);
                loop {
                    // Requests go to the two files in turn.
                    let turn = turns.fetch_add(1, Ordering::Relaxed);
                    let start = turn / 2 * len;
                    if start >= size {
                        return Ok(0);
                    }
                    let part = usize::try_from(len.min(size - start))?;
                    let file = if turn.is_multiple_of(2) { &a } else { &b };
                    file.read_exact_at(&mut buffer.as_mut_slice()[..part], start)?;
                }
            })
        }
    }
}

/// Each line of the list, `START LENGTH`, on both sides.
fn listed(name: &str, a: &str, b: &str, list: &str) -> anyhow::Result<u64> {
    let direct = name == "list-direct";
    let ((a, _), (b, _)) = (open(a, direct)?, open(b, direct)?);
    let text = std::fs::read_to_string(list)?;
    let run = |line: &str| -> anyhow::Result<(u64, usize)> {
        let (start, len) = line.split_once(' ').context("not a list")?;
        Ok((start.parse()?, len.parse()?))
    };
    let runs = text.lines().map(run).collect::<anyhow::Result<Vec<_>>>()?;
    let longest = runs.iter().map(|(_, len)| *len).max().unwrap_or(0);
    let next = AtomicU64::new(0);
    in_threads(if direct { DEEP } else { 2 }, || {
        let (mut one, mut other) = (Aligned::new(longest), Aligned::new(longest));
        let mut found = 0;
        while let Some((start, len)) = runs.get(usize::try_from(next.fetch_add(1, Ordering::Relaxed))?) {
            let (one, other) = (&mut one.as_mut_slice()[..*len], &mut other.as_mut_slice()[..*len]);
            a.read_exact_at(one, *start)?;
            b.read_exact_at(other, *start)?;
            found += differing(one, other);
        }
        Ok(found)
    })
}

fn read_and_compare(a: &File, b: &File, next: &AtomicU64, size: u64, request: u64) -> anyhow::Result<u64> {
    let request = usize::try_from(request)?;
    let (mut one, mut other) = (Aligned::new(request), Aligned::new(request));
    let mut found = 0;
    while let Some(range) = take(next, size) {
        for start in range.clone().step_by(request) {
            let len = request.min(range.end - start);
            let (one, other) = (&mut one.as_mut_slice()[..len], &mut other.as_mut_slice()[..len]);
            a.read_exact_at(one, start as u64)?;
            b.read_exact_at(other, start as u64)?;
            found += differing(one, other);
        }
    }
    Ok(found)
}
