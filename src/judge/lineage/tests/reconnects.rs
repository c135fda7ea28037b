//! What DRBD would do on reconnect: the order of its tests, generation by generation.

use super::super::handshake::WireProtocol;
use super::super::{Handshake, compare, compare_in};
use super::{A, B, C, D, settings, split, v08, v09};
use crate::model::drbd::{DiskState, MetadataFormat, Role};
use crate::model::lineage::{Comparison, Lineage, Reconnect, Relation};
use crate::model::policy::{AfterSb0pri, AfterSb1pri, AfterSb2pri, RrConflict, Settings};
use crate::model::side::{Pair, Side};

const BOTH: [MetadataFormat; 2] = [MetadataFormat::V08, MetadataFormat::V09];

fn with(a: &Lineage, b: &Lineage, net: &Settings, handshake: &Handshake) -> Comparison {
    compare_in(Pair::new(a, b), Pair::new("node1", "node2"), net, handshake).unwrap()
}

fn resync(found: &Comparison) -> (Side, bool) {
    match &found.reconnect {
        Reconnect::Resync { source, full, .. } => (*source, *full),
        other => panic!("{other:?}"),
    }
}

fn refused(found: &Comparison) -> &str {
    match &found.reconnect {
        Reconnect::Disconnect { because } => because,
        other => panic!("{other:?}"),
    }
}

fn quirk(found: &Comparison, words: &str) -> bool {
    found.quirks.iter().any(|quirk| quirk.contains(words))
}

fn least_changes() -> Settings {
    Settings { after_sb_0pri: AfterSb0pri::DiscardLeastChanges, ..settings() }
}

#[test]
fn a_split_brain_follows_the_policies() {
    for format in BOTH {
        let (a, b) = split(format);
        assert_eq!(
            refused(&compare(&a, &b, &settings()).unwrap()),
            "Split-Brain detected but unresolved, dropping connection!"
        );
        assert_eq!(resync(&compare(&a, &b, &least_changes()).unwrap()), (Side::A, false));
    }
}

#[test]
fn a_tie_is_unpredictable_until_the_holder_is_known() {
    for format in BOTH {
        let (mut a, b) = split(format);
        a.dirty_bits = b.dirty_bits;
        assert!(matches!(
            compare(&a, &b, &least_changes()).unwrap().reconnect,
            Reconnect::Unpredictable { .. }
        ));
        let known = Handshake { resolve_conflicts: Some(Side::A), ..Handshake::newest(format) };
        assert_eq!(resync(&with(&a, &b, &least_changes(), &known)), (Side::B, false));
    }
}

#[test]
fn without_a_common_base_always_asbp_is_needed_and_the_sync_is_full() {
    for format in BOTH {
        let (mut a, mut b) = split(format);
        a.bitmap = super::uuids(&[0])[0];
        b.bitmap = a.bitmap;
        (a.history, b.history) = (super::uuids(&[A, D]), super::uuids(&[A, 0]));
        let found = compare(&a, &b, &least_changes()).unwrap();
        assert!(!found.common_base);
        assert!(refused(&found).contains("unresolved"));
        let always = Settings { always_asbp: true, ..least_changes() };
        assert_eq!(resync(&compare(&a, &b, &always).unwrap()), (Side::A, true));
        // By hand, 8.4 trusts bitmaps that have no common base; 9 does not.
        let by_hand = Handshake { discard_my_data: Pair::new(true, false), ..Handshake::newest(format) };
        let found = with(&a, &b, &settings(), &by_hand);
        assert_eq!(resync(&found), (Side::B, format == MetadataFormat::V09));
        assert_eq!(quirk(&found, "may leave differences behind"), format == MetadataFormat::V08);
    }
}

