//! Against brute force, where drbdmeta 9.22 cannot help: other block sizes, any number of slots, any chunking.

use proptest::prelude::*;
use unsplit::format::drbdmeta::bitmap::{Edit, Marking, Scan};
use unsplit::format::drbdmeta::geometry::BitmapLayout;
use unsplit::format::drbdmeta::superblock::{encode_into, parse};
use unsplit::model::drbd::{GenerationUuid, MetadataFormat, PeerSlot, Superblock};
use unsplit::model::extent::{Extent, ExtentSet};

/// The disk bit of bit `n` of a slot, as the facts have it.
fn disk_bit(n: u64, slots: u64, slot: u64) -> usize {
    usize::try_from((n & !31) * slots + slot * 32 + (n & 31)).unwrap()
}

fn is_set(area: &[u8], layout: &BitmapLayout, slot: u32, n: u64) -> bool {
    let at = disk_bit(n, layout.slots.into(), slot.into());
    area[at / 8] >> (at % 8) & 1 == 1
}

fn naive(area: &[u8], layout: &BitmapLayout, slot: u32) -> (ExtentSet, u64) {
    let set: Vec<u64> = (0..layout.bits()).filter(|n| is_set(area, layout, slot, *n)).collect();
    let step = layout.bytes_per_bit;
    let extents = set.iter().map(|n| Extent::between(n * step, ((n + 1) * step).min(layout.data_size)));
    (extents.collect(), set.len() as u64)
}

fn layouts() -> impl Strategy<Value = BitmapLayout> {
    (12u32..=20, 1u32..=32, 1u64..3000, 0u64..8).prop_map(|(shift, slots, bits, sectors_short)| {
        BitmapLayout {
            bytes_per_bit: 1 << shift,
            slots,
            data_size: ((bits << shift) - sectors_short * 512).max(512),
        }
    })
}

/// Stretches of zeros, ones and noise, like real bitmaps.
fn areas(len: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec((0u8..4, 1usize..700, any::<u64>()), 1..60).prop_map(move |stretches| {
        let mut area = Vec::with_capacity(len);
        for (kind, count, seed) in stretches.into_iter().cycle().take(1 + len) {
            if area.len() >= len {
                break;
            }
            area.extend((0..count as u64).map(|i| match kind {
                0 | 1 => 0,
                2 => 0xff,
                _ => (seed.wrapping_mul(2 * i + 1) >> 33) as u8,
            }));
        }
        area.truncate(len);
        area
    })
}

