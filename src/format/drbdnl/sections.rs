//! Each nest to its part of a report.

use super::attribute::{Attribute, Fields};
use super::{array, ne16, ne32};
use crate::model::drbd::GenerationUuid;
use crate::model::drbd_live::Generation;
use crate::model::drbd_live::object::{
    Address, ConnectionInfo, ConnectionStatistics, DeviceInfo, DeviceStatistics, DiskOptions, Handler,
    NetOptions, Packed84, Path, PeerDeviceInfo, PeerDeviceStatistics, ResourceInfo, ResourceOptions,
    ResourceStatistics, Setting, State84, Value,
};
use crate::model::drbd_live::report::{Context, Notice};
use crate::model::drbd_live::words::{MetaIndex, Quorum, Word};
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use drbd_sys::netlink::attribute::{self as nest, Kind};
use drbd_sys::netlink::{generic as sys, options, state, word};
use std::collections::BTreeSet;

fn worded<W: Word>(number: u32, table: &[(u32, &'static str)]) -> W {
    W::of(word(table, number), number)
}

fn field<W: Word>(fields: &Fields<'_>, number: u16, table: &[(u32, &'static str)]) -> Option<W> {
    fields.u32(number).map(|value| worded(value, table))
}

fn disks(generation: Generation) -> &'static [(u32, &'static str)] {
    match generation {
        Generation::V84 => state::DISKS_84,
        Generation::V9 => state::DISKS_9,
    }
}

/// The fields that nobody asked for and that the tables know, by name. Fields of an unexpected size stay unread.
fn rest(fields: &Fields<'_>, number: u16, generation: Generation) -> Vec<Setting> {
    let Some(nest) = nest::nest(number) else { return Vec::new() };
    let mut settings = Vec::new();
    let mut seen = BTreeSet::new();
    let left: Vec<Attribute<'_>> = fields.unread().collect();
    for attribute in left {
        if !seen.insert(attribute.number) {
            continue;
        }
        let Some(known) = nest.field(attribute.number, generation == Generation::V9) else { continue };
        let value = match known.kind {
            Kind::Flag => fields.flag(known.number).map(Value::Flag),
            Kind::U32 => fields.u32(known.number).map(|number| Value::Number(u64::from(number))),
            Kind::S32 => fields
                .s32(known.number)
                .map(|number| u64::try_from(number).map_or(Value::Signed(i64::from(number)), Value::Number)),
            Kind::U64 => fields.u64(known.number).map(Value::Number),
            Kind::Text => fields.text(known.number).map(Value::Text),
            Kind::Bytes => fields.bytes(known.number).map(|bytes| Value::Bytes(bytes.to_vec())),
        };
        if let Some(value) = value {
            settings.push(Setting { name: known.name.to_owned(), value });
        }
    }
    settings
}

/// A nest as a list of named values.
pub(super) fn settings(fields: &Fields<'_>, number: u16, generation: Generation) -> Vec<Setting> {
    rest(fields, number, generation)
}

fn address(bytes: &[u8]) -> Address {
    let port = || array::<2>(bytes, 2).map(u16::from_be_bytes);
    let read = || match ne16(bytes, 0)? {
        sys::AF_INET => Some(SocketAddr::from((Ipv4Addr::from(array::<4>(bytes, 4)?), port()?))),
        sys::AF_INET6 => {
            let (flow, scope) = (array::<4>(bytes, 4).map(u32::from_be_bytes)?, ne32(bytes, 24)?);
            Some(SocketAddr::V6(SocketAddrV6::new(
                Ipv6Addr::from(array::<16>(bytes, 8)?),
                port()?,
                flow,
                scope,
            )))
        }
        _ => None,
    };
    read().map_or_else(|| Address::Raw(bytes.to_vec()), Address::Ip)
}

pub(super) fn context(fields: &Fields<'_>) -> Context {
    use nest::cfg_context as n;
    Context {
        resource: fields.text(n::RESOURCE_NAME),
        volume: fields.u32(n::VOLUME),
        peer_node_id: fields.u32(n::PEER_NODE_ID),
        connection_name: fields.text(n::CONN_NAME),
        local: fields.bytes(n::MY_ADDR).map(address),
        peer: fields.bytes(n::PEER_ADDR).map(address),
    }
}

