//! From superblock to lineage.

use super::super::{Incomparable, compare, view};
use super::{A, B, C, D, settings, uuids, v08, v09};
use crate::model::drbd::{
    DiskState, GenerationUuid, MetadataFormat, PeerSlot, Role, Superblock, device_flag as flag,
};

fn superblock(format: MetadataFormat, flags: u32) -> Superblock {
    let v09 = format == MetadataFormat::V09;
    let slot = |id: usize| PeerSlot {
        bitmap_uuid: GenerationUuid(match id {
            0 => 0,
            1 => B,
            2 => C,
            3 => C,
            _ => 0,
        }),
        bitmap_dagtag: 0,
        flags: 0,
        bitmap_index: -1,
    };
    Superblock {
        format,
        unclean_magic: false,
        effective_size: 1000,
        current: GenerationUuid(A),
        bitmap: if v09 { GenerationUuid::UNSET } else { GenerationUuid(B) },
        history: uuids(&[D, 0]),
        members: 0,
        device_uuid: 1,
        flags,
        md_size: 80,
        al_offset: -64,
        al_extents: 1237,
        bm_offset: -72,
        bm_bytes_per_bit: 4096,
        la_peer_max_bio_size: 0,
        max_peers: 1,
        node_id: if v09 { 0 } else { -1 },
        al_stripes: 1,
        al_stripe_size_4k: 8,
        peers: if v09 { (0..32).map(slot).collect() } else { Vec::new() },
    }
}

#[test]
fn disk_states_come_from_two_flags() {
    for (flags, disk) in [
        (0, DiskState::Inconsistent),
        (flag::WAS_UP_TO_DATE, DiskState::Inconsistent),
        (flag::CONSISTENT, DiskState::Outdated),
        (flag::CONSISTENT | flag::WAS_UP_TO_DATE, DiskState::UpToDate),
        // What 8.4 notes of the peer plays no part.
        (
            flag::CONSISTENT | flag::WAS_UP_TO_DATE | flag::PEER_OUT_DATED | flag::FULL_SYNC,
            DiskState::UpToDate,
        ),
    ] {
        let seen = view(&superblock(MetadataFormat::V08, flags), None, 3, Role::Secondary);
        assert_eq!((seen.disk, seen.dirty_bits), (disk, 3), "{flags:#x}");
    }
}

#[test]
fn a_primary_that_is_still_up_has_not_crashed() {
    let crashed = |flags, role| view(&superblock(MetadataFormat::V08, flags), None, 0, role).crashed_primary;
    assert!(crashed(flag::PRIMARY_IND, Role::Secondary));
    assert!(!crashed(flag::PRIMARY_IND, Role::Primary));
    assert!(crashed(flag::CRASHED_PRIMARY, Role::Secondary));
    assert!(crashed(flag::CRASHED_PRIMARY | flag::PRIMARY_IND, Role::Primary));
    assert!(!crashed(0, Role::Secondary));
}

#[test]
fn v08_has_one_bitmap_uuid_and_v09_one_per_peer() {
    let old = view(&superblock(MetadataFormat::V08, 0), Some(7), 0, Role::Secondary);
    assert_eq!((old.bitmap, old.other_bitmaps), (GenerationUuid(B), vec![]));
    let new = view(&superblock(MetadataFormat::V09, 0), Some(1), 0, Role::Secondary);
    assert_eq!((new.bitmap, new.other_bitmaps), (GenerationUuid(B), uuids(&[C])));
    // A peer that is not known has no bitmap; all slots are other ones.
    let unknown = view(&superblock(MetadataFormat::V09, 0), None, 0, Role::Secondary);
    assert_eq!((unknown.bitmap, unknown.other_bitmaps), (GenerationUuid::UNSET, uuids(&[B, C])));
    assert_eq!(new.history, uuids(&[D, 0]));
}

#[test]
fn quorum_is_known_only_where_the_metadata_says_so() {
    let seen = |format, flags| view(&superblock(format, flags), Some(1), 0, Role::Secondary);
    assert_eq!(seen(MetadataFormat::V09, flag::HAVE_QUORUM).quorate, Some(true));
    assert_eq!(seen(MetadataFormat::V09, 0).quorate, None);
    let lost = seen(MetadataFormat::V09, flag::PRIMARY_LOST_QUORUM);
    assert_eq!((lost.quorate, lost.primary_lost_quorum), (Some(false), true));
    // In 8.4 these bits mean nothing.
    let old = seen(MetadataFormat::V08, flag::HAVE_QUORUM | flag::PRIMARY_LOST_QUORUM);
    assert_eq!((old.quorate, old.primary_lost_quorum), (None, false));
}

#[test]
fn formats_do_not_mix() {
    let error = compare(&v08(A, 0, &[]), &v09(A, 0, &[]), &settings()).unwrap_err();
    assert_eq!(error, Incomparable::Formats { a: MetadataFormat::V08, b: MetadataFormat::V09 });
    assert!(error.to_string().contains("bring both nodes to the same DRBD"), "{error}");
}
