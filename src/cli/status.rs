//! `unsplit status`.

use super::Cli;
use super::exit::{DIVERGED, FINE, Failure, PARKED};
use super::incident::{self, open_journal_read_only};
use super::pair::{PairArgs, PairOptions, open};
use super::plan::state_dir_words;
use super::screen::{Screen, Tone};
use crate::edge::blockdev::Mode;
use crate::engine::inquiry::Sight;
use crate::model::drbd::device_flag;
use crate::model::evidence::LogState;
use crate::model::lineage::{Reconnect, Relation};
use crate::model::side::{Pair, Side};
use crate::model::size::human;
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;

/// Show how two sides relate, or which incidents are open.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  unsplit status node1.img node2.img\n  unsplit status /dev/vg1/r0-snap /mnt/copy/r0.img --name-a alpha --name-b beta\n  unsplit status                 (open incidents)"
)]
pub struct StatusArgs {
    /// Backing device, snapshot or image of the first node
    #[arg(value_name = "A", requires = "b")]
    pub a: Option<PathBuf>,

    /// The same of the second node
    #[arg(value_name = "B")]
    pub b: Option<PathBuf>,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub options: PairOptions,
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    version: u32,
    relation: Relation,
    comparison: &'a crate::model::lineage::Comparison,
    sides: Pair<SideView<'a>>,
}

#[derive(Serialize)]
struct SideView<'a> {
    evidence: &'a crate::model::evidence::Evidence,
    lineage: &'a crate::model::lineage::Lineage,
}

pub(super) fn run(cli: &Cli, args: &StatusArgs, screen: &mut Screen) -> Result<u8, Failure> {
    let (Some(a), Some(b)) = (&args.a, &args.b) else { return incidents(cli, screen) };
    let pair = PairArgs { a: a.clone(), b: b.clone(), options: args.options.clone() };
    let settings = args.options.settings()?;
    let opened = open(&pair, Mode::ReadOnly)?;
    let sight = opened.look(&settings)?;
    let relation = sight.comparison.relation;
    if cli.json {
        let sides = Pair::from_fn(|side| SideView {
            evidence: &sight.evidence[side],
            lineage: &sight.lineages[side],
        });
        let document =
            Document { schema: "unsplit.status", version: 1, relation, comparison: &sight.comparison, sides };
        screen.json(&document)?;
    } else {
        show(screen, &pair, &sight)?;
    }
    Ok(if relation == Relation::InSync { FINE } else { DIVERGED })
}

fn incidents(cli: &Cli, screen: &mut Screen) -> Result<u8, Failure> {
    let Some(opened) = open_journal_read_only(&cli.state_dir)? else {
        if cli.json {
            screen.json(&serde_json::json!({"schema": "unsplit.incidents", "version": 1, "open": []}))?;
        } else {
            screen.line(format!("No incidents: there is no journal in {} yet.", cli.state_dir.display()))?;
        }
        return Ok(FINE);
    };
    let open: Vec<_> =
        opened.incidents.as_slice().iter().filter(|incident| incident::is_open(incident)).collect();
    let words = state_dir_words(cli);
    if cli.json {
        let rows: Vec<_> = open.iter().map(|incident| incident::view(incident, &words)).collect();
        screen.json(&serde_json::json!({"schema": "unsplit.incidents", "version": 1, "open": rows}))?;
    } else if open.is_empty() {
        screen.line("No open incidents. `unsplit history` shows what was done.")?;
    } else {
        for incident in &open {
            incident::show(screen, incident, &words)?;
        }
    }
    Ok(if open.is_empty() { FINE } else { PARKED })
}

/// The headline of a relation, in words for somebody who was just woken up.
#[must_use]
pub fn headline(relation: Relation, names: Pair<&str>) -> String {
    let Pair { a, b } = names;
    match relation {
        Relation::InSync => format!("IN SYNC: {a} and {b} hold the same generation."),
        Relation::Ahead => {
            format!("BEHIND: {b} holds an older generation; {a} went on from it. Not a split brain.")
        }
        Relation::Behind => {
            format!("BEHIND: {a} holds an older generation; {b} went on from it. Not a split brain.")
        }
        Relation::Diverged => {
            format!("SPLIT BRAIN: {a} and {b} both went on by themselves from a common ancestor.")
        }
        Relation::Unrelated => format!("UNRELATED: {a} and {b} have no generation in common."),
    }
}

