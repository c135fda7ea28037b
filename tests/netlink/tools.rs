//! What the decoders say equals what DRBD's own tools printed of the same moment.

use crate::fake::Fake;
use crate::{NODES, Node};
use drbd_sys::netlink::command;
use serde_json::{Value, json};
use unsplit::edge::drbd::netlink::reader::{Limits, Reader};
use unsplit::model::drbd::{device_flag, peer_flag};
use unsplit::model::drbd_live::Generation;
use unsplit::model::drbd_live::object::{DeviceStatistics, NetOptions};
use unsplit::model::drbd_live::report::Report;
use unsplit::model::drbd_live::tree::{Live, PeerDevice, Resource};
use unsplit::model::drbd_live::words::{
    AfterSplitBrain, ConnectionState, Fencing, MetaIndex, OnIoError, OnNoData, Protocol, Quorum,
    ResyncConflict, Role,
};

/// A node's state, read as from a kernel.
pub fn live(node: Node) -> Live {
    Reader::new(Fake::honest(Some(node)), Limits::default()).snapshot().unwrap()
}

fn only<T>(list: &[T]) -> &T {
    assert_eq!(list.len(), 1);
    &list[0]
}

/// DRBD's tools print KiB.
fn kib(sectors: Option<u64>) -> u64 {
    sectors.unwrap() / 2
}

fn paused(device: &PeerDevice) -> String {
    let info = &device.info;
    let parts =
        [(info.paused_user, "user"), (info.paused_peer, "peer"), (info.paused_dependency, "dependency")];
    let said: Vec<&str> = parts.iter().filter(|(yes, _)| yes.unwrap()).map(|(_, word)| *word).collect();
    if said.is_empty() { "no".to_owned() } else { said.join(",") }
}

/// `drbdsetup status --json` of DRBD 9.
fn status_json(resource: &Resource) -> Value {
    let info = &resource.info;
    let devices: Vec<Value> = resource
        .devices
        .iter()
        .map(|device| {
            let count = &device.statistics;
            json!({
                "volume": device.volume, "minor": device.minor, "disk-state": device.info.disk, "client": device.info.client,
                "quorum": device.info.quorum, "size": kib(count.size), "read": kib(count.read),
                "written": kib(count.written), "al-writes": count.al_writes, "bm-writes": count.bm_writes,
                "upper-pending": count.upper_pending, "lower-pending": count.lower_pending,
            })
        })
        .collect();
    let total = resource.devices[0].statistics.size.unwrap();
    let connections: Vec<Value> = resource
        .connections
        .iter()
        .map(|connection| {
            let peers: Vec<Value> = connection
                .peer_devices
                .iter()
                .map(|device| {
                    let count = &device.statistics;
                    let in_sync = 100.0 * (total - count.out_of_sync.unwrap()) as f64 / total as f64;
                    json!({
                        "volume": device.volume, "replication-state": device.info.replication,
                        "peer-disk-state": device.info.disk, "peer-client": device.info.client,
                        "resync-suspended": paused(device), "received": kib(count.received), "sent": kib(count.sent),
                        "out-of-sync": kib(count.out_of_sync), "pending": count.pending, "unacked": count.unacked,
                        // Nothing is synchronised or verified in these captures.
                        "has-sync-details": false, "has-online-verify-details": false,
                        "percent-in-sync": (in_sync * 100.0).round() / 100.0,
                    })
                })
                .collect();
            let count = &connection.statistics;
            json!({
                "peer-node-id": connection.peer_node_id, "name": connection.name,
                "connection-state": connection.info.state, "congested": count.congested,
                "peer-role": connection.info.peer_role, "ap-in-flight": kib(count.ap_in_flight),
                "rs-in-flight": kib(count.rs_in_flight), "peer_devices": peers,
            })
        })
        .collect();
    let suspended =
        [info.suspended_user, info.suspended_no_data, info.suspended_fencing, info.suspended_quorum];
    json!({
        "name": resource.name, "node-id": resource.options.as_ref().unwrap().node_id, "role": info.role,
        "suspended": suspended.contains(&Some(true)), "suspended-user": info.suspended_user,
        "suspended-no-data": info.suspended_no_data, "suspended-fencing": info.suspended_fencing,
        "suspended-quorum": info.suspended_quorum, "force-io-failures": info.fail_io,
        "write-ordering": resource.statistics.write_ordering, "devices": devices, "connections": connections,
    })
}

