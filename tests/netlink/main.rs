//! DRBD's netlink: captures of DRBD 8.4.11 and 9.3.3 decoded whole and compared with what DRBD's own tools printed of the
//! same moment; the reader and the watch over replayed answers; the controller of this machine's kernel.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]
#![allow(missing_docs, unreachable_pub)]

mod captures;
mod dmesg;
mod fake;
mod hostile;
mod kernel;
mod module;
mod reading;
#[path = "../skipped/mod.rs"]
mod skipped;
mod tables;
mod tools;
mod watching;

use std::path::Path;
use unsplit::format::drbdnl::frame::{Control, frames};
use unsplit::format::drbdnl::report;
use unsplit::model::drbd_live::Generation;
use unsplit::model::drbd_live::report::Report;

/// A captured node: its folder under tests/data/drbdnl.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node(pub &'static str);

pub const NODES: [Node; 4] =
    [Node("drbd84-node1"), Node("drbd84-node2"), Node("drbd9-node1"), Node("drbd9-node2")];

/// Answers to dumps, by file name.
pub const DUMPS: [&str; 5] =
    ["get-resources", "get-devices", "get-connections", "get-peer-devices", "get-initial-state"];

impl Node {
    pub fn generation(self) -> Generation {
        if self.0.starts_with("drbd84") { Generation::V84 } else { Generation::V9 }
    }

    pub fn bytes(self, file: &str) -> Vec<u8> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/drbdnl").join(self.0).join(file);
        std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    pub fn text(self, file: &str) -> String {
        String::from_utf8(self.bytes(file)).unwrap()
    }

    pub fn reports(self, file: &str) -> Vec<Report> {
        reports(self.generation(), &self.bytes(file))
    }
}

/// The reports of a run of messages, which must all be sound.
pub fn reports(generation: Generation, bytes: &[u8]) -> Vec<Report> {
    frames(bytes)
        .map(Result::unwrap)
        .filter(|frame| frame.control() == Control::Payload)
        .map(|frame| report::read(generation, frame.sequence, frame.body).unwrap())
        .collect()
}
