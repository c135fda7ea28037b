//! The command line.

use crate::quantity::parse_size;
use clap::{Parser, ValueEnum};
use std::path::PathBuf;

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// What this machine can reach: memory, comparing, hashing, disk
    Ceilings,
    /// Comparing two files in the page cache: five kinds of data
    Warm,
    /// Comparing two files that are not in the page cache
    Cold,
    /// Comparing only what a list or DRBD's bitmaps mark, in a much larger sparse volume
    Candidates,
    /// Comparing across a link: bytes in both directions
    Wire,
}

/// Measure unsplit and its peers on the same data, interleaved, and write a table.
#[derive(Debug, Parser)]
#[command(
    name = "bench/run",
    after_help = "Examples:\n  bench/run                                     about 8 minutes, the table on standard output\n  bench/run --out docs/performance.md           put the table between the file's two markers\n  bench/run --size 256M --rounds 3 --only warm  a quick look\n  bench/run --large                             besides: 1 TiB sparse volumes, and one larger than memory\n  bench/run --device /dev/vg/a /dev/vg/b        besides: two devices, which are only read\n\nTools are looked for on PATH; those that are missing are named in the table. Exit code 1: a tool did not find what is there."
)]
pub(crate) struct Arguments {
    /// Size of each file; two files of it must fit into the page cache for the warm cases
    #[arg(long, default_value = "2G", value_parser = parse_size)]
    pub(crate) size: u64,

    /// Rounds; each runs every tool once, in rotated order. Slow tools (see the table's n) get fewer
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) rounds: u32,

    /// Where the files are made, in a folder of their own that is removed at the end [default: $TMPDIR]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) dir: Option<PathBuf>,

    /// Only these parts
    #[arg(long, value_delimiter = ',', value_name = "PART,...")]
    pub(crate) only: Vec<Part>,

    /// Besides, volumes of 1 TiB (sparse) and a volume larger than memory; takes long
    #[arg(long)]
    pub(crate) large: bool,

    /// Besides, compare these two devices (or files), which are only read
    #[arg(long, num_args = 2, value_names = ["A", "B"])]
    pub(crate) device: Vec<PathBuf>,

    /// Write the table here (Markdown). If the file has the two markers, only what lies between them is replaced
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,

    /// Write every single measurement here
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

impl Arguments {
    pub(crate) fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }
}
