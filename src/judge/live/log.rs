//! DRBD's lines in a kernel's log: whose they are, and what they say of why a connection ended. A log may have lost its
//! beginning: it explains what states and generations show, and proves nothing by its silence.

use crate::model::drbd::GenerationUuid;
use crate::model::drbd_live::Generation;
use crate::model::node::NodeReport;
use crate::model::node::{DrbdSeen, LogLine};
use crate::model::standing::Class;
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

/// What a log says about the end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cause<'a> {
    /// As a class.
    pub(super) class: Class,
    /// The line.
    pub(super) line: &'a str,
}

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

    /// A split brain, or data without anything in common, that the kernel found since the two were last connected, if this
    /// node still holds the generation that was compared then.
    pub(super) fn diverged(
        &self,
        resource: &str,
        peer: &str,
        current: &[(u32, GenerationUuid)],
    ) -> Option<Cause<'a>> {
        let lines = self.since_connected(resource, peer);
        let at = lines
            .iter()
            .rposition(|entry| matches!(cause(entry.text), Some(Class::SplitBrain | Class::Unrelated)))?;
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
        Some(Cause { class: cause(found.text)?, line: found.text })
    }

    /// Why the connection is not there: what the kernel said last since somebody asked for it.
    pub(super) fn ended(&self, resource: &str, peer: &str) -> Option<Cause<'a>> {
        let lines = self.since_connected(resource, peer);
        let asked = lines.iter().rposition(|entry| entry.text.contains("conn( StandAlone -> Unconnected )"));
        let recent = lines.get(asked.unwrap_or(0)..)?;
        recent.iter().rev().find_map(|entry| Some(Cause { class: cause(entry.text)?, line: entry.text }))
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

/// What a line says of why a connection cannot be. The texts are the kernels' own, of both generations.
fn cause(text: &str) -> Option<Class> {
    let has = |words: &str| text.contains(words);
    // Some kernels leave the last word to the other node; the comparison's own result is in both logs.
    let compared = |result: &str| text.starts_with("uuid_compare()=") && has(result);
    let class = if (has("Split-Brain detected") && has("dropping connection"))
        || compared("=100 by")
        || compared("=-100 by")
        || compared("=split-brain-")
    {
        Class::SplitBrain
    } else if has("Unrelated data, aborting") || compared("=-1000 by") || compared("=unrelated-data by") {
        Class::Unrelated
    } else if has("incompatible DRBD dialects") || has("have to support at least protocol") {
        Class::VersionsDiffer
    } else if (has("incompatible ") && has(" settings")) || has("node_id of") {
        Class::SettingsDiffer
    } else if has("Multiple primaries not allowed") || (has("Aborting") && text.ends_with("rv = -1")) {
        Class::TwoPrimaries
    } else if has("Authentication of peer failed") || has("AuthChallenge") || has("AuthResponse") {
        Class::Authentication
    } else if has("before listen failed") || has("before connect failed") {
        Class::AddressInUse
    } else if has("disk size is too small") {
        Class::SizesDiffer
    } else if has("I shall become SyncTarget, but I am primary") {
        Class::ResyncConflict
    } else if (has("handler returned") && has("dropping connection")) || has("fence-peer helper broken") {
        Class::HandlerFailed
    } else {
        return None;
    };
    Some(class)
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
    fn causes_in_the_kernels_words() {
        for (text, class) in [
            ("Split-Brain detected but unresolved, dropping connection!", Some(Class::SplitBrain)),
            ("Split-Brain detected, dropping connection!", Some(Class::SplitBrain)),
            ("Split-Brain detected, 0 primaries, automatically solved. Sync from this node", None),
            ("uuid_compare()=100 by rule 90", Some(Class::SplitBrain)),
            ("uuid_compare()=split-brain-auto-recover by rule=bitmap-both", Some(Class::SplitBrain)),
            ("uuid_compare()=-1000 by rule 100", Some(Class::Unrelated)),
            ("uuid_compare()=1 by rule 70", None),
            ("uuid_compare()=no-sync by rule=reconnected", None),
            ("Unrelated data, aborting!", Some(Class::Unrelated)),
            ("incompatible after-sb-0pri settings", Some(Class::SettingsDiffer)),
            ("Peer expects me to have a node_id of 0 instead of 1", Some(Class::SettingsDiffer)),
            ("incompatible DRBD dialects: I support 86-101, peer wants 118-122", Some(Class::VersionsDiffer)),
            ("Multiple primaries not allowed by config", Some(Class::TwoPrimaries)),
            ("Aborting cluster-wide state change 1 (2ms) rv = -1", Some(Class::TwoPrimaries)),
            ("Aborting cluster-wide state change 1 (2ms) rv = -10", None),
            ("Authentication of peer failed, trying again.", Some(Class::Authentication)),
            ("bind before listen failed, err = -98", Some(Class::AddressInUse)),
            ("The peer's disk size is too small! (1 < 2 sectors)", Some(Class::SizesDiffer)),
            ("I shall become SyncTarget, but I am primary!", Some(Class::ResyncConflict)),
            ("before-resync-target handler returned 1, dropping connection.", Some(Class::HandlerFailed)),
            ("fence-peer helper broken, returned 0", Some(Class::HandlerFailed)),
            ("PingAck did not arrive in time.", None),
        ] {
            assert_eq!(cause(text), class, "{text}");
        }
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
