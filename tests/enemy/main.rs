//! A peer that lies: at every request, every kind of reply that an agent of ours would never give. Whatever comes, this side
//! ends with an error or with what could have been read from a disk; it neither panics, nor waits for ever, nor takes memory
//! that the question was not worth.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]
#![allow(unreachable_pub)]

mod fake;
mod flood;
mod lies;
mod waits;
#[path = "../world/mod.rs"]
mod world;
