//! The page's sections other than the maps. Every foreign text goes through [`clean::html`].

use super::{COMMANDS, ENTRIES, NAME, SENTENCE, TABLE_UNITS};
use crate::cli::plan::fate_words;
use crate::cli::report::words::{self, Changed, Mood};
use crate::cli::report::{ReportData, UnitRow, clean};
use crate::model::delta::Class;
use crate::model::extent::Extent;
use crate::model::side::Side;
use crate::model::size::human;
use std::fmt::Write;

fn sentence(text: &str) -> String {
    clean::html(text, SENTENCE)
}

fn name(text: &str) -> String {
    clean::html(text, NAME)
}

/// Says how many entries were left out, if any.
fn more(out: &mut String, left: usize, what: &str) {
    if left > 0 {
        let _ = write!(out, "<p class=\"soft\">\u{2026} and {left} more {what}</p>");
    }
}

fn shade(differs: Changed) -> &'static str {
    match differs {
        Changed::Only(Side::A) => "a",
        Changed::Only(Side::B) => "b",
        Changed::Both | Changed::Unexplained => "x",
        Changed::Nobody => "",
    }
}

pub(super) fn header(out: &mut String, data: &ReportData) {
    let (mood, headline) = words::headline(data);
    let class = match mood {
        Mood::Calm => "calm",
        Mood::Wary => "wary",
        Mood::Alarm => "alarm",
    };
    let _ = write!(
        out,
        "<header class=\"{class}\"><div class=\"meta\"><span>unsplit report: <b>{}</b></span><span>{}</span></div>\
         <h1>{}</h1><p class=\"lead\">{}</p>",
        name(&data.title),
        name(&data.generated_at),
        sentence(&headline),
        sentence(&words::summary(data))
    );
    if let Some(verdict) = &data.verdict {
        let (word, text) = words::verdict(verdict, &data.names);
        let _ = write!(out, "<p class=\"verdict\"><b>Verdict: {word}.</b> {}</p>", sentence(&text));
    }
    if !data.unreadable.is_empty() {
        out.push_str("<div class=\"warn\"><b>Could not be read, so this comparison is incomplete:</b><ul>");
        for one in data.unreadable.iter().take(ENTRIES) {
            let _ = write!(
                out,
                "<li>{}, bytes {} to {}: {}</li>",
                name(&data.names[one.side]),
                one.extent.start,
                one.extent.end(),
                sentence(&one.why.0)
            );
        }
        out.push_str("</ul>");
        more(out, data.unreadable.len().saturating_sub(ENTRIES), "ranges");
        out.push_str("</div>");
    }
    tiles(out, data);
    out.push_str("</header>\n");
}

fn tiles(out: &mut String, data: &ReportData) {
    if data.classes.iter().all(|facts| facts.marked_bytes == 0) {
        return;
    }
    // A difference that neither recorded can only be seen where more than the marks was compared.
    let unmarked =
        if data.compared < data.size { "only looked for where it was compared" } else { "none found" };
    let changed = data.changed();
    out.push_str("<div class=\"tiles\">");
    for facts in &data.classes {
        let (shade, title, none) = match facts.class {
            Class::OnlyA => ("a", format!("{changed} on {} only", name(&data.names.a)), "nothing"),
            Class::OnlyB => ("b", format!("{changed} on {} only", name(&data.names.b)), "nothing"),
            Class::Both => ("x", format!("{changed} on both: conflict"), "no block in conflict"),
            Class::Unmarked => ("", "differs, recorded by neither".to_owned(), unmarked),
        };
        let zero = if facts.differs_bytes == 0 { " zero" } else { "" };
        let small = match (facts.class, facts.differs_bytes, facts.equal_bytes) {
            (_, 0, 0) => none.to_owned(),
            (Class::Unmarked, ..) => "the records do not explain it".to_owned(),
            (_, _, 0) => "every marked block differs".to_owned(),
            (_, _, equal) => format!("{} more marked, but equal", human(equal)),
        };
        let _ = write!(
            out,
            "<div class=\"tile {shade}{zero}\"><b>{}</b><span>{title}</span><small>{small}</small></div>",
            human(facts.differs_bytes)
        );
    }
    out.push_str("</div>");
}

