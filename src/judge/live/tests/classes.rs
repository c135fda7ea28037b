//! Two nodes.

use super::*;
use crate::model::drbd_live::words::{AfterSplitBrain, Protocol, ReplicationState, Role};
use crate::model::lineage::Reconnect;
use crate::model::node::DrbdSeen;
use Class as K;
use ConnectionState as C;

fn split(generation: Generation, a: ConnectionState, b: ConnectionState) -> [Made; 2] {
    let [alpha, beta] = pair(generation);
    [alpha.apart(a).went_on(0x1000, 0x2000, 10), beta.apart(b).went_on(0x1000, 0x3000, 20)]
}

#[test]
fn healthy() {
    for generation in BOTH {
        let standing = is(&pair(generation), &[K::Healthy]);
        assert_eq!(standing.agree, [["alpha", "beta"]]);
    }
}

#[test]
fn split_brain_whatever_the_ends_show() {
    for generation in BOTH {
        for (a, b) in [
            (C::StandAlone, C::StandAlone),
            (C::StandAlone, C::Connecting),
            (C::Connecting, C::StandAlone),
            (C::Connecting, C::Connecting),
            (C::NetworkFailure, C::Unconnected),
        ] {
            let standing = is(&split(generation, a, b), &[K::SplitBrain]);
            let volume = &standing.links[0].volumes[0];
            assert_eq!(volume.out_of_sync, Pair::new(Some(40960), Some(81920)), "{generation} {a} {b}");
            let found = volume.comparison.as_ref().unwrap();
            assert!(found.common_base);
            assert!(matches!(found.reconnect, Reconnect::Disconnect { .. }));
            let undetected = a != C::StandAlone && b != C::StandAlone;
            let says = standing.findings[0].reasons.iter().any(|reason| reason.text.contains("not compared"));
            assert_eq!(says, undetected);
            assert_eq!(standing.agree.len(), 2);
        }
    }
}

#[test]
fn real_policies_say_what_drbd_would_do() {
    for generation in BOTH {
        // As the files say while 8.4 stands alone; as the kernel says in 9.
        let made = split(generation, C::StandAlone, C::StandAlone).map(|made| {
            made.with(|node| {
                node.net = vec![("after-sb-0pri", "discard-least-changes")];
                node.peers[0].options.after_sb_0pri = Some(AfterSplitBrain::DiscardLeastChanges);
            })
        });
        let standing = is(&made, &[K::SplitBrain]);
        let found = standing.links[0].volumes[0].comparison.as_ref().unwrap();
        assert!(
            matches!(found.reconnect, Reconnect::Resync { source: Side::B, full: false, .. }),
            "{found:?}"
        );
    }
}

#[test]
fn a_split_brain_seen_from_one_side_needs_the_kernels_word() {
    let lines = [
        "drbd r0/0 drbd5 beta: self 0000000000002001:0000000000001000:0:0 bits:10 flags:20",
        "drbd r0/0 drbd5 beta: Split-Brain detected but unresolved, dropping connection!",
        "drbd r0 beta: conn( Disconnecting -> StandAlone )",
    ];
    let [alpha, _] = split(Generation::V9, C::StandAlone, C::StandAlone);
    is(&[alpha.clone().logged(&lines)], &[K::SplitBrain]);
    is(std::slice::from_ref(&alpha), &[K::StandAlone]);
    // Healed since, or about another generation.
    is(
        &[alpha.clone().logged(&lines).logged(&["drbd r0 beta: conn( Connecting -> Connected )"])],
        &[K::StandAlone],
    );
    is(&[alpha.with(|node| node.current = 0x4000).logged(&lines)], &[K::StandAlone]);
    let lines = [
        "block drbd5: self 0000000000002001:0000000000001000:0:0 bits:10 flags:0",
        "block drbd5: Split-Brain detected but unresolved, dropping connection!",
    ];
    let [alpha, _] = split(Generation::V84, C::StandAlone, C::StandAlone);
    is(&[alpha.logged(&lines)], &[K::SplitBrain]);
}

