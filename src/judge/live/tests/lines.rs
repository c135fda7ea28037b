//! Lines of kernels' logs of both generations: each is a reason with something to do about it. The resource, the nodes and the
//! numbers are made; the words are the kernels'.

use super::*;
use crate::judge::advice::{Way, steps};
use crate::model::cause::Cause;
use crate::model::node::DrbdSeen;
use Class as K;
use ConnectionState as C;

/// As DRBD 9 logs them on `alpha`, and what they are.
pub(super) const LINES: [(&str, Class); 37] = [
    ("drbd r0 beta: Configured local address not found, retrying every 10 sec, err=-99", K::AddressInUse),
    ("drbd r0 beta: Failed to initiate connection, err=-98", K::AddressInUse),
    ("drbd r0 beta: Failed to initiate connection, err=-13", K::AddressInUse),
    ("drbd r0 tcp:beta: bind before listen failed, err = -98", K::AddressInUse),
    ("drbd r0 tcp:beta: connect failed, err = -22", K::AddressInUse),
    ("drbd r0 beta: No destination address, err=-89", K::AddressInUse),
    (
        "drbd r0 beta: incompatible DRBD 9 dialects: I support 118-124, peer supports 110-117",
        K::VersionsDiffer,
    ),
    ("drbd r0 beta: incompatible DRBD dialects: I support 86-101, peer supports 118-124", K::VersionsDiffer),
    (
        "drbd r0/0 drbd5 beta: The peer's device size is too small! (100 < 200 sectors); demote me first!",
        K::SizesDiffer,
    ),
    ("drbd r0/0 drbd5 beta: The peer's disk size is too small! (100 < 200 sectors)", K::SizesDiffer),
    ("drbd r0/0 drbd5 beta: Peer's size larger than my maximum capacity (100 < 200 sectors)", K::SizesDiffer),
    ("drbd r0/0 drbd5 beta: Peer sent bogus sizes, disconnecting", K::SizesDiffer),
    ("drbd r0/0 drbd5 beta: I shall become SyncTarget during attach, but I am primary!", K::ResyncConflict),
    ("drbd r0/0 drbd5 beta: I shall become SyncTarget, but I am primary!", K::ResyncConflict),
    ("drbd r0/0 drbd5: I shall become SyncSource, but I am inconsistent!", K::Undecided),
    ("drbd r0/0 drbd5: Can only connect to data with current UUID=0123456789ABCDEF", K::OtherData),
    ("drbd r0/0 drbd5 beta: Current UUID of peer does not match my exposed UUID.", K::OtherData),
    ("drbd r0/0 drbd5 beta: Remote node has more recent data", K::OtherData),
    ("drbd r0 beta: Remote node has more recent data; force secondary!", K::OtherData),
    ("drbd r0/0 drbd5 beta: Aborting Connect, can not thaw IO with an only Consistent peer", K::NotConnected),
    ("drbd r0/0 drbd5 beta: The peer is configured to be diskless but presents UpToDate", K::SettingsDiffer),
    ("drbd r0 beta: incompatible after-sb-0pri settings", K::SettingsDiffer),
    ("drbd r0 beta: peer data-integrity-alg crc32c not supported", K::SettingsDiffer),
    ("drbd r0 beta: Peer expects me to have a node_id of 2 instead of 0", K::SettingsDiffer),
    ("drbd r0/0 drbd5 beta: Failed to fully determine sync strategy, dropping connection!", K::Undecided),
    ("drbd r0/0 drbd5 beta: Want full sync but cannot decide direction, dropping connection!", K::Undecided),
    ("drbd r0/0 drbd5 beta: Digest integrity check FAILED. Broken NICs?", K::LinkDamages),
    ("drbd r0 beta: Wrong magic value 0x47455420 in protocol version 121, 0 [data]", K::LinkDamages),
    (
        "drbd r0 beta: SizesPacket packet received for volume 1, which is not configured locally",
        K::NotConfigured,
    ),
    ("drbd r0 beta: Authentication of peer failed, trying again.", K::Authentication),
    ("drbd r0 beta: Peer presented the same challenge!", K::Authentication),
    ("drbd r0 beta: This kernel was build without CONFIG_CRYPTO_HMAC.", K::Authentication),
    ("drbd r0 tcp:beta: Error from tls handshake: -110", K::Authentication),
    ("drbd r0: State change failed: Multiple primaries not allowed by config", K::TwoPrimaries),
    ("drbd r0/0 drbd5: before-resync-target handler returned 1, dropping connection.", K::HandlerFailed),
    ("drbd r0 beta: fence-peer helper broken, returned 0", K::HandlerFailed),
    (
        "drbd r0/0 drbd5 alpha: Resync (rule=sync-source-missed-finish) skipped: sync-source (Outdated)",
        K::HandshakeLoop,
    ),
];

