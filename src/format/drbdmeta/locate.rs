//! Where a superblock may stand, when nobody said.

use super::geometry::{Geometry, GeometryError, superblock_position};
use super::superblock::{SuperblockError, parse};
use crate::model::drbd::Superblock;
use crate::model::evidence::MetadataPlace;
use drbd_sys::metadata as sys;

/// A place to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// What the metadata would be.
    pub place: MetadataPlace,
    /// Byte offset of the superblock's 4 KiB on the metadata device.
    pub superblock_at: u64,
}

/// The places on a data device that also holds its metadata.
pub fn internal(data_size: u64) -> impl Iterator<Item = Candidate> {
    candidate(MetadataPlace::Internal, data_size).into_iter()
}

/// The places on a device of its own: flexible, then every indexed slot. At most one per 128 MiB.
pub fn external(metadata_size: u64) -> impl Iterator<Item = Candidate> {
    let slots = metadata_size / (sys::INDEXED_SLOT_SECTORS * sys::SECTOR_BYTES);
    let indexed = (0..u32::try_from(slots).unwrap_or(u32::MAX)).map(MetadataPlace::IndexedExternal);
    std::iter::once(MetadataPlace::FlexibleExternal)
        .chain(indexed)
        .filter_map(move |place| candidate(place, metadata_size))
}

/// One place.
#[must_use]
pub fn candidate(place: MetadataPlace, metadata_size: u64) -> Option<Candidate> {
    superblock_position(place, metadata_size).map(|superblock_at| Candidate { place, superblock_at })
}

/// Why a place was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotHere {
    /// Nothing there, or something damaged.
    #[error(transparent)]
    Superblock(#[from] SuperblockError),
    /// A superblock, but one that does not belong there.
    #[error("{why}")]
    Geometry {
        /// What contradicts.
        why: GeometryError,
        /// What it says.
        superblock: Box<Superblock>,
    },
}

impl NotHere {
    /// Whether there is simply something else at this place.
    #[must_use]
    pub fn is_absence(&self) -> bool {
        matches!(self, NotHere::Superblock(error) if error.is_absence())
    }
}

/// Accepts a candidate on magic, plausibility and formulas. Sizes in bytes.
///
/// # Errors
/// [`NotHere`]; [`NotHere::is_absence`] tells "nothing there" from "something wrong there".
pub fn accept(
    candidate: Candidate,
    block: &[u8],
    metadata_size: u64,
    data_size: u64,
) -> Result<(Superblock, Geometry), NotHere> {
    let superblock = parse(block)?;
    match Geometry::of(&superblock, candidate.place, candidate.superblock_at, metadata_size, data_size) {
        Ok(geometry) => Ok((superblock, geometry)),
        Err(why) => Err(NotHere::Geometry { why, superblock: Box::new(superblock) }),
    }
}
