//! Policies: DRBD's after-split-brain words, what unsplit adds to them, and the verdict they give.

pub mod after_sb;
pub mod case;
pub mod check;
pub mod decide;
pub mod keep;
#[cfg(test)]
mod tests;
mod unsafe_combinations;
pub mod words;

pub use case::{Case, Clues, DeltaSummary};
pub use check::{Policy, check};
pub use decide::{decide, decide_running};
