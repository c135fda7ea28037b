//! Two sides of v08, three nodes of v09.

use super::*;

const SURVIVOR: u64 = 0x5151_0000_0000_0001;
const VICTIM: u64 = 0x7171_0000_0000_0001;
const BASE: u64 = 0xBA5E_0000_0000_0000;

fn superblock(format: MetadataFormat, current: u64) -> Superblock {
    let (history, peers) = match format {
        MetadataFormat::V08 => (2, 0),
        MetadataFormat::V09 => (32, 32),
    };
    let empty = PeerSlot { bitmap_uuid: GenerationUuid::UNSET, bitmap_dagtag: 0, flags: 0, bitmap_index: -1 };
    Superblock {
        format,
        unclean_magic: format == MetadataFormat::V08,
        effective_size: 196_528,
        current: GenerationUuid(current),
        bitmap: GenerationUuid::UNSET,
        history: vec![GenerationUuid::UNSET; history],
        members: 0,
        device_uuid: current ^ 0xDE,
        flags: device_flag::CONSISTENT | device_flag::WAS_UP_TO_DATE | device_flag::PRIMARY_IND,
        md_size: 80,
        al_offset: -64,
        al_extents: 1237,
        bm_offset: -72,
        bm_bytes_per_bit: 4096,
        la_peer_max_bio_size: 0,
        max_peers: if format == MetadataFormat::V08 { 1 } else { 4 },
        node_id: -1,
        al_stripes: 1,
        al_stripe_size_4k: 8,
        peers: vec![empty; peers],
    }
}

fn set(sb: &Superblock) -> Vec<u64> {
    sb.history.iter().map(|uuid| uuid.0).filter(|uuid| *uuid != 0).collect()
}

#[test]
fn v08_ends_equal_and_clean() {
    let mut survivor = superblock(MetadataFormat::V08, SURVIVOR);
    let mut victim = superblock(MetadataFormat::V08, VICTIM);
    for side in [&mut survivor, &mut victim] {
        side.bitmap = GenerationUuid(BASE | 1);
        side.flags |= device_flag::CRASHED_PRIMARY
            | device_flag::FULL_SYNC
            | device_flag::PEER_OUT_DATED
            | device_flag::CONNECTED_IND;
    }
    survivor.history = vec![GenerationUuid(0x10), GenerationUuid(0x20)];
    victim.history = vec![GenerationUuid(0x30), GenerationUuid(0x40)];
    let Aftermath { survivor: kept, victim: lost } = after_resync(&survivor, &victim);
    let clean = device_flag::CONSISTENT | device_flag::WAS_UP_TO_DATE | device_flag::AL_CLEAN;
    for change in [&kept, &lost] {
        assert_eq!(change.after.current, GenerationUuid(SURVIVOR & !1));
        assert_eq!(change.after.bitmap, GenerationUuid::UNSET);
        assert_eq!(set(&change.after), [BASE | 1, 0x10]);
        assert_eq!(change.after.flags, clean);
        assert!(!change.after.unclean_magic);
        assert_eq!((&change.clear_slots[..], change.reset_log), (&[0][..], true));
        assert!(change.mark_slots.is_empty() && change.mark_hot_slots.is_empty());
    }
    assert_eq!(lost.after.device_uuid, victim.device_uuid);
    assert_eq!(kept.during, None);
    let during = lost.during.unwrap();
    assert_eq!(during, Superblock { flags: victim.flags & !device_flag::CONSISTENT, ..victim });
}

/// Nodes 0 (survivor), 1 (victim) and 2 (third) of a resource with four slots.
fn three() -> (Superblock, Superblock) {
    let mut survivor = superblock(MetadataFormat::V09, SURVIVOR);
    let mut victim = superblock(MetadataFormat::V09, VICTIM);
    (survivor.node_id, victim.node_id) = (0, 1);
    let slot = |index, uuid| PeerSlot {
        bitmap_uuid: GenerationUuid(uuid),
        bitmap_dagtag: 7,
        flags: peer_flag::NODE_EXISTS | peer_flag::OUTDATED | peer_flag::FULL_SYNC,
        bitmap_index: index,
    };
    survivor.peers[1] = slot(2, BASE);
    survivor.peers[2] = slot(0, 0xC0);
    victim.peers[0] = slot(1, BASE);
    victim.peers[2] = slot(3, 0);
    survivor.members = 0b101;
    victim.members = 0b110;
    (survivor, victim)
}