/// What DRBD would do, in one sentence.
#[must_use]
pub fn reconnect_words(reconnect: &Reconnect, names: Pair<&str>) -> String {
    match reconnect {
        Reconnect::Connect { leftover_bits: 0 } => "connect, with nothing to sync".to_owned(),
        Reconnect::Connect { leftover_bits } => format!(
            "connect WITHOUT a resync although {leftover_bits} blocks are marked as different: the sides would stay different silently"
        ),
        Reconnect::Resync { source, full, because } => {
            let (keep, lose) = match source {
                Side::A => (names.a, names.b),
                Side::B => (names.b, names.a),
            };
            let what = if *full { "everything on" } else { "the marked blocks of" };
            format!("overwrite {what} {lose} with {keep}'s data ({because})")
        }
        Reconnect::Disconnect { because } => format!("drop the connection and change nothing ({because})"),
        Reconnect::Unpredictable { because } => format!("not predictable: {because}"),
    }
}

/// Both sides in a table, the relation, and what follows.
fn show(screen: &mut Screen, pair: &PairArgs, sight: &Sight) -> Result<(), Failure> {
    let names = sight.evidence.as_ref().map(|seen| seen.name.as_str());
    let relation = sight.comparison.relation;
    let tone = if relation == Relation::InSync { Tone::Good } else { Tone::Bad };
    let headline = screen.paint(tone, &headline(relation, names));
    screen.line(headline)?;
    let rule = sight.comparison.rule.map(|rule| format!("rule {rule}, ")).unwrap_or_default();
    screen.line(format!(
        "DRBD's own comparison: {} ({rule}{}), {} metadata.",
        sight.comparison.result, sight.comparison.name, sight.comparison.format
    ))?;
    screen.line("")?;
    screen.table(&["", names.a, names.b], &facts(sight), 9)?;
    screen.heading("On reconnect DRBD would")?;
    screen.line(format!("  {}.", reconnect_words(&sight.comparison.reconnect, names)))?;
    for quirk in &sight.comparison.quirks {
        screen.line(format!("  note: {quirk}"))?;
    }
    screen.heading("What can differ")?;
    screen.line(format!("  {}", can_differ(sight)))?;
    screen.heading("Next")?;
    let sides = pair.words();
    screen.line(format!("  unsplit diff {sides}"))?;
    screen.line("      what differs, who wrote it, in which volume; reads only")?;
    if relation == Relation::Diverged {
        screen.line(format!("  unsplit plan {sides} --keep {}", names.a))?;
        screen.line(format!(
            "      what would happen, be lost and be kept if {} were kept; changes nothing",
            names.a
        ))?;
    }
    Ok(())
}

fn facts(sight: &Sight) -> Vec<Vec<String>> {
    let row = |word: &str, f: &dyn Fn(Side) -> String| vec![word.to_owned(), f(Side::A), f(Side::B)];
    let seen = |side: Side| &sight.evidence[side];
    let mut rows = vec![
        row("read from", &|side| seen(side).source.place_words()),
        row("metadata", &|side| format!("{} {}", seen(side).superblock.format, seen(side).source.place)),
        row("size of the data", &|side| human(seen(side).superblock.effective_size * 512)),
        row("generation", &|side| seen(side).superblock.current.to_string()),
        row("changes since", &|side| sight.lineages[side].bitmap.to_string()),
        row("disk", &|side| format!("{:?}", sight.lineages[side].disk)),
        row("role", &|side| {
            let crashed = if sight.lineages[side].crashed_primary { ", crashed" } else { "" };
            format!("{:?}{crashed}", seen(side).role)
        }),
        row("marked as changed", &|side| {
            let marks = &seen(side).marks;
            if marks.slot.is_none() {
                return "no bitmap for this peer".to_owned();
            }
            format!("{} ({} blocks)", human(marks.bitmap.bytes()), marks.bits)
        }),
        row("activity log", &|side| {
            let marks = &seen(side).marks;
            match marks.log {
                LogState::Clean => "needs no replay".to_owned(),
                LogState::Hot => format!("hot: {} may have been written, too", human(marks.hot.bytes())),
                LogState::Disabled => "switched off: everything may have been written".to_owned(),
            }
        }),
    ];
    if sight.evidence.iter().any(|(_, seen)| seen.superblock.has(device_flag::PRIMARY_LOST_QUORUM)) {
        rows.push(row("lost quorum as Primary", &|side| {
            if seen(side).superblock.has(device_flag::PRIMARY_LOST_QUORUM) { "yes" } else { "no" }.to_owned()
        }));
    }
    rows
}

fn can_differ(sight: &Sight) -> String {
    let size = sight.evidence.a.superblock.effective_size * 512;
    if !sight.comparison.common_base {
        return format!(
            "anything: the two bitmaps do not start from the same generation, so all {} must be compared",
            human(size)
        );
    }
    let candidates = sight.evidence.as_ref().map(|seen| seen.marks.candidates(size));
    let union = candidates.a.union(&candidates.b);
    format!(
        "only the {} that either side marked, of {}: the bitmaps start from the same generation",
        human(union.bytes()),
        human(size)
    )
}
