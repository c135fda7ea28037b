//! DRBD 8.4's comparison of two lineages, as a table. The first row that matches decides.
//!
//! Source: `drbd_uuid_compare` of DRBD 8.4.11 (rule numbers, order and result codes); the names are ours.
//! A rule that has several outcomes has several rows.

use super::handshake::{Facts, among};
use crate::model::drbd::{GenerationUuid, Role};
use crate::model::lineage::{Lineage, Relation};
use crate::model::side::Side;

/// What a row concludes, from the comparing node's point of view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// DRBD's result code: 2, 1, 0, -1, -2, 100, -100, -1000, or "needs a newer protocol" below that.
    Code(i32),
    /// Both were Primary at the crash: the holder of RESOLVE_CONFLICTS becomes target (-1), the other one source (1).
    HolderIsTarget,
}

impl Outcome {
    /// Whose data the code takes, A being the comparing node; `None` where it names no side.
    #[must_use]
    pub fn source(self) -> Option<Side> {
        match self {
            Outcome::Code(1 | 2) => Some(Side::A),
            Outcome::Code(-1 | -2) => Some(Side::B),
            _ => None,
        }
    }

    /// What the peer must conclude if both ends are to agree.
    #[must_use]
    pub fn mirrored(self) -> Outcome {
        match self {
            Outcome::Code(code @ -2..=2) => Outcome::Code(-code),
            same => same,
        }
    }
}