#[test]
fn unrelated_data() {
    for generation in BOTH {
        let [alpha, beta] = pair(generation);
        let far = |made: Made, current, past| {
            made.apart(C::StandAlone).with(|node| {
                node.current = current;
                node.history = vec![past, past + 1];
            })
        };
        let standing = is(&[far(alpha, 0x2000, 0x50), far(beta, 0x3000, 0x60)], &[K::Unrelated]);
        assert_eq!(standing.findings[0].volumes, [0]);
    }
}

#[test]
fn marked_but_equal() {
    for generation in BOTH {
        let made = pair(generation).map(|made| made.with(|node| node.peers[0].out_of_sync = 80));
        is(&made, &[K::MarkedButEqual]);
        // The same while they are apart: DRBD would connect them as they are.
        let apart = made.map(|made| made.apart(C::Connecting));
        is(&apart, &[K::MarkedButEqual, K::NotConnected]);
    }
}

#[test]
fn alone_for_other_reasons() {
    for generation in BOTH {
        let alone = || pair(generation).map(|made| made.apart(C::StandAlone));
        let nine = generation == Generation::V9;
        let with_log = |nine_line: &'static str, line: &'static str| {
            let [alpha, beta] = alone();
            [alpha.logged(&[if nine { nine_line } else { line }]), beta]
        };
        is(&alone(), &[K::StandAlone]);
        for (nine_line, line, class) in [
            (
                "drbd r0 beta: incompatible after-sb-1pri settings",
                "drbd r0: incompatible after-sb-1pri settings",
                K::SettingsDiffer,
            ),
            (
                "drbd r0 beta: Authentication of peer failed",
                "drbd r0: Authentication of peer failed",
                K::Authentication,
            ),
            (
                "drbd r0 tcp:beta: bind before listen failed, err = -98",
                "drbd r0: bind before listen failed, err = -98",
                K::AddressInUse,
            ),
            (
                "drbd r0 beta: incompatible DRBD dialects: I support 86-101, peer wants 118-122",
                "drbd r0: incompatible DRBD dialects: x",
                K::VersionsDiffer,
            ),
            (
                "drbd r0/0 drbd5 beta: The peer's disk size is too small! (1 < 2 sectors)",
                "block drbd5: The peer's disk size is too small!",
                K::SizesDiffer,
            ),
            (
                "drbd r0/0 drbd5 beta: before-resync-target handler returned 1, dropping connection.",
                "block drbd5: before-resync-target handler returned 1, dropping connection.",
                K::HandlerFailed,
            ),
            (
                "drbd r0/0 drbd5 beta: I shall become SyncTarget, but I am primary!",
                "block drbd5: I shall become SyncTarget, but I am primary!",
                K::ResyncConflict,
            ),
            (
                "drbd r0: Aborting cluster-wide state change 1 (2ms) rv = -1",
                "drbd r0: State change failed: Multiple primaries not allowed by config",
                K::TwoPrimaries,
            ),
            (
                "drbd r0 beta: conn( Connected -> Disconnecting ) peer( Secondary -> Unknown )",
                "drbd r0: peer( Secondary -> Unknown ) conn( Connected -> Disconnecting )",
                K::Disconnected,
            ),
        ] {
            let standing = is(&with_log(nine_line, line), &[class]);
            assert!(standing.findings[0].reasons.iter().any(|reason| reason.from == Source::Log));
        }
        // What was before somebody asked for the connection explains nothing any more.
        let again = if nine {
            "drbd r0 beta: conn( StandAlone -> Unconnected )"
        } else {
            "drbd r0: conn( StandAlone -> Unconnected )"
        };
        let [alpha, beta] =
            with_log("drbd r0 beta: Authentication of peer failed", "drbd r0: Authentication of peer failed");
        is(&[alpha.logged(&[again]), beta], &[K::StandAlone]);
    }
}

#[test]
fn settings_that_differ_are_seen_without_a_log() {
    for generation in BOTH {
        let [alpha, beta] = pair(generation).map(|made| made.apart(C::StandAlone));
        let beta = beta.with(|node| {
            node.net = vec![("protocol", "A")];
            node.peers[0].options.protocol = Some(Protocol::A);
        });
        let standing = is(&[alpha, beta], &[K::SettingsDiffer]);
        assert!(standing.findings[0].says.contains("protocol"));
        let found = standing.links[0].volumes[0].comparison.as_ref().unwrap();
        assert!(
            matches!(&found.reconnect, Reconnect::Disconnect { because } if because.contains("protocol"))
        );
    }
}