#[test]
fn status_json_is_the_same() {
    for node in &NODES[2..] {
        let printed: Value = serde_json::from_str(&node.text("status.json")).unwrap();
        let live = live(*node);
        let ours: Vec<Value> = live.resources.iter().map(status_json).collect();
        assert_eq!(Value::from(ours), printed, "{node:?}");
    }
}

/// Every `key:value` of `drbdsetup status --verbose --statistics`.
#[test]
fn status_text_is_the_same() {
    for node in &NODES[2..] {
        let live = live(*node);
        let resource = only(&live.resources);
        let (device, connection) = (only(&resource.devices), only(&resource.connections));
        let peer = only(&connection.peer_devices);
        let mut said = Vec::new();
        for word in node.text("status.txt").split_whitespace() {
            let Some((key, value)) = word.split_once(':') else {
                assert!(word == resource.name || Some(word) == connection.name.as_deref(), "{word}");
                continue;
            };
            said.push(key.to_owned());
            let first = said.iter().filter(|known| *known == key).count() == 1;
            let ours = match key {
                "node-id" if first => resource.options.as_ref().unwrap().node_id.unwrap().to_string(),
                "node-id" => connection.peer_node_id.unwrap().to_string(),
                "role" if first => resource.info.role.unwrap().to_string(),
                "role" => connection.info.peer_role.unwrap().to_string(),
                "write-ordering" => resource.statistics.write_ordering.unwrap().to_string(),
                "suspended" => yes(Some(suspended(resource))),
                "force-io-failures" => yes(resource.info.fail_io),
                "volume" if first => device.volume.to_string(),
                "volume" => peer.volume.to_string(),
                "quorum" => yes(device.info.quorum),
                "backing_dev" => device.info.backing_device.clone().unwrap(),
                "disk" => device.info.disk.unwrap().to_string(),
                "minor" => device.minor.unwrap().to_string(),
                "connection" => connection.info.state.unwrap().to_string(),
                "congested" => yes(connection.statistics.congested),
                "ap-in-flight" => kib(connection.statistics.ap_in_flight).to_string(),
                "rs-in-flight" => kib(connection.statistics.rs_in_flight).to_string(),
                "replication" => peer.info.replication.unwrap().to_string(),
                "peer-disk" => peer.info.disk.unwrap().to_string(),
                "resync-suspended" => paused(peer),
                other => counter(&device.statistics, peer, other).unwrap_or_else(|| panic!("{other}")),
            };
            assert_eq!(ours, value, "{node:?}: {key}");
        }
        assert!(said.len() > 30, "{said:?}");
    }
}

fn yes(flag: Option<bool>) -> String {
    if flag.unwrap() { "yes" } else { "no" }.to_owned()
}

fn suspended(resource: &Resource) -> bool {
    let info = &resource.info;
    [info.suspended_user, info.suspended_no_data, info.suspended_fencing, info.suspended_quorum]
        .contains(&Some(true))
}

