//! What DRBD, its configuration and the kernel's log say.

mod configuration;
mod log;

use crate::edge::clock::SystemClock;
use crate::edge::drbd::netlink::NetlinkError;
use crate::edge::drbd::netlink::reader::{Limits, Reader};
use crate::edge::peer::greet::{machine_id, ourselves};
use crate::model::node::{DrbdSeen, LogLine, NodeReport, NodeState};
use crate::model::seen::Why;
use crate::ports::clock::Clock;

/// Everything, read now. What could not be read says so in its place, so that one part never hides another.
pub(super) fn report() -> NodeReport {
    let host = ourselves(None).host;
    // Three sources that do not wait for each other: the configuration takes the longest by far.
    let (configured, log, state) = std::thread::scope(|scope| {
        let configured = scope.spawn(|| configuration::read(&host));
        let log = scope.spawn(log::read);
        let state = state();
        let died = || Why("the thread that reads it died".to_owned());
        (configured.join().unwrap_or_else(|_| Err(died())), log.join().unwrap_or_else(|_| Err(died())), state)
    });
    NodeReport { state, configured, log }
}

/// What the kernel tells.
pub(super) fn state() -> NodeState {
    NodeState {
        host: ourselves(None).host,
        machine: machine_id(),
        boot: boot_id(),
        drbd: drbd(),
        taken_at: SystemClock.now(),
    }
}

/// What the kernel logged about DRBD.
pub(super) fn logged() -> Result<Vec<LogLine>, Why> {
    log::read()
}

fn drbd() -> DrbdSeen {
    match Reader::of_this_machine(Limits::default()).snapshot() {
        Ok(live) => DrbdSeen::Told(live),
        Err(NetlinkError::NotLoaded) => DrbdSeen::NotLoaded,
        Err(error) => DrbdSeen::Unreadable(Why(causes(&error))),
    }
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        words.push_str(": ");
        words.push_str(&cause.to_string());
        next = cause.source();
    }
    words
}

fn boot_id() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let id = text.trim();
    (id.len() == 36 && id.chars().all(|c| c.is_ascii_hexdigit() || c == '-')).then(|| id.to_owned())
}
