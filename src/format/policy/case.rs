//! Case files: incidents written down, with the verdict that is expected of a policy. They are the tests of the
//! shipped policies, and what `unsplit policy explain --case` reads.

use super::{PolicyErrors, syntax, too_long};
use crate::judge::lineage::{Handshake, Incomparable, compare_in};
use crate::judge::policy::{Case, Clues, DeltaSummary};
use crate::model::drbd::{DiskState, GenerationUuid, MetadataFormat, Role};
use crate::model::id::{NodeName, ResourceName};
use crate::model::lineage::Lineage;
use crate::model::policy::Settings;
use crate::model::seen::Stamp;
use crate::model::side::{Pair, Side};
use crate::model::size::BLOCK;
use serde::Deserialize;

/// A file: `[[case]]` tables.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    case: Vec<Written>,
}

/// One incident as written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Written {
    /// What it shows.
    pub name: String,
    /// A shipped policy's name, without `.toml`.
    pub policy: Option<String>,
    /// Or a policy's own text.
    pub policy_text: Option<String>,
    /// The resource.
    #[serde(default = "any_resource")]
    pub resource: ResourceName,
    /// Whose rules apply.
    #[serde(default = "any_format")]
    pub format: MetadataFormat,
    /// The first side.
    pub a: WrittenSide,
    /// The second side.
    pub b: WrittenSide,
    /// What differs. Left out: each side's marked blocks differ, and none is marked on both.
    pub delta: Option<WrittenDelta>,
    /// What else is known, `[a, b]`.
    #[serde(default)]
    pub clues: WrittenClues,
    /// The operator's `--keep`.
    pub keep: Option<Side>,
    /// The verdict.
    pub expect: Option<Expected>,
}

/// One side as written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct WrittenSide {
    /// What it is called; `a` or `b` when left out.
    pub name: Option<NodeName>,
    /// `current:bitmap:history:...`, in hexadecimal, as DRBD prints them.
    pub uuids: String,
    /// Disk state.
    #[serde(default = "up_to_date")]
    pub disk: DiskState,
    /// Role at the handshake.
    #[serde(default = "secondary")]
    pub role: Role,
    /// Went down as Primary.
    #[serde(default)]
    pub crashed_primary: bool,
    /// v09: was Primary when it lost quorum.
    #[serde(default)]
    pub primary_lost_quorum: bool,
    /// v09: noted that it had quorum, or that it had not.
    pub quorate: Option<bool>,
    /// Blocks marked as changed.
    #[serde(default)]
    pub bits: u64,
}

/// What differs, as written; bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct WrittenDelta {
    /// Marked by A only.
    pub only_a: u64,
    /// Marked by B only.
    pub only_b: u64,
    /// Marked by both.
    pub both: u64,
    /// Marked by neither.
    pub unmarked: u64,
    /// Part of `only-b` that A may have written, too: hot in its activity log.
    #[serde(default)]
    pub doubt_a: u64,
    /// Part of `only-a` that B may have written, too.
    #[serde(default)]
    pub doubt_b: u64,
    /// Could not be read on A.
    pub unreadable_a: u64,
    /// Could not be read on B.
    pub unreadable_b: u64,
}

/// What else is known, `[a, b]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct WrittenClues {
    /// Milliseconds since 1970.
    pub last_write: Option<(i64, i64)>,
    /// Whether a guest runs on the volume.
    pub running_guest: Option<(bool, bool)>,
    /// Whether the side had quorum.
    pub quorate: Option<(bool, bool)>,
}

/// The verdict that is expected.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Expected {
    /// `agree`, `heal`, `hold` or `refuse`.
    pub verdict: String,
    /// Of `heal`: whom to keep.
    pub survivor: Option<Side>,
    /// Of `heal`: whether it may run without asking.
    pub auto: Option<bool>,
    /// Words that one line of the trace must have.
    pub trace: String,
}

fn any_resource() -> ResourceName {
    "r0".to_owned().try_into().unwrap_or_else(|_| unreachable!("`r0` is a name"))
}

fn any_format() -> MetadataFormat {
    MetadataFormat::V08
}

