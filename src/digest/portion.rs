//! What one thread compares at a time: neighbouring cells of the digest, cut from the scope one after the
//! other and never all at once.

use super::content::PIECE;
use crate::model::extent::Extent;

/// A gap of at most this many bytes is read with its neighbours where a request takes a while: that costs
/// less than another request on everything that moves an arm, and on flash and remote disks about as much.
pub(super) const FAR_GAP: u64 = 32 << 10;
/// Most requests that a portion is read in, apart from those in its last cell, where a request takes a while: they go
/// out one after the other, so that scattered candidates need many portions to keep a device busy.
pub(super) const FAR_REQUESTS: usize = 8;
/// The same where all is at hand: then a portion costs more than a request.
pub(super) const NEAR_REQUESTS: usize = 64;

/// Some cells' share of the scope. Cells are the multiples of [`PIECE`], at which the digest's pieces are
/// cut, too: so what is hashed of a cell is known when the portion is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Portion {
    /// Its place in the order, from 0.
    pub(super) index: u64,
    /// Ascending, apart from each other, none empty.
    pub(super) pieces: Vec<Extent>,
}

impl Portion {
    pub(super) fn bytes(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.len).sum()
    }
}

/// Cuts ascending runs into portions. No cell is in two of them.
pub(super) struct Portions<I> {
    runs: I,
    rest: Option<Extent>,
    next: u64,
    limit: u64,
}

impl<I: Iterator<Item = Extent>> Portions<I> {
    /// Portions of at most `limit` bytes, gaps up to [`FAR_GAP`] included; at least one cell.
    pub(super) fn new(runs: I, limit: u64) -> Self {
        Portions { runs, rest: None, next: 0, limit: limit.max(PIECE) }
    }

    /// The next portion, in about as many requests as given at most, or nothing at the end. `skip` says up to where nothing needs to be looked at from a
    /// place on (the place itself if it does); the bytes that were skipped for that are counted.
    pub(super) fn next(
        &mut self,
        most_requests: usize,
        mut skip: impl FnMut(u64) -> u64,
    ) -> (u64, Option<Portion>) {
        let mut skipped = 0;
        let mut pieces: Vec<Extent> = Vec::new();
        let (mut bytes, mut requests) = (0, 0);
        while let Some(mut rest) = self.rest.take().or_else(|| self.runs.next()) {
            if pieces.is_empty() && rest.len > self.limit {
                // Whole cells only, so that portions keep beginning where cells do.
                let until = (skip(rest.start).min(rest.end()) / PIECE * PIECE).max(rest.start);
                skipped += until - rest.start;
                rest = Extent::between(until, rest.end());
            }
            let Some(piece) = rest.pieces(PIECE).next() else { continue };
            let mut gap = None;
            if let Some(last) = pieces.last() {
                let same_cell = (last.end() - 1) / PIECE == piece.start / PIECE;
                gap = Some(piece.start - last.end()).filter(|gap| *gap <= FAR_GAP);
                // The gap before a cell is read with it, and belongs to no cell of this portion.
                let with_its_cell = bytes + gap.unwrap_or(0) + PIECE;
                if !same_cell && (with_its_cell > self.limit || requests >= most_requests) {
                    self.rest = Some(rest);
                    break;
                }
            }
            if gap.is_none() {
                requests += 1;
            }
            bytes += piece.len + gap.unwrap_or(0);
            match pieces.last_mut() {
                Some(last) if last.end() == piece.start => last.len += piece.len,
                _ => pieces.push(piece),
            }
            self.rest = Some(Extent::between(piece.end(), rest.end())).filter(|rest| rest.len > 0);
        }
        if pieces.is_empty() {
            return (skipped, None);
        }
        let index = self.next;
        self.next += 1;
        (skipped, Some(Portion { index, pieces }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::extent::ExtentSet;
    use proptest::prelude::*;

    #[test]
    fn the_gap_before_a_cell_counts() {
        let (limit, start) = (PIECE + 20_000, PIECE - FAR_GAP);
        let runs = [Extent { start: start - 9000, len: 9000 }, Extent { start: PIECE, len: PIECE - 1000 }];
        let mut portions = Portions::new(runs.into_iter(), limit);
        let mut next = || portions.next(NEAR_REQUESTS, |at| at).1.map(|portion| portion.pieces);
        assert_eq!([next(), next(), next()], [Some(vec![runs[0]]), Some(vec![runs[1]]), None]);
    }

    proptest! {
        #[test]
        fn portions_hold_every_byte_in_order_and_whole_cells(
            long in prop::collection::vec((0u64..40 * PIECE, 1u64..9 * PIECE), 0..4),
            short in prop::collection::vec((0u64..40 * PIECE, 1u64..9000), 0..700),
            limit in PIECE..5 * PIECE,
            hole in (0u64..40 * PIECE, 1u64..20 * PIECE),
        ) {
            let set: ExtentSet = long.into_iter().chain(short).map(Extent::from).collect();
            let hole = Extent::from(hole);
            let skip = |at: u64| if (hole.start..hole.end()).contains(&at) { hole.end() } else { at };
            let mut portions = Portions::new(set.iter(), limit);
            let mut seen = ExtentSet::empty();
            let mut cells = Vec::new();
            let (mut index, mut skipped) = (0, 0);
            loop {
                let most = if index % 3 == 0 { NEAR_REQUESTS } else { FAR_REQUESTS };
                let (more, portion) = portions.next(most, skip);
                skipped += more;
                let Some(portion) = portion else { break };
                prop_assert_eq!(portion.index, index);
                index += 1;
                let mut span = 0;
                for (at, piece) in portion.pieces.iter().enumerate() {
                    prop_assert!(piece.len > 0 && piece.start >= seen.end());
                    let gap = piece.start - seen.end();
                    span += piece.len + if at > 0 && gap <= FAR_GAP { gap } else { 0 };
                    seen.push(*piece);
                    let first = piece.start / PIECE;
                    cells.extend((first..=(piece.end() - 1) / PIECE).map(|cell| (cell, portion.index)));
                }
                prop_assert!(span <= limit, "{} > {}", span, limit);
            }
            prop_assert_eq!(seen.bytes() + skipped, set.bytes());
            let missing = set.subtract(&seen);
            let hole: ExtentSet = std::iter::once(hole).collect();
            prop_assert_eq!(seen.subtract(&set).bytes() + missing.subtract(&hole).bytes(), 0);
            cells.dedup();
            prop_assert!(cells.windows(2).all(|pair| pair[0].0 != pair[1].0), "a cell in two portions");
        }
    }
}
