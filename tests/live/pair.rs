//! What two nodes' words must have for a resource to be used (`engine::drbd::pair`), and whether DRBD would heal as planned.

use crate::cluster::{Apart, Cluster, FakeNode, Meddling, Shape};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use unsplit::engine::drbd::pair::{LivePair, PairError, look, put_together};
use unsplit::judge::advice::resize;
use unsplit::judge::planner::drbd::would_heal;
use unsplit::model::drbd::{DiskState, GenerationUuid, MetadataFormat, Role};
use unsplit::model::drbd_live::Generation;
use unsplit::model::drbd_live::tree::{Live, Resource};
use unsplit::model::drbd_live::words::{DiskState as LiveDisk, MetaIndex};
use unsplit::model::evidence::MetadataPlace;
use unsplit::model::id::{NodeName, ResourceName};
use unsplit::model::lineage::Lineage;
use unsplit::model::node::{DrbdSeen, NodeState};
use unsplit::model::plan::drbd::Reach;
use unsplit::model::seen::Why;
use unsplit::model::side::{Pair, Side};
use unsplit::ports::node::Node;

fn nodes(generation: Generation) -> Pair<FakeNode> {
    let cluster = Cluster::new(&Shape {
        generation,
        survivor: Side::A,
        volumes: vec![Apart::Diverged, Apart::Diverged],
        busy: false,
        survivor_primary: true,
        victim_primary: false,
        seed: 3,
    });
    Pair::from_fn(|side| FakeNode { cluster: Arc::clone(&cluster), side })
}

fn states(generation: Generation) -> Pair<NodeState> {
    nodes(generation).map(|node| node.state().unwrap())
}

fn r0() -> ResourceName {
    ResourceName::new("r0").unwrap()
}

fn together(states: Pair<NodeState>) -> Result<LivePair, PairError> {
    let names = Pair::new(NodeName::new("node1").unwrap(), NodeName::new("node2").unwrap());
    put_together(names, states, &r0())
}

fn live(state: &mut NodeState) -> &mut Live {
    match &mut state.drbd {
        DrbdSeen::Told(live) => live,
        _ => panic!("not told"),
    }
}

/// With one node's words changed.
fn with(generation: Generation, side: Side, change: impl Fn(&mut NodeState)) -> Result<LivePair, PairError> {
    let mut told = states(generation);
    change(&mut told[side]);
    together(told)
}

fn with_resource(side: Side, change: impl Fn(&mut Resource)) -> Result<LivePair, PairError> {
    with(Generation::V9, side, |state| change(&mut live(state).resources[0]))
}

#[test]
fn two_nodes_of_one_resource() {
    for generation in [Generation::V84, Generation::V9] {
        let pair = together(states(generation)).unwrap();
        assert_eq!((pair.generation, pair.volumes.len()), (generation, 2));
        assert_eq!(pair.volumes[0].backing.a.role, Role::Primary);
        assert_eq!(pair.volumes[0].backing.b.role, Role::Secondary);
        let peers = pair.toward.as_ref().map(|toward| toward.peer);
        let known = generation == Generation::V9;
        assert_eq!(peers, Pair::new(known.then_some(1), known.then_some(0)));
    }
}

#[test]
fn a_node_that_does_not_answer() {
    let nodes = nodes(Generation::V9);
    nodes.b.cluster.meddle(Meddling::Deaf(Side::B, 1000));
    let asked = nodes.as_ref().map(|node| node as &dyn Node);
    let error = look(asked, &r0()).unwrap_err();
    assert!(matches!(&error, PairError::Unseen { node, .. } if node.as_str() == "node2"), "{error:?}");
}

#[test]
fn a_node_whose_drbd_tells_nothing() {
    for seen in [DrbdSeen::NotLoaded, DrbdSeen::Unreadable(Why("netlink is silent".to_owned()))] {
        for side in Side::BOTH {
            let error = with(Generation::V9, side, |state| state.drbd = seen.clone()).unwrap_err();
            assert!(matches!(&error, PairError::NoDrbd { .. }), "{error:?}");
            let name = if side == Side::A { "node1" } else { "node2" };
            assert!(error.to_string().starts_with(name), "{error}");
        }
    }
}

