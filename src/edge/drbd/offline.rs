//! A replica on this machine whose resource is down: the engine's ports over an [`ImageReplica`].

use super::image::{ImageReplica, ObserveError};
use crate::edge::blockdev::BlockFile;
use crate::edge::claim::{ClaimError, Claimed};
use crate::edge::unwritten::write_stamp;
use crate::model::drbd::{Role, Superblock};
use crate::model::evidence::{Evidence, MetadataPlace, Source, Trust};
use crate::model::extent::ExtentSet;
use crate::model::id::{Digest, NodeName};
use crate::model::plan::images::{MetadataChange, RawBlock};
use crate::model::remembered::WriteStamp;
use crate::model::seen::{End, Stamp, Why, in_words};
use crate::ports::disk::{Disk, DiskMut};
use crate::ports::replica::{AreaLeft, Replica, Unseen, WritableReplica};
use crate::proof::Permit;
use crate::proof::preserved::Preserved;
use crate::proof::quiesced::{Hold, Quiesced};
use std::sync::Arc;

/// Who keeps other writers away while both sides are changed.
pub trait Claimant: Send + Sync {
    /// Takes the devices for ourselves.
    ///
    /// # Errors
    /// [`Unseen`] that names who holds them.
    fn claim(&self) -> Result<Box<dyn Hold>, Unseen>;
}

/// One side of a pair, opened.
pub struct OfflineReplica {
    name: NodeName,
    role: Option<Role>,
    image: ImageReplica,
    claimant: Box<dyn Claimant>,
    /// The files and devices, where it is made of such.
    files: Vec<Arc<BlockFile>>,
    data: Arc<dyn Disk>,
    data_mut: Arc<dyn DiskMut>,
    metadata: Arc<dyn DiskMut>,
}

impl OfflineReplica {
    /// Looks at what a person named, finds the metadata and wraps the devices.
    ///
    /// # Errors
    /// [`ObserveError`].
    pub fn open(
        name: NodeName,
        data: Arc<BlockFile>,
        metadata: Option<Arc<BlockFile>>,
        place: Option<MetadataPlace>,
        role: Option<Role>,
    ) -> Result<Self, ObserveError> {
        Self::open_with(name, data, metadata, place, role, Trust::Checked)
    }

    /// The same, believing as much as `trust` says.
    ///
    /// # Errors
    /// [`ObserveError`].
    pub fn open_with(
        name: NodeName,
        data: Arc<BlockFile>,
        metadata: Option<Arc<BlockFile>>,
        place: Option<MetadataPlace>,
        role: Option<Role>,
        trust: Trust,
    ) -> Result<Self, ObserveError> {
        let all: Vec<_> = [Some(Arc::clone(&data)), metadata.clone()].into_iter().flatten().collect();
        let claimant = Box::new(Devices::new(all.clone()));
        let metadata = metadata.map(|metadata| metadata as Arc<dyn DiskMut>);
        let image = ImageReplica::open_with(data, metadata, place, trust)?;
        Ok(OfflineReplica { files: all, ..Self::wrap(name, role, image, claimant) })
    }

    /// The same over any disks, which are taken for what they are said to be.
    ///
    /// # Errors
    /// [`ObserveError`].
    pub fn over(
        name: NodeName,
        data: Arc<dyn DiskMut>,
        metadata: Option<Arc<dyn DiskMut>>,
        place: Option<MetadataPlace>,
        role: Option<Role>,
        claimant: Box<dyn Claimant>,
    ) -> Result<Self, ObserveError> {
        Ok(Self::wrap(name, role, ImageReplica::open(data, metadata, place)?, claimant))
    }

    fn wrap(name: NodeName, role: Option<Role>, image: ImageReplica, claimant: Box<dyn Claimant>) -> Self {
        OfflineReplica {
            name,
            role,
            claimant,
            files: Vec::new(),
            data: image.data(),
            data_mut: image.data_mut(),
            metadata: image.metadata_disk(),
            image,
        }
    }
}

fn unseen(error: impl std::error::Error + Send + Sync + 'static) -> Unseen {
    Unseen(Box::new(error))
}

impl Replica for OfflineReplica {
    fn name(&self) -> &NodeName {
        &self.name
    }

