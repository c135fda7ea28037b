//! `unsplit status`.

use super::Cli;
use super::compared::NO_PROOF;
use super::exit::{DIVERGED, FINE, Failure, Kind, PARKED};
use super::incident;
use super::live::status as live;
use super::pair::PairOptions;
use super::plan::state_dir_words;
use super::screen::{Screen, Tone};
use super::still_open::{About, OpenView, StillOpen};
use super::suggest::Suggestion;
use crate::edge::blockdev::Mode;
use crate::edge::state_dir::StateDir;
use crate::engine::inquiry::Sight;
use crate::judge::incident::Incident;
use crate::judge::worse::keepable;
use crate::model::delta::{Coverage, Scope};
use crate::model::drbd::device_flag;
use crate::model::evidence::LogState;
use crate::model::id::ResourceName;
use crate::model::lineage::{Comparison, Reconnect, Relation};
use crate::model::side::{Pair, Side};
use crate::model::size::human;
use crate::model::standing::{Class, Weight};
use crate::resolver::access::TwoSides;
use crate::resolver::desk;
use crate::resolver::desk::{open_journal_read_only, open_store_read_only};
use crate::resolver::sides::open;
use clap::Args;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Show how a running resource or two images stand, and which incidents are open.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  unsplit status                        (this node's resources, and open incidents)\n  unsplit status r0 --peer ssh:node2    (a running resource, from both nodes: split brain or not, and why)\n  unsplit status --all --peer ssh:node2\n  unsplit status node1.img node2.img    (two images, nothing running)\n  unsplit status /dev/vg1/r0-snap /mnt/copy/r0.img --name-a alpha --name-b beta"
)]
pub struct StatusArgs {
    /// A running resource; or backing device, snapshot or image of the first node
    #[arg(value_name = "RES|A")]
    pub a: Option<PathBuf>,

    /// Backing device, snapshot or image of the second node
    #[arg(value_name = "B")]
    pub b: Option<PathBuf>,

    /// Every resource that this node, or the peer, runs or has configured
    #[arg(long, conflicts_with = "a")]
    pub all: bool,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub options: PairOptions,
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    version: u32,
    relation: Relation,
    headline: String,
    settled: bool,
    marked_blocks: u64,
    coverage: Coverage,
    comparison: &'a crate::model::lineage::Comparison,
    sides: Pair<SideView<'a>>,
    incidents: OpenView,
}

#[derive(Serialize)]
struct SideView<'a> {
    evidence: &'a crate::model::evidence::Evidence,
    lineage: &'a crate::model::lineage::Lineage,
}

pub(super) fn run(cli: &Cli, args: &StatusArgs, screen: &mut Screen) -> Result<u8, Failure> {
    let options = &args.options;
    let (a, b) = match (&args.a, &args.b) {
        (Some(a), Some(b)) => (a, b),
        (Some(word), None) => {
            let name = resource_word(word)?;
            let shown = live::one(cli, &name, options.peer.as_ref(), options.peer_timeout, screen);
            return match shown {
                // No such resource, but a file of that name: that was meant.
                Err(failure) if failure.kind == Kind::Evidence && word.is_file() => Err(one_path(word)),
                other => other,
            };
        }
        _ if args.all || options.peer.is_some() => {
            return live::all(cli, options.peer.as_ref(), options.peer_timeout, screen);
        }
        _ => return overview(cli, screen),
    };
    let pair = TwoSides { paths: Pair::new(a.clone(), b.clone()), access: args.options.access() };
    let settings = pair.access.settings()?;
    let opened = open(&pair, Mode::ReadOnly)?;
    let sight = opened.look(&settings)?;
    let open = StillOpen::about(cli, About::Devices(sight.evidence.as_ref().map(|seen| &seen.source)));
    if cli.json {
        let sides = Pair::from_fn(|side| SideView {
            evidence: &sight.evidence[side],
            lineage: &sight.lineages[side],
        });
        screen.json(&Document {
            schema: "unsplit.status",
            version: 1,
            relation: sight.comparison.relation,
            headline: headline(&sight.comparison, marked(&sight), names(&sight)),
            settled: sight.comparison.settled(),
            marked_blocks: marked(&sight),
            coverage: Coverage { scope: Scope::Candidates, compared: 0, size: size(&sight) },
            comparison: &sight.comparison,
            sides,
            incidents: open.view(),
        })?;
    } else {
        open.show(screen)?;
        show(cli, screen, &pair, &sight, !open.is_empty())?;
    }
    Ok(open.or(if sight.comparison.settled() { FINE } else { DIVERGED }))
}

