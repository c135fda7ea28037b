//! Two images of one replicated volume, and the night on which they part.
//!
//! Everything in them is what DRBD and LVM would have written: internal metadata with generations, flags, bitmap and
//! activity log, and a volume group on the replicated device.

use super::records::{Author, Volume, block};
use crate::edge::blockdev::{BlockFile, Mode};
use crate::edge::drbd::image::ImageReplica;
use crate::format::drbdmeta::activity_log;
use crate::format::drbdmeta::create::{Fresh, Wanted, create};
use crate::format::lvm2::write::{Identifier, VolumeGroupSpec, VolumeSpec, describe};
use crate::model::drbd::{GenerationUuid, MetadataFormat, PeerSlot, Superblock, device_flag, peer_flag};
use crate::model::extent::{Extent, ExtentSet};
use crate::model::side::{Pair, Side};
use crate::model::size::BLOCK;
use crate::ports::disk::DiskMut as _;
use anyhow::Context as _;
use drbd_sys::metadata as sys;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Size of each image in bytes.
pub(super) const IMAGE: u64 = 128 << 20;
/// The nodes' names.
pub(super) const NODES: Pair<&str> = Pair { a: "node1", b: "node2" };
/// Activity log slots, as kernels configure by default.
const LOG_SLOTS: u32 = 1237;
/// LVM's extent size.
const LVM_EXTENT: u64 = 4 << 20;
/// 2026-01-01 00:00 UTC: when the volume group says it was made.
const LVM_CREATED: i64 = 1_767_225_600;

/// Records of one volume that one node wrote while alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Write {
    /// Who wrote.
    pub(super) side: Side,
    /// Where.
    pub(super) volume: Volume,
    /// Which records.
    pub(super) records: Range<u64>,
    /// What they became.
    pub(super) author: Author,
    /// Whether the bitmap on the disk marks them. The last ones before a crash are only in the activity log.
    pub(super) in_bitmap: bool,
    /// In words.
    pub(super) words: &'static str,
}

/// What was written while the link was down, in the order it is told.
pub(super) fn writes() -> Vec<Write> {
    let write = |side: Side, volume, records, author, words| Write {
        side,
        volume,
        records,
        author,
        in_bitmap: true,
        words,
    };
    let (one, two) = (Author::Alone(NODES.a), Author::Alone(NODES.b));
    vec![
        write(Side::A, Volume::Orders, 1800..1850, one, "changed"),
        Write {
            in_bitmap: false,
            ..write(Side::A, Volume::Orders, 1850..1860, one, "changed; only the activity log tells")
        },
        write(Side::A, Volume::Orders, 1700..1720, Author::Base, "rewritten with the same content"),
        write(Side::A, Volume::Stock, 40..60, one, "changed"),
        write(Side::A, Volume::Stock, 200..210, Author::Nightly, "rewritten by the nightly job"),
        write(Side::B, Volume::Ledger, 300..380, two, "changed"),
        write(Side::B, Volume::Stock, 50..90, two, "changed; ten of them on node1, too"),
        write(Side::B, Volume::Stock, 200..210, Author::Nightly, "rewritten in the same way"),
    ]
}

/// The activity log of node1: one slot passed from extent to extent of 4 MiB. The last one is hot.
fn log_history() -> Vec<[(u16, u32); 1]> {
    [16, 1, 2].map(|extent| [(1236, extent)]).to_vec()
}

/// The two images.
#[derive(Debug)]
pub(super) struct World {
    /// The image files.
    pub(super) images: Pair<PathBuf>,
    /// Each volume's place on the replicated device, in the order of [`Volume::ALL`].
    volumes: Vec<Extent>,
    /// Bytes of replicated data.
    pub(super) data_size: u64,
}

impl World {
    /// Makes both images, in sync, node1 being Primary.
    pub(super) fn build(folder: &Path, format: MetadataFormat) -> anyhow::Result<World> {
        let fresh = create(&Wanted::internal(format, IMAGE), false)?;
        let data_size = fresh.geometry.data_capacity;
        let group = describe(&VolumeGroupSpec {
            name: "demo".to_owned(),
            id: identifier("volume group"),
            pv_id: identifier("physical volume"),
            device_size: data_size,
            extent_size: LVM_EXTENT,
            volumes: Volume::ALL
                .map(|volume| VolumeSpec {
                    name: volume.name().to_owned(),
                    id: identifier(volume.name()),
                    bytes: volume.bytes(),
                })
                .to_vec(),
            created: LVM_CREATED,
        })?;
        let images = NODES.map(|node| folder.join(format!("{node}.img")));
        let world = World { images, volumes: group.volumes, data_size };
        for side in Side::BOTH {
            let path = &world.images[side];
            world
                .write_image(path, &fresh, &group.head, &in_sync(&fresh, side))
                .with_context(|| format!("{} cannot be written", path.display()))?;
        }
        Ok(world)
    }

