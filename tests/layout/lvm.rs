//! LVM on the whole volume, as the DRBD fixtures have it, and damaged in many ways.

use crate::disk::{MIB, MemoryDisk, check, in_mib, named};
use unsplit::edge::layout::{read_layout, read_layout_within};
use unsplit::model::unit::UnitKind;

const DRBD84: &[u8] = include_bytes!("../data/lvm/drbd84-head.bin");
const DRBD9: &[u8] = include_bytes!("../data/lvm/drbd9-head.bin");
/// Size of the replicated data, and of the whole backing device.
const DATA: u64 = 100_622_336;
const DEVICE: u64 = 96 * MIB;

#[test]
fn the_volumes_of_the_fixtures() {
    for (head, id) in [
        (DRBD84, "f2BzPU-J21u-bo2l-niie-YSBU-w2wA-21DUS6"),
        (DRBD9, "P7obPz-Rzfd-B9z8-24XL-Rejh-cQJ9-sRt8dl"),
    ] {
        let layout = read_layout_within(&MemoryDisk::new(DEVICE, &[(0, head)]), DATA);
        check(&layout, DATA);
        assert_eq!(layout.notes, [""; 0]);
        assert_eq!(
            layout.units[..4].iter().map(in_mib).collect::<Vec<_>>(),
            [
                ("drbdvg: LVM label and metadata", UnitKind::Structure, vec![(0, 1)]),
                ("drbdvg/vm-101-disk-0", UnitKind::LogicalVolume, vec![(1, 24)]),
                ("drbdvg/vm-102-disk-0", UnitKind::LogicalVolume, vec![(25, 24)]),
                ("drbdvg/shared", UnitKind::LogicalVolume, vec![(49, 8)]),
            ]
        );
        assert_eq!(layout.units[1].identity, id);
        assert_eq!(layout.units[4].name, "drbdvg: free space");
        assert_eq!(layout.units[4].map, [(0, (57 * MIB, DATA - 57 * MIB).into())]);
    }
}

#[test]
fn a_damaged_label_or_text_claims_nothing() {
    // Label checksum, PV UUID, mda header, text.
    for at in [0x210, 0x225, 0x1005, 0x2300] {
        let mut disk = MemoryDisk::new(DEVICE, &[(0, DRBD84)]);
        disk.put(at, &[0xff]);
        let layout = read_layout(&disk);
        check(&layout, DEVICE);
        assert_eq!(layout.units.len(), 1, "damage at {at:#x}");
        assert_eq!(
            (layout.units[0].name.as_str(), layout.units[0].kind),
            ("whole volume", UnitKind::Unclaimed)
        );
        assert!(layout.notes.iter().any(|note| note.contains("checksum")), "{:?}", layout.notes);
    }
}

#[test]
fn unreadable_metadata_claims_nothing() {
    for broken in [(0u64, 512u64), (512, 1), (0x1000, 512), (0x2300, 1)] {
        let mut disk = MemoryDisk::new(DEVICE, &[(0, DRBD84)]);
        disk.broken.push(broken.into());
        let layout = read_layout(&disk);
        check(&layout, DEVICE);
        assert_eq!(layout.units[0].kind, UnitKind::Unclaimed, "{broken:?}");
        assert!(layout.notes.iter().any(|note| note.contains("bad sector")), "{:?}", layout.notes);
    }
}

#[test]
fn a_device_that_is_too_short_is_told() {
    let layout = read_layout(&MemoryDisk::new(30 * MIB, &[(0, DRBD84)]));
    check(&layout, 30 * MIB);
    assert_eq!(named(&layout, "drbdvg/vm-101-disk-0").kind, UnitKind::LogicalVolume);
    assert_eq!(named(&layout, "drbdvg/vm-102-disk-0").kind, UnitKind::Opaque);
    assert!(layout.notes.iter().any(|note| note.contains("vm-102-disk-0")), "{:?}", layout.notes);
}

#[test]
fn nothing_is_one_vacant_unit() {
    for size in [0, 1, 511, 512, 2048, MIB] {
        let layout = read_layout(&MemoryDisk::new(size, &[]));
        check(&layout, size);
        assert_eq!(layout.units.len(), usize::from(size > 0));
        assert_eq!(layout.notes, [""; 0]);
    }
}

const TWO_A: &[u8] = include_bytes!("../data/lvm/two-a-head.bin");
const TWO_B: &[u8] = include_bytes!("../data/lvm/two-b-head.bin");
const WRAPPED: &[u8] = include_bytes!("../data/lvm/wrapped-head.bin");
const COPIES_HEAD: &[u8] = include_bytes!("../data/lvm/copies-head.bin");
const COPIES_TAIL: &[u8] = include_bytes!("../data/lvm/copies-tail.bin");
const ORPHAN: &[u8] = include_bytes!("../data/lvm/orphan-head.bin");
const TYPES: &[u8] = include_bytes!("../data/lvm/types-a-head.bin");

