//! What comparing across a link costs each side: hashing leaves against the plain keyed hash, the sketch, the sums, and a
//! whole session over memory.

#![allow(missing_docs, clippy::unwrap_used)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::sync::mpsc;
use unsplit::digest::link::bench::{FULL, Key, Sketch};
use unsplit::digest::link::{LEAF, LinkOptions, Question, answer, ask};
use unsplit::model::extent::ExtentSet;
use unsplit::model::side::Side;
use unsplit::ports::channel::{ChannelFault, Receiver, Sender};
use unsplit::ports::disk::{Disk, DiskFault};
use unsplit::ports::progress::Silent;

/// Bytes of a volume in memory: beyond the processor's caches.
const SIZE: u64 = 256 << 20;

struct Memory(Vec<u8>);

impl Disk for Memory {
    fn name(&self) -> &str {
        "memory"
    }
    fn size(&self) -> u64 {
        self.0.len() as u64
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskFault> {
        let start = usize::try_from(offset).unwrap();
        buffer.copy_from_slice(&self.0[start..start + buffer.len()]);
        Ok(())
    }
}

struct To(mpsc::Sender<Vec<u8>>);
struct From(mpsc::Receiver<Vec<u8>>);

impl Sender for To {
    fn send(&mut self, message: &[u8]) -> Result<(), ChannelFault> {
        self.0.send(message.to_vec()).map_err(|_| ChannelFault::Closed)
    }
    fn flush(&mut self) -> Result<(), ChannelFault> {
        Ok(())
    }
}

impl Receiver for From {
    fn receive(&mut self) -> Result<Vec<u8>, ChannelFault> {
        self.0.recv().map_err(|_| ChannelFault::Closed)
    }
}

fn noise(size: u64) -> Vec<u8> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_le_bytes()
    };
    (0..size / 8).flat_map(|_| next()).collect()
}

fn session(here: &Memory, there: &Memory, threads: usize) -> u64 {
    let options = LinkOptions { threads, ..LinkOptions::default() };
    let question = Question { size: SIZE, scope: ExtentSet::whole(SIZE), side: Side::A };
    let ((to, from), (back, heard)) = (mpsc::channel(), mpsc::channel());
    std::thread::scope(|scope| {
        scope.spawn(|| answer(there, &mut To(back), &mut From(from), &options, &Silent).unwrap());
        let found = ask(here, &question, &mut To(to), &mut From(heard), &options, &Silent).unwrap();
        found.compared.differs.bytes()
    })
}

fn link(criterion: &mut Criterion) {
    let bytes = noise(SIZE);
    let key = Key::new(&[1; 32], &[2; 32]);

    let mut group = criterion.benchmark_group("link-hash");
    group.throughput(Throughput::Bytes(SIZE)).sample_size(10);
    group.bench_function("ceiling: keyed, 64 KiB", |bencher| {
        bencher.iter(|| {
            bytes.chunks(64 << 10).for_each(|part| {
                black_box(blake3::keyed_hash(&[7; 32], part));
            });
        });
    });
    for (name, len) in [("leaves", LEAF), ("blocks", 4096)] {
        let len = usize::try_from(len).unwrap();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let parts = (0u64..).step_by(len).zip(bytes.chunks(len));
                parts.fold(0u128, |sum, (at, part)| sum.wrapping_add(key.value(at, part)))
            });
        });
    }
    group.bench_function("zeros", |bencher| {
        let zeros = vec![0; 1 << 20];
        bencher.iter(|| {
            (0..SIZE >> 20).map(|at| key.value(at << 20, black_box(&zeros))).fold(0, u128::wrapping_add)
        });
    });
    group.finish();

    let mut group = criterion.benchmark_group("link-sketch");
    let value = |index: u64| u128::from(index.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    group.throughput(Throughput::Elements(64));
    group.bench_function("add 64 leaves", |bencher| {
        let mut sketch = Sketch::new([1, 2, 3], FULL);
        let mut at = 0;
        bencher.iter(|| {
            (at..at + 64).for_each(|index| sketch.add(index, value(index)));
            at += 64;
        });
    });
    for (number, fold) in [(1000u64, 504u32), (200_000, FULL)] {
        let mut sketch = Sketch::new([1, 2, 3], FULL);
        (0..number).for_each(|index| sketch.add(index * 31, value(index)));
        let empty = Sketch::new([1, 2, 3], fold);
        group.throughput(Throughput::Elements(number));
        group.bench_function(BenchmarkId::new("fold and peel", number), |bencher| {
            bencher.iter(|| sketch.folded(fold).peel(&empty, 8, 1 << 30).unwrap().len());
        });
    }
    group.finish();

    let here = Memory(bytes);
    let mut there = Memory(here.0.clone());
    for at in (0..usize::try_from(SIZE).unwrap()).step_by(1 << 20) {
        there.0[at] ^= 1;
    }
    let mut group = criterion.benchmark_group("link-session");
    // Both sides hash on this machine.
    group.throughput(Throughput::Bytes(2 * SIZE)).sample_size(10);
    group.bench_function("equal, a thread each", |bencher| bencher.iter(|| session(&here, &here, 1)));
    group
        .bench_function("a block a MiB, a thread each", |bencher| bencher.iter(|| session(&here, &there, 1)));
    group.finish();
}

criterion_group!(benches, link);
criterion_main!(benches);
