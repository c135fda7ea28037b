//! What two lineages say of each other, by DRBD's own rules, and what DRBD would do about it.

pub mod drbd84;
pub mod drbd9;
pub mod handshake;
mod quirks;
mod reconnect;
mod reconnect9;
mod shared;
pub mod strategy;
mod view;

#[cfg(test)]
mod tests;

pub use handshake::Handshake;
pub(crate) use quirks::BOTH_PRIMARY;
pub use shared::shared;
pub use view::view;

use crate::model::drbd::MetadataFormat;
use crate::model::lineage::{Comparison, Lineage, Reconnect, Relation};
use crate::model::policy::Settings;
use crate::model::side::Pair;
use handshake::Facts;
use reconnect::Question;

/// Name of a comparison in which the two nodes would come to results that are not mirror images: each takes itself
/// for the older side, for example. Well-kept metadata never gives that.
pub const CONTRADICTORY: &str = "contradictory";

/// Why two lineages cannot be compared.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Incomparable {
    /// One side is of 8.4, the other of 9.
    #[error(
        "a has {a} metadata and b {b}: DRBD compares generations only between metadata of one format; bring both nodes to the \
         same DRBD (9 converts v08 metadata with `drbdadm create-md`, keeping its generation) and compare again"
    )]
    Formats {
        /// A's format.
        a: MetadataFormat,
        /// B's format.
        b: MetadataFormat,
    },
}

/// Compares two lineages as two freshly started nodes of the newest protocol would, with these `net` options.
/// `discard-node-NAME` is known here only for the names `a` and `b`; see [`compare_in`] for others.
///
/// # Errors
/// [`Incomparable`] when the sides' metadata formats differ.
pub fn compare(a: &Lineage, b: &Lineage, net: &Settings) -> Result<Comparison, Incomparable> {
    compare_in(Pair::new(a, b), Pair::new("a", "b"), net, &Handshake::newest(a.format))
}

/// Compares two lineages of nodes with these names, in these circumstances.
///
/// # Errors
/// [`Incomparable`] when the sides' metadata formats differ.
pub fn compare_in(
    sides: Pair<&Lineage>,
    names: Pair<&str>,
    net: &Settings,
    with: &Handshake,
) -> Result<Comparison, Incomparable> {
    if sides.a.format != sides.b.format {
        return Err(Incomparable::Formats { a: sides.a.format, b: sides.b.format });
    }
    let question = Question { sides, names, net, with };
    let swapped = with.swapped();
    let here = Facts { me: sides.a, peer: sides.b, with };
    let there = Facts { me: sides.b, peer: sides.a, with: &swapped };
    let mut found = match sides.a.format {
        MetadataFormat::V08 => by_drbd84(&question, &here, &there),
        MetadataFormat::V09 => by_drbd9(&question, &here, &there),
    };
    found.quirks.extend(quirks::of(&question, &found));
    if found.relation == Relation::Unrelated
        && let Some(known) = shared(sides)
    {
        found.quirks.push(format!(
            "{}: no bitmap starts where the other side's data was, so the marks say nothing about what differs. Only comparing \
             everything does (--full).",
            known.sentence(names)
        ));
    }
    Ok(found)
}

fn by_drbd84(question: &Question<'_>, here: &Facts<'_>, there: &Facts<'_>) -> Comparison {
    let (mine, theirs) = (drbd84::judge(here), drbd84::judge(there));
    let text = |row: &drbd84::Row| match row.outcome {
        drbd84::Outcome::Code(code) => code.to_string(),
        drbd84::Outcome::HolderIsTarget => "-1 or 1".to_owned(),
    };
    if theirs.outcome != mine.outcome.mirrored() || theirs.relation != mine.relation.mirrored() {
        let show = |row: &drbd84::Row| format!("{} by rule {}", text(row), row.rule);
        return contradictory(MetadataFormat::V08, &show(mine), &show(theirs));
    }
    Comparison {
        format: MetadataFormat::V08,
        rule: Some(mine.rule),
        name: mine.name.to_owned(),
        result: text(mine),
        relation: mine.relation,
        source: mine.outcome.source(),
        common_base: mine.common_base,
        reconnect: reconnect::drbd84(question, mine),
        quirks: Vec::new(),
    }
}

fn by_drbd9(question: &Question<'_>, here: &Facts<'_>, there: &Facts<'_>) -> Comparison {
    let (mine, theirs) = (drbd9::judge(here), drbd9::judge(there));
    let text = |row: &drbd9::Row| match row.outcome {
        drbd9::Outcome::Is(strategy) => strategy.name(),
        _ => "source-if-both-failed or target-if-both-failed",
    };
    if theirs.outcome != mine.outcome.mirrored() || theirs.relation() != mine.relation().mirrored() {
        let show = |row: &drbd9::Row| format!("{} by rule={}", text(row), row.rule);
        return contradictory(MetadataFormat::V09, &show(mine), &show(theirs));
    }
    Comparison {
        format: MetadataFormat::V09,
        rule: None,
        name: mine.rule.to_owned(),
        result: text(mine).to_owned(),
        relation: mine.relation(),
        source: match mine.outcome {
            drbd9::Outcome::Is(strategy) => strategy.source(),
            drbd9::Outcome::HolderIsTarget | drbd9::Outcome::HolderIsSource => None,
        },
        common_base: mine.common_base(),
        reconnect: reconnect9::drbd9(question, mine),
        quirks: Vec::new(),
    }
}

/// DRBD has no word for this; nothing is known to be common, and nothing may be decided by itself.
fn contradictory(format: MetadataFormat, mine: &str, theirs: &str) -> Comparison {
    Comparison {
        format,
        rule: None,
        name: CONTRADICTORY.to_owned(),
        result: format!("{mine} / {theirs}"),
        relation: Relation::Diverged,
        source: None,
        common_base: false,
        reconnect: Reconnect::Unpredictable {
            because: format!("the two nodes would not agree: a computes {mine}, b computes {theirs}"),
        },
        quirks: vec![
            "The two generation histories contradict each other; metadata was probably edited or copied. Compare contents."
                .to_owned(),
        ],
    }
}
