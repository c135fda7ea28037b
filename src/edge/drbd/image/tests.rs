//! Against disks in memory.

use super::{ImageReplica, ObserveError};
use crate::format::drbdmeta::create::{Fresh, Wanted, create};
use crate::judge::aftermath::after_resync;
use crate::model::drbd::{GenerationUuid, MetadataFormat, PeerSlot, Superblock, device_flag, peer_flag};
use crate::model::evidence::{LogState, MetadataPlace, Trust};
use crate::model::extent::{Extent, ExtentSet};
use crate::model::id::NodeName;
use crate::model::seen::Stamp;
use crate::ports::disk::{Disk, DiskFault, DiskMut};
use std::sync::{Arc, Mutex};

struct Memory {
    name: &'static str,
    bytes: Mutex<Vec<u8>>,
    /// Reads that touch this byte fail.
    bad: Option<u64>,
    /// What was written, and `None` for each flush.
    done: Mutex<Vec<Option<Extent>>>,
}

impl Memory {
    fn of(name: &'static str, bytes: Vec<u8>) -> Memory {
        Memory { name, bytes: Mutex::new(bytes), bad: None, done: Mutex::default() }
    }
}

fn memory(name: &'static str, size: u64) -> Arc<Memory> {
    Arc::new(Memory::of(name, vec![0; usize::try_from(size).unwrap()]))
}

fn range(offset: u64, len: usize) -> std::ops::Range<usize> {
    let start = usize::try_from(offset).unwrap();
    start..start + len
}

