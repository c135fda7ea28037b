//! A node with running DRBD resources: asking it, and, separately, acting on it.

use super::replica::Unseen;
use crate::model::id::NodeName;
use crate::model::node::{DeviceUser, NodeAct, NodeReport};
use crate::model::seen::End;

/// Asking a node.
pub trait Node: Send + Sync {
    /// What it is called.
    fn name(&self) -> &NodeName;
    /// How it is reached when it is not this machine: `--peer`'s words.
    fn peer(&self) -> Option<&str> {
        None
    }
    /// Everything its DRBD tells now.
    ///
    /// # Errors
    /// [`Unseen`]: the node could not be asked. What of its answer could not be read says so itself.
    fn report(&self) -> Result<NodeReport, Unseen>;
    /// Who uses the device `/dev/drbdN` now.
    ///
    /// # Errors
    /// [`Unseen`].
    fn users(&self, minor: u32) -> Result<Vec<DeviceUser>, Unseen>;
}

/// Acting on a node. What may be asked when is the engine's to prove.
pub trait Operated: Node {
    /// Does it, waits until the kernel shows it, and says how it ended.
    fn act(&self, act: &NodeAct) -> End;
}
