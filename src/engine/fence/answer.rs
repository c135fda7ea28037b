//! The peer itself says that it does not write: its DRBD is Secondary and connected.

use crate::model::node::{DrbdSeen, Toward};
use crate::ports::fence::Fencer;
use crate::ports::node::Node;
use crate::proof::{FencedPeer, NotFenced, Permit};

/// Asks the peer.
pub struct ByItsAnswer<'n> {
    /// The peer.
    pub peer: &'n dyn Node,
}

impl Fencer for ByItsAnswer<'_> {
    fn fence(&self, toward: &Toward, _: &Permit<'_>) -> Result<FencedPeer, NotFenced> {
        let name = toward.resource.as_str();
        let told = self.peer.state().map_err(|why| NotFenced(why.to_string()))?;
        let known = match &told.drbd {
            DrbdSeen::Told(live) => live.resources.iter().find(|known| known.name == name),
            DrbdSeen::NotLoaded | DrbdSeen::Unreadable(_) => None,
        };
        let known = known.ok_or_else(|| NotFenced(format!("{name} is not known on the peer")))?;
        FencedPeer::by_its_answer(known, toward)
    }
}