fn up_to_date() -> DiskState {
    DiskState::UpToDate
}

fn secondary() -> Role {
    Role::Secondary
}

/// Reads a case file's text; `file` is only for the messages.
///
/// # Errors
/// Where it is no TOML, or no list of cases.
pub fn load(text: &str, file: &str) -> Result<Vec<Written>, PolicyErrors> {
    let wrong = |error| PolicyErrors { file: file.to_owned(), errors: vec![error] };
    if let Some(error) = too_long(text) {
        return Err(wrong(error));
    }
    let read: File = toml::from_str(text).map_err(|error| wrong(syntax(text, &error)))?;
    Ok(read.case)
}

/// Why a written case is none.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NotACase {
    /// The UUIDs are none.
    #[error(
        "`{text}` is not a list of UUIDs: up to 34 hexadecimal numbers of up to 16 digits, separated by colons"
    )]
    Uuids {
        /// What was written, cut to something printable.
        text: String,
    },
    /// The two cannot be compared.
    #[error("the two sides cannot be compared")]
    Incomparable(#[source] Incomparable),
}

impl WrittenSide {
    fn lineage(&self, format: MetadataFormat) -> Result<Lineage, NotACase> {
        let bad =
            || NotACase::Uuids { text: self.uuids.chars().take(60).flat_map(char::escape_debug).collect() };
        let uuids = self
            .uuids
            .split(':')
            .map(|hex| u64::from_str_radix(hex.trim(), 16).map(GenerationUuid).map_err(|_| bad()))
            .take(35)
            .collect::<Result<Vec<_>, _>>()?;
        if uuids.len() > 34 {
            return Err(bad());
        }
        let at = |index: usize| uuids.get(index).copied().unwrap_or(GenerationUuid::UNSET);
        Ok(Lineage {
            format,
            current: at(0),
            bitmap: at(1),
            other_bitmaps: Vec::new(),
            history: uuids.get(2..).unwrap_or_default().to_vec(),
            disk: self.disk,
            role: self.role,
            crashed_primary: self.crashed_primary,
            primary_lost_quorum: self.primary_lost_quorum,
            quorate: self.quorate,
            dirty_bits: self.bits,
        })
    }
}

impl Written {
    /// The case, compared with these settings.
    ///
    /// # Errors
    /// [`NotACase`] when the UUIDs are none.
    pub fn case(&self, settings: &Settings) -> Result<Case, NotACase> {
        let lineages = Pair::new(self.a.lineage(self.format)?, self.b.lineage(self.format)?);
        let word = |side: Side| {
            NodeName::new(side.word()).unwrap_or_else(|_| unreachable!("a side's word is a name"))
        };
        let names = Pair::new(
            self.a.name.clone().unwrap_or_else(|| word(Side::A)),
            self.b.name.clone().unwrap_or_else(|| word(Side::B)),
        );
        let with = Handshake::newest(self.format);
        let comparison = compare_in(lineages.as_ref(), names.as_ref().map(NodeName::as_str), settings, &with)
            .map_err(NotACase::Incomparable)?;
        let written = self.delta.clone().unwrap_or_else(|| WrittenDelta {
            only_a: self.a.bits.saturating_mul(BLOCK),
            only_b: self.b.bits.saturating_mul(BLOCK),
            ..WrittenDelta::default()
        });
        Ok(Case {
            names,
            delta: DeltaSummary {
                only_a: written.only_a,
                only_b: written.only_b,
                both: written.both,
                unmarked: written.unmarked,
                doubt_a: written.doubt_a,
                doubt_b: written.doubt_b,
                marks_complete: comparison.common_base,
                unreadable_a: written.unreadable_a,
                unreadable_b: written.unreadable_b,
                ..DeltaSummary::default()
            },
            lineages,
            comparison,
            clues: Clues {
                last_write: self.clues.last_write.map(|(a, b)| Pair::new(Stamp(a), Stamp(b))),
                running_guest: self.clues.running_guest.map(|(a, b)| Pair::new(a, b)),
                quorate: self.clues.quorate.map(|(a, b)| Pair::new(a, b)),
            },
            keep: self.keep,
        })
    }
}