impl Disk for Memory {
    fn name(&self) -> &str {
        self.name
    }
    fn size(&self) -> u64 {
        self.bytes.lock().unwrap().len() as u64
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskFault> {
        let extent = Extent { start: offset, len: buffer.len() as u64 };
        if self.bad.is_some_and(|bad| (extent.start..extent.end()).contains(&bad)) {
            let source = std::io::Error::other("medium error");
            return Err(DiskFault::Io { disk: self.name.to_owned(), act: "read", extent, source });
        }
        buffer.copy_from_slice(&self.bytes.lock().unwrap()[range(offset, buffer.len())]);
        Ok(())
    }
}

impl DiskMut for Memory {
    fn write_at(&self, offset: u64, buffer: &[u8]) -> Result<(), DiskFault> {
        self.bytes.lock().unwrap()[range(offset, buffer.len())].copy_from_slice(buffer);
        self.done.lock().unwrap().push(Some(Extent { start: offset, len: buffer.len() as u64 }));
        Ok(())
    }
    fn flush(&self) -> Result<(), DiskFault> {
        self.done.lock().unwrap().push(None);
        Ok(())
    }
    fn as_disk(&self) -> &dyn Disk {
        self
    }
}

const MIB: u64 = 1 << 20;

fn put(disk: &Memory, fresh: &Fresh) {
    disk.write_at(fresh.geometry.superblock_at, &fresh.superblock_bytes()).unwrap();
    disk.write_at(fresh.geometry.log.start, &fresh.log_bytes()).unwrap();
    let bitmap = vec![fresh.bitmap_byte; usize::try_from(fresh.geometry.bitmap.len).unwrap()];
    disk.write_at(fresh.geometry.bitmap.start, &bitmap).unwrap();
}

fn internal(format: MetadataFormat, size: u64, max_peers: u32) -> Arc<Memory> {
    let disk = memory("image", size);
    put(&disk, &create(&Wanted { max_peers, ..Wanted::internal(format, size) }, false).unwrap());
    disk
}

fn external(place: MetadataPlace, size: u64, data_size: u64) -> Fresh {
    let wanted =
        Wanted { place, metadata_size: size, data_size, ..Wanted::internal(MetadataFormat::V08, size) };
    create(&wanted, false).unwrap()
}

fn open(disk: &Arc<Memory>) -> Result<ImageReplica, ObserveError> {
    ImageReplica::open(disk.clone(), None, None)
}

fn checked(disk: &Arc<Memory>) -> Result<ImageReplica, ObserveError> {
    ImageReplica::open_with(disk.clone(), None, None, Trust::Checked)
}

#[test]
fn a_drbd_device_is_no_backing_device() {
    let error = checked(&memory("/dev/drbd0", 8 * MIB)).unwrap_err();
    assert!(
        matches!(&error, ObserveError::NotThis { what, .. } if what.contains("a DRBD device")),
        "{error}"
    );
    assert!(error.advice().unwrap().starts_with("`drbdadm sh-ll-dev RES`"));
    // One that a stacked resource has its metadata on is a backing device.
    let upper = resized(&internal(MetadataFormat::V08, 8 * MIB, 1), 8 * MIB);
    let bytes = upper.bytes.lock().unwrap().clone();
    assert!(checked(&Arc::new(Memory::of("/dev/drbd0", bytes))).is_ok());
}

#[test]
fn what_begins_there_leads_on() {
    for (at, mark, word) in [(0, &b"LUKS\xba\xbe"[..], "cryptsetup"), (512, b"LABELONE", "vgchange")] {
        let disk = memory("image", 8 * MIB);
        disk.write_at(at, mark).unwrap();
        disk.write_at(512 + 24, b"LVM2").unwrap();
        let error = checked(&disk).unwrap_err();
        assert!(error.to_string().contains("no DRBD metadata found"), "{error}");
        assert!(error.advice().unwrap().contains(word));
    }
    assert_eq!(checked(&memory("image", 8 * MIB)).unwrap_err().advice(), None);
}

#[test]
fn a_first_block_that_cannot_be_read_leaves_it_to_a_person() {
    let disk = internal(MetadataFormat::V08, 8 * MIB, 1);
    let bytes = disk.bytes.lock().unwrap().clone();
    let disk = Arc::new(Memory { bad: Some(100), ..Memory::of("image", bytes) });
    let error = checked(&disk).unwrap_err();
    assert!(matches!(error, ObserveError::Unlooked { .. }), "{error}");
    assert!(error.advice().unwrap().contains("--as-is-b"));
    assert!(ImageReplica::open_with(disk, None, None, Trust::AsIs).is_ok());
}

/// A device that was grown can be looked at as it was, and is never written.
#[test]
fn a_grown_device_is_read_only() {
    let grown = resized(&internal(MetadataFormat::V09, 8 * MIB, 1), 9 * MIB);
    for trust in [Trust::Checked, Trust::AsIs] {
        let replica = ImageReplica::open_with(grown.clone(), None, None, trust).unwrap();
        assert_eq!((replica.source().data_size, replica.source().grown_to), (8 * MIB, Some(9 * MIB)));
        assert!(matches!(replica.as_used(), Err(ObserveError::Grown { .. })));
    }
    let attached = ImageReplica::open_with(grown, None, None, Trust::Attached);
    assert!(matches!(attached, Err(ObserveError::Grown { .. })));
}

fn resized(disk: &Memory, size: u64) -> Arc<Memory> {
    let mut bytes = disk.bytes.lock().unwrap().clone();
    bytes.resize(usize::try_from(size).unwrap(), 0);
    Arc::new(Memory::of("image", bytes))
}

#[test]
fn the_data_ends_before_the_metadata() {
    for format in [MetadataFormat::V08, MetadataFormat::V09] {
        let replica = open(&internal(format, 8 * MIB + 512, 1)).unwrap();
        assert_eq!(replica.size(), replica.geometry().bitmap.start);
        assert_eq!(replica.data().size(), replica.size());
        let mut one = [0; 512];
        assert!(replica.data().read_at(replica.size() - 512, &mut one).is_ok());
        assert!(matches!(
            replica.data().read_at(replica.size() - 511, &mut one),
            Err(DiskFault::Outside { .. })
        ));
        assert!(matches!(replica.data_mut().write_at(replica.size(), &one), Err(DiskFault::Outside { .. })));
        assert!(matches!(replica.data().read_at(u64::MAX, &mut one), Err(DiskFault::Outside { .. })));
    }
}

#[test]
fn what_is_wrong_is_told_apart() {
    let good = internal(MetadataFormat::V09, 8 * MIB, 1);
    let at = 8 * MIB - 4096;
    let error = |disk: Arc<Memory>| open(&disk).unwrap_err();

    assert!(matches!(error(memory("image", 8 * MIB)), ObserveError::NotFound { .. }));
    assert!(matches!(error(memory("image", 0)), ObserveError::TooSmall { .. }));
    assert!(matches!(error(memory("image", 4095)), ObserveError::TooSmall { .. }));
    assert!(matches!(error(memory("image", 4096)), ObserveError::NotFound { .. }));
    for size in [8 * MIB + 4096, 9 * MIB, 20 * MIB + 512] {
        match error(resized(&good, size)) {
            ObserveError::Grown { found, old_size, size: now, .. } => {
                assert_eq!((found, old_size, now), (at, 8 * MIB, size));
            }
            other => panic!("{other}"),
        }
    }
    assert!(matches!(error(resized(&good, 7 * MIB)), ObserveError::NotFound { .. }));
    // Less than 4 KiB more is no difference: the superblock stands in the last whole block.
    assert!(open(&resized(&good, 8 * MIB + 3584)).is_ok());

    let damaged = resized(&good, 8 * MIB);
    damaged.write_at(at + 60, &[0; 4]).unwrap();
    assert!(matches!(error(damaged), ObserveError::Destroyed { at: found, .. } if found == at));
    for (offset, bytes) in [(80, 12u32), (88, 0), (88, 33), (96, 0), (68, 7), (76, 0), (64, 5), (92, 32)] {
        let damaged = resized(&good, 8 * MIB);
        damaged.write_at(at + offset, &bytes.to_be_bytes()).unwrap();
        let error = error(damaged);
        assert!(matches!(error, ObserveError::Corrupt { .. }), "byte {offset}: {error:?}");
    }
    let misfit = resized(&good, 8 * MIB);
    // Plausible, but with 17 slots the bitmap would be larger.
    misfit.write_at(at + 88, &17u32.to_be_bytes()).unwrap();
    assert!(matches!(error(misfit), ObserveError::Misfit { .. }));

    let bytes = good.bytes.lock().unwrap().clone();
    let bad = Arc::new(Memory { bad: Some(at + 100), ..Memory::of("image", bytes) });
    assert!(matches!(error(bad), ObserveError::Disk(DiskFault::Io { .. })));
}

#[test]
fn external_metadata_is_found_without_being_told() {
    let data = memory("data", 4 * MIB);
    let open =
        |metadata: &Arc<Memory>, place| ImageReplica::open(data.clone(), Some(metadata.clone()), place);
    let flexible = memory("meta", 2 * MIB);
    assert!(matches!(open(&flexible, None), Err(ObserveError::NotFound { .. })));
    put(&flexible, &external(MetadataPlace::FlexibleExternal, 2 * MIB, 4 * MIB));
    let replica = open(&flexible, None).unwrap();
    assert_eq!((replica.source().place, replica.size()), (MetadataPlace::FlexibleExternal, 4 * MIB));

    // The data shrank under it.
    let sb = Superblock { effective_size: 4 * MIB / 512 + 8, ..replica.superblock().clone() };
    replica.write_superblock(&sb).unwrap();
    assert!(matches!(open(&flexible, None), Err(ObserveError::Truncated { disk, .. }) if disk == "data"));

    let shared = memory("meta", 260 * MIB);
    put(&shared, &external(MetadataPlace::IndexedExternal(1), 260 * MIB, 4 * MIB));
    let replica = open(&shared, None).unwrap();
    assert_eq!(replica.source().place, MetadataPlace::IndexedExternal(1));
    assert_eq!(replica.source().superblock_at, 128 * MIB);
    assert!(matches!(
        open(&shared, Some(MetadataPlace::IndexedExternal(0))),
        Err(ObserveError::NotFound { .. })
    ));
    put(&shared, &external(MetadataPlace::IndexedExternal(0), 260 * MIB, 4 * MIB));
    match open(&shared, None) {
        Err(ObserveError::SeveralIndexes { indexes, .. }) => assert_eq!(indexes, [0, 1]),
        other => panic!("{other:?}"),
    }
    assert!(open(&shared, Some(MetadataPlace::IndexedExternal(0))).is_ok());
    assert!(matches!(
        ImageReplica::open(data.clone(), None, Some(MetadataPlace::IndexedExternal(0))),
        Err(ObserveError::NoMetadataDisk { .. })
    ));
}

/// Node `id` of three, in a resource whose slots are given by node id.
fn three(replica: &ImageReplica, id: i32, slots: [i32; 3], current: u64) -> Superblock {
    let mut sb = replica.superblock().clone();
    sb.node_id = id;
    sb.current = GenerationUuid(current);
    sb.flags = device_flag::CONSISTENT | device_flag::WAS_UP_TO_DATE;
    for (peer, slot) in sb.peers.iter_mut().zip(slots) {
        *peer = PeerSlot {
            bitmap_uuid: if slot < 0 { GenerationUuid::UNSET } else { GenerationUuid(0xBA5E) },
            bitmap_dagtag: 0,
            flags: peer_flag::NODE_EXISTS,
            bitmap_index: slot,
        };
    }
    sb
}

/// A log in which extent 1 is hot.
fn hot_log(replica: &ImageReplica) {
    let at = replica.geometry().log.start;
    let mut block = vec![0; 4096];
    block[..4].copy_from_slice(&0x69cb_65a2u32.to_be_bytes());
    block[14..20].copy_from_slice(&[0, 1, 0, 64, 0, 0]);
    block[36..4096].fill(0xff);
    block[36..38].fill(0);
    block[164..168].copy_from_slice(&1u32.to_be_bytes());
    let crc = !crc32c::crc32c_append(!0, &block);
    block[8..12].copy_from_slice(&crc.to_be_bytes());
    replica.metadata_disk().write_at(at, &block).unwrap();
}

#[test]
fn third_peers_learn_of_every_block_that_may_have_changed() {
    let disks = [(); 2].map(|()| internal(MetadataFormat::V09, 12 * MIB, 3));
    for (disk, id, slots) in [(&disks[0], 0, [-1, 0, 1]), (&disks[1], 1, [2, -1, 0])] {
        let replica = open(disk).unwrap();
        let mut sb = three(&replica, id, slots, 0xA0 + u64::try_from(id).unwrap() * 16);
        sb.flags |= device_flag::PRIMARY_IND;
        replica.write_superblock(&sb).unwrap();
        hot_log(&replica);
    }
    let replicas = disks.each_ref().map(|disk| open(disk).unwrap());
    let aftermath = after_resync(replicas[0].superblock(), replicas[1].superblock());
    let overwritten: ExtentSet = [Extent { start: 0, len: 8192 }].into_iter().collect();
    let stranger = |id| Superblock { node_id: id, ..replicas[0].superblock().clone() };
    let seen = |i: usize, peer: i32| {
        let found = open(&disks[i]).unwrap();
        found.observe(NodeName::new("n").unwrap(), None, &stranger(peer), Stamp(0)).unwrap().marks
    };
    assert_eq!(
        (seen(0, 1).log, Vec::from_iter(&seen(0, 1).hot)),
        (LogState::Hot, vec![Extent { start: 4 * MIB, len: 4 * MIB }])
    );
    assert_eq!(seen(0, 1).bits_after_replay, 1024);

    replicas[0].settle(&aftermath.survivor, &ExtentSet::empty(), false).unwrap();
    replicas[1].settle(&aftermath.victim, &overwritten, false).unwrap();
    // Toward each other: nothing. Toward the third: what the logs hid and, on the victim, what was overwritten.
    for (own, peer) in [(0, 1), (1, 0)] {
        let marks = seen(own, peer);
        assert_eq!((marks.bits_after_replay, marks.log), (0, LogState::Clean));
    }
    let hidden = Extent { start: 4 * MIB, len: 4 * MIB };
    assert_eq!(Vec::from_iter(&seen(0, 2).bitmap), [hidden]);
    assert_eq!(Vec::from_iter(&seen(1, 2).bitmap), [Extent { start: 0, len: 8192 }, hidden]);
    // And again, after a crash just before the journal knew: nothing more.
    let before = disks[1].bytes.lock().unwrap().clone();
    replicas[1].settle(&aftermath.victim, &overwritten, false).unwrap();
    assert!(*disks[1].bytes.lock().unwrap() == before);
}

#[test]
fn a_log_that_proves_nothing_marks_everything() {
    let disk = internal(MetadataFormat::V09, 12 * MIB, 2);
    let replica = open(&disk).unwrap();
    let mut sb = three(&replica, 0, [-1, 0, 1], 0xA0);
    sb.flags |= device_flag::PRIMARY_IND | device_flag::AL_DISABLED;
    replica.write_superblock(&sb).unwrap();
    let replica = open(&disk).unwrap();
    let peer = Superblock { node_id: 1, ..sb.clone() };
    let seen = replica.observe(NodeName::new("n").unwrap(), None, &peer, Stamp(0)).unwrap();
    assert_eq!(seen.marks.log, LogState::Disabled);
    assert_eq!(seen.marks.candidates(replica.size()), ExtentSet::whole(replica.size()));
    let change = after_resync(&sb, &peer).survivor;
    replica.settle(&change, &ExtentSet::empty(), false).unwrap();
    let third = Superblock { node_id: 2, ..sb };
    let seen = replica.observe(NodeName::new("n").unwrap(), None, &third, Stamp(0)).unwrap();
    assert_eq!(seen.marks.bitmap, ExtentSet::whole(replica.size()));
}

/// Two of three nodes, the first crashed as Primary with a hot log; what its settling changes.
fn crashed() -> (Arc<Memory>, ImageReplica, crate::model::plan::images::MetadataChange) {
    let disk = internal(MetadataFormat::V09, 12 * MIB, 2);
    let replica = open(&disk).unwrap();
    let mut sb = three(&replica, 0, [-1, 0, 1], 0xA0);
    sb.flags |= device_flag::PRIMARY_IND;
    replica.write_superblock(&sb).unwrap();
    hot_log(&replica);
    // Something to be cleared, and not only zeros.
    let some = [Extent { start: 0, len: 65536 }].into_iter().collect();
    replica.edit_bitmap(&[], &[0], &some).unwrap();
    let peer = Superblock { node_id: 1, ..sb.clone() };
    let change = after_resync(&sb, &peer).survivor;
    disk.done.lock().unwrap().clear();
    let replica = open(&disk).unwrap();
    (disk, replica, change)
}

fn toward_the_third(disk: &Arc<Memory>) -> ExtentSet {
    let replica = open(disk).unwrap();
    let third = Superblock { node_id: 2, ..replica.superblock().clone() };
    replica.observe(NodeName::new("n").unwrap(), None, &third, Stamp(0)).unwrap().marks.bitmap
}

#[test]
fn bitmap_log_and_superblock_become_durable_one_after_the_other() {
    let (disk, replica, change) = crashed();
    replica.settle(&change, &ExtentSet::empty(), false).unwrap();
    let geometry = replica.geometry();
    let superblock = Extent { start: geometry.superblock_at, len: 4096 };
    let what = |done: &Option<Extent>| match done {
        None => "flush",
        Some(write) if geometry.bitmap.intersect(write) == Some(*write) => "bitmap",
        Some(write) if geometry.log.intersect(write) == Some(*write) => "log",
        Some(write) if *write == superblock => "superblock",
        Some(write) => panic!("a write to {write:?}"),
    };
    let mut order: Vec<&str> = disk.done.lock().unwrap().iter().map(what).collect();
    order.dedup();
    // Were the superblock durable before the log, a power cut could leave one that calls a torn log clean; were the log
    // durable before the bitmap, nobody would know any more what it had hidden.
    assert_eq!(order, ["bitmap", "flush", "log", "flush", "superblock", "flush"]);
}

#[test]
fn a_log_that_an_earlier_attempt_tore_counts_as_hiding_everything() {
    let (disk, replica, change) = crashed();
    let log = replica.geometry().log;
    disk.write_at(log.start, &vec![0x5a; usize::try_from(log.len).unwrap()]).unwrap();
    // Nobody has tried yet: then it is not ours to say what it hid.
    let first = replica.settle(&change, &ExtentSet::empty(), false);
    assert!(matches!(first, Err(ObserveError::Log { .. })), "{first:?}");
    replica.settle(&change, &ExtentSet::empty(), true).unwrap();
    assert_eq!(toward_the_third(&disk), ExtentSet::whole(replica.size()));
}

/// A flush that failed may have lost what can still be read.
#[test]
fn a_repetition_writes_the_whole_bitmap_again() {
    let (disk, replica, change) = crashed();
    replica.settle(&change, &ExtentSet::empty(), false).unwrap();
    let area = replica.geometry().bitmap;
    for again in [false, true] {
        disk.done.lock().unwrap().clear();
        replica.settle(&change, &ExtentSet::empty(), again).unwrap();
        let done = disk.done.lock().unwrap();
        let written: ExtentSet = done.iter().flatten().filter_map(|write| write.intersect(&area)).collect();
        let all = if again { [area].into_iter().collect() } else { ExtentSet::empty() };
        assert_eq!(written, all, "again: {again}");
    }
}
