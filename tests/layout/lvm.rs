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
