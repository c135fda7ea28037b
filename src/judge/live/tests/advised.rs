//! Advice judged again: what is advised is done in a small model of DRBD, each command after the other, and judged by the same
//! rules. Nowhere on the way may it stand worse than before, and nothing may be overwritten that only one side had.

use super::*;
use crate::judge::advice::{Step, Way, steps};
use crate::judge::worse::goes_back;
use crate::model::drbd;
use crate::model::drbd_live::object::NetOptions;
use crate::model::drbd_live::words::{AfterSplitBrain, ReplicationState as R, Role};
use crate::model::lineage::Reconnect;
use crate::model::standing::Weight;
use Class as K;
use ConnectionState as C;
use std::collections::BTreeSet;

/// Two nodes, as they are. What a node holds is here, also while nobody can see it.
#[derive(Debug, Clone)]
struct World {
    nodes: [Made; 2],
    /// What one side alone had was overwritten without a copy.
    lost: bool,
}

impl World {
    fn of(nodes: [Made; 2]) -> World {
        World { nodes, lost: false }
    }

    fn standing(&self) -> Standing {
        judged(&self.nodes)
    }

    /// As it would be seen if both were up and merely looked for each other.
    fn bare(&self) -> World {
        let bare = |made: &Made| {
            let mut made = made.clone().with(|node| {
                node.up = true;
                node.loaded = true;
                node.log.clear();
            });
            if made.peers[0].state != C::Connected {
                made = made.apart(C::Connecting);
            }
            made
        };
        World { nodes: [bare(&self.nodes[0]), bare(&self.nodes[1])], lost: self.lost }
    }

    /// How bad it is: 2 connected as equal with marks left, 1 data differs or is at risk, 0 neither.
    fn harm(&self) -> u8 {
        let standing = self.standing();
        let connected = self.nodes.iter().all(|node| node.up && node.peers[0].state == C::Connected);
        let marked = standing.findings.iter().any(|finding| finding.class == K::MarkedButEqual);
        match (marked && connected, standing.worst().weight() == Weight::Bad) {
            (true, _) => 2,
            (_, true) => 1,
            _ => 0,
        }
    }

    fn each(&mut self, on: Option<usize>, mut change: impl FnMut(&mut Made)) {
        for (at, node) in self.nodes.iter_mut().enumerate() {
            if on.is_none_or(|on| on == at) {
                change(node);
            }
        }
    }

    /// What a command does. `false`: nothing that this model knows of.
    fn does(&mut self, command: &str) {
        let (words, place) = command.split_once("    # on ").map_or((command, None), |(a, b)| (a, Some(b)));
        let on = match place {
            Some("alpha") => Some(0),
            Some("beta") => Some(1),
            Some(_) => return,
            None => None,
        };
        let has = |what: &str| words.contains(what);
        if has("drbdadm connect") {
            let discard = has("--discard-my-data").then_some(on).flatten();
            self.each(on, |node| {
                if node.up && node.peers[0].state == C::StandAlone {
                    *node = node.clone().apart(C::Connecting);
                }
            });
            self.meet(discard);
        } else if has("drbdadm disconnect") {
            self.each(None, |node| {
                if node.peers[0].state == C::Connected {
                    *node = node.clone().apart(C::Connecting);
                }
            });
            self.each(on, |node| *node = node.clone().apart(C::StandAlone));
        } else if has("drbdadm secondary") {
            // Where one of the two may be chosen, the worse choice is tried, too: see `choices`.
            self.each(on, |node| node.role = Role::Secondary);
        } else if has("drbdadm adjust") {
            self.each(on, |node| {
                node.net.clear();
                node.peers[0].options = NetOptions::default();
                node.log.clear();
                if node.up && node.peers[0].state == C::StandAlone {
                    *node = node.clone().apart(C::Connecting);
                }
            });
            self.meet(None);
        } else if has("drbdadm up") {
            self.each(on, |node| {
                node.up = true;
                node.loaded = true;
                *node = node.clone().apart(C::Connecting);
            });
            self.meet(None);
        } else if has("drbdadm attach") {
            self.each(on, |node| {
                if node.disk == DiskState::Diskless {
                    node.disk = DiskState::Consistent;
                    node.log.clear();
                }
            });
            if self.nodes.iter().all(|node| node.peers[0].state == C::Connected) {
                self.meet(None);
            }
        } else if has("unsplit resolve") {
            let kept = usize::from(words.ends_with("--keep beta"));
            assert!(words.contains("--keep alpha") || words.contains("--keep beta"), "{command}");
            self.copied(kept);
        } else if has("drbdadm resume-io") {
            self.each(on, |node| node.suspended_fencing = false);
        }
    }

