//! What is measured on a pair of files: unsplit, its peers, and the ceilings; how each is called and checked.

use crate::ceilings::{self, Files};
use crate::data::BLOCK;
use crate::rounds::{Row, Wrong};
use crate::runner::{Job, Used};
use anyhow::{Context as _, bail, ensure};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use unsplit::model::extent::ExtentSet;

/// The binary that is measured: the one beside this program. `bench/run` builds both, optimised alike.
pub(crate) fn binary() -> &'static str {
    static PATH: OnceLock<String> = OnceLock::new();
    PATH.get_or_init(|| {
        let own = std::env::current_exe().unwrap_or_default();
        own.with_file_name("unsplit").display().to_string()
    })
}

/// What a comparison must find.
#[derive(Debug, Clone, Default)]
pub(crate) struct Expected {
    /// Blocks of 4 KiB that differ.
    pub(crate) blocks: u64,
    /// Where they are, if this program made the data.
    pub(crate) extents: Option<ExtentSet>,
    /// Bytes that differ, likewise.
    pub(crate) bytes: Option<u64>,
}

/// The tools that people use today.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    Cmp,
    QemuImg,
    Xxhsum,
    XxhsumApart,
    B3sum,
    BlocksyncMmap,
    Blocksync,
    Rsync,
    Bdsync,
    Bdsync4k,
}

impl Peer {
    pub(crate) const ALL: [Peer; 10] = [
        Peer::Cmp,
        Peer::QemuImg,
        Peer::Xxhsum,
        Peer::XxhsumApart,
        Peer::B3sum,
        Peer::BlocksyncMmap,
        Peer::Blocksync,
        Peer::Rsync,
        Peer::Bdsync,
        Peer::Bdsync4k,
    ];

