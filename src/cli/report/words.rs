//! The findings in plain words, the same in every form of the report.

use super::{Discard, PerClass, ReportData, UnitRow};
use crate::cli::compared;
use crate::model::delta::{Class, Scope};
use crate::model::drbd::GenerationUuid;
use crate::model::evidence::LogState;
use crate::model::lineage::Relation;
use crate::model::side::{Pair, Side};
use crate::model::size::human;
use crate::model::standing::Class as Standing;
use crate::model::unit::UnitKind;
use crate::model::verdict::Verdict;

/// How bad it is, for the headline's colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    /// Nothing to do.
    Calm,
    /// Something is to be done, and the direction is clear.
    Wary,
    /// Data will be discarded whatever is done, or something is not known.
    Alarm,
}

/// The headline: one or two short sentences, and how bad it is.
pub(super) fn headline(data: &ReportData) -> (Mood, String) {
    let (mood, text) = finding(data);
    match (data.unreadable.is_empty(), data.differs().total()) {
        (true, _) => (mood, text),
        (false, 0) => (
            Mood::Alarm,
            "Incomplete: parts could not be read. Nothing else that was compared differs.".to_owned(),
        ),
        (false, _) => (Mood::Alarm, format!("{text} Parts could not be read.")),
    }
}

/// The headline if everything could be read.
fn finding(data: &ReportData) -> (Mood, String) {
    let (a, b) = (&data.names.a, &data.names.b);
    let differs = data.differs().total();
    let relation = data.comparison.as_ref().map(|comparison| comparison.relation);
    match (relation, differs) {
        (Some(Relation::InSync), 0) if data.marked_blocks() > 0 => (
            Mood::Wary,
            format!(
                "{a} and {b} hold the same generation, but {} bits mark blocks as different. {}",
                data.marked_blocks(),
                compared::nothing_differs(data.coverage())
            ),
        ),
        (Some(Relation::InSync), 0) if data.coverage().nothing() => (
            Mood::Wary,
            "In sync by DRBD's records alone: nothing is marked, so nothing was compared.".to_owned(),
        ),
        (Some(Relation::InSync), 0) if data.scope == Scope::Everything => {
            (Mood::Calm, format!("In sync: {a} and {b} hold the same data."))
        }
        (Some(Relation::InSync), 0) => {
            (Mood::Calm, "In sync by DRBD's records, and nothing that was compared differs.".to_owned())
        }
        (Some(Relation::InSync), _) => {
            let word = Standing::MarkedButEqual.word();
            (Mood::Alarm, format!("{word}: {a} and {b} claim to be in sync, but their data differ."))
        }
        (Some(Relation::Diverged), 0) => {
            (Mood::Wary, "Split brain by the records, but nothing that was compared differs.".to_owned())
        }
        (Some(Relation::Diverged), _) => {
            (Mood::Alarm, format!("Split brain: {a} and {b} were both written to while apart."))
        }
        (Some(Relation::Ahead), _) => {
            (Mood::Wary, format!("No split brain: {a} is ahead, {b} is out of date."))
        }
        (Some(Relation::Behind), _) => {
            (Mood::Wary, format!("No split brain: {b} is ahead, {a} is out of date."))
        }
        (Some(Relation::Unrelated), _) => {
            (Mood::Alarm, format!("{a} and {b} have no common history: DRBD cannot tell which is right."))
        }
        (None, 0) => (Mood::Calm, "Nothing that was compared differs.".to_owned()),
        (None, _) => (Mood::Alarm, format!("{a} and {b} hold different data.")),
    }
}

/// What differs, in one or two sentences.
pub(super) fn summary(data: &ReportData) -> String {
    let (differs, changed) = (data.differs(), data.changed());
    let (a, b) = (&data.names.a, &data.names.b);
    if differs.total() == 0 {
        return scope(data);
    }
    let mut parts = Vec::new();
    if differs.only_a > 0 {
        parts.push(format!("{} {changed} on {a} only", human(differs.only_a)));
    }
    if differs.only_b > 0 {
        parts.push(format!("{} {changed} on {b} only", human(differs.only_b)));
    }
    if differs.both > 0 {
        parts.push(format!("{} {changed} on both", human(differs.both)));
    }
    if differs.unmarked > 0 {
        parts.push(format!("{} that neither side recorded", human(differs.unmarked)));
    }
    let list = match parts.as_slice() {
        [head @ .., last] if !head.is_empty() => format!("{} and {last}", head.join(", ")),
        all => all.join(""),
    };
    let total = human(differs.total());
    let units = data.units.iter().filter(|unit| unit.differs().total() > 0).count();
    let conflicts = data.units.iter().filter(|unit| unit.conflict).count();
    let places = match (units, conflicts) {
        (0, _) => String::new(),
        (1, 0) => " All of it is in one unit.".to_owned(),
        (n, 0) => format!(" {n} units differ; none was {changed} on both sides."),
        (n, c) => {
            format!(" {}, {} on both sides.", count(n, "unit differs", "units differ"), count_was(c, changed))
        }
    };
    format!("{total} of {} differ: {list}.{places}", human(data.size))
}

