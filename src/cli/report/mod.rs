//! The incident report: what was found on both sides, where they differ, and what each choice would cost.
//!
//! [`ReportData`] is plain data and the JSON form of the report. [`text::render_text`] and
//! [`html::render_html`] show the same data to people: the first for e-mail, the second as one page for
//! the ticket. Neither reads a clock or the outside; whoever fills the data does.

mod clean;
pub mod command;
mod fill;
pub mod html;
pub mod map;
#[cfg(test)]
mod tests;
pub mod text;
mod words;

use super::still_open::OpenView;
use crate::model::delta::{Class, Coverage, Scope, Unreadable};
use crate::model::drbd::{DiskState, GenerationUuid, MetadataFormat, Role};
use crate::model::evidence::{LogState, MetadataPlace};
use crate::model::extent::ExtentSet;
use crate::model::lineage::Relation;
use crate::model::plan::UnitLoss;
use crate::model::side::Pair;
use crate::model::unit::UnitKind;
use crate::model::verdict::Verdict;
use serde::Serialize;
use std::ops::{Index, IndexMut};

/// Name of the report's JSON schema.
pub const SCHEMA: &str = "unsplit.report";
/// Version of the report's JSON schema.
pub const VERSION: u32 = 1;

/// Everything the renderers need. All sizes and offsets are bytes.
#[derive(Debug, Clone, Serialize)]
pub struct ReportData {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// [`VERSION`].
    pub version: u32,
    /// What the volume is called: the resource, or how the operator named the pair.
    pub title: String,
    /// When this report was made, as it shall be printed.
    pub generated_at: String,
    /// What the sides are called.
    pub names: Pair<String>,
    /// What was read of each side.
    pub sides: Pair<SideFacts>,
    /// What the two lineages say; `None` when they were not compared.
    pub comparison: Option<ComparisonFacts>,
    /// What was compared.
    pub scope: Scope,
    /// Bytes of replicated data that both sides have.
    pub size: u64,
    /// Bytes compared on each side.
    pub compared: u64,
    /// Whether the marks explain every difference (the lineages have a common base).
    pub marks_complete: bool,
    /// One entry per class, in the order of [`Class::ALL`].
    pub classes: Vec<ClassFacts>,
    /// The volume's units in order of their first byte; empty when no layout was found.
    pub units: Vec<UnitRow>,
    /// What was odd about the layout: damaged copies, unknown segment types, sides that disagree.
    pub layout_notes: Vec<String>,
    /// What could not be read, ascending.
    pub unreadable: Vec<Unreadable>,
    /// The decision and its reasons, if one was asked for.
    pub verdict: Option<Verdict>,
    /// What keeping each side would discard of the other.
    pub if_keep: Pair<Discard>,
    /// Incidents about the sides that are not over; `None` when nobody looked.
    pub incidents: Option<OpenView>,
    /// The commands to type next, most likely one first.
    pub next: Vec<NextCommand>,
}

impl ReportData {
    /// How much was compared.
    #[must_use]
    pub fn coverage(&self) -> Coverage {
        Coverage { scope: self.scope, compared: self.compared, size: self.size }
    }

    /// What a mark proves: that its side changed a block, or, without a common base, no more than that it marked it.
    #[must_use]
    pub fn changed(&self) -> &'static str {
        if self.marks_complete { "changed" } else { "marked" }
    }

    /// Blocks that either side would report as different in a handshake.
    #[must_use]
    pub fn marked_blocks(&self) -> u64 {
        self.sides.a.bits_after_replay.saturating_add(self.sides.b.bits_after_replay)
    }

    /// Bytes that differ, by class.
    #[must_use]
    pub fn differs(&self) -> PerClass {
        PerClass::from_fn(|class| {
            self.classes.iter().filter(|facts| facts.class == class).map(|facts| facts.differs_bytes).sum()
        })
    }

    /// Bytes that were marked but are equal, over all classes.
    #[must_use]
    pub fn equal(&self) -> u64 {
        self.classes.iter().map(|facts| facts.equal_bytes).sum()
    }
}

/// A number of bytes for each class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct PerClass {
    /// Marked on side A only.
    pub only_a: u64,
    /// Marked on side B only.
    pub only_b: u64,
    /// Marked on both.
    pub both: u64,
    /// Marked on neither.
    pub unmarked: u64,
}

impl PerClass {
    /// Made by asking `f` for each class.
    pub fn from_fn(mut f: impl FnMut(Class) -> u64) -> Self {
        PerClass {
            only_a: f(Class::OnlyA),
            only_b: f(Class::OnlyB),
            both: f(Class::Both),
            unmarked: f(Class::Unmarked),
        }
    }

    /// The sum over all classes.
    #[must_use]
    pub fn total(&self) -> u64 {
        Class::ALL.iter().fold(0, |sum, class| sum.saturating_add(self[*class]))
    }
}

impl Index<Class> for PerClass {
    type Output = u64;
    fn index(&self, class: Class) -> &u64 {
        match class {
            Class::OnlyA => &self.only_a,
            Class::OnlyB => &self.only_b,
            Class::Both => &self.both,
            Class::Unmarked => &self.unmarked,
        }
    }
}