    /// After a complete copy of one node over the other.
    fn copied(&mut self, kept: usize) {
        let from = self.nodes[kept].clone();
        for node in &mut self.nodes {
            node.current = from.current;
            node.history.clone_from(&from.history);
            node.disk = DiskState::UpToDate;
            node.role = Role::Secondary;
            let peer = &mut node.peers[0];
            (peer.bitmap, peer.out_of_sync) = (0, 0);
            (peer.state, peer.replication, peer.disk) = (C::Connected, R::Established, DiskState::UpToDate);
        }
    }

    /// Two that look for each other find each other, and DRBD does what its rules say.
    fn meet(&mut self, discard: Option<usize>) {
        if !self.nodes.iter().all(|node| node.up && node.peers[0].state != C::StandAlone) {
            return;
        }
        let mut seen = self.bare();
        seen.each(None, |node| *node = node.clone().apart(C::Connecting));
        if let Some(victim) = discard {
            seen.nodes[victim].peers[0].options.discard_my_data = Some(true);
            seen.nodes[victim].net.push(("discard-my-data", "yes"));
        }
        let standing = seen.standing();
        let volume = &standing.links[0].volumes[0];
        let disks = [self.nodes[0].disk, self.nodes[1].disk];
        let Some(found) = &volume.comparison else {
            self.together(disks);
            return;
        };
        let side = |at: Side| usize::from(at == Side::B);
        match (&found.reconnect, discard) {
            (Reconnect::Resync { source, .. }, _) => {
                let (states, _) = volume.compared().unwrap();
                let apart = matches!(found.relation, Relation::Diverged | Relation::Unrelated);
                // Half of a resync is nobody's data.
                let own = apart && states[source.other()] != drbd::DiskState::Inconsistent;
                self.lost |= own || goes_back(states, found, *source);
                self.copied(side(*source));
            }
            // 9 lets --discard-my-data decide where the rules skip a resync.
            (Reconnect::Connect { leftover_bits: 1.. }, Some(victim)) => self.copied(1 - victim),
            (Reconnect::Connect { .. }, _) => self.together(disks),
            (Reconnect::Disconnect { .. }, _) => {
                self.each(None, |node| *node = node.clone().apart(C::StandAlone));
            }
            (Reconnect::Unpredictable { .. }, _) => {
                self.lost = true;
                self.copied(0);
            }
        }
    }

    fn together(&mut self, disks: [DiskState; 2]) {
        for (at, node) in self.nodes.iter_mut().enumerate() {
            let peer = &mut node.peers[0];
            (peer.state, peer.replication, peer.disk) = (C::Connected, R::Established, disks[1 - at]);
        }
    }
}

/// One that a person is told to choose, and that says what it costs.
fn chosen_by_a_person(step: &Step) -> bool {
    step.what.contains("OVERWRITES") || step.what.contains("EVERYTHING on it is overwritten")
}

/// Does what is advised about a world, from both nodes or from one, and looks after each command. The class advised about.
fn advised(world: &World, asked: bool) -> K {
    let standing = if asked { world.standing() } else { judged(&world.nodes[..1]) };
    let finding = &standing.findings[0];
    let advice = steps(&standing, finding, &Way { words: " --peer ssh:beta", asked });
    let before = world.harm().max(world.bare().harm());
    // A choice of whom to demote: either, or both one after the other.
    let either = |step: &Step| step.command.starts_with("drbdadm secondary") && !step.command.contains('#');
    let choices = if advice.iter().any(either) { &[None, Some(0), Some(1)][..] } else { &[None] };
    for demoted in choices.iter().copied() {
        let mut now = world.clone();
        for step in &advice {
            if chosen_by_a_person(step) {
                continue;
            }
            match demoted.filter(|_| either(step)) {
                Some(at) => now.nodes[at].role = Role::Secondary,
                None => now.does(&step.command),
            }
            assert!(
                now.harm() <= before && !now.lost,
                "{}: `{}` makes it worse ({} from {before}, lost: {})\nadvice: {:#?}\nbefore: {:#?}\nafter: {:#?}",
                finding.class.word(),
                step.command,
                now.harm(),
                now.lost,
                advice.iter().map(|step| &step.command).collect::<Vec<_>>(),
                world.nodes,
                now.standing().findings
            );
            if step.command.contains("unsplit resolve") {
                // One of them is chosen, and it is the end.
                now = world.clone();
            }
        }
    }
    finding.class
}

