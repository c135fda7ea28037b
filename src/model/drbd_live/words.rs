//! States and option values of a running DRBD, in the words of its own tools.

use serde::{Deserialize, Serialize};

macro_rules! words {
    ($($(#[$meta:meta])* $name:ident { $($variant:ident = $word:literal),* $(,)? })*) => { $(
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name {
            $(
                #[doc = concat!("`", $word, "`.")]
                #[serde(rename = $word)]
                $variant,
            )*
            /// A number that no table knows.
            #[serde(untagged)]
            Other(u32),
        }

        impl $name {
            /// Every value with a word.
            pub const ALL: &[$name] = &[$($name::$variant),*];

            /// DRBD's word; `None` for a number that no table knows.
            #[must_use]
            pub fn word(self) -> Option<&'static str> {
                match self {
                    $($name::$variant => Some($word),)*
                    $name::Other(_) => None,
                }
            }

            /// The value that DRBD spells so.
            #[must_use]
            pub fn of_word(word: &str) -> Option<$name> {
                match word {
                    $($word => Some($name::$variant),)*
                    _ => None,
                }
            }
        }

        impl Word for $name {
            fn of(word: Option<&str>, number: u32) -> $name {
                word.and_then($name::of_word).unwrap_or($name::Other(number))
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self {
                    $name::Other(number) => write!(f, "{number}"),
                    known => f.write_str(known.word().unwrap_or_default()),
                }
            }
        }
    )* };
}

/// A value that DRBD sends as a number and its tools print as a word.
pub trait Word: Sized {
    /// The value for a number, whose word was found in a table or not.
    fn of(word: Option<&str>, number: u32) -> Self;
}

words! {
    /// A node's role for a resource.
    Role { Unknown = "Unknown", Primary = "Primary", Secondary = "Secondary" }

    /// State of a disk, this node's or a peer's as far as it is known here. 8.4 has no `Detaching`.
    DiskState {
        Diskless = "Diskless",
        Attaching = "Attaching",
        Detaching = "Detaching",
        Failed = "Failed",
        Negotiating = "Negotiating",
        Inconsistent = "Inconsistent",
        Outdated = "Outdated",
        Unknown = "DUnknown",
        Consistent = "Consistent",
        UpToDate = "UpToDate",
    }

    /// State of a connection. 8.4's `WFConnection` is `Connecting` here and its `WFReportParams` is `Connected`, as in `drbdsetup`.
    ConnectionState {
        StandAlone = "StandAlone",
        Disconnecting = "Disconnecting",
        Unconnected = "Unconnected",
        Timeout = "Timeout",
        BrokenPipe = "BrokenPipe",
        NetworkFailure = "NetworkFailure",
        ProtocolError = "ProtocolError",
        TearDown = "TearDown",
        Connecting = "Connecting",
        Connected = "Connected",
    }

    /// What goes on between a device and its peer. 8.4's `Connected` is `Established` here.
    ReplicationState {
        Off = "Off",
        Established = "Established",
        StartingSyncS = "StartingSyncS",
        StartingSyncT = "StartingSyncT",
        WFBitMapS = "WFBitMapS",
        WFBitMapT = "WFBitMapT",
        WFSyncUuid = "WFSyncUUID",
        SyncSource = "SyncSource",
        SyncTarget = "SyncTarget",
        VerifyS = "VerifyS",
        VerifyT = "VerifyT",
        PausedSyncS = "PausedSyncS",
        PausedSyncT = "PausedSyncT",
        Ahead = "Ahead",
        Behind = "Behind",
    }

    /// How writes are kept in order.
    WriteOrdering { None = "none", Drain = "drain", Flush = "flush", Barrier = "barrier" }

    /// What a notification says.
    NoticeKind {
        Exists = "exists",
        Create = "create",
        Change = "change",
        Destroy = "destroy",
        Call = "call",
        Response = "response",
        Rename = "rename",
    }

    /// Why 8.4 sent an `EVENT`.
    Reason84 {
        GetStatusReply = "get-status-reply",
        StateChange = "state-change",
        HelperPre = "helper-pre",
        HelperPost = "helper-post",
        SyncProgress = "sync-progress",
    }

    /// `protocol`.
    Protocol { A = "A", B = "B", C = "C" }

    /// `after-sb-0pri`, `after-sb-1pri`, `after-sb-2pri`, as configured. A value that its place does not allow acts as `disconnect`.
    AfterSplitBrain {
        Disconnect = "disconnect",
        DiscardYoungerPrimary = "discard-younger-primary",
        DiscardOlderPrimary = "discard-older-primary",
        DiscardZeroChanges = "discard-zero-changes",
        DiscardLeastChanges = "discard-least-changes",
        DiscardLocal = "discard-local",
        DiscardRemote = "discard-remote",
        Consensus = "consensus",
        DiscardSecondary = "discard-secondary",
        CallPriLostAfterSb = "call-pri-lost-after-sb",
        ViolentlyAs0p = "violently-as0p",
    }

    /// `rr-conflict`.
    ResyncConflict {
        Disconnect = "disconnect",
        CallPriLost = "call-pri-lost",
        Violently = "violently",
        RetryConnect = "retry-connect",
        AutoDiscard = "auto-discard",
    }

    /// `fencing`.
    Fencing { DontCare = "dont-care", ResourceOnly = "resource-only", ResourceAndStonith = "resource-and-stonith" }

    /// `on-io-error`.
    OnIoError { PassOn = "pass_on", CallLocalIoError = "call-local-io-error", Detach = "detach" }

    /// `on-no-data-accessible` and `on-no-quorum`.
    OnNoData { IoError = "io-error", SuspendIo = "suspend-io" }

    /// `on-suspended-primary-outdated`.
    OnSuspendedOutdated { Disconnect = "disconnect", ForceSecondary = "force-secondary" }

    /// `on-congestion`.
    OnCongestion { Block = "block", PullAhead = "pull-ahead", Disconnect = "disconnect" }

    /// `read-balancing`.
    ReadBalancing {
        PreferLocal = "prefer-local",
        PreferRemote = "prefer-remote",
        RoundRobin = "round-robin",
        LeastPending = "least-pending",
        WhenCongestedRemote = "when-congested-remote",
        Striping32K = "32K-striping",
        Striping64K = "64K-striping",
        Striping128K = "128K-striping",
        Striping256K = "256K-striping",
        Striping512K = "512K-striping",
        Striping1M = "1M-striping",
    }
}

/// `quorum` and `quorum-minimum-redundancy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Quorum {
    /// No quorum.
    Off,
    /// More than half of the nodes.
    Majority,
    /// All nodes.
    All,
    /// That many nodes.
    AtLeast(u8),
    /// A number that no table knows.
    Other(i32),
}

/// `meta-disk`: where a device's metadata is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MetaIndex {
    /// At the end of the backing device.
    Internal,
    /// A device of its own.
    FlexibleExternal,
    /// That slot of 128 MiB of a device.
    Slot(u32),
    /// A number that no table knows.
    Other(i32),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_numbers_survive_json() {
        for state in DiskState::ALL.iter().copied().chain([DiskState::Other(77)]) {
            let text = serde_json::to_string(&state).unwrap();
            assert_eq!(serde_json::from_str::<DiskState>(&text).unwrap(), state, "{text}");
        }
        assert_eq!(serde_json::to_string(&DiskState::Unknown).unwrap(), "\"DUnknown\"");
        assert_eq!(DiskState::Other(77).to_string(), "77");
    }
}
