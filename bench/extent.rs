//! What the algebra of extents costs at the size of large bitmaps.

#![allow(missing_docs, clippy::print_stderr)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use unsplit::model::extent::{Builder, Extent, ExtentSet};

/// Runs per scattered set: about what 40 GB of scattered changes mark.
const RUNS: u64 = 10_000_000;
/// 64-bit words per dense set: a volume of 1 TiB.
const WORDS: u64 = 1 << 22;

fn scattered(salt: u64) -> ExtentSet {
    (0..RUNS)
        .map(|at| {
            let jitter = (at ^ salt).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 62;
            Extent { start: (at * 26 + jitter) * 4096, len: 4096 * (1 + jitter) }
        })
        .collect()
}

fn dense(salt: u64) -> ExtentSet {
    let mut builder = Builder::default();
    for at in 0..WORDS {
        let mixed = (at ^ salt ^ at >> 17).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        builder.word(at * 64, (mixed ^ mixed >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9));
    }
    builder.finish()
}

fn algebra(criterion: &mut Criterion) {
    for (name, a, b) in [("scattered", scattered(1), scattered(2)), ("dense", dense(1), dense(2))] {
        eprintln!("{name}: {} runs in {} KiB", a.runs(), a.memory() >> 10);
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(a.runs() as u64)).sample_size(10);
        group.bench_function("iterate", |bencher| {
            bencher
                .iter(|| black_box(&a).iter().map(|run| run.start ^ run.len).fold(0, |all, one| all ^ one));
        });
        group.bench_function("union", |bencher| bencher.iter(|| a.union(black_box(&b))));
        group.bench_function("intersect", |bencher| bencher.iter(|| a.intersect(black_box(&b))));
        group.bench_function("subtract", |bencher| bencher.iter(|| a.subtract(black_box(&b))));
        group.bench_function("align", |bencher| bencher.iter(|| a.align(black_box(1 << 16))));
        group.bench_function("collect", |bencher| {
            bencher.iter(|| black_box(&a).iter().collect::<ExtentSet>())
        });
        group.finish();
    }
}

criterion_group!(benches, algebra);
criterion_main!(benches);
