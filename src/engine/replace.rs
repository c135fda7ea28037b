//! Overwriting the victim, piece by piece: each piece is compared with what was seen there right before it is replaced, and
//! the claims are asked again all along. Software cannot make the time between comparing and writing nothing; here it is that
//! of one piece.

use crate::digest::content::ContentHasher;
use crate::model::extent::Extent;
use crate::model::id::Digest;
use crate::model::salvage::Piece;
use crate::ports::clock::Clock;
use crate::ports::disk::{Disk, DiskFault, DiskMut, Replacement};
use crate::ports::progress::Progress;
use crate::proof::preserved::ReadPiece;
use crate::proof::quiesced::Quiesced;
use rayon::prelude::*;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes moved at once.
const BATCH: usize = 4 << 20;
/// Asking who else has a device open means looking through all processes. So that this does not become most of the work,
/// the claims are asked before a batch unless that was done less than so many times as long ago as it took.
const RATION: i64 = 10;

/// Why what stands on the victim was not overwritten to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotOverwritten {
    /// Reading or writing failed, or the victim holds something else than what was checked.
    #[error(transparent)]
    Disk(#[from] DiskFault),
    /// What was copied are not the bytes that the plan knows.
    #[error(
        "the survivor's data is not what the plan was drawn from: it was written to while it was copied. Draw a new plan"
    )]
    Source,
}

/// The victim's data, of which only what was looked at can be replaced.
pub(super) struct Guarded<'g> {
    disk: &'g dyn DiskMut,
    /// What stands there, ascending.
    standing: &'g [Piece],
    quiet: &'g Quiesced,
    clock: &'g dyn Clock,
    /// From when to when the last asking counts.
    asked: Mutex<Option<(i64, i64)>>,
    lost: Mutex<Option<String>>,
}

impl<'g> Guarded<'g> {
    /// `standing` is what was seen on `disk` and may be replaced.
    pub(super) fn new(
        disk: &'g dyn DiskMut,
        standing: &'g [Piece],
        quiet: &'g Quiesced,
        clock: &'g dyn Clock,
    ) -> Self {
        Guarded { disk, standing, quiet, clock, asked: Mutex::default(), lost: Mutex::default() }
    }

    /// Who else may be writing, once a claim was found to be lost.
    pub(super) fn lost(&self) -> Option<String> {
        lock(&self.lost).clone()
    }

    fn ask(&self, extent: Extent) -> Result<(), DiskFault> {
        let mut asked = lock(&self.asked);
        let before = self.clock.now().0;
        // A clock that was set back proves nothing.
        if asked.is_some_and(|(from, until)| from <= before && before < until) {
            return Ok(());
        }
        if let Err(error) = self.quiet.check() {
            *lock(&self.lost) = Some(error.to_string());
            let (disk, source) = (self.disk.name().to_owned(), std::io::Error::other(error));
            return Err(DiskFault::Io { disk, act: "write", extent, source });
        }
        let after = self.clock.now().0;
        let while_asking = after.saturating_sub(before);
        *asked = Some((after, after.saturating_add(RATION.saturating_mul(while_asking))));
        Ok(())
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Disk for Guarded<'_> {
    fn name(&self) -> &str {
        self.disk.name()
    }

    fn size(&self) -> u64 {
        self.disk.size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskFault> {
        self.disk.read_at(offset, buffer)
    }
}

impl DiskMut for Guarded<'_> {
    /// Whole pieces of what stands there, one after the other, and nothing else.
    fn write_at(&self, offset: u64, buffer: &[u8]) -> Result<(), DiskFault> {
        let whole = Extent { start: offset, len: buffer.len() as u64 };
        let unknown = || DiskFault::Changed { disk: self.disk.name().to_owned(), extent: whole };
        let first = self.standing.partition_point(|piece| piece.start < offset);
        let (mut rest, mut at, mut pieces) = (buffer, offset, Vec::new());
        for piece in &self.standing[first..] {
            if rest.is_empty() {
                break;
            }
            let len = usize::try_from(piece.len).unwrap_or(usize::MAX);
            let (new, behind) =
                rest.split_at_checked(len).filter(|_| piece.start == at).ok_or_else(unknown)?;
            pieces.push(Replacement { was: *piece, new });
            (rest, at) = (behind, at + piece.len);
        }
        if rest.is_empty() { self.replace(&pieces) } else { Err(unknown()) }
    }

    fn replace(&self, pieces: &[Replacement<'_>]) -> Result<(), DiskFault> {
        let mut rest = pieces;
        while let Some(first) = rest.first() {
            let mut bytes = 0;
            let fits = |piece: &&Replacement<'_>| {
                bytes += piece.new.len();
                bytes <= BATCH
            };
            let many = rest.iter().take_while(fits).count().max(1);
            let (batch, behind) = rest.split_at(many);
            self.ask(first.was.extent())?;
            self.disk.replace(batch)?;
            rest = behind;
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), DiskFault> {
        self.disk.flush()
    }

    fn as_disk(&self) -> &dyn Disk {
        self
    }
}

/// Some pieces, as another disk has them.
struct Load<'s> {
    pieces: &'s [Piece],
    bytes: Vec<u8>,
    read: Vec<Digest>,
}

fn load<'s>(from: &dyn Disk, pieces: &'s [Piece]) -> Result<Load<'s>, DiskFault> {
    let len = |piece: &Piece| usize::try_from(piece.len).unwrap_or(usize::MAX);
    let mut bytes = vec![0; pieces.iter().map(len).sum()];
    let (mut rest, mut work) = (&mut bytes[..], Vec::with_capacity(pieces.len()));
    for piece in pieces {
        let (mine, behind) = rest.split_at_mut(len(piece));
        work.push((piece.start, mine));
        rest = behind;
    }
    let read = work.into_par_iter().map(|(start, mine)| {
        from.read_at(start, mine)?;
        Ok(ReadPiece::of(start, mine).piece().blake3)
    });
    let read = read.collect::<Result<Vec<Digest>, DiskFault>>()?;
    Ok(Load { pieces, bytes, read })
}

