//! Whose the differences are: a delta counted per unit, and whether both sides describe the same units.

mod differences;

pub use differences::{Change, LayoutDifference};

use crate::model::delta::{Class, Delta};
use crate::model::extent::{Extent, ExtentSet};
use crate::model::plan::{Fate, UnitLoss};
use crate::model::side::{Pair, Side};
use crate::model::unit::{Layout, Unit, UnitKind};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};

/// Bytes of one class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Count {
    /// In the class by mark, whether they differ or not.
    pub marked: u64,
    /// Of these, bytes in blocks whose content differs.
    pub differs: u64,
}

/// Bytes per class. The `marked` of all four together are all bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Marked on side A only.
    pub only_a: Count,
    /// Marked on side B only.
    pub only_b: Count,
    /// Marked on both sides.
    pub both: Count,
    /// Marked on neither.
    pub unmarked: Count,
}

impl Counts {
    /// The count of a class.
    #[must_use]
    pub fn of(&self, class: Class) -> Count {
        match class {
            Class::OnlyA => self.only_a,
            Class::OnlyB => self.only_b,
            Class::Both => self.both,
            Class::Unmarked => self.unmarked,
        }
    }

    /// Bytes that differ, in any class.
    #[must_use]
    pub fn differs(&self) -> u64 {
        Class::ALL.into_iter().map(|class| self.of(class).differs).sum()
    }

    /// Bytes that any side marked.
    #[must_use]
    pub fn marked(&self) -> u64 {
        self.only_a.marked + self.only_b.marked + self.both.marked
    }

    fn add(&mut self, other: &Counts) {
        for (mine, theirs) in [
            (&mut self.only_a, other.only_a),
            (&mut self.only_b, other.only_b),
            (&mut self.both, other.both),
            (&mut self.unmarked, other.unmarked),
        ] {
            mine.marked += theirs.marked;
            mine.differs += theirs.differs;
        }
    }
}

/// One unit's share of the delta.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitDelta {
    /// The unit's name.
    pub name: String,
    /// What it is.
    pub kind: UnitKind,
    /// Its stable identity, or the empty text.
    pub identity: String,
    /// `None` when both sides describe the unit alike; else the only side that describes it like this.
    pub side: Option<Side>,
    /// What stands at its start, as each side sees it. A hint for people.
    pub content: Pair<Option<String>>,
    /// Bytes of it in the compared volume.
    pub bytes: u64,
    /// Its share of the delta.
    pub counts: Counts,
    /// Bytes of it that could not be read on either side.
    pub unreadable: u64,
}

/// A delta, per unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitReport {
    /// Whether both sides describe the same units, with the same names, in the same places.
    pub agreement: bool,
    /// What they describe differently. Empty exactly when they agree.
    pub differences: Vec<LayoutDifference>,
    /// The units, in order of their first byte. Those both sides describe alike come once; the others once per side,
    /// with that side. The units of one side's view (see [`UnitReport::view`]) cover the volume without overlap.
    pub units: Vec<UnitDelta>,
    /// The whole delta.
    pub total: Counts,
    /// What was odd while reading each side's layout.
    pub notes: Pair<Vec<String>>,
}

impl UnitReport {
    /// The units as one side describes them. Their counts add up to the total.
    pub fn view(&self, side: Side) -> impl Iterator<Item = &UnitDelta> {
        self.units.iter().filter(move |unit| unit.side.is_none_or(|only| only == side))
    }

    /// The side that alone has this unit, whatever it holds; `None` when both have it, or when it is no unit of its own but
    /// what a layout leaves over.
    #[must_use]
    pub fn only_on(&self, unit: &UnitDelta) -> Option<Side> {
        let side = unit.side?;
        self.differences
            .iter()
            .any(|difference| difference.only(side) && difference.is_about(unit, side))
            .then_some(side)
    }

    /// What becomes of a unit that `victim` describes when the other side's tables take the place of its own.
    #[must_use]
    pub fn fate(&self, unit: &UnitDelta, victim: Side) -> Option<Fate> {
        if unit.side != Some(victim) {
            return None;
        }
        if self.only_on(unit).is_some() {
            return Some(Fate::Disappears);
        }
        let changes = self.differences.iter().filter(|difference| difference.is_about(unit, victim));
        changes.filter_map(|difference| difference.fate(victim)).next()
    }
}

/// Counts the delta per unit. Bytes of the compared volume that a layout does not cover are counted as an
/// unclaimed unit; bytes of units beyond the compared volume are not counted.
#[must_use]
pub fn attribute(delta: &Delta, layouts: &Pair<Layout>) -> UnitReport {
    let rest = layouts.as_ref().map(|layout| rest(layout, delta.size));
    let units = Pair::from_fn(|side| layouts[side].units.iter().chain(&rest[side]).collect::<Vec<&Unit>>());
    let counter = Counter::new(delta);
    // Units of one layout are disjoint, so their first byte tells them apart.
    let twins: HashMap<u64, &Unit> =
        units.b.iter().filter_map(|unit| Some((first_byte(unit)?, *unit))).collect();
    let mut common = HashSet::new();
    let mut rows = Vec::new();
    for unit in &units.a {
        let at = first_byte(unit);
        let twin = at.and_then(|at| twins.get(&at)).filter(|twin| same(unit, twin));
        let (side, theirs) = match twin {
            Some(twin) => (None, twin.content.clone()),
            None => (Some(Side::A), None),
        };
        common.extend(at.filter(|_| twin.is_some()));
        rows.push((*unit, side, Pair::new(unit.content.clone(), theirs)));
    }
    for unit in units.b.iter().filter(|unit| first_byte(unit).is_none_or(|at| !common.contains(&at))) {
        rows.push((unit, Some(Side::B), Pair::new(None, unit.content.clone())));
    }
    rows.sort_by_key(|(unit, side, _)| (first_byte(unit), *side));
    let agreement = rows.iter().all(|(_, side, _)| side.is_none());
    let quiet = layouts.as_ref().map(|layout| layout.notes.is_empty());
    let differences =
        if agreement { Vec::new() } else { differences::list(&units, counter.structures(&units), quiet) };
    UnitReport {
        agreement,
        differences,
        units: rows.into_iter().map(|(unit, side, content)| counter.row(unit, side, content)).collect(),
        total: counter.count(&Extent { start: 0, len: delta.size }),
        notes: layouts.as_ref().map(|layout| layout.notes.clone()),
    }
}

