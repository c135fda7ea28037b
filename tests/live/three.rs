//! DRBD 9 with three nodes, as real kernels told of them: what the third one means for a healing between the other two.

use super::{data, node};
use unsplit::engine::drbd::others::{InTheWay, in_the_way, left_to_do, others, primary_elsewhere};
use unsplit::engine::drbd::pair::{LivePair, look};
use unsplit::model::drbd_live::Generation;
use unsplit::model::drbd_live::words::{ConnectionState, Role};
use unsplit::model::id::{NodeName, ResourceName};
use unsplit::model::node::{DeviceUser, DrbdSeen, LogLine, NodeReport, NodeState};
use unsplit::model::seen::Why;
use unsplit::model::side::{Pair, Side};
use unsplit::ports::node::{Backing, Node};
use unsplit::ports::replica::{Replica, Unseen};

struct Told(NodeName, NodeReport);

impl Node for Told {
    fn name(&self) -> &NodeName {
        &self.0
    }
    fn state(&self) -> Result<NodeState, Unseen> {
        Ok(self.1.state.clone())
    }
    fn log(&self) -> Result<Result<Vec<LogLine>, Why>, Unseen> {
        Ok(self.1.log.clone())
    }
    fn report(&self) -> Result<NodeReport, Unseen> {
        Ok(self.1.clone())
    }
    fn users(&self, _: u32) -> Result<Vec<DeviceUser>, Unseen> {
        Err(Unseen("not asked".into()))
    }
    fn replica(&self, _: &Backing) -> Result<Box<dyn Replica>, Unseen> {
        Err(Unseen("not asked".into()))
    }
}

/// The two nodes of a moment in which node 3 came apart from the two others.
fn pair(a: &str, b: &str) -> LivePair {
    let folder = data().join("live/9/three-one-against-two");
    let told =
        |host: &str| Told(NodeName::new(host).unwrap(), node(Generation::V9, &folder.join(host), host));
    let (a, b) = (told(a), told(b));
    look(Pair::new(&a, &b), &ResourceName::new("r0").unwrap()).unwrap()
}

fn connection<'p>(
    pair: &'p mut LivePair,
    side: Side,
    name: &str,
) -> &'p mut unsplit::model::drbd_live::tree::Connection {
    let known = &mut pair.told[side].connections;
    known.iter_mut().find(|known| known.name.as_deref() == Some(name)).unwrap()
}

#[test]
fn the_one_that_is_alone_is_overwritten_and_the_third_keeps_out() {
    let mut pair = pair("node1", "node3");
    let found = others(&pair);
    assert_eq!(found.iter().map(|other| other.name.as_str()).collect::<Vec<_>>(), ["node2"]);
    assert_eq!(found[0].state, Pair::new(ConnectionState::Connected, ConnectionState::StandAlone));
    assert_eq!(in_the_way(&pair, Side::A), None);
    assert!(found[0].takes_the_healed(Side::A));
    // What is left: both ends, or the third's alone once the healed node tries.
    let left = left_to_do(&pair, Side::A);
    assert!(
        left[0].contains("on node2 `drbdadm connect r0:node3` and on node3 `drbdadm connect r0:node2`"),
        "{left:?}"
    );
    connection(&mut pair, Side::B, "node2").info.state = Some(ConnectionState::Connecting);
    let left = left_to_do(&pair, Side::A);
    assert!(left[0].ends_with("on node2 `drbdadm connect r0:node3`"), "{left:?}");
    connection(&mut pair, Side::B, "node2").info.state = Some(ConnectionState::Connected);
    assert_eq!(left_to_do(&pair, Side::A), [""; 0]);
}

#[test]
fn who_shares_the_victims_data_is_named_first() {
    let pair = pair("node1", "node3");
    let why = in_the_way(&pair, Side::B).unwrap();
    assert!(matches!(&why, InTheWay::SharesTheVictims { other, .. } if other == "node2"), "{why}");
    let next = why.what_to_type(&pair.resource);
    assert!(next.starts_with("on node1 `drbdadm disconnect r0:node2`"), "{next}");
    assert!(next.contains("on node3 with `unsplit resolve r0 --peer ssh:node2 --keep node3`"), "{next}");
}

#[test]
fn a_primary_beyond_a_secondary_survivor_is_where_one_heals_from() {
    let mut pair = pair("node1", "node3");
    connection(&mut pair, Side::A, "node2").info.peer_role = Some(Role::Primary);
    let why = in_the_way(&pair, Side::A).unwrap();
    assert!(matches!(&why, InTheWay::WritesThrough { other, .. } if other == "node2"), "{why}");
    assert!(why.what_to_type(&pair.resource).contains("unsplit resolve r0 --peer ssh:node3 --keep node2"));
    pair.told.a.info.role = Some(Role::Primary);
    assert_eq!(in_the_way(&pair, Side::A), None);
}

#[test]
fn an_undo_does_not_write_under_a_third_node_that_is_primary() {
    let mut pair = pair("node1", "node3");
    assert_eq!(primary_elsewhere(&pair), None);
    connection(&mut pair, Side::A, "node2").info.peer_role = Some(Role::Primary);
    assert!(primary_elsewhere(&pair).unwrap().contains("Primary on node2"));
    connection(&mut pair, Side::A, "node2").info.state = Some(ConnectionState::StandAlone);
    assert_eq!(primary_elsewhere(&pair), None);
}

#[test]
fn a_node_that_is_not_up_to_date_waits() {
    let mut pair = pair("node1", "node3");
    connection(&mut pair, Side::A, "node2").peer_devices[0].statistics.out_of_sync = Some(8);
    assert!(!others(&pair)[0].takes_the_healed(Side::A));
    assert!(left_to_do(&pair, Side::A)[0].contains("not in sync with node1 yet"));
    connection(&mut pair, Side::A, "node2").info.state = Some(ConnectionState::Connecting);
    assert!(left_to_do(&pair, Side::A)[0].contains("connected with neither"));
    assert!(matches!(pair.states.a.drbd, DrbdSeen::Told(_)));
}
