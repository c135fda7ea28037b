//! DRBD's on-disk metadata as data: what a superblock says, whichever generation wrote it.
//!
//! Facts: `drbd_int.h`/`drbd_meta_data.h` of DRBD 8.4.11 and 9.3.3, and drbdmeta 9.22 run on files.

use serde::{Deserialize, Serialize};

/// A data generation UUID. Bit 0 says "Primary" and is masked in every comparison of lineage.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct GenerationUuid(pub u64);

impl GenerationUuid {
    /// Not set.
    pub const UNSET: GenerationUuid = GenerationUuid(0);
    /// Fresh metadata that never had data (`UUID_JUST_CREATED`).
    pub const JUST_CREATED: GenerationUuid = GenerationUuid(4);
    /// What is added to the bitmap UUID when a resync starts on protocols up to 109 (`UUID_NEW_BM_OFFSET`).
    pub const NEW_BM_OFFSET: u64 = 0x0001_0000_0000_0000;

    /// Without the primary bit.
    #[must_use]
    pub fn masked(self) -> GenerationUuid {
        GenerationUuid(self.0 & !1)
    }

    /// Whether bit 0, the primary bit, is set.
    #[must_use]
    pub fn primary_bit(self) -> bool {
        self.0 & 1 == 1
    }

    /// Whether the two name the same generation (bit 0 aside).
    #[must_use]
    pub fn same(self, other: GenerationUuid) -> bool {
        self.masked() == other.masked()
    }
}

impl std::fmt::Display for GenerationUuid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016X}", self.0)
    }
}

impl std::fmt::Debug for GenerationUuid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for GenerationUuid {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GenerationUuid {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = text.trim_start_matches("0x");
        u64::from_str_radix(digits, 16)
            .map(GenerationUuid)
            .map_err(|_| serde::de::Error::custom(format!("`{text}` is not a UUID of up to 16 hex digits")))
    }
}

/// Which layout the metadata has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MetadataFormat {
    /// DRBD 8.4: one peer, two history UUIDs.
    V08,
    /// DRBD 9: up to 32 peers, 32 history UUIDs.
    V09,
}

impl std::fmt::Display for MetadataFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            MetadataFormat::V08 => "v08",
            MetadataFormat::V09 => "v09",
        })
    }
}

/// Device flags (`MDF_*`), by their bit. Those marked 8 or 9 exist in one generation only.
pub mod device_flag {
    /// Data is consistent.
    pub const CONSISTENT: u32 = 1;
    /// Was Primary when the superblock was written.
    pub const PRIMARY_IND: u32 = 2;
    /// 8: was connected.
    pub const CONNECTED_IND: u32 = 4;
    /// 8: a full sync is due.
    pub const FULL_SYNC: u32 = 8;
    /// Was UpToDate.
    pub const WAS_UP_TO_DATE: u32 = 0x10;
    /// 8: the peer was outdated.
    pub const PEER_OUT_DATED: u32 = 0x20;
    /// Went down as Primary.
    pub const CRASHED_PRIMARY: u32 = 0x40;
    /// The activity log needs no replay.
    pub const AL_CLEAN: u32 = 0x80;
    /// Activity log updates are off: after a crash everything is suspect.
    pub const AL_DISABLED: u32 = 0x100;
    /// 9: was Primary when it lost quorum.
    pub const PRIMARY_LOST_QUORUM: u32 = 0x200;
    /// 9: had quorum.
    pub const HAVE_QUORUM: u32 = 0x400;
}

/// Peer flags of v09 (`MDF_PEER_*`), by their bit.
pub mod peer_flag {
    /// Was connected.
    pub const CONNECTED: u32 = 1;
    /// Peer was outdated.
    pub const OUTDATED: u32 = 2;
    /// Peer was being fenced.
    pub const FENCING: u32 = 4;
    /// A full sync with this peer is due.
    pub const FULL_SYNC: u32 = 8;
    /// The peer's device was seen.
    pub const DEVICE_SEEN: u32 = 0x10;
    /// The node id is in use.
    pub const NODE_EXISTS: u32 = 0x1_0000;
}

