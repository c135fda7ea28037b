//! `bench/run`: unsplit beside its peers, on the same data, in interleaved rounds.
//!
//! A package of its own: what only measures is not built with what is measured. One of Rust, so that a machine needs
//! nothing else to repeat the figures. The `unsplit` that it measures stands beside it; `bench/run` builds both.
//!
//! | file | holds |
//! |---|---|
//! | `arguments` | the command line |
//! | `candidates`, `drbd` | large sparse volumes with marks |
//! | `ceilings` | what the machine can do |
//! | `cold`, `mapped` | the page cache: emptied, filled, looked at |
//! | `counter` | the pipe that counts |
//! | `data` | seeded data, and where it differs |
//! | `large` | volumes of real size |
//! | `local`, `wire` | comparisons on one machine and across a link |
//! | `machine`, `quantity`, `table` | what is written down |
//! | `rounds`, `runner` | running, measuring, checking |
//! | `subject` | unsplit, each peer and each ceiling: how it is called and what it must find |

#![allow(missing_docs, clippy::cast_precision_loss, clippy::print_stdout, clippy::print_stderr)]

mod arguments;
mod candidates;
mod ceilings;
mod cold;
mod counter;
mod data;
#[path = "../../../tests/image/mod.rs"]
mod image;
mod large;
mod local;
mod machine;
mod mapped;
mod quantity;
mod rounds;
mod runner;
mod subject;
mod table;
mod wire;

use anyhow::Context as _;
use arguments::{Arguments, Part};
use clap::Parser as _;
use counter::Counter;
use data::{Differences, FilePair, Kind};
use local::Sides;
use machine::Machine;
use quantity::GIB;
use rounds::{Limits, Section};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use unsplit::model::size::human;
use wire::Link;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    let done = match words.get(1).map(String::as_str) {
        Some(runner::COMMAND) => runner::serve().map(|()| 0),
        Some(counter::COMMAND) => counter::serve(&words[2..]),
        Some(ceilings::COMMAND) => ceilings::serve(&words[2..]).map(|said| {
            println!("{said}");
            0
        }),
        _ => run(&Arguments::parse()),
    };
    match done {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(70)),
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(70)
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<i32> {
    let begin = Instant::now();
    let base = arguments.dir.clone().unwrap_or_else(std::env::temp_dir);
    let folder = tempfile::Builder::new()
        .prefix("unsplit-bench-")
        .tempdir_in(&base)
        .with_context(|| format!("no folder can be made in {}", base.display()))?;
    let load = machine::load();
    let machine = Machine::look(folder.path());
    eprintln!("{}\nData in {}, removed at the end.", machine.words(), folder.path().display());
    let counter = Counter::new(folder.path())?;
    let mut sections = Vec::new();
    let bench = Bench { arguments, folder: folder.path(), counter: &counter };
    bench.usual(&mut sections)?;
    if arguments.large {
        sections.extend(large::sections(folder.path(), &counter, bench.limits(600))?);
    }
    if let [a, b] = &arguments.device[..] {
        sections.extend(large::devices(a, b, bench.limits(600))?);
    }
    folder.close()?;

    let wrong =
        sections.iter().flat_map(|section: &Section| &section.lines).filter(|line| line.wrong).count();
    let shown: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let run = table::Run {
        machine,
        command: ["bench/run".to_owned()].into_iter().chain(shown).collect::<Vec<_>>().join(" "),
        seconds: begin.elapsed().as_secs_f64(),
        load: [load, machine::load()],
        size: arguments.size,
        sections,
    };
    match &arguments.out {
        Some(path) => table::put(path, &run.markdown())?,
        None => println!("{}", run.markdown()),
    }
    if let Some(path) = &arguments.json {
        std::fs::write(path, serde_json::to_vec_pretty(&run)?)?;
    }
    if wrong > 0 {
        eprintln!("{wrong} rows did not find what is there: see WRONG in the table");
    }
    Ok(i32::from(wrong > 0))
}

/// Bytes that may still be written into a folder.
fn free(folder: &Path) -> anyhow::Result<u64> {
    let told = rustix::fs::statvfs(folder)?;
    Ok(told.f_bavail * told.f_frsize)
}

struct Bench<'a> {
    arguments: &'a Arguments,
    folder: &'a Path,
    counter: &'a Counter,
}

