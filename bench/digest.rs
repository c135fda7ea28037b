//! What comparing and digesting two files in the page cache costs.

#![allow(missing_docs, clippy::unwrap_used)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use unsplit::digest::compare::{CompareOptions, compare};
use unsplit::digest::content::content_digest;
use unsplit::edge::blockdev::{BlockFile, Mode};
use unsplit::model::extent::{Extent, ExtentSet};
use unsplit::ports::progress::Silent;

/// Bytes of each file: far beyond the processor's caches, small enough for any machine's page cache.
const SIZE: u64 = 1 << 30;

/// A file without zero blocks or repeats within a block.
fn file(path: &Path) -> File {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path).unwrap());
    let mut state = 1u64;
    for _ in 0..SIZE / 8 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        out.write_all(&state.to_le_bytes()).unwrap();
    }
    out.into_inner().unwrap()
}

fn digest(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let (a, b, c) = (dir.path().join("a"), dir.path().join("b"), dir.path().join("c"));
    file(&a);
    file(&b);
    let scattered = file(&c);
    // One block in a thousand differs.
    for block in (0..SIZE / 4096).step_by(1000) {
        scattered.write_all_at(&[1, 2, 3], block * 4096 + 100).unwrap();
    }
    let open = |path: &Path| BlockFile::open(path, Mode::ReadOnly).unwrap();
    let (a, b, c) = (open(&a), open(&b), open(&c));
    let whole = ExtentSet::whole(SIZE);

    let mut group = criterion.benchmark_group("compare");
    group.throughput(Throughput::Bytes(SIZE)).sample_size(10);
    for threads in [1, 2] {
        for chunk in [64 << 10, 256 << 10, 1 << 20, 4 << 20] {
            let options = CompareOptions { threads, chunk, size: None };
            let id = BenchmarkId::new(format!("equal/{threads}"), format!("{}KiB", chunk >> 10));
            group.bench_function(id, |bencher| {
                bencher.iter(|| compare(&a, &b, &whole, &options, &Silent).unwrap());
            });
        }
    }
    let options = CompareOptions { threads: 2, ..CompareOptions::default() };
    group.bench_function("scattered/2", |bencher| {
        bencher.iter(|| compare(&a, &c, &whole, &options, &Silent).unwrap());
    });
    group.finish();

    // What a bitmap marks typically: single blocks, here every fourth.
    let candidates: ExtentSet =
        (0..SIZE / 4096).step_by(4).map(|block| Extent { start: block * 4096, len: 4096 }).collect();
    let mut group = criterion.benchmark_group("compare-candidates");
    group.throughput(Throughput::Bytes(candidates.bytes())).sample_size(10);
    group.bench_function("scattered/2", |bencher| {
        bencher.iter(|| compare(&a, &c, &candidates, &options, &Silent).unwrap());
    });
    group.finish();

    let mut group = criterion.benchmark_group("content");
    group.throughput(Throughput::Bytes(SIZE)).sample_size(10);
    for threads in [1, 2] {
        group.bench_function(format!("whole/{threads}"), |bencher| {
            bencher.iter(|| content_digest(&a, &whole, threads, &Silent).unwrap());
        });
    }
    group.throughput(Throughput::Bytes(candidates.bytes()));
    group.bench_function("candidates/2", |bencher| {
        bencher.iter(|| content_digest(&a, &candidates, 2, &Silent).unwrap());
    });
    group.finish();
}

criterion_group!(benches, digest);
criterion_main!(benches);