    pub(crate) fn program(self) -> &'static str {
        match self {
            Peer::Cmp => "cmp",
            Peer::QemuImg => "qemu-img",
            Peer::Xxhsum | Peer::XxhsumApart => "xxhsum",
            Peer::B3sum => "b3sum",
            Peer::BlocksyncMmap | Peer::Blocksync => "blocksync-fast",
            Peer::Rsync => "rsync",
            Peer::Bdsync | Peer::Bdsync4k => "bdsync",
        }
    }

    /// Where it comes from.
    pub(crate) fn install(self) -> &'static str {
        match self {
            Peer::Cmp => "apt install diffutils",
            Peer::QemuImg => "apt install qemu-utils",
            Peer::Xxhsum | Peer::XxhsumApart => "apt install xxhash",
            Peer::B3sum => "cargo install b3sum",
            Peer::BlocksyncMmap | Peer::Blocksync => {
                "not in Debian; build github.com/nethappen/blocksync-fast and put it on PATH"
            }
            Peer::Rsync => "apt install rsync",
            Peer::Bdsync | Peer::Bdsync4k => "build github.com/rolffokkens/bdsync and put it on PATH",
        }
    }

    fn words(self, expected: &Expected) -> &'static str {
        match self {
            Peer::Cmp if expected.blocks == 0 => "cmp -s",
            Peer::Cmp => "cmp -l, lines counted",
            Peer::QemuImg => "qemu-img compare",
            Peer::Xxhsum => "xxhsum -H2 of both, one process",
            Peer::XxhsumApart => "xxhsum -H2 of each, two processes in parallel",
            Peer::B3sum => "b3sum of each, two processes in parallel",
            Peer::BlocksyncMmap => "blocksync-fast --mmap --dont-write",
            Peer::Blocksync => "blocksync-fast --dont-write",
            Peer::Rsync => "rsync --inplace --no-whole-file",
            Peer::Bdsync => "bdsync sha1, 64 KiB",
            Peer::Bdsync4k => "bdsync md5, 4 KiB (its default)",
        }
    }

    fn tells(self, expected: &Expected) -> &'static str {
        match self {
            Peer::Cmp if expected.blocks == 0 => "whether",
            Peer::Cmp => "every byte",
            Peer::QemuImg if expected.blocks == 0 => "whether",
            Peer::QemuImg => "the first only; stops there",
            Peer::Xxhsum | Peer::XxhsumApart | Peer::B3sum => "whether",
            Peer::BlocksyncMmap | Peer::Blocksync => "how many blocks",
            Peer::Rsync => "nothing; repairs",
            Peer::Bdsync | Peer::Bdsync4k => "where, with the data",
        }
    }

    /// Slow ones get two rounds, so that the default run stays below ten minutes.
    fn rounds(self) -> u32 {
        match self {
            Peer::Rsync | Peer::Bdsync | Peer::Bdsync4k => 2,
            Peer::Cmp | Peer::QemuImg | Peer::Blocksync => 3,
            _ => u32::MAX,
        }
    }

    /// Whether it makes the second file equal to the first.
    pub(crate) fn repairs(self) -> bool {
        self == Peer::Rsync
    }

    fn job(self, a: &Path, b: &Path, expected: &Expected, cold: bool) -> Job {
        let (a, b) = (a.display().to_string(), b.display().to_string());
        let argv = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let program = self.program();
        let one = |words: &[&str]| vec![argv(&[&[program][..], words, &[&a, &b]].concat())];
        let commands = match self {
            Peer::Cmp if expected.blocks == 0 => one(&["-s"]),
            Peer::Cmp => one(&["-l"]),
            // Without the page cache it is faster on cold data.
            Peer::QemuImg if cold => one(&["compare", "-f", "raw", "-F", "raw", "-T", "none"]),
            Peer::QemuImg => one(&["compare", "-f", "raw", "-F", "raw"]),
            Peer::Xxhsum => one(&["-H2"]),
            Peer::XxhsumApart => vec![argv(&[program, "-H2", &a]), argv(&[program, "-H2", &b])],
            Peer::B3sum => vec![argv(&[program, &a]), argv(&[program, &b])],
            Peer::BlocksyncMmap => vec![argv(&[program, "-s", &a, "-d", &b, "--dont-write", "--mmap"])],
            Peer::Blocksync => vec![argv(&[program, "-s", &a, "-d", &b, "--dont-write"])],
            Peer::Rsync => one(&["--inplace", "--no-whole-file", "--ignore-times", "--stats"]),
            Peer::Bdsync => one(&["--hash=sha1", "--blocksize=65536", "bdsync --server"]),
            Peer::Bdsync4k => one(&["bdsync --server"]),
        };
        let count_only = matches!(self, Peer::Cmp | Peer::Bdsync | Peer::Bdsync4k);
        Job { commands, count_only }
    }

    pub(crate) fn check(self, used: &Used, expected: &Expected) -> anyhow::Result<String> {
        let first = used.ends.first().context("nothing ran")?;
        let differs = expected.blocks > 0;
        match self {
            Peer::Cmp if !differs => {
                codes(used, &[0, 1])?;
                right(first.code == Some(0), "called equal files different")?;
                Ok("equal".to_owned())
            }
            Peer::Cmp => {
                codes(used, &[1])?;
                let lines = first.out_lines;
                right(expected.bytes.is_none_or(|bytes| bytes == lines), "counted other bytes")?;
                Ok(format!("{lines} bytes"))
            }
            Peer::QemuImg => {
                codes(used, &[0, 1])?;
                right(differs == (first.code == Some(1)), "gave the wrong answer")?;
                Ok(if differs { "the first" } else { "equal" }.to_owned())
            }
            Peer::Xxhsum | Peer::XxhsumApart | Peer::B3sum => {
                codes(used, &[0])?;
                let lines = used.ends.iter().flat_map(|end| end.out.lines());
                let hashes: Vec<&str> = lines.filter_map(|line| line.split_whitespace().next()).collect();
                ensure!(hashes.len() == 2, "printed no hash");
                right(differs == (hashes[0] != hashes[1]), "gave the wrong answer")?;
                Ok(if differs { "different" } else { "equal" }.to_owned())
            }
            Peer::BlocksyncMmap | Peer::Blocksync => {
                codes(used, &[0])?;
                let count =
                    first.out.lines().find_map(|line| line.strip_prefix("Updated: ")?.split('/').next());
                let count: u64 = count.context("printed no count")?.parse()?;
                right(count == expected.blocks, "counted other blocks")?;
                Ok(format!("{count} blocks"))
            }
            Peer::Rsync => {
                codes(used, &[0])?;
                let literal = stat(&first.out, "Literal data:")?;
                right(differs || literal == 0, "sent data for equal files")?;
                Ok(format!("{literal} bytes sent as data"))
            }
            Peer::Bdsync | Peer::Bdsync4k => {
                codes(used, &[0])?;
                // A head of some 40 bytes even when nothing differs; else whole blocks.
                let found = first.out_bytes;
                right(
                    if differs { found >= expected.blocks * BLOCK } else { found < 256 },
                    "wrote too little or too much",
                )?;
                Ok(format!("patch of {found} bytes"))
            }
        }
    }

    pub(crate) fn row<'a>(
        self,
        a: &'a Path,
        b: &'a Path,
        volume: u64,
        expected: &'a Expected,
        cold: bool,
    ) -> Row<'a> {
        Row {
            name: self.words(expected).to_owned(),
            tells: self.tells(expected),
            reference: false,
            rounds: self.rounds(),
            volume,
            job: self.job(a, b, expected, cold),
            own_clock: false,
            check: Box::new(move |used| {
                let found = self.check(used, expected)?;
                if self.repairs() {
                    repaired(a, b, expected)?;
                }
                Ok(found)
            }),
            wire: None,
            restore: None,
        }
    }
}

/// Whether the second file now holds what the first does, wherever they differed.
pub(crate) fn repaired(a: &Path, b: &Path, expected: &Expected) -> anyhow::Result<()> {
    let (a, b) = (File::open(a)?, File::open(b)?);
    for run in expected.extents.iter().flat_map(ExtentSet::iter) {
        let mut sides = [vec![0; usize::try_from(run.len)?], vec![0; usize::try_from(run.len)?]];
        a.read_exact_at(&mut sides[0], run.start)?;
        b.read_exact_at(&mut sides[1], run.start)?;
        right(sides[0] == sides[1], "left a difference")?;
    }
    Ok(())
}