/// What a layout leaves open of the compared volume.
fn rest(layout: &Layout, size: u64) -> Option<Unit> {
    let described: ExtentSet =
        layout.units.iter().flat_map(|unit| unit.map.iter().map(|(_, extent)| *extent)).collect();
    let rest = ExtentSet::whole(size).subtract(&described);
    let map = rest.iter().scan(0, |inside, extent| {
        let at = *inside;
        *inside += extent.len;
        Some((at, extent))
    });
    (!rest.is_empty()).then(|| Unit {
        name: "not described".to_owned(),
        kind: UnitKind::Unclaimed,
        identity: String::new(),
        map: map.collect(),
        content: None,
    })
}

fn first_byte(unit: &Unit) -> Option<u64> {
    unit.map.iter().map(|(_, extent)| extent.start).min()
}

/// Whether two sides describe a unit alike. What stands inside it is its own affair.
fn same(a: &Unit, b: &Unit) -> bool {
    a.kind == b.kind && a.name == b.name && a.identity == b.identity && a.map == b.map
}

/// The delta's sets, made once.
struct Counter<'a> {
    delta: &'a Delta,
    sets: [(Class, ExtentSet, ExtentSet); 4],
    unreadable: ExtentSet,
}

impl<'a> Counter<'a> {
    fn new(delta: &'a Delta) -> Self {
        let sets = Class::ALL.map(|class| {
            let marked = delta.marked_as(class).clip(delta.size);
            let differs = marked.intersect(&delta.differs);
            (class, marked, differs)
        });
        let unreadable =
            delta.unreadable.iter().map(|range| range.extent).collect::<ExtentSet>().clip(delta.size);
        Counter { delta, sets, unreadable }
    }

    fn count(&self, extent: &Extent) -> Counts {
        let mut counts = Counts::default();
        for (class, marked, differs) in &self.sets {
            let slot = match class {
                Class::OnlyA => &mut counts.only_a,
                Class::OnlyB => &mut counts.only_b,
                Class::Both => &mut counts.both,
                Class::Unmarked => &mut counts.unmarked,
            };
            *slot = Count { marked: marked.bytes_in(extent), differs: differs.bytes_in(extent) };
        }
        counts
    }

    fn row(&self, unit: &Unit, side: Option<Side>, content: Pair<Option<String>>) -> UnitDelta {
        let compared = Extent { start: 0, len: self.delta.size };
        let (mut counts, mut bytes, mut unreadable) = (Counts::default(), 0, 0);
        for (_, extent) in &unit.map {
            counts.add(&self.count(extent));
            bytes += extent.intersect(&compared).map_or(0, |inside| inside.len);
            unreadable += self.unreadable.bytes_in(extent);
        }
        UnitDelta {
            name: unit.name.clone(),
            kind: unit.kind,
            identity: unit.identity.clone(),
            side,
            content,
            bytes,
            counts,
            unreadable,
        }
    }

    /// Which sides wrote differing bytes into tables and metadata, as either side describes them.
    fn structures(&self, units: &Pair<Vec<&Unit>>) -> Pair<bool> {
        let structures = units.a.iter().chain(&units.b).filter(|unit| unit.kind == UnitKind::Structure);
        let mut counts = Counts::default();
        structures.flat_map(|unit| &unit.map).for_each(|(_, extent)| counts.add(&self.count(extent)));
        let wrote = |only: Count| only.differs + counts.both.differs > 0;
        Pair::new(wrote(counts.only_a), wrote(counts.only_b))
    }
}

/// What each unit loses when `survivor` overwrites the other side, as the side that loses it describes its units: nobody else
/// knows what they are called. Units without a differing byte lose nothing and are left out, unless the unit itself exists on
/// one side only: it comes or goes with the tables.
#[must_use]
pub fn losses(report: &UnitReport, survivor: Side) -> Vec<UnitLoss> {
    let victim = survivor.other();
    let of = |unit: &UnitDelta| {
        let fate = report.fate(unit, victim);
        (unit.counts.differs() > 0 || fate == Some(Fate::Disappears)).then(|| UnitLoss {
            unit: unit.name.clone(),
            victim_only: unit.counts.of(Class::only(victim)).differs,
            both: unit.counts.both.differs,
            survivor_only: unit.counts.of(Class::only(survivor)).differs,
            unmarked: unit.counts.unmarked.differs,
            fate,
        })
    };
    let appears = |difference: &LayoutDifference| {
        difference.only(survivor).then(|| UnitLoss {
            unit: difference.unit.clone(),
            victim_only: 0,
            both: 0,
            survivor_only: 0,
            unmarked: 0,
            fate: Some(Fate::Appears),
        })
    };
    report.view(victim).filter_map(of).chain(report.differences.iter().filter_map(appears)).collect()
}

#[cfg(test)]
mod tests;
