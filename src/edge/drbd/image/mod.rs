//! A DRBD replica that nobody has attached: an image, a snapshot, a device whose resource is down.
//!
//! | file | holds |
//! |---|---|
//! | `find` | looking for the metadata, and saying precisely why it is not where it should be |
//! | `left` | what a settling that was cut off left behind |
//! | `observe` | reading evidence |
//! | `offered` | refusing what is not the device that it is taken for |
//! | `own` | what is marked as changed here |
//! | `settle` | the few acts on the metadata |
//! | `slice` | a partition or logical volume, read as a disk of its own |
//! | `view` | the replicated data, without what lies behind it |

mod find;
mod left;
mod observe;
mod offered;
mod own;
mod settle;
mod slice;
mod view;

#[cfg(test)]
mod tests;

pub use view::DataView;

use crate::format::drbdmeta::BLOCK;
use crate::format::drbdmeta::activity_log::ActivityLogError;
use crate::format::drbdmeta::bitmap::BitmapError;
use crate::format::drbdmeta::geometry::{Geometry, GeometryError};
use crate::format::drbdmeta::locate::{self, NotHere};
use crate::format::drbdmeta::superblock::SuperblockError;
use crate::model::drbd::Superblock;
use crate::model::evidence::{MetadataPlace, Source, Trust};
use crate::model::extent::Extent;
use crate::ports::disk::{Disk, DiskFault, DiskMut};
use offered::Offered;
use std::sync::Arc;

/// Why a replica could not be read as DRBD's. Positions are bytes on the named disk.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// A read or write failed.
    #[error("the DRBD metadata could not be accessed")]
    Disk(#[from] DiskFault),
    /// Nothing like metadata anywhere it could be.
    #[error(
        "{disk}: no DRBD metadata found, tried {tried}. If the metadata is external, name its device; if the image was cut \
         short, its internal metadata is gone and a complete copy is needed"
    )]
    NotFound {
        /// The disk.
        disk: String,
        /// The places, in words.
        tried: String,
        /// What the data begins as, if that is known: `LUKS`, `ext4`.
        begins: Option<&'static str>,
    },
    /// The first bytes, which tell what it is, cannot be read.
    #[error("{disk}: its first bytes, which tell whether it is a backing device, cannot be read")]
    Unlooked {
        /// The disk.
        disk: String,
        /// Why.
        #[source]
        source: DiskFault,
    },
    /// It is something else than the backing device.
    #[error("{disk}: {what}")]
    NotThis {
        /// The disk.
        disk: String,
        /// What it is: follows the path.
        what: String,
        /// What to do: a command where there is one.
        next: String,
        /// Metadata that fits is there all the same, so that a person may know better.
        doubt: bool,
    },
    /// Where the superblock should be is none, but the activity log in front of it is there.
    #[error(
        "{disk}: the superblock at byte {at} is destroyed (its activity log, right before, is intact): restore it with \
         `drbdmeta ... restore-md` from a dump, or copy this side again"
    )]
    Destroyed {
        /// The disk.
        disk: String,
        /// Where.
        at: u64,
    },
    /// A superblock that no DRBD wrote like this.
    #[error("{disk}: the superblock at byte {at} is not usable")]
    Corrupt {
        /// The disk.
        disk: String,
        /// Where.
        at: u64,
        /// What is wrong.
        #[source]
        source: SuperblockError,
    },
    /// The image or device was grown: the superblock stands where it stood before.
    #[error(
        "{disk}: the superblock of internal metadata stands at byte {found}, where it belongs on {old_size} bytes, but the disk \
         has {size}: it was grown since DRBD last used it"
    )]
    Grown {
        /// The disk.
        disk: String,
        /// Where the superblock was found.
        found: u64,
        /// The size it belongs to, in bytes, rounded down to 4 KiB.
        old_size: u64,
        /// The size now.
        size: u64,
    },
    /// The superblock contradicts the sizes of the disks.
    #[error("{disk}: the superblock at byte {at} does not fit {place} metadata here")]
    Misfit {
        /// The disk.
        disk: String,
        /// Where.
        at: u64,
        /// What it would be.
        place: MetadataPlace,
        /// What contradicts.
        #[source]
        source: GeometryError,
    },
    /// The data disk is smaller than the replicated data, as far as the metadata knows.
    #[error("{disk}: it has {size} bytes, but DRBD last used {effective}: it was cut short")]
    Truncated {
        /// The disk.
        disk: String,
        /// Its size.
        size: u64,
        /// The effective size.
        effective: u64,
    },
    /// No room for metadata at all.
    #[error("{disk}: {size} bytes are too small to hold DRBD metadata")]
    TooSmall {
        /// The disk.
        disk: String,
        /// Its size.
        size: u64,
    },
    /// External metadata was asked for, but no device was named for it.
    #[error("{place} metadata needs a metadata device, and none was named")]
    NoMetadataDisk {
        /// What was asked for.
        place: MetadataPlace,
    },
    /// Several replicas keep their metadata on this device.
    #[error(
        "{disk}: metadata of several devices found, at the indexes {indexes:?}: say which one belongs to the data"
    )]
    SeveralIndexes {
        /// The disk.
        disk: String,
        /// The indexes that hold a valid superblock.
        indexes: Vec<u32>,
    },
    /// The activity log is needed and unreadable.
    #[error(
        "{disk}: the node was Primary, and its activity log, which says where it may have written last, is unreadable. \
         Restore the metadata from a dump, or copy this side again"
    )]
    Log {
        /// The disk.
        disk: String,
        /// What is wrong.
        #[source]
        source: ActivityLogError,
    },
    /// The metadata changed while it was read.
    #[error(
        "{disk}: the metadata changed while it was read: something is using it. Take it out of use, or read a snapshot"
    )]
    Moving {
        /// The disk.
        disk: String,
    },
    /// A slot or chunk that does not exist was asked for: a defect of the caller.
    #[error("the bitmap cannot be read or edited like this")]
    Bitmap(#[from] BitmapError),
}

