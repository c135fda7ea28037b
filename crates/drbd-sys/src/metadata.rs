//! On-disk metadata: superblock, activity log and bitmap, of DRBD 8.4 (`v08`) and DRBD 9 (`v09`).
//!
//! Sources: the structures `meta_data_on_disk_84`, `meta_data_on_disk_9`, `peer_dev_md_on_disk_9` and
//! `al_transaction_on_disk` of DRBD 8.4.11 and 9.3.3; checked against what drbdmeta 9.22 wrote to files and
//! against devices that the kernels wrote. Superblock and activity log are big-endian, the bitmap is little-endian.
//! Offsets are in bytes from the start of the 4 KiB block unless said otherwise.

/// Bytes per sector: every `*_sect` field counts these.
pub const SECTOR_BYTES: u64 = 512;
/// Size of the superblock and of one activity log transaction, in bytes.
pub const BLOCK_BYTES: usize = 4096;
/// Sectors in one 4 KiB block.
pub const BLOCK_SECTORS: u64 = BLOCK_BYTES as u64 / SECTOR_BYTES;

/// Magic of the retired v07 layout.
pub const MAGIC_V07: u32 = 0x8374_026a;
/// Magic of v08 whose activity log needs no replay (`DRBD_MD_MAGIC_08`).
pub const MAGIC_V08: u32 = 0x8374_026b;
/// Magic of v08 as 8.4's kernel writes it while attached (`DRBD_MD_MAGIC_84_UNCLEAN`).
pub const MAGIC_V08_UNCLEAN: u32 = 0x8374_026c;
/// Magic of v09 (`DRBD_MD_MAGIC_09`).
pub const MAGIC_V09: u32 = 0x8374_026d;
/// Magic of an activity log transaction (`DRBD_AL_MAGIC`).
pub const MAGIC_AL: u32 = 0x69cb_65a2;
/// Magic of the activity log kept as a plain table in persistent memory (`DRBD_AL_PMEM_MAGIC`, 9 only).
pub const MAGIC_AL_PMEM: u32 = 0x6aa6_67a6;

/// Fields that both generations have at the same place, from `flags` to `la_peer_max_bio_size`.
pub mod common {
    /// u64: size of the replicated data in sectors (`la_size_sect`, `effective_size`).
    pub const EFFECTIVE_SIZE: usize = 0;
    /// u64: current generation.
    pub const CURRENT_UUID: usize = 8;
    /// u32: `MDF_*`.
    pub const FLAGS: usize = 56;
    /// u32: magic.
    pub const MAGIC: usize = 60;
    /// u32: size of the metadata area in sectors.
    pub const MD_SIZE: usize = 64;
    /// i32: activity log relative to the superblock, in sectors.
    pub const AL_OFFSET: usize = 68;
    /// u32: activity log slots the kernel was configured with.
    pub const AL_EXTENTS: usize = 72;
    /// i32: bitmap relative to the superblock, in sectors.
    pub const BM_OFFSET: usize = 76;
    /// u32: bytes of data per bitmap bit.
    pub const BM_BYTES_PER_BIT: usize = 80;
    /// u32: largest bio the peer took, in bytes.
    pub const LA_PEER_MAX_BIO_SIZE: usize = 84;
}

/// Fields of v08 only.
pub mod v08 {
    /// u64: bitmap UUID.
    pub const BITMAP_UUID: usize = 16;
    /// u64 each: history UUIDs.
    pub const HISTORY: usize = 24;
    /// Number of history UUIDs.
    pub const HISTORY_COUNT: usize = 2;
    /// u64: random number of the device.
    pub const DEVICE_UUID: usize = 40;
    /// u64: reserved (one more UUID slot, `UI_FLAGS`' neighbour).
    pub const RESERVED: usize = 48;
    /// u32: activity log stripes.
    pub const AL_STRIPES: usize = 88;
    /// u32: size of a stripe in 4 KiB blocks.
    pub const AL_STRIPE_SIZE_4K: usize = 92;
    /// First byte that is always zero.
    pub const END: usize = 96;
}

/// Fields of v09 only.
pub mod v09 {
    /// u64: node ids sharing the current generation.
    pub const MEMBERS: usize = 16;
    /// u64: random number of the device.
    pub const DEVICE_UUID: usize = 48;
    /// u32: number of bitmap slots.
    pub const MAX_PEERS: usize = 88;
    /// i32: this node's id.
    pub const NODE_ID: usize = 92;
    /// u32: activity log stripes.
    pub const AL_STRIPES: usize = 96;
    /// u32: size of a stripe in 4 KiB blocks.
    pub const AL_STRIPE_SIZE_4K: usize = 100;
    /// Array of [`PEER_COUNT`] peers, by node id.
    pub const PEERS: usize = 112;
    /// Number of peers.
    pub const PEER_COUNT: usize = 32;
    /// Size of one peer.
    pub const PEER_BYTES: usize = 32;
    /// In a peer, u64: bitmap UUID.
    pub const PEER_BITMAP_UUID: usize = 0;
    /// In a peer, u64: data generation tag.
    pub const PEER_BITMAP_DAGTAG: usize = 8;
    /// In a peer, u32: `MDF_PEER_*`.
    pub const PEER_FLAGS: usize = 16;
    /// In a peer, i32: bitmap slot, -1 none.
    pub const PEER_BITMAP_INDEX: usize = 20;
    /// In a peer: 8 reserved bytes.
    pub const PEER_RESERVED: usize = 24;
    /// u64 each: history UUIDs.
    pub const HISTORY: usize = 1136;
    /// Number of history UUIDs.
    pub const HISTORY_COUNT: usize = 32;
    /// First byte that is always zero.
    pub const END: usize = 1392;
}

