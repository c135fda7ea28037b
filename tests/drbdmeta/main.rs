//! DRBD's on-disk metadata: real captures, and drbdmeta as the judge of what we read and write.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod captures;
mod dump;
#[path = "../image/mod.rs"]
mod image;
mod log;
mod models;
mod reading;
#[path = "../skipped/mod.rs"]
mod skipped;
mod tool;
mod writing;

use dump::Dump;
use unsplit::format::drbdmeta::geometry::Geometry;
use unsplit::model::drbd::{MetadataFormat, Superblock};
use unsplit::model::extent::ExtentSet;

/// Numbers of the bits that cover a set exactly; fails if the set does not consist of whole bits.
fn bits_of(set: &ExtentSet, bytes_per_bit: u64, size: u64) -> Vec<u64> {
    let mut bits = Vec::new();
    for run in set.iter() {
        assert_eq!(run.start % bytes_per_bit, 0);
        assert!(run.end() % bytes_per_bit == 0 || run.end() == size);
        bits.extend(run.start / bytes_per_bit..run.end().div_ceil(bytes_per_bit));
    }
    bits
}

/// Compares every field that a dump shows.
fn assert_same(sb: &Superblock, geometry: &Geometry, dump: &Dump) {
    assert_eq!(dump.get("md_size_sect"), i128::from(sb.md_size));
    assert_eq!(dump.get("md_offset"), i128::from(geometry.superblock_at));
    assert_eq!(dump.get("al_offset"), i128::from(geometry.log.start));
    assert_eq!(dump.get("bm_offset"), i128::from(geometry.bitmap.start));
    assert_eq!(dump.get("al-extents"), i128::from(sb.al_extents));
    assert_eq!(dump.get("la-size-sect"), i128::from(sb.effective_size));
    assert_eq!(dump.get("bm-byte-per-bit"), i128::from(sb.bm_bytes_per_bit));
    assert_eq!(dump.get("device-uuid"), i128::from(sb.device_uuid));
    assert_eq!(dump.get("la-peer-max-bio-size"), i128::from(sb.la_peer_max_bio_size));
    assert_eq!(dump.get("al-stripes"), i128::from(sb.al_stripes));
    assert_eq!(dump.get("al-stripe-size-4k"), i128::from(sb.al_stripe_size_4k));
    let history: Vec<u64> = sb.history.iter().map(|uuid| uuid.0).collect();
    match sb.format {
        MetadataFormat::V08 => {
            assert_eq!(dump.version, "v08");
            assert_eq!(dump.uuids, [vec![sb.current.0, sb.bitmap.0], history].concat());
        }
        MetadataFormat::V09 => {
            assert_eq!(dump.version, "v09");
            assert_eq!(dump.get("max-peers"), i128::from(sb.max_peers));
            assert_eq!(dump.get("node-id"), i128::from(sb.node_id));
            assert_eq!(dump.get("current-uuid"), i128::from(sb.current.0));
            assert_eq!(dump.get("flags"), i128::from(sb.flags));
            assert_eq!(dump.uuids, history);
            assert_eq!(dump.peers.len(), sb.peers.len());
            for (shown, read) in dump.peers.iter().zip(&sb.peers) {
                assert_eq!(shown["bitmap-index"], i128::from(read.bitmap_index));
                assert_eq!(shown["bitmap-uuid"], i128::from(read.bitmap_uuid.0));
                assert_eq!(shown["bitmap-dagtag"], i128::from(read.bitmap_dagtag));
                assert_eq!(shown["flags"], i128::from(read.flags));
            }
        }
    }
}
