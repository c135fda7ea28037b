//! What drbdmeta creates and edits, we read.

use crate::dump::Dump;
use crate::tool::{Image, available};
use crate::{assert_same, bits_of};
use unsplit::model::drbd::{GenerationUuid, Superblock, device_flag};
use unsplit::model::evidence::MetadataPlace::{self, FlexibleExternal, IndexedExternal, Internal};
use unsplit::model::id::NodeName;
use unsplit::model::seen::Stamp;

/// Odd sizes on purpose: the formulas round in several places. In bytes.
const SIZES: [u64; 7] = [
    1 << 20,
    (64 << 20) + 512,
    (64 << 20) + 4096 + 3584,
    1 << 30,
    (1 << 40) + 12_345 * 512,
    (16 << 40) - 4096,
    3_333_333 * 512,
];

#[test]
fn create_md_of_every_size_place_and_shape() {
    if !available("create_md_of_every_size_place_and_shape") {
        return;
    }
    let shapes: [(&'static str, &[&str]); 6] = [
        ("v08", &[]),
        ("v08", &["--al-stripes", "4", "--al-stripe-size-kB", "16"]),
        ("v09", &["1"]),
        ("v09", &["3"]),
        ("v09", &["--al-stripes", "3", "--al-stripe-size-kB", "32", "7"]),
        ("v09", &["31"]),
    ];
    for (version, args) in shapes {
        for size in SIZES.into_iter().filter(|size| *size <= 1 << 30) {
            check_created(version, Internal, size, args);
        }
        check_created(version, FlexibleExternal, (8 << 20) + 1536, args);
        check_created(version, IndexedExternal(0), 300 << 20, args);
        check_created(version, IndexedExternal(1), 300 << 20, args);
    }
}

#[test]
fn create_md_of_large_devices() {
    if !available("create_md_of_large_devices") {
        return;
    }
    for size in SIZES.into_iter().filter(|size| *size > 1 << 30 && *size <= 1 << 41) {
        check_created("v08", Internal, size, &[]);
        check_created("v09", Internal, size, &["2"]);
    }
}

fn check_created(version: &'static str, place: MetadataPlace, size: u64, args: &[&str]) {
    let image = Image::empty(version, place, size);
    let mut all = vec!["create-md"];
    all.extend(args);
    let (done, text) = image.ask(&all);
    assert!(done, "create-md {version} {place} {size} {args:?}: {text}");
    let replica = image.replica(16 << 20);
    assert_same(replica.superblock(), replica.geometry(), &image.dump());
    assert_eq!(replica.superblock().current, GenerationUuid::JUST_CREATED);
}

/// The middle of a v09 dump, with the two things a test may want to say.
fn restore_text(image: &Image, edit: impl Fn(String) -> String) -> Dump {
    let text = edit(image.dump_text());
    let file = image.file("dump", &text);
    image.run(&["restore-md", &file]);
    image.dump()
}

#[test]
fn restored_bitmaps_are_read_word_by_word() {
    if !available("restored_bitmaps_are_read_word_by_word") {
        return;
    }
    for (version, args, slots) in
        [("v08", &[][..], 1), ("v09", &["1"][..], 1), ("v09", &["3"][..], 3), ("v09", &["7"][..], 7)]
    {
        // 1000 × 64 bits and 17 more: neither a whole word nor a whole block.
        let sectors = (64_000 + 17) * 8;
        let image = Image::created(version, Internal, 400 << 20, args);
        let dump = restore_text(&image, |text| with_bitmap(&text, version, slots, sectors));
        assert_eq!(dump.get("la-size-sect"), i128::from(sectors));
        let replica = image.replica(0);
        assert_same(replica.superblock(), replica.geometry(), &dump);
        assert_eq!(replica.size(), sectors * 512);
        for slot in 0..slots {
            let peer = Superblock { node_id: peer_of(slot), ..replica.superblock().clone() };
            let seen = replica.observe(NodeName::new("n").unwrap(), None, &peer, Stamp(0)).unwrap();
            assert_eq!(seen.marks.slot, Some(slot));
            let bits = bits_of(&seen.marks.bitmap, 4096, replica.size());
            assert_eq!(bits, dump.set_bits(slot as usize), "{version} slot {slot}");
            assert_eq!(seen.marks.bits, bits.len() as u64);
            assert!(bits.len() > 1000);
        }
    }
}

/// Node ids in another order than their slots.
fn peer_of(slot: u32) -> i32 {
    31 - 3 * i32::try_from(slot).unwrap()
}

/// Rewrites a dump of fresh metadata so that it tells a size, allocated slots and a different bitmap in each.
pub(crate) fn with_bitmap(text: &str, version: &str, slots: u32, sectors: u64) -> String {
    let head = &text[..text.find("# bm-bytes").unwrap()];
    let mut out = head.replace("la-size-sect 0;", &format!("la-size-sect {sectors};"));
    for slot in 0..slots {
        let id = peer_of(slot);
        out = out.replace(
            &format!("peer[{id}] {{\n    bitmap-index -1;"),
            &format!("peer[{id}] {{\n    bitmap-index {slot};"),
        );
    }
    for slot in 0..slots {
        let name = if version == "v08" { "bm".to_owned() } else { format!("bitmap[{slot}]") };
        out.push_str(&format!("{name} {{\n"));
        let mut state = u64::from(slot) * 77 + 1;
        for word in 0..1000u64 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let value = match word % 100 {
                0..40 => 0,
                40..60 => u64::MAX,
                60..80 => u64::MAX << (state >> 58),
                _ => state ^ (state >> 29),
            };
            out.push_str(&format!("0x{value:016X};\n"));
        }
        out.push_str("0x0000000000015555;\n}\n");
    }
    out
}

#[test]
fn set_gi_is_read_back() {
    if !available("set_gi_is_read_back") {
        return;
    }
    let image = Image::created("v08", Internal, 64 << 20, &[]);
    image.run(&[
        "set-gi",
        "1111111111111112:2222222222222222:3333333333333332:4444444444444444:1:1:1:0:1:1:1",
    ]);
    let replica = image.replica(0);
    let sb = replica.superblock();
    assert_same(sb, replica.geometry(), &image.dump());
    assert_eq!(sb.current.0, 0x1111_1111_1111_1112);
    for flag in [
        device_flag::CONSISTENT,
        device_flag::WAS_UP_TO_DATE,
        device_flag::PRIMARY_IND,
        device_flag::FULL_SYNC,
        device_flag::PEER_OUT_DATED,
        device_flag::CRASHED_PRIMARY,
    ] {
        assert!(sb.has(flag), "{flag:#x} in {:#x}", sb.flags);
    }
    assert!(!sb.has(device_flag::CONNECTED_IND));
    let seen = replica.observe(NodeName::new("n").unwrap(), None, sb, Stamp(0)).unwrap();
    assert_eq!(seen.marks.bits, replica.size().div_ceil(4096), "a full sync is due");
    assert_eq!(seen.marks.candidates(replica.size()).bytes(), replica.size());
}
