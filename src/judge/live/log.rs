//! DRBD's lines in a kernel's log: whose they are, and what they say of why a connection ended. A log may have lost its
//! beginning: it explains what states and generations show, and proves nothing by its silence.

use super::messages::{of_attaching, of_connection, of_silence};
use crate::model::cause::Cause;
use crate::model::drbd::GenerationUuid;
use crate::model::drbd_live::Generation;
use crate::model::node::NodeReport;
use crate::model::node::{DrbdSeen, LogLine};
use std::collections::BTreeMap;

/// A line, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    /// Microseconds since the node's start.
    pub(super) at: u64,
    /// The volume it is about, if it is about one.
    pub(super) volume: Option<u32>,
    /// 9: the peer it is about, if it is about one.
    pub(super) peer: Option<&'a str>,
    /// The rest.
    pub(super) text: &'a str,
}

/// A node's lines, by resource.
#[derive(Debug, Default)]
pub(super) struct Log<'a> {
    of: BTreeMap<&'a str, Vec<Entry<'a>>>,
}

/// What a log says about a connection or a disk that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Said<'a> {
    /// What it means.
    pub(super) cause: Cause,
    /// The line.
    pub(super) line: &'a str,
}

/// Two nodes that meet and part again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Loop {
    /// How many handshakes the log shows within [`Loop::micros`].
    pub(super) times: usize,
    /// From the first to the last of these, in microseconds.
    pub(super) micros: u64,
}

/// So many handshakes within so many microseconds are a loop: a connection that is tried again in DRBD's ordinary way
/// waits seconds (`connect-int`).
const LOOP: usize = 10;
const LOOP_WITHIN: u64 = 10_000_000;

impl<'a> Log<'a> {
    pub(super) fn of_node(report: &'a NodeReport) -> Log<'a> {
        let mut log = Log::default();
        let minors = minors(report);
        for line in report.log.iter().flatten() {
            if let Some((resource, entry)) = entry(line, &minors) {
                log.of.entry(resource).or_default().push(entry);
            }
        }
        log
    }

    pub(super) fn lines(&self, resource: &str) -> &[Entry<'a>] {
        self.of.get(resource).map_or(&[], Vec::as_slice)
    }

    /// The lines about the connection with `peer` since it last stood.
    fn since_connected(&self, resource: &str, peer: &str) -> Vec<&Entry<'a>> {
        let about: Vec<_> =
            self.lines(resource).iter().filter(|entry| entry.peer.is_none_or(|name| name == peer)).collect();
        let from = about.iter().rposition(|entry| reached(entry.text, stands)).map_or(0, |at| at + 1);
        about.get(from..).map(<[_]>::to_vec).unwrap_or_default()
    }

