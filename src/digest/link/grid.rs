//! How a volume is divided: blocks of 4 KiB, leaves of 16 KiB, chunks of 1 MiB or more. Both sides derive the same from the
//! question, so none of it travels.

use crate::model::extent::{Extent, ExtentSet};
use crate::model::size::BLOCK;

/// Bytes of a leaf: 16 BLAKE3 chunks, so that the widest vector units are full, and no more, because a suspect leaf is
/// read again block by block.
pub const LEAF: u64 = 16 << 10;
/// The largest volume, in bytes: the hashes of one chunk's leaves must fit into one message.
pub(super) const LARGEST: u64 = 256 << 40;
/// Least bytes of a chunk.
const LEAST_CHUNK: u64 = 1 << 20;
/// Most chunks: their sums take 16 bytes each.
const MOST_CHUNKS: u64 = 1 << 20;

/// The volume and what is asked about.
#[derive(Debug)]
pub(super) struct Grid {
    pub(super) size: u64,
    /// What is compared: the scope, widened to whole blocks, below the size. In bytes.
    pub(super) blocks: ExtentSet,
    /// Bytes of a chunk.
    pub(super) chunk: u64,
}

impl Grid {
    pub(super) fn new(size: u64, scope: &ExtentSet) -> Self {
        // Widened before it is clipped: the last block is shorter, not missing.
        let blocks = scope.align(BLOCK).clip(size);
        Grid { size, blocks, chunk: chunk_of(size) }
    }

    /// Number of leaves of the volume, asked about or not.
    pub(super) fn leaves(&self) -> u64 {
        self.size.div_ceil(LEAF)
    }

    pub(super) fn leaves_per_chunk(&self) -> u64 {
        self.chunk / LEAF
    }

    pub(super) fn chunks(&self) -> u64 {
        self.size.div_ceil(self.chunk)
    }

    /// Number of blocks asked about.
    pub(super) fn asked_blocks(&self) -> u64 {
        self.blocks.iter().map(|run| run.len.div_ceil(BLOCK)).sum()
    }

    /// What is asked about inside one range, ascending.
    pub(super) fn asked(&self, within: Extent) -> impl Iterator<Item = Extent> + '_ {
        self.blocks.iter_from(within.start).map_while(move |run| run.intersect(&within))
    }

    /// The leaves that the scope touches.
    pub(super) fn asked_leaves(&self) -> ExtentSet {
        in_leaves(&self.blocks)
    }

    /// The chunks that the scope touches, as chunk numbers.
    pub(super) fn asked_chunks(&self) -> ExtentSet {
        in_units(&self.blocks, self.chunk)
    }

    /// The leaves of these chunks.
    pub(super) fn leaves_of(&self, chunks: &ExtentSet) -> ExtentSet {
        let each = self.leaves_per_chunk();
        chunks
            .iter()
            .map(|run| Extent::between(run.start * each, (run.end() * each).min(self.leaves())))
            .collect()
    }
}

/// Bytes of a chunk of a volume of this size: so large that there are at most [`MOST_CHUNKS`], a power of two.
fn chunk_of(size: u64) -> u64 {
    size.div_ceil(MOST_CHUNKS).checked_next_power_of_two().unwrap_or(1 << 63).max(LEAST_CHUNK)
}

/// A set of bytes as the set of units of `step` bytes that it touches.
pub(super) fn in_units(bytes: &ExtentSet, step: u64) -> ExtentSet {
    let mut out = ExtentSet::empty();
    for run in bytes.iter() {
        out.push(Extent::between(run.start / step, run.end().div_ceil(step)));
    }
    out
}

/// The leaves that a set of bytes touches.
pub(super) fn in_leaves(bytes: &ExtentSet) -> ExtentSet {
    in_units(bytes, LEAF)
}

/// The bytes of a run of leaves; the last leaf may reach beyond the volume.
pub(super) fn in_bytes(leaves: Extent) -> Extent {
    Extent::between(leaves.start.saturating_mul(LEAF), leaves.end().saturating_mul(LEAF))
}

/// At most `most` runs that cover the set: the smallest steps that do.
pub(super) fn covered(set: &ExtentSet, most: usize) -> ExtentSet {
    let mut step = 1u64;
    let mut out = set.clone();
    while out.runs() > most {
        step = step.saturating_mul(4);
        out = set.align(step);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_asked_about_inside_leaves(
            scope in prop::collection::vec((0..40 * LEAF, 1..3 * LEAF), 0..12),
            leaves in prop::collection::vec((0..45u64, 1..6u64), 0..6),
            size in 1..40 * LEAF,
        ) {
            let scope: ExtentSet = scope.into_iter().map(Extent::from).collect();
            let leaves: ExtentSet = leaves.into_iter().map(Extent::from).collect();
            let grid = Grid::new(size, &scope);
            let parts: Vec<_> = leaves.iter().flat_map(|run| grid.asked(in_bytes(run))).collect();
            prop_assert!(parts.iter().all(|part| part.len > 0));
            prop_assert!(parts.windows(2).all(|pair| pair[0].end() <= pair[1].start));
            let bytes: ExtentSet = leaves.iter().map(in_bytes).collect();
            let expected = scope.align(BLOCK).intersect(&bytes).clip(size);
            prop_assert_eq!(parts.into_iter().collect::<ExtentSet>(), expected);
        }

        #[test]
        fn covering_only_adds(runs in prop::collection::vec((0..10_000u64, 1..9u64), 1..200), most in 1..50usize) {
            let set: ExtentSet = runs.into_iter().map(Extent::from).collect();
            let wider = covered(&set, most);
            prop_assert!(wider.runs() <= most);
            prop_assert!(set.subtract(&wider).is_empty());
        }
    }

    #[test]
    fn chunks_are_few() {
        let tib = 1u64 << 40;
        assert_eq!(
            [0, 1, tib, tib + 1, 16 * tib].map(chunk_of),
            [1 << 20, 1 << 20, 1 << 20, 2 << 20, 16 << 20]
        );
        assert!(u64::MAX.div_ceil(chunk_of(u64::MAX)) <= MOST_CHUNKS);
    }
}
