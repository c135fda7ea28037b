//! Running resources as real kernels told of them (tests/data/live, tests/data/drbdnl): what they are judged to be; the
//! command itself where there is no DRBD.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]
#![allow(missing_docs, unreachable_pub)]
// `scene` and `world` both make images, each for itself where it is used alone.
#![allow(clippy::duplicate_mod)]

mod audit;
mod cluster;
mod command;
mod discarded;
mod driver;
mod fence;
mod healing;
mod looking;
mod memory;
mod moments;
mod older;
mod ours;
mod pair;
mod scale;
mod several;
mod single;
mod three;
mod unkind;
mod unkind_undo;

#[path = "../scene/mod.rs"]
mod scene;
#[path = "../world/mod.rs"]
mod world;

use std::path::{Path, PathBuf};
use unsplit::format::drbdadm;
use unsplit::format::drbdnl::frame::{Control, frames};
use unsplit::format::drbdnl::report;
use unsplit::model::drbd_live::Generation;
use unsplit::model::drbd_live::tree::{Live, Take};
use unsplit::model::node::{Configured, DrbdSeen, LogLine, NodeReport, NodeState};
use unsplit::model::seen::{Stamp, Why};

pub fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

/// What a node's kernel told in a moment, and its log, put together as the reader does.
pub fn node(generation: Generation, folder: &Path, host: &str) -> NodeReport {
    let mut live = Live::empty(generation);
    let mut how = Take::State;
    let files = [
        "get-initial-state",
        "get-resources",
        "get-devices",
        "get-connections",
        "get-peer-devices",
        "get-status",
    ];
    for file in files {
        let Ok(bytes) = std::fs::read(folder.join(format!("{file}.bin"))) else { continue };
        let said = frames(&bytes).map(Result::unwrap).filter(|frame| frame.control() == Control::Payload);
        for frame in said {
            let report = report::read(generation, frame.sequence, frame.body).unwrap();
            live.take(&report, how);
        }
        if file == "get-initial-state" {
            how = Take::Fill;
        }
    }
    assert!(!live.resources.is_empty(), "{}", folder.display());
    let log = std::fs::read_to_string(folder.join("dmesg.txt")).map(|text| lines(&text));
    NodeReport {
        state: NodeState {
            host: host.to_owned(),
            machine: None,
            boot: None,
            taken_at: Stamp(0),
            drbd: DrbdSeen::Told(live),
        },
        configured: configured(folder, host),
        log: log.map_err(|error| Why(error.to_string())),
    }
}

fn configured(folder: &Path, host: &str) -> Result<Vec<Configured>, Why> {
    let dump = std::fs::read_to_string(folder.join("dump.xml")).map_err(|error| Why(error.to_string()))?;
    drbdadm::resources(&dump, host).map_err(|error| Why(error.to_string()))
}

/// `dmesg`'s lines: `[ seconds] text`, or the text alone.
fn lines(text: &str) -> Vec<LogLine> {
    let line =
        |(number, line): (usize, &str)| match line.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
            Some((at, text)) => {
                let seconds: f64 = at.trim().parse().unwrap();
                LogLine { at: (seconds * 1e6) as u64, text: text.to_owned() }
            }
            None => LogLine { at: number as u64, text: line.to_owned() },
        };
    text.lines().enumerate().map(line).collect()
}
