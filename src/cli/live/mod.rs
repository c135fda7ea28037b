//! Running resources: this node, and its peer when `--peer` names one.
//!
//! | file | holds |
//! |---|---|
//! | `target` | which words of a command line mean what |
//! | `both` | both nodes, reached and asked once |
//! | `turns` | a few things at a time, results in order |
//! | `volumes` | the volumes of a resource, opened and compared |
//! | `in_use` | who uses the side that would be overwritten |
//! | `drawing` | from two nodes to a plan |
//! | `diff`, `plan`, `resolve`, `undo`, `status` | the commands, about one resource |
//! | `discarded` | undo of what DRBD itself discarded |
//! | `chosen`, `several`, `list` | about several: which, what is done, what came of each |
//! | `ending` | how a run ended |

pub mod both;
mod chosen;
pub mod diff;
pub mod discarded;
mod drawing;
mod ending;
pub mod in_use;
pub mod list;
mod page;
pub mod plan;
pub mod resolve;
pub mod several;
pub mod status;
mod target;
mod turns;
pub mod undo;
mod volumes;

pub use target::{OneTargetArgs, Target, TargetArgs, Wanted, load, meant, planned};
pub use volumes::only_volume;

use super::exit::Failure;
use super::peer::connect;
use crate::edge::drbd::node::LocalNode;
use crate::edge::peer::greet::ourselves;
use crate::edge::peer::{PeerSpec, RemoteNode, Session};
use crate::model::id::NodeName;
use crate::model::node::NodeReport;
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
/// Exit code 4: the peer cannot be talked to, with what to do.
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
    /// Exit code 4: one of them could not be asked. Exit code 2: the peer is this very node.
    pub fn reports(&self) -> Result<Reports, Failure> {
        let failed = |node: &dyn Node, Unseen(why): Unseen| {
            Failure::evidence(anyhow::anyhow!("{}: {why}", node.name())).hint(super::peer::MEND)
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
