//! Both nodes, reached once for whatever is asked of them: one session, and one report each however many resources.

use super::access::Access;
use super::failure::{Failure, Kind};
use super::nodes::nodes;
use super::there::MEND;
use crate::edge::peer::{PeerSpec, Session};
use crate::engine::drbd::pair::{LivePair, PairError, look, put_together};
use crate::judge::advice::resize;
use crate::model::id::{NodeName, ResourceName};
use crate::model::node::NodeReport;
use crate::model::side::Pair;
use crate::ports::node::{Node, Operated};
use std::sync::Arc;
use std::time::Duration;

/// Lets time pass.
pub type Pause = dyn Fn(Duration) + Send + Sync;

/// Both nodes: `a` is this one.
#[derive(Clone)]
pub struct Both {
    nodes: Pair<Arc<dyn Operated>>,
    peer: PeerSpec,
    session: Option<Arc<Session>>,
    pause: Arc<Pause>,
}

impl Both {
    /// This node and the named peer. `what` and `command` are said when none is named.
    ///
    /// # Errors
    /// No peer is named, or it cannot be talked to.
    pub fn reach(what: &str, access: &Access, command: &str) -> Result<Both, Failure> {
        let Some(peer) = &access.peer else {
            let whose = if what == "--all" { "the resources" } else { what };
            return Err(Failure::usage(format!(
                "the other node of {whose} must be named: both sides are needed"
            ))
            .hint(format!("unsplit {command} {what} --peer ssh:OTHER-NODE")));
        };
        access.reading.step_back()?;
        let found = nodes(Some(peer), access.peer_timeout)?;
        let Some(remote) = found.remote else {
            return Err(Failure::internal(anyhow::anyhow!("the peer was not reached")));
        };
        let local = found.local.at(access.reading.rate);
        let remote = remote.with(access.reading.there());
        Ok(Both {
            nodes: Pair::new(Arc::new(local), Arc::new(remote)),
            peer: peer.clone(),
            session: found.session,
            pause: Arc::new(std::thread::sleep),
        })
    }

    /// These nodes, whatever they are.
    #[must_use]
    pub fn of(nodes: Pair<Arc<dyn Operated>>, peer: PeerSpec, pause: Arc<Pause>) -> Both {
        Both { nodes, peer, session: None, pause }
    }

    /// How the peer was named.
    #[must_use]
    pub fn peer(&self) -> &PeerSpec {
        &self.peer
    }

    /// What the nodes are called.
    #[must_use]
    pub fn names(&self) -> Pair<NodeName> {
        self.nodes.as_ref().map(|node| node.name().clone())
    }

    /// For acting.
    #[must_use]
    pub fn operated(&self) -> Pair<&dyn Operated> {
        self.nodes.as_ref().map(|node| &**node)
    }

    /// Lets time pass.
    pub fn pause(&self) -> &Pause {
        &*self.pause
    }

    /// For asking.
    #[must_use]
    pub fn asked(&self) -> Pair<&dyn Node> {
        self.nodes.as_ref().map(|node| &**node as &dyn Node)
    }

    /// What both tell of the resource now.
    ///
    /// # Errors
    /// They are no pair, or one cannot be asked.
    pub fn look(&self, resource: &ResourceName) -> Result<LivePair, Failure> {
        look(self.asked(), resource).map_err(not_a_pair)
    }

    /// Everything that both tell now, asked once, at the same time.
    ///
    /// # Errors
    /// One of them cannot be asked.
    pub fn reports(&self) -> Result<Pair<NodeReport>, Failure> {
        let nodes = self.asked();
        let told = |node: &dyn Node| {
            let unseen = |source| PairError::Unseen { node: node.name().clone(), source };
            node.report().map_err(|source| not_a_pair(unseen(source)).hint(MEND))
        };
        let (a, b) = std::thread::scope(|scope| {
            let far = scope.spawn(|| told(nodes.b));
            (told(nodes.a), far.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        Ok(Pair::new(a?, b?))
    }

    /// What the reports tell of the resource.
    ///
    /// # Errors
    /// They are no pair, or one cannot be asked.
    pub fn paired(&self, reports: &Pair<NodeReport>, resource: &ResourceName) -> Result<LivePair, Failure> {
        let states = reports.as_ref().map(|report| report.state.clone());
        put_together(self.names(), states, resource).map_err(not_a_pair)
    }

    /// What a lost link left unread is not unreadable: it was not read.
    ///
    /// # Errors
    /// The link to the peer was lost for good.
    pub fn still_there(&self) -> Result<(), Failure> {
        match self.session.as_ref().and_then(|session| session.lost()) {
            Some(lost) => Err(Failure::evidence(lost).hint(MEND)),
            None => Ok(()),
        }
    }
}

fn not_a_pair(error: PairError) -> Failure {
    match error {
        PairError::OneMachine(_) => Failure::new(Kind::Usage, error),
        PairError::Sizes { ref resource, volume, ref smaller, .. } => {
            let next =
                format!("on {smaller}, once its backing device is as large: {}", resize(resource, volume));
            Failure::new(Kind::Evidence, error).hint(next)
        }
        _ => Failure::new(Kind::Evidence, error),
    }
}
