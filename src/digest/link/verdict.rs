//! What comes of comparing blocks: the same bookkeeping on both sides, so that both know the same in the end.

use super::LinkError;
use super::examine::Blocks;
use crate::digest::compare::Compared;
use crate::format::wire::reconcile::{Bits, Gap};
use crate::model::delta::Unreadable;
use crate::model::extent::{Extent, ExtentSet};
use crate::model::seen::Why;
use crate::model::side::{Pair, Side};

/// Most runs of differing blocks: a GiB of memory.
const MOST_RUNS: usize = 1 << 26;
/// Most ranges that could not be read.
const MOST_GAPS: usize = 1 << 20;

/// The low `width` bytes of a value.
pub(super) fn low(value: u128, width: u8) -> u128 {
    value & (u128::MAX >> (128 - 8 * u32::from(width.clamp(1, 16))))
}

/// Appends the low `width` bytes of values.
pub(super) fn put_low(out: &mut Vec<u8>, value: u128, width: u8) {
    out.extend(&value.to_le_bytes()[..usize::from(width.clamp(1, 16))]);
}

/// The values whose low `width` bytes these are.
pub(super) fn lows(bytes: &[u8], width: u8) -> impl Iterator<Item = u128> + '_ {
    bytes.chunks_exact(usize::from(width.clamp(1, 16))).map(|low| {
        let mut value = [0; 16];
        value[..low.len()].copy_from_slice(low);
        u128::from_le_bytes(value)
    })
}

pub(super) fn to_bits(differs: &[bool]) -> Bits {
    if differs.iter().all(|bit| !bit) {
        return Bits::None;
    }
    if differs.iter().all(|bit| *bit) {
        return Bits::All;
    }
    let byte = |eight: &[bool]| eight.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit));
    Bits::Some(differs.chunks(8).map(byte).collect())
}

pub(super) fn from_bits(bits: &Bits, count: usize) -> Result<Vec<bool>, LinkError> {
    match bits {
        Bits::None => Ok(vec![false; count]),
        Bits::All => Ok(vec![true; count]),
        Bits::Some(bytes) if bytes.len() == count.div_ceil(8) => {
            Ok((0..count).map(|at| bytes[at / 8] >> (at % 8) & 1 == 1).collect())
        }
        Bits::Some(_) => Err(LinkError::rules("a verdict must have one bit for each hash")),
    }
}

/// Which of the blocks are in the gaps. The gaps must be made of these blocks, ascending.
pub(super) fn in_gaps(blocks: &[(Extent, Option<u128>)], gaps: &[Gap]) -> Result<Vec<bool>, LinkError> {
    let wrong = || LinkError::rules("what cannot be read must be blocks that were asked about, in order");
    if gaps.windows(2).any(|pair| pair[0].extent.end() > pair[1].extent.start) {
        return Err(wrong());
    }
    let mut rest = gaps.iter().peekable();
    let mut covered = 0u64;
    let inside = blocks
        .iter()
        .map(|(block, _)| {
            while rest.next_if(|gap| gap.extent.end() <= block.start).is_some() {}
            let inside = rest
                .peek()
                .is_some_and(|gap| gap.extent.start <= block.start && block.end() <= gap.extent.end());
            covered += if inside { block.len } else { 0 };
            inside
        })
        .collect();
    let claimed = gaps.iter().fold(0u64, |sum, gap| sum.saturating_add(gap.extent.len));
    if covered == claimed { Ok(inside) } else { Err(wrong()) }
}

/// What was found so far.
#[derive(Debug)]
pub(super) struct Tally {
    side: Side,
    pub(super) differs: ExtentSet,
    unreadable: Pair<Vec<Unreadable>>,
    /// The sum of the values of the blocks that were found equal.
    pub(super) equal: u128,
    /// The sum of the values that the suspected leaves had in the first pass.
    pub(super) suspects: u128,
}

impl Tally {
    /// Of this side.
    pub(super) fn new(side: Side) -> Self {
        Tally {
            side,
            differs: ExtentSet::empty(),
            unreadable: Pair::new(Vec::new(), Vec::new()),
            equal: 0,
            suspects: 0,
        }
    }

