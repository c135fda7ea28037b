//! Attribution: conservation, disagreement, losses.

use super::*;
use crate::model::delta::Scope;
use crate::model::id::{Digest, NodeName};
use proptest::prelude::*;

fn delta(size: u64, a: &[(u64, u64)], b: &[(u64, u64)], differs: &[(u64, u64)]) -> Delta {
    let set =
        |runs: &[(u64, u64)]| runs.iter().map(|run| Extent::from(*run)).collect::<ExtentSet>().clip(size);
    Delta {
        size,
        scope: Scope::Everything,
        marked: Pair::new(set(a), set(b)),
        doubt: Pair::new(ExtentSet::empty(), ExtentSet::empty()),
        marks_complete: true,
        differs: set(differs),
        content: Pair::new(Digest([0; 32]), Digest([0; 32])),
        unreadable: Vec::new(),
        compared: size,
    }
}

fn unit(name: &str, kind: UnitKind, identity: &str, extents: &[(u64, u64)]) -> Unit {
    let mut at = 0;
    let map = extents
        .iter()
        .map(|(start, len)| {
            at += len;
            (at - len, Extent { start: *start, len: *len })
        })
        .collect();
    Unit { name: name.into(), kind, identity: identity.into(), map, content: None }
}

fn layout(units: Vec<Unit>) -> Layout {
    Layout { units, notes: Vec::new() }
}

fn two_volumes() -> Layout {
    layout(vec![
        unit("vg: LVM label and metadata", UnitKind::Structure, "", &[(0, 10)]),
        unit("vg/one", UnitKind::LogicalVolume, "1", &[(10, 30), (80, 10)]),
        unit("vg/two", UnitKind::LogicalVolume, "2", &[(40, 40)]),
        unit("vg: free space", UnitKind::Unclaimed, "", &[(90, 10)]),
    ])
}

#[test]
fn each_unit_gets_its_share() {
    let delta = delta(100, &[(20, 30)], &[(45, 40)], &[(25, 10), (48, 4), (70, 12), (95, 5)]);
    let report = attribute(&delta, &Pair::new(two_volumes(), two_volumes()));
    assert!(report.agreement);
    assert_eq!(report.differences, []);
    let rows: Vec<_> =
        report.units.iter().map(|unit| (unit.name.as_str(), unit.bytes, unit.counts)).collect();
    let count = |marked, differs| Count { marked, differs };
    let none = Counts::default();
    assert_eq!(
        rows,
        [
            ("vg: LVM label and metadata", 10, Counts { unmarked: count(10, 0), ..none }),
            (
                "vg/one",
                40,
                Counts { only_a: count(20, 10), only_b: count(5, 2), unmarked: count(15, 0), ..none }
            ),
            ("vg/two", 40, Counts { only_a: count(5, 0), only_b: count(30, 12), both: count(5, 2), ..none }),
            ("vg: free space", 10, Counts { unmarked: count(10, 5), ..none }),
        ]
    );
    assert_eq!(
        losses(&report, Side::A),
        [
            UnitLoss {
                unit: "vg/one".into(),
                victim_only: 2,
                both: 0,
                survivor_only: 10,
                unmarked: 0,
                fate: None
            },
            UnitLoss {
                unit: "vg/two".into(),
                victim_only: 12,
                both: 2,
                survivor_only: 0,
                unmarked: 0,
                fate: None
            },
            UnitLoss {
                unit: "vg: free space".into(),
                victim_only: 0,
                both: 0,
                survivor_only: 0,
                unmarked: 5,
                fate: None
            },
        ]
    );
    assert_eq!(losses(&report, Side::B)[0].victim_only, 10);
}

