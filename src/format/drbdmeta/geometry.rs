//! Where on which device the activity log, the bitmap and the data are, and the same formulas forward for new
//! devices.
//!
//! Internal: data … | bitmap | activity log | superblock | up to 7 sectors unused. External: superblock | activity log |
//! bitmap. Formulas as in DRBD 8.4.11 and 9.3.3 (`drbd_md_set_sector_offsets`), checked against drbdmeta 9.22.

use crate::model::drbd::{MetadataFormat, Superblock};
use crate::model::evidence::MetadataPlace;
use crate::model::extent::Extent;
use drbd_sys::metadata as sys;

/// Where everything is. All in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Geometry {
    /// Superblock, on the metadata device.
    pub superblock_at: u64,
    /// Activity log, on the metadata device.
    pub log: Extent,
    /// The part of the bitmap that covers `data_size`, in whole 4 KiB blocks, on the metadata device.
    pub bitmap: Extent,
    /// How the bits of that part are laid out.
    pub layout: BitmapLayout,
    /// Bytes of the data device that can hold data.
    pub data_capacity: u64,
    /// Bytes of replicated data: the effective size, or the capacity when never attached.
    pub data_size: u64,
}

/// How bits map to data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BitmapLayout {
    /// Bytes of data per bit: a power of two, 4 KiB to 1 MiB.
    pub bytes_per_bit: u64,
    /// Interleaved slots, 1 to 32.
    pub slots: u32,
    /// Bytes of data that the bits describe; bits beyond mean nothing.
    pub data_size: u64,
}

impl BitmapLayout {
    /// Number of meaningful bits in each slot.
    #[must_use]
    pub fn bits(&self) -> u64 {
        self.data_size.div_ceil(self.bytes_per_bit.max(1))
    }

    /// Bytes of bitmap area that hold them, all slots together, rounded up to 4 KiB blocks as DRBD allocates them.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        area_bytes(self.bits(), self.slots)
    }
}

/// Bytes on disk of `bits` bits in each of `slots` slots.
fn area_bytes(bits: u64, slots: u32) -> u64 {
    (bits.div_ceil(64) * 8).saturating_mul(u64::from(slots)).next_multiple_of(sys::BLOCK_BYTES as u64)
}

/// Why a superblock does not belong where it was found. Sectors are 512 bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GeometryError {
    /// The superblock is not where this place puts it.
    #[error("for {place} metadata the superblock stands at byte {expected}, not {found}")]
    Position {
        /// The place.
        place: MetadataPlace,
        /// Where it was found.
        found: u64,
        /// Where it should be.
        expected: u64,
    },
    /// The device cannot even hold the metadata.
    #[error("{bytes} bytes are too small for DRBD metadata")]
    TooSmall {
        /// The device's size.
        bytes: u64,
    },
    /// A field contradicts the device's size: written for another size or place.
    #[error(
        "{field} is {found} sectors, but {place} metadata on a device of this size has {expected}: \
         the device was grown or cut since, or this is not its metadata"
    )]
    Mismatch {
        /// As drbdmeta prints it.
        field: &'static str,
        /// The place.
        place: MetadataPlace,
        /// What the superblock says.
        found: i64,
        /// What the formulas say.
        expected: i64,
    },
    /// The bitmap cannot describe the replicated data, or the data device cannot hold it.
    #[error("the replicated size is {effective} bytes, but only {capacity} fit: {why}")]
    Overfull {
        /// What the superblock says.
        effective: u64,
        /// What fits.
        capacity: u64,
        /// `the data device is smaller` or `the bitmap is too small`.
        why: &'static str,
    },
}

/// The layout-relevant numbers of a superblock, in sectors relative to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offsets {
    /// `md_size_sect`.
    pub md_size: u32,
    /// `al_offset`.
    pub al_offset: i32,
    /// `bm_offset`.
    pub bm_offset: i32,
}

/// What determines the offsets: the shape of a device's metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Bytes per bitmap bit.
    pub bytes_per_bit: u32,
    /// Bitmap slots.
    pub max_peers: u32,
    /// Activity log stripes.
    pub al_stripes: u32,
    /// Blocks of 4 KiB in each.
    pub al_stripe_size_4k: u32,
}

impl Shape {
    /// The shape a superblock has.
    #[must_use]
    pub fn of(superblock: &Superblock) -> Shape {
        Shape {
            bytes_per_bit: superblock.bm_bytes_per_bit,
            max_peers: match superblock.format {
                MetadataFormat::V08 => 1,
                MetadataFormat::V09 => superblock.max_peers,
            },
            al_stripes: superblock.al_stripes,
            al_stripe_size_4k: superblock.al_stripe_size_4k,
        }
    }

    /// Sectors of the activity log.
    fn log(&self) -> u64 {
        u64::from(self.al_stripes) * u64::from(self.al_stripe_size_4k) * sys::BLOCK_SECTORS
    }

