//! Byte-by-byte comparison of two disks, in parallel, block by block only where it must.
//!
//! What is compared is cut into portions, in ascending order of position: that is the physical order of a
//! device, and nearly so that of a file. (Sorting by the file system's map was left out: the two sides
//! have two maps, so what is one order for one side is none for the other, and requests of 2 MiB, many at
//! once, leave the device little to gain.) How a portion is read depends on where its bytes are now:
//!
//! * at hand, on both sides (a file's pages in the page cache): one thread compares them in one of two manners.
//!   It copies and compares 256 KiB at a time, which stay in its processor's own cache; or it looks at both
//!   where they lie, mapped, and copies only the blocks that seem to differ. Which is faster depends on how the page cache
//!   is made up (docs/performance.md: from 1.6 times slower to 1.4 times faster on one machine), so both are tried in every
//!   run (`digest::trial`).
//! * otherwise (devices always): large requests, many in flight, past the page cache (`digest::floor`).
//!
//! The digests of what differs are taken from the very bytes that were compared, in copies: bytes that are looked
//! at in place can change, so they only ever prove that blocks are equal.

use super::aligned::Aligned;
use super::floor::{CloseOnPanic, Floor, Landed, Task};
use super::in_place::sift;
use super::judge::{Bad, Bytes, judge};
use super::load::{Way, fill};
use super::portion::Portion;
use super::route::{Route, Span, Terrain, windows};
use super::tally::Tally;
use super::trial::{Manner, Trial};
use crate::model::delta::Unreadable;
use crate::model::extent::{Extent, ExtentSet};
use crate::model::id::Digest;
use crate::model::side::{Pair, Side};
use crate::model::size::BLOCK;
use crate::ports::disk::Disk;
use crate::ports::progress::Progress;
use std::thread::Scope;
use std::time::Instant;

/// Most bytes that a portion reads of one side.
const PORTION: usize = 2 << 20;
/// All threads' windows together hold at most this many bytes.
const WINDOWS: u64 = 16 << 20;
/// Where reading is a copy from memory, reading through a gap of this many bytes costs no more than another
/// call.
const NEAR_GAP: u64 = 8 << 10;
/// Shorter runs, on an average of a portion, are always copied: looking at scattered ones in place costs several
/// times as much, page tables and faults for each.
const LOOKED_AT: u64 = 512 << 10;
/// A thread that only waits for requests needs little.
const READER_STACK: usize = 256 << 10;

/// How to compare. The result does not depend on `threads` or `chunk`.
#[derive(Debug, Clone, Copy)]
pub struct CompareOptions {
    /// Threads that compare; 1 to 256. Requests in flight are apart from this.
    pub threads: usize,
    /// Bytes of each side that are copied and compared at a time where they are in memory; rounded up to
    /// whole blocks of 4 KiB, at most 1 MiB, and less with many threads.
    pub chunk: u64,
    /// Where the replicated data ends, in bytes: the last block is cut here, because DRBD's own metadata
    /// may follow. `None`: where the smaller disk ends.
    pub size: Option<u64>,
}

impl Default for CompareOptions {
    fn default() -> Self {
        CompareOptions { threads: threads(), chunk: 256 << 10, size: None }
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
}

/// Compares the blocks that `scope` touches, in ascending order of position. Each extent is widened to
/// whole blocks of 4 KiB. Memory: at most about 56 MiB of buffers, and the runs of the result.
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
    run(Pair::new(a, b), scope, options, false, progress).map(|(compared, _)| compared)
}

/// As [`compare`], and the digests ([`super::content`]) of both sides' bytes in what differs: of the very
/// bytes that were compared.
///
/// # Errors
/// As for [`compare`].
pub fn compare_and_digest(
    a: &dyn Disk,
    b: &dyn Disk,
    scope: &ExtentSet,
    options: &CompareOptions,
    progress: &dyn Progress,
) -> Result<(Compared, Pair<Digest>), CompareError> {
    run(Pair::new(a, b), scope, options, true, progress)
}

