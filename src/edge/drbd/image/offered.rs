//! What is offered as a replica is looked at before it is believed: a person may have named the whole disk in place of
//! its partition, or a qcow2 file in place of the disk in it. DRBD's superblock can stand at the right place all the
//! same, because both end where the right device ends, and everything would be read and written at wrong places.
//!
//! A volume may hold anything, a partition table and an LVM label among it. So a magic number alone says nothing about
//! these: what they describe is held against what DRBD replicates. A guest's partitions end inside the replicated
//! size; those of a disk whose partition is the backing device do not. Containers are different: no volume begins with
//! one except a volume that holds one, which is rare enough to ask for a word (`--as-is-a`). For qcow2 not even that:
//! its reference counts tell whether the superblock is its own.

use super::ObserveError;
use super::find::{self, Found};
use super::slice::Slice;
use crate::edge::layout::{partitions, read_layout, table_is_damaged};
use crate::format::drbdmeta::BLOCK;
use crate::format::lvm2::label;
use crate::format::offered::member::{self, Member};
use crate::format::offered::{HEAD, TAIL, extent, kinds};
use crate::format::qcow2::Bytes;
use crate::format::qcow2::owned::{Owner, owner};
use crate::format::signature;
use crate::model::evidence::MetadataPlace;
use crate::model::extent::Extent;
use crate::model::shell::shell_word;
use crate::model::size::human;
use crate::model::unit::UnitKind;
use crate::ports::disk::{Disk, DiskFault};

/// Most partitions and logical volumes that are searched for a superblock.
const MOST_PARTS: usize = 1024;
/// How the paths of DRBD's own devices begin, `/dev/drbd/by-res` among them.
const DRBD_DEVICE: &str = "/dev/drbd";
/// Most commands in one message.
const MOST_COMMANDS: usize = 3;

/// What is not a backing device, and what to do.
struct Wrong {
    /// Follows the path and a colon.
    what: String,
    next: String,
}

/// A disk, and the bytes at its ends.
pub(super) struct Offered<'a> {
    disk: &'a dyn Disk,
    head: Vec<u8>,
    tail: Vec<u8>,
}

impl<'a> Offered<'a> {
    /// Reads both ends.
    pub(super) fn look(disk: &'a dyn Disk) -> Result<Offered<'a>, ObserveError> {
        let unlooked = |source| ObserveError::Unlooked { disk: disk.name().to_owned(), source };
        let read = |at, len: u64| {
            let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
            disk.read_at(at, &mut bytes).map(|()| bytes)
        };
        let (size, tail) = (disk.size(), (TAIL as u64).min(disk.size()));
        let head = read(0, size.min(HEAD as u64)).map_err(unlooked)?;
        // Little of what is not a volume is known by its end alone, and disks that fail there have to be healed, too.
        let tail = read(size - tail, tail).unwrap_or_default();
        Ok(Offered { disk, head, tail })
    }

    /// What the data begins as.
    pub(super) fn begins(&self) -> Option<&'static str> {
        signature::content(&self.head)
    }

    fn error(&self, wrong: Wrong, doubt: bool) -> ObserveError {
        let Wrong { what, next } = wrong;
        ObserveError::NotThis { disk: self.disk.name().to_owned(), what, next, doubt }
    }

    fn ends_with_metadata(slice: &Slice<'_>) -> bool {
        matches!(find::exactly(slice), Ok(Some(_)))
    }

    fn path(&self) -> String {
        shell_word(self.disk.name())
    }

    /// Says what it is when DRBD's metadata is not where a backing device has it.
    pub(super) fn without_metadata(&self) -> Option<ObserveError> {
        if let Some(kind) = kinds::recognise(&self.head, &self.tail) {
            return Some(self.error(self.kind(kind), false));
        }
        if self.disk.name().starts_with(DRBD_DEVICE) {
            let what = "is a DRBD device, not its backing device".to_owned();
            let next =
                "`drbdadm sh-ll-dev RES` names the backing device; for a resource that runs give its name: \
                        unsplit status RES --peer ssh:OTHER-NODE"
                    .to_owned();
            return Some(self.error(Wrong { what, next }, false));
        }
        if let Some(wrong) = self.parts_with_metadata() {
            return Some(self.error(wrong, false));
        }
        if let Some(member) = self.member() {
            return Some(self.error(self.carried(&member), false));
        }
        None
    }

