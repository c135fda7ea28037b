//! How running resources stand, from what one or more nodes tell: a split brain or something else that looks like one.
//!
//! States and generations prove; the configuration of both ends explains; the log gives the reason why and proves nothing by
//! its silence, because it may have lost its beginning. What an end says of the other is used only where the other was not asked.
//!
//! | file | holds |
//! |---|---|
//! | `witness` | a node that was asked, or could not be |
//! | `view` | a running volume's lineage |
//! | `net` | each end's connection options, and where they must agree |
//! | `log` | what the kernel said, sorted by resource |
//! | `messages` | the kernels' words for why a connection or a disk is not there |
//! | `link` | a connection from both ends, its volumes compared |
//! | `apart`, `standing` | what is wrong between two ends that are not, or are, connected |
//! | `nodes` | what is wrong with one node |

mod apart;
mod link;
mod log;
mod messages;
mod net;
mod nodes;
mod standing;
mod view;
mod witness;

#[cfg(test)]
mod tests;

pub use view::{NoLineage, view_live};
pub use witness::Witness;

use crate::model::drbd_live::Generation;
use crate::model::drbd_live::words::{ConnectionState, DiskState};
use crate::model::lineage::Relation;
use crate::model::side::{Pair, Side};
use crate::model::standing::{Asked, Class, Finding, Link, NodeStanding, Source, Standing};
use apart::{Apart, reason};
use link::{End, Seen};
use witness::Peer;

