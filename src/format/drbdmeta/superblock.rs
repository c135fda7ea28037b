//! The superblock: parsed, checked (`model::plausible`), and patched in place.
//!
//! Layout: [`drbd_sys::metadata`].

use super::{BLOCK, be32, be32_signed, be64};
use crate::model::drbd::{GenerationUuid, MetadataFormat, PeerSlot, Superblock};
use crate::model::plausible::{Implausible, Number};
use drbd_sys::metadata::{self as sys, common, v08, v09};

/// Why a block is not a usable superblock. Offsets are bytes from the start of the block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SuperblockError {
    /// Not 4096 bytes.
    #[error("a DRBD superblock is 4096 bytes, not {0}")]
    Length(usize),
    /// No DRBD magic: nothing says that this ever was a superblock.
    #[error("no DRBD metadata: magic {found:#010x} at byte 60")]
    UnknownMagic {
        /// What stood there.
        found: u32,
    },
    /// DRBD 8.3's predecessor.
    #[error(
        "v07 metadata (magic 0x8374026a at byte 60): convert it with `drbdmeta ... v08 ... create-md` first"
    )]
    Version07,
    /// A field holds what no DRBD writes.
    #[error("{field} at byte {offset} is {found}, which is not {expected}: the superblock is damaged")]
    Field {
        /// The field's name, as drbdmeta prints it.
        field: &'static str,
        /// Where.
        offset: usize,
        /// What stood there.
        found: i64,
        /// What could have stood there.
        expected: &'static str,
    },
    /// Two peers claim one bitmap slot.
    #[error("peers {first} and {second} both claim bitmap slot {slot}: the superblock is damaged")]
    SlotTwice {
        /// Node id.
        first: usize,
        /// Node id.
        second: usize,
        /// The slot.
        slot: i32,
    },
}

impl SuperblockError {
    /// Whether the block is simply something else, rather than a damaged or outdated superblock.
    #[must_use]
    pub fn is_absence(&self) -> bool {
        matches!(self, SuperblockError::UnknownMagic { .. } | SuperblockError::Length(_))
    }
}

/// Reads a superblock of 4096 bytes.
///
/// # Errors
/// [`SuperblockError`]; [`SuperblockError::is_absence`] tells "something else" from "damaged".
pub fn parse(block: &[u8]) -> Result<Superblock, SuperblockError> {
    if block.len() != BLOCK {
        return Err(SuperblockError::Length(block.len()));
    }
    let (format, unclean_magic) = match be32(block, common::MAGIC) {
        sys::MAGIC_V08 => (MetadataFormat::V08, false),
        sys::MAGIC_V08_UNCLEAN => (MetadataFormat::V08, true),
        sys::MAGIC_V09 => (MetadataFormat::V09, false),
        sys::MAGIC_V07 => return Err(SuperblockError::Version07),
        found => return Err(SuperblockError::UnknownMagic { found }),
    };
    let uuid = |at| GenerationUuid(be64(block, at));
    let history = |at, count| (0..count).map(|i| uuid(at + 8 * i)).collect::<Vec<_>>();
    let base = Superblock {
        format,
        unclean_magic,
        effective_size: be64(block, common::EFFECTIVE_SIZE),
        current: uuid(common::CURRENT_UUID),
        bitmap: GenerationUuid::UNSET,
        history: Vec::new(),
        members: 0,
        device_uuid: 0,
        flags: be32(block, common::FLAGS),
        md_size: be32(block, common::MD_SIZE),
        al_offset: be32_signed(block, common::AL_OFFSET),
        al_extents: be32(block, common::AL_EXTENTS),
        bm_offset: be32_signed(block, common::BM_OFFSET),
        bm_bytes_per_bit: be32(block, common::BM_BYTES_PER_BIT),
        la_peer_max_bio_size: be32(block, common::LA_PEER_MAX_BIO_SIZE),
        max_peers: 1,
        node_id: -1,
        al_stripes: 0,
        al_stripe_size_4k: 0,
        peers: Vec::new(),
    };
    let (stripes_at, superblock) = match format {
        MetadataFormat::V08 => (
            v08::AL_STRIPES,
            Superblock {
                bitmap: uuid(v08::BITMAP_UUID),
                history: history(v08::HISTORY, v08::HISTORY_COUNT),
                device_uuid: be64(block, v08::DEVICE_UUID),
                ..base
            },
        ),
        MetadataFormat::V09 => (
            v09::AL_STRIPES,
            Superblock {
                history: history(v09::HISTORY, v09::HISTORY_COUNT),
                members: be64(block, v09::MEMBERS),
                device_uuid: be64(block, v09::DEVICE_UUID),
                max_peers: be32(block, v09::MAX_PEERS),
                node_id: be32_signed(block, v09::NODE_ID),
                peers: (0..v09::PEER_COUNT)
                    .map(|id| v09::PEERS + id * v09::PEER_BYTES)
                    .map(|at| PeerSlot {
                        bitmap_uuid: uuid(at + v09::PEER_BITMAP_UUID),
                        bitmap_dagtag: be64(block, at + v09::PEER_BITMAP_DAGTAG),
                        flags: be32(block, at + v09::PEER_FLAGS),
                        bitmap_index: be32_signed(block, at + v09::PEER_BITMAP_INDEX),
                    })
                    .collect(),
                ..base
            },
        ),
    };
    // Both kernels take 0/0 for "never said otherwise"; a single 0 is damage and found below.
    let (al_stripes, al_stripe_size_4k) = match (be32(block, stripes_at), be32(block, stripes_at + 4)) {
        (0, 0) => (sys::AL_STRIPES_DEFAULT, sys::AL_STRIPE_SIZE_4K_DEFAULT),
        told => told,
    };
    let superblock = Superblock { al_stripes, al_stripe_size_4k, ..superblock };
    superblock.check().map_err(|wrong| placed(wrong, stripes_at))?;
    Ok(superblock)
}

