//! What to type next, for each class of finding.

use super::{About, DO_NOT, Step, connecting, on, step};
use crate::model::drbd_live::words::ConnectionState;
use crate::model::lineage::Relation;
use crate::model::side::Side;
use crate::model::standing::{Class, Link, NodeStanding};

pub(super) fn steps(about: &About<'_>) -> Vec<Step> {
    let r = &about.standing.resource;
    let peer = about.way.words;
    let (who, volume) = (about.who(), about.volume());
    let both = about.both();
    match about.finding.class {
        Class::SplitBrain => split(about),
        Class::Unrelated => vec![
            step(
                "",
                "Do not force them together. Find out which node holds the data that counts (mounts, guests, names of resources).",
            ),
            step(
                on("the other node", &format!("drbdadm down {r} && drbdadm create-md {r} && drbdadm up {r}")),
                "DRBD's documented way: forgets that node's generation, so that EVERYTHING on it is overwritten at the next connect. Copy its disk first",
            ),
            step(
                on("the node whose data stays", &format!("drbdadm adjust {r}")),
                "connects: DRBD then copies the whole volume to the other node",
            ),
        ],
        Class::HandshakeLoop => {
            let first = about.links().next();
            let mut steps = vec![step(
                "journalctl -k | grep drbd | tail -100",
                "on both nodes: what comes before each `drbd_sync_handshake` says why they part",
            )];
            steps.extend(first.into_iter().flat_map(|link| about.decide(link)));
            steps.push(step("", "change roles only after that: it changes what DRBD would overwrite"));
            steps
        }
        Class::OtherData => vec![
            step(
                "",
                format!(
                    "{who} has no disk of its own attached: what its applications wrote lies with another node, or nowhere. Find that node \
                     before anything is stopped."
                ),
            ),
            step(both, "all nodes' generations: who holds the data that is in use?"),
            connecting(
                on(who, &format!("drbdadm secondary {r}")),
                "once its services may stop: without a Primary that works with other data it can connect again",
            ),
        ],
        Class::Undecided | Class::MarkedButEqual => marked(about),
        Class::DiskFailed => vec![
            step(on(who, "dmesg | tail -50"), "what the disk said"),
            step(
                on(who, &format!("drbdadm create-md {r}/{volume} && drbdadm attach {r}/{volume}")),
                "after the disk was replaced; it then syncs from its peer",
            ),
        ],
        Class::IoSuspended => vec![
            step(
                "",
                "Processes hang until this ends. Look at why before resuming: another node may be writing.",
            ),
            step(both, "both nodes' view"),
            step(
                on(who, &format!("drbdadm resume-io {r}")),
                "only once the other node is known to be off or Secondary",
            ),
        ],
        Class::SettingsDiffer => vec![
            step(format!("drbdadm dump {r}"), "on both nodes: make the files in /etc/drbd.d the same"),
            connecting(
                format!("drbdadm adjust {r}"),
                "then on both nodes: takes the settings over and connects",
            ),
        ],
        Class::TwoPrimaries => vec![
            connecting(
                format!("drbdadm secondary {r}"),
                "on the node whose services can stop; both were writable: look at the generations above first",
            ),
            connecting(format!("drbdadm connect {r}"), "then on both nodes"),
        ],
        Class::Authentication => vec![
            step(
                format!("drbdadm dump {r}"),
                "on both nodes: shared-secret and cram-hmac-alg must be the same",
            ),
            connecting(format!("drbdadm adjust {r}"), "then on both nodes"),
        ],
        Class::AddressInUse => vec![
            step(
                "ss -tlnp; ip -brief address",
                "on both nodes: who has the port of the resource, is the address there",
            ),
            connecting(format!("drbdadm adjust {r}"), "once it is free"),
        ],
        Class::VersionsDiffer => vec![step(
            "cat /proc/drbd /sys/module/drbd/version",
            "on both nodes: bring them to versions that understand each other",
        )],
        Class::SizesDiffer => vec![
            step("lsblk -b", "on both nodes: grow the smaller backing device, never shrink the other"),
            connecting(format!("drbdadm connect {r}"), "then"),
        ],
        Class::LinkDamages => vec![step("ip -s link", "on both nodes: errors on the replication link?")],
        Class::HandlerFailed => vec![
            step(
                "journalctl -k | grep 'helper command'",
                "on the node named above: which handler, and how it ended",
            ),
            connecting(format!("drbdadm connect {r}"), "on both nodes, once the handler works"),
        ],
        Class::ResyncConflict => vec![
            connecting(
                format!("drbdadm secondary {r}"),
                "on the Primary that would be overwritten, after its services were stopped",
            ),
            connecting(format!("drbdadm connect {r}"), "then on both nodes"),
        ],
        Class::Disconnected | Class::StandAlone => {
            let mut steps = about.connect("connects again: DRBD then does what stands above");
            if about.links().all(same_generation) {
                steps.push(step(
                    format!("unsplit diff {r}{peer} --full"),
                    "compares all bytes of both disks, if that must be proven: nothing was compared for this page",
                ));
            }
            steps
        }
        Class::NotConnected if about.bad().is_some() => apart(about),
        Class::NotConnected => vec![
            step("", "Is the network between them up, the port open, the resource up on the other node?"),
            step(
                on(who, &format!("drbdadm dump {r} | grep address; ss -tn state all")),
                "which addresses it tries",
            ),
        ],
        Class::Connecting | Class::Changing => vec![step(both, "again in a moment")],
        Class::Down => down(about),
        Class::NotConfigured if !about.finding.volumes.is_empty() => vec![
            step(
                format!("drbdadm dump {r}"),
                format!(
                    "on both nodes: make the files in /etc/drbd.d the same, with or without volume {volume}"
                ),
            ),
            step(format!("drbdadm adjust {r}"), "then on both nodes: takes the volume up or down"),
        ],
        Class::NotConfigured => vec![step(
            "ls /etc/drbd.d; drbdadm status",
            "which resources are configured and which are up; a resource needs the same file on all its nodes",
        )],
        Class::Inconsistent => {
            let mut steps = about.connect("its resync goes on once it is connected with a good peer");
            if steps.is_empty() {
                steps.push(step(both, "its resync goes on once it is connected with a good peer"));
            }
            steps.push(step(
                "",
                format!("never `primary --force` on {who}: a half finished resync is no usable data"),
            ));
            steps
        }
        Class::JustCreated => vec![step(
            format!("drbdadm primary --force {r}"),
            "on the node whose data is to be kept (on either, if both are empty): begins the first sync, which OVERWRITES the other node",
        )],
        Class::Outdated => {
            let mut steps = about.connect("brings it up to date from its peer");
            if steps.is_empty() {
                steps.push(step(both, "it is brought up to date once it is connected with a node that is"));
            }
            steps
        }
        Class::NoQuorum => vec![step(both, "bring the other nodes back; what they hold")],
        Class::Diskless => vec![
            connecting(
                on(who, &format!("drbdadm attach {r}/{volume}")),
                "attaches its disk; it then syncs what it missed",
            ),
            step(
                "",
                "refused? 119: no metadata there, is it the right device; 165: first `drbdadm apply-al`; 111, 112: the device is too \
                 small; 104, 114: it is not there, or somebody else has it. `unsplit status` then shows the kernel's reason",
            ),
        ],
        Class::ResyncPaused => {
            vec![step(format!("drbdadm resume-sync {r}"), "on both nodes, if somebody paused it")]
        }
        Class::Resync | Class::Verify => vec![step(format!("watch unsplit status {r}"), "until it is done")],
        Class::Unseen => vec![step(both, "again")],
        Class::Healthy if about.way.asked && about.standing.links.len() == 1 => vec![step(
            format!("unsplit diff {r}{peer} --full"),
            "compares all bytes of both disks, if that must be proven: marks and generations are DRBD's own word",
        )],
        Class::Client | Class::Healthy => Vec::new(),
    }
}

