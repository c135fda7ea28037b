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

    /// For the family `drbd`: which DRBD it is. `module`: the module's own version, where it tells one; without it the family's
    /// version alone counts. A DRBD 9 can be built to speak the family's version 1, in which it leaves out what its own rules
    /// rest on: taken for an 8.4 it would be judged by the wrong rules.
    ///
    /// # Errors
    /// [`NoGeneration`].
    pub fn generation(&self, module: Option<&str>) -> Result<Generation, NoGeneration> {
        let spoken = match self.version {
            drbd::VERSION_84 => Generation::V84,
            drbd::VERSION_9 => Generation::V9,
            other => return Err(NoGeneration::Family(other)),
        };
        let Some(module) = module else { return Ok(spoken) };
        match module_generation(module) {
            None => Err(NoGeneration::Module(module.to_owned())),
            Some(built) if built == spoken => Ok(spoken),
            Some(_) => Err(NoGeneration::Contradiction { module: module.to_owned(), family: self.version }),
        }
    }
}

/// Why nobody can say which DRBD it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoGeneration {
    /// The family has a version that nothing here knows.
    Family(u32),
    /// The module has a version that nothing here knows.
    Module(String),
    /// The module is of one generation, its family of the other.
    Contradiction {
        /// The module's version.
        module: String,
        /// The family's.
        family: u32,
    },
}

/// The generation of a module's version, such as `8.4.11` or `9.2.15-1`.
fn module_generation(version: &str) -> Option<Generation> {
    let mut numbers = version.split(|c: char| !c.is_ascii_digit());
    match (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?) {
        (8u32, 4u32) => Some(Generation::V84),
        (9, _) => Some(Generation::V9),
        _ => None,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn family_and_module_must_agree() {
        let family = |version| Family { version, ..Family::default() };
        for (version, module, expected) in [
            (1, None, Ok(Generation::V84)),
            (2, None, Ok(Generation::V9)),
            (1, Some("8.4.11"), Ok(Generation::V84)),
            (1, Some("8.4.11-1"), Ok(Generation::V84)),
            (2, Some("9.2.15-xen.1"), Ok(Generation::V9)),
            (2, Some("9.3.5"), Ok(Generation::V9)),
            (3, Some("9.3.5"), Err(NoGeneration::Family(3))),
            (2, Some("10.0.0"), Err(NoGeneration::Module("10.0.0".to_owned()))),
            (1, Some("8.3.16"), Err(NoGeneration::Module("8.3.16".to_owned()))),
            (1, Some(""), Err(NoGeneration::Module(String::new()))),
            (1, Some("9.3.5"), Err(NoGeneration::Contradiction { module: "9.3.5".to_owned(), family: 1 })),
            (2, Some("8.4.11"), Err(NoGeneration::Contradiction { module: "8.4.11".to_owned(), family: 2 })),
        ] {
            assert_eq!(family(version).generation(module), expected, "{version} {module:?}");
        }
    }
}
