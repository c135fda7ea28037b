//! Every captured byte is understood.

use crate::{DUMPS, NODES, Node};
use drbd_sys::netlink::{GROUP_EVENTS, command};
use unsplit::format::drbdnl::family::{Announcement, Family, announcement};
use unsplit::format::drbdnl::frame::{Control, frames};
use unsplit::model::drbd_live::words::NoticeKind;

pub fn family(node: Node) -> Family {
    let bytes = node.bytes("getfamily.bin");
    let frame = frames(&bytes).next().unwrap().unwrap();
    match announcement(frame.body).unwrap() {
        Announcement::Here(family) => family,
        other => panic!("{other:?}"),
    }
}

/// Framing to the last byte, no attribute left unread, no number without a word.
#[test]
fn nothing_is_left_over() {
    let mut messages = 0;
    for node in NODES {
        for file in DUMPS.iter().map(|dump| format!("{dump}.bin")).chain(["events.bin".to_owned()]) {
            let bytes = node.bytes(&file);
            let framed: usize = frames(&bytes).map(|frame| 16 + frame.unwrap().body.len()).sum();
            assert_eq!(framed, bytes.len(), "{node:?} {file}: messages do not fill the file");
            for report in node.reports(&file) {
                messages += 1;
                assert_eq!(report.code, 101, "{node:?} {file}");
                assert!(report.unread.is_empty(), "{node:?} {file}: {:?}", report.unread);
                assert_eq!(report.unread_left_out, 0);
                assert!(command::named(report.command).is_some(), "{}", report.command);
                let text = format!("{report:?}");
                assert!(!text.contains("Other(") && !text.contains("Raw("), "{node:?} {file}: {text}");
            }
        }
    }
    assert_eq!(messages, 131, "as counted by another program");
}

#[test]
fn dumps_end_with_done() {
    for node in NODES {
        for dump in DUMPS {
            let bytes = node.bytes(&format!("{dump}.bin"));
            let kinds: Vec<Control> = frames(&bytes).map(|frame| frame.unwrap().control()).collect();
            let (last, parts) = kinds.split_last().unwrap();
            assert_eq!(*last, Control::Done(0), "{node:?} {dump}");
            assert!(parts.iter().all(|part| *part == Control::Payload));
        }
    }
}

#[test]
fn families_are_described_whole() {
    for (node, id, version, group, commands) in [
        ("drbd84-node1", 32, 1, 9, 31),
        ("drbd84-node2", 32, 1, 9, 31),
        ("drbd9-node1", 34, 2, 11, 38),
        ("drbd9-node2", 34, 2, 11, 38),
    ] {
        let family = family(Node(node));
        assert_eq!((family.name.as_str(), family.id, family.version), ("drbd", id, version));
        assert_eq!(family.generation(None), Ok(Node(node).generation()));
        assert_eq!(family.header_bytes, 8);
        assert_eq!(family.group(GROUP_EVENTS), Some(group));
        assert_eq!(family.commands.len(), commands);
    }
}

/// The initial state is one event: every message but the last before the end says that more follow, and 41 ends it.
#[test]
fn initial_state_is_framed() {
    for node in NODES {
        let reports = node.reports("get-initial-state.bin");
        let (end, state) = reports.split_last().unwrap();
        assert_eq!(end.command, command::INITIAL_STATE_DONE);
        let notices: Vec<_> = state.iter().map(|report| report.notice.unwrap()).collect();
        assert!(notices.iter().all(|notice| notice.kind == NoticeKind::Exists));
        let (last, before) = notices.split_last().unwrap();
        assert!(!last.continues && before.iter().all(|notice| notice.continues), "{node:?}");
    }
}

/// Numbering has no gaps, 8.4's `EVENT` counting apart from the rest: what the watch relies on to notice a loss.
#[test]
fn notifications_are_numbered_without_gaps() {
    for node in NODES {
        for events in [true, false] {
            let numbers: Vec<u32> = node
                .reports("events.bin")
                .iter()
                .filter(|report| (report.command == command::EVENT) == events)
                .map(|report| report.sequence)
                .collect();
            assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{node:?}: {numbers:?}");
        }
    }
}
