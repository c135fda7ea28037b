//! Reports made by hand. As made, a node is connected, up to date and healthy.

use crate::model::drbd::GenerationUuid;
use crate::model::drbd_live::Generation;
use crate::model::drbd_live::object::{
    ConnectionInfo, DeviceInfo, DeviceStatistics, NetOptions, Packed84, PeerDeviceInfo, PeerDeviceStatistics,
    ResourceInfo, ResourceOptions, State84,
};
use crate::model::drbd_live::tree::{Connection, Device, Live, PeerDevice, Resource};
use crate::model::drbd_live::words::{ConnectionState, DiskState, ReplicationState, Role};
use crate::model::node::{
    Configured, ConfiguredOption, ConfiguredVolume, DrbdSeen, LogLine, NodeReport, NodeState,
};
use crate::model::seen::{Stamp, Why};

/// Toward one peer.
#[derive(Debug, Clone)]
pub(super) struct Toward {
    pub(super) name: &'static str,
    pub(super) id: u32,
    pub(super) state: ConnectionState,
    pub(super) replication: ReplicationState,
    pub(super) disk: DiskState,
    pub(super) client: bool,
    pub(super) bitmap: u64,
    /// Sectors.
    pub(super) out_of_sync: u64,
    pub(super) options: NetOptions,
}

/// A node.
#[derive(Debug, Clone)]
pub(super) struct Made {
    pub(super) generation: Generation,
    pub(super) name: &'static str,
    pub(super) id: u32,
    pub(super) loaded: bool,
    pub(super) up: bool,
    pub(super) configured: Result<bool, ()>,
    pub(super) net: Vec<(&'static str, &'static str)>,
    pub(super) role: Role,
    pub(super) disk: DiskState,
    pub(super) client: bool,
    pub(super) quorum: Option<bool>,
    pub(super) suspended_fencing: bool,
    /// Sectors.
    pub(super) size: u64,
    pub(super) current: u64,
    pub(super) history: Vec<u64>,
    pub(super) peers: Vec<Toward>,
    pub(super) log: Vec<&'static str>,
}

pub(super) fn toward(name: &'static str, id: u32) -> Toward {
    Toward {
        name,
        id,
        state: ConnectionState::Connected,
        replication: ReplicationState::Established,
        disk: DiskState::UpToDate,
        client: false,
        bitmap: 0,
        out_of_sync: 0,
        options: NetOptions::default(),
    }
}

/// `alpha` (0) and `beta` (1) know each other.
pub(super) fn node(generation: Generation, name: &'static str, id: u32) -> Made {
    let peer = if id == 0 { toward("beta", 1) } else { toward("alpha", 0) };
    Made {
        generation,
        name,
        id,
        loaded: true,
        up: true,
        configured: Ok(true),
        net: Vec::new(),
        role: Role::Secondary,
        disk: DiskState::UpToDate,
        client: false,
        quorum: None,
        suspended_fencing: false,
        size: 1 << 20,
        current: 0x1000,
        history: vec![0x900, 0],
        peers: vec![peer],
        log: Vec::new(),
    }
}

impl Made {
    /// Lost the (first) peer: in this state now.
    pub(super) fn apart(mut self, state: ConnectionState) -> Made {
        let peer = &mut self.peers[0];
        peer.state = state;
        peer.replication = ReplicationState::Off;
        peer.disk = DiskState::Unknown;
        self
    }

    /// Went on by itself from `base` to `current`, with that many blocks written.
    pub(super) fn went_on(mut self, base: u64, current: u64, blocks: u64) -> Made {
        self.current = current;
        self.peers[0].bitmap = base;
        self.peers[0].out_of_sync = blocks * 8;
        self
    }

    pub(super) fn with(mut self, change: impl FnOnce(&mut Made)) -> Made {
        change(&mut self);
        self
    }

