//! Tables that are wrong behind correct checksums.

use crate::disk::{MIB, MemoryDisk, check, in_mib, named};
use unsplit::edge::layout::read_layout;
use unsplit::format::lvm2::write::{Identifier, VolumeGroupSpec, VolumeSpec, describe};
use unsplit::model::unit::{Layout, UnitKind};

/// A GPT with (first, last) sectors of partitions, without a backup.
fn gpt(sector: usize, partitions: &[(u64, u64)]) -> Vec<u8> {
    let mut entries = vec![0; 128 * 128];
    for (number, (first, last)) in partitions.iter().enumerate() {
        let entry = &mut entries[number * 128..][..128];
        entry[..32].fill(number as u8 + 1);
        entry[32..40].copy_from_slice(&first.to_le_bytes());
        entry[40..48].copy_from_slice(&last.to_le_bytes());
    }
    let mut header = vec![0; sector];
    header[..12].copy_from_slice(b"EFI PART\0\0\x01\0");
    header[12..16].copy_from_slice(&92u32.to_le_bytes());
    header[24..32].copy_from_slice(&1u64.to_le_bytes());
    header[32..40].copy_from_slice(&99u64.to_le_bytes());
    header[72..80].copy_from_slice(&2u64.to_le_bytes());
    header[80..84].copy_from_slice(&128u32.to_le_bytes());
    header[84..88].copy_from_slice(&128u32.to_le_bytes());
    header[88..92].copy_from_slice(&crc32fast::hash(&entries).to_le_bytes());
    let sum = crc32fast::hash(&header[..92]);
    header[16..20].copy_from_slice(&sum.to_le_bytes());
    let mut disk = vec![0; sector];
    disk[446 + 4] = 0xee;
    disk[446 + 8] = 1;
    disk[446 + 12..446 + 16].fill(0xff);
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    disk.extend(header);
    disk.extend(entries);
    disk
}

fn layout_of(head: &[u8], size: u64) -> Layout {
    let layout = read_layout(&MemoryDisk::new(size, &[(0, head)]));
    check(&layout, size);
    layout
}

#[test]
fn sectors_of_4096_bytes() {
    let layout = layout_of(&gpt(4096, &[(256, 511)]), 8 * MIB);
    assert_eq!(in_mib(named(&layout, "partition 1")), ("partition 1", UnitKind::Partition, vec![(1, 1)]));
    assert_eq!(named(&layout, "partition table").map, [(0, (0, 6 * 4096).into())]);
}

#[test]
fn partitions_that_overlap_or_stick_out() {
    let layout =
        layout_of(&gpt(512, &[(2048, 6143), (4096, 8191), (0, 2), (14336, 20479), (10240, 12287)]), 8 * MIB);
    assert_eq!(in_mib(named(&layout, "partition 1")), ("partition 1", UnitKind::Opaque, vec![(1, 1)]));
    assert_eq!(in_mib(named(&layout, "partition 2")), ("partition 2", UnitKind::Opaque, vec![(3, 1)]));
    assert_eq!(in_mib(named(&layout, "partition 4")), ("partition 4", UnitKind::Opaque, vec![(7, 1)]));
    assert_eq!(in_mib(named(&layout, "partition 5")), ("partition 5", UnitKind::Partition, vec![(5, 1)]));
    let contested = named(&layout, "claimed more than once");
    assert_eq!(contested.kind, UnitKind::Opaque);
    assert_eq!(Vec::from_iter(&contested.extents()), [(0, 3 * 512).into(), (2 * MIB, MIB).into()]);
    for number in [1, 2, 3, 4] {
        assert!(
            layout.notes.iter().any(|note| note.starts_with(&format!("partition {number}: "))),
            "{number}"
        );
    }
}

#[test]
fn numbers_at_the_edge() {
    for partitions in [&[(u64::MAX, u64::MAX)][..], &[(0, u64::MAX)], &[(5, 4)], &[(1 << 55, 1 << 56)]] {
        let layout = layout_of(&gpt(512, partitions), 8 * MIB);
        assert!(layout.units.iter().all(|unit| unit.kind != UnitKind::Partition), "{layout:#?}");
        assert!(layout.notes.len() > 1, "{:?}", layout.notes);
    }
}

