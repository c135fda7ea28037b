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
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// Most pieces in one portion of work.
const MOST_PIECES: usize = 256;

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
    let portions = Mutex::new(Portions { disk, runs, at: 0, data_until: 0, piece, progress });
    let summary = Mutex::new(Summary::new(grid, key));
    let lost = Mutex::new(Vec::new());
    let work = || {
        #[allow(clippy::cast_possible_truncation)] // at most 16 MiB
        let mut buffer = Aligned::new(piece.min(grid.size.next_multiple_of(LEAF)) as usize);
        let mut values = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            // A statement of its own, so that the lock is free again while the portion is hashed.
            let portion = lock(&portions).next();
            if portion.is_empty() {
                break;
            }
            for piece in &portion {
                #[allow(clippy::cast_possible_truncation)]
                let bytes = &mut buffer.as_mut_slice()[..piece.len as usize];
                let failed = disk.read_at(piece.start, bytes).is_err();
                for (part, bytes) in piece.pieces(LEAF).zip(parts_mut(*piece, bytes)) {
                    if failed && disk.read_at(part.start, bytes).is_err() {
                        lock(&lost).push(part);
                        continue;
                    }
                    let value = part_value(key, grid.size, part, bytes);
                    if value != 0 {
                        values.push((part.start / LEAF, value));
                    }
                }
            }
            // Many at once: the table's cells come into the cache side by side.
            lock(&summary).absorb(grid, &values);
            values.clear();
            progress.advance(portion.iter().map(|piece| piece.len).sum());
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..options.threads() {
            // With fewer threads than asked for the result is the same, only later.
            if std::thread::Builder::new().spawn_scoped(scope, work).is_err() {
                break;
            }
        }
        work();
    });
    progress.finish();
    let mut summary = summary.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    summary.lost = lock(&lost).drain(..).collect();
    summary
}

/// The bytes of each part of a leaf in a piece.
#[allow(clippy::cast_possible_truncation)] // at most a leaf
fn parts_mut(piece: Extent, bytes: &mut [u8]) -> impl Iterator<Item = &mut [u8]> {
    let first = (LEAF - piece.start % LEAF).min(piece.len) as usize;
    let (head, rest) = bytes.split_at_mut(first);
    std::iter::once(head).chain(rest.chunks_mut(LEAF as usize))
}
