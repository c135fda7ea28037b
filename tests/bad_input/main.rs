//! Bad input through the real binary. For each: what is wrong, where, what to do; the documented exit code; nothing
//! written.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../captures/mod.rs"]
mod captures;
#[path = "../scene/mod.rs"]
mod scene;

mod edited;
mod images;
mod loops;
mod moments;
mod offered;
mod pairing;
mod room;
mod state;
