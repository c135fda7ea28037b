//! One node: its disks, its I/O, its quorum.

use super::apart::reason;
use super::link::{Work, working};
use super::messages::attaching;
use super::witness::Witness;
use crate::model::drbd::GenerationUuid;
use crate::model::drbd_live::object::ResourceInfo;
use crate::model::drbd_live::tree::{Device, Resource};
use crate::model::drbd_live::words::DiskState;
use crate::model::standing::{Class, Finding, NodeStanding, Source, VolumeHere};

/// What a node that told shows of a resource.
pub(super) fn show(witness: &Witness<'_>, name: &str) -> NodeStanding {
    let resource = witness.resource(name);
    let volume = |device: &Device| {
        let backing = device
            .info
            .backing_device
            .clone()
            .or_else(|| device.disk_options.as_ref()?.backing_device.clone())
            .filter(|path| !path.is_empty() && path != "none");
        VolumeHere {
            volume: device.volume,
            minor: device.minor,
            disk: device.info.disk,
            client: is_client(witness, name, device),
            size: device.statistics.size.map(|sectors| sectors.saturating_mul(512)),
            current: device.statistics.current,
            stacked_on: backing.as_deref().and_then(|path| stacked_on(witness, name, path)),
            backing,
            open: device.info.open,
        }
    };
    // A resource that is down has what its files say.
    let written = || {
        let configured = witness.configured(name).flatten().filter(|_| witness.up(name) == Some(false));
        configured.into_iter().flat_map(|known| &known.volumes).map(|volume| VolumeHere {
            volume: volume.volume,
            minor: volume.minor,
            disk: None,
            client: volume.disk.is_none(),
            size: None,
            current: None,
            stacked_on: volume.disk.as_deref().and_then(|path| stacked_on(witness, name, path)),
            // With its metadata elsewhere the path alone would be read wrongly.
            backing: volume.disk.clone().filter(|_| volume.meta_disk.as_deref() == Some("internal")),
            open: None,
        })
    };
    NodeStanding {
        node: witness.name.to_owned(),
        told: witness.asked.clone(),
        generation: witness.generation(),
        up: witness.up(name),
        configured: witness.configured(name).map(|known| known.is_some()),
        role: resource.and_then(|resource| resource.info.role),
        quorum: resource.and_then(|resource| resource.devices.iter().find_map(|device| device.info.quorum)),
        suspended: resource.map(|resource| suspended(&resource.info)).unwrap_or_default(),
        volumes: resource
            .map_or_else(|| written().collect(), |resource| resource.devices.iter().map(volume).collect()),
    }
}

/// The other resource of this node whose device a path names: `/dev/drbd7`, or `/dev/drbd/by-res/NAME/0`.
fn stacked_on(witness: &Witness<'_>, name: &str, path: &str) -> Option<String> {
    let below = if let Some(rest) = path.strip_prefix("/dev/drbd/by-res/") {
        rest.split('/').next().map(str::to_owned)
    } else {
        let minor = path.strip_prefix("/dev/drbd")?.parse::<u32>().ok()?;
        witness.owner_of(minor).map(str::to_owned)
    };
    below.filter(|below| below != name)
}

/// A disk that is absent by design: the kernel's word, or the files' where 8.4's kernel has none.
fn is_client(witness: &Witness<'_>, name: &str, device: &Device) -> bool {
    device.info.client.unwrap_or_else(|| {
        let configured = witness.configured(name).flatten();
        configured.is_some_and(|known| {
            known.volumes.iter().any(|volume| volume.volume == device.volume && volume.disk.is_none())
        })
    })
}

fn suspended(info: &ResourceInfo) -> Vec<String> {
    let words = [
        (info.suspended_user, "user"),
        (info.suspended_no_data, "no-data"),
        (info.suspended_fencing, "fencing"),
        (info.suspended_quorum, "quorum"),
        (info.fail_io, "fail-io"),
    ];
    words.into_iter().filter(|(set, _)| *set == Some(true)).map(|(_, word)| word.to_owned()).collect()
}

/// What is wrong with a node that told, its connections aside.
pub(super) fn judge(witness: &Witness<'_>, name: &str) -> Vec<Finding> {
    let Some(resource) = witness.resource(name) else { return Vec::new() };
    let mut found: Vec<Finding> =
        resource.devices.iter().filter_map(|device| judge_disk(witness, resource, device)).collect();
    let finding = |class, says, text: String| Finding {
        class,
        cause: None,
        says,
        nodes: vec![witness.name.to_owned()],
        volumes: Vec::new(),
        reasons: vec![reason(Source::State, Some(witness.name), text)],
    };
    let stopped = suspended(&resource.info);
    if !stopped.is_empty() {
        let why = stopped.join(", ");
        let says = match stopped.first().map(String::as_str) {
            Some("fencing") => format!("I/O on {} waits until its peer is fenced", witness.name),
            Some("quorum") => format!("I/O on {} waits because it has no quorum", witness.name),
            Some("no-data") => format!("I/O on {} waits because no usable data is in reach", witness.name),
            Some("fail-io") => format!("I/O on {} fails on purpose", witness.name),
            _ => format!("I/O on {} was suspended by an administrator", witness.name),
        };
        found.push(finding(Class::IoSuspended, says, format!("suspended: {why}")));
    }
    if resource.devices.iter().any(|device| device.info.quorum == Some(false)) {
        let says = format!("{} has no quorum: it cannot write until it sees enough nodes", witness.name);
        found.push(finding(Class::NoQuorum, says, "quorum: no".to_owned()));
    }
    found
}