fn cases() -> impl Strategy<Value = (BitmapLayout, Vec<u8>)> {
    layouts().prop_flat_map(|layout| {
        let len = usize::try_from(layout.bytes()).unwrap();
        (Just(layout), areas(len))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn scanning_is_reading_bit_by_bit((layout, area) in cases(), slot in 0u32..32, chunk in 1usize..5000) {
        let slot = slot % layout.slots;
        let mut scan = Scan::new(layout, slot).unwrap();
        for chunk in area.chunks(chunk * 4) {
            scan.feed(chunk).unwrap();
        }
        let found = scan.finish().unwrap();
        prop_assert_eq!((found.extents, found.bits), naive(&area, &layout, slot));
    }

    #[test]
    fn editing_changes_just_what_was_asked(
        (layout, before) in cases(),
        clear in any::<u32>(),
        mark in any::<u32>(),
        runs in prop::collection::vec((0u64..(3 << 30), 1u64..(40 << 20)), 0..6),
        chunk in 1usize..5000,
    ) {
        let slots = |mask: u32| (0..layout.slots).filter(move |slot| mask >> slot & 1 == 1).collect::<Vec<_>>();
        let (clear, mark) = (slots(clear), slots(mark));
        let extents: ExtentSet = runs.into_iter().map(|(start, len)| Extent { start, len }).collect();
        let edit = Edit::new(layout, &clear, vec![Marking { slots: mark.clone(), extents: extents.clone() }]).unwrap();
        let run = |area: &mut Vec<u8>| {
            let mut at = 0;
            let mut changed = false;
            for chunk in area.chunks_mut(chunk * 4) {
                changed |= edit.apply(at, chunk).unwrap();
                at += chunk.len() as u64;
            }
            changed
        };
        let mut after = before.clone();
        let changed = run(&mut after);
        prop_assert!(changed || after == before);
        for slot in 0..layout.slots {
            for n in 0..layout.bits() {
                let block = Extent { start: n * layout.bytes_per_bit, len: layout.bytes_per_bit };
                let marked = mark.contains(&slot) && extents.bytes_in(&Extent::between(block.start, block.end().min(layout.data_size))) > 0;
                let kept = !clear.contains(&slot) && is_set(&before, &layout, slot, n);
                prop_assert_eq!(is_set(&after, &layout, slot, n), marked || kept, "slot {} bit {}", slot, n);
            }
        }
        let mut again = after.clone();
        run(&mut again);
        prop_assert!(again == after, "not idempotent");
    }

    #[test]
    fn what_is_encoded_is_parsed(superblock in superblocks(), noise in any::<u8>()) {
        let mut block = [0; 4096];
        encode_into(&superblock, &mut block);
        prop_assert_eq!(parse(&block).unwrap(), superblock.clone());
        // As the maker of test images writes it, which knows nothing of this.
        prop_assert!(block == crate::image::bytes::superblock(&superblock));
        // Bytes that the model does not know stay as they are.
        let mut strange = block;
        strange[2000..].fill(noise);
        strange[104..112].fill(if superblock.format == MetadataFormat::V09 { noise } else { 0 });
        let mut patched = strange;
        encode_into(&superblock, &mut patched);
        prop_assert!(patched == strange);
    }
}

fn superblocks() -> impl Strategy<Value = Superblock> {
    let uuids = prop::collection::vec(any::<u64>().prop_map(GenerationUuid), 34);
    let peers = prop::collection::vec((any::<u64>(), any::<u64>(), any::<u32>()), 32);
    let slots = Just((-1..31).collect::<Vec<i32>>()).prop_shuffle();
    (
        any::<bool>(),
        uuids,
        peers,
        slots,
        any::<[u64; 3]>(),
        any::<[u32; 4]>(),
        12u32..=20,
        1u32..=32,
        -1i32..32,
    )
        .prop_map(|(old, uuids, peers, slots, wide, narrow, shift, max_peers, node_id)| {
            let log = 64;
            let base = Superblock {
                format: MetadataFormat::V08,
                unclean_magic: narrow[0] % 2 == 1,
                effective_size: wide[0] % (1 << 41),
                current: uuids[0],
                bitmap: uuids[1],
                history: uuids[2..4].to_vec(),
                members: 0,
                device_uuid: wide[1],
                flags: narrow[1],
                md_size: 8 + log + 512,
                al_offset: -64,
                al_extents: narrow[2],
                bm_offset: -576,
                bm_bytes_per_bit: 4096,
                la_peer_max_bio_size: narrow[3],
                max_peers: 1,
                node_id: -1,
                al_stripes: 2,
                al_stripe_size_4k: 4,
                peers: Vec::new(),
            };
            if old {
                return base;
            }
            let peers = peers.into_iter().zip(slots).map(|((uuid, dagtag, flags), slot)| PeerSlot {
                bitmap_uuid: GenerationUuid(uuid),
                bitmap_dagtag: dagtag,
                flags,
                bitmap_index: if slot < i32::try_from(max_peers).unwrap() { slot } else { -1 },
            });
            Superblock {
                format: MetadataFormat::V09,
                unclean_magic: false,
                bitmap: GenerationUuid::UNSET,
                history: uuids[2..].to_vec(),
                members: wide[2],
                bm_bytes_per_bit: 1 << shift,
                max_peers,
                node_id,
                peers: peers.collect(),
                ..base
            }
        })
}
