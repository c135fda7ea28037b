//! DRBD 9's comparison of two lineages, as a table. The first row that matches decides.
//!
//! Source: `drbd_uuid_compare` of DRBD 9.3.3 and the tip of August 2026; rule and strategy names are those it
//! prints, which for some rows is the name of the last rule tried before.

use super::handshake::{Facts, WireProtocol, among};
use super::strategy::Strategy;
use crate::model::drbd::GenerationUuid;
use crate::model::lineage::{Lineage, Relation};
use crate::model::side::{Pair, Side};

use Strategy as S;

/// What a row concludes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// This strategy.
    Is(Strategy),
    /// `*-if-both-failed`: the holder of RESOLVE_CONFLICTS becomes target.
    HolderIsTarget,
    /// `*-if-both-failed`: the holder of RESOLVE_CONFLICTS becomes source.
    HolderIsSource,
}

impl Outcome {
    /// What the peer must conclude if both ends are to agree.
    #[must_use]
    pub fn mirrored(self) -> Outcome {
        match self {
            Outcome::Is(strategy) => Outcome::Is(strategy.mirrored()),
            same => same,
        }
    }
}

/// One row of the table.
#[derive(Debug)]
pub struct Row {
    /// The rule name DRBD prints.
    pub rule: &'static str,
    /// Whether the row matches.
    pub when: fn(&Facts<'_>) -> bool,
    /// What it concludes.
    pub outcome: Outcome,
    /// Whether the row is about equal generations: then neither side is older, whoever would be the source of what is
    /// marked.
    pub same_generation: bool,
}

impl Row {
    /// What the row says of the two lineages. A handshake that starts again (`retry-connect`) has said nothing yet:
    /// it counts as unrelated, so that nobody acts on it.
    #[must_use]
    pub fn relation(&self) -> Relation {
        match self.outcome {
            _ if self.same_generation => Relation::InSync,
            // Rows of equal generations only.
            Outcome::HolderIsTarget | Outcome::HolderIsSource => Relation::InSync,
            Outcome::Is(strategy) => match strategy {
                S::RequiresProto91 if self.rule == "sync-target-missed-start" => Relation::Behind,
                S::RequiresProto91 if self.rule == "sync-source-missed-start" => Relation::Ahead,
                S::NoSync | S::RequiresProto91 => Relation::InSync,
                S::SourceIfBothFailed
                | S::SourceUseBitmap
                | S::SourceSetBitmap
                | S::SourceCopyOtherBitmap => Relation::Ahead,
                S::TargetIfBothFailed | S::TargetUseBitmap | S::TargetSetBitmap | S::TargetClearBitmap => {
                    Relation::Behind
                }
                S::SplitBrainAutoRecover | S::SplitBrainDisconnect => Relation::Diverged,
                S::UnrelatedData | S::RetryConnect => Relation::Unrelated,
            },
        }
    }

    /// Whether the union of both bitmaps toward each other covers every difference. Not so when the covering
    /// bitmap is one toward another node.
    #[must_use]
    pub fn common_base(&self) -> bool {
        match self.outcome {
            Outcome::HolderIsTarget | Outcome::HolderIsSource => true,
            Outcome::Is(S::NoSync) => self.rule != "just-created-both",
            Outcome::Is(strategy) => matches!(
                strategy,
                S::SourceIfBothFailed
                    | S::TargetIfBothFailed
                    | S::SourceUseBitmap
                    | S::TargetUseBitmap
                    | S::SplitBrainAutoRecover
            ),
        }
    }
}

const fn row(rule: &'static str, strategy: Strategy, when: fn(&Facts<'_>) -> bool) -> Row {
    Row { rule, when, outcome: Outcome::Is(strategy), same_generation: false }
}

/// A row about equal generations.
const fn same(rule: &'static str, strategy: Strategy, when: fn(&Facts<'_>) -> bool) -> Row {
    Row { same_generation: true, ..row(rule, strategy, when) }
}