/// A number from `rsync --stats`.
pub(crate) fn stat(out: &str, name: &str) -> anyhow::Result<u64> {
    let line = out.lines().find_map(|line| line.strip_prefix(name)).context("printed no statistics")?;
    let digits: String = line.chars().filter(char::is_ascii_digit).collect();
    Ok(digits.parse()?)
}

fn codes(used: &Used, good: &[i32]) -> anyhow::Result<()> {
    for end in &used.ends {
        match end.code {
            Some(code) if good.contains(&code) => {}
            Some(code) => bail!("failed with exit code {code}:"),
            None => bail!("was ended by a signal"),
        }
    }
    Ok(())
}

fn right(holds: bool, otherwise: &str) -> anyhow::Result<()> {
    if holds { Ok(()) } else { Err(Wrong(otherwise.to_owned()).into()) }
}

/// A ceiling as a row.
pub(crate) fn ceiling<'a>(
    files: Files,
    a: &Path,
    b: &Path,
    volume: u64,
    expected: &'a Expected,
) -> anyhow::Result<Row<'a>> {
    let program = std::env::current_exe()?.display().to_string();
    let (a, b) = (a.display().to_string(), b.display().to_string());
    Ok(Row {
        name: files.words(),
        tells: if files.compares() { "how many blocks" } else { "nothing" },
        reference: false,
        rounds: u32::MAX,
        volume,
        job: Job {
            commands: vec![vec![program, ceilings::COMMAND.to_owned(), files.key(), a, b]],
            count_only: false,
        },
        own_clock: false,
        check: Box::new(move |used| {
            codes(used, &[0])?;
            let first = used.ends.first().context("nothing ran")?;
            let blocks: u64 = first.out.trim().parse()?;
            if !files.compares() {
                return Ok("–".to_owned());
            }
            right(blocks == expected.blocks, "counted other blocks")?;
            Ok(format!("{blocks} blocks"))
        }),
        wire: None,
        restore: None,
    })
}

/// A ceiling that reads only what a list says.
pub(crate) fn ceiling_within<'a>(
    files: Files,
    sides: [&Path; 2],
    list: &Path,
    volume: u64,
    expected: &'a Expected,
) -> anyhow::Result<Row<'a>> {
    let mut row = ceiling(files, sides[0], sides[1], volume, expected)?;
    row.job.commands.iter_mut().for_each(|command| command.push(list.display().to_string()));
    Ok(row)
}

/// `unsplit` with words, as a row; its answer is one JSON document with what differs at `pointer`.
pub(crate) fn unsplit<'a>(
    name: &str,
    words: Vec<String>,
    volume: u64,
    expected: &'a Expected,
    pointer: &'static str,
) -> Row<'a> {
    let argv = [vec![binary().to_owned()], words, vec!["--json".to_owned()]].concat();
    Row {
        name: format!("**{name}**"),
        tells: "every block",
        reference: false,
        rounds: u32::MAX,
        volume,
        job: Job { commands: vec![argv], count_only: false },
        own_clock: false,
        check: Box::new(move |used| check_unsplit(used, expected, pointer)),
        wire: None,
        restore: None,
    }
}

fn check_unsplit(used: &Used, expected: &Expected, pointer: &str) -> anyhow::Result<String> {
    codes(used, &[0, 1])?;
    let first = used.ends.first().context("nothing ran")?;
    let document: serde_json::Value = serde_json::from_str(&first.out).context("printed no JSON")?;
    let differs = document.pointer(pointer).context("the document does not say what differs")?;
    let differs: ExtentSet = serde_json::from_value(differs.clone())?;
    let blocks = differs.bytes().div_ceil(BLOCK);
    let same = expected.extents.as_ref().is_none_or(|extents| *extents == differs);
    right(same && blocks == expected.blocks, "found other blocks")?;
    // `diff` also tells of generations that parted, even where no block differs.
    if pointer == "/differs" {
        right((first.code == Some(1)) == (blocks > 0), "ended with the wrong exit code")?;
    }
    Ok(format!("{blocks} blocks in {} ranges", differs.runs()))
}

/// Whether this build's `compare` has an option.
pub(crate) fn compare_has(option: &str) -> bool {
    let help = Command::new(binary()).args(["compare", "--help"]).output();
    help.is_ok_and(|help| help.status.success() && String::from_utf8_lossy(&help.stdout).contains(option))
}

/// Where a program is on PATH.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// What a program calls its version, if it says.
pub(crate) fn version(program: &str) -> Option<String> {
    let said = Command::new(program).arg("--version").output().ok().filter(|said| said.status.success())?;
    let text = [said.stdout, said.stderr].concat();
    let line = String::from_utf8_lossy(&text).lines().next()?.trim().to_owned();
    let name = line.split(',').next().unwrap_or_default();
    (!name.is_empty()).then(|| name.to_owned())
}
