//! What was read of one replica, from where and when.

use super::drbd::{Role, Superblock};
use super::extent::ExtentSet;
use super::id::{Digest, NodeName};
use super::seen::Stamp;
use serde::{Deserialize, Serialize};

/// Where DRBD's metadata stands relative to the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "index")]
pub enum MetadataPlace {
    /// At the end of the data device.
    Internal,
    /// A device of its own (`meta-disk DEV`), superblock first.
    FlexibleExternal,
    /// Slot of 128 MiB on a shared device (`meta-disk DEV[N]`).
    IndexedExternal(u32),
}

impl std::fmt::Display for MetadataPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            MetadataPlace::Internal => f.write_str("internal"),
            MetadataPlace::FlexibleExternal => f.write_str("external"),
            MetadataPlace::IndexedExternal(index) => write!(f, "external, index {index}"),
        }
    }
}

/// The machine that a replica is on, when it is not this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elsewhere {
    /// How it is reached, as `--peer` says it: `ssh:HOST`, `exec:COMMAND`.
    pub peer: String,
    /// What the machine calls itself.
    pub host: String,
    /// Its machine id, where it could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
}

/// Why a file or device is taken for a replica's backing device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trust {
    /// A person named it: it is looked at, and refused when it is something else.
    #[default]
    Checked,
    /// A person said that it is one, whatever it looks like.
    AsIs,
    /// The kernel says that DRBD has it attached.
    Attached,
}

impl Trust {
    /// Whether it is what an absent word stands for.
    #[must_use]
    pub fn is_checked(&self) -> bool {
        *self == Trust::Checked
    }
}

/// Where one replica is: paths as given, sizes in bytes, and what identifies the devices themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Absolute path of the data device or image.
    pub data: String,
    /// Size of the data device, metadata included when internal.
    pub data_size: u64,
    /// Absolute path of the metadata device; equal to `data` when internal.
    pub metadata: String,
    /// Size of the metadata device.
    pub metadata_size: u64,
    /// Where on it the metadata stands.
    pub place: MetadataPlace,
    /// Byte offset of the superblock on the metadata device.
    pub superblock_at: u64,
    /// The machine whose paths these are; `None` for this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<Elsewhere>,
    /// Whether it was looked at, or a person said what it is.
    #[serde(default, skip_serializing_if = "Trust::is_checked")]
    pub trust: Trust,
    /// Bytes of the device now, where DRBD last used fewer; then `data_size` is what it used, and nothing may be written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grown_to: Option<u64>,
}

impl Source {
    /// The data's path, and the machine it is on if that is another one.
    #[must_use]
    pub fn place_words(&self) -> String {
        match &self.on {
            None => self.data.clone(),
            Some(on) => format!("{} on {} ({})", self.data, on.host, on.peer),
        }
    }
}

/// What the activity log says about writes that the bitmap may not show yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogState {
    /// Needs no replay: marked clean, or the node had left the Primary role in order, which flushed the bitmap.
    Clean,
    /// The node was Primary when the evidence was taken: hot extents count as written.
    Hot,
    /// The node was Primary and the log proves nothing, because it is switched off or a transaction is lost that no later
    /// one repeats: everything counts as written.
    Disabled,
}

/// The candidate blocks one replica claims as changed against the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks {
    /// Bitmap slot read: always 0 in v08; `None` when v09 has no slot for the peer (then everything is a candidate).
    pub slot: Option<u32>,
    /// Bits set in that slot, inside the effective size.
    pub bits: u64,
    /// What the set bits cover, clipped to the effective size. Everything when the superblock says that a full sync is due:
    /// the kernel then sets every bit at the next attach.
    pub bitmap: ExtentSet,
    /// State of the activity log.
    pub log: LogState,
    /// Hot extents of the activity log, clipped; counted as candidates only when `log` is [`LogState::Hot`].
    pub hot: ExtentSet,
    /// Bits that would be set after `drbdmeta apply-al`: what DRBD would report as dirty at a handshake.
    pub bits_after_replay: u64,
}

impl Marks {
    /// What only the activity log claims: hot, but not set in the bitmap. `size` is the compared size in bytes.
    #[must_use]
    pub fn only_hot(&self, size: u64) -> ExtentSet {
        match self.slot {
            None => ExtentSet::empty(),
            Some(_) => self.candidates(size).subtract(&self.bitmap),
        }
    }

    /// Bitmap and, where the log is hot, its extents: everything this replica may have written alone.
    /// `size` is the compared size in bytes.
    #[must_use]
    pub fn candidates(&self, size: u64) -> ExtentSet {
        match (self.slot, self.log) {
            (None, _) | (_, LogState::Disabled) => ExtentSet::whole(size),
            (Some(_), LogState::Hot) => self.bitmap.union(&self.hot).clip(size),
            (Some(_), LogState::Clean) => self.bitmap.clip(size),
        }
    }
}

/// Everything read of one replica of one volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// What the side is called.
    pub name: NodeName,
    /// Where it was read.
    pub source: Source,
    /// The role the node had when this was taken: from the metadata's primary flag, or as the operator said.
    pub role: Role,
    /// The superblock.
    pub superblock: Superblock,
    /// Digest of the superblock's 4 KiB as they stand on disk.
    pub superblock_digest: Digest,
    /// Digest of activity log and bitmap area as they stand on disk.
    pub area_digest: Digest,
    /// What it claims to have changed.
    pub marks: Marks,
    /// When.
    pub taken_at: Stamp,
}