#[test]
fn v09_leaves_nothing_between_the_two() {
    let (mut survivor, mut victim) = three();
    survivor.flags |= device_flag::PRIMARY_LOST_QUORUM;
    survivor.history[0] = GenerationUuid(0x10);
    victim.history[..2].copy_from_slice(&[GenerationUuid(0x20), GenerationUuid(0x10)]);
    let Aftermath { survivor: kept, victim: lost } = after_resync(&survivor, &victim);
    assert_eq!(kept.after.current, lost.after.current);
    assert_eq!((kept.clear_slots, lost.clear_slots), (vec![2], vec![1]));
    for (after, peer) in [(&kept.after, 1), (&lost.after, 0)] {
        let slot = &after.peers[peer];
        assert_eq!(
            (slot.bitmap_uuid, slot.bitmap_dagtag),
            (GenerationUuid::UNSET, if peer == 1 { 7 } else { 0 })
        );
        assert_eq!(slot.flags, peer_flag::NODE_EXISTS | peer_flag::DEVICE_SEEN);
        assert!(!after.has(device_flag::PRIMARY_IND | device_flag::PRIMARY_LOST_QUORUM));
        assert!(after.has(device_flag::AL_CLEAN));
        assert_eq!(after.members, 0b111);
    }
    assert_eq!(set(&kept.after), [BASE, 0x10]);
    // The survivor's base for the third, the base of both, its own; its old generation lives on in the third peer's
    // bitmap UUID only.
    assert_eq!(set(&lost.after), [0xC0, BASE, 0x20, 0x10]);
}

#[test]
fn v09_keeps_third_peers_right() {
    let (survivor, victim) = three();
    let Aftermath { survivor: kept, victim: lost } = after_resync(&survivor, &victim);
    // The survivor's data did not change: only what its log may hide is new to others.
    assert_eq!(kept.mark_slots, Vec::<u32>::new());
    assert_eq!(kept.mark_hot_slots, [0, 1, 3]);
    assert_eq!(kept.after.peers[2], survivor.peers[2]);
    // The victim's did, in every slot but the survivor's, allocated or not.
    assert_eq!(lost.mark_slots, [0, 2, 3]);
    assert_eq!(lost.mark_hot_slots, [0, 2, 3]);
    // The third shared the victim's old generation: it is that generation's bitmap now.
    assert_eq!(lost.after.peers[2].bitmap_uuid, GenerationUuid(VICTIM & !1));
    assert_eq!(lost.after.peers[2].flags, victim.peers[2].flags);
    // Nodes without a slot stay as they are.
    assert_eq!(lost.after.peers[3], victim.peers[3]);

    let mut collecting = victim.clone();
    collecting.peers[2].bitmap_uuid = GenerationUuid(0xD0);
    let lost = after_resync(&survivor, &collecting).victim;
    assert_eq!(lost.after.peers[2], collecting.peers[2], "goes on collecting against its generation");
    assert_eq!(set(&lost.after), [0xC0, BASE], "the discarded generation is nobody's past");

    // Seen on three nodes of 9.3.3: who is in sync with the survivor is in sync with the victim, too.
    let mut in_sync = survivor.clone();
    in_sync.peers[2].bitmap_uuid = GenerationUuid::UNSET;
    let lost = after_resync(&in_sync, &collecting).victim;
    assert_eq!((lost.after.peers[2].bitmap_uuid.0, lost.after.peers[2].bitmap_dagtag), (0, 0));
    assert_eq!(set(&lost.after), [0xD0, BASE]);
    assert_eq!(lost.mark_slots, [0, 2, 3]);
    let lost = after_resync(&in_sync, &victim).victim;
    assert_eq!(lost.after.peers[2].bitmap_uuid.0, VICTIM & !1);
    // A survivor without a slot for that node knows nothing of it: the victim goes on collecting.
    in_sync.peers[2].bitmap_index = -1;
    let lost = after_resync(&in_sync, &collecting).victim;
    assert_eq!(lost.after.peers[2], collecting.peers[2]);

    let mut orderly = victim;
    orderly.flags &= !device_flag::PRIMARY_IND;
    let lost = after_resync(&survivor, &orderly).victim;
    assert_eq!((lost.mark_hot_slots, lost.mark_slots), (vec![], vec![0, 2, 3]));
}

#[test]
fn v09_history_never_repeats_and_never_grows() {
    let (mut survivor, mut victim) = three();
    for (i, (a, b)) in (1..).zip(survivor.history.iter_mut().zip(victim.history.iter_mut())) {
        (*a, *b) = (GenerationUuid(i << 8), GenerationUuid(i << 16));
    }
    survivor.peers[1].bitmap_uuid = GenerationUuid(0x500);
    let Aftermath { survivor: kept, victim: lost } = after_resync(&survivor, &victim);
    assert_eq!(kept.after.history, survivor.history, "0x500 is known already");
    assert_eq!(lost.after.history.len(), 32);
    let mut unique = set(&lost.after);
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), 32);
    survivor.peers[1].bitmap_uuid = GenerationUuid::JUST_CREATED;
    assert_eq!(after_resync(&survivor, &victim).survivor.after.history, survivor.history);
}

#[test]
fn nothing_is_cleared_without_a_slot() {
    let (survivor, mut victim) = three();
    victim.peers[0].bitmap_index = -1;
    let lost = after_resync(&survivor, &victim).victim;
    assert_eq!(lost.clear_slots, Vec::<u32>::new());
    assert_eq!(lost.mark_slots, [0, 1, 2, 3]);
}
