//! Bytes that no DRBD sends: decoding ends, keeps what it does not know, and gives secrets to nobody.

use crate::{DUMPS, NODES};
use drbd_sys::netlink::attribute::{net_conf, resource_info};
use drbd_sys::netlink::command;
use unsplit::format::drbdnl::family::announcement;
use unsplit::format::drbdnl::frame::frames;
use unsplit::format::drbdnl::{FramingError, report};
use unsplit::model::drbd_live::Generation;
use unsplit::model::drbd_live::report::Report;
use unsplit::model::drbd_live::tree::{Live, Take};
use unsplit::model::drbd_live::words::Role;

fn attribute(kind: u16, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(&u16::try_from(content.len() + 4).unwrap().to_ne_bytes());
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(content);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

fn message(content: &[Vec<u8>]) -> Vec<u8> {
    let mut body = vec![command::RESOURCE_STATE, 2, 0, 0];
    body.extend_from_slice(&[0xff; 4]);
    body.extend_from_slice(&101i32.to_ne_bytes());
    body.extend(content.concat());
    body
}

fn read(content: &[Vec<u8>]) -> Report {
    report::read(Generation::V9, 1, &message(content)).unwrap()
}

/// Every captured message cut at every length, and with every byte changed in a few ways.
#[test]
fn cut_and_changed_captures_end() {
    let (mut sound, mut broken) = (0u32, 0u32);
    for node in [NODES[0], NODES[2]] {
        for file in DUMPS.iter().copied().chain(["events", "getfamily"]) {
            let bytes = node.bytes(&format!("{file}.bin"));
            for frame in frames(&bytes).map(Result::unwrap).take(6) {
                let mut live = Live::empty(node.generation());
                let mut try_one = |body: &[u8]| {
                    let _ = announcement(body);
                    match report::read(node.generation(), 1, body) {
                        Ok(report) => {
                            live.take(&report, Take::State);
                            sound += 1;
                        }
                        Err(_) => broken += 1,
                    }
                };
                for length in 0..frame.body.len() {
                    try_one(&frame.body[..length]);
                }
                let mut body = frame.body.to_vec();
                for at in 0..body.len() {
                    for change in [0x01, 0x80, 0xff] {
                        body[at] ^= change;
                        try_one(&body);
                        body[at] ^= change;
                    }
                }
            }
            for length in 0..bytes.len().min(600) {
                assert!(frames(&bytes[..length]).count() <= length / 16 + 1);
            }
        }
    }
    assert!(sound > 10_000 && broken > 10_000, "{sound} {broken}");
}

#[test]
fn unknown_numbers_stay_numbers() {
    let role = attribute(resource_info::ROLE, &77u32.to_ne_bytes());
    let report = read(&[attribute(0x8000 | resource_info::NEST, &role)]);
    assert_eq!(report.resource.unwrap().role, Some(Role::Other(77)));
    assert!(report.unread.is_empty());
}

#[test]
fn unknown_attributes_are_kept() {
    let inner =
        [attribute(60, &[1, 2, 3]), attribute(0, &[9; 8]), attribute(0x4000 | resource_info::SUSP, &[1])]
            .concat();
    let report = read(&[attribute(99, &[7; 5]), attribute(resource_info::NEST, &inner)]);
    assert_eq!(report.resource.as_ref().unwrap().suspended_user, Some(true), "the mandatory bit is masked");
    let kept: Vec<(u16, u16, &[u8])> =
        report.unread.iter().map(|unread| (unread.nest, unread.field, unread.bytes.as_slice())).collect();
    assert_eq!(kept, [(0, 99, &[7u8; 5][..]), (resource_info::NEST, 60, &[1, 2, 3][..])]);
}

/// A field of an unexpected size is not taken for a value, nor for absent: it is kept as it came.
#[test]
fn odd_sizes_are_kept() {
    for bytes in [vec![], vec![1, 0], vec![1; 5], vec![1; 8]] {
        let report = read(&[attribute(resource_info::NEST, &attribute(resource_info::ROLE, &bytes))]);
        assert_eq!(report.resource.unwrap().role, None);
        assert_eq!(report.unread.len(), 1);
        assert_eq!(report.unread[0].bytes, bytes);
    }
}

#[test]
fn what_is_kept_is_bounded() {
    let many: Vec<Vec<u8>> = (0..5000).map(|_| attribute(60, &[])).collect();
    let report = read(&[attribute(resource_info::NEST, &many.concat())]);
    assert_eq!((report.unread.len(), report.unread_left_out), (Report::MOST_UNREAD, 5000 - 64));
}

/// The shared secret reaches neither the report, nor its debug print, nor its JSON, whatever its size or place.
#[test]
fn the_secret_goes_nowhere() {
    let secret = b"correct horse battery";
    for bytes in [secret.to_vec(), [secret.as_slice(), &[0]].concat(), [secret.as_slice(), &[0; 60]].concat()]
    {
        for kind in [net_conf::SHARED_SECRET, net_conf::SHARED_SECRET | 0x4000] {
            let twice = [attribute(kind, &bytes), attribute(kind, &bytes)].concat();
            let report = read(&[attribute(0x8000 | net_conf::NEST, &twice)]);
            assert_eq!(report.net_options.as_ref().unwrap().has_secret, Some(true));
            let numbers = format!("{secret:?}");
            for text in [format!("{report:?}"), serde_json::to_string(&report).unwrap()] {
                assert!(!text.contains("correct horse"), "{text}");
                assert!(!text.contains(numbers.trim_matches(['[', ']'])), "{text}");
                assert!(!text.contains(&numbers.trim_matches(['[', ']']).replace(' ', "")), "{text}");
            }
        }
    }
}

#[test]
fn broken_framing_says_where() {
    let mut body = message(&[attribute(resource_info::NEST, &[])]);
    body[12..14].copy_from_slice(&3u16.to_ne_bytes());
    let error = report::read(Generation::V9, 1, &body).unwrap_err();
    assert_eq!(error, FramingError::Length { what: "an attribute", at: 0, length: 3, left: 4 });
    let error = report::read(Generation::V9, 1, &[34, 2, 0]).unwrap_err();
    assert_eq!(error, FramingError::Truncated { what: "DRBD's header", at: 0, left: 3, needed: 12 });
    let huge = [u32::MAX.to_ne_bytes(), [34, 0, 0, 0], [0; 4], [0; 4]].concat();
    let mut found = frames(&huge);
    assert!(matches!(found.next(), Some(Err(FramingError::Length { at: 0, left: 16, .. }))));
    assert_eq!(found.next(), None, "nothing follows broken framing");
}

/// Reports survive JSON.
#[test]
fn reports_survive_json() {
    for node in NODES {
        for file in DUMPS.iter().copied().chain(["events"]) {
            for report in node.reports(&format!("{file}.bin")) {
                let text = serde_json::to_string(&report).unwrap();
                assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report, "{text}");
            }
        }
    }
}
