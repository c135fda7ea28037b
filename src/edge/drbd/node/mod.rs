//! This machine as a node: what its DRBD tells, who uses its devices, and acts on its resources.
//!
//! | file | holds |
//! |---|---|
//! | `report` | what DRBD, its configuration and the kernel's log say |
//! | `users` | who has a device open |
//! | `acts` | the acts, by DRBD's own tools |

mod acts;
mod report;
mod users;

use super::offline::OfflineReplica;
use crate::edge::blockdev::{BlockFile, Mode};
use crate::edge::pace::Pace;
use crate::model::evidence::Trust;
use crate::model::id::NodeName;
use crate::model::node::{ConnectAs, DeviceUser, LogLine, NodeAct, NodeReport, NodeState, Toward};
use crate::model::seen::{End, Why};
use crate::ports::disk::DiskMut;
use crate::ports::node::{Backing, Node, Operated};
use crate::ports::replica::{Replica, Unseen};
use crate::proof::{FencedPeer, Permit, Preserved, Standstill};
use std::path::Path;
use std::sync::Arc;

/// This machine.
#[derive(Debug)]
pub struct LocalNode {
    name: NodeName,
    rate: Option<u64>,
}

impl LocalNode {
    /// This machine, called so.
    #[must_use]
    pub fn new(name: NodeName) -> LocalNode {
        LocalNode { name, rate: None }
    }

    /// At most that many bytes per second are read of each of its disks.
    #[must_use]
    pub fn at(self, rate: Option<u64>) -> LocalNode {
        LocalNode { rate, ..self }
    }
}

impl Node for LocalNode {
    fn name(&self) -> &NodeName {
        &self.name
    }

    fn state(&self) -> Result<NodeState, Unseen> {
        Ok(report::state())
    }

    fn log(&self) -> Result<Result<Vec<LogLine>, Why>, Unseen> {
        Ok(report::logged())
    }

    fn report(&self) -> Result<NodeReport, Unseen> {
        Ok(report::report())
    }

    fn users(&self, minor: u32) -> Result<Vec<DeviceUser>, Unseen> {
        users::users(minor)
    }

    fn replica(&self, backing: &Backing) -> Result<Box<dyn Replica>, Unseen> {
        let pace = || self.rate.map(|rate| Arc::new(Pace::new(rate)));
        let open = |path: &str, mode| {
            BlockFile::open(Path::new(path), mode).map(|disk| Arc::new(disk.paced(pace()))).map_err(unseen)
        };
        let data = open(&backing.data, Mode::ReadOnly)?;
        let metadata = backing.metadata.as_deref().map(|path| open(path, Mode::ReadOnly)).transpose()?;
        let replica = OfflineReplica::open_with(
            self.name.clone(),
            data,
            metadata,
            backing.place,
            Some(backing.role),
            Trust::Attached,
        );
        Ok(Box::new(replica.map_err(unseen)?))
    }
}

impl Operated for LocalNode {
    fn act(&self, act: &NodeAct, _: &Permit<'_>) -> End {
        if act.needs_a_proof() {
            return End::NotDone("what gives up data, or promotes, asks for a proof".into());
        }
        acts::act(act)
    }

    fn discard(&self, toward: &Toward, _: &Standstill, _: &[Preserved], _: &Permit<'_>) -> End {
        acts::act(&NodeAct::Connect { toward: toward.clone(), how: ConnectAs::Victim })
    }

    fn invalidate(
        &self,
        volume: u32,
        minor: u32,
        still: &Standstill,
        _: &[Preserved],
        _: &Permit<'_>,
    ) -> End {
        acts::act(&NodeAct::Invalidate { resource: still.toward().resource.clone(), volume, minor })
    }

    fn promote(&self, peer: &FencedPeer, _: &Permit<'_>) -> End {
        acts::act(&NodeAct::Promote { resource: peer.resource().clone() })
    }

    fn device(&self, minor: u32, _: &Permit<'_>) -> Result<Arc<dyn DiskMut>, Unseen> {
        let path = format!("/dev/drbd{minor}");
        let device = BlockFile::open(Path::new(&path), Mode::ReadWrite).map_err(unseen)?;
        Ok(Arc::new(device))
    }
}

/// For the agent: an act whose proofs are with the asking side's engine.
pub fn act_as_told(act: &NodeAct) -> End {
    acts::act(act)
}

fn unseen(error: impl std::error::Error + Send + Sync + 'static) -> Unseen {
    Unseen(Box::new(error))
}