/// An activity log transaction.
pub mod al {
    /// u32: [`super::MAGIC_AL`].
    pub const MAGIC: usize = 0;
    /// u32: transaction number, wrapping.
    pub const TR_NUMBER: usize = 4;
    /// u32: CRC-32C of the block with this field zero; start value 0, no final inversion.
    pub const CRC32C: usize = 8;
    /// u16: [`TYPE_UPDATE`] or [`TYPE_INITIALIZED`].
    pub const TRANSACTION_TYPE: usize = 12;
    /// u16: number of updates.
    pub const N_UPDATES: usize = 14;
    /// u16: size of the whole slot table.
    pub const CONTEXT_SIZE: usize = 16;
    /// u16: first slot the context repeats.
    pub const CONTEXT_START_SLOT: usize = 18;
    /// 16 reserved bytes.
    pub const RESERVED: usize = 20;
    /// u16 each: slots that changed, 0xffff when unused.
    pub const UPDATE_SLOT_NR: usize = 36;
    /// u32 each: their new extents.
    pub const UPDATE_EXTENT_NR: usize = 164;
    /// Number of updates a transaction can hold.
    pub const UPDATES: usize = 64;
    /// u32 each: a window of the slot table.
    pub const CONTEXT: usize = 420;
    /// Number of slots in the window.
    pub const CONTEXT_COUNT: usize = 919;
    /// `AL_TR_UPDATE`.
    pub const TYPE_UPDATE: u16 = 0;
    /// `AL_TR_INITIALIZED`: nothing was ever written here.
    pub const TYPE_INITIALIZED: u16 = 0xffff;
    /// Extent number of a free slot.
    pub const FREE: u32 = 0xffff_ffff;
    /// Slot number of an unused update.
    pub const NO_SLOT: u16 = 0xffff;
    /// Slots from this number on are refused (`DRBD_AL_EXTENTS_MAX`).
    pub const MAX_SLOTS: usize = 65534;
}

/// log2 of the size of an activity log extent.
pub const AL_EXTENT_SHIFT: u32 = 22;
/// Bytes of data one activity log extent covers.
pub const AL_EXTENT_BYTES: u64 = 1 << AL_EXTENT_SHIFT;
/// Default number of activity log stripes; what 0 on disk means.
pub const AL_STRIPES_DEFAULT: u32 = 1;
/// Default size of a stripe in 4 KiB blocks; what 0 on disk means.
pub const AL_STRIPE_SIZE_4K_DEFAULT: u32 = 8;
/// The smallest activity log both kernels take, in 4 KiB blocks (32 KiB).
pub const AL_MIN_4K: u64 = 8;
/// Activity log slots that drbdmeta 9.22 writes into new metadata.
pub const AL_EXTENTS_CREATE_MD: u32 = 257;

/// Bytes per bitmap bit before 9.3, and the least since.
pub const BM_BYTES_PER_BIT_MIN: u32 = 4096;
/// The most bytes per bitmap bit (9.3, feature `BM_BLOCK_SHIFT`).
pub const BM_BYTES_PER_BIT_MAX: u32 = 1 << 20;
/// Bytes of one interleaved word of the v09 bitmap.
pub const BM_WORD_BYTES: u64 = 4;

/// Sectors reserved per slot of indexed external metadata (128 MiB).
pub const INDEXED_SLOT_SECTORS: u64 = 262_144;
/// The largest device, in sectors (1 PiB).
pub const MAX_SECTORS: u64 = 1 << 41;

const _: () = assert!(BLOCK_SECTORS == 8);
const _: () = assert!(common::FLAGS + 4 == common::MAGIC);
const _: () = assert!(common::LA_PEER_MAX_BIO_SIZE + 4 == v08::AL_STRIPES);
const _: () = assert!(v08::HISTORY + 8 * v08::HISTORY_COUNT == v08::DEVICE_UUID);
const _: () = assert!(v08::RESERVED + 8 == common::FLAGS);
const _: () = assert!(v08::AL_STRIPE_SIZE_4K + 4 == v08::END);
const _: () = assert!(v09::MEMBERS + 8 + 3 * 8 == v09::DEVICE_UUID);
const _: () = assert!(v09::DEVICE_UUID + 8 == common::FLAGS);
const _: () = assert!(common::LA_PEER_MAX_BIO_SIZE + 4 == v09::MAX_PEERS);
const _: () = assert!(v09::AL_STRIPE_SIZE_4K + 4 + 2 * 4 == v09::PEERS);
const _: () = assert!(v09::PEER_RESERVED + 8 == v09::PEER_BYTES);
const _: () = assert!(v09::PEERS + v09::PEER_BYTES * v09::PEER_COUNT == v09::HISTORY);
const _: () = assert!(v09::HISTORY + 8 * v09::HISTORY_COUNT == v09::END);
const _: () = assert!(v09::END <= BLOCK_BYTES);
const _: () = assert!(al::RESERVED + 16 == al::UPDATE_SLOT_NR);
const _: () = assert!(al::UPDATE_SLOT_NR + 2 * al::UPDATES == al::UPDATE_EXTENT_NR);
const _: () = assert!(al::UPDATE_EXTENT_NR + 4 * al::UPDATES == al::CONTEXT);
const _: () = assert!(al::CONTEXT + 4 * al::CONTEXT_COUNT == BLOCK_BYTES);
const _: () = assert!(INDEXED_SLOT_SECTORS * SECTOR_BYTES == 128 << 20);
const _: () = assert!(MAX_SECTORS * SECTOR_BYTES == 1 << 50);
