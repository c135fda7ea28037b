//! Who uses the side that would be overwritten: asked before the long comparison.

use super::both::Both;
use crate::engine::drbd::pair::LivePair;
use crate::model::drbd::Role;
use crate::model::id::{NodeName, ResourceName};
use crate::model::seen::in_words;
use crate::model::side::Side;
use serde::Serialize;

/// Somebody who uses a device, or why that is not known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct User {
    /// The volume.
    pub volume: u32,
    /// Minor number of `/dev/drbdN` there.
    pub minor: u32,
    /// Who; null when it could not be found out.
    pub who: Option<String>,
    /// What ends it, where that is known.
    pub ends_with: Option<String>,
    /// Why it is not known who.
    pub not_known: Option<String>,
}

/// Everybody who uses a node's devices of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InUse {
    /// The node.
    pub node: NodeName,
    /// The resource.
    pub resource: ResourceName,
    /// The users; empty when nobody does.
    pub users: Vec<User>,
}

/// Asks who uses the resource on the side that would be overwritten. Nobody can have a Secondary's devices open.
#[must_use]
pub fn in_use(both: &Both, pair: &LivePair, victim: Side) -> InUse {
    let node = both.operated()[victim];
    let mut users = Vec::new();
    for volume in pair.volumes.iter().filter(|volume| volume.backing[victim].role != Role::Secondary) {
        let (number, minor) = (volume.volume, volume.minors[victim]);
        let user = |who, ends_with, not_known| User { volume: number, minor, who, ends_with, not_known };
        match node.users(minor) {
            Ok(found) => {
                users.extend(found.into_iter().map(|found| user(Some(found.who), found.ends_with, None)));
            }
            Err(why) => users.push(user(None, None, Some(in_words(&why)))),
        }
    }
    InUse { node: pair.names[victim].clone(), resource: pair.resource.clone(), users }
}
