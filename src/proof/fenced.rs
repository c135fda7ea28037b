//! Proof that the peer of a resource cannot write: what makes a promotion safe.

use crate::model::drbd_live::tree::Resource;
use crate::model::drbd_live::words::{ConnectionState, Role};
use crate::model::id::ResourceName;
use crate::model::node::Toward;

/// The peer may write, or nobody knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotFenced(pub String);

/// The peer of a resource cannot write to it. Whatever makes a node Primary asks for it:
///
/// ```compile_fail,E0061
/// use unsplit::{model::{id::ResourceName, seen::End}, ports::node::Operated, proof::Permit};
/// fn promote(node: &dyn Operated, resource: &ResourceName, permit: &Permit<'_>) -> End {
///     node.promote(resource, permit)
/// }
/// ```
/// ```
/// use unsplit::{model::{id::ResourceName, seen::End}, ports::node::Operated, proof::{FencedPeer, Permit}};
/// fn promote(node: &dyn Operated, peer: &FencedPeer, permit: &Permit<'_>) -> End {
///     node.promote(peer, permit)
/// }
/// ```
///
/// It is proven, never made:
///
/// ```compile_fail,E0451
/// use unsplit::{model::id::ResourceName, proof::FencedPeer};
/// fn forge(resource: ResourceName) -> FencedPeer {
///     FencedPeer { resource }
/// }
/// ```
///
/// So far a peer proves it by answering that it is Secondary and connected. DRBD then lets it become Primary only if this
/// node is not; where two Primaries are allowed it may become one next. A moment's truth, asked for again by each act that
/// promotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FencedPeer {
    resource: ResourceName,
}

impl FencedPeer {
    /// What the peer's DRBD told just now of the resource, and how it names its connection toward this node.
    ///
    /// # Errors
    /// [`NotFenced`], which says what the peer is or may be.
    pub fn by_its_answer(told: &Resource, toward: &Toward) -> Result<FencedPeer, NotFenced> {
        let name = toward.resource.as_str();
        if told.name != name {
            return Err(NotFenced(format!("this is {}, not {name}", told.name)));
        }
        match told.info.role {
            Some(Role::Secondary) => {}
            Some(role) => return Err(NotFenced(format!("{name} is {role} on the peer"))),
            None => return Err(NotFenced(format!("the role of {name} on the peer is not known"))),
        }
        let known = told.connections.iter().find(|known| known.peer_node_id == toward.peer);
        match known.and_then(|known| known.info.state) {
            Some(ConnectionState::Connected) => Ok(FencedPeer { resource: toward.resource.clone() }),
            Some(state) => Err(NotFenced(format!("{name} is {state} on the peer, not Connected"))),
            None => Err(NotFenced(format!("{name} is not connected on the peer"))),
        }
    }

    /// The resource.
    #[must_use]
    pub fn resource(&self) -> &ResourceName {
        &self.resource
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::drbd_live::tree::Connection;

    #[test]
    fn only_a_connected_secondary_is_fenced_by_its_answer() {
        let toward = Toward { resource: ResourceName::new("r0").unwrap(), peer: Some(0) };
        let told = |role, state| {
            let mut connection = Connection { peer_node_id: Some(0), ..Connection::default() };
            connection.info.state = state;
            let mut told =
                Resource { name: "r0".to_owned(), connections: vec![connection], ..Resource::default() };
            told.info.role = role;
            told
        };
        let prove = |told: &Resource| FencedPeer::by_its_answer(told, &toward);
        let connected = Some(ConnectionState::Connected);
        assert!(prove(&told(Some(Role::Secondary), connected)).is_ok());
        for role in [Some(Role::Primary), Some(Role::Unknown), Some(Role::Other(9)), None] {
            assert!(prove(&told(role, connected)).is_err(), "{role:?}");
        }
        for state in ConnectionState::ALL.iter().filter(|state| Some(**state) != connected) {
            assert!(prove(&told(Some(Role::Secondary), Some(*state))).is_err(), "{state}");
        }
        assert!(prove(&told(Some(Role::Secondary), None)).is_err());
        let mut alone = told(Some(Role::Secondary), connected);
        alone.connections.clear();
        assert!(prove(&alone).is_err());
        assert!(prove(&Resource { name: "r1".to_owned(), ..alone }).is_err());
    }
}
