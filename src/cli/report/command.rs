//! `unsplit report`.

use super::html::render_html;
use super::text::render_text;
use super::words::lost;
use super::{
    ClassFacts, ComparisonFacts, Discard, NextCommand, ReportData, SCHEMA, SideFacts, UnitRow, VERSION,
};
use crate::cli::Cli;
use crate::cli::diff::doubtful;
use crate::cli::exit::{DIVERGED, EVIDENCE, FINE, Failure};
use crate::cli::live::{OneTargetArgs, words_of};
use crate::cli::screen::Screen;
use crate::cli::still_open::{About, StillOpen};
use crate::cli::suggest::Suggestion;
use crate::edge::blockdev::{BlockFile, Identity, Mode};
use crate::edge::clock::{SystemClock, local};
use crate::edge::terminal::TerminalProgress;
use crate::engine::inquiry::Sight;
use crate::judge::units::{LayoutDifference, losses};
use crate::judge::worse::keepable;
use crate::model::extent::ExtentSet;
use crate::model::id::ResourceName;
use crate::model::plan::Fate;
use crate::model::policy::Settings;
use crate::model::side::{Pair, Side};
use crate::model::unit::Unit;
use crate::ports::clock::Clock;
use crate::resolver::access::{Access, Target, TwoSides};
use crate::resolver::both::Both;
use crate::resolver::contents::Found;
use crate::resolver::draw::judge;
use crate::resolver::sides::open;
use crate::resolver::volumes::as_pair;
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
        Target::Resource(resource) => Box::new(only_volume(cli, &resource, &args.target.options.access())?),
        Target::Several(wanted) => {
            return Err(Failure::usage(format!("{}: a report is about one resource", words_of(&wanted))));
        }
    };
    let settings = pair.access.settings()?;
    let opened = open(&pair, Mode::ReadOnly)?;
    if let Some(path) = &args.html {
        refuse_a_side(path, &pair)?;
    }
    let sight = opened.look(&settings)?;
    let found = opened.diff(&sight, args.full, &pair.access, &cli.state_dir, &TerminalProgress::new())?;
    let open = StillOpen::about(cli, About::Devices(sight.evidence.as_ref().map(|seen| &seen.source)));
    let data = under(&open, gather(cli, &pair, args.full, &settings, &sight, &found));
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
    } else if found.delta.differs.is_empty() && sight.comparison.settled() {
        FINE
    } else {
        DIVERGED
    })
}

/// With an incident that is not over nothing else can be begun, and a side may be half overwritten: that comes first.
fn under(open: &StillOpen, mut data: ReportData) -> ReportData {
    let told = open.told();
    if !told.is_empty() {
        data.next = told.into_iter().map(|(purpose, command)| NextCommand { purpose, command }).collect();
    }
    data.incidents = Some(open.view());
    data
}

/// The devices of a resource's only volume.
///
/// # Errors
/// It has several.
fn only_volume(cli: &Cli, resource: &ResourceName, access: &Access) -> Result<TwoSides, Failure> {
    let both = Both::reach(resource.as_str(), access, "report")?;
    let pair = both.look(resource)?;
    match pair.volumes.as_slice() {
        [volume] => Ok(as_pair(&pair, volume, both.peer(), access)),
        several => {
            let all: Vec<String> = several
                .iter()
                .map(|volume| {
                    let args = as_pair(&pair, volume, both.peer(), access);
                    format!("volume {}: {}", volume.volume, Suggestion::of_pair(cli, "report", &args))
                })
                .collect();
            Err(Failure::usage(format!("{resource} has {} volumes: report one at a time", several.len()))
                .hint(all.join("; ")))
        }
    }
}

fn gather(
    cli: &Cli,
    args: &TwoSides,
    full: bool,
    settings: &Settings,
    sight: &Sight,
    found: &Found,
) -> ReportData {
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
        layout_notes.extend(doubtful(delta, side, names.as_ref().map(String::as_str)));
    }
    ReportData {
        schema: SCHEMA,
        version: VERSION,
        title: args.access.resource.to_string(),
        generated_at: local(SystemClock.now()),
        sides: Pair::from_fn(|side| {
            let seen = &sight.evidence[side];
            SideFacts::new(seen, &sight.lineages[side], local(seen.taken_at))
        }),
        comparison: Some(ComparisonFacts::new(&sight.comparison, &names)),
        scope: delta.scope,
        size: delta.size,
        compared: delta.compared,
        marks_complete: delta.marks_complete,
        if_keep: Pair::from_fn(|side| discard(found, side, &classes)),
        incidents: None,
        next: next(cli, args, full, sight, found),
        verdict: args.access.policy.is_some().then(|| judge(settings, sight, found, None)),
        names,
        classes,
        units,
        layout_notes,
        unreadable: delta.unreadable.clone(),
    }
}