/// Copies what is to be replaced on `into` from the same places of `from`, whose bytes must come to `expected`, and makes it
/// durable. A failure anywhere leaves the rest for the next run.
///
/// # Errors
/// [`NotOverwritten`].
pub(super) fn copy(
    from: &dyn Disk,
    into: &Guarded<'_>,
    expected: Digest,
    progress: &dyn Progress,
) -> Result<(), NotOverwritten> {
    progress.begin("overwriting the victim", into.standing.iter().map(|piece| piece.len).sum());
    let mut copied = ContentHasher::default();
    let mut batches = batches(into.standing);
    let mut next = batches.next().map(|pieces| load(from, pieces)).transpose()?;
    while let Some(Load { pieces, bytes, read }) = next {
        let (mut rest, mut replacements) = (&bytes[..], Vec::with_capacity(pieces.len()));
        for (was, digest) in pieces.iter().zip(read) {
            let (new, behind) = rest.split_at(usize::try_from(was.len).unwrap_or(usize::MAX));
            copied.piece(was.extent(), digest);
            replacements.push(Replacement { was: *was, new });
            rest = behind;
        }
        let upcoming = batches.next();
        let (written, loaded) = rayon::join(
            || into.replace(&replacements),
            || upcoming.map(|pieces| load(from, pieces)).transpose(),
        );
        written?;
        progress.advance(bytes.len() as u64);
        next = loaded?;
    }
    into.flush()?;
    progress.finish();
    if copied.finish() == expected { Ok(()) } else { Err(NotOverwritten::Source) }
}

/// Cuts pieces into runs of at most [`BATCH`] bytes.
fn batches(pieces: &[Piece]) -> impl Iterator<Item = &[Piece]> {
    let mut rest = pieces;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |piece: &&Piece| {
            bytes += usize::try_from(piece.len).unwrap_or(usize::MAX);
            bytes <= BATCH
        };
        let many = rest.iter().take_while(fits).count().max(usize::from(!rest.is_empty()));
        let (batch, behind) = rest.split_at(many);
        rest = behind;
        (!batch.is_empty()).then_some(batch)
    })
}

/// The digest of everything that `pieces` hold, as [`crate::digest::content::content_digest`] makes it.
pub(super) fn digest_of_pieces(pieces: &[Piece]) -> Digest {
    let mut all = ContentHasher::default();
    for piece in pieces {
        all.piece(piece.extent(), piece.blake3);
    }
    all.finish()
}

#[cfg(test)]
mod tests;