fn counter(device: &DeviceStatistics, peer: &PeerDevice, key: &str) -> Option<String> {
    Some(match key {
        "size" => kib(device.size).to_string(),
        "read" => kib(device.read).to_string(),
        "written" => kib(device.written).to_string(),
        "al-writes" => device.al_writes?.to_string(),
        "bm-writes" => device.bm_writes?.to_string(),
        "upper-pending" => device.upper_pending?.to_string(),
        "lower-pending" => device.lower_pending?.to_string(),
        "al-suspended" => yes(device.al_suspended),
        "blocked" => match (device.upper_blocked?, device.lower_blocked?) {
            (false, false) => "no".to_owned(),
            (true, false) => "upper".to_owned(),
            (false, true) => "lower".to_owned(),
            (true, true) => "upper,lower".to_owned(),
        },
        "received" => kib(peer.statistics.received).to_string(),
        "sent" => kib(peer.statistics.sent).to_string(),
        "out-of-sync" => kib(peer.statistics.out_of_sync).to_string(),
        "pending" => peer.statistics.pending?.to_string(),
        "unacked" => peer.statistics.unacked?.to_string(),
        _ => return None,
    })
}

/// A line of `drbdsetup events2 --statistics`, without what it works out itself.
fn events2(report: &Report) -> Option<String> {
    let drbd9 = report.generation == Generation::V9;
    let notice = report.notice?;
    if report.command == command::INITIAL_STATE_DONE {
        return Some("exists -".to_owned());
    }
    let context = &report.context;
    let mut line = format!("{} ", notice.kind);
    let mut say = |text: String| line.push_str(&text);
    let name = context.resource.as_ref()?;
    let object = match report.command {
        command::RESOURCE_STATE => "resource",
        command::DEVICE_STATE => "device",
        command::CONNECTION_STATE => "connection",
        command::PEER_DEVICE_STATE => "peer-device",
        command::PATH_STATE => "path",
        _ => return None,
    };
    say(format!("{object} name:{name}"));
    if ["connection", "peer-device", "path"].contains(&object) {
        // 8.4 has no node ids; its tool prints 0.
        say(format!(" peer-node-id:{}", context.peer_node_id.unwrap_or(0)));
        if let Some(name) = &context.connection_name {
            say(format!(" conn-name:{name}"));
        }
    }
    if ["device", "peer-device"].contains(&object) {
        say(format!(" volume:{}", context.volume?));
    }
    if let Some(info) = &report.resource {
        let resource = Resource { info: info.clone(), ..Resource::default() };
        say(format!(" role:{} suspended:{}", info.role?, yes(Some(suspended(&resource)))));
        if drbd9 {
            say(format!(" force-io-failures:{}", yes(info.fail_io)));
        }
        say(format!(" write-ordering:{}", report.resource_statistics.as_ref()?.write_ordering?));
    }
    if let Some(info) = &report.connection {
        let count = report.connection_statistics.as_ref()?;
        say(format!(
            " connection:{} role:{} congested:{}",
            info.state?,
            info.peer_role?,
            yes(count.congested)
        ));
        if drbd9 {
            say(format!(
                " ap-in-flight:{} rs-in-flight:{}",
                kib(count.ap_in_flight),
                kib(count.rs_in_flight)
            ));
        }
    }
    if let Some(info) = &report.device {
        say(format!(" minor:{}", report.minor?));
        if drbd9 {
            say(format!(" backing_dev:{}", info.backing_device.as_ref()?));
        }
        say(format!(" disk:{}", info.disk?));
        if drbd9 {
            say(format!(" client:{} quorum:{}", yes(info.client), yes(info.quorum)));
        }
        let keys = [
            "size",
            "read",
            "written",
            "al-writes",
            "bm-writes",
            "upper-pending",
            "lower-pending",
            "al-suspended",
            "blocked",
        ];
        for key in keys {
            say(format!(
                " {key}:{}",
                counter(report.device_statistics.as_ref()?, &PeerDevice::default(), key)?
            ));
        }
    }
    if let Some(info) = &report.peer_device {
        say(format!(" replication:{} peer-disk:{}", info.replication?, info.disk?));
        if drbd9 {
            say(format!(" peer-client:{}", yes(info.client)));
        }
        let statistics = report.peer_device_statistics.clone()?;
        let device = PeerDevice { info: info.clone(), statistics, ..PeerDevice::default() };
        say(format!(" resync-suspended:{}", paused(&device)));
        for key in ["received", "sent", "out-of-sync", "pending", "unacked"] {
            say(format!(" {key}:{}", counter(&DeviceStatistics::default(), &device, key)?));
        }
    }
    if report.path_established.is_some() {
        let (local, peer) = (context.local.as_ref()?, context.peer.as_ref()?);
        say(format!(" local:{local} peer:{peer} established:{}", yes(report.path_established)));
    }
    Some(line)
}

