//! Sets by the word: 64 blocks of 4 KiB at once.

use super::leaf::{Leaf, WORD, set_bits};
use super::{Extent, ExtentSet};
use crate::model::size::BLOCK;

/// Words in a window, and at most in a leaf that was built by the word.
const WORDS: usize = 1024;
/// Bytes that a window covers; windows start at multiples of it.
pub(super) const WINDOW: u64 = WORDS as u64 * WORD * BLOCK;
/// With fewer words a leaf is not worth its own size.
const FEWEST: usize = 64;
/// Runs in a word from which on it is worth its eight bytes.
const BUSY: u32 = 4;
/// Words in a row that are not busy after which runs are written again.
const CALM: usize = 8;

/// Builds a set in order, from extents and from words of bits.
#[derive(Debug, Default)]
pub struct Builder {
    set: ExtentSet,
    /// Words behind everything in `set`, without touching it.
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    /// The block of the first word's lowest bit; a multiple of [`WORD`].
    first: u64,
    words: Vec<u64>,
    /// Words up to and including the last busy one.
    busy: usize,
}

impl Builder {
    /// Adds an extent that does not start before anything added earlier; see [`ExtentSet::push`].
    #[inline]
    pub fn push(&mut self, extent: Extent) {
        if self.open.is_some() {
            self.close();
        }
        self.set.push(extent);
    }

    /// Adds blocks: bit `n` of `word` stands for the 4 KiB block `first + n`. `first` is a multiple of 64 and greater than
    /// that of any word before; no extent added earlier starts behind the word's first block.
    #[inline]
    pub fn word(&mut self, first: u64, word: u64) {
        debug_assert!(first.is_multiple_of(WORD), "words start at multiples of 64 blocks");
        if word == 0 {
            return;
        }
        if let Some(open) = &mut self.open {
            let at = usize::try_from(first.saturating_sub(open.first) / WORD).unwrap_or(usize::MAX);
            if first > open.first && at >= open.words.len() && at < WORDS && at - open.busy < CALM {
                open.words.resize(at, 0);
                open.words.push(word);
                if is_busy(word) {
                    open.busy = at + 1;
                }
                return;
            }
            self.close();
        }
        if word == u64::MAX || !is_busy(word) {
            return self.runs(first, word);
        }
        self.open(first, word);
    }

    /// Starts a stretch of words with a busy one.
    fn open(&mut self, first: u64, mut word: u64) {
        let fits = first.checked_add(WORDS as u64 * WORD).is_some_and(|end| end.checked_mul(BLOCK).is_some());
        let start = first.saturating_mul(BLOCK);
        if !fits || self.set.end() > start {
            return self.runs(first, word);
        }
        if self.set.end() == start && word & 1 == 1 && !self.set.is_empty() {
            let ones = word.trailing_ones();
            self.set.push(Extent { start, len: u64::from(ones) * BLOCK });
            word &= u64::MAX << ones;
        }
        let mut words = Vec::with_capacity(WORDS);
        words.push(word);
        self.open = Some(Open { first, words, busy: 1 });
    }

    fn runs(&mut self, first: u64, mut word: u64) {
        let mut at = first;
        while word != 0 {
            let zeros = word.trailing_zeros();
            let ones = (word >> zeros).trailing_ones();
            let start = at + u64::from(zeros);
            let end = start + u64::from(ones);
            self.set.push(Extent::between(start.saturating_mul(BLOCK), end.saturating_mul(BLOCK)));
            at = end;
            word = word.checked_shr(zeros + ones).unwrap_or(0);
        }
    }

