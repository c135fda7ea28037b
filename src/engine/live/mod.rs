//! Healing resources that run: DRBD overwrites, unsplit makes sure that it is the right node, that it is kept first, and
//! that nobody writes there meanwhile.
//!
//! | file | holds |
//! |---|---|
//! | `standing` | where a connection stands, from what both nodes tell |
//! | `pair` | the two nodes of a resource, and its volumes |
//! | `beside` | reading metadata beside a DRBD that runs |
//! | `draw` | from a verdict to a plan |
//! | `policies` | the after-sb policies that are put back in the end |
//! | `plans` | live plans at rest |
//! | `executor` | runs a sealed live plan |
//! | `preserve` | keeping what will be overwritten |
//! | `verify` | what is checked in the end |
//! | `rejoin` | connecting with `--discard-my-data`, and watching the resync |
//! | `undo` | putting back, through DRBD, what a live healing overwrote |

pub mod beside;
pub mod draw;
pub mod executor;
pub mod others;
pub mod pair;
pub mod plans;
pub mod policies;
mod preserve;
pub mod rejoin;
pub mod standing;
pub mod undo;
mod verify;
