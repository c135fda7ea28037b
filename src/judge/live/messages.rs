//! The kernels' own words, of DRBD 8.4 and 9, for why a connection or a disk is not there, and what they mean in a sentence.
//!
//! Source of the words: `drbd_receiver.c`, `drbd_nl.c`, `drbd_main.c`, `drbd_state.c` and the TCP transports of DRBD 8.4.7 and of
//! DRBD 9 up to August 2026.

use crate::model::cause::Cause;

/// What a line says of why a connection cannot be.
pub(super) fn of_connection(text: &str) -> Option<Cause> {
    let has = |words: &str| text.contains(words);
    // Some kernels leave the last word to the other node; the comparison's own result is in both logs.
    let compared = |result: &str| text.starts_with("uuid_compare()=") && has(result);
    let cause = if (has("Split-Brain detected") && has("dropping connection"))
        || compared("=100 by")
        || compared("=-100 by")
        || compared("=split-brain-")
    {
        Cause::SplitBrain
    } else if has("Unrelated data, aborting") || compared("=-1000 by") || compared("=unrelated-data by") {
        Cause::Unrelated
    } else if text.starts_with("Resync (rule=") && has(") skipped: ") {
        Cause::SourceNotUpToDate
    } else if has("Can only connect to data with current UUID") || has("does not match my exposed UUID") {
        Cause::OtherData
    } else if has("Remote node has more recent data") {
        Cause::OlderData
    } else if (has("determine sync strategy") || has("cannot decide direction")) && has("dropping connection")
    {
        Cause::Undecided
    } else if has("I shall become SyncSource, but I am inconsistent") {
        Cause::SourceInconsistent
    } else if has("DRBD dialects: ")
        || has("DRBD 9 dialects: ")
        || has("have to support at least protocol")
        || has("Peer supports protocols")
    {
        Cause::Versions
    } else if has("node_id of") {
        Cause::NodeIds
    } else if has("incompatible ") && has(" settings") {
        Cause::Settings
    } else if has("peer data-integrity-alg ") && has(" not supported") {
        Cause::IntegrityAlgorithm
    } else if has("is configured to be diskless but presents") {
        Cause::DisklessByConfiguration
    } else if has("Multiple primaries not allowed") || (has("Aborting") && text.ends_with("rv = -1")) {
        Cause::TwoPrimaries
    } else if has("presented the same challenge") {
        Cause::OwnChallenge
    } else if has("without CONFIG_CRYPTO_HMAC") || has("You need to disable 'cram-hmac-alg'") {
        Cause::SecretAlgorithm
    } else if has("Authentication of peer failed") || has("AuthChallenge") || has("AuthResponse") {
        Cause::Secret
    } else if has("tls handshake") {
        Cause::Tls
    } else if has("No destination address") {
        Cause::NoDestination
    } else if has("Configured local address not found") {
        Cause::AddressMissing
    } else if address(text) {
        match text.rsplit_once("err").map(|(_, number)| number.trim_start_matches([' ', '='])) {
            Some("-98") => Cause::AddressTaken,
            Some("-99") => Cause::AddressMissing,
            _ => Cause::AddressUnusable,
        }
    } else if has("disk size is too small") || has("device size is too small") {
        if has("demote me first") { Cause::PeerTooSmallForPrimary } else { Cause::PeerTooSmall }
    } else if has("larger than my maximum capacity") {
        Cause::PeerTooLarge
    } else if has("Peer sent bogus sizes") {
        Cause::SizesOdd
    } else if has("I shall become SyncTarget") && has("but I am primary") {
        Cause::PrimaryWouldBeTarget
    } else if (has("handler returned") && has("dropping connection")) || has("fence-peer helper broken") {
        Cause::Handler
    } else if has("Digest integrity check FAILED") {
        Cause::DataChanged
    } else if has("Wrong magic value") || has("expected ConnectionFeatures") {
        Cause::NotTheProtocol
    } else if has("which is not configured locally") {
        Cause::VolumeUnknown
    } else if has("can not thaw IO with an only Consistent peer") {
        Cause::OnlyConsistent
    } else {
        return None;
    };
    Some(cause)
}