#[test]
fn disagreement_is_told_per_side() {
    let mut other = two_volumes();
    other.units[2] = unit("vg/two", UnitKind::LogicalVolume, "2", &[(40, 20)]);
    other.units.insert(3, unit("vg/new", UnitKind::LogicalVolume, "3", &[(60, 20)]));
    let delta = delta(100, &[], &[(0, 4), (60, 20)], &[(0, 4), (60, 20)]);
    let report = attribute(&delta, &Pair::new(two_volumes(), other));
    assert!(!report.agreement);
    let told: Vec<_> =
        report.differences.iter().map(|d| (d.unit.as_str(), d.change.clone(), d.wrote)).collect();
    let wrote = Pair::new(false, true);
    assert_eq!(
        told,
        [
            ("vg/two", Change::Resized { sizes: Pair::new(40, 20) }, wrote),
            ("vg/new", Change::Only { side: Side::B }, wrote),
        ]
    );
    let rows: Vec<_> = report.units.iter().map(|unit| (unit.name.as_str(), unit.side)).collect();
    assert_eq!(
        rows,
        [
            ("vg: LVM label and metadata", None),
            ("vg/one", None),
            ("vg/two", Some(Side::A)),
            ("vg/two", Some(Side::B)),
            ("vg/new", Some(Side::B)),
            ("vg: free space", None),
        ]
    );
    assert_eq!(report.view(Side::A).map(|unit| unit.bytes).sum::<u64>(), 100);
    assert_eq!(report.view(Side::B).map(|unit| unit.bytes).sum::<u64>(), 100);
    // Who loses names what is lost. B's new volume is no part of what A calls vg/two.
    let told = |survivor: Side| {
        let loss = |loss: UnitLoss| (loss.unit, loss.victim_only + loss.survivor_only, loss.fate);
        losses(&report, survivor).into_iter().map(loss).collect::<Vec<_>>()
    };
    assert_eq!(
        told(Side::A),
        [
            ("vg: LVM label and metadata".to_owned(), 4, None),
            ("vg/new".to_owned(), 20, Some(Fate::Disappears)),
        ]
    );
    assert_eq!(
        told(Side::B),
        [
            ("vg: LVM label and metadata".to_owned(), 4, None),
            ("vg/two".to_owned(), 20, Some(Fate::Resized { to: 20 })),
            ("vg/new".to_owned(), 0, Some(Fate::Appears)),
        ]
    );
    let names = Pair::new(NodeName::new("n1").unwrap(), NodeName::new("n2").unwrap());
    assert_eq!(
        report.differences[1].sentence(&names),
        "vg/new: exists only on n2; only n2 changed tables or metadata during the split"
    );
}

/// A unit that nobody wrote to comes and goes with the tables all the same.
#[test]
fn an_empty_unit_of_one_side_is_no_less_lost() {
    let mut other = two_volumes();
    other.units[3] = unit("vg/empty", UnitKind::LogicalVolume, "9", &[(90, 10)]);
    let delta = delta(100, &[], &[(0, 4)], &[(0, 4)]);
    let report = attribute(&delta, &Pair::new(two_volumes(), other));
    let told = |survivor: Side| {
        losses(&report, survivor).into_iter().map(|loss| (loss.unit, loss.fate)).collect::<Vec<_>>()
    };
    let tables = ("vg: LVM label and metadata".to_owned(), None);
    assert_eq!(told(Side::A), [tables.clone(), ("vg/empty".to_owned(), Some(Fate::Disappears))]);
    // Where the other side's tables are odd, nobody knows what it has.
    let (mut damaged, mut whole) = (two_volumes(), two_volumes());
    whole.units[3] = unit("vg/empty", UnitKind::LogicalVolume, "9", &[(90, 10)]);
    damaged.notes.push("one copy of the metadata cannot be read".to_owned());
    let doubtful = attribute(&delta, &Pair::new(damaged, whole));
    assert!(losses(&doubtful, Side::A).iter().all(|loss| loss.fate.is_none()));
    assert_eq!(told(Side::B), [tables, ("vg/empty".to_owned(), Some(Fate::Appears))]);
}

