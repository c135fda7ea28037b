//! Packed stretches of a set: many runs in few bytes.
//!
//! A leaf holds either runs as differences (gap and length as variable-length numbers, in the largest unit that all of its
//! bounds are multiples of) or one bit per block of 4 KiB, whichever is smaller. So single blocks scattered over a volume
//! cost about two bytes each, and no leaf is larger than the bitmap that it came from.

use super::Extent;
use crate::model::size::BLOCK;
use std::sync::Arc;

/// Bits per word.
pub(super) const WORD: u64 = u64::BITS as u64;
/// Runs in a leaf of differences: what a look-up has to pass at worst.
const CODED: usize = 1024;

/// Ascending runs that do not touch, packed. Never empty. Clones share the packed bytes.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    /// The first run's first byte.
    pub(super) start: u64,
    /// First byte behind the last run.
    pub(super) end: u64,
    /// Bytes in all runs.
    pub(super) bytes: u64,
    /// Number of runs.
    pub(super) runs: usize,
    code: Code,
}

#[derive(Clone, Debug)]
enum Code {
    /// Gap and length of each run, in units of `1 << shift` bytes.
    Differences { shift: u32, code: Arc<[u8]> },
    /// One bit per block, from block `first` (a multiple of [`WORD`]) on.
    Bits { first: u64, words: Arc<[u64]> },
}

impl Leaf {
    /// Packs runs, which must be ascending, not touching and not empty; in one leaf or in several.
    pub(super) fn pack(runs: &[Extent], out: &mut Vec<Leaf>) {
        let (Some(first), Some(last)) = (runs.first(), runs.last()) else { return };
        let shift = unit(runs);
        let blocks = Extent::between(first.start / BLOCK / WORD * WORD, last.end() / BLOCK);
        let words = blocks.len.div_ceil(WORD);
        let aligned = shift >= BLOCK.trailing_zeros();
        // Two bytes are the least that a run takes as differences.
        if aligned && words.saturating_mul(8) <= 2 * runs.len() as u64 {
            out.extend(Leaf::with(runs, bits(runs, blocks.start, words)));
            return;
        }
        let mut code = Vec::new();
        for part in runs.chunks(CODED) {
            let shift = unit(part);
            code.clear();
            differences(part, shift, &mut code);
            out.extend(Leaf::with(part, Code::Differences { shift, code: Arc::from(code.as_slice()) }));
        }
        // A mixture of near and far runs may still be smaller as bits.
        let coded: usize = out.iter().rev().take(runs.len().div_ceil(CODED)).map(Leaf::memory).sum();
        if aligned && words.saturating_mul(8) < coded as u64 {
            out.truncate(out.len() - runs.len().div_ceil(CODED));
            out.extend(Leaf::with(runs, bits(runs, blocks.start, words)));
        }
    }

    fn with(runs: &[Extent], code: Code) -> Option<Leaf> {
        let bytes = runs.iter().map(|run| run.len).sum();
        Some(Leaf { start: runs.first()?.start, end: runs.last()?.end(), bytes, runs: runs.len(), code })
    }

    /// A leaf of words that begin with block `first`, a multiple of [`WORD`]. `None` when no bit is set.
    pub(super) fn of_words(first: u64, words: &[u64]) -> Option<Leaf> {
        let (mut blocks, mut runs, mut carry) = (0, 0, 0);
        for word in words {
            blocks += u64::from(word.count_ones());
            runs += (word & !(word << 1 | carry)).count_ones() as usize;
            carry = word >> (WORD - 1);
        }
        let low = words.iter().position(|word| *word != 0)?;
        let high = words.iter().rposition(|word| *word != 0)?;
        let start = (first + low as u64 * WORD + u64::from(words[low].trailing_zeros())) * BLOCK;
        let end = (first + (high as u64 + 1) * WORD - u64::from(words[high].leading_zeros())) * BLOCK;
        let code = Code::Bits { first, words: Arc::from(words) };
        Some(Leaf { start, end, bytes: blocks * BLOCK, runs, code })
    }

    /// Bytes that the leaf takes in memory.
    pub(super) fn memory(&self) -> usize {
        size_of::<Leaf>()
            + match &self.code {
                Code::Differences { code, .. } => code.len(),
                Code::Bits { words, .. } => 8 * words.len(),
            }
    }

