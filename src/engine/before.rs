//! What stood on the victim before a healing that keeps no salvage: a short digest of each sector,
//! under `before/<incident>` of the state directory.
//!
//! It brings nothing back. It tells, after a cut in the middle of overwriting, what was there from
//! what somebody else wrote since: a disk that loses power keeps any of the sectors it was given, so
//! nothing coarser than a sector would do. It costs 1/64 of what is overwritten. Somebody else's bytes
//! are taken for what was there once in 2^64 sectors.

use super::salvage::RESERVE;
use crate::digest::content::for_each_piece;
use crate::model::extent::{Extent, ExtentSet};
use crate::model::id::{IncidentId, PlanId};
use crate::model::salvage::Piece;
use crate::model::size::{SECTOR, human};
use crate::ports::disk::{Disk, DiskFault};
use crate::ports::progress::Progress;
use crate::ports::store::{Store, StoreFault};
use rayon::prelude::*;

/// The folder of all notes.
pub const FOLDER: &str = "before";
/// Begins a note.
const MAGIC: &[u8; 8] = b"UNSBEF\0\x01";
/// Magic, the plan's digest, the digest of the marks.
const HEADER: usize = 8 + 32 + 32;
/// Bytes for each sector.
const MARK: usize = 8;
/// Bytes of marks moved at once.
const BATCH: usize = 1 << 20;

/// Why what stood there cannot be noted, or is not known any more.
#[derive(Debug, thiserror::Error)]
pub enum BeforeError {
    /// The victim could not be read.
    #[error(transparent)]
    Disk(#[from] DiskFault),
    /// The state directory refused.
    #[error("the state directory refused")]
    Store(#[from] StoreFault),
    /// It would not fit.
    #[error(
        "to notice later what others write, {needed} bytes ({}) are needed in the state directory and {reserve} bytes \
         shall stay free, but only {free} bytes ({}) are free: make room or choose another --state-dir",
        human(*needed), human(*free), reserve = RESERVE
    )]
    NoSpace {
        /// Bytes of the note.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// It is not what was written.
    #[error("{path} is damaged: what stood on the victim before is not known any more")]
    Damaged {
        /// The file.
        path: String,
    },
}

fn path_of(incident: &IncidentId) -> String {
    format!("{FOLDER}/{incident}")
}

/// Sectors of a piece, the last of which may be cut short.
pub(super) fn sectors(extent: Extent) -> u64 {
    extent.len.div_ceil(SECTOR)
}

fn marks(extents: &ExtentSet) -> u64 {
    // Each piece begins a sector of its own.
    extents.iter().flat_map(|extent| extent.pieces(crate::digest::content::PIECE)).map(sectors).sum()
}

fn mark(sector: &[u8]) -> [u8; MARK] {
    let mut mark = [0; MARK];
    mark.copy_from_slice(&blake3::hash(sector).as_bytes()[..MARK]);
    mark
}

fn marks_of(bytes: &[u8]) -> Vec<u8> {
    let sector = usize::try_from(SECTOR).unwrap_or(512);
    bytes.par_chunks(sector).with_min_len(64).flat_map_iter(mark).collect()
}

/// Reads what the victim holds in `extents` and notes it durably. Returns its pieces, ascending.
///
/// # Errors
/// [`BeforeError`]; there is then no note.
pub(super) fn note(
    store: &dyn Store,
    (incident, plan): (&IncidentId, PlanId),
    (victim, extents): (&dyn Disk, &ExtentSet),
    threads: usize,
    progress: &dyn Progress,
) -> Result<Vec<Piece>, BeforeError> {
    let path = path_of(incident);
    let needed = HEADER as u64 + marks(extents).saturating_mul(MARK as u64);
    let free = store.free_space()?;
    if needed.saturating_add(RESERVE) > free {
        return Err(BeforeError::NoSpace { needed, free });
    }
    store.create_dir(FOLDER)?;
    store.create(&path)?;
    let (mut at, mut batch, mut standing) = (HEADER as u64, Vec::with_capacity(BATCH), Vec::new());
    let mut all = blake3::Hasher::new();
    let mut put = |batch: &mut Vec<u8>| {
        all.update(batch);
        store.write_at(&path, at, batch)?;
        at += batch.len() as u64;
        batch.clear();
        Ok::<(), StoreFault>(())
    };
    let visit = |place: Extent, bytes: &[u8], blake3| {
        standing.push(Piece { start: place.start, len: place.len, blake3 });
        batch.extend(marks_of(bytes));
        if batch.len() >= BATCH { Ok(put(&mut batch)?) } else { Ok::<(), BeforeError>(()) }
    };
    for_each_piece(victim, extents, threads, progress, visit)?;
    put(&mut batch)?;
    store.sync(&path)?;
    // The header comes last: without it, it is no note.
    let header = [&MAGIC[..], &plan.0.0, all.finalize().as_bytes()].concat();
    store.write_at(&path, 0, &header)?;
    store.sync(&path)?;
    store.sync_dir(FOLDER)?;
    store.sync_dir("")?;
    Ok(standing)
}

/// Removes the note of an incident that is over. One that stays behind does no harm.
pub fn forget(store: &dyn Store, incident: &IncidentId) {
    let _ = store.remove(&path_of(incident)).and_then(|()| store.sync_dir(FOLDER));
}

/// A note that was found whole.
pub struct Noted<'s> {
    store: &'s dyn Store,
    path: String,
}

impl<'s> Noted<'s> {
    /// The note of this incident; `None` when there is none.
    ///
    /// # Errors
    /// [`BeforeError`].
    pub(super) fn open(
        store: &'s dyn Store,
        (incident, plan): (&IncidentId, PlanId),
        extents: &ExtentSet,
    ) -> Result<Option<Noted<'s>>, BeforeError> {
        let path = path_of(incident);
        let Some(len) = store.len(&path)? else { return Ok(None) };
        let damaged = || BeforeError::Damaged { path: store.locate(&path) };
        let end = HEADER as u64 + marks(extents).saturating_mul(MARK as u64);
        if len != end {
            return Err(damaged());
        }
        let mut header = [0; HEADER];
        store.read_at(&path, 0, &mut header)?;
        let (mut all, mut at, mut batch) = (blake3::Hasher::new(), HEADER as u64, vec![0; BATCH]);
        while at < end {
            let len = usize::try_from(end - at).unwrap_or(BATCH).min(BATCH);
            store.read_at(&path, at, &mut batch[..len])?;
            all.update(&batch[..len]);
            at += len as u64;
        }
        if header[..] != [&MAGIC[..], &plan.0.0, all.finalize().as_bytes()].concat() {
            return Err(damaged());
        }
        Ok(Some(Noted { store, path }))
    }

    /// The marks of a piece's sectors, `before` of which come before it in all that is noted.
    pub(super) fn marks(&self, before: u64, piece: Extent) -> Result<Vec<u8>, StoreFault> {
        let mut marks = vec![0; usize::try_from(sectors(piece)).unwrap_or_default() * MARK];
        self.store.read_at(&self.path, HEADER as u64 + before * MARK as u64, &mut marks)?;
        Ok(marks)
    }
}

/// Whether `found` is what stood in sector number `index` of the piece with these marks.
pub(super) fn stood(marks: &[u8], index: usize, found: &[u8]) -> bool {
    marks.chunks(MARK).nth(index).is_some_and(|noted| noted == mark(found))
}