/// A single word is a resource, unless it can only be a path.
fn resource_word(word: &Path) -> Result<String, Failure> {
    let text = word.to_str().unwrap_or_default();
    if text.contains('/') || ResourceName::new(text).is_err() {
        return Err(one_path(word));
    }
    Ok(text.to_owned())
}

fn one_path(word: &Path) -> Failure {
    Failure::usage(format!(
        "{} is a path, and one side alone says nothing: give the other node's image or device, too",
        word.display()
    ))
    .hint("unsplit status A B; or a resource's name: unsplit status r0")
}

/// Open incidents, and the resources that run here.
fn overview(cli: &Cli, screen: &mut Screen) -> Result<u8, Failure> {
    let running = live::here()?;
    let opened = open_journal_read_only(&cli.state_dir)?;
    let all = opened.as_ref().map_or(&[][..], |opened| opened.incidents.as_slice());
    let open: Vec<_> = all.iter().filter(|incident| desk::is_open(incident)).collect();
    let words = state_dir_words(cli);
    let code = match &running {
        _ if !open.is_empty() => PARKED,
        Some((_, standings)) => live::exit_code(standings),
        None => FINE,
    };
    let store = open_store_read_only(&cli.state_dir)?;
    let at_work = store.as_deref().and_then(StateDir::at_work);
    let waiver = |incident: &Incident| store.as_deref().map_or("", |store| desk::waiver_of(incident, store));
    if cli.json {
        let rows: Vec<_> =
            open.iter().map(|incident| incident::view(incident, waiver(incident), &words, at_work)).collect();
        let live = running.as_ref().map(|(host, standings)| live::Document::new(host, None, standings));
        screen.json(
            &serde_json::json!({"schema": "unsplit.incidents", "version": 1, "open": rows, "live": live}),
        )?;
        return Ok(code);
    }
    if let (Some(who), false) = (at_work, open.is_empty()) {
        screen.line(who.to_string())?;
    }
    for incident in &open {
        let undo = store.as_deref().is_some_and(|store| desk::can_be_undone_now(incident, store));
        incident::show(screen, incident, undo, waiver(incident), &words, at_work)?;
    }
    if opened.is_none() {
        screen.line(format!("No incidents: there is no journal in {} yet.", cli.state_dir.display()))?;
    } else if open.is_empty() {
        screen.line(format!("No open incidents. `unsplit history{words}` shows what was done."))?;
    }
    if let Some((host, standings)) = &running {
        screen.heading(&format!("Resources of {host}"))?;
        if standings.is_empty() {
            screen.line("  none")?;
        }
        live::lines(screen, standings)?;
        if let Some(worst) = standings.first().filter(|standing| standing.worst().weight() != Weight::Good) {
            screen.heading("Next")?;
            screen.line(format!("  unsplit status {} --peer ssh:HOST", worst.resource))?;
            screen.line("      asks the other node, too: why, what would be lost, what to do")?;
        }
    }
    Ok(code)
}