#[test]
fn two_primaries_that_may_not() {
    for generation in BOTH {
        let made =
            pair(generation).map(|made| made.apart(C::StandAlone).with(|node| node.role = Role::Primary));
        is(&made, &[K::TwoPrimaries]);
        let allowed = made.map(|made| {
            made.with(|node| {
                node.net = vec![("allow-two-primaries", "yes")];
                node.peers[0].options.allow_two_primaries = Some(true);
            })
        });
        is(&allowed, &[K::StandAlone]);
    }
}

#[test]
fn not_connected_and_half_open() {
    for generation in BOTH {
        let [alpha, beta] = pair(generation).map(|made| made.apart(C::Connecting));
        is(&[alpha.clone(), beta.clone()], &[K::NotConnected]);
        is(&[alpha.clone(), beta.apart(C::StandAlone)], &[K::StandAlone]);
        // Alone in the dark: nothing is known of the other side, and nothing is made up.
        let standing = is(&[alpha], &[K::NotConnected]);
        assert_eq!(standing.links[0].volumes[0].comparison, None);
        assert_eq!(standing.node("beta").unwrap().told, Asked::NotAsked);
    }
}

#[test]
fn resync_and_verify() {
    use ReplicationState as R;
    for generation in BOTH {
        for (a, b, target, class) in [
            (R::SyncSource, R::SyncTarget, true, K::Resync),
            (R::PausedSyncS, R::PausedSyncT, true, K::ResyncPaused),
            (R::VerifyS, R::VerifyT, false, K::Verify),
        ] {
            let [alpha, beta] = pair(generation);
            let alpha = alpha.with(|node| {
                node.peers[0].replication = a;
                node.peers[0].out_of_sync = 800;
                if target {
                    node.peers[0].disk = DiskState::Inconsistent
                }
            });
            let beta = beta.with(|node| {
                node.peers[0].replication = b;
                if target {
                    node.disk = DiskState::Inconsistent
                }
            });
            let standing = is(&[alpha.clone(), beta], &[class]);
            if target {
                assert!(
                    standing.findings[0].says.starts_with("beta ")
                        || standing.findings[0].says.contains("of beta"),
                    "{}",
                    standing.findings[0].says
                );
            }
            is(&[alpha], &[class]);
        }
    }
}

#[test]
fn disks() {
    for generation in BOTH {
        let with_disk = |disk| {
            pair(generation)
                .map(|made| made.apart(C::Connecting))
                .map(|made| if made.name == "beta" { made.with(|node| node.disk = disk) } else { made })
        };
        is(&with_disk(DiskState::Inconsistent), &[K::NotConnected, K::Inconsistent]);
        is(&with_disk(DiskState::Outdated), &[K::NotConnected, K::Outdated]);
        is(&with_disk(DiskState::Failed), &[K::DiskFailed, K::NotConnected]);
        is(&with_disk(DiskState::Diskless), &[K::NotConnected, K::Diskless]);
        let [alpha, beta] = with_disk(DiskState::Diskless);
        if generation == Generation::V9 {
            let failed = beta.logged(&["drbd r0/0 drbd5: disk( UpToDate -> Failed )"]);
            is(&[alpha, failed], &[K::DiskFailed, K::NotConnected]);
        } else {
            // So goes an orderly detach, too.
            let detached = beta.logged(&["block drbd5: disk( UpToDate -> Failed )"]);
            is(&[alpha.clone(), detached.clone()], &[K::NotConnected, K::Diskless]);
            let failed = detached.logged(&["block drbd5: Local IO failed in __req_mod. Detaching..."]);
            is(&[alpha.clone(), failed.clone()], &[K::DiskFailed, K::NotConnected]);
            let again = failed.logged(&["block drbd5: disk( Diskless -> Attaching )"]);
            is(&[alpha, again], &[K::NotConnected, K::Diskless]);
        }
        // Without a disk on purpose, connected: as it should be.
        let [alpha, beta] = pair(generation);
        let alpha = alpha.with(|node| {
            node.peers[0].disk = DiskState::Diskless;
            node.peers[0].client = true;
        });
        let beta = beta.with(|node| {
            node.disk = DiskState::Diskless;
            node.client = true;
        });
        is(&[alpha, beta], &[K::Client, K::Healthy]);
    }
}