fn count(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

fn count_was(n: usize, changed: &str) -> String {
    format!("{n} {} {changed}", if n == 1 { "was" } else { "were" })
}

/// What was compared, as a sentence.
pub(super) fn scope(data: &ReportData) -> String {
    let said = compared::scope_and_proof(data.coverage());
    if data.coverage().whole() || data.marks_complete {
        return said;
    }
    format!("{said} There is no common base, either: more may differ.")
}

/// A class, with the sides' names.
pub(super) fn class(class: Class, names: &Pair<String>) -> String {
    match class {
        Class::OnlyA => format!("{} only", names.a),
        Class::OnlyB => format!("{} only", names.b),
        Class::Both => "both (conflict)".to_owned(),
        Class::Unmarked => "recorded by neither".to_owned(),
    }
}

/// Who changed a unit, as a short word for maps.
pub(super) fn changed_by(unit: &UnitRow, names: &Pair<String>) -> Option<String> {
    match changed(&unit.differs()) {
        Changed::Nobody => None,
        Changed::Only(side) => Some(format!("{} only", names[side])),
        Changed::Both => Some("CONFLICT".to_owned()),
        Changed::Unexplained => Some("unexplained".to_owned()),
    }
}

/// Who changed something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Changed {
    /// Nothing differs.
    Nobody,
    /// One side alone.
    Only(Side),
    /// Both sides, in the same blocks or not.
    Both,
    /// Something differs that nobody recorded.
    Unexplained,
}

/// Who made these differences.
pub(super) fn changed(differs: &PerClass) -> Changed {
    match (differs.only_a > 0, differs.only_b > 0, differs.both > 0, differs.unmarked > 0) {
        (false, false, false, false) => Changed::Nobody,
        (true, true, ..) | (_, _, true, _) => Changed::Both,
        (.., true) => Changed::Unexplained,
        (true, ..) => Changed::Only(Side::A),
        (false, ..) => Changed::Only(Side::B),
    }
}

/// Whether any of a unit was compared: where not everything was, only what was marked.
fn looked_at(unit: &UnitRow, scope: Scope) -> bool {
    let PerClass { only_a, only_b, both, .. } = unit.marked;
    scope == Scope::Everything || only_a.max(only_b).max(both) > 0
}

/// What a place means where nothing is drawn.
pub(super) fn empty(scope: Scope) -> &'static str {
    match scope {
        Scope::Everything => "no difference found",
        Scope::Candidates => "no difference found, or not compared",
    }
}

/// What a unit's row means for the choice.
pub(super) fn meaning(unit: &UnitRow, names: &Pair<String>, scope: Scope) -> String {
    match changed(&unit.differs()) {
        Changed::Nobody if !looked_at(unit, scope) => "not compared".to_owned(),
        Changed::Nobody => "no difference found".to_owned(),
        Changed::Only(side) if unit.doubtful > 0 => {
            format!("marked on {} only, but {} may have written it, too", names[side], names[side.other()])
        }
        Changed::Only(side) => format!("keep {}'s: nothing is lost", names[side]),
        Changed::Both => "CONFLICT: changed on both sides".to_owned(),
        Changed::Unexplained => "differs unrecorded: look closer".to_owned(),
    }
}

/// [`meaning`] for a narrow column.
pub(super) fn brief_meaning(unit: &UnitRow, names: &Pair<String>, scope: Scope) -> String {
    match changed(&unit.differs()) {
        Changed::Nobody if !looked_at(unit, scope) => "not compared".to_owned(),
        Changed::Nobody => "no difference".to_owned(),
        Changed::Only(_) if unit.doubtful > 0 => "look closer".to_owned(),
        Changed::Only(side) => format!("keep {}'s", names[side]),
        Changed::Both => "CONFLICT".to_owned(),
        Changed::Unexplained => "look closer".to_owned(),
    }
}

/// A unit's kind.
pub(super) fn kind(kind: UnitKind) -> &'static str {
    match kind {
        UnitKind::Partition => "partition",
        UnitKind::LogicalVolume => "logical volume",
        UnitKind::Structure => "structure",
        UnitKind::Opaque => "unmapped",
        UnitKind::Unclaimed => "in no volume",
    }
}

/// State of the activity log.
pub(super) fn log(log: LogState) -> &'static str {
    match log {
        LogState::Clean => "clean",
        LogState::Hot => "hot: its last extents count as written",
        LogState::Disabled => "proves nothing: all counts as written",
    }
}

/// The relation.
pub(super) fn relation(relation: Relation, names: &Pair<String>) -> String {
    let (a, b) = (&names.a, &names.b);
    match relation {
        Relation::InSync => "in sync: the same generation".to_owned(),
        Relation::Ahead => format!("{a} is ahead of {b}"),
        Relation::Behind => format!("{a} is behind {b}"),
        Relation::Diverged => "diverged: both went on from a common ancestor".to_owned(),
        Relation::Unrelated => "unrelated: nothing in common".to_owned(),
    }
}

