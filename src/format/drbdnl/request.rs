//! Requests to bytes. Only questions: no command that changes anything can be written down here.

use super::aligned;
use super::family::{Family, request_bytes};
use drbd_sys::netlink::attribute::cfg_context;
use drbd_sys::netlink::{self as drbd, command, generic as sys};

/// What can be asked of DRBD.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Every resource: state and options.
    Resources,
    /// Every device: state, options, UUIDs.
    Devices,
    /// Every connection: state, options, paths. 8.4 leaves StandAlone ones out.
    Connections,
    /// Every peer device: state, options, UUIDs, out-of-sync counts. 8.4 leaves StandAlone ones out.
    PeerDevices,
    /// Every path. Late DRBD 9 only.
    Paths,
    /// Everything at one moment, without options.
    InitialState,
    /// 8.4: every device, in one message each, with options.
    Status,
}

impl Question {
    /// Its command.
    #[must_use]
    pub fn command(self) -> u8 {
        match self {
            Question::Resources => command::GET_RESOURCES,
            Question::Devices => command::GET_DEVICES,
            Question::Connections => command::GET_CONNECTIONS,
            Question::PeerDevices => command::GET_PEER_DEVICES,
            Question::Paths => command::GET_PATHS,
            Question::InitialState => command::GET_INITIAL_STATE,
            Question::Status => command::GET_STATUS,
        }
    }

    /// For messages to people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Question::Resources => "the list of resources",
            Question::Devices => "the list of devices",
            Question::Connections => "the list of connections",
            Question::PeerDevices => "the list of peer devices",
            Question::Paths => "the list of paths",
            Question::InitialState => "the state of everything",
            Question::Status => "the status of all devices",
        }
    }
}

/// Asks the controller for a family.
#[must_use]
pub fn family(name: &str, sequence: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(request_bytes(name));
    header(&mut out, sys::GENL_ID_CTRL, 0, sequence, sys::CTRL_CMD_GETFAMILY, sys::CTRL_VERSION);
    text(&mut out, sys::CTRL_ATTR_FAMILY_NAME, name);
    close(out)
}

/// Asks DRBD about everything, or about one resource. A name of [`drbd::RESOURCE_NAME_BYTES`] or more cannot exist, so it
/// is `None`; so is a name with a NUL.
#[must_use]
pub fn dump(family: &Family, question: Question, resource: Option<&str>, sequence: u32) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(64);
    // The version is one byte in the header; a family whose version does not fit has no generation, and is not asked.
    let version = u8::try_from(family.version).ok()?;
    header(&mut out, family.id, sys::NLM_F_DUMP, sequence, question.command(), version);
    out.extend_from_slice(&drbd::NO_MINOR.to_ne_bytes());
    out.extend_from_slice(&0u32.to_ne_bytes());
    if let Some(name) = resource {
        if name.len() >= drbd::RESOURCE_NAME_BYTES || name.contains('\0') {
            return None;
        }
        let length = sys::ATTRIBUTE_HEADER_BYTES + aligned(sys::ATTRIBUTE_HEADER_BYTES + name.len() + 1);
        attribute_header(&mut out, cfg_context::NEST | sys::NLA_F_NESTED, length);
        text(&mut out, cfg_context::RESOURCE_NAME, name);
    }
    Some(close(out))
}

fn header(out: &mut Vec<u8>, family: u16, flags: u16, sequence: u32, command: u8, version: u8) {
    out.extend_from_slice(&0u32.to_ne_bytes());
    out.extend_from_slice(&family.to_ne_bytes());
    out.extend_from_slice(&(sys::NLM_F_REQUEST | flags).to_ne_bytes());
    out.extend_from_slice(&sequence.to_ne_bytes());
    out.extend_from_slice(&0u32.to_ne_bytes());
    out.extend_from_slice(&[command, version, 0, 0]);
}

fn attribute_header(out: &mut Vec<u8>, kind: u16, length: usize) {
    // Names are short: callers bound them.
    out.extend_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_ne_bytes());
    out.extend_from_slice(&kind.to_ne_bytes());
}

fn text(out: &mut Vec<u8>, kind: u16, value: &str) {
    attribute_header(out, kind, sys::ATTRIBUTE_HEADER_BYTES + value.len() + 1);
    out.extend_from_slice(value.as_bytes());
    out.push(0);
    out.resize(aligned(out.len()), 0);
}

/// Writes the length in front.
fn close(mut out: Vec<u8>) -> Vec<u8> {
    let length = u32::try_from(out.len()).unwrap_or(u32::MAX);
    if let Some(front) = out.first_chunk_mut::<4>() {
        *front = length.to_ne_bytes();
    }
    out
}
