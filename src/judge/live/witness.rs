//! A node that was asked, or could not be.

use super::log::Log;
use super::net::Net;
use crate::model::drbd_live::Generation;
use crate::model::drbd_live::tree::{Connection, Live, Resource};
use crate::model::drbd_live::words::ConnectionState;
use crate::model::node::{Configured, DrbdSeen, NodeReport};
use crate::model::standing::Asked;

/// A node as a witness. Making one sorts its log; it then serves for all resources.
#[derive(Debug)]
pub struct Witness<'a> {
    pub(super) name: &'a str,
    pub(super) asked: Asked,
    pub(super) report: Option<&'a NodeReport>,
    pub(super) log: Log<'a>,
}

impl<'a> Witness<'a> {
    /// It told.
    #[must_use]
    pub fn told(report: &'a NodeReport) -> Witness<'a> {
        let asked = match &report.state.drbd {
            DrbdSeen::Told(_) => Asked::Told,
            DrbdSeen::NotLoaded => Asked::NotLoaded,
            DrbdSeen::Unreadable(why) => Asked::Unreadable(why.0.clone()),
        };
        Witness { name: &report.state.host, asked, report: Some(report), log: Log::of_node(report) }
    }

    /// It could not be asked.
    #[must_use]
    pub fn silent(name: &'a str, why: &str) -> Witness<'a> {
        Witness { name, asked: Asked::Unreachable(why.to_owned()), report: None, log: Log::default() }
    }

    /// Every resource that it runs or has in its configuration.
    pub fn resources(&self) -> impl Iterator<Item = &'a str> {
        let running = self.live().into_iter().flat_map(|live| &live.resources).map(|r| r.name.as_str());
        let configured = self.report.into_iter().flat_map(|report| report.configured.iter().flatten());
        running.chain(configured.map(|configured| configured.resource.as_str()))
    }

    pub(super) fn live(&self) -> Option<&'a Live> {
        match &self.report?.state.drbd {
            DrbdSeen::Told(live) => Some(live),
            _ => None,
        }
    }

    pub(super) fn generation(&self) -> Option<Generation> {
        self.live().map(|live| live.generation)
    }

    pub(super) fn resource(&self, name: &str) -> Option<&'a Resource> {
        self.live()?.resource(name)
    }

    /// Whether the resource runs there; `None`: not known.
    pub(super) fn up(&self, name: &str) -> Option<bool> {
        match self.asked {
            Asked::Told => Some(self.resource(name).is_some()),
            Asked::NotLoaded => Some(false),
            _ => None,
        }
    }

    /// What its files say of the resource; `None`: not known. `Some(None)`: nothing.
    pub(super) fn configured(&self, name: &str) -> Option<Option<&'a Configured>> {
        let all = self.report?.configured.as_ref().ok()?;
        Some(all.iter().find(|configured| configured.resource == name))
    }

    /// The connection with a peer: 9 knows it by name or, where the names are others than the nodes', by node id; 8.4 has
    /// only one.
    pub(super) fn connection(&self, resource: &str, peer: &Peer<'_>) -> Option<&'a Connection> {
        let connections = &self.resource(resource)?.connections;
        match self.generation()? {
            Generation::V84 => connections.first(),
            Generation::V9 => {
                let named = connections.iter().find(|known| known.name.as_deref() == Some(peer.name));
                named.or_else(|| {
                    let id = peer.node_id?;
                    connections.iter().find(|known| known.peer_node_id == Some(id))
                })
            }
        }
    }

    /// The resource that a device of this node belongs to, as it runs or else as its files say.
    pub(super) fn owner_of(&self, minor: u32) -> Option<&'a str> {
        let running = self.live().into_iter().flat_map(|live| &live.resources).find_map(|resource| {
            resource
                .devices
                .iter()
                .any(|device| device.minor == Some(minor))
                .then_some(resource.name.as_str())
        });
        let configured = self.report.into_iter().flat_map(|report| report.configured.iter().flatten());
        running.or_else(|| {
            configured
                .into_iter()
                .find(|known| known.volumes.iter().any(|volume| volume.minor == Some(minor)))
                .map(|known| known.resource.as_str())
        })
    }

    /// State of that connection. 8.4 has no connection while StandAlone, and says so in its other message.
    pub(super) fn connection_state(&self, resource: &str, peer: &Peer<'_>) -> Option<ConnectionState> {
        if let Some(connection) = self.connection(resource, peer) {
            return connection.info.state;
        }
        if self.generation()? != Generation::V84 {
            return None;
        }
        let resource = self.resource(resource)?;
        let said = resource.devices.iter().find_map(|device| Some(device.state84.as_ref()?.now?.connection));
        Some(said.unwrap_or(ConnectionState::StandAlone))
    }

    /// The connection's options: the kernel's, or else what the files say.
    pub(super) fn net(&self, resource: &str, peer: &Peer<'_>) -> Option<Net> {
        let running = self.connection(resource, peer).and_then(|connection| connection.options.as_ref());
        running.map(Net::of_kernel).or_else(|| {
            let configured = self.configured(resource)??;
            Some(Net::of_files(&configured.net, self.name))
        })
    }

    /// 9: its own node id.
    pub(super) fn node_id(&self, resource: &str) -> Option<u32> {
        self.resource(resource)?.options.as_ref()?.node_id
    }
}

/// A node as another one knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Peer<'a> {
    pub(super) name: &'a str,
    pub(super) node_id: Option<u32>,
}
