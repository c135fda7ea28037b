//! A connection that waits here with the word to give up this node's data (`--discard-my-data`), while the asker goes to
//! connect the other node. If the asker is lost between the two, nobody else knows of it: whoever connects the other node
//! later, for whatever reason, would set it off. So the agent takes it back when it is left alone.

use crate::edge::drbd::node::{LocalNode, act_as_told};
use crate::model::drbd_live::words::ConnectionState;
use crate::model::node::{ConnectAs, DrbdSeen, NodeAct, NodeState, Toward};
use crate::model::seen::End;
use crate::ports::node::Node;
use std::sync::{Mutex, PoisonError};

/// What waits so.
#[derive(Default)]
pub(super) struct Armed(Mutex<Option<Toward>>);

impl Armed {
    fn set(&self, to: Option<Toward>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = to;
    }

    fn waiting(&self) -> Option<Toward> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// An act was done for the asker.
    pub(super) fn acted(&self, act: &NodeAct, end: &End) {
        match (act, end) {
            (
                NodeAct::Connect { toward, how: ConnectAs::Victim },
                End::Done | End::AlreadySo | End::Unknown(_),
            ) => {
                self.set(Some(toward.clone()));
            }
            (NodeAct::Disconnect(toward), End::Done | End::AlreadySo)
                if self.waiting().as_ref() == Some(toward) =>
            {
                self.set(None);
            }
            _ => {}
        }
    }

    /// The asker was told this: once the two are connected, the word is spent.
    pub(super) fn told(&self, state: &NodeState) {
        if let Some(toward) = self.waiting()
            && connection(state, &toward) == Some(ConnectionState::Connected)
        {
            self.set(None);
        }
    }

    /// The asker is gone. What still waits is disconnected; a handshake that has come about meanwhile is left alone.
    pub(super) fn left_alone(&self, node: &LocalNode) {
        let Some(toward) = self.waiting() else { return };
        let Ok(state) = node.state() else { return };
        match connection(&state, &toward) {
            None | Some(ConnectionState::Connected | ConnectionState::StandAlone) => {}
            Some(_) => {
                let end = act_as_told(&NodeAct::Disconnect(toward.clone()));
                tracing::warn!(resource = %toward.resource, ?end, "left alone with --discard-my-data: disconnected");
            }
        }
        self.set(None);
    }
}

fn connection(state: &NodeState, toward: &Toward) -> Option<ConnectionState> {
    let DrbdSeen::Told(live) = &state.drbd else { return None };
    let resource = live.resource(toward.resource.as_str())?;
    resource.connections.iter().find(|known| known.peer_node_id == toward.peer)?.info.state
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::drbd_live::Generation;
    use crate::model::drbd_live::tree::{Connection, Live, Resource};
    use crate::model::id::ResourceName;
    use crate::model::seen::{Stamp, Why};

    fn toward(peer: u32) -> Toward {
        Toward { resource: ResourceName::new("r0").unwrap(), peer: Some(peer) }
    }

    fn state(of: ConnectionState) -> NodeState {
        let mut connection = Connection { peer_node_id: Some(1), ..Connection::default() };
        connection.info.state = Some(of);
        let mut resource = Resource { name: "r0".to_owned(), ..Resource::default() };
        resource.connections.push(connection);
        let drbd = DrbdSeen::Told(Live { generation: Generation::V9, resources: vec![resource] });
        NodeState { host: "node1".to_owned(), machine: None, boot: None, taken_at: Stamp(0), drbd }
    }

    fn discard(peer: u32) -> NodeAct {
        NodeAct::Connect { toward: toward(peer), how: ConnectAs::Victim }
    }

    #[test]
    fn only_a_discard_that_may_have_been_done_waits_and_only_until_it_is_spent() {
        let armed = Armed::default();
        armed.acted(&NodeAct::Connect { toward: toward(1), how: ConnectAs::Survivor }, &End::Done);
        armed.acted(&discard(1), &End::NotDone(Why("no".to_owned())));
        assert_eq!(armed.waiting(), None);

        armed.acted(&discard(1), &End::Unknown(Why("who knows".to_owned())));
        assert_eq!(armed.waiting(), Some(toward(1)));
        armed.told(&state(ConnectionState::Connecting));
        armed.acted(&NodeAct::Disconnect(toward(2)), &End::Done);
        armed.acted(&NodeAct::Disconnect(toward(1)), &End::NotDone(Why("no".to_owned())));
        assert_eq!(armed.waiting(), Some(toward(1)));
        armed.told(&state(ConnectionState::Connected));
        assert_eq!(armed.waiting(), None);

        armed.acted(&discard(1), &End::Done);
        armed.acted(&NodeAct::Disconnect(toward(1)), &End::AlreadySo);
        assert_eq!(armed.waiting(), None);
    }
}
