//! Digests of what a disk holds in given extents: the same bytes at the same places give the same digest.

use super::aligned::Aligned;
use super::batch::{Batches, lock};
use crate::model::extent::{Extent, ExtentSet};
use crate::model::id::Digest;
use crate::model::side::Pair;
use crate::ports::disk::{Disk, DiskFault};
use crate::ports::progress::Progress;
use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, PoisonError};

/// Pieces are the extents cut at multiples of this many bytes. Part of the digest's definition.
pub const PIECE: u64 = 1 << 20;

/// The digest of a disk's bytes in `extents`: BLAKE3 over, for each piece in ascending order, its start
/// and its length (bytes, 64 bits, little-endian) and the BLAKE3 of its bytes. Pieces are the extents cut
/// at multiples of [`PIECE`]. Independent of `threads`; memory: some pieces per thread.
///
/// # Errors
/// The [`DiskFault`] of the first piece that cannot be read.
pub fn content_digest(
    disk: &dyn Disk,
    extents: &ExtentSet,
    threads: usize,
    progress: &dyn Progress,
) -> Result<Digest, DiskFault> {
    progress.begin("hash", extents.bytes());
    let digest = digest_of(disk, extents, threads, progress);
    progress.finish();
    digest
}

/// The [`content_digest`] of both disks, read at the same time.
///
/// # Errors
/// The [`DiskFault`] of the first piece that cannot be read, side A's before side B's.
pub fn content_digests(
    a: &dyn Disk,
    b: &dyn Disk,
    extents: &ExtentSet,
    threads: usize,
    progress: &dyn Progress,
) -> Result<Pair<Digest>, DiskFault> {
    progress.begin("hash", extents.bytes().saturating_mul(2));
    let digests = std::thread::scope(|scope| {
        let each = threads.div_ceil(2);
        let of_b = move || digest_of(b, extents, each, progress);
        let other = std::thread::Builder::new().spawn_scoped(scope, of_b);
        let first = digest_of(a, extents, each, progress);
        let second = match other {
            Ok(other) => other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            // No thread can be had: one after the other.
            Err(_) => of_b(),
        };
        Pair::new(first, second).transpose()
    });
    progress.finish();
    digests
}

fn digest_of(
    disk: &dyn Disk,
    extents: &ExtentSet,
    threads: usize,
    progress: &dyn Progress,
) -> Result<Digest, DiskFault> {
    let mut all = ContentHasher::default();
    for_each_piece(disk, extents, threads, progress, |piece, _, digest| {
        all.piece(piece, digest);
        Ok::<(), DiskFault>(())
    })?;
    Ok(all.finish())
}

/// Builds a [`content_digest`] from pieces that were hashed elsewhere, for whoever reads them anyway.
#[derive(Debug, Default)]
pub struct ContentHasher {
    hasher: blake3::Hasher,
}

impl ContentHasher {
    /// Adds the next piece, in ascending order, cut as [`PIECE`] says, and the BLAKE3 of its bytes.
    pub fn piece(&mut self, piece: Extent, digest: Digest) {
        self.hasher.update(&piece.start.to_le_bytes());
        self.hasher.update(&piece.len.to_le_bytes());
        self.hasher.update(&digest.0);
    }

    /// The digest of all pieces.
    #[must_use]
    pub fn finish(&self) -> Digest {
        Digest(*self.hasher.finalize().as_bytes())
    }
}

/// Reads and hashes the pieces of `extents` (see [`PIECE`]) with `threads` threads, and shows them to
/// `visit` one by one, ascending, on the calling thread: the piece, its bytes, their BLAKE3. Advances
/// `progress` by each piece once it is visited, without beginning or finishing a phase. Memory: two
/// pieces per thread.
///
/// # Errors
/// The first error, in ascending order, of reading a piece or of `visit`; later pieces are not visited.
pub fn for_each_piece<E: From<DiskFault>>(
    disk: &dyn Disk,
    extents: &ExtentSet,
    threads: usize,
    progress: &dyn Progress,
    mut visit: impl FnMut(Extent, &[u8], Digest) -> Result<(), E>,
) -> Result<(), E> {
    let threads = threads.clamp(1, 256);
    // Short work needs no buffers that nobody fills.
    let slots = extents.bytes().div_ceil(PIECE).clamp(1, 2 * threads as u64);
    let line = Line {
        state: Mutex::new(State {
            batches: Batches::new(extents.iter(), PIECE),
            taken: 0,
            over: false,
            free: (0..slots).map(|_| Aligned::new(PIECE as usize)).collect(),
            ready: BTreeMap::new(),
        }),
        freed: Condvar::new(),
        filled: Condvar::new(),
    };
    std::thread::scope(|scope| {
        let start = |_: &usize| std::thread::Builder::new().spawn_scoped(scope, || line.fill(disk)).is_ok();
        // Where no thread can be had, this one does the work.
        let alone = (0..threads).take_while(start).count() == 0;
        // Whatever happens below, also a panic in `visit`: the workers must not wait for ever.
        let _stop = Stop(&line);
        let mut index = 0;
        loop {
            if alone {
                line.fill_one(disk);
            }
            let Some(batch) = line.next(index) else { break };
            let mut at = 0;
            for (piece, digest) in &batch.pieces {
                #[allow(clippy::cast_possible_truncation)] // a piece is at most PIECE long
                let end = at + piece.len as usize;
                visit(*piece, &batch.buffer.as_slice()[at..end], *digest)?;
                progress.advance(piece.len);
                at = end;
            }
            if let Some(fault) = batch.fault {
                return Err(fault.into());
            }
            line.give_back(batch.buffer);
            index += 1;
        }
        Ok(())
    })
}

