//! The volume as a bounded number of cells. Pure aggregation; every byte of every class is in exactly one cell.

use super::{ClassFacts, PerClass, UnitRow};
use crate::model::delta::Unreadable;
use crate::model::extent::{Extent, ExtentSet};
use crate::model::side::{Pair, Side};
use crate::model::size::BLOCK;

/// How many units a cell names; further ones are only counted.
pub const NAMED: usize = 4;

/// One cell of a map. Sizes in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// First byte, in the coordinates of what is mapped: the volume, or the unit with its extents put in a row.
    pub at: u64,
    /// Length; a multiple of [`BLOCK`] for all but the last cell.
    pub len: u64,
    /// Bytes that differ.
    pub differs: PerClass,
    /// Bytes that were marked and are equal.
    pub equal: PerClass,
    /// Bytes that could not be read.
    pub unreadable: Pair<u64>,
    /// The first units (by index) with bytes in the cell, at most [`NAMED`]. Set by [`touch`].
    pub units: Vec<usize>,
    /// How many more units have bytes in the cell.
    pub more_units: usize,
    /// The unit with most bytes in the cell, and how many. Set by [`touch`].
    pub main: Option<(usize, u64)>,
}

impl Cell {
    fn blank(at: u64, len: u64) -> Self {
        Cell {
            at,
            len,
            differs: PerClass::default(),
            equal: PerClass::default(),
            unreadable: Pair::new(0, 0),
            units: Vec::new(),
            more_units: 0,
            main: None,
        }
    }

    /// Whether there is nothing to tell about the cell.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.differs.total() == 0 && self.equal.total() == 0 && self.unreadable == Pair::new(0, 0)
    }
}

/// The whole volume of `size` bytes in at most `n` cells.
#[must_use]
pub fn cells(size: u64, classes: &[ClassFacts], n: usize) -> Vec<Cell> {
    region_cells(&ExtentSet::whole(size), Extent { start: 0, len: size }, classes, &[], n)
}

/// A window of a region in at most `n` cells. The region's extents are put in a row, in order of their place on the
/// volume, and `window` is counted in that row; it is clipped to it.
#[must_use]
pub fn region_cells(
    region: &ExtentSet,
    window: Extent,
    classes: &[ClassFacts],
    unreadable: &[Unreadable],
    n: usize,
) -> Vec<Cell> {
    let window = Extent { start: 0, len: region.bytes() }.intersect(&window);
    let Some(window) = window else { return Vec::new() };
    let step = step(window.len, n);
    let mut cells: Vec<Cell> = (0..window.len.div_ceil(step))
        .map(|index| {
            let at = window.start + index * step;
            Cell::blank(at, step.min(window.end() - at))
        })
        .collect();
    let mut add = |set: &ExtentSet, count: &dyn Fn(&mut Cell, u64)| {
        project(region, set, |piece| {
            let Some(piece) = piece.intersect(&window) else { return };
            for part in (Extent { start: piece.start - window.start, len: piece.len }).pieces(step) {
                let cell = usize::try_from(part.start / step).ok().and_then(|index| cells.get_mut(index));
                cell.into_iter().for_each(|cell| count(cell, part.len));
            }
        });
    };
    for facts in classes {
        add(&facts.differs, &|cell, len| cell.differs[facts.class] += len);
        add(&facts.equal, &|cell, len| cell.equal[facts.class] += len);
    }
    for side in Side::BOTH {
        let set = unreadable.iter().filter(|one| one.side == side).map(|one| one.extent).collect();
        add(&set, &|cell, len| cell.unreadable[side] += len);
    }
    cells
}

/// Bytes per cell: whole blocks, so that no block is cut in two.
fn step(len: u64, n: usize) -> u64 {
    let least = len.div_ceil(u64::try_from(n.max(1)).unwrap_or(u64::MAX)).max(1);
    least.checked_next_multiple_of(BLOCK).unwrap_or(u64::MAX)
}

/// Calls `f` with each common part of a region and a set, in the region's own coordinates, ascending.
fn project(region: &ExtentSet, set: &ExtentSet, mut f: impl FnMut(Extent)) {
    let mut before = 0;
    for run in region.iter() {
        for common in set.iter_from(run.start).map_while(|extent| extent.intersect(&run)) {
            f(Extent { start: before + (common.start - run.start), len: common.len });
        }
        before += run.len;
    }
}

/// The smallest window, in whole blocks, of a region's coordinates that holds everything that differs or could not be
/// read in it. `None` when there is no such byte.
#[must_use]
pub fn window_of_differences(
    region: &ExtentSet,
    classes: &[ClassFacts],
    unreadable: &[Unreadable],
) -> Option<Extent> {
    let mut hull: Option<Extent> = None;
    let mut grow = |piece: Extent| {
        hull =
            Some(hull.map_or(piece, |old| {
                Extent::between(old.start.min(piece.start), old.end().max(piece.end()))
            }));
    };
    classes.iter().for_each(|facts| project(region, &facts.differs, &mut grow));
    let unread: ExtentSet = unreadable.iter().map(|one| one.extent).collect();
    project(region, &unread, &mut grow);
    let hull = hull?;
    let end = hull.end().checked_next_multiple_of(BLOCK).unwrap_or(u64::MAX).min(region.bytes());
    Some(Extent::between(hull.start / BLOCK * BLOCK, end))
}

/// Notes in each cell of a volume's map which units have bytes in it.
pub fn touch(cells: &mut [Cell], units: &[UnitRow]) {
    let Some(step) = cells.first().map(|cell| cell.len) else { return };
    // (unit + 1, bytes so far) of the unit being counted: its extents come in a row, so one slot per cell is enough.
    let mut counting = vec![(0usize, 0u64); cells.len()];
    for (index, unit) in units.iter().enumerate() {
        for part in unit.extents.iter().flat_map(|extent| extent.pieces(step)) {
            let Ok(at) = usize::try_from(part.start / step) else { break };
            // A unit may reach beyond the compared size.
            let (Some(cell), Some(count)) = (cells.get_mut(at), counting.get_mut(at)) else { break };
            if count.0 != index + 1 {
                *count = (index + 1, 0);
                if cell.units.len() < NAMED {
                    cell.units.push(index);
                } else {
                    cell.more_units += 1;
                }
            }
            count.1 += part.len;
            if cell.main.is_none_or(|(_, most)| count.1 > most) {
                cell.main = Some((index, count.1));
            }
        }
    }
}