    /// A superblock that stands inside a partition can belong to nothing that ends right behind it, unless it is that
    /// partition: `at` is where it was found.
    pub(super) fn inside_a_partition(&self, at: u64) -> Option<ObserveError> {
        let around = |partition: &Extent| partition.start < at && at < partition.end();
        let partition = partitions(self.disk).into_iter().find(|each| around(&each.extent))?;
        let what = format!(
            "is a whole disk: DRBD's metadata stands at byte {at}, inside its {} but not at the partition's end; the \
             partition was grown since DRBD last used it, or this is a superblock of old",
            partition.name
        );
        let next = self.cut_out(&[partition.extent]);
        Some(self.error(Wrong { what, next }, false))
    }

    /// Refuses what cannot be the device that this metadata describes.
    pub(super) fn with_metadata(&self, found: &Found) -> Result<(), ObserveError> {
        let internal = found.place == MetadataPlace::Internal;
        let at = found.geometry.superblock_at;
        if let Some(kind) = kinds::recognise(&self.head, &self.tail) {
            let volume_holds_it = kind.qcow2 && internal && owner(&Raw(self.disk), at) == Owner::Nobody;
            if !volume_holds_it {
                return Err(self.error(self.kind(kind), true));
            }
        }
        let replicated = found.geometry.data_size;
        let room = if internal { found.geometry.data_capacity } else { self.disk.size() };
        if let Some(wrong) = self.beyond(replicated) {
            return Err(self.error(wrong, true));
        }
        let rounding = u64::from(found.superblock.bm_bytes_per_bit).max(BLOCK as u64);
        if room.saturating_sub(replicated) > rounding && table_is_damaged(self.disk) {
            let what = format!(
                "has a damaged partition table, and {} bytes more than the metadata accounts for: it may be a whole disk",
                room - replicated
            );
            let next = "give the partition that DRBD uses (`drbdadm sh-ll-dev RES` on its node), or mend the table first \
                        (sgdisk -v shows what is wrong)"
                .to_owned();
            return Err(self.error(Wrong { what, next }, true));
        }
        if let Some(member) = self.member() {
            let outer = match member.end {
                Some(end) => end > replicated,
                None => member.start.saturating_add(replicated) <= room,
            };
            if outer {
                return Err(self.error(self.carried(&member), true));
            }
        }
        if let Some(wrong) = self.shifted(replicated, room)? {
            return Err(self.error(wrong, true));
        }
        Ok(())
    }

    fn kind(&self, kind: &kinds::Kind) -> Wrong {
        let what = format!("is {}, not the device itself", kind.what);
        Wrong { what, next: kind.next.replace("{}", &self.path()) }
    }

    fn carried(&self, member: &Member) -> Wrong {
        let what = format!("is {}", member.what);
        Wrong { what, next: member.next.replace("{}", &self.path()) }
    }

    fn member(&self) -> Option<Member> {
        let read = |at: u64| {
            let mut block = vec![0; member::BLOCK];
            self.disk.read_at(at, &mut block).ok().map(|()| block)
        };
        let [new, old] = member::end_places(self.disk.size());
        member::at_start(&self.head)
            .or_else(|| member::md(&read(new?)?))
            .or_else(|| old.and_then(|at| member::old_md(&read(at)?, at)))
    }

    /// Partitions and logical volumes that end with DRBD's metadata, as far as the disk describes any.
    fn parts_with_metadata(&self) -> Option<Wrong> {
        let (mut names, mut extents, mut groups) = (Vec::new(), Vec::new(), Vec::new());
        let mut kind = "whole disk";
        let units = read_layout(self.disk).units;
        let parts = |unit: &&crate::model::unit::Unit| {
            matches!(unit.kind, UnitKind::Partition | UnitKind::LogicalVolume)
        };
        for unit in units.iter().filter(parts).take(MOST_PARTS) {
            let Some(slice) = Slice::new(self.disk, unit.map.clone()) else { continue };
            if !Self::ends_with_metadata(&slice) {
                continue;
            }
            names.push(unit.name.clone());
            match (unit.kind, slice.one_piece()) {
                (_, Some(extent)) => extents.push(extent),
                (_, None) => groups.push(unit.name.clone()),
            }
            if unit.kind == UnitKind::LogicalVolume && !unit.name.starts_with("partition") {
                kind = "physical volume of LVM";
            }
        }
        let last = names.pop()?;
        let others = names.join(", ");
        let all = if others.is_empty() { last } else { format!("{others} and {last}") };
        let what = format!("is a {kind}; DRBD's metadata ends its {all}");
        let next = match groups.first() {
            None => self.cut_out(&extents),
            Some(volume) => format!(
                "make the volume group visible (losetup -f --show -P {} for a file, then vgchange -ay) and give the \
                 device of {volume}",
                self.path()
            ),
        };
        Some(Wrong { what, next })
    }