/// Every resource that any of them runs or has in its configuration, by name.
#[must_use]
pub fn resources(witnesses: &[Witness<'_>]) -> Vec<String> {
    let mut names: Vec<String> = witnesses.iter().flat_map(Witness::resources).map(str::to_owned).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Judges one resource from what the witnesses tell. The first one is where the question was asked.
#[must_use]
pub fn classify(resource: &str, witnesses: &[Witness<'_>]) -> Standing {
    let ends = connections(resource, witnesses);
    let mut findings = Vec::new();
    let mut nodes: Vec<NodeStanding> = witnesses
        .iter()
        .filter(|witness| witness.report.is_some())
        .map(|witness| nodes::show(witness, resource))
        .collect();
    for witness in witnesses {
        findings.extend(nodes::judge(witness, resource));
    }
    let mut links = Vec::new();
    for pair in &ends {
        let end =
            |side: Side| End { peer: &pair[side].0, witness: pair[side].1.and_then(|at| witnesses.get(at)) };
        let ends = Pair::from_fn(end);
        let seen = link::see(resource, ends);
        findings.extend(judge_link(resource, ends, &seen));
        for side in Side::BOTH {
            if !nodes.iter().any(|node| node.node == ends[side].peer.name) {
                nodes.push(by_hearsay(resource, ends, side));
            }
        }
        links.push(seen.link);
    }
    findings.extend(witnesses.iter().filter_map(|witness| unseen(resource, witness, &ends, witnesses)));
    if links.is_empty() {
        findings.extend(nowhere(resource, witnesses));
    }
    // Without a disk on purpose is how it should be, not what is wrong.
    if findings.iter().all(|finding| finding.class == Class::Client) {
        findings.push(healthy(&nodes, &links));
    }
    // Of the same, first what was seen from both sides: more can be done about it from where it was asked.
    let told = |name: &String| nodes.iter().any(|node| node.node == *name && node.told == Asked::Told);
    findings.sort_by_key(|finding| (finding.class, !finding.nodes.iter().all(told)));
    // The same from several witnesses.
    findings.dedup_by(|later, first| later.class == first.class && later.says == first.says);
    let agree = agree(&nodes, &links);
    Standing { resource: resource.to_owned(), findings, nodes, links, agree }
}

type Ends<'a> = Pair<(Peer<'a>, Option<usize>)>;

/// The connections of a resource, each once, with the witness at each end if there is one.
fn connections<'a>(resource: &str, witnesses: &'a [Witness<'a>]) -> Vec<Ends<'a>> {
    let mut found: Vec<Ends<'a>> = Vec::new();
    for (at, witness) in witnesses.iter().enumerate() {
        let me = Peer { name: witness.name, node_id: witness.node_id(resource) };
        for (peer, there) in peers_of(resource, witnesses, at) {
            let known = found.iter().any(|pair| {
                (pair.a.0.name == me.name && pair.b.0.name == peer.name)
                    || (pair.b.0.name == me.name && pair.a.0.name == peer.name)
            });
            if !known {
                found.push(Pair::new((me.clone(), Some(at)), (peer, there)));
            }
        }
    }
    found
}

fn peers_of<'a>(resource: &str, witnesses: &'a [Witness<'a>], at: usize) -> Vec<(Peer<'a>, Option<usize>)> {
    let Some(witness) = witnesses.get(at) else { return Vec::new() };
    let (Some(running), Some(generation)) = (witness.resource(resource), witness.generation()) else {
        return Vec::new();
    };
    let others = || witnesses.iter().enumerate().filter(move |(other, _)| *other != at);
    let silent: Vec<usize> =
        others().filter(|(_, other)| other.report.is_none()).map(|(other, _)| other).collect();
    // An address on the command line is not a node's name: where only one can be meant, it is that one.
    let unnamed = |name: Option<&str>, alone: bool| {
        let by_name = silent.iter().copied().find(|other| witnesses.get(*other).map(|w| w.name) == name);
        by_name.or_else(|| if alone { silent.first().copied() } else { None })
    };
    let files = witness.configured(resource).flatten();
    match generation {
        Generation::V84 => {
            let configured = files.and_then(|files| files.peers.first()).map(String::as_str);
            let told = others().find(|(_, other)| {
                other.report.is_some() && configured.is_none_or(|name| name == other.name)
            });
            let told = told.or_else(|| others().find(|(_, other)| other.resource(resource).is_some()));
            let there = told.map(|(other, _)| other).or_else(|| unnamed(configured, true));
            let name = told.map(|(_, other)| other.name).or(configured);
            let name = name.or_else(|| there.and_then(|at| witnesses.get(at)).map(|other| other.name));
            vec![(Peer { name: name.unwrap_or("its peer"), node_id: None }, there)]
        }
        Generation::V9 => {
            let alone = running.connections.len() == 1;
            let end = |connection: &'a crate::model::drbd_live::tree::Connection| {
                let node_id = connection.peer_node_id;
                let named = connection.name.as_deref();
                // By name first: two nodes whose node ids do not fit are still each other's peers.
                let by_name = others().find(|(_, other)| other.report.is_some() && named == Some(other.name));
                let told = by_name.or_else(|| {
                    others().find(|(_, other)| node_id.is_some() && other.node_id(resource) == node_id)
                });
                let there = told.map(|(other, _)| other).or_else(|| unnamed(named, alone));
                let name = told.map(|(_, other)| other.name).or(named).unwrap_or("a peer without a name");
                (Peer { name, node_id }, there)
            };
            running.connections.iter().map(end).collect()
        }
    }
}

fn judge_link(resource: &str, ends: Pair<End<'_, '_>>, seen: &Seen) -> Vec<Finding> {
    let up = ends.map(|end| end.up(resource));
    let connected = |side: Side| seen.link.state[side] == Some(ConnectionState::Connected);
    let up_at = |side: Side| up[side] == Some(true);
    let witness = Pair::from_fn(|side| ends[side].witness.filter(|_| up_at(side)));
    let mut found = Vec::new();
    let told: Vec<Side> = Side::BOTH.into_iter().filter(|side| up_at(*side)).collect();
    found.extend(one_sided(resource, ends, seen));
    for side in Side::BOTH {
        if up[side] == Some(false) && up_at(side.other()) {
            found.push(down(resource, ends, side, seen));
        }
    }
    match told.as_slice() {
        [] => return found,
        [_, _] if connected(Side::A) != connected(Side::B) => {
            let apart = Apart { resource, seen, witness };
            found.extend(apart.judge().into_iter().filter(|finding| finding.class <= Class::Unrelated));
            let Pair { a, b } = seen.link.nodes.as_ref();
            let says = format!("the connection between {a} and {b} is changing just now");
            let state = |side: Side| {
                let state = seen.link.state[side].map_or("nothing".to_owned(), |state| state.to_string());
                reason(Source::State, Some(ends[side].peer.name), state)
            };
            let nodes = vec![a.clone(), b.clone()];
            let reasons = vec![state(Side::A), state(Side::B)];
            found.push(Finding {
                class: Class::Changing,
                cause: None,
                says,
                nodes,
                volumes: Vec::new(),
                reasons,
            });
        }
        sides if sides.iter().all(|side| connected(*side)) => {
            found.extend(standing::judge(seen));
            found.extend(peer_disks(resource, ends, seen));
        }
        // A peer that has the resource down explains why nobody answers, but not what it holds.
        [_] if !found.is_empty() => {
            let judged = Apart { resource, seen, witness }.judge();
            found.extend(judged.into_iter().filter(|finding| finding.class != Class::NotConnected));
        }
        _ => found.extend(Apart { resource, seen, witness }.judge()),
    }
    found
}

/// Volumes that only one of two nodes has, both of which run the resource and told: nothing of them is replicated.
fn one_sided(resource: &str, ends: Pair<End<'_, '_>>, seen: &Seen) -> Vec<Finding> {
    let volumes = Pair::from_fn(|side| {
        let running = ends[side].witness.and_then(|witness| witness.resource(resource));
        running.map(|running| running.devices.iter().map(|device| device.volume).collect::<Vec<_>>())
    });
    let (Some(a), Some(b)) = (volumes.a, volumes.b) else { return Vec::new() };
    let volumes = Pair::new(a, b);
    let mut found = Vec::new();
    for side in Side::BOTH {
        let alone: Vec<u32> =
            volumes[side].iter().copied().filter(|number| !volumes[side.other()].contains(number)).collect();
        if alone.is_empty() {
            continue;
        }
        let (has, lacks) = (&seen.link.nodes[side], &seen.link.nodes[side.other()]);
        let words = |numbers: &[u32]| numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
        let all = |side: Side| {
            reason(
                Source::State,
                Some(&seen.link.nodes[side]),
                match words(&volumes[side]) {
                    none if none.is_empty() => "no volume is up".to_owned(),
                    some => format!("volumes up: {some}"),
                },
            )
        };
        let which = if alone.len() == 1 { "volume" } else { "volumes" };
        found.push(Finding {
            class: Class::NotConfigured,
            cause: None,
            says: format!("{which} {} of {resource} on {has} only; {lacks} has no copy", words(&alone)),
            nodes: vec![lacks.clone()],
            volumes: alone,
            reasons: vec![all(side), all(side.other())],
        });
    }
    found
}

/// Disks of a connected end that was not asked.
fn peer_disks(resource: &str, ends: Pair<End<'_, '_>>, seen: &Seen) -> Vec<Finding> {
    let mut found = Vec::new();
    for side in Side::BOTH {
        if ends[side].witness.is_some_and(|witness| witness.report.is_some()) {
            continue;
        }
        let Some(teller) = ends[side.other()].witness else { continue };
        let Some(connection) = teller.connection(resource, ends[side].peer) else { continue };
        for device in &connection.peer_devices {
            let volume = seen.link.volumes.iter().find(|volume| volume.volume == device.volume);
            let synced = volume.is_some_and(|volume| {
                volume.replication.iter().any(|(_, state)| state.and_then(link::working).is_some())
            });
            let client = device.info.client.unwrap_or(false);
            if let Some(state) = device.info.disk {
                let name = ends[side].peer.name;
                found.extend(nodes::judge_peer_disk(teller.name, name, device.volume, state, client, synced));
            }
        }
    }
    found
}

fn down(resource: &str, ends: Pair<End<'_, '_>>, side: Side, seen: &Seen) -> Finding {
    let name = ends[side].peer.name;
    let other = ends[side.other()].peer.name;
    let witness = ends[side].witness;
    let not_loaded = witness.is_some_and(|witness| witness.asked == Asked::NotLoaded);
    let configured = witness.and_then(|witness| witness.configured(resource));
    let (class, says) = match configured {
        Some(None) => {
            (Class::NotConfigured, format!("{name} has no configuration of {resource}; {other} runs it"))
        }
        _ => (Class::Down, format!("{resource} is down on {name} and up on {other}")),
    };
    let text =
        if not_loaded { "the DRBD module is not loaded" } else { "its DRBD does not have the resource" };
    let mut reasons = vec![reason(Source::State, Some(name), text)];
    if let Some(state) = seen.link.state[side.other()] {
        reasons.push(reason(Source::State, Some(other), state.to_string()));
    }
    Finding { class, cause: None, says, nodes: vec![name.to_owned()], volumes: Vec::new(), reasons }
}

/// The resource runs nowhere that was asked, or has no connections.
fn nowhere(resource: &str, witnesses: &[Witness<'_>]) -> Vec<Finding> {
    let up = witnesses.iter().find(|witness| witness.up(resource) == Some(true));
    let told: Vec<&Witness<'_>> =
        witnesses.iter().filter(|witness| witness.up(resource) == Some(false)).collect();
    let finding = |class, says, reasons| Finding {
        class,
        cause: None,
        says,
        nodes: told.iter().map(|witness| witness.name.to_owned()).collect(),
        volumes: Vec::new(),
        reasons,
    };
    if let Some(up) = up {
        let says = format!("{} has {resource} up without any connection", up.name);
        let reasons = vec![reason(Source::State, Some(up.name), "no peer is known to its kernel")];
        return vec![finding(Class::NotConfigured, says, reasons)];
    }
    let names: Vec<_> = told.iter().map(|witness| witness.name).collect();
    if names.is_empty() {
        return Vec::new();
    }
    let why = |witness: &&Witness<'_>| {
        let text = match (&witness.asked, witness.configured(resource)) {
            (Asked::NotLoaded, Some(Some(_))) => "configured; the DRBD module is not loaded",
            (Asked::NotLoaded, _) => "the DRBD module is not loaded",
            (_, Some(Some(_))) => "configured, not up",
            (_, Some(None)) => "not configured, not up",
            (_, None) => "not up; whether it is configured is not known",
        };
        reason(Source::State, Some(witness.name), text)
    };
    let reasons = told.iter().map(why).collect();
    let anywhere = told.iter().any(|witness| !matches!(witness.configured(resource), Some(None)));
    let on = names.join(" and ");
    if anywhere {
        vec![finding(Class::Down, format!("{resource} is down on {on}"), reasons)]
    } else {
        vec![finding(Class::NotConfigured, format!("{on}: no resource is called {resource}"), reasons)]
    }
}

/// A node that could not tell, where that leaves something open.
fn unseen(
    resource: &str,
    witness: &Witness<'_>,
    ends: &[Ends<'_>],
    witnesses: &[Witness<'_>],
) -> Option<Finding> {
    let at = witnesses.iter().position(|other| std::ptr::eq(other, witness))?;
    let as_known = ends.iter().find_map(|pair| {
        let end = Side::BOTH.into_iter().find(|side| pair[*side].1 == Some(at))?;
        Some(pair[end].0.name)
    });
    let name = as_known.unwrap_or(witness.name);
    let why = match &witness.asked {
        Asked::Unreachable(why) | Asked::Unreadable(why) => why,
        _ => return None,
    };
    Some(Finding {
        class: Class::Unseen,
        cause: None,
        says: format!("what {name} itself knows of {resource} is not known: it could not be asked"),
        nodes: vec![name.to_owned()],
        volumes: Vec::new(),
        reasons: vec![reason(Source::Silence, Some(name), why.clone())],
    })
}

/// A node that was not asked, or did not answer, as its peer knows it.
fn by_hearsay(resource: &str, ends: Pair<End<'_, '_>>, side: Side) -> NodeStanding {
    let asked = ends[side].witness.map_or(Asked::NotAsked, |witness| witness.asked.clone());
    let connection =
        ends[side.other()].witness.and_then(|teller| teller.connection(resource, ends[side].peer));
    NodeStanding {
        node: ends[side].peer.name.to_owned(),
        told: asked,
        generation: None,
        up: None,
        configured: None,
        role: connection.and_then(|connection| connection.info.peer_role),
        quorum: None,
        suspended: Vec::new(),
        volumes: Vec::new(),
    }
}

fn healthy(nodes: &[NodeStanding], links: &[Link]) -> Finding {
    let names: Vec<_> = nodes.iter().map(|node| node.node.as_str()).collect();
    let (last, rest) = match names.split_last() {
        Some((last, rest)) => (*last, rest.join(", ")),
        None => ("", String::new()),
    };
    let who = if rest.is_empty() { last.to_owned() } else { format!("{rest} and {last}") };
    let reasons = links.iter().map(|link| {
        let state = link.state.a.or(link.state.b).map_or("?".to_owned(), |state| state.to_string());
        reason(
            Source::State,
            None,
            format!(
                "{} and {}: {state}, nothing is marked as different; no content was compared",
                link.nodes.a, link.nodes.b
            ),
        )
    });
    Finding {
        class: Class::Healthy,
        cause: None,
        says: format!("{who} are connected and up to date"),
        nodes: names.iter().map(|name| (*name).to_owned()).collect(),
        volumes: Vec::new(),
        reasons: reasons.collect(),
    }
}

/// Which nodes hold the same data: those connected with both disks up to date and nothing marked, or with equal generations.
fn agree(nodes: &[NodeStanding], links: &[Link]) -> Vec<Vec<String>> {
    let mut groups: Vec<Vec<String>> = Vec::new();
    let group_of =
        |groups: &[Vec<String>], name: &str| groups.iter().position(|group| group.iter().any(|n| n == name));
    for node in nodes {
        let has_data = node.volumes.iter().any(|volume| {
            matches!(volume.disk, Some(DiskState::UpToDate | DiskState::Consistent | DiskState::Outdated))
        });
        if has_data {
            groups.push(vec![node.node.clone()]);
        }
    }
    for link in links {
        let whole = |disk: Option<DiskState>| disk == Some(DiskState::UpToDate);
        let same = !link.volumes.is_empty()
            && link.volumes.iter().all(|volume| {
                let clean = volume.out_of_sync.iter().all(|(_, bytes)| bytes.unwrap_or(0) == 0);
                let connected =
                    link.state.iter().any(|(_, state)| *state == Some(ConnectionState::Connected))
                        && whole(volume.disk.a)
                        && whole(volume.disk.b);
                let equal =
                    volume.comparison.as_ref().is_some_and(|found| found.relation == Relation::InSync);
                clean && (connected || equal)
            });
        if !same {
            continue;
        }
        let (a, b) = (group_of(&groups, &link.nodes.a), group_of(&groups, &link.nodes.b));
        match (a, b) {
            (Some(a), Some(b)) if a != b => {
                let moved = groups.remove(a.max(b));
                if let Some(group) = groups.get_mut(a.min(b)) {
                    group.extend(moved);
                }
            }
            // Its peer alone vouches for it.
            (Some(at), None) => groups[at].push(link.nodes.b.clone()),
            (None, Some(at)) => groups[at].push(link.nodes.a.clone()),
            _ => {}
        }
    }
    groups
}
