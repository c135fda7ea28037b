//! A kept comparison as bytes.
//!
//! ```text
//! "unsplit-compared" | version, 4 bytes | key, 32 | began at, 8 | scope, 1 | size, 8 | compared, 8 | content of a, 32 | of b, 32
//! | number of runs, 8 | gap and length of each run | BLAKE3 of all that, 32
//! ```
//!
//! Fixed numbers are little-endian; gaps and lengths are bytes in variable length, seven bits at a time, low ones first.

use crate::model::delta::Scope;
use crate::model::extent::{Extent, ExtentSet};
use crate::model::id::Digest;
use crate::model::remembered::Remembered;
use crate::model::seen::Stamp;
use crate::model::side::Pair;

const MAGIC: &[u8; 16] = b"unsplit-compared";
const VERSION: u32 = 1;
/// Bytes of a seal.
const SEAL: usize = 32;

/// Why bytes are not a kept comparison, or not the one that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ComparisonFlaw {
    /// Not such a file, or of another version of unsplit.
    #[error("it is not a comparison kept by this version")]
    Foreign,
    /// Truncated or altered.
    #[error("it is damaged")]
    Damaged,
    /// Whole, but of other evidence.
    #[error("it belongs to other evidence than its name says")]
    Other,
}

/// The bytes that keep a comparison under `key`.
#[must_use]
pub fn encode(key: &Digest, kept: &Remembered) -> Vec<u8> {
    let mut out = Vec::with_capacity(256 + 4 * kept.differs.runs());
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&key.0);
    out.extend_from_slice(&kept.at.0.to_le_bytes());
    out.push(match kept.scope {
        Scope::Candidates => 0,
        Scope::Everything => 1,
    });
    out.extend_from_slice(&kept.size.to_le_bytes());
    out.extend_from_slice(&kept.compared.to_le_bytes());
    out.extend_from_slice(&kept.content.a.0);
    out.extend_from_slice(&kept.content.b.0);
    out.extend_from_slice(&(kept.differs.runs() as u64).to_le_bytes());
    let mut at = 0;
    for run in &kept.differs {
        put(&mut out, run.start - at);
        put(&mut out, run.len);
        at = run.end();
    }
    let seal = blake3::hash(&out);
    out.extend_from_slice(seal.as_bytes());
    out
}

/// Reads what [`encode`] wrote. Every byte is covered by the seal, so that no damage passes for an answer.
///
/// # Errors
/// [`ComparisonFlaw`].
pub fn decode(key: &Digest, bytes: &[u8]) -> Result<Remembered, ComparisonFlaw> {
    let (body, seal) = bytes.split_last_chunk::<SEAL>().ok_or(ComparisonFlaw::Damaged)?;
    let rest = body.strip_prefix(MAGIC).ok_or(ComparisonFlaw::Foreign)?;
    if blake3::hash(body) != blake3::Hash::from_bytes(*seal) {
        return Err(ComparisonFlaw::Damaged);
    }
    let found = fields(rest)?;
    if found.0 != *key {
        return Err(ComparisonFlaw::Other);
    }
    Ok(found.1)
}

fn fields(mut rest: &[u8]) -> Result<(Digest, Remembered), ComparisonFlaw> {
    let damaged = ComparisonFlaw::Damaged;
    if u32::from_le_bytes(take(&mut rest).ok_or(damaged)?) != VERSION {
        return Err(ComparisonFlaw::Foreign);
    }
    let key = Digest(take(&mut rest).ok_or(damaged)?);
    let at = Stamp(i64::from_le_bytes(take(&mut rest).ok_or(damaged)?));
    let scope = match take::<1>(&mut rest) {
        Some([0]) => Scope::Candidates,
        Some([1]) => Scope::Everything,
        _ => return Err(damaged),
    };
    let mut number = || take(&mut rest).map(u64::from_le_bytes).ok_or(damaged);
    let (size, compared) = (number()?, number()?);
    let content = Pair::new(Digest(take(&mut rest).ok_or(damaged)?), Digest(take(&mut rest).ok_or(damaged)?));
    let runs = take(&mut rest).map(u64::from_le_bytes).ok_or(damaged)?;
    // No allocation follows this number: the runs are read one by one.
    let (mut differs, mut end) = (ExtentSet::empty(), 0u64);
    for index in 0..runs {
        let gap = varint(&mut rest).ok_or(damaged)?;
        let len = varint(&mut rest).ok_or(damaged)?;
        let start = end.checked_add(gap).ok_or(damaged)?;
        end = start.checked_add(len).filter(|end| *end <= size).ok_or(damaged)?;
        if len == 0 || (gap == 0 && index > 0) {
            return Err(damaged);
        }
        differs.push(Extent::between(start, end));
    }
    if !rest.is_empty() || compared > size || differs.bytes() > compared {
        return Err(damaged);
    }
    Ok((key, Remembered { at, scope, size, compared, differs, content }))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

/// A number in its shortest form; no other form is taken.
fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..u64::BITS).step_by(7) {
        let [byte] = take(rest)?;
        let bits = u64::from(byte & 0x7f);
        if bits << shift >> shift != bits {
            return None;
        }
        number |= bits << shift;
        if byte < 0x80 {
            return (byte > 0 || shift == 0).then_some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kept() -> impl Strategy<Value = Remembered> {
        let runs = prop::collection::vec((0u64..1 << 45, 1u64..1 << 20), 0..60);
        (runs, any::<[u8; 32]>(), any::<[u8; 32]>(), any::<i64>(), any::<bool>(), 0u64..1 << 44).prop_map(
            |(runs, a, b, at, full, more)| {
                let differs: ExtentSet = runs.into_iter().map(Extent::from).collect();
                let size = differs.end() + more;
                Remembered {
                    at: Stamp(at),
                    scope: if full { Scope::Everything } else { Scope::Candidates },
                    size,
                    compared: differs.bytes() + (size - differs.bytes()) / 3,
                    differs,
                    content: Pair::new(Digest(a), Digest(b)),
                }
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_kept_is_found(kept in kept(), key in any::<[u8; 32]>(), other in any::<[u8; 32]>()) {
            let bytes = encode(&Digest(key), &kept);
            prop_assert_eq!(decode(&Digest(key), &bytes), Ok(kept));
            prop_assume!(key != other);
            prop_assert_eq!(decode(&Digest(other), &bytes), Err(ComparisonFlaw::Other));
        }

        #[test]
        fn sealed_nonsense_is_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..300), key in any::<[u8; 32]>()) {
            // Beyond the seal, which nobody guesses: the fields themselves.
            let mut body = [MAGIC.as_slice(), &1u32.to_le_bytes(), &key].concat();
            body.append(&mut bytes);
            let seal = blake3::hash(&body);
            body.extend_from_slice(seal.as_bytes());
            if let Ok(kept) = decode(&Digest(key), &body) {
                prop_assert_eq!(encode(&Digest(key), &kept), body);
            }
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let differs = (0..40u64).map(|at| Extent { start: at * 9000, len: 4096 }).collect();
        let kept = Remembered {
            at: Stamp(1_700_000_000_000),
            scope: Scope::Everything,
            size: 1 << 30,
            compared: 1 << 30,
            differs,
            content: Pair::new(Digest([1; 32]), Digest([2; 32])),
        };
        let key = Digest([3; 32]);
        let bytes = encode(&key, &kept);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&key, &flipped).is_err(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(decode(&key, &bytes[..len]).is_err(), "{len} bytes");
        }
        assert!(decode(&key, &[bytes.as_slice(), &[0]].concat()).is_err());
    }
}
