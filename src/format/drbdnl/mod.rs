//! DRBD's generic netlink messages: bytes to model, and the requests that reading needs. Nothing here can change a DRBD.
//!
//! | file | does |
//! |---|---|
//! | [`frame`] | datagrams to messages |
//! | [`attribute`] | a message's body to numbered fields |
//! | [`family`] | the controller's description of a family |
//! | [`request`] | requests to bytes |
//! | [`report`] | DRBD's messages to [`crate::model::drbd_live::report::Report`] |
//!
//! Whatever arrives, decoding ends, reserves no more than a small multiple of what arrived, and either yields a report or
//! says where the framing is broken. Inside sound framing nothing is an error: what is not understood is kept as it came.
//! Layout: [`drbd_sys::netlink`].

pub mod attribute;
pub mod family;
pub mod frame;
pub mod report;
pub mod request;
mod sections;

use drbd_sys::netlink::generic;

/// Where a message's framing is broken. Offsets are bytes from the start of what was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// A header does not fit into what is left.
    #[error("{what} at byte {at} is cut off: {left} of {needed} bytes are there")]
    Truncated {
        /// Which header.
        what: &'static str,
        /// Where.
        at: usize,
        /// How many bytes are there.
        left: usize,
        /// How many it has.
        needed: usize,
    },
    /// A length that is too small for its own header or larger than what is left.
    #[error("{what} at byte {at} says it has {length} bytes, of which {left} are there")]
    Length {
        /// Of what.
        what: &'static str,
        /// Where.
        at: usize,
        /// What it says.
        length: usize,
        /// How many bytes are there.
        left: usize,
    },
}

/// `N` bytes of `bytes` at `at`.
fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn ne16(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_ne_bytes)
}

fn ne32(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_ne_bytes)
}

/// The next multiple of [`generic::ALIGN`].
fn aligned(length: usize) -> usize {
    length.saturating_add(generic::ALIGN - 1) & !(generic::ALIGN - 1)
}
