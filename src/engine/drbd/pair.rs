//! The two nodes of a resource, and its volumes.

use crate::model::drbd::Role;
use crate::model::drbd_live::Generation;
use crate::model::drbd_live::tree::{Device, Live, Resource};
use crate::model::drbd_live::words::{self, DiskState, MetaIndex};
use crate::model::evidence::MetadataPlace;
use crate::model::id::{NodeName, ResourceName};
use crate::model::node::{AfterSb, DrbdSeen, NodeState, Toward};
use crate::model::side::{Pair, Side};
use crate::model::size::human;
use crate::ports::node::{Backing, Node};
use crate::ports::replica::Unseen;

use super::standing::connection;

/// Why two nodes' view of a resource cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    /// A node could not be asked.
    #[error("{node} cannot be asked")]
    Unseen {
        /// Which.
        node: NodeName,
        /// Why.
        #[source]
        source: Unseen,
    },
    /// Its DRBD told nothing.
    #[error("{node}: {why}")]
    NoDrbd {
        /// Which.
        node: NodeName,
        /// Why.
        why: String,
    },
    /// The resource does not run there.
    #[error(
        "{resource} is not up on {node}. `drbdadm up {resource}` there starts it; resources that are down are healed by their devices: `unsplit ... /dev/A /dev/B --peer ...`"
    )]
    NotUp {
        /// Which.
        node: NodeName,
        /// The resource.
        resource: String,
    },
    /// Two generations.
    #[error(
        "{a} runs {at_a} and {b} runs {at_b}: they do not speak the same language. Heal them with both resources down"
    )]
    Generations {
        /// Side A.
        a: NodeName,
        /// Its DRBD.
        at_a: Generation,
        /// Side B.
        b: NodeName,
        /// Its DRBD.
        at_b: Generation,
    },
    /// The two are one machine.
    #[error("{0} and its peer are the same machine: --peer must lead to the other node")]
    OneMachine(NodeName),
    /// The nodes do not know each other.
    #[error(
        "{node} has no connection to {other} (node id {id}) for {resource}: check that --peer leads to the resource's other node"
    )]
    Strangers {
        /// Which.
        node: NodeName,
        /// The other one.
        other: NodeName,
        /// The other one's id.
        id: u32,
        /// The resource.
        resource: String,
    },
    /// Something that DRBD must tell is missing.
    #[error("{node}: DRBD does not tell {what} of {resource}")]
    Untold {
        /// Which.
        node: NodeName,
        /// What.
        what: String,
        /// The resource.
        resource: String,
    },
    /// A volume has no disk there.
    #[error(
        "volume {volume} of {resource} has no disk on {node} ({disk}): there is nothing to compare there. Attach it first (`drbdadm attach {resource}/{volume}`), or look at why it was detached"
    )]
    Diskless {
        /// Which.
        node: NodeName,
        /// The resource.
        resource: String,
        /// The volume.
        volume: u32,
        /// Its state.
        disk: DiskState,
    },
    /// One was resized while they were apart.
    #[error(
        "volume {volume} of {resource} has {larger_text} on {larger} and {smaller_text} on {smaller}: one was resized while the two were apart, \
         and DRBD compares and syncs only what both have",
        larger_text = human(*larger_bytes),
        smaller_text = human(*smaller_bytes)
    )]
    Sizes {
        /// The resource.
        resource: String,
        /// The volume.
        volume: u32,
        /// Where it is larger.
        larger: NodeName,
        /// How large, in bytes.
        larger_bytes: u64,
        /// Where it is smaller.
        smaller: NodeName,
        /// How large, in bytes.
        smaller_bytes: u64,
    },
    /// The volumes differ.
    #[error(
        "{resource} has the volumes {a:?} on one node and {b:?} on the other: make the configurations equal first"
    )]
    Volumes {
        /// The resource.
        resource: String,
        /// On side A.
        a: Vec<u32>,
        /// On side B.
        b: Vec<u32>,
    },
}

/// A volume on both nodes.
#[derive(Debug, Clone)]
pub struct PairedVolume {
    /// Its number.
    pub volume: u32,
    /// Its minors.
    pub minors: Pair<u32>,
    /// Where it is.
    pub backing: Pair<Backing>,
    /// State of its disks.
    pub disks: Pair<DiskState>,
    /// What each kernel counts as out of sync toward the other node, in bytes, while it is Primary; a Secondary's bitmap on disk is
    /// exact.
    pub out_of_sync: Pair<Option<u64>>,
}

