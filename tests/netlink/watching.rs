//! The watch over a stream with losses, gaps, damage, strangers, and a module that goes and comes.

use crate::Node;
use crate::fake::{Fake, Given, patched};
use drbd_sys::netlink::{command, generic as sys};
use std::time::{Duration, Instant};
use unsplit::edge::drbd::netlink::reader::Limits;
use unsplit::edge::drbd::netlink::watch::{Heard, Watch, Why};
use unsplit::format::drbdnl::frame::frames;
use unsplit::model::drbd_live::report::Report;
use unsplit::model::drbd_live::tree::{Live, Take};

const NODE: Node = Node("drbd9-node1");

fn limits() -> Limits {
    Limits { answer: Duration::from_secs(1), rounds: 4, parts: 1000 }
}

fn next(watch: &mut Watch<Fake>) -> Option<Heard> {
    watch.next(Instant::now()).unwrap()
}

/// The captured notifications, one datagram each.
fn notifications(node: Node) -> Vec<Vec<u8>> {
    let bytes = node.bytes("events.bin");
    let mut at = 0;
    let mut datagrams = Vec::new();
    for frame in frames(&bytes) {
        let length = 16 + frame.unwrap().body.len();
        datagrams.push(bytes[at..at + length].to_vec());
        at += length.next_multiple_of(4);
    }
    datagrams
}

fn started(fake: &Fake) -> Watch<Fake> {
    let mut watch = Watch::new(fake.clone(), limits());
    assert!(matches!(next(&mut watch), Some(Heard::Snapshot { why: Why::Start, .. })));
    watch
}

fn snapshot_of(heard: Option<Heard>) -> (Live, Why) {
    match heard {
        Some(Heard::Snapshot { live, why }) => (live, why),
        other => panic!("{other:?}"),
    }
}

/// The controller's word that a family went or came.
fn announced(fake: &Fake, command: u8) -> Vec<u8> {
    let mut bytes = fake.world.borrow().family(0);
    bytes[16] = command;
    bytes
}

#[test]
fn groups_are_joined_before_anything_is_read() {
    let fake = Fake::honest(Some(NODE));
    let _watch = started(&fake);
    assert_eq!(fake.world.borrow().joined, [sys::CTRL_GROUP_NOTIFY_ID, 11]);
    assert_eq!(
        fake.commands()[..3],
        [sys::CTRL_CMD_GETFAMILY, sys::CTRL_CMD_GETFAMILY, command::GET_INITIAL_STATE]
    );
}

/// Every captured notification arrives, in order, and leads from nothing to the states that the dumps tell.
#[test]
fn captured_streams_lead_to_the_captured_state() {
    for node in crate::NODES {
        let fake = Fake::honest(Some(node));
        let mut watch = started(&fake);
        for datagram in notifications(node) {
            fake.send_to_all(Given::Bytes(datagram));
        }
        let mut heard: Vec<Report> = Vec::new();
        let mut live = Live::empty(node.generation());
        while let Some(Heard::Report(report)) = next(&mut watch) {
            // 8.4 ends by destroying the connection that its dumps still list.
            if report
                .notice
                .is_none_or(|notice| notice.kind != unsplit::model::drbd_live::words::NoticeKind::Destroy)
            {
                live.take(&report, Take::State);
            }
            heard.push(*report);
        }
        assert_eq!(heard, node.reports("events.bin"));
        let end = crate::tools::live(node);
        let (ours, told) = (&live.resources[0], &end.resources[0]);
        assert_eq!(ours.connections[0].info, told.connections[0].info, "{node:?}");
        let (ours_device, told_device) =
            (&ours.connections[0].peer_devices[0], &told.connections[0].peer_devices[0]);
        assert_eq!(ours_device.info, told_device.info, "{node:?}");
        assert_eq!(ours_device.statistics.bitmap, told_device.statistics.bitmap, "{node:?}");
        assert_eq!(ours_device.out_of_sync_bytes(), told_device.out_of_sync_bytes(), "{node:?}");
        assert_eq!(ours.devices[0].statistics.current, told.devices[0].statistics.current, "{node:?}");
    }
}

/// ENOBUFS: everything is read anew, and what waited is part of it.
#[test]
fn a_loss_is_answered_with_everything_anew() {
    let fake = Fake::honest(Some(NODE));
    let mut watch = started(&fake);
    let stream = notifications(NODE);
    fake.send_to_all(Given::Bytes(stream[0].clone()));
    fake.send_to_all(Given::Lost);
    fake.send_to_all(Given::Bytes(stream[9].clone()));
    assert!(matches!(next(&mut watch), Some(Heard::Report(_))));
    let (live, why) = snapshot_of(next(&mut watch));
    assert_eq!(why, Why::Lost);
    assert_eq!(live, crate::tools::live(NODE));
    // After a snapshot, numbering begins anew: no gap is counted twice.
    assert!(matches!(next(&mut watch), Some(Heard::Report(_))));
    assert_eq!(next(&mut watch), None);
}

#[test]
fn a_gap_in_the_numbering_is_a_loss() {
    let fake = Fake::honest(Some(NODE));
    let mut watch = started(&fake);
    let stream = notifications(NODE);
    // Number 3 is a handler's call, which no snapshot tells: it is delivered all the same.
    for datagram in [&stream[0], &stream[3]] {
        fake.send_to_all(Given::Bytes(datagram.clone()));
    }
    assert!(matches!(next(&mut watch), Some(Heard::Report(_))));
    assert!(matches!(next(&mut watch), Some(Heard::Report(report)) if report.handler.is_some()));
    assert_eq!(snapshot_of(next(&mut watch)).1, Why::Gap { missing: 2 });
    fake.send_to_all(Given::Bytes(stream[4].clone()));
    assert!(matches!(next(&mut watch), Some(Heard::Report(_))));
    assert_eq!(next(&mut watch), None);
}

