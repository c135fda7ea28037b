//! One connection, seen from one or both ends.

use super::net::{Mismatch, Net};
use super::view::{marked_sectors, view_live};
use super::witness::{Peer, Witness};
use crate::judge::lineage::{BOTH_PRIMARY, Handshake, Incomparable, compare_in, handshake::WireProtocol};
use crate::model::drbd::{self, MetadataFormat};
use crate::model::drbd_live::object::Value;
use crate::model::drbd_live::tree::{Device, PeerDevice};
use crate::model::drbd_live::words::{ConnectionState, ReplicationState, Role};
use crate::model::lineage::{Comparison, Lineage, Reconnect};
use crate::model::policy::Settings;
use crate::model::side::{Pair, Side};
use crate::model::standing::{Link, LinkVolume};
use drbd_sys::metadata::SECTOR_BYTES;

/// An end of a connection: the node, and what it was asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct End<'w, 'a> {
    pub(super) peer: &'w Peer<'w>,
    pub(super) witness: Option<&'w Witness<'a>>,
}

/// A connection and what of it the judging needs beside what is shown.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) link: Link,
    pub(super) mismatches: Vec<Mismatch>,
    pub(super) both_primary_refused: bool,
    /// The node ids that do not fit, if any do not.
    pub(super) node_ids: Option<Vec<NodeIdSaid>>,
}

/// What a node says of node ids, where it does not fit what the other one says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NodeIdSaid {
    /// Who says it.
    pub(super) node: String,
    /// What.
    pub(super) says: String,
}

/// Each node's own id against the one under which the other one knows it.
fn node_ids(resource: &str, ends: Pair<End<'_, '_>>) -> Option<Vec<NodeIdSaid>> {
    let mut found = Vec::new();
    for side in Side::BOTH {
        let (me, peer) = (ends[side].peer.name, ends[side.other()].peer.name);
        let own = ends[side].witness.and_then(|witness| witness.node_id(resource));
        let teller = ends[side.other()].witness;
        let known = teller.and_then(|witness| witness.connection(resource, ends[side].peer)?.peer_node_id);
        if let (Some(own), Some(known)) = (own, known)
            && own != known
        {
            found.push(NodeIdSaid { node: me.to_owned(), says: format!("{me} is node {own}") });
            found.push(NodeIdSaid { node: peer.to_owned(), says: format!("{me} is node {known}") });
        }
    }
    (!found.is_empty()).then_some(found)
}

impl End<'_, '_> {
    pub(super) fn up(&self, resource: &str) -> Option<bool> {
        self.witness.and_then(|witness| witness.up(resource))
    }
}

/// Reads a connection.
pub(super) fn see(resource: &str, ends: Pair<End<'_, '_>>) -> Seen {
    let from = |side: Side| (ends[side].witness, ends[side.other()].peer);
    let state = Pair::from_fn(|side| {
        let (witness, peer) = from(side);
        witness?.connection_state(resource, peer)
    });
    let net: Pair<Option<Net>> = Pair::from_fn(|side| {
        let (witness, peer) = from(side);
        witness?.net(resource, peer)
    });
    let roles = Pair::from_fn(|side| ends[side].witness?.resource(resource)?.info.role);
    let two_primaries = net.a.as_ref().is_none_or(|net| net.two_primaries)
        && net.b.as_ref().is_none_or(|net| net.two_primaries);
    let both_primary_refused = roles == Pair::new(Some(Role::Primary), Some(Role::Primary)) && !two_primaries;
    let mismatches = match (&net.a, &net.b) {
        (Some(a), Some(b)) => a.mismatches(b),
        _ => Vec::new(),
    };
    let mut numbers: Vec<u32> = Vec::new();
    for (_, end) in ends.iter() {
        if let Some(known) = end.witness.and_then(|witness| witness.resource(resource)) {
            numbers.extend(known.devices.iter().map(|device| device.volume));
        }
    }
    numbers.sort_unstable();
    numbers.dedup();
    let settings = match (&net.a, &net.b) {
        (Some(a), b) => a.settings(b.as_ref()),
        (None, Some(b)) => b.settings(None),
        (None, None) => Settings::drbd_defaults(),
    };
    let node_ids = node_ids(resource, ends);
    let with = Circumstances { ends, net: &net, settings: &settings, ids_fit: node_ids.is_none() };
    let mut volumes: Vec<LinkVolume> =
        numbers.into_iter().map(|number| with.volume(resource, number)).collect();
    for comparison in volumes.iter_mut().filter_map(|volume| volume.comparison.as_mut()) {
        refuse_first(comparison, &mismatches, both_primary_refused);
        if two_primaries {
            // Said for those who may have forgotten to allow it.
            comparison.quirks.retain(|quirk| !quirk.starts_with(BOTH_PRIMARY));
        }
        if net.a.is_none() && net.b.is_none() {
            let text = "The options of this connection could not be read; DRBD's defaults were assumed.";
            comparison.quirks.push(text.to_owned());
        }
    }
    Seen {
        link: Link { nodes: Pair::from_fn(|side| ends[side].peer.name.to_owned()), state, volumes },
        mismatches,
        both_primary_refused,
        node_ids,
    }
}

