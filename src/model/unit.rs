//! Regions with one writer by construction: partitions and logical volumes.

use super::extent::{Extent, ExtentSet};
use serde::{Deserialize, Serialize};

/// What a unit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnitKind {
    /// A GPT or MBR partition.
    Partition,
    /// An LVM2 logical volume (linear or striped segments).
    LogicalVolume,
    /// LVM's own metadata area and label, or a partition table: no guest's data.
    Structure,
    /// Allocated by a segment type that is not mapped (thin pool, RAID, cache, ...): known to be somebody's, not whose.
    Opaque,
    /// Not claimed by any partition or logical volume.
    Unclaimed,
}

/// A unit and the bytes of the volume it occupies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// Name as its tools print it: `drbdvg/vm-101-disk-0`, `partition 2 (root)`.
    pub name: String,
    /// What it is.
    pub kind: UnitKind,
    /// Stable identity: LVM's LV UUID, the partition's GUID, or the empty text.
    pub identity: String,
    /// Where its bytes stand on the volume: pairs of (start inside the unit, extent on the volume), ascending by the first.
    pub map: Vec<(u64, Extent)>,
    /// A hint for people: the signature at the unit's start (`ext4`, `LUKS`), or whose internal part it is. Never decides anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
}

impl Unit {
    /// The bytes of the volume the unit occupies.
    #[must_use]
    pub fn extents(&self) -> ExtentSet {
        self.map.iter().map(|(_, extent)| *extent).collect()
    }
}

/// All units one side's structures describe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// Units in order of their first byte. Disjoint, and together they cover the volume.
    pub units: Vec<Unit>,
    /// What was odd while reading, for the report: damaged copies, unknown segment types, a volume group with missing parts.
    pub notes: Vec<String>,
}
