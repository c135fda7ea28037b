//! Writes one part: the tables, then the data while the next batch is already being read and hashed.

use super::PartSource;
use super::batch::{Batch, Segment, batches, buffer_for, pieces_of};
use super::error::SalvageError;
use crate::format::qcow2::Layout;
use crate::model::salvage::Piece;
use crate::ports::progress::Progress;
use crate::ports::store::Store;
use crate::proof::ReadPiece;

/// Writes the file `path` from the beginning to the end and syncs it. Returns the pieces as they were read.
pub(super) fn write_part(
    store: &dyn Store,
    path: &str,
    layout: &Layout,
    source: &PartSource<'_>,
    progress: &dyn Progress,
) -> Result<Vec<Piece>, SalvageError> {
    store.create(path)?;
    let (mut now, mut next) = (buffer_for(layout.file_size()), buffer_for(layout.file_size()));
    let mut at = 0;
    let mut tables = layout.tables();
    loop {
        let filled = tables.fill(&mut now);
        if filled == 0 {
            break;
        }
        store.write_at(path, at, &now[..filled])?;
        at += filled as u64;
    }

    let wanted = pieces_of(source.extents);
    let mut batches = batches(layout.clusters(), &wanted);
    let load = |batch: Batch, buffer: &mut [u8]| -> Result<(usize, Vec<Piece>), SalvageError> {
        let read = batch.fill(buffer, |segment, bytes| {
            read_source(source, segment, bytes)?;
            let pieces = &wanted[segment.pieces.clone()];
            Ok(pieces
                .iter()
                .map(|piece| ReadPiece::of(piece.start, segment.slice(bytes, *piece)).piece())
                .collect())
        })?;
        let read: Vec<Vec<Piece>> = read;
        Ok((batch.bytes, read.into_iter().flatten().collect()))
    };
    let mut pieces = Vec::with_capacity(wanted.len());
    let mut loaded = batches.next().map(|batch| load(batch, &mut now)).transpose()?;
    while let Some((bytes, read)) = loaded {
        let upcoming = batches.next();
        let (then, written) = rayon::join(
            || upcoming.map(|batch| load(batch, &mut next)).transpose(),
            || store.write_at(path, at, &now[..bytes]),
        );
        written?;
        at += bytes as u64;
        progress.advance(read.iter().map(|piece| piece.len).sum());
        pieces.extend(read);
        loaded = then?;
        std::mem::swap(&mut now, &mut next);
    }
    store.sync(path)?;
    Ok(pieces)
}

/// Reads a segment's clusters whole; what lies beyond the volume becomes zeros.
pub(super) fn read_source(
    source: &PartSource<'_>,
    segment: &Segment,
    bytes: &mut [u8],
) -> Result<(), SalvageError> {
    let inside = segment.guest.end().min(source.virtual_size).saturating_sub(segment.guest.start);
    let (data, beyond) = bytes.split_at_mut(usize::try_from(inside).unwrap_or(usize::MAX));
    beyond.fill(0);
    source
        .disk
        .read_at(segment.guest.start, data)
        .map_err(|fault| SalvageError::Source { part: source.kind, source: fault })
}
