//! What stood on both sides before a healing that keeps no salvage, under `before/<incident>` of the state directory: a short
//! digest of each of the victim's sectors that are overwritten, and the blocks of both sides' metadata that change.
//!
//! It brings nothing back. It tells, after a cut in the middle of overwriting, what was there from
//! what somebody else wrote since: a disk that loses power keeps any of the sectors it was given, so
//! nothing coarser than a sector would do. It costs 1/64 of what is overwritten. Somebody else's bytes
//! are taken for what was there once in 2^64 sectors. Bitmaps and logs are small: of them the bytes
//! themselves are noted, so that they are looked at as after a healing that keeps a salvage.
//!
//! A note is a header, the table of the metadata's blocks (`blocks`), the digests, and those blocks.

mod blocks;

pub use blocks::Blocks;

use crate::digest::content::for_each_piece;
use crate::model::extent::{Extent, ExtentSet};
use crate::model::id::{IncidentId, PlanId};
use crate::model::salvage::Piece;
use crate::model::side::{Pair, Side};
use crate::model::size::{SECTOR, human};
use crate::ports::disk::{Disk, DiskFault};
use crate::ports::progress::Progress;
use crate::ports::store::{Store, StoreFault};
use rayon::prelude::*;

/// The folder of all notes.
pub const FOLDER: &str = "before";
/// Begins a note.
const MAGIC: &[u8; 8] = b"UNSBEF\0\x02";
/// Magic, the plan's digest, the digest of all that follows.
const HEADER: usize = 8 + 32 + 32;
/// Bytes for each sector.
const MARK: usize = 8;
/// Bytes moved at once.
const BATCH: usize = 1 << 20;
/// What the journal takes until the incident is over, many times over.
pub const JOURNAL: u64 = 64 << 10;

/// Why what stood there cannot be noted, or is not known any more.
#[derive(Debug, thiserror::Error)]
pub enum BeforeError {
    /// A side could not be read.
    #[error(transparent)]
    Disk(#[from] DiskFault),
    /// The state directory refused.
    #[error("the state directory refused")]
    Store(#[from] StoreFault),
    /// It would not fit.
    #[error(
        "nothing is kept of what is overwritten, but to notice what others write there meanwhile, {needed} bytes ({}) are \
         needed in the state directory, and {JOURNAL} bytes for the journal; only {free} bytes ({}) are free: make room or \
         choose another --state-dir",
        human(*needed), human(*free)
    )]
    NoSpace {
        /// Bytes of the note.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// It is not what was written.
    #[error("{path} is damaged: what stood on the sides before is not known any more")]
    Damaged {
        /// The file.
        path: String,
    },
}

/// What is noted.
#[derive(Clone, Copy)]
pub(super) struct Sources<'s> {
    /// The victim's data, and what of it is overwritten.
    pub(super) data: (&'s dyn Disk, &'s ExtentSet),
    /// Both sides' metadata, and what of it changes.
    pub(super) metadata: Pair<(&'s dyn Disk, &'s ExtentSet)>,
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

/// Reads what is overwritten and notes it durably. Returns the pieces of the victim's data, ascending.
///
/// # Errors
/// [`BeforeError`]; there is then no note.
pub(super) fn note(
    store: &dyn Store,
    (incident, plan): (&IncidentId, PlanId),
    from: Sources<'_>,
    threads: usize,
    progress: &dyn Progress,
) -> Result<Vec<Piece>, BeforeError> {
    let path = path_of(incident);
    let (victim, extents) = from.data;
    let table = blocks::table(&from.metadata);
    let bytes = from.metadata.a.1.bytes().saturating_add(from.metadata.b.1.bytes());
    let needed = ((HEADER + table.len()) as u64)
        .saturating_add(marks(extents).saturating_mul(MARK as u64))
        .saturating_add(bytes);
    let free = store.free_space()?;
    if needed.saturating_add(JOURNAL) > free {
        return Err(BeforeError::NoSpace { needed, free });
    }
    store.create_dir(FOLDER)?;
    store.create(&path)?;
    let (mut at, mut batch, mut standing) = (HEADER as u64, table, Vec::new());
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
    for (_, (disk, blocks)) in from.metadata.iter() {
        for piece in blocks.iter().flat_map(|block| block.pieces(BATCH as u64)) {
            put(&mut batch)?;
            batch.resize(usize::try_from(piece.len).unwrap_or(BATCH), 0);
            disk.read_at(piece.start, &mut batch)?;
        }
    }
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
    /// Where the digests begin.
    marks_at: u64,
    metadata: Pair<Blocks<'s>>,
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
        let Some(end) = store.len(&path)? else { return Ok(None) };
        let damaged = || BeforeError::Damaged { path: store.locate(&path) };
        if end < HEADER as u64 {
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
        let (tables, marks_at) = blocks::read_table(store, &path, HEADER as u64, end)?.ok_or_else(damaged)?;
        let mut at = marks_at.saturating_add(marks(extents).saturating_mul(MARK as u64));
        let metadata = tables.map(|(size, kept)| {
            let blocks = Blocks::new(store, &path, size, kept, at);
            at = at.saturating_add(blocks.kept().bytes());
            blocks
        });
        if at == end { Ok(Some(Noted { store, path, marks_at, metadata })) } else { Err(damaged()) }
    }

    /// The marks of a piece's sectors, `before` of which come before it in all that is noted.
    pub(super) fn marks(&self, before: u64, piece: Extent) -> Result<Vec<u8>, StoreFault> {
        let mut marks = vec![0; usize::try_from(sectors(piece)).unwrap_or_default() * MARK];
        self.store.read_at(&self.path, self.marks_at + before * MARK as u64, &mut marks)?;
        Ok(marks)
    }

    /// The blocks of a side's metadata, as they were.
    pub(super) fn metadata(&self, side: Side) -> &Blocks<'s> {
        &self.metadata[side]
    }
}

/// Whether `found` is what stood in sector number `index` of the piece with these marks.
pub(super) fn stood(marks: &[u8], index: usize, found: &[u8]) -> bool {
    marks.chunks(MARK).nth(index).is_some_and(|noted| noted == mark(found))
}
