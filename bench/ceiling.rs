//! What share of the machine's own ceiling comparing reaches: both measured in turn, in one run.
//!
//! `cargo bench --bench ceiling` makes two equal files in `$TMPDIR` (`$UNSPLIT_BENCH_GIB` GiB each, 2 if not
//! set); `cargo bench --bench ceiling -- A B` takes two that are there. Prints volume GiB/s (the size of one
//! side over the time) of each contender and the medians' ratio to the ceiling.
//!
//! Ceilings: in the page cache, threads that compare both files mapped; outside it, threads that read both
//! with direct I/O and do nothing else.

#![allow(missing_docs, unsafe_code, clippy::unwrap_used, clippy::print_stdout)]

use memmap2::Mmap;
use rustix::fs::{Advice, OFlags, fadvise};
use rustix::time::{ClockId, clock_gettime};
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use unsplit::digest::aligned::Aligned;
use unsplit::digest::compare::{CompareOptions, compare, threads};
use unsplit::edge::blockdev::{BlockFile, Mode};
use unsplit::model::extent::{Extent, ExtentSet};
use unsplit::ports::disk::Disk;
use unsplit::ports::progress::Silent;

fn make(path: &Path, size: u64) {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path).unwrap());
    let mut state = 1u64;
    for _ in 0..size / 8 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        out.write_all(&state.to_le_bytes()).unwrap();
    }
    out.into_inner().unwrap().sync_all().unwrap();
}

struct Files {
    paths: [PathBuf; 2],
    size: u64,
}

impl Files {
    fn open(&self) -> [BlockFile; 2] {
        [0, 1].map(|side| BlockFile::open(&self.paths[side], Mode::ReadOnly).unwrap())
    }

    fn warm(&self) {
        let mut buffer = vec![0; 1 << 20];
        for path in &self.paths {
            let file = File::open(path).unwrap();
            let mut at = 0;
            while let Ok(count @ 1..) = file.read_at(&mut buffer, at) {
                at += count as u64;
            }
        }
    }

    fn chill(&self) {
        for path in &self.paths {
            fadvise(File::open(path).unwrap(), 0, None, Advice::DontNeed).unwrap();
        }
    }
}

/// Runs `work` for every step of `step` bytes on that many threads.
fn spread(size: u64, step: u64, threads: usize, work: impl Fn(&mut dyn FnMut() -> Option<Extent>) + Sync) {
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                work(&mut || {
                    let at = next.fetch_add(step, Ordering::Relaxed);
                    (at < size).then(|| Extent { start: at, len: step.min(size - at) })
                });
            });
        }
    });
}

fn mapped(files: &Files, step: u64, threads: usize) {
    // SAFETY: nobody changes the files while the benchmark runs.
    let maps = [0, 1].map(|side| unsafe { Mmap::map(&File::open(&files.paths[side]).unwrap()).unwrap() });
    spread(files.size, step, threads, |next| {
        while let Some(extent) = next() {
            let range = extent.start as usize..extent.end() as usize;
            assert!(maps[0][range.clone()] == maps[1][range]);
        }
    });
}

fn direct(files: &Files, step: u64, threads: usize) {
    let open = |path| {
        let flags = OFlags::DIRECT.bits().cast_signed();
        OpenOptions::new().read(true).custom_flags(flags).open(path).unwrap()
    };
    let opened = [0, 1].map(|side| open(&files.paths[side]));
    spread(files.size, step, threads, |next| {
        let mut buffer = Aligned::new(step as usize);
        while let Some(extent) = next() {
            for file in &opened {
                let count = file.read_at(&mut buffer.as_mut_slice()[..extent.len as usize], extent.start);
                assert_eq!(count.unwrap() as u64, extent.len);
            }
        }
    });
}

fn engine(files: &Files, scope: &ExtentSet, threads: usize) {
    let [a, b] = files.open();
    let options = CompareOptions { threads, ..CompareOptions::default() };
    let found = compare(&a, &b, scope, &options, &Silent).unwrap();
    assert_eq!(found.compared, scope.bytes());
}