/// Two that look for each other and must not meet as they are.
fn apart(about: &About<'_>) -> Vec<Step> {
    let Some((link, why)) = about.bad() else { return Vec::new() };
    let looks = |side: &Side| link.state[*side].is_some_and(|state| state != ConnectionState::StandAlone);
    let mut steps = Vec::new();
    if let Some(side) = Side::BOTH.into_iter().find(looks) {
        steps.push(step(
            on(&link.nodes[side], &format!("drbdadm disconnect {}", about.toward(&link.nodes[side.other()]))),
            format!("at once, before they find each other: {why}"),
        ));
    }
    steps.extend(about.decide(link));
    steps
}

fn same_generation(link: &Link) -> bool {
    link.volumes
        .iter()
        .all(|volume| volume.comparison.as_ref().is_some_and(|found| found.relation == Relation::InSync))
}

fn split(about: &About<'_>) -> Vec<Step> {
    let (r, peer) = (&about.standing.resource, about.way.words);
    let mut steps = vec![step(
        format!("unsplit diff {r}{peer}"),
        "what differs, who wrote it, in which volume; reads only, changes nothing. `--full` compares all bytes",
    )];
    let nodes = &about.finding.nodes;
    for node in nodes {
        let other = nodes.iter().find(|other| other != &node).map_or("", String::as_str);
        steps.push(step(
            format!("unsplit resolve {r}{peer} --keep {node}"),
            format!(
                "keeps {node}'s data: shows the plan and asks; {other}'s changes go into a salvage first"
            ),
        ));
    }
    steps.push(step("", DO_NOT));
    steps
}

