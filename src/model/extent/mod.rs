//! Byte ranges and sets of them: the algebra under every delta.

mod algebra;
mod cursor;
mod leaf;
mod set;
mod words;

pub use algebra::{intersection, union};
pub use set::{ExtentSet, Iter};
pub use words::Builder;

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

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_packed;