/// One row of the table.
#[derive(Debug)]
pub struct Row {
    /// The number DRBD prints.
    pub rule: u16,
    /// Our name for it.
    pub name: &'static str,
    /// Whether the row matches.
    pub when: fn(&Facts<'_>) -> bool,
    /// What it concludes.
    pub outcome: Outcome,
    /// What it says of the two lineages. Equal generations are in sync, whoever would be the source of what is marked.
    pub relation: Relation,
    /// Whether the union of both bitmaps covers every difference.
    pub common_base: bool,
}

const fn row(
    rule: u16,
    name: &'static str,
    outcome: Outcome,
    relation: Relation,
    common_base: bool,
    when: fn(&Facts<'_>) -> bool,
) -> Row {
    Row { rule, name, when, outcome, relation, common_base }
}

const CREATED: GenerationUuid = GenerationUuid::JUST_CREATED;

/// "Needs protocol 101 and the feature WSAME": minus (0x10000 + 101 + (4 << 8)).
pub const NEEDS_WSAME: i32 = -(0x10000 | 101 | (4 << 8));
/// "Needs protocol 91".
pub const NEEDS_PROTO_91: i32 = -1091;

use Outcome::{Code, HolderIsTarget};
use Relation::{Ahead, Behind, Diverged, InSync, Unrelated};

/// The rows, in DRBD's order. The last one always matches.
pub static TABLE: [Row; 28] = [
    row(10, "just-created-both", Code(0), InSync, false, |f| current(f) == CREATED && peers(f) == CREATED),
    row(20, "just-created-self", Code(-2), Behind, false, |f| unused(current(f)) && peers(f) != CREATED),
    row(30, "just-created-peer", Code(2), Ahead, false, |f| current(f) != CREATED && unused(peers(f))),
    // The number printed is still that of the last rule tried.
    row(30, "missed-finish-old-protocol", Code(NEEDS_PROTO_91), InSync, true, |f| {
        f.with.protocol < 91 && (i_missed_finish(f) || peer_missed_finish(f))
    }),
    row(34, "sync-source-missed-finish", Code(1), InSync, true, |f| {
        i_missed_finish(f) && moved_on(f.me.bitmap, Facts::past(f.me, 0), f.peer)
    }),
    row(36, "sync-source-peer-missed-finish", Code(1), InSync, true, i_missed_finish),
    row(35, "sync-target-peer-missed-finish", Code(-1), InSync, true, |f| {
        peer_missed_finish(f) && moved_on(f.peer.bitmap, Facts::past(f.peer, 0), f.me)
    }),
    row(37, "sync-target-missed-finish", Code(-1), InSync, true, peer_missed_finish),
    row(40, "equal-no-crash", Code(0), InSync, true, |f| {
        equal(f) && !f.me.crashed_primary && !f.peer.crashed_primary
    }),
    row(41, "equal-crash-old-features", Code(NEEDS_WSAME), InSync, true, |f| {
        equal(f) && primaries(f) > 0 && !f.with.wsame
    }),
    row(41, "equal-crash-both-primary", Code(-100), Diverged, false, |f| equal(f) && primaries(f) == 2),
    row(41, "equal-crash-primary-self", Code(1), InSync, true, |f| equal(f) && f.me.role == Role::Primary),
    row(41, "equal-crash-primary-peer", Code(-1), InSync, true, |f| equal(f) && f.peer.role == Role::Primary),
    row(40, "both-off-self-crashed", Code(1), InSync, true, |f| equal(f) && !f.peer.crashed_primary),
    row(40, "both-off-peer-crashed", Code(-1), InSync, true, |f| equal(f) && !f.me.crashed_primary),
    row(40, "both-off-both-crashed", HolderIsTarget, InSync, true, equal),
    row(50, "bitmap-peer", Code(-1), Behind, true, |f| current(f) == f.peer.bitmap.masked()),
    row(51, "sync-target-missed-start-old-protocol", Code(NEEDS_PROTO_91), Behind, true, |f| {
        f.with.protocol < 91 && lost_start(f, current(f), f.me, f.peer)
    }),
    row(51, "sync-target-missed-start", Code(-1), Behind, true, |f| lost_start(f, current(f), f.me, f.peer)),
    row(60, "history-peer", Code(-2), Behind, false, |f| among(current(f), past_two(&f.peer.history))),
    row(70, "bitmap-self", Code(1), Ahead, true, |f| f.me.bitmap.masked() == peers(f)),
    row(71, "sync-source-missed-start-old-protocol", Code(NEEDS_PROTO_91), Ahead, true, |f| {
        f.with.protocol < 91 && lost_start(f, peers(f), f.peer, f.me)
    }),
    row(71, "sync-source-missed-start", Code(1), Ahead, true, |f| lost_start(f, peers(f), f.peer, f.me)),
    row(80, "history-self", Code(2), Ahead, false, |f| among(peers(f), past_two(&f.me.history))),
    // What both remember is the mark of fresh metadata, not a generation that they shared: DRBD calls it a split brain all the same.
    row(90, "never-met", Code(100), Unrelated, false, |f| {
        f.me.bitmap.masked() == CREATED && f.peer.bitmap.masked() == CREATED
    }),
    row(90, "bitmap-both", Code(100), Diverged, true, |f| {
        f.me.bitmap.same(f.peer.bitmap) && f.me.bitmap.masked() != GenerationUuid::UNSET
    }),
    // No test for unset slots here: 0 matches 0, and so do the marks of two former fresh disks.
    row(100, "history-both", Code(-100), Diverged, false, common_ancestor),
    row(100, "unrelated", Code(-1000), Unrelated, false, |_| true),
];

/// The row that decides.
#[must_use]
pub fn judge(facts: &Facts<'_>) -> &'static Row {
    TABLE.iter().find(|row| (row.when)(facts)).unwrap_or(&TABLE[TABLE.len() - 1])
}

fn current(f: &Facts<'_>) -> GenerationUuid {
    f.me.current.masked()
}

fn peers(f: &Facts<'_>) -> GenerationUuid {
    f.peer.current.masked()
}

fn unused(uuid: GenerationUuid) -> bool {
    uuid == CREATED || uuid == GenerationUuid::UNSET
}

fn equal(f: &Facts<'_>) -> bool {
    current(f) == peers(f)
}

fn primaries(f: &Facts<'_>) -> u8 {
    u8::from(f.me.role == Role::Primary) + u8::from(f.peer.role == Role::Primary)
}

/// Equal generations, and only I still have the bitmap UUID of the resync in which I was source.
fn i_missed_finish(f: &Facts<'_>) -> bool {
    equal(f) && f.peer.bitmap == GenerationUuid::UNSET && f.me.bitmap != GenerationUuid::UNSET
}

fn peer_missed_finish(f: &Facts<'_>) -> bool {
    equal(f) && f.me.bitmap == GenerationUuid::UNSET && f.peer.bitmap != GenerationUuid::UNSET
}

/// The former target has the source's bitmap UUID and newest past generation where they belong after the resync.
fn moved_on(bitmap: GenerationUuid, newest: GenerationUuid, target: &Lineage) -> bool {
    bitmap.same(Facts::past(target, 0)) && newest.same(Facts::past(target, 1))
}

/// The source started a resync, but its packet with the sync UUID never reached the target.
fn lost_start(f: &Facts<'_>, targets_current: GenerationUuid, target: &Lineage, source: &Lineage) -> bool {
    let rotated = Facts::past(source, 0);
    targets_current == rotated
        && if f.with.protocol < 96 {
            Facts::past(target, 0) == Facts::past(source, 1)
        } else {
            rotated.0.wrapping_add(GenerationUuid::NEW_BM_OFFSET) == source.bitmap.masked().0
        }
}

/// 8.4 keeps two past generations; a lineage made by hand may have fewer, and those are unset.
fn past_two(history: &[GenerationUuid]) -> &[GenerationUuid] {
    &history[..history.len().min(2)]
}

fn common_ancestor(f: &Facts<'_>) -> bool {
    (0..2).any(|mine| (0..2).any(|theirs| Facts::past(f.me, mine) == Facts::past(f.peer, theirs)))
}
