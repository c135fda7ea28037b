//! What a kernel said of why a connection, or a disk, is not there: DRBD's messages of both generations, sorted.

use super::standing::Class;
use serde::{Deserialize, Serialize};

/// What a message says, more exactly than a [`Class`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// Both went on by themselves.
    SplitBrain,
    /// No generation in common.
    Unrelated,
    /// The generations make a node the source whose data is not UpToDate: DRBD 9 skips that resync.
    SourceNotUpToDate,
    /// They meet and part again and again, and nothing says why.
    Looping,
    /// A Primary without a disk works with other data than its peer holds.
    OtherData,
    /// A Primary without a disk works with older data than its peer holds.
    OlderData,
    /// DRBD cannot tell which side is to be overwritten.
    Undecided,
    /// The source of the resync that would be needed is Inconsistent.
    SourceInconsistent,
    /// An option on which both ends must agree differs.
    Settings,
    /// The two ends do not agree on a node id.
    NodeIds,
    /// A node's kernel lacks the algorithm of `data-integrity-alg`.
    IntegrityAlgorithm,
    /// A node's configuration says that the peer has no disk, and it has one.
    DisklessByConfiguration,
    /// Both are Primary.
    TwoPrimaries,
    /// The secrets differ.
    Secret,
    /// A node was given its own challenge back.
    OwnChallenge,
    /// A node's kernel cannot do what `cram-hmac-alg` asks for.
    SecretAlgorithm,
    /// The TLS handshake failed.
    Tls,
    /// The configured address is not on this node.
    AddressMissing,
    /// Another socket has the address and port.
    AddressTaken,
    /// An address or port cannot be used for another reason.
    AddressUnusable,
    /// The kernel was given no address of the peer.
    NoDestination,
    /// No protocol or feature in common.
    Versions,
    /// The peer's device is smaller than what is in use.
    PeerTooSmall,
    /// The same, and this node is Primary.
    PeerTooSmallForPrimary,
    /// The peer's device is larger than this node can hold.
    PeerTooLarge,
    /// The peer's sizes contradict each other.
    SizesOdd,
    /// A resync would overwrite a Primary.
    PrimaryWouldBeTarget,
    /// A handler failed.
    Handler,
    /// Data arrived changed.
    DataChanged,
    /// What arrived is not DRBD's protocol.
    NotTheProtocol,
    /// A volume of the peer's is not configured here.
    VolumeUnknown,
    /// Frozen I/O was not repeated to a peer that had restarted.
    OnlyConsistent,
    /// Attaching: the metadata cannot be read (DRBD's code 118).
    MetadataUnreadable,
    /// Attaching: there is no metadata, or an old kind of it (119).
    MetadataMissing,
    /// Attaching: the metadata does not fit the device (119).
    MetadataOdd,
    /// Attaching: the activity log was not applied since a crash (165).
    MetadataUnclean,
    /// Attaching: the device is smaller than the data (111, 112).
    DiskTooSmall,
    /// Attaching: it would cut off data (170).
    WouldTruncate,
    /// Attaching: the disk has another generation than the node works with.
    OtherGeneration,
    /// Attaching: the metadata bears another node id than the configuration.
    NodeIdOfMetadata,
    /// Attaching: the metadata has no room for so many peers.
    NoBitmapSlot,
    /// Attaching: the device cannot be opened (104, 105).
    CannotOpen,
    /// Attaching: somebody else has the device (114, 115).
    DiskClaimed,
    /// Attaching: no memory for the bitmap.
    NoMemory,
}

impl Cause {
    /// What that is, as a class.
    #[must_use]
    pub fn class(self) -> Class {
        match self {
            Cause::SplitBrain => Class::SplitBrain,
            Cause::Unrelated => Class::Unrelated,
            Cause::SourceNotUpToDate | Cause::Looping => Class::HandshakeLoop,
            Cause::OtherData | Cause::OlderData => Class::OtherData,
            Cause::Undecided | Cause::SourceInconsistent => Class::Undecided,
            Cause::Settings | Cause::NodeIds | Cause::IntegrityAlgorithm | Cause::DisklessByConfiguration => {
                Class::SettingsDiffer
            }
            Cause::TwoPrimaries => Class::TwoPrimaries,
            Cause::Secret | Cause::OwnChallenge | Cause::SecretAlgorithm | Cause::Tls => {
                Class::Authentication
            }
            Cause::AddressMissing | Cause::AddressTaken | Cause::AddressUnusable | Cause::NoDestination => {
                Class::AddressInUse
            }
            Cause::Versions => Class::VersionsDiffer,
            Cause::PeerTooSmall | Cause::PeerTooSmallForPrimary | Cause::PeerTooLarge | Cause::SizesOdd => {
                Class::SizesDiffer
            }
            Cause::PrimaryWouldBeTarget => Class::ResyncConflict,
            Cause::Handler => Class::HandlerFailed,
            Cause::DataChanged | Cause::NotTheProtocol => Class::LinkDamages,
            Cause::VolumeUnknown => Class::NotConfigured,
            Cause::OnlyConsistent => Class::NotConnected,
            Cause::MetadataUnreadable
            | Cause::MetadataMissing
            | Cause::MetadataOdd
            | Cause::MetadataUnclean
            | Cause::DiskTooSmall
            | Cause::WouldTruncate
            | Cause::OtherGeneration
            | Cause::NodeIdOfMetadata
            | Cause::NoBitmapSlot
            | Cause::CannotOpen
            | Cause::DiskClaimed
            | Cause::NoMemory => Class::Diskless,
        }
    }
}
