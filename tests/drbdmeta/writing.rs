//! What we write, drbdmeta reads with the same meaning.

use crate::assert_same;
use crate::reading::with_bitmap;
use crate::tool::{Image, available};
use unsplit::format::drbdmeta::create::{Wanted, create};
use unsplit::judge::aftermath::after_resync;
use unsplit::model::drbd::{GenerationUuid, MetadataFormat, PeerSlot, Superblock, device_flag, peer_flag};
use unsplit::model::evidence::MetadataPlace::{self, FlexibleExternal, IndexedExternal, Internal};
use unsplit::model::extent::{Extent, ExtentSet};
use unsplit::model::id::NodeName;
use unsplit::model::seen::Stamp;

fn wanted(version: &str, place: MetadataPlace, size: u64, max_peers: u32, stripes: (u32, u32)) -> Wanted {
    Wanted {
        format: if version == "v08" { MetadataFormat::V08 } else { MetadataFormat::V09 },
        place,
        metadata_size: size,
        data_size: 16 << 20,
        max_peers,
        bytes_per_bit: 4096,
        al_stripes: stripes.0,
        al_stripe_size_4k: stripes.1,
    }
}

fn write_fresh(image: &Image, wanted: &Wanted, all_dirty: bool) {
    let fresh = create(wanted, all_dirty).unwrap();
    let disk = image.disk();
    disk.write_at(fresh.geometry.superblock_at, &fresh.superblock_bytes()).unwrap();
    disk.write_at(fresh.geometry.log.start, &fresh.log_bytes()).unwrap();
    let bitmap = vec![fresh.bitmap_byte; usize::try_from(fresh.geometry.bitmap.len).unwrap()];
    disk.write_at(fresh.geometry.bitmap.start, &bitmap).unwrap();
}

#[test]
fn our_fresh_metadata_is_byte_for_byte_drbdmetas() {
    if !available("our_fresh_metadata_is_byte_for_byte_drbdmetas") {
        return;
    }
    for (version, peers) in [("v08", 1), ("v09", 1), ("v09", 3), ("v09", 7)] {
        for (place, size) in [
            (Internal, (64 << 20) + 3584),
            (FlexibleExternal, (4 << 20) + 512),
            (IndexedExternal(0), 128 << 20),
            (IndexedExternal(1), 260 << 20),
        ] {
            for (stripes, args) in
                [((1, 8), &[][..]), ((4, 4), &["--al-stripes", "4", "--al-stripe-size-kB", "16"][..])]
            {
                let peers_word = peers.to_string();
                let mut args = args.to_vec();
                if version == "v09" {
                    args.push(&peers_word);
                }
                let (ours, theirs) =
                    (Image::empty(version, place, size), Image::created(version, place, size, &args));
                write_fresh(&ours, &wanted(version, place, size, peers, stripes), false);
                // Everything either of them wrote stands within 2 MiB of the superblock.
                let at = ours.replica(16 << 20).geometry().superblock_at;
                let from = at.saturating_sub(2 << 20);
                let bytes = [ours, theirs].map(|image| {
                    let disk = image.disk();
                    let len = (at + (2 << 20)).min(disk.size()) - from;
                    let mut bytes = vec![0; usize::try_from(len).unwrap()];
                    disk.read_at(from, &mut bytes).unwrap();
                    bytes
                });
                assert!(bytes[0] == bytes[1], "{version} {place} {args:?}");
            }
        }
    }
}

#[test]
fn every_field_we_write_is_dumped_and_verified() {
    if !available("every_field_we_write_is_dumped_and_verified") {
        return;
    }
    for version in ["v08", "v09"] {
        let size = 64 << 20;
        let image = Image::empty(version, Internal, size);
        write_fresh(&image, &wanted(version, Internal, size, 3, (1, 8)), true);
        let replica = image.replica(0);
        let mut sb = replica.superblock().clone();
        sb.effective_size = 100_000;
        sb.current = GenerationUuid(0x0123_4567_89AB_CDEF);
        sb.device_uuid = 0xFEDC_BA98_7654_3210;
        sb.flags = device_flag::CONSISTENT | device_flag::WAS_UP_TO_DATE | device_flag::AL_CLEAN;
        sb.la_peer_max_bio_size = 1 << 20;
        for (i, past) in (1..).zip(sb.history.iter_mut()) {
            *past = GenerationUuid(i << 8);
        }
        if version == "v08" {
            sb.bitmap = GenerationUuid(0xAAAA_BBBB_CCCC_DDDD);
        } else {
            sb.node_id = 5;
            for (id, peer) in (0..).zip(sb.peers.iter_mut()) {
                *peer = PeerSlot {
                    bitmap_uuid: GenerationUuid(0x1000 + id),
                    bitmap_dagtag: 0x2000 + id,
                    flags: peer_flag::DEVICE_SEEN,
                    bitmap_index: -1,
                };
            }
            sb.peers[31].bitmap_index = 2;
            sb.peers[0].bitmap_index = 0;
        }
        replica.write_superblock(&sb).unwrap();
        let text = image.dump_text();
        let dump = crate::dump::Dump::parse(&text);
        let now = image.replica(0);
        assert_same(&sb, now.geometry(), &dump);
        assert_eq!(now.superblock(), &sb);
        assert_eq!(dump.set_bits(0).len(), 100_000 / 8, "every bit of the effective size");
        let file = image.file("dump", &text);
        image.run(&["verify-dump", &file]);
    }
}

