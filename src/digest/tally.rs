//! What was found, first in one portion, then in all of them in order.

use super::content::{ContentHasher, PIECE};
use super::judge::Bytes;
use crate::model::delta::Unreadable;
use crate::model::extent::{Extent, ExtentSet};
use crate::model::id::Digest;
use crate::model::seen::Why;
use crate::model::side::{Pair, Side};
use std::collections::BTreeMap;

/// Findings of one portion, made in ascending order.
#[derive(Default)]
pub(super) struct Tally {
    differs: Vec<Extent>,
    unreadable: Vec<Unreadable>,
    /// The digest's pieces of what differs, if they are wanted.
    content: Option<Vec<(Extent, Pair<Digest>)>>,
    /// The piece that may go on.
    open: Option<Open>,
}

struct Open {
    piece: Extent,
    hashers: Pair<blake3::Hasher>,
}

impl Tally {
    pub(super) fn new(content: bool) -> Self {
        Tally { content: content.then(Vec::new), ..Tally::default() }
    }

    /// Blocks that touch each other and all differ, and what each side has there.
    pub(super) fn differs(&mut self, run: Extent, bytes: Pair<Bytes<'_>>) {
        match self.differs.last_mut() {
            Some(last) if last.end() == run.start => last.len += run.len,
            _ => self.differs.push(run),
        }
        if self.content.is_none() {
            return;
        }
        for piece in run.pieces(PIECE) {
            let goes_on = |open: &Open| open.piece.end() == piece.start && !piece.start.is_multiple_of(PIECE);
            if !self.open.as_ref().is_some_and(goes_on) {
                self.close();
            }
            let open = self.open.get_or_insert_with(|| Open {
                piece: Extent { start: piece.start, len: 0 },
                hashers: Pair::from_fn(|_| blake3::Hasher::new()),
            });
            open.piece.len += piece.len;
            for side in Side::BOTH {
                bytes[side].part(run.start, piece).feed(&mut open.hashers[side]);
            }
        }
    }

    pub(super) fn unreadable(&mut self, side: Side, extent: Extent, why: Why) {
        self.unreadable.push(Unreadable { side, extent, why });
    }

    fn close(&mut self) {
        if let (Some(open), Some(content)) = (self.open.take(), &mut self.content) {
            let digest = |side: Side| Digest(*open.hashers[side].finalize().as_bytes());
            content.push((open.piece, Pair::from_fn(digest)));
        }
    }
}

/// Findings of all portions. They arrive in any order and are taken in the right one, so that the result is
/// the same for any number of threads.
pub(super) struct Ledger {
    /// Portions taken so far.
    next: u64,
    waiting: BTreeMap<u64, Tally>,
    differs: ExtentSet,
    unreadable: Vec<Unreadable>,
    content: Pair<ContentHasher>,
}

impl Ledger {
    pub(super) fn new() -> Self {
        Ledger {
            next: 0,
            waiting: BTreeMap::new(),
            differs: ExtentSet::empty(),
            unreadable: Vec::new(),
            content: Pair::from_fn(|_| ContentHasher::default()),
        }
    }

    /// The first portion that has not arrived.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    pub(super) fn enter(&mut self, index: u64, mut tally: Tally) {
        tally.close();
        self.waiting.insert(index, tally);
        while let Some(tally) = self.waiting.remove(&self.next) {
            self.next += 1;
            tally.differs.into_iter().for_each(|run| self.differs.push(run));
            for (piece, digests) in tally.content.into_iter().flatten() {
                for side in Side::BOTH {
                    self.content[side].piece(piece, digests[side]);
                }
            }
            for gap in tally.unreadable {
                // The other side's gaps may stand between; never many, as touching ones are joined.
                let mut before = self.unreadable.iter_mut().rev().take(2);
                let joins = |last: &&mut Unreadable| {
                    last.side == gap.side && last.extent.end() == gap.extent.start && last.why == gap.why
                };
                match before.find(joins) {
                    Some(last) => last.extent.len += gap.extent.len,
                    None => self.unreadable.push(gap),
                }
            }
        }
    }

    /// What differs, what could not be read, and the digests of both sides' bytes in what differs.
    pub(super) fn finish(self) -> (ExtentSet, Vec<Unreadable>, Pair<Digest>) {
        let content = Pair::new(self.content.a.finish(), self.content.b.finish());
        (self.differs, joined(self.unreadable), content)
    }
}

/// Joins touching ranges of one side that have the same reason; ascending, side A before side B.
fn joined(mut gaps: Vec<Unreadable>) -> Vec<Unreadable> {
    gaps.sort_by_key(|gap| (gap.side, gap.extent.start));
    gaps.dedup_by(|next, last| {
        let same = next.side == last.side && next.extent.start == last.extent.end() && next.why == last.why;
        if same {
            last.extent.len += next.extent.len;
        }
        same
    });
    gaps.sort_by_key(|gap| (gap.extent.start, gap.side));
    gaps
}