/// One after the other, several times, so that what else the machine does falls on all.
fn race(title: &str, volume: u64, rounds: usize, before: &dyn Fn(), contenders: &[(&str, &dyn Fn())]) {
    println!("\n{title}");
    let mut speeds = vec![Vec::new(); contenders.len()];
    for _ in 0..rounds {
        for (speeds, (_, run)) in speeds.iter_mut().zip(contenders) {
            before();
            let (begin, busy) = (Instant::now(), processor());
            run();
            let gib = volume as f64 / f64::from(1 << 30);
            speeds.push((gib / begin.elapsed().as_secs_f64(), (processor() - busy) / gib));
        }
    }
    let mut ceiling = None;
    for (speeds, (name, _)) in speeds.iter_mut().zip(contenders) {
        speeds.sort_by(|a, b| a.0.total_cmp(&b.0));
        let median = speeds[speeds.len() / 2].0;
        let mut busy: Vec<f64> = speeds.iter().map(|speed| speed.1).collect();
        busy.sort_by(f64::total_cmp);
        let ceiling = *ceiling.get_or_insert(median);
        let (least, most) = (speeds[0].0, speeds[speeds.len() - 1].0);
        println!(
            "  {name:<32} {median:>7.2} GiB/s ({least:.2} to {most:.2}) {:>4.0} %  {:>6.3} processor s/GiB",
            100.0 * median / ceiling,
            busy[busy.len() / 2]
        );
    }
}

/// Seconds that all threads have computed so far. Says more than the clock where others use the machine.
fn processor() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn main() {
    let given: Vec<PathBuf> =
        std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).map(PathBuf::from).collect();
    let dir = tempfile::tempdir().unwrap();
    let paths = match <[PathBuf; 2]>::try_from(given) {
        Ok(paths) => paths,
        Err(_) => {
            let gib =
                std::env::var("UNSPLIT_BENCH_GIB").ok().and_then(|text| text.parse().ok()).unwrap_or(2u64);
            let paths = [dir.path().join("a"), dir.path().join("b")];
            paths.iter().for_each(|path| make(path, gib << 30));
            paths
        }
    };
    let size = std::fs::metadata(&paths[0]).unwrap().len();
    let files = Files { paths, size };
    let whole = ExtentSet::whole(size);
    let cores = threads();
    let rounds = std::env::var("UNSPLIT_BENCH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(5);

    race(
        "Equal, in the page cache (ceiling: mapped, compared)",
        size,
        rounds,
        &|| files.warm(),
        &[
            ("mapped, 1 MiB a time", &|| mapped(&files, 1 << 20, cores)),
            ("compare", &|| engine(&files, &whole, cores)),
            ("compare, 1 thread", &|| engine(&files, &whole, 1)),
        ],
    );
    race(
        "Equal, not in the page cache (ceiling: direct reads)",
        size,
        rounds.min(3),
        &|| files.chill(),
        &[
            ("direct, 2 MiB, 8 threads", &|| direct(&files, 2 << 20, 8)),
            ("direct, 4 MiB, 8 threads", &|| direct(&files, 4 << 20, 8)),
            ("direct, 1 MiB, 16 threads", &|| direct(&files, 1 << 20, 16)),
            ("compare", &|| engine(&files, &whole, cores)),
        ],
    );
    let scattered = |every: u64| -> ExtentSet {
        (0..size / 4096)
            .step_by(every as usize)
            .map(|block| Extent { start: block * 4096, len: 4096 })
            .collect()
    };
    let (dense, sparse) = (scattered(4), scattered(64));
    let half = ExtentSet::whole(dense.bytes());
    race(
        "Candidates in the page cache (beside the same number of bytes in one run)",
        dense.bytes(),
        rounds,
        &|| files.warm(),
        &[
            ("one run", &|| engine(&files, &half, cores)),
            ("every 4th block", &|| engine(&files, &dense, cores)),
        ],
    );
    let half = ExtentSet::whole(sparse.bytes());
    race(
        "The same, every 64th block",
        sparse.bytes(),
        rounds,
        &|| files.warm(),
        &[
            ("one run", &|| engine(&files, &half, cores)),
            ("every 64th block", &|| engine(&files, &sparse, cores)),
        ],
    );
    race(
        "Candidates not in the page cache (ceiling: direct reads of 4 KiB, 32 threads)",
        sparse.bytes(),
        rounds.min(3),
        &|| files.chill(),
        &[
            ("direct, 4 KiB, 32 threads", &|| {
                let [a, b] = files.open();
                spread(size, 64 * 4096, 32, |next| {
                    let mut buffer = Aligned::new(4096);
                    while let Some(extent) = next() {
                        a.sweep_at(extent.start, buffer.as_mut_slice()).unwrap();
                        b.sweep_at(extent.start, buffer.as_mut_slice()).unwrap();
                    }
                });
            }),
            ("every 64th block", &|| engine(&files, &sparse, cores)),
        ],
    );
}
