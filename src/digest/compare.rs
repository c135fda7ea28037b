//! Byte-by-byte comparison of two disks, in parallel, block by block only where it must.

use super::aligned::Aligned;
use super::batch::{Batches, lock};
use crate::model::delta::Unreadable;
use crate::model::extent::{Extent, ExtentSet};
use crate::model::seen::Why;
use crate::model::side::{Pair, Side};
use crate::model::size::BLOCK;
use crate::ports::disk::{Disk, DiskFault, Stretch};
use crate::ports::progress::Progress;
use std::sync::Mutex;

/// The largest request to a disk, in bytes, whatever the options say.
const LARGEST_CHUNK: u64 = 64 << 20;
/// Findings kept before neighbours are merged for the first time.
const FIRST_MERGE: usize = 4096;
static ZEROS: [u8; BLOCK as usize] = [0; BLOCK as usize];

/// How to compare. The result does not depend on `threads` or `chunk`.
#[derive(Debug, Clone, Copy)]
pub struct CompareOptions {
    /// Threads that read and compare; at least 1. On devices also the number of requests in flight.
    pub threads: usize,
    /// Bytes per request, rounded up to whole blocks of 4 KiB, at most 64 MiB.
    pub chunk: u64,
    /// Where the replicated data ends, in bytes: the last block is cut here, because DRBD's own metadata
    /// may follow. `None`: where the smaller disk ends.
    pub size: Option<u64>,
}

impl Default for CompareOptions {
    fn default() -> Self {
        CompareOptions { threads: threads(), chunk: 1 << 20, size: None }
    }
}

/// The processors this process may use; 1 if the system does not say.
#[must_use]
pub fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// What a comparison found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    /// Blocks that differ: whole blocks of 4 KiB counted from byte 0, the last one maybe shorter.
    pub differs: ExtentSet,
    /// Blocks that could not be read, ascending, neighbours with the same reason joined. They are in
    /// neither `differs` nor `compared`: nothing is known about them. A disk that became shorter shows
    /// here too.
    pub unreadable: Vec<Unreadable>,
    /// Bytes that were compared on each side.
    pub compared: u64,
}

/// Why a comparison could not be made at all. (Blocks that cannot be read are a result, not an error.)
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// More was asked for than a disk has.
    #[error("side {side}, {disk}, has {has} bytes, fewer than the {end} to compare")]
    Outside {
        /// Whose disk.
        side: Side,
        /// The disk's name.
        disk: String,
        /// The disk's size in bytes.
        has: u64,
        /// First byte behind what was to be compared.
        end: u64,
    },
    /// A block that could be compared could not be read again for its digest.
    #[error("the blocks that differ could not be read a second time")]
    Content(#[source] DiskFault),
    /// Blocks that differed were all equal when they were read again.
    #[error(
        "the disks changed while they were compared: {bytes} bytes that differed are equal now; stop whatever writes to them"
    )]
    Moving {
        /// Bytes that differed.
        bytes: u64,
    },
}

/// Compares the blocks that `scope` touches, in ascending order of position. Each extent is widened to
/// whole blocks of 4 KiB. Memory: two chunks per thread, and the runs of the result.
///
/// A hole on both sides is equal without being read; a hole on one side is compared with zeros.
///
/// # Errors
/// [`CompareError::Outside`] when the scope or the size given in the options does not fit both disks.
pub fn compare(
    a: &dyn Disk,
    b: &dyn Disk,
    scope: &ExtentSet,
    options: &CompareOptions,
    progress: &dyn Progress,
) -> Result<Compared, CompareError> {
    let size = options.size.unwrap_or(a.size().min(b.size()));
    for (side, disk) in [(Side::A, a), (Side::B, b)] {
        let end = scope.end().max(options.size.unwrap_or(0));
        if end > disk.size() {
            return Err(CompareError::Outside { side, disk: disk.name().to_owned(), has: disk.size(), end });
        }
    }
    // Beyond the size there is nothing replicated, whatever the scope says.
    let total = blocks(scope, size).map(|run| run.len).sum::<u64>();
    let chunk = options.chunk.clamp(1, LARGEST_CHUNK).next_multiple_of(BLOCK);
    let threads = options.threads.clamp(1, 256);

    progress.begin("compare", total);
    let batches = Mutex::new(Batches::new(blocks(scope, size), chunk));
    let found = Mutex::new(Found::default());
    let work = || {
        let mut worker = Worker { views: Pair::new(View::new(a, chunk), View::new(b, chunk)) };
        loop {
            // A statement of its own, so that the lock is free again while the batch is compared.
            let batch = lock(&batches).next();
            let Some(batch) = batch else { break };
            let mut here = Found::default();
            for piece in &batch {
                worker.compare(*piece, &mut here);
            }
            if !here.is_empty() {
                lock(&found).absorb(here);
            }
            progress.advance(batch.iter().map(|piece| piece.len).sum());
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            // With fewer threads than asked for the result is the same, only later.
            if std::thread::Builder::new().spawn_scoped(scope, work).is_err() {
                break;
            }
        }
        work();
    });
    progress.finish();

    let (differs, unreadable) = lock(&found).take();
    let lost: ExtentSet = unreadable.iter().map(|gap| gap.extent).collect();
    Ok(Compared { differs, unreadable, compared: total - lost.bytes() })
}

