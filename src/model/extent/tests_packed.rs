//! Sets that are large enough to be packed in every way, against one `bool` per cell.

use super::*;
use proptest::prelude::*;

/// A volume as cells of equal size, somewhere in the range of addresses.
#[derive(Debug, Clone, Copy)]
struct Grid {
    origin: u64,
    cell: u64,
}

impl Grid {
    fn set(self, cells: &[bool]) -> ExtentSet {
        let at = |index: usize| self.origin.saturating_add((index as u64).saturating_mul(self.cell));
        let on = (0..cells.len()).filter(|index| cells[*index]);
        on.map(|index| Extent::between(at(index), at(index + 1))).collect()
    }

    /// The same by way of words where cells are blocks.
    fn built(self, cells: &[bool], words: impl Fn(usize) -> bool) -> ExtentSet {
        assert_eq!((self.origin % (64 * 4096), self.cell), (0, 4096));
        let mut builder = Builder::default();
        for (index, chunk) in cells.chunks(64).enumerate() {
            let first = self.origin / 4096 + index as u64 * 64;
            if words(index) {
                let word = chunk.iter().rev().fold(0u64, |word, cell| word << 1 | u64::from(*cell));
                builder.word(first, word);
            } else {
                Grid { origin: first * 4096, cell: 4096 }.set(chunk).iter().for_each(|run| builder.push(run));
            }
        }
        builder.finish()
    }
}

/// Stretches of what volumes look like: nothing, everything, every other block, noise of some density.
fn cells(len: usize) -> impl Strategy<Value = Vec<bool>> {
    let stretch = (0u32..8, prop_oneof![1usize..200, 1usize..20_000, Just(64), Just(65536)], any::<u64>());
    prop::collection::vec(stretch, 1..14).prop_map(move |stretches| {
        let mut cells = Vec::with_capacity(len);
        for (kind, count, seed) in stretches.into_iter().cycle() {
            if cells.len() >= len {
                break;
            }
            let mut state = seed | 1;
            cells.extend((0..count).map(|index| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let noise = state >> 33;
                match kind {
                    0 => false,
                    1 => true,
                    2 => index % 2 == 0,
                    3 => noise % 2 == 0,
                    4 => noise % 8 == 0,
                    5 => noise % 300 == 0,
                    6 => noise % 16 != 0,
                    _ => (index / 7) % 3 == 0,
                }
            }));
        }
        cells.truncate(len);
        cells
    })
}

fn sizes() -> impl Strategy<Value = (u64, u64)> {
    // Where two grids lie, in cells of the smaller one, and how large a cell is.
    let cell =
        prop_oneof![3 => Just(4096u64), 1 => Just(512), 1 => Just(65536), 1 => Just(1), 1 => Just(12_288)];
    let origin =
        prop_oneof![3 => Just(0u64), 1 => 1u64..100, 1 => (1u64 << 40)..(1 << 41), 1 => Just(u64::MAX)];
    (cell, origin).prop_map(|(cell, origin)| match origin {
        // The last cells end at the last number.
        u64::MAX => (cell, u64::MAX - 150_000 * cell),
        _ => (cell, origin * cell.min(4096)),
    })
}

fn check(set: &ExtentSet, grid: Grid, expected: &[bool]) -> Result<(), TestCaseError> {
    let mut runs = Vec::new();
    let mut index = 0;
    while index < expected.len() {
        let len = expected[index..].iter().take_while(|cell| **cell == expected[index]).count();
        if expected[index] {
            runs.push(Extent { start: grid.origin + index as u64 * grid.cell, len: len as u64 * grid.cell });
        }
        index += len;
    }
    prop_assert!(set.iter().eq(runs.iter().copied()), "{:?}", set);
    prop_assert_eq!((set.runs(), set.iter().len()), (runs.len(), runs.len()));
    prop_assert_eq!(set.bytes(), runs.iter().map(|run| run.len).sum::<u64>());
    prop_assert_eq!((set.first(), set.last()), (runs.first().copied(), runs.last().copied()));
    prop_assert_eq!(set.end(), runs.last().map_or(0, Extent::end));
    // What is promised about memory: 16 bytes for each plain run, else at most a bit per block (and headers).
    let span = set.end() - set.first().map_or(0, |first| first.start);
    let plain = 16 * set::PLAIN.next_power_of_two() + 4096;
    if grid.cell.is_multiple_of(4096) && grid.origin.is_multiple_of(4096) {
        prop_assert!(set.memory() as u64 <= plain as u64 + span / 4096 / 8 * 5 / 4, "{} bytes", set.memory());
    }
    Ok(())
}

