//! What to type next, where a kernel said more exactly what is the matter.

use super::keepable;
use super::{About, Step, connecting, on, step};
use crate::model::cause::Cause;
use crate::model::drbd_live::Generation;
use crate::model::drbd_live::words::{DiskState, Role};
use crate::model::lineage::Relation;
use crate::model::side::Side;
use crate::model::standing::{Link, LinkVolume};

/// `None`: the class says all.
pub(super) fn steps(about: &About<'_>, cause: Cause) -> Option<Vec<Step>> {
    let r = &about.standing.resource;
    let who = about.who();
    let volume = about.volume();
    Some(match cause {
        Cause::SourceNotUpToDate => skipped(about),
        Cause::NodeIds => vec![
            step(
                format!("drbdadm dump {r} | grep -e 'on ' -e node-id"),
                "on both nodes: each node must have the same id everywhere, that which its metadata was made with",
            ),
            step(
                format!("drbdadm dump-md {r} | grep node-id"),
                "on both nodes, with the resource down: what the metadata says; never edit that, mend the files",
            ),
            step(about.both(), "again, once the files are the same: whose bitmap is whose is known then"),
        ],
        Cause::IntegrityAlgorithm => vec![
            step(
                "grep name /proc/crypto | sort -u",
                "on both nodes: is the algorithm there? `modprobe` loads it",
            ),
            connecting(format!("drbdadm adjust {r}"), "then on both nodes"),
        ],
        Cause::DisklessByConfiguration => vec![
            step(
                format!("drbdadm dump {r}"),
                "on both nodes: which says `disk none`, or `bitmap no`, of a node that has a disk? Make the files the same",
            ),
            connecting(format!("drbdadm adjust {r}"), "then on both nodes"),
        ],
        Cause::OwnChallenge => vec![step(
            format!("drbdadm dump {r} | grep address"),
            "on both nodes: the peer's address must be the peer's, not this node's own",
        )],
        Cause::SecretAlgorithm => vec![step(
            "grep name /proc/crypto | sort -u",
            "on both nodes: cram-hmac-alg names an algorithm that this kernel does not have; name one that both have",
        )],
        Cause::Tls => vec![
            step(
                "systemctl status tlshd",
                "on both nodes: it does the handshake; its log says why it failed",
            ),
            step(
                format!("drbdadm dump {r} | grep tls"),
                "on both nodes: on or off on both, and keys and certificates that are still valid",
            ),
        ],
        Cause::AddressMissing => vec![
            step(
                format!("ip -brief address; drbdadm dump {r} | grep address"),
                "on both nodes: is the configured address on the node? DRBD tries again until it is",
            ),
            connecting(format!("drbdadm adjust {r}"), "once the file or the interface is right"),
        ],
        Cause::AddressTaken => vec![
            step(
                "ss -tlnp",
                "on both nodes: who listens on the port of the resource? It may be another resource",
            ),
            connecting(
                format!("drbdadm adjust {r}"),
                "once it is free, or the resource has another port on both nodes",
            ),
        ],
        Cause::NoDestination => vec![
            step(
                format!("drbdadm dump {r} | grep address"),
                "on both nodes: is there an address for each end of the connection?",
            ),
            connecting(
                format!("drbdadm adjust {r}"),
                "then on both nodes: gives the kernel the addresses and connects",
            ),
        ],
        Cause::PeerTooSmallForPrimary | Cause::PeerTooSmall | Cause::PeerTooLarge | Cause::SizesOdd => vec![
            step(
                "lsblk -b",
                "on both nodes: grow the smaller backing device to the other's size; never shrink the other, and do not \
                 demote a Primary for this: DRBD would then cut its device to the smaller size",
            ),
            connecting(
                format!("drbdadm connect {r}"),
                "then on both nodes; `drbdadm resize` is for later, when both are larger",
            ),
        ],
        Cause::SourceInconsistent => vec![
            step(about.both(), "which node still has whole data? Only that one can be the source"),
            step("", "never `primary --force` on a node that is Inconsistent"),
        ],
        Cause::DataChanged => vec![
            step(
                "ip -s link; ethtool -k IFACE",
                "on both nodes: errors on the replication link? Network cards that compute checksums are the usual cause: \
                 `ethtool -K IFACE rx off tx off tso off gso off`",
            ),
            step(
                format!("drbdadm dump {r} | grep data-integrity-alg"),
                "while applications change pages that are being written this alarm is false, too; what arrived changed was not written",
            ),
            step(
                about.both(),
                "they try again by themselves; `drbdadm verify`, once connected, shows whether they differ",
            ),
        ],
        Cause::NotTheProtocol => vec![step(
            format!("ss -tnp; drbdadm dump {r} | grep address"),
            "on both nodes: which program is at the other end of the port? Only DRBD of this resource may be",
        )],
        Cause::VolumeUnknown => vec![step(
            format!("drbdadm dump {r}"),
            "on both nodes: make the files in /etc/drbd.d the same; `drbdadm adjust` then takes the volume up",
        )],
        Cause::OnlyConsistent => vec![
            step(about.both(), "they find each other again by themselves; which one is ahead then"),
            step(
                "",
                "the writes that were frozen were not repeated to the other node: applications may have seen errors",
            ),
        ],
        Cause::MetadataUnreadable => vec![
            step(
                on(who, "dmesg | tail -50"),
                "what the disk said: this is an error of the disk, or of what is below it",
            ),
            attach(about, "once it can be read again; it then syncs what it missed"),
        ],
        Cause::MetadataMissing | Cause::MetadataOdd => vec![
            step(
                on(who, &format!("drbdadm dump {r} | grep disk; lsblk -f")),
                "is it the right device, with its right size, and is the metadata where `meta-disk` says?",
            ),
            attach(about, "once the right one is configured"),
            step(
                "",
                "`create-md` is for an empty disk that took the place of a lost one, and only while the other node has the data: \
                 it forgets what this disk holds",
            ),
        ],
        Cause::MetadataUnclean => vec![
            step(
                on(who, &format!("drbdadm apply-al {r}/{volume}")),
                "marks what may have been in flight when the node went down; `drbdadm up` does it by itself",
            ),
            attach(about, "then: it syncs what it missed"),
        ],
        Cause::DiskTooSmall | Cause::WouldTruncate => vec![
            step(
                on(who, "lsblk -b"),
                "grow the backing device to the size it had; what is beyond its end would be cut off",
            ),
            attach(about, "then: it syncs what it missed"),
        ],
        Cause::OtherGeneration => vec![
            connecting(
                on(who, &format!("drbdadm secondary {r}")),
                "after its services were stopped: a Primary works over the network with newer data than this disk has",
            ),
            attach(about, "then: it syncs what it missed"),
        ],
        Cause::NodeIdOfMetadata => vec![
            step(
                on(
                    who,
                    &format!(
                        "drbdadm dump {r} | grep -e 'on ' -e node-id; drbdadm dump-md {r}/{volume} | grep node-id"
                    ),
                ),
                "the node's id in the files must be the one its metadata was made with: put that back, on all nodes",
            ),
            attach(about, "then"),
        ],
        Cause::NoBitmapSlot => vec![step(
            on(who, &format!("drbdadm dump-md {r}/{volume} | grep max-peers")),
            "for more peers the metadata must be made anew with --max-peers, which makes everything sync: plan for it, and keep \
             a whole copy meanwhile; or take the new peer out of the files",
        )],
        Cause::CannotOpen => vec![
            step(
                on(who, &format!("drbdadm dump {r} | grep disk; lsblk")),
                "is the backing device there, under that name?",
            ),
            attach(about, "once it is: it syncs what it missed"),
        ],
        Cause::DiskClaimed => vec![
            step(
                on(who, "lsblk; cat /proc/mounts; dmsetup table"),
                "who has the backing device: a mount, LVM or another resource beside DRBD? Whatever it wrote there DRBD does not \
                 know of",
            ),
            step(
                "",
                "do not attach it before that is known: if it was written to, it must be compared as a whole",
            ),
        ],
        Cause::NoMemory => vec![
            step(on(who, "free -m"), "the bitmap takes 32 KiB of memory per GiB and peer"),
            attach(about, "once there is some: it syncs what it missed"),
        ],
        _ => return None,
    })
}

