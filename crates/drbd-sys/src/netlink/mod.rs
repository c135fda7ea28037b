//! DRBD's generic netlink ABI: family, framing, commands, attributes, enumerations, answer codes.
//!
//! Sources: LINBIT/drbd-headers at 32c2e60 (DRBD 9), `drbd_genl.h` of Linux and of the 8.4 branch (DRBD 8.4), restated as
//! numbers; checked against what DRBD 8.4.11 and 9.3.3 sent. Numbers are in host byte order on the wire.
//!
//! A message is `nlmsghdr` (16 bytes), `genlmsghdr` (4), DRBD's own header (8), attributes. Every attribute at the top is a
//! nest; inside, each field is an attribute with a number of its own ([`attribute`]).

pub mod attribute;
pub mod code;
pub mod command;
pub mod generic;
pub mod options;
pub mod state;

/// Major number of `/dev/drbdN` (`DRBD_MAJOR`).
pub const MAJOR: u32 = 147;
/// Name of the generic netlink family of both generations. Only one of the modules can be loaded.
pub const FAMILY: &str = "drbd";
/// Name of a second family that DRBD 9.3.5 has beside it, as read in its published source (2026): no header of DRBD's own
/// behind `genlmsghdr`, other numbers for commands and attributes, addresses as nests. Nothing here speaks it.
pub const FAMILY_SECOND: &str = "drbd2";
/// Name of the family's multicast group.
pub const GROUP_EVENTS: &str = "events";
/// Family version of DRBD 8.4, also of the driver in Linux; and, as read in its published source, of a DRBD 9.3.5 that was built
/// to serve DRBD 8.4's tools. The module's own version tells the two apart.
pub const VERSION_84: u32 = 1;
/// Family version of DRBD 9.
pub const VERSION_9: u32 = 2;
/// Size of DRBD's header behind `genlmsghdr`, in bytes: `minor` u32, then `flags` u32 (requests) or `ret_code` i32 (answers).
pub const HEADER_BYTES: usize = 8;
/// `minor` where a message is not about one.
pub const NO_MINOR: u32 = u32::MAX;
/// Attribute bit that old kernels set on fields whose meaning a receiver must know. It has the value of
/// `NLA_F_NET_BYTEORDER`, but says nothing of the byte order.
pub const MANDATORY: u16 = 0x4000;
/// What a resource name, with its NUL, may have at most, in bytes.
pub const RESOURCE_NAME_BYTES: usize = 128;
/// Wire protocols DRBD 8.4.11 speaks, lowest and highest.
pub const WIRE_84: (u32, u32) = (86, 101);
/// Wire protocols DRBD 9.2 and later speak with each other, lowest and (9.3.3) highest; besides [`WIRE_84`] for rolling upgrades.
pub const WIRE_9: (u32, u32) = (118, 124);

/// Which generation has a command, field or word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// Both.
    Both,
    /// DRBD 8.4.
    V84,
    /// DRBD 9.
    V9,
}

/// One word of an enumeration: its number and how DRBD's tools spell it.
pub type Word = (u32, &'static str);

/// The word for a number.
#[must_use]
pub fn word(table: &[Word], number: u32) -> Option<&'static str> {
    table.iter().find(|(known, _)| *known == number).map(|(_, word)| *word)
}
