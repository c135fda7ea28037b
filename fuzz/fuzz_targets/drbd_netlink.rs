#![no_main]
//! Any bytes as a datagram of generic netlink: DRBD's messages of either generation, the controller's, and what a tree makes of them.
use unsplit::format::drbdnl::family::announcement;
use unsplit::format::drbdnl::frame::{Control, frames};
use unsplit::format::drbdnl::report;
use unsplit::model::drbd_live::Generation;
use unsplit::model::drbd_live::report::Report;
use unsplit::model::drbd_live::tree::{Live, Take};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((first, datagram)) = input.split_first() else { return };
    let generation = if first & 1 == 0 { Generation::V84 } else { Generation::V9 };
    let how = if first & 2 == 0 { Take::State } else { Take::Fill };
    let mut live = Live::empty(generation);
    let mut bytes = 0;
    for frame in frames(datagram) {
        let Ok(frame) = frame else { break };
        bytes += 16 + frame.body.len();
        assert!(bytes <= datagram.len(), "more messages than bytes");
        let _ = announcement(frame.body);
        if frame.control() != Control::Payload {
            continue;
        }
        let Ok(report) = report::read(generation, frame.sequence, frame.body) else { continue };
        assert!(report.unread.len() <= Report::MOST_UNREAD && report.info.len() <= Report::MOST_UNREAD);
        let kept: usize = report.unread.iter().map(|unread| unread.bytes.len()).sum();
        assert!(kept <= frame.body.len(), "more kept than came");
        // A secret is dropped where it is read, so no text of the report can hold it.
        if first & 4 != 0 {
            let text = serde_json::to_string(&report).unwrap_or_default();
            assert!(serde_json::from_str::<Report>(&text).is_ok_and(|again| again == report), "{text}");
        }
        live.take(&report, how);
        if how == Take::Fill {
            // Nothing that was not there before is made; so a tree that is filled first stays empty.
            assert!(live.resources.is_empty());
        }
    }
    // The tree stays in order, each object once.
    assert!(live.resources.is_sorted_by(|a, b| a.name < b.name));
    for resource in &live.resources {
        assert!(resource.devices.is_sorted_by(|a, b| a.volume < b.volume));
        assert!(resource.connections.is_sorted_by(|a, b| a.peer_node_id < b.peer_node_id));
        for connection in &resource.connections {
            assert!(connection.peer_devices.is_sorted_by(|a, b| a.volume < b.volume));
        }
    }
});
