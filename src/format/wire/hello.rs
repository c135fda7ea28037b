//! The first thing each side sends: who it is, and which protocol it speaks. Its form never changes, so that every
//! version can tell what is wrong with every other.
//!
//! | bytes | what |
//! |---|---|
//! | 0..8 | [`MAGIC`] |
//! | 8..12 | version of the protocol, little-endian |
//! | 12..16 | length of the JSON document that follows, at most [`LONGEST`] |
//! | 16.. | the document, then the CRC-32C of everything before it |

use serde::{Deserialize, Serialize};

/// Begins with a byte that no text holds: what a login shell prints cannot be taken for it.
pub const MAGIC: [u8; 8] = *b"\0UNSPLIT";
/// The protocol of this version.
pub const PROTOCOL: u32 = 3;
/// Length in bytes of what stands before the document.
pub const PREAMBLE: usize = 16;
/// The longest document in bytes.
pub const LONGEST: usize = 4096;

/// Who speaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Version of unsplit.
    pub unsplit: String,
    /// The host's name, as it calls itself.
    #[serde(default)]
    pub host: String,
    /// `/etc/machine-id`, where it can be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// After how many seconds of silence the speaker gives up. The other side says something at least four times as often.
    #[serde(default)]
    pub silence: Option<u32>,
}

/// Why bytes are no greeting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAHello {
    /// It does not begin like one.
    #[error("it does not begin like an unsplit agent")]
    Magic,
    /// Another protocol.
    #[error("it speaks version {0} of the protocol, this one speaks {PROTOCOL}")]
    Protocol(u32),
    /// The document is damaged.
    #[error("its greeting is damaged")]
    Damaged,
}

/// The whole greeting.
#[must_use]
pub fn hello_bytes(hello: &Hello) -> Vec<u8> {
    // A document that is too long can only come of an absurd host name.
    let document = serde_json::to_vec(hello).ok().filter(|text| text.len() <= LONGEST).unwrap_or_default();
    let mut bytes = MAGIC.to_vec();
    bytes.extend(PROTOCOL.to_le_bytes());
    bytes.extend(u32::try_from(document.len()).unwrap_or_default().to_le_bytes());
    bytes.extend(document);
    let crc = crc32c::crc32c(&bytes);
    bytes.extend(crc.to_le_bytes());
    bytes
}

/// What the preamble says: the protocol, and how many bytes follow (document and checksum).
///
/// # Errors
/// [`NotAHello::Magic`], or [`NotAHello::Damaged`] for an absurd length.
pub fn parse_preamble(bytes: &[u8; PREAMBLE]) -> Result<(u32, usize), NotAHello> {
    if bytes[..8] != MAGIC {
        return Err(NotAHello::Magic);
    }
    let number = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let len = number(12) as usize;
    if len > LONGEST {
        return Err(NotAHello::Damaged);
    }
    Ok((number(8), len + 4))
}

/// The greeting, from its preamble and the bytes that follow.
///
/// # Errors
/// [`NotAHello`]. Another protocol is reported as such whatever its document holds.
pub fn parse_hello(preamble: &[u8; PREAMBLE], rest: &[u8]) -> Result<Hello, NotAHello> {
    let (protocol, len) = parse_preamble(preamble)?;
    if protocol != PROTOCOL {
        return Err(NotAHello::Protocol(protocol));
    }
    let (document, crc) = rest.split_last_chunk::<4>().ok_or(NotAHello::Damaged)?;
    let right = crc32c::crc32c_append(crc32c::crc32c(preamble), document);
    if rest.len() != len || u32::from_le_bytes(*crc) != right {
        return Err(NotAHello::Damaged);
    }
    serde_json::from_slice(document).map_err(|_| NotAHello::Damaged)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(bytes: &[u8]) -> (&[u8; PREAMBLE], &[u8]) {
        bytes.split_first_chunk().unwrap()
    }

    #[test]
    fn greetings_round_trip() {
        let hello = Hello { unsplit: "0.1".into(), host: "h".into(), machine: None, silence: Some(60) };
        let bytes = hello_bytes(&hello);
        let (preamble, rest) = split(&bytes);
        assert_eq!(parse_hello(preamble, rest), Ok(hello));
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let (preamble, rest) = split(&bytes);
            assert!(parse_hello(preamble, rest).is_err(), "bit {bit}");
        }
        let mut other = bytes.clone();
        other[8] = 9;
        let (preamble, rest) = split(&other);
        assert_eq!(parse_hello(preamble, rest), Err(NotAHello::Protocol(9)));
    }
}
