//! A set of numbers as runs, in about as many bits as it holds information: the gaps and the lengths are Rice codes
//! whose parameters follow their means.
//!
//! Layout: number of runs (varint); if there are any, the two parameters (a byte each), then for each run the gap
//! from the end of the run before (less one, since runs do not touch; the first from 0) and the length less one, bit by
//! bit, low bits first; the last byte is filled with zeros.

use super::cursor::{Cursor, put_varint};
use super::reconcile::WireError;
use crate::model::extent::{Extent, ExtentSet};

/// Most runs in one message.
pub const MOST_RUNS: usize = 1 << 16;
/// Quotients from here on are written as 64 plain bits behind this many ones, so that no number is longer than 104 bits.
const ESCAPE: u32 = 40;
/// The largest parameter: beyond it nothing is won.
const MOST_BITS: u8 = 57;

#[derive(Default)]
struct BitWriter {
    out: Vec<u8>,
    pending: u128,
    count: u32,
}

impl BitWriter {
    /// The low `bits` bits (at most 64) of `value`.
    fn put(&mut self, value: u64, bits: u32) {
        self.pending |= u128::from(value) << self.count;
        self.count += bits;
        while self.count >= 8 {
            #[allow(clippy::cast_possible_truncation)] // the low byte is meant
            self.out.push(self.pending as u8);
            self.pending >>= 8;
            self.count -= 8;
        }
    }

    fn rice(&mut self, value: u64, parameter: u8) {
        let quotient = value >> parameter;
        if quotient >= u64::from(ESCAPE) {
            self.put((1 << ESCAPE) - 1, ESCAPE);
            return self.put(value, 64);
        }
        #[allow(clippy::cast_possible_truncation)] // below 40
        let ones = quotient as u32;
        self.put((1 << ones) - 1, ones + 1);
        self.put(value & ((1 << parameter) - 1), u32::from(parameter));
    }

    fn finish(mut self) -> Vec<u8> {
        if self.count > 0 {
            self.put(0, 8 - self.count);
        }
        self.out
    }
}

struct BitReader<'a, 'b> {
    from: &'b mut Cursor<'a>,
    pending: u128,
    count: u32,
}

impl BitReader<'_, '_> {
    fn bits(&mut self, bits: u32) -> Result<u64, WireError> {
        while self.count < bits {
            self.pending |= u128::from(self.from.byte()?) << self.count;
            self.count += 8;
        }
        #[allow(clippy::cast_possible_truncation)] // masked to at most 64 bits
        let value = (self.pending & ((1u128 << bits) - 1)) as u64;
        self.pending >>= bits;
        self.count -= bits;
        Ok(value)
    }

    fn rice(&mut self, parameter: u8) -> Result<u64, WireError> {
        let mut ones = 0;
        while ones < ESCAPE && self.bits(1)? == 1 {
            ones += 1;
        }
        if ones == ESCAPE {
            return self.bits(64);
        }
        let low = self.bits(u32::from(parameter))?;
        let high = u64::from(ones);
        let value = high.checked_shl(u32::from(parameter)).filter(|value| value >> parameter == high);
        Ok(value.ok_or(WireError::Number)? | low)
    }
}

/// The parameter that suits numbers of this mean.
fn parameter(sum: u128, count: usize) -> u8 {
    // ln 2 times the mean, as a power of two.
    let mean = sum * 7 / (10 * count.max(1) as u128);
    #[allow(clippy::cast_possible_truncation)] // at most 128
    let bits = (u128::BITS - mean.leading_zeros()) as u8;
    bits.saturating_sub(1).min(MOST_BITS)
}

/// Appends a set of at most [`MOST_RUNS`] runs.
pub fn encode_runs(out: &mut Vec<u8>, set: &ExtentSet) {
    put_varint(out, set.runs() as u64);
    if set.is_empty() {
        return;
    }
    let mut end = None;
    let pairs: Vec<(u64, u64)> = set
        .iter()
        .map(|run| {
            let gap = end.map_or(run.start, |end: u64| run.start - end - 1);
            end = Some(run.end());
            (gap, run.len - 1)
        })
        .collect();
    let gaps = parameter(pairs.iter().map(|pair| u128::from(pair.0)).sum(), pairs.len());
    let lengths = parameter(pairs.iter().map(|pair| u128::from(pair.1)).sum(), pairs.len());
    out.extend([gaps, lengths]);
    let mut bits = BitWriter::default();
    for (gap, len) in pairs {
        bits.rice(gap, gaps);
        bits.rice(len, lengths);
    }
    out.extend(bits.finish());
}

/// Reads a set: ascending, not touching, not empty, ending at or below `u64::MAX`.
pub(super) fn decode_runs(from: &mut Cursor<'_>) -> Result<ExtentSet, WireError> {
    let count = from.varint()?;
    if count == 0 {
        return Ok(ExtentSet::empty());
    }
    if count > MOST_RUNS as u64 {
        return Err(WireError::TooMany);
    }
    let [gaps, lengths] = from.array()?;
    if gaps > MOST_BITS || lengths > MOST_BITS {
        return Err(WireError::Number);
    }
    let mut bits = BitReader { from, pending: 0, count: 0 };
    let mut set = ExtentSet::empty();
    let mut least = 0u64;
    for _ in 0..count {
        let start = bits.rice(gaps)?.checked_add(least).ok_or(WireError::Number)?;
        let len = bits.rice(lengths)?.checked_add(1).ok_or(WireError::Number)?;
        // One number must be left behind the end, so that the next run does not touch.
        let after = start.checked_add(len).and_then(|end| end.checked_add(1)).ok_or(WireError::Number)?;
        set.push(Extent { start, len });
        least = after;
    }
    if bits.pending != 0 {
        return Err(WireError::Trailing);
    }
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn there_and_back(set: &ExtentSet) -> usize {
        let mut out = Vec::new();
        encode_runs(&mut out, set);
        let mut cursor = Cursor::new(&out);
        assert_eq!(&decode_runs(&mut cursor).unwrap(), set);
        cursor.end().unwrap();
        out.len()
    }

    proptest! {
        #[test]
        fn sets_come_back(
            runs in prop::collection::vec((prop_oneof![0..1000u64, 0..1u64 << 40, 0..u64::MAX / 2], prop_oneof![1..9u64, 1..1u64 << 40]), 0..200),
        ) {
            there_and_back(&runs.into_iter().map(Extent::from).collect());
        }

        #[test]
        fn any_bytes_are_a_set_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(set) = decode_runs(&mut Cursor::new(&bytes)) {
                there_and_back(&set);
            }
        }
    }

    #[test]
    fn scattered_numbers_take_little_more_than_their_entropy() {
        let mut state = 1u64;
        let set: ExtentSet = (0..1000)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                Extent { start: state >> 38, len: 1 }
            })
            .collect();
        // 1000 of 2^26 carry about 17.5 bits each.
        let bytes = there_and_back(&set);
        assert!((2187..2600).contains(&bytes), "{bytes}");
    }
}
