//! Whether two files or devices share bytes, under whatever names and numbers: then they are not two sides.

use super::blockdev::Identity;
use super::holders::{Roots, footings, shared};
use crate::model::extent::Extent;

/// What two of them have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Common {
    /// All: they are one.
    All,
    /// These bytes of what is called so.
    Bytes {
        /// A path, as the kernel tells it.
        of: String,
        /// Where in it.
        extent: Extent,
    },
}

impl Common {
    /// Between two that are called so, in words.
    #[must_use]
    pub fn words(&self, a: &str, b: &str) -> String {
        match self {
            Common::All => format!("{a} and {b} are the same thing"),
            Common::Bytes { of, extent } => {
                format!("{a} and {b} share {} bytes of {of}, from its byte {} on", extent.len, extent.start)
            }
        }
    }
}

/// What the two share, as far as the kernel tells: through loop devices and partitions, not through the device mapper.
#[must_use]
pub fn common(a: Identity, b: Identity) -> Option<Common> {
    if a == b {
        return Some(Common::All);
    }
    let roots = Roots::of_this_machine();
    let both = shared(&footings(&roots, a), &footings(&roots, b))?;
    Some(both.name.map_or(Common::All, |of| Common::Bytes { of, extent: both.extent }))
}