fn run(
    disks: Pair<&dyn Disk>,
    scope: &ExtentSet,
    options: &CompareOptions,
    content: bool,
    progress: &dyn Progress,
) -> Result<(Compared, Pair<Digest>), CompareError> {
    let size = options.size.unwrap_or(disks.a.size().min(disks.b.size()));
    for (side, disk) in disks.iter() {
        let end = scope.end().max(options.size.unwrap_or(0));
        if end > disk.size() {
            return Err(CompareError::Outside { side, disk: disk.name().to_owned(), has: disk.size(), end });
        }
    }
    // Beyond the size there is nothing replicated, whatever the scope says.
    let total = blocks(scope, size).map(|run| run.len).sum::<u64>();
    let threads = options.threads.clamp(1, 256);
    let most = (WINDOWS / 2 / threads as u64).clamp(BLOCK, 1 << 20) / BLOCK * BLOCK;
    let chunk = options.chunk.clamp(1, most).next_multiple_of(BLOCK);

    progress.begin("compare", total);
    let floor = Floor::new(blocks(scope, size), PORTION, threads);
    let trial = Trial::new(threads);
    let bench = Bench { disks, floor: &floor, trial: &trial, chunk, content, progress };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            // With fewer threads than asked for the result is the same, only later.
            if std::thread::Builder::new().spawn_scoped(scope, || bench.work(scope)).is_err() {
                break;
            }
        }
        bench.work(scope);
    });
    progress.finish();

    let (differs, unreadable, digests) = floor.into_ledger().finish();
    let lost: ExtentSet = unreadable.iter().map(|gap| gap.extent).collect();
    Ok((Compared { differs, unreadable, compared: total - lost.bytes() }, digests))
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

/// What all threads of one comparison share.
struct Bench<'e, I> {
    disks: Pair<&'e dyn Disk>,
    floor: &'e Floor<I>,
    trial: &'e Trial,
    chunk: u64,
    content: bool,
    progress: &'e dyn Progress,
}

