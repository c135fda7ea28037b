//! Looking at both sides where they lie in memory, to find the few blocks that are worth copying.

use super::content::PIECE;
use super::judge::Bytes;
use super::route::Span;
use crate::model::extent::Extent;
use crate::model::side::Pair;
use crate::model::size::BLOCK;
use crate::ports::disk::Disk;

/// Compared at once; only where this differs, block by block.
const STEP: u64 = 64 << 10;

/// The blocks of a span's `parts` that are not known to be equal, ascending, touching ones joined: they differ, or could
/// not be looked at. What is left out was equal when it was looked at.
pub(super) fn sift(disks: Pair<&dyn Disk>, span: &Span, parts: &[Extent], suspects: &mut Vec<Extent>) {
    let mut found = Vec::new();
    for cell in parts.iter().flat_map(|part| part.pieces(PIECE)) {
        found.clear();
        if look(disks, span.hole, cell, &mut found) {
            found.iter().for_each(|run| push(suspects, *run));
        } else {
            push(suspects, cell);
        }
    }
}

/// Whether `cell` could be looked at on both sides; then `found` has what differs.
fn look(disks: Pair<&dyn Disk>, hole: Pair<bool>, cell: Extent, found: &mut Vec<Extent>) -> bool {
    #[allow(clippy::cast_possible_truncation)] // a cell at most
    let zeros = Bytes::Hole(cell.len as usize);
    match (hole.a, hole.b) {
        (true, true) => true,
        (true, false) => disks.b.in_place(cell, &mut |b| differing(cell, zeros, Bytes::Read(b), found)),
        (false, true) => disks.a.in_place(cell, &mut |a| differing(cell, Bytes::Read(a), zeros, found)),
        (false, false) => {
            let mut other = false;
            let one = disks.a.in_place(cell, &mut |a| {
                other = disks.b.in_place(cell, &mut |b| {
                    differing(cell, Bytes::Read(a), Bytes::Read(b), found);
                });
            });
            one && other
        }
    }
}

fn differing(cell: Extent, a: Bytes<'_>, b: Bytes<'_>, found: &mut Vec<Extent>) {
    let equal = |part: Extent| a.part(cell.start, part).equals(b.part(cell.start, part));
    for step in cell.pieces(STEP).filter(|step| !equal(*step)) {
        step.pieces(BLOCK).filter(|block| !equal(*block)).for_each(|block| push(found, block));
    }
}

fn push(runs: &mut Vec<Extent>, run: Extent) {
    match runs.last_mut() {
        Some(last) if last.end() == run.start => last.len += run.len,
        _ => runs.push(run),
    }
}
