//! What of a portion has to be read on which side, and in which requests.

use super::portion::{FAR_GAP, Portion};
use crate::model::extent::Extent;
use crate::model::side::{Pair, Side};
use crate::model::size::BLOCK;
use crate::ports::disk::{Disk, Stretch};

/// Asking for the holes of a piece costs about as much as reading this many bytes.
const NOT_WORTH_ASKING: u64 = 128 << 10;

/// What a disk last said a stretch is made of; saves asking again for every portion of a long one.
pub(super) struct Terrain<'a> {
    disk: &'a dyn Disk,
    known: Option<(Extent, bool)>,
}

impl<'a> Terrain<'a> {
    pub(super) fn new(disk: &'a dyn Disk) -> Self {
        Terrain { disk, known: None }
    }

    fn at(&mut self, at: u64) -> (Extent, bool) {
        match self.known {
            Some((extent, hole)) if extent.start <= at && at < extent.end() => (extent, hole),
            _ => {
                let (until, hole) = match self.disk.stretch(at) {
                    Stretch::Data(until) => (until, false),
                    Stretch::Hole(until) => (until, true),
                };
                let fresh = (Extent::between(at, until), hole);
                self.known = Some(fresh);
                fresh
            }
        }
    }

    /// Up to where there is a hole from `at` on; `at` where there is none.
    pub(super) fn hole_until(&mut self, at: u64) -> u64 {
        let (extent, hole) = self.at(at);
        if hole { extent.end() } else { at }
    }

    /// Whether whole blocks from `at` on are a hole, and up to where (at most `end`) that is so.
    fn blocks(&mut self, at: u64, end: u64) -> (bool, u64) {
        let (extent, hole) = self.at(at);
        let until = extent.end();
        if until >= end {
            return (hole, end);
        }
        let whole = until / BLOCK * BLOCK;
        if hole && whole > at {
            return (true, whole);
        }
        // A block that is partly hole is read like data.
        let data = if hole { at + 1 } else { until.max(at + 1) };
        (false, data.next_multiple_of(BLOCK).min(end))
    }
}

/// Neighbouring parts that one request reads, with the gaps between them.
#[derive(Debug, Clone)]
pub(super) struct Span {
    pub(super) extent: Extent,
    /// Where nothing is read, because it is a hole.
    pub(super) hole: Pair<bool>,
    /// Its parts are these of [`Route::parts`].
    parts: (usize, usize),
}

/// The parts of a portion that must be compared, apart from holes on both sides.
#[derive(Debug, Default)]
pub(super) struct Route {
    parts: Vec<Extent>,
    pub(super) spans: Vec<Span>,
}

impl Route {
    pub(super) fn new(portion: &Portion, terrain: &mut Pair<Terrain<'_>>) -> Self {
        let mut route = Route::default();
        for piece in &portion.pieces {
            if piece.len < NOT_WORTH_ASKING {
                route.add(*piece, Pair::new(false, false));
                continue;
            }
            let mut at = piece.start;
            while at < piece.end() {
                let (a, a_until) = terrain.a.blocks(at, piece.end());
                let (b, b_until) = terrain.b.blocks(at, piece.end());
                let part = Extent::between(at, a_until.min(b_until));
                at = part.end();
                if !(a && b) {
                    route.add(part, Pair::new(a, b));
                }
            }
        }
        route
    }

    fn add(&mut self, part: Extent, hole: Pair<bool>) {
        match self.spans.last_mut() {
            Some(span) if span.hole == hole && part.start - span.extent.end() <= FAR_GAP => {
                span.extent = Extent::between(span.extent.start, part.end());
                // A file of many extents tells of them one by one.
                match self.parts.last_mut() {
                    Some(last) if last.end() == part.start => last.len += part.len,
                    _ => {
                        self.parts.push(part);
                        span.parts.1 += 1;
                    }
                }
            }
            _ => {
                self.spans.push(Span { extent: part, hole, parts: (self.parts.len(), self.parts.len() + 1) });
                self.parts.push(part);
            }
        }
    }

    /// The parts of a span, ascending.
    pub(super) fn parts(&self, span: &Span) -> &[Extent] {
        &self.parts[span.parts.0..span.parts.1]
    }

    /// What must be read on a side, ascending.
    pub(super) fn reads(&self, side: Side) -> impl Iterator<Item = &Span> {
        self.spans.iter().filter(move |span| !span.hole[side])
    }

    /// How many bytes that is.
    pub(super) fn bytes(&self, side: Side) -> u64 {
        self.reads(side).map(|span| span.extent.len).sum()
    }

    /// Whether all that must be read is at hand.
    pub(super) fn at_hand(&self, disks: Pair<&dyn Disk>) -> bool {
        disks.iter().all(|(side, disk)| self.reads(side).all(|span| disk.at_hand(span.extent)))
    }
}

/// Gathers ascending parts into windows of at most `limit` bytes, reading through gaps of at most `gap`.
pub(super) fn windows(parts: &[Extent], limit: u64, gap: u64, mut visit: impl FnMut(Extent, &[Extent])) {
    let mut together: Vec<Extent> = Vec::new();
    let mut window = Extent { start: 0, len: 0 };
    for part in parts.iter().flat_map(|part| part.pieces(limit)) {
        let joined = Extent::between(window.start, part.end());
        let fits = part.start - window.end() <= gap && joined.len <= limit;
        if !together.is_empty() && !fits {
            visit(window, &together);
            together.clear();
        }
        window = if together.is_empty() { part } else { joined };
        together.push(part);
    }
    if !together.is_empty() {
        visit(window, &together);
    }
}