    fn source(&self) -> Source {
        self.image.source()
    }

    fn size(&self) -> u64 {
        self.image.size()
    }

    fn superblock(&self) -> Result<Superblock, Unseen> {
        self.image.reread().map_err(unseen)
    }

    fn superblock_block(&self) -> Result<RawBlock, Unseen> {
        self.image.superblock_block().map_err(unseen)
    }

    fn area_digest(&self) -> Result<Digest, Unseen> {
        self.image.area_digest().map_err(unseen)
    }

    fn observe(&self, peer: &Superblock, now: Stamp) -> Result<Evidence, Unseen> {
        self.image.observe(self.name.clone(), self.role, peer, now).map_err(unseen)
    }

    fn data(&self) -> &dyn Disk {
        &*self.data
    }

    fn write_stamp(&self) -> Result<WriteStamp, Why> {
        if self.files.is_empty() {
            return Err(Why::from("not made of files or devices"));
        }
        write_stamp(self.files.iter().map(|file| &**file))
    }

    fn metadata(&self) -> &dyn Disk {
        self.metadata.as_disk()
    }

    fn changed_blocks(&self, change: &MetadataChange, overwritten: &ExtentSet) -> Result<ExtentSet, Unseen> {
        self.image.changed_blocks(change, overwritten).map_err(unseen)
    }

    fn area_left(
        &self,
        change: &MetadataChange,
        overwritten: &ExtentSet,
        before: &dyn Disk,
        blocks: &ExtentSet,
    ) -> Result<AreaLeft, Unseen> {
        self.image.area_left(change, overwritten, before, blocks).map_err(unseen)
    }
}

/// A failed write may have been carried out in part: look again, never assume.
fn ended<E: std::error::Error + 'static>(result: Result<(), E>) -> End {
    match result {
        Ok(()) => End::Done,
        Err(error) => End::Unknown(Why(in_words(&error))),
    }
}

impl WritableReplica for OfflineReplica {
    fn hold(&self) -> Result<Box<dyn Hold>, Unseen> {
        self.image.as_used().map_err(unseen)?;
        self.claimant.claim()
    }

    fn write_superblock(&self, superblock: &Superblock, _: &Quiesced, _: &Preserved, _: &Permit<'_>) -> End {
        ended(self.image.write_superblock(superblock))
    }

    fn data_mut(&self, _: &Quiesced, _: &Preserved, _: &Permit<'_>) -> &dyn DiskMut {
        &*self.data_mut
    }

    fn metadata_mut(&self, _: &Quiesced, _: &Preserved, _: &Permit<'_>) -> &dyn DiskMut {
        &*self.metadata
    }

    fn settle(
        &self,
        change: &MetadataChange,
        overwritten: &ExtentSet,
        again: bool,
        _: &Quiesced,
        _: &Preserved,
        _: &Permit<'_>,
    ) -> End {
        ended(self.image.settle(change, overwritten, again))
    }
}

/// The devices of one side, all of them claimed together.
pub struct Devices {
    all: Vec<Arc<BlockFile>>,
}

impl Devices {
    /// These.
    #[must_use]
    pub fn new(all: Vec<Arc<BlockFile>>) -> Devices {
        Devices { all }
    }
}

impl Claimant for Devices {
    fn claim(&self) -> Result<Box<dyn Hold>, Unseen> {
        let claims: Result<Vec<Arc<Claimed>>, ClaimError> =
            self.all.iter().map(|device| device.claim_together()).collect();
        let how =
            self.all.iter().map(|device| if device.is_device() { "opened exclusively" } else { "locked" });
        Ok(Box::new(Held {
            how: how.collect::<Vec<_>>().join(", "),
            _claims: claims.map_err(unseen)?,
            devices: self.all.clone(),
        }))
    }
}

/// Open file descriptions that hold the claims; the kernel keeps their locks for as long as they are open. Who asks for no
/// lock is found by asking again.
struct Held {
    how: String,
    _claims: Vec<Arc<Claimed>>,
    devices: Vec<Arc<BlockFile>>,
}

impl Hold for Held {
    fn still_ours(&self) -> Result<(), String> {
        self.devices.iter().try_for_each(|device| device.still_alone())
    }

    fn how(&self) -> &str {
        &self.how
    }
}
