//! What the controller says of a family.

use super::attribute::{Fields, attributes, text};
use super::{FramingError, aligned};
use crate::model::drbd_live::Generation;
use drbd_sys::netlink::{self as drbd, generic as sys};

/// A generic netlink family.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Family {
    /// Its name.
    pub name: String,
    /// Its message type, which changes whenever its module is loaded again.
    pub id: u16,
    /// Its version.
    pub version: u32,
    /// Size of its own header, in bytes.
    pub header_bytes: u32,
    /// Its commands: number and what they can do.
    pub commands: Vec<(u32, u32)>,
    /// Its multicast groups: name and id.
    pub groups: Vec<(String, u32)>,
}

impl Family {
    /// Whether it answers dumps of a command.
    #[must_use]
    pub fn dumps(&self, command: u8) -> bool {
        let can = |flags: u32| flags & sys::GENL_CMD_CAP_DUMP != 0;
        self.commands.iter().any(|(number, flags)| *number == u32::from(command) && can(*flags))
    }

    /// A multicast group's id.
    #[must_use]
    pub fn group(&self, name: &str) -> Option<u32> {
        self.groups.iter().find(|(known, _)| known == name).map(|(_, id)| *id)
    }

    /// For the family `drbd`: whose module it is; `None` for a version that nothing here knows.
    #[must_use]
    pub fn generation(&self) -> Option<Generation> {
        match self.version {
            drbd::VERSION_84 => Some(Generation::V84),
            drbd::VERSION_9 => Some(Generation::V9),
            _ => None,
        }
    }
}

/// What the controller announces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Announcement {
    /// A family is there: an answer, or it just came.
    Here(Family),
    /// A family went.
    Gone(Family),
    /// Another command, by number.
    Other(u8),
}

/// Reads a message of the controller, from behind the netlink header.
///
/// # Errors
/// [`FramingError`], with offsets from the start of the attributes (or of the body, where the header is cut off).
pub fn announcement(body: &[u8]) -> Result<Announcement, FramingError> {
    let needed = sys::GENL_HEADER_BYTES;
    let (Some(command), Some(rest)) = (body.first(), body.get(needed..)) else {
        return Err(FramingError::Truncated {
            what: "a generic netlink header",
            at: 0,
            left: body.len(),
            needed,
        });
    };
    let family = || -> Result<Family, FramingError> {
        let fields = Fields::of(rest)?;
        let nests = |number: u16| fields.bytes(number).unwrap_or_default();
        let mut family = Family {
            name: fields.text(sys::CTRL_ATTR_FAMILY_NAME).unwrap_or_default(),
            id: fields
                .bytes(sys::CTRL_ATTR_FAMILY_ID)
                .and_then(|bytes| super::ne16(bytes, 0))
                .unwrap_or_default(),
            version: fields.u32(sys::CTRL_ATTR_VERSION).unwrap_or_default(),
            header_bytes: fields.u32(sys::CTRL_ATTR_HDRSIZE).unwrap_or_default(),
            ..Family::default()
        };
        for nest in attributes(nests(sys::CTRL_ATTR_OPS))? {
            let fields = Fields::of(nest.bytes)?;
            if let Some(number) = fields.u32(sys::CTRL_ATTR_OP_ID) {
                family.commands.push((number, fields.u32(sys::CTRL_ATTR_OP_FLAGS).unwrap_or_default()));
            }
        }
        for nest in attributes(nests(sys::CTRL_ATTR_MCAST_GROUPS))? {
            let fields = Fields::of(nest.bytes)?;
            let name = fields.bytes(sys::CTRL_ATTR_MCAST_GRP_NAME).map(text);
            if let (Some(name), Some(id)) = (name, fields.u32(sys::CTRL_ATTR_MCAST_GRP_ID)) {
                family.groups.push((name, id));
            }
        }
        Ok(family)
    };
    Ok(match *command {
        sys::CTRL_CMD_NEWFAMILY => Announcement::Here(family()?),
        sys::CTRL_CMD_DELFAMILY => Announcement::Gone(family()?),
        other => Announcement::Other(other),
    })
}

/// Size of a request that asks for a family of that name, in bytes.
#[must_use]
pub(super) fn request_bytes(name: &str) -> usize {
    sys::NLMSG_HEADER_BYTES + sys::GENL_HEADER_BYTES + aligned(sys::ATTRIBUTE_HEADER_BYTES + name.len() + 1)
}