#[test]
fn events2_is_the_same() {
    for node in NODES {
        let mut printed: Vec<String> = node
            .text("events2.txt")
            .lines()
            .map(|line| {
                let skip = usize::from(node.generation() == Generation::V9); // The time stamp.
                let own =
                    |word: &&str| !word.starts_with("may_promote:") && !word.starts_with("promotion_score:");
                line.split(' ').skip(skip).filter(own).collect::<Vec<_>>().join(" ")
            })
            .collect();
        let mut ours: Vec<String> =
            node.reports("get-initial-state.bin").iter().map(|report| events2(report).unwrap()).collect();
        // The tool prints paths last.
        printed.sort();
        ours.sort();
        assert_eq!(ours, printed, "{node:?}");
    }
}

#[test]
fn proc_drbd_is_the_same() {
    for node in &NODES[..2] {
        let text = node.text("proc-drbd.txt");
        let live = live(*node);
        let resource = only(&live.resources);
        let (device, connection) = (only(&resource.devices), only(&resource.connections));
        let peer = only(&connection.peer_devices);
        let device_line = text.lines().find(|line| line.contains("cs:")).unwrap();
        assert!(device_line.trim_start().starts_with(&format!("{}:", device.minor.unwrap())));
        let mut checked = 0;
        for word in
            device_line.split_whitespace().skip(1).chain(text.lines().last().unwrap().split_whitespace())
        {
            let Some((key, value)) = word.split_once(':') else { continue };
            let count = &device.statistics;
            let ours = match key {
                "cs" => connection.info.state.unwrap().to_string(),
                "ro" => format!("{}/{}", resource.info.role.unwrap(), connection.info.peer_role.unwrap()),
                "ds" => format!("{}/{}", device.info.disk.unwrap(), peer.info.disk.unwrap()),
                "ns" => kib(peer.statistics.sent).to_string(),
                "nr" => kib(peer.statistics.received).to_string(),
                "dw" => kib(count.written).to_string(),
                "dr" => kib(count.read).to_string(),
                "al" => count.al_writes.unwrap().to_string(),
                "bm" => count.bm_writes.unwrap().to_string(),
                "lo" => count.lower_pending.unwrap().to_string(),
                "ap" => count.upper_pending.unwrap().to_string(),
                "pe" => peer.statistics.pending.unwrap().to_string(),
                "ua" => peer.statistics.unacked.unwrap().to_string(),
                "wo" => resource.statistics.write_ordering.unwrap().to_string()[..1].to_owned(),
                "oos" => (peer.out_of_sync_bytes().unwrap() / 1024).to_string(),
                // Epochs are not in netlink.
                "ep" => continue,
                other => panic!("{other}"),
            };
            assert_eq!(ours, value, "{node:?}: {key}");
            checked += 1;
        }
        assert_eq!(checked, 15);
    }
}

