//! From a running volume to the lineage that its node would show a peer.

use crate::model::drbd::{self, GenerationUuid, MetadataFormat, V08_HISTORY, device_flag};
use crate::model::drbd_live::Generation;
use crate::model::drbd_live::tree::{Connection, Device, Resource};
use crate::model::drbd_live::words::{ConnectionState, DiskState, Quorum, Role};
use crate::model::lineage::Lineage;

/// Sectors of 512 bytes that one bit of the bitmap stands for. DRBD 9.3 can be told to take larger blocks; the kernel still
/// counts in sectors, and so the number of bits is then an overstatement.
const SECTORS_PER_BIT: u64 = 8;

/// Why a volume has no lineage.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum NoLineage {
    /// It has no data of its own.
    #[error("its disk is {0}")]
    NoDisk(DiskState),
    /// The kernel did not tell everything.
    #[error("its kernel does not tell {0}")]
    NotTold(&'static str),
}

/// The lineage that volume `device` of `resource` would show over `connection`, as far as its kernel tells it. 8.4 has one bitmap
/// UUID, and while StandAlone no connection: there it is `None`, and 8.4's own message has the UUID.
///
/// What the kernel keeps to itself is left as on a node that was started anew: bitmap slots of peers that are not configured. A
/// number of marked blocks that was not told counts as 0 here; who shows it asks for the number itself.
///
/// # Errors
/// [`NoLineage`]: the volume has no disk, or its UUIDs were not told.
pub fn view_live(
    generation: Generation,
    resource: &Resource,
    device: &Device,
    connection: Option<&Connection>,
) -> Result<Lineage, NoLineage> {
    let disk = disk_state(device)?;
    let told = &device.statistics;
    let toward = |connection: &Connection| {
        connection.peer_devices.iter().find(|peer| peer.volume == device.volume).cloned()
    };
    let peer_device = connection.and_then(toward);
    let state84 = device.state84.as_ref();
    let uuid84 = |at: usize| state84.and_then(|state| state.uuids.as_ref()?.get(at).copied());
    let current = told.current.or(uuid84(0)).ok_or(NoLineage::NotTold("the current generation"))?;
    let bitmap = match generation {
        // One for whoever the peer is; the connection's copy is missing while StandAlone.
        Generation::V84 => uuid84(1).or(peer_device.as_ref().and_then(|peer| peer.statistics.bitmap)),
        Generation::V9 => peer_device.as_ref().and_then(|peer| peer.statistics.bitmap),
    };
    let bitmap = bitmap.ok_or(NoLineage::NotTold("the generation its bitmap starts from"))?;
    let others = resource.connections.iter().filter(|other| {
        generation == Generation::V9
            && connection.is_none_or(|connection| other.peer_node_id != connection.peer_node_id)
    });
    let other_bitmaps = others
        .filter_map(toward)
        .filter_map(|peer| peer.statistics.bitmap)
        .filter(|uuid| uuid.masked() != GenerationUuid::UNSET)
        .collect();
    let mut history = told.history.clone().unwrap_or_default();
    if generation == Generation::V84 {
        // It sends more slots than there are; an unset one too many would match another in rule 100.
        history.truncate(V08_HISTORY);
    }
    let sectors = marked_sectors(generation, device, connection);
    let flag = |flag: u32| told.flags.or(state84.and_then(|state| state.flags)).unwrap_or(0) & flag != 0;
    let quorum_is_on = resource
        .options
        .as_ref()
        .and_then(|options| options.quorum)
        .is_some_and(|quorum| quorum != Quorum::Off);
    Ok(Lineage {
        format: match generation {
            Generation::V84 => MetadataFormat::V08,
            Generation::V9 => MetadataFormat::V09,
        },
        current,
        bitmap,
        other_bitmaps,
        history,
        disk,
        role: match resource.info.role {
            Some(Role::Primary) => drbd::Role::Primary,
            _ => drbd::Role::Secondary,
        },
        crashed_primary: flag(device_flag::CRASHED_PRIMARY),
        primary_lost_quorum: generation == Generation::V9 && flag(device_flag::PRIMARY_LOST_QUORUM),
        quorate: if quorum_is_on { device.info.quorum } else { None },
        dirty_bits: sectors.unwrap_or(0).div_ceil(SECTORS_PER_BIT),
    })
}

/// Sectors that the volume has marked as different from the peer's; `None`: not told. While StandAlone 8.4 says 0 in one message
/// and the truth in another.
pub(super) fn marked_sectors(
    generation: Generation,
    device: &Device,
    connection: Option<&Connection>,
) -> Option<u64> {
    let peers = connection.map_or(&[][..], |connection| &connection.peer_devices);
    let toward = peers.iter().find(|peer| peer.volume == device.volume);
    let counted = toward.and_then(|peer| peer.statistics.out_of_sync);
    if generation == Generation::V9 {
        return counted;
    }
    let bits = device.state84.as_ref().and_then(|state| state.bits_out_of_sync);
    let stands_alone = connection.is_none_or(|connection| {
        connection.info.state.is_none_or(|state| state == ConnectionState::StandAlone)
    });
    bits.map(|bits| bits.saturating_mul(SECTORS_PER_BIT)).or(counted.filter(|_| !stands_alone))
}

fn disk_state(device: &Device) -> Result<drbd::DiskState, NoLineage> {
    match device.info.disk {
        Some(DiskState::Inconsistent) => Ok(drbd::DiskState::Inconsistent),
        Some(DiskState::Outdated) => Ok(drbd::DiskState::Outdated),
        Some(DiskState::Consistent) => Ok(drbd::DiskState::Consistent),
        Some(DiskState::UpToDate) => Ok(drbd::DiskState::UpToDate),
        Some(other) => Err(NoLineage::NoDisk(other)),
        None => Err(NoLineage::NotTold("the state of its disk")),
    }
}
