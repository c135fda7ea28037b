//! The report as one self-contained page: nothing is loaded from anywhere, scripts only add tooltips, and its size is
//! bounded whatever the input.

mod sections;
mod strip;

use super::map::{cells, region_cells, touch, window_of_differences};
use super::{ReportData, clean, words};
use crate::model::extent::{Extent, ExtentSet};
use crate::model::size::human;
use std::fmt::Write;
use strip::Strip;

const CSS: &str = include_str!("page.css");
const JS: &str = include_str!("page.js");
/// SHA-256 of [`CSS`] and [`JS`] in base 64: with them the page's policy admits these two texts and nothing else, should
/// any foreign text ever slip through the escaping. A test compares.
const CSS_SHA256: &str = "SUNd32y2C9Xo8UUTKqWBt9fRDzJvybo8n2iK9tu3Lxk=";
const JS_SHA256: &str = "/V0QQzlWBucrvshcKssDLS4wugk2yzFSEH4WsNJONfc=";

/// Cells of the volume's map at most.
pub const MAP_CELLS: usize = 2048;
/// Units in the table at most.
pub const TABLE_UNITS: usize = 500;
/// Cells of one unit's strip at most.
pub const UNIT_CELLS: usize = 200;
/// Entries of any other list at most.
const ENTRIES: usize = 30;
/// Commands at most.
const COMMANDS: usize = 12;
/// Characters of a name and of a sentence at most.
const NAME: usize = 64;
const SENTENCE: usize = 600;
/// Bytes of the page beyond which no further unit's strip is drawn.
const STRIPS_UNTIL: usize = 880_000;

/// The report as an HTML page in UTF-8.
#[must_use]
pub fn render_html(data: &ReportData) -> String {
    let mut out = String::new();
    let title = clean::html(&data.title, NAME);
    let _ = write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-{CSS_SHA256}'; \
         script-src 'sha256-{JS_SHA256}'; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n<meta name=\"generator\" content=\"unsplit\">\n\
         <title>unsplit report: {title}</title>\n<style>{CSS}</style>\n</head>\n<body data-a=\"{}\" data-b=\"{}\" data-none=\"{}\">\n{}\n<main>\n",
        clean::html(&data.names.a, NAME),
        clean::html(&data.names.b, NAME),
        words::empty(data.scope),
        strip::DEFS
    );
    let order = words::ranked(&data.units);
    let mut ranks = vec![None; data.units.len()];
    for (rank, index) in order.iter().take(TABLE_UNITS).enumerate() {
        ranks[*index] = Some(rank);
    }
    sections::header(&mut out, data);
    sections::choices(&mut out, data);
    map(&mut out, data, &ranks);
    sections::next(&mut out, data);
    // The strips come before the rest on the page but after it in the budget.
    let mut rest = String::new();
    sections::units(&mut rest, data, &order);
    sections::facts(&mut rest, data);
    sections::comparison(&mut rest, data);
    sections::trace(&mut rest, data);
    sections::notes(&mut rest, data);
    let budget = STRIPS_UNTIL.saturating_sub(out.len() + rest.len());
    unit_strips(&mut out, data, &order, budget);
    out.push_str(&rest);
    let _ = write!(out, "</main>\n<script>{JS}</script>\n</body>\n</html>\n");
    out
}

/// Rows and columns of the volume's map: one row as long as the eye can follow it.
fn grid(units: usize) -> (usize, usize) {
    match units {
        0..=8 => (1, 512),
        9..=24 => (2, 512),
        25..=64 => (4, 512),
        _ => (8, MAP_CELLS / 8),
    }
}

fn map(out: &mut String, data: &ReportData, ranks: &[Option<usize>]) {
    if data.size == 0 {
        return;
    }
    let (rows, columns) = grid(data.units.len());
    let mut all = if data.unreadable.is_empty() {
        cells(data.size, &data.classes, rows * columns)
    } else {
        let whole = Extent { start: 0, len: data.size };
        region_cells(&ExtentSet::whole(data.size), whole, &data.classes, &data.unreadable, rows * columns)
    };
    touch(&mut all, &data.units);
    let columns = all.len().div_ceil(rows).max(1);
    let _ = write!(
        out,
        "<section><h2>Map of the volume <span class=\"soft\">({}, start to end)</span></h2>",
        human(data.size)
    );
    out.push_str(
        "<p class=\"soft swipe\">This screen is narrow: swipe the maps sideways to see all of them.</p>",
    );
    for row in all.chunks(columns) {
        let (start, end) = (row.first().map_or(0, |c| c.at), row.last().map_or(0, |c| c.at + c.len));
        let label = format!("Map of bytes {start} to {end} of the volume");
        let strip = Strip { cells: row, columns, named: !data.units.is_empty(), label: &label, ranks };
        strip::draw(out, data, &strip);
    }
    let step = all.first().map_or(0, |cell| cell.len);
    sections::legend(out, data, step);
    out.push_str("</section>\n");
}

/// One strip for each unit that differs, zoomed to where it differs, until the budget in bytes is spent.
fn unit_strips(out: &mut String, data: &ReportData, order: &[usize], budget: usize) {
    let rows = order.iter().filter_map(|index| data.units.get(*index));
    let concerned = rows.take(TABLE_UNITS).filter_map(|unit| {
        let window = window_of_differences(&unit.extents, &data.classes, &data.unreadable)?;
        Some((unit, window))
    });
    let mut strips = String::new();
    let mut left_out = 0usize;
    for (unit, window) in concerned {
        let size = unit.bytes();
        let window = widened(window, size);
        let mut one = String::new();
        sections::unit_head(&mut one, data, unit, window);
        let cells = region_cells(&unit.extents, window, &data.classes, &data.unreadable, UNIT_CELLS);
        let label = format!("Map of {}", clean::line(&unit.name, NAME));
        let strip = Strip { cells: &cells, columns: cells.len(), named: false, label: &label, ranks: &[] };
        strip::draw(&mut one, data, &strip);
        one.push_str("</div>");
        if left_out > 0 || strips.len() + one.len() > budget {
            left_out += 1;
        } else {
            strips.push_str(&one);
        }
    }
    if strips.is_empty() && left_out == 0 {
        return;
    }
    let _ = write!(out, "<section class=\"long\"><h2>Zoom: where each unit differs</h2>{strips}");
    if left_out > 0 {
        let _ = write!(
            out,
            "<p class=\"soft\">{left_out} more units differ but are not drawn here, to keep this page small.</p>"
        );
    }
    out.push_str("</section>\n");
}

/// A little room around what differs; the whole unit when that is not much more.
fn widened(window: Extent, size: u64) -> Extent {
    if window.len > size / 2 {
        return Extent { start: 0, len: size };
    }
    let room =
        (window.len / 8).max(4 * crate::model::size::BLOCK).next_multiple_of(crate::model::size::BLOCK);
    Extent::between(window.start.saturating_sub(room), window.end().saturating_add(room).min(size))
}
