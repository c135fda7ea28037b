//! Everything a node's DRBD told, put together: resources, their devices and connections, and the connections' peer devices.

use super::Generation;
use super::object::{
    Address, ConnectionInfo, ConnectionStatistics, DeviceInfo, DeviceStatistics, DiskOptions, NetOptions,
    Path, PeerDeviceInfo, PeerDeviceStatistics, ResourceInfo, ResourceOptions, ResourceStatistics, Setting,
    State84,
};
use super::report::{Context, Report};
use super::words::NoticeKind;
use serde::{Deserialize, Serialize};

/// A volume toward one peer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerDevice {
    /// The volume's number.
    pub volume: u32,
    /// State.
    pub info: PeerDeviceInfo,
    /// Counters and UUIDs.
    pub statistics: PeerDeviceStatistics,
    /// 9: options.
    pub options: Option<Vec<Setting>>,
}

/// A connection with one peer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// 9: the peer. `None` in 8.4, which has one connection per resource.
    pub peer_node_id: Option<u32>,
    /// 9: the peer's name.
    pub name: Option<String>,
    /// 8.4: this node's end, unless StandAlone.
    pub local: Option<Address>,
    /// 8.4: the peer's end, unless StandAlone.
    pub peer: Option<Address>,
    /// State.
    pub info: ConnectionInfo,
    /// Counters.
    pub statistics: ConnectionStatistics,
    /// Options; 8.4 has none while StandAlone.
    pub options: Option<NetOptions>,
    /// 9: paths.
    pub paths: Vec<Path>,
    /// The resource's volumes toward this peer, by number.
    pub peer_devices: Vec<PeerDevice>,
}

/// A volume on this node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// The volume's number.
    pub volume: u32,
    /// The device's minor number (`/dev/drbdN`).
    pub minor: Option<u32>,
    /// State.
    pub info: DeviceInfo,
    /// Counters and UUIDs.
    pub statistics: DeviceStatistics,
    /// Options of its disk.
    pub disk_options: Option<DiskOptions>,
    /// 9: options of its own.
    pub options: Option<Vec<Setting>>,
    /// 8.4: the same in one message, as last sent.
    pub state84: Option<State84>,
}

/// A resource.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    /// Its name.
    pub name: String,
    /// State.
    pub info: ResourceInfo,
    /// More state.
    pub statistics: ResourceStatistics,
    /// Options.
    pub options: Option<ResourceOptions>,
    /// Its volumes on this node, by number.
    pub devices: Vec<Device>,
    /// Its connections, by the peer's node id.
    pub connections: Vec<Connection>,
}

/// What a node's DRBD told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    /// Which generation told it.
    pub generation: Generation,
    /// Resources, by name.
    pub resources: Vec<Resource>,
}

/// How a report is taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Take {
    /// The report is newer than what is known: it creates, replaces and removes.
    State,
    /// The report is older than what is known: only options and what is missing are taken, for objects that are known.
    Fill,
}

/// The element with a key, made if it is missing and may be made; the list stays in order.
fn slot<'a, T, K: Ord>(
    list: &'a mut Vec<T>,
    key: &K,
    key_of: impl Fn(&T) -> K,
    make: Option<impl FnOnce() -> T>,
) -> Option<&'a mut T> {
    let at = match list.binary_search_by(|item| key_of(item).cmp(key)) {
        Ok(at) => at,
        Err(at) => {
            list.insert(at, make?());
            at
        }
    };
    list.get_mut(at)
}

fn put<T: Clone>(place: &mut Option<T>, new: Option<&T>) {
    if let Some(new) = new {
        *place = Some(new.clone());
    }
}

fn set<T: Clone + Default + PartialEq>(place: &mut T, new: Option<&T>, how: Take) {
    if let Some(new) = new
        && (how == Take::State || *place == T::default())
    {
        *place = new.clone();
    }
}

impl Live {
    /// Nothing known yet.
    #[must_use]
    pub fn empty(generation: Generation) -> Live {
        Live { generation, resources: Vec::new() }
    }

    /// A resource by name.
    #[must_use]
    pub fn resource(&self, name: &str) -> Option<&Resource> {
        self.resources
            .binary_search_by(|resource| resource.name.as_str().cmp(name))
            .ok()
            .and_then(|at| self.resources.get(at))
    }

