//! Side B on a peer: an agent of the real binary at the other end of real pipes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]
#![allow(unreachable_pub)]

#[path = "../captures/mod.rs"]
mod captures;
mod confined;
mod cut;
mod greeting;
mod link;
mod no_salvage;
mod scene;
#[path = "../skipped/mod.rs"]
mod skipped;
mod ssh;
mod whole_line;
#[path = "../world/mod.rs"]
mod world;
