//! A node at the other end of a link.

use super::session::Session;
use super::told::Trouble;
use crate::format::wire::control::{Reply, Request};
use crate::model::id::NodeName;
use crate::model::node::{DeviceUser, NodeAct, NodeReport};
use crate::model::seen::{End, Why};
use crate::ports::node::{Node, Operated};
use crate::ports::replica::Unseen;
use std::sync::Arc;

/// A node whose agent is talked to.
pub struct RemoteNode {
    session: Arc<Session>,
    name: NodeName,
    peer: String,
}

impl RemoteNode {
    /// The node that the session leads to, called so.
    #[must_use]
    pub fn new(session: Arc<Session>, name: NodeName) -> RemoteNode {
        let peer = session.elsewhere().peer;
        RemoteNode { session, name, peer }
    }

    fn ask(&self, request: &Request) -> Result<Reply, Unseen> {
        match self.session.call(request, &[]) {
            Ok((Reply::Fault(fault), _)) => Err(Trouble::Fault(fault).unseen()),
            Ok((reply, _)) => Ok(reply),
            Err(lost) => Err(Trouble::Lost(lost).unseen()),
        }
    }
}

impl Node for RemoteNode {
    fn name(&self) -> &NodeName {
        &self.name
    }

    fn peer(&self) -> Option<&str> {
        Some(&self.peer)
    }

    fn report(&self) -> Result<NodeReport, Unseen> {
        match self.ask(&Request::Report)? {
            Reply::Report(report) => Ok(*report),
            _ => Err(Trouble::Nonsense.unseen()),
        }
    }

    fn users(&self, minor: u32) -> Result<Vec<DeviceUser>, Unseen> {
        match self.ask(&Request::Users { minor })? {
            Reply::Users(users) => Ok(users),
            _ => Err(Trouble::Nonsense.unseen()),
        }
    }
}

impl Operated for RemoteNode {
    fn act(&self, act: &NodeAct) -> End {
        // Not asked again over a new link: the first asking may still be under way there.
        match self.session.call_once(&Request::Act(act.clone())) {
            Ok((Reply::Ended(end), _)) => end,
            Ok((Reply::Fault(fault), _)) => End::NotDone(Why(Trouble::Fault(fault).causes().join(": "))),
            Ok(_) => End::Unknown(Why(Trouble::Nonsense.causes().join(": "))),
            Err(lost) => End::Unknown(Why(lost.to_string())),
        }
    }
}