/// The runs of `scope` below `size`, widened to whole blocks, touching ones joined; made one by one.
fn blocks(scope: &ExtentSet, size: u64) -> impl Iterator<Item = Extent> + '_ {
    let mut runs = scope
        .iter()
        .map(move |run| {
            let end = run.end().checked_next_multiple_of(BLOCK).unwrap_or(u64::MAX);
            Extent::between(run.start / BLOCK * BLOCK, end.min(size))
        })
        .filter(|run| run.len > 0)
        .peekable();
    std::iter::from_fn(move || {
        let mut run = runs.next()?;
        while let Some(next) = runs.next_if(|next| next.start <= run.end()) {
            run = Extent::between(run.start, run.end().max(next.end()));
        }
        Some(run)
    })
}

/// What threads found so far.
#[derive(Default)]
struct Found {
    differs: Vec<Extent>,
    unreadable: Vec<Unreadable>,
    merge_at: usize,
}

impl Found {
    fn is_empty(&self) -> bool {
        self.differs.is_empty() && self.unreadable.is_empty()
    }

    fn differs(&mut self, block: Extent) {
        match self.differs.last_mut() {
            Some(last) if last.end() == block.start => last.len += block.len,
            _ => self.differs.push(block),
        }
    }

    fn unreadable(&mut self, side: Side, extent: Extent, why: Why) {
        self.unreadable.push(Unreadable { side, extent, why });
    }

    /// Takes another thread's findings; joins neighbours whenever the lists have doubled, so that memory
    /// follows the runs of the result and not the number of chunks.
    fn absorb(&mut self, other: Found) {
        self.differs.extend(other.differs);
        self.unreadable.extend(other.unreadable);
        if self.differs.len() + self.unreadable.len() > self.merge_at.max(FIRST_MERGE) {
            let differs: ExtentSet = self.differs.drain(..).collect();
            self.differs.extend(differs.iter());
            self.unreadable = joined(std::mem::take(&mut self.unreadable));
            self.merge_at = 2 * (self.differs.len() + self.unreadable.len());
        }
    }

    fn take(&mut self) -> (ExtentSet, Vec<Unreadable>) {
        let mut unreadable = joined(std::mem::take(&mut self.unreadable));
        unreadable.sort_by_key(|gap| (gap.extent.start, gap.side));
        (self.differs.drain(..).collect(), unreadable)
    }
}

/// Joins touching ranges of one side that have the same reason.
fn joined(mut gaps: Vec<Unreadable>) -> Vec<Unreadable> {
    gaps.sort_by_key(|gap| (gap.side, gap.extent.start));
    gaps.dedup_by(|next, last| {
        let same = next.side == last.side && next.extent.start == last.extent.end() && next.why == last.why;
        if same {
            last.extent.len += next.extent.len;
        }
        same
    });
    gaps
}

/// The reason without the place, so that neighbours can be joined: the extent tells the place.
fn reason(fault: &DiskFault) -> Why {
    match fault {
        DiskFault::Io { source, .. } => Why(source.to_string()),
        DiskFault::Short { .. } => Why("the disk became shorter while in use".to_owned()),
        DiskFault::Outside { .. } => Why(fault.to_string()),
    }
}