    fn write_image(
        &self,
        path: &Path,
        fresh: &Fresh,
        lvm: &[u8],
        superblock: &Superblock,
    ) -> anyhow::Result<()> {
        let file = File::options().read(true).write(true).create_new(true).open(path)?;
        file.set_len(IMAGE)?;
        file.write_all_at(lvm, 0)?;
        for volume in Volume::ALL {
            let all: Vec<u8> =
                (0..volume.records()).flat_map(|number| block(volume, number, Author::Base)).collect();
            file.write_all_at(&all, self.place(volume, 0).start)?;
        }
        file.write_all_at(&fresh.log_bytes(), fresh.geometry.log.start)?;
        let told = Fresh { superblock: superblock.clone(), ..fresh.clone() };
        file.write_all_at(&told.superblock_bytes(), fresh.geometry.superblock_at)?;
        Ok(())
    }

    /// A record's place on the replicated device.
    pub(super) fn place(&self, volume: Volume, number: u64) -> Extent {
        let at = Volume::ALL.iter().position(|each| *each == volume).unwrap_or(0);
        let start = self.volumes.get(at).map_or(0, |extent| extent.start);
        Extent { start: start + number * BLOCK, len: BLOCK }
    }

    fn places(&self, write: &Write) -> ExtentSet {
        write.records.clone().map(|number| self.place(write.volume, number)).collect()
    }

    /// The link fails: each node goes on alone. Afterwards node2 was stopped in order; node1 is as if its plug had
    /// been pulled while it was Primary.
    pub(super) fn split(&self) -> anyhow::Result<()> {
        for side in Side::BOTH {
            let path = &self.images[side];
            self.go_on_alone(side).with_context(|| format!("{} cannot be written", path.display()))?;
        }
        Ok(())
    }

    fn go_on_alone(&self, side: Side) -> anyhow::Result<()> {
        let disk = Arc::new(BlockFile::open(&self.images[side], Mode::ReadWrite)?);
        let replica = ImageReplica::open(disk.clone(), None, None)?;
        let mut marked = ExtentSet::empty();
        for write in writes().into_iter().filter(|write| write.side == side) {
            for number in write.records.clone() {
                let at = self.place(write.volume, number).start;
                replica.data_mut().write_at(at, &block(write.volume, number, write.author))?;
            }
            if write.in_bitmap {
                marked = marked.union(&self.places(&write));
            }
        }
        replica.edit_bitmap(&[], &[0], &marked)?;
        let superblock = alone(replica.superblock(), side);
        if side == Side::A {
            let history = log_history();
            let history: Vec<&[(u16, u32)]> = history.iter().map(|each| &each[..]).collect();
            let log = activity_log::written(&superblock, &history);
            disk.write_at(replica.geometry().log.start, &log)?;
        }
        replica.write_superblock(&superblock)?;
        Ok(())
    }

    /// The places whose contents differ between the two images, worked out from what was written: the last author of
    /// each record on each side.
    pub(super) fn truth(&self) -> ExtentSet {
        let last = |side: Side, volume: Volume, number: u64| {
            let mine = |write: &Write| {
                write.side == side && write.volume == volume && write.records.contains(&number)
            };
            writes().into_iter().rfind(mine).map_or(Author::Base, |write| write.author)
        };
        let mut places: Vec<Extent> = Vec::new();
        for write in writes() {
            for number in write.records.clone() {
                if last(Side::A, write.volume, number) != last(Side::B, write.volume, number) {
                    places.push(self.place(write.volume, number));
                }
            }
        }
        places.into_iter().collect()
    }
}

