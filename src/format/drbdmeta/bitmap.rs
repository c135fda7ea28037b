//! The bitmap, streamed: scanned into extents, or edited in place, in chunks.
//!
//! Bit `n` covers `bytes_per_bit` bytes of data. The slots are interleaved by 32-bit little-endian words: word
//! `(n / 32) × slots + slot`, bit `n % 32`. With one slot that is v08's plain bit stream.

use super::geometry::BitmapLayout;
use crate::model::extent::{Builder, Extent, ExtentSet};
use crate::model::size::BLOCK;
use drbd_sys::metadata as sys;

const WORD: usize = sys::BM_WORD_BYTES as usize;

/// Rows (words of one slot) that are skipped at once when they hold no bit: long enough to test at memory speed.
const SKIP_ROWS: usize = 128;

/// Why a bitmap could not be scanned or edited.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BitmapError {
    /// Chunks must be whole 32-bit words.
    #[error("a chunk of {0} bytes is not a multiple of 4")]
    Misaligned(usize),
    /// There is no such slot.
    #[error("bitmap slot {slot} does not exist: there are {slots}")]
    NoSlot {
        /// The slot.
        slot: u32,
        /// How many there are.
        slots: u32,
    },
    /// The scan ended before the last meaningful bit.
    #[error("only {got} of {needed} bytes of the bitmap were scanned")]
    Short {
        /// Bytes fed.
        got: u64,
        /// Bytes that hold the meaningful bits.
        needed: u64,
    },
}

/// What one slot says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Marked {
    /// What its bits cover, clipped to the data size.
    pub extents: ExtentSet,
    /// How many bits are set.
    pub bits: u64,
}

/// A scan of one slot. Memory: the extents found, which is never much more than the slot's own bits.
#[derive(Debug)]
pub struct Scan {
    layout: BitmapLayout,
    slot: u64,
    /// Words fed so far.
    words: u64,
    /// Meaningful bits.
    limit: u64,
    /// Row and word of the first of a pair whose second was not fed yet: even rows hold the low half of 64 bits.
    half: Option<(u64, u32)>,
    bits: u64,
    found: Builder,
}

impl Scan {
    /// A scan from the first byte of the bitmap area.
    ///
    /// # Errors
    /// [`BitmapError::NoSlot`].
    pub fn new(layout: BitmapLayout, slot: u32) -> Result<Scan, BitmapError> {
        if slot >= layout.slots {
            return Err(BitmapError::NoSlot { slot, slots: layout.slots });
        }
        let (limit, slot) = (layout.bits(), u64::from(slot));
        Ok(Scan { layout, slot, words: 0, limit, half: None, bits: 0, found: Builder::default() })
    }

    /// Takes the next bytes of the area. Bits beyond the data size are ignored.
    ///
    /// # Errors
    /// [`BitmapError::Misaligned`].
    pub fn feed(&mut self, chunk: &[u8]) -> Result<(), BitmapError> {
        if !chunk.len().is_multiple_of(WORD) {
            return Err(BitmapError::Misaligned(chunk.len()));
        }
        let slots = u64::from(self.layout.slots);
        let row_bytes = WORD * self.layout.slots as usize;
        // The first word of ours at or behind the chunk's start.
        let mut row = (self.words + slots - 1 - self.slot) / slots;
        let skip = row * slots + self.slot - self.words;
        self.words += (chunk.len() / WORD) as u64;
        let mut rest = usize::try_from(skip).ok().and_then(|words| chunk.get(words * WORD..)).unwrap_or(&[]);
        if row % 2 == 1 && row * 32 < self.limit && rest.len() >= WORD {
            let low = self.half.take().map(|(_, low)| low);
            self.pair(row - 1, low, word_at(rest, 0));
            (row, rest) = (row + 1, rest.get(row_bytes..).unwrap_or(&[]));
        }
        while !rest.is_empty() && row * 32 < self.limit {
            let stretch = &rest[..rest.len().min(SKIP_ROWS * row_bytes)];
            let rows = stretch.len().div_ceil(row_bytes) as u64;
            if is_all(stretch, u64::MAX) {
                self.full_rows(row, rows);
            } else if !is_all(stretch, 0) {
                self.rows(row, row_bytes, stretch);
            }
            row += rows;
            rest = rest.get(SKIP_ROWS * row_bytes..).unwrap_or(&[]);
        }
        Ok(())
    }

    /// Takes rows, the first of which is even, with every bit set.
    fn full_rows(&mut self, row: u64, rows: u64) {
        let pairs = rows / 2 * 2;
        let (first, end) = (row * 32, ((row + pairs) * 32).min(self.limit));
        let (step, size) = (self.layout.bytes_per_bit, self.layout.data_size);
        self.bits += end.saturating_sub(first);
        self.found.push(Extent::between(first * step, end.saturating_mul(step).min(size)));
        if pairs < rows {
            self.half = Some((row + pairs, u32::MAX));
        }
    }

