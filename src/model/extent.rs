//! Byte ranges and sets of them: the algebra under every delta.

use serde::{Deserialize, Serialize};

/// A non-empty byte range `[start, start + len)`. Units: bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(into = "(u64, u64)")]
pub struct Extent {
    /// First byte.
    pub start: u64,
    /// Number of bytes.
    pub len: u64,
}

impl From<(u64, u64)> for Extent {
    fn from((start, len): (u64, u64)) -> Self {
        Extent { start, len }
    }
}

impl From<Extent> for (u64, u64) {
    fn from(extent: Extent) -> Self {
        (extent.start, extent.len)
    }
}

impl<'de> Deserialize<'de> for Extent {
    /// Reads `[start, len]`, not empty, with no end beyond `u64`.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (start, len) = <(u64, u64)>::deserialize(deserializer)?;
        if len == 0 || start.checked_add(len).is_none() {
            return Err(serde::de::Error::custom(format!("extent {start},{len} is empty or too long")));
        }
        Ok(Extent { start, len })
    }
}

impl Extent {
    /// The extent from `start` up to but not including `end`.
    #[must_use]
    pub fn between(start: u64, end: u64) -> Self {
        Extent { start, len: end.saturating_sub(start) }
    }

    /// First byte behind the extent.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.start.saturating_add(self.len)
    }

    /// The common part, if there is one.
    #[must_use]
    pub fn intersect(&self, other: &Extent) -> Option<Extent> {
        let (start, end) = (self.start.max(other.start), self.end().min(other.end()));
        (start < end).then(|| Extent::between(start, end))
    }

    /// Cuts the extent at every multiple of `step` bytes (`step` > 0), so that no piece crosses one.
    pub fn pieces(self, step: u64) -> impl Iterator<Item = Extent> {
        let mut at = self.start;
        let end = self.end();
        std::iter::from_fn(move || {
            (at < end).then(|| {
                let next = (at / step + 1).saturating_mul(step).min(end);
                let piece = Extent::between(at, next);
                at = next;
                piece
            })
        })
    }
}

/// A set of bytes as sorted, disjoint, non-touching extents.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Default)]
#[serde(transparent)]
pub struct ExtentSet {
    runs: Vec<Extent>,
}

impl ExtentSet {
    /// The empty set.
    #[must_use]
    pub const fn empty() -> Self {
        ExtentSet { runs: Vec::new() }
    }

    /// One extent from 0 up to `size`; empty when `size` is 0.
    #[must_use]
    pub fn whole(size: u64) -> Self {
        std::iter::once(Extent { start: 0, len: size }).collect()
    }