#[test]
fn a_resource_that_is_not_up_on_one_of_them() {
    for side in Side::BOTH {
        let error = with(Generation::V84, side, |state| live(state).resources.clear()).unwrap_err();
        let name = if side == Side::A { "node1" } else { "node2" };
        assert!(matches!(&error, PairError::NotUp { node, .. } if node.as_str() == name), "{error:?}");
        assert!(error.to_string().contains("drbdadm up r0"), "{error}");
    }
}

#[test]
fn two_generations_of_drbd() {
    let error = with(Generation::V9, Side::B, |state| live(state).generation = Generation::V84).unwrap_err();
    assert!(
        matches!(error, PairError::Generations { at_a: Generation::V9, at_b: Generation::V84, .. }),
        "{error:?}"
    );
}

#[test]
fn one_machine_twice() {
    let error =
        with(Generation::V9, Side::B, |state| state.machine = Some("machine-a".to_owned())).unwrap_err();
    assert!(matches!(error, PairError::OneMachine(_)), "{error:?}");
    // Nobody knows their ids: then they are not taken for one.
    let mut told = states(Generation::V9);
    (told.a.machine, told.b.machine) = (None, None);
    assert!(together(told).is_ok());
}

#[test]
fn two_that_do_not_know_each_other() {
    let error = with_resource(Side::A, |told| told.connections[0].peer_node_id = Some(7)).unwrap_err();
    let PairError::Strangers { node, other, id, .. } = &error else { panic!("{error:?}") };
    assert_eq!((node.as_str(), other.as_str(), *id), ("node1", "node2", 1));
}

#[test]
fn what_drbd_must_tell_and_does_not() {
    let untold = |error: PairError, what: &str, name: &str| {
        assert!(matches!(&error, PairError::Untold { node, .. } if node.as_str() == name), "{error:?}");
        assert!(error.to_string().contains(what), "{error}");
    };
    untold(with_resource(Side::B, |told| told.options = None).unwrap_err(), "its node id", "node2");
    untold(
        with_resource(Side::A, |told| told.devices[1].info.disk = None).unwrap_err(),
        "the disk's state of volume 1",
        "node1",
    );
    untold(
        with_resource(Side::A, |told| told.devices[0].minor = None).unwrap_err(),
        "the minor number of volume 0",
        "node1",
    );
    untold(
        with_resource(Side::B, |told| told.devices[0].disk_options = None).unwrap_err(),
        "the backing device",
        "node2",
    );
    // External metadata, and nobody says where.
    let external = |told: &mut Resource| {
        told.devices[0].disk_options.as_mut().unwrap().meta_index = Some(MetaIndex::Slot(2));
    };
    untold(with_resource(Side::B, external).unwrap_err(), "the backing device", "node2");
    let named = |told: &mut Resource| {
        let options = told.devices[0].disk_options.as_mut().unwrap();
        (options.meta_index, options.meta_device) = (Some(MetaIndex::Slot(2)), Some("/dev/meta".to_owned()));
    };
    let backing = with_resource(Side::B, named).unwrap().volumes[0].backing.b.clone();
    assert_eq!(
        (backing.metadata.as_deref(), backing.place),
        (Some("/dev/meta"), Some(MetadataPlace::IndexedExternal(2)))
    );
}

#[test]
fn a_volume_without_a_disk() {
    for state in [LiveDisk::Diskless, LiveDisk::Failed, LiveDisk::Detaching] {
        let error = with_resource(Side::B, |told| told.devices[1].info.disk = Some(state)).unwrap_err();
        let PairError::Diskless { node, volume, disk, .. } = &error else { panic!("{error:?}") };
        assert_eq!((node.as_str(), *volume, *disk), ("node2", 1, state));
    }
}

#[test]
fn volumes_that_only_one_has() {
    let error = with_resource(Side::A, |told| drop(told.devices.pop())).unwrap_err();
    let PairError::Volumes { a, b, .. } = &error else { panic!("{error:?}") };
    assert_eq!((&a[..], &b[..]), (&[0][..], &[0, 1][..]));
}