/// How two nodes' data can stand to each other.
const KINDS: [&str; 10] = [
    "equal",
    "marked",
    "marked here",
    "behind",
    "ahead",
    "split",
    "unrelated",
    "missed finish",
    "missed finish, Consistent source",
    "new",
];

fn made(generation: Generation, kind: &str) -> [Made; 2] {
    let [alpha, beta] = pair(generation);
    let marks = |made: Made, sectors| made.with(|node| node.peers[0].out_of_sync = sectors);
    let nodes = match kind {
        "equal" => [alpha, beta],
        "marked" => [marks(alpha, 80), marks(beta, 80)],
        "marked here" => [marks(alpha, 80), beta],
        "behind" => [alpha, beta.went_on(0x1000, 0x3000, 20)],
        "ahead" => [alpha.went_on(0x1000, 0x2000, 10), beta],
        "split" => [alpha.went_on(0x1000, 0x2000, 10), beta.went_on(0x1000, 0x3000, 20)],
        "unrelated" => [
            alpha.with(|node| (node.current, node.history) = (0x2000, vec![0x50, 0x51])),
            beta.with(|node| (node.current, node.history) = (0x3000, vec![0x60, 0x61])),
        ],
        "missed finish" | "missed finish, Consistent source" => [
            alpha.with(|node| {
                let consistent = kind.ends_with("Consistent source");
                node.disk = if consistent { DiskState::Consistent } else { DiskState::Outdated };
                (node.peers[0].bitmap, node.peers[0].out_of_sync) = (0x900, 80);
            }),
            beta,
        ],
        _ => [
            alpha.with(|node| {
                (node.current, node.history, node.disk) = (4, vec![0, 0], DiskState::Inconsistent);
            }),
            beta,
        ],
    };
    nodes.map(|made| made.apart(C::StandAlone))
}

/// Every way in which two nodes can stand, without a word in the log.
#[test]
fn no_advice_makes_it_worse() {
    let mut seen = BTreeSet::new();
    for generation in BOTH {
        for kind in KINDS {
            for disk in [
                None,
                Some(DiskState::Outdated),
                Some(DiskState::Inconsistent),
                Some(DiskState::Consistent),
                Some(DiskState::Diskless),
                Some(DiskState::Failed),
            ] {
                for states in [
                    [C::StandAlone, C::StandAlone],
                    [C::StandAlone, C::Connecting],
                    [C::Connecting, C::Connecting],
                ] {
                    for primaries in 0..4u8 {
                        let mut nodes = made(generation, kind);
                        for (at, node) in nodes.iter_mut().enumerate() {
                            *node = node.clone().apart(states[at]);
                            if primaries & (1 << at) != 0 {
                                node.role = Role::Primary;
                            }
                        }
                        if let Some(disk) = disk {
                            nodes[1].disk = disk;
                        }
                        let world = World::of(nodes);
                        seen.insert(advised(&world, true));
                        seen.insert(advised(&world, false));
                        for down in [1u8, 2, 3] {
                            let mut world = world.clone();
                            for (at, node) in world.nodes.iter_mut().enumerate() {
                                node.up = down & (1 << at) == 0;
                                if !node.up {
                                    node.role = Role::Secondary;
                                }
                            }
                            seen.insert(advised(&world, true));
                        }
                    }
                }
            }
        }
    }
    for class in [
        K::SplitBrain,
        K::Unrelated,
        K::MarkedButEqual,
        K::DiskFailed,
        K::TwoPrimaries,
        K::StandAlone,
        K::NotConnected,
        K::Down,
    ] {
        assert!(seen.contains(&class), "{class:?} was not met: {seen:?}");
    }
}

/// Policies that decide by themselves are no licence to send somebody there.
#[test]
fn no_advice_lets_a_policy_discard() {
    for generation in BOTH {
        for kind in KINDS {
            for policy in [AfterSplitBrain::DiscardLeastChanges, AfterSplitBrain::DiscardRemote] {
                let nodes = made(generation, kind).map(|made| {
                    made.with(|node| {
                        let word = if node.name == "alpha" { policy } else { mirrored(policy) };
                        node.peers[0].options.after_sb_0pri = Some(word);
                        node.net = vec![("after-sb-0pri", spelled(word))];
                    })
                });
                advised(&World::of(nodes.clone()), true);
                advised(&World::of(nodes), false);
            }
        }
    }
}

