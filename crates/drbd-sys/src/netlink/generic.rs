//! Netlink and generic netlink themselves, as far as they are needed here (Linux' `netlink.h` and `genetlink.h`).

/// Protocol number of the generic netlink bus.
pub const NETLINK_GENERIC: isize = 16;
/// Size of `nlmsghdr`: length u32 (with this header), type u16, flags u16, sequence u32, port u32.
pub const NLMSG_HEADER_BYTES: usize = 16;
/// Size of `genlmsghdr`: command u8, version u8, reserved u16.
pub const GENL_HEADER_BYTES: usize = 4;
/// Messages and attributes begin at multiples of this many bytes.
pub const ALIGN: usize = 4;
/// Size of an attribute's header: length u16 (with this header), type u16.
pub const ATTRIBUTE_HEADER_BYTES: usize = 4;

/// Message type: nothing.
pub const NLMSG_NOOP: u16 = 1;
/// Message type: i32 errno (negative; 0 acknowledges) and the request's header.
pub const NLMSG_ERROR: u16 = 2;
/// Message type: end of a dump, i32 errno.
pub const NLMSG_DONE: u16 = 3;
/// Message type: data was lost.
pub const NLMSG_OVERRUN: u16 = 4;
/// The first message type that is a family.
pub const NLMSG_FIRST_FAMILY: u16 = 16;

/// Flag: a request.
pub const NLM_F_REQUEST: u16 = 1;
/// Flag: more parts follow, up to [`NLMSG_DONE`]. DRBD leaves it out in answers to `GET_INITIAL_STATE`.
pub const NLM_F_MULTI: u16 = 2;
/// Flag: acknowledge.
pub const NLM_F_ACK: u16 = 4;
/// Flag: the dump changed under the reader and may be inconsistent.
pub const NLM_F_DUMP_INTR: u16 = 0x10;
/// Flags: dump everything (`NLM_F_ROOT | NLM_F_MATCH`).
pub const NLM_F_DUMP: u16 = 0x300;

/// Attribute flag: holds attributes.
pub const NLA_F_NESTED: u16 = 0x8000;
/// What of an attribute's type is its number: without [`NLA_F_NESTED`] and [`super::MANDATORY`].
pub const NLA_TYPE_MASK: u16 = 0x3fff;

/// The controller's family id.
pub const GENL_ID_CTRL: u16 = 16;
/// The controller's name.
pub const CTRL_NAME: &str = "nlctrl";
/// The controller's version.
pub const CTRL_VERSION: u8 = 2;
/// The controller's multicast group: families that come and go.
pub const CTRL_GROUP_NOTIFY: &str = "notify";
/// Id of [`CTRL_GROUP_NOTIFY`], fixed.
pub const CTRL_GROUP_NOTIFY_ID: u32 = 16;
/// Controller command: a family came; also the answer to [`CTRL_CMD_GETFAMILY`].
pub const CTRL_CMD_NEWFAMILY: u8 = 1;
/// Controller command: a family went.
pub const CTRL_CMD_DELFAMILY: u8 = 2;
/// Controller command: describe a family.
pub const CTRL_CMD_GETFAMILY: u8 = 3;
/// u16: a family's message type.
pub const CTRL_ATTR_FAMILY_ID: u16 = 1;
/// Text: a family's name.
pub const CTRL_ATTR_FAMILY_NAME: u16 = 2;
/// u32: a family's version.
pub const CTRL_ATTR_VERSION: u16 = 3;
/// u32: size of the family's own header.
pub const CTRL_ATTR_HDRSIZE: u16 = 4;
/// u32: highest attribute.
pub const CTRL_ATTR_MAXATTR: u16 = 5;
/// Array of nests: commands.
pub const CTRL_ATTR_OPS: u16 = 6;
/// Array of nests: multicast groups.
pub const CTRL_ATTR_MCAST_GROUPS: u16 = 7;
/// u32: a command's number.
pub const CTRL_ATTR_OP_ID: u16 = 1;
/// u32: a command's [`GENL_CMD_CAP_DUMP`] and so on.
pub const CTRL_ATTR_OP_FLAGS: u16 = 2;
/// Text: a group's name.
pub const CTRL_ATTR_MCAST_GRP_NAME: u16 = 1;
/// u32: a group's id.
pub const CTRL_ATTR_MCAST_GRP_ID: u16 = 2;
/// A command needs `CAP_NET_ADMIN`.
pub const GENL_ADMIN_PERM: u32 = 1;
/// A command answers single requests.
pub const GENL_CMD_CAP_DO: u32 = 2;
/// A command answers dumps.
pub const GENL_CMD_CAP_DUMP: u32 = 4;

/// Flag of `recvfrom`: say how long the datagram was, even if it did not fit.
pub const MSG_TRUNC: i32 = 0x20;

/// errno: not allowed.
pub const EPERM: i32 = 1;
/// errno: no such family.
pub const ENOENT: i32 = 2;
/// errno: interrupted.
pub const EINTR: i32 = 4;
/// errno: not allowed.
pub const EACCES: i32 = 13;
/// errno: a request's header is not as the family wants it.
pub const EINVAL: i32 = 22;
/// errno: the family has no such command.
pub const EOPNOTSUPP: i32 = 95;
/// errno: messages were lost because nobody fetched them in time.
pub const ENOBUFS: i32 = 105;

/// `sa_family` of IPv4: `sockaddr_in` is family u16 (host order), port u16 and address (network order), 8 bytes of nothing.
pub const AF_INET: u16 = 2;
/// `sa_family` of IPv6: family u16 (host order), port u16, flow u32, address (network order), scope u32 (host order).
pub const AF_INET6: u16 = 10;
const _: () = assert!(NLA_TYPE_MASK | NLA_F_NESTED | super::MANDATORY == u16::MAX);
