//! The DRBD ABI as numbers and layouts: no I/O, no allocation, no policy.
//!
//! DRBD 8.4 and DRBD 9 (versions as given in each module) define on-disk metadata, state numbers and
//! error codes. This crate restates those facts as constants; everything that *interprets* them lives in
//! the `unsplit` crate.
#![no_std]

pub mod metadata;
pub mod netlink;
