//! unsplit: find, decide and heal split brain in replicated storage, and never lose a byte that nobody
//! told it to lose.
//!
//! The rooms, from the bottom up; each may use those below it and none above (`tests/layers.rs`):
//!
//! | room | purpose |
//! |---|---|
//! | [`model`] | plain data: extents, evidence, delta, plan, records |
//! | [`judge`] | pure decisions: lineage, policy, planner, audit |
//! | [`mod@format`] | bytes or text to model and back; no I/O |
//! | [`proof`] | values that only a check can create |
//! | [`ports`] | the seam: traits for reading and, separately, for acting |
//! | [`digest`] | parallel reading, comparing and hashing |
//! | [`engine`] | drives an incident: journal, the one loop and its backends, salvage |
//! | [`edge`] | the outside world behind the ports |
//! | [`resolver`] | the use cases, without a screen |
//! | [`api`] | what other programs are offered: the agent on a peer |
//! | [`cli`] | composition root and rendering |

pub mod api;
pub mod cli;
pub mod digest;
pub mod edge;
pub mod engine;
pub mod format;
pub mod judge;
pub mod model;
pub mod ports;
pub mod proof;
pub mod resolver;

#[cfg(test)]
#[path = "../tests/skipped/mod.rs"]
mod skipped;
