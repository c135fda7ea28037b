//! At random: seen from the other side, everything is the same in a mirror.

use super::super::handshake::WireProtocol;
use super::super::{CONTRADICTORY, Handshake, compare_in};
use super::{A, B, C, D, swapped, uuids};
use crate::model::drbd::{DiskState, GenerationUuid, MetadataFormat, Role};
use crate::model::lineage::{Lineage, Reconnect};
use crate::model::policy::{AfterSb0pri, AfterSb1pri, AfterSb2pri, RrConflict, Settings};
use crate::model::side::{Pair, Side};
use proptest::prelude::*;
use proptest::sample::select;

pub(crate) fn any_uuid() -> impl Strategy<Value = u64> {
    let shifted = A + GenerationUuid::NEW_BM_OFFSET;
    (select(vec![0, 0, 4, A, A, B, C, D, shifted]), any::<bool>())
        .prop_map(|(uuid, primary)| if uuid > 4 && primary { uuid | 1 } else { uuid })
}

pub(crate) fn any_lineage(format: MetadataFormat) -> impl Strategy<Value = Lineage> {
    let others = match format {
        MetadataFormat::V08 => prop::collection::vec(any_uuid(), 0..1).boxed(),
        MetadataFormat::V09 => prop::collection::vec(any_uuid(), 0..3).boxed(),
    };
    let disks = vec![
        DiskState::Inconsistent,
        DiskState::Outdated,
        DiskState::Consistent,
        DiskState::UpToDate,
        DiskState::UpToDate,
    ];
    (
        (any_uuid(), any_uuid(), others, prop::collection::vec(any_uuid(), 0..4)),
        select(disks),
        any::<(bool, bool, bool)>(),
        select(vec![None, Some(true), Some(false)]),
        select(vec![0u64, 1, 2, 1024]),
    )
        .prop_map(move |((current, bitmap, others, history), disk, flags, quorate, dirty_bits)| {
            Lineage {
                format,
                current: GenerationUuid(current),
                bitmap: GenerationUuid(bitmap),
                other_bitmaps: uuids(&others).into_iter().filter(|uuid| uuid.0 != 0).collect(),
                history: uuids(&history),
                disk,
                role: if flags.0 { Role::Primary } else { Role::Secondary },
                crashed_primary: flags.1,
                primary_lost_quorum: flags.2 && format == MetadataFormat::V09,
                quorate: quorate.filter(|_| format == MetadataFormat::V09),
                dirty_bits,
            }
        })
}

pub(crate) fn any_settings() -> impl Strategy<Value = Settings> {
    let zero = vec![
        AfterSb0pri::Disconnect,
        AfterSb0pri::DiscardYoungerPrimary,
        AfterSb0pri::DiscardOlderPrimary,
        AfterSb0pri::DiscardZeroChanges,
        AfterSb0pri::DiscardLeastChanges,
        AfterSb0pri::DiscardLocal,
        AfterSb0pri::DiscardRemote,
    ];
    let one = vec![
        AfterSb1pri::Disconnect,
        AfterSb1pri::Consensus,
        AfterSb1pri::ViolentlyAs0p,
        AfterSb1pri::DiscardSecondary,
        AfterSb1pri::CallPriLostAfterSb,
    ];
    let two = vec![AfterSb2pri::Disconnect, AfterSb2pri::ViolentlyAs0p, AfterSb2pri::CallPriLostAfterSb];
    let rr = vec![
        RrConflict::Disconnect,
        RrConflict::CallPriLost,
        RrConflict::Violently,
        RrConflict::RetryConnect,
        RrConflict::AutoDiscard,
    ];
    (select(zero), select(one), select(two), select(rr), any::<bool>()).prop_map(
        |(after_sb_0pri, after_sb_1pri, after_sb_2pri, rr_conflict, always_asbp)| Settings {
            after_sb_0pri,
            after_sb_1pri,
            after_sb_2pri,
            rr_conflict,
            always_asbp,
            ..Settings::drbd_defaults()
        },
    )
}

fn any_handshake(format: MetadataFormat) -> impl Strategy<Value = Handshake> {
    let protocols = match format {
        MetadataFormat::V08 => vec![90, 95, 100, 101],
        MetadataFormat::V09 => vec![90, 95, 109, 112, 118, 119, 120, 121, 124],
    };
    let sides = vec![None, Some(Side::A), Some(Side::B)];
    let pair = any::<(bool, bool)>().prop_map(|(a, b)| Pair::new(a, b));
    (
        select(protocols),
        any::<bool>(),
        select(vec![WireProtocol::A, WireProtocol::B, WireProtocol::C]),
        (pair.clone(), pair.clone(), pair),
        (select(sides.clone()), select(sides)),
        (prop::option::weighted(0.1, any_uuid()), prop::option::weighted(0.1, any_uuid())),
    )
        .prop_map(move |(protocol, wsame, wire, flags, holders, syncing)| {
            let discard = flags.2;
            Handshake {
                protocol,
                wsame,
                wire,
                changed: false,
                reconnect: flags.0,
                stable: flags.1,
                missed_end: holders.0,
                syncing_to: Pair::new(syncing.0, syncing.1).map(|uuid| uuid.map(GenerationUuid)),
                resolve_conflicts: holders.1,
                // Both sides with the flag are turned away before any comparison.
                discard_my_data: if discard.a && discard.b { Pair::new(false, false) } else { discard },
            }
        })
}

/// What happens, without the words for it.
fn deed(reconnect: &Reconnect) -> (&'static str, Option<Side>, bool, u64) {
    match reconnect {
        Reconnect::Connect { leftover_bits } => ("connect", None, false, *leftover_bits),
        Reconnect::Resync { source, full, .. } => ("resync", Some(*source), *full, 0),
        Reconnect::Disconnect { .. } => ("disconnect", None, false, 0),
        Reconnect::Unpredictable { .. } => ("unpredictable", None, false, 0),
    }
}

fn in_a_mirror(a: &Lineage, b: &Lineage, net: &Settings, with: &Handshake) {
    let here = compare_in(Pair::new(a, b), Pair::new("a", "b"), net, with).unwrap();
    let there = compare_in(Pair::new(b, a), Pair::new("b", "a"), &swapped(net), &with.swapped()).unwrap();
    assert_eq!(there.relation, here.relation.mirrored());
    assert_eq!(there.common_base, here.common_base);
    assert_eq!(there.quirks, here.quirks);
    assert_eq!(there.name == CONTRADICTORY, here.name == CONTRADICTORY);
    let (what, source, full, bits) = deed(&here.reconnect);
    let mirrored = (what, source.map(Side::other), full, bits);
    assert_eq!(deed(&there.reconnect), mirrored, "\n{here:?}\n{there:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn drbd84(
        a in any_lineage(MetadataFormat::V08),
        b in any_lineage(MetadataFormat::V08),
        net in any_settings(),
        with in any_handshake(MetadataFormat::V08),
    ) {
        in_a_mirror(&a, &b, &net, &with);
    }

    #[test]
    fn drbd9(
        a in any_lineage(MetadataFormat::V09),
        b in any_lineage(MetadataFormat::V09),
        net in any_settings(),
        with in any_handshake(MetadataFormat::V09),
    ) {
        in_a_mirror(&a, &b, &net, &with);
    }
}