impl ObserveError {
    /// What a person can do about metadata that is there and cannot be used.
    #[must_use]
    pub fn advice(&self) -> Option<String> {
        const SURE: &str = "only if DRBD itself has this device attached just as it is, add --as-is-a (for side a) or --as-is-b (for side b)";
        Some(match self {
            ObserveError::NotFound { begins: Some("LUKS"), .. } => {
                "if DRBD stands inside the encryption, `cryptsetup open --readonly` it and give /dev/mapper/NAME; if it stands \
                 below, its metadata is missing here: name its device with --meta-a or --meta-b"
            }
            ObserveError::NotFound { begins: Some("LVM physical volume"), .. } => {
                "if DRBD uses one of its logical volumes, activate the group (vgchange -ay) and give that volume; if the group \
                 stands on DRBD, the metadata is missing here: name its device with --meta-a or --meta-b"
            }
            ObserveError::NotThis { next, doubt: false, .. } => return Some(next.clone()),
            ObserveError::NotThis { next, doubt: true, .. } => return Some(format!("{next}; {SURE}")),
            ObserveError::Unlooked { .. } => {
                return Some(format!(
                    "copy the failing disk first (`ddrescue`), and use the copy; {SURE}"
                ));
            }
            ObserveError::Corrupt { source: SuperblockError::Version07, .. } => return None,
            ObserveError::Corrupt { .. } => {
                "restore the metadata from a dump (`drbdmeta ... restore-md`), or copy this side again"
            }
            ObserveError::Grown { .. } => {
                "`drbdadm check-resize RES` on its node moves the metadata to the new end (before it is attached); then give it again"
            }
            ObserveError::Misfit { .. } => {
                "give the whole device or image as DRBD used it, neither grown nor cut, and with the right --meta-a or --meta-b if external"
            }
            ObserveError::Disk(_) => {
                "look at the kernel's log; a failing disk is best copied first (`ddrescue`), and the copy used here"
            }
            ObserveError::SeveralIndexes { .. } => "give the index, too: --meta-a DEV:N or --meta-b DEV:N",
            _ => return None,
        }
        .to_owned())
    }
}

