//! Drives one incident: observe, compare, diff, decide, plan, seal, preserve, heal, verify, record, undo.

pub mod before;
mod contents;
pub mod executor;
pub mod inquiry;
pub mod journal;
pub mod live;
pub mod midway;
mod overwrite;
mod pairing;
pub mod plans;
pub mod recall;
mod relation;
pub mod salvage;
mod shifted;
pub mod undo;