#[test]
fn an_inconsistent_disk_ends_a_split_brain_in_84_only() {
    let (mut a, b) = split(MetadataFormat::V08);
    a.disk = DiskState::Inconsistent;
    let found = compare(&a, &b, &settings()).unwrap();
    assert_eq!(resync(&found), (Side::B, false));
    assert!(quirk(&found, "silently"));
    // With only history in common, all of it.
    let (mut a, mut b) = (v08(B, 0, &[A, D]), v08(C, 0, &[A, 0]));
    b.disk = DiskState::Inconsistent;
    assert_eq!(resync(&compare(&a, &b, &settings()).unwrap()), (Side::A, true));
    // Against the direction of the generations, too.
    (a, b) = (v08(B, A, &[0, 0]), v08(A, 0, &[0, 0]));
    a.disk = DiskState::Inconsistent;
    assert_eq!(resync(&compare(&a, &b, &settings()).unwrap()), (Side::B, false));

    let (mut a, b) = split(MetadataFormat::V09);
    a.disk = DiskState::Inconsistent;
    let found = compare(&a, &b, &settings()).unwrap();
    assert!(refused(&found).contains("unresolved"));
    assert!(quirk(&found, "does not take as an answer"));
}

#[test]
fn a_source_must_be_whole_in_84() {
    let (mut a, mut b) = (v08(B, A, &[0, 0]), v08(A, 0, &[0, 0]));
    (a.disk, b.disk) = (DiskState::Inconsistent, DiskState::Inconsistent);
    assert!(refused(&compare(&a, &b, &settings()).unwrap()).contains("I am inconsistent"));
}

#[test]
fn unset_history_passes_for_an_ancestor_in_84_only() {
    let found = compare(&v08(B, 0, &[0, 0]), &v08(C, 0, &[0, 0]), &settings()).unwrap();
    assert_eq!((found.rule, found.result.as_str()), (Some(100), "-100"));
    assert!(quirk(&found, "nothing in common at all"));
    let real = compare(&v08(B, 0, &[A, 0]), &v08(C, 0, &[A, 0]), &settings()).unwrap();
    assert!(!quirk(&real, "nothing in common at all"));
    let found = compare(&v09(B, 0, &[0, 0]), &v09(C, 0, &[0, 0]), &settings()).unwrap();
    assert_eq!(refused(&found), "Unrelated data, aborting!");
}

#[test]
fn a_primary_is_not_overwritten_unless_told() {
    for format in BOTH {
        let mut behind = super::lineage(format, A, 0, &[0, 0]);
        let mut ahead = super::lineage(format, B, A, &[0, 0]);
        behind.role = Role::Primary;
        ahead.dirty_bits = 3;
        for (rr_conflict, goes_on) in [
            (RrConflict::Disconnect, false),
            (RrConflict::CallPriLost, false),
            (RrConflict::Violently, true),
            (RrConflict::RetryConnect, false),
            // 9 lets it pass where the crash of a Primary is not the reason; 8.4 does not know it.
            (RrConflict::AutoDiscard, format == MetadataFormat::V09),
        ] {
            let net = Settings { rr_conflict, ..settings() };
            let found = compare(&behind, &ahead, &net).unwrap();
            match goes_on {
                true => assert_eq!(resync(&found), (Side::B, false)),
                false => assert!(refused(&found).contains("I am primary"), "{format} {rr_conflict:?}"),
            }
        }
        // 9 looks whether anything is marked at all.
        ahead.dirty_bits = 0;
        let found = compare(&behind, &ahead, &settings()).unwrap();
        match format {
            MetadataFormat::V08 => assert!(refused(&found).contains("I am primary")),
            MetadataFormat::V09 => assert_eq!(resync(&found), (Side::B, false)),
        }
    }
}

#[test]
fn a_loser_that_gives_up_its_role_is_no_conflict() {
    for format in BOTH {
        let (mut a, mut b) = split(format);
        (a.role, b.role) = (Role::Primary, Role::Primary);
        let net = |after_sb_2pri, rr_conflict| Settings { after_sb_2pri, rr_conflict, ..least_changes() };
        let called = net(AfterSb2pri::CallPriLostAfterSb, RrConflict::Disconnect);
        let found = compare(&a, &b, &called).unwrap();
        assert_eq!(resync(&found), (Side::A, false));
        assert!(
            matches!(&found.reconnect, Reconnect::Resync { because, .. } if because.contains("cannot give it up"))
        );
        let forced = net(AfterSb2pri::ViolentlyAs0p, RrConflict::Disconnect);
        assert!(refused(&compare(&a, &b, &forced).unwrap()).contains("I am primary"));
        let forced = net(AfterSb2pri::ViolentlyAs0p, RrConflict::Violently);
        assert_eq!(resync(&compare(&a, &b, &forced).unwrap()), (Side::A, false));
        b.role = Role::Secondary;
        let secondary = Settings { after_sb_1pri: AfterSb1pri::DiscardSecondary, ..settings() };
        assert_eq!(resync(&compare(&a, &b, &secondary).unwrap()), (Side::A, false));
    }
}

