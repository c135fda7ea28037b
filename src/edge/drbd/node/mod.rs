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

use crate::model::id::NodeName;
use crate::model::node::{DeviceUser, NodeAct, NodeReport};
use crate::model::seen::End;
use crate::ports::node::{Node, Operated};
use crate::ports::replica::Unseen;

/// This machine.
#[derive(Debug)]
pub struct LocalNode {
    name: NodeName,
}

impl LocalNode {
    /// This machine, called so.
    #[must_use]
    pub fn new(name: NodeName) -> LocalNode {
        LocalNode { name }
    }
}

impl Node for LocalNode {
    fn name(&self) -> &NodeName {
        &self.name
    }

    fn report(&self) -> Result<NodeReport, Unseen> {
        Ok(report::report())
    }

    fn users(&self, minor: u32) -> Result<Vec<DeviceUser>, Unseen> {
        users::users(minor)
    }
}

impl Operated for LocalNode {
    fn act(&self, act: &NodeAct) -> End {
        acts::act(act)
    }
}