fn quorum(number: i32) -> Quorum {
    match number {
        options::QUORUM_OFF => Quorum::Off,
        options::QUORUM_MAJORITY => Quorum::Majority,
        options::QUORUM_ALL => Quorum::All,
        1..=options::QUORUM_MOST => u8::try_from(number).map_or(Quorum::Other(number), Quorum::AtLeast),
        _ => Quorum::Other(number),
    }
}

pub(super) fn resource_options(fields: &Fields<'_>, generation: Generation) -> ResourceOptions {
    use nest::resource_opts as n;
    ResourceOptions {
        node_id: fields.u32(n::NODE_ID),
        on_no_data: field(fields, n::ON_NO_DATA, options::ON_NO_DATA),
        auto_promote: fields.flag(n::AUTO_PROMOTE),
        quorum: fields.s32(n::QUORUM).map(quorum),
        quorum_minimum_redundancy: fields.s32(n::QUORUM_MIN_REDUNDANCY).map(quorum),
        on_no_quorum: field(fields, n::ON_NO_QUORUM, options::ON_NO_DATA),
        on_suspended_outdated: field(fields, n::ON_SUSP_PRIMARY_OUTDATED, options::ON_SUSPENDED_OUTDATED),
        others: rest(fields, n::NEST, generation),
    }
}

fn meta_index(number: i32) -> MetaIndex {
    match number {
        options::META_INTERNAL | options::META_FLEXIBLE_INTERNAL => MetaIndex::Internal,
        options::META_FLEXIBLE_EXTERNAL => MetaIndex::FlexibleExternal,
        slot => u32::try_from(slot).map_or(MetaIndex::Other(number), MetaIndex::Slot),
    }
}

pub(super) fn disk_options(fields: &Fields<'_>, generation: Generation) -> DiskOptions {
    use nest::disk_conf as n;
    DiskOptions {
        backing_device: fields.text(n::BACKING_DEV),
        meta_device: fields.text(n::META_DEV),
        meta_index: fields.s32(n::META_DEV_IDX).map(meta_index),
        size: fields.u64(n::DISK_SIZE),
        on_io_error: field(fields, n::ON_IO_ERROR, options::ON_IO_ERROR),
        fencing: field(fields, n::FENCING, options::FENCING),
        al_extents: fields.u32(n::AL_EXTENTS),
        al_updates: fields.flag(n::AL_UPDATES),
        read_balancing: field(fields, n::READ_BALANCING, options::READ_BALANCING),
        others: rest(fields, n::NEST, generation),
    }
}

pub(super) fn net_options(fields: &Fields<'_>, generation: Generation) -> NetOptions {
    use nest::net_conf as n;
    // The secret itself goes nowhere: reading it here is what keeps it out of the unread rest.
    let has_secret = fields.bytes(n::SHARED_SECRET).map(|secret| secret.iter().any(|byte| *byte != 0));
    NetOptions {
        protocol: field(fields, n::WIRE_PROTOCOL, options::PROTOCOLS),
        after_sb_0pri: field(fields, n::AFTER_SB_0P, options::AFTER_SPLIT_BRAIN),
        after_sb_1pri: field(fields, n::AFTER_SB_1P, options::AFTER_SPLIT_BRAIN),
        after_sb_2pri: field(fields, n::AFTER_SB_2P, options::AFTER_SPLIT_BRAIN),
        rr_conflict: field(fields, n::RR_CONFLICT, options::RESYNC_CONFLICT),
        on_congestion: field(fields, n::ON_CONGESTION, options::ON_CONGESTION),
        allow_two_primaries: fields.flag(n::TWO_PRIMARIES),
        always_asbp: fields.flag(n::ALWAYS_ASBP),
        fencing: field(fields, n::FENCING_POLICY, options::FENCING),
        discard_my_data: fields.flag(n::DISCARD_MY_DATA),
        name: fields.text(n::NAME),
        has_secret,
        others: rest(fields, n::NEST, generation),
    }
}

fn uuid(number: u64) -> GenerationUuid {
    GenerationUuid(number)
}