/// The error that says what is really there, when metadata could not be found or did not fit.
fn instead(
    error: ObserveError,
    data: &Offered<'_>,
    metadata: Option<&dyn DiskMut>,
) -> Result<ObserveError, ObserveError> {
    if let ObserveError::Grown { found, .. } = &error
        && let Some(other) = data.inside_a_partition(*found)
    {
        return Ok(other);
    }
    let error = match error {
        ObserveError::NotFound { disk, tried, .. } if metadata.is_none() => {
            ObserveError::NotFound { disk, tried, begins: data.begins() }
        }
        error => error,
    };
    let absent = matches!(
        error,
        ObserveError::NotFound { .. } | ObserveError::TooSmall { .. } | ObserveError::Truncated { .. }
    );
    let Some(metadata) = metadata.filter(|_| absent) else { return Ok(error) };
    // With metadata of its own device, either of the two may be what is wrong.
    for looked_at in [data, &Offered::look(metadata.as_disk())?] {
        if let Some(other) = looked_at.without_metadata() {
            return Ok(other);
        }
    }
    Ok(error)
}

/// A replica: a data disk and where its metadata is.
pub struct ImageReplica {
    data: Arc<dyn DiskMut>,
    metadata: Arc<dyn DiskMut>,
    place: MetadataPlace,
    superblock: Superblock,
    geometry: Geometry,
    trust: Trust,
    /// Bytes of the device, when it is larger than DRBD last used it.
    grown_to: Option<u64>,
}

impl std::fmt::Debug for ImageReplica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ImageReplica").field("source", &self.source()).finish_non_exhaustive()
    }
}

impl ImageReplica {
    /// Finds the metadata and checks that it belongs to these disks. Without `metadata` it is internal. With it, and
    /// without `place`, it is flexible if the whole device belongs to it, else the only index that holds a superblock.
    ///
    /// # Errors
    /// [`ObserveError`], which tells apart what can be wrong.
    pub fn open(
        data: Arc<dyn DiskMut>,
        metadata: Option<Arc<dyn DiskMut>>,
        place: Option<MetadataPlace>,
    ) -> Result<Self, ObserveError> {
        Self::open_with(data, metadata, place, Trust::Attached)
    }

    /// The same for what a person named: with [`Trust::Checked`] it is looked at, and refused when it is something else.
    ///
    /// # Errors
    /// [`ObserveError`]; [`ObserveError::NotThis`] says what it is.
    pub fn open_with(
        data: Arc<dyn DiskMut>,
        metadata: Option<Arc<dyn DiskMut>>,
        place: Option<MetadataPlace>,
        trust: Trust,
    ) -> Result<Self, ObserveError> {
        let found = match trust {
            Trust::Checked => Self::find_checked(&data, metadata, place),
            Trust::AsIs | Trust::Attached => Self::find(&data, metadata, place),
        };
        match found {
            Ok((metadata, found)) => Ok(Self::of(data, metadata, found, trust)),
            // What stands there can still be read, to say how the pair stands. It is never written: see `as_used`.
            Err(ObserveError::Grown { old_size, size, .. }) if trust != Trust::Attached => {
                let old = Arc::new(DataView::new(data, old_size));
                let replica = Self::open_with(old, None, Some(MetadataPlace::Internal), trust)?;
                Ok(ImageReplica { grown_to: Some(size), ..replica })
            }
            Err(error) => Err(error),
        }
    }

    /// Refuses a device that was grown since DRBD last used it: its metadata has to move first.
    ///
    /// # Errors
    /// [`ObserveError::Grown`].
    pub fn as_used(&self) -> Result<(), ObserveError> {
        let Some(size) = self.grown_to else { return Ok(()) };
        Err(ObserveError::Grown {
            disk: self.data.name().to_owned(),
            found: self.geometry.superblock_at,
            old_size: self.data.size(),
            size,
        })
    }

    /// Looks at what is offered, too.
    fn find_checked(
        data: &Arc<dyn DiskMut>,
        metadata: Option<Arc<dyn DiskMut>>,
        place: Option<MetadataPlace>,
    ) -> Result<(Arc<dyn DiskMut>, find::Found), ObserveError> {
        let offered = Offered::look(data.as_disk())?;
        let internal = matches!((&metadata, place), (None, None) | (_, Some(MetadataPlace::Internal)));
        if internal
            && find::exactly(data.as_disk())?.is_none()
            && let Some(other) = offered.without_metadata()
        {
            return Err(other);
        }
        let named = metadata.clone();
        match Self::find(data, metadata, place) {
            Ok(found) => {
                offered.with_metadata(&found.1)?;
                Ok(found)
            }
            Err(error) => Err(instead(error, &offered, named.as_deref())?),
        }
    }