/// Equal by DRBD's word, and yet marked; or a direction that DRBD cannot tell.
fn marked(about: &About<'_>) -> Vec<Step> {
    let (r, who, volume) = (&about.standing.resource, about.who(), about.volume());
    let stands = |link: &Link| link.state.iter().any(|(_, state)| *state == Some(ConnectionState::Connected));
    let Some(link) = about.links().next() else { return vec![step(about.both(), "again")] };
    if !stands(link) {
        let mut steps = about.decide(link);
        steps.push(step("", DO_NOT));
        return steps;
    }
    vec![
        step(
            format!("unsplit diff {r}{} --full", about.way.words),
            "compares all bytes, not only what is marked; reads only, changes nothing",
        ),
        step(on(who, &format!("drbdadm verify {r}")), "compares everything online, with verify-alg set"),
        step(
            on("the node whose data is wrong", &format!("drbdadm invalidate {r}/{volume}")),
            "fetches everything anew from its peer, once you know which one is right: OVERWRITES what that node holds, without a copy",
        ),
    ]
}

/// A node that has the resource down: what it holds is not known before it is up, and must be before the two meet.
fn down(about: &About<'_>) -> Vec<Step> {
    let (standing, r) = (about.standing, &about.standing.resource);
    let is_down = |node: &NodeStanding| node.up == Some(false);
    let down: Vec<&NodeStanding> = standing
        .nodes
        .iter()
        .filter(|node| about.finding.nodes.contains(&node.node) && is_down(node))
        .collect();
    let up = |node: &str, what: &str| step(on(node, &format!("drbdadm up {r}")), what);
    // Without a disk there is nothing that could be overwritten.
    let empty =
        |node: &NodeStanding| !node.volumes.is_empty() && node.volumes.iter().all(|volume| volume.client);
    if let [a, b] = down.as_slice() {
        // As soon as both are up they meet: one of them waits until it was seen what they hold.
        let mut steps = vec![up(&a.node, "starts it there, Secondary")];
        let meet = empty(a) || empty(b);
        if !meet {
            steps.push(step(
                on(&a.node, &format!("drbdadm disconnect {}", about.toward(&b.node))),
                "at once: so that the two do not meet before it is known what they hold",
            ));
        }
        steps.push(up(&b.node, "starts it there, Secondary"));
        if !meet {
            steps.push(step(about.both(), "compares the two, and says how to go on"));
        }
        return steps;
    }
    let mut steps = Vec::new();
    for node in down {
        let meets = about.links().find_map(|link| {
            let side = Side::BOTH.into_iter().find(|side| link.nodes[*side] == node.node)?;
            let waits = link.state[side.other()].is_some_and(|state| state != ConnectionState::StandAlone);
            waits.then(|| link.nodes[side.other()].clone())
        });
        let told = meets.filter(|_| !empty(node));
        if let Some(other) = &told {
            steps.push(step(
                on(other, &format!("drbdadm disconnect {}", about.toward(&node.node))),
                format!("so that the two do not meet before it is known what {} holds", node.node),
            ));
        }
        steps.push(up(&node.node, "starts it there, Secondary"));
        if told.is_some() {
            steps.push(step(about.both(), "compares the two, and says how to go on"));
        }
    }
    steps
}
