//! `unsplit diff`.

use super::Cli;
use super::compared;
use super::exit::{DIVERGED, EVIDENCE, FINE, Failure};
use super::live::{self, TargetArgs};
use super::screen::{Screen, Tone};
use super::still_open::{About, OpenView, StillOpen};
use super::suggest::Suggestion;
use crate::edge::blockdev::Mode;
use crate::edge::terminal::TerminalProgress;
use crate::engine::drbd::beside::exchanged;
use crate::engine::inquiry::Sight;
use crate::model::delta::{Class, Coverage, Delta, Uncertain};
use crate::model::extent::{Extent, ExtentSet};
use crate::model::id::{NodeName, ResourceName};
use crate::model::lineage::{Comparison, Relation};
use crate::model::seen::Stamp;
use crate::model::side::{Pair, Side};
use crate::model::size::{BLOCK, human};
use crate::resolver::access::Target;
use crate::resolver::contents::Found;
use crate::resolver::sides::open;
use clap::Args;
use serde::Serialize;

/// Show what differs, who wrote it, and in which volume.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  unsplit diff r0 --peer ssh:node2             a running resource, all its volumes\n  unsplit diff r0 r1 --peer ssh:node2          several, side by side\n  unsplit diff --all --peer ssh:node2          all that are not healthy\n  unsplit diff node1.img node2.img\n  unsplit diff --full node1.img node2.img      compare everything, believe no bitmap\n  unsplit diff --extents node1.img node2.img   list every differing range"
)]
pub struct DiffArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub target: TargetArgs,

    /// Compare the whole volume instead of what the bitmaps mark
    #[arg(long)]
    pub full: bool,

    /// List every differing range, with who wrote it
    #[arg(long)]
    pub extents: bool,
}

/// What was found, as JSON: of two images, and of a resource that runs.
#[derive(Serialize)]
pub(super) struct Document<'a, V> {
    schema: &'static str,
    version: u32,
    resource: &'a ResourceName,
    names: Pair<&'a NodeName>,
    coverage: Option<Coverage>,
    volumes: Vec<V>,
    #[serde(skip_serializing_if = "Option::is_none")]
    incidents: Option<OpenView>,
}

/// `coverage`: of all volumes together. `incidents`: those about it that are not over, where that was asked.
pub(super) fn document<'a, V: Serialize>(
    resource: &'a ResourceName,
    names: Pair<&'a NodeName>,
    coverage: Option<Coverage>,
    volumes: Vec<V>,
    incidents: Option<OpenView>,
) -> Document<'a, V> {
    Document { schema: "unsplit.diff", version: 2, resource, names, coverage, volumes, incidents }
}

#[derive(Serialize)]
struct VolumeView<'a> {
    number: u32,
    relation: Relation,
    comparison: &'a Comparison,
    delta: &'a Delta,
    classes: Vec<ClassView>,
    units: &'a crate::judge::units::UnitReport,
    #[serde(skip_serializing_if = "Option::is_none")]
    compared_at: Option<Stamp>,
    bitmaps_exchanged: bool,
    coverage: Coverage,
}

/// What was found of one volume, as JSON.
pub(super) fn volume<'f>(number: u32, sight: &'f Sight, found: &'f Found) -> impl Serialize + 'f {
    let (comparison, delta) = (&sight.comparison, &found.delta);
    VolumeView {
        number,
        relation: comparison.relation,
        comparison,
        delta,
        classes: classes(delta),
        units: &found.units,
        compared_at: found.compared_at,
        bitmaps_exchanged: exchanged(&sight.evidence, comparison.relation).is_some(),
        coverage: delta.coverage(),
    }
}

/// Numbers of one class.
#[derive(Debug, Serialize)]
pub struct ClassView {
    /// The class.
    pub class: Class,
    /// Bytes marked so.
    pub marked: u64,
    /// Of these, bytes in blocks whose contents differ.
    pub differs: u64,
    /// Of these, bytes in blocks that are equal after all.
    pub equal: u64,
    /// The differing ranges: start and length in bytes.
    pub extents: ExtentSet,
}

/// The numbers of every class; the unmarked one counts only what was compared.
#[must_use]
pub fn classes(delta: &Delta) -> Vec<ClassView> {
    let both = delta.marked_as(Class::Both).bytes();
    Class::ALL
        .into_iter()
        .map(|class| {
            let extents = delta.differs_as(class);
            let differs = extents.bytes();
            let marked = match class {
                Class::OnlyA => delta.marked.a.bytes() - both,
                Class::OnlyB => delta.marked.b.bytes() - both,
                Class::Both => both,
                Class::Unmarked => differs,
            };
            ClassView { class, marked, differs, equal: marked - differs, extents }
        })
        .collect()
}

