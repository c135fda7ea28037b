//! The value of a leaf or block: 128 bits that nobody without the session's key can foresee.

use blake3::Hasher;
use blake3::hazmat::HasherExt;

/// What names this use of BLAKE3's key derivation.
const CONTEXT: &str = "unsplit 2026-11 comparison across a link, session key";

/// Likewise, for the seal at the end.
const SEAL: &str = "unsplit 2026-11 comparison across a link, seal of the conversation";

/// The key of one session, and what is derived from it. Both sides contribute, so neither a replayed message nor
/// whoever wrote the data can choose it.
pub struct Key {
    key: [u8; 32],
    /// Where the sketch puts things.
    pub(super) seeds: [u64; 4],
}

impl Key {
    /// From the digest of the whole question, which has 32 random bytes of the asker in it, and 32 of the answerer.
    pub fn new(asker: &[u8; 32], answerer: &[u8; 32]) -> Self {
        let mut hasher = Hasher::new_derive_key(CONTEXT);
        hasher.update(asker).update(answerer);
        let mut from = hasher.finalize_xof();
        let mut key = [0; 32];
        from.fill(&mut key);
        let seeds = std::array::from_fn(|_| {
            let mut seed = [0; 8];
            from.fill(&mut seed);
            u64::from_le_bytes(seed)
        });
        Key { key, seeds }
    }

    /// Seals the end of a session: what the asker and the answerer had said by then (digests of it), and the answerer's
    /// last word.
    pub(super) fn seal(&self, asker: &[u8; 32], answerer: &[u8; 32], content: &[u8; 32]) -> [u8; 16] {
        let mut hasher = Hasher::new_derive_key(SEAL);
        hasher.update(&self.key).update(asker).update(answerer).update(content);
        let mut seal = [0; 16];
        hasher.finalize_xof().fill(&mut seal);
        seal
    }

    /// The value of `bytes`, which stand at `offset` of the volume: 0 if all of them are zero, otherwise the low 128 bits
    /// of their node in the keyed BLAKE3 tree over the whole volume (so the place is part of it). `offset` is a
    /// multiple of 4 KiB, `bytes` a node of that tree: 4 or 16 KiB that start at a multiple of their length, or
    /// fewer at the volume's end. Not empty.
    pub fn value(&self, offset: u64, bytes: &[u8]) -> u128 {
        if is_zero(bytes) {
            return 0;
        }
        let mut hasher = Hasher::new_keyed(&self.key);
        let node = hasher.set_input_offset(offset).update(bytes).finalize_non_root();
        let mut low = [0; 16];
        low.copy_from_slice(&node[..16]);
        u128::from_le_bytes(low)
    }
}

/// Whether every byte is zero. Mostly the first few tell.
pub(super) fn is_zero(bytes: &[u8]) -> bool {
    let mut chunks = bytes.chunks_exact(128);
    let zero = |chunk: &[u8]| chunk.iter().fold(0, |all, byte| all | byte) == 0;
    chunks.all(zero) && zero(chunks.remainder())
}

/// A well-mixed number from one that counts (the finalizer of MurmurHash3, with better constants by David Stafford).
pub(super) fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use blake3::hazmat::{Mode, merge_subtrees_root};

    #[test]
    fn values_are_nodes_of_the_keyed_tree() {
        let key = Key::new(&[1; 32], &[2; 32]);
        let bytes: Vec<u8> = (0..30_000u32).map(|at| (at * 7 / 5) as u8).collect();
        let node = |range: std::ops::Range<usize>| {
            let mut hasher = Hasher::new_keyed(&key.key);
            hasher.set_input_offset(range.start as u64).update(&bytes[range]).finalize_non_root()
        };
        let (left, right) = (node(0..16_384), node(16_384..30_000));
        let root = merge_subtrees_root(&left, &right, Mode::KeyedHash(&key.key));
        assert_eq!(root, blake3::keyed_hash(&key.key, &bytes));
        let low = |node: [u8; 32]| u128::from_le_bytes(*node.first_chunk::<16>().unwrap());
        assert_eq!(key.value(0, &bytes[..16_384]), low(left));
        assert_eq!(key.value(16_384, &bytes[16_384..]), low(right));
    }

    #[test]
    fn key_place_and_content_matter_and_zeros_are_nothing() {
        let key = Key::new(&[1; 32], &[2; 32]);
        let bytes = [7; 4096];
        let value = key.value(8192, &bytes);
        assert_eq!(value, Key::new(&[1; 32], &[2; 32]).value(8192, &bytes));
        for other in [
            key.value(4096, &bytes),
            key.value(8192, &[8; 4096]),
            key.value(8192, &bytes[1..]),
            Key::new(&[2; 32], &[1; 32]).value(8192, &bytes),
            0,
        ] {
            assert_ne!(value, other);
        }
        assert_eq!(key.value(4096, &[0; 4096]), 0);
        for len in [1, 127, 128, 129, 4096] {
            let mut bytes = vec![0; len];
            assert!(is_zero(&bytes));
            for at in [0, len / 2, len - 1] {
                bytes[at] = 1;
                assert!(!is_zero(&bytes), "{at} of {len}");
                bytes[at] = 0;
            }
        }
    }
}
