//! Comparing across a link: the same as on one machine, for every world, channel and fault; what it costs; and that it always
//! ends.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod channels;
mod cost;
mod disks;
mod faults;
mod made_up;
mod same;