/// A class in words.
#[must_use]
pub fn class_words(class: Class, names: Pair<&str>, why: Uncertain) -> String {
    let wrote = compared::wrote(why);
    match class {
        Class::OnlyA => format!("{wrote} only on {}", names.a),
        Class::OnlyB => format!("{wrote} only on {}", names.b),
        Class::Both => format!("{wrote} on both"),
        Class::Unmarked => "marked by neither".to_owned(),
    }
}

pub(super) fn run(cli: &Cli, args: &DiffArgs, screen: &mut Screen) -> Result<u8, Failure> {
    let pair = match args.target.target()? {
        Target::Pair(pair) => pair,
        Target::Resource(resource) => return live::diff::run(cli, args, screen, &resource),
        Target::Several(wanted) => return live::several::diff::run(cli, args, screen, &wanted),
    };
    let opened = open(&pair, Mode::ReadOnly)?;
    let settings = pair.access.settings()?;
    let sight = opened.look(&settings)?;
    let found = opened.diff(&sight, args.full, &pair.access, &cli.state_dir, &TerminalProgress::new())?;
    let open = StillOpen::about(cli, About::Devices(sight.evidence.as_ref().map(|seen| &seen.source)));
    if cli.json {
        let names = sight.evidence.as_ref().map(|seen| &seen.name);
        let (seen, volumes) = (Some(found.delta.coverage()), vec![volume(0, &sight, &found)]);
        screen.json(&document(&pair.access.resource, names, seen, volumes, Some(open.view())))?;
        return Ok(status(&sight, &found));
    }
    open.show(screen)?;
    show(args, screen, &sight, &found)?;
    let whole = Suggestion::of_pair(cli, "diff", &pair).flag("--full", true).flag("--extents", args.extents);
    offer_full(cli, screen, found.delta.coverage(), &whole)?;
    Ok(status(&sight, &found))
}

/// What compares the rest, where not everything was compared.
pub(super) fn offer_full(
    cli: &Cli,
    screen: &mut Screen,
    seen: Coverage,
    whole: &Suggestion,
) -> std::io::Result<()> {
    if cli.json || seen.whole() {
        return Ok(());
    }
    screen.heading("To compare everything")?;
    screen.line(format!("  {whole}"))
}

/// The exit code for one pair.
pub(super) fn status(sight: &Sight, found: &Found) -> u8 {
    let delta = &found.delta;
    if !delta.unreadable.is_empty() {
        EVIDENCE
    } else if delta.differs.is_empty() && sight.comparison.relation == Relation::InSync {
        FINE
    } else {
        DIVERGED
    }
}

/// What was found of one pair, on the screen.
pub(super) fn show(
    args: &DiffArgs,
    screen: &mut Screen,
    sight: &Sight,
    found: &Found,
) -> Result<(), Failure> {
    let names = sight.evidence.as_ref().map(|seen| seen.name.as_str());
    let (comparison, delta) = (&sight.comparison, &found.delta);
    let headline = if delta.differs.is_empty() {
        let seen = delta.coverage();
        let good = !seen.nothing() && delta.unreadable.is_empty();
        screen.paint(if good { Tone::Good } else { Tone::Strong }, &compared::nothing_differs(seen))
    } else {
        let text = format!("{} differ, in {} ranges.", human(delta.differs.bytes()), delta.differs.runs());
        screen.paint(Tone::Bad, &text)
    };
    screen.line(headline)?;
    compared::show(screen, "", delta.coverage())?;
    for remark in &found.remarks {
        screen.line(remark)?;
    }
    if delta.differs.is_empty() && comparison.relation != Relation::InSync {
        screen.line(
            "The generations differ all the same: DRBD will not connect these two until that is healed.",
        )?;
    }
    if comparison.relation == Relation::InSync && !delta.differs.is_empty() {
        let text = "The generations are the same all the same: DRBD counts the two sides as equal.";
        screen.line(text)?;
    }
    screen.line("")?;
    class_table(screen, names, delta)?;
    for side in Side::BOTH {
        if let Some(sentence) = doubtful(delta, side, names) {
            screen.line(format!("  {sentence}."))?;
        }
    }
    unexplained(screen, delta)?;
    unit_table(screen, names, found)?;
    if args.extents {
        extents(screen, names, delta)?;
    }
    for bad in &delta.unreadable {
        screen.line(format!(
            "UNREADABLE on {}: {} at byte {}: {}",
            names_of(names, bad.side),
            human(bad.extent.len),
            bad.extent.start,
            bad.why
        ))?;
    }
    Ok(())
}

