//! The second reading: what is suspected to differ, leaf by leaf or block by block.

use super::grid::{Grid, LEAF, in_bytes};
use super::pass::part_value;
use super::value::Key;
use crate::digest::aligned::Aligned;
use crate::digest::load::reason;
use crate::format::wire::reconcile::Gap;
use crate::model::extent::{Extent, ExtentSet};
use crate::model::size::BLOCK;
use crate::ports::disk::{Disk, DiskFault, Stretch};

/// One side's data, with what its first pass could not read.
pub(super) struct Subject<'a> {
    pub(super) disk: &'a dyn Disk,
    pub(super) grid: &'a Grid,
    pub(super) key: &'a Key,
    /// Parts of leaves that the first pass could not read, in bytes.
    pub(super) lost: &'a ExtentSet,
    /// Bytes per request.
    pub(super) piece: u64,
}

/// What one side says about the blocks of some leaves.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    /// The blocks asked about, ascending, and their values; nothing for those that cannot be read.
    pub(super) blocks: Vec<(Extent, Option<u128>)>,
    /// Those that cannot be read, neighbours with the same reason joined.
    pub(super) gaps: Vec<Gap>,
    /// The sum of the values that the leaves had in the first pass.
    pub(super) leaves: u128,
}

impl Subject<'_> {
    /// The values of those of these leaves that are asked about, with their numbers, ascending. What the first pass could not
    /// read counts as 0.
    ///
    /// # Errors
    /// [`DiskFault`] for what the first pass could read.
    pub(super) fn leaf_values(&self, leaves: &ExtentSet) -> Result<Vec<(u64, u128)>, DiskFault> {
        let mut values: Vec<(u64, u128)> = Vec::new();
        self.each_part(leaves, |part, bytes| {
            let value = bytes.map_or(0, |bytes| part_value(self.key, self.grid.size, part, bytes));
            match values.last_mut() {
                Some((leaf, sum)) if *leaf == part.start / LEAF => *sum = sum.wrapping_add(value),
                _ => values.push((part.start / LEAF, value)),
            }
        })?;
        Ok(values)
    }

    /// The values of the blocks asked about in these leaves.
    ///
    /// # Errors
    /// [`DiskFault`] for what the first pass could read.
    pub(super) fn block_values(&self, leaves: &ExtentSet) -> Result<Blocks, DiskFault> {
        let mut out = Blocks::default();
        let mut buffer = Aligned::new(BLOCK as usize);
        self.each_part(leaves, |part, bytes| {
            let Some(bytes) = bytes else {
                return part.pieces(BLOCK).for_each(|block| self.lone_block(block, &mut buffer, &mut out));
            };
            out.leaves = out.leaves.wrapping_add(part_value(self.key, self.grid.size, part, bytes));
            for (block, bytes) in part.pieces(BLOCK).zip(bytes.chunks(BLOCK as usize)) {
                out.blocks.push((block, Some(self.key.value(block.start, bytes))));
            }
        })?;
        Ok(out)
    }

    /// A block of a part that could not be read as a whole.
    fn lone_block(&self, block: Extent, buffer: &mut Aligned, out: &mut Blocks) {
        let hole = matches!(self.disk.stretch(block.start), Stretch::Hole(until) if until >= block.end());
        #[allow(clippy::cast_possible_truncation)] // at most a block
        let bytes = &mut buffer.as_mut_slice()[..block.len as usize];
        bytes.fill(0);
        let read = if hole { Ok(()) } else { self.disk.read_at(block.start, bytes) };
        let value = match read {
            Ok(()) => Some(self.key.value(block.start, bytes)),
            Err(fault) => {
                let why = reason(&fault).0;
                match out.gaps.last_mut() {
                    Some(last) if last.extent.end() == block.start && last.why == why => {
                        last.extent.len += block.len;
                    }
                    _ => out.gaps.push(Gap { extent: block, why }),
                }
                None
            }
        };
        out.blocks.push((block, value));
    }

    /// Shows each part of these leaves, ascending, with its bytes; without, if the first pass could not read it.
    fn each_part(
        &self,
        leaves: &ExtentSet,
        mut visit: impl FnMut(Extent, Option<&[u8]>),
    ) -> Result<(), DiskFault> {
        let runs = || leaves.iter().flat_map(|run| self.grid.asked(in_bytes(run)));
        let longest = runs().map(|run| run.len).max().unwrap_or(0).min(self.piece);
        let mut buffer = Aligned::new(usize::try_from(longest).unwrap_or(0));
        for piece in runs().flat_map(|run| run.pieces(self.piece)) {
            #[allow(clippy::cast_possible_truncation)] // at most a piece
            let bytes = &mut buffer.as_mut_slice()[..piece.len as usize];
            let some_lost = self.lost.bytes_in(&piece) > 0;
            let hole = matches!(self.disk.stretch(piece.start), Stretch::Hole(until) if until >= piece.end());
            if hole {
                bytes.fill(0);
            } else if !some_lost {
                self.disk.read_at(piece.start, bytes)?;
            }
            let mut at = 0;
            for part in piece.pieces(LEAF) {
                #[allow(clippy::cast_possible_truncation)] // at most a leaf
                let bytes = &mut bytes[at..at + part.len as usize];
                at += bytes.len();
                if some_lost && self.lost.covers(&part) {
                    visit(part, None);
                    continue;
                }
                if some_lost && !hole {
                    self.disk.read_at(part.start, bytes)?;
                }
                visit(part, Some(bytes));
            }
        }
        Ok(())
    }
}
