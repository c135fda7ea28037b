//! The two sides of one incident.

use serde::{Deserialize, Serialize};
use std::ops::{Index, IndexMut};

/// One of the two replicas under examination. `A` is the first one named on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The first side.
    A,
    /// The second side.
    B,
}

impl Side {
    /// Both sides, first one first.
    pub const BOTH: [Side; 2] = [Side::A, Side::B];

    /// The opposite side.
    #[must_use]
    pub fn other(self) -> Side {
        match self {
            Side::A => Side::B,
            Side::B => Side::A,
        }
    }

    /// The word used on the command line and in documents: `a` or `b`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Side::A => "a",
            Side::B => "b",
        }
    }
}

impl std::fmt::Display for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

/// One value per side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Pair<T> {
    /// The first side's value.
    pub a: T,
    /// The second side's value.
    pub b: T,
}

impl<T> Pair<T> {
    /// A pair from both values.
    pub const fn new(a: T, b: T) -> Self {
        Pair { a, b }
    }

    /// A pair made by asking `f` for each side.
    pub fn from_fn(mut f: impl FnMut(Side) -> T) -> Self {
        Pair { a: f(Side::A), b: f(Side::B) }
    }

    /// The same pair seen from the other side.
    #[must_use]
    pub fn swapped(self) -> Self {
        Pair { a: self.b, b: self.a }
    }

    /// Applies `f` to both values.
    pub fn map<U>(self, mut f: impl FnMut(T) -> U) -> Pair<U> {
        Pair { a: f(self.a), b: f(self.b) }
    }

    /// Borrows both values.
    pub fn as_ref(&self) -> Pair<&T> {
        Pair { a: &self.a, b: &self.b }
    }

    /// Both values with their side, first side first.
    pub fn iter(&self) -> impl Iterator<Item = (Side, &T)> {
        [(Side::A, &self.a), (Side::B, &self.b)].into_iter()
    }
}

impl<T, E> Pair<Result<T, E>> {
    /// The pair of values, or the first side's error before the second's.
    ///
    /// # Errors
    /// The error of the first side that has one.
    pub fn transpose(self) -> Result<Pair<T>, E> {
        Ok(Pair { a: self.a?, b: self.b? })
    }
}

impl<T> Index<Side> for Pair<T> {
    type Output = T;
    fn index(&self, side: Side) -> &T {
        match side {
            Side::A => &self.a,
            Side::B => &self.b,
        }
    }
}

impl<T> IndexMut<Side> for Pair<T> {
    fn index_mut(&mut self, side: Side) -> &mut T {
        match side {
            Side::A => &mut self.a,
            Side::B => &mut self.b,
        }
    }
}
