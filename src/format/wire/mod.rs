//! What two agents say to each other, as bytes. Everything read here was written by somebody else: lengths, counts and
//! orders are checked before memory is reserved for them.

pub mod believe;
pub mod content;
pub mod control;
mod cursor;
pub mod frame;
pub mod harmless;
pub mod hello;
pub mod reconcile;
pub mod reply;
pub mod runs;
