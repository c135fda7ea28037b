//! `unsplit report`.

use super::html::render_html;
use super::text::render_text;
use super::{
    ClassFacts, ComparisonFacts, Discard, NextCommand, ReportData, SCHEMA, SideFacts, UnitRow, VERSION,
};
use crate::cli::Cli;
use crate::cli::exit::{DIVERGED, EVIDENCE, FINE, Failure};
use crate::cli::incident::when;
use crate::cli::live::{self, OneTargetArgs, Target};
use crate::cli::pair::{Found, PairArgs, open};
use crate::cli::plan::judge;
use crate::cli::screen::Screen;
use crate::edge::blockdev::{BlockFile, Identity, Mode};
use crate::edge::clock::SystemClock;
use crate::engine::inquiry::Sight;
use crate::model::extent::ExtentSet;
use crate::model::lineage::Relation;
use crate::model::policy::Settings;
use crate::model::side::{Pair, Side};
use crate::model::unit::Unit;
use crate::ports::clock::Clock;
use clap::Args;
use std::path::{Path, PathBuf};

/// Write down the whole comparison: for the ticket, as text, JSON or one HTML page.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  unsplit report node1.img node2.img\n  unsplit report node1.img node2.img --html report.html      one page, with a map of the volume\n  unsplit report node1.img node2.img --policy FILE           with what the policy says, and why"
)]
pub struct ReportArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub target: OneTargetArgs,

    /// Compare the whole volume instead of what the bitmaps mark
    #[arg(long)]
    pub full: bool,

    /// Write one self-contained HTML page to this file
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

pub(crate) fn run(cli: &Cli, args: &ReportArgs, screen: &mut Screen) -> Result<u8, Failure> {
    let pair = match args.target.target()? {
        Target::Pair(pair) => pair,
        Target::Resource(resource) => Box::new(live::only_volume(&resource, &args.target.options)?),
        Target::Several(wanted) => {
            return Err(Failure::usage(format!("{}: a report is about one resource", wanted.words())));
        }
    };
    let settings = pair.options.settings()?;
    let opened = open(&pair, Mode::ReadOnly)?;
    if let Some(path) = &args.html {
        refuse_a_side(path, &pair)?;
    }
    let sight = opened.look(&settings)?;
    let found = opened.diff(&sight, args.full, &pair.options, &cli.state_dir)?;
    let data = gather(&pair, &settings, &sight, &found);
    if let Some(path) = &args.html {
        write_page(path, &render_html(&data))?;
        if !cli.json {
            screen.line(format!("Wrote {}", path.display()))?;
        }
    } else if !cli.json {
        write!(screen.out(), "{}", render_text(&data))?;
    }
    if cli.json {
        screen.json(&data)?;
    } else {
        for remark in &found.remarks {
            screen.line(remark)?;
        }
    }
    Ok(if !found.delta.unreadable.is_empty() {
        EVIDENCE
    } else if found.delta.differs.is_empty() && sight.comparison.relation == Relation::InSync {
        FINE
    } else {
        DIVERGED
    })
}

fn gather(args: &PairArgs, settings: &Settings, sight: &Sight, found: &Found) -> ReportData {
    let delta = &found.delta;
    let names = found.names.as_ref().map(ToString::to_string);
    let classes = ClassFacts::all(delta);
    let units = rows(found, &classes);
    let mut layout_notes: Vec<String> =
        found.units.differences.iter().map(|difference| difference.sentence(&found.names)).collect();
    for (side, notes) in found.units.notes.iter() {
        layout_notes.extend(notes.iter().map(|note| format!("{}: {note}", found.names[side])));
    }
    for side in Side::BOTH {
        let doubtful = delta.doubtful(side).bytes();
        if doubtful > 0 {
            layout_notes.push(format!(
                "of what only {} marked, {} may have been written on {} as well: its activity log was hot there",
                names[side.other()],
                crate::model::size::human(doubtful),
                names[side]
            ));
        }
    }
    ReportData {
        schema: SCHEMA,
        version: VERSION,
        title: args.options.resource.to_string(),
        generated_at: when(SystemClock.now()),
        sides: Pair::from_fn(|side| {
            let seen = &sight.evidence[side];
            SideFacts::new(seen, &sight.lineages[side], when(seen.taken_at))
        }),
        comparison: Some(ComparisonFacts::new(&sight.comparison, &names)),
        scope: delta.scope,
        size: delta.size,
        compared: delta.compared,
        marks_complete: delta.marks_complete,
        if_keep: Pair::from_fn(|side| Discard::new(side, &classes, &units)),
        next: next(args, sight, found),
        verdict: args.options.policy.is_some().then(|| judge(settings, sight, found, None)),
        names,
        classes,
        units,
        layout_notes,
        unreadable: delta.unreadable.clone(),
    }
}

