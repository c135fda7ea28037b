//! Maps as inline SVG: what changed on side A grows upward from the middle line, what changed on side B downward,
//! conflicts fill the middle. Position tells the sides apart before colour does.

use super::super::map::Cell;
use super::super::words::{self, Changed};
use super::super::{ReportData, clean};
use crate::model::delta::Class;
use crate::model::side::{Pair, Side};
use crate::model::size::human;
use std::fmt::Write;

/// Width of the drawing, of the gutter for the lanes' names, and of the plot, in SVG units.
const WIDTH: u64 = 1100;
const GUTTER: u64 = 92;
const PLOT: u64 = 1000;
/// Height of a lane.
const LANE: u64 = 30;
/// Height of the middle band.
const BAND: u64 = 12;
/// Room above the lanes for the units' names, if they are shown.
const NAMES: u64 = 24;
/// Room below for the offsets.
const AXIS: u64 = 26;
/// Steps of a bar's height.
const LEVELS: u64 = 6;

/// One strip of cells.
pub(super) struct Strip<'a> {
    /// The cells, of one length but for the last.
    pub(super) cells: &'a [Cell],
    /// Cells the strip has room for: a last row may be shorter.
    pub(super) columns: usize,
    /// Draw the units above the lanes.
    pub(super) named: bool,
    /// Read aloud in place of the picture.
    pub(super) label: &'a str,
    /// For each unit its rank in the table, if the table shows it.
    pub(super) ranks: &'a [Option<usize>],
}

/// How full a cell is, from 0 (not at all) to [`LEVELS`]. The cube root keeps a lone block visible in a cell of
/// gigabytes without making it look like a full one.
fn level(bytes: u64, of: u64) -> u64 {
    if bytes == 0 {
        return 0;
    }
    if bytes >= of {
        return LEVELS;
    }
    // The least level whose cube, as a share of the greatest cube, reaches the share of bytes.
    let reached = |level: u64| {
        let cube = u128::from(level * level * level);
        cube * u128::from(of) >= u128::from(bytes) * u128::from((LEVELS - 1).pow(3))
    };
    (1..LEVELS).find(|level| reached(*level)).unwrap_or(LEVELS - 1)
}

/// A path of rectangles: neighbouring cells of one height become one rectangle.
struct Bars<'a> {
    cells: &'a [Cell],
    columns: usize,
}

impl Bars<'_> {
    /// Left edge of a cell, in tenths of an SVG unit.
    fn x(&self, index: usize) -> u64 {
        let (index, columns) = (index as u64, self.columns.max(1) as u64);
        (GUTTER * 10) + index * PLOT * 10 / columns
    }

    /// Draws the cells whose height (in SVG units) is not 0; `up` grows them upward from `y`. No rectangle is narrower
    /// than `least` SVG units.
    fn draw(
        &self,
        out: &mut String,
        class: &str,
        y: u64,
        up: bool,
        least: u64,
        height: impl Fn(&Cell) -> u64,
    ) {
        let mut path = String::new();
        let mut start = 0;
        while let Some(cell) = self.cells.get(start) {
            let h = height(cell);
            let same = self.cells[start..].iter().take_while(|next| height(next) == h).count();
            if h > 0 {
                let (left, right) = (self.x(start), self.x(start + same));
                let wide = (right - left).max(least * 10);
                let left = left.saturating_sub((wide - (right - left)) / 2);
                let top = if up { y - h } else { y };
                let _ = write!(path, "M{} {top}h{}v{h}h-{}z", tenths(left), tenths(wide), tenths(wide));
            }
            start += same;
        }
        if !path.is_empty() {
            let _ = write!(out, "<path class=\"{class}\" d=\"{path}\"/>");
        }
    }
}

/// Tenths as a decimal number, as short as can be.
fn tenths(n: u64) -> String {
    if n.is_multiple_of(10) { (n / 10).to_string() } else { format!("{}.{}", n / 10, n % 10) }
}