fn mirrored(word: AfterSplitBrain) -> AfterSplitBrain {
    if word == AfterSplitBrain::DiscardRemote { AfterSplitBrain::DiscardLocal } else { word }
}

fn spelled(word: AfterSplitBrain) -> &'static str {
    match word {
        AfterSplitBrain::DiscardRemote => "discard-remote",
        AfterSplitBrain::DiscardLocal => "discard-local",
        _ => "discard-least-changes",
    }
}

/// Every reason that a kernel gives, over every way in which the data can stand.
#[test]
fn no_advice_for_a_kernels_reason_makes_it_worse() {
    let mut seen = BTreeSet::new();
    for generation in BOTH {
        for (line, _) in super::lines::LINES {
            for kind in KINDS {
                for states in [[C::StandAlone, C::StandAlone], [C::Connecting, C::Connecting]] {
                    for primary in [None, Some(0), Some(1)] {
                        let [alpha, beta] = made(generation, kind);
                        let text = super::lines::as_told(generation, line);
                        let mut nodes = [alpha.apart(states[0]).logged(&[text]), beta.apart(states[1])];
                        if let Some(at) = primary {
                            nodes[at].role = Role::Primary;
                        }
                        let world = World::of(nodes);
                        seen.insert(advised(&world, true));
                        seen.insert(advised(&world, false));
                    }
                }
            }
        }
    }
    for class in [
        K::SettingsDiffer,
        K::Authentication,
        K::AddressInUse,
        K::VersionsDiffer,
        K::SizesDiffer,
        K::HandlerFailed,
        K::ResyncConflict,
        K::OtherData,
        K::Undecided,
        K::LinkDamages,
    ] {
        assert!(seen.contains(&class), "{class:?} was not met: {seen:?}");
    }
}

/// What is connected, or suspended, or merely odd.
#[test]
fn no_advice_about_what_runs_makes_it_worse() {
    let mut seen = BTreeSet::new();
    for generation in BOTH {
        let both = |change: &dyn Fn(&mut Made)| pair(generation).map(|made| made.with(|node| change(node)));
        let resync = |a, b| {
            let [alpha, beta] = pair(generation);
            [
                alpha.with(|node| {
                    node.peers[0].replication = a;
                    node.peers[0].disk = DiskState::Inconsistent;
                }),
                beta.with(|node| {
                    node.peers[0].replication = b;
                    node.disk = DiskState::Inconsistent;
                }),
            ]
        };
        let one = |change: &dyn Fn(&mut Made)| {
            let [alpha, beta] = pair(generation);
            [alpha, beta.with(|node| change(node))]
        };
        for nodes in [
            pair(generation),
            both(&|node| node.peers[0].out_of_sync = 80),
            resync(R::SyncSource, R::SyncTarget),
            resync(R::PausedSyncS, R::PausedSyncT),
            both(&|node| node.peers[0].replication = R::VerifyS),
            one(&|node| node.suspended_fencing = true),
            one(&|node| node.quorum = Some(false)),
            one(&|node| node.disk = DiskState::Outdated),
            one(&|node| node.disk = DiskState::Inconsistent),
            one(&|node| node.disk = DiskState::Diskless),
            one(&|node| *node = node.clone().apart(C::Connecting)),
            one(&|node| (node.up, node.configured) = (false, Ok(false))),
            both(&|node| {
                (node.current, node.history, node.disk) = (4, vec![0, 0], DiskState::Inconsistent);
                node.peers[0].disk = DiskState::Inconsistent;
            }),
        ] {
            let world = World::of(nodes);
            seen.insert(advised(&world, true));
            seen.insert(advised(&world, false));
        }
    }
    for class in [
        K::Healthy,
        K::MarkedButEqual,
        K::Resync,
        K::ResyncPaused,
        K::Verify,
        K::IoSuspended,
        K::NoQuorum,
        K::Outdated,
        K::Inconsistent,
        K::Diskless,
        K::Changing,
        K::NotConfigured,
        K::JustCreated,
    ] {
        assert!(seen.contains(&class), "{class:?} was not met: {seen:?}");
    }
}
