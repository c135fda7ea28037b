//! From a superblock to the lineage a node would show its peer.

use crate::model::drbd::{DiskState, GenerationUuid, MetadataFormat, Role, Superblock, device_flag};
use crate::model::lineage::Lineage;

/// The lineage that `sb` would show in a handshake with the peer of node id `peer_node_id` (v09; ignored in v08).
///
/// * `dirty_bits`: what the node would report, that is after its activity log has been applied.
/// * `role`: the node's role at the handshake. With the primary flag set, `Secondary` says that the node went down
///   as Primary and would attach again as a crashed one; `Primary` says that it is still up, so the flag is no sign
///   of a crash. A crash that the metadata already notes (`CRASHED_PRIMARY`) counts in either role.
///
/// `HAVE_QUORUM` is set whenever quorum is off, too, and kernels before late 2023 never set it: so its absence
/// alone says nothing, and a side counts as not quorate only when it also noted that it lost quorum as Primary.
#[must_use]
pub fn view(sb: &Superblock, peer_node_id: Option<i32>, dirty_bits: u64, role: Role) -> Lineage {
    let v09 = sb.format == MetadataFormat::V09;
    let primary_lost_quorum = v09 && sb.has(device_flag::PRIMARY_LOST_QUORUM);
    let crashed = sb.has(device_flag::PRIMARY_IND) && role != Role::Primary;
    Lineage {
        format: sb.format,
        current: sb.current,
        bitmap: sb.bitmap_toward(peer_node_id),
        other_bitmaps: other_bitmaps(sb, peer_node_id),
        history: sb.history.clone(),
        disk: disk_state(sb),
        role,
        crashed_primary: crashed || sb.has(device_flag::CRASHED_PRIMARY),
        primary_lost_quorum,
        quorate: match (v09 && sb.has(device_flag::HAVE_QUORUM), primary_lost_quorum) {
            (true, _) => Some(true),
            (false, true) => Some(false),
            (false, false) => None,
        },
        dirty_bits,
    }
}

/// What the node's own metadata says of its disk. The v08 flags about the peer play no part in it.
fn disk_state(sb: &Superblock) -> DiskState {
    match (sb.has(device_flag::CONSISTENT), sb.has(device_flag::WAS_UP_TO_DATE)) {
        (false, _) => DiskState::Inconsistent,
        (true, false) => DiskState::Outdated,
        (true, true) => DiskState::UpToDate,
    }
}

/// The slots toward all other nodes, unallocated ones included: they collect since day 0 and DRBD looks there, too.
fn other_bitmaps(sb: &Superblock, peer_node_id: Option<i32>) -> Vec<GenerationUuid> {
    let slots = sb.peers.iter().zip(0i32..);
    let others = slots.filter(|(_, id)| Some(*id) != peer_node_id && *id != sb.node_id);
    let mut found: Vec<GenerationUuid> = Vec::new();
    for (slot, _) in others {
        if slot.bitmap_uuid.masked() != GenerationUuid::UNSET && !found.contains(&slot.bitmap_uuid) {
            found.push(slot.bitmap_uuid);
        }
    }
    found
}
