//! A node as its unsplit sees it: what its DRBD tells, what its kernel logged about it, who uses its devices, and the
//! few acts that healing a running resource is made of.

use super::drbd_live::tree::Live;
use super::drbd_live::words::AfterSplitBrain;
use super::id::ResourceName;
use super::seen::{Stamp, Why};
use serde::{Deserialize, Serialize};

/// What a node's DRBD tells. Absent, silent and empty are three different things.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "drbd", content = "told")]
pub enum DrbdSeen {
    /// No DRBD module is loaded.
    NotLoaded,
    /// There is one, and it could not be read.
    Unreadable(Why),
    /// It told.
    Told(Live),
}

/// A resource that the node's configuration files define, running or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configured {
    /// Its name.
    pub resource: String,
    /// Its volumes on this node.
    pub volumes: Vec<ConfiguredVolume>,
    /// The other nodes of the resource: their names, as `uname -n` gives them there.
    pub peers: Vec<String>,
    /// Options of its connections, by the names and in the words of the configuration, without secrets. A connection that is
    /// StandAlone has no others in 8.4's kernel.
    pub net: Vec<ConfiguredOption>,
}

/// An option as the configuration spells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfiguredOption {
    /// Its name: `after-sb-0pri`.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// A volume of a configured resource on this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfiguredVolume {
    /// Its number.
    pub volume: u32,
    /// Minor number of `/dev/drbdN`.
    pub minor: Option<u32>,
    /// Path of the backing device; `None` for a diskless node.
    pub disk: Option<String>,
    /// `internal`, or the path of the metadata device, with `[N]` for an index.
    pub meta_disk: Option<String>,
}

/// A line of the kernel's log that DRBD wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Microseconds since the node's start.
    pub at: u64,
    /// The text, without the time.
    pub text: String,
}

/// What a node's kernel tells, read now: cheap enough to be asked again and again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeState {
    /// What the node calls itself (`uname -n`).
    pub host: String,
    /// Its machine id, where it could be read.
    pub machine: Option<String>,
    /// Its boot id, where it could be read: another one means that everything below started anew.
    pub boot: Option<String>,
    /// When, by the node's clock.
    pub taken_at: Stamp,
    /// What its DRBD tells.
    pub drbd: DrbdSeen,
}

/// Everything about a node, read now. The configuration takes seconds on a slow machine: it is `drbdadm` that reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeReport {
    /// What its kernel tells.
    pub state: NodeState,
    /// Its configured resources; `Err` says why they are not known.
    pub configured: Result<Vec<Configured>, Why>,
    /// What its kernel logged about DRBD lately, oldest first; `Err` says why that is not known.
    pub log: Result<Vec<LogLine>, Why>,
}

/// Which connection of a resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Toward {
    /// The resource.
    pub resource: ResourceName,
    /// 9: the peer's node id. `None` in 8.4, which has one connection per resource.
    pub peer: Option<u32>,
}

/// The three after-sb policies of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AfterSb {
    /// `after-sb-0pri`.
    pub zero: AfterSplitBrain,
    /// `after-sb-1pri`.
    pub one: AfterSplitBrain,
    /// `after-sb-2pri`.
    pub two: AfterSplitBrain,
}

impl AfterSb {
    /// No policy decides anything.
    pub const DISCONNECT: AfterSb = AfterSb {
        zero: AfterSplitBrain::Disconnect,
        one: AfterSplitBrain::Disconnect,
        two: AfterSplitBrain::Disconnect,
    };
}

/// What a connection is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConnectAs {
    /// Connect, and give up nothing.
    Survivor,
    /// Connect and take over the peer's data (`--discard-my-data`).
    Victim,
}

/// One act on a running resource. Each is idempotent: done again, it finds that it was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "act")]
pub enum NodeAct {
    /// End the connection: StandAlone afterwards.
    Disconnect(Toward),
    /// Leave the Primary role. Refused while somebody has a device open.
    Demote {
        /// The resource.
        resource: ResourceName,
    },
    /// Connect, with all three after-sb policies set to `disconnect` for this connection, so that no policy decides
    /// against the plan.
    Connect {
        /// Which connection.
        toward: Toward,
        /// As what.
        how: ConnectAs,
    },
    /// Try again to connect, with whatever options the connection has, giving up nothing. Only 9, which has several connections.
    Reconnect(Toward),
    /// Put the after-sb policies back.
    RestorePolicies {
        /// Which connection.
        toward: Toward,
        /// What they were; `None`: as the configuration files say (8.4 forgets them while StandAlone).
        to: Option<AfterSb>,
    },
    /// Declare all local data out of date, so that the next connection syncs everything (`invalidate`).
    Invalidate {
        /// The resource.
        resource: ResourceName,
        /// The volume.
        volume: u32,
        /// Its minor number.
        minor: u32,
    },
    /// Take the Primary role, never by force.
    Promote {
        /// The resource.
        resource: ResourceName,
    },
}

impl NodeAct {
    /// Whether it gives up data of the node, or lets it write: who acts then asks for a proof.
    #[must_use]
    pub fn needs_a_proof(&self) -> bool {
        matches!(
            self,
            NodeAct::Invalidate { .. }
                | NodeAct::Connect { how: ConnectAs::Victim, .. }
                | NodeAct::Promote { .. }
        )
    }
}

/// Somebody who uses a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceUser {
    /// Who, in words for people: `mounted on /srv`, `LVM volume vg-lv`, `process 4711 (qemu-system-x86), guest vm-101`.
    pub who: String,
    /// What ends the use, as a command or a sentence; `None` if nothing is known.
    pub ends_with: Option<String>,
}