    /// Of these, the ones since somebody asked for the connection.
    fn since_asked(&self, resource: &str, peer: &str) -> Vec<&Entry<'a>> {
        let mut lines = self.since_connected(resource, peer);
        let asked = lines.iter().rposition(|entry| entry.text.contains("conn( StandAlone -> Unconnected )"));
        lines.drain(..asked.unwrap_or(0));
        lines
    }

    /// A split brain, or data without anything in common, that the kernel found since the two were last connected, if this
    /// node still holds the generation that was compared then.
    pub(super) fn diverged(
        &self,
        resource: &str,
        peer: &str,
        current: &[(u32, GenerationUuid)],
    ) -> Option<Said<'a>> {
        let lines = self.since_connected(resource, peer);
        let parted =
            |text| of_connection(text).filter(|it| matches!(it, Cause::SplitBrain | Cause::Unrelated));
        let at = lines.iter().rposition(|entry| parted(entry.text).is_some())?;
        let found = lines.get(at)?;
        let compared = lines
            .get(..at)?
            .iter()
            .rev()
            .filter(|entry| entry.volume == found.volume)
            .find_map(|entry| self_current(entry.text));
        let holds = |uuid: GenerationUuid| {
            current.iter().any(|(volume, now)| found.volume.is_none_or(|of| of == *volume) && now.same(uuid))
        };
        if compared.is_some_and(|uuid| !holds(uuid)) {
            return None;
        }
        Some(Said { cause: parted(found.text)?, line: found.text })
    }

    /// Why the connection is not there: what the kernel said last since somebody asked for it.
    pub(super) fn ended(&self, resource: &str, peer: &str) -> Option<Said<'a>> {
        let recent = self.since_asked(resource, peer);
        recent
            .iter()
            .rev()
            .find_map(|entry| Some(Said { cause: of_connection(entry.text)?, line: entry.text }))
    }

    /// A loop of handshakes that has not ended, as far as the log goes.
    pub(super) fn looping(&self, resource: &str, peer: &str) -> Option<Loop> {
        let recent = self.since_asked(resource, peer);
        let mut shaken: BTreeMap<Option<u32>, Vec<u64>> = BTreeMap::new();
        for entry in &recent {
            if entry.text.starts_with("drbd_sync_handshake") {
                shaken.entry(entry.volume).or_default().push(entry.at);
            } else if matches!(change(entry.text, "conn("), Some((_, "StandAlone" | "Disconnecting"))) {
                shaken.clear();
            }
        }
        // Each volume has a handshake of its own in every round.
        let times = shaken.into_values().max_by_key(Vec::len)?;
        let last = *times.last()?;
        let lately: Vec<u64> =
            times.into_iter().filter(|at| last.saturating_sub(*at) <= LOOP_WITHIN).collect();
        let first = *lately.first()?;
        (lately.len() >= LOOP).then(|| Loop { times: lately.len(), micros: last.saturating_sub(first) })
    }

    /// The line that says that the other end, or the network, did not answer.
    pub(super) fn silence(&self, resource: &str, peer: &str) -> Option<&'a str> {
        self.since_connected(resource, peer)
            .iter()
            .rev()
            .map(|entry| entry.text)
            .find(|text| of_silence(text))
    }

    /// Why the volume's disk could not be attached, if it was not since.
    pub(super) fn attaching(&self, resource: &str, volume: u32) -> Option<Said<'a>> {
        let mut refused = None;
        for entry in self.lines(resource).iter().filter(|entry| entry.volume == Some(volume)) {
            let text = entry.text;
            if let Some(cause) = of_attaching(text) {
                refused = Some(Said { cause, line: text });
            } else if matches!(
                change(text, "disk("),
                Some((_, "UpToDate" | "Consistent" | "Outdated" | "Inconsistent" | "Negotiating"))
            ) {
                refused = None;
            }
        }
        refused
    }

    /// The line by which an administrator, or a program for one, ended the connection from this end.
    pub(super) fn disconnected(&self, resource: &str, peer: &str) -> Option<&'a str> {
        self.since_connected(resource, peer).iter().rev().map(|entry| entry.text).find(|text| {
            change(text, "conn(").is_some_and(|(from, to)| {
                // Before a connection stands, DRBD ends it by itself for many reasons; newer kernels say who asked.
                let asked = text.contains("[disconnect]") || text.contains("[down]");
                to == "Disconnecting" && (stands(from) || from == "WFConnection" || asked)
            })
        })
    }

    /// The line by which the connection was lost.
    pub(super) fn lost(&self, resource: &str, peer: &str) -> Option<&'a str> {
        self.since_connected(resource, peer)
            .iter()
            .map(|entry| entry.text)
            .find(|text| change(text, "conn(").is_some_and(|(from, to)| stands(from) && !stands(to)))
    }

    /// The line by which the disk went away because of an error, since it was attached. 8.4 goes through `Failed` on an orderly
    /// detach, too: there only a failed read or write counts.
    pub(super) fn disk_failed(&self, resource: &str, volume: u32, generation: Generation) -> Option<&'a str> {
        let lines = self.lines(resource).iter().filter(|entry| entry.volume == Some(volume));
        let mut failed = None;
        for Entry { text, .. } in lines {
            let to = change(text, "disk(").map(|(_, to)| to);
            if to == Some("Attaching") {
                failed = None;
            } else if text.contains("IO failed") || text.contains("IO error") {
                failed = Some(*text);
            } else if to == Some("Failed") && generation == Generation::V9 {
                failed = failed.or(Some(*text));
            }
        }
        failed
    }
}

fn minors(report: &NodeReport) -> BTreeMap<u32, (&str, u32)> {
    let mut minors = BTreeMap::new();
    for configured in report.configured.iter().flatten() {
        for volume in &configured.volumes {
            minors.extend(volume.minor.map(|minor| (minor, (configured.resource.as_str(), volume.volume))));
        }
    }
    // What runs overrides what is written down.
    if let DrbdSeen::Told(live) = &report.state.drbd {
        for resource in &live.resources {
            for device in &resource.devices {
                minors.extend(device.minor.map(|minor| (minor, (resource.name.as_str(), device.volume))));
            }
        }
    }
    minors
}

