//! What the algebra of extents costs at the size of a large, scattered bitmap.

#![allow(missing_docs)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use unsplit::model::extent::{Extent, ExtentSet};

/// Runs per set: about what 4 GB of scattered changes mark.
const RUNS: u64 = 1_000_000;

fn scattered(salt: u64) -> ExtentSet {
    (0..RUNS)
        .map(|at| {
            let jitter = (at ^ salt).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 62;
            Extent { start: (at * 6 + jitter) * 4096, len: 4096 * (1 + jitter) }
        })
        .collect()
}

fn algebra(criterion: &mut Criterion) {
    let (a, b) = (scattered(1), scattered(2));
    let mut group = criterion.benchmark_group("extent");
    group.throughput(Throughput::Elements(RUNS)).sample_size(20);
    group.bench_function("union", |bencher| bencher.iter(|| a.union(black_box(&b))));
    group.bench_function("intersect", |bencher| bencher.iter(|| a.intersect(black_box(&b))));
    group.bench_function("subtract", |bencher| bencher.iter(|| a.subtract(black_box(&b))));
    group.bench_function("align", |bencher| bencher.iter(|| a.align(black_box(1 << 16))));
    group.bench_function("collect", |bencher| bencher.iter(|| black_box(&a).iter().collect::<ExtentSet>()));
    group.finish();
}

criterion_group!(benches, algebra);
criterion_main!(benches);
