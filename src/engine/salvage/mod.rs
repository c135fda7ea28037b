//! Salvages: the kept copy of what a healing overwrites, under `salvage/<incident>/` of the state directory.
//!
//! A salvage is one qcow2 file per part and, last of all, `manifest.json`. A folder with a manifest is complete and
//! was read back before the manifest got its name; a folder without one is the rest of an interrupted take and holds
//! nothing that anybody relies on, because nothing is overwritten without a [`Preserved`].

mod batch;
mod catalogue;
mod error;
mod readback;
mod restore;
mod take;
mod write;

pub use catalogue::{Found, State, list, load_manifest, prove_again, verify};
pub use error::SalvageError;
pub use restore::{KeptDisk, reader, restore};
pub use take::{Kept, RESERVE, needed_space, take, take_moving};

use crate::model::extent::ExtentSet;
use crate::model::id::{IncidentId, NodeName, PlanId, ResourceName};
use crate::model::salvage::PartKind;
use crate::model::seen::Stamp;
use crate::model::side::Side;
use crate::ports::disk::Disk;
use crate::ports::progress::Progress;
#[cfg(doc)]
use crate::proof::Preserved;

/// The folder of all salvages.
pub const FOLDER: &str = "salvage";
/// What the names of salvages begin with that DRBD's handler took: they belong to no incident, and no journal knows them.
pub const OF_A_RESYNC: &str = "resync-";
/// A complete salvage has it.
pub const MANIFEST: &str = "manifest.json";
/// Words about a salvage that no plan asked for; there need not be any.
pub const NOTE: &str = "note.txt";
/// The manifest until everything was read back.
const MANIFEST_UNPROVEN: &str = "manifest.json.tmp";
/// Bytes moved at a time.
const BATCH: usize = 8 << 20;

/// The folder of an incident's salvage.
#[must_use]
pub fn dir_of(incident: &IncidentId) -> String {
    format!("{FOLDER}/{incident}")
}

/// The file name of a part.
#[must_use]
pub fn file_of(kind: PartKind) -> &'static str {
    match kind {
        PartKind::VictimData => "victim-data.qcow2",
        PartKind::VictimMetadata => "victim-metadata.qcow2",
        PartKind::SurvivorMetadata => "survivor-metadata.qcow2",
    }
}

/// Every kind of part.
const KINDS: [PartKind; 3] = [PartKind::VictimData, PartKind::VictimMetadata, PartKind::SurvivorMetadata];

/// One part to be kept, and where it is now.
#[derive(Clone)]
pub struct PartSource<'a> {
    /// What it holds.
    pub kind: PartKind,
    /// Where it is read from; at least `virtual_size` bytes.
    pub disk: &'a dyn Disk,
    /// What is kept. Need not be aligned, but costs whole clusters of (mostly) 4 KiB.
    pub extents: &'a ExtentSet,
    /// Bytes of the volume, without DRBD's metadata; or of the metadata device.
    pub virtual_size: u64,
    /// Absolute path of the raw image or device under the overlay.
    pub backing: Option<String>,
}

/// What stands in a manifest besides the parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The incident it belongs to.
    pub incident: IncidentId,
    /// The plan that asks for it.
    pub plan: PlanId,
    /// The resource.
    pub resource: ResourceName,
    /// Which side is the victim.
    pub victim: Side,
    /// What the victim is called.
    pub victim_name: NodeName,
    /// What the survivor is called.
    pub survivor_name: NodeName,
    /// Now.
    pub taken_at: Stamp,
}

/// Runs `work` as a phase of `progress`.
fn phase<T>(
    progress: &dyn Progress,
    word: &str,
    bytes: u64,
    work: impl FnOnce() -> Result<T, SalvageError>,
) -> Result<T, SalvageError> {
    progress.begin(word, bytes);
    let done = work();
    progress.finish();
    done
}