/// What [`Superblock::check`] says, with the place of the field.
fn placed(wrong: Implausible, stripes_at: usize) -> SuperblockError {
    let (number, found, expected) = match wrong {
        Implausible::Number { number, found, expected } => (number, found, expected),
        Implausible::SlotTwice { first, second, slot } => {
            return SuperblockError::SlotTwice { first, second, slot };
        }
    };
    let offset = match number {
        Number::EffectiveSize => common::EFFECTIVE_SIZE,
        Number::BytesPerBit => common::BM_BYTES_PER_BIT,
        Number::LogSize => stripes_at,
        Number::LogOffset => common::AL_OFFSET,
        Number::BitmapOffset => common::BM_OFFSET,
        Number::MaxPeers => v09::MAX_PEERS,
        Number::NodeId => v09::NODE_ID,
        Number::BitmapIndex(id) => v09::PEERS + id * v09::PEER_BYTES + v09::PEER_BITMAP_INDEX,
        // The layout leaves no choice about these: a block always has them right.
        Number::History | Number::Peers | Number::Foreign => 0,
    };
    SuperblockError::Field { field: number.name(), offset, found, expected }
}

/// Writes what the model knows over `block`, and leaves every other byte as it is. For a new superblock hand in
/// zeros.
pub fn encode_into(superblock: &Superblock, block: &mut [u8; BLOCK]) {
    // "Never said otherwise" (0/0) stays as it is in an existing superblock.
    let existing = parse(block.as_slice()).is_ok_and(|old| {
        (old.format, old.al_stripes, old.al_stripe_size_4k)
            == (superblock.format, superblock.al_stripes, superblock.al_stripe_size_4k)
    });
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(target) = block.get_mut(at..at + bytes.len()) {
            target.copy_from_slice(bytes);
        }
    };
    let sb = superblock;
    let magic = match (sb.format, sb.unclean_magic) {
        (MetadataFormat::V08, false) => sys::MAGIC_V08,
        (MetadataFormat::V08, true) => sys::MAGIC_V08_UNCLEAN,
        (MetadataFormat::V09, _) => sys::MAGIC_V09,
    };
    put(common::EFFECTIVE_SIZE, &sb.effective_size.to_be_bytes());
    put(common::CURRENT_UUID, &sb.current.0.to_be_bytes());
    put(common::FLAGS, &sb.flags.to_be_bytes());
    put(common::MAGIC, &magic.to_be_bytes());
    put(common::MD_SIZE, &sb.md_size.to_be_bytes());
    put(common::AL_OFFSET, &sb.al_offset.to_be_bytes());
    put(common::AL_EXTENTS, &sb.al_extents.to_be_bytes());
    put(common::BM_OFFSET, &sb.bm_offset.to_be_bytes());
    put(common::BM_BYTES_PER_BIT, &sb.bm_bytes_per_bit.to_be_bytes());
    put(common::LA_PEER_MAX_BIO_SIZE, &sb.la_peer_max_bio_size.to_be_bytes());
    let (history_at, history_count, stripes_at) = match sb.format {
        MetadataFormat::V08 => {
            put(v08::BITMAP_UUID, &sb.bitmap.0.to_be_bytes());
            put(v08::DEVICE_UUID, &sb.device_uuid.to_be_bytes());
            (v08::HISTORY, v08::HISTORY_COUNT, v08::AL_STRIPES)
        }
        MetadataFormat::V09 => {
            put(v09::MEMBERS, &sb.members.to_be_bytes());
            put(v09::DEVICE_UUID, &sb.device_uuid.to_be_bytes());
            put(v09::MAX_PEERS, &sb.max_peers.to_be_bytes());
            put(v09::NODE_ID, &sb.node_id.to_be_bytes());
            for (id, peer) in sb.peers.iter().take(v09::PEER_COUNT).enumerate() {
                let at = v09::PEERS + id * v09::PEER_BYTES;
                put(at + v09::PEER_BITMAP_UUID, &peer.bitmap_uuid.0.to_be_bytes());
                put(at + v09::PEER_BITMAP_DAGTAG, &peer.bitmap_dagtag.to_be_bytes());
                put(at + v09::PEER_FLAGS, &peer.flags.to_be_bytes());
                put(at + v09::PEER_BITMAP_INDEX, &peer.bitmap_index.to_be_bytes());
            }
            (v09::HISTORY, v09::HISTORY_COUNT, v09::AL_STRIPES)
        }
    };
    for (i, uuid) in sb.history.iter().take(history_count).enumerate() {
        put(history_at + 8 * i, &uuid.0.to_be_bytes());
    }
    if !existing {
        put(stripes_at, &sb.al_stripes.to_be_bytes());
        put(stripes_at + 4, &sb.al_stripe_size_4k.to_be_bytes());
    }
}