#[test]
fn renaming_and_moving_are_differences() {
    let base = two_volumes();
    for (change, expected) in [
        (
            unit("vg/uno", UnitKind::LogicalVolume, "1", &[(10, 30), (80, 10)]),
            Change::Renamed { names: Pair::new("vg/one".into(), "vg/uno".into()) },
        ),
        (unit("vg/one", UnitKind::LogicalVolume, "1", &[(10, 30), (90, 10)]), Change::Moved),
        (
            unit("vg/one", UnitKind::Opaque, "1", &[(10, 30), (80, 10)]),
            Change::Kind { kinds: Pair::new(UnitKind::LogicalVolume, UnitKind::Opaque) },
        ),
    ] {
        let mut other = two_volumes();
        other.units[1] = change;
        other.units.retain(|unit| unit.kind != UnitKind::Unclaimed);
        let report = attribute(&delta(100, &[], &[], &[]), &Pair::new(base.clone(), other));
        assert!(!report.agreement);
        assert_eq!(report.differences.len(), 1);
        assert_eq!(report.differences[0].change, expected);
        assert_eq!(report.differences[0].wrote, Pair::new(false, false));
    }
}

#[test]
fn a_side_without_a_table_disagrees_with_one_that_has() {
    let bare = layout(vec![unit("whole volume", UnitKind::Unclaimed, "", &[(0, 100)])]);
    let report = attribute(&delta(100, &[], &[], &[]), &Pair::new(two_volumes(), bare.clone()));
    assert!(!report.agreement);
    assert!(report.differences.iter().all(|d| d.change == Change::Only { side: Side::A }));
    assert_eq!(report.differences.len(), 3);
    // Two that cover less than the volume, differently: the rest is counted, and the difference has a name.
    let short = layout(vec![unit("whole volume", UnitKind::Unclaimed, "", &[(0, 60)])]);
    let report = attribute(&delta(100, &[], &[], &[(50, 50)]), &Pair::new(bare, short));
    assert!(!report.agreement && !report.differences.is_empty());
    assert_eq!(report.view(Side::B).map(|unit| unit.counts.differs()).sum::<u64>(), 50);
}

/// A layout that cuts `size` bytes at the given points and deals the pieces out to `owners` units.
fn dealt(size: u64, cuts: &[u64], owners: usize) -> Layout {
    let mut points: Vec<u64> = cuts.iter().map(|cut| cut % size).chain([0, size]).collect();
    points.sort_unstable();
    points.dedup();
    let mut pieces = vec![Vec::new(); owners];
    for (number, pair) in points.windows(2).enumerate() {
        pieces[number * 7 % owners].push((pair[0], pair[1] - pair[0]));
    }
    let units = pieces.iter().enumerate().filter(|(_, extents)| !extents.is_empty());
    layout(
        units
            .map(|(number, extents)| unit(&format!("u{number}"), UnitKind::LogicalVolume, "", extents))
            .collect(),
    )
}

proptest! {
    /// No byte is lost or counted twice: the units of either view add up to the delta's own totals.
    #[test]
    fn conservation(
        size in 1u64..2000,
        a in prop::collection::vec((0u64..2000, 1u64..200), 0..6),
        b in prop::collection::vec((0u64..2000, 1u64..200), 0..6),
        differs in prop::collection::vec((0u64..2000, 1u64..200), 0..6),
        cuts in prop::array::uniform2(prop::collection::vec(0u64..2000, 0..12)),
        owners in 1usize..5,
        alike in any::<bool>(),
        cover in prop::array::uniform2(1u64..2500),
    ) {
        let delta = delta(size, &a, &b, &differs);
        let first = dealt(cover[0], &cuts[0], owners);
        let second = if alike { first.clone() } else { dealt(cover[1], &cuts[1], owners) };
        let report = attribute(&delta, &Pair::new(first.clone(), second.clone()));
        prop_assert_eq!(report.agreement, first == second);
        prop_assert_eq!(report.differences.is_empty(), report.agreement);
        for side in Side::BOTH {
            let mut sum = Counts::default();
            report.view(side).for_each(|unit| sum.add(&unit.counts));
            prop_assert_eq!(sum, report.total);
            prop_assert_eq!(report.view(side).map(|unit| unit.bytes).sum::<u64>(), size);
            let lost: u64 = losses(&report, side).iter()
                .map(|loss| loss.victim_only + loss.both + loss.survivor_only + loss.unmarked).sum();
            prop_assert_eq!(lost, delta.differs.bytes());
        }
        for class in Class::ALL {
            prop_assert_eq!(report.total.of(class).marked, delta.marked_as(class).bytes());
            prop_assert_eq!(report.total.of(class).differs, delta.differs_as(class).bytes());
        }
    }
}
