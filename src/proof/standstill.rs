//! Proof that a node's resource stands still: nobody writes to it there, and nothing comes in from the peer.

use crate::model::drbd_live::tree::Resource;
use crate::model::drbd_live::words::{ConnectionState, Role};
use crate::model::node::Toward;

/// It does not stand still.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotStill(pub String);

/// The node is Secondary, so nobody can write there, and the connection is StandAlone, so the peer cannot, either; nor does a
/// third node that is Primary. A moment's
/// truth: it is proven again before each act that gives up data.
///
/// ```compile_fail,E0451
/// use unsplit::{model::node::Toward, proof::Standstill};
/// fn forge(toward: Toward) -> Standstill {
///     Standstill { toward }
/// }
/// ```
///
/// ```
/// use unsplit::{model::{drbd_live::tree::Resource, node::Toward}, proof::{NotStill, Standstill}};
/// fn ask(told: &Resource, toward: Toward) -> Result<Standstill, NotStill> {
///     Standstill::prove(told, toward)
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standstill {
    toward: Toward,
}

impl Standstill {
    /// Looks at what the node's DRBD told.
    ///
    /// # Errors
    /// [`NotStill`], which says what moves.
    pub fn prove(told: &Resource, toward: Toward) -> Result<Standstill, NotStill> {
        let name = toward.resource.as_str();
        if told.name != name {
            return Err(NotStill(format!("this is {}, not {name}", told.name)));
        }
        match told.info.role {
            Some(Role::Secondary) => {}
            Some(role) => return Err(NotStill(format!("{name} is {role} there"))),
            None => return Err(NotStill(format!("the role of {name} there is not known"))),
        }
        let connection = told.connections.iter().find(|known| known.peer_node_id == toward.peer);
        // 8.4 shows no connection at all while StandAlone.
        let third = told.connections.iter().find(|known| {
            known.peer_node_id != toward.peer
                && known.info.state == Some(ConnectionState::Connected)
                && known.info.peer_role != Some(Role::Secondary)
        });
        if let Some(third) = third {
            let who = third.name.clone().unwrap_or_else(|| "a third node".to_owned());
            return Err(NotStill(format!(
                "{name} is connected to {who}, which is not Secondary: what is written there arrives here"
            )));
        }
        match connection.map_or(Some(ConnectionState::StandAlone), |connection| connection.info.state) {
            Some(ConnectionState::StandAlone) => Ok(Standstill { toward }),
            Some(state) => Err(NotStill(format!("{name} is {state} there, not StandAlone"))),
            None => Err(NotStill(format!("the state of {name}'s connection there is not known"))),
        }
    }

    /// The connection.
    #[must_use]
    pub fn toward(&self) -> &Toward {
        &self.toward
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::drbd_live::tree::Connection;
    use crate::model::id::ResourceName;

    fn told(role: Role, state: ConnectionState) -> Resource {
        let mut connection = Connection { peer_node_id: Some(1), ..Connection::default() };
        connection.info.state = Some(state);
        let mut told =
            Resource { name: "r0".to_owned(), connections: vec![connection], ..Resource::default() };
        told.info.role = Some(role);
        told
    }

    #[test]
    fn only_a_secondary_that_stands_alone_stands_still() {
        let toward = Toward { resource: ResourceName::new("r0").unwrap(), peer: Some(1) };
        let prove = |told: &Resource| Standstill::prove(told, toward.clone());
        assert!(prove(&told(Role::Secondary, ConnectionState::StandAlone)).is_ok());
        for role in [Role::Primary, Role::Unknown, Role::Other(9)] {
            assert!(prove(&told(role, ConnectionState::StandAlone)).is_err());
        }
        for state in ConnectionState::ALL.iter().filter(|state| **state != ConnectionState::StandAlone) {
            assert!(prove(&told(Role::Secondary, *state)).is_err(), "{state}");
        }
        let mut with_third = told(Role::Secondary, ConnectionState::StandAlone);
        let mut third = Connection { peer_node_id: Some(2), ..Connection::default() };
        third.info.state = Some(ConnectionState::Connected);
        for (role, still) in [(Some(Role::Secondary), true), (Some(Role::Primary), false), (None, false)] {
            third.info.peer_role = role;
            with_third.connections.push(third.clone());
            assert_eq!(prove(&with_third).is_ok(), still, "{role:?}");
            with_third.connections.pop();
        }
        let nothing = Resource { name: "r0".to_owned(), ..Resource::default() };
        assert!(prove(&nothing).is_err());
    }
}
