//! Every pair of lineages over a small alphabet: each gets exactly one row, the two ends agree or the pair is
//! contradictory, and every row of the tables is reached.

use super::super::handshake::{Facts, WireProtocol};
use super::super::{CONTRADICTORY, Handshake, compare, drbd9, drbd84};
use super::{A, B, lineage, settings};
use crate::model::drbd::{GenerationUuid, MetadataFormat, Role};
use crate::model::lineage::{Lineage, Reconnect, Relation};
use crate::model::side::{Pair, Side};
use std::collections::BTreeSet;

const SHIFTED: u64 = A + GenerationUuid::NEW_BM_OFFSET;

/// All `N`-digit numbers over an alphabet.
fn words<const N: usize>(alphabet: &[u64]) -> Vec<[u64; N]> {
    let count = alphabet.len().pow(u32::try_from(N).unwrap());
    (0..count)
        .map(|mut number| {
            std::array::from_fn(|_| {
                let letter = alphabet[number % alphabet.len()];
                number /= alphabet.len();
                letter
            })
        })
        .collect()
}

fn sides84(alphabet: &[u64]) -> Vec<Lineage> {
    words::<4>(alphabet)
        .into_iter()
        .map(|[current, bitmap, newest, oldest]| {
            lineage(MetadataFormat::V08, current, bitmap, &[newest, oldest])
        })
        .collect()
}

fn sides9(alphabet: &[u64]) -> Vec<Lineage> {
    words::<4>(alphabet)
        .into_iter()
        .map(|[current, bitmap, other, newest]| {
            let mut side = lineage(MetadataFormat::V09, current, bitmap, &[newest, 0]);
            if other != 0 {
                side.other_bitmaps = vec![GenerationUuid(other)];
            }
            side
        })
        .collect()
}

fn unused(lineage: &Lineage) -> bool {
    matches!(lineage.current.masked(), GenerationUuid::UNSET | GenerationUuid::JUST_CREATED)
}

fn knows(lineage: &Lineage, uuid: GenerationUuid) -> bool {
    let mut known = lineage.history.iter().chain(&lineage.other_bitmaps).chain([&lineage.bitmap]);
    known.any(|own| own.same(uuid))
}

/// Whoever would be the source of what is marked: of equal generations none is older.
fn never_older(me: &Lineage, peer: &Lineage, relation: Relation) {
    if me.current.same(peer.current) && !unused(me) {
        assert!(!matches!(relation, Relation::Ahead | Relation::Behind), "{me:?} {peer:?}");
    }
}

fn row84(table: &[drbd84::Row], row: &drbd84::Row) -> usize {
    table.iter().position(|other| std::ptr::eq(other, row)).unwrap()
}

/// Judges both directions; returns the row's index. The ends must agree unless each knows the other's generation
/// (or both have none): no history that DRBD wrote does that.
fn both_ends84(me: &Lineage, peer: &Lineage, with: &Handshake) -> usize {
    let swapped = with.swapped();
    let here = drbd84::judge(&Facts { me, peer, with });
    let there = drbd84::judge(&Facts { me: peer, peer: me, with: &swapped });
    if there.outcome != here.outcome.mirrored() || there.relation != here.relation.mirrored() {
        let each_knows = knows(me, peer.current) && knows(peer, me.current);
        assert!(each_knows || (unused(me) && unused(peer)), "{me:?} {peer:?}");
    } else {
        assert_eq!(there.common_base, here.common_base);
    }
    never_older(me, peer, here.relation);
    row84(&drbd84::TABLE, here)
}

#[test]
fn drbd84_newest_protocol_over_five_letters() {
    let sides = sides84(&[0, 4, A, SHIFTED, B]);
    let with = Handshake::newest(MetadataFormat::V08);
    let mut reached = BTreeSet::new();
    for me in &sides {
        for peer in &sides {
            reached.insert(both_ends84(me, peer, &with));
        }
    }
    let by_uuid = drbd84::TABLE.iter().filter(|row| {
        !row.name.ends_with("old-protocol")
            && !row.name.starts_with("equal-crash")
            && !row.name.starts_with("both-off")
    });
    assert_eq!(reached.len(), by_uuid.count(), "{reached:?}");
}

#[test]
fn drbd84_every_row_is_reached() {
    let mut reached = BTreeSet::new();
    let sides = sides84(&[0, 4, A, SHIFTED]);
    let facing: Vec<Lineage> = sides84(&[0, A, SHIFTED, B]);
    for protocol in [90, 95, 101] {
        let with = Handshake { protocol, ..Handshake::newest(MetadataFormat::V08) };
        for me in &sides {
            for peer in &facing {
                reached.insert(both_ends84(me, peer, &with));
            }
        }
    }
    // Same generation: all roles, crashes and features.
    for bits in 0..32u32 {
        let bit = |n: u32| bits >> n & 1 == 1;
        let side = |role: bool, crashed: bool| {
            let mut side = lineage(MetadataFormat::V08, A, 0, &[0, 0]);
            side.role = if role { Role::Primary } else { Role::Secondary };
            side.crashed_primary = crashed;
            side
        };
        let with = Handshake { wsame: bit(4), ..Handshake::newest(MetadataFormat::V08) };
        reached.insert(both_ends84(&side(bit(0), bit(1)), &side(bit(2), bit(3)), &with));
    }
    let fresh = lineage(MetadataFormat::V08, 4, 0, &[0, 0]);
    reached.insert(both_ends84(&fresh, &fresh, &Handshake::newest(MetadataFormat::V08)));
    let never_met = |current: u64| lineage(MetadataFormat::V08, current, 4, &[0, 0]);
    reached.insert(both_ends84(&never_met(A), &never_met(B), &Handshake::newest(MetadataFormat::V08)));
    // Only two unlike, full histories are told apart from a split brain.
    let unlike = lineage(MetadataFormat::V08, A + 16, 0, &[A + 32, A + 48]);
    reached.insert(both_ends84(
        &unlike,
        &lineage(MetadataFormat::V08, B, 0, &[B + 16, B + 32]),
        &Handshake::newest(MetadataFormat::V08),
    ));
    let missing: Vec<_> = drbd84::TABLE
        .iter()
        .enumerate()
        .filter(|(index, _)| !reached.contains(index))
        .map(|(_, row)| row.name)
        .collect();
    assert!(missing.is_empty(), "never reached: {missing:?}");
}