#[test]
fn never_synced() {
    for generation in BOTH {
        let made = pair(generation).map(|made| {
            made.with(|node| {
                node.current = 4;
                node.history = vec![0, 0];
                node.disk = DiskState::Inconsistent;
                node.peers[0].disk = DiskState::Inconsistent;
                node.peers[0].out_of_sync = 1 << 20;
            })
        });
        is(&made, &[K::JustCreated, K::JustCreated]);
    }
}

#[test]
fn down_and_unconfigured() {
    for generation in BOTH {
        let [alpha, beta] = pair(generation);
        let alpha = alpha.apart(C::Connecting);
        is(&[alpha.clone(), beta.clone().with(|node| node.up = false)], &[K::Down]);
        is(&[alpha.clone(), beta.clone().with(|node| node.loaded = false)], &[K::Down]);
        let none = beta.clone().with(|node| {
            node.up = false;
            node.configured = Ok(false);
        });
        is(&[alpha.clone(), none], &[K::NotConfigured]);
        // No tool there to ask: down is what is certain.
        let unknown = beta.clone().with(|node| {
            node.up = false;
            node.configured = Err(());
        });
        is(&[alpha.clone(), unknown], &[K::Down]);
        is(&[alpha.with(|node| node.up = false), beta.with(|node| node.up = false)], &[K::Down]);
    }
}

#[test]
fn suspended_and_without_quorum() {
    for generation in BOTH {
        let [alpha, beta] = pair(generation).map(|made| made.apart(C::Connecting));
        is(
            &[alpha.clone().with(|node| node.suspended_fencing = true), beta.clone()],
            &[K::IoSuspended, K::NotConnected],
        );
        is(&[alpha.with(|node| node.quorum = Some(false)), beta], &[K::NotConnected, K::NoQuorum]);
    }
}

#[test]
fn a_silent_peer_leaves_what_this_side_shows() {
    for generation in BOTH {
        let [alpha, _] = pair(generation);
        for (made, expected) in [
            (alpha.clone(), vec![K::Unseen]),
            (alpha.clone().apart(C::StandAlone), vec![K::StandAlone, K::Unseen]),
        ] {
            let report = made.report();
            // Named by an address, not by its name: there is only one it can be.
            let witnesses = [Witness::told(&report), Witness::silent("10.0.0.2", "no route")];
            let standing = classify("r0", &witnesses);
            assert_eq!(classes(&standing), expected, "{generation}");
            assert_eq!(standing.node("beta").unwrap().told, Asked::Unreachable("no route".to_owned()));
        }
    }
}

#[test]
fn halves_of_a_change_are_not_a_split_brain() {
    for generation in BOTH {
        let [alpha, beta] = pair(generation);
        is(&[alpha, beta.apart(C::Connecting)], &[K::Changing]);
    }
}

/// A second volume, on one of the two nodes only: nothing of it is replicated, and a healthy first one must not hide that.
#[test]
fn a_volume_that_only_one_node_has() {
    for generation in BOTH {
        for lacks in 0..2 {
            let mut reports = pair(generation).map(|made| made.report());
            let DrbdSeen::Told(live) = &mut reports[1 - lacks].state.drbd else { panic!("not told") };
            let mut second = live.resources[0].devices[0].clone();
            (second.volume, second.minor) = (1, Some(6));
            live.resources[0].devices.push(second);
            for turned in [false, true] {
                let mut witnesses: Vec<_> = reports.iter().map(Witness::told).collect();
                if turned {
                    witnesses.reverse();
                }
                let standing = classify("r0", &witnesses);
                assert_eq!(classes(&standing), [K::NotConfigured], "{standing:#?}");
                let (has, none) = if lacks == 0 { ("beta", "alpha") } else { ("alpha", "beta") };
                let found = &standing.findings[0];
                assert_eq!(found.says, format!("volume 1 of r0 on {has} only; {none} has no copy"));
                assert_eq!((&found.volumes[..], &found.nodes[..]), (&[1][..], &[none.to_owned()][..]));
                let volume = standing.links[0].volumes.iter().find(|volume| volume.volume == 1).unwrap();
                assert_eq!(volume.not_compared.as_deref(), Some(&*format!("{none} has no volume 1")));
            }
        }
    }
}
