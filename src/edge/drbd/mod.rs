//! DRBD replicas as the world offers them.

pub mod image;
pub mod netlink;
pub mod node;
pub mod offline;