    /// The commands that make devices of parts of the disk.
    fn cut_out(&self, extents: &[Extent]) -> String {
        let path = self.path();
        let command = |extent: &Extent| {
            format!("losetup -f --show -r -o {} --sizelimit {} {path}", extent.start, extent.len)
        };
        let commands: Vec<String> = extents.iter().take(MOST_COMMANDS).map(command).collect();
        let devices = if self.disk.name().starts_with("/dev/") {
            "; a partition of a disk mostly has a device of its own, as /dev/sda1 of /dev/sda"
        } else {
            ""
        };
        format!(
            "{} prints the device to give instead (leave -r out when it is to be healed){devices}",
            commands.join(", or ")
        )
    }

    /// Tables, labels and file systems at the start that describe more than what is replicated.
    fn beyond(&self, replicated: u64) -> Option<Wrong> {
        let over: Vec<_> =
            partitions(self.disk).into_iter().filter(|each| each.extent.end() > replicated).collect();
        if let Some(first) = over.first() {
            let own = over.iter().find(|each| {
                let slice = Slice::new(self.disk, vec![(0, each.extent)]);
                slice.is_some_and(|slice| Self::ends_with_metadata(&slice))
            });
            let external = || over.iter().find(|each| each.extent.len == replicated);
            return Some(match (own, external()) {
                (Some(own), _) => Wrong {
                    what: format!("is a whole disk; DRBD's metadata ends its {}", own.name),
                    next: self.cut_out(&[own.extent]),
                },
                (None, Some(same)) => Wrong {
                    what: format!("is a whole disk; its {} has the size that DRBD replicates", same.name),
                    next: self.cut_out(&[same.extent]),
                },
                (None, None) => Wrong {
                    what: format!(
                        "begins with a partition table whose {} ends at byte {}, but DRBD replicates only the first {} \
                         ({replicated} bytes): the table describes a larger disk",
                        first.name,
                        first.extent.end(),
                        human(replicated)
                    ),
                    next: "give the device that DRBD itself uses (`drbdadm sh-ll-dev RES` on its node), or a raw copy \
                           of it"
                        .to_owned(),
                },
            });
        }
        if let Some(label) = label::find(&self.head).label
            && label.device_size > replicated
        {
            if let Some(wrong) = self.parts_with_metadata() {
                return Some(wrong);
            }
            let what = format!(
                "is a physical volume of LVM of {} bytes, but DRBD replicates only {replicated}: the superblock stands \
                 inside it",
                label.device_size
            );
            let next = "activate its volume group (vgchange -ay) and give the logical volume that DRBD uses"
                .to_owned();
            return Some(Wrong { what, next });
        }
        if let Some((name, len)) = extent::file_system(&self.head)
            && len > replicated
        {
            let what = format!(
                "begins with {name} of {len} bytes, but DRBD replicates only {replicated}: the superblock stands inside \
                 the file system"
            );
            let next = "mount the file system read-only and give the image in it, or give the device that DRBD itself \
                        uses (`drbdadm sh-ll-dev RES` on its node)"
                .to_owned();
            return Some(Wrong { what, next });
        }
        None
    }

    /// Room for more than what is replicated, nothing known at the start, and a volume's own beginning exactly behind that
    /// room: the volume begins there, behind a header.
    fn shifted(&self, replicated: u64, room: u64) -> Result<Option<Wrong>, DiskFault> {
        let start = room.saturating_sub(replicated);
        if start == 0 || !start.is_multiple_of(TAIL as u64) || start >= self.disk.size() {
            return Ok(None);
        }
        let content = |at: u64| {
            let len = (signature::LOOKED_AT as u64).min(self.disk.size() - at);
            let mut head = vec![0; usize::try_from(len).unwrap_or(0)];
            self.disk.read_at(at, &mut head).map(|()| signature::content(&head))
        };
        if content(0)?.is_some() {
            return Ok(None);
        }
        Ok(content(start)?.map(|content| Wrong {
            what: format!(
                "has {start} bytes more than the metadata accounts for, and {content} begins exactly there, nothing at \
                 byte 0: the volume stands behind a header"
            ),
            next: self.cut_out(&[Extent::between(start, self.disk.size())]),
        }))
    }
}

/// A disk as the reader of qcow2 takes it.
struct Raw<'a>(&'a dyn Disk);

impl Bytes for Raw<'_> {
    type Fault = DiskFault;

    fn size(&self) -> u64 {
        self.0.size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskFault> {
        self.0.read_at(offset, buffer)
    }
}