    pub(super) fn logged(mut self, lines: &[&'static str]) -> Made {
        self.log.extend(lines);
        self
    }

    pub(super) fn report(&self) -> NodeReport {
        let drbd = if self.loaded {
            let resources = if self.up { vec![self.resource()] } else { Vec::new() };
            DrbdSeen::Told(Live { generation: self.generation, resources })
        } else {
            DrbdSeen::NotLoaded
        };
        let configured = self
            .configured
            .map_err(|()| Why("no drbdadm".to_owned()))
            .map(|defined| if defined { vec![self.configuration()] } else { Vec::new() });
        let line = |(at, text): (usize, &&str)| LogLine { at: at as u64, text: (*text).to_owned() };
        NodeReport {
            state: NodeState {
                host: self.name.to_owned(),
                machine: None,
                boot: None,
                taken_at: Stamp(0),
                drbd,
            },
            configured,
            log: Ok(self.log.iter().enumerate().map(line).collect()),
        }
    }

    fn configuration(&self) -> Configured {
        let option = |(name, value): &(&str, &str)| ConfiguredOption {
            name: (*name).to_owned(),
            value: (*value).to_owned(),
        };
        Configured {
            resource: "r0".to_owned(),
            volumes: vec![ConfiguredVolume {
                volume: 0,
                minor: Some(5),
                disk: (!self.client).then(|| "/dev/vg/r0".to_owned()),
                meta_disk: Some("internal".to_owned()),
            }],
            peers: self.peers.iter().map(|peer| peer.name.to_owned()).collect(),
            net: self.net.iter().map(option).collect(),
        }
    }

    fn resource(&self) -> Resource {
        let nine = self.generation == Generation::V9;
        // While StandAlone, 8.4's kernel has no connection at all; its other message knows.
        let gone = |peer: &&Toward| nine || peer.state != ConnectionState::StandAlone;
        Resource {
            name: "r0".to_owned(),
            info: ResourceInfo {
                role: Some(self.role),
                suspended_fencing: Some(self.suspended_fencing),
                ..ResourceInfo::default()
            },
            options: nine.then(|| ResourceOptions { node_id: Some(self.id), ..ResourceOptions::default() }),
            devices: vec![self.device(nine)],
            connections: self.peers.iter().filter(gone).map(|peer| self.connection(peer, nine)).collect(),
            ..Resource::default()
        }
    }

    fn device(&self, nine: bool) -> Device {
        let uuid = |value: &u64| GenerationUuid(*value);
        let has_disk = !matches!(self.disk, DiskState::Diskless | DiskState::Failed);
        // As many slots as each kernel sends.
        let slots = if nine { 32 } else { 4 };
        let mut history: Vec<_> = self.history.iter().map(uuid).collect();
        history.resize(slots, GenerationUuid::UNSET);
        let peer = &self.peers[0];
        let state84 = (!nine).then(|| State84 {
            now: Some(Packed84 {
                role: self.role,
                peer_role: Role::Unknown,
                connection: peer.state,
                replication: peer.replication,
                disk: self.disk,
                peer_disk: peer.disk,
                suspended_user: false,
                suspended_no_data: false,
                suspended_fencing: false,
                paused_dependency: false,
                paused_peer: false,
                paused_user: false,
                raw: 0,
            }),
            uuids: has_disk.then(|| {
                let all = [self.current, peer.bitmap, self.history[0], self.history[1]];
                all.iter().map(uuid).collect()
            }),
            bits_out_of_sync: has_disk.then_some(peer.out_of_sync / 8),
            ..State84::default()
        });
        Device {
            volume: 0,
            minor: Some(5),
            info: DeviceInfo {
                disk: Some(self.disk),
                client: nine.then_some(self.client),
                quorum: self.quorum,
                ..DeviceInfo::default()
            },
            statistics: DeviceStatistics {
                current: has_disk.then_some(GenerationUuid(self.current)),
                history: has_disk.then_some(history),
                size: Some(self.size),
                ..DeviceStatistics::default()
            },
            state84,
            ..Device::default()
        }
    }

    fn connection(&self, peer: &Toward, nine: bool) -> Connection {
        Connection {
            peer_node_id: nine.then_some(peer.id),
            name: nine.then(|| peer.name.to_owned()),
            info: ConnectionInfo { state: Some(peer.state), peer_role: None },
            options: Some(peer.options.clone()),
            peer_devices: vec![PeerDevice {
                volume: 0,
                info: PeerDeviceInfo {
                    replication: Some(peer.replication),
                    disk: Some(peer.disk),
                    client: nine.then_some(peer.client),
                    ..PeerDeviceInfo::default()
                },
                statistics: PeerDeviceStatistics {
                    out_of_sync: Some(peer.out_of_sync),
                    bitmap: Some(GenerationUuid(peer.bitmap)),
                    uuid_flags: nine.then_some(0x20),
                    ..PeerDeviceStatistics::default()
                },
                ..PeerDevice::default()
            }],
            ..Connection::default()
        }
    }
}
