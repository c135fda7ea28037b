//! Values of options, as numbers and as DRBD's configuration spells them.

use super::Word;

/// `protocol` (`wire_protocol`).
pub const PROTOCOLS: &[Word] = &[(1, "A"), (2, "B"), (3, "C")];

/// `after-sb-0pri`, `after-sb-1pri` and `after-sb-2pri`, which allow a part of these each; anything else acts as `disconnect`.
pub const AFTER_SPLIT_BRAIN: &[Word] = &[
    (0, "disconnect"),
    (1, "discard-younger-primary"),
    (2, "discard-older-primary"),
    (3, "discard-zero-changes"),
    (4, "discard-least-changes"),
    (5, "discard-local"),
    (6, "discard-remote"),
    (7, "consensus"),
    (8, "discard-secondary"),
    (9, "call-pri-lost-after-sb"),
    (10, "violently-as0p"),
];

/// `rr-conflict`; 11 and 12 in DRBD 9 only.
pub const RESYNC_CONFLICT: &[Word] = &[
    (0, "disconnect"),
    (9, "call-pri-lost"),
    (10, "violently"),
    (11, "retry-connect"),
    (12, "auto-discard"),
];

/// `fencing`: in 8.4 an option of the disk, in 9 of the connection.
pub const FENCING: &[Word] = &[(0, "dont-care"), (1, "resource-only"), (2, "resource-and-stonith")];

/// `on-io-error`.
pub const ON_IO_ERROR: &[Word] = &[(0, "pass_on"), (1, "call-local-io-error"), (2, "detach")];

/// `on-no-data-accessible`, and in DRBD 9 `on-no-quorum`.
pub const ON_NO_DATA: &[Word] = &[(0, "io-error"), (1, "suspend-io")];

/// `on-suspended-primary-outdated`, DRBD 9.
pub const ON_SUSPENDED_OUTDATED: &[Word] = &[(0, "disconnect"), (1, "force-secondary")];

/// `on-congestion`.
pub const ON_CONGESTION: &[Word] = &[(0, "block"), (1, "pull-ahead"), (2, "disconnect")];

/// `read-balancing`.
pub const READ_BALANCING: &[Word] = &[
    (0, "prefer-local"),
    (1, "prefer-remote"),
    (2, "round-robin"),
    (3, "least-pending"),
    (4, "when-congested-remote"),
    (5, "32K-striping"),
    (6, "64K-striping"),
    (7, "128K-striping"),
    (8, "256K-striping"),
    (9, "512K-striping"),
    (10, "1M-striping"),
];

/// `quorum` and `quorum-minimum-redundancy`, DRBD 9: off.
pub const QUORUM_OFF: i32 = 0;
/// The same: more than half of the nodes.
pub const QUORUM_MAJORITY: i32 = 1024;
/// The same: all nodes. Numbers from 1 to [`QUORUM_MOST`] ask for that many.
pub const QUORUM_ALL: i32 = 1025;
/// The largest number of nodes.
pub const QUORUM_MOST: i32 = 32;

/// `meta_dev_idx`: internal, at the device's end, of fixed size.
pub const META_INTERNAL: i32 = -1;
/// `meta_dev_idx`: a device of its own, of any size.
pub const META_FLEXIBLE_EXTERNAL: i32 = -2;
/// `meta_dev_idx`: internal, of a size that follows the device's. Numbers from 0 are slots of 128 MiB.
pub const META_FLEXIBLE_INTERNAL: i32 = -3;

/// Answers to `GET_TIMEOUT_TYPE`.
pub const TIMEOUT_TYPES: &[Word] = &[(0, "default"), (1, "degraded"), (2, "peer-outdated")];

/// What a `fence-peer` handler says of the peer by its exit code.
pub const FENCE_PEER_EXITS: &[Word] =
    &[(3, "inconsistent"), (4, "outdated"), (5, "unreachable"), (6, "primary"), (7, "fenced")];