/// Its oldest generations are different from `history` on, as on nodes that have lived for a while: an unset entry equals another.
fn lineage(format: MetadataFormat, current: u64, bitmap: u64, history: u64) -> Lineage {
    let slots = if format == MetadataFormat::V08 { 2 } else { 32 };
    let past = (0..slots).map(|age| GenerationUuid(history - 2 * age)).collect();
    Lineage {
        format,
        current: GenerationUuid(current),
        bitmap: GenerationUuid(bitmap),
        other_bitmaps: Vec::new(),
        history: past,
        disk: DiskState::UpToDate,
        role: Role::Secondary,
        crashed_primary: false,
        primary_lost_quorum: false,
        quorate: None,
        dirty_bits: 4,
    }
}

const FORMATS: [MetadataFormat; 2] = [MetadataFormat::V08, MetadataFormat::V09];

/// The larger and the smaller one are named.
#[test]
fn a_volume_that_one_node_resized_is_named() {
    for generation in [Generation::V84, Generation::V9] {
        for side in Side::BOTH {
            let found = with(generation, side, |state| {
                let device = &mut live(state).resources[0].devices[1];
                device.statistics.size = device.statistics.size.map(|size| size + 32768);
            });
            let error = found.unwrap_err();
            assert!(matches!(error, PairError::Sizes { volume: 1, .. }), "{error}");
            let (larger, smaller) = if side == Side::A { ("node1", "node2") } else { ("node2", "node1") };
            let said = error.to_string();
            let named =
                said.contains(&format!("on {larger} and ")) && said.contains(&format!("on {smaller}: "));
            assert!(named, "{said}");
            // A kernel that does not tell is not taken for one that differs.
            let untold =
                with(generation, side, |state| live(state).resources[0].devices[1].statistics.size = None);
            assert!(untold.is_ok());
        }
    }
}

/// The words are typed as they stand, on nodes of either generation: `drbdadm` of 8.4 wants the option elsewhere than that of 9 shows it.
#[test]
fn drbdadm_of_both_generations_takes_the_resize_that_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for (program, first, second) in [("drbdadm-84", "", ""), ("drbdadm", "node-id 0;", "node-id 1;")] {
        let Some(drbdadm) = ["/lib/drbd", "/usr/lib/drbd", "/sbin", "/usr/sbin"]
            .map(|place| Path::new(place).join(program))
            .into_iter()
            .find(|path| path.exists())
        else {
            // Newer tools no longer bring the one for 8.4.
            match program {
                "drbdadm" => crate::scene::skips::lacking("there is no drbdadm"),
                _ => crate::scene::skips::not_here(&format!("there is no {program}")),
            }
            continue;
        };
        let host = rustix::system::uname();
        let on = |name: &str, id: &str, number: u32| {
            let volume = "device minor 7; disk /dev/null; meta-disk internal;";
            format!("on {name} {{ {id} address ipv4 10.9.0.{number}:7788; volume 1 {{ {volume} }} }}")
        };
        let here = on(host.nodename().to_str().unwrap(), first, 1);
        let text = format!(
            "global {{ usage-count no; }}\nresource r0 {{ {here} {} }}\n",
            on("elsewhere", second, 2)
        );
        let file = folder.path().join(program);
        fs::write(&file, text).unwrap();
        let named = resize("r0", 1);
        let words = named.strip_prefix("drbdadm ").unwrap().split(' ');
        let mut command = Command::new(&drbdadm);
        // What it would do for a kernel of its own generation; none is there.
        let kernel = if first.is_empty() { "8.4.11" } else { "9.3.3" };
        command.env("DRBD_DRIVER_VERSION_OVERRIDE", kernel).env("DRBD_DONT_WARN_ON_VERSION_MISMATCH", "1");
        let done = command.arg("-d").arg("-c").arg(&file).args(words).output().unwrap();
        let said = String::from_utf8_lossy(&done.stdout);
        let right = said.contains("resize 7 --assume-peer-has-space") && done.status.success();
        assert!(right, "{}: {said}{}", drbdadm.display(), String::from_utf8_lossy(&done.stderr));
    }
}

fn asked(pair: &Pair<Lineage>, survivor: Side, reach: Reach) -> Result<(), String> {
    would_heal(pair.as_ref(), Pair::new("node1", "node2"), survivor, reach)
}