#[test]
fn drbd84_rule_numbers_are_drbds() {
    let printed: BTreeSet<u16> = drbd84::TABLE.iter().map(|row| row.rule).collect();
    let drbds = [10, 20, 30, 34, 35, 36, 37, 40, 41, 50, 51, 60, 70, 71, 80, 90, 100];
    assert_eq!(printed, drbds.into_iter().collect());
    assert_eq!(drbd84::NEEDS_WSAME, -66661);
}

fn both_ends9(me: &Lineage, peer: &Lineage, with: &Handshake) -> usize {
    let swapped = with.swapped();
    let here = drbd9::judge(&Facts { me, peer, with });
    let there = drbd9::judge(&Facts { me: peer, peer: me, with: &swapped });
    if there.outcome != here.outcome.mirrored() || there.relation() != here.relation().mirrored() {
        assert!(knows(me, peer.current) && knows(peer, me.current), "{me:?} {peer:?}");
    } else {
        assert_eq!(there.common_base(), here.common_base());
    }
    if with.syncing_to == Pair::new(None, None) {
        never_older(me, peer, here.relation());
    }
    drbd9::TABLE.iter().position(|other| std::ptr::eq(other, here)).unwrap()
}

#[test]
fn drbd9_every_row_is_reached() {
    let mut reached = BTreeSet::new();
    let newest = Handshake::newest(MetadataFormat::V09);
    let sides = sides9(&[0, 4, A, B, B + 16]);
    for me in &sides {
        for peer in &sides {
            reached.insert(both_ends9(me, peer, &newest));
        }
    }
    // What the old protocols repaired.
    let old = sides9(&[0, A, SHIFTED, B]);
    for protocol in [90, 95, 109] {
        let with = Handshake { protocol, ..newest.clone() };
        for me in &old {
            for peer in &old {
                reached.insert(both_ends9(me, peer, &with));
            }
        }
    }
    let finished = lineage(MetadataFormat::V09, A, 0, &[B, B + 16]);
    let unaware = lineage(MetadataFormat::V09, A, B, &[B + 16, 0]);
    let with = Handshake { protocol: 109, ..newest.clone() };
    reached.insert(both_ends9(&finished, &unaware, &with));
    reached.insert(both_ends9(&unaware, &finished, &with));
    // Same generation: everything that only kernels know.
    for bits in 0..64u32 {
        let bit = |n: u32| bits >> n & 1 == 1;
        let side = |crashed: bool, lost: bool| {
            let mut side = lineage(MetadataFormat::V09, A, 0, &[0]);
            (side.crashed_primary, side.primary_lost_quorum) = (crashed, lost);
            side
        };
        let (me, peer) = (side(bit(0), bit(1)), side(bit(2), bit(3)));
        for protocol in [119, 120, 121, 124] {
            for wire in [WireProtocol::A, WireProtocol::B, WireProtocol::C] {
                for missed_end in [None, Some(Side::A), Some(Side::B)] {
                    let reconnect = Pair::new(bit(4), bit(5));
                    let with = Handshake { protocol, wire, missed_end, reconnect, ..newest.clone() };
                    reached.insert(both_ends9(&me, &peer, &with));
                }
            }
        }
    }
    let (a, b) = super::split(MetadataFormat::V09);
    reached.insert(both_ends9(&a, &b, &Handshake { changed: true, ..newest }));
    let missing: Vec<_> = drbd9::TABLE
        .iter()
        .enumerate()
        .filter(|(index, _)| !reached.contains(index))
        .map(|(index, row)| (index, row.rule))
        .collect();
    assert!(missing.is_empty(), "never reached: {missing:?}");
}

#[test]
fn the_last_rows_take_everything() {
    let (a, b) = super::split(MetadataFormat::V08);
    let with = Handshake::newest(MetadataFormat::V08);
    let facts = Facts { me: &a, peer: &b, with: &with };
    assert!((drbd84::TABLE.last().unwrap().when)(&facts));
    assert!((drbd9::TABLE.last().unwrap().when)(&facts));
}

#[test]
fn a_contradiction_is_said_and_not_resolved() {
    // Each side's bitmap UUID is the other's current generation: both would be target.
    let (a, b) = (lineage(MetadataFormat::V08, A, B, &[0, 0]), lineage(MetadataFormat::V08, B, A, &[0, 0]));
    for (left, right) in [(&a, &b), (&b, &a)] {
        let found = compare(left, right, &settings()).unwrap();
        assert_eq!(found.name, CONTRADICTORY);
        assert_eq!((found.rule, found.relation, found.common_base), (None, Relation::Diverged, false));
        assert_eq!(found.result, "-1 by rule 50 / -1 by rule 50");
        assert!(matches!(found.reconnect, Reconnect::Unpredictable { .. }));
    }
}
