//! What two sides' layouts describe differently.

use super::UnitDelta;
use crate::model::id::NodeName;
use crate::model::plan::Fate;
use crate::model::side::{Pair, Side};
use crate::model::size::human;
use crate::model::unit::{Unit, UnitKind};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// How a unit differs between the sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "change")]
pub enum Change {
    /// One side alone describes it: created there, removed on the other, or not readable on the other.
    Only {
        /// Which side has it.
        side: Side,
    },
    /// Its name.
    Renamed {
        /// The names.
        names: Pair<String>,
    },
    /// The bytes it has on this volume.
    Resized {
        /// The sizes.
        sizes: Pair<u64>,
    },
    /// Where its bytes stand, their number being the same.
    Moved,
    /// What it is.
    Kind {
        /// The kinds.
        kinds: Pair<UnitKind>,
    },
}

/// One difference between the sides' layouts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutDifference {
    /// The unit's name, side A's if it has one.
    pub unit: String,
    /// What it is, by the same side.
    pub kind: UnitKind,
    /// Its stable identity, or the empty text.
    pub identity: String,
    /// Nothing was odd about the other side's tables, so a unit that they do not name is not there. With damage it may be.
    #[serde(default)]
    pub sure: bool,
    /// How it differs.
    #[serde(flatten)]
    pub change: Change,
    /// Which sides wrote to partition tables or LVM metadata during the split, by their marks. Neither, when there
    /// are no marks to tell.
    pub wrote: Pair<bool>,
}

impl LayoutDifference {
    /// Whether a partition or volume exists on `side` alone. What a table leaves over is no unit of its own, and a table that
    /// could not be read says nothing.
    #[must_use]
    pub fn only(&self, side: Side) -> bool {
        let own = matches!(self.kind, UnitKind::Partition | UnitKind::LogicalVolume | UnitKind::Opaque);
        own && self.sure && self.change == Change::Only { side }
    }

    /// Whether this is about a unit as `side` describes it.
    pub(super) fn is_about(&self, unit: &UnitDelta, side: Side) -> bool {
        let same = self.identity == unit.identity
            && match &self.change {
                Change::Renamed { names } => names[side] == unit.name,
                _ => !self.identity.is_empty() || self.unit == unit.name,
            };
        same && match self.change {
            Change::Only { side: only } => only == side,
            _ => true,
        }
    }

    /// What becomes of the unit of `victim` when the other side's description takes the place of its own.
    pub(super) fn fate(&self, victim: Side) -> Option<Fate> {
        match &self.change {
            Change::Renamed { names } => Some(Fate::Renamed { to: names[victim.other()].clone() }),
            Change::Resized { sizes } => Some(Fate::Resized { to: sizes[victim.other()] }),
            Change::Moved => Some(Fate::Moved),
            Change::Only { .. } | Change::Kind { .. } => None,
        }
    }

    /// The difference as a sentence.
    #[must_use]
    pub fn sentence(&self, names: &Pair<NodeName>) -> String {
        let what = match &self.change {
            Change::Only { side } if self.only(*side) => format!("exists only on {}", names[*side]),
            Change::Only { side } => format!("only {} describes it", names[*side]),
            Change::Renamed { names: said } => {
                format!("{} calls it {}, {} calls it {}", names.a, said.a, names.b, said.b)
            }
            Change::Resized { sizes } => {
                format!("{} on {}, {} on {}", human(sizes.a), names.a, human(sizes.b), names.b)
            }
            Change::Moved => "its bytes stand in different places".to_owned(),
            Change::Kind { kinds } => {
                format!("{:?} on {}, {:?} on {}", kinds.a, names.a, kinds.b, names.b)
            }
        };
        let who = match (self.wrote.a, self.wrote.b) {
            (true, true) => "both sides changed tables or metadata during the split".to_owned(),
            (true, false) => format!("only {} changed tables or metadata during the split", names.a),
            (false, true) => format!("only {} changed tables or metadata during the split", names.b),
            (false, false) => "neither side has marked tables or metadata as changed".to_owned(),
        };
        format!("{}: {what}; {who}", self.unit)
    }
}

/// All differences. What is left over from the others' point of view is named only when nothing else is. `quiet`: nothing
/// was odd about a side's tables.
pub(super) fn list(units: &Pair<Vec<&Unit>>, wrote: Pair<bool>, quiet: Pair<bool>) -> Vec<LayoutDifference> {
    let claimed = of(units, |unit| unit.kind != UnitKind::Unclaimed, wrote, quiet);
    if claimed.is_empty() { of(units, |_| true, wrote, quiet) } else { claimed }
}

/// Units are the same one when their identity is; those without one, when their name is.
fn key(unit: &Unit) -> (bool, &str) {
    if unit.identity.is_empty() { (false, &unit.name) } else { (true, &unit.identity) }
}

fn of(
    units: &Pair<Vec<&Unit>>,
    wanted: impl Fn(&Unit) -> bool,
    wrote: Pair<bool>,
    quiet: Pair<bool>,
) -> Vec<LayoutDifference> {
    let mut others: HashMap<(bool, &str), std::collections::VecDeque<&Unit>> = HashMap::new();
    for unit in units.b.iter().filter(|unit| wanted(unit)) {
        others.entry(key(unit)).or_default().push_back(unit);
    }
    let difference = |unit: &Unit, change: Change| LayoutDifference {
        sure: match change {
            Change::Only { side } => quiet[side.other()],
            _ => true,
        },
        unit: unit.name.clone(),
        kind: unit.kind,
        identity: unit.identity.clone(),
        change,
        wrote,
    };
    let mut out = Vec::new();
    for unit in units.a.iter().filter(|unit| wanted(unit)) {
        match others.get_mut(&key(unit)).and_then(std::collections::VecDeque::pop_front) {
            Some(other) => {
                out.extend(changes(unit, other).into_iter().map(|change| difference(unit, change)))
            }
            None => out.push(difference(unit, Change::Only { side: Side::A })),
        }
    }
    // In the order of the layout, not of the hash.
    for unit in units.b.iter().filter(|unit| wanted(unit)) {
        let left =
            others.get(&key(unit)).is_some_and(|rest| rest.iter().any(|other| std::ptr::eq(*other, *unit)));
        if left {
            out.push(difference(unit, Change::Only { side: Side::B }));
        }
    }
    out
}

fn changes(a: &Unit, b: &Unit) -> Vec<Change> {
    let size = |unit: &Unit| unit.map.iter().map(|(_, extent)| extent.len).sum::<u64>();
    let mut out = Vec::new();
    if a.name != b.name {
        out.push(Change::Renamed { names: Pair::new(a.name.clone(), b.name.clone()) });
    }
    if a.kind != b.kind {
        out.push(Change::Kind { kinds: Pair::new(a.kind, b.kind) });
    }
    if size(a) != size(b) {
        out.push(Change::Resized { sizes: Pair::new(size(a), size(b)) });
    } else if a.map != b.map {
        out.push(Change::Moved);
    }
    out
}
