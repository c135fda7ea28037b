//! A record of the kernel's log, as `/dev/kmsg` gives it: `priority,sequence,microseconds,flags;text`, then lines of
//! key and value, each after a blank.

use crate::model::node::LogLine;

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

#[cfg(test)]
mod tests {
    use super::*;

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