/// A split brain with a common base: whoever is kept, DRBD overwrites the other one with what the bitmaps mark.
#[test]
fn a_split_brain_is_healed_in_either_direction() {
    for format in FORMATS {
        let pair = Pair::new(lineage(format, 0x2000, 0x1000, 0x900), lineage(format, 0x3000, 0x1000, 0x900));
        for survivor in Side::BOTH {
            assert_eq!(asked(&pair, survivor, Reach::Bitmaps), Ok(()), "{format} {survivor}");
        }
        // Also where the victim is Primary now: it is demoted before.
        let mut primary = pair.clone();
        primary.b.role = Role::Primary;
        assert_eq!(asked(&primary, Side::A, Reach::Bitmaps), Ok(()), "{format}");
    }
}

/// Only history in common: 9 syncs everything, 8.4 only what the bitmaps mark, unless the victim is declared out of date.
#[test]
fn without_a_common_base_bitmaps_do_not_do() {
    let pair =
        |format| Pair::new(lineage(format, 0x2000, 0x1100, 0x900), lineage(format, 0x3000, 0x1200, 0x900));
    let nine = pair(MetadataFormat::V09);
    assert_eq!(asked(&nine, Side::A, Reach::Everything), Ok(()));
    let old = pair(MetadataFormat::V08);
    let why = asked(&old, Side::A, Reach::Everything).unwrap_err();
    assert!(why.contains("do not cover all that can differ"), "{why}");
    assert_eq!(asked(&old, Side::A, Reach::Invalidate), Ok(()));
}

/// The older side is to be kept: 8.4 ignores the word to discard and would overwrite the survivor.
#[test]
fn going_back_is_refused_where_drbd_would_go_forward() {
    let pair = |format| Pair::new(lineage(format, 0x1000, 0, 0x900), lineage(format, 0x3000, 0x1000, 0x900));
    let why = asked(&pair(MetadataFormat::V08), Side::A, Reach::Bitmaps).unwrap_err();
    assert!(why.contains("would overwrite node1 instead, whose data is to be kept"), "{why}");
    for format in FORMATS {
        assert_eq!(asked(&pair(format), Side::B, Reach::Bitmaps), Ok(()), "{format}");
    }
}

/// A resync that only its target took for finished, and its source came back Outdated. 9 lets the word to discard turn it round; 8.4
/// asks for the rule alone, and would overwrite the better disk.
#[test]
fn an_outdated_source_is_not_healed_by_drbd_84() {
    for format in FORMATS {
        let mut pair = Pair::new(lineage(format, 0x1000, 0, 0x900), lineage(format, 0x1000, 0x800, 0x900));
        (pair.b.disk, pair.b.dirty_bits) = (DiskState::Outdated, 20);
        let found = asked(&pair, Side::A, Reach::Bitmaps);
        match format {
            MetadataFormat::V08 => assert!(found.unwrap_err().contains("would overwrite node1 instead")),
            MetadataFormat::V09 => assert_eq!(found, Ok(())),
        }
    }
}

#[test]
fn strangers_are_never_healed_that_way() {
    for format in FORMATS {
        let pair =
            Pair::new(lineage(format, 0x2000, 0x1100, 0x1110), lineage(format, 0x3000, 0x2200, 0x2210));
        for survivor in Side::BOTH {
            for reach in [Reach::Bitmaps, Reach::Everything] {
                let why = asked(&pair, survivor, reach).unwrap_err();
                assert!(why.contains("would not heal them that way"), "{format} {survivor}: {why}");
            }
        }
    }
}

/// Equal generations with marks left over connect without a resync: nothing would be healed.
#[test]
fn marks_that_no_resync_would_follow() {
    for format in FORMATS {
        let mut pair = Pair::new(lineage(format, 0x2000, 0, 0x900), lineage(format, 0x2000, 0, 0x900));
        let why = asked(&pair, Side::A, Reach::Bitmaps).unwrap_err();
        assert!(why.contains("without a resync although"), "{format}: {why}");
        (pair.a.dirty_bits, pair.b.dirty_bits) = (0, 0);
        assert_eq!(asked(&pair, Side::A, Reach::Bitmaps), Ok(()), "{format}");
    }
}
