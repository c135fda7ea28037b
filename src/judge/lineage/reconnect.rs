//! What DRBD itself would do if the two nodes connected now: from the table's row to resync, connection or alert.
//!
//! Source: `drbd_sync_handshake` of 8.4.11 and of 9.3.3. The order of the tests is part of the fact.

use super::drbd9::{self, Strategy};
use super::drbd84;
use super::handshake::Handshake;
use crate::judge::policy::after_sb::{self, Outcome};
use crate::model::drbd::{DiskState, Role};
use crate::model::lineage::{Lineage, Reconnect};
use crate::model::policy::{RrConflict, Settings};
use crate::model::side::{Pair, Side};

/// The question: two sides, what they are called, their `net` options and the circumstances.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) sides: Pair<&'a Lineage>,
    pub(super) names: Pair<&'a str>,
    pub(super) net: &'a Settings,
    pub(super) with: &'a Handshake,
}

const UNRELATED: &str = "Unrelated data, aborting!";
const UNRESOLVED: &str = "Split-Brain detected but unresolved, dropping connection!";

fn disconnect(because: impl Into<String>) -> Reconnect {
    Reconnect::Disconnect { because: because.into() }
}

/// A resync that is about to be, or the end of the story.
enum Step {
    Resync { source: Side, full: bool, demoted: bool, because: String },
    End(Reconnect),
}

impl Question<'_> {
    fn connect(&self) -> Reconnect {
        Reconnect::Connect { leftover_bits: self.sides.a.dirty_bits.saturating_add(self.sides.b.dirty_bits) }
    }

    /// The side that is better than an Inconsistent peer.
    fn only_whole(&self) -> Option<Side> {
        Side::BOTH.into_iter().find(|side| {
            self.sides[*side].disk > DiskState::Inconsistent
                && self.sides[side.other()].disk == DiskState::Inconsistent
        })
    }

    fn sole_discard(&self) -> Option<Side> {
        let flags = self.with.discard_my_data;
        (flags.a != flags.b).then_some(if flags.a { Side::A } else { Side::B })
    }

    /// The policies' word on a split brain; `full` when there is no common base. `None`: unresolved.
    fn policies(&self, full: bool) -> Option<Step> {
        let weighed = after_sb::weigh(self.net, self.sides, self.names, self.with.resolve_conflicts);
        let because = weighed
            .reasons
            .iter()
            .map(|reason| format!("{}: {}", reason.rule, reason.conclusion))
            .collect::<Vec<_>>()
            .join("; ");
        match weighed.outcome {
            Outcome::Undecided => None,
            Outcome::Discard { loser, must_demote } => Some(Step::Resync {
                source: loser.other(),
                full,
                demoted: must_demote,
                because: if must_demote {
                    format!(
                        "{because}; if {} cannot give it up, the connection is dropped",
                        self.names[loser]
                    )
                } else {
                    because
                },
            }),
            Outcome::Tie { .. } => Some(Step::End(Reconnect::Unpredictable {
                because: format!(
                    "{because}; the end that holds RESOLVE_CONFLICTS loses, unless that is forbidden"
                ),
            })),
        }
    }

    fn both_crashed(&self, which: &str) -> Reconnect {
        Reconnect::Unpredictable {
            because: format!(
                "same generation, {which}: the end that holds RESOLVE_CONFLICTS decides whether {} or {} is the source",
                self.names.a, self.names.b
            ),
        }
    }

    fn target_is_live(&self, target: Side) -> bool {
        self.sides[target].role == Role::Primary && self.sides[target].disk >= DiskState::Consistent
    }
}