/// What DRBD refuses before it compares anything.
fn refuse_first(comparison: &mut Comparison, mismatches: &[Mismatch], both_primary: bool) {
    if let Some(mismatch) = mismatches.first() {
        let because = format!("incompatible {} settings", mismatch.option);
        comparison.reconnect = Reconnect::Disconnect { because };
    } else if both_primary
        && matches!(comparison.reconnect, Reconnect::Connect { .. } | Reconnect::Resync { .. })
    {
        let because = "both are Primary, and allow-two-primaries is not set".to_owned();
        comparison.reconnect = Reconnect::Disconnect { because };
    }
}

struct Circumstances<'s, 'w, 'a> {
    ends: Pair<End<'w, 'a>>,
    net: &'s Pair<Option<Net>>,
    settings: &'s Settings,
    /// Without that each node's bitmap and generation "toward the other" are those toward somebody else.
    ids_fit: bool,
}

impl Circumstances<'_, '_, '_> {
    fn device(&self, side: Side, resource: &str, number: u32) -> Option<&Device> {
        let known = self.ends[side].witness?.resource(resource)?;
        known.devices.iter().find(|device| device.volume == number)
    }

    fn peer_device(&self, side: Side, resource: &str, number: u32) -> Option<&PeerDevice> {
        let connection = self.ends[side].witness?.connection(resource, self.ends[side.other()].peer)?;
        connection.peer_devices.iter().find(|peer| peer.volume == number)
    }

    fn volume(&self, resource: &str, number: u32) -> LinkVolume {
        let toward = Pair::from_fn(|side| self.peer_device(side, resource, number));
        let devices = Pair::from_fn(|side| self.device(side, resource, number));
        let views = Pair::from_fn(|side| {
            let end = &self.ends[side];
            let witness = end.witness?;
            let connection = witness.connection(resource, self.ends[side.other()].peer);
            let view =
                view_live(witness.generation()?, witness.resource(resource)?, devices[side]?, connection);
            Some(view.map_err(|why| format!("{}: {why}", end.peer.name)))
        });
        let lineages =
            Pair::from_fn(|side| views[side].as_ref().and_then(|view| view.as_ref().ok()).cloned());
        let (comparison, not_compared) = match (&lineages.a, &lineages.b) {
            (Some(_), Some(_)) if !self.ids_fit => {
                (None, Some("the node ids do not fit: each bitmap may be one toward another node".to_owned()))
            }
            (Some(a), Some(b)) => match self.compare(Pair::new(a, b), toward) {
                Ok(found) => (Some(found), None),
                Err(why) => (None, Some(why.to_string())),
            },
            _ => {
                let name = |side: Side| self.ends[side].peer.name;
                let lacks =
                    |side: &Side| views[*side].is_none() && self.ends[*side].up(resource) == Some(true);
                let lacking = Side::BOTH.into_iter().find(lacks);
                let why =
                    lacking.map(|side| format!("{} has no volume {number}", name(side))).or_else(|| {
                        Side::BOTH.into_iter().find_map(|side| match &views[side] {
                            Some(Err(why)) => Some(why.clone()),
                            Some(Ok(_)) => None,
                            None => Some(format!("{} was not seen", name(side))),
                        })
                    });
                (None, why)
            }
        };
        let once_free =
            comparison.as_ref().and(lineages.a.as_ref().zip(lineages.b.as_ref())).and_then(|(a, b)| {
                let demoted =
                    Pair::new(a, b).map(|lineage| Lineage { role: drbd::Role::Secondary, ..lineage.clone() });
                self.compare(demoted.as_ref(), toward).ok().map(|found| found.reconnect)
            });
        LinkVolume {
            volume: number,
            once_free,
            replication: toward.map(|peer| peer.and_then(|peer| peer.info.replication)),
            disk: Pair::from_fn(|side| {
                let own = devices[side].and_then(|device| device.info.disk);
                own.or_else(|| toward[side.other()].and_then(|peer| peer.info.disk))
            }),
            out_of_sync: Pair::from_fn(|side| {
                let witness = self.ends[side].witness?;
                let connection = witness.connection(resource, self.ends[side.other()].peer);
                let sectors = marked_sectors(witness.generation()?, devices[side]?, connection);
                sectors.map(|sectors| sectors.saturating_mul(SECTOR_BYTES))
            }),
            done: Side::BOTH.into_iter().find_map(|side| done(devices[side], toward[side])),
            lineages,
            comparison,
            not_compared,
        }
    }

    fn compare(
        &self,
        lineages: Pair<&Lineage>,
        toward: Pair<Option<&PeerDevice>>,
    ) -> Result<Comparison, Incomparable> {
        let names = Pair::from_fn(|side| self.ends[side].peer.name);
        let mut with = Handshake::newest(lineages.a.format);
        let protocol = self.net.a.as_ref().or(self.net.b.as_ref()).map(|net| net.protocol.as_str());
        with.wire = match protocol {
            Some("A") => WireProtocol::A,
            Some("B") => WireProtocol::B,
            _ => WireProtocol::C,
        };
        if lineages.a.format == MetadataFormat::V09 {
            // A node that holds the other's flags talked to it since it came up.
            with.reconnect = Pair::from_fn(|side| {
                toward[side].and_then(|peer| peer.statistics.uuid_flags).is_some_and(|flags| flags != 0)
            });
        }
        with.discard_my_data =
            Pair::from_fn(|side| self.net[side].as_ref().is_some_and(|net| net.discard_my_data));
        compare_in(lineages, names, self.settings, &with)
    }
}

