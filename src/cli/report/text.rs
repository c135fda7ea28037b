//! The report as plain text of at most 110 columns (commands excepted, which are never broken), for e-mail and tickets.

use super::map::{Cell, region_cells, touch};
use super::{Discard, ReportData, clean, words};
use crate::cli::plan::fate_words;
use crate::model::delta::Class;
use crate::model::extent::{Extent, ExtentSet};
use crate::model::side::{Pair, Side};
use crate::model::size::human;

/// Columns at most, in characters.
pub const WIDTH: usize = 110;
/// Units listed at most.
const UNITS: usize = 40;
/// Entries of any other list at most.
const ENTRIES: usize = 30;
/// Map cells per line, and lines.
const MAP: (usize, usize) = (80, 8);

/// The report as text. Lines end with `\n`.
#[must_use]
pub fn render_text(data: &ReportData) -> String {
    let mut page = Page::default();
    let names = &data.names.as_ref().map(|name| clean::line(name, 24));
    head(&mut page, data);
    next(&mut page, data);
    choices(&mut page, data, names);
    classes(&mut page, data, names);
    units(&mut page, data, names);
    map(&mut page, data, names);
    facts(&mut page, data, names);
    comparison(&mut page, data, names);
    trace(&mut page, data);
    notes(&mut page, data, names);
    page.out
}

/// Text built line by line.
#[derive(Default)]
struct Page {
    out: String,
}

impl Page {
    /// One line, cut at the width.
    fn line(&mut self, text: &str) {
        let cut: String = text.chars().take(WIDTH).collect();
        self.out.push_str(cut.trim_end());
        self.out.push('\n');
    }

