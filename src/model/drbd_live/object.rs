//! The objects of a running DRBD, each as far as the kernel told. Sizes are in sectors of 512 bytes, as DRBD sends them, unless the name says otherwise.

use super::words::{
    AfterSplitBrain, ConnectionState, DiskState, Fencing, MetaIndex, OnCongestion, OnIoError, OnNoData,
    OnSuspendedOutdated, Protocol, Quorum, ReadBalancing, ReplicationState, ResyncConflict, Role,
    WriteOrdering,
};
use crate::model::drbd::GenerationUuid;
use serde::{Deserialize, Serialize};
// Addresses are plain data; sockets, the outside, are in `std` only.
use core::net::SocketAddr;

/// An end of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Address {
    /// IPv4 or IPv6.
    Ip(SocketAddr),
    /// Another family (SuperSockets, SDP), as the raw bytes of its `sockaddr`.
    Raw(Vec<u8>),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Ip(SocketAddr::V4(address)) => write!(f, "ipv4:{address}"),
            Address::Ip(SocketAddr::V6(address)) => write!(f, "ipv6:{address}"),
            Address::Raw(bytes) => bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
        }
    }
}

/// An option's value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// A flag.
    Flag(bool),
    /// A number.
    Number(u64),
    /// A number below zero.
    Signed(i64),
    /// A text.
    Text(String),
    /// Raw bytes.
    Bytes(Vec<u8>),
}

/// An option that has no field of its own, under the name that DRBD's structures give it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Its name, such as `ping_timeo`.
    pub name: String,
    /// Its value, in DRBD's units.
    pub value: Value,
}

/// State of a resource on this node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceInfo {
    /// This node's role.
    pub role: Option<Role>,
    /// I/O suspended by the admin.
    pub suspended_user: Option<bool>,
    /// I/O suspended for lack of data.
    pub suspended_no_data: Option<bool>,
    /// I/O suspended while a peer is fenced.
    pub suspended_fencing: Option<bool>,
    /// 9: I/O suspended for lack of quorum.
    pub suspended_quorum: Option<bool>,
    /// 9: I/O is made to fail.
    pub fail_io: Option<bool>,
}

/// Options of a resource.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceOptions {
    /// 9: this node's id.
    pub node_id: Option<u32>,
    /// `on-no-data-accessible`.
    pub on_no_data: Option<OnNoData>,
    /// 9: `auto-promote`.
    pub auto_promote: Option<bool>,
    /// 9: `quorum`.
    pub quorum: Option<Quorum>,
    /// 9: `quorum-minimum-redundancy`.
    pub quorum_minimum_redundancy: Option<Quorum>,
    /// 9: `on-no-quorum`.
    pub on_no_quorum: Option<OnNoData>,
    /// 9: `on-suspended-primary-outdated`.
    pub on_suspended_outdated: Option<OnSuspendedOutdated>,
    /// The rest.
    pub others: Vec<Setting>,
}

/// State of a device (a volume on this node).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceInfo {
    /// State of this node's disk.
    pub disk: Option<DiskState>,
    /// 9: diskless on purpose.
    pub client: Option<bool>,
    /// 9: has quorum; also true when quorum is off.
    pub quorum: Option<bool>,
    /// 9: the backing device's path.
    pub backing_device: Option<String>,
    /// 9: somebody holds the device open.
    pub open: Option<bool>,
}