    /// Takes a stretch that begins with our word of an even row.
    fn rows(&mut self, row: u64, row_bytes: usize, stretch: &[u8]) {
        if row_bytes == WORD {
            let (pairs, last) = stretch.as_chunks::<8>();
            for (at, pair) in (row * 32..).step_by(64).zip(pairs) {
                self.word(at, u64::from_le_bytes(*pair));
            }
            // Only the last stretch of a chunk may have an odd number of rows.
            self.half = word_at(last, 0).map(|low| (row + 2 * pairs.len() as u64, low));
        } else {
            for (row, pair) in (row..).step_by(2).zip(stretch.chunks(2 * row_bytes)) {
                self.pair(row, word_at(pair, 0), word_at(pair, row_bytes));
            }
        }
    }

    /// Takes our words of two rows, the first of which is even; if the second is still to come, keeps the first.
    fn pair(&mut self, row: u64, low: Option<u32>, high: Option<u32>) {
        let low = low.unwrap_or(0);
        match high {
            Some(high) => self.word(row * 32, u64::from(low) | u64::from(high) << 32),
            None => self.half = Some((row, low)),
        }
    }

    #[inline]
    fn word(&mut self, first: u64, word: u64) {
        if word == 0 {
            return;
        }
        let (step, size) = (self.layout.bytes_per_bit, self.layout.data_size);
        // Whole blocks, all of them inside.
        if step == BLOCK && (first + 64) * BLOCK <= size {
            self.bits += u64::from(word.count_ones());
            return self.found.word(first, word);
        }
        let left = self.limit.saturating_sub(first);
        let mut word = if left < 64 { word & ((1 << left) - 1) } else { word };
        self.bits += u64::from(word.count_ones());
        let mut at = first;
        while word != 0 {
            let zeros = word.trailing_zeros();
            let ones = (word >> zeros).trailing_ones();
            let start = at + u64::from(zeros);
            at = start + u64::from(ones);
            self.found.push(Extent::between(start * step, at.saturating_mul(step).min(size)));
            word = word.checked_shr(zeros + ones).unwrap_or(0);
        }
    }

    /// The result.
    ///
    /// # Errors
    /// [`BitmapError::Short`] when meaningful bits were not fed.
    pub fn finish(mut self) -> Result<Marked, BitmapError> {
        // The last meaningful row may have no partner.
        if let Some((row, low)) = self.half.take() {
            self.word(row * 32, low.into());
        }
        let rows = self.limit.div_ceil(32);
        let needed = match rows.checked_sub(1) {
            Some(last) => (last * u64::from(self.layout.slots) + self.slot + 1) * sys::BM_WORD_BYTES,
            None => 0,
        };
        let got = self.words * sys::BM_WORD_BYTES;
        if got < needed {
            Err(BitmapError::Short { got, needed })
        } else {
            Ok(Marked { extents: self.found.finish(), bits: self.bits })
        }
    }
}

/// The word `at` bytes behind the start, if it is there whole.
#[inline]
fn word_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk::<WORD>()?))
}

/// Whether all bytes are those of `word`, which repeats one byte. No early exit inside a stretch, so that it compiles to
/// wide loads.
fn is_all(bytes: &[u8], word: u64) -> bool {
    let (wide, tail) = bytes.as_chunks::<8>();
    // Most stretches differ from one of the two right at the start.
    wide.first().is_none_or(|first| u64::from_ne_bytes(*first) == word)
        && wide.iter().fold(0, |any, eight| any | (u64::from_ne_bytes(*eight) ^ word)) == 0
        && tail.iter().all(|byte| *byte == word.to_ne_bytes()[0])
}

/// Bits to set in some slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marking {
    /// Which slots.
    pub slots: Vec<u32>,
    /// What to mark; every bit that covers a byte of it is set. Bytes beyond the data size are ignored.
    pub extents: ExtentSet,
}

/// An edit of the whole bitmap. Doing it twice is the same as once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    layout: BitmapLayout,
    /// One bit per slot to clear.
    clear: u32,
    mark: Vec<Marking>,
}

impl Edit {
    /// Clears `clear`, then sets what `mark` says.
    ///
    /// # Errors
    /// [`BitmapError::NoSlot`].
    pub fn new(layout: BitmapLayout, clear: &[u32], mark: Vec<Marking>) -> Result<Edit, BitmapError> {
        for slot in clear.iter().chain(mark.iter().flat_map(|marking| &marking.slots)) {
            if *slot >= layout.slots || *slot >= 32 {
                return Err(BitmapError::NoSlot { slot: *slot, slots: layout.slots });
            }
        }
        let clear = clear.iter().fold(0, |mask, slot| mask | 1 << slot);
        let mark =
            mark.into_iter().filter(|each| !each.slots.is_empty() && !each.extents.is_empty()).collect();
        Ok(Edit { layout, clear, mark })
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.clear == 0 && self.mark.is_empty()
    }

