//! What reading the bitmap of a 16 TiB volume costs: 512 MiB of bits per slot, from memory.

#![allow(missing_docs, clippy::unwrap_used, clippy::print_stderr)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use unsplit::format::drbdmeta::bitmap::{Marked, Scan};
use unsplit::format::drbdmeta::geometry::BitmapLayout;

/// Bytes of the bitmap area, whatever the number of slots; fed in chunks as the reader does.
const AREA: usize = 512 << 20;
const CHUNK: usize = 1 << 20;

type Fill = fn(u64) -> u64;

fn mix(at: u64) -> u64 {
    let mixed = (at ^ at >> 31).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ mixed >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9)
}

/// Patterns, by the number of a 64-bit word of the area.
const PATTERNS: [(&str, Fill); 6] = [
    ("zero", |_| 0),
    // One bit in about 400 is set: 10 million of them in one slot.
    ("scattered", |at| if mix(at).is_multiple_of(6) { 1 << (mix(at) >> 58) } else { 0 }),
    // 1 MiB of data at a time, 1 % of the volume.
    ("clustered", |at| if at / 4 % 100 == 0 { u64::MAX } else { 0 }),
    ("full", |_| u64::MAX),
    ("alternating", |_| 0x5555_5555_5555_5555),
    ("noise", mix),
];

fn scan(area: &[u8], layout: BitmapLayout) -> Marked {
    let mut scan = Scan::new(layout, layout.slots - 1).unwrap();
    for chunk in area.chunks(CHUNK / 4 / layout.slots as usize * 4 * layout.slots as usize) {
        scan.feed(black_box(chunk)).unwrap();
    }
    scan.finish().unwrap()
}

fn bitmaps(criterion: &mut Criterion) {
    // Not zeroed by the system, which would give one page many times over.
    let mut area = vec![1u8; AREA];
    let mut group = criterion.benchmark_group("bitmap");
    group.throughput(Throughput::Bytes(AREA as u64)).sample_size(10);
    group.bench_function("only reading", |bencher| {
        bencher.iter(|| {
            let (words, _) = black_box(area.as_slice()).as_chunks::<8>();
            words.iter().fold(0, |any, word| any | u64::from_ne_bytes(*word))
        });
    });
    for (name, fill) in PATTERNS {
        for (word, at) in area.as_chunks_mut::<8>().0.iter_mut().zip(0..) {
            *word = fill(at).to_le_bytes();
        }
        for slots in [1, 4, 31] {
            let data_size = AREA as u64 / u64::from(slots) / 4096 * 4096 * 8 * 4096;
            let layout = BitmapLayout { bytes_per_bit: 4096, slots, data_size };
            let found = scan(&area, layout);
            eprintln!(
                "{name}, {slots} slots: {} runs in {} KiB",
                found.extents.runs(),
                found.extents.memory() >> 10
            );
            group.bench_function(BenchmarkId::new(name, slots), |bencher| {
                bencher.iter(|| scan(&area, layout));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, bitmaps);
criterion_main!(benches);
