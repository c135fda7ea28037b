//! The record of handlers that DRBD called: one event a line, so that people can read it with `less`.
//!
//! ```text
//! 1 5f3a9c01 {"at":…,"host":"node1","handler":"split-brain",…}
//! ```
//!
//! A line is `VERSION CHECK JSON`, single spaces, one `\n`. CHECK is CRC-32C (8 hex digits) of `VERSION JSON`. Every line stands
//! for itself: handlers of many resources append at once, on a node that may lose its power at any moment, and nothing but
//! the line being written is ever lost. So this is no journal to act by, as `format::journal` is.

use crate::model::handled::Handled;

/// Version of the lines written.
const VERSION: &str = "1";
/// Longest line, newline included, in bytes.
pub const MAX_LINE: usize = 64 << 10;
/// Longest file that is read, in bytes; files are changed for new ones long before.
pub const MAX_FILE: u64 = 16 << 20;

/// Why an event cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The line would not be accepted when read back.
    #[error("the event takes {0} bytes, a line may have {MAX_LINE}")]
    TooLong(usize),
    /// The event has no JSON form.
    #[error("the event has no JSON form")]
    Json(#[source] serde_json::Error),
}

/// A line, newline included.
///
/// # Errors
/// [`EncodeError`]; nothing that [`parse`] would refuse is ever returned.
pub fn encode(event: &Handled) -> Result<Vec<u8>, EncodeError> {
    let json = serde_json::to_string(event).map_err(EncodeError::Json)?;
    let line = format!("{VERSION} {:08x} {json}\n", check(VERSION.as_bytes(), json.as_bytes())).into_bytes();
    if line.len() > MAX_LINE { Err(EncodeError::TooLong(line.len())) } else { Ok(line) }
}

fn check(version: &[u8], json: &[u8]) -> u32 {
    [version, b" ", json].into_iter().fold(0, crc32c::crc32c_append)
}

/// A file of events, as read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Events {
    /// In the order of their lines.
    pub events: Vec<Handled>,
    /// Lines that are not as they were written: torn by a power cut or a full disk, or damaged.
    pub torn: u64,
    /// Lines that are as they were written, but by a newer unsplit.
    pub unknown: u64,
}

/// Reads a file, or what is left of it.
#[must_use]
pub fn parse(bytes: &[u8]) -> Events {
    let mut found = Events::default();
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let mut parts = line.splitn(3, |byte| *byte == b' ');
        let (Some(version), Some(sum), Some(json)) = (parts.next(), parts.next(), parts.next()) else {
            found.torn += 1;
            continue;
        };
        let whole = line.len() < MAX_LINE && format!("{:08x}", check(version, json)).as_bytes() == sum;
        if !whole {
            found.torn += 1;
        } else if let (b"1", Ok(event)) = (version, serde_json::from_slice(json)) {
            found.events.push(event);
        } else {
            found.unknown += 1;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::handled::{Call, Handler, Outcome};
    use crate::model::seen::{Stamp, Why};

    fn event(resource: &str) -> Handled {
        Handled {
            at: Stamp(1_700_000_000_123),
            host: "node1".into(),
            boot: None,
            handler: Handler::SplitBrain,
            call: Call {
                resource: Some(resource.into()),
                volumes: vec![0],
                minors: vec![7],
                ..Call::default()
            },
            then: Err(Why::from("the DRBD module is not loaded")),
            did: Outcome::Recorded,
            exit: 0,
        }
    }

    fn file(names: &[&str]) -> Vec<u8> {
        names.iter().flat_map(|name| encode(&event(name)).unwrap()).collect()
    }

    #[test]
    fn what_is_written_is_read() {
        let found = parse(&file(&["r0", "r1"]));
        assert_eq!(found, Events { events: vec![event("r0"), event("r1")], torn: 0, unknown: 0 });
        assert_eq!(parse(b""), Events::default());
        assert!(matches!(encode(&event(&"x".repeat(MAX_LINE))), Err(EncodeError::TooLong(_))));
    }

    #[test]
    fn a_cut_anywhere_costs_the_line_it_is_in() {
        let (first, both) = (file(&["r0"]).len(), file(&["r0", "r1"]));
        for cut in 0..both.len() {
            // Who appends next ends the torn line first.
            let mut bytes = both[..cut].to_vec();
            bytes.push(b'\n');
            bytes.extend(file(&["r2"]));
            let found = parse(&bytes);
            let mut expected = vec![event("r0"), event("r1"), event("r2")];
            // Only the line's end is missing: the event is whole.
            let whole = [first - 1, both.len() - 1];
            let kept = usize::from(cut >= whole[0]) + usize::from(cut >= whole[1]);
            expected.drain(kept..2);
            assert_eq!(found.events, expected, "cut at {cut}");
            let torn = ![0, first - 1, first, both.len() - 1].contains(&cut);
            assert_eq!((found.torn, found.unknown), (u64::from(torn), 0), "cut at {cut}");
        }
    }

    #[test]
    fn every_changed_bit_is_noticed() {
        let good = file(&["r0"]);
        for at in 0..good.len() - 1 {
            for bit in 0..8 {
                let mut bytes = good.clone();
                bytes[at] ^= 1 << bit;
                assert_eq!(parse(&bytes).events, [], "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn a_newer_line_is_counted_not_damaged() {
        let json = r#"{"new":1}"#;
        let line =
            |version: &str| format!("{version} {:08x} {json}\n", check(version.as_bytes(), json.as_bytes()));
        let bytes = line("2") + &line("1");
        assert_eq!(parse(bytes.as_bytes()), Events { events: vec![], torn: 0, unknown: 2 });
    }
}