/// UUIDs and flags: `drbdadm get-gi` and debugfs.
#[test]
fn generations_are_the_same() {
    for node in NODES {
        let live = live(node);
        let resource = only(&live.resources);
        let device = &only(&resource.devices).statistics;
        let connection = only(&resource.connections);
        let peer = &only(&connection.peer_devices).statistics;
        let history = device.history.as_ref().unwrap();
        let gi = node.text("get-gi.txt");
        let columns: Vec<&str> = gi.trim().split(':').collect();
        let uuids = [device.current.unwrap(), peer.bitmap.unwrap(), history[0], history[1]];
        assert_eq!(uuids.map(|uuid| uuid.to_string()).to_vec(), columns[..4], "{node:?}");
        let of_device = |flag: u32| device.flags.unwrap() & flag != 0;
        let of_peer = |flag: u32| peer.flags.unwrap() & flag != 0;
        use device_flag as d;
        use peer_flag as p;
        let flags: Vec<bool> = match node.generation() {
            Generation::V84 => [
                d::CONSISTENT,
                d::WAS_UP_TO_DATE,
                d::PRIMARY_IND,
                d::CONNECTED_IND,
                d::FULL_SYNC,
                d::PEER_OUT_DATED,
                d::CRASHED_PRIMARY,
            ]
            .map(of_device)
            .to_vec(),
            Generation::V9 => {
                let device = [
                    d::CONSISTENT,
                    d::WAS_UP_TO_DATE,
                    d::PRIMARY_IND,
                    d::CRASHED_PRIMARY,
                    d::AL_CLEAN,
                    d::AL_DISABLED,
                    d::PRIMARY_LOST_QUORUM,
                ];
                let peer = [p::CONNECTED, p::OUTDATED, p::FENCING, p::FULL_SYNC, p::DEVICE_SEEN];
                device.map(of_device).into_iter().chain(peer.map(of_peer)).collect()
            }
        };
        assert_eq!(
            flags.iter().map(|flag| if *flag { "1" } else { "0" }).collect::<Vec<_>>(),
            columns[4..],
            "{node:?}"
        );

        let debugfs = node.text("debugfs-data_gen_id.txt");
        let printed: Vec<String> =
            debugfs.lines().map(|line| line.rsplit("0x").next().unwrap().to_owned()).collect();
        let said = [device.current.unwrap(), peer.bitmap.unwrap()];
        let ours: Vec<String> =
            said.iter().chain(history).take(printed.len()).map(ToString::to_string).collect();
        assert_eq!(ours, printed, "{node:?}");
        if let Some(id) = connection.peer_node_id {
            assert!(debugfs.contains(&format!("[{id}]0x{}", peer.bitmap.unwrap())));
        }
    }
}

/// `drbdsetup show --json` prints what is not the default; everything else must be the default.
#[test]
fn show_json_is_the_same() {
    for node in &NODES[2..] {
        let live = live(*node);
        let resource = only(&live.resources);
        let (device, connection) = (only(&resource.devices), only(&resource.connections));
        let (disk, net) = (device.disk_options.as_ref().unwrap(), connection.options.as_ref().unwrap());
        let path = only(&connection.paths);
        let end = |address: &Option<_>| {
            let address: &unsplit::model::drbd_live::object::Address = address.as_ref().unwrap();
            address.to_string().replacen(':', " ", 1)
        };
        assert_eq!(disk.backing_device, disk.meta_device);
        assert_eq!(disk.meta_index, Some(MetaIndex::Internal));
        let mut shown = json!({
            "path": { "_this_host": end(&path.local), "_remote_host": end(&path.peer) },
            "net": { "allow-two-primaries": net.allow_two_primaries, "_name": net.name },
            "_peer_node_id": connection.peer_node_id,
        });
        if connection.info.state == Some(ConnectionState::StandAlone) {
            shown["_is_standalone"] = Value::Bool(true);
        }
        let ours = json!([{
            "resource": resource.name,
            "_this_host": {
                "node-id": resource.options.as_ref().unwrap().node_id,
                "volumes": [{
                    "volume_nr": device.volume, "device_minor": device.minor, "backing-disk": disk.backing_device,
                    "meta-disk": "internal",
                }],
            },
            "connections": [shown],
        }]);
        assert_eq!(ours, serde_json::from_str::<Value>(&node.text("show.json")).unwrap(), "{node:?}");
        defaults(net);
        let options = resource.options.as_ref().unwrap();
        assert_eq!((options.quorum, options.on_no_quorum), (Some(Quorum::Off), Some(OnNoData::SuspendIo)));
        assert_eq!(options.on_no_data, Some(OnNoData::IoError));
        assert_eq!(net.fencing, Some(Fencing::DontCare));
        assert_eq!(disk.on_io_error, Some(OnIoError::Detach));
        assert_eq!(disk.fencing, None, "9 has it in the connection");
        assert_eq!(only(&connection.peer_devices).options.as_ref().map(Vec::len), Some(9));
        assert_eq!(device.options.as_ref().map(Vec::len), Some(4));
    }
}

