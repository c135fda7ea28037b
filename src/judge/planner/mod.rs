//! From a verdict to ordered, concrete steps with no choices left: one file for each backend.

pub mod drbd;
pub mod fence;
pub mod images;
#[cfg(feature = "memory-disks")]
pub mod memory;
