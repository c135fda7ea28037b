//! What a comparison costs on the link, in bytes and round trips, on volumes far larger than memory.

use super::channels::{converse_with, memory, options};
use super::disks::{BLOCK, Sparse};
use std::sync::atomic::Ordering;
use unsplit::digest::link::{LinkCompared, LinkOptions, Question, Wire};
use unsplit::model::extent::{Extent, ExtentSet};
use unsplit::model::side::Side;
use unsplit::ports::progress::Silent;

const TIB: u64 = 1 << 40;

struct Numbers(u64);

impl Numbers {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

fn some_runs(size: u64, count: u64, blocks: u64, seed: u64) -> ExtentSet {
    let mut numbers = Numbers(seed);
    (0..count)
        .map(|_| Extent { start: numbers.below(size / BLOCK - blocks) * BLOCK, len: blocks * BLOCK })
        .collect()
}

fn compare(size: u64, here: &Sparse, there: &Sparse) -> LinkCompared {
    compare_with(size, here, there, u64::MAX)
}

fn compare_with(size: u64, here: &Sparse, there: &Sparse, sketch_up_to: u64) -> LinkCompared {
    let question = Question { size, scope: ExtentSet::whole(size), side: Side::A };
    // Without signs of life, whose number depends on the machine.
    let options = LinkOptions { pulse: std::time::Duration::from_secs(600), sketch_up_to, ..options(2) };
    let (mine, theirs, _) = memory(8, None);
    let (asked, answered) =
        converse_with((mine, theirs), (here, there), &question, (options, options), &Silent);
    answered.unwrap();
    asked.unwrap()
}

fn total(wire: Wire) -> u64 {
    wire.sent + wire.received
}

#[test]
fn nothing_different() {
    for size in [TIB, 16 * TIB] {
        let here = Sparse::new(size, some_runs(size, 100, 64, 1));
        let there = here.but(ExtentSet::empty());
        let found = compare(size, &here, &there);
        eprintln!("{} TiB, nothing different: {:?}", size / TIB, found.wire);
        assert!(found.compared.differs.is_empty());
        assert_eq!(found.compared.compared, size);
        assert!(total(found.wire) < 4000, "{:?}", found.wire);
        assert_eq!(found.wire.round_trips, 2);
        // What is not there costs nothing: the data, and what shares a leaf with it.
        assert!(here.bytes_read.load(Ordering::Relaxed) <= 100 * (64 + 8) * BLOCK);
    }
}

#[test]
fn a_thousand_scattered_blocks() {
    for size in [TIB, 16 * TIB] {
        let here = Sparse::new(size, some_runs(size, 300, 64, 1));
        let changed = some_runs(size, 1000, 1, 2);
        let there = here.but(changed.clone());
        let found = compare(size, &here, &there);
        eprintln!("{} TiB, 1000 scattered blocks: {:?}", size / TIB, found.wire);
        assert_eq!(found.compared.differs, changed);
        // The goal is 0.1 MB; what a tree needs is 0.54 MB.
        assert!(total(found.wire) < 45_000, "{:?}", found.wire);
        assert!(found.wire.round_trips <= 5, "{:?}", found.wire);
    }
}

/// 1 % differs in runs of 64 blocks, found by a sketch or by the sums of chunks.
fn clusters(size: u64, sketch_up_to: u64) {
    let here = Sparse::new(size, ExtentSet::empty());
    let changed = some_runs(size, size / BLOCK / 6400, 64, 3);
    let there = here.but(changed.clone());
    let found = compare_with(size, &here, &there, sketch_up_to);
    let tree = tree_bytes(size, &changed);
    let blocks = changed.bytes() / BLOCK;
    eprintln!("{} GiB, {blocks} blocks in runs of 64: {:?}, a tree {tree}", size >> 30, found.wire);
    assert_eq!(found.compared.differs, changed);
    // The payload of finding is the places alone: about 2 bytes a run. A tree of fan-out 16 down to 4 KiB with hashes of 8
    // bytes may cost 1.5 times as much together with it; this costs less than the tree alone.
    assert!(total(found.wire) < tree, "{:?}, a tree {tree}", found.wire);
}

#[test]
fn one_percent_in_clusters() {
    clusters(TIB / 256, u64::MAX);
    clusters(TIB / 256, 0);
}

#[test]
#[ignore = "takes minutes unless optimised"]
fn one_percent_of_a_tebibyte() {
    clusters(TIB, u64::MAX);
}

/// Bytes of a 16-ary hash tree over 4 KiB blocks, 8 bytes a hash, descending where something differs.
fn tree_bytes(size: u64, changed: &ExtentSet) -> u64 {
    let mut bytes = 8;
    let mut step = size.next_power_of_two();
    while step > BLOCK {
        // Every node of this level above something that differs sends its 16 children.
        bytes += 16 * 8 * changed.align(step).bytes() / step;
        step /= 16;
    }
    bytes
}

#[test]
fn everything_asked_about_differs() {
    // As after a full bitmap: no more than a flat list of short hashes.
    let size = TIB;
    let here = Sparse::new(size, ExtentSet::empty());
    let changed: ExtentSet = (0..20_000u64).map(|at| Extent { start: at * 8 * BLOCK, len: BLOCK }).collect();
    let there = here.but(changed.clone());
    let question = Question { size, scope: changed.clone(), side: Side::A };
    let options = LinkOptions { pulse: std::time::Duration::from_secs(600), ..options(2) };
    let (mine, theirs, _) = memory(8, None);
    let (asked, _) = converse_with((mine, theirs), (&here, &there), &question, (options, options), &Silent);
    let found = asked.unwrap();
    eprintln!("20000 candidates, all different: {:?}", found.wire);
    assert_eq!(found.compared.differs, changed);
    assert!(total(found.wire) < 20_000 * 6, "{:?}", found.wire);
    assert_eq!(found.wire.round_trips, 3);
}
