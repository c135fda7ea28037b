//! Parallel reading, comparing and hashing of two disks, in bounded memory.

pub mod compare;
pub mod content;
