//! What two agents say to each other, as bytes. No I/O.

pub mod content;
pub mod control;
pub mod frame;
pub mod hello;