/// Number of peer slots and of history UUIDs in a v09 superblock.
pub const V09_PEERS: usize = 32;
/// Number of history UUIDs in a v08 superblock.
pub const V08_HISTORY: usize = 2;

/// What a v09 superblock says about one peer, by node id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerSlot {
    /// Generation since which this node's bitmap for the peer collects; 0 = none.
    pub bitmap_uuid: GenerationUuid,
    /// Data generation tag that goes with it.
    pub bitmap_dagtag: u64,
    /// `MDF_PEER_*`, see [`peer_flag`].
    pub flags: u32,
    /// Which bitmap slot the peer uses; -1 none.
    pub bitmap_index: i32,
}

/// A superblock of either generation. Offsets and sizes as on disk: sectors of 512 bytes, offsets
/// relative to the superblock. As text it is read only if it passes [`Superblock::check`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct Superblock {
    /// v08 or v09.
    pub format: MetadataFormat,
    /// v08 only: written with the "unclean" magic (0x8374026c) that 8.4's kernel uses.
    pub unclean_magic: bool,
    /// Size of the replicated data, in sectors (`la_size_sect`, `effective_size`); 0 = never attached.
    pub effective_size: u64,
    /// Current generation.
    pub current: GenerationUuid,
    /// v08: the one bitmap UUID. v09: always [`GenerationUuid::UNSET`], see `peers`.
    pub bitmap: GenerationUuid,
    /// Past generations, newest first: 2 in v08, 32 in v09.
    pub history: Vec<GenerationUuid>,
    /// v09: node ids that share the current generation; 0 in v08.
    pub members: u64,
    /// Random number of this backing device.
    pub device_uuid: u64,
    /// `MDF_*`, see [`device_flag`].
    pub flags: u32,
    /// Size of the metadata area, in sectors.
    pub md_size: u32,
    /// Activity log relative to the superblock, in sectors.
    pub al_offset: i32,
    /// Number of activity log extents the kernel was configured with.
    pub al_extents: u32,
    /// Bitmap relative to the superblock, in sectors.
    pub bm_offset: i32,
    /// Bytes of data per bitmap bit.
    pub bm_bytes_per_bit: u32,
    /// Largest bio the peer took, in bytes.
    pub la_peer_max_bio_size: u32,
    /// Number of bitmap slots: 1 in v08.
    pub max_peers: u32,
    /// v09: this node's id; -1 in v08 and when not set.
    pub node_id: i32,
    /// Activity log stripes, 1 by default. On disk 0 means 1.
    pub al_stripes: u32,
    /// Size of an activity log stripe in 4 KiB blocks, 8 by default. On disk 0 means 8.
    pub al_stripe_size_4k: u32,
    /// v09: what is known of each node id; empty in v08.
    pub peers: Vec<PeerSlot>,
}

impl Superblock {
    /// Whether a device flag (see [`device_flag`]) is set.
    #[must_use]
    pub fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    /// The bitmap UUID toward a peer: v08's only one, v09's by node id.
    #[must_use]
    pub fn bitmap_toward(&self, peer: Option<i32>) -> GenerationUuid {
        match self.format {
            MetadataFormat::V08 => self.bitmap,
            MetadataFormat::V09 => self.peer(peer).map_or(GenerationUuid::UNSET, |slot| slot.bitmap_uuid),
        }
    }

    /// The v09 peer slot of a node id.
    #[must_use]
    pub fn peer(&self, node_id: Option<i32>) -> Option<&PeerSlot> {
        node_id.and_then(|id| usize::try_from(id).ok()).and_then(|id| self.peers.get(id))
    }
}

/// Disk state as DRBD would negotiate it, ordered from worst to best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum DiskState {
    /// Partly overwritten: in the middle of a resync.
    Inconsistent,
    /// Consistent but known to be old.
    Outdated,
    /// Consistent; whether current is only known once connected.
    Consistent,
    /// Current.
    UpToDate,
}

/// A node's role for a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// May write.
    Primary,
    /// May not.
    Secondary,
}