/// A socket that could not be made, bound, or used.
fn address(text: &str) -> bool {
    const WHAT: [&str; 6] =
        ["sock_create_kern", "bind before connect", "bind before listen", "connect", "listen", "accept"];
    text.starts_with("Failed to initiate connection, err")
        || WHAT
            .iter()
            .any(|what| text.strip_prefix(what).is_some_and(|rest| rest.starts_with(" failed, err = ")))
}

/// What a line says of why a disk could not be attached.
pub(super) fn of_attaching(text: &str) -> Option<Cause> {
    let has = |words: &str| text.contains(words);
    let cause = if has("Error while reading metadata") {
        Cause::MetadataUnreadable
    } else if has("Meta data magic not found") || (has("Found old") && has("meta data magic")) {
        Cause::MetadataMissing
    } else if has("meta data offsets don't make sense")
        || has("invalid activity log striping")
        || has("unexpected bm_bytes_per_bit")
        || has("unexpected bm_offset")
        || has("unexpected md_size")
    {
        Cause::MetadataOdd
    } else if has("Found unclean meta data") {
        Cause::MetadataUnclean
    } else if has("refusing to truncate a consistent device") {
        Cause::WouldTruncate
    } else if (has("max capacity") && has("smaller than disk size"))
        || has("cannot attach smaller")
        || has("refusing attach: md-device too small")
        || has("Requested disk size is too big")
    {
        Cause::DiskTooSmall
    } else if has("Can only attach to data with current UUID") {
        Cause::OtherGeneration
    } else if has("ambiguous node id: ")
        || has("differs from local node id")
        || has("bitmap for my own node id")
        || has("my own node id (")
    {
        Cause::NodeIdOfMetadata
    } else if has("Not enough free bitmap slots") {
        Cause::NoBitmapSlot
    } else if has("bd_link_disk_holder(") || (text.starts_with("open(\"") && has("failed with -16")) {
        Cause::DiskClaimed
    } else if text.starts_with("open(\"") && has("failed with") {
        Cause::CannotOpen
    } else if has("Failed to allocate bitmap") || has("OUT OF MEMORY! ") {
        Cause::NoMemory
    } else {
        return None;
    };
    Some(cause)
}

/// Signs that the other end, or the network, was too slow or gone: they explain a connection that was lost, no more.
pub(super) fn of_silence(text: &str) -> bool {
    [
        "PingAck did not arrive in time",
        "peer failed to send PingAck in time",
        "sending time expired",
        "sock_sendmsg time expired",
        "Remote failed to finish a request within",
        "Remote failed to answer a P_BARRIER",
        "Timed out waiting for missing ack packets",
        "timeout while waiting for feature packet",
        "connection shut down by peer",
    ]
    .iter()
    .any(|words| text.contains(words))
}

