//! Frames: what a byte stream between two agents is cut into.
//!
//! A frame is a header of 16 bytes and a payload, numbers little-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 0..4 | length of the payload, at most [`LONGEST_PAYLOAD`] |
//! | 4..8 | number of the request, or of the channel, it belongs to |
//! | 8 | [`Kind`] |
//! | 9..12 | zero |
//! | 12..16 | CRC-32C of bytes 0..12 and the payload |

/// Length of a header in bytes.
pub const HEADER: usize = 16;

/// The longest payload in bytes: a message of 1 MiB and what stands around it. Receivers refuse longer ones before they
/// reserve memory.
pub const LONGEST_PAYLOAD: usize = (1 << 20) + 4096;

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// The last (mostly the only) part of a request.
    Request = 1,
    /// The last (mostly the only) part of a reply.
    Reply = 2,
    /// A part of a request or reply; more follow.
    Part = 3,
    /// The sender is alive, and has come so far: bytes that it has read and hashed since the greeting, a number of 8 bytes.
    Alive = 4,
    /// A whole message on a channel.
    Message = 5,
    /// Room for that many more messages on a channel: a number of 4 bytes.
    Credit = 6,
    /// No more messages follow on a channel.
    End = 7,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 7] =
        [Kind::Request, Kind::Reply, Kind::Part, Kind::Alive, Kind::Message, Kind::Credit, Kind::End];

    fn of(byte: u8) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// Why bytes are no frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameFault {
    /// The payload would be too long.
    #[error("a frame of {0} bytes is longer than any of ours")]
    TooLong(u64),
    /// The kind is none that this version knows, or bytes that are zero are not.
    #[error("a frame of the unknown kind {0}")]
    Kind(u8),
    /// The checksum is wrong.
    #[error("the checksum of a frame is wrong")]
    Checksum,
}

/// A header that was read; its payload is not checked yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Length of the payload in bytes, at most [`LONGEST_PAYLOAD`].
    pub len: usize,
    /// The request or channel.
    pub id: u32,
    /// What it carries.
    pub kind: Kind,
    crc: u32,
    bytes: [u8; 12],
}

/// The header for a payload.
///
/// # Errors
/// [`FrameFault::TooLong`].
pub fn header_for(id: u32, kind: Kind, payload: &[u8]) -> Result<[u8; HEADER], FrameFault> {
    let too_long = || FrameFault::TooLong(payload.len() as u64);
    if payload.len() > LONGEST_PAYLOAD {
        return Err(too_long());
    }
    let mut header = [0; HEADER];
    header[..4].copy_from_slice(&u32::try_from(payload.len()).map_err(|_| too_long())?.to_le_bytes());
    header[4..8].copy_from_slice(&id.to_le_bytes());
    header[8] = kind as u8;
    let crc = crc32c::crc32c_append(crc32c::crc32c(&header[..12]), payload);
    header[12..].copy_from_slice(&crc.to_le_bytes());
    Ok(header)
}

/// Reads a header.
///
/// # Errors
/// [`FrameFault`] when nothing that follows could be a payload of it.
pub fn parse_header(bytes: &[u8; HEADER]) -> Result<Header, FrameFault> {
    let number = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let len = number(0) as usize;
    if len > LONGEST_PAYLOAD {
        return Err(FrameFault::TooLong(len as u64));
    }
    let kind = Kind::of(bytes[8]).ok_or(FrameFault::Kind(bytes[8]))?;
    if bytes[9..12] != [0; 3] {
        return Err(FrameFault::Kind(bytes[8]));
    }
    let mut covered = [0; 12];
    covered.copy_from_slice(&bytes[..12]);
    Ok(Header { len, id: number(4), kind, crc: number(12), bytes: covered })
}

impl Header {
    /// Checks the payload that followed.
    ///
    /// # Errors
    /// [`FrameFault::Checksum`], also for a payload of another length.
    pub fn check(&self, payload: &[u8]) -> Result<(), FrameFault> {
        let crc = crc32c::crc32c_append(crc32c::crc32c(&self.bytes), payload);
        if payload.len() == self.len && crc == self.crc { Ok(()) } else { Err(FrameFault::Checksum) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_round_trip() {
        for kind in Kind::ALL {
            for payload in [&b""[..], b"x", &[7; 5000]] {
                let bytes = header_for(9, kind, payload).unwrap();
                let header = parse_header(&bytes).unwrap();
                assert_eq!((header.len, header.id, header.kind), (payload.len(), 9, kind));
                assert_eq!(header.check(payload), Ok(()));
            }
        }
        assert!(header_for(0, Kind::Alive, &vec![0; LONGEST_PAYLOAD + 1]).is_err());
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        let payload = b"sixteen bytes or so";
        let whole = [&header_for(3, Kind::Reply, payload).unwrap()[..], payload].concat();
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let header = parse_header(bytes[..HEADER].try_into().unwrap());
            assert!(header.is_err() || header.unwrap().check(&bytes[HEADER..]).is_err(), "bit {bit}");
        }
    }
}
