//! Policies as data, in DRBD's own words.

use super::id::NodeName;
use serde::{Deserialize, Serialize};

/// `after-sb-0pri`: nobody is Primary at the handshake.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AfterSb0pri {
    /// No decision.
    Disconnect,
    /// The node that became Primary later loses.
    DiscardYoungerPrimary,
    /// The node that became Primary earlier loses.
    DiscardOlderPrimary,
    /// The side without changes loses, if there is exactly one.
    DiscardZeroChanges,
    /// The side with fewer dirty blocks loses.
    DiscardLeastChanges,
    /// Side A, the local one, loses.
    DiscardLocal,
    /// Side B, the remote one, loses.
    DiscardRemote,
    /// `discard-node-NAME`: the named node loses.
    #[serde(untagged)]
    DiscardNode(NodeName),
}

/// `after-sb-1pri`: one node is Primary at the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AfterSb1pri {
    /// No decision.
    Disconnect,
    /// The 0pri decision, if it discards the Secondary.
    Consensus,
    /// The 0pri decision, whoever loses.
    ViolentlyAs0p,
    /// The Secondary loses.
    DiscardSecondary,
    /// The 0pri decision; a losing Primary is demoted first, or its handler is called.
    CallPriLostAfterSb,
}

/// `after-sb-2pri`: both nodes are Primary at the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AfterSb2pri {
    /// No decision.
    Disconnect,
    /// The 0pri decision.
    ViolentlyAs0p,
    /// The 0pri decision; the loser is demoted first, or its handler is called.
    CallPriLostAfterSb,
}

/// `rr-conflict`: a Primary shall become the target of a resync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RrConflict {
    /// Drop the connection.
    Disconnect,
    /// Call the handler `pri-lost`.
    CallPriLost,
    /// Go on under the application.
    Violently,
    /// 9: keep trying.
    RetryConnect,
    /// 9.1+: reverse the resync after a crash of the Primary.
    AutoDiscard,
}

/// `keep`: whom unsplit keeps where DRBD's words give no decision.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// The side with more bytes that differ by content.
    MostChanges,
    /// The side that wrote last.
    Newest,
    /// The side that had quorum, if exactly one had.
    Quorate,
    /// The side where a guest runs on the volume, if exactly one.
    RunningGuest,
    /// The named node.
    #[serde(untagged)]
    Node(NodeName),
}

/// `salvage`: whether what is discarded is kept first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SalvageRule {
    /// Nothing is overwritten before a verified copy exists.
    Required,
    /// No copy is taken. Needs `--no-salvage` on the command line as well.
    Off,
}

/// `fence`: what counts as proof before a node may become primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FenceRule {
    /// A fence agent's or Pacemaker's word.
    Required,
    /// Quorum and the peer's expired watchdog.
    Quorum,
    /// A human's word.
    Manual,
}

/// The settings that apply to one resource, every value present.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Settings {
    /// DRBD's `after-sb-0pri`.
    pub after_sb_0pri: AfterSb0pri,
    /// DRBD's `after-sb-1pri`.
    pub after_sb_1pri: AfterSb1pri,
    /// DRBD's `after-sb-2pri`.
    pub after_sb_2pri: AfterSb2pri,
    /// DRBD's `always-asbp`: apply the policies where only history is in common, too.
    pub always_asbp: bool,
    /// DRBD's `rr-conflict`.
    pub rr_conflict: RrConflict,
    /// Whom to keep where the words above give no decision; `None` = ask.
    pub keep: Option<Keep>,
    /// Keep what is discarded?
    pub salvage: SalvageRule,
    /// Proof needed before a promotion.
    pub fence: FenceRule,
    /// Run without asking.
    pub auto: bool,
    /// Most bytes (that differ by content and are not on the survivor) an automatic healing may discard; `None` = no limit.
    pub max_discard: Option<u64>,
}

impl Settings {
    /// DRBD's defaults, and the safe value of everything DRBD lacks.
    #[must_use]
    pub fn drbd_defaults() -> Self {
        Settings {
            after_sb_0pri: AfterSb0pri::Disconnect,
            after_sb_1pri: AfterSb1pri::Disconnect,
            after_sb_2pri: AfterSb2pri::Disconnect,
            always_asbp: false,
            rr_conflict: RrConflict::Disconnect,
            keep: None,
            salvage: SalvageRule::Required,
            fence: FenceRule::Required,
            auto: false,
            max_discard: None,
        }
    }
}
