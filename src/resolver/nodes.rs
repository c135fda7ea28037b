//! This node, and its peer when one is named.

use super::failure::Failure;
use super::there::{MEND, connect};
use crate::edge::drbd::node::LocalNode;
use crate::edge::peer::greet::ourselves;
use crate::edge::peer::{PeerSpec, RemoteNode, Session};
use crate::model::id::NodeName;
use crate::model::node::{DrbdSeen, NodeReport, NodeState};
use crate::ports::node::Node;
use crate::ports::replica::Unseen;
use std::sync::Arc;

/// This node, and the peer.
pub struct Nodes {
    /// This one.
    pub local: LocalNode,
    /// The other one, if it was named.
    pub remote: Option<RemoteNode>,
    /// The way to it, for what else is asked there.
    pub session: Option<Arc<Session>>,
}

/// This machine as a node.
///
/// # Errors
/// It calls itself by a name that nothing else could.
pub fn local() -> Result<LocalNode, Failure> {
    Ok(LocalNode::new(name(&ourselves(None).host)?))
}

fn name(host: &str) -> Result<NodeName, Failure> {
    NodeName::new(host).map_err(|error| {
        Failure::evidence(anyhow::Error::new(error).context("a node's host name cannot be used"))
    })
}

/// This node and, over a new session, its peer. `silence`: seconds after which a peer that says nothing counts as gone.
///
/// # Errors
/// The peer cannot be talked to, with what to do.
pub fn nodes(peer: Option<&PeerSpec>, silence: u16) -> Result<Nodes, Failure> {
    let local = local()?;
    let Some(peer) = peer else { return Ok(Nodes { local, remote: None, session: None }) };
    let session = connect(peer, silence)?;
    let remote = RemoteNode::new(Arc::clone(&session), name(&session.elsewhere().host)?);
    Ok(Nodes { local, remote: Some(remote), session: Some(session) })
}

/// What both nodes tell, asked at the same time.
pub struct Reports {
    /// This one.
    pub local: NodeReport,
    /// The other one, if it was named.
    pub remote: Option<NodeReport>,
}

impl Nodes {
    /// Asks both, at the same time.
    ///
    /// # Errors
    /// One of them could not be asked, or the peer is this very node.
    pub fn reports(&self) -> Result<Reports, Failure> {
        let failed = |node: &dyn Node, Unseen(why): Unseen| {
            Failure::evidence(anyhow::anyhow!("{}: {why}", node.name())).hint(MEND)
        };
        let (local, remote) = std::thread::scope(|scope| {
            let there = self.remote.as_ref().map(|remote| scope.spawn(|| remote.report()));
            let here = self.local.report();
            let died = || Err(Unseen("the thread that asks it died".into()));
            (here, there.map(|there| there.join().unwrap_or_else(|_| died())))
        });
        let local = local.map_err(|why| failed(&self.local, why))?;
        let remote = match (remote, &self.remote) {
            (Some(told), Some(node)) => Some(told.map_err(|why| failed(node, why))?),
            _ => None,
        };
        if let Some(remote) = &remote {
            not_ourselves(&local, remote)?;
        }
        Ok(Reports { local, remote })
    }
}

/// One running kernel has one DRBD, whatever it is called.
fn not_ourselves(local: &NodeReport, remote: &NodeReport) -> Result<(), Failure> {
    let same = match (&local.state.boot, &remote.state.boot) {
        (Some(here), Some(there)) => here == there,
        _ => local.state.host == remote.state.host && local.state.machine == remote.state.machine,
    };
    if same {
        return Err(Failure::usage(format!(
            "the peer {} is this very machine: --peer must name the resource's other node",
            remote.state.host
        )));
    }
    Ok(())
}

/// The backing devices of these resources, as a node's kernel names them.
#[must_use]
pub fn backing_devices(state: &NodeState, names: &[&str]) -> Vec<String> {
    let DrbdSeen::Told(live) = &state.drbd else { return Vec::new() };
    let devices = names.iter().filter_map(|name| live.resource(name)).flat_map(|resource| &resource.devices);
    devices
        .filter_map(|device| {
            let options = device.disk_options.as_ref();
            options
                .and_then(|options| options.backing_device.clone())
                .or_else(|| device.info.backing_device.clone())
        })
        .collect()
}
