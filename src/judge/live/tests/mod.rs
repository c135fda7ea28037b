//! Every class, in both generations, from reports built by hand; what real kernels told is in `tests/live`.

mod advised;
mod build;
mod classes;
mod lines;
mod several;

use super::*;
use build::{Made, node};

fn judged(reports: &[NodeReportOf]) -> Standing {
    let reports: Vec<_> = reports.iter().map(|made| made.report()).collect();
    let witnesses: Vec<_> = reports.iter().map(Witness::told).collect();
    classify("r0", &witnesses)
}

type NodeReportOf = Made;

/// The classes found, worst first.
fn classes(standing: &Standing) -> Vec<Class> {
    standing.findings.iter().map(|finding| finding.class).collect()
}

#[track_caller]
fn is(reports: &[Made], expected: &[Class]) -> Standing {
    let standing = judged(reports);
    assert_eq!(classes(&standing), expected, "{standing:#?}");
    // Seen from the other side it is the same.
    let turned: Vec<Made> = reports.iter().rev().cloned().collect();
    assert_eq!(classes(&judged(&turned)), expected, "from the other side");
    assert!(standing.findings.iter().all(|finding| !finding.says.is_empty()));
    standing
}

const BOTH: [Generation; 2] = [Generation::V84, Generation::V9];

/// Two nodes of a generation, connected and healthy.
fn pair(generation: Generation) -> [Made; 2] {
    [node(generation, "alpha", 0), node(generation, "beta", 1)]
}
