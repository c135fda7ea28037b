//! The one pass over the data: reads and hashes what is asked about, in parallel, and keeps sums only.

use super::LinkOptions;
use super::estimate::Estimator;
use super::grid::{Grid, LEAF, covered, in_leaves};
use super::order::lock;
use super::sketch::{FULL, Sketch};
use super::value::Key;
use crate::digest::aligned::Aligned;
use crate::format::wire::runs::MOST_RUNS;
use crate::model::extent::{Extent, ExtentSet, Iter};
use crate::model::size::BLOCK;
use crate::ports::disk::{Disk, Stretch};
use crate::ports::progress::Progress;
use std::iter::Peekable;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread::Scope;

/// Most pieces in one portion of work.
const MOST_PIECES: usize = 256;
/// Most threads that are made only to have more requests in flight.
const MOST_DIVERS: usize = 14;
/// What is in memory is copied and hashed this many bytes at a time.
const WINDOW: u64 = 256 << 10;

/// What one side keeps of its data.
#[derive(Debug)]
pub(super) struct Summary {
    /// The sum of all leaf values.
    pub(super) total: u128,
    /// The sums by chunk, from chunk 0 on.
    pub(super) chunks: Vec<u128>,
    pub(super) estimator: Estimator,
    pub(super) sketch: Sketch,
    /// Parts of leaves that could not be read, in bytes: their value counts as 0.
    pub(super) lost: ExtentSet,
}

impl Summary {
    #[allow(clippy::cast_possible_truncation)] // at most a million chunks
    fn new(grid: &Grid, key: &Key) -> Self {
        let [a, b, c, d] = key.seeds;
        Summary {
            total: 0,
            chunks: vec![0; grid.chunks() as usize],
            estimator: Estimator::new(d),
            sketch: Sketch::new([a, b, c], FULL),
            lost: ExtentSet::empty(),
        }
    }

    /// The leaves that could not be read, or more, in so few runs that they fit into a message.
    pub(super) fn lost_leaves(&self, grid: &Grid) -> ExtentSet {
        covered(&in_leaves(&self.lost), MOST_RUNS).clip(grid.leaves())
    }

    fn absorb(&mut self, grid: &Grid, values: &[(u64, u128)]) {
        for (leaf, value) in values {
            self.total = self.total.wrapping_add(*value);
            #[allow(clippy::cast_possible_truncation)] // at most a million chunks
            let chunk = (leaf / grid.leaves_per_chunk()) as usize;
            self.chunks[chunk] = self.chunks[chunk].wrapping_add(*value);
            self.estimator.add(*leaf, *value);
            self.sketch.add(*leaf, *value);
        }
    }
}

/// The value of the part of a leaf that is asked about: the leaf's own if it is all of it, otherwise the sum of its blocks'.
pub(super) fn part_value(key: &Key, size: u64, part: Extent, bytes: &[u8]) -> u128 {
    if part.start.is_multiple_of(LEAF) && (part.len == LEAF || part.end() == size) {
        return key.value(part.start, bytes);
    }
    let blocks = part.pieces(BLOCK).zip(bytes.chunks(BLOCK as usize));
    blocks.fold(0, |sum, (block, bytes)| sum.wrapping_add(key.value(block.start, bytes)))
}

/// Cuts what is asked about into portions of at most `piece` bytes, without the holes.
struct Portions<'a> {
    disk: &'a dyn Disk,
    runs: Peekable<Iter<'a>>,
    /// Where in the first of the runs.
    at: u64,
    /// What the disk said about the stretch at `at`, up to where.
    data_until: u64,
    piece: u64,
    progress: &'a dyn Progress,
}

impl Portions<'_> {
    fn next(&mut self) -> Vec<Extent> {
        let mut portion = Vec::new();
        let mut left = self.piece;
        while portion.len() < MOST_PIECES {
            let Some(run) = self.runs.peek().copied() else { break };
            self.at = self.at.max(run.start);
            if self.at >= run.end() {
                self.runs.next();
                continue;
            }
            if self.at >= self.data_until {
                match self.disk.stretch(self.at) {
                    Stretch::Hole(until) => {
                        // Only whole leaves, or what is asked about of one: a leaf that is partly hole is read.
                        let until = if until >= run.end() { run.end() } else { until / LEAF * LEAF };
                        if until > self.at {
                            self.progress.advance(until - self.at);
                            self.at = until;
                            continue;
                        }
                        self.data_until = self.at + 1;
                    }
                    Stretch::Data(until) => self.data_until = until.max(self.at + 1),
                }
            }
            // Up to the end of the data, the run, or the next multiple of a piece; never into a leaf's middle.
            let data = self.data_until.checked_next_multiple_of(LEAF).unwrap_or(u64::MAX);
            let cut = (self.at / self.piece + 1).saturating_mul(self.piece);
            let piece = Extent::between(self.at, data.min(run.end()).min(cut));
            if piece.len > left {
                break;
            }
            left -= piece.len;
            portion.push(piece);
            self.at = piece.end();
        }
        portion
    }
}

/// What the threads of one pass share.
struct Pass<'a> {
    disk: &'a dyn Disk,
    grid: &'a Grid,
    key: &'a Key,
    piece: u64,
    portions: Mutex<Portions<'a>>,
    summary: Mutex<Summary>,
    lost: Mutex<Vec<Extent>>,
    progress: &'a dyn Progress,
    stop: &'a AtomicBool,
    /// How many more may hash; reading needs no leave.
    hashing: Mutex<usize>,
    hashed: Condvar,
    /// Threads that were made so that more requests are in flight.
    divers: AtomicUsize,
}