impl<'e, I: Iterator<Item = Extent> + Send> Bench<'e, I> {
    fn terrain(&self) -> Pair<Terrain<'e>> {
        self.disks.map(Terrain::new)
    }

    /// What a comparing thread does until all is compared.
    fn work<'s>(&'s self, scope: &'s Scope<'s, '_>) {
        let _guard = CloseOnPanic(self.floor);
        let mut terrain = self.terrain();
        let mut window = self.window();
        loop {
            let skip = |at| terrain.a.hole_until(at).min(terrain.b.hole_until(at));
            match self.floor.next(skip) {
                Task::Fresh(skipped, portion) => {
                    if skipped > 0 {
                        self.progress.advance(skipped);
                    }
                    let Some(portion) = portion else { continue };
                    let route = Route::new(&portion, &mut terrain);
                    match self.compare_if_at_hand(&portion, &route, &mut window) {
                        Some(tally) => {
                            self.floor.enter_near(portion.index, tally);
                            self.progress.advance(portion.bytes());
                        }
                        None => {
                            self.floor.send_up(portion, route);
                            self.engage(scope);
                        }
                    }
                }
                Task::Landed(landed) => {
                    // Their buffers are free again, so that others may go up.
                    let tally = self.compare_landed(&landed);
                    self.floor.enter(landed.portion.index, tally);
                    self.progress.advance(landed.portion.bytes());
                    self.floor.unload(*landed);
                    self.engage(scope);
                }
                Task::Read(request) => {
                    let (index, side, load) = request.carry_out(self.disks);
                    self.floor.arrived(index, side, load);
                }
                Task::Done => break,
            }
        }
    }

    #[allow(clippy::cast_possible_truncation)] // at most 1 MiB
    fn window(&self) -> Pair<Aligned> {
        Pair::from_fn(|_| Aligned::new(self.chunk as usize))
    }

    /// Makes threads for the requests that nobody waits for.
    fn engage<'s>(&'s self, scope: &'s Scope<'s, '_>) {
        while self.floor.wants_reader() {
            let reader = || {
                let _guard = CloseOnPanic(self.floor);
                while let Some(request) = self.floor.request() {
                    let (index, side, load) = request.carry_out(self.disks);
                    self.floor.arrived(index, side, load);
                }
            };
            let made = std::thread::Builder::new().stack_size(READER_STACK).spawn_scoped(scope, reader);
            if made.is_err() {
                self.floor.reader_refused();
            }
        }
    }

    /// Nothing if something is not at hand.
    fn compare_if_at_hand(
        &self,
        portion: &Portion,
        route: &Route,
        window: &mut Pair<Aligned>,
    ) -> Option<Tally> {
        let mut tally = Tally::new(self.content);
        if portion.bytes() < LOOKED_AT * portion.pieces.len() as u64 {
            // Scattered: trying to copy tells as much as asking, and takes one call less for each.
            let copied = |span: &Span| {
                self.compare_copies(Way::OnlyAtHand, span, route.parts(span), window, &mut tally)
            };
            return route.spans.iter().all(copied).then_some(tally);
        }
        if !route.at_hand(self.disks) {
            return None;
        }
        let (manner, told) = self.trial.next();
        let begin = Instant::now();
        let mut suspects = Vec::new();
        for span in &route.spans {
            let parts = match manner {
                Manner::Copy => route.parts(span),
                Manner::InPlace => {
                    suspects.clear();
                    sift(self.disks, span, route.parts(span), &mut suspects);
                    &suspects
                }
            };
            self.compare_copies(Way::AtHand, span, parts, window, &mut tally);
        }
        if told {
            // What was mapped has to be unmapped some time: that counts, too.
            for piece in portion.pieces.iter().filter(|_| manner == Manner::InPlace) {
                self.disks.iter().for_each(|(_, disk)| disk.leave(*piece));
            }
            self.trial.took(manner, portion.bytes(), begin.elapsed());
        }
        Some(tally)
    }

    /// Copies `parts` of a span, a window at a time, and compares the copies. No, if something was not at hand and
    /// was not to be read then.
    fn compare_copies(
        &self,
        way: Way,
        span: &Span,
        parts: &[Extent],
        window: &mut Pair<Aligned>,
        tally: &mut Tally,
    ) -> bool {
        let mut bad = Pair::new(Bad::new(), Bad::new());
        let mut copied = true;
        windows(parts, self.chunk, NEAR_GAP, |extent, parts| {
            #[allow(clippy::cast_possible_truncation)] // at most a chunk
            let len = extent.len as usize;
            for side in Side::BOTH {
                bad[side].clear();
                if copied && !span.hole[side] {
                    let buffer = &mut window[side].as_mut_slice()[..len];
                    copied = fill(self.disks[side], way, extent, parts, buffer, &mut bad[side]);
                }
            }
            if !copied {
                return;
            }
            let bytes = Pair::from_fn(|side| match span.hole[side] {
                true => Bytes::Hole(len),
                false => Bytes::Read(&window[side].as_slice()[..len]),
            });
            for part in parts {
                judge(extent.start, *part, bytes, &bad, tally);
            }
        });
        copied
    }

    fn compare_landed(&self, landed: &Landed) -> Tally {
        let mut tally = Tally::new(self.content);
        let bad = Pair::from_fn(|side| landed.loads[side].bad.clone());
        let mut at = Pair::new(0, 0);
        for span in &landed.route.spans {
            #[allow(clippy::cast_possible_truncation)] // at most a portion
            let len = span.extent.len as usize;
            let bytes = Pair::from_fn(|side| {
                if span.hole[side] {
                    return Bytes::Hole(len);
                }
                let begin = at[side];
                at[side] += len;
                Bytes::Read(&landed.loads[side].buffer.as_slice()[begin..begin + len])
            });
            for part in landed.route.parts(span) {
                judge(span.extent.start, *part, bytes, &bad, &mut tally);
            }
        }
        tally
    }
}