/// How far a resync or verify is, in tenths of a percent.
fn done(device: Option<&Device>, peer: Option<&PeerDevice>) -> Option<u32> {
    let peer = peer?;
    let running = peer.info.replication.is_some_and(|state| working(state).is_some());
    let number = |name: &str| {
        let found = peer.statistics.others.iter().find(|setting| setting.name == name)?;
        match found.value {
            Value::Number(number) => Some(number),
            _ => None,
        }
    };
    let verify = matches!(peer.info.replication?, ReplicationState::VerifyS | ReplicationState::VerifyT);
    let (total, left) = if let Some(total) = number("peer_dev_rs_total").filter(|total| *total > 0) {
        let left = if verify { number("peer_dev_ov_left")? } else { peer.statistics.out_of_sync? };
        (total, left)
    } else {
        let state = device?.state84.as_ref().filter(|_| !verify)?;
        let total = state.others.iter().find(|setting| setting.name == "bits_rs_total")?;
        match total.value {
            Value::Number(total) if total > 0 => (total, state.bits_out_of_sync?),
            _ => return None,
        }
    };
    let thousandths = u128::from(total.saturating_sub(left)) * 1000 / u128::from(total);
    u32::try_from(thousandths).ok().filter(|_| running)
}

/// What a replication state means while connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// A resync; the end that shows this state is its source.
    From,
    /// A resync; the end that shows this state is its target.
    To,
    /// The same, waiting.
    PausedFrom,
    /// The same, waiting.
    PausedTo,
    /// An online verify.
    Verify,
}

pub(super) fn working(state: ReplicationState) -> Option<Work> {
    use ReplicationState as R;
    Some(match state {
        R::StartingSyncS | R::WFBitMapS | R::SyncSource => Work::From,
        R::StartingSyncT | R::WFBitMapT | R::WFSyncUuid | R::SyncTarget => Work::To,
        R::PausedSyncS | R::Ahead => Work::PausedFrom,
        R::PausedSyncT | R::Behind => Work::PausedTo,
        R::VerifyS | R::VerifyT => Work::Verify,
        R::Off | R::Established | R::Other(_) => return None,
    })
}

/// Between two states: it is on its way to another.
pub(super) fn trying(state: ConnectionState) -> bool {
    use ConnectionState as C;
    matches!(
        state,
        C::Connecting
            | C::Unconnected
            | C::Timeout
            | C::BrokenPipe
            | C::NetworkFailure
            | C::ProtocolError
            | C::TearDown
    )
}