    /// Edits the chunk that stands `at` bytes behind the start of the bitmap area. Says whether a byte changed.
    ///
    /// # Errors
    /// [`BitmapError::Misaligned`] when `at` or the chunk's length is not a multiple of 4; nothing is changed.
    pub fn apply(&self, at: u64, chunk: &mut [u8]) -> Result<bool, BitmapError> {
        if !chunk.len().is_multiple_of(WORD) || !at.is_multiple_of(sys::BM_WORD_BYTES) {
            return Err(BitmapError::Misaligned(chunk.len()));
        }
        let from = at / sys::BM_WORD_BYTES;
        let cleared = self.clear != 0 && !is_all(chunk, 0) && self.clear_words(from, chunk);
        let mut changed = cleared;
        for marking in &self.mark {
            changed |= self.mark_words(from, chunk, marking);
        }
        Ok(changed)
    }

    fn clear_words(&self, from: u64, chunk: &mut [u8]) -> bool {
        let slots = u64::from(self.layout.slots);
        if self.layout.slots == 1 {
            chunk.fill(0);
            return true;
        }
        let (mut slot, mut changed) = (from % slots, false);
        for word in chunk.as_chunks_mut::<WORD>().0 {
            if self.clear >> slot & 1 == 1 && *word != [0; WORD] {
                *word = [0; WORD];
                changed = true;
            }
            slot = if slot + 1 == slots { 0 } else { slot + 1 };
        }
        changed
    }

    fn mark_words(&self, from: u64, chunk: &mut [u8], marking: &Marking) -> bool {
        let slots = u64::from(self.layout.slots);
        let step = self.layout.bytes_per_bit;
        let words = (chunk.len() / WORD) as u64;
        // Rows that have a word in this chunk, and the bytes of data they cover.
        let rows = (from / slots, (from + words).div_ceil(slots));
        let covered = Extent::between(
            (rows.0 * 32).saturating_mul(step),
            (rows.1 * 32).saturating_mul(step).min(self.layout.data_size),
        );
        let mut changed = false;
        for run in marking.extents.iter_from(covered.start).map_while(|run| run.intersect(&covered)) {
            let bits = (run.start / step, run.end().div_ceil(step));
            for row in bits.0 / 32..bits.1.div_ceil(32) {
                let low = bits.0.saturating_sub(row * 32).min(32);
                let high = (bits.1 - row * 32).min(32);
                // At most 32 ones, shifted into place in 64 bits.
                let ones = ((1u64 << high) - 1) & !((1u64 << low) - 1);
                let ones = u32::try_from(ones).unwrap_or(u32::MAX);
                for slot in &marking.slots {
                    changed |= set_word(chunk, from, row * slots + u64::from(*slot), ones);
                }
            }
        }
        changed
    }
}

/// Sets bits in one word of the area, if the chunk that starts at word `from` holds it.
fn set_word(chunk: &mut [u8], from: u64, word: u64, ones: u32) -> bool {
    let Some(at) = word.checked_sub(from).and_then(|index| usize::try_from(index).ok()) else { return false };
    let Some(bytes) = at.checked_mul(WORD).and_then(|at| chunk.get_mut(at..at + WORD)) else { return false };
    let old = <[u8; WORD]>::try_from(&*bytes).map_or(0, u32::from_le_bytes);
    bytes.copy_from_slice(&(old | ones).to_le_bytes());
    old | ones != old
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows are taken in pairs; the last one of an odd number has no partner and counts all the same, however it is fed.
    #[test]
    fn the_last_odd_row_counts() {
        for (slots, rows) in [(1u32, 1u64), (1, 3), (1, 129), (2, 1), (2, 3), (3, 5)] {
            for slot in 0..slots {
                for word in [1u32, 1 << 31, 0x0F0F_0000, u32::MAX] {
                    let layout = BitmapLayout { slots, bytes_per_bit: BLOCK, data_size: rows * 32 * BLOCK };
                    let at = usize::try_from((rows - 1) * u64::from(slots) + u64::from(slot)).unwrap() * WORD;
                    let mut area = vec![0; usize::try_from(rows * u64::from(slots)).unwrap() * WORD];
                    area[at..at + WORD].copy_from_slice(&word.to_le_bytes());
                    let first = (rows - 1) * 32;
                    let marked: ExtentSet = (0..32)
                        .filter(|bit| word >> bit & 1 == 1)
                        .map(|bit| Extent { start: (first + bit) * BLOCK, len: BLOCK })
                        .collect();
                    for chunk in [WORD, 2 * WORD, area.len()] {
                        let mut scan = Scan::new(layout, slot).unwrap();
                        area.chunks(chunk).for_each(|chunk| scan.feed(chunk).unwrap());
                        let found = scan.finish().unwrap();
                        let expected = Marked { extents: marked.clone(), bits: word.count_ones().into() };
                        assert_eq!(
                            found, expected,
                            "{slots} slots, slot {slot}, {rows} rows, by {chunk} bytes"
                        );
                    }
                }
            }
        }
    }
}
