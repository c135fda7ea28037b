//! Union, intersection and difference.
//!
//! The streaming forms hold one run of each side. The sets' own operations, besides, take stretches that are packed as bits on
//! either side word by word.

use super::cursor::Cursor;
use super::leaf::WORD;
use super::words::{Builder, WINDOW, Window, dense};
use super::{Extent, ExtentSet};
use crate::model::size::BLOCK;

/// Every byte that either side yields: both ascending and disjoint, and so is the result, touching runs joined.
pub fn union(
    left: impl Iterator<Item = Extent>,
    right: impl Iterator<Item = Extent>,
) -> impl Iterator<Item = Extent> {
    let (mut left, mut right) = (left.peekable(), right.peekable());
    let mut open: Option<Extent> = None;
    std::iter::from_fn(move || {
        loop {
            let next = match (left.peek(), right.peek()) {
                (Some(l), Some(r)) if l.start <= r.start => left.next(),
                (Some(_), None) => left.next(),
                (_, Some(_)) => right.next(),
                (None, None) => return open.take(),
            };
            let Some(next) = next else { return open.take() };
            match &mut open {
                Some(run) if next.start <= run.end() => {
                    *run = Extent::between(run.start, run.end().max(next.end()));
                }
                _ => {
                    if let Some(done) = open.replace(next) {
                        return Some(done);
                    }
                }
            }
        }
    })
}

/// Every byte that both sides yield: both ascending and disjoint, and so is the result.
pub fn intersection(
    left: impl Iterator<Item = Extent>,
    right: impl Iterator<Item = Extent>,
) -> impl Iterator<Item = Extent> {
    let (mut left, mut right) = (left.peekable(), right.peekable());
    std::iter::from_fn(move || {
        loop {
            let (l, r) = (*left.peek()?, *right.peek()?);
            if l.end() <= r.end() {
                left.next();
            } else {
                right.next();
            }
            if let Some(common) = l.intersect(&r) {
                return Some(common);
            }
        }
    })
}

/// Every byte of the left side that the right one does not yield.
fn difference(
    left: impl Iterator<Item = Extent>,
    right: impl Iterator<Item = Extent>,
) -> impl Iterator<Item = Extent> {
    let (mut left, mut holes) = (left, right.peekable());
    let mut rest: Option<Extent> = None;
    std::iter::from_fn(move || {
        loop {
            let run = rest.take().or_else(|| left.next())?;
            while holes.next_if(|hole| hole.end() <= run.start).is_some() {}
            let Some(hole) = holes.peek().filter(|hole| hole.start < run.end()) else { return Some(run) };
            rest = Some(Extent::between(hole.end(), run.end())).filter(|rest| rest.len > 0);
            if run.start < hole.start {
                return Some(Extent::between(run.start, hole.start));
            }
        }
    })
}

/// What is done to two sets.
#[derive(Clone, Copy)]
enum Op {
    Union,
    Intersect,
    Subtract,
}

impl Op {
    fn word(self, left: u64, right: u64) -> u64 {
        match self {
            Op::Union => left | right,
            Op::Intersect => left & right,
            Op::Subtract => left & !right,
        }
    }
}

impl ExtentSet {
    /// Every byte that is in either set.
    #[must_use]
    pub fn union(&self, other: &ExtentSet) -> ExtentSet {
        if self.is_empty() {
            return other.clone();
        }
        if other.is_empty() {
            return self.clone();
        }
        combine(self, other, Op::Union)
    }

    /// Every byte that is in both sets.
    #[must_use]
    pub fn intersect(&self, other: &ExtentSet) -> ExtentSet {
        for (one, all) in [(self, other), (other, self)] {
            if let (1, Some(run)) = (all.runs(), all.first())
                && one.first().is_none_or(|first| run.start <= first.start)
                && one.end() <= run.end()
            {
                return one.clone();
            }
        }
        combine(self, other, Op::Intersect)
    }

    /// Every byte of this set that is not in the other.
    #[must_use]
    pub fn subtract(&self, other: &ExtentSet) -> ExtentSet {
        if other.is_empty() || other.end() <= self.first().map_or(0, |first| first.start) {
            return self.clone();
        }
        combine(self, other, Op::Subtract)
    }
}

/// Windows in which a side is packed as bits are taken word by word, all that lies between by runs.
fn combine(left: &ExtentSet, right: &ExtentSet, op: Op) -> ExtentSet {
    let mut out = Builder::default();
    let (mut l, mut r) = (left.cursor(), right.cursor());
    let mut windows = both(dense(left), dense(right));
    let mut scratch = None;
    loop {
        let window = windows.next();
        by_runs(&mut l, &mut r, window.map_or(u64::MAX, |window| window * WINDOW), op, &mut out);
        let Some(window) = window else { return out.finish() };
        let range = Extent { start: window * WINDOW, len: WINDOW };
        let (a, b) = scratch.get_or_insert_with(<(Window, Window)>::default);
        if !(a.fill(left, range) && b.fill(right, range)) {
            // Not on block boundaries.
            by_runs(&mut l, &mut r, range.end(), op, &mut out);
            continue;
        }
        for (first, (a, b)) in
            (range.start / BLOCK..).step_by(WORD as usize).zip(a.words.iter().zip(&b.words))
        {
            out.word(first, op.word(*a, *b));
        }
        l.seek(range.end());
        r.seek(range.end());
    }
}

/// Two ascending lists as one, each number once.
fn both(left: impl Iterator<Item = u64>, right: impl Iterator<Item = u64>) -> impl Iterator<Item = u64> {
    let (mut left, mut right) = (left.peekable(), right.peekable());
    std::iter::from_fn(move || {
        let next = match (left.peek(), right.peek()) {
            (Some(l), Some(r)) => *l.min(r),
            (Some(one), None) | (None, Some(one)) => *one,
            (None, None) => return None,
        };
        while left.next_if_eq(&next).is_some() {}
        while right.next_if_eq(&next).is_some() {}
        Some(next)
    })
}

/// Everything from where the cursors stand up to byte `until`.
fn by_runs(left: &mut Cursor<'_>, right: &mut Cursor<'_>, until: u64, op: Op, out: &mut Builder) {
    let (l, r) = (left.until(until), right.until(until));
    match op {
        Op::Union => union(l, r).for_each(|run| out.push(run)),
        Op::Intersect => intersection(l, r).for_each(|run| out.push(run)),
        Op::Subtract => difference(l, r).for_each(|run| out.push(run)),
    }
    // An operation may end before a side does.
    left.seek(until);
    right.seek(until);
}