fn entry<'a>(line: &'a LogLine, minors: &BTreeMap<u32, (&'a str, u32)>) -> Option<(&'a str, Entry<'a>)> {
    let (head, text) = line.text.split_once(": ")?;
    let at = line.at;
    if let Some(minor) = head.strip_prefix("block drbd") {
        let (resource, volume) = minors.get(&minor.parse().ok()?)?;
        return Some((resource, Entry { at, volume: Some(*volume), peer: None, text }));
    }
    let mut words = head.strip_prefix("drbd ")?.split(' ');
    let of = words.next()?;
    let (resource, volume) = match of.split_once('/') {
        Some((resource, volume)) => (resource, Some(volume.parse().ok()?)),
        None => (of, None),
    };
    if volume.is_some() {
        words.next()?;
    }
    // Transports put their own name before the peer's.
    let peer = words.next().map(|word| word.rsplit(':').next().unwrap_or(word));
    Some((resource, Entry { at, volume, peer, text }))
}

/// From what to what `conn(`, `disk(` and so on changed.
fn change<'a>(text: &'a str, what: &str) -> Option<(&'a str, &'a str)> {
    let (_, rest) = text.split_once(what)?;
    let (inner, _) = rest.split_once(')')?;
    let (from, to) = inner.split_once("->")?;
    Some((from.trim(), to.trim()))
}

fn reached(text: &str, which: fn(&str) -> bool) -> bool {
    change(text, "conn(").is_some_and(|(from, to)| which(to) && !which(from))
}

/// 8.4 has replication states among the connection's.
fn stands(state: &str) -> bool {
    state == "Connected" || state.starts_with("WFBitMap") || state.starts_with("Sync")
}

fn self_current(text: &str) -> Option<GenerationUuid> {
    let first = text.strip_prefix("self ")?.split(':').next()?;
    u64::from_str_radix(first, 16).ok().map(GenerationUuid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> LogLine {
        LogLine { at: 1, text: text.to_owned() }
    }

    #[test]
    fn prefixes_of_both_generations() {
        let minors = BTreeMap::from([(7, ("r0", 2))]);
        let parse = |text: &str| {
            let line = line(text);
            entry(&line, &minors).map(|(resource, entry)| {
                (resource.to_owned(), entry.volume, entry.peer.map(str::to_owned), entry.text.to_owned())
            })
        };
        let some = |resource: &str, volume, peer: Option<&str>, text: &str| {
            Some((resource.to_owned(), volume, peer.map(str::to_owned), text.to_owned()))
        };
        assert_eq!(parse("block drbd7: a: b"), some("r0", Some(2), None, "a: b"));
        assert_eq!(parse("block drbd8: a"), None);
        assert_eq!(parse("drbd r0: x"), some("r0", None, None, "x"));
        assert_eq!(parse("drbd r0 node2: x"), some("r0", None, Some("node2"), "x"));
        assert_eq!(parse("drbd r0 tcp:node2: x"), some("r0", None, Some("node2"), "x"));
        assert_eq!(parse("drbd r0/1 drbd3: x"), some("r0", Some(1), None, "x"));
        assert_eq!(parse("drbd r0/1 drbd3 node2: x"), some("r0", Some(1), Some("node2"), "x"));
        assert_eq!(parse("drbd: initialized. Version: 8.4"), None);
        assert_eq!(parse("drbd"), None);
    }

    #[test]
    fn a_loop_is_many_handshakes_in_a_short_time() {
        let log = |gap: u64, times: u64, volumes: u64| {
            let mut entries = Vec::new();
            for round in 0..times {
                for volume in 0..volumes {
                    let (at, volume) = (round * gap, u32::try_from(volume).ok());
                    entries.push(Entry { at, volume, peer: Some("beta"), text: "drbd_sync_handshake:" });
                }
            }
            Log { of: BTreeMap::from([("r0", entries)]) }.looping("r0", "beta")
        };
        // 13 a second, as was seen (LINBIT/drbd#143); however many volumes there are.
        for volumes in [1, 5] {
            assert_eq!(log(75_000, 1000, volumes), Some(Loop { times: 134, micros: 9_975_000 }));
        }
        assert_eq!(log(75_000, 10, 1), Some(Loop { times: 10, micros: 675_000 }));
        assert_eq!(log(75_000, 9, 50), None);
        // DRBD's own pace of trying again, a connection every ten seconds.
        assert_eq!(log(10_000_000, 1000, 1), None);
        assert_eq!(log(0, 10, 1), Some(Loop { times: 10, micros: 0 }));
    }

    #[test]
    fn changes_are_found_among_others() {
        let text =
            "peer( Primary -> Unknown ) conn( Connected -> NetworkFailure ) pdsk( UpToDate -> DUnknown ) ";
        assert_eq!(change(text, "conn("), Some(("Connected", "NetworkFailure")));
        assert!(reached("conn( WFReportParams -> Connected )", stands));
        assert!(!reached("conn( SyncTarget -> Connected )", stands));
        assert!(!reached(text, stands));
    }
}
