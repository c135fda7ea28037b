//! Metadata of a new device, for demo images and tests: what `drbdmeta create-md` writes, and then some.

use super::geometry::{Geometry, GeometryError, Shape, superblock_position};
use super::{BLOCK, activity_log, superblock};
use crate::model::drbd::{
    GenerationUuid, MetadataFormat, PeerSlot, Superblock, V08_HISTORY, V09_PEERS, device_flag,
};
use crate::model::evidence::MetadataPlace;
use drbd_sys::metadata as sys;

/// What is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// v08 or v09.
    pub format: MetadataFormat,
    /// Where.
    pub place: MetadataPlace,
    /// Size of the metadata device (the data device when internal), in bytes.
    pub metadata_size: u64,
    /// Size of the data device, in bytes.
    pub data_size: u64,
    /// Bitmap slots; v08 always has 1.
    pub max_peers: u32,
    /// Bytes per bitmap bit; v08 always has 4096.
    pub bytes_per_bit: u32,
    /// Activity log stripes.
    pub al_stripes: u32,
    /// Blocks of 4 KiB in each stripe.
    pub al_stripe_size_4k: u32,
}

impl Wanted {
    /// Internal metadata with DRBD's defaults on a device of `size` bytes.
    #[must_use]
    pub fn internal(format: MetadataFormat, size: u64) -> Wanted {
        Wanted {
            format,
            place: MetadataPlace::Internal,
            metadata_size: size,
            data_size: size,
            max_peers: 1,
            bytes_per_bit: sys::BM_BYTES_PER_BIT_MIN,
            al_stripes: sys::AL_STRIPES_DEFAULT,
            al_stripe_size_4k: sys::AL_STRIPE_SIZE_4K_DEFAULT,
        }
    }
}

/// Fresh metadata, as a description: superblock, log and where they go. The bitmap is [`Fresh::bitmap_byte`] throughout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fresh {
    /// The superblock.
    pub superblock: Superblock,
    /// Where everything goes.
    pub geometry: Geometry,
    /// The value of every byte of the bitmap area: 0 or 0xff.
    pub bitmap_byte: u8,
}

impl Fresh {
    /// The 4 KiB of the superblock.
    #[must_use]
    pub fn superblock_bytes(&self) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        superblock::encode_into(&self.superblock, &mut block);
        block
    }

    /// The bytes of the activity log area.
    #[must_use]
    pub fn log_bytes(&self) -> Vec<u8> {
        activity_log::initial(&self.superblock)
    }
}

/// Metadata of a device that never had data: `UUID_JUST_CREATED`, no flags but a clean log, no effective size.
/// `all_dirty` sets every bit.
///
/// # Errors
/// When the metadata does not fit, or DRBD would not take such a shape.
pub fn create(wanted: &Wanted, all_dirty: bool) -> Result<Fresh, CreateError> {
    let (max_peers, peers, history) = match wanted.format {
        MetadataFormat::V08 => (1, Vec::new(), V08_HISTORY),
        MetadataFormat::V09 => {
            let empty =
                PeerSlot { bitmap_uuid: GenerationUuid::UNSET, bitmap_dagtag: 0, flags: 0, bitmap_index: -1 };
            (wanted.max_peers, vec![empty; V09_PEERS], V09_PEERS)
        }
    };
    let shape = Shape {
        bytes_per_bit: wanted.bytes_per_bit,
        max_peers,
        al_stripes: wanted.al_stripes,
        al_stripe_size_4k: wanted.al_stripe_size_4k,
    };
    let offsets = shape.offsets(wanted.place, wanted.metadata_size)?;
    let superblock = Superblock {
        format: wanted.format,
        unclean_magic: false,
        effective_size: 0,
        current: GenerationUuid::JUST_CREATED,
        bitmap: GenerationUuid::UNSET,
        history: vec![GenerationUuid::UNSET; history],
        members: 0,
        device_uuid: 0,
        flags: device_flag::AL_CLEAN,
        md_size: offsets.md_size,
        al_offset: offsets.al_offset,
        al_extents: sys::AL_EXTENTS_CREATE_MD,
        bm_offset: offsets.bm_offset,
        bm_bytes_per_bit: wanted.bytes_per_bit,
        la_peer_max_bio_size: 0,
        max_peers,
        node_id: -1,
        al_stripes: wanted.al_stripes,
        al_stripe_size_4k: wanted.al_stripe_size_4k,
        peers,
    };
    let mut block = [0; BLOCK];
    superblock::encode_into(&superblock, &mut block);
    // The parser's own plausibility rules decide whether DRBD would take this.
    let superblock = superblock::parse(&block)?;
    let at = superblock_position(wanted.place, wanted.metadata_size)
        .ok_or(GeometryError::TooSmall { bytes: wanted.metadata_size })?;
    let geometry = Geometry::of(&superblock, wanted.place, at, wanted.metadata_size, wanted.data_size)?;
    Ok(Fresh { superblock, geometry, bitmap_byte: if all_dirty { 0xff } else { 0 } })
}

/// Why no metadata was described.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CreateError {
    /// It does not fit.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// DRBD would not take it.
    #[error("DRBD would not take such metadata")]
    Shape(#[from] superblock::SuperblockError),
}