impl IndexMut<Class> for PerClass {
    fn index_mut(&mut self, class: Class) -> &mut u64 {
        match class {
            Class::OnlyA => &mut self.only_a,
            Class::OnlyB => &mut self.only_b,
            Class::Both => &mut self.both,
            Class::Unmarked => &mut self.unmarked,
        }
    }
}

/// What was read of one side; see [`SideFacts::new`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SideFacts {
    /// Path of the data device or image.
    pub data: String,
    /// Its size, metadata included when internal.
    pub data_size: u64,
    /// Path of the metadata device; equal to `data` when internal.
    pub metadata: String,
    /// Its size.
    pub metadata_size: u64,
    /// v08 or v09.
    pub format: MetadataFormat,
    /// Where on the metadata device the metadata stands.
    pub place: MetadataPlace,
    /// Byte offset of the superblock.
    pub superblock_at: u64,
    /// Current generation.
    pub current: GenerationUuid,
    /// Bitmap UUID toward the other side.
    pub bitmap: GenerationUuid,
    /// Past generations, newest first, as stored.
    pub history: Vec<GenerationUuid>,
    /// Role when the evidence was taken.
    pub role: Role,
    /// Disk state that would be negotiated.
    pub disk: DiskState,
    /// Went down as Primary, or would be treated so.
    pub crashed_primary: bool,
    /// Whether there is a bitmap for the other side at all.
    pub has_bitmap: bool,
    /// Bits set in it, as found.
    pub bits: u64,
    /// Bits that would be set after the activity log is replayed.
    pub bits_after_replay: u64,
    /// State of the activity log.
    pub log: LogState,
    /// When the evidence was taken, as it shall be printed.
    pub taken_at: String,
}

/// What the lineages say; see [`ComparisonFacts::new`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ComparisonFacts {
    /// Whose rules: v08 or v09.
    pub format: MetadataFormat,
    /// Rule number of 8.4; `None` in 9.
    pub rule: Option<u16>,
    /// Name of the rule.
    pub name: String,
    /// What DRBD prints for the result, from A's point of view.
    pub result: String,
    /// The relation, from A's point of view.
    pub relation: Relation,
    /// What DRBD itself would do on reconnect, in words.
    pub reconnect: String,
    /// Quirks that apply to this pair.
    pub quirks: Vec<String>,
}

/// One class of blocks over the whole volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClassFacts {
    /// The class.
    pub class: Class,
    /// Bytes in the class; for [`Class::Unmarked`] the bytes that nobody marked.
    pub marked_bytes: u64,
    /// Of these, bytes whose contents differ.
    pub differs_bytes: u64,
    /// Of these, marked bytes that turned out equal; 0 for [`Class::Unmarked`].
    pub equal_bytes: u64,
    /// Where contents differ.
    pub differs: ExtentSet,
    /// Where a mark turned out equal; empty for [`Class::Unmarked`].
    pub equal: ExtentSet,
}

/// One unit of the volume and what differs in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnitRow {
    /// Name as its tools print it.
    pub name: String,
    /// What it is.
    pub kind: UnitKind,
    /// What its content looks like (`ext4`, `swap`), if that was looked at.
    pub content: Option<String>,
    /// Where it stands on the volume.
    pub extents: ExtentSet,
    /// Bytes that differ and were marked on side A only.
    pub only_a: u64,
    /// Bytes that differ and were marked on side B only.
    pub only_b: u64,
    /// Bytes that differ and were marked on both sides.
    pub both: u64,
    /// Bytes that differ and were marked on neither.
    pub unmarked: u64,
    /// Bytes by mark, whether or not they differ.
    pub marked: PerClass,
    /// Bytes that differ, that one side alone marked, and that the other one may have written, too.
    pub doubtful: u64,
    /// Both sides changed the unit, in the same blocks or not: keeping either side's copy loses something.
    pub conflict: bool,
}

impl UnitRow {
    /// Bytes of the unit that differ, by class.
    #[must_use]
    pub fn differs(&self) -> PerClass {
        PerClass { only_a: self.only_a, only_b: self.only_b, both: self.both, unmarked: self.unmarked }
    }

    /// Bytes of the volume the unit occupies.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.extents.bytes()
    }
}

/// What keeping one side discards of the other; see [`Discard::new`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Discard {
    /// Bytes of the victim that differ and that the survivor did not simply write on its own.
    pub bytes: u64,
    /// Bytes beside these that only the survivor marked and that the victim may have written, too.
    pub doubtful: u64,
    /// `bytes` by unit, for those units that lose something.
    pub units: Vec<UnitLoss>,
}

/// A command for the operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NextCommand {
    /// What it is for, as a short sentence.
    pub purpose: String,
    /// The command line.
    pub command: String,
}

/// A command as it is shown: whole or not at all, because half a command is worse than none.
fn whole_command(command: &str) -> String {
    const LONGEST: usize = 1000;
    if command.chars().count() > LONGEST {
        return "# this command is too long to be shown here; see the output of unsplit itself".to_owned();
    }
    clean::line(command, usize::MAX)
}