/// 8.4, from its result code on.
pub(super) fn drbd84(q: &Question<'_>, row: &drbd84::Row) -> Reconnect {
    let step = match row.outcome {
        drbd84::Outcome::Code(-1000) => return disconnect(UNRELATED),
        drbd84::Outcome::Code(code) if code < -0x10000 => {
            let (protocol, features) = (-code & 0xff, (-code >> 8) & 0xff);
            return disconnect(format!(
                "To resolve this both sides have to support at least protocol {protocol} and feature flags {features:#x}"
            ));
        }
        drbd84::Outcome::Code(code) if code < -1000 => {
            return disconnect(format!(
                "To resolve this both sides have to support at least protocol {}",
                -code - 1000
            ));
        }
        outcome => outcome,
    };
    let by_rule = format!("rule {} ({})", row.rule, row.name);
    let step = if let Some(source) = q.only_whole() {
        // Before the split brain is even looked at: an Inconsistent disk turns it into a resync.
        let full = matches!(step, drbd84::Outcome::Code(-100 | 2 | -2));
        Step::Resync {
            source,
            full,
            demoted: false,
            because: format!("disk states: {} is Inconsistent ({by_rule})", q.names[source.other()]),
        }
    } else {
        match step {
            drbd84::Outcome::HolderIsTarget => match q.with.resolve_conflicts {
                None => return q.both_crashed("both went down as Primary"),
                Some(holder) => {
                    Step::Resync { source: holder.other(), full: false, demoted: false, because: by_rule }
                }
            },
            drbd84::Outcome::Code(0) => return q.connect(),
            drbd84::Outcome::Code(code @ (100 | -100)) => split84(q, code == 100, &by_rule),
            drbd84::Outcome::Code(code) => Step::Resync {
                source: if code > 0 { Side::A } else { Side::B },
                full: code.abs() == 2,
                demoted: false,
                because: by_rule,
            },
        }
    };
    let (source, full, demoted, because) = match step {
        Step::End(end) => return end,
        Step::Resync { source, full, demoted, because } => (source, full, demoted, because),
    };
    if q.sides[source].disk <= DiskState::Inconsistent {
        return disconnect("I shall become SyncSource, but I am inconsistent!");
    }
    let target = source.other();
    // However few bits are set; a Primary that just gave up its role is none any more.
    if q.target_is_live(target) && !demoted && q.net.rr_conflict != RrConflict::Violently {
        return disconnect(format!("I shall become SyncTarget, but I am primary! ({})", q.names[target]));
    }
    Reconnect::Resync { source, full, because }
}

fn split84(q: &Question<'_>, common: bool, by_rule: &str) -> Step {
    if (common || q.net.always_asbp)
        && let Some(step) = q.policies(!common)
    {
        return step;
    }
    match q.sole_discard() {
        // By the bitmap alone, even where the bitmaps have no common base.
        Some(victim) => Step::Resync {
            source: victim.other(),
            full: false,
            demoted: false,
            because: format!("{by_rule}, {} connects with --discard-my-data", q.names[victim]),
        },
        None => Step::End(disconnect(UNRESOLVED)),
    }
}

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
    if let (Some(source), Some(victim)) = (source_of(strategy), q.sole_discard()) {
        let fit = q.with.protocol >= 121 && source == victim && reversible(strategy);
        if fit && q.sides[victim.other()].disk > DiskState::Inconsistent {
            strategy = strategy.mirrored();
            because = format!("{because}, reversed by --discard-my-data of {}", q.names[victim]);
        }
    }
    let arbitrary = matches!(strategy, Strategy::SourceIfBothFailed | Strategy::TargetIfBothFailed);
    let Some(mut source) = source_of(strategy) else { return q.connect() };
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

fn source_of(strategy: Strategy) -> Option<Side> {
    match strategy.name() {
        name if name.starts_with("source-") => Some(Side::A),
        name if name.starts_with("target-") => Some(Side::B),
        _ => None,
    }
}

/// Copying another slot's bitmap has no reverse.
fn reversible(strategy: Strategy) -> bool {
    !matches!(strategy, Strategy::SourceCopyOtherBitmap | Strategy::TargetClearBitmap)
}