    /// Takes in one report. Handlers' calls are events, not state, and change nothing here.
    pub fn take(&mut self, report: &Report, how: Take) {
        let Some(name) = &report.context.resource else { return };
        if report.handler.is_some() {
            return;
        }
        let kind = report.notice.map(|notice| notice.kind);
        if how == Take::State && kind == Some(NoticeKind::Destroy) {
            self.remove(name, report);
            return;
        }
        if let Some(new_name) = &report.renamed_to {
            self.rename(name, new_name);
            return;
        }
        let make =
            |how| (how == Take::State).then_some(|| Resource { name: name.clone(), ..Resource::default() });
        let Some(resource) = slot(&mut self.resources, name, |known| known.name.clone(), make(how)) else {
            return;
        };
        set(&mut resource.info, report.resource.as_ref(), how);
        set(&mut resource.statistics, report.resource_statistics.as_ref(), how);
        // Messages about a device repeat the resource's options in 8.4.
        put(&mut resource.options, report.resource_options.as_ref());
        resource.take_device(report, how);
        resource.take_connection(report, how);
        if let Some(state) = &report.state84 {
            resource.take_state84(report, state, how);
        }
    }

    fn rename(&mut self, name: &str, new_name: &str) {
        if let Some(at) = self.resources.iter().position(|resource| resource.name == name) {
            let mut resource = self.resources.remove(at);
            new_name.clone_into(&mut resource.name);
            self.resources.retain(|other| other.name != new_name);
            self.resources.push(resource);
            self.resources.sort_by(|a, b| a.name.cmp(&b.name));
        }
    }

    /// The smallest object that the report's parts name is gone.
    fn remove(&mut self, name: &str, report: &Report) {
        let Ok(at) = self.resources.binary_search_by(|known| known.name.as_str().cmp(name)) else { return };
        let Some(resource) = self.resources.get_mut(at) else { return };
        use drbd_sys::netlink::command;
        match report.command {
            command::RESOURCE_STATE => {
                self.resources.remove(at);
            }
            command::DEVICE_STATE => {
                resource.devices.retain(|device| Some(device.volume) != report.context.volume);
            }
            command::CONNECTION_STATE => {
                resource.connections.retain(|known| known.peer_node_id != report.context.peer_node_id);
            }
            command::PEER_DEVICE_STATE | command::PATH_STATE => {
                let key = report.context.peer_node_id;
                for known in resource.connections.iter_mut().filter(|known| known.peer_node_id == key) {
                    if report.command == command::PATH_STATE {
                        known.paths.retain(|path| !path.is_at(&report.context));
                    } else {
                        known.peer_devices.retain(|device| Some(device.volume) != report.context.volume);
                    }
                }
            }
            _ => {}
        }
    }
}

impl Resource {
    fn take_device(&mut self, report: &Report, how: Take) {
        let about_device = report.device.is_some()
            || report.device_statistics.is_some()
            || report.disk_options.is_some()
            || report.device_options.is_some()
            || report.state84.is_some();
        let (true, Some(volume)) = (about_device, report.context.volume) else { return };
        let make = (how == Take::State).then_some(|| Device { volume, ..Device::default() });
        let Some(device) = slot(&mut self.devices, &volume, |known| known.volume, make) else { return };
        put(&mut device.minor, report.minor.as_ref());
        set(&mut device.info, report.device.as_ref(), how);
        set(&mut device.statistics, report.device_statistics.as_ref(), how);
        put(&mut device.disk_options, report.disk_options.as_ref());
        put(&mut device.options, report.device_options.as_ref());
        put(&mut device.state84, report.state84.as_ref());
    }

    fn take_connection(&mut self, report: &Report, how: Take) {
        let about_peer_device = report.peer_device.is_some()
            || report.peer_device_statistics.is_some()
            || report.peer_device_options.is_some();
        let about_connection = about_peer_device
            || report.connection.is_some()
            || report.connection_statistics.is_some()
            || report.net_options.is_some()
            || report.paths.is_some()
            || report.path_established.is_some();
        if !about_connection {
            return;
        }
        let context = &report.context;
        let key = context.peer_node_id;
        let make =
            (how == Take::State).then_some(|| Connection { peer_node_id: key, ..Connection::default() });
        let Some(connection) = slot(&mut self.connections, &key, |known| known.peer_node_id, make) else {
            return;
        };
        put(&mut connection.name, context.connection_name.as_ref());
        if report.path_established.is_none() {
            put(&mut connection.local, context.local.as_ref());
            put(&mut connection.peer, context.peer.as_ref());
        }
        set(&mut connection.info, report.connection.as_ref(), how);
        set(&mut connection.statistics, report.connection_statistics.as_ref(), how);
        put(&mut connection.options, report.net_options.as_ref());
        if let Some(paths) = &report.paths {
            connection.take_paths(paths);
        }
        if report.path_established.is_some() {
            connection.take_path(context, report.path_established);
        }
        if let (true, Some(volume)) = (about_peer_device, context.volume) {
            let make = (how == Take::State).then_some(|| PeerDevice { volume, ..PeerDevice::default() });
            let Some(device) = slot(&mut connection.peer_devices, &volume, |known| known.volume, make) else {
                return;
            };
            set(&mut device.info, report.peer_device.as_ref(), how);
            set(&mut device.statistics, report.peer_device_statistics.as_ref(), how);
            put(&mut device.options, report.peer_device_options.as_ref());
        }
    }

