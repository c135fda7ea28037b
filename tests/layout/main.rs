//! Layouts of real and of hostile tables, through the reader that the command line uses.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]
#![allow(unreachable_pub, dead_code)]

mod disk;
mod hostile;
mod lvm;
#[path = "../skipped/mod.rs"]
mod skipped;
mod tools;
