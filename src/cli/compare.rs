//! `unsplit compare`: bytes against bytes, without any DRBD metadata.

use super::Cli;
use super::exit::{DIVERGED, EVIDENCE, FINE, Failure};
use super::reading::ReadingArgs;
use super::screen::{Screen, Tone};
use crate::digest::compare::{CompareOptions, Compared, compare};
use crate::digest::link::{LinkOptions, Question, Wire, ask};
use crate::edge::blockdev::{BlockFile, Mode};
use crate::edge::common::{Common, common};
use crate::edge::peer::PeerSpec;
use crate::edge::peer::disk::RemoteDisk;
use crate::edge::terminal::TerminalProgress;
use crate::format::offered::{HEAD, TAIL, kinds};
use crate::format::ranges;
use crate::model::delta::Unreadable;
use crate::model::extent::ExtentSet;
use crate::model::side::{Pair, Side};
use crate::model::size::human;
use crate::ports::disk::Disk;
use crate::resolver::there;
use clap::Args;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Compare two files or devices byte by byte, whatever they hold.
///
/// No metadata is looked for and nothing is decided: this is the plain question whether two volumes hold the same
/// bytes, and where they do not. For the two sides of a DRBD resource use `unsplit diff`, which knows what the bitmaps
/// mark and leaves DRBD's own metadata out.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  unsplit compare /dev/vg/a /dev/vg/b\n  unsplit compare --extents a.img b.img        list every differing range: first byte and length\n  unsplit compare --within ranges.txt a.img b.img\n  unsplit compare /dev/vg/a /dev/vg/b --peer ssh:node2      B is on node2; what differs crosses the link, not the volume\n\nExit code 0 when everything compared is equal, 1 when something differs (or one is longer), 4 when something could not be read."
)]
pub struct CompareArgs {
    /// The first file or block device
    #[arg(value_name = "A")]
    pub a: PathBuf,

    /// The second
    #[arg(value_name = "B")]
    pub b: PathBuf,

    /// Compare only these ranges: a file with lines `START LENGTH` in bytes (`-`: standard input)
    #[arg(long, value_name = "FILE")]
    pub within: Option<PathBuf>,

    /// List every differing range: first byte and length, one a line, as --within reads them
    #[arg(long)]
    pub extents: bool,

    /// The other node: `ssh:HOST`, or `exec:COMMAND`; B is then a path there
    #[arg(long, value_name = "PEER")]
    pub peer: Option<PeerSpec>,

    /// Give up when the other node says nothing for that long
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = clap::value_parser!(u16).range(1..=3600))]
    pub peer_timeout: u16,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub reading: ReadingArgs,
}

/// What the comparison cost on the link: bytes, and how often this side waited for an answer.
#[derive(Debug, Clone, Copy, Serialize)]
struct Cost {
    sent: u64,
    received: u64,
    round_trips: u32,
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    version: u32,
    sizes: Pair<u64>,
    size: u64,
    compared: u64,
    differs: &'a ExtentSet,
    differing_bytes: u64,
    unreadable: &'a [Unreadable],
    wire: Option<Cost>,
    notes: &'a [String],
}

pub(super) fn run(cli: &Cli, args: &CompareArgs, screen: &mut Screen) -> Result<u8, Failure> {
    let reading = args.reading.reading();
    reading.step_back()?;
    let open = |path: &Path| -> Result<BlockFile, Failure> {
        let opened = BlockFile::open(path, Mode::ReadOnly).map_err(Failure::evidence)?;
        Ok(opened.paced(reading.pace()))
    };
    let a = open(&args.a)?;
    let scope = |size| match &args.within {
        Some(path) => within(path, size),
        None => Ok(ExtentSet::whole(size)),
    };
    let (progress, threads) = (TerminalProgress::new(), reading.threads());
    let mut notes: Vec<String> = not_itself(&args.a, &a).into_iter().collect();
    let (sizes, compared, wire) = match &args.peer {
        None => {
            let b = open(&args.b)?;
            // What is on a peer is not looked at.
            notes.extend(not_itself(&args.b, &b));
            if let Some(common) = common(a.identity(), b.identity()) {
                return Err(not_two(args, &common));
            }
            let sizes = Pair::new(a.size(), b.size());
            let options = CompareOptions { threads, ..CompareOptions::default() };
            let scope = scope(sizes.a.min(sizes.b))?;
            (sizes, compare(&a, &b, &scope, &options, &progress).map_err(Failure::evidence)?, None)
        }
        Some(spec) => {
            let session = there::connect(spec, args.peer_timeout)?;
            let path = there::path_there(&args.b)?;
            let (b, opened) = RemoteDisk::open(&session, &path, reading.there())
                .map_err(|error| there::trouble(error, format!("{path} on {spec} cannot be used")))?;
            if let Some(common) = there::common_there(&a, &session.elsewhere(), &opened.identity) {
                return Err(not_two(args, &common));
            }
            let sizes = Pair::new(a.size(), b.size());
            let size = sizes.a.min(sizes.b);
            let asked = Question { size, scope: scope(size)?, side: Side::A };
            let options = LinkOptions { threads, ..LinkOptions::default() };
            let (mut sender, mut receiver) = b.answering(threads).map_err(Failure::evidence)?;
            let found = ask(&a, &asked, &mut *sender, &mut *receiver, &options, &progress)
                .map_err(|error| Failure::evidence(error).hint(there::MEND))?;
            let Wire { sent, received, round_trips } = found.wire;
            (sizes, found.compared, Some(Cost { sent, received, round_trips }))
        }
    };
    let size = sizes.a.min(sizes.b);
    if cli.json {
        screen.json(&Document {
            schema: "unsplit.compare",
            version: 1,
            sizes,
            size,
            compared: compared.compared,
            differs: &compared.differs,
            differing_bytes: compared.differs.bytes(),
            unreadable: &compared.unreadable,
            wire,
            notes: &notes,
        })?;
    } else {
        show(screen, args, sizes, &compared)?;
        for note in notes.iter().filter(|_| !args.extents) {
            screen.line(format!("note: {note}"))?;
        }
    }
    let whole = args.within.is_none();
    Ok(if !compared.unreadable.is_empty() {
        EVIDENCE
    } else if compared.differs.is_empty() && (sizes.a == sizes.b || !whole) {
        FINE
    } else {
        DIVERGED
    })
}

