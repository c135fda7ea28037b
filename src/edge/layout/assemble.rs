//! From claims, as tables make them, to units that are disjoint and cover everything.

use crate::model::extent::{Extent, ExtentSet};
use crate::model::size::human;
use crate::model::unit::{Unit, UnitKind};

/// Makes `units` disjoint and inside `size` bytes, adds what is left as an unclaimed unit called `rest`, and
/// sorts them by their first byte. A unit that sticks out or shares bytes with another one becomes opaque: its
/// table is wrong about it, so nobody knows whether it has one writer.
pub(super) fn cover(size: u64, units: Vec<Unit>, rest: &str, notes: &mut Vec<String>) -> Vec<Unit> {
    let mut units: Vec<Unit> = units.into_iter().map(|unit| clip(unit, size, notes)).collect();
    let shared = shared(&units);
    if !shared.is_empty() {
        units.iter_mut().for_each(|unit| part_with(unit, &shared, notes));
        units.push(filler("claimed more than once", UnitKind::Opaque, &shared));
    }
    let claimed: ExtentSet =
        units.iter().flat_map(|unit| unit.map.iter().map(|(_, extent)| *extent)).collect();
    let left = ExtentSet::whole(size).subtract(&claimed);
    if !left.is_empty() {
        units.push(filler(rest, UnitKind::Unclaimed, &left));
    }
    units.retain(|unit| !unit.map.is_empty());
    units.sort_by_key(|unit| unit.map.iter().map(|(_, extent)| extent.start).min());
    units
}

/// A unit of its own for a set of bytes, without an identity.
pub(super) fn filler(name: &str, kind: UnitKind, bytes: &ExtentSet) -> Unit {
    let mut inside = 0;
    let map = bytes
        .iter()
        .map(|extent| {
            let at = inside;
            inside += extent.len;
            (at, extent)
        })
        .collect();
    Unit { name: name.to_owned(), kind, identity: String::new(), map, content: None }
}

fn distrust(unit: &mut Unit) {
    if matches!(unit.kind, UnitKind::Partition | UnitKind::LogicalVolume) {
        unit.kind = UnitKind::Opaque;
    }
}

fn clip(mut unit: Unit, size: u64, notes: &mut Vec<String>) -> Unit {
    let sticks_out = |extent: &Extent| extent.start.checked_add(extent.len).is_none_or(|end| end > size);
    if unit.map.iter().any(|(_, extent)| sticks_out(extent)) {
        notes.push(format!("{}: reaches beyond the end, at {}", unit.name, human(size)));
        distrust(&mut unit);
        let inside = Extent { start: 0, len: size };
        unit.map = unit
            .map
            .into_iter()
            .filter_map(|(at, extent)| extent.intersect(&inside).map(|cut| (at, cut)))
            .collect();
    }
    unit.map.retain(|(_, extent)| extent.len > 0);
    unit
}

/// Bytes that more than one piece claims.
fn shared(units: &[Unit]) -> ExtentSet {
    let mut pieces: Vec<Extent> =
        units.iter().flat_map(|unit| unit.map.iter().map(|(_, extent)| *extent)).collect();
    pieces.sort_unstable();
    let (mut out, mut end) = (ExtentSet::empty(), 0);
    for piece in pieces {
        out.push(Extent::between(piece.start, piece.end().min(end)));
        end = end.max(piece.end());
    }
    out
}

fn part_with(unit: &mut Unit, shared: &ExtentSet, notes: &mut Vec<String>) {
    let lost: u64 = unit.map.iter().map(|(_, extent)| shared.bytes_in(extent)).sum();
    if lost == 0 {
        return;
    }
    notes.push(format!("{}: {} of it is claimed by others, too", unit.name, human(lost)));
    distrust(unit);
    unit.map = std::mem::take(&mut unit.map)
        .into_iter()
        .flat_map(|(at, extent)| {
            let own = std::iter::once(extent).collect::<ExtentSet>().subtract(shared);
            own.iter().map(|run| (at + (run.start - extent.start), run)).collect::<Vec<_>>()
        })
        .collect();
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn unit(name: &str, extents: &[(u64, u64)]) -> Unit {
        let set = extents.iter().map(|(start, len)| (0, Extent { start: *start, len: *len })).collect();
        Unit {
            name: name.into(),
            kind: UnitKind::Partition,
            identity: String::new(),
            map: set,
            content: None,
        }
    }

    #[test]
    fn gaps_are_unclaimed_and_order_is_by_first_byte() {
        let mut notes = Vec::new();
        let units = cover(100, vec![unit("b", &[(50, 10)]), unit("a", &[(10, 10)])], "rest", &mut notes);
        let names: Vec<_> = units.iter().map(|unit| unit.name.as_str()).collect();
        assert_eq!(names, ["rest", "a", "b"]);
        assert_eq!(units[0].map, [(0, (0, 10).into()), (10, (20, 30).into()), (40, (60, 40).into())]);
        assert!(notes.is_empty());
    }

    #[test]
    fn contested_bytes_make_their_claimants_opaque() {
        let mut notes = Vec::new();
        let units = cover(
            100,
            vec![unit("a", &[(0, 50)]), unit("b", &[(40, 20)]), unit("c", &[(60, 60)])],
            "",
            &mut notes,
        );
        let seen: Vec<_> = units.iter().map(|u| (u.name.as_str(), u.kind, u.map.clone())).collect();
        assert_eq!(
            seen,
            [
                ("a", UnitKind::Opaque, vec![(0, (0, 40).into())]),
                ("claimed more than once", UnitKind::Opaque, vec![(0, (40, 10).into())]),
                ("b", UnitKind::Opaque, vec![(10, (50, 10).into())]),
                ("c", UnitKind::Opaque, vec![(0, (60, 40).into())]),
            ]
        );
        assert_eq!(notes.len(), 3);
    }

    proptest! {
        /// Whatever is claimed, the result is disjoint and covers everything.
        #[test]
        fn always_disjoint_and_complete(
            size in 0u64..300,
            claims in prop::collection::vec(prop::collection::vec((0u64..400, 0u64..60), 0..4), 0..8),
        ) {
            let units = claims.iter().map(|extents| unit("u", extents)).collect();
            let covered = cover(size, units, "rest", &mut Vec::new());
            let bytes: u64 = covered.iter().flat_map(|unit| &unit.map).map(|(_, extent)| extent.len).sum();
            let all: ExtentSet = covered.iter().flat_map(|unit| &unit.map).map(|(_, extent)| *extent).collect();
            prop_assert_eq!(bytes, size);
            prop_assert_eq!(all, ExtentSet::whole(size));
        }
    }
}