/// A physical volume of 16 MiB with extents of 1 MiB, whose text was changed and sealed again.
fn volume_group(change: impl Fn(String) -> String) -> Vec<u8> {
    let id = |seed| Identifier::from_bytes([seed; 32]);
    let volume = |name: &str, seed| VolumeSpec { name: name.into(), id: id(seed), bytes: 2 * MIB };
    let mut head = describe(&VolumeGroupSpec {
        name: "vg".into(),
        id: id(1),
        pv_id: id(2),
        device_size: 16 * MIB,
        extent_size: MIB,
        volumes: vec![volume("one", 3), volume("two", 4)],
        created: 0,
    })
    .unwrap()
    .head;
    let sum = |bytes: &[u8]| {
        let mut hasher = crc32fast::Hasher::new_with_initial(!0xf597_a6cf);
        hasher.update(bytes);
        (!hasher.finalize()).to_le_bytes()
    };
    let end = 0x1200 + head[0x1200..].iter().position(|byte| *byte == 0).unwrap();
    let mut text = change(String::from_utf8(head[0x1200..end].to_vec()).unwrap()).into_bytes();
    text.push(0);
    head[0x1200..][..text.len()].copy_from_slice(&text);
    head[0x1030..0x1038].copy_from_slice(&(text.len() as u64).to_le_bytes());
    head[0x1038..0x103c].copy_from_slice(&sum(&text));
    let header = sum(&head[0x1004..0x1200]);
    head[0x1000..0x1004].copy_from_slice(&header);
    head
}

fn kinds(layout: &Layout) -> Vec<(&str, UnitKind)> {
    layout.units.iter().map(|unit| (unit.name.as_str(), unit.kind)).collect()
}

#[test]
fn volumes_that_overlap_or_stick_out() {
    use UnitKind::{LogicalVolume, Opaque};
    let replace = |from: &'static str, to: &'static str| {
        layout_of(
            &volume_group(|text| {
                assert!(text.contains(from));
                text.replacen(from, to, 1)
            }),
            16 * MIB,
        )
    };
    let sound = replace("vg {", "vg {");
    assert_eq!(named(&sound, "vg/one").kind, LogicalVolume);
    assert_eq!(sound.notes, [""; 0]);

    let overlap = replace("\"pv0\", 2", "\"pv0\", 1");
    assert_eq!(in_mib(named(&overlap, "vg/one")), ("vg/one", Opaque, vec![(1, 1)]));
    assert_eq!(in_mib(named(&overlap, "vg/two")), ("vg/two", Opaque, vec![(3, 1)]));
    assert_eq!(in_mib(named(&overlap, "claimed more than once")).2, [(2, 1)]);

    let beyond = replace("\"pv0\", 2", "\"pv0\", 4294967295");
    assert!(beyond.units.iter().all(|unit| unit.name != "vg/two"));
    assert!(beyond.notes[0].contains("beyond"), "{:?}", beyond.notes);

    let moving = replace("\"pv0\", 2", "\"pvmove0\", 2");
    assert!(moving.units.iter().all(|unit| unit.name != "vg/two"));
    assert!(moving.notes[0].contains("pvmove0"), "{:?}", moving.notes);

    // LVM's own area is not a volume's.
    let over_metadata = replace("pe_start = 2048", "pe_start = 0");
    assert_eq!(named(&over_metadata, "vg/one").kind, Opaque);

    for (from, to) in [
        ("pe_start = 2048", "pe_start = 99999999"),
        ("pe_start = 2048", "pe_start = 36028797018963967"),
        ("extent_size = 2048", "extent_size = 36028797018963967"),
        ("extent_size = 2048", "extent_size = 0"),
        ("pe_count = 15", "pe_count = 9223372036854775807"),
        ("pe_count = 15", "pe_count = -1"),
        ("contents = ", "x {}\ncontents = "),
        ("version = 1", "version = 2"),
        ("stripe_count = 1", "stripe_count = 2"),
        ("pv0 {\nid = ", "pv0 {\nid = \"other\"\nx = "),
        ("flags = []", "flags = ["),
    ] {
        let layout = replace(from, to);
        let claims = kinds(&layout).into_iter().filter(|(_, kind)| *kind == LogicalVolume).count();
        assert_eq!(claims, 0, "{to}: {layout:#?}");
        assert!(!layout.notes.is_empty(), "{to}");
    }
}

#[test]
fn a_striped_volume_with_too_many_chunks_is_opaque() {
    let head = volume_group(|text| {
        text.replacen("stripe_count = 1", "stripe_count = 2\nstripe_size = 1", 1)
            .replacen("extent_size = 2048", "extent_size = 4194304", 1)
            .replacen("\"pv0\", 0", "\"pv0\", 0, \"pv0\", 1", 1)
            .replacen("\"pv0\", 2", "\"pv0\", 5", 1)
    });
    let layout = layout_of(&head, 40 << 30);
    let one = named(&layout, "vg/one");
    assert_eq!(one.kind, UnitKind::Opaque);
    assert_eq!(Vec::from_iter(&one.extents()), [(MIB, 4 << 30).into()]);
    assert!(layout.notes.iter().any(|note| note.contains("too many stripes")), "{:?}", layout.notes);
    assert_eq!(named(&layout, "vg/two").kind, UnitKind::LogicalVolume);
}
