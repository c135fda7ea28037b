//! What a running DRBD says of itself: resources, devices, connections, peer devices, their states, UUIDs and options.
//!
//! What the kernel did not say is `None`, never a default; a number that no table knows stays a number
//! (`Other`); an attribute that no table knows is kept as [`report::Unread`].

pub mod object;
pub mod report;
pub mod tree;
pub mod words;

use serde::{Deserialize, Serialize};

/// Which generation's module is loaded, by the version of its netlink family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Generation {
    /// DRBD 8.4, also the driver in Linux.
    #[serde(rename = "8.4")]
    V84,
    /// DRBD 9.
    #[serde(rename = "9")]
    V9,
}

impl std::fmt::Display for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Generation::V84 => "DRBD 8.4",
            Generation::V9 => "DRBD 9",
        })
    }
}