impl Bench<'_> {
    /// A table's rounds, and the seconds after which no further one begins.
    fn limits(&self, seconds: u64) -> Limits {
        Limits { rounds: self.arguments.rounds, time: Duration::from_secs(seconds) }
    }

    fn make(&self, kind: Kind) -> anyhow::Result<FilePair> {
        let (need, there) = (2 * self.arguments.size, free(self.folder)?);
        anyhow::ensure!(
            there > need,
            "{} has {} free, and {} are needed: give a smaller --size or another --dir",
            self.folder.display(),
            human(there),
            human(need)
        );
        eprintln!("  making data: {kind:?}");
        FilePair::make(self.folder, kind, self.arguments.size)
    }

    fn usual(&self, sections: &mut Vec<Section>) -> anyhow::Result<()> {
        let wants = |part| self.arguments.wants(part);
        if wants(Part::Ceilings) {
            sections.push(local::kernels(self.limits(20))?);
        }
        if wants(Part::Warm) || wants(Part::Cold) || wants(Part::Wire) {
            self.random(sections)?;
        }
        if wants(Part::Warm) && self.fits() {
            for (kind, words) in [
                (Kind::ZeroHeavy, "half zeros, 0.01 % of the blocks differ"),
                (Kind::Sparse, "sparse, one eighth data, 0.01 % of the blocks differ"),
            ] {
                let mut pair = self.make(kind)?;
                pair.differ(Differences::Scattered)?;
                sections.push(self.warm(words, &pair)?);
                pair.remove()?;
            }
        }
        if wants(Part::Candidates) {
            let total = (self.arguments.size / 8).max(1 << 20);
            let volume = (64 * self.arguments.size).max(GIB);
            sections.extend(candidates::measure_candidates(
                self.folder,
                volume,
                total,
                false,
                self.limits(30),
            )?);
        }
        Ok(())
    }

    /// Everything measured on random data, which is made only once.
    fn random(&self, sections: &mut Vec<Section>) -> anyhow::Result<()> {
        let wants = |part| self.arguments.wants(part);
        let mut pair = self.make(Kind::Random)?;
        for (differences, words) in [
            (Differences::Nowhere, "equal"),
            (Differences::Scattered, "0.01 % of the blocks differ, scattered"),
            (Differences::Clustered, "1 % of the blocks differ, in runs of 256 KiB"),
        ] {
            pair.differ(differences)?;
            if wants(Part::Warm) {
                if self.fits() {
                    sections.push(self.warm(&format!("random data, {words}"), &pair)?);
                } else {
                    let note = format!(
                        "Not measured: two files of {} do not fit into the memory that is available, {}.",
                        human(pair.size),
                        human(machine::memory("MemAvailable"))
                    );
                    sections.push(Section::only_notes(format!("Warm: random data, {words}"), note));
                }
            }
            if wants(Part::Wire) && differences != Differences::Nowhere {
                let expected = pair.expected();
                let restore = || pair.restore();
                let link = Link {
                    a: &pair.a,
                    b: &pair.b,
                    size: pair.size,
                    expected: &expected,
                    counter: self.counter,
                    restore: &restore,
                    peers: true,
                };
                let title = format!("Across a link: random data, {words}");
                sections.push(wire::measure_link(&title, &link, self.limits(30))?);
            }
        }
        if wants(Part::Cold) {
            pair.differ(Differences::Nowhere)?;
            let expected = pair.expected();
            let restore = || pair.restore();
            let sides = Sides {
                a: &pair.a,
                b: &pair.b,
                size: pair.size,
                expected: &expected,
                restore: Some(&restore),
            };
            sections.push(local::cold("Cold: random data, equal", &sides, self.limits(100))?);
        }
        pair.remove()
    }

    fn warm(&self, words: &str, pair: &FilePair) -> anyhow::Result<Section> {
        let expected = pair.expected();
        let restore = || pair.restore();
        let sides =
            Sides { a: &pair.a, b: &pair.b, size: pair.size, expected: &expected, restore: Some(&restore) };
        local::warm(&format!("Warm: {words}"), &sides, self.limits(40))
    }

    /// Whether both files stay in the page cache.
    fn fits(&self) -> bool {
        2 * self.arguments.size + self.arguments.size / 4 < machine::memory("MemTotal")
    }
}
