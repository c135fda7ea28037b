//! Sets of bytes, packed.

use super::Extent;
use super::leaf::{Leaf, Runs};
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::hash::{Hash, Hasher};

/// Runs kept plain at a set's end before they are packed. A set of fewer runs is just a list.
pub(super) const PLAIN: usize = 4096;
/// Extents out of order that are gathered, at least, before they are sorted and merged.
const LATE: usize = 1 << 16;

/// A set of bytes as sorted, disjoint, non-touching extents.
///
/// Memory: about two bytes a run where the runs are whole blocks scattered over a volume, never much more than one bit
/// per 4 KiB of what the set spans, and 16 bytes for each of the last 4096 runs. Clones share the packed runs.
#[derive(Clone, Default)]
pub struct ExtentSet {
    /// Ascending, not touching each other.
    leaves: Vec<Leaf>,
    /// Runs and bytes in the leaves.
    packed: (usize, u64),
    /// The last runs, behind all leaves and not touching them. Only empty when the set is.
    tail: Vec<Extent>,
}

impl ExtentSet {
    /// The empty set.
    #[must_use]
    pub const fn empty() -> Self {
        ExtentSet { leaves: Vec::new(), packed: (0, 0), tail: Vec::new() }
    }

    /// One extent from 0 up to `size`; empty when `size` is 0.
    #[must_use]
    pub fn whole(size: u64) -> Self {
        std::iter::once(Extent { start: 0, len: size }).collect()
    }

    /// Whether no byte is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tail.is_empty()
    }

    /// Number of bytes in the set.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.packed.1 + self.tail.iter().map(|run| run.len).sum::<u64>()
    }

    /// Number of runs.
    #[must_use]
    pub fn runs(&self) -> usize {
        self.packed.0 + self.tail.len()
    }

    /// Bytes of memory that the set takes, shared ones included.
    #[must_use]
    pub fn memory(&self) -> usize {
        size_of::<Self>()
            + self.leaves.iter().map(Leaf::memory).sum::<usize>()
            + size_of::<Extent>() * self.tail.capacity()
    }

    /// The runs, ascending.
    #[must_use]
    pub fn iter(&self) -> Iter<'_> {
        Iter { leaves: self.leaves.iter(), inner: None, tail: self.tail.iter(), left: self.runs() }
    }

    /// The runs that end behind byte `at`, ascending: the first may begin before it. Finding the first does not pass the
    /// whole set.
    pub fn iter_from(&self, at: u64) -> impl Iterator<Item = Extent> + Clone + '_ {
        let from = self.leaves.partition_point(|leaf| leaf.end <= at);
        let mut leaves = self.leaves[from..].iter();
        let first = leaves.next().map(|leaf| leaf.iter_from(at));
        first.into_iter().flatten().chain(leaves.flat_map(Leaf::iter)).chain(self.tail_from(at))
    }

    /// The first run.
    #[must_use]
    pub fn first(&self) -> Option<Extent> {
        self.iter().next()
    }

    /// The last run.
    #[must_use]
    pub fn last(&self) -> Option<Extent> {
        self.tail.last().copied()
    }

    /// First byte behind the last run; 0 when empty.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.tail.last().map_or(0, Extent::end)
    }

    /// Adds an extent that does not start before any earlier one; merges when it touches or overlaps the
    /// last run. For building a set in order; [`FromIterator`] takes any order.
    ///
    /// # Panics
    /// In debug builds, when `extent` starts before the last run. (In release builds that is slow.)
    #[inline]
    pub fn push(&mut self, extent: Extent) {
        // What reaches beyond the last number is cut there, so that sums of lengths cannot overflow.
        let extent = Extent::between(extent.start, extent.end());
        if extent.len == 0 {
            return;
        }
        match self.tail.last_mut() {
            Some(last) if extent.start < last.start => {
                debug_assert!(false, "extents must be pushed in order");
                // Slow, but no byte is lost.
                *self = self.union(&std::iter::once(extent).collect());
            }
            Some(last) if extent.start <= last.end() => {
                *last = Extent::between(last.start, last.end().max(extent.end()));
            }
            _ => {
                if self.tail.len() >= PLAIN {
                    self.pack();
                }
                self.tail.push(extent);
            }
        }
    }

    /// Packs the plain runs away. Whoever calls this pushes a run right behind it, which touches none of them.
    pub(super) fn pack(&mut self) {
        let before = self.leaves.len();
        Leaf::pack(&self.tail, &mut self.leaves);
        self.tail.clear();
        for leaf in &self.leaves[before..] {
            self.packed.0 += leaf.runs;
            self.packed.1 += leaf.bytes;
        }
    }

    /// Adds a leaf behind everything else; like [`ExtentSet::pack`], a run must follow.
    pub(super) fn push_leaf(&mut self, leaf: Leaf) {
        self.pack();
        self.packed.0 += leaf.runs;
        self.packed.1 += leaf.bytes;
        self.leaves.push(leaf);
    }

    pub(super) fn leaves(&self) -> &[Leaf] {
        &self.leaves
    }

    pub(super) fn tail(&self) -> &[Extent] {
        &self.tail
    }

    /// The plain runs that end behind byte `at`.
    pub(super) fn tail_from(&self, at: u64) -> impl Iterator<Item = Extent> + Clone + '_ {
        self.tail[self.tail.partition_point(|run| run.end() <= at)..].iter().copied()
    }

    /// The part of the set below `size`.
    #[must_use]
    pub fn clip(&self, size: u64) -> ExtentSet {
        if self.end() <= size { self.clone() } else { self.intersect(&ExtentSet::whole(size)) }
    }

    /// Every run widened to multiples of `step` bytes (`step` > 0).
    #[must_use]
    pub fn align(&self, step: u64) -> ExtentSet {
        let mut out = ExtentSet::empty();
        for run in self.iter() {
            out.push(Extent::between(run.start / step * step, run.end().div_ceil(step).saturating_mul(step)));
        }
        out
    }

    /// Whether every byte of `extent` is in the set.
    #[must_use]
    pub fn covers(&self, extent: &Extent) -> bool {
        let run = || self.iter_from(extent.start).next();
        extent.len == 0 || run().is_some_and(|run| run.start <= extent.start && extent.end() <= run.end())
    }

    /// Number of bytes in common with one extent.
    #[must_use]
    pub fn bytes_in(&self, extent: &Extent) -> u64 {
        if extent.len == 0 {
            return 0;
        }
        let inside = |runs: Runs<'_>| -> u64 { common(runs, extent) };
        let from = self.leaves.partition_point(|leaf| leaf.end <= extent.start);
        let packed: u64 = self.leaves[from..]
            .iter()
            .take_while(|leaf| leaf.start < extent.end())
            .map(|leaf| {
                let all = extent.start <= leaf.start && leaf.end <= extent.end();
                if all { leaf.bytes } else { inside(leaf.iter_from(extent.start)) }
            })
            .sum();
        packed + common(self.tail_from(extent.start), extent)
    }
}