/// Numbers that look random and are the same on every run.
fn number(of: &str) -> u64 {
    let digest = blake3::hash(format!("unsplit demo: {of}").as_bytes());
    digest.as_bytes().first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

fn generation(of: &str) -> GenerationUuid {
    GenerationUuid(number(of)).masked()
}

fn identifier(of: &str) -> Identifier {
    Identifier::from_bytes(*blake3::hash(format!("unsplit demo: LVM {of}").as_bytes()).as_bytes())
}

fn node_id(side: Side) -> i32 {
    match side {
        Side::A => 0,
        Side::B => 1,
    }
}

/// The peer's slot, and the own one, which only says that the node exists.
fn set_peer(superblock: &mut Superblock, side: Side, slot: PeerSlot) {
    let own = PeerSlot {
        bitmap_uuid: GenerationUuid::UNSET,
        bitmap_dagtag: 0,
        flags: peer_flag::NODE_EXISTS,
        bitmap_index: -1,
    };
    for (id, value) in [(node_id(side), own), (node_id(side.other()), slot)] {
        if let Some(place) = usize::try_from(id).ok().and_then(|id| superblock.peers.get_mut(id)) {
            *place = value;
        }
    }
}

/// Connected and up to date; node1 is Primary.
fn in_sync(fresh: &Fresh, side: Side) -> Superblock {
    let (primary, v09) = (side == Side::A, fresh.superblock.format == MetadataFormat::V09);
    let current = generation("in sync");
    let mut superblock = Superblock {
        unclean_magic: !v09,
        effective_size: fresh.geometry.data_capacity / sys::SECTOR_BYTES,
        current: if primary { GenerationUuid(current.0 | 1) } else { current },
        device_uuid: number(&format!("device of {}", NODES[side])),
        al_extents: LOG_SLOTS,
        la_peer_max_bio_size: 1 << 20,
        flags: device_flag::CONSISTENT
            | device_flag::WAS_UP_TO_DATE
            | if primary { device_flag::PRIMARY_IND } else { 0 }
            | if v09 { device_flag::HAVE_QUORUM } else { device_flag::CONNECTED_IND },
        ..fresh.superblock.clone()
    };
    if let Some(first) = superblock.history.first_mut() {
        *first = generation("before that");
    }
    if v09 {
        superblock.node_id = node_id(side);
        superblock.members = 0b11;
        let flags = peer_flag::CONNECTED | peer_flag::DEVICE_SEEN;
        let slot = PeerSlot { bitmap_uuid: GenerationUuid::UNSET, bitmap_dagtag: 0, flags, bitmap_index: 0 };
        set_peer(&mut superblock, side, slot);
    }
    superblock
}

/// A generation of its own, begun as Primary when the link was lost. node2 was demoted and stopped afterwards.
fn alone(before: &Superblock, side: Side) -> Superblock {
    let (crashed, v09) = (side == Side::A, before.format == MetadataFormat::V09);
    let current = generation(&format!("{} alone", NODES[side]));
    let base = before.current.masked();
    let mut after = Superblock {
        unclean_magic: !v09 && crashed,
        current: if crashed { GenerationUuid(current.0 | 1) } else { current },
        flags: device_flag::CONSISTENT
            | device_flag::WAS_UP_TO_DATE
            | if crashed { device_flag::PRIMARY_IND } else { device_flag::AL_CLEAN }
            | before.flags & device_flag::HAVE_QUORUM,
        ..before.clone()
    };
    if v09 {
        let flags = peer_flag::DEVICE_SEEN;
        set_peer(&mut after, side, PeerSlot { bitmap_uuid: base, bitmap_dagtag: 0, flags, bitmap_index: 0 });
    } else {
        after.bitmap = base;
    }
    after
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_the_log_tells_is_in_a_hot_extent() {
        for format in [MetadataFormat::V08, MetadataFormat::V09] {
            let folder = tempfile::tempdir().unwrap();
            let world = World::build(folder.path(), format).unwrap();
            world.split().unwrap();
            let image = std::fs::read(&world.images.a).unwrap();
            let disk = Arc::new(BlockFile::open(&world.images.a, Mode::ReadOnly).unwrap());
            let replica = ImageReplica::open(disk, None, None).unwrap();
            let log = replica.geometry().log;
            let area = &image[usize::try_from(log.start).unwrap()..][..usize::try_from(log.len).unwrap()];
            let parsed = activity_log::parse(area, replica.superblock()).unwrap();
            assert!(parsed.complete && parsed.corrupt == 0);
            assert_eq!(parsed.numbers().collect::<Vec<_>>(), [2]);
            let hot = parsed.extents(world.data_size);
            for write in writes().iter().filter(|write| write.side == Side::A) {
                let inside = world.places(write).subtract(&hot).is_empty();
                assert!(inside || write.in_bitmap, "{write:?}");
            }
        }
    }

    #[test]
    fn the_truth_is_what_the_files_hold() {
        let folder = tempfile::tempdir().unwrap();
        let world = World::build(folder.path(), MetadataFormat::V09).unwrap();
        let read = || world.images.as_ref().map(|path| std::fs::read(path).unwrap());
        let size = usize::try_from(world.data_size).unwrap();
        let before = read();
        assert!(before.a[..size] == before.b[..size]);
        world.split().unwrap();
        let after = read();
        let differs: ExtentSet = (0..size)
            .step_by(BLOCK as usize)
            .filter(|at| {
                let range = *at..(at + BLOCK as usize).min(size);
                after.a[range.clone()] != after.b[range]
            })
            .map(|at| Extent { start: at as u64, len: BLOCK })
            .collect();
        assert_eq!(differs, world.truth());
        // 60 orders, 80 ledger entries, 50 stock items.
        assert_eq!(differs.bytes(), (60 + 80 + 50) * BLOCK);
    }
}
