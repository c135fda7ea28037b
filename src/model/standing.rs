//! How a running resource stands: what was found, what it rests on, and what each node and connection showed.

use super::cause::Cause;
use super::drbd::{self, GenerationUuid};
use super::drbd_live::Generation;
use super::drbd_live::words::{ConnectionState, DiskState, ReplicationState, Role};
use super::lineage::{Comparison, Lineage, Reconnect};
use super::side::Pair;
use serde::{Deserialize, Serialize};

/// What a resource, one of its connections or one of its volumes suffers from. Worst first: the order is the order of
/// showing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Both sides went on by themselves from a common ancestor.
    SplitBrain,
    /// DRBD takes the sides for unrelated data.
    Unrelated,
    /// The two shake hands and part again without end, or would: the resync that is needed is skipped.
    HandshakeLoop,
    /// A Primary without a disk works with data that its peer does not hold.
    OtherData,
    /// DRBD cannot tell which side is to be overwritten.
    Undecided,
    /// DRBD takes both sides as equal, but blocks are marked as different (LINBIT/drbd#145).
    MarkedButEqual,
    /// A node has no usable data: its disk failed.
    DiskFailed,
    /// I/O is suspended or fails: no quorum, a fencing that has not ended, no data.
    IoSuspended,
    /// The two nodes' settings do not fit together.
    SettingsDiffer,
    /// Both are Primary, which the settings do not allow.
    TwoPrimaries,
    /// One does not accept the other's secret.
    Authentication,
    /// An address or port could not be used.
    AddressInUse,
    /// The two DRBD versions have no protocol, or no feature, in common.
    VersionsDiffer,
    /// The backing devices' sizes do not fit.
    SizesDiffer,
    /// What one sends arrives changed at the other.
    LinkDamages,
    /// A handler failed, and DRBD gave up because of it.
    HandlerFailed,
    /// A resync would overwrite a Primary; `rr-conflict` ended the connection.
    ResyncConflict,
    /// Disconnected by an administrator or a cluster manager.
    Disconnected,
    /// A side is StandAlone, and nothing here says why.
    StandAlone,
    /// Both sides try and do not find each other.
    NotConnected,
    /// Connecting just now.
    Connecting,
    /// Only on this side: the other one has the resource down.
    Down,
    /// A node has no configuration of the resource.
    NotConfigured,
    /// The disk holds a half finished resync, and none is running.
    Inconsistent,
    /// New: never synced.
    JustCreated,
    /// The disk holds data that is known to be old.
    Outdated,
    /// The node lost its quorum.
    NoQuorum,
    /// The disk was detached or never attached.
    Diskless,
    /// A resync waits.
    ResyncPaused,
    /// A resync is running.
    Resync,
    /// What one node says of the other does not fit what that one says: it is changing just now.
    Changing,
    /// A part could not be seen.
    Unseen,
    /// An online verify is running.
    Verify,
    /// A node takes part without a disk, on purpose.
    Client,
    /// Connected, up to date, nothing marked.
    Healthy,
}

/// What a class means for the exit code and the colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weight {
    /// Data differs or is at risk.
    Bad,
    /// Not replicated, or not yet.
    Attention,
    /// Not everything could be seen.
    Unknown,
    /// As it should be.
    Good,
}

impl Class {
    /// Every class, worst first.
    pub const ALL: [Class; 35] = [
        Class::SplitBrain,
        Class::Unrelated,
        Class::HandshakeLoop,
        Class::OtherData,
        Class::Undecided,
        Class::MarkedButEqual,
        Class::DiskFailed,
        Class::IoSuspended,
        Class::SettingsDiffer,
        Class::TwoPrimaries,
        Class::Authentication,
        Class::AddressInUse,
        Class::VersionsDiffer,
        Class::SizesDiffer,
        Class::LinkDamages,
        Class::HandlerFailed,
        Class::ResyncConflict,
        Class::Disconnected,
        Class::StandAlone,
        Class::NotConnected,
        Class::Connecting,
        Class::Down,
        Class::NotConfigured,
        Class::Inconsistent,
        Class::JustCreated,
        Class::Outdated,
        Class::NoQuorum,
        Class::Diskless,
        Class::ResyncPaused,
        Class::Resync,
        Class::Changing,
        Class::Unseen,
        Class::Verify,
        Class::Client,
        Class::Healthy,
    ];

