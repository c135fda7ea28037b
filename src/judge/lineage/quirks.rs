//! What an operator should know about this very pair.

use super::reconnect::Question;
use crate::model::drbd::{DiskState, GenerationUuid, MetadataFormat, Role};
use crate::model::lineage::{Comparison, Reconnect, Relation};
use crate::model::policy::AfterSb0pri;
use crate::model::side::Side;

/// How the remark on two Primaries begins.
pub(crate) const BOTH_PRIMARY: &str = "Both sides are Primary";

/// The quirks that apply, in words. `found` has everything but its quirks.
pub(super) fn of(q: &Question<'_>, found: &Comparison) -> Vec<String> {
    let mut quirks = Vec::new();
    let (a, b) = (q.sides.a, q.sides.b);
    let drbd84 = found.format == MetadataFormat::V08;
    let split = found.relation == Relation::Diverged;
    if drbd84 && found.rule == Some(100) && split {
        quirks.extend(rule_100(q));
    }
    if drbd84 && found.relation == Relation::Unrelated {
        quirks.push(
            "8.4 keeps two past generations only: a split brain three or more generations ago is reported as unrelated, too."
                .to_owned(),
        );
    }
    if split && (a.disk == DiskState::Inconsistent) != (b.disk == DiskState::Inconsistent) {
        quirks.push(if drbd84 {
            "One side is Inconsistent: 8.4 silently turns this split brain into a resync from the other side, whatever the policies say.".to_owned()
        } else {
            "One side is Inconsistent, which DRBD 9 does not take as an answer to a split brain.".to_owned()
        });
    }
    if a.role == Role::Primary && b.role == Role::Primary {
        quirks.push(format!(
            "{BOTH_PRIMARY}: without allow-two-primaries they are not connected at all, diverged or not."
        ));
    }
    if !drbd84 && (a.quorate == Some(true)) != (b.quorate == Some(true)) {
        quirks.push(
            "HAVE_QUORUM is noted on one side only: where quorum is configured, DRBD 9 keeps a side that alone has quorum before it asks any policy."
                .to_owned(),
        );
    }
    if let Reconnect::Connect { leftover_bits: bits @ 1.. } = found.reconnect {
        quirks.push(format!(
            "The two would connect without a resync although {bits} bits are set: the marked blocks may go on to differ (LINBIT/drbd#145)."
        ));
    }
    if matches!(found.relation, Relation::Ahead | Relation::Behind) && !drbd84 {
        quirks.push(
            "This is no split brain: connecting the newer side with --discard-my-data would reverse the resync and lose its data."
                .to_owned(),
        );
    }
    if let (true, Some(source)) = (found.missed_finish(), found.source) {
        quirks.extend(half_finished(q, drbd84, source));
    }
    let by_changes =
        matches!(q.net.after_sb_0pri, AfterSb0pri::DiscardLeastChanges | AfterSb0pri::DiscardZeroChanges);
    if split && by_changes && (a.crashed_primary || b.crashed_primary) {
        quirks.push(
            "After a crash every hot extent of the activity log counts as 1024 changed blocks, so a side with few changes may look like the one with many."
                .to_owned(),
        );
    }
    quirks
}

/// A resync that one side takes for finished, with a source that is not what it should be: UpToDate.
fn half_finished(q: &Question<'_>, drbd84: bool, source: Side) -> Option<String> {
    let (disk, better) = (q.sides[source].disk, source.other());
    if disk == DiskState::UpToDate {
        return None;
    }
    let (source, target) = (q.names[source], q.names[better]);
    let disk = format!("{source} is {disk:?}, {target} is {:?}", q.sides[better].disk);
    Some(if drbd84 {
        format!(
            "{disk}: 8.4 asks only for the rule and would overwrite the marked blocks of {target} with {source}'s. Do not connect them before somebody has decided."
        )
    } else {
        format!(
            "{disk}: DRBD 9 skips a resync from such a source and connects the two as they are (\"Resync (rule=...-missed-finish) skipped\"); 9.3.3 may connect and drop the connection in a loop (LINBIT/drbd#143)."
        )
    })
}

fn rule_100(q: &Question<'_>) -> Vec<String> {
    let mut quirks = Vec::new();
    let matches = |real: bool| {
        q.sides.a.history.iter().any(|mine| {
            let nothing = matches!(mine.masked(), GenerationUuid::UNSET | GenerationUuid::JUST_CREATED);
            nothing != real && q.sides.b.history.iter().any(|theirs| mine.same(*theirs))
        })
    };
    if !matches(true) {
        quirks.push(
            "Rule 100 matched only because both histories hold unset or just-created slots: the two sides may have nothing in common at all."
                .to_owned(),
        );
    }
    quirks.push(
        "8.4 would resolve this by hand (--discard-my-data) with a bitmap sync although the bitmaps have no common base: it may leave differences behind."
            .to_owned(),
    );
    quirks
}
