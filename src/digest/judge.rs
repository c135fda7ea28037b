//! Comparing what was read of both sides, block by block only where it must.

use super::tally::Tally;
use crate::model::extent::Extent;
use crate::model::seen::Why;
use crate::model::side::{Pair, Side};
use crate::model::size::BLOCK;

/// Zeros are compared and hashed this many bytes at a time, without a buffer of their own.
const ZEROS: usize = 64 << 10;
static ZERO: [u8; ZEROS] = [0; ZEROS];

/// What a side has: bytes that were read, or a hole, which reads as zeros.
#[derive(Clone, Copy)]
pub(super) enum Bytes<'a> {
    Read(&'a [u8]),
    Hole(usize),
}

impl<'a> Bytes<'a> {
    /// The part at `part` of what begins at `base`.
    #[allow(clippy::cast_possible_truncation)] // never longer than a portion
    pub(super) fn part(self, base: u64, part: Extent) -> Bytes<'a> {
        let range = (part.start - base) as usize..(part.end() - base) as usize;
        match self {
            Bytes::Read(bytes) => Bytes::Read(&bytes[range]),
            Bytes::Hole(_) => Bytes::Hole(range.len()),
        }
    }

    pub(super) fn feed(self, hasher: &mut blake3::Hasher) {
        match self {
            Bytes::Read(bytes) => {
                hasher.update(bytes);
            }
            Bytes::Hole(len) => {
                for at in (0..len).step_by(ZEROS) {
                    hasher.update(&ZERO[..ZEROS.min(len - at)]);
                }
            }
        }
    }

    pub(super) fn equals(self, other: Bytes<'_>) -> bool {
        match (self, other) {
            (Bytes::Read(a), Bytes::Read(b)) => a == b,
            (Bytes::Hole(_), Bytes::Hole(_)) => true,
            (Bytes::Read(bytes), Bytes::Hole(_)) | (Bytes::Hole(_), Bytes::Read(bytes)) => {
                bytes.chunks(ZEROS).all(|chunk| chunk == &ZERO[..chunk.len()])
            }
        }
    }
}

/// Blocks that could not be read, ascending, and why.
pub(super) type Bad = Vec<(Extent, Why)>;

/// Compares `part`, which begins on a block, of what begins at `base` on both sides.
pub(super) fn judge(base: u64, part: Extent, bytes: Pair<Bytes<'_>>, bad: &Pair<Bad>, tally: &mut Tally) {
    let of = |extent: Extent| bytes.map(|side| side.part(base, extent));
    let sound = bad.a.is_empty() && bad.b.is_empty();
    if sound {
        let all = of(part);
        if all.a.equals(all.b) {
            return;
        }
    }
    // Neighbours that differ are told together: hashing them one by one would cost more.
    let mut run: Option<Extent> = None;
    for block in part.pieces(BLOCK) {
        let differs = if !sound && lost(block, bad, tally) {
            false
        } else {
            let block = of(block);
            !block.a.equals(block.b)
        };
        match &mut run {
            Some(run) if differs => run.len += block.len,
            None if differs => run = Some(block),
            _ => {
                if let Some(run) = run.take() {
                    tally.differs(run, of(run));
                }
            }
        }
    }
    if let Some(run) = run {
        tally.differs(run, of(run));
    }
}

/// Whether a block could not be read on some side; tells so.
fn lost(block: Extent, bad: &Pair<Bad>, tally: &mut Tally) -> bool {
    let mut lost = false;
    for side in Side::BOTH {
        if let Ok(at) = bad[side].binary_search_by_key(&block.start, |(extent, _)| extent.start) {
            tally.unreadable(side, block, bad[side][at].1.clone());
            lost = true;
        }
    }
    lost
}
