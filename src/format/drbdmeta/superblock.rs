//! The superblock: parsed with every plausibility check that does not need the device, and patched in place.
//!
//! Layout: [`drbd_sys::metadata`].

use super::{BLOCK, be32, be32_signed, be64};
use crate::model::drbd::{GenerationUuid, MetadataFormat, PeerSlot, Superblock};
use drbd_sys::metadata::{self as sys, common, v08, v09};

/// The largest activity log taken, in 4 KiB blocks (64 MiB). The kernels allow more; nobody needs more, and it is
/// read into memory.
pub const AL_MAX_4K: u64 = 16_384;

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

fn wrong<T>(
    field: &'static str,
    offset: usize,
    found: impl Into<i64>,
    expected: &'static str,
) -> Result<T, SuperblockError> {
    Err(SuperblockError::Field { field, offset, found: found.into(), expected })
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
    check(&superblock, stripes_at)?;
    Ok(superblock)
}

/// The checks that need no device.
fn check(sb: &Superblock, stripes_at: usize) -> Result<(), SuperblockError> {
    if sb.effective_size > sys::MAX_SECTORS {
        let found = i64::try_from(sb.effective_size).unwrap_or(i64::MAX);
        return wrong("la-size-sect", common::EFFECTIVE_SIZE, found, "at most 1 PiB in sectors");
    }
    let per_bit = sb.bm_bytes_per_bit;
    let (most, expected) = match sb.format {
        MetadataFormat::V08 => (sys::BM_BYTES_PER_BIT_MIN, "4096"),
        MetadataFormat::V09 => (sys::BM_BYTES_PER_BIT_MAX, "a power of two from 4096 to 1048576"),
    };
    if !per_bit.is_power_of_two() || !(sys::BM_BYTES_PER_BIT_MIN..=most).contains(&per_bit) {
        return wrong("bm-byte-per-bit", common::BM_BYTES_PER_BIT, per_bit, expected);
    }
    let log_blocks = u64::from(sb.al_stripes) * u64::from(sb.al_stripe_size_4k);
    if !(sys::AL_MIN_4K..=AL_MAX_4K).contains(&log_blocks) {
        let found = i64::try_from(log_blocks).unwrap_or(i64::MAX);
        return wrong(
            "al-stripes × al-stripe-size-4k",
            stripes_at,
            found,
            "8 to 16384 blocks (32 KiB to 64 MiB)",
        );
    }
    let log = i64::try_from(log_blocks * sys::BLOCK_SECTORS).unwrap_or(i64::MAX);
    let block = i64::from(u32::try_from(sys::BLOCK_SECTORS).unwrap_or(u32::MAX));
    let (al, bm, size) = (i64::from(sb.al_offset), i64::from(sb.bm_offset), i64::from(sb.md_size));
    // Two shapes exist: bitmap | log | superblock with both offsets negative, and superblock | log | bitmap.
    if al != -log && al != block {
        return wrong("al_offset", common::AL_OFFSET, al, "minus the log's size (internal) or 8 (external)");
    }
    if al < 0 && (bm != block - size || bm > al) {
        return wrong("bm_offset", common::BM_OFFSET, bm, "8 - md_size_sect, before the activity log");
    }
    if al > 0 && (bm != block + log || bm > size) {
        return wrong(
            "bm_offset",
            common::BM_OFFSET,
            bm,
            "8 + the activity log's sectors, inside md_size_sect",
        );
    }
    if sb.format == MetadataFormat::V09 {
        check_peers(sb)?;
    }
    Ok(())
}

fn check_peers(sb: &Superblock) -> Result<(), SuperblockError> {
    let slots = sb.max_peers;
    if !(1..=32).contains(&slots) {
        return wrong("max-peers", v09::MAX_PEERS, slots, "1 to 32");
    }
    if !(-1..=31).contains(&sb.node_id) {
        return wrong("node-id", v09::NODE_ID, sb.node_id, "-1 to 31");
    }
    let mut owner = [None; v09::PEER_COUNT];
    for (id, peer) in sb.peers.iter().enumerate() {
        let index = peer.bitmap_index;
        if index == -1 {
            continue;
        }
        let claimed = u32::try_from(index).ok().filter(|slot| *slot < slots);
        let Some(taken) =
            claimed.and_then(|slot| usize::try_from(slot).ok()).and_then(|slot| owner.get_mut(slot))
        else {
            let at = v09::PEERS + id * v09::PEER_BYTES + v09::PEER_BITMAP_INDEX;
            return wrong("bitmap-index", at, index, "-1 or below max-peers");
        };
        if let Some(first) = *taken {
            return Err(SuperblockError::SlotTwice { first, second: id, slot: index });
        }
        *taken = Some(id);
    }
    Ok(())
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
