//! Who wrote which blocks of 4 KiB while the sides were apart.

use super::case::{Case, Differences, Relation};
use super::image::rng::Rng;
use std::collections::BTreeSet;

pub(crate) type Blocks = BTreeSet<u64>;

/// Blocks by what happened to them, by side where it matters.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    /// Got new content, and are marked.
    pub(crate) changed: [Blocks; 2],
    /// Are marked, but hold what they held.
    pub(crate) rewritten: [Blocks; 2],
    /// Got the same new content on both sides.
    pub(crate) same: Blocks,
    /// Got new content that nobody marked.
    pub(crate) unmarked: [Blocks; 2],
}

/// A run somewhere.
fn run(rng: &mut Rng, blocks: u64, most: u64) -> std::ops::Range<u64> {
    let start = rng.below(blocks);
    start..(start + 1 + rng.below(most)).min(blocks)
}

fn some(rng: &mut Rng, blocks: u64) -> Blocks {
    (0..1 + rng.below(4)).flat_map(|_| run(rng, blocks, 40)).collect()
}

impl Writes {
    pub(crate) fn of(case: &Case, rng: &mut Rng) -> Writes {
        let blocks = case.sectors.div_ceil(8);
        let mut writes = Writes::default();
        let either = rng.index(3);
        // One block on one side, the other, or both.
        let one = |writes: &mut Writes, block: u64| {
            for side in 0..2 {
                if either == side || either == 2 {
                    writes.changed[side].insert(block);
                }
            }
        };
        match case.differences {
            Differences::NoneMarked => {}
            Differences::MarkedButEqual => {
                writes.rewritten = [some(rng, blocks), some(rng, blocks)];
                writes.same = some(rng, blocks);
            }
            Differences::OnlyA => writes.changed[0] = some(rng, blocks),
            Differences::OnlyB => writes.changed[1] = some(rng, blocks),
            Differences::Both => {
                let shared = some(rng, blocks);
                writes.changed = [0, 1].map(|_| shared.iter().copied().chain(some(rng, blocks)).collect());
                writes.rewritten = [some(rng, blocks), some(rng, blocks)];
            }
            Differences::FirstBlock => one(&mut writes, 0),
            Differences::LastBlock => one(&mut writes, blocks - 1),
            Differences::Whole => (0..blocks).for_each(|block| one(&mut writes, block)),
            Differences::Scattered => {
                let step = 7 + rng.below(200);
                for block in (0..blocks).step_by(usize::try_from(step).unwrap()) {
                    writes.changed[rng.index(2)].insert(block);
                }
            }
            Differences::Unmarked => {
                writes.changed = [some(rng, blocks), some(rng, blocks)];
                let marked: Blocks = writes.changed.iter().flatten().copied().collect();
                writes.unmarked[rng.index(2)] = some(rng, blocks).difference(&marked).copied().collect();
            }
        }
        writes.suit(case, rng, blocks);
        writes
    }

    /// What cannot have happened under this relation did not.
    fn suit(&mut self, case: &Case, rng: &mut Rng, blocks: u64) {
        match case.relation {
            Relation::AheadByBitmap | Relation::BehindByBitmap => {
                let alone = case.relation.successor().unwrap();
                let lost = std::mem::take(&mut self.changed[1 - alone]);
                self.changed[alone].extend(lost);
                self.rewritten[alone].extend(std::mem::take(&mut self.same));
                self.rewritten[1 - alone].clear();
            }
            Relation::Leftover if self.is_unmarked() => {
                self.rewritten[rng.index(2)].extend(some(rng, blocks));
            }
            Relation::BitmapBoth | Relation::Leftover => {}
            // Nothing in common: differences need no mark.
            _ => self.unmarked[rng.index(2)].extend(some(rng, blocks)),
        }
    }

    fn is_unmarked(&self) -> bool {
        self.same.is_empty() && [&self.changed, &self.rewritten].into_iter().flatten().all(BTreeSet::is_empty)
    }

    /// What a side's bitmap marks, before the activity log hides some of it.
    pub(crate) fn marked(&self, side: usize) -> Blocks {
        let all = [&self.changed[side], &self.rewritten[side], &self.same];
        all.into_iter().flatten().copied().collect()
    }
}
