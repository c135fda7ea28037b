//! Ends of devices that real kernels wrote (tests/data/drbd).

use crate::dump::Dump;
use crate::tool::Image;
use crate::{assert_same, bits_of};
use std::path::Path;
use unsplit::edge::drbd::image::ImageReplica;
use unsplit::format::drbdmeta::superblock;
use unsplit::model::drbd::{MetadataFormat, Role, Superblock, device_flag};
use unsplit::model::evidence::{Evidence, LogState, MetadataPlace};
use unsplit::model::id::NodeName;
use unsplit::model::seen::Stamp;
use unsplit::model::size::BLOCK;

const SIZE: u64 = 100_663_296;

fn data(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/drbd").join(name)).unwrap()
}

/// A sparse image with the captured end.
pub(crate) fn image(name: &str) -> Image {
    let version = if name.starts_with("v08") { "v08" } else { "v09" };
    let image = Image::empty(version, MetadataPlace::Internal, SIZE);
    let tail = data(&format!("{name}.tail"));
    image.disk().write_at(SIZE - tail.len() as u64, &tail).unwrap();
    image
}

fn superblock_of(name: &str) -> Superblock {
    let tail = data(&format!("{name}.tail"));
    superblock::parse(&tail[tail.len() - 4096..]).unwrap()
}

fn observe(name: &str, peer: &str, role: Option<Role>) -> (ImageReplica, Evidence) {
    let image = image(name);
    let replica = ImageReplica::open(image.disk(), None, None).unwrap();
    let evidence =
        replica.observe(NodeName::new("n").unwrap(), role, &superblock_of(peer), Stamp(7)).unwrap();
    (replica, evidence)
}

fn expected(name: &str) -> Dump {
    Dump::parse(&String::from_utf8(data(name)).unwrap())
}

#[test]
fn an_orderly_stopped_8_4_node_shows_exactly_what_the_kernel_counted() {
    for (node, peer, current) in [(1, 2, 0x3111_9376_60DD_29B3_u64), (2, 1, 0x5108_F833_DB87_DA6B)] {
        let (replica, seen) = observe(&format!("v08-node{node}-down"), &format!("v08-node{peer}-down"), None);
        let dump = expected(&format!("v08-node{node}-down.dump.txt"));
        assert_same(&seen.superblock, replica.geometry(), &dump);
        assert_eq!(seen.superblock.current.0, current);
        assert_eq!(seen.superblock.bitmap.0, 0x3C18_2E48_AF04_C0E1);
        assert!(seen.superblock.unclean_magic);
        assert_eq!(seen.superblock.flags, device_flag::CONSISTENT | device_flag::WAS_UP_TO_DATE);
        assert_eq!(seen.role, Role::Secondary);
        assert_eq!((seen.marks.slot, seen.marks.bits, seen.marks.bits_after_replay), (Some(0), 124, 124));
        assert_eq!(seen.marks.log, LogState::Clean);
        assert_eq!(bits_of(&seen.marks.bitmap, BLOCK, replica.size()), dump.set_bits(0));
        assert_eq!(replica.size(), 196_528 * 512);
    }
}

#[test]
fn an_attached_8_4_primary_hides_writes_in_its_hot_log() {
    let (replica, seen) = observe("v08-node1-attached", "v08-node2-attached", None);
    assert_eq!(seen.role, Role::Primary);
    assert_eq!(seen.marks.log, LogState::Hot);
    // The in-core log (debugfs) listed extents 0 to 12, in slots 1224 to 1236.
    assert_eq!(seen.marks.hot.runs(), 1);
    assert_eq!(seen.marks.hot.bytes(), 13 << 22);
    let down = observe("v08-node1-down", "v08-node2-down", None).1;
    let candidates = seen.marks.candidates(replica.size());
    assert_eq!(
        down.marks.bitmap.subtract(&candidates).bytes(),
        0,
        "what was flushed later was a candidate before"
    );
    assert!(seen.marks.bits_after_replay >= 13 * 1024);
}

#[test]
fn drbd_9_nodes_read_their_own_slot_for_the_peer() {
    for (node, peer, current) in [(1, 2, 0x2223_1B16_5404_B936_u64), (2, 1, 0xA39A_A752_9BF8_03D8)] {
        let (replica, seen) =
            observe(&format!("v09-node{node}-attached"), &format!("v09-node{peer}-attached"), None);
        let sb = &seen.superblock;
        assert_eq!((sb.format, sb.max_peers, sb.node_id), (MetadataFormat::V09, 3, node - 1));
        assert_eq!(sb.current.masked().0, current);
        assert_eq!(sb.bitmap_toward(Some(peer - 1)).0, 0x5B4E_51A9_C611_450C);
        assert_eq!(seen.marks.slot, Some(0));
        assert_eq!(seen.marks.log, LogState::Hot);
        // What the dump of the stopped device shows was covered while it was still up.
        let dump = expected(&format!("v09-node{node}-down.dump.txt"));
        let bits = dump.set_bits(0);
        assert_eq!(bits.len(), 124);
        let candidates = seen.marks.candidates(replica.size());
        for bit in bits {
            let extent = (bit * BLOCK, BLOCK).into();
            assert!(candidates.covers(&extent), "bit {bit}");
        }
    }
}

#[test]
fn marks_toward_a_stranger_are_everything() {
    let stranger = Superblock { node_id: 7, ..superblock_of("v09-node2-attached") };
    let image = image("v09-node1-attached");
    let replica = ImageReplica::open(image.disk(), None, None).unwrap();
    let seen = replica.observe(NodeName::new("n").unwrap(), None, &stranger, Stamp(7)).unwrap();
    assert_eq!(seen.marks.slot, None);
    assert_eq!(seen.marks.candidates(replica.size()).bytes(), replica.size());
}

#[test]
fn an_operator_who_says_primary_is_believed() {
    let (_, seen) = observe("v08-node1-down", "v08-node2-down", Some(Role::Primary));
    assert_eq!((seen.role, seen.marks.log), (Role::Primary, LogState::Hot));
    let (_, seen) = observe("v08-node1-attached", "v08-node2-down", Some(Role::Secondary));
    assert_eq!((seen.role, seen.marks.log), (Role::Secondary, LogState::Hot));
}

#[test]
fn drbdmeta_sees_the_same_captures() {
    if !crate::tool::available("drbdmeta_sees_the_same_captures") {
        return;
    }
    for name in ["v08-node1-down", "v08-node2-attached", "v09-node1-attached", "v09-node2-attached"] {
        let image = image(name);
        let replica = ImageReplica::open(image.disk(), None, None).unwrap();
        let peer = name.replace("node1", "nodeX").replace("node2", "node1").replace("nodeX", "node2");
        let before =
            replica.observe(NodeName::new("n").unwrap(), None, &superblock_of(&peer), Stamp(7)).unwrap();
        assert_same(&before.superblock, replica.geometry(), &image.dump());
        image.run(&["apply-al"]);
        let dump = image.dump();
        let slot = before.marks.slot.unwrap() as usize;
        let mut predicted = bits_of(&before.marks.candidates(replica.size()), BLOCK, replica.size());
        predicted.sort_unstable();
        assert_eq!(dump.set_bits(slot), predicted, "{name}");
        assert_eq!(before.marks.bits_after_replay, predicted.len() as u64);
    }
}