/// The headline of a comparison, in words for somebody who was just woken up. `marked`: bits that are set, of
/// both sides together: a block may be marked on both.
#[must_use]
pub fn headline(found: &Comparison, marked: u64, names: Pair<&str>) -> String {
    let Pair { a, b } = names;
    let bits =
        if marked == 1 { "1 bit marks a block".to_owned() } else { format!("{marked} bits mark blocks") };
    match (found.relation, &found.reconnect) {
        (Relation::InSync, Reconnect::Connect { leftover_bits: 0 }) => format!(
            "IN SYNC: {a} and {b} hold the same generation, and nothing is marked. No contents were compared."
        ),
        (Relation::InSync, Reconnect::Connect { .. }) => format!(
            "{}: {a} and {b} count as equal (the same generation), but {bits} as different.",
            Class::MarkedButEqual.word()
        ),
        (Relation::InSync, Reconnect::Resync { .. }) => {
            format!("UNFINISHED: {a} and {b} hold the same generation, but a resync is due: {bits}.")
        }
        (Relation::InSync, Reconnect::Disconnect { .. } | Reconnect::Unpredictable { .. }) => {
            format!("UNDECIDED: {a} and {b} hold the same generation, but DRBD does not settle it: {bits}.")
        }
        (Relation::Ahead, _) => {
            format!("BEHIND: {b} holds an older generation; {a} went on from it. Not a split brain.")
        }
        (Relation::Behind, _) => {
            format!("BEHIND: {a} holds an older generation; {b} went on from it. Not a split brain.")
        }
        (Relation::Diverged, _) => {
            format!("SPLIT BRAIN: {a} and {b} both went on by themselves from a common ancestor.")
        }
        (Relation::Unrelated, _) => format!("UNRELATED: DRBD takes {a} and {b} for unrelated data."),
    }
}

fn names(sight: &Sight) -> Pair<&str> {
    sight.evidence.as_ref().map(|seen| seen.name.as_str())
}

/// Bits that both sides together would report in a handshake.
fn marked(sight: &Sight) -> u64 {
    sight.lineages.a.dirty_bits.saturating_add(sight.lineages.b.dirty_bits)
}

/// Bytes of replicated data.
fn size(sight: &Sight) -> u64 {
    sight.evidence.a.superblock.effective_size * 512
}

/// What DRBD would do, in one sentence.
#[must_use]
pub fn reconnect_words(reconnect: &Reconnect, names: Pair<&str>) -> String {
    match reconnect {
        Reconnect::Connect { leftover_bits: 0 } => "connect, with nothing to sync".to_owned(),
        Reconnect::Connect { leftover_bits } => format!(
            "connect WITHOUT a resync although {leftover_bits} bits mark blocks as different: the sides would stay different silently"
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
fn show(cli: &Cli, screen: &mut Screen, pair: &TwoSides, sight: &Sight, open: bool) -> Result<(), Failure> {
    let names = names(sight);
    let found = &sight.comparison;
    let tone = if found.settled() { Tone::Good } else { Tone::Bad };
    let headline = screen.paint(tone, &headline(found, marked(sight), names));
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
    let type_this = |verb: &str| Suggestion::of_pair(cli, verb, pair);
    let whole = found.relation == Relation::Unrelated;
    screen.line(format!("  {}", type_this("diff").flag("--full", whole)))?;
    screen.line("      what differs, who wrote it, in which volume; reads only")?;
    if found.relation == Relation::InSync {
        screen.line(format!("  {}", type_this("diff").flag("--full", true)))?;
        screen.line("      compares everything, also what nobody marked")?;
    }
    let undecided =
        found.relation == Relation::Diverged || found.relation == Relation::InSync && !found.settled();
    let keepable = keepable(sight.disks(), found);
    // While an incident about them is open, a plan for them is refused: its own commands stand above.
    if let Some(keep) = keepable.first().map(|side| names[*side]).filter(|_| undecided && !open) {
        screen.line(format!("  {}", type_this("plan").keep(keep)))?;
        screen.line(format!(
            "      what would happen, be lost and be kept if {keep} were kept; changes nothing"
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
    let size = size(sight);
    if !sight.comparison.common_base {
        return format!(
            "anything: the two bitmaps do not start from the same generation, so all {} must be compared",
            human(size)
        );
    }
    let candidates = sight.evidence.as_ref().map(|seen| seen.marks.candidates(size));
    let union = candidates.a.union(&candidates.b).bytes();
    let what = if union == 0 {
        format!("by the marks nothing, of {}", human(size))
    } else {
        format!("by the marks only {}, of {}", human(union), human(size))
    };
    format!("{what}: both bitmaps start from the same generation.\n  {NO_PROOF}")
}