#[test]
fn an_aftermath_settled_by_us_is_what_drbdmeta_then_shows() {
    if !available("an_aftermath_settled_by_us_is_what_drbdmeta_then_shows") {
        return;
    }
    for (version, slots) in [("v08", 1), ("v09", 3)] {
        let sectors = (64_000 + 17) * 8;
        let images = [1, 2].map(|_| {
            let peers = slots.to_string();
            let args: &[&str] = if version == "v08" { &[] } else { &[&peers] };
            let image = Image::created(version, Internal, 400 << 20, args);
            let file = image.file("in", &with_bitmap(&image.dump_text(), version, slots, sectors));
            image.run(&["restore-md", &file]);
            image
        });
        // Slots 0, 1, 2 belong to node ids 31, 28, 25 (see `with_bitmap`): we are nodes 31 and 28.
        for (image, id, peer, current) in [(&images[0], 31, 28, 0xA0u64), (&images[1], 28, 31, 0xB0)] {
            let replica = image.replica(0);
            let mut sb = replica.superblock().clone();
            sb.current = GenerationUuid(current | 1);
            sb.flags = device_flag::CONSISTENT | device_flag::WAS_UP_TO_DATE | device_flag::PRIMARY_IND;
            sb.bitmap = GenerationUuid::UNSET;
            if version == "v08" {
                sb.bitmap = GenerationUuid(0xC0);
            } else {
                sb.node_id = id;
                sb.peers[peer].bitmap_uuid = GenerationUuid(0xC0);
                // The third node's base.
                sb.peers[25].bitmap_uuid = GenerationUuid(0xD0);
            }
            replica.write_superblock(&sb).unwrap();
        }
        let replicas = images.each_ref().map(|image| image.replica(0));
        let aftermath = after_resync(replicas[0].superblock(), replicas[1].superblock());
        let overwritten: ExtentSet =
            [Extent { start: 0, len: 4096 }, Extent { start: 77 * 4096 + 5, len: 9 << 20 }]
                .into_iter()
                .collect();
        let before = images.each_ref().map(Image::dump);
        for (i, change) in [(0, &aftermath.survivor), (1, &aftermath.victim)] {
            let written = if i == 1 { overwritten.clone() } else { ExtentSet::empty() };
            let blocks = replicas[i].changed_blocks(change, &written).unwrap();
            let (from, old) = metadata(&images[i]);
            replicas[i].settle(change, &written, false).unwrap();
            let (_, new) = metadata(&images[i]);
            for (at, (old, new)) in (from..).step_by(4096).zip(old.chunks(4096).zip(new.chunks(4096))) {
                assert!(
                    old == new || blocks.covers(&Extent { start: at, len: 4096 }),
                    "byte {at} was not foretold"
                );
            }
            // Again: nothing may change any more.
            replicas[i].settle(change, &written, true).unwrap();
            assert!(metadata(&images[i]).1 == new);
            let dump = images[i].dump();
            let now = images[i].replica(0);
            assert!(!dump.unclean);
            assert_same(&change.after, now.geometry(), &dump);
            assert_eq!(now.superblock(), &change.after);
            for slot in 0..slots {
                let bits = dump.set_bits(slot as usize);
                let toward = change.clear_slots.contains(&slot);
                if toward {
                    assert_eq!(bits, Vec::<u64>::new());
                } else if i == 1 {
                    let all = before[i].set_bits(slot as usize).into_iter();
                    let wanted: std::collections::BTreeSet<u64> =
                        all.chain([0]).chain(77..=77 + (9 << 8)).collect();
                    assert_eq!(bits, wanted.into_iter().collect::<Vec<_>>());
                } else {
                    assert_eq!(bits, before[i].set_bits(slot as usize));
                }
            }
        }
        let ends = images.each_ref().map(|image| image.replica(0).superblock().clone());
        assert_eq!(ends[0].current, ends[1].current);
        let healed: [&Superblock; 2] = [&ends[0], &ends[1]];
        for (own, peer) in [(0, 1), (1, 0)] {
            let seen = images[own]
                .replica(0)
                .observe(NodeName::new("n").unwrap(), None, healed[peer], Stamp(0))
                .unwrap();
            assert_eq!(seen.marks.bits_after_replay, 0);
        }
    }
}

/// The last MiB, which holds all metadata of these images, and where it starts.
fn metadata(image: &Image) -> (u64, Vec<u8>) {
    let disk = image.disk();
    let from = disk.size() - (1 << 20);
    let mut bytes = vec![0; 1 << 20];
    disk.read_at(from, &mut bytes).unwrap();
    (from, bytes)
}
