//! A node with running DRBD resources: asking it, and, separately, acting on it.

use super::disk::DiskMut;
use super::replica::{Replica, Unseen};
use crate::model::drbd::Role;
use crate::model::evidence::MetadataPlace;
use crate::model::id::NodeName;
use crate::model::node::{DeviceUser, LogLine, NodeAct, NodeReport, NodeState, Toward};
use crate::model::seen::{End, Why};
use crate::proof::{FencedPeer, Permit, Preserved, Standstill};
use std::sync::Arc;

/// Where a volume of a running resource is on its node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backing {
    /// Path of the backing device.
    pub data: String,
    /// Path of the metadata device, if it is another one.
    pub metadata: Option<String>,
    /// Where on it the metadata stands, if that is known.
    pub place: Option<MetadataPlace>,
    /// The node's role for the resource now.
    pub role: Role,
}

/// Asking a node.
pub trait Node: Send + Sync {
    /// What it is called.
    fn name(&self) -> &NodeName;
    /// How it is reached when it is not this machine: `--peer`'s words.
    fn peer(&self) -> Option<&str> {
        None
    }
    /// What its kernel tells now, and nothing that takes longer.
    ///
    /// # Errors
    /// [`Unseen`]: the node could not be asked.
    fn state(&self) -> Result<NodeState, Unseen>;
    /// What its kernel logged about DRBD lately, oldest first; the inner `Err` says why that is not known.
    ///
    /// # Errors
    /// [`Unseen`]: the node could not be asked.
    fn log(&self) -> Result<Result<Vec<LogLine>, Why>, Unseen>;
    /// Everything: its state, its configuration, its log.
    ///
    /// # Errors
    /// [`Unseen`]: the node could not be asked. What of its answer could not be read says so itself.
    fn report(&self) -> Result<NodeReport, Unseen>;
    /// Who uses the device `/dev/drbdN` now.
    ///
    /// # Errors
    /// [`Unseen`].
    fn users(&self, minor: u32) -> Result<Vec<DeviceUser>, Unseen>;
    /// Opens the backing device of a volume for reading, beside DRBD.
    ///
    /// # Errors
    /// [`Unseen`].
    fn replica(&self, backing: &Backing) -> Result<Box<dyn Replica>, Unseen>;
}

/// Acting on a node, within a declared step.
pub trait Operated: Node {
    /// Does something that is safe at any time, waits until the kernel shows it, and says how it ended. An act that
    /// asks for a proof ([`NodeAct::needs_a_proof`]) is not done.
    fn act(&self, act: &NodeAct, permit: &Permit<'_>) -> End;
    /// Connects and takes over the peer's data. Asks for the proofs that nobody writes here, and that what is given up
    /// was kept.
    fn discard(&self, toward: &Toward, still: &Standstill, kept: &[Preserved], permit: &Permit<'_>) -> End;
    /// Declares a volume out of date, with the same proofs.
    fn invalidate(
        &self,
        volume: u32,
        minor: u32,
        still: &Standstill,
        kept: &[Preserved],
        permit: &Permit<'_>,
    ) -> End;
    /// Takes the Primary role, never by force. Asks for the proof that the peer cannot write meanwhile.
    fn promote(&self, peer: &FencedPeer, permit: &Permit<'_>) -> End;
    /// `/dev/drbdN` of a Primary, for writing. Only on this machine.
    ///
    /// # Errors
    /// [`Unseen`].
    fn device(&self, minor: u32, permit: &Permit<'_>) -> Result<Arc<dyn DiskMut>, Unseen>;
}
