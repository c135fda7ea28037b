//! What DRBD itself would do if the two nodes connected now: from the table's row to resync, connection or alert.
//! What both generations share, and 8.4's part; 9's is in `reconnect9`.
//!
//! Source: `drbd_sync_handshake` of 8.4.11. The order of the tests is part of the fact.

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

pub(super) const UNRELATED: &str = "Unrelated data, aborting!";
pub(super) const UNRESOLVED: &str = "Split-Brain detected but unresolved, dropping connection!";

pub(super) fn disconnect(because: impl Into<String>) -> Reconnect {
    Reconnect::Disconnect { because: because.into() }
}

/// A resync that is about to be, or the end of the story.
pub(super) enum Step {
    Resync { source: Side, full: bool, demoted: bool, because: String },
    End(Reconnect),
}

impl Question<'_> {
    pub(super) fn connect(&self) -> Reconnect {
        Reconnect::Connect { leftover_bits: self.sides.a.dirty_bits.saturating_add(self.sides.b.dirty_bits) }
    }

    /// The side that is better than an Inconsistent peer.
    pub(super) fn only_whole(&self) -> Option<Side> {
        Side::BOTH.into_iter().find(|side| {
            self.sides[*side].disk > DiskState::Inconsistent
                && self.sides[side.other()].disk == DiskState::Inconsistent
        })
    }

    pub(super) fn sole_discard(&self) -> Option<Side> {
        let flags = self.with.discard_my_data;
        (flags.a != flags.b).then_some(if flags.a { Side::A } else { Side::B })
    }

    /// The policies' word on a split brain; `full` when there is no common base. `None`: unresolved.
    pub(super) fn policies(&self, full: bool) -> Option<Step> {
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

    pub(super) fn both_crashed(&self, which: &str) -> Reconnect {
        Reconnect::Unpredictable {
            because: format!(
                "same generation, {which}: the end that holds RESOLVE_CONFLICTS decides whether {} or {} is the source",
                self.names.a, self.names.b
            ),
        }
    }

    pub(super) fn target_is_live(&self, target: Side) -> bool {
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
