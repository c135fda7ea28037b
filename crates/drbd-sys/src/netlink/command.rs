//! Commands: `genlmsghdr.cmd`.

use super::Of;

/// What a command does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Answers a dump; nothing is changed.
    Dump,
    /// Answers a single request and a dump; nothing is changed.
    DoAndDump,
    /// Answers a single request; nothing is changed.
    Read,
    /// Changes something.
    Change,
    /// Sent by the kernel to the multicast group, and 34 to 37, 41 and 48 also in answer to [`GET_INITIAL_STATE`].
    Notification,
}

/// One command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Command {
    /// `genlmsghdr.cmd`.
    pub number: u8,
    /// Its name, without prefix, in lower case.
    pub name: &'static str,
    /// What it does.
    pub kind: Kind,
    /// Who has it.
    pub of: Of,
}

macro_rules! commands {
    ($($constant:ident = $number:literal, $name:literal, $kind:ident, $of:ident;)*) => {
        $(
            #[doc = concat!("`", $name, "`.")]
            pub const $constant: u8 = $number;
        )*
        /// Every command, by number.
        pub const COMMANDS: &[Command] =
            &[$(Command { number: $number, name: $name, kind: Kind::$kind, of: Of::$of }),*];
    };
}

commands! {
    EVENT = 1, "event", Notification, V84;
    GET_STATUS = 2, "get_status", DoAndDump, V84;
    NEW_MINOR = 5, "new_minor", Change, Both;
    DEL_MINOR = 6, "del_minor", Change, Both;
    NEW_RESOURCE = 7, "new_resource", Change, Both;
    DEL_RESOURCE = 8, "del_resource", Change, Both;
    RESOURCE_OPTS = 9, "resource_opts", Change, Both;
    CONNECT = 10, "connect", Change, Both;
    DISCONNECT = 11, "disconnect", Change, Both;
    ATTACH = 12, "attach", Change, Both;
    RESIZE = 13, "resize", Change, Both;
    PRIMARY = 14, "primary", Change, Both;
    SECONDARY = 15, "secondary", Change, Both;
    NEW_C_UUID = 16, "new_c_uuid", Change, Both;
    START_OV = 17, "start_ov", Change, Both;
    DETACH = 18, "detach", Change, Both;
    INVALIDATE = 19, "invalidate", Change, Both;
    INVAL_PEER = 20, "inval_peer", Change, Both;
    PAUSE_SYNC = 21, "pause_sync", Change, Both;
    RESUME_SYNC = 22, "resume_sync", Change, Both;
    SUSPEND_IO = 23, "suspend_io", Change, Both;
    RESUME_IO = 24, "resume_io", Change, Both;
    OUTDATE = 25, "outdate", Change, Both;
    GET_TIMEOUT_TYPE = 26, "get_timeout_type", Read, Both;
    DOWN = 27, "down", Change, Both;
    CHG_DISK_OPTS = 28, "chg_disk_opts", Change, Both;
    CHG_NET_OPTS = 29, "chg_net_opts", Change, Both;
    GET_RESOURCES = 30, "get_resources", Dump, Both;
    GET_DEVICES = 31, "get_devices", Dump, Both;
    GET_CONNECTIONS = 32, "get_connections", Dump, Both;
    GET_PEER_DEVICES = 33, "get_peer_devices", Dump, Both;
    RESOURCE_STATE = 34, "resource_state", Notification, Both;
    DEVICE_STATE = 35, "device_state", Notification, Both;
    CONNECTION_STATE = 36, "connection_state", Notification, Both;
    PEER_DEVICE_STATE = 37, "peer_device_state", Notification, Both;
    GET_INITIAL_STATE = 38, "get_initial_state", Dump, Both;
    HELPER = 40, "helper", Notification, Both;
    INITIAL_STATE_DONE = 41, "initial_state_done", Notification, Both;
    FORGET_PEER = 42, "forget_peer", Change, V9;
    CHG_PEER_DEVICE_OPTS = 43, "chg_peer_device_opts", Change, V9;
    NEW_PEER = 44, "new_peer", Change, V9;
    NEW_PATH = 45, "new_path", Change, V9;
    DEL_PEER = 46, "del_peer", Change, V9;
    DEL_PATH = 47, "del_path", Change, V9;
    PATH_STATE = 48, "path_state", Notification, V9;
    RENAME_RESOURCE = 49, "rename_resource", Change, V9;
    GET_PATHS = 50, "get_paths", Dump, V9;
}

/// The command with a number.
#[must_use]
pub fn named(number: u8) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.number == number)
}