const CELLS: usize = 150_000;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn operations_on_packed_sets((cell, origin) in sizes(), a in cells(CELLS), b in cells(CELLS), shift in 0usize..70_000) {
        let grid = Grid { origin, cell };
        // One is shorter and lies further on, so that the ends differ.
        let b: Vec<bool> = (0..CELLS).map(|index| index >= shift && b[index - shift]).collect();
        let (x, y) = (grid.set(&a), grid.set(&b));
        check(&x, grid, &a)?;
        check(&y, grid, &b)?;
        let both = |f: fn(bool, bool) -> bool| a.iter().zip(&b).map(|(a, b)| f(*a, *b)).collect::<Vec<_>>();
        check(&x.union(&y), grid, &both(|a, b| a || b))?;
        check(&x.intersect(&y), grid, &both(|a, b| a && b))?;
        check(&x.subtract(&y), grid, &both(|a, b| a && !b))?;
        prop_assert!(union(x.iter(), y.iter()).eq(&x.union(&y)), "streamed union");
        prop_assert!(intersection(x.iter(), y.iter()).eq(&x.intersect(&y)), "streamed intersection");

        let clip = (CELLS / 3 + shift) as u64;
        let below: Vec<bool> = a.iter().enumerate().map(|(index, cell)| *cell && (index as u64) < clip).collect();
        check(&x.clip(origin + clip * cell), grid, &below)?;
        prop_assert_eq!(x.clip(u64::MAX), x.clone());

        let json = serde_json::to_string(&x).unwrap();
        prop_assert_eq!(&json, &serde_json::to_string(&x.iter().collect::<Vec<_>>()).unwrap());
        prop_assert_eq!(serde_json::from_str::<ExtentSet>(&json).unwrap(), x);
    }

    #[test]
    fn operations_of_different_grids(a in cells(CELLS), b in cells(CELLS), offset in 0u64..4096) {
        // Against a list that is built without any of the code in question.
        let blocks = Grid { origin: 0, cell: 4096 };
        let odd = Grid { origin: offset, cell: 4096 };
        let (x, y) = (blocks.set(&a), odd.set(&b));
        let naive = |f: fn(bool, bool) -> bool| {
            // Every boundary of either, and what holds between two.
            let mut out: Vec<Extent> = Vec::new();
            for index in 0..=CELLS as u64 {
                let (here, before) = (index as usize, (index as usize).wrapping_sub(1));
                let at = |cells: &[bool], index: usize| cells.get(index).copied().unwrap_or(false);
                let cut = index * 4096 + offset;
                for (range, value) in [
                    (Extent::between(index * 4096, cut), f(at(&a, here), at(&b, before))),
                    (Extent::between(cut, (index + 1) * 4096), f(at(&a, here), at(&b, here))),
                ] {
                    match out.last_mut() {
                        _ if !value || range.len == 0 => {}
                        Some(last) if last.end() == range.start => last.len += range.len,
                        _ => out.push(range),
                    }
                }
            }
            out
        };
        prop_assert!(x.union(&y).iter().eq(naive(|a, b| a || b)));
        prop_assert!(x.intersect(&y).iter().eq(naive(|a, b| a && b)));
        prop_assert!(x.subtract(&y).iter().eq(naive(|a, b| a && !b)));
        prop_assert!(y.subtract(&x).iter().eq(naive(|a, b| b && !a)));
    }

    #[test]
    fn building_by_the_word(a in cells(CELLS), origin in 0u64..3, words in any::<u64>(), gap in 0usize..200) {
        let grid = Grid { origin: origin * 64 * 4096 * 1000, cell: 4096 };
        let expected = grid.set(&a);
        check(&grid.built(&a, |_| true), grid, &a)?;
        // Words and extents in turns.
        check(&grid.built(&a, |index| words >> (index / (gap + 1) % 64) & 1 == 1), grid, &a)?;
        prop_assert_eq!(grid.built(&a, |index| index % 3 > 0), expected);
    }

    #[test]
    fn asking_about_one_place((cell, origin) in sizes(), a in cells(CELLS), places in prop::collection::vec((0..CELLS, 0usize..70_000), 50)) {
        let grid = Grid { origin, cell };
        let set = grid.set(&a);
        for (from, len) in places {
            let to = (from + len).min(CELLS);
            // A little more or less than whole cells.
            let start = origin + from as u64 * cell + cell / 3;
            let extent = Extent::between(start, (origin + to as u64 * cell).saturating_add(cell / 2).max(start));
            let naive: u64 = set.iter().filter_map(|run| run.intersect(&extent)).map(|common| common.len).sum();
            prop_assert_eq!(set.bytes_in(&extent), naive);
            prop_assert_eq!(set.covers(&extent), naive == extent.len);
            let behind = set.iter().filter(|run| run.end() > extent.start);
            prop_assert!(set.iter_from(extent.start).eq(behind));
        }
    }

    #[test]
    fn collecting_in_any_order(a in cells(CELLS), seed in any::<u64>()) {
        let grid = Grid { origin: 0, cell: 4096 };
        let mut runs: Vec<Extent> = grid.set(&a).iter().flat_map(|run| run.pieces(9 * 4096)).collect();
        let mut state = seed | 1;
        for index in (1..runs.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            runs.swap(index, (state >> 33) as usize % (index + 1));
        }
        check(&runs.into_iter().collect(), grid, &a)?;
    }

    #[test]
    fn widening(a in cells(CELLS), factor in 1u64..40) {
        let grid = Grid { origin: 0, cell: 4096 };
        let wide = grid.set(&a).align(factor * 4096);
        let touched: Vec<bool> = (0..CELLS.next_multiple_of(factor as usize))
            .map(|index| {
                let first = index / factor as usize * factor as usize;
                a[first..(first + factor as usize).min(CELLS)].contains(&true)
            })
            .collect();
        check(&wide, grid, &touched)?;
    }
}