#[test]
fn crashes_decide_among_equals() {
    for format in BOTH {
        let (mut a, mut b) = (super::lineage(format, A, 0, &[0]), super::lineage(format, A, 0, &[0]));
        a.crashed_primary = true;
        assert_eq!(resync(&compare(&a, &b, &settings()).unwrap()), (Side::A, false));
        b.crashed_primary = true;
        let found = compare(&a, &b, &settings()).unwrap();
        assert!(matches!(found.reconnect, Reconnect::Unpredictable { .. }));
        // A Primary that is there now decides it.
        b.role = Role::Primary;
        assert_eq!(resync(&compare(&a, &b, &settings()).unwrap()), (Side::B, false));
    }
}

#[test]
fn marks_left_behind_are_told() {
    for format in BOTH {
        let (mut a, b) = (super::lineage(format, A, 0, &[0]), super::lineage(format, A, 0, &[0]));
        assert_eq!(compare(&a, &b, &settings()).unwrap().reconnect, Reconnect::Connect { leftover_bits: 0 });
        a.dirty_bits = 5;
        let found = compare(&a, &b, &settings()).unwrap();
        assert_eq!(found.reconnect, Reconnect::Connect { leftover_bits: 5 });
        assert!(quirk(&found, "drbd#145"));
    }
}

#[test]
fn disk_states_decide_among_equals() {
    for format in BOTH {
        let (mut a, b) = (super::lineage(format, A, 0, &[0]), super::lineage(format, A, 0, &[0]));
        a.disk = DiskState::Inconsistent;
        assert_eq!(resync(&compare(&a, &b, &settings()).unwrap()), (Side::B, false));
        // Outdated alone moves nothing.
        a.disk = DiskState::Outdated;
        assert_eq!(compare(&a, &b, &settings()).unwrap().reconnect, Reconnect::Connect { leftover_bits: 0 });
        // In 9 it outweighs a crash, which only gives an arbitrary direction.
        a.crashed_primary = true;
        let expected = if format == MetadataFormat::V09 { Side::B } else { Side::A };
        assert_eq!(resync(&compare(&a, &b, &settings()).unwrap()), (expected, false));
    }
}

#[test]
fn drbd9_asks_for_quorum_first() {
    let (mut a, mut b) = split(MetadataFormat::V09);
    (a.quorate, b.quorate) = (Some(false), Some(true));
    let found = compare(&a, &b, &least_changes()).unwrap();
    assert_eq!(resync(&found), (Side::B, false));
    assert!(quirk(&found, "HAVE_QUORUM"));
    // Not before protocol 113, and not when both have it or nothing is known.
    let old = Handshake { protocol: 112, ..Handshake::newest(MetadataFormat::V09) };
    assert_eq!(resync(&with(&a, &b, &least_changes(), &old)), (Side::A, false));
    a.quorate = None;
    assert_eq!(resync(&compare(&a, &b, &least_changes()).unwrap()), (Side::A, false));
}

#[test]
fn drbd9_waits_while_a_side_is_unstable() {
    let (a, b) = split(MetadataFormat::V09);
    let unstable = Handshake { stable: Pair::new(true, false), ..Handshake::newest(MetadataFormat::V09) };
    assert_eq!(with(&a, &b, &settings(), &unstable).reconnect, Reconnect::Connect { leftover_bits: 16 });
}