/// One side as one thread sees it.
struct View<'a> {
    disk: &'a dyn Disk,
    buffer: Aligned,
    /// What the disk last said a stretch is made of; saves asking again for every chunk of a long one.
    known: Option<(Extent, bool)>,
}

impl<'a> View<'a> {
    fn new(disk: &'a dyn Disk, chunk: u64) -> Self {
        let chunk = usize::try_from(chunk).unwrap_or(LARGEST_CHUNK as usize);
        View { disk, buffer: Aligned::new(chunk), known: None }
    }

    /// Whether whole blocks from `at` on are a hole, and up to where (at most `end`) that is so.
    fn stretch(&mut self, at: u64, end: u64) -> (bool, u64) {
        let (extent, hole) = match self.known {
            Some((extent, hole)) if extent.start <= at && at < extent.end() => (extent, hole),
            _ => {
                let (until, hole) = match self.disk.stretch(at) {
                    Stretch::Data(until) => (until, false),
                    Stretch::Hole(until) => (until, true),
                };
                let fresh = (Extent::between(at, until), hole);
                self.known = Some(fresh);
                fresh
            }
        };
        let until = extent.end();
        if until >= end {
            return (hole, end);
        }
        let whole = until / BLOCK * BLOCK;
        if hole && whole > at {
            return (true, whole);
        }
        // A block that is partly hole is read like data.
        let data = if hole { at + 1 } else { until.max(at + 1) };
        (false, data.next_multiple_of(BLOCK).min(end))
    }

    fn read(&mut self, base: u64, part: Extent) -> Result<(), DiskFault> {
        let range = within(base, part);
        self.disk.read_at(part.start, &mut self.buffer.as_mut_slice()[range])
    }

    fn bytes(&self, base: u64, part: Extent) -> &[u8] {
        &self.buffer.as_slice()[within(base, part)]
    }
}

/// Where `part` lies in a buffer that holds the bytes from `base` on. Never longer than a chunk.
#[allow(clippy::cast_possible_truncation)]
fn within(base: u64, part: Extent) -> std::ops::Range<usize> {
    (part.start - base) as usize..(part.end() - base) as usize
}

struct Worker<'a> {
    views: Pair<View<'a>>,
}

impl Worker<'_> {
    /// Compares one piece: starts on a block boundary, no longer than a chunk.
    fn compare(&mut self, piece: Extent, found: &mut Found) {
        let mut at = piece.start;
        while at < piece.end() {
            let (a, a_until) = self.views.a.stretch(at, piece.end());
            let (b, b_until) = self.views.b.stretch(at, piece.end());
            let part = Extent::between(at, a_until.min(b_until));
            at = part.end();
            if !(a && b) {
                self.part(part, Pair::new(a, b), found);
            }
        }
    }

    /// Compares a part that is all hole or all data on each side.
    fn part(&mut self, part: Extent, hole: Pair<bool>, found: &mut Found) {
        let failed = Pair::from_fn(|side| !hole[side] && self.views[side].read(part.start, part).is_err());
        if failed.a || failed.b {
            return self.isolate(part, hole, failed, found);
        }
        if !hole.a && !hole.b && self.views.a.bytes(part.start, part) == self.views.b.bytes(part.start, part)
        {
            return;
        }
        for block in part.pieces(BLOCK) {
            self.block(part.start, block, hole, found);
        }
    }

    fn block(&self, base: u64, block: Extent, hole: Pair<bool>, found: &mut Found) {
        let side = |side: Side| match hole[side] {
            true => &ZEROS[within(block.start, block)],
            false => self.views[side].bytes(base, block),
        };
        if side(Side::A) != side(Side::B) {
            found.differs(block);
        }
    }

    /// Reads block by block on the sides that failed, to tell the bad blocks from their neighbours.
    fn isolate(&mut self, part: Extent, hole: Pair<bool>, failed: Pair<bool>, found: &mut Found) {
        for block in part.pieces(BLOCK) {
            let mut readable = true;
            for side in Side::BOTH {
                if failed[side]
                    && let Err(fault) = self.views[side].read(part.start, block)
                {
                    found.unreadable(side, block, reason(&fault));
                    readable = false;
                }
            }
            if readable {
                self.block(part.start, block, hole, found);
            }
        }
    }
}