/// A resource on its two nodes, read now.
#[derive(Debug, Clone)]
pub struct LivePair {
    /// The resource.
    pub resource: ResourceName,
    /// What the nodes are called.
    pub names: Pair<NodeName>,
    /// What the resource is on each.
    pub told: Pair<Resource>,
    /// Everything else that the kernels told.
    pub states: Pair<NodeState>,
    /// Which DRBD.
    pub generation: Generation,
    /// The connection, as each side names it.
    pub toward: Pair<Toward>,
    /// Its policies, as each side has them now.
    pub policies: Pair<Option<AfterSb>>,
    /// Its volumes, ascending.
    pub volumes: Vec<PairedVolume>,
}

fn of_state(
    name: &NodeName,
    state: &NodeState,
    resource: &ResourceName,
) -> Result<(Generation, Resource), PairError> {
    let no_drbd = |why: String| PairError::NoDrbd { node: name.clone(), why };
    let live: &Live = match &state.drbd {
        DrbdSeen::Told(live) => live,
        // As after a restart.
        DrbdSeen::NotLoaded => {
            let why = format!(
                "no DRBD module is loaded there; `drbdadm up {resource}` there loads it and starts {resource}"
            );
            return Err(no_drbd(why));
        }
        DrbdSeen::Unreadable(why) => return Err(no_drbd(why.to_string())),
    };
    let found = live.resource(resource.as_str()).cloned();
    let found =
        found.ok_or_else(|| PairError::NotUp { node: name.clone(), resource: resource.to_string() })?;
    Ok((live.generation, found))
}

fn role(told: &Resource) -> Role {
    // Whoever is not known to be Secondary may be writing.
    if told.info.role == Some(words::Role::Secondary) { Role::Secondary } else { Role::Primary }
}

fn backing(told: &Resource, device: &Device) -> Option<Backing> {
    let options = device.disk_options.as_ref()?;
    let data = options.backing_device.clone().or_else(|| device.info.backing_device.clone())?;
    let place = match options.meta_index? {
        MetaIndex::Internal => MetadataPlace::Internal,
        MetaIndex::FlexibleExternal => MetadataPlace::FlexibleExternal,
        MetaIndex::Slot(index) => MetadataPlace::IndexedExternal(index),
        MetaIndex::Other(_) => return None,
    };
    let external = place != MetadataPlace::Internal;
    let metadata = if external { Some(options.meta_device.clone()?) } else { None };
    Some(Backing { data, metadata, place: Some(place), role: role(told) })
}

fn policies(told: &Resource, toward: &Toward) -> Option<AfterSb> {
    let options = connection(told, toward)?.options.as_ref()?;
    Some(AfterSb { zero: options.after_sb_0pri?, one: options.after_sb_1pri?, two: options.after_sb_2pri? })
}