#[test]
fn drbd9_reverses_an_ordinary_resync_on_discard_my_data() {
    let (behind, ahead) = (v09(A, 0, &[0]), v09(B, A, &[0]));
    let stray = |protocol| Handshake {
        protocol,
        discard_my_data: Pair::new(false, true),
        ..Handshake::newest(MetadataFormat::V09)
    };
    assert_eq!(resync(&with(&behind, &ahead, &settings(), &stray(121))), (Side::A, false));
    assert_eq!(resync(&with(&behind, &ahead, &settings(), &stray(120))), (Side::B, false));
    assert!(quirk(&compare(&behind, &ahead, &settings()).unwrap(), "reverse the resync"));
    let mut broken = behind.clone();
    broken.disk = DiskState::Inconsistent;
    assert_eq!(resync(&with(&broken, &ahead, &settings(), &stray(121))), (Side::B, false));
}

#[test]
fn drbd9_auto_discard_keeps_the_current_primary_after_a_crash() {
    let (mut crashed, mut primary) = (v09(A, 0, &[0]), v09(A, 0, &[0]));
    (crashed.crashed_primary, crashed.dirty_bits) = (true, 1024);
    primary.role = Role::Primary;
    let asynchronous = Handshake { wire: WireProtocol::A, ..Handshake::newest(MetadataFormat::V09) };
    let net = |rr_conflict| Settings { rr_conflict, ..settings() };
    let found = with(&crashed, &primary, &net(RrConflict::AutoDiscard), &asynchronous);
    assert_eq!((found.name.as_str(), resync(&found)), ("crashed-primary", (Side::B, false)));
    assert!(
        refused(&with(&crashed, &primary, &net(RrConflict::Disconnect), &asynchronous)).contains("primary")
    );
}

#[test]
fn drbd9_skips_a_missed_finish_of_a_source_that_is_not_up_to_date() {
    let (mut a, b) = (v09(A, 0, &[0]), v09(A, 0, &[0]));
    let missed = Handshake { missed_end: Some(Side::A), ..Handshake::newest(MetadataFormat::V09) };
    assert_eq!(resync(&with(&a, &b, &settings(), &missed)), (Side::A, false));
    a.disk = DiskState::Outdated;
    assert_eq!(with(&a, &b, &settings(), &missed).reconnect, Reconnect::Connect { leftover_bits: 0 });
}

#[test]
fn too_old_a_peer_is_told_what_it_needs() {
    let (mut a, b) = (v08(A, B, &[0, 0]), v08(A, 0, &[0, 0]));
    let old = Handshake { protocol: 90, wsame: false, ..Handshake::newest(MetadataFormat::V08) };
    assert_eq!(
        refused(&with(&a, &b, &settings(), &old)),
        "To resolve this both sides have to support at least protocol 91"
    );
    a = v08(A, 0, &[0, 0]);
    (a.crashed_primary, a.role) = (true, Role::Primary);
    let found = with(&a, &b, &settings(), &old);
    assert_eq!(
        refused(&found),
        "To resolve this both sides have to support at least protocol 101 and feature flags 0x4"
    );
}

#[test]
fn the_node_to_discard_is_found_by_name() {
    let (a, b) = split(MetadataFormat::V08);
    let net = |name: &str| Settings {
        after_sb_0pri: AfterSb0pri::DiscardNode(crate::model::id::NodeName::new(name).unwrap()),
        ..settings()
    };
    let newest = Handshake::newest(MetadataFormat::V08);
    assert_eq!(resync(&with(&a, &b, &net("node1"), &newest)), (Side::B, false));
    assert_eq!(resync(&with(&a, &b, &net("node2"), &newest)), (Side::A, false));
    assert!(refused(&with(&a, &b, &net("node3"), &newest)).contains("unresolved"));
}

#[test]
fn two_data_sets_that_never_met_are_unrelated_although_84_calls_them_a_split_brain() {
    // As the lab's kernel showed them: fresh metadata on both, `primary --force` on both.
    let found = compare(&v08(B, 4, &[0, 0]), &v08(C, 4, &[0, 0]), &settings()).unwrap();
    assert_eq!((found.rule, found.result.as_str()), (Some(90), "100"));
    assert_eq!((found.relation, found.common_base), (Relation::Unrelated, false));
    assert!(refused(&found).contains("Split-Brain"));
}
