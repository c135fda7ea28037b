//! A node at the other end of a link.

use super::replica::{Address, RemoteReplica};
use super::session::Session;
use super::told::Trouble;
use crate::format::wire::control::{Courtesy, Reply, Request};
use crate::model::id::NodeName;
use crate::model::node::{ConnectAs, DeviceUser, NodeAct, NodeReport, Toward};
use crate::model::seen::{End, Why};
use crate::ports::disk::DiskMut;
use crate::ports::node::{Backing, Node, Operated};
use crate::ports::replica::{Replica, Unseen};
use crate::proof::{Preserved, Standstill};
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

    fn replica(&self, backing: &Backing) -> Result<Box<dyn Replica>, Unseen> {
        // A session of its own: one session opens one thing, which it opens again after its link died.
        let limits = self.session.limits();
        let session =
            Session::connect(self.session.spec(), limits).map_err(|error| Unseen(Box::new(error)))?;
        let address = Address {
            name: self.name.clone(),
            data: backing.data.clone(),
            metadata: backing.metadata.clone(),
            place: backing.place,
            role: Some(backing.role),
            write: false,
            courtesy: Courtesy::default(),
        };
        let replica = RemoteReplica::open(&session, address).map_err(Trouble::unseen)?;
        Ok(Box::new(replica))
    }
}

impl RemoteNode {
    fn told(&self, act: &NodeAct) -> End {
        // Not asked again over a new link: the first asking may still be under way there.
        match self.session.call_once(&Request::Act(act.clone())) {
            Ok((Reply::Ended(end), _)) => end,
            Ok((Reply::Fault(fault), _)) => End::NotDone(Why(Trouble::Fault(fault).causes().join(": "))),
            Ok(_) => End::Unknown(Why(Trouble::Nonsense.causes().join(": "))),
            Err(lost) => End::Unknown(Why(lost.to_string())),
        }
    }
}

impl Operated for RemoteNode {
    fn act(&self, act: &NodeAct) -> End {
        if act.discards() {
            return End::NotDone("what gives up data asks for proofs".into());
        }
        self.told(act)
    }

    fn discard(&self, toward: &Toward, _: &Standstill, _: &[Preserved]) -> End {
        self.told(&NodeAct::Connect { toward: toward.clone(), how: ConnectAs::Victim })
    }

    fn invalidate(&self, volume: u32, minor: u32, still: &Standstill, _: &[Preserved]) -> End {
        self.told(&NodeAct::Invalidate { resource: still.toward().resource.clone(), volume, minor })
    }

    fn device(&self, minor: u32) -> Result<Arc<dyn DiskMut>, Unseen> {
        Err(Unseen(format!("/dev/drbd{minor} of another node cannot be written from here").into()))
    }
}