/// Asks both nodes for their states, at the same time.
///
/// # Errors
/// [`PairError::Unseen`].
pub fn ask(nodes: Pair<&dyn Node>) -> Result<Pair<NodeState>, PairError> {
    let told = |node: &dyn Node| {
        node.state().map_err(|source| PairError::Unseen { node: node.name().clone(), source })
    };
    let (a, b) = std::thread::scope(|scope| {
        let far = scope.spawn(|| told(nodes.b));
        (told(nodes.a), far.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    Ok(Pair::new(a?, b?))
}

/// Asks both nodes and puts together what they tell.
///
/// # Errors
/// [`PairError`].
pub fn look(nodes: Pair<&dyn Node>, resource: &ResourceName) -> Result<LivePair, PairError> {
    put_together(nodes.map(|node| node.name().clone()), ask(nodes)?, resource)
}

/// Puts together what two nodes, called so, told.
///
/// # Errors
/// [`PairError`], but never that one of them could not be asked.
pub fn put_together(
    names: Pair<NodeName>,
    states: Pair<NodeState>,
    resource: &ResourceName,
) -> Result<LivePair, PairError> {
    let a = of_state(&names.a, &states.a, resource)?;
    let b = of_state(&names.b, &states.b, resource)?;
    if states.a.machine.is_some() && states.a.machine == states.b.machine {
        return Err(PairError::OneMachine(names.a));
    }
    if a.0 != b.0 {
        let (a_name, b_name) = (names.a, names.b);
        return Err(PairError::Generations { a: a_name, at_a: a.0, b: b_name, at_b: b.0 });
    }
    let (generation, told) = (a.0, Pair::new(a.1, b.1));
    let toward = towards(&names, &told, generation, resource)?;
    let volumes = volumes(&names, &told, &toward, resource)?;
    let policies = Pair::from_fn(|side| policies(&told[side], &toward[side]));
    Ok(LivePair { resource: resource.clone(), names, told, states, generation, toward, policies, volumes })
}

fn towards(
    names: &Pair<NodeName>,
    told: &Pair<Resource>,
    generation: Generation,
    resource: &ResourceName,
) -> Result<Pair<Toward>, PairError> {
    if generation == Generation::V84 {
        return Ok(Pair::from_fn(|_| Toward { resource: resource.clone(), peer: None }));
    }
    let id = |side: Side| {
        let id = told[side].options.as_ref().and_then(|options| options.node_id);
        id.ok_or_else(|| PairError::Untold {
            node: names[side].clone(),
            what: "its node id".to_owned(),
            resource: resource.to_string(),
        })
    };
    let ids = Pair::new(id(Side::A)?, id(Side::B)?);
    for side in Side::BOTH {
        let other = ids[side.other()];
        if !told[side].connections.iter().any(|known| known.peer_node_id == Some(other)) {
            return Err(PairError::Strangers {
                node: names[side].clone(),
                other: names[side.other()].clone(),
                id: other,
                resource: resource.to_string(),
            });
        }
    }
    Ok(Pair::from_fn(|side| Toward { resource: resource.clone(), peer: Some(ids[side.other()]) }))
}

fn out_of_sync(told: &Resource, toward: &Toward, volume: u32) -> Option<u64> {
    let there = connection(told, toward)?.peer_devices.iter().find(|known| known.volume == volume)?;
    if role(told) == Role::Secondary { None } else { there.out_of_sync_bytes() }
}

fn volumes(
    names: &Pair<NodeName>,
    told: &Pair<Resource>,
    toward: &Pair<Toward>,
    resource: &ResourceName,
) -> Result<Vec<PairedVolume>, PairError> {
    let numbers =
        told.as_ref().map(|told| told.devices.iter().map(|device| device.volume).collect::<Vec<_>>());
    if numbers.a != numbers.b {
        return Err(PairError::Volumes { resource: resource.to_string(), a: numbers.a, b: numbers.b });
    }
    let mut volumes = Vec::new();
    for (a, b) in told.a.devices.iter().zip(&told.b.devices) {
        let devices = Pair::new(a, b);
        let untold = |side: Side, what: &str| PairError::Untold {
            node: names[side].clone(),
            what: format!("{what} of volume {}", a.volume),
            resource: resource.to_string(),
        };
        let each = |side: Side| {
            let device = devices[side];
            let disk = device.info.disk.ok_or_else(|| untold(side, "the disk's state"))?;
            if matches!(disk, DiskState::Diskless | DiskState::Failed | DiskState::Detaching) {
                return Err(PairError::Diskless {
                    node: names[side].clone(),
                    resource: resource.to_string(),
                    volume: device.volume,
                    disk,
                });
            }
            let minor = device.minor.ok_or_else(|| untold(side, "the minor number"))?;
            let backing = backing(&told[side], device).ok_or_else(|| untold(side, "the backing device"))?;
            Ok((minor, backing, disk))
        };
        let (a_side, b_side) = (each(Side::A)?, each(Side::B)?);
        if let (Some(a_size), Some(b_size)) = (a.statistics.size, b.statistics.size)
            && a_size != b_size
        {
            let larger = if a_size > b_size { Side::A } else { Side::B };
            return Err(PairError::Sizes {
                resource: resource.to_string(),
                volume: a.volume,
                larger: names[larger].clone(),
                larger_bytes: a_size.max(b_size).saturating_mul(512),
                smaller: names[larger.other()].clone(),
                smaller_bytes: a_size.min(b_size).saturating_mul(512),
            });
        }
        volumes.push(PairedVolume {
            volume: a.volume,
            minors: Pair::new(a_side.0, b_side.0),
            backing: Pair::new(a_side.1, b_side.1),
            disks: Pair::new(a_side.2, b_side.2),
            out_of_sync: Pair::from_fn(|side| out_of_sync(&told[side], &toward[side], a.volume)),
        });
    }
    Ok(volumes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::seen::Stamp;

    #[test]
    fn a_node_that_was_restarted_says_what_starts_the_resource() {
        let empty = Live::empty(Generation::V9);
        for drbd in [DrbdSeen::NotLoaded, DrbdSeen::Told(empty)] {
            let state =
                NodeState { host: "node1".to_owned(), machine: None, boot: None, taken_at: Stamp(0), drbd };
            let (name, resource) = (NodeName::new("node1").unwrap(), ResourceName::new("r0").unwrap());
            let said = of_state(&name, &state, &resource).unwrap_err().to_string();
            assert!(said.contains("node1") && said.contains("`drbdadm up r0` there"), "{said}");
        }
    }
}