/// The rows, in DRBD's order. The last one always matches.
pub static TABLE: [Row; 41] = [
    row("initial-handshake-changed", S::RetryConnect, |f| f.with.changed),
    row("just-created-both", S::NoSync, |f| mine(f) == CREATED && theirs(f) == CREATED),
    row("just-created-self", S::TargetSetBitmap, |f| mine(f) == CREATED),
    row("just-created-peer", S::SourceSetBitmap, |f| theirs(f) == CREATED),
    // Equal generations. The first five: what old protocols left to be repaired.
    same("just-created-peer", S::RequiresProto91, |f| {
        f.with.protocol < 91 && (missed_finish(f, f.me, f.peer) || missed_finish(f, f.peer, f.me))
    }),
    same("sync-source-missed-finish", S::SourceUseBitmap, |f| {
        missed_finish(f, f.me, f.peer) && moved_on(f.me, f.peer)
    }),
    same("sync-source-peer-missed-finish", S::SourceUseBitmap, |f| missed_finish(f, f.me, f.peer)),
    same("sync-target-peer-missed-finish", S::TargetUseBitmap, |f| {
        missed_finish(f, f.peer, f.me) && moved_on(f.peer, f.me)
    }),
    same("sync-target-missed-finish", S::TargetUseBitmap, |f| missed_finish(f, f.peer, f.me)),
    same("sync-source-missed-finish", S::SourceUseBitmap, |f| missed_end(f, Side::A)),
    same("sync-target-peer-missed-finish", S::TargetUseBitmap, |f| missed_end(f, Side::B)),
    same("reconnected", S::NoSync, |f| equal(f) && f.with.protocol >= 120 && both_stayed(f)),
    same("crashed-primary", S::SourceUseBitmap, |f| replay_counts(f) && only_crashed(f, Side::A)),
    same("crashed-primary", S::TargetUseBitmap, |f| replay_counts(f) && only_crashed(f, Side::B)),
    same("lost-quorum", S::TargetIfBothFailed, |f| {
        equal(f) && f.peer.primary_lost_quorum && !f.me.primary_lost_quorum
    }),
    same("lost-quorum", S::SourceIfBothFailed, |f| {
        equal(f) && !f.peer.primary_lost_quorum && f.me.primary_lost_quorum
    }),
    Row {
        rule: "lost-quorum",
        when: |f| equal(f) && f.peer.primary_lost_quorum && f.me.primary_lost_quorum,
        outcome: Outcome::HolderIsSource,
        same_generation: true,
    },
    same("reconnected", S::NoSync, |f| equal(f) && both_stayed(f)),
    // From here to both-off DRBD prints the name of the rule tried last: reconnected on protocols below 120.
    same("reconnected", S::SourceIfBothFailed, |f| old_label(f) && survived(f, Side::A)),
    same("reconnected", S::TargetIfBothFailed, |f| old_label(f) && survived(f, Side::B)),
    same("reconnected", S::NoSync, |f| old_label(f) && one_stayed(f)),
    same("lost-quorum", S::SourceIfBothFailed, |f| equal(f) && survived(f, Side::A)),
    same("lost-quorum", S::TargetIfBothFailed, |f| equal(f) && survived(f, Side::B)),
    same("lost-quorum", S::NoSync, |f| equal(f) && one_stayed(f)),
    Row {
        rule: "both-off",
        when: |f| equal(f) && f.me.crashed_primary && f.peer.crashed_primary,
        outcome: Outcome::HolderIsTarget,
        same_generation: true,
    },
    same("both-off", S::SourceIfBothFailed, |f| equal(f) && f.me.crashed_primary),
    same("both-off", S::TargetIfBothFailed, |f| equal(f) && f.peer.crashed_primary),
    same("both-off", S::NoSync, equal),
    // Different generations.
    row("bitmap-peer", S::TargetUseBitmap, |f| mine(f) == f.peer.bitmap.masked()),
    row("bitmap-peer-other", S::TargetClearBitmap, |f| among(mine(f), &f.peer.other_bitmaps)),
    row("sync-target-missed-start", S::RequiresProto91, |f| {
        f.with.protocol < 91 && lost_start(f, mine(f), f.me, f.peer)
    }),
    row("sync-target-missed-start", S::TargetUseBitmap, |f| lost_start(f, mine(f), f.me, f.peer)),
    row("bitmap-self", S::SourceUseBitmap, |f| f.me.bitmap.masked() == theirs(f)),
    row("bitmap-self-other", S::SourceCopyOtherBitmap, |f| among(theirs(f), &f.me.other_bitmaps)),
    row("sync-source-missed-start", S::RequiresProto91, |f| {
        f.with.protocol < 91 && lost_start(f, theirs(f), f.peer, f.me)
    }),
    row("sync-source-missed-start", S::SourceUseBitmap, |f| lost_start(f, theirs(f), f.peer, f.me)),
    row("history-peer", S::TargetSetBitmap, |f| {
        among(mine(f), &f.peer.history) && !among(theirs(f), &f.me.history)
    }),
    row("history-self", S::SourceSetBitmap, |f| {
        !among(mine(f), &f.peer.history) && among(theirs(f), &f.me.history)
    }),
    row("bitmap-both", S::SplitBrainAutoRecover, |f| {
        f.me.bitmap.same(f.peer.bitmap) && f.me.bitmap.masked() != GenerationUuid::UNSET
    }),
    row("history-both", S::SplitBrainDisconnect, |f| {
        in_use(&f.me.history).any(|past| in_use(&f.peer.history).any(|other| past.same(other)))
    }),
    row("history-both", S::UnrelatedData, |_| true),
];

