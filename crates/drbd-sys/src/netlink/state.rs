//! States, as numbers and as DRBD's tools spell them. The two generations number disks differently and name two of the
//! connection states differently.

use super::Word;

/// Roles, of both generations.
pub const ROLES: &[Word] = &[(0, "Unknown"), (1, "Primary"), (2, "Secondary")];

/// Disk states of DRBD 8.4.
pub const DISKS_84: &[Word] = &[
    (0, "Diskless"),
    (1, "Attaching"),
    (2, "Failed"),
    (3, "Negotiating"),
    (4, "Inconsistent"),
    (5, "Outdated"),
    (6, "DUnknown"),
    (7, "Consistent"),
    (8, "UpToDate"),
];

/// Disk states of DRBD 9, which put "Detaching" in.
pub const DISKS_9: &[Word] = &[
    (0, "Diskless"),
    (1, "Attaching"),
    (2, "Detaching"),
    (3, "Failed"),
    (4, "Negotiating"),
    (5, "Inconsistent"),
    (6, "Outdated"),
    (7, "DUnknown"),
    (8, "Consistent"),
    (9, "UpToDate"),
];

/// Connection states, in the words of DRBD 9. 8.4's kernel calls 8 "WFConnection" and 9 "WFReportParams"; its
/// `CONNECTION_INFO` never goes beyond 9.
pub const CONNECTIONS: &[Word] = &[
    (0, "StandAlone"),
    (1, "Disconnecting"),
    (2, "Unconnected"),
    (3, "Timeout"),
    (4, "BrokenPipe"),
    (5, "NetworkFailure"),
    (6, "ProtocolError"),
    (7, "TearDown"),
    (8, "Connecting"),
    (9, "Connected"),
];

/// Replication states. 8.4 has them as the upper part of its connection states: its "Connected" is 10, "Established".
pub const REPLICATIONS: &[Word] = &[
    (9, "Off"),
    (10, "Established"),
    (11, "StartingSyncS"),
    (12, "StartingSyncT"),
    (13, "WFBitMapS"),
    (14, "WFBitMapT"),
    (15, "WFSyncUUID"),
    (16, "SyncSource"),
    (17, "SyncTarget"),
    (18, "VerifyS"),
    (19, "VerifyT"),
    (20, "PausedSyncS"),
    (21, "PausedSyncT"),
    (22, "Ahead"),
    (23, "Behind"),
];

/// The connection states as 8.4's kernel and `/proc/drbd` name them: one row for connection and replication.
pub const CONNECTIONS_84: &[Word] = &[
    (0, "StandAlone"),
    (1, "Disconnecting"),
    (2, "Unconnected"),
    (3, "Timeout"),
    (4, "BrokenPipe"),
    (5, "NetworkFailure"),
    (6, "ProtocolError"),
    (7, "TearDown"),
    (8, "WFConnection"),
    (9, "WFReportParams"),
    (10, "Connected"),
    (11, "StartingSyncS"),
    (12, "StartingSyncT"),
    (13, "WFBitMapS"),
    (14, "WFBitMapT"),
    (15, "WFSyncUUID"),
    (16, "SyncSource"),
    (17, "SyncTarget"),
    (18, "VerifyS"),
    (19, "VerifyT"),
    (20, "PausedSyncS"),
    (21, "PausedSyncT"),
    (22, "Ahead"),
    (23, "Behind"),
];

/// Where connection states end and replication states begin, in 8.4's row.
pub const CONNECTED: u32 = 9;

/// How writes are kept in order.
pub const WRITE_ORDERINGS: &[Word] = &[(0, "none"), (1, "drain"), (2, "flush"), (3, "barrier")];

/// Kinds of notification, without [`CONTINUES`].
pub const NOTICES: &[Word] = &[
    (0, "exists"),
    (1, "create"),
    (2, "change"),
    (3, "destroy"),
    (4, "call"),
    (5, "response"),
    (6, "rename"),
];
/// Bit of a notification's kind: more messages of the same event follow.
pub const CONTINUES: u32 = 0x8000;

/// Why 8.4 sent an `EVENT` (`STATE_INFO.sib_reason`).
pub const REASONS_84: &[Word] = &[
    (1, "get-status-reply"),
    (2, "state-change"),
    (3, "helper-pre"),
    (4, "helper-post"),
    (5, "sync-progress"),
];

/// 8.4's packed state (`STATE_INFO.current_state`): shift and width in bits of each part.
pub mod packed {
    /// This node's role.
    pub const ROLE: (u32, u32) = (0, 2);
    /// The peer's role.
    pub const PEER: (u32, u32) = (2, 2);
    /// Connection state, [`super::CONNECTIONS_84`].
    pub const CONNECTION: (u32, u32) = (4, 5);
    /// This node's disk, [`super::DISKS_84`].
    pub const DISK: (u32, u32) = (9, 4);
    /// The peer's disk, [`super::DISKS_84`].
    pub const PEER_DISK: (u32, u32) = (13, 4);
    /// I/O suspended by the admin.
    pub const SUSPENDED: (u32, u32) = (17, 1);
    /// Resync waits for another device.
    pub const PAUSED_DEPENDENCY: (u32, u32) = (18, 1);
    /// Resync paused by the peer.
    pub const PAUSED_PEER: (u32, u32) = (19, 1);
    /// Resync paused by the admin.
    pub const PAUSED_USER: (u32, u32) = (20, 1);
    /// I/O suspended for lack of data.
    pub const SUSPENDED_NO_DATA: (u32, u32) = (21, 1);
    /// I/O suspended while the peer is fenced.
    pub const SUSPENDED_FENCING: (u32, u32) = (22, 1);
}

/// Indexes into `STATE_INFO.uuids`: current, bitmap, two of history, of u64 each.
pub const UUIDS_84: usize = 4;

/// `peer_dev_uuid_flags` of `PEER_DEVICE_STATISTICS`: what the peer said of itself, by bit.
pub mod uuid_flag {
    /// Connects with `--discard-my-data`.
    pub const DISCARD_MY_DATA: u64 = 1;
    /// Went down as Primary.
    pub const CRASHED_PRIMARY: u64 = 1 << 1;
    /// Its disk is Inconsistent.
    pub const INCONSISTENT: u64 = 1 << 2;
    /// The first sync shall be skipped.
    pub const SKIP_INITIAL_SYNC: u64 = 1 << 3;
    /// A new current UUID.
    pub const NEW_DATAGEN: u64 = 1 << 4;
    /// Its data is stable: it is not the target of a resync.
    pub const STABLE: u64 = 1 << 5;
    /// Just became stable.
    pub const GOT_STABLE: u64 = 1 << 6;
    /// UUIDs shall be compared, and a resync begun if need be.
    pub const RESYNC: u64 = 1 << 7;
    /// Connected before.
    pub const RECONNECT: u64 = 1 << 8;
    /// With [`RESYNC`]: because of a diskless Primary.
    pub const DISKLESS_PRIMARY: u64 = 1 << 9;
    /// Was Primary when it lost quorum.
    pub const PRIMARY_LOST_QUORUM: u64 = 1 << 10;
    /// Is the target of a resync from somebody.
    pub const SYNC_TARGET: u64 = 1 << 11;
    /// The highest byte says which bitmap UUID stands for nodes without a bitmap.
    pub const HAS_UNALLOC: u64 = 1 << 12;
}