    /// Packs the open words.
    fn close(&mut self) {
        let Some(Open { first, mut words, busy }) = self.open.take() else { return };
        let calm = words.split_off(busy);
        let behind = first + busy as u64 * WORD;
        let last = if words.len() >= FEWEST { take_last(first, &mut words) } else { None };
        match last.and_then(|last| Some((last, Leaf::of_words(first, &words)?))) {
            // A run is two bytes at least when it is packed as such.
            Some((last, leaf)) if words.len() * 8 <= 2 * leaf.runs => {
                self.set.push_leaf(leaf);
                self.set.push(last);
            }
            _ => {
                for (at, word) in (first..).step_by(WORD as usize).zip(&words) {
                    self.runs(at, *word);
                }
                last.into_iter().for_each(|last| self.set.push(last));
            }
        }
        for (at, word) in (behind..).step_by(WORD as usize).zip(calm) {
            self.runs(at, word);
        }
    }

    /// The set.
    #[must_use]
    pub fn finish(mut self) -> ExtentSet {
        self.close();
        self.set
    }
}

#[inline]
fn is_busy(word: u64) -> bool {
    (word & !(word << 1)).count_ones() >= BUSY
}

/// Cuts the last run off, so that what follows can touch it: the words keep only what cannot grow any more.
fn take_last(first: u64, words: &mut Vec<u64>) -> Option<Extent> {
    words.truncate(words.iter().rposition(|word| *word != 0)? + 1);
    let end = words.len() as u64 * WORD - u64::from(words.last()?.leading_zeros());
    let mut start = end;
    while let Some(word) = words.last_mut() {
        let base = start.div_ceil(WORD) * WORD - WORD;
        let high = start - base;
        let ones = u64::from((*word << (WORD - high)).leading_ones()).min(high);
        start -= ones;
        *word &= if ones == WORD { 0 } else { !(u64::MAX >> (WORD - ones) << (high - ones)) };
        if ones < high || words.len() == 1 {
            break;
        }
        words.pop();
    }
    Some(Extent { start: (first + start) * BLOCK, len: (end - start) * BLOCK })
}

/// A stretch of a set as plain bits.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) words: Box<[u64]>,
}

impl Default for Window {
    fn default() -> Self {
        Window { words: vec![0; WORDS].into() }
    }
}

impl Window {
    /// Takes what the set has in `range`, which is [`WINDOW`] bytes long and starts at a multiple of it. `false`, and
    /// nothing of use, when that is not made of whole blocks.
    pub(super) fn fill(&mut self, set: &ExtentSet, range: Extent) -> bool {
        self.words.fill(0);
        let origin = range.start / BLOCK;
        let leaves = set.leaves();
        let from = leaves.partition_point(|leaf| leaf.end <= range.start);
        for leaf in leaves[from..].iter().take_while(|leaf| leaf.start < range.end()) {
            let Some((first, words)) = leaf.words() else {
                if !self.runs(leaf.iter_from(range.start), range) {
                    return false;
                }
                continue;
            };
            // Both start at multiples of a word.
            let index = |blocks: u64| usize::try_from(blocks / WORD).unwrap_or(usize::MAX);
            let here = self.words.get_mut(index(first.saturating_sub(origin))..).unwrap_or(&mut []);
            let there = words.get(index(origin.saturating_sub(first))..).unwrap_or(&[]);
            for (word, more) in here.iter_mut().zip(there) {
                *word |= more;
            }
        }
        self.runs(set.tail_from(range.start), range)
    }

    fn runs(&mut self, runs: impl Iterator<Item = Extent>, range: Extent) -> bool {
        for part in runs.map_while(|run| run.intersect(&range)) {
            if !part.start.is_multiple_of(BLOCK) || !part.len.is_multiple_of(BLOCK) {
                return false;
            }
            set_bits(&mut self.words, (part.start - range.start) / BLOCK, (part.end() - range.start) / BLOCK);
        }
        true
    }
}

/// The windows, by number, in which a set has a leaf of bits; ascending, some maybe twice.
pub(super) fn dense(set: &ExtentSet) -> impl Iterator<Item = u64> + '_ {
    set.leaves()
        .iter()
        .filter(|leaf| leaf.words().is_some())
        .flat_map(|leaf| leaf.start / WINDOW..=(leaf.end - 1) / WINDOW)
}
