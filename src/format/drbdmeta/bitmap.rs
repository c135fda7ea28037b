//! The bitmap, streamed: scanned into extents, or edited in place, in chunks.
//!
//! Bit `n` covers `bytes_per_bit` bytes of data. The slots are interleaved by 32-bit little-endian words: word
//! `(n / 32) × slots + slot`, bit `n % 32`. With one slot that is v08's plain bit stream.

use super::geometry::BitmapLayout;
use crate::model::extent::{Extent, ExtentSet};
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

/// A scan of one slot. Memory: the extents found.
#[derive(Debug)]
pub struct Scan {
    layout: BitmapLayout,
    slot: u64,
    /// Words fed so far.
    words: u64,
    /// Meaningful bits.
    limit: u64,
    /// The run of set bits that is still growing: first bit, first bit behind.
    open: (u64, u64),
    found: Marked,
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
        Ok(Scan { layout, slot, words: 0, limit, open: (0, 0), found: Marked::default() })
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
        while !rest.is_empty() && row * 32 < self.limit {
            let stretch = &rest[..rest.len().min(SKIP_ROWS * row_bytes)];
            let rows = stretch.len().div_ceil(row_bytes) as u64;
            if is_zero(stretch) {
                self.close();
            } else {
                for (i, at) in (0..rows).zip((0..).step_by(row_bytes)) {
                    // Too short only for another slot's words at the chunk's end.
                    let Some(bytes) = stretch.get(at..at + WORD) else { break };
                    let word = bytes.try_into().map_or(0, u32::from_le_bytes);
                    self.word((row + i) * 32, word);
                }
            }
            row += rows;
            rest = rest.get(SKIP_ROWS * row_bytes..).unwrap_or(&[]);
        }
        Ok(())
    }

    fn word(&mut self, first: u64, word: u32) {
        let Some(left) = self.limit.checked_sub(first).filter(|left| *left > 0) else { return };
        let mut word = if left < 32 { word & ((1 << left) - 1) } else { word };
        if word == u32::MAX {
            self.found.bits += 32;
            return self.run(first, 32);
        }
        if word == 0 {
            return self.close();
        }
        self.found.bits += u64::from(word.count_ones());
        let mut at = first;
        while word != 0 {
            let zeros = word.trailing_zeros();
            // Cannot be 32: the word is neither all ones nor zero, and shifts bring in zeros.
            let ones = (word >> zeros).trailing_ones();
            self.run(at + u64::from(zeros), u64::from(ones));
            at += u64::from(zeros + ones);
            word = word.checked_shr(zeros + ones).unwrap_or(0);
        }
    }

    fn run(&mut self, first: u64, bits: u64) {
        if self.open.1 != first {
            self.close();
            self.open = (first, first);
        }
        self.open.1 += bits;
    }

    fn close(&mut self) {
        let (first, behind) = self.open;
        if first < behind {
            let (step, size) = (self.layout.bytes_per_bit, self.layout.data_size);
            self.found.extents.push(Extent::between(first * step, behind.saturating_mul(step).min(size)));
            self.open = (behind, behind);
        }
    }

    /// The result.
    ///
    /// # Errors
    /// [`BitmapError::Short`] when meaningful bits were not fed.
    pub fn finish(mut self) -> Result<Marked, BitmapError> {
        self.close();
        let rows = self.limit.div_ceil(32);
        let needed = match rows.checked_sub(1) {
            Some(last) => (last * u64::from(self.layout.slots) + self.slot + 1) * sys::BM_WORD_BYTES,
            None => 0,
        };
        let got = self.words * sys::BM_WORD_BYTES;
        if got < needed { Err(BitmapError::Short { got, needed }) } else { Ok(self.found) }
    }
}

/// Whether all bytes are zero. No early exit inside a stretch, so that it compiles to wide loads.
fn is_zero(bytes: &[u8]) -> bool {
    let (wide, tail) = bytes.as_chunks::<8>();
    let any = wide.iter().fold(0, |any, eight| any | u64::from_ne_bytes(*eight));
    any == 0 && tail.iter().all(|byte| *byte == 0)
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
        let cleared = self.clear != 0 && !is_zero(chunk) && self.clear_words(from, chunk);
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
        let runs = marking.extents.as_slice();
        let first = runs.partition_point(|run| run.end() <= covered.start);
        let mut changed = false;
        for run in runs[first..].iter().map_while(|run| run.intersect(&covered)) {
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