fn uuids(numbers: Vec<u64>) -> Vec<GenerationUuid> {
    numbers.into_iter().map(GenerationUuid).collect()
}

fn part(number: u32, (shift, width): (u32, u32)) -> u32 {
    number.checked_shr(shift).unwrap_or_default() & 1u32.checked_shl(width).map_or(u32::MAX, |bit| bit - 1)
}

/// Takes 8.4's packed state apart.
#[must_use]
pub(super) fn packed84(number: u32) -> Packed84 {
    use state::packed as p;
    let disk = |at| worded(part(number, at), state::DISKS_84);
    let role = |at| worded(part(number, at), state::ROLES);
    let yes = |at| part(number, at) != 0;
    let connection = part(number, p::CONNECTION);
    Packed84 {
        role: role(p::ROLE),
        peer_role: role(p::PEER),
        connection: worded(connection.min(state::CONNECTED), state::CONNECTIONS),
        replication: worded(connection.max(state::CONNECTED), state::REPLICATIONS),
        disk: disk(p::DISK),
        peer_disk: disk(p::PEER_DISK),
        suspended_user: yes(p::SUSPENDED),
        suspended_no_data: yes(p::SUSPENDED_NO_DATA),
        suspended_fencing: yes(p::SUSPENDED_FENCING),
        paused_dependency: yes(p::PAUSED_DEPENDENCY),
        paused_peer: yes(p::PAUSED_PEER),
        paused_user: yes(p::PAUSED_USER),
        raw: number,
    }
}

pub(super) fn state84(fields: &Fields<'_>, generation: Generation) -> State84 {
    use nest::state_info as n;
    let packed = |number| fields.u32(number).map(packed84);
    State84 {
        reason: field(fields, n::SIB_REASON, state::REASONS_84),
        now: packed(n::CURRENT_STATE),
        before: packed(n::PREV_STATE),
        after: packed(n::NEW_STATE),
        capacity: fields.u64(n::CAPACITY),
        exposed: fields.u64(n::ED_UUID).map(uuid),
        uuids: fields.u64s(n::UUIDS).map(uuids),
        flags: fields.u32(n::DISK_FLAGS),
        bits_total: fields.u64(n::BITS_TOTAL),
        bits_out_of_sync: fields.u64(n::BITS_OOS),
        handler: fields.text(n::HELPER),
        handler_exit_code: fields.u32(n::HELPER_EXIT_CODE),
        others: rest(fields, n::NEST, generation),
    }
}

pub(super) fn resource(fields: &Fields<'_>) -> ResourceInfo {
    use nest::resource_info as n;
    ResourceInfo {
        role: field(fields, n::ROLE, state::ROLES),
        suspended_user: fields.flag(n::SUSP),
        suspended_no_data: fields.flag(n::SUSP_NOD),
        suspended_fencing: fields.flag(n::SUSP_FEN),
        suspended_quorum: fields.flag(n::SUSP_QUORUM),
        fail_io: fields.flag(n::FAIL_IO),
    }
}

pub(super) fn resource_statistics(fields: &Fields<'_>) -> ResourceStatistics {
    ResourceStatistics {
        write_ordering: field(fields, nest::resource_statistics::WRITE_ORDERING, state::WRITE_ORDERINGS),
    }
}

pub(super) fn device(fields: &Fields<'_>, generation: Generation) -> DeviceInfo {
    use nest::device_info as n;
    DeviceInfo {
        disk: field(fields, n::DISK_STATE, disks(generation)),
        client: fields.flag(n::IS_INTENTIONAL_DISKLESS),
        quorum: fields.flag(n::HAS_QUORUM),
        backing_device: fields.text(n::BACKING_DEV_PATH),
        open: fields.flag(n::IS_OPEN),
    }
}