fn common(runs: impl Iterator<Item = Extent>, extent: &Extent) -> u64 {
    runs.map_while(|run| run.intersect(extent).map(|common| common.len)).sum()
}

/// The runs of a set, ascending.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    leaves: std::slice::Iter<'a, Leaf>,
    /// What is left of the current leaf.
    inner: Option<Runs<'a>>,
    tail: std::slice::Iter<'a, Extent>,
    left: usize,
}

impl Iterator for Iter<'_> {
    type Item = Extent;

    #[inline]
    fn next(&mut self) -> Option<Extent> {
        loop {
            if let Some(run) = self.inner.as_mut().and_then(Iterator::next) {
                self.left -= 1;
                return Some(run);
            }
            self.inner = self.leaves.next().map(Leaf::iter);
            if self.inner.is_none() {
                let run = self.tail.next().copied();
                self.left -= usize::from(run.is_some());
                return run;
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl<'a> IntoIterator for &'a ExtentSet {
    type Item = Extent;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl PartialEq for ExtentSet {
    /// By content: how the runs are packed does not matter.
    fn eq(&self, other: &ExtentSet) -> bool {
        self.runs() == other.runs() && self.end() == other.end() && self.iter().eq(other.iter())
    }
}

impl Eq for ExtentSet {}

impl Hash for ExtentSet {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.runs().hash(state);
        self.iter().for_each(|run| run.hash(state));
    }
}

impl fmt::Debug for ExtentSet {
    /// A list of runs. Of a long one the first and the number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 1000;
        let mut list = f.debug_list();
        list.entries(self.iter().take(SHOWN));
        if self.runs() > SHOWN {
            list.entry(&format_args!("{} more", self.runs() - SHOWN));
        }
        list.finish()
    }
}

impl FromIterator<Extent> for ExtentSet {
    fn from_iter<I: IntoIterator<Item = Extent>>(extents: I) -> Self {
        let (mut set, mut late) = (ExtentSet::empty(), Vec::new());
        for extent in extents {
            if set.last().is_none_or(|last| last.start <= extent.start) {
                set.push(extent);
                continue;
            }
            late.push(extent);
            // Seldom enough that merging costs little beside sorting.
            if late.len() >= LATE.max(set.runs() / 8) {
                set = with(set, &mut late);
            }
        }
        with(set, &mut late)
    }
}

/// The set and some more extents in any order.
fn with(set: ExtentSet, late: &mut Vec<Extent>) -> ExtentSet {
    if late.is_empty() {
        return set;
    }
    late.sort_unstable();
    let mut more = ExtentSet::empty();
    late.drain(..).for_each(|extent| more.push(extent));
    set.union(&more)
}

impl Serialize for ExtentSet {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for ExtentSet {
    /// Reads a list of `[start, len]`, ascending and disjoint, with no end beyond `u64`.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(InOrder)
    }
}

struct InOrder;

impl<'de> Visitor<'de> for InOrder {
    type Value = ExtentSet;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of [start, length], ascending and disjoint")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<ExtentSet, A::Error> {
        let mut set = ExtentSet::empty();
        while let Some(run) = list.next_element::<Extent>()? {
            if run.start < set.end() {
                return Err(serde::de::Error::custom(format!("extent at {} is out of order", run.start)));
            }
            set.push(run);
        }
        Ok(set)
    }
}