/// A cause of a missing connection as a sentence. `me`: whose kernel said so; `peer`: the other end.
pub(super) fn sentence(cause: Cause, me: &str, peer: &str) -> String {
    match cause {
        Cause::SplitBrain => {
            format!("{me} and {peer} both went on by themselves, as the kernel found when they met")
        }
        Cause::Unrelated => format!("{me} and {peer} have no generation in common, as the kernel found"),
        Cause::SourceNotUpToDate => format!(
            "the generations of {me} and {peer} make the one the source whose data is old: DRBD skips that resync"
        ),
        Cause::Looping => {
            format!("{me} and {peer} meet and part again, and the kernel's log does not say why")
        }
        Cause::OtherData => {
            format!("{me} works without a disk, and with other data than {peer} holds")
        }
        Cause::OlderData => {
            format!("{me} is Primary without a disk, and {peer} holds more recent data")
        }
        Cause::Undecided => format!("DRBD cannot tell which of {me} and {peer} is to be overwritten"),
        Cause::SourceInconsistent => {
            format!("{peer} would have to take over the data of {me}, which is Inconsistent")
        }
        Cause::Settings => format!("the settings of {me} and {peer} do not fit together"),
        Cause::NodeIds => format!("{me} and {peer} do not agree on their node ids"),
        Cause::IntegrityAlgorithm => {
            format!("the kernel of {me} does not know the data-integrity-alg of {peer}")
        }
        Cause::DisklessByConfiguration => {
            format!("for {me} the configuration says that {peer} has no disk, and {peer} has one")
        }
        Cause::TwoPrimaries => {
            format!("{me} and {peer} were both Primary when they met, which is not allowed")
        }
        Cause::Secret => format!("{me} and {peer} do not have the same shared-secret"),
        Cause::OwnChallenge => {
            format!("{me} was given its own challenge back: it talks to itself, not to {peer}")
        }
        Cause::SecretAlgorithm => format!("the kernel of {me} cannot do what cram-hmac-alg asks for"),
        Cause::Tls => format!("the TLS handshake between {me} and {peer} fails"),
        Cause::AddressMissing => {
            format!("the address that {me} is to use toward {peer} is not on {me}")
        }
        Cause::AddressTaken => {
            format!("another socket on {me} has the address and port for the connection with {peer}")
        }
        Cause::AddressUnusable => {
            format!("an address or port of the connection between {me} and {peer} cannot be used")
        }
        Cause::NoDestination => format!("the kernel of {me} was given no address of {peer}"),
        Cause::Versions => format!("the DRBD versions of {me} and {peer} do not understand each other"),
        Cause::PeerTooSmall => {
            format!("the backing devices of {me} and {peer} do not fit: that of {peer} is too small")
        }
        Cause::PeerTooSmallForPrimary => format!(
            "the backing devices of {me} and {peer} do not fit: that of {peer} is too small, and {me} is in use"
        ),
        Cause::PeerTooLarge => {
            format!("the backing devices of {me} and {peer} do not fit: that of {me} is too small")
        }
        Cause::SizesOdd => format!("{peer} tells sizes that contradict each other"),
        Cause::PrimaryWouldBeTarget => {
            format!("a resync between {me} and {peer} would overwrite a Primary, which rr-conflict forbids")
        }
        Cause::Handler => format!("a handler failed, and DRBD does not connect {me} and {peer} without it"),
        Cause::DataChanged => format!("what {peer} sends arrives at {me} changed: its digest is wrong"),
        Cause::NotTheProtocol => {
            format!("what arrives at {me} in the place of {peer} is not DRBD's protocol")
        }
        Cause::VolumeUnknown => format!("{peer} has a volume that {me} has not configured"),
        Cause::OnlyConsistent => format!(
            "{peer} restarted while the I/O of {me} was frozen for it; {me} did not repeat it and went on by itself"
        ),
        _ => format!("{me} and {peer} are not connected"),
    }
}