/// What a file is, when its bytes are not those of a volume. Nothing is said of what cannot be read: comparing says that.
fn not_itself(path: &Path, disk: &BlockFile) -> Option<String> {
    let read = |at: u64, len: u64| {
        let mut bytes = vec![0; usize::try_from(len).ok()?];
        disk.read_at(at, &mut bytes).ok().map(|()| bytes)
    };
    let tail = disk.size().min(TAIL as u64);
    let head = read(0, disk.size().min(HEAD as u64))?;
    let kind = kinds::recognise(&head, &read(disk.size() - tail, tail)?)?;
    Some(format!("{} is {}: its own bytes were compared, not what is in it", path.display(), kind.what))
}

fn not_two(args: &CompareArgs, common: &Common) -> Failure {
    let words = common.words(&args.a.display().to_string(), &args.b.display().to_string());
    Failure::usage(format!("{words}: name two"))
}

/// The ranges to compare.
fn within(path: &Path, size: u64) -> Result<ExtentSet, Failure> {
    let failed = |error: std::io::Error| {
        Failure::usage(format!("the ranges in {} cannot be read: {error}", path.display()))
    };
    let text = match path.to_str() {
        Some("-") => std::io::read_to_string(std::io::stdin()).map_err(failed)?,
        _ => std::fs::read_to_string(path).map_err(failed)?,
    };
    let ranges =
        ranges::parse(&text).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
    if ranges.end() > size {
        return Err(Failure::usage(format!(
            "{}: a range ends at byte {}, and the smaller side has {size}",
            path.display(),
            ranges.end()
        )));
    }
    Ok(ranges)
}

fn show(screen: &mut Screen, args: &CompareArgs, sizes: Pair<u64>, found: &Compared) -> Result<(), Failure> {
    if args.extents {
        // Nothing else, so that another program can read it.
        for run in found.differs.iter() {
            screen.line(format!("{} {}", run.start, run.len))?;
        }
    } else {
        let headline = if found.differs.is_empty() {
            screen.paint(Tone::Good, "What was compared is equal.")
        } else {
            let text = format!(
                "{} differ, in {} ranges (blocks of 4 KiB).",
                human(found.differs.bytes()),
                found.differs.runs()
            );
            screen.paint(Tone::Bad, &text)
        };
        screen.line(headline)?;
        let of = human(sizes.a.min(sizes.b));
        screen.line(format!("Compared {} of {of} of each side.", human(found.compared)))?;
        if let (Some(first), Some(last)) = (found.differs.iter().next(), found.differs.iter().last()) {
            screen.line(format!(
                "First difference in the block at byte {}, last one before byte {}.",
                first.start,
                last.end()
            ))?;
        }
        if sizes.a != sizes.b {
            let (longer, by) =
                if sizes.a > sizes.b { (&args.a, sizes.a - sizes.b) } else { (&args.b, sizes.b - sizes.a) };
            screen.line(format!(
                "{} is longer by {} ({by} bytes), which were not compared.",
                longer.display(),
                human(by)
            ))?;
        }
    }
    for gap in &found.unreadable {
        let path = if gap.side == crate::model::side::Side::A { &args.a } else { &args.b };
        let text = format!(
            "UNREADABLE in {}: {} at byte {}: {}",
            path.display(),
            human(gap.extent.len),
            gap.extent.start,
            gap.why
        );
        screen.line(if args.extents { format!("# {text}") } else { text })?;
    }
    Ok(())
}
