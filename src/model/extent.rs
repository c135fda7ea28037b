//! Byte ranges and sets of them: the algebra under every delta.

use serde::{Deserialize, Serialize};

/// A non-empty byte range `[start, start + len)`. Units: bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "(u64, u64)", into = "(u64, u64)")]
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
    /// In debug builds, when `extent` starts before the last run.
    pub fn push(&mut self, extent: Extent) {
        if extent.len == 0 {
            return;
        }
        match self.runs.last_mut() {
            Some(last) if extent.start <= last.end() => {
                debug_assert!(extent.start >= last.start, "extents must be pushed in order");
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
            if run.len == 0 || run.start.checked_add(run.len).is_none() {
                return Err(serde::de::Error::custom(format!(
                    "extent {},{} is empty or too long",
                    run.start, run.len
                )));
            }
            if end.is_some_and(|end| run.start < end) {
                return Err(serde::de::Error::custom(format!("extent at {} is out of order", run.start)));
            }
            end = Some(run.end());
            set.push(run);
        }
        Ok(set)
    }
}
