//! What DRBD called its handlers for, and what came of it.

use super::drbd::GenerationUuid;
use super::drbd_live::words::{ConnectionState, DiskState, ReplicationState, Role};
use super::id::IncidentId;
use super::seen::{Stamp, Why};
use serde::{Deserialize, Serialize};

macro_rules! handlers {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {
        /// A handler of DRBD, by the name that both generations give it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Handler { $($(#[$doc])* $name,)* }

        impl Handler {
            /// All of them.
            pub const ALL: &[Handler] = &[$(Handler::$name),*];

            /// Its name.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Handler::$name => $word,)* }
            }
        }
    };
}

handlers! {
    /// A split brain was seen; policies may still solve it.
    InitialSplitBrain = "initial-split-brain",
    /// A split brain was not solved: the connection is dropped.
    SplitBrain = "split-brain",
    /// A Primary was voted out by a policy and cannot give the role up.
    PriLostAfterSb = "pri-lost-after-sb",
    /// A Primary should become the target of a resync.
    PriLost = "pri-lost",
    /// A Primary lost its last good data.
    PriOnInconDegr = "pri-on-incon-degr",
    /// The backing device failed.
    LocalIoError = "local-io-error",
    /// The peer has to be fenced before writing goes on.
    FencePeer = "fence-peer",
    /// The peer is up to date again.
    UnfencePeer = "unfence-peer",
    /// This node's data is about to be overwritten by the peer's.
    BeforeResyncTarget = "before-resync-target",
    /// The peer's data is about to be overwritten by this node's.
    BeforeResyncSource = "before-resync-source",
    /// This node's data equals the peer's again.
    AfterResyncTarget = "after-resync-target",
    /// An online verify found differences.
    OutOfSync = "out-of-sync",
    /// 9: quorum was lost.
    QuorumLost = "quorum-lost",
    /// 9: a connection ended.
    Disconnected = "disconnected",
}

impl std::fmt::Display for Handler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.word())
    }
}

impl std::str::FromStr for Handler {
    type Err = String;
    fn from_str(text: &str) -> Result<Handler, String> {
        let found = Handler::ALL.iter().copied().find(|handler| handler.word() == text);
        found.ok_or_else(|| format!("`{text}` is not a handler of DRBD"))
    }
}

/// What DRBD told the handler.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The resource.
    pub resource: Option<String>,
    /// Volumes it is about.
    pub volumes: Vec<u32>,
    /// Their minor numbers.
    pub minors: Vec<u32>,
    /// The peer's name.
    pub peer: Option<String>,
    /// 9: the peer's node id.
    pub peer_node_id: Option<u32>,
    /// The peer's address.
    pub peer_address: Option<String>,
    /// 9: state of the connection.
    pub connection: Option<String>,
    /// Path of the backing device.
    pub disk: Option<String>,
    /// 9: nodes with good data, by the bits of their node ids, as DRBD wrote it.
    pub up_to_date_nodes: Option<String>,
}

/// A volume at the moment of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeThen {
    /// Its number.
    pub volume: u32,
    /// Its minor number.
    pub minor: Option<u32>,
    /// State of this node's disk.
    pub disk: Option<DiskState>,
    /// State of the peer's disk as known here.
    pub peer_disk: Option<DiskState>,
    /// What goes on with the peer.
    pub replication: Option<ReplicationState>,
    /// This node's current generation.
    pub current: Option<GenerationUuid>,
    /// The generation since which this node's bitmap collects for the peer.
    pub bitmap: Option<GenerationUuid>,
    /// Past generations, newest first; at most 4.
    pub history: Vec<GenerationUuid>,
    /// Bytes marked as different from the peer.
    pub out_of_sync: Option<u64>,
    /// Sectors written to this node's disk since it was attached; older events do not tell.
    #[serde(default)]
    pub written: Option<u64>,
}

/// A resource at the moment of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Then {
    /// This node's role.
    pub role: Option<Role>,
    /// State of the connection with the peer.
    pub connection: Option<ConnectionState>,
    /// The peer's role as known here.
    pub peer_role: Option<Role>,
    /// The volumes.
    pub volumes: Vec<VolumeThen>,
}

/// What the handler did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
pub enum Outcome {
    /// It wrote this down.
    Recorded,
    /// It kept what is about to be overwritten.
    Kept {
        /// The salvage, as `unsplit salvage` names it.
        salvage: IncidentId,
        /// Bytes of this node's data in it.
        bytes: u64,
        /// Whether that is the whole volume.
        whole: bool,
        /// Bytes that DRBD is about to overwrite; `None` if it did not say.
        overwritten: Option<u64>,
    },
    /// Nothing had to be kept.
    NothingToKeep {
        /// Why.
        why: Why,
    },
    /// Something had to be kept and was not.
    NotKept {
        /// Why.
        why: Why,
    },
    /// The peer was asked, or an agent was run, and this is what is known of the peer.
    Fenced {
        /// Words for it.
        how: String,
    },
    /// Not known.
    NotFenced {
        /// Why.
        why: Why,
    },
    /// The node is about to stop.
    Stopping {
        /// `reboot` or `halt`.
        then: String,
    },
}

/// A handler that was called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handled {
    /// When.
    pub at: Stamp,
    /// On which node.
    pub host: String,
    /// The node's boot id, where it could be read.
    pub boot: Option<String>,
    /// Which handler.
    pub handler: Handler,
    /// What DRBD told.
    pub call: Call,
    /// What its state was; `Err` says why that is not known.
    pub then: Result<Then, Why>,
    /// What the handler did.
    pub did: Outcome,
    /// With what it ended, which is what DRBD goes by.
    pub exit: u8,
}

/// What is known of a volume that DRBD is about to overwrite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Threatened {
    /// Bytes of the volume.
    pub size: u64,
    /// Bytes marked in this node's own bitmap on disk.
    pub own: u64,
    /// Bytes that DRBD is about to overwrite, where it says.
    pub overwritten: Option<u64>,
    /// State of this node's disk.
    pub disk: Option<DiskState>,
    /// Whether the metadata was just created.
    pub fresh: bool,
    /// Whether DRBD called a split brain of this resource just now.
    pub split: bool,
    /// Whether what was to be kept of this resync was settled by an earlier call.
    pub settled: bool,
}
