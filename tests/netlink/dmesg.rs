//! The notifications tell the same story as the kernel log.

use crate::NODES;
use unsplit::model::drbd_live::words::{ConnectionState, NoticeKind};

/// Connection states, from the loss of the link to the end.
#[test]
fn connection_states_follow_the_log() {
    for node in NODES {
        let mut told: Vec<String> = node
            .reports("events.bin")
            .iter()
            .filter_map(|report| report.connection.as_ref().and_then(|info| info.state))
            .map(|state| state.to_string())
            .collect();
        told.dedup();
        let log = node.text("dmesg.txt");
        let states: Vec<&str> = log
            .lines()
            .filter_map(|line| line.split_once(" conn( ")?.1.split_once(" -> ")?.1.split(' ').next())
            .map(|state| match state {
                "WFConnection" => "Connecting",
                "WFReportParams" => "Connected",
                other => other,
            })
            .collect();
        // The capture ended with the log, and began with a cut.
        assert_eq!(told[0], ConnectionState::NetworkFailure.to_string());
        let told: Vec<&str> = told.iter().map(String::as_str).collect();
        assert!(states.ends_with(&told), "{node:?}: {told:?} {states:?}");
    }
}

/// Handlers: each call and each response.
#[test]
fn handlers_follow_the_log() {
    for node in NODES {
        let told: Vec<(String, NoticeKind)> = node
            .reports("events.bin")
            .iter()
            .filter_map(|report| Some((report.handler.as_ref()?.name.clone()?, report.notice?.kind)))
            .collect();
        let log = node.text("dmesg.txt");
        let logged: Vec<(String, NoticeKind)> = log
            .lines()
            .filter_map(|line| line.split_once("helper command: /sbin/drbdadm ").map(|(_, rest)| rest))
            .map(|rest| {
                let kind = if rest.contains("exit code") { NoticeKind::Response } else { NoticeKind::Call };
                (rest.split(' ').next().unwrap().to_owned(), kind)
            })
            .collect();
        assert!(logged.ends_with(&told), "{node:?}: {told:?} {logged:?}");
    }
}

/// The new current UUID that a node logged is in the notifications that follow.
#[test]
fn new_generations_follow_the_log() {
    for node in NODES {
        let log = node.text("dmesg.txt");
        let line = log.lines().rfind(|line| line.contains("new current UUID")).unwrap();
        let text = line.split("UUID").nth(1).unwrap().trim_start_matches([':', ' ']);
        let logged = &text[..16];
        let told = node.reports("events.bin").iter().any(|report| {
            let device = report.device_statistics.as_ref().and_then(|device| device.current);
            let packed = report.state84.as_ref().and_then(|state| state.uuids.as_ref()?.first().copied());
            device.or(packed).is_some_and(|uuid| uuid.to_string() == logged)
        });
        assert!(told, "{node:?}: {logged}");
    }
}