/// Why a disk is not attached, as a sentence about `node`.
pub(super) fn attaching(cause: Cause, node: &str) -> String {
    match cause {
        Cause::MetadataUnreadable => format!("DRBD's metadata on {node} cannot be read"),
        Cause::MetadataMissing => format!("there is no DRBD metadata on {node} where it should be"),
        Cause::MetadataOdd => format!("DRBD's metadata on {node} does not fit its device"),
        Cause::MetadataUnclean => {
            format!("the activity log on {node} has not been applied since {node} went down")
        }
        Cause::DiskTooSmall => format!("the backing device of {node} is too small"),
        Cause::WouldTruncate => format!("the backing device of {node} is smaller than the data on it"),
        Cause::OtherGeneration => {
            format!("the disk of {node} does not hold the data that {node} works with")
        }
        Cause::NodeIdOfMetadata => {
            format!("the metadata on {node} bears another node id than the configuration")
        }
        Cause::NoBitmapSlot => format!("the metadata on {node} has no room for that many peers"),
        Cause::CannotOpen => format!("the backing device of {node} cannot be opened"),
        Cause::DiskClaimed => format!("somebody else on {node} has the backing device"),
        _ => format!("{node} has no memory for the bitmap"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Cause as C;

    #[test]
    fn connections_in_the_kernels_words() {
        for (text, expected) in [
            ("Split-Brain detected but unresolved, dropping connection!", Some(C::SplitBrain)),
            ("Split-Brain detected, dropping connection!", Some(C::SplitBrain)),
            ("Split-Brain detected during attach but unresolved, dropping connection!", Some(C::SplitBrain)),
            ("Split-Brain detected, 0 primaries, automatically solved. Sync from this node", None),
            ("uuid_compare()=100 by rule 90", Some(C::SplitBrain)),
            ("uuid_compare()=split-brain-auto-recover by rule=bitmap-both", Some(C::SplitBrain)),
            ("uuid_compare()=-1000 by rule 100", Some(C::Unrelated)),
            ("uuid_compare()=1 by rule 70", None),
            ("uuid_compare()=no-sync by rule=reconnected", None),
            ("Unrelated data, aborting!", Some(C::Unrelated)),
            (
                "Resync (rule=sync-source-missed-finish) skipped: sync-source (Outdated)",
                Some(C::SourceNotUpToDate),
            ),
            (
                "Resync (rule=sync-target-missed-finish) skipped: peer sync-source (Outdated)",
                Some(C::SourceNotUpToDate),
            ),
            ("incompatible after-sb-0pri settings", Some(C::Settings)),
            ("peer data-integrity-alg crc32c not supported", Some(C::IntegrityAlgorithm)),
            ("The peer is configured to be diskless but presents UpToDate", Some(C::DisklessByConfiguration)),
            ("Peer expects me to have a node_id of 0 instead of 1", Some(C::NodeIds)),
            ("Peer presented a node_id of 2 instead of 1", Some(C::NodeIds)),
            ("incompatible DRBD dialects: I support 86-101, peer wants 118-122", Some(C::Versions)),
            ("incompatible DRBD 9 dialects: I support 118-124, peer supports 110-117", Some(C::Versions)),
            (
                "incompatible DRBD 9 dialects: protocol 121 with feature RESYNC_DAGTAG; upgrade via DRBD 9.2.16",
                Some(C::Versions),
            ),
            ("To resolve this both sides have to support at least protocol 91", Some(C::Versions)),
            (
                "Peer supports protocols 86-101, but multiple connections are only supported in protocol 110 and above",
                Some(C::Versions),
            ),
            ("Multiple primaries not allowed by config", Some(C::TwoPrimaries)),
            ("Aborting cluster-wide state change 1 (2ms) rv = -1", Some(C::TwoPrimaries)),
            ("Aborting cluster-wide state change 1 (2ms) rv = -10", None),
            ("Aborting cluster-wide state change 99 (4ms) rv = -19", None),
            ("Authentication of peer failed, trying again.", Some(C::Secret)),
            ("expected AuthChallenge packet, received: Data (0x0000)", Some(C::Secret)),
            ("AuthChallenge payload too small.", Some(C::Secret)),
            ("Peer presented the same challenge!", Some(C::OwnChallenge)),
            ("This kernel was build without CONFIG_CRYPTO_HMAC.", Some(C::SecretAlgorithm)),
            ("Error from tls handshake: -110", Some(C::Tls)),
            ("Error from control socket tls handshake: -110", Some(C::Tls)),
            ("bind before listen failed, err = -98", Some(C::AddressTaken)),
            ("bind before connect failed, err = -99", Some(C::AddressMissing)),
            ("connect failed, err = -22", Some(C::AddressUnusable)),
            ("accept failed, err = -24", Some(C::AddressUnusable)),
            ("dtr_start_try_connect failed  -22", None),
            ("Configured local address not found, retrying every 10 sec, err=-99", Some(C::AddressMissing)),
            ("Failed to initiate connection, err=-98", Some(C::AddressTaken)),
            ("Failed to initiate connection, err=-13", Some(C::AddressUnusable)),
            ("No destination address, err=-89", Some(C::NoDestination)),
            ("The peer's disk size is too small! (1 < 2 sectors)", Some(C::PeerTooSmall)),
            (
                "The peer's device size is too small! (100 < 200 sectors); demote me first!",
                Some(C::PeerTooSmallForPrimary),
            ),
            ("Peer's size larger than my maximum capacity (100 < 200 sectors)", Some(C::PeerTooLarge)),
            ("Peer sent bogus sizes, disconnecting", Some(C::SizesOdd)),
            ("I shall become SyncTarget, but I am primary!", Some(C::PrimaryWouldBeTarget)),
            ("I shall become SyncTarget during attach, but I am primary!", Some(C::PrimaryWouldBeTarget)),
            ("I shall become SyncSource, but I am inconsistent!", Some(C::SourceInconsistent)),
            ("Can only connect to data with current UUID=0123456789ABCDEF", Some(C::OtherData)),
            ("Current UUID of peer does not match my exposed UUID.", Some(C::OtherData)),
            ("Remote node has more recent data", Some(C::OlderData)),
            ("Remote node has more recent data; force secondary!", Some(C::OlderData)),
            ("Aborting Connect, can not thaw IO with an only Consistent peer", Some(C::OnlyConsistent)),
            ("Failed to fully determine sync strategy, dropping connection!", Some(C::Undecided)),
            ("Failed to determine sync strategy during attach, dropping connection!", Some(C::Undecided)),
            ("Want full sync but cannot decide direction, dropping connection!", Some(C::Undecided)),
            ("Digest integrity check FAILED. Broken NICs?", Some(C::DataChanged)),
            ("Digest integrity check FAILED: 2048s +4096", Some(C::DataChanged)),
            ("Wrong magic value 0x47455420 in protocol version 121, 0 [data]", Some(C::NotTheProtocol)),
            ("expected ConnectionFeatures packet, received: Data (0x0000)", Some(C::NotTheProtocol)),
            (
                "SizesPacket packet received for volume 1, which is not configured locally",
                Some(C::VolumeUnknown),
            ),
            ("before-resync-target handler returned 1, dropping connection.", Some(C::Handler)),
            ("before-resync-source handler returned 3, ignoring. Old userland tools?", None),
            ("fence-peer helper broken, returned 0", Some(C::Handler)),
            ("PingAck did not arrive in time.", None),
        ] {
            assert_eq!(of_connection(text), expected, "{text}");
            if let Some(cause) = expected {
                assert_ne!(cause.class(), crate::model::standing::Class::Diskless, "{text}");
                let says = sentence(cause, "alpha", "beta");
                assert!(says.contains("alpha") || says.contains("beta"), "{says}");
                assert!(!says.ends_with("are not connected"), "{text}: no sentence of its own");
            }
        }
    }

    #[test]
    fn attaching_in_the_kernels_words() {
        for (text, expected) in [
            ("Error while reading metadata.", Some(C::MetadataUnreadable)),
            ("Meta data magic not found. Did you \"drbdadm create-md\"?", Some(C::MetadataMissing)),
            ("Found old (0.7) meta data magic. Did you \"drbdadm create-md\"?", Some(C::MetadataMissing)),
            ("Found old meta data magic. Did you \"drbdadm create-md\"?", Some(C::MetadataMissing)),
            ("Found unclean meta data. Did you \"drbdadm apply-al\"?", Some(C::MetadataUnclean)),
            ("meta data offsets don't make sense: idx=-2 al_s=1", Some(C::MetadataOdd)),
            ("unexpected bm_bytes_per_bit: 8192 (expected 4096)", Some(C::MetadataOdd)),
            ("max capacity 100 smaller than disk size 200", Some(C::DiskTooSmall)),
            ("Current (diskless) capacity 200, cannot attach smaller (100) disk", Some(C::DiskTooSmall)),
            (
                "refusing attach: md-device too small, at least 8 sectors needed for this meta-disk type",
                Some(C::DiskTooSmall),
            ),
            ("refusing to truncate a consistent device (100 < 200)", Some(C::WouldTruncate)),
            ("truncating a consistent device during attach (100 < 200)", None),
            ("Can only attach to data with current UUID=0123456789ABCDEF", Some(C::OtherGeneration)),
            ("ambiguous node id: meta-data: 1, config: 2", Some(C::NodeIdOfMetadata)),
            ("Local node id 1 differs from local node id 2 on device", Some(C::NodeIdOfMetadata)),
            ("There is a bitmap for my own node id (1)", Some(C::NodeIdOfMetadata)),
            ("Not enough free bitmap slots (available=0, needed=1)", Some(C::NoBitmapSlot)),
            ("open(\"/dev/vg/r0\") failed with -2", Some(C::CannotOpen)),
            ("open(\"/dev/vg/r0\") failed with -16", Some(C::DiskClaimed)),
            ("bd_link_disk_holder(\"/dev/vg/r0\", ...) failed with -17", Some(C::DiskClaimed)),
            ("Failed to allocate bitmap; allocated 1 KiB / 2 KiB", Some(C::NoMemory)),
            ("attached to current UUID: 0123456789ABCDEF", None),
        ] {
            assert_eq!(of_attaching(text), expected, "{text}");
            if let Some(cause) = expected {
                assert_eq!(cause.class(), crate::model::standing::Class::Diskless, "{text}");
                assert!(attaching(cause, "alpha").contains("alpha"));
            }
        }
    }
}
