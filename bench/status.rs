//! `unsplit status --all` with 100 resources: what this machine's part of it costs, beside asking the two kernels.
//!
//! Two nodes' reports, 90 resources healthy and 10 in split brain, made of captures of DRBD 9.3.3; a full kernel log.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::path::Path;
use unsplit::cli::live::status::judged;
use unsplit::format::drbdnl::frame::{Control, frames};
use unsplit::format::drbdnl::report;
use unsplit::format::wire::control::{Reply, Request, document_bytes};
use unsplit::format::wire::reply::read_reply;
use unsplit::judge::live::Witness;
use unsplit::model::drbd_live::Generation;
use unsplit::model::drbd_live::tree::{Live, Take};
use unsplit::model::node::{DrbdSeen, LogLine, NodeReport, NodeState};
use unsplit::model::seen::Stamp;

const RESOURCES: usize = 100;
/// As many as a node keeps.
const LINES: usize = 2000;

fn captured(moment: &str, host: &str) -> Live {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/live/9").join(moment).join(host);
    let mut live = Live::empty(Generation::V9);
    for file in ["get-resources", "get-devices", "get-connections", "get-peer-devices"] {
        let bytes = std::fs::read(folder.join(format!("{file}.bin"))).unwrap();
        for frame in frames(&bytes).map(Result::unwrap).filter(|frame| frame.control() == Control::Payload) {
            live.take(&report::read(Generation::V9, frame.sequence, frame.body).unwrap(), Take::State);
        }
    }
    live
}

fn node(host: &str) -> NodeReport {
    let (healthy, split) = (captured("in-sync", host), captured("three-one-against-two", host));
    let mut live = Live::empty(Generation::V9);
    live.resources = (0..RESOURCES)
        .map(|at| {
            let mut resource = if at % 10 == 7 { &split } else { &healthy }.resources[0].clone();
            resource.name = format!("r{at:03}");
            resource
        })
        .collect();
    let log = (0..LINES).map(|at| LogLine {
        at: at as u64,
        text: format!(
            "drbd r{:03} node2: conn( Connecting -> Connected ) peer( Unknown -> Secondary )",
            at % RESOURCES
        ),
    });
    NodeReport {
        state: NodeState {
            host: host.to_owned(),
            machine: None,
            boot: None,
            taken_at: Stamp(0),
            drbd: DrbdSeen::Told(live),
        },
        configured: Ok(Vec::new()),
        log: Ok(log.collect()),
    }
}

fn all(criterion: &mut Criterion) {
    let (a, b) = (node("node1"), node("node2"));
    criterion.bench_function("status: judge 100 resources", |bencher| {
        bencher.iter(|| {
            let witnesses = [Witness::told(black_box(&a)), Witness::told(&b)];
            judged(&witnesses)
        });
    });
    let reply = Reply::Report(Box::new(b));
    let bytes = document_bytes(&reply, &[]).unwrap();
    let bounds = Request::Report.reply_bounds(None);
    let name = format!("status: the peer's report of 100 resources, {} bytes, written and read", bytes.len());
    criterion.bench_function(&name, |bencher| {
        bencher.iter(|| {
            let bytes = document_bytes(black_box(&reply), &[]).unwrap();
            read_reply(bytes, bounds).unwrap().0
        });
    });
}

criterion_group!(benches, all);
criterion_main!(benches);
