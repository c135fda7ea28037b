//! One message of DRBD, taken apart.

use super::Generation;
use super::object::{
    Address, ConnectionInfo, ConnectionStatistics, DeviceInfo, DeviceStatistics, DiskOptions, Handler,
    NetOptions, Path, PeerDeviceInfo, PeerDeviceStatistics, ResourceInfo, ResourceOptions,
    ResourceStatistics, Setting, State84,
};
use super::words::NoticeKind;
use serde::{Deserialize, Serialize};

/// What a message is about. 8.4 has no node ids; it has one connection per resource, whose addresses it leaves out while StandAlone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// The resource.
    pub resource: Option<String>,
    /// The volume.
    pub volume: Option<u32>,
    /// 9: the peer.
    pub peer_node_id: Option<u32>,
    /// 9: the peer's name.
    pub connection_name: Option<String>,
    /// This node's end of the connection or path.
    pub local: Option<Address>,
    /// The peer's end.
    pub peer: Option<Address>,
}

/// What a notification says of its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Exists, created, changed, gone, ...
    pub kind: NoticeKind,
    /// More messages of the same event follow: until one without, things are half changed.
    pub continues: bool,
}

/// An attribute that nothing here understands: a later DRBD's, or one of an unexpected size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unread {
    /// The nest's number; 0 for the top of the message.
    pub nest: u16,
    /// The attribute's number.
    pub field: u16,
    /// What it holds.
    pub bytes: Vec<u8>,
}

/// One message. Which parts it has follows from its command, which a reader need not know: each part speaks for itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Who speaks.
    pub generation: Generation,
    /// `genlmsghdr.cmd`, see [`drbd_sys::netlink::command`].
    pub command: u8,
    /// `nlmsghdr.nlmsg_seq`: the request's, or for notifications a counter of the module.
    pub sequence: u32,
    /// The device's minor number, where the message is about one.
    pub minor: Option<u32>,
    /// DRBD's answer code, see [`drbd_sys::netlink::code`].
    pub code: i32,
    /// What it is about.
    pub context: Context,
    /// For notifications and answers to `GET_INITIAL_STATE`.
    pub notice: Option<Notice>,
    /// Options of the resource.
    pub resource_options: Option<ResourceOptions>,
    /// State of the resource.
    pub resource: Option<ResourceInfo>,
    /// More of the resource.
    pub resource_statistics: Option<ResourceStatistics>,
    /// Options of the disk.
    pub disk_options: Option<DiskOptions>,
    /// 9: options of the device.
    pub device_options: Option<Vec<Setting>>,
    /// State of the device.
    pub device: Option<DeviceInfo>,
    /// Counters and UUIDs of the device.
    pub device_statistics: Option<DeviceStatistics>,
    /// Options of the connection.
    pub net_options: Option<NetOptions>,
    /// 9: the connection's paths.
    pub paths: Option<Vec<Path>>,
    /// State of the connection.
    pub connection: Option<ConnectionInfo>,
    /// Counters of the connection.
    pub connection_statistics: Option<ConnectionStatistics>,
    /// 9: options of the peer device.
    pub peer_device_options: Option<Vec<Setting>>,
    /// State of the peer device.
    pub peer_device: Option<PeerDeviceInfo>,
    /// Counters and UUIDs of the peer device.
    pub peer_device_statistics: Option<PeerDeviceStatistics>,
    /// 9: whether the path in the context is in use.
    pub path_established: Option<bool>,
    /// A handler that is called or has ended.
    pub handler: Option<Handler>,
    /// 8.4: everything of a device in one.
    pub state84: Option<State84>,
    /// 9: the resource's new name.
    pub renamed_to: Option<String>,
    /// What the kernel has to say about its answer, for people.
    pub info: Vec<String>,
    /// Attributes that nothing here understands, at most [`Report::MOST_UNREAD`].
    pub unread: Vec<Unread>,
    /// How many more there were.
    pub unread_left_out: u32,
}

impl Report {
    /// How many attributes are kept that nothing here understands.
    pub const MOST_UNREAD: usize = 64;

    /// A message without content.
    #[must_use]
    pub fn empty(generation: Generation, command: u8, sequence: u32) -> Report {
        Report {
            generation,
            command,
            sequence,
            minor: None,
            code: 0,
            context: Context::default(),
            notice: None,
            resource_options: None,
            resource: None,
            resource_statistics: None,
            disk_options: None,
            device_options: None,
            device: None,
            device_statistics: None,
            net_options: None,
            paths: None,
            connection: None,
            connection_statistics: None,
            peer_device_options: None,
            peer_device: None,
            peer_device_statistics: None,
            path_established: None,
            handler: None,
            state84: None,
            renamed_to: None,
            info: Vec::new(),
            unread: Vec::new(),
            unread_left_out: 0,
        }
    }
}