    fn of(data: Arc<dyn DiskMut>, metadata: Arc<dyn DiskMut>, found: find::Found, trust: Trust) -> Self {
        let find::Found { place, superblock, geometry } = found;
        ImageReplica { data, metadata, place, superblock, geometry, trust, grown_to: None }
    }

    /// The disk that holds the metadata, and what stands there.
    fn find(
        data: &Arc<dyn DiskMut>,
        metadata: Option<Arc<dyn DiskMut>>,
        place: Option<MetadataPlace>,
    ) -> Result<(Arc<dyn DiskMut>, find::Found), ObserveError> {
        Ok(match (metadata, place) {
            (None, None | Some(MetadataPlace::Internal)) | (Some(_), Some(MetadataPlace::Internal)) => {
                let found = find::internal(data.as_disk())?;
                (Arc::clone(data), found)
            }
            (None, Some(place)) => return Err(ObserveError::NoMetadataDisk { place }),
            (Some(metadata), place) => {
                let found = find::external(metadata.as_disk(), data.as_disk(), place)?;
                (metadata, found)
            }
        })
    }

    /// The superblock as it was when the replica was opened.
    #[must_use]
    pub fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// Where everything is.
    #[must_use]
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Where the replica is, in the disks' own names.
    #[must_use]
    pub fn source(&self) -> Source {
        Source {
            data: self.data.name().to_owned(),
            data_size: self.data.size(),
            metadata: self.metadata.name().to_owned(),
            metadata_size: self.metadata.size(),
            place: self.place,
            superblock_at: self.geometry.superblock_at,
            on: None,
            trust: self.trust,
            grown_to: self.grown_to,
        }
    }

    /// Bytes of replicated data: the effective size, or what could be replicated when never attached.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.geometry.data_size
    }

    /// The replicated data, for reading: ends at [`ImageReplica::size`].
    #[must_use]
    pub fn data(&self) -> Arc<dyn Disk> {
        Arc::new(DataView::new(Arc::clone(&self.data), self.size()))
    }

    /// The replicated data, for writing: ends at [`ImageReplica::size`], so that no write can reach the metadata.
    #[must_use]
    pub fn data_mut(&self) -> Arc<dyn DiskMut> {
        Arc::new(DataView::new(Arc::clone(&self.data), self.size()))
    }

    /// The disk that holds the metadata (the whole data disk when internal).
    #[must_use]
    pub fn metadata_disk(&self) -> Arc<dyn DiskMut> {
        Arc::clone(&self.metadata)
    }

    /// Reads the superblock again.
    ///
    /// # Errors
    /// [`ObserveError`], also when it no longer describes the layout found at opening.
    pub fn reread(&self) -> Result<Superblock, ObserveError> {
        let (_, superblock) = self.read_superblock()?;
        Ok(superblock)
    }

    fn read_superblock(&self) -> Result<(Vec<u8>, Superblock), ObserveError> {
        let at = self.geometry.superblock_at;
        let block = self.read_metadata(Extent { start: at, len: BLOCK as u64 })?;
        let here = locate::Candidate { place: self.place, superblock_at: at };
        let (superblock, geometry) = locate::accept(here, &block, self.metadata.size(), self.data.size())
            .map_err(|not_here| self.refused(here, not_here))?;
        if geometry != self.geometry {
            return Err(ObserveError::Moving { disk: self.metadata.name().to_owned() });
        }
        Ok((block, superblock))
    }

    fn refused(&self, here: locate::Candidate, why: NotHere) -> ObserveError {
        find::refused(self.metadata.as_disk(), here, why, self.data.as_disk())
    }

    /// Reads an extent of the metadata disk that is known to be small: one block or the activity log.
    fn read_metadata(&self, extent: Extent) -> Result<Vec<u8>, DiskFault> {
        let len = usize::try_from(extent.len).unwrap_or(0);
        let mut bytes = vec![0; len];
        self.metadata.read_at(extent.start, &mut bytes)?;
        Ok(bytes)
    }
}