/// Height of a lane's bar.
fn lane_height(bytes: u64, of: u64) -> u64 {
    match level(bytes, of) {
        0 => 0,
        level => 8 + (LANE - 8) * level / LEVELS,
    }
}

/// Definitions the strips share: the hatches that stand in for colour.
pub(super) const DEFS: &str = concat!(
    "<svg class=\"defs\" width=\"0\" height=\"0\" aria-hidden=\"true\"><defs>",
    "<pattern id=\"px\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">",
    "<rect class=\"fx\" width=\"6\" height=\"6\"/><rect class=\"fbg\" width=\"1.6\" height=\"6\"/></pattern>",
    "<pattern id=\"pu\" width=\"5\" height=\"5\" patternUnits=\"userSpaceOnUse\">",
    "<rect class=\"fbg\" width=\"5\" height=\"5\"/><circle class=\"fu\" cx=\"2.5\" cy=\"2.5\" r=\"1.7\"/></pattern>",
    "<pattern id=\"pr\" width=\"8\" height=\"8\" patternUnits=\"userSpaceOnUse\">",
    "<rect class=\"fbg\" width=\"8\" height=\"8\"/><path class=\"sr\" d=\"M0 0L8 8M8 0L0 8\"/></pattern>",
    "</defs></svg>"
);

/// Draws one strip.
pub(super) fn draw(out: &mut String, data: &ReportData, strip: &Strip<'_>) {
    let cells = strip.cells;
    let (Some(first), Some(last)) = (cells.first(), cells.last()) else { return };
    let top = if strip.named { NAMES } else { 2 };
    let (middle, height) = (top + LANE, top + 2 * LANE + BAND + AXIS);
    let bars = Bars { cells, columns: strip.columns };
    let (left, right) = (bars.x(0), bars.x(cells.len()));
    let (x, wide) = (tenths(left), tenths(right - left));
    let _ = write!(
        out,
        "<div class=\"scroll\"><svg class=\"strip\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\" \
         data-x=\"{GUTTER}\" data-w=\"{}\" data-n=\"{}\" data-step=\"{}\" data-at=\"{}\" data-end=\"{}\" data-c=\"{}\">",
        clean::html(strip.label, 200),
        tenths(right - left),
        cells.len(),
        first.len,
        first.at,
        last.at + last.len,
        encoded(cells, strip.ranks)
    );
    let lanes = Pair::new(top, middle + BAND);
    for side in Side::BOTH {
        let word = side.word();
        let _ = write!(
            out,
            "<rect class=\"lane\" x=\"{x}\" y=\"{}\" width=\"{wide}\" height=\"{LANE}\"/>\
             <text class=\"who t{word}\" x=\"{}\" y=\"{}\">{}</text>",
            lanes[side],
            GUTTER - 8,
            lanes[side] + LANE / 2 + 5,
            clean::html(&data.names[side], 11)
        );
    }
    let _ = write!(out, "<rect class=\"band\" x=\"{x}\" y=\"{middle}\" width=\"{wide}\" height=\"{BAND}\"/>");
    if cells.iter().any(|cell| cell.differs.both > 0) {
        let _ = write!(out, "<text class=\"who tx\" x=\"{}\" y=\"{}\">both</text>", GUTTER - 8, middle + 10);
    }
    for side in Side::BOTH {
        let (word, up) = (side.word(), side == Side::A);
        let base = if up { middle } else { middle + BAND };
        let own = Class::only(side);
        let claimed = |cell: &Cell| if cell.equal[own] + cell.equal.both > 0 { LANE } else { 0 };
        bars.draw(out, &format!("q{word}"), base, up, 0, claimed);
        let changed = |cell: &Cell| lane_height(cell.differs[own] + cell.differs.both, cell.len);
        bars.draw(out, &format!("f{word}"), base, up, 3, changed);
        let unread = |cell: &Cell| if cell.unreadable[side] > 0 { LANE } else { 0 };
        bars.draw(out, "hr", base, up, 3, unread);
    }
    bars.draw(out, "hu", middle, false, 3, |cell| if cell.differs.unmarked > 0 { BAND } else { 0 });
    bars.draw(out, "hx", middle, false, 5, |cell| if cell.differs.both > 0 { BAND } else { 0 });
    if strip.named {
        names(out, data, strip, &bars);
    }
    pointers(out, &bars, top + 2 * LANE + BAND + 1);
    axis(out, &bars, first.at, last.at + last.len, height);
    out.push_str("</svg></div>");
}