fn defaults(net: &NetOptions) {
    assert_eq!(net.protocol, Some(Protocol::C));
    assert_eq!(
        [net.after_sb_0pri, net.after_sb_1pri, net.after_sb_2pri],
        [Some(AfterSplitBrain::Disconnect); 3]
    );
    assert_eq!(net.rr_conflict, Some(ResyncConflict::Disconnect));
    assert_eq!((net.always_asbp, net.allow_two_primaries), (Some(false), Some(true)));
}

/// 8.4 tells the options of a connection only while it has one, in its `EVENT`s; they are those of the configuration.
#[test]
fn options_of_8_4_are_those_of_the_configuration() {
    for node in &NODES[..2] {
        let configured = node.text("dump.txt");
        for line in ["protocol           C", "allow-two-primaries yes", "after-sb-0pri    disconnect"] {
            assert!(configured.contains(line));
        }
        let events = node.reports("events.bin");
        let told: Vec<&NetOptions> = events.iter().filter_map(|report| report.net_options.as_ref()).collect();
        assert!(!told.is_empty());
        for net in told {
            defaults(net);
            assert_eq!((net.discard_my_data, net.fencing, net.has_secret), (Some(false), None, None));
        }
        let live = live(*node);
        let disk = only(&only(&live.resources).devices).disk_options.as_ref().unwrap();
        assert!(node.text("show.txt").contains(&format!("\"{}\"", disk.backing_device.as_ref().unwrap())));
        assert_eq!(disk.meta_index, Some(MetaIndex::Internal));
        assert_eq!((disk.fencing, disk.on_io_error), (Some(Fencing::DontCare), Some(OnIoError::Detach)));
        assert_eq!(only(&only(&live.resources).connections).options, None);
    }
}

/// 8.4's message in one agrees with its other messages: the last `EVENT` against the state at the end.
#[test]
fn packed_state_agrees() {
    for node in &NODES[..2] {
        let events = node.reports("events.bin");
        let last = events.iter().rev().find_map(|report| report.state84.as_ref()).unwrap();
        let live = live(*node);
        let resource = only(&live.resources);
        let (device, connection) = (only(&resource.devices), only(&resource.connections));
        let peer = only(&connection.peer_devices);
        let now = last.now.unwrap();
        assert_eq!((now.role, Some(now.role)), (Role::Primary, resource.info.role));
        assert_eq!(Some(now.peer_role), connection.info.peer_role);
        assert_eq!(Some(now.connection), connection.info.state);
        assert_eq!(Some(now.replication), peer.info.replication);
        assert_eq!((Some(now.disk), Some(now.peer_disk)), (device.info.disk, peer.info.disk));
        assert_eq!(
            last.uuids.as_ref().unwrap()[..2],
            [device.statistics.current.unwrap(), peer.statistics.bitmap.unwrap()]
        );
        assert_eq!(last.flags, device.statistics.flags);
        assert_eq!(last.capacity, device.statistics.size);
        assert_eq!(last.bits_out_of_sync.map(|bits| bits * 8), peer.statistics.out_of_sync);
    }
}