/// The line as the generation prefixes it. 8.4 names devices by their minor number and has no peers.
pub(super) fn as_told(generation: Generation, line: &'static str) -> &'static str {
    if generation == Generation::V9 {
        return line;
    }
    let (head, text) = line.split_once(": ").unwrap();
    let head = if head.starts_with("drbd r0/0") { "block drbd5" } else { "drbd r0" };
    Box::leak(format!("{head}: {text}").into_boxed_str())
}

#[test]
fn each_is_a_reason_with_something_to_do() {
    for generation in BOTH {
        for (line, class) in LINES {
            // The line of the loop names the node itself, as a kernel's line about its peer on the other node does.
            let line = as_told(generation, line).replace("drbd5 alpha:", "drbd5 beta:");
            let line: &'static str = Box::leak(line.into_boxed_str());
            for state in [C::StandAlone, C::Connecting] {
                let [alpha, beta] = pair(generation).map(|made| made.apart(state));
                let standing = is(&[alpha.logged(&[line]), beta], &[class]);
                let found = &standing.findings[0];
                let text = line.split_once(": ").unwrap().1;
                assert!(
                    found.reasons.iter().any(|reason| reason.from == Source::Log && reason.text == text),
                    "{line}: {found:#?}"
                );
                assert_eq!(found.cause.map(Cause::class), Some(class), "{line}");
                assert!(!found.says.contains("find nothing"), "{line}: {}", found.says);
                let next = steps(&standing, found, &Way { words: " --peer ssh:beta", asked: true });
                assert!(next.iter().any(|step| !step.command.is_empty()), "{line}: {next:?}");
                assert!(next.iter().all(|step| !step.what.is_empty()), "{line}: {next:?}");
            }
        }
    }
}

#[test]
fn a_disk_that_could_not_be_attached_says_why() {
    for generation in BOTH {
        for (line, cause, word) in [
            ("drbd r0/0 drbd5: Error while reading metadata.", Cause::MetadataUnreadable, "dmesg"),
            (
                "drbd r0/0 drbd5: Meta data magic not found. Did you \"drbdadm create-md\"?",
                Cause::MetadataMissing,
                "lsblk",
            ),
            (
                "drbd r0/0 drbd5: Found unclean meta data. Did you \"drbdadm apply-al\"?",
                Cause::MetadataUnclean,
                "drbdadm apply-al r0/0",
            ),
            ("drbd r0/0 drbd5: max capacity 100 smaller than disk size 200", Cause::DiskTooSmall, "lsblk -b"),
            (
                "drbd r0/0 drbd5: refusing to truncate a consistent device (100 < 200)",
                Cause::WouldTruncate,
                "lsblk -b",
            ),
            (
                "drbd r0/0 drbd5: Can only attach to data with current UUID=0123456789ABCDEF",
                Cause::OtherGeneration,
                "drbdadm secondary r0",
            ),
            (
                "drbd r0/0 drbd5: ambiguous node id: meta-data: 1, config: 2",
                Cause::NodeIdOfMetadata,
                "node-id",
            ),
            ("drbd r0/0 drbd5: open(\"/dev/vg/r0\") failed with -2", Cause::CannotOpen, "lsblk"),
            ("drbd r0/0 drbd5: open(\"/dev/vg/r0\") failed with -16", Cause::DiskClaimed, "dmsetup table"),
        ] {
            let line = as_told(generation, line);
            let [alpha, beta] = pair(generation);
            let alpha = alpha.with(|node| {
                node.disk = DiskState::Diskless;
                node.log = vec![line];
            });
            let beta = beta.with(|node| node.peers[0].disk = DiskState::Diskless);
            let standing = is(&[alpha.clone(), beta.clone()], &[K::Diskless]);
            let found = &standing.findings[0];
            assert_eq!(found.cause, Some(cause), "{line}");
            let next = steps(&standing, found, &Way { words: " --peer ssh:beta", asked: true });
            assert!(next.iter().any(|step| step.command.contains(word)), "{line}: {next:#?}");
            // An attach that worked since makes it old.
            let again = if generation == Generation::V9 {
                "drbd r0/0 drbd5: disk( Attaching -> UpToDate )"
            } else {
                "block drbd5: disk( Attaching -> UpToDate )"
            };
            let standing = is(&[alpha.logged(&[again]), beta], &[K::Diskless]);
            assert_eq!(standing.findings[0].cause, None);
            // Without a line the numbers that the tools print are explained.
            let next = steps(&standing, &standing.findings[0], &Way { words: "", asked: true });
            for number in ["111", "119", "165"] {
                assert!(next.iter().any(|step| step.what.contains(number)), "{next:#?}");
            }
        }
    }
}

/// Two nodes that shake hands without end because the one that is to be the source is out of date (LINBIT/drbd#143).
#[test]
fn a_handshake_that_loops_is_named() {
    let round = [
        "drbd r0/0 drbd5 beta: drbd_sync_handshake:",
        "drbd r0/0 drbd5 beta: uuid_compare()=source-use-bitmap by rule=sync-source-missed-finish",
        "drbd r0/0 drbd5 beta: Resync (rule=sync-source-missed-finish) skipped: sync-source (Outdated)",
        "drbd r0: Aborting cluster-wide state change 99 (4ms) rv = -19",
    ];
    let [mut alpha, beta] = pair(Generation::V9).map(|made| made.apart(C::Connecting));
    alpha = alpha.with(|node| {
        node.disk = DiskState::Outdated;
        (node.peers[0].bitmap, node.peers[0].out_of_sync) = (0x900, 80);
    });
    let beta = beta.with(|node| node.role = crate::model::drbd_live::words::Role::Primary);
    for _ in 0..30 {
        alpha = alpha.logged(&round);
    }
    let standing = is(&[alpha.clone(), beta.clone()], &[K::HandshakeLoop, K::Outdated]);
    let found = &standing.findings[0];
    assert_eq!(found.cause, Some(Cause::SourceNotUpToDate));
    assert_eq!(found.nodes, ["alpha", "beta"], "first the one whose data is old");
    assert!(found.reasons.iter().any(|reason| reason.text.starts_with("30 handshakes")), "{found:#?}");
    let next = steps(&standing, found, &Way { words: " --peer ssh:beta", asked: true });
    let commands: Vec<&str> =
        next.iter().map(|step| step.command.as_str()).filter(|command| !command.is_empty()).collect();
    assert_eq!(
        commands,
        [
            "unsplit resolve r0 --peer ssh:beta --keep beta",
            "drbdadm disconnect r0    # on alpha",
            "drbdadm connect --discard-my-data r0    # on alpha",
        ]
    );
    // From one side alone, the other one is asked first.
    let alone = judged(std::slice::from_ref(&alpha));
    let next = steps(&alone, &alone.findings[0], &Way { words: " --peer ssh:beta", asked: false });
    assert_eq!(next[0].command, "unsplit status r0 --peer ssh:beta");
    // A loop of which the log does not tell why is one all the same; a single handshake is none.
    let handshakes = ["drbd r0/0 drbd5 beta: drbd_sync_handshake:"; 30];
    let [other, peer] = pair(Generation::V9).map(|made| made.apart(C::Connecting));
    is(&[other.clone().logged(&handshakes), peer.clone()], &[K::HandshakeLoop]);
    is(&[other.clone().logged(&handshakes[..1]), peer.clone()], &[K::NotConnected]);
    // One that ended is over.
    is(
        &[
            other
                .apart(C::StandAlone)
                .logged(&handshakes)
                .logged(&["drbd r0 beta: conn( Connecting -> StandAlone )"]),
            peer,
        ],
        &[K::StandAlone],
    );
}

#[test]
fn node_ids_that_do_not_fit_are_named() {
    for state in [C::StandAlone, C::Connecting] {
        let [alpha, beta] = pair(Generation::V9).map(|made| made.apart(state));
        // Their bitmaps would say split brain; whose bitmaps they are nobody knows.
        let alpha = alpha.went_on(0x1000, 0x2000, 10);
        let beta = beta.went_on(0x1000, 0x3000, 20).with(|node| node.id = 2);
        let standing = is(&[alpha, beta], &[K::SettingsDiffer]);
        let found = &standing.findings[0];
        assert_eq!(found.cause, Some(Cause::NodeIds));
        let said = |node: &str, text: &str| {
            found.reasons.iter().any(|reason| reason.node.as_deref() == Some(node) && reason.text == text)
        };
        assert!(said("beta", "beta is node 2") && said("alpha", "beta is node 1"), "{found:#?}");
        assert_eq!(standing.links[0].volumes[0].comparison, None);
        let next = steps(&standing, found, &Way { words: " --peer ssh:beta", asked: true });
        assert!(
            next.iter().all(|step| !step.command.contains("connect") && !step.command.contains("adjust"))
        );
    }
}

/// DRBD on DRBD: the tools pass over such a resource unless they are told.
#[test]
fn a_stacked_resource_is_called_one() {
    for generation in BOTH {
        for path in ["/dev/drbd9", "/dev/drbd/by-res/below/0"] {
            let mut reports = pair(generation).map(|made| made.apart(C::StandAlone).report());
            let DrbdSeen::Told(live) = &mut reports[0].state.drbd else { panic!() };
            live.resources[0].devices[0].info.backing_device = Some(path.to_owned());
            let mut below = live.resources[0].clone();
            below.name = "below".to_owned();
            below.devices[0].minor = Some(9);
            below.devices[0].info.backing_device = Some("/dev/vg/below".to_owned());
            // In the order of their names.
            live.resources.insert(0, below);
            let witnesses: Vec<_> = reports.iter().map(Witness::told).collect();
            let standing = classify("r0", &witnesses);
            let volume = &standing.node("alpha").unwrap().volumes[0];
            assert_eq!(volume.stacked_on.as_deref(), Some("below"), "{generation} {path}");
            let next = steps(&standing, &standing.findings[0], &Way { words: "", asked: true });
            let commands: Vec<&str> = next.iter().map(|step| step.command.as_str()).collect();
            assert!(commands.contains(&"drbdadm --stacked connect r0    # on alpha"), "{commands:?}");
            assert!(next.iter().any(|step| step.what.contains("stacked on below")));
            let below = classify("below", &witnesses);
            assert_eq!(below.node("alpha").unwrap().volumes[0].stacked_on, None);
        }
    }
}

/// What is offered is what works: one side was resized while they were apart, so nothing is compared or healed before both are.
#[test]
fn one_that_was_resized_is_made_even_first() {
    for generation in BOTH {
        let [alpha, beta] = pair(generation).map(|made| made.apart(C::StandAlone));
        let alpha = alpha.went_on(0x1000, 0x2000, 10).with(|node| node.size *= 2);
        let beta = beta.went_on(0x1000, 0x3000, 20);
        for nodes in [[alpha.clone(), beta.clone()], [beta.clone(), alpha.clone()]] {
            let standing = is(&nodes, &[K::SplitBrain]);
            let next =
                steps(&standing, &standing.findings[0], &Way { words: " --peer ssh:beta", asked: true });
            assert_eq!(next[0].command, "drbdadm -- --assume-peer-has-space resize r0/0    # on beta");
            assert_eq!(next[1].command, "unsplit status r0 --peer ssh:beta");
            let refused = |step: &crate::judge::advice::Step| {
                step.command.contains("unsplit resolve") || step.command.contains("unsplit diff")
            };
            assert!(!next.iter().any(refused), "{next:#?}");
        }
    }
}

/// DRBD 8.4 cannot be told to turn the end of a resync round: there `resolve` would refuse, and is not offered.
#[test]
fn an_outdated_source_is_kept_away_by_what_the_kernel_can_do() {
    for generation in BOTH {
        let [alpha, beta] = pair(generation).map(|made| made.apart(C::StandAlone));
        let alpha = alpha.with(|node| {
            node.disk = DiskState::Outdated;
            (node.peers[0].bitmap, node.peers[0].out_of_sync) = (0x900, 80);
        });
        let standing = judged(&[alpha, beta]);
        let next = steps(&standing, &standing.findings[0], &Way { words: " --peer ssh:beta", asked: true });
        let keeps: Vec<_> = next.iter().filter(|step| step.command.contains("--keep")).collect();
        let by_hand: Vec<_> = next.iter().filter(|step| step.command.contains("invalidate")).collect();
        match generation {
            Generation::V84 => {
                assert!(keeps.is_empty(), "{keeps:#?}");
                assert_eq!(by_hand[0].command, "drbdadm invalidate r0/0 && drbdadm connect r0    # on alpha");
                assert!(by_hand[0].what.contains("OVERWRITES all that alpha holds"), "{by_hand:#?}");
            }
            Generation::V9 => {
                assert!(by_hand.is_empty(), "{by_hand:#?}");
                assert!(keeps.iter().all(|step| step.command.ends_with("--keep beta")), "{keeps:#?}");
                assert_eq!(keeps.len(), 1);
            }
        }
    }
}