    /// What it means.
    #[must_use]
    pub fn weight(self) -> Weight {
        match self {
            Class::SplitBrain
            | Class::Unrelated
            | Class::HandshakeLoop
            | Class::OtherData
            | Class::Undecided
            | Class::MarkedButEqual
            | Class::DiskFailed => Weight::Bad,
            Class::Unseen => Weight::Unknown,
            Class::Verify | Class::Client | Class::Healthy => Weight::Good,
            _ => Weight::Attention,
        }
    }

    /// In capitals, for the first line.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Class::SplitBrain => "SPLIT BRAIN",
            Class::Unrelated => "UNRELATED DATA",
            Class::HandshakeLoop => "HANDSHAKE LOOPS",
            Class::OtherData => "OTHER DATA IN USE",
            Class::Undecided => "DIRECTION UNDECIDED",
            Class::MarkedButEqual => "SILENTLY DIFFERENT",
            Class::DiskFailed => "DISK FAILED",
            Class::IoSuspended => "I/O SUSPENDED",
            Class::SettingsDiffer => "SETTINGS DIFFER",
            Class::TwoPrimaries => "TWO PRIMARIES REFUSED",
            Class::Authentication => "SECRET REFUSED",
            Class::AddressInUse => "ADDRESS NOT USABLE",
            Class::VersionsDiffer => "DRBD VERSIONS DIFFER",
            Class::SizesDiffer => "SIZES DIFFER",
            Class::LinkDamages => "DATA DAMAGED ON THE WAY",
            Class::HandlerFailed => "HANDLER FAILED",
            Class::ResyncConflict => "RESYNC REFUSED BY A PRIMARY",
            Class::Disconnected => "DISCONNECTED ON PURPOSE",
            Class::StandAlone => "STANDALONE",
            Class::NotConnected => "NOT CONNECTED",
            Class::Connecting => "CONNECTING",
            Class::Down => "DOWN ON ONE SIDE",
            Class::NotConfigured => "NOT CONFIGURED",
            Class::Inconsistent => "INCONSISTENT",
            Class::JustCreated => "NEVER SYNCED",
            Class::Outdated => "OUTDATED",
            Class::NoQuorum => "NO QUORUM",
            Class::Diskless => "DISKLESS",
            Class::ResyncPaused => "RESYNC PAUSED",
            Class::Resync => "RESYNCING",
            Class::Changing => "CHANGING",
            Class::Unseen => "NOT ALL SEEN",
            Class::Verify => "VERIFYING",
            Class::Client => "CLIENT",
            Class::Healthy => "HEALTHY",
        }
    }
}

/// What a reason rests on. States and generations prove; the configuration explains; the log tells the reason why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The kernel's states.
    State,
    /// The generation UUIDs.
    Generations,
    /// Options, in the kernel or in the files.
    Configuration,
    /// The kernel's log.
    Log,
    /// That something could not be asked.
    Silence,
}

/// One reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// What it rests on.
    pub from: Source,
    /// Whose word it is; `None` when it takes both.
    pub node: Option<String>,
    /// In words.
    pub text: String,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What it is.
    pub class: Class,
    /// What exactly a kernel, or a comparison, said; null where the class says all.
    #[serde(default)]
    pub cause: Option<Cause>,
    /// One sentence.
    pub says: String,
    /// Which nodes it is about.
    pub nodes: Vec<String>,
    /// Which volumes; empty: all, or none in particular.
    pub volumes: Vec<u32>,
    /// What it rests on.
    pub reasons: Vec<Reason>,
}

/// How a node could be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "asked", content = "why")]
pub enum Asked {
    /// It told.
    Told,
    /// It told that no DRBD module is loaded.
    NotLoaded,
    /// Its DRBD could not be read.
    Unreadable(String),
    /// It could not be asked.
    Unreachable(String),
    /// Nobody asked it: it was not named.
    NotAsked,
}

