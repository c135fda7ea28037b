//! What DRBD tells a handler: environment variables, which the kernel and drbdadm of both generations set differently.

use crate::model::handled::Call;
use std::collections::BTreeMap;

/// No list that DRBD hands over is longer.
const MOST: usize = 4096;

/// Reads the environment. What is missing or makes no sense is left out.
#[must_use]
pub fn call(variables: &BTreeMap<String, String>) -> Call {
    let value = |name: &str| variables.get(name).map(|value| value.trim()).filter(|value| !value.is_empty());
    let text = |name: &str| value(name).map(cut);
    // Handlers of a connection get lists in 9; the older variables of the kernel number the volumes in their names.
    let numbers = |name: &str| -> Vec<u32> {
        value(name)
            .unwrap_or_default()
            .split_whitespace()
            .take(MOST)
            .filter_map(|word| word.parse().ok())
            .collect()
    };
    let (mut volumes, mut minors) = (numbers("DRBD_VOLUME"), numbers("DRBD_MINOR"));
    if volumes.is_empty() || minors.is_empty() {
        let numbered = variables
            .range("DRBD_MINOR_".to_owned()..)
            .take_while(|(name, _)| name.starts_with("DRBD_MINOR_"));
        let mut pairs: Vec<(u32, u32)> = numbered
            .take(MOST)
            .filter_map(|(name, value)| {
                Some((name.strip_prefix("DRBD_MINOR_")?.parse().ok()?, value.trim().parse().ok()?))
            })
            .collect();
        pairs.sort_unstable();
        if !pairs.is_empty() {
            (volumes, minors) = pairs.into_iter().unzip();
        }
    }
    let peer_node_id: Option<u32> = value("DRBD_PEER_NODE_ID").and_then(|id| id.parse().ok());
    // 9 names no peer, but all node ids.
    let peer = text("DRBD_PEER")
        .or_else(|| peer_node_id.and_then(|id| text(&format!("DRBD_NODE_ID_{id}"))))
        .or_else(|| value("DRBD_PEERS").and_then(|peers| peers.split_whitespace().next()).map(cut));
    let disk = text("DRBD_BACKING_DEV")
        .or_else(|| text("DRBD_LL_DISK"))
        .or_else(|| volumes.first().and_then(|volume| text(&format!("DRBD_BACKING_DEV_{volume}"))))
        .filter(|disk| !disk.contains(' '));
    Call {
        resource: text("DRBD_RESOURCE"),
        volumes,
        minors,
        peer,
        peer_node_id,
        peer_address: text("DRBD_PEER_ADDRESS"),
        connection: text("DRBD_CSTATE"),
        disk,
        up_to_date_nodes: text("UP_TO_DATE_NODES"),
    }
}

/// Paths and names are shorter.
fn cut(text: &str) -> String {
    text.chars().take(4096).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(text: &str) -> BTreeMap<String, String> {
        let lines = text.lines().filter_map(|line| line.trim().split_once('='));
        lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// As DRBD 8.4.11 and drbdadm 9.22 called before-resync-target.
    const V84: &str = "DRBD_PEER_ADDRESS=10.9.0.1
        HOME=/
        DRBD_CONF=/etc/drbd.conf
        DRBD_PEER_AF=ipv4
        DRBD_PEER=node1
        DRBD_RESOURCE=r0
        DRBD_PEERS=node1
        TERM=linux
        PATH=/sbin:/usr/sbin:/bin:/usr/bin:/lib/drbd
        DRBD_MINOR=0
        DRBD_LL_DISK=/dev/disk/by-id/virtio-n2v0
        DRBD_VOLUME=0";
    /// As DRBD 9.3.3 and drbdadm 9.22 did.
    const V9: &str = "DRBD_PEER_ADDRESS=10.9.0.1
        DRBD_CONF=/etc/drbd.conf
        DRBD_PEER_AF=ipv4
        DRBD_CSTATE=Connected
        DRBD_PEER_NODE_ID=0
        DRBD_RESOURCE=r0
        DRBD_BACKING_DEV=/dev/disk/by-id/virtio-n2v0
        DRBD_MINOR=0
        DRBD_MY_ADDRESS=10.9.0.2
        DRBD_LL_DISK=/dev/disk/by-id/virtio-n2v0
        DRBD_VOLUME=0
        DRBD_NODE_ID_0=node1
        DRBD_NODE_ID_1=node2
        DRBD_MY_NODE_ID=1";

    #[test]
    fn both_generations_are_understood() {
        let common = Call {
            resource: Some("r0".into()),
            volumes: vec![0],
            minors: vec![0],
            peer: Some("node1".into()),
            peer_address: Some("10.9.0.1".into()),
            disk: Some("/dev/disk/by-id/virtio-n2v0".into()),
            ..Call::default()
        };
        assert_eq!(call(&variables(V84)), common);
        let nine = Call { peer_node_id: Some(0), connection: Some("Connected".into()), ..common };
        assert_eq!(call(&variables(V9)), nine);
    }

    #[test]
    fn handlers_of_a_connection_name_all_volumes() {
        let found = call(&variables(
            "DRBD_RESOURCE=r0\nDRBD_VOLUME=0 1\nDRBD_MINOR=10 11\nUP_TO_DATE_NODES=0x00000003",
        ));
        assert_eq!((found.volumes, found.minors), (vec![0, 1], vec![10, 11]));
        assert_eq!(found.up_to_date_nodes.as_deref(), Some("0x00000003"));
        let numbered = "DRBD_MINOR_10=110\nDRBD_MINOR_2=102\nDRBD_MINOR_x=1\nDRBD_BACKING_DEV_2=/dev/sdb";
        let found = call(&variables(numbered));
        assert_eq!((found.volumes, found.minors), (vec![2, 10], vec![102, 110]));
        assert_eq!(found.disk.as_deref(), Some("/dev/sdb"));
    }

    #[test]
    fn nothing_and_nonsense() {
        assert_eq!(call(&BTreeMap::new()), Call::default());
        let nonsense = "DRBD_RESOURCE= \nDRBD_MINOR=x 99999999999\nDRBD_PEER_NODE_ID=-1\nDRBD_VOLUME=";
        assert_eq!(call(&variables(nonsense)), Call::default());
    }
}
