//! Many resources: the order, and one page for all of them.

use super::{data, node};
use unsplit::cli::live::status::{exit_code, judged};
use unsplit::judge::live::Witness;
use unsplit::model::drbd_live::Generation;
use unsplit::model::node::{DrbdSeen, NodeReport};
use unsplit::model::standing::Class;

/// A node with `count` copies of its resource, and one healthy one more.
fn many(host: &str, count: usize) -> NodeReport {
    let split = data().join("live/9/three-one-against-two");
    let healthy = data().join("live/9/in-sync");
    let mut report = node(Generation::V9, &split.join(host), host);
    let other = node(Generation::V9, &healthy.join(host), host);
    let (DrbdSeen::Told(live), DrbdSeen::Told(other)) = (&mut report.state.drbd, other.state.drbd) else {
        panic!()
    };
    let one = live.resources[0].clone();
    live.resources = (0..count)
        .map(|at| {
            let mut resource = if at % 10 == 7 { one.clone() } else { other.resources[0].clone() };
            resource.name = format!("r{at:03}");
            resource
        })
        .collect();
    report
}

#[test]
fn a_hundred_resources_worst_first() {
    let (a, b) = (many("node1", 100), many("node2", 100));
    let witnesses = [Witness::told(&a), Witness::told(&b)];
    let standings = judged(&witnesses);
    assert_eq!(standings.len(), 100);
    assert!(
        standings[..10]
            .iter()
            .all(|standing| standing.worst() == Class::SplitBrain || standing.worst() == Class::StandAlone),
        "{:?}",
        standings[0].findings
    );
    assert!(standings[10..].iter().all(|standing| standing.worst() == Class::Healthy), "{:?}", standings[10]);
    assert_eq!(exit_code(&standings[10..]), 0);
    assert_ne!(exit_code(&standings), 0);
}