#[test]
fn volumes_on_two_devices() {
    use UnitKind::{LogicalVolume, Structure, Unclaimed};
    let a = read_layout(&MemoryDisk::new(160 * MIB, &[(0, TWO_A)]));
    let b = read_layout(&MemoryDisk::new(160 * MIB, &[(0, TWO_B)]));
    check(&a, 160 * MIB);
    check(&b, 160 * MIB);
    // Where `pvs --segments` says they are, in extents of 1 MiB from 1 MiB on.
    assert_eq!(
        a.units.iter().map(in_mib).collect::<Vec<_>>(),
        [
            ("two: LVM label and metadata", Structure, vec![(0, 1)]),
            ("two/pieces", LogicalVolume, vec![(1, 8), (17, 4)]),
            ("two/striped", LogicalVolume, vec![(9, 4)]),
            ("two/small", LogicalVolume, vec![(13, 4)]),
            ("two: free space", Unclaimed, vec![(21, 139)]),
        ]
    );
    assert_eq!(
        b.units.iter().map(in_mib).collect::<Vec<_>>(),
        [
            ("two: LVM label and metadata", Structure, vec![(0, 1)]),
            ("two/striped", LogicalVolume, vec![(1, 4)]),
            ("two/pieces", LogicalVolume, vec![(5, 3)]),
            ("two/other", LogicalVolume, vec![(8, 4)]),
            ("two: free space", Unclaimed, vec![(12, 148)]),
        ]
    );
    assert_eq!(
        named(&a, "two/pieces").map,
        [(0, (MIB, 8 * MIB).into()), (8 * MIB, (17 * MIB, 4 * MIB).into())]
    );
    assert_eq!(named(&b, "two/pieces").map, [(12 * MIB, (5 * MIB, 3 * MIB).into())]);
    // Chunks of 64 KiB take turns: the even ones here, the odd ones there.
    const CHUNK: u64 = 65536;
    for (layout, first, start) in [(&a, 0, 9 * MIB), (&b, 1, MIB)] {
        let expected: Vec<_> =
            (0..64).map(|n| ((2 * n + first) * CHUNK, (start + n * CHUNK, CHUNK).into())).collect();
        assert_eq!(named(layout, "two/striped").map, expected);
    }
    assert_eq!(
        a.notes,
        [
            "two/pieces: 3 of its extents are on other physical volumes",
            "two/striped: 4 of its extents are on other physical volumes"
        ]
    );
}

#[test]
fn a_text_that_wraps_around() {
    let layout = read_layout(&MemoryDisk::new(32 * MIB, &[(0, WRAPPED)]));
    check(&layout, 32 * MIB);
    assert_eq!(layout.notes, [""; 0]);
    assert_eq!(named(&layout, "wrapped/first").map, [(0, (65536, 3 * MIB).into())]);
    assert_eq!(named(&layout, "wrapped/second").map, [(0, (65536 + 3 * MIB, 5 * MIB).into())]);
}

#[test]
fn two_copies_of_the_metadata() {
    const TAIL: u64 = 32 * MIB - 65536;
    let intact = MemoryDisk::new(32 * MIB, &[(0, COPIES_HEAD), (TAIL, COPIES_TAIL)]);
    let layout = read_layout(&intact);
    check(&layout, 32 * MIB);
    assert_eq!(layout.notes, [""; 0]);
    assert_eq!(named(&layout, "copies/only").map, [(0, (65536, 3 * MIB).into())]);
    let own = &named(&layout, "copies: LVM label and metadata").map;
    assert_eq!(
        own.iter().map(|(_, extent)| *extent).collect::<Vec<_>>(),
        [(0, 65536).into(), (TAIL, 65536).into()]
    );

    for damage in [&[0x1004u64][..], &[TAIL + 4], &[0x1004, TAIL + 4]] {
        let mut disk = MemoryDisk::new(32 * MIB, &[(0, COPIES_HEAD), (TAIL, COPIES_TAIL)]);
        damage.iter().for_each(|at| disk.put(*at, &[0xff]));
        let damaged = read_layout(&disk);
        check(&damaged, 32 * MIB);
        assert_eq!(damaged.notes.len(), damage.len(), "{:?}", damaged.notes);
        if damage.len() == 1 {
            assert_eq!(damaged.units, layout.units);
        } else {
            assert_eq!(damaged.units[0].kind, UnitKind::Unclaimed);
        }
    }
}

#[test]
fn types_that_are_not_mapped_are_opaque() {
    use UnitKind::{LogicalVolume, Opaque, Structure, Unclaimed};
    let layout = read_layout(&MemoryDisk::new(64 * MIB, &[(0, TYPES)]));
    check(&layout, 64 * MIB);
    assert_eq!(
        layout.units.iter().map(in_mib).collect::<Vec<_>>(),
        [
            ("types: LVM label and metadata", Structure, vec![(0, 1)]),
            ("types/plain", LogicalVolume, vec![(1, 4)]),
            ("types/[lvol0_pmspare]", Opaque, vec![(5, 4)]),
            ("types/[pool_tmeta]", Opaque, vec![(9, 4)]),
            ("types/[pool_tdata]", Opaque, vec![(13, 16)]),
            ("types/[mirrored_rmeta_0]", Opaque, vec![(29, 1)]),
            ("types: free space", Unclaimed, vec![(30, 1), (36, 1), (41, 23)]),
            ("types/origin", LogicalVolume, vec![(31, 3)]),
            ("types/snap", Opaque, vec![(34, 2)]),
            ("types/[mirrored_rimage_0]", Opaque, vec![(37, 4)]),
        ]
    );
    assert_eq!(named(&layout, "types/[pool_tdata]").content.as_deref(), Some("part of thin-pool pool"));
    assert_eq!(
        named(&layout, "types/[mirrored_rimage_0]").content.as_deref(),
        Some("part of raid1 mirrored")
    );
    assert_eq!(named(&layout, "types/snap").content.as_deref(), Some("changes of a snapshot"));
}

#[test]
fn a_physical_volume_without_a_group() {
    let layout = read_layout(&MemoryDisk::new(16 * MIB, &[(0, ORPHAN)]));
    check(&layout, 16 * MIB);
    assert_eq!(
        layout.units.iter().map(in_mib).collect::<Vec<_>>(),
        [
            ("LVM label and metadata (no volume group)", UnitKind::Structure, vec![(0, 1)]),
            ("physical volume without a group", UnitKind::Unclaimed, vec![(1, 15)]),
        ]
    );
}
