//! Drives one incident: observe, compare, diff, decide, plan, seal, preserve, heal, verify, record, undo.

pub mod journal;
pub mod salvage;