pub(super) fn choices(out: &mut String, data: &ReportData) {
    if data.differs().total() == 0 {
        return;
    }
    out.push_str("<section><h2>What each choice would discard</h2><div class=\"two\">");
    let chosen = words::survivor(data.verdict.as_ref());
    for side in Side::BOTH {
        let discard = &data.if_keep[side];
        let (keep, lose) = (name(&data.names[side]), name(&data.names[side.other()]));
        let (class, tag) = match chosen {
            Some(survivor) if survivor == side => (" chosen", " <span class=\"tag\">THE VERDICT</span>"),
            _ => ("", ""),
        };
        let _ = write!(
            out,
            "<div class=\"choice {}{class}\"><h3>Keep {keep}{tag}</h3><p class=\"big\">discards {} of {lose}</p>",
            side.word(),
            human(discard.bytes)
        );
        if discard.doubtful > 0 {
            let also = words::may_be_lost(discard, &data.names[side], &data.names[side.other()]);
            let _ = write!(out, "<p>and {}</p>", sentence(&also));
        }
        let (worst, left) = words::worst_losses(discard, 6);
        if worst.is_empty() {
            let text = if discard.bytes == 0 && discard.doubtful == 0 {
                "Nothing is lost."
            } else {
                "The volume's units are not known."
            };
            let _ = write!(out, "<p class=\"soft\">{text}</p>");
        } else {
            out.push_str("<ul>");
            for loss in worst {
                let both = match loss.both {
                    0 => String::new(),
                    both => format!(
                        " <span class=\"soft\">({} of it {} on both)</span>",
                        human(both),
                        data.changed()
                    ),
                };
                let fate = loss.fate.as_ref().map(|fate| {
                    let (keep, lose) = (&data.names[side], &data.names[side.other()]);
                    format!(" ({})", sentence(&fate_words(fate, keep, lose)))
                });
                let (unit, fate) = (name(&loss.unit), fate.unwrap_or_default());
                let _ = write!(out, "<li><b>{unit}</b>{fate}: {}{both}</li>", human(words::lost(loss)));
            }
            out.push_str("</ul>");
        }
        more(out, left, "units");
        out.push_str("</div>");
    }
    out.push_str("</div></section>\n");
}

pub(super) fn next(out: &mut String, data: &ReportData) {
    if data.next.is_empty() {
        return;
    }
    out.push_str("<section><h2>What to type next</h2>");
    for step in data.next.iter().take(COMMANDS) {
        let _ = write!(
            out,
            "<p class=\"step\">{}</p><pre>{}</pre>",
            sentence(&step.purpose),
            clean::html(&super::super::whole_command(&step.command), usize::MAX)
        );
    }
    more(out, data.next.len().saturating_sub(COMMANDS), "commands");
    out.push_str("</section>\n");
}

pub(super) fn legend(out: &mut String, data: &ReportData, step: u64) {
    let (a, b) = (name(&data.names.a), name(&data.names.b));
    let swatch = |inner: &str| format!("<svg width=\"22\" height=\"16\" aria-hidden=\"true\">{inner}</svg>");
    let rect = |class: &str, y: u8, h: u8| {
        format!("<rect class=\"{class}\" x=\"1\" y=\"{y}\" width=\"20\" height=\"{h}\"/>")
    };
    let changed = data.changed();
    let mut entries = vec![
        (
            rect("fa", 1, 14),
            format!("above the middle: {changed} on <b>{a}</b>. A taller bar is a larger share."),
        ),
        (rect("fb", 1, 14), format!("below the middle: {changed} on <b>{b}</b>")),
        (
            rect("hx", 3, 10),
            format!("hatched, with a pointer below: {changed} on <b>both</b>, and different: a conflict"),
        ),
    ];
    if data.equal() > 0 {
        let pair = format!("{}{}", rect("qa", 1, 7), rect("qb", 8, 7));
        entries.push((pair, "pale: marked as changed, yet equal on both sides".to_owned()));
    }
    if data.differs().unmarked > 0 {
        entries.push((rect("hu", 3, 10), "dotted, in the middle: differs, recorded by neither".to_owned()));
    }
    if !data.unreadable.is_empty() {
        entries.push((rect("hr", 1, 14), "crossed: could not be read".to_owned()));
    }
    entries.push((rect("lane", 1, 14), format!("empty: {}", words::empty(data.scope))));
    out.push_str("<ul class=\"legend\">");
    for (picture, text) in entries {
        let _ = write!(out, "<li>{}<span>{text}</span></li>", swatch(&picture));
    }
    let _ = write!(
        out,
        "</ul><p class=\"soft\">The finest stroke stands for {}. {} A mark is a claim by DRBD's bitmap or activity log \
         (4 MiB at a time); what is shown as different was compared byte by byte.</p>",
        human(step),
        sentence(&words::scope(data))
    );
}

pub(super) fn unit_head(out: &mut String, data: &ReportData, unit: &UnitRow, window: Extent) {
    let size = unit.bytes();
    let content = unit.content.as_ref().map_or(String::new(), |hint| format!(", {}", clean::html(hint, 24)));
    let whole = if window.len == size {
        "the whole unit".to_owned()
    } else {
        format!("shown: {} to {} of it", human(window.start), human(window.end()))
    };
    let _ = write!(
        out,
        "<div class=\"unit\"><h3>{} <span class=\"badge {}\">{}</span></h3><p class=\"soft\">{}{content}, {}; {whole}</p>",
        name(&unit.name),
        shade(words::changed(&unit.differs())),
        name(&words::changed_by(unit, &data.names).unwrap_or_default()),
        words::kind(unit.kind),
        human(size)
    );
}