/// The row that decides.
#[must_use]
pub fn judge(facts: &Facts<'_>) -> &'static Row {
    TABLE.iter().find(|row| (row.when)(facts)).unwrap_or(&TABLE[TABLE.len() - 1])
}

const CREATED: GenerationUuid = GenerationUuid::JUST_CREATED;

/// A side's current generation as its peer sees it: while another node syncs the side, that node's. Unset counts
/// as just created.
fn resolved(lineage: &Lineage, syncing_to: Option<GenerationUuid>) -> GenerationUuid {
    match syncing_to.unwrap_or(lineage.current).masked() {
        GenerationUuid::UNSET => CREATED,
        uuid => uuid,
    }
}

fn mine(f: &Facts<'_>) -> GenerationUuid {
    resolved(f.me, f.with.syncing_to.a)
}

fn theirs(f: &Facts<'_>) -> GenerationUuid {
    resolved(f.peer, f.with.syncing_to.b)
}

fn equal(f: &Facts<'_>) -> bool {
    mine(f) == theirs(f)
}

/// Protocols below 110: only the source of a resync still has its bitmap UUID.
fn missed_finish(f: &Facts<'_>, source: &Lineage, target: &Lineage) -> bool {
    f.with.protocol < 110
        && equal(f)
        && target.bitmap == GenerationUuid::UNSET
        && source.bitmap != GenerationUuid::UNSET
}

/// Protocols from 110 on: a kernel that remembers, or sees it when UUIDs arrive on a new connection (9.0.25 and later,
/// `drbd_uuid_detect_finished_resyncs`): of equal generations only the source's still has a bitmap UUID. Without bits
/// on either side, protocols from 124 on just put the bitmap UUID right.
fn missed_end(f: &Facts<'_>, source: Side) -> bool {
    let (from, to) = match source {
        Side::A => (f.me, f.peer),
        Side::B => (f.peer, f.me),
    };
    let seen = f.with.protocol >= 110
        && f.with.syncing_to == Pair::new(None, None)
        && to.bitmap.masked() == GenerationUuid::UNSET
        && from.bitmap.masked() != GenerationUuid::UNSET
        && !from.bitmap.same(to.current)
        && (f.with.protocol < 124 || from.dirty_bits > 0 || to.dirty_bits > 0);
    equal(f) && (f.with.missed_end == Some(source) || seen)
}

/// The target has the source's bitmap UUID and newest past generation where they belong after the resync.
fn moved_on(source: &Lineage, target: &Lineage) -> bool {
    source.bitmap.same(Facts::past(target, 0)) && Facts::past(source, 0) == Facts::past(target, 1)
}

/// Protocols below 110: the source started a resync, but its packet with the sync UUID never arrived.
fn lost_start(f: &Facts<'_>, targets_current: GenerationUuid, target: &Lineage, source: &Lineage) -> bool {
    let rotated = Facts::past(source, 0);
    f.with.protocol < 110
        && targets_current == rotated
        && if f.with.protocol < 96 {
            Facts::past(target, 0) == Facts::past(source, 1)
        } else {
            rotated.0.wrapping_add(GenerationUuid::NEW_BM_OFFSET) == source.bitmap.masked().0
        }
}

fn both_stayed(f: &Facts<'_>) -> bool {
    f.with.reconnect.a && f.with.reconnect.b
}

fn one_stayed(f: &Facts<'_>) -> bool {
    f.with.reconnect.a || f.with.reconnect.b
}

/// With protocols A and B a crashed Primary may hold writes that its application saw completed.
fn replay_counts(f: &Facts<'_>) -> bool {
    equal(f) && f.with.protocol >= 121 && f.with.wire != WireProtocol::C
}

/// `side` (A is the comparing node) alone went down as Primary.
fn only_crashed(f: &Facts<'_>, side: Side) -> bool {
    match side {
        Side::A => f.me.crashed_primary && !f.peer.crashed_primary,
        Side::B => f.peer.crashed_primary && !f.me.crashed_primary,
    }
}

/// `side` stayed up while the other one crashed as Primary.
fn survived(f: &Facts<'_>, side: Side) -> bool {
    match side {
        Side::A => f.peer.crashed_primary && f.with.reconnect.a,
        Side::B => f.me.crashed_primary && f.with.reconnect.b,
    }
}

fn old_label(f: &Facts<'_>) -> bool {
    equal(f) && f.with.protocol < 120
}

/// History up to the first unset slot, which is where DRBD stops looking for a common ancestor.
fn in_use(history: &[GenerationUuid]) -> impl Iterator<Item = GenerationUuid> + '_ {
    history.iter().map(|uuid| uuid.masked()).take_while(|uuid| *uuid != GenerationUuid::UNSET)
}