    /// A paragraph: `first` before its first line, blanks before the others. Foreign text in it is cleaned.
    fn wrap(&mut self, first: &str, text: &str) {
        let indent = first.chars().count();
        let room = WIDTH.saturating_sub(indent).max(20);
        let mut lead = first.to_owned();
        let mut line = String::new();
        for word in clean::line(text, 2000).split(' ') {
            let mut word: Vec<char> = word.chars().collect();
            if !line.is_empty() && line.chars().count() + 1 + word.len() > room {
                self.line(&format!("{lead}{line}"));
                lead = " ".repeat(indent);
                line.clear();
            }
            while word.len() > room {
                let rest = word.split_off(room);
                self.line(&format!("{lead}{}", word.iter().collect::<String>()));
                lead = " ".repeat(indent);
                word = rest;
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.extend(word);
        }
        self.line(&format!("{lead}{line}"));
    }

    fn heading(&mut self, text: &str) {
        self.line("");
        self.line(text);
        self.line(&"-".repeat(text.chars().count()));
    }

    /// Says how many entries were left out, if any.
    fn more(&mut self, left: usize, what: &str) {
        if left > 0 {
            self.line(&format!("  ... and {left} more {what}"));
        }
    }
}

fn head(page: &mut Page, data: &ReportData) {
    let title = format!("unsplit report: {}", clean::line(&data.title, 60));
    let made = clean::line(&data.generated_at, 40);
    let gap = WIDTH.saturating_sub(title.chars().count() + made.chars().count()).max(1);
    page.line(&format!("{title}{}{made}", " ".repeat(gap)));
    page.line(&"=".repeat(WIDTH));
    page.wrap("", &words::headline(data).1.to_uppercase_first());
    page.wrap("", &words::summary(data));
    if let Some(verdict) = &data.verdict {
        let (word, sentence) = words::verdict(verdict, &data.names);
        page.wrap(&format!("Verdict: {word}. "), &sentence);
    }
    for one in data.unreadable.iter().take(ENTRIES) {
        let at = format!("bytes {}..{}", one.extent.start, one.extent.end());
        page.wrap("UNREADABLE  ", &format!("{} {at}: {}", data.names[one.side], one.why));
    }
    page.more(data.unreadable.len().saturating_sub(ENTRIES), "unreadable ranges");
}

trait UppercaseFirst {
    fn to_uppercase_first(&self) -> String;
}

impl UppercaseFirst for str {
    /// The words up to the first colon in capitals: the only emphasis plain text has.
    fn to_uppercase_first(&self) -> String {
        match self.split_once(':') {
            Some((word, rest)) if word.len() < 20 => format!("{}:{rest}", word.to_uppercase()),
            _ => self.to_owned(),
        }
    }
}

fn next(page: &mut Page, data: &ReportData) {
    if data.next.is_empty() {
        return;
    }
    page.heading("What to type next");
    for step in data.next.iter().take(ENTRIES) {
        page.wrap("  # ", &step.purpose);
        // Never broken: a command that is pasted must be whole.
        page.out.push_str(&format!("  {}\n", super::whole_command(&step.command)));
    }
    page.more(data.next.len().saturating_sub(ENTRIES), "commands");
}

fn choices(page: &mut Page, data: &ReportData, names: &Pair<String>) {
    if data.differs().total() == 0 {
        return;
    }
    page.heading("What each choice discards");
    for side in Side::BOTH {
        let discard: &Discard = &data.if_keep[side];
        let (keep, lose) = (&names[side], &names[side.other()]);
        let chosen =
            if words::survivor(data.verdict.as_ref()) == Some(side) { "  <= the verdict" } else { "" };
        page.line(&format!("  keep {keep}: {} of {lose}'s data are discarded{chosen}", human(discard.bytes)));
        if discard.doubtful > 0 {
            page.line(&format!("    and {}", words::may_be_lost(discard, keep, lose)));
        }
        let (worst, more) = words::worst_losses(discard, 8);
        for loss in worst {
            let both = if loss.both > 0 {
                format!(" ({} {} on both)", human(loss.both), data.changed())
            } else {
                String::new()
            };
            let fate = loss.fate.as_ref().map(|fate| format!(": {}", fate_words(fate, keep, lose)));
            let unit = clean::line(&loss.unit, 60);
            let says = format!("{unit}{}{both}", fate.unwrap_or_default());
            page.wrap(&format!("    {:>9}  ", human(words::lost(loss))), &says);
        }
        page.more(more, "units");
    }
}

fn classes(page: &mut Page, data: &ReportData, names: &Pair<String>) {
    page.heading("What differs, by who recorded a change");
    page.line(&format!("  {:<34}{:>12}{:>12}{:>18}", "", "marked", "differs", "marked but equal"));
    for facts in &data.classes {
        let label = words::class(facts.class, names);
        let equal = if facts.class == Class::Unmarked { "-".to_owned() } else { human(facts.equal_bytes) };
        let marked = if facts.class == Class::Unmarked { "-".to_owned() } else { human(facts.marked_bytes) };
        page.line(&format!("  {label:<34}{marked:>12}{:>12}{equal:>18}", human(facts.differs_bytes)));
    }
    page.wrap("  ", &words::scope(data));
}

fn units(page: &mut Page, data: &ReportData, names: &Pair<String>) {
    if data.units.is_empty() {
        return;
    }
    page.heading("Units");
    let (a, b) = (clean::line(&names.a, 10), clean::line(&names.b, 10));
    let none = "-".to_owned();
    let show = |bytes: u64| if bytes == 0 { none.clone() } else { human(bytes) };
    page.line(&format!("  {:<32}{:>9}{a:>11}{b:>11}{:>11}{:>9}", "", "size", "both", "neither"));
    let order = words::ranked(&data.units);
    for unit in order.iter().take(UNITS).filter_map(|index| data.units.get(*index)) {
        let mut name = clean::line(&unit.name, 31);
        if let Some(content) = &unit.content {
            let hinted = format!("{name} ({})", clean::line(content, 12));
            name = if hinted.chars().count() <= 31 { hinted } else { name };
        }
        page.line(&format!(
            "  {name:<32}{:>9}{:>11}{:>11}{:>11}{:>9}  {}",
            human(unit.bytes()),
            show(unit.only_a),
            show(unit.only_b),
            show(unit.both),
            show(unit.unmarked),
            words::brief_meaning(unit, &names.as_ref().map(|name| clean::line(name, 10)), data.scope)
        ));
    }
    page.more(order.len().saturating_sub(UNITS), "units, with fewer differences");
}

/// The character of a cell: the gravest thing in it.
fn sign(cell: &Cell) -> char {
    let differs = &cell.differs;
    match () {
        () if cell.unreadable != Pair::new(0, 0) => '!',
        () if differs.both > 0 || (differs.only_a > 0 && differs.only_b > 0) => 'X',
        () if differs.unmarked > 0 => '?',
        () if differs.only_a > 0 => 'A',
        () if differs.only_b > 0 => 'B',
        () if cell.equal.total() > 0 => '~',
        () => '.',
    }
}

fn map(page: &mut Page, data: &ReportData, names: &Pair<String>) {
    if data.size == 0 || (data.differs().total() == 0 && data.unreadable.is_empty()) {
        return;
    }
    page.heading("Map");
    let (columns, lines) = MAP;
    let region = ExtentSet::whole(data.size);
    let all = Extent { start: 0, len: data.size };
    let mut cells = region_cells(&region, all, &data.classes, &data.unreadable, columns * lines);
    touch(&mut cells, &data.units);
    let mut blank = 0;
    let flush = |page: &mut Page, blank: &mut usize| {
        if *blank > 0 {
            page.line(&format!("  {:>9}  ({blank} lines without differences)", "..."));
            *blank = 0;
        }
    };
    for row in cells.chunks(columns) {
        let signs: String = row.iter().map(sign).collect();
        if signs.chars().all(|sign| sign == '.') && cells.len() > columns {
            blank += 1;
            continue;
        }
        flush(page, &mut blank);
        page.line(&format!("  {:>9}  {signs}", human(row.first().map_or(0, |cell| cell.at))));
    }
    flush(page, &mut blank);
    let (step, changed) = (cells.first().map_or(0, |cell| cell.len), data.changed());
    page.wrap(
        "  ",
        &format!(
            "One sign is {}. A: {changed} on {} only. B: {changed} on {} only. X: {changed} on both sides. \
             ?: differs, recorded by neither. !: unreadable. ~: marked as changed but equal. .: {}.",
            human(step),
            names.a,
            names.b,
            words::empty(data.scope)
        ),
    );
}

fn facts(page: &mut Page, data: &ReportData, names: &Pair<String>) {
    page.heading("Both sides");
    let pair = Pair::from_fn(|side| words::facts(data, side));
    let short = |text: &str| text.chars().count() <= 43;
    page.line(&format!("  {:<16}{:<45}{}", "", names.a, names.b));
    for ((label, a), (_, b)) in pair.a.iter().zip(&pair.b) {
        if short(a) && short(b) {
            page.line(&format!("  {label:<16}{:<45}{}", clean::line(a, 43), clean::line(b, 43)));
        } else if a == b {
            page.wrap(&format!("  {label:<16}"), a);
        } else {
            page.wrap(&format!("  {label:<16}"), &format!("{}: {a}", names.a));
            page.wrap(&format!("  {:<16}", ""), &format!("{}: {b}", names.b));
        }
    }
}

fn comparison(page: &mut Page, data: &ReportData, names: &Pair<String>) {
    let Some(comparison) = &data.comparison else { return };
    page.heading("What DRBD makes of it");
    let rule = comparison.rule.map_or(String::new(), |rule| format!("{rule} "));
    page.wrap("  Relation        ", &words::relation(comparison.relation, names));
    page.wrap(
        "  Rule            ",
        &format!("{} rule {rule}({}), result {}", comparison.format, comparison.name, comparison.result),
    );
    page.wrap("  On reconnect    ", &comparison.reconnect);
    for quirk in comparison.quirks.iter().take(ENTRIES) {
        page.wrap("  Careful:        ", quirk);
    }
    page.more(comparison.quirks.len().saturating_sub(ENTRIES), "quirks");
}

fn trace(page: &mut Page, data: &ReportData) {
    let Some(verdict) = &data.verdict else { return };
    page.heading("Why this verdict");
    let reasons = verdict.trace().reasons();
    for (number, reason) in reasons.iter().take(ENTRIES).enumerate() {
        let lead = format!("  {:>2}. ", number + 1);
        page.wrap(&lead, &format!("{}: {} => {}", reason.rule, reason.evidence, reason.conclusion));
    }
    page.more(reasons.len().saturating_sub(ENTRIES), "reasons");
}

fn notes(page: &mut Page, data: &ReportData, _names: &Pair<String>) {
    if data.layout_notes.is_empty() {
        return;
    }
    page.heading("Notes on the layout");
    for note in data.layout_notes.iter().take(ENTRIES) {
        page.wrap("  - ", note);
    }
    page.more(data.layout_notes.len().saturating_sub(ENTRIES), "notes");
}
