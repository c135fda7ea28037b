//! Cuts a set of extents into batches that fit a buffer, and fills them with many threads.

use super::BATCH;
use super::error::SalvageError;
use crate::format::manifest::PIECE;
use crate::model::extent::{Extent, ExtentSet};
use rayon::prelude::*;
use std::ops::Range;

/// A stretch that is moved as one: it lies between two multiples of [`PIECE`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    /// Where it is on the volume.
    pub(super) guest: Extent,
    /// Which of the pieces lie in it.
    pub(super) pieces: Range<usize>,
}

impl Segment {
    /// The segment's part of `bytes` that `piece`, which lies in it, covers.
    pub(super) fn slice<'b>(&self, bytes: &'b [u8], piece: Extent) -> &'b [u8] {
        let at = |offset: u64| usize::try_from(offset - self.guest.start).unwrap_or(usize::MAX);
        &bytes[at(piece.start)..at(piece.end())]
    }
}

/// As many segments as fit the buffer.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) segments: Vec<Segment>,
    /// Bytes of all segments.
    pub(super) bytes: usize,
}

impl Batch {
    /// Calls `fill` for each segment with its part of `buffer`, on many threads; the results are in order.
    pub(super) fn fill<T: Send>(
        &self,
        buffer: &mut [u8],
        fill: impl Fn(&Segment, &mut [u8]) -> Result<T, SalvageError> + Sync,
    ) -> Result<Vec<T>, SalvageError> {
        let mut rest = &mut buffer[..self.bytes];
        let mut work = Vec::with_capacity(self.segments.len());
        for segment in &self.segments {
            let (mine, behind) = rest.split_at_mut(length(segment.guest));
            work.push((segment, mine));
            rest = behind;
        }
        work.into_par_iter().map(|(segment, bytes)| fill(segment, bytes)).collect()
    }
}

fn length(extent: Extent) -> usize {
    // Segments are at most PIECE long.
    usize::try_from(extent.len).unwrap_or(usize::MAX)
}

/// The pieces of a set: its runs cut at multiples of [`PIECE`].
pub(super) fn pieces_of(extents: &ExtentSet) -> Vec<Extent> {
    extents.iter().flat_map(|run| run.pieces(PIECE)).collect()
}

/// A buffer for the batches of runs of so many bytes.
pub(super) fn buffer_for(bytes: u64) -> Vec<u8> {
    vec![0; usize::try_from(bytes).unwrap_or(usize::MAX).min(BATCH)]
}

/// The batches of `runs` (each of which holds some of `pieces` whole), in order.
pub(super) fn batches(runs: &ExtentSet, pieces: &[Extent]) -> impl Iterator<Item = Batch> {
    let mut next_piece = 0;
    let mut segments = runs
        .iter()
        .flat_map(|run| run.pieces(PIECE))
        .map(move |guest| {
            let first = next_piece;
            while pieces.get(next_piece).is_some_and(|piece| piece.start < guest.end()) {
                next_piece += 1;
            }
            Segment { guest, pieces: first..next_piece }
        })
        .peekable();
    std::iter::from_fn(move || {
        let mut batch = Batch::default();
        while let Some(segment) = segments.next_if(|segment| batch.bytes + length(segment.guest) <= BATCH) {
            batch.bytes += length(segment.guest);
            batch.segments.push(segment);
        }
        (!batch.segments.is_empty()).then_some(batch)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_is_in_exactly_one_segment() {
        let extents: ExtentSet = [(512, 512), (5000, 20), (PIECE - 512, 1024), (40 * PIECE, 20 * PIECE)]
            .into_iter()
            .map(Extent::from)
            .collect();
        let pieces = pieces_of(&extents);
        let runs = extents.align(8192);
        let (mut next, mut bytes) = (0, 0);
        for batch in batches(&runs, &pieces) {
            assert!(batch.bytes <= BATCH);
            for segment in batch.segments {
                assert_eq!(segment.pieces.start, next);
                next = segment.pieces.end;
                for piece in &pieces[segment.pieces.clone()] {
                    assert_eq!(piece.intersect(&segment.guest), Some(*piece));
                }
                bytes += segment.guest.len;
            }
        }
        assert_eq!((next, bytes), (pieces.len(), runs.bytes()));
    }
}