/// A volume on a node, as the node itself tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeHere {
    /// Its number.
    pub volume: u32,
    /// `/dev/drbdN`.
    pub minor: Option<u32>,
    /// State of the disk.
    pub disk: Option<DiskState>,
    /// Diskless on purpose.
    pub client: bool,
    /// Bytes.
    pub size: Option<u64>,
    /// Current generation.
    pub current: Option<GenerationUuid>,
    /// The backing device.
    pub backing: Option<String>,
    /// The resource of the same node whose device the backing device is: this one is stacked on it.
    #[serde(default)]
    pub stacked_on: Option<String>,
    /// 9: somebody has it open.
    pub open: Option<bool>,
}

/// A resource on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStanding {
    /// The node.
    pub node: String,
    /// How it could be asked.
    pub told: Asked,
    /// Its DRBD.
    pub generation: Option<Generation>,
    /// Whether the resource is up there; `None`: not known.
    pub up: Option<bool>,
    /// Whether its files define the resource; `None`: not known.
    pub configured: Option<bool>,
    /// Its role: its own word, or its peer's.
    pub role: Option<Role>,
    /// 9: has quorum.
    pub quorum: Option<bool>,
    /// Why I/O is suspended, in DRBD's words.
    pub suspended: Vec<String>,
    /// Its volumes.
    pub volumes: Vec<VolumeHere>,
}

/// A volume over one connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkVolume {
    /// Its number.
    pub volume: u32,
    /// What goes on, as each end tells.
    pub replication: Pair<Option<ReplicationState>>,
    /// State of each end's disk: its own word, or the other end's.
    pub disk: Pair<Option<DiskState>>,
    /// Bytes that each end has marked as different.
    pub out_of_sync: Pair<Option<u64>>,
    /// How far a resync or verify is, in tenths of a percent.
    pub done: Option<u32>,
    /// Each end's lineage toward the other.
    pub lineages: Pair<Option<Lineage>>,
    /// What the lineages say, and what DRBD would do if the two connected now.
    pub comparison: Option<Comparison>,
    /// What DRBD would do once nothing else stands in the way: the settings agree, and neither is Primary.
    #[serde(default)]
    pub once_free: Option<Reconnect>,
    /// Why there is no comparison.
    pub not_compared: Option<String>,
}

impl LinkVolume {
    /// State of both disks, and what was found by comparing them.
    #[must_use]
    pub fn compared(&self) -> Option<(Pair<drbd::DiskState>, &Comparison)> {
        let Pair { a: Some(a), b: Some(b) } = &self.lineages else { return None };
        self.comparison.as_ref().map(|found| (Pair::new(a.disk, b.disk), found))
    }
}

/// A connection between two nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its ends.
    pub nodes: Pair<String>,
    /// Its state, as each end tells. 8.4: a StandAlone end has no connection; it is StandAlone here all the same.
    pub state: Pair<Option<ConnectionState>>,
    /// The volumes over it.
    pub volumes: Vec<LinkVolume>,
}

/// A resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Its name.
    pub resource: String,
    /// What was found, worst first; never empty.
    pub findings: Vec<Finding>,
    /// The nodes: those asked first, in the order they were asked.
    pub nodes: Vec<NodeStanding>,
    /// The connections.
    pub links: Vec<Link>,
    /// Which nodes with data hold the same, as far as it was seen: one list for each content. Nodes of which that is not known
    /// are in none.
    pub agree: Vec<Vec<String>>,
}

impl Standing {
    /// The worst that was found.
    #[must_use]
    pub fn worst(&self) -> Class {
        self.findings.first().map_or(Class::Unseen, |finding| finding.class)
    }

    /// A node.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<&NodeStanding> {
        self.nodes.iter().find(|node| node.node == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_is_listed_once_and_in_order() {
        assert!(Class::ALL.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(Class::ALL.last(), Some(&Class::Healthy));
    }
}