    /// The runs, ascending.
    pub(super) fn iter(&self) -> Runs<'_> {
        match &self.code {
            Code::Differences { shift, code } => {
                // The first gap is counted from the leaf's start, so that it costs one byte.
                Runs::Differences { at: self.start >> shift, shift: *shift, code }
            }
            Code::Bits { first, words } => {
                Runs::Bits { first: *first, index: 0, word: words.first().copied().unwrap_or(0), words }
            }
        }
    }

    /// The runs, ascending, from the first on that ends behind byte `at`. It may begin before `at`.
    pub(super) fn iter_from(&self, at: u64) -> Runs<'_> {
        let mut runs = self.iter();
        if let Runs::Bits { first, index, word, words } = &mut runs {
            // A run that reaches into the word of `at` is passed from its own beginning on.
            let mut skip = usize::try_from((at / BLOCK).saturating_sub(*first) / WORD).unwrap_or(0);
            skip = skip.min(words.len().saturating_sub(1));
            while skip > 0 && words[skip] & 1 == 1 && words[skip - 1] >> (WORD - 1) == 1 {
                skip -= 1;
            }
            (*index, *word) = (skip, words.get(skip).copied().unwrap_or(0));
        }
        loop {
            let mut next = runs.clone();
            match next.next() {
                Some(run) if run.end() <= at => runs = next,
                _ => return runs,
            }
        }
    }

    /// The words, and the block that they begin with, if the leaf is made of bits.
    pub(super) fn words(&self) -> Option<(u64, &[u64])> {
        match &self.code {
            Code::Bits { first, words } => Some((*first, words)),
            Code::Differences { .. } => None,
        }
    }
}

/// The binary logarithm of the largest unit that all bounds are multiples of.
fn unit(runs: &[Extent]) -> u32 {
    runs.iter().fold(0, |bits, run| bits | run.start | run.len).trailing_zeros().min(u64::BITS - 1)
}

fn bits(runs: &[Extent], first: u64, words: u64) -> Code {
    let mut all = vec![0u64; usize::try_from(words).unwrap_or(0)];
    for run in runs {
        set_bits(&mut all, run.start / BLOCK - first, run.end() / BLOCK - first);
    }
    Code::Bits { first, words: all.into() }
}

/// Sets bits `from..to`, as far as there are words for them.
pub(super) fn set_bits(words: &mut [u64], from: u64, to: u64) {
    let mut at = from;
    while at < to {
        let end = (at / WORD + 1).saturating_mul(WORD).min(to);
        let ones = u64::MAX >> (WORD - (end - at)) << (at % WORD);
        let word = usize::try_from(at / WORD).ok().and_then(|index| words.get_mut(index));
        let Some(word) = word else { return };
        *word |= ones;
        at = end;
    }
}

fn differences(runs: &[Extent], shift: u32, code: &mut Vec<u8>) {
    let mut at = runs.first().map_or(0, |run| run.start);
    for run in runs {
        put(code, (run.start - at) >> shift);
        put(code, run.len >> shift);
        at = run.end();
    }
}

/// Seven bits a byte, the low ones first; the top bit says that more follow.
fn put(code: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        code.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    code.push(number.to_le_bytes()[0]);
}

fn take(code: &mut &[u8]) -> Option<u64> {
    let (&first, rest) = code.split_first()?;
    *code = rest;
    if first < 0x80 {
        return Some(first.into());
    }
    let (mut number, mut shift) = (u64::from(first & 0x7f), 7);
    loop {
        let (&byte, rest) = code.split_first()?;
        *code = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
        shift += 7;
    }
}

/// The runs of a leaf.
#[derive(Clone, Debug)]
pub(super) enum Runs<'a> {
    Differences {
        at: u64,
        shift: u32,
        code: &'a [u8],
    },
    /// `word` is what is left of `words[index]`.
    Bits {
        first: u64,
        index: usize,
        word: u64,
        words: &'a [u64],
    },
}

impl Iterator for Runs<'_> {
    type Item = Extent;

    #[inline]
    fn next(&mut self) -> Option<Extent> {
        match self {
            Runs::Differences { at, shift, code } => {
                let start = *at + take(code)?;
                let end = start + take(code)?;
                *at = end;
                Some(Extent::between(start << *shift, end << *shift))
            }
            Runs::Bits { first, index, word, words } => {
                while *word == 0 {
                    *index += 1;
                    *word = *words.get(*index)?;
                }
                let low = word.trailing_zeros();
                let ones = (*word >> low).trailing_ones();
                let base = *first + *index as u64 * WORD;
                let start = base + u64::from(low);
                if low + ones < u64::BITS {
                    *word &= u64::MAX << (low + ones);
                    return Some(blocks(start, base + u64::from(low + ones)));
                }
                loop {
                    *index += 1;
                    let next = words.get(*index).copied();
                    let base = *first + *index as u64 * WORD;
                    match next {
                        Some(u64::MAX) => {}
                        Some(next) => {
                            let ones = next.trailing_ones();
                            *word = next & (u64::MAX << ones);
                            return Some(blocks(start, base + u64::from(ones)));
                        }
                        None => {
                            *word = 0;
                            return Some(blocks(start, base));
                        }
                    }
                }
            }
        }
    }
}

#[inline]
fn blocks(from: u64, to: u64) -> Extent {
    Extent { start: from * BLOCK, len: (to - from) * BLOCK }
}
