//! A record of the kernel's log, as `/dev/kmsg` gives it: `priority,sequence,microseconds,flags;text`, then lines of
//! key and value, each after a blank.

use crate::model::node::LogLine;
use std::collections::{BTreeMap, VecDeque};

/// Longest text that is kept of a line, in bytes; the kernel's own limit is about 1000.
const LONGEST: usize = 2000;

/// Reads one record. `None`: it is none.
#[must_use]
pub fn record(bytes: &[u8]) -> Option<LogLine> {
    let semicolon = bytes.iter().position(|byte| *byte == b';')?;
    let (head, rest) = (bytes.get(..semicolon)?, bytes.get(semicolon + 1..)?);
    let head = std::str::from_utf8(head).ok()?;
    let at = head.split(',').nth(2)?.parse().ok()?;
    let text = rest.split(|byte| *byte == b'\n').next()?;
    let text = String::from_utf8_lossy(text.get(..text.len().min(LONGEST))?);
    Some(LogLine { at, text: text.trim_end().replace(char::is_control, "?") })
}

/// Whether DRBD wrote it.
#[must_use]
pub fn is_drbd(line: &LogLine) -> bool {
    line.text.starts_with("drbd") || line.text.starts_with("block drbd")
}

/// The latest of DRBD's lines, shared fairly among the resources: when it is full, whoever has most lines loses the oldest of
/// its own. So a resource that writes without end (two nodes in a loop write over 100 lines a second) pushes out nobody else's.
#[derive(Debug)]
pub struct Latest {
    most: usize,
    of: BTreeMap<String, VecDeque<(u64, LogLine)>>,
    taken: u64,
    held: usize,
}

impl Latest {
    /// Empty, for at most so many lines.
    #[must_use]
    pub fn new(most: usize) -> Latest {
        Latest { most, of: BTreeMap::new(), taken: 0, held: 0 }
    }

    /// Takes a line, which comes after all that were taken before.
    pub fn take(&mut self, line: LogLine) {
        let lines = self.of.entry(writer(&line).to_owned()).or_default();
        lines.push_back((self.taken, line));
        self.taken += 1;
        self.held += 1;
        if self.held > self.most
            && let Some(longest) = self.of.values_mut().max_by_key(|lines| lines.len())
            && longest.pop_front().is_some()
        {
            self.held -= 1;
        }
    }

    /// What is left, in the order in which it came.
    #[must_use]
    pub fn into_lines(self) -> Vec<LogLine> {
        let mut all: Vec<(u64, LogLine)> = self.of.into_values().flatten().collect();
        all.sort_by_key(|(order, _)| *order);
        all.into_iter().map(|(_, line)| line).collect()
    }
}

/// Whose line it is: the resource, or the device where only that stands there (`block drbd5`).
fn writer(line: &LogLine) -> &str {
    let head = line.text.split_once(": ").map_or("", |(head, _)| head);
    match head.strip_prefix("drbd ") {
        Some(rest) => rest.split([' ', '/']).next().unwrap_or(rest),
        None => head,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(at: u64, text: &str) -> LogLine {
        LogLine { at, text: text.to_owned() }
    }

    #[test]
    fn one_that_floods_pushes_out_only_its_own() {
        let quiet = |at| line(at, "drbd r0 beta: Authentication of peer failed");
        let device = |at| line(at, "block drbd7: Split-Brain detected but unresolved, dropping connection!");
        for flood in ["drbd r1 beta: x", "drbd r1/0 drbd5 beta: drbd_sync_handshake:", "block drbd5: x"] {
            let mut latest = Latest::new(100);
            for at in 0..30 {
                latest.take(if at % 2 == 0 { quiet(at) } else { device(at) });
            }
            for at in 30..10_000 {
                latest.take(line(at, flood));
            }
            let lines = latest.into_lines();
            assert_eq!(lines.len(), 100);
            assert!(lines.windows(2).all(|pair| pair[0].at < pair[1].at), "in order");
            assert_eq!(lines.iter().filter(|line| line.text != flood).count(), 30, "{flood}");
            assert_eq!(lines.last().map(|line| line.at), Some(9_999));
            // Of what floods, the newest.
            assert_eq!(lines.iter().find(|line| line.text == flood).map(|line| line.at), Some(9_930));
        }
    }

    #[test]
    fn all_are_cut_alike_when_all_write_much() {
        let mut latest = Latest::new(90);
        for at in 0..3_000 {
            latest.take(line(at, ["drbd r0: x", "drbd r1: x", "drbd r2/0 drbd5: x"][at as usize % 3]));
        }
        let lines = latest.into_lines();
        for name in ["r0", "r1", "r2"] {
            assert_eq!(lines.iter().filter(|line| line.text.contains(name)).count(), 30);
        }
        assert_eq!(lines.first().map(|line| line.at), Some(2_910));
        let mut none = Latest::new(0);
        none.take(line(1, "drbd r0: x"));
        assert_eq!(none.into_lines(), []);
    }

    #[test]
    fn records_are_taken_apart() {
        let bytes = b"1,718,35617339,-;drbd r0/0 drbd0 node2: Split-Brain detected but unresolved, dropping connection!\n SUBSYSTEM=block\n DEVICE=b147:0\n";
        let line = record(bytes).unwrap();
        assert_eq!(line.at, 35_617_339);
        assert!(line.text.ends_with("dropping connection!"));
        assert!(is_drbd(&line));
        assert!(is_drbd(&record(b"6,1,2,-;block drbd0: disk( UpToDate )").unwrap()));
        assert!(!is_drbd(&record(b"6,1,2,-;audit: drbd").unwrap()));
        for bad in [&b""[..], b"6,1;text", b"6,1,x,-;text", b"no head"] {
            assert_eq!(record(bad), None);
        }
        let long = [b"6,1,2,-;".as_slice(), &[0xff; 5000]].concat();
        assert!(record(&long).unwrap().text.len() <= 3 * LONGEST);
    }
}
