//! DRBD replicas as the world offers them.

pub mod image;
pub mod offline;