/// The units above the lanes: runs of cells with the same main unit.
fn names(out: &mut String, data: &ReportData, strip: &Strip<'_>, bars: &Bars<'_>) {
    let cells = strip.cells;
    let main = |cell: &Cell| cell.main.map(|(unit, _)| unit);
    let mut start = 0;
    let mut edges = String::new();
    while let Some(cell) = cells.get(start) {
        let same = cells[start..].iter().take_while(|next| main(next) == main(cell)).count();
        let (left, right) = (bars.x(start), bars.x(start + same));
        start += same;
        let Some((index, unit)) = main(cell).and_then(|index| Some((index, data.units.get(index)?))) else {
            continue;
        };
        let wide = right - left;
        let class = match words::changed(&unit.differs()) {
            Changed::Nobody => "un",
            Changed::Only(Side::A) => "ua",
            Changed::Only(Side::B) => "ub",
            Changed::Both => "ux",
            Changed::Unexplained => "uu",
        };
        let _ = write!(
            out,
            "<rect class=\"{class}\" x=\"{}\" y=\"0\" width=\"{}\" height=\"19\"/>",
            tenths(left),
            tenths(wide.saturating_sub(10).max(5))
        );
        if wide >= 120 {
            let _ = write!(edges, "M{} 0V{}", tenths(left), NAMES + 2 * LANE + BAND);
        }
        // SVG units per character, in tenths: those of conflicts are bold.
        let character = if class == "ux" { 88 } else { 72 };
        let room = usize::try_from(wide / character).unwrap_or(0).saturating_sub(1);
        if room >= 4 {
            let short = unit.name.rsplit('/').next().unwrap_or(&unit.name);
            let who = words::changed_by(unit, &data.names).unwrap_or_default();
            let long = format!("{short}: {who}");
            let sign = if class == "ux" { "\u{2715} " } else { "" };
            let label = match () {
                () if !who.is_empty() && long.chars().count() + 2 <= room => format!("{sign}{long}"),
                () => format!("{sign}{short}"),
            };
            let text = format!(
                "<text class=\"{class}-t\" x=\"{}\" y=\"14\">{}</text>",
                tenths(left + 50),
                clean::html_start(&label, room)
            );
            match strip.ranks.get(index).copied().flatten() {
                Some(rank) => {
                    let _ = write!(out, "<a href=\"#u{rank}\">{text}</a>");
                }
                None => out.push_str(&text),
            }
        }
    }
    let _ = write!(out, "<path class=\"edge\" d=\"{edges}\"/>");
}

/// Offsets below the lanes, at multiples of a power of two so that they read well.
fn axis(out: &mut String, bars: &Bars<'_>, start: u64, end: u64, height: u64) {
    let (left, right) = (bars.x(0), bars.x(bars.cells.len()));
    // Seven labels at most, and fewer when a last row is short.
    let labels = ((right - left) / 1400).max(1);
    let step = ((end - start) / labels).max(1).checked_next_power_of_two().unwrap_or(u64::MAX);
    let mut at = start.checked_next_multiple_of(step);
    while let Some(offset) = at.filter(|offset| *offset <= end) {
        let along = u128::from(right - left) * u128::from(offset - start) / u128::from((end - start).max(1));
        let x = left + u64::try_from(along).unwrap_or(0);
        let anchor = match () {
            () if x < left + 300 => "start",
            () if x + 300 > right => "end",
            () => "middle",
        };
        let _ = write!(
            out,
            "<text class=\"tick\" x=\"{}\" y=\"{}\" text-anchor=\"{anchor}\">{}</text>",
            tenths(x),
            height - 3,
            human(offset)
        );
        at = offset.checked_add(step);
    }
}

