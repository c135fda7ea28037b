//! Three nodes, DRBD 9.

use super::build::toward;
use super::*;
use Class as K;
use ConnectionState as C;

/// Three that know each other, healthy.
fn three() -> [Made; 3] {
    let make = |name, id, peers: [(&'static str, u32); 2]| {
        node(Generation::V9, name, id)
            .with(|node| node.peers = peers.map(|(name, id)| toward(name, id)).to_vec())
    };
    [
        make("alpha", 0, [("beta", 1), ("gamma", 2)]),
        make("beta", 1, [("alpha", 0), ("gamma", 2)]),
        make("gamma", 2, [("alpha", 0), ("beta", 1)]),
    ]
}

fn cut(made: &mut Made, from: &str, base: u64, blocks: u64) {
    let peer = made.peers.iter_mut().find(|peer| peer.name == from).unwrap();
    peer.state = C::StandAlone;
    peer.replication = crate::model::drbd_live::words::ReplicationState::Off;
    peer.disk = DiskState::Unknown;
    peer.bitmap = base;
    peer.out_of_sync = blocks * 8;
}

#[test]
fn all_agree() {
    let standing = is(&three(), &[K::Healthy]);
    assert_eq!(standing.links.len(), 3);
    assert_eq!(standing.agree.len(), 1);
}

#[test]
fn one_against_two() {
    let [mut alpha, mut beta, mut gamma] = three();
    for made in [&mut alpha, &mut beta] {
        made.current = 0x2000;
        cut(made, "gamma", 0x1000, 10);
    }
    gamma.current = 0x3000;
    cut(&mut gamma, "alpha", 0x1000, 20);
    cut(&mut gamma, "beta", 0x1000, 20);
    let all = is(&[alpha.clone(), beta.clone(), gamma.clone()], &[K::SplitBrain, K::SplitBrain]);
    let mut groups = all.agree.clone();
    groups.iter_mut().for_each(|group| group.sort());
    groups.sort();
    assert_eq!(groups, [vec!["alpha", "beta"], vec!["gamma"]]);
    // From two of the three: the connection between them is known whole, the third's from one end.
    let two = judged(&[alpha, gamma]);
    assert_eq!(two.worst(), K::SplitBrain);
    assert_eq!(two.findings[0].nodes, ["alpha", "gamma"]);
    assert_eq!(two.node("beta").unwrap().told, Asked::NotAsked);
}

#[test]
fn a_tiebreaker_without_a_disk() {
    let [mut alpha, mut beta, mut gamma] = three();
    gamma.disk = DiskState::Diskless;
    gamma.client = true;
    for made in [&mut alpha, &mut beta] {
        let peer = &mut made.peers[1];
        peer.disk = DiskState::Diskless;
        peer.client = true;
    }
    is(&[alpha.clone(), beta.clone(), gamma.clone()], &[K::Client, K::Healthy]);
    // Both went on by themselves; the tiebreaker stands with one of them.
    alpha = alpha.with(|node| node.current = 0x2000);
    beta = beta.with(|node| node.current = 0x3000);
    cut(&mut alpha, "beta", 0x1000, 10);
    cut(&mut beta, "alpha", 0x1000, 20);
    let standing = is(&[alpha, beta, gamma], &[K::SplitBrain, K::Client]);
    assert_eq!(standing.findings[0].nodes, ["alpha", "beta"]);
}
