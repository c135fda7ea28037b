//! Datagrams to messages.

use super::{FramingError, aligned, ne16, ne32};
use drbd_sys::netlink::generic as sys;

/// One message of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// `nlmsg_type`: a family's id, or less for control.
    pub family: u16,
    /// `nlmsg_flags`.
    pub flags: u16,
    /// `nlmsg_seq`.
    pub sequence: u32,
    /// `nlmsg_pid`: for whom it is; 0 for everybody.
    pub port: u32,
    /// What follows the header.
    pub body: &'a [u8],
}

/// What a message is for the netlink protocol itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// A family's message.
    Payload,
    /// The end of a dump, with an errno, 0 if all went well.
    Done(i32),
    /// The request failed with an errno; 0 acknowledges it.
    Error(i32),
    /// Messages were lost.
    Overrun,
    /// Nothing to see.
    Nothing,
}

impl Frame<'_> {
    /// What the message is for the netlink protocol. errnos are returned as positive numbers.
    #[must_use]
    pub fn control(&self) -> Control {
        // A missing errno is 0 for the end of a dump; an error without one is still an error.
        let errno = |missing: i32| {
            ne32(self.body, 0)
                .map_or(missing, |number| i32::from_ne_bytes(number.to_ne_bytes()).saturating_neg())
        };
        match self.family {
            sys::NLMSG_DONE => Control::Done(errno(0)),
            sys::NLMSG_ERROR => Control::Error(errno(sys::EINVAL)),
            sys::NLMSG_OVERRUN => Control::Overrun,
            family if family >= sys::NLMSG_FIRST_FAMILY => Control::Payload,
            _ => Control::Nothing,
        }
    }

    /// The kernel noticed that the dump changed under the reader.
    #[must_use]
    pub fn interrupted(&self) -> bool {
        self.flags & sys::NLM_F_DUMP_INTR != 0
    }
}

/// The messages of a datagram, in order. After broken framing nothing follows.
#[derive(Debug, Clone)]
pub struct Frames<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// Takes a datagram apart.
#[must_use]
pub fn frames(datagram: &[u8]) -> Frames<'_> {
    Frames { bytes: datagram, at: 0 }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Frame<'a>, FramingError>;

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.at;
        let rest = self.bytes.get(at..).filter(|rest| !rest.is_empty())?;
        let header =
            || Some((ne32(rest, 0)?, ne16(rest, 4)?, ne16(rest, 6)?, ne32(rest, 8)?, ne32(rest, 12)?));
        let Some((length, family, flags, sequence, port)) = header() else {
            self.at = self.bytes.len();
            let needed = sys::NLMSG_HEADER_BYTES;
            return Some(Err(FramingError::Truncated {
                what: "a netlink header",
                at,
                left: rest.len(),
                needed,
            }));
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let Some(body) = rest.get(sys::NLMSG_HEADER_BYTES..length) else {
            self.at = self.bytes.len();
            return Some(Err(FramingError::Length {
                what: "a netlink message",
                at,
                length,
                left: rest.len(),
            }));
        };
        self.at = at.saturating_add(aligned(length));
        Some(Ok(Frame { family, flags, sequence, port, body }))
    }
}