/// The verdict: a word, and a sentence.
pub(super) fn verdict(verdict: &Verdict, names: &Pair<String>) -> (&'static str, String) {
    match verdict {
        Verdict::Agree { trace } => {
            let why = trace.reasons().last().map_or("", |reason| reason.conclusion.as_str());
            ("AGREE", format!("Nothing is to be done: {why}."))
        }
        Verdict::Heal { survivor, auto, .. } => {
            let how = if *auto { "The policy lets this run by itself." } else { "It waits for consent." };
            let (keep, lose) = (&names[*survivor], &names[survivor.other()]);
            ("HEAL", format!("Keep {keep}, overwrite {lose}. {how}"))
        }
        Verdict::Hold { .. } => ("HOLD", "The policy does not decide this: a person must choose.".to_owned()),
        Verdict::Refuse { .. } => {
            ("REFUSE", "No choice of survivor would be right on this evidence.".to_owned())
        }
    }
}

/// The survivor a verdict names.
pub(super) fn survivor(verdict: Option<&Verdict>) -> Option<Side> {
    match verdict {
        Some(Verdict::Heal { survivor, .. }) => Some(*survivor),
        _ => None,
    }
}

/// What one unit loses, taken together.
pub(super) fn lost(loss: &crate::model::plan::UnitLoss) -> u64 {
    loss.victim_only.saturating_add(loss.both).saturating_add(loss.unmarked)
}

/// What else a choice may cost.
pub(super) fn may_be_lost(discard: &Discard, keep: &str, lose: &str) -> String {
    format!("{} that only {keep} marked and {lose} may have written, too", human(discard.doubtful))
}

/// The units that lose most, and how many more there are.
pub(super) fn worst_losses(discard: &Discard, top: usize) -> (Vec<&crate::model::plan::UnitLoss>, usize) {
    let mut all: Vec<_> = discard.units.iter().collect();
    all.sort_by_key(|loss| std::cmp::Reverse(lost(loss)));
    let more = all.len().saturating_sub(top);
    all.truncate(top);
    (all, more)
}

/// The units by differing bytes, most first (the volume's order among equals), as indices.
pub(super) fn ranked(units: &[UnitRow]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..units.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(units[*index].differs().total()));
    order
}

/// A generation, and whether the other side knows it too.
pub(super) fn generation(data: &ReportData, side: Side, uuid: GenerationUuid) -> (String, bool) {
    let other = &data.sides[side.other()];
    let known = std::iter::once(other.current)
        .chain(std::iter::once(other.bitmap))
        .chain(other.history.iter().copied())
        .any(|theirs| theirs.same(uuid));
    match uuid {
        GenerationUuid::UNSET => ("not set".to_owned(), false),
        GenerationUuid::JUST_CREATED => (format!("{uuid} (just created)"), false),
        _ => (uuid.to_string(), known),
    }
}

/// The facts of one side as label and text, in the order of the table. The texts are raw: clean them before printing.
pub(super) fn facts(data: &ReportData, side: Side) -> Vec<(&'static str, String)> {
    let facts = &data.sides[side];
    let generation_text = |uuid| {
        let (text, shared) = generation(data, side, uuid);
        if shared { format!("{text} (known to both)") } else { text }
    };
    let crashed = if facts.crashed_primary { ", crashed as Primary" } else { "" };
    let metadata = if facts.metadata == facts.data {
        format!("{} {} at byte {}", facts.format, facts.place, facts.superblock_at)
    } else {
        format!(
            "{} {} on {} ({}) at byte {}",
            facts.format,
            facts.place,
            facts.metadata,
            human(facts.metadata_size),
            facts.superblock_at
        )
    };
    let marks = match (facts.has_bitmap, facts.bits_after_replay == facts.bits) {
        (false, _) => "no bitmap for this peer: everything counts as changed".to_owned(),
        (true, true) => format!("{} bits", facts.bits),
        (true, false) => format!("{} bits, {} after log replay", facts.bits, facts.bits_after_replay),
    };
    let mut rows = vec![
        ("Role", format!("{:?}{crashed}", facts.role)),
        ("Disk state", format!("{:?}", facts.disk)),
        ("Source", facts.data.clone()),
        ("Size", format!("{} ({} bytes)", human(facts.data_size), facts.data_size)),
        ("Metadata", metadata),
        ("Current UUID", generation_text(facts.current)),
        ("Bitmap UUID", generation_text(facts.bitmap)),
    ];
    let past: Vec<_> = facts.history.iter().filter(|uuid| **uuid != GenerationUuid::UNSET).collect();
    let shown: Vec<_> = past.iter().take(4).map(|uuid| generation_text(**uuid)).collect();
    let more = past.len().saturating_sub(shown.len());
    rows.push((
        "History",
        match (shown.is_empty(), more) {
            (true, _) => "empty".to_owned(),
            (false, 0) => shown.join(", "),
            (false, more) => format!("{}, and {more} older", shown.join(", ")),
        },
    ));
    rows.push(("Marked changed", marks));
    rows.push(("Activity log", log(facts.log).to_owned()));
    rows.push(("Read at", facts.taken_at.clone()));
    rows
}
