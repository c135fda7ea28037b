//! The kept copy of what a healing overwrites.

use super::extent::Extent;
use super::id::{Digest, IncidentId, NodeName, PlanId, ResourceName};
use super::seen::Stamp;
use super::side::Side;
use serde::{Deserialize, Serialize};

/// What a part of a salvage holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartKind {
    /// The victim's divergent data: a qcow2 overlay on the survivor's image.
    VictimData,
    /// The victim's DRBD metadata blocks that healing changes: a qcow2 without backing file, at their offsets on the metadata device.
    VictimMetadata,
    /// The survivor's DRBD metadata blocks that healing changes, likewise.
    SurvivorMetadata,
}

/// One kept piece: where it was, and the digest of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// First byte on the device it was taken from.
    pub start: u64,
    /// Number of bytes.
    pub len: u64,
    /// BLAKE3 of the bytes.
    pub blake3: Digest,
}

impl Piece {
    /// Where the piece was.
    #[must_use]
    pub fn extent(&self) -> Extent {
        Extent { start: self.start, len: self.len }
    }
}

/// One file of a salvage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// What it holds.
    pub kind: PartKind,
    /// Its file name inside the salvage's folder.
    pub file: String,
    /// Size of the device or data it is an overlay of, bytes.
    pub virtual_size: u64,
    /// Path of the qcow2's backing file, if it has one.
    pub backing: Option<String>,
    /// The pieces, ascending.
    pub pieces: Vec<Piece>,
}

/// `manifest.json` of a salvage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this schema: 1.
    pub version: u32,
    /// The incident it belongs to.
    pub incident: IncidentId,
    /// The plan that asked for it.
    pub plan: PlanId,
    /// The resource.
    pub resource: ResourceName,
    /// Which side was the victim.
    pub victim: Side,
    /// What the victim is called.
    pub victim_name: NodeName,
    /// What the survivor is called.
    pub survivor_name: NodeName,
    /// When it was taken.
    pub taken_at: Stamp,
    /// Its files.
    pub parts: Vec<Part>,
}
