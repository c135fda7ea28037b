//! Drives one incident: observe, compare, diff, decide, plan, seal, preserve, heal, verify, record, undo.
//!
//! [`incident`] is the one loop; what it heals stands behind [`backend`].

pub mod backend;
pub mod before;
mod contents;
pub mod drbd;
pub mod fence;
pub mod images;
pub mod incident;
pub mod inquiry;
pub mod journal;
#[cfg(feature = "memory-disks")]
pub mod memory;
mod pairing;
pub mod plans;
pub mod recall;
mod relation;
mod replace;
pub mod salvage;
mod shifted;
pub mod undone;
