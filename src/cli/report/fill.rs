//! Making the report's rows from the model.

use super::{ClassFacts, ComparisonFacts, Discard, NextCommand, PerClass, SideFacts, UnitRow};
use crate::cli::status::reconnect_words;
use crate::model::delta::{Class, Delta};
use crate::model::evidence::Evidence;
use crate::model::extent::ExtentSet;
use crate::model::lineage::{Comparison, Lineage};
use crate::model::plan::UnitLoss;
use crate::model::side::{Pair, Side};
use crate::model::unit::UnitKind;

impl SideFacts {
    /// From one side's evidence and its lineage toward the other. `taken_at` is the evidence's stamp as text.
    #[must_use]
    pub fn new(evidence: &Evidence, lineage: &Lineage, taken_at: impl Into<String>) -> Self {
        let (source, marks) = (&evidence.source, &evidence.marks);
        SideFacts {
            data: source.place_words(),
            data_size: source.data_size,
            metadata: source.metadata.clone(),
            metadata_size: source.metadata_size,
            format: lineage.format,
            place: source.place,
            superblock_at: source.superblock_at,
            current: lineage.current,
            bitmap: lineage.bitmap,
            history: lineage.history.clone(),
            role: evidence.role,
            disk: lineage.disk,
            crashed_primary: lineage.crashed_primary,
            has_bitmap: marks.slot.is_some(),
            bits: marks.bits,
            bits_after_replay: marks.bits_after_replay,
            log: marks.log,
            taken_at: taken_at.into(),
        }
    }
}

impl ComparisonFacts {
    /// From the comparison, with DRBD's reaction put into words that use the sides' names.
    #[must_use]
    pub fn new(comparison: &Comparison, names: &Pair<String>) -> Self {
        ComparisonFacts {
            format: comparison.format,
            rule: comparison.rule,
            name: comparison.name.clone(),
            result: comparison.result.clone(),
            relation: comparison.relation,
            reconnect: reconnect_words(&comparison.reconnect, names.as_ref().map(String::as_str)),
            quirks: comparison.quirks.clone(),
        }
    }
}

impl ClassFacts {
    /// All classes of a delta, in the order of [`Class::ALL`].
    #[must_use]
    pub fn all(delta: &Delta) -> Vec<Self> {
        let facts = |class: &Class| {
            let marked = delta.marked_as(*class);
            let differs = marked.intersect(&delta.differs);
            let equal = match class {
                Class::Unmarked => ExtentSet::empty(),
                _ => marked.subtract(&delta.differs),
            };
            ClassFacts {
                class: *class,
                marked_bytes: marked.bytes(),
                differs_bytes: differs.bytes(),
                equal_bytes: equal.bytes(),
                differs,
                equal,
            }
        };
        Class::ALL.iter().map(facts).collect()
    }
}

fn common(extents: &ExtentSet, set: &ExtentSet) -> u64 {
    extents.iter().map(|extent| set.bytes_in(&extent)).sum()
}

impl UnitRow {
    /// A unit's row, its bytes counted from the classes. `extents` are clipped to the compared size by the caller.
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        kind: UnitKind,
        content: Option<String>,
        extents: ExtentSet,
        classes: &[ClassFacts],
    ) -> Self {
        let (mut differs, mut marked) = (PerClass::default(), PerClass::default());
        for facts in classes {
            let different = common(&extents, &facts.differs);
            differs[facts.class] += different;
            marked[facts.class] += different + common(&extents, &facts.equal);
        }
        // Nobody's bytes are what remains: the class holds no set of them.
        let claimed = marked.only_a + marked.only_b + marked.both;
        marked.unmarked = extents.bytes().saturating_sub(claimed);
        UnitRow {
            name: name.into(),
            kind,
            content,
            only_a: differs.only_a,
            only_b: differs.only_b,
            both: differs.both,
            unmarked: differs.unmarked,
            marked,
            doubtful: 0,
            conflict: differs.both > 0 || (differs.only_a > 0 && differs.only_b > 0),
            extents,
        }
    }
}

impl Discard {
    /// What keeping `survivor` discards: what only the victim wrote, what both wrote, and what differs although
    /// nobody marked it. The total is counted from the classes, so that it holds without a layout too.
    #[must_use]
    pub fn new(survivor: Side, classes: &[ClassFacts], units: &[UnitRow]) -> Self {
        let of = |differs: &PerClass| {
            let victim_only = differs[Class::only(survivor.other())];
            victim_only.saturating_add(differs.both).saturating_add(differs.unmarked)
        };
        let mut total = PerClass::default();
        classes.iter().for_each(|facts| total[facts.class] += facts.differs_bytes);
        let loss = |unit: &UnitRow| {
            let differs = unit.differs();
            (of(&differs) > 0).then(|| UnitLoss {
                unit: unit.name.clone(),
                victim_only: differs[Class::only(survivor.other())],
                both: differs.both,
                survivor_only: differs[Class::only(survivor)],
                unmarked: differs.unmarked,
                fate: None,
            })
        };
        Discard { bytes: of(&total), doubtful: 0, units: units.iter().filter_map(loss).collect() }
    }
}

impl NextCommand {
    /// A command and what it is for.
    #[must_use]
    pub fn new(purpose: impl Into<String>, command: impl Into<String>) -> Self {
        NextCommand { purpose: purpose.into(), command: command.into() }
    }
}