    /// The offsets DRBD computes for this shape at a place of a metadata device of `metadata_size` bytes.
    ///
    /// # Errors
    /// [`GeometryError::TooSmall`] when the metadata does not fit or exceeds what the fields can say.
    pub fn offsets(&self, place: MetadataPlace, metadata_size: u64) -> Result<Offsets, GeometryError> {
        let too_small = GeometryError::TooSmall { bytes: metadata_size };
        let sectors = metadata_size / sys::SECTOR_BYTES;
        let log = self.log();
        let (md_size, al, bm) = match place {
            MetadataPlace::Internal => {
                let per_bit = (u64::from(self.bytes_per_bit) / sys::SECTOR_BYTES).max(1);
                let bitmap = area_bytes(sectors.div_ceil(per_bit), self.max_peers) / sys::SECTOR_BYTES;
                let md_size = bitmap + sys::BLOCK_SECTORS + log;
                let (Ok(al), Ok(bm)) = (i64::try_from(log), i64::try_from(bitmap + log)) else {
                    return Err(too_small);
                };
                (md_size, -al, -bm)
            }
            external => {
                let md_size = match external {
                    MetadataPlace::IndexedExternal(_) => sys::INDEXED_SLOT_SECTORS,
                    _ => sectors,
                };
                let Ok(bm) = i64::try_from(sys::BLOCK_SECTORS + log) else { return Err(too_small) };
                (md_size, 8, bm)
            }
        };
        let fits = match place {
            // The superblock's own block ends at most 7 sectors before the device does.
            MetadataPlace::Internal => md_size <= sectors & !7,
            MetadataPlace::FlexibleExternal => sys::BLOCK_SECTORS + log < md_size,
            MetadataPlace::IndexedExternal(index) => {
                sys::BLOCK_SECTORS + log < md_size && (u64::from(index) + 1) * md_size <= sectors
            }
        };
        match (fits, u32::try_from(md_size), i32::try_from(al), i32::try_from(bm)) {
            (true, Ok(md_size), Ok(al_offset), Ok(bm_offset)) => {
                Ok(Offsets { md_size, al_offset, bm_offset })
            }
            _ => Err(too_small),
        }
    }
}

/// Byte offset of the superblock for a place on a metadata device of `metadata_size` bytes; `None` when it would
/// not fit.
#[must_use]
pub fn superblock_position(place: MetadataPlace, metadata_size: u64) -> Option<u64> {
    let block = sys::BLOCK_BYTES as u64;
    let at = match place {
        MetadataPlace::Internal => (metadata_size / block).checked_sub(1)? * block,
        MetadataPlace::FlexibleExternal => 0,
        MetadataPlace::IndexedExternal(index) => {
            u64::from(index).checked_mul(sys::INDEXED_SLOT_SECTORS * sys::SECTOR_BYTES)?
        }
    };
    (at.checked_add(block)? <= metadata_size).then_some(at)
}

impl Geometry {
    /// Where everything is, checked against the sizes of the two devices (the same one when internal), in bytes.
    ///
    /// # Errors
    /// [`GeometryError`] when the superblock contradicts them.
    pub fn of(
        superblock: &Superblock,
        place: MetadataPlace,
        superblock_at: u64,
        metadata_size: u64,
        data_size: u64,
    ) -> Result<Geometry, GeometryError> {
        let expected = superblock_position(place, metadata_size)
            .ok_or(GeometryError::TooSmall { bytes: metadata_size })?;
        if superblock_at != expected {
            return Err(GeometryError::Position { place, found: superblock_at, expected });
        }
        let shape = Shape::of(superblock);
        let offsets = shape.offsets(place, metadata_size)?;
        let mismatch = |field, found: i64, expected: i64| {
            if found == expected {
                Ok(())
            } else {
                Err(GeometryError::Mismatch { field, place, found, expected })
            }
        };
        mismatch("md_size_sect", superblock.md_size.into(), offsets.md_size.into())?;
        mismatch("al_offset", superblock.al_offset.into(), offsets.al_offset.into())?;
        mismatch("bm_offset", superblock.bm_offset.into(), offsets.bm_offset.into())?;

        let at = |sectors: i32| {
            superblock_at.saturating_add_signed(i64::from(sectors) * sys::SECTOR_BYTES.cast_signed())
        };
        let (bitmap_at, log_at) = (at(offsets.bm_offset), at(offsets.al_offset));
        let bitmap_end = match place {
            MetadataPlace::Internal => log_at,
            _ => superblock_at + u64::from(offsets.md_size) * sys::SECTOR_BYTES,
        };
        let per_bit = u64::from(superblock.bm_bytes_per_bit);
        let rows = bitmap_end.saturating_sub(bitmap_at) / (sys::BM_WORD_BYTES * u64::from(shape.max_peers));
        let described = (rows * 32).saturating_mul(per_bit);
        let device = match place {
            MetadataPlace::Internal => bitmap_at,
            _ => data_size / sys::SECTOR_BYTES * sys::SECTOR_BYTES,
        };
        let data_capacity = device.min(described);
        let effective = superblock.effective_size * sys::SECTOR_BYTES;
        if effective > data_capacity {
            let why = if effective > device {
                "the data device is smaller than when DRBD last used it"
            } else {
                "the bitmap is too small"
            };
            return Err(GeometryError::Overfull { effective, capacity: data_capacity, why });
        }
        let data_size = if effective == 0 { data_capacity } else { effective };
        let layout = BitmapLayout { bytes_per_bit: per_bit, slots: shape.max_peers, data_size };
        // A flexible area need not end on a 4 KiB boundary.
        let bitmap = Extent { start: bitmap_at, len: layout.bytes().min(bitmap_end - bitmap_at) };
        let log = Extent { start: log_at, len: shape.log() * sys::SECTOR_BYTES };
        Ok(Geometry { superblock_at, log, bitmap, layout, data_capacity, data_size })
    }
}