    /// Enters what is known of a batch: this side's blocks, the other's gaps, and which blocks differ.
    pub(super) fn enter(&mut self, mine: &Blocks, theirs: &[Gap], differs: &[bool]) -> Result<(), LinkError> {
        let lost = in_gaps(&mine.blocks, theirs)?;
        for (((block, value), lost), differs) in mine.blocks.iter().zip(lost).zip(differs) {
            match value {
                Some(_) if !lost && *differs => self.differs.push(*block),
                Some(value) if !lost => self.equal = self.equal.wrapping_add(*value),
                _ if *differs => return Err(LinkError::rules("what cannot be read cannot differ")),
                _ => {}
            }
        }
        self.suspects = self.suspects.wrapping_add(mine.leaves);
        self.unreadable(self.side, &mine.gaps);
        self.unreadable(self.side.other(), theirs);
        let most = [(self.differs.runs(), MOST_RUNS)];
        let gaps = Side::BOTH.map(|side| (self.unreadable[side].len(), MOST_GAPS));
        match most.iter().chain(&gaps).find(|(count, most)| count > most) {
            Some((_, most)) => Err(LinkError::TooScattered { most: *most }),
            None => Ok(()),
        }
    }

    fn unreadable(&mut self, side: Side, gaps: &[Gap]) {
        let all = &mut self.unreadable[side];
        for gap in gaps {
            match all.last_mut() {
                Some(last) if last.extent.end() == gap.extent.start && last.why.0 == gap.why => {
                    last.extent.len += gap.extent.len;
                }
                _ => all.push(Unreadable { side, extent: gap.extent, why: Why(gap.why.clone()) }),
            }
        }
    }

    /// The result, where `asked` bytes were to be compared.
    pub(super) fn finish(self, asked: u64) -> Compared {
        let mut unreadable = self.unreadable.a;
        unreadable.extend(self.unreadable.b);
        unreadable.sort_by_key(|gap| (gap.extent.start, gap.side));
        let lost: ExtentSet = unreadable.iter().map(|gap| gap.extent).collect();
        Compared { differs: self.differs, unreadable, compared: asked - lost.bytes() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::size::BLOCK;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bits_come_back(differs in prop::collection::vec(any::<bool>(), 0..100)) {
            prop_assert_eq!(from_bits(&to_bits(&differs), differs.len()).unwrap(), differs);
        }

        #[test]
        fn low_bytes_come_back(values in prop::collection::vec(any::<u128>(), 0..20), width in 1..17u8) {
            let mut out = Vec::new();
            values.iter().for_each(|value| put_low(&mut out, *value, width));
            let back: Vec<_> = lows(&out, width).collect();
            prop_assert_eq!(back, values.iter().map(|value| low(*value, width)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn gaps_must_be_blocks_in_order() {
        let block = |at: u64| (Extent { start: at * BLOCK, len: BLOCK }, None);
        let blocks = [block(1), block(2), block(5)];
        let gap = |start: u64, len: u64| Gap { extent: Extent { start, len }, why: String::new() };
        let ask = |gaps: &[Gap]| in_gaps(&blocks, gaps).ok();
        assert_eq!(ask(&[]), Some(vec![false; 3]));
        assert_eq!(ask(&[gap(BLOCK, 2 * BLOCK)]), Some(vec![true, true, false]));
        assert_eq!(ask(&[gap(2 * BLOCK, BLOCK), gap(5 * BLOCK, BLOCK)]), Some(vec![false, true, true]));
        for bad in [
            vec![gap(BLOCK, 5 * BLOCK)],
            vec![gap(BLOCK, 1)],
            vec![gap(0, BLOCK)],
            vec![gap(5 * BLOCK, BLOCK), gap(2 * BLOCK, BLOCK)],
            vec![gap(BLOCK, BLOCK), gap(BLOCK, BLOCK)],
            vec![gap(BLOCK, u64::MAX - BLOCK), gap(BLOCK, u64::MAX - BLOCK)],
        ] {
            assert_eq!(ask(&bad), None, "{bad:?}");
        }
        assert!(from_bits(&Bits::Some(vec![0]), 9).is_err());
    }
}