fn judge_disk(witness: &Witness<'_>, resource: &Resource, device: &Device) -> Option<Finding> {
    let (node, number) = (witness.name, device.volume);
    let state = device.info.disk?;
    let mut reasons = vec![reason(Source::State, Some(node), format!("volume {number}: disk {state}"))];
    let mut cause = None;
    let (class, says) = match state {
        DiskState::UpToDate | DiskState::Consistent => return None,
        DiskState::Outdated => {
            (Class::Outdated, format!("the data on {node} is known to be old, volume {number}"))
        }
        DiskState::Inconsistent if is_target(resource, number) => return None,
        DiskState::Inconsistent => {
            let current = device.statistics.current.map(GenerationUuid::masked);
            if matches!(current, Some(GenerationUuid::JUST_CREATED | GenerationUuid::UNSET)) {
                let text = format!("volume {number}: generation {:016X}, as after create-md", 4);
                reasons.push(reason(Source::Generations, Some(node), text));
                (Class::JustCreated, format!("{node} is new and was never synced, volume {number}"))
            } else {
                (Class::Inconsistent, format!("{node} holds a half finished resync, volume {number}"))
            }
        }
        DiskState::Failed => (Class::DiskFailed, format!("the disk of {node} failed, volume {number}")),
        DiskState::Diskless => {
            let generation = witness.generation();
            let failed = generation.and_then(|it| witness.log.disk_failed(&resource.name, number, it));
            if let Some(line) = failed {
                reasons.push(reason(Source::Log, Some(node), line));
                (Class::DiskFailed, format!("the disk of {node} failed and was detached, volume {number}"))
            } else if let Some(said) = witness.log.attaching(&resource.name, number) {
                reasons.push(reason(Source::Log, Some(node), said.line));
                cause = Some(said.cause);
                (
                    Class::Diskless,
                    format!("{node} has no disk attached: {}, volume {number}", attaching(said.cause, node)),
                )
            } else if is_client(witness, &resource.name, device) {
                (Class::Client, format!("{node} takes part without a disk, on purpose, volume {number}"))
            } else {
                (Class::Diskless, format!("{node} has no disk attached, volume {number}"))
            }
        }
        DiskState::Attaching | DiskState::Detaching | DiskState::Negotiating => {
            (Class::Changing, format!("the disk of {node} is {state}, volume {number}"))
        }
        DiskState::Unknown | DiskState::Other(_) => {
            (Class::Unseen, format!("the state of {node}'s disk is not known, volume {number}"))
        }
    };
    Some(Finding { class, cause, says, nodes: vec![node.to_owned()], volumes: vec![number], reasons })
}

/// Whether a resync is making the volume whole.
fn is_target(resource: &Resource, volume: u32) -> bool {
    let devices = resource.connections.iter().flat_map(|connection| &connection.peer_devices);
    devices.filter(|peer| peer.volume == volume).any(|peer| {
        let work = peer.info.replication.and_then(working);
        matches!(work, Some(Work::To | Work::PausedTo))
    })
}

/// The disk of a node that nobody asked, as its connected peer tells.
pub(super) fn judge_peer_disk(
    teller: &str,
    node: &str,
    number: u32,
    state: DiskState,
    client: bool,
    synced: bool,
) -> Option<Finding> {
    let (class, says) = match state {
        DiskState::Diskless if client => {
            (Class::Client, format!("{node} takes part without a disk, on purpose, volume {number}"))
        }
        DiskState::Diskless => (Class::Diskless, format!("{node} has no disk attached, volume {number}")),
        DiskState::Failed => (Class::DiskFailed, format!("the disk of {node} failed, volume {number}")),
        DiskState::Inconsistent if !synced => {
            (Class::Inconsistent, format!("{node} holds no consistent data, volume {number}"))
        }
        DiskState::Outdated if !synced => {
            (Class::Outdated, format!("the data on {node} is known to be old, volume {number}"))
        }
        _ => return None,
    };
    let text = format!("volume {number}: {node}'s disk is {state}");
    Some(Finding {
        class,
        cause: None,
        says,
        nodes: vec![node.to_owned()],
        volumes: vec![number],
        reasons: vec![reason(Source::State, Some(teller), text)],
    })
}
