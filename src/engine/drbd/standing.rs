//! Where a connection stands, from what both nodes tell.

use crate::model::drbd_live::tree::{Connection, Resource};
use crate::model::drbd_live::words::{ConnectionState, DiskState, ReplicationState};
use crate::model::node::Toward;
use crate::model::side::{Pair, Side};

/// Where it stands, seen from the plan's survivor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Not connected. Each side's state, in DRBD's word.
    Apart(Pair<ConnectionState>),
    /// Connected, and the victim is, or is about to be, overwritten. `left`: bytes that are still out of sync.
    Resyncing {
        /// Bytes.
        left: u64,
    },
    /// Connected, both UpToDate, nothing out of sync.
    Joined,
    /// Connected, and the SURVIVOR is being overwritten.
    Backwards {
        /// The volume.
        volume: u32,
    },
}

/// The connection toward the other side.
#[must_use]
pub fn connection<'r>(told: &'r Resource, toward: &Toward) -> Option<&'r Connection> {
    told.connections.iter().find(|known| known.peer_node_id == toward.peer)
}

/// Its state; no connection at all is how 8.4 shows StandAlone.
#[must_use]
pub fn state(told: &Resource, toward: &Toward) -> ConnectionState {
    connection(told, toward).map_or(ConnectionState::StandAlone, |connection| {
        connection.info.state.unwrap_or(ConnectionState::Other(u32::MAX))
    })
}

fn is_target(state: ReplicationState) -> bool {
    matches!(
        state,
        ReplicationState::StartingSyncT
            | ReplicationState::WFBitMapT
            | ReplicationState::WFSyncUuid
            | ReplicationState::SyncTarget
            | ReplicationState::PausedSyncT
    )
}

fn is_source(state: ReplicationState) -> bool {
    matches!(
        state,
        ReplicationState::StartingSyncS
            | ReplicationState::WFBitMapS
            | ReplicationState::SyncSource
            | ReplicationState::PausedSyncS
    )
}

/// Where it stands.
#[must_use]
pub fn standing(told: Pair<&Resource>, toward: &Pair<Toward>, survivor: Side) -> Standing {
    let states = Pair::from_fn(|side| state(told[side], &toward[side]));
    let victim = survivor.other();
    let replication = |side: Side| {
        let volumes = connection(told[side], &toward[side]).map_or(&[][..], |known| &known.peer_devices);
        volumes.iter().filter_map(|volume| Some((volume.volume, volume.info.replication?)))
    };
    // One end may know of it before the other, and of its direction before all else.
    let wrong = replication(survivor)
        .find(|(_, state)| is_target(*state))
        .or_else(|| replication(victim).find(|(_, state)| is_source(*state)));
    if let Some((volume, _)) = wrong {
        return Standing::Backwards { volume };
    }
    if states.a != ConnectionState::Connected || states.b != ConnectionState::Connected {
        return Standing::Apart(states);
    }
    let side_done = |side: Side| {
        let Some(known) = connection(told[side], &toward[side]) else { return false };
        let disks = told[side].devices.iter().all(|device| device.info.disk == Some(DiskState::UpToDate));
        let peers = known.peer_devices.iter().all(|volume| {
            volume.info.replication == Some(ReplicationState::Established)
                && volume.info.disk == Some(DiskState::UpToDate)
                && volume.statistics.out_of_sync == Some(0)
        });
        disks && peers && known.peer_devices.len() == told[side].devices.len()
    };
    if side_done(Side::A) && side_done(Side::B) {
        return Standing::Joined;
    }
    let left = connection(told[victim], &toward[victim]).map_or(0, |known| {
        // The other end's numbers may be anything.
        let left = known.peer_devices.iter().filter_map(|volume| volume.out_of_sync_bytes());
        left.fold(0, u64::saturating_add)
    });
    Standing::Resyncing { left }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::drbd_live::tree::{Device, PeerDevice};
    use crate::model::id::ResourceName;

    fn side(
        state: ConnectionState,
        replication: ReplicationState,
        disks: (DiskState, DiskState),
        out_of_sync: u64,
    ) -> Resource {
        let mut device = Device { volume: 0, ..Device::default() };
        device.info.disk = Some(disks.0);
        let mut peer = PeerDevice { volume: 0, ..PeerDevice::default() };
        (peer.info.replication, peer.info.disk) = (Some(replication), Some(disks.1));
        peer.statistics.out_of_sync = Some(out_of_sync);
        let mut connection = Connection { peer_devices: vec![peer], ..Connection::default() };
        connection.info.state = Some(state);
        Resource {
            name: "r0".to_owned(),
            devices: vec![device],
            connections: vec![connection],
            ..Resource::default()
        }
    }

    fn of(a: &Resource, b: &Resource, survivor: Side) -> Standing {
        let toward = Toward { resource: ResourceName::new("r0").unwrap(), peer: None };
        standing(Pair::new(a, b), &Pair::new(toward.clone(), toward), survivor)
    }

    #[test]
    fn every_state_has_its_standing() {
        use ConnectionState::{Connected, Connecting, StandAlone};
        use DiskState::{Inconsistent, Unknown, UpToDate};
        use ReplicationState::{Established, Off, SyncSource, SyncTarget};
        let alone = side(StandAlone, Off, (UpToDate, Unknown), 0);
        let waiting = side(Connecting, Off, (UpToDate, Unknown), 0);
        assert_eq!(of(&alone, &waiting, Side::A), Standing::Apart(Pair::new(StandAlone, Connecting)));
        let nothing = Resource { name: "r0".to_owned(), ..Resource::default() };
        assert_eq!(of(&nothing, &waiting, Side::A), Standing::Apart(Pair::new(StandAlone, Connecting)));

        let source = side(Connected, SyncSource, (UpToDate, Inconsistent), 8);
        let target = side(Connected, SyncTarget, (Inconsistent, UpToDate), 8);
        assert_eq!(of(&source, &target, Side::A), Standing::Resyncing { left: 4096 });
        assert_eq!(of(&source, &target, Side::B), Standing::Backwards { volume: 0 });
        assert_eq!(of(&target, &source, Side::B), Standing::Resyncing { left: 4096 });
        // Also while only one end has noticed.
        assert_eq!(of(&waiting, &source, Side::A), Standing::Backwards { volume: 0 });

        let joined = side(Connected, Established, (UpToDate, UpToDate), 0);
        assert_eq!(of(&joined, &joined, Side::A), Standing::Joined);
        let mut absurd = side(Connected, SyncTarget, (Inconsistent, UpToDate), u64::MAX);
        let twice = absurd.connections[0].peer_devices[0].clone();
        absurd.connections[0].peer_devices.push(twice);
        assert_eq!(of(&source, &absurd, Side::A), Standing::Resyncing { left: u64::MAX });
        let leftover = side(Connected, Established, (UpToDate, UpToDate), 8);
        assert_eq!(of(&joined, &leftover, Side::A), Standing::Resyncing { left: 4096 });
        let bare = Resource { connections: Vec::new(), ..joined.clone() };
        assert!(matches!(of(&joined, &bare, Side::A), Standing::Apart(_)));
    }
}
