//! Split pairs of every kind, made on files by raw bytes, through the real binary, against the truth their maker knows.
//!
//! `UNSPLIT_PAIRS_SEED` and `UNSPLIT_PAIRS_COUNT` (pairs of each format) widen the search; the defaults meet every value
//! of every dimension.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod case;
mod check;
mod deck;
mod generations;
#[path = "../image/mod.rs"]
mod image;
mod make;
mod named;
#[path = "../skipped/mod.rs"]
mod skipped;
mod tools;
mod writes;

use case::{
    CONTENTS, Case, Differences, GRAINS, LOGS, NODES, PEERS, PLACES, Relation, STRIPES, THIRDS, matrix,
};
use check::whole_line;
use std::collections::BTreeSet;
use unsplit::model::drbd::MetadataFormat;

const SEED: u64 = 1;
const COUNT: usize = 12;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

fn dealt(format: MetadataFormat) -> Vec<Case> {
    let seed = number("UNSPLIT_PAIRS_SEED").unwrap_or(SEED);
    let count = number("UNSPLIT_PAIRS_COUNT").map_or(COUNT, |count| usize::try_from(count).unwrap());
    matrix(seed, format, count)
}

/// Every `step`-th case, so that the test threads share them.
fn run(format: MetadataFormat, first: usize) {
    for case in dealt(format).iter().skip(first).step_by(2) {
        eprintln!("{}: {:?}, {:?}", case.name, case.relation, case.differences);
        whole_line(case);
    }
}

#[test]
fn matrix_v08_even() {
    run(MetadataFormat::V08, 0);
}

#[test]
fn matrix_v08_odd() {
    run(MetadataFormat::V08, 1);
}

#[test]
fn matrix_v09_even() {
    run(MetadataFormat::V09, 0);
}

#[test]
fn matrix_v09_odd() {
    run(MetadataFormat::V09, 1);
}

fn met<T: Ord>(cases: &[Case], of: impl Fn(&Case) -> Vec<T>) -> BTreeSet<T> {
    cases.iter().flat_map(of).collect()
}

fn all<T: Ord + Clone>(values: &[T]) -> BTreeSet<T> {
    values.iter().cloned().collect()
}

#[test]
fn the_default_matrix_meets_every_value() {
    for format in [MetadataFormat::V08, MetadataFormat::V09] {
        let cases = &matrix(SEED, format, COUNT);
        assert_eq!(met(cases, |case| vec![case.relation]), all(&Relation::ALL));
        assert_eq!(met(cases, |case| vec![case.differences]), all(&Differences::ALL));
        assert_eq!(met(cases, |case| vec![case.content]), all(&CONTENTS));
        assert_eq!(met(cases, |case| vec![case.full]), all(&[false, true]));
        assert_eq!(met(cases, |case| vec![case.sectors % 8 == 0]), all(&[false, true]));
        for side in [0, 1] {
            for place in PLACES {
                assert!(cases.iter().any(|case| case.sides[side].place == place), "{place}");
            }
            assert_eq!(met(cases, |case| vec![case.sides[side].stripes]), all(&STRIPES));
            assert_eq!(met(cases, |case| vec![case.sides[side].tail]), all(&[0, 1, 7]));
            assert_eq!(met(cases, |case| vec![case.sides[side].spare > 0]), all(&[false, true]));
            assert_eq!(met(cases, |case| vec![case.sides[side].garbage]), all(&[false, true]));
        }
        let logs = met(cases, |case| vec![(case.sides[0].log, case.sides[1].log)]);
        let words = |at: usize| {
            LOGS.iter().map(|logs| if at == 0 { logs.0 } else { logs.1 }).collect::<BTreeSet<_>>()
        };
        assert_eq!(logs.iter().map(|logs| logs.0).collect::<BTreeSet<_>>(), words(0));
        assert_eq!(logs.iter().map(|logs| logs.1).collect::<BTreeSet<_>>(), words(1));
        if format == MetadataFormat::V09 {
            for side in [0, 1] {
                assert_eq!(met(cases, |case| vec![case.sides[side].bytes_per_bit]), all(&GRAINS));
                assert_eq!(met(cases, |case| vec![case.sides[side].max_peers]), all(&PEERS));
                assert_eq!(met(cases, |case| vec![case.sides[side].third]), all(&THIRDS));
            }
            assert_eq!(met(cases, |case| vec![(case.sides[0].node_id, case.sides[1].node_id)]), all(&NODES));
            assert!(cases.iter().any(|case| case.sides[0].bytes_per_bit != case.sides[1].bytes_per_bit));
        }
    }
}