/// The units as side A describes them; those that only B describes follow, so that no name is missing.
fn rows(found: &Found, classes: &[ClassFacts]) -> Vec<UnitRow> {
    let row = |name: String, unit: &Unit| {
        let extents: ExtentSet = unit.extents().clip(found.delta.size);
        UnitRow::new(name, unit.kind, unit.content.clone(), extents, classes)
    };
    let Pair { a, b } = &found.layouts;
    let mut rows: Vec<UnitRow> = a.units.iter().map(|unit| row(unit.name.clone(), unit)).collect();
    for unit in &b.units {
        if !a.units.iter().any(|same| same.name == unit.name && same.map == unit.map) {
            rows.push(row(format!("{} (as {} describes it)", unit.name, found.names.b), unit));
        }
    }
    rows.retain(|row| row.bytes() > 0);
    rows
}

fn next(args: &PairArgs, sight: &Sight, found: &Found) -> Vec<NextCommand> {
    let sides = args.words();
    if sight.comparison.relation == Relation::InSync && found.delta.differs.is_empty() {
        return Vec::new();
    }
    let mut all: Vec<NextCommand> = Side::BOTH
        .into_iter()
        .map(|side| {
            NextCommand::new(
                format!("see in detail what keeping {} would do; changes nothing", found.names[side]),
                format!("unsplit plan {sides} --keep {}", found.names[side]),
            )
        })
        .collect();
    all.push(NextCommand::new("list every differing range", format!("unsplit diff {sides} --extents")));
    all
}

/// A slip of the tongue (`--html node2.img`) must not cost a node's disk.
fn refuse_a_side(path: &Path, pair: &PairArgs) -> Result<(), Failure> {
    let Ok(metadata) = std::fs::metadata(path) else { return Ok(()) };
    let refused =
        |why: &str| Err(Failure::usage(format!("--html {}: {why}; name another file", path.display())));
    if !metadata.is_file() {
        return refused("exists and is not a regular file");
    }
    // What is on a peer is no file of this machine.
    let here = if pair.options.peer.is_some() { 1 } else { 2 };
    let metas = [&pair.options.meta_a, &pair.options.meta_b].into_iter().take(here).flatten();
    for side in [&pair.a, &pair.b].into_iter().take(here).chain(metas.map(|device| &device.path)) {
        let same =
            std::fs::metadata(side).is_ok_and(|theirs| Identity::of(&theirs) == Identity::of(&metadata));
        if same {
            return refused("is one of the two sides");
        }
    }
    // An image of a third node is no page, either.
    if metadata.len() > 0 && BlockFile::open(path, Mode::ReadOnly).is_ok() && !looks_like_a_page(path) {
        return refused("exists and does not look like an HTML page");
    }
    Ok(())
}

fn looks_like_a_page(path: &Path) -> bool {
    use std::io::Read as _;
    let mut start = [0; 15];
    std::fs::File::open(path)
        .and_then(|mut file| file.read(&mut start))
        .is_ok_and(|read| start[..read].to_ascii_lowercase().starts_with(b"<!doctype html"))
}

/// Written beside and renamed, so that a full disk leaves no half page.
fn write_page(path: &Path, page: &str) -> Result<(), Failure> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".tmp");
    let beside = PathBuf::from(beside);
    let written = std::fs::write(&beside, page).and_then(|()| std::fs::rename(&beside, path));
    written.map_err(|source| {
        let _ = std::fs::remove_file(&beside);
        Failure::internal(anyhow::Error::new(source).context(format!("{} cannot be written", path.display())))
    })
}
