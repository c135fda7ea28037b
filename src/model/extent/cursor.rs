//! A place in a set, from which runs are taken, whole or in part.

use super::leaf::{Leaf, Runs};
use super::{Extent, ExtentSet};

/// Stands before a byte of a set; only moves forward.
pub(super) struct Cursor<'a> {
    /// The leaf that `runs` belongs to, and the later ones.
    leaves: &'a [Leaf],
    runs: Option<Runs<'a>>,
    tail: &'a [Extent],
    /// What is left of the run that comes next.
    next: Option<Extent>,
}

impl ExtentSet {
    /// A cursor before the first run.
    pub(super) fn cursor(&self) -> Cursor<'_> {
        let leaves = self.leaves();
        let mut cursor =
            Cursor { leaves, runs: leaves.first().map(Leaf::iter), tail: self.tail(), next: None };
        cursor.step();
        cursor
    }
}

impl<'a> Cursor<'a> {
    #[inline]
    fn step(&mut self) {
        while let Some(runs) = &mut self.runs {
            self.next = runs.next();
            if self.next.is_some() {
                return;
            }
            self.leaves = self.leaves.get(1..).unwrap_or(&[]);
            self.runs = self.leaves.first().map(Leaf::iter);
        }
        let (next, tail) = match self.tail.split_first() {
            Some((first, rest)) => (Some(*first), rest),
            None => (None, self.tail),
        };
        (self.next, self.tail) = (next, tail);
    }

    /// Passes everything before byte `at`.
    pub(super) fn seek(&mut self, at: u64) {
        if self.next.is_none_or(|next| next.start >= at) {
            return;
        }
        if self.next.is_some_and(|next| next.end() <= at) {
            let passed = self.leaves.partition_point(|leaf| leaf.end <= at);
            self.leaves = &self.leaves[passed..];
            match self.leaves.first() {
                // From the leaf's start if that is further, else on from here: passing runs one by one is cheap in a
                // leaf of differences, and one of bits finds its word at once.
                Some(leaf) if passed > 0 || leaf.words().is_some() => self.runs = Some(leaf.iter_from(at)),
                Some(_) => {}
                None => {
                    self.runs = None;
                    self.tail = &self.tail[self.tail.partition_point(|run| run.end() <= at)..];
                }
            }
            self.step();
            while self.next.is_some_and(|next| next.end() <= at) {
                self.step();
            }
        }
        if let Some(next) = &mut self.next {
            *next = Extent::between(next.start.max(at), next.end());
        }
    }

    /// The runs before byte `until`, the last one cut there. Taking them moves the cursor.
    pub(super) fn until<'c>(&'c mut self, until: u64) -> impl Iterator<Item = Extent> + use<'c, 'a> {
        std::iter::from_fn(move || {
            let next = self.next.filter(|next| next.start < until)?;
            if next.end() > until {
                self.next = Some(Extent::between(until, next.end()));
                return Some(Extent::between(next.start, until));
            }
            self.step();
            Some(next)
        })
    }
}
