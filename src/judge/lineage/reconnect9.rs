//! What DRBD 9 would do if the two nodes connected now.
//!
//! Source: `drbd_sync_handshake` of 9.3.3. The order of the tests is part of the fact. Left out is what only three
//! or more connected nodes can bring about: reconciliation by dagtag, and bitmaps of a peer that is a sync target.

use super::drbd9;
use super::reconnect::{Question, Step, UNRELATED, UNRESOLVED, disconnect};
use super::strategy::Strategy;
use crate::judge::policy::after_sb;
use crate::model::drbd::{DiskState, Role};
use crate::model::lineage::Reconnect;
use crate::model::policy::RrConflict;
use crate::model::side::Side;

/// 9, from its strategy on.
pub(super) fn drbd9(q: &Question<'_>, row: &drbd9::Row) -> Reconnect {
    let by_rule = format!("rule {}", row.rule);
    let (arbitrary, strategy) = match row.outcome {
        drbd9::Outcome::Is(Strategy::RetryConnect) => {
            return disconnect("the UUIDs changed during the handshake: it connects again");
        }
        drbd9::Outcome::Is(Strategy::UnrelatedData) => return disconnect(UNRELATED),
        drbd9::Outcome::Is(Strategy::RequiresProto91) => {
            return disconnect("To resolve this both sides have to support at least protocol 91");
        }
        drbd9::Outcome::Is(strategy) => {
            (matches!(strategy, Strategy::SourceIfBothFailed | Strategy::TargetIfBothFailed), Some(strategy))
        }
        drbd9::Outcome::HolderIsTarget => {
            (true, q.with.resolve_conflicts.map(|holder| if_failed(holder.other())))
        }
        drbd9::Outcome::HolderIsSource => (true, q.with.resolve_conflicts.map(if_failed)),
    };
    let (a, b) = (q.sides.a.disk, q.sides.b.disk);
    let one_inconsistent = q.only_whole().is_some();
    let no_sync = strategy == Some(Strategy::NoSync);
    let by_disks = if q.with.protocol >= 119 {
        a != b && (arbitrary || (no_sync && one_inconsistent))
    } else {
        one_inconsistent && (row.rule == "both-off" || no_sync)
    };
    let mut because = by_rule;
    let strategy = if by_disks {
        because = format!("disk states {a:?}/{b:?} ({because})");
        if a > b { Strategy::SourceUseBitmap } else { Strategy::TargetUseBitmap }
    } else {
        match strategy {
            Some(strategy) => strategy,
            // A Primary that is there now comes before the tie.
            None if q.sides.a.role != q.sides.b.role || q.sides.a.role == Role::Primary => {
                Strategy::SourceIfBothFailed
            }
            None => return q.both_crashed("both were Primary when they failed"),
        }
    };
    match strategy {
        Strategy::SplitBrainAutoRecover if !(q.with.stable.a && q.with.stable.b) => q.connect(),
        Strategy::SplitBrainAutoRecover | Strategy::SplitBrainDisconnect => {
            match split9(q, strategy, &because) {
                Step::End(end) => end,
                Step::Resync { source, full, demoted, because } => {
                    towards9(q, row, plain(source, full), demoted, because)
                }
            }
        }
        strategy => towards9(q, row, strategy, false, because),
    }
}

fn if_failed(source: Side) -> Strategy {
    match source {
        Side::A => Strategy::SourceIfBothFailed,
        Side::B => Strategy::TargetIfBothFailed,
    }
}

fn plain(source: Side, full: bool) -> Strategy {
    match (source, full) {
        (Side::A, false) => Strategy::SourceUseBitmap,
        (Side::A, true) => Strategy::SourceSetBitmap,
        (Side::B, false) => Strategy::TargetUseBitmap,
        (Side::B, true) => Strategy::TargetSetBitmap,
    }
}

fn split9(q: &Question<'_>, strategy: Strategy, by_rule: &str) -> Step {
    let common = strategy == Strategy::SplitBrainAutoRecover;
    if common || q.net.always_asbp {
        if let Some(source) = after_sb::sole_quorate(q.sides).filter(|_| q.with.protocol >= 113) {
            let because = format!("only {} has quorum", q.names[source]);
            return Step::Resync { source, full: !common, demoted: false, because };
        }
        if let Some(step) = q.policies(!common) {
            return step;
        }
    }
    match q.sole_discard() {
        Some(victim) => Step::Resync {
            source: victim.other(),
            full: !common,
            demoted: false,
            because: format!("{by_rule}, {} connects with --discard-my-data", q.names[victim]),
        },
        None => Step::End(disconnect(UNRESOLVED)),
    }
}

/// Everything behind the split brain: reversal by the user, conflicts with a Primary, and what is skipped.
fn towards9(
    q: &Question<'_>,
    row: &drbd9::Row,
    first: Strategy,
    demoted: bool,
    because: String,
) -> Reconnect {
    let (mut strategy, mut because) = (first, because);
    if let (Some(source), Some(victim)) = (strategy.source(), q.sole_discard()) {
        let fit = q.with.protocol >= 121 && source == victim && reversible(strategy);
        if fit && q.sides[victim.other()].disk > DiskState::Inconsistent {
            strategy = strategy.mirrored();
            because = format!("{because}, reversed by --discard-my-data of {}", q.names[victim]);
        }
    }
    let arbitrary = matches!(strategy, Strategy::SourceIfBothFailed | Strategy::TargetIfBothFailed);
    let Some(mut source) = strategy.source() else { return q.connect() };
    if arbitrary {
        match (q.sides.a.role, q.sides.b.role) {
            (Role::Primary, Role::Primary) => return q.connect(),
            (Role::Primary, Role::Secondary) => source = Side::A,
            (Role::Secondary, Role::Primary) => source = Side::B,
            (Role::Secondary, Role::Secondary) => {}
        }
    }
    let bits = q.sides.a.dirty_bits > 0 || q.sides.b.dirty_bits > 0;
    if !arbitrary && !demoted && bits && q.target_is_live(source.other()) {
        match q.net.rr_conflict {
            RrConflict::Violently => {}
            RrConflict::AutoDiscard if row.rule == "crashed-primary" => {
                source = source.other();
                because = format!("{because}, reversed by auto-discard");
            }
            RrConflict::AutoDiscard => {}
            RrConflict::Disconnect | RrConflict::CallPriLost | RrConflict::RetryConnect => {
                let target = q.names[source.other()];
                return disconnect(format!("I shall become SyncTarget, but I am primary! ({target})"));
            }
        }
    }
    if row.rule.ends_with("missed-finish") && q.sides[source].disk != DiskState::UpToDate {
        return q.connect();
    }
    let full = matches!(strategy, Strategy::SourceSetBitmap | Strategy::TargetSetBitmap);
    Reconnect::Resync { source, full, because }
}

/// Copying another slot's bitmap has no reverse.
fn reversible(strategy: Strategy) -> bool {
    !matches!(strategy, Strategy::SourceCopyOtherBitmap | Strategy::TargetClearBitmap)
}