fn attach(about: &About<'_>, what: &str) -> Step {
    let (r, volume) = (&about.standing.resource, about.volume());
    connecting(on(about.who(), &format!("drbdadm attach {r}/{volume}")), what)
}

/// A loop of handshakes because a node that is out of date is to be the source: the first of the finding's nodes.
fn skipped(about: &About<'_>) -> Vec<Step> {
    let [old, good] = about.finding.nodes.as_slice() else { return vec![step(about.both(), "again")] };
    let Some(link) = about.links().next() else { return vec![step(about.both(), "again")] };
    let role = |name: &str| about.standing.node(name).and_then(|node| node.role);
    let whole = about.standing.node(good).is_some_and(|node| {
        !node.volumes.is_empty() && node.volumes.iter().all(|volume| volume.disk == Some(DiskState::UpToDate))
    });
    if !whole {
        let what = format!("is {good} UpToDate? Only then may it overwrite {old}");
        return vec![step(about.both(), what)];
    }
    // Where the two also went apart otherwise, the old one may hold what nobody else has.
    if !equal(link) || keepable(link).iter().map(|side| &link.nodes[*side]).ne([good]) {
        return about.decide(link);
    }
    let Some(side) = Side::BOTH.into_iter().find(|side| &link.nodes[*side] == good) else {
        return about.decide(link);
    };
    let mut steps = vec![about.keeping(link, side)];
    // Only 9 lets that option turn a resync round.
    let nine = about.standing.node(old).is_some_and(|node| node.generation == Some(Generation::V9));
    if nine && role(old) != Some(Role::Primary) {
        let toward = |peer: &str| about.toward(peer);
        steps.push(step(
            on(old, &format!("drbdadm disconnect {}", toward(good))),
            "or by hand, without a copy of what is overwritten: first this",
        ));
        steps.push(step(
            on(old, &format!("drbdadm connect --discard-my-data {}", toward(good))),
            format!("then this: DRBD brings {old} up to date from {good}"),
        ));
    }
    steps.push(step(
        "",
        "do not demote the Primary to bring them together: they would be connected with blocks left that differ",
    ));
    steps
}

/// Every volume was compared, and has the same generation on both sides.
fn equal(link: &Link) -> bool {
    let same = |volume: &LinkVolume| {
        volume.comparison.as_ref().is_some_and(|found| {
            let current = |side: Side| volume.lineages[side].as_ref().map(|lineage| lineage.current.masked());
            found.relation != Relation::Diverged && current(Side::A) == current(Side::B)
        })
    };
    !link.volumes.is_empty() && link.volumes.iter().all(same)
}