/// How much of what only the other side marked this one may have written, too, and why: a sentence without its stop.
#[must_use]
pub fn doubtful(delta: &Delta, side: Side, names: Pair<&str>) -> Option<String> {
    let bytes = delta.doubtful(side).bytes();
    let why = compared::why_doubtful(delta.uncertain());
    let (marker, may) = (names[side.other()], names[side]);
    (bytes > 0).then(|| {
        format!(
            "Of what only {marker} marked, {} may have been written on {may} as well: {why}",
            human(bytes)
        )
    })
}

fn names_of(names: Pair<&str>, side: Side) -> &str {
    names[side]
}

/// The table of classes.
///
/// # Errors
/// When standard output is closed.
pub fn class_table(screen: &mut Screen, names: Pair<&str>, delta: &Delta) -> std::io::Result<()> {
    let blocks = |bytes: u64| format!("{} ({})", bytes.div_ceil(BLOCK), human(bytes));
    let mut rows: Vec<Vec<String>> = Vec::new();
    for view in classes(delta) {
        if view.class == Class::Unmarked && view.differs == 0 {
            continue;
        }
        rows.push(vec![
            class_words(view.class, names, delta.uncertain()),
            blocks(view.marked),
            blocks(view.differs),
            blocks(view.equal),
        ]);
    }
    screen.table(&["4 KiB blocks", "marked", "differ", "equal after all"], &rows, 1)
}

/// Differences that no bitmap marked although the bitmaps have a common base: evidence that something is wrong.
fn unexplained(screen: &mut Screen, delta: &Delta) -> std::io::Result<()> {
    let unmarked = delta.differs_as(Class::Unmarked);
    if unmarked.is_empty() || !delta.marks_complete {
        return Ok(());
    }
    let text = format!(
        "WARNING: {} differ although neither side's bitmap marks them. The bitmaps cannot be believed here \
         (hardware fault, a write past DRBD, or a DRBD defect): use --full for the plan, too.",
        human(unmarked.bytes())
    );
    let text = screen.paint(Tone::Bad, &text);
    screen.line("")?;
    screen.line(text)
}

/// The table of units.
///
/// # Errors
/// When standard output is closed.
pub fn unit_table(screen: &mut Screen, names: Pair<&str>, found: &Found) -> std::io::Result<()> {
    let shown = |bytes: u64| if bytes == 0 { "-".to_owned() } else { human(bytes) };
    let rows: Vec<Vec<String>> = found
        .units
        .units
        .iter()
        .filter(|unit| unit.counts.differs() > 0)
        .map(|unit| {
            let content = unit.content.a.as_ref().or(unit.content.b.as_ref());
            let mut label = unit.name.clone();
            if let Some(content) = content {
                label.push_str(&format!(" ({content})"));
            }
            if let Some(side) = found.units.only_on(unit) {
                label.push_str(&format!(", exists only on {}", names[side]));
            } else if let Some(side) = unit.side {
                label.push_str(&format!(", as {} describes it", names[side]));
            }
            let mut row = vec![label];
            row.extend(Class::ALL.map(|class| shown(unit.counts.of(class).differs)));
            row
        })
        .collect();
    if !rows.is_empty() {
        screen.heading("By volume")?;
        let (only_a, only_b) = (format!("only {}", names.a), format!("only {}", names.b));
        screen.table(&["", &only_a, &only_b, "both (conflict)", "unmarked"], &rows, 1)?;
    }
    for difference in &found.units.differences {
        screen.line(format!("  note: {}", difference.sentence(&found.names)))?;
    }
    for (side, notes) in found.units.notes.iter() {
        for remark in notes {
            screen.line(format!("  note ({}): {remark}", names[side]))?;
        }
    }
    Ok(())
}

fn extents(screen: &mut Screen, names: Pair<&str>, delta: &Delta) -> std::io::Result<()> {
    let mut all: Vec<(Extent, Class)> = Class::ALL
        .into_iter()
        .flat_map(|class| {
            delta.differs_as(class).iter().map(move |extent| (extent, class)).collect::<Vec<_>>()
        })
        .collect();
    all.sort_unstable();
    screen.heading("Differing ranges (bytes)")?;
    let rows: Vec<Vec<String>> = all
        .into_iter()
        .map(|(extent, class)| {
            vec![
                extent.start.to_string(),
                extent.len.to_string(),
                class_words(class, names, delta.uncertain()),
            ]
        })
        .collect();
    screen.table(&["start", "length", ""], &rows, 9)
}