pub(super) fn units(out: &mut String, data: &ReportData, order: &[usize]) {
    if data.units.is_empty() {
        return;
    }
    let (a, b) = (clean::html(&data.names.a, 20), clean::html(&data.names.b, 20));
    let _ = write!(
        out,
        "<section class=\"long\"><h2>Units: bytes that differ</h2><div class=\"scroll\"><table class=\"wide\"><thead><tr><th>unit</th>\
         <th class=\"num\">size</th><th class=\"num\">{a} only</th><th class=\"num\">{b} only</th>\
         <th class=\"num\">both</th><th class=\"num\">neither</th><th>what it means</th></tr></thead><tbody>"
    );
    let show = |bytes: u64| if bytes == 0 { "\u{2013}".to_owned() } else { human(bytes) };
    for (rank, unit) in order.iter().take(TABLE_UNITS).filter_map(|index| data.units.get(*index)).enumerate()
    {
        let content =
            unit.content.as_ref().map_or(String::new(), |hint| format!(", {}", clean::html(hint, 24)));
        let shown = name(&unit.name);
        let _ = write!(
            out,
            "<tr id=\"u{rank}\"><td class=\"name\">{shown}<br><span class=\"soft\">{}{content}</span></td>\
             <td class=\"num\">{}</td><td class=\"num\">{}</td><td class=\"num\">{}</td><td class=\"num\">{}</td>\
             <td class=\"num\">{}</td><td class=\"means\"><span class=\"badge {}\">{}</span></td></tr>",
            words::kind(unit.kind),
            human(unit.bytes()),
            show(unit.only_a),
            show(unit.only_b),
            show(unit.both),
            show(unit.unmarked),
            shade(words::changed(&unit.differs())),
            clean::html(&words::meaning(unit, &data.names, data.scope), NAME)
        );
    }
    out.push_str("</tbody></table></div>");
    more(out, order.len().saturating_sub(TABLE_UNITS), "units with fewer differences");
    out.push_str("</section>\n");
}

pub(super) fn facts(out: &mut String, data: &ReportData) {
    let (a, b) = (name(&data.names.a), name(&data.names.b));
    let _ = write!(
        out,
        "<section><h2>Both sides</h2><table class=\"facts\"><thead><tr><th></th><th>{a}</th><th>{b}</th></tr></thead><tbody>"
    );
    for ((label, left), (_, right)) in words::facts(data, Side::A).iter().zip(&words::facts(data, Side::B)) {
        let mono =
            if label.contains("UUID") || *label == "Source" || *label == "History" { " mono" } else { "" };
        let _ = write!(
            out,
            "<tr><th scope=\"row\">{label}</th><td class=\"{mono}\" data-side=\"{a}\">{}</td>\
             <td class=\"{mono}\" data-side=\"{b}\">{}</td></tr>",
            sentence(left),
            sentence(right)
        );
    }
    out.push_str("</tbody></table></section>\n");
}

pub(super) fn comparison(out: &mut String, data: &ReportData) {
    let Some(comparison) = &data.comparison else { return };
    let rule = comparison.rule.map_or(String::new(), |rule| format!("{rule}, "));
    let _ = write!(
        out,
        "<section><h2>What DRBD makes of it</h2><p><b>Relation:</b> {}</p><p><b>If they connect now, DRBD will</b> {}</p>\
         <p class=\"soft\">{} rule {rule}{}; result {} (as {} sees it)</p>",
        sentence(&words::relation(comparison.relation, &data.names)),
        sentence(&comparison.reconnect),
        comparison.format,
        name(&comparison.name),
        name(&comparison.result),
        name(&data.names.a)
    );
    if !comparison.quirks.is_empty() {
        out.push_str("<p><b>Careful:</b></p><ul>");
        comparison.quirks.iter().take(ENTRIES).for_each(|quirk| {
            let _ = write!(out, "<li>{}</li>", sentence(quirk));
        });
        out.push_str("</ul>");
        more(out, comparison.quirks.len().saturating_sub(ENTRIES), "quirks");
    }
    out.push_str("</section>\n");
}

pub(super) fn trace(out: &mut String, data: &ReportData) {
    let Some(verdict) = &data.verdict else { return };
    let reasons = verdict.trace().reasons();
    out.push_str("<section><h2>Why this verdict</h2><ol class=\"trace\">");
    for reason in reasons.iter().take(ENTRIES) {
        let _ = write!(
            out,
            "<li><b>{}</b> \u{2192} {}<br><span class=\"soft\">{}</span></li>",
            sentence(&reason.rule),
            sentence(&reason.conclusion),
            sentence(&reason.evidence)
        );
    }
    out.push_str("</ol>");
    more(out, reasons.len().saturating_sub(ENTRIES), "reasons");
    out.push_str("</section>\n");
}

pub(super) fn notes(out: &mut String, data: &ReportData) {
    if data.layout_notes.is_empty() {
        return;
    }
    out.push_str("<section><h2>Notes on the layout</h2><ul>");
    data.layout_notes.iter().take(ENTRIES).for_each(|note| {
        let _ = write!(out, "<li>{}</li>", sentence(note));
    });
    out.push_str("</ul>");
    more(out, data.layout_notes.len().saturating_sub(ENTRIES), "notes");
    out.push_str("</section>\n");
}
