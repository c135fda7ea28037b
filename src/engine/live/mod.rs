//! Healing resources that run: DRBD overwrites, unsplit makes sure that it is the right node, that it is kept first, and
//! that nobody writes there meanwhile.
//!
//! | file | holds |
//! |---|---|
//! | `standing` | where a connection stands, from what both nodes tell |
//! | `pair` | the two nodes of a resource, and its volumes |
//! | `basis` | what a plan rests on, looked at again |
//! | `beside` | reading metadata beside a DRBD that runs |
//! | `cause` | why DRBD ended a connection, from the kernels' logs |
//! | `draw` | from a verdict to a plan |
//! | `policies` | the after-sb policies that are put back in the end |
//! | `plans` | live plans at rest |
//! | `executor` | runs a sealed live plan |
//! | `preserve` | keeping what will be overwritten |
//! | `verify` | what is checked in the end |
//! | `rejoin` | connecting with `--discard-my-data`, and watching the resync |
//! | `rest` | what an undo does not put back, and must find as it was |
//! | `undo` | putting back, through DRBD, what a live healing overwrote |

mod basis;
pub mod beside;
mod cause;
pub mod draw;
pub mod executor;
pub mod others;
pub mod pair;
pub mod plans;
pub mod policies;
mod preserve;
pub mod rejoin;
mod rest;
pub mod standing;
pub mod undo;
mod verify;
