//! Plans that fence the peer.

use crate::model::id::NodeName;
use crate::model::node::Toward;
use crate::model::plan::fence::{Ground, Step};
use crate::model::plan::{self, Plan, Purpose, VERSION};
use crate::model::side::{Pair, Side};
use crate::model::verdict::Trace;

/// Draws it. `survivor` is the side that stays; `toward` is the peer's connection to it.
#[must_use]
pub fn draw(names: Pair<NodeName>, survivor: Side, (peer, toward): (String, Toward), trace: Trace) -> Plan {
    Plan {
        version: VERSION,
        purpose: Purpose::Fence,
        resource: toward.resource.clone(),
        names,
        survivor,
        salvage: true,
        volumes: Vec::new(),
        ground: plan::Ground::Fence(Ground { peer, toward, steps: vec![Step::Fence] }),
        trace,
    }
}