/// What keeping `survivor` discards, unit by unit as the other side describes them.
fn discard(found: &Found, survivor: Side, classes: &[ClassFacts]) -> Discard {
    let mut units = losses(&found.units, survivor);
    units.retain(|loss| lost(loss) > 0 || loss.fate == Some(Fate::Disappears));
    let doubtful = found.delta.doubtful(survivor.other()).bytes();
    Discard { units, doubtful, ..Discard::new(survivor, classes, &[]) }
}

/// The units as side A describes them; those that only B describes follow, so that no name is missing.
fn rows(found: &Found, classes: &[ClassFacts]) -> Vec<UnitRow> {
    let either = found.delta.doubtful(Side::A).union(&found.delta.doubtful(Side::B));
    let row = |name: String, unit: &Unit| {
        let extents: ExtentSet = unit.extents().clip(found.delta.size);
        let doubtful = either.intersect(&extents).bytes();
        UnitRow { doubtful, ..UnitRow::new(name, unit.kind, unit.content.clone(), extents, classes) }
    };
    let Pair { a, b } = &found.layouts;
    let same = |one: &Unit, other: &Unit| one.name == other.name && one.map == other.map;
    // Who alone has a unit says so with its name; what is left over beside it is nobody's.
    let named = |unit: &Unit, side: Side| {
        let whose = &found.names[side];
        let only = |difference: &LayoutDifference| {
            difference.only(side) && difference.unit == unit.name && difference.identity == unit.identity
        };
        match found.units.differences.iter().any(only) {
            true => format!("{} (exists only on {whose})", unit.name),
            false => format!("{} (as {whose} describes it)", unit.name),
        }
    };
    let mut rows = Vec::new();
    for unit in &a.units {
        let alike = b.units.iter().any(|other| same(unit, other));
        rows.push(row(if alike { unit.name.clone() } else { named(unit, Side::A) }, unit));
    }
    for unit in b.units.iter().filter(|unit| !a.units.iter().any(|other| same(unit, other))) {
        rows.push(row(named(unit, Side::B), unit));
    }
    rows.retain(|row| row.bytes() > 0);
    rows
}

fn next(cli: &Cli, args: &TwoSides, full: bool, sight: &Sight, found: &Found) -> Vec<NextCommand> {
    let type_this = |verb: &str| Suggestion::of_pair(cli, verb, args);
    let mut all = Vec::new();
    if !(sight.comparison.settled() && found.delta.differs.is_empty()) {
        for side in keepable(sight.disks(), &sight.comparison) {
            let name = found.names[side].as_str();
            all.push(NextCommand::new(
                format!("see in detail what keeping {name} would do; changes nothing"),
                type_this("plan").flag("--full", full).keep(name).to_string(),
            ));
        }
        let ranges = type_this("diff").flag("--full", full).flag("--extents", true);
        all.push(NextCommand::new("list every differing range", ranges.to_string()));
    }
    if !found.delta.coverage().whole() {
        let whole = type_this("diff").flag("--full", true).to_string();
        all.push(NextCommand::new("compare everything, also what nobody marked", whole));
    }
    all
}

/// A slip of the tongue (`--html node2.img`) must not cost a node's disk.
fn refuse_a_side(path: &Path, pair: &TwoSides) -> Result<(), Failure> {
    let Ok(metadata) = std::fs::metadata(path) else { return Ok(()) };
    let refused =
        |why: &str| Err(Failure::usage(format!("--html {}: {why}; name another file", path.display())));
    if !metadata.is_file() {
        return refused("exists and is not a regular file");
    }
    // What is on a peer is no file of this machine.
    let here = if pair.access.peer.is_some() { 1 } else { 2 };
    let metas = pair.access.metadata.iter().map(|(_, device)| device).take(here).flatten();
    for side in pair.paths.iter().map(|(_, path)| path).take(here).chain(metas.map(|device| &device.path)) {
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