/// A batch that was read and hashed, up to the first piece that could not be read.
struct Batch {
    buffer: Aligned,
    pieces: Vec<(Extent, Digest)>,
    fault: Option<DiskFault>,
}

struct State<I> {
    batches: Batches<I>,
    /// Batches taken so far: the next one's index.
    taken: u64,
    /// No further batch will be taken.
    over: bool,
    free: Vec<Aligned>,
    ready: BTreeMap<u64, Batch>,
}

/// Workers fill buffers in any order, the visitor takes them in the right one. A worker first gets a
/// buffer and then a batch, so the batch that the visitor waits for always has a buffer.
struct Line<I> {
    state: Mutex<State<I>>,
    freed: Condvar,
    filled: Condvar,
}

struct Stop<'a, I: Iterator<Item = Extent>>(&'a Line<I>);

impl<I: Iterator<Item = Extent>> Drop for Stop<'_, I> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl<I: Iterator<Item = Extent>> Line<I> {
    fn stop(&self) {
        lock(&self.state).over = true;
        self.freed.notify_all();
        self.filled.notify_all();
    }

    /// A buffer and a batch for it, or nothing when all is taken or nobody wants more.
    fn take(&self) -> Option<(u64, Aligned, Vec<Extent>)> {
        let mut state = lock(&self.state);
        loop {
            if state.over {
                return None;
            }
            if let Some(buffer) = state.free.pop() {
                let Some(batch) = state.batches.next() else {
                    drop(state);
                    self.stop();
                    return None;
                };
                let index = state.taken;
                state.taken += 1;
                return Some((index, buffer, batch));
            }
            state = self.freed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn fill(&self, disk: &dyn Disk) {
        while self.fill_one(disk) {}
    }

    /// Fills one batch; says whether there may be more.
    fn fill_one(&self, disk: &dyn Disk) -> bool {
        struct Panicking<'a, I: Iterator<Item = Extent>>(&'a Line<I>, u64);
        impl<I: Iterator<Item = Extent>> Drop for Panicking<'_, I> {
            fn drop(&mut self) {
                if std::thread::panicking() {
                    // The visitor would wait for this batch for ever.
                    let mut state = lock(&self.0.state);
                    state.taken = state.taken.min(self.1);
                    drop(state);
                    self.0.stop();
                }
            }
        }
        let Some((index, mut buffer, extents)) = self.take() else { return false };
        let _guard = Panicking(self, index);
        let mut pieces = Vec::with_capacity(extents.len());
        let mut fault = None;
        let mut at = 0;
        for piece in extents {
            #[allow(clippy::cast_possible_truncation)] // a piece is at most PIECE long
            let end = at + piece.len as usize;
            let bytes = &mut buffer.as_mut_slice()[at..end];
            if let Err(error) = disk.sweep_at(piece.start, bytes) {
                fault = Some(error);
                break;
            }
            pieces.push((piece, Digest(*blake3::hash(bytes).as_bytes())));
            at = end;
        }
        let failed = fault.is_some();
        lock(&self.state).ready.insert(index, Batch { buffer, pieces, fault });
        self.filled.notify_all();
        if failed {
            // Nothing behind a fault will be visited.
            self.stop();
        }
        !failed
    }

    /// The batch with this index, once it is filled; nothing when there is none.
    fn next(&self, index: u64) -> Option<Batch> {
        let mut state = lock(&self.state);
        loop {
            if let Some(batch) = state.ready.remove(&index) {
                return Some(batch);
            }
            if state.over && index >= state.taken {
                return None;
            }
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn give_back(&self, buffer: Aligned) {
        lock(&self.state).free.push(buffer);
        self.freed.notify_one();
    }
}
