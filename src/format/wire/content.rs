//! A disk's bytes on their way: as they are, without their zeros, or compressed, whichever is shorter.

use serde::{Deserialize, Serialize};

/// Zeros are looked for in blocks of that many bytes.
const BLOCK: usize = 4096;
/// A sample of that many bytes says whether compressing the whole pays.
const SAMPLE: usize = 32 << 10;
/// zstd's level: the fastest that still finds what text and file systems repeat.
const LEVEL: i32 = 1;

/// How bytes are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Coding {
    /// As they are.
    Raw,
    /// All zero: nothing is sent.
    Zero,
    /// Alternating: the number of zero blocks of 4 KiB, the number of other blocks (each 4 bytes, little-endian), and
    /// these. The last block may be shorter.
    Sparse,
    /// One zstd frame.
    Zstd,
}

/// Packed bytes do not unpack to what they should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("packed data does not unpack to the length it should have")]
pub struct NotUnpacked;

/// Packs. `squeeze`: whether compressing may be tried. Also says whether it was tried in vain.
#[must_use]
pub fn pack(bytes: &[u8], squeeze: bool) -> (Coding, Vec<u8>, bool) {
    let zeros = bytes.chunks(BLOCK).filter(|block| is_zero(block)).count();
    let blocks = bytes.len().div_ceil(BLOCK);
    if zeros == blocks {
        return (Coding::Zero, Vec::new(), false);
    }
    let mut vain = false;
    if squeeze {
        let sample = sample(bytes);
        let shrinks = |from: &[u8]| {
            let packed = zstd::bulk::compress(from, LEVEL).ok()?;
            (packed.len() < from.len() / 10 * 9).then_some(packed)
        };
        vain = shrinks(sample).is_none();
        if !vain && let Some(packed) = shrinks(bytes) {
            return (Coding::Zstd, packed, false);
        }
    }
    if zeros * 8 >= blocks {
        (Coding::Sparse, sparse(bytes), vain)
    } else {
        (Coding::Raw, bytes.to_vec(), vain)
    }
}

/// A stretch of blocks that are not zero, from the middle on.
fn sample(bytes: &[u8]) -> &[u8] {
    let from_middle = &bytes[bytes.len() / 2 / BLOCK * BLOCK..];
    let start = from_middle.chunks(BLOCK).position(|block| !is_zero(block)).map(|at| at * BLOCK);
    let rest = start.map_or(bytes, |start| &from_middle[start..]);
    &rest[..rest.len().min(SAMPLE)]
}

fn is_zero(bytes: &[u8]) -> bool {
    static ZEROS: [u8; BLOCK] = [0; BLOCK];
    bytes.chunks(BLOCK).all(|block| *block == ZEROS[..block.len()])
}

fn sparse(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let blocks: Vec<&[u8]> = bytes.chunks(BLOCK).collect();
    let mut at = 0;
    while at < blocks.len() {
        let zeros = blocks[at..].iter().take_while(|block| is_zero(block)).count();
        let start = at + zeros;
        let others = blocks[start..].iter().take_while(|block| !is_zero(block)).count();
        for count in [zeros, others] {
            out.extend(u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
        }
        for block in &blocks[start..start + others] {
            out.extend_from_slice(block);
        }
        at = start + others;
    }
    out
}

/// Fills the whole of `into` from what was packed.
///
/// # Errors
/// [`NotUnpacked`]; `into` is then undefined.
pub fn unpack(coding: Coding, packed: &[u8], into: &mut [u8]) -> Result<(), NotUnpacked> {
    match coding {
        Coding::Raw if packed.len() == into.len() => into.copy_from_slice(packed),
        Coding::Zero if packed.is_empty() => into.fill(0),
        Coding::Sparse => return fill_sparse(packed, into),
        Coding::Zstd => {
            // Never more than the buffer: what would unpack to more is an error.
            let len = zstd::bulk::decompress_to_buffer(packed, into).map_err(|_| NotUnpacked)?;
            if len != into.len() {
                return Err(NotUnpacked);
            }
        }
        Coding::Raw | Coding::Zero => return Err(NotUnpacked),
    }
    Ok(())
}

fn fill_sparse(mut packed: &[u8], mut into: &mut [u8]) -> Result<(), NotUnpacked> {
    while let Some((counts, rest)) = packed.split_first_chunk::<8>() {
        let count = |at: usize| {
            u32::from_le_bytes([counts[at], counts[at + 1], counts[at + 2], counts[at + 3]]) as usize
        };
        let (zeros, others) = (count(0), count(4));
        let left = into.len().div_ceil(BLOCK);
        if (zeros == 0 && others == 0) || zeros > left || others > left - zeros {
            return Err(NotUnpacked);
        }
        let clear = zeros.saturating_mul(BLOCK).min(into.len());
        let (zeroed, behind) = into.split_at_mut(clear);
        zeroed.fill(0);
        let len = others.saturating_mul(BLOCK).min(behind.len());
        let (filled, behind) = behind.split_at_mut(len);
        let (data, rest) = rest.split_at_checked(len).ok_or(NotUnpacked)?;
        filled.copy_from_slice(data);
        (packed, into) = (rest, behind);
    }
    if packed.is_empty() && into.is_empty() { Ok(()) } else { Err(NotUnpacked) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(len: usize) -> Vec<u8> {
        let mut x = 88_172_645_463_325_252_u64;
        (0..len)
            .map(|_| {
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                x.to_le_bytes()[3]
            })
            .collect()
    }

    #[test]
    fn everything_round_trips() {
        let mut half = vec![0; 100_000];
        half[40_960..81_920].copy_from_slice(&noise(40_960));
        let text: Vec<u8> = b"the same again, ".iter().copied().cycle().take(70_000).collect();
        for (bytes, squeeze, coding) in [
            (vec![0; 9000], true, Coding::Zero),
            (Vec::new(), true, Coding::Zero),
            (noise(70_000), true, Coding::Raw),
            (half.clone(), false, Coding::Sparse),
            (half, true, Coding::Sparse),
            (text.clone(), false, Coding::Raw),
            (text, true, Coding::Zstd),
            (vec![1], false, Coding::Raw),
        ] {
            let (found, packed, _) = pack(&bytes, squeeze);
            assert_eq!(found, coding);
            assert!(packed.len() <= bytes.len() + 16);
            let mut out = vec![9; bytes.len()];
            unpack(found, &packed, &mut out).unwrap();
            assert!(out == bytes);
            let mut longer = vec![9; bytes.len() + 5000];
            assert!(found == Coding::Zero || unpack(found, &packed, &mut longer).is_err());
        }
    }
}