    /// 8.4's message in one. Modules too old for the others send nothing else.
    fn take_state84(&mut self, report: &Report, state: &State84, how: Take) {
        fn note<T>(place: &mut Option<T>, new: Option<T>, how: Take) {
            if new.is_some() && (how == Take::State || place.is_none()) {
                *place = new;
            }
        }
        let (Some(now), Some(volume)) = (state.now, report.context.volume) else { return };
        note(&mut self.info.role, Some(now.role), how);
        note(&mut self.info.suspended_user, Some(now.suspended_user), how);
        note(&mut self.info.suspended_no_data, Some(now.suspended_no_data), how);
        note(&mut self.info.suspended_fencing, Some(now.suspended_fencing), how);
        let uuid = |at: usize| state.uuids.as_ref().and_then(|all| all.get(at)).copied();
        if let Some(device) = self.devices.iter_mut().find(|device| device.volume == volume) {
            note(&mut device.info.disk, Some(now.disk), how);
            let known = &mut device.statistics;
            note(&mut known.size, state.capacity, how);
            note(&mut known.exposed, state.exposed, how);
            note(&mut known.current, uuid(0), how);
            note(&mut known.flags, state.flags, how);
            if known.history.is_none() {
                known.history = state.uuids.as_ref().and_then(|all| all.get(2..)).map(<[_]>::to_vec);
            }
        }
        let make = (how == Take::State).then_some(Connection::default);
        let Some(connection) = slot(&mut self.connections, &None, |known| known.peer_node_id, make) else {
            return;
        };
        note(&mut connection.info.state, Some(now.connection), how);
        note(&mut connection.info.peer_role, Some(now.peer_role), how);
        let make = (how == Take::State).then_some(|| PeerDevice { volume, ..PeerDevice::default() });
        let Some(device) = slot(&mut connection.peer_devices, &volume, |known| known.volume, make) else {
            return;
        };
        note(&mut device.info.replication, Some(now.replication), how);
        note(&mut device.info.disk, Some(now.peer_disk), how);
        note(&mut device.info.paused_user, Some(now.paused_user), how);
        note(&mut device.info.paused_peer, Some(now.paused_peer), how);
        note(&mut device.info.paused_dependency, Some(now.paused_dependency), how);
        let known = &mut device.statistics;
        note(&mut known.bitmap, uuid(1), how);
        // Bits of 4 KiB; 8.4 knows no others.
        note(&mut known.out_of_sync, state.bits_out_of_sync.map(|bits| bits.saturating_mul(8)), how);
    }
}

impl Connection {
    /// A list of all paths replaces the known ones, but does not say which are in use.
    fn take_paths(&mut self, paths: &[Path]) {
        let mut paths = paths.to_vec();
        for path in &mut paths {
            let known = self.paths.iter().find(|known| known.local == path.local && known.peer == path.peer);
            path.established = path.established.or(known.and_then(|known| known.established));
        }
        self.paths = paths;
    }

    fn take_path(&mut self, context: &Context, established: Option<bool>) {
        if let Some(known) = self.paths.iter_mut().find(|known| known.is_at(context)) {
            known.established = established;
        } else {
            let (local, peer) = (context.local.clone(), context.peer.clone());
            self.paths.push(Path { local, peer, established });
        }
    }
}

impl Path {
    fn is_at(&self, context: &Context) -> bool {
        self.local == context.local && self.peer == context.peer
    }
}

impl PeerDevice {
    /// How much is marked as out of sync, in bytes.
    #[must_use]
    pub fn out_of_sync_bytes(&self) -> Option<u64> {
        self.statistics.out_of_sync.map(|sectors| sectors.saturating_mul(drbd_sys::metadata::SECTOR_BYTES))
    }
}