pub(super) fn device_statistics(fields: &Fields<'_>) -> DeviceStatistics {
    use nest::device_statistics as n;
    DeviceStatistics {
        size: fields.u64(n::SIZE),
        read: fields.u64(n::READ),
        written: fields.u64(n::WRITE),
        al_writes: fields.u64(n::AL_WRITES),
        bm_writes: fields.u64(n::BM_WRITES),
        upper_pending: fields.u32(n::UPPER_PENDING),
        lower_pending: fields.u32(n::LOWER_PENDING),
        upper_blocked: fields.flag(n::UPPER_BLOCKED),
        lower_blocked: fields.flag(n::LOWER_BLOCKED),
        al_suspended: fields.flag(n::AL_SUSPENDED),
        exposed: fields.u64(n::EXPOSED_DATA_UUID).map(uuid),
        current: fields.u64(n::CURRENT_UUID).map(uuid),
        flags: fields.u32(n::DISK_FLAGS),
        history: fields.u64s(n::HISTORY_UUIDS).map(uuids),
    }
}

pub(super) fn connection(fields: &Fields<'_>) -> ConnectionInfo {
    use nest::connection_info as n;
    ConnectionInfo {
        state: field(fields, n::CONNECTION_STATE, state::CONNECTIONS),
        peer_role: field(fields, n::ROLE, state::ROLES),
    }
}

pub(super) fn connection_statistics(fields: &Fields<'_>) -> ConnectionStatistics {
    use nest::connection_statistics as n;
    ConnectionStatistics {
        congested: fields.flag(n::CONGESTED),
        ap_in_flight: fields.u64(n::AP_IN_FLIGHT),
        rs_in_flight: fields.u64(n::RS_IN_FLIGHT),
    }
}

pub(super) fn peer_device(fields: &Fields<'_>, generation: Generation) -> PeerDeviceInfo {
    use nest::peer_device_info as n;
    PeerDeviceInfo {
        replication: field(fields, n::REPL_STATE, state::REPLICATIONS),
        disk: field(fields, n::DISK_STATE, disks(generation)),
        paused_user: fields.yes(n::RESYNC_SUSP_USER),
        paused_peer: fields.yes(n::RESYNC_SUSP_PEER),
        paused_dependency: fields.yes(n::RESYNC_SUSP_DEPENDENCY),
        client: fields.flag(n::IS_INTENTIONAL_DISKLESS),
        paused_parallel: fields.yes(n::RESYNC_SUSP_MAX_PARALLEL),
    }
}

pub(super) fn peer_device_statistics(fields: &Fields<'_>, generation: Generation) -> PeerDeviceStatistics {
    use nest::peer_device_statistics as n;
    PeerDeviceStatistics {
        received: fields.u64(n::RECEIVED),
        sent: fields.u64(n::SENT),
        pending: fields.u32(n::PENDING),
        unacked: fields.u32(n::UNACKED),
        out_of_sync: fields.u64(n::OUT_OF_SYNC),
        resync_failed: fields.u64(n::RESYNC_FAILED),
        bitmap: fields.u64(n::BITMAP_UUID).map(uuid),
        flags: fields.u32(n::FLAGS),
        uuid_flags: fields.u64(n::UUID_FLAGS),
        others: rest(fields, n::NEST, generation),
    }
}

pub(super) fn notice(fields: &Fields<'_>) -> Option<Notice> {
    let number = fields.u32(nest::notification_header::NH_TYPE)?;
    let kind = worded(number & !state::CONTINUES, state::NOTICES);
    Some(Notice { kind, continues: number & state::CONTINUES != 0 })
}

pub(super) fn handler(fields: &Fields<'_>) -> Handler {
    Handler { name: fields.text(nest::helper::HELPER_NAME), status: fields.u32(nest::helper::HELPER_STATUS) }
}

/// All paths of a connection stand in one nest, the two ends of each after each other.
pub(super) fn paths(fields: &Fields<'_>) -> Vec<Path> {
    use nest::path_parms as n;
    let mut paths: Vec<Path> = Vec::new();
    for end in fields.all() {
        let local = end.number == n::MY_ADDR;
        if !local && end.number != n::PEER_ADDR {
            continue;
        }
        let taken = |path: &Path| if local { path.local.is_some() } else { path.peer.is_some() };
        if paths.last().is_none_or(taken) {
            paths.push(Path::default());
        }
        if let Some(path) = paths.last_mut() {
            *(if local { &mut path.local } else { &mut path.peer }) = Some(address(end.bytes));
        }
    }
    // Both are read now.
    let _ = (fields.bytes(n::MY_ADDR), fields.bytes(n::PEER_ADDR));
    paths
}