    /// Whether no byte is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Number of bytes in the set.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.runs.iter().map(|run| run.len).sum()
    }

    /// Number of runs.
    #[must_use]
    pub fn runs(&self) -> usize {
        self.runs.len()
    }

    /// The runs, ascending.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Extent> + Clone + '_ {
        self.runs.iter().copied()
    }

    /// The runs as a slice, ascending.
    #[must_use]
    pub fn as_slice(&self) -> &[Extent] {
        &self.runs
    }

    /// First byte behind the last run; 0 when empty.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.runs.last().map_or(0, Extent::end)
    }

    /// Adds an extent that does not start before any earlier one; merges when it touches or overlaps the
    /// last run. For building a set in order; [`FromIterator`] takes any order.
    ///
    /// # Panics
    /// In debug builds, when `extent` starts before the last run. (In release builds that is slow.)
    pub fn push(&mut self, extent: Extent) {
        // What reaches beyond the last number is cut there, so that sums of lengths cannot overflow.
        let extent = Extent::between(extent.start, extent.end());
        if extent.len == 0 {
            return;
        }
        match self.runs.last_mut() {
            Some(last) if extent.start < last.start => {
                debug_assert!(false, "extents must be pushed in order");
                // Slow, but no byte is lost.
                *self = self.iter().chain([extent]).collect();
            }
            Some(last) if extent.start <= last.end() => {
                *last = Extent::between(last.start, last.end().max(extent.end()));
            }
            _ => self.runs.push(extent),
        }
    }

    /// Every byte that is in either set.
    #[must_use]
    pub fn union(&self, other: &ExtentSet) -> ExtentSet {
        let mut out = ExtentSet::empty();
        let (mut left, mut right) = (self.iter().peekable(), other.iter().peekable());
        loop {
            let next = match (left.peek(), right.peek()) {
                (Some(l), Some(r)) if l.start <= r.start => left.next(),
                (Some(_), None) => left.next(),
                (_, Some(_)) => right.next(),
                (None, None) => break,
            };
            if let Some(extent) = next {
                out.push(extent);
            }
        }
        out
    }

    /// Every byte that is in both sets.
    #[must_use]
    pub fn intersect(&self, other: &ExtentSet) -> ExtentSet {
        let mut out = ExtentSet::empty();
        let (mut i, mut j) = (0, 0);
        while let (Some(l), Some(r)) = (self.runs.get(i), other.runs.get(j)) {
            if let Some(common) = l.intersect(r) {
                out.push(common);
            }
            if l.end() <= r.end() {
                i += 1;
            } else {
                j += 1;
            }
        }
        out
    }

    /// Every byte of this set that is not in the other.
    #[must_use]
    pub fn subtract(&self, other: &ExtentSet) -> ExtentSet {
        let mut out = ExtentSet::empty();
        let mut j = 0;
        for run in &self.runs {
            let mut at = run.start;
            while let Some(hole) = other.runs.get(j).filter(|hole| hole.end() <= at) {
                let _ = hole;
                j += 1;
            }
            let mut k = j;
            while let Some(hole) = other.runs.get(k).filter(|hole| hole.start < run.end()) {
                out.push(Extent::between(at, hole.start.max(at)));
                at = at.max(hole.end());
                k += 1;
            }
            out.push(Extent::between(at.min(run.end()), run.end()));
        }
        out
    }

    /// The part of the set below `size`.
    #[must_use]
    pub fn clip(&self, size: u64) -> ExtentSet {
        self.intersect(&ExtentSet::whole(size))
    }

    /// Every run widened to multiples of `step` bytes (`step` > 0).
    #[must_use]
    pub fn align(&self, step: u64) -> ExtentSet {
        let mut out = ExtentSet::empty();
        for run in &self.runs {
            out.push(Extent::between(run.start / step * step, run.end().div_ceil(step).saturating_mul(step)));
        }
        out
    }

    /// Whether every byte of `extent` is in the set.
    #[must_use]
    pub fn covers(&self, extent: &Extent) -> bool {
        let at = self.runs.partition_point(|run| run.end() <= extent.start);
        extent.len == 0
            || self.runs.get(at).is_some_and(|run| run.start <= extent.start && extent.end() <= run.end())
    }

    /// Number of bytes in common with one extent.
    #[must_use]
    pub fn bytes_in(&self, extent: &Extent) -> u64 {
        let from = self.runs.partition_point(|run| run.end() <= extent.start);
        self.runs[from..].iter().map_while(|run| run.intersect(extent).map(|common| common.len)).sum()
    }
}

impl FromIterator<Extent> for ExtentSet {
    fn from_iter<I: IntoIterator<Item = Extent>>(extents: I) -> Self {
        let mut all: Vec<Extent> = extents.into_iter().collect();
        all.sort_unstable();
        let mut set = ExtentSet::empty();
        all.into_iter().for_each(|extent| set.push(extent));
        set
    }
}

impl<'de> Deserialize<'de> for ExtentSet {
    /// Reads a list of `[start, len]`, ascending and disjoint, with no end beyond `u64`.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let runs = Vec::<Extent>::deserialize(deserializer)?;
        let mut set = ExtentSet::empty();
        let mut end = None;
        for run in runs {
            if end.is_some_and(|end| run.start < end) {
                return Err(serde::de::Error::custom(format!("extent at {} is out of order", run.start)));
            }
            end = Some(run.end());
            set.push(run);
        }
        Ok(set)
    }
}

#[cfg(test)]
mod tests {
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
            && set.as_slice().windows(2).all(|pair| pair[0].end() < pair[1].start)
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
        assert_eq!(set.as_slice(), [Extent { start: 0, len: 10 }, Extent { start: 20, len: 1 }]);
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
}