/// Pointers below the conflicts, so that the narrowest is not overlooked: one for each group of near cells.
fn pointers(out: &mut String, bars: &Bars<'_>, y: u64) {
    let mut groups: Vec<(u64, u64)> = Vec::new();
    for index in
        bars.cells.iter().enumerate().filter(|(_, cell)| cell.differs.both > 0).map(|(index, _)| index)
    {
        let (left, right) = (bars.x(index), bars.x(index + 1));
        match groups.last_mut() {
            Some(group) if left <= group.1 + 100 => group.1 = right,
            _ => groups.push((left, right)),
        }
    }
    let mut path = String::new();
    for (left, right) in groups {
        let _ = write!(path, "M{} {y}l-5 9h10z", tenths((left + right) / 2));
    }
    if !path.is_empty() {
        let _ = write!(out, "<path class=\"fx\" d=\"{path}\"/>");
    }
}

/// The cells that have something to tell, for the tooltips: `index,numbers..` in base 36 with blanks for zeros, joined
/// by `;`. The numbers: differing only-A, only-B, both, unmarked; equal by A, B, both; unreadable A, B; then ranks
/// of units joined by `.`, and how many more.
fn encoded(cells: &[Cell], ranks: &[Option<usize>]) -> String {
    let mut out = String::new();
    for (index, cell) in cells.iter().enumerate().filter(|(_, cell)| !cell.is_blank()) {
        if !out.is_empty() {
            out.push(';');
        }
        base36(&mut out, index as u64);
        let (differs, equal) = (&cell.differs, &cell.equal);
        let numbers = [
            differs.only_a,
            differs.only_b,
            differs.both,
            differs.unmarked,
            equal.only_a,
            equal.only_b,
            equal.both,
            cell.unreadable.a,
            cell.unreadable.b,
        ];
        for number in numbers {
            out.push(',');
            if number > 0 {
                base36(&mut out, number);
            }
        }
        out.push(',');
        let shown: Vec<usize> =
            cell.units.iter().filter_map(|unit| ranks.get(*unit).copied().flatten()).collect();
        for (nth, rank) in shown.iter().enumerate() {
            if nth > 0 {
                out.push('.');
            }
            base36(&mut out, *rank as u64);
        }
        out.push(',');
        let more = cell.more_units + cell.units.len() - shown.len();
        if more > 0 {
            base36(&mut out, more as u64);
        }
    }
    out
}

fn base36(out: &mut String, mut n: u64) {
    let mut digits = [0u8; 13];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b"0123456789abcdefghijklmnopqrstuvwxyz"[(n % 36) as usize];
        n /= 36;
        if n == 0 {
            break;
        }
    }
    out.extend(digits[at..].iter().map(|digit| char::from(*digit)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heights_grow_with_the_share_and_never_vanish() {
        assert_eq!(level(0, 100), 0);
        assert_eq!(level(1, u64::MAX), 1);
        assert_eq!(level(100, 100), LEVELS);
        assert_eq!(level(99, 100), LEVELS - 1);
        assert!((1..=100).map(|n| level(n, 100)).is_sorted());
        assert!(lane_height(1, u64::MAX) >= 8 && lane_height(7, 7) == LANE);
    }

    #[test]
    fn base36_is_what_javascript_parses() {
        let text = |n| {
            let mut out = String::new();
            base36(&mut out, n);
            out
        };
        assert_eq!(text(0), "0");
        assert_eq!(text(35), "z");
        assert_eq!(text(u64::MAX), "3w5e11264sgsf");
        assert_eq!(u64::from_str_radix(&text(1 << 44), 36), Ok(1 << 44));
    }
}
