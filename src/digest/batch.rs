//! Portions of work, cut from extents one after the other and never all at once.

use crate::model::extent::Extent;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Most pieces in one batch: enough that taking one costs little beside reading 4 KiB.
const MOST_PIECES: usize = 256;

/// Cuts ascending extents at multiples of `limit` bytes and gathers neighbours into batches of at most
/// `limit` bytes, so that scattered small extents cost no more bookkeeping than long ones.
pub(super) struct Batches<I> {
    extents: I,
    rest: Option<Extent>,
    limit: u64,
}

impl<I: Iterator<Item = Extent>> Batches<I> {
    pub(super) fn new(extents: I, limit: u64) -> Self {
        Batches { extents, rest: None, limit: limit.max(1) }
    }
}

impl<I: Iterator<Item = Extent>> Iterator for Batches<I> {
    type Item = Vec<Extent>;

    fn next(&mut self) -> Option<Vec<Extent>> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while batch.len() < MOST_PIECES {
            let Some(rest) = self.rest.take().or_else(|| self.extents.next()) else { break };
            let Some(piece) = rest.pieces(self.limit).next() else { continue };
            if bytes + piece.len > self.limit {
                self.rest = Some(rest);
                break;
            }
            bytes += piece.len;
            batch.push(piece);
            self.rest = Some(Extent::between(piece.end(), rest.end())).filter(|rest| rest.len > 0);
        }
        (!batch.is_empty()).then_some(batch)
    }
}

/// Locks, also after another thread's panic: the panic itself is carried on by the thread scope.
pub(super) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::extent::ExtentSet;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn batches_hold_every_piece_in_order(
            extents in prop::collection::vec((0u64..5000, 1u64..300), 0..600),
            limit in 1u64..400,
        ) {
            let set: ExtentSet = extents.into_iter().map(Extent::from).collect();
            let batches: Vec<_> = Batches::new(set.iter(), limit).collect();
            let pieces: Vec<_> = set.iter().flat_map(|run| run.pieces(limit)).collect();
            prop_assert_eq!(batches.concat(), pieces);
            for batch in &batches {
                prop_assert!(batch.iter().map(|piece| piece.len).sum::<u64>() <= limit);
                prop_assert!((1..=MOST_PIECES).contains(&batch.len()));
            }
        }
    }
}
