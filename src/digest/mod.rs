//! Parallel reading, comparing and hashing of two disks, in bounded memory.

pub mod aligned;
mod batch;
pub mod compare;
pub mod content;
pub mod delta;
mod floor;
mod in_place;
mod judge;
pub mod link;
mod load;
mod portion;
mod route;
mod tally;
mod trial;
