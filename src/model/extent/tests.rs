//! Every operation against a naive model.

use super::*;
use proptest::prelude::*;

/// Bytes of the model: one bit each.
const MODEL: usize = 96;
type Bits = [bool; MODEL];

fn bits(set: &ExtentSet) -> Bits {
    std::array::from_fn(|at| set.iter().any(|run| (run.start..run.end()).contains(&(at as u64))))
}

fn from_bits(bits: &Bits) -> ExtentSet {
    (0..MODEL).filter(|at| bits[*at]).map(|at| Extent { start: at as u64, len: 1 }).collect()
}

fn both(a: &Bits, b: &Bits, f: impl Fn(bool, bool) -> bool) -> Bits {
    std::array::from_fn(|at| f(a[at], b[at]))
}

/// Sorted, disjoint, non-touching, non-empty: what every operation must keep.
fn is_canonical(set: &ExtentSet) -> bool {
    set.iter().all(|run| run.len > 0)
        && set.iter().zip(set.iter().skip(1)).all(|(run, next)| run.end() < next.start)
        && set.runs() == set.iter().len()
        && set.is_empty() == (set.runs() == 0)
}

fn extents() -> impl Strategy<Value = Vec<Extent>> {
    let short = (0..MODEL as u64, 0u64..20);
    let dense = (0..MODEL as u64, 0u64..3);
    prop_oneof![prop::collection::vec(short, 0..8), prop::collection::vec(dense, 0..60)].prop_map(|all| {
        let cut = |(start, len): (u64, u64)| Extent { start, len: len.min(MODEL as u64 - start) };
        all.into_iter().map(cut).collect()
    })
}

fn sets() -> impl Strategy<Value = ExtentSet> {
    extents().prop_map(|all| all.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn collecting_takes_any_order(all in extents()) {
        let mut expected = [false; MODEL];
        for extent in &all {
            (extent.start..extent.end()).for_each(|at| expected[at as usize] = true);
        }
        let set: ExtentSet = all.iter().copied().collect();
        prop_assert!(is_canonical(&set));
        prop_assert_eq!(bits(&set), expected);
        prop_assert_eq!(from_bits(&expected), set, "one set of bytes has one form");
    }

    #[test]
    fn pushing_in_order_is_collecting(mut all in extents()) {
        all.sort_unstable();
        let mut set = ExtentSet::empty();
        all.iter().for_each(|extent| set.push(*extent));
        prop_assert!(is_canonical(&set));
        prop_assert_eq!(set, all.into_iter().collect::<ExtentSet>());
    }

    #[test]
    fn set_operations(a in sets(), b in sets()) {
        let (x, y) = (bits(&a), bits(&b));
        for (result, expected) in [
            (a.union(&b), both(&x, &y, |a, b| a || b)),
            (a.intersect(&b), both(&x, &y, |a, b| a && b)),
            (a.subtract(&b), both(&x, &y, |a, b| a && !b)),
        ] {
            prop_assert!(is_canonical(&result), "{:?}", result);
            prop_assert_eq!(bits(&result), expected);
            prop_assert_eq!(result.bytes(), expected.iter().filter(|bit| **bit).count() as u64);
        }
    }

    #[test]
    fn clipping_and_aligning(a in sets(), size in 0..MODEL as u64 + 9, step in 1u64..17) {
        let clipped = a.clip(size);
        prop_assert!(is_canonical(&clipped));
        prop_assert_eq!(bits(&clipped), std::array::from_fn(|at| bits(&a)[at] && (at as u64) < size));
        prop_assert!(clipped.end() <= size);

        let aligned = a.align(step);
        prop_assert!(is_canonical(&aligned));
        let touched = |at: usize| {
            let first = at as u64 / step * step;
            a.bytes_in(&Extent { start: first, len: step }) > 0
        };
        prop_assert_eq!(bits(&aligned), std::array::from_fn(touched));
        prop_assert!(aligned.iter().all(|run| run.start % step == 0 && run.len % step == 0));
    }

    #[test]
    fn asking_about_one_extent(a in sets(), start in 0..MODEL as u64, len in 0u64..30) {
        let extent = Extent { start, len: len.min(MODEL as u64 - start) };
        let inside = (extent.start..extent.end()).filter(|at| bits(&a)[*at as usize]).count() as u64;
        prop_assert_eq!(a.bytes_in(&extent), inside);
        prop_assert_eq!(a.covers(&extent), inside == extent.len);
        let alone: ExtentSet = std::iter::once(extent).collect();
        for run in a.iter() {
            let common: ExtentSet = run.intersect(&extent).into_iter().collect();
            let expected = alone.intersect(&std::iter::once(run).collect());
            prop_assert_eq!(common, expected);
        }
    }

    #[test]
    fn pieces_cover_without_crossing(start in 0u64..200, len in 0u64..200, step in 1u64..50) {
        let extent = Extent { start, len };
        let pieces: Vec<_> = extent.pieces(step).collect();
        prop_assert!(pieces.iter().all(|piece| piece.len > 0 && piece.start / step == (piece.end() - 1) / step));
        prop_assert!(pieces.windows(2).all(|pair| pair[0].end() == pair[1].start && pair[0].end() % step == 0));
        prop_assert_eq!(pieces.iter().map(|piece| piece.len).sum::<u64>(), len);
        prop_assert_eq!(pieces.first().map_or(start, |piece| piece.start), start);
    }

    #[test]
    fn json_round_trips(a in sets()) {
        let text = serde_json::to_string(&a).unwrap();
        prop_assert_eq!(serde_json::from_str::<ExtentSet>(&text).unwrap(), a);
    }

    #[test]
    fn nothing_overflows_at_the_end_of_the_range(
        ends in prop::collection::vec((u64::MAX - 40..=u64::MAX, prop_oneof![0u64..60, Just(u64::MAX)]), 0..6),
        step in prop_oneof![1u64..50, Just(u64::MAX)],
    ) {
        let all: Vec<Extent> = ends.into_iter().map(Extent::from).collect();
        let set: ExtentSet = all.iter().copied().collect();
        prop_assert!(is_canonical(&set));
        prop_assert!(set.bytes() <= 41);
        prop_assert!(is_canonical(&set.align(step)));
        prop_assert_eq!(set.union(&set), set.clone());
        prop_assert!(set.subtract(&set).is_empty());
        for extent in &all {
            let pieces = extent.pieces(step).map(|piece| piece.len).sum::<u64>();
            prop_assert_eq!(pieces, extent.end() - extent.start);
            prop_assert!(set.bytes_in(extent) <= set.bytes());
        }
    }
}

#[test]
fn foreign_json_is_checked() {
    let set: ExtentSet = serde_json::from_str("[[0,5],[5,5],[20,1]]").unwrap();
    assert_eq!(Vec::from_iter(&set), [Extent { start: 0, len: 10 }, Extent { start: 20, len: 1 }]);
    for bad in
        ["[[0,0]]", "[[5,5],[0,1]]", "[[0,5],[4,5]]", "[[18446744073709551615,2]]", "[[0,-1]]", "[[1]]"]
    {
        assert!(serde_json::from_str::<ExtentSet>(bad).is_err(), "{bad}");
    }
    for bad in ["[0,0]", "[18446744073709551615,1]"] {
        assert!(serde_json::from_str::<Extent>(bad).is_err(), "{bad}");
    }
    assert_eq!(serde_json::from_str::<Extent>("[7,2]").unwrap(), Extent { start: 7, len: 2 });
}