/// Counters and UUIDs of a device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceStatistics {
    /// Size of the replicated data.
    pub size: Option<u64>,
    /// Sectors read.
    pub read: Option<u64>,
    /// Sectors written.
    pub written: Option<u64>,
    /// Writes of the activity log.
    pub al_writes: Option<u64>,
    /// Writes of the bitmap.
    pub bm_writes: Option<u64>,
    /// Requests of applications in progress.
    pub upper_pending: Option<u32>,
    /// Requests to the backing device in progress.
    pub lower_pending: Option<u32>,
    /// Requests of applications wait.
    pub upper_blocked: Option<bool>,
    /// The backing device is congested.
    pub lower_blocked: Option<bool>,
    /// Activity log updates are off.
    pub al_suspended: Option<bool>,
    /// The generation that applications have seen.
    pub exposed: Option<GenerationUuid>,
    /// The current generation.
    pub current: Option<GenerationUuid>,
    /// `MDF_*`, see [`crate::model::drbd::device_flag`].
    pub flags: Option<u32>,
    /// Past generations, newest first, unset ones included. 8.4.11 sends four entries, 9.3.3 thirty-two.
    pub history: Option<Vec<GenerationUuid>>,
}

/// Options of a device's disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskOptions {
    /// Path of the backing device.
    pub backing_device: Option<String>,
    /// Path of the device that holds the metadata.
    pub meta_device: Option<String>,
    /// Where on it.
    pub meta_index: Option<MetaIndex>,
    /// `size`; 0 = as large as the device.
    pub size: Option<u64>,
    /// `on-io-error`.
    pub on_io_error: Option<OnIoError>,
    /// 8.4: `fencing`; 9 has it in [`NetOptions`].
    pub fencing: Option<Fencing>,
    /// `al-extents`.
    pub al_extents: Option<u32>,
    /// `al-updates`.
    pub al_updates: Option<bool>,
    /// `read-balancing`.
    pub read_balancing: Option<ReadBalancing>,
    /// The rest.
    pub others: Vec<Setting>,
}

/// State of a connection.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionInfo {
    /// The connection's state.
    pub state: Option<ConnectionState>,
    /// The peer's role.
    pub peer_role: Option<Role>,
}

/// Counters of a connection.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionStatistics {
    /// The network is congested.
    pub congested: Option<bool>,
    /// 9: sectors of applications on their way.
    pub ap_in_flight: Option<u64>,
    /// 9: sectors of resyncs on their way.
    pub rs_in_flight: Option<u64>,
}

/// Options of a connection. The shared secret is dropped when it is read; only that there is one is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetOptions {
    /// `protocol`.
    pub protocol: Option<Protocol>,
    /// `after-sb-0pri`.
    pub after_sb_0pri: Option<AfterSplitBrain>,
    /// `after-sb-1pri`.
    pub after_sb_1pri: Option<AfterSplitBrain>,
    /// `after-sb-2pri`.
    pub after_sb_2pri: Option<AfterSplitBrain>,
    /// `rr-conflict`.
    pub rr_conflict: Option<ResyncConflict>,
    /// `on-congestion`.
    pub on_congestion: Option<OnCongestion>,
    /// `allow-two-primaries`.
    pub allow_two_primaries: Option<bool>,
    /// `always-asbp`.
    pub always_asbp: Option<bool>,
    /// 9: `fencing`; 8.4 has it in [`DiskOptions`].
    pub fencing: Option<Fencing>,
    /// 8.4: this connection was told to discard this node's data.
    pub discard_my_data: Option<bool>,
    /// 9: the peer's name.
    pub name: Option<String>,
    /// Whether a shared secret was sent that is not empty. The kernel withholds it from readers without privileges.
    pub has_secret: Option<bool>,
    /// The rest.
    pub others: Vec<Setting>,
}

/// A path of a connection.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Path {
    /// This node's end.
    pub local: Option<Address>,
    /// The peer's end.
    pub peer: Option<Address>,
    /// 9: in use.
    pub established: Option<bool>,
}

/// State of a peer device (a volume toward one peer).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerDeviceInfo {
    /// What goes on.
    pub replication: Option<ReplicationState>,
    /// State of the peer's disk, as known here.
    pub disk: Option<DiskState>,
    /// Resync paused by the admin.
    pub paused_user: Option<bool>,
    /// Resync paused by the peer.
    pub paused_peer: Option<bool>,
    /// Resync waits for another device.
    pub paused_dependency: Option<bool>,
    /// 9: the peer is diskless on purpose.
    pub client: Option<bool>,
    /// 9.3: resync waits because enough others run.
    pub paused_parallel: Option<bool>,
}