/// Senders on two processors may swap places; the late one was counted as missing, and is no second gap.
#[test]
fn swapped_notifications_cost_one_snapshot() {
    let fake = Fake::honest(Some(NODE));
    let mut watch = started(&fake);
    let stream = notifications(NODE);
    for at in [0, 2, 1, 3] {
        fake.send_to_all(Given::Bytes(stream[at].clone()));
    }
    let mut heard = Vec::new();
    while let Some(next) = next(&mut watch) {
        heard.push(match next {
            Heard::Report(report) => format!("{}", report.sequence),
            Heard::Snapshot { why, .. } => format!("{why:?}"),
            Heard::NotLoaded => panic!(),
        });
    }
    assert_eq!(heard, ["43", "45", "Gap { missing: 1 }", "44", "46"]);
}

/// Several messages in one datagram, the last one damaged: what came before is delivered, then everything anew.
#[test]
fn what_came_before_a_loss_is_delivered() {
    let fake = Fake::honest(Some(NODE));
    let mut watch = started(&fake);
    let stream = notifications(NODE);
    let mut datagram = [stream[3].clone(), stream[4].clone()].concat();
    datagram.truncate(datagram.len() - 4);
    fake.send_to_all(Given::Bytes(datagram));
    assert!(matches!(next(&mut watch), Some(Heard::Report(report)) if report.handler.is_some()));
    assert!(matches!(snapshot_of(next(&mut watch)).1, Why::Damaged(_)));
}

#[test]
fn damage_is_a_loss_and_strangers_are_not_heard() {
    let fake = Fake::honest(Some(NODE));
    let mut watch = started(&fake);
    let stream = notifications(NODE);
    // Another family's message, and one of another controller's matter.
    fake.send_to_all(Given::Bytes(patched(stream[0].clone(), 43, 1)));
    let mut other = announced(&fake, sys::CTRL_CMD_NEWFAMILY);
    let name = other.windows(4).position(|run| run == b"drbd").unwrap();
    other[name..name + 4].copy_from_slice(b"nbd\0");
    fake.send_to_all(Given::Bytes(other));
    assert_eq!(next(&mut watch), None);
    let mut damaged = stream[0].clone();
    damaged.truncate(damaged.len() - 4);
    fake.send_to_all(Given::Bytes(damaged));
    assert!(matches!(snapshot_of(next(&mut watch)).1, Why::Damaged(_)));
}

/// rmmod, modprobe: the group is another, and so is the family.
#[test]
fn a_reloaded_module_is_found_again() {
    let fake = Fake::honest(Some(NODE));
    let mut watch = started(&fake);
    let gone = announced(&fake, sys::CTRL_CMD_DELFAMILY);
    fake.world.borrow_mut().loaded = None;
    fake.send_to_all(Given::Bytes(gone));
    // A straggler of the old module.
    fake.send_to_all(Given::Bytes(notifications(NODE)[0].clone()));
    assert_eq!(next(&mut watch), Some(Heard::NotLoaded));
    assert_eq!(next(&mut watch), None);
    {
        let mut world = fake.world.borrow_mut();
        world.loaded = Some(NODE);
        world.shift = 3;
    }
    let here = announced(&fake, sys::CTRL_CMD_NEWFAMILY);
    fake.send_to_all(Given::Bytes(here));
    assert_eq!(snapshot_of(next(&mut watch)).1, Why::Loaded);
    assert_eq!(fake.world.borrow().joined.last(), Some(&14));
    fake.send_to_all(Given::Bytes(patched(notifications(NODE)[0].clone(), 1, 3)));
    assert!(matches!(next(&mut watch), Some(Heard::Report(_))));
}

/// A watch that begins without the module.
#[test]
fn the_module_may_come_later() {
    let fake = Fake::honest(None);
    let mut watch = Watch::new(fake.clone(), limits());
    assert_eq!(next(&mut watch), Some(Heard::NotLoaded));
    assert_eq!(next(&mut watch), None);
    fake.world.borrow_mut().loaded = Some(NODE);
    let here = announced(&fake, sys::CTRL_CMD_NEWFAMILY);
    fake.send_to_all(Given::Bytes(here));
    assert_eq!(snapshot_of(next(&mut watch)).1, Why::Loaded);
}

/// A loss that hides the module's going: found out by asking.
#[test]
fn a_loss_may_hide_that_the_module_went() {
    let fake = Fake::honest(Some(NODE));
    let mut watch = started(&fake);
    fake.world.borrow_mut().loaded = None;
    fake.send_to_all(Given::Lost);
    assert_eq!(next(&mut watch), Some(Heard::NotLoaded));
}

/// What could not be read is read when asked again.
#[test]
fn a_failed_snapshot_stays_due() {
    let mut fail = true;
    let fake = Fake::with(Some(NODE), move |asked, world| {
        if asked.command == command::GET_DEVICES && std::mem::take(&mut fail) {
            return vec![Given::Silence];
        }
        world.honest(asked)
    });
    let mut watch = Watch::new(fake, limits());
    assert!(watch.next(Instant::now()).is_err());
    assert!(matches!(next(&mut watch), Some(Heard::Snapshot { why: Why::Start, .. })));
}