#[test]
fn how_a_set_was_made_does_not_matter() {
    let blocks = |from: u64, to: u64, step: usize| {
        (from..to).step_by(step).map(|block| Extent { start: block * 4096, len: 4096 })
    };
    let plain: ExtentSet = blocks(0, 300_000, 2).collect();
    let mut late = ExtentSet::empty();
    blocks(0, 300_000, 2).for_each(|run| late.push(run));
    let parts = blocks(150_000, 300_000, 2).collect::<ExtentSet>().union(&blocks(0, 150_000, 2).collect());
    assert_eq!(plain, late);
    assert_eq!(plain, parts);
    assert_ne!(plain, blocks(0, 299_998, 2).collect());
    assert_ne!(plain, blocks(0, 300_000, 2).map(|run| Extent { start: run.start + 4096, ..run }).collect());
    let hash = |set: &ExtentSet| {
        use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
        BuildHasherDefault::<DefaultHasher>::default().hash_one(set)
    };
    assert_eq!(hash(&plain), hash(&parts));
}

#[test]
fn a_long_run_is_one_run() {
    let whole = ExtentSet::whole(u64::MAX);
    assert_eq!((whole.runs(), whole.bytes()), (1, u64::MAX));
    let mut builder = Builder::default();
    (0..100_000).for_each(|index| builder.word(index * 64, u64::MAX));
    let set = builder.finish();
    assert_eq!(Vec::from_iter(&set), [Extent { start: 0, len: 100_000 * 64 * 4096 }]);
    let scattered: ExtentSet = (0..100_000).map(|at| Extent { start: at * 8192, len: 4096 }).collect();
    let rest = whole.subtract(&scattered);
    assert_eq!((rest.runs(), rest.end()), (100_000, u64::MAX));
    assert_eq!(rest.bytes(), u64::MAX - 100_000 * 4096);
    assert_eq!(rest.union(&scattered), whole);
}