/// Leave to hash; given back at its end.
struct Leave<'l, 'p>(&'l Pass<'p>);

impl Drop for Leave<'_, '_> {
    fn drop(&mut self) {
        *lock(&self.0.hashing) += 1;
        self.0.hashed.notify_one();
    }
}

impl<'p> Pass<'p> {
    fn leave(&self) -> Leave<'_, 'p> {
        let mut free = lock(&self.hashing);
        while *free == 0 {
            free = self.hashed.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
        *free -= 1;
        Leave(self)
    }

    fn work<'s>(&'s self, scope: &'s Scope<'s, '_>)
    where
        'p: 's,
    {
        let longest = self.piece.min(self.grid.size.next_multiple_of(LEAF));
        #[allow(clippy::cast_possible_truncation)] // at most 16 MiB
        let mut buffer = Aligned::new(longest as usize);
        let mut values = Vec::new();
        while !self.stop.load(Ordering::Relaxed) {
            // A statement of its own, so that the lock is free again while the portion is hashed.
            let portion = lock(&self.portions).next();
            let (Some(first), Some(last)) = (portion.first(), portion.last()) else { break };
            if !self.disk.at_hand(Extent::between(first.start, last.end())) {
                self.dive(scope);
            }
            for piece in portion.iter().flat_map(|piece| self.requests(*piece)) {
                self.read_and_hash(piece, &mut buffer, &mut values);
            }
            // Many at once: the table's cells come into the cache side by side.
            lock(&self.summary).absorb(self.grid, &values);
            values.clear();
            self.progress.advance(portion.iter().map(|piece| piece.len).sum());
        }
    }

    /// Makes one more thread whose requests are in flight while others hash: a device that has many to choose from is faster.
    fn dive<'s>(&'s self, scope: &'s Scope<'s, '_>)
    where
        'p: 's,
    {
        if self.divers.fetch_add(1, Ordering::Relaxed) < MOST_DIVERS {
            // Without it the result is the same, only later.
            let _ = std::thread::Builder::new().spawn_scoped(scope, move || self.work(scope));
        }
    }

    /// What is at hand is copied and hashed in parts that stay in the processor's cache.
    fn requests(&self, piece: Extent) -> impl Iterator<Item = Extent> + use<> {
        // Cut at multiples of the step: only multiples of a leaf leave leaves whole.
        let step = if self.disk.at_hand(piece) { WINDOW } else { u64::MAX };
        piece.pieces(step)
    }

    fn read_and_hash(&self, piece: Extent, buffer: &mut Aligned, values: &mut Vec<(u64, u128)>) {
        #[allow(clippy::cast_possible_truncation)] // at most a piece
        let bytes = &mut buffer.as_mut_slice()[..piece.len as usize];
        let failed = self.disk.sweep_at(piece.start, bytes).is_err();
        let _leave = self.leave();
        for (part, bytes) in piece.pieces(LEAF).zip(parts_mut(piece, bytes)) {
            if failed && self.disk.sweep_at(part.start, bytes).is_err() {
                lock(&self.lost).push(part);
                continue;
            }
            let value = part_value(self.key, self.grid.size, part, bytes);
            if value != 0 {
                values.push((part.start / LEAF, value));
            }
        }
    }
}

/// Reads and hashes everything that the grid asks about, and sums it up. What cannot be read is a result. Ends early when
/// `stop` is set; the summary is then of no use. Memory: one piece a thread, and the summary.
pub(super) fn first_pass(
    disk: &dyn Disk,
    grid: &Grid,
    key: &Key,
    options: &LinkOptions,
    progress: &dyn Progress,
    stop: &AtomicBool,
) -> Summary {
    let piece = options.piece();
    progress.begin("hash", grid.blocks.bytes());
    let runs = grid.blocks.iter().peekable();
    let pass = Pass {
        disk,
        grid,
        key,
        piece,
        portions: Mutex::new(Portions { disk, runs, at: 0, data_until: 0, piece, progress }),
        summary: Mutex::new(Summary::new(grid, key)),
        lost: Mutex::default(),
        progress,
        stop,
        hashing: Mutex::new(options.threads()),
        hashed: Condvar::new(),
        divers: AtomicUsize::new(0),
    };
    std::thread::scope(|scope| {
        for _ in 1..options.threads() {
            // With fewer threads than asked for the result is the same, only later.
            if std::thread::Builder::new().spawn_scoped(scope, || pass.work(scope)).is_err() {
                break;
            }
        }
        pass.work(scope);
    });
    progress.finish();
    let lost = lock(&pass.lost).drain(..).collect();
    let mut summary = pass.summary.into_inner().unwrap_or_else(PoisonError::into_inner);
    summary.lost = lost;
    summary
}

/// The bytes of each part of a leaf in a piece.
#[allow(clippy::cast_possible_truncation)] // at most a leaf
fn parts_mut(piece: Extent, bytes: &mut [u8]) -> impl Iterator<Item = &mut [u8]> {
    let first = (LEAF - piece.start % LEAF).min(piece.len) as usize;
    let (head, rest) = bytes.split_at_mut(first);
    std::iter::once(head).chain(rest.chunks_mut(LEAF as usize))
}
