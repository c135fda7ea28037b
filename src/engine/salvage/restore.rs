//! Puts kept pieces back, or shows them as a disk.

use super::batch::{batches, buffer_for, pieces_of};
use super::catalogue::load_manifest;
use super::error::SalvageError;
use super::phase;
use super::readback::{StoredPart, read_back};
use crate::model::extent::{Extent, ExtentSet};
use crate::model::salvage::{Part, PartKind, Piece};
use crate::ports::disk::{Disk, DiskFault, DiskMut};
use crate::ports::progress::Progress;
use crate::ports::store::Store;
use std::io;

fn part_of(store: &dyn Store, dir: &str, kind: PartKind) -> Result<Part, SalvageError> {
    let parts = load_manifest(store, dir)?.parts;
    let found = parts.into_iter().find(|part| part.kind == kind);
    found.ok_or_else(|| SalvageError::NoSuchPart { dir: store.locate(dir), part: kind })
}

/// Writes a part's pieces back to where they were, and flushes. The whole part is read and checked before the first
/// byte is written, and every piece once more right before it is. Returns the bytes written.
///
/// # Errors
/// [`SalvageError`]. Only [`SalvageError::Target`], or damage that appears between the two checks, can leave the
/// target partly written; repeating is safe.
pub fn restore(
    store: &dyn Store,
    dir: &str,
    kind: PartKind,
    target: &dyn DiskMut,
    progress: &dyn Progress,
) -> Result<u64, SalvageError> {
    let part = part_of(store, dir, kind)?;
    let kept: ExtentSet = part.pieces.iter().map(Piece::extent).collect();
    if target.size() < kept.end() {
        let (disk, size, needed) = (target.name().to_owned(), target.size(), kept.end());
        return Err(SalvageError::TooSmall { part: kind, disk, size, needed });
    }
    phase(progress, "verify salvage", kept.bytes(), || read_back(store, dir, &part, None, progress))?;
    let stored = StoredPart::open(store, dir, &part)?;
    phase(progress, "restore", kept.bytes(), || {
        let refused = |source| SalvageError::Target { part: kind, source };
        let mut buffer = buffer_for(kept.bytes());
        for batch in batches(&kept, &pieces_of(&kept)) {
            batch.fill(&mut buffer, |segment, bytes| {
                let mut pieces = part.pieces[segment.pieces.clone()].iter();
                // A segment of the kept set itself is one piece.
                pieces.try_for_each(|piece| stored.read_piece(piece, bytes).map(drop))
            })?;
            let mut rest = &buffer[..batch.bytes];
            let runs: ExtentSet = batch.segments.iter().map(|segment| segment.guest).collect();
            for run in runs.iter() {
                let (bytes, behind) = rest.split_at(usize::try_from(run.len).unwrap_or(usize::MAX));
                target.write_at(run.start, bytes).map_err(refused)?;
                rest = behind;
            }
            progress.advance(batch.bytes as u64);
        }
        target.flush().map_err(refused)
    })?;
    Ok(kept.bytes())
}

/// A part of a salvage as a disk of the volume's size, of which only the kept pieces can be read. Each read checks the
/// pieces it touches.
pub struct KeptDisk<'a> {
    stored: StoredPart<'a>,
    part: Part,
    kept: ExtentSet,
}

/// Opens a part of a salvage for reading.
///
/// # Errors
/// [`SalvageError`] when the manifest or the file's header cannot be used. Damage further in is found by the reads.
pub fn reader<'a>(store: &'a dyn Store, dir: &str, kind: PartKind) -> Result<KeptDisk<'a>, SalvageError> {
    let part = part_of(store, dir, kind)?;
    let stored = StoredPart::open(store, dir, &part)?;
    let kept = part.pieces.iter().map(Piece::extent).collect();
    Ok(KeptDisk { stored, part, kept })
}

impl KeptDisk<'_> {
    /// What can be read.
    #[must_use]
    pub fn kept(&self) -> &ExtentSet {
        &self.kept
    }

    fn fault(&self, extent: Extent, source: io::Error) -> DiskFault {
        DiskFault::Io { disk: self.stored.file.clone(), act: "read", extent, source }
    }
}

impl Disk for KeptDisk<'_> {
    fn name(&self) -> &str {
        &self.stored.file
    }

    fn size(&self) -> u64 {
        self.part.virtual_size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskFault> {
        let extent = Extent { start: offset, len: buffer.len() as u64 };
        if offset.checked_add(extent.len).is_none_or(|end| end > self.size()) {
            return Err(DiskFault::Outside { disk: self.stored.file.clone(), extent, size: self.size() });
        }
        if !self.kept.covers(&extent) {
            return Err(self.fault(extent, io::Error::other("not all of it is kept in the salvage")));
        }
        let first = self.part.pieces.partition_point(|piece| piece.extent().end() <= offset);
        let mut whole = Vec::new();
        for piece in &self.part.pieces[first..] {
            let Some(common) = piece.extent().intersect(&extent) else { break };
            let at = |from: u64| usize::try_from(common.start - from).unwrap_or(usize::MAX);
            let len = usize::try_from(common.len).unwrap_or(usize::MAX);
            whole.resize(usize::try_from(piece.len).unwrap_or(usize::MAX), 0);
            self.stored.read_piece(piece, &mut whole).map_err(|error| {
                self.fault(piece.extent(), io::Error::new(io::ErrorKind::InvalidData, error))
            })?;
            buffer[at(offset)..][..len].copy_from_slice(&whole[at(piece.start)..][..len]);
        }
        Ok(())
    }
}