/// Counters and UUIDs of a peer device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerDeviceStatistics {
    /// Sectors received.
    pub received: Option<u64>,
    /// Sectors sent.
    pub sent: Option<u64>,
    /// Requests that the peer has not answered.
    pub pending: Option<u32>,
    /// Requests of the peer that are not answered.
    pub unacked: Option<u32>,
    /// Sectors marked as out of sync with this peer.
    pub out_of_sync: Option<u64>,
    /// Sectors that a resync could not copy.
    pub resync_failed: Option<u64>,
    /// The generation since which this node's bitmap collects for the peer.
    pub bitmap: Option<GenerationUuid>,
    /// 9: `MDF_PEER_*`, see [`crate::model::drbd::peer_flag`]. Bit 31 says in the kernel only that the peer has a bitmap. 8.4 sends 0.
    pub flags: Option<u32>,
    /// 9: what the peer said of itself when it last sent its UUIDs, see [`drbd_sys::netlink::state::uuid_flag`].
    pub uuid_flags: Option<u64>,
    /// 9: progress of resync and verify, by the names of DRBD's structures.
    pub others: Vec<Setting>,
}

/// 8.4's state in one message, for devices of modules too old to have the objects above, and with every `EVENT`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State84 {
    /// Why it was sent.
    pub reason: Option<super::words::Reason84>,
    /// State when it was sent.
    pub now: Option<Packed84>,
    /// For a change of state: before.
    pub before: Option<Packed84>,
    /// For a change of state: after it; more may have changed since.
    pub after: Option<Packed84>,
    /// Size of the replicated data, in sectors.
    pub capacity: Option<u64>,
    /// The generation that applications have seen.
    pub exposed: Option<GenerationUuid>,
    /// With a disk: current, bitmap and two of history.
    pub uuids: Option<Vec<GenerationUuid>>,
    /// With a disk: `MDF_*`.
    pub flags: Option<u32>,
    /// With a disk: number of blocks of 4 KiB.
    pub bits_total: Option<u64>,
    /// With a disk: how many of them are marked.
    pub bits_out_of_sync: Option<u64>,
    /// A handler that is called or has ended.
    pub handler: Option<String>,
    /// What it ended with.
    pub handler_exit_code: Option<u32>,
    /// Counters, by the names of DRBD's structures.
    pub others: Vec<Setting>,
}

/// 8.4's packed state, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packed84 {
    /// This node's role.
    pub role: Role,
    /// The peer's role.
    pub peer_role: Role,
    /// State of the connection.
    pub connection: ConnectionState,
    /// What goes on over it.
    pub replication: ReplicationState,
    /// State of this node's disk.
    pub disk: DiskState,
    /// State of the peer's disk.
    pub peer_disk: DiskState,
    /// I/O suspended by the admin.
    pub suspended_user: bool,
    /// I/O suspended for lack of data.
    pub suspended_no_data: bool,
    /// I/O suspended while the peer is fenced.
    pub suspended_fencing: bool,
    /// Resync waits for another device.
    pub paused_dependency: bool,
    /// Resync paused by the peer.
    pub paused_peer: bool,
    /// Resync paused by the admin.
    pub paused_user: bool,
    /// The word as sent, with bits that no table knows.
    pub raw: u32,
}

/// A handler that the kernel calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handler {
    /// Its name, such as `initial-split-brain`.
    pub name: Option<String>,
    /// What it ended with, as the kernel sends it.
    pub status: Option<u32>,
}

/// State of a resource as a whole, beside [`ResourceInfo`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceStatistics {
    /// How writes are kept in order.
    pub write_ordering: Option<WriteOrdering>,
}
