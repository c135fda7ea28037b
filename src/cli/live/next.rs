//! What to type next, for each thing that a running resource can suffer from.

use crate::model::drbd_live::words::ConnectionState;
use crate::model::side::{Pair, Side};
use crate::model::standing::{Asked, Class, Finding, Link, Standing};

/// A command, and what it is for. Without a command: advice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    /// What to type; may be empty.
    pub(super) command: String,
    /// Why.
    pub(super) what: String,
}

fn step(command: impl Into<String>, what: impl Into<String>) -> Step {
    Step { command: command.into(), what: what.into() }
}

/// How the other node is named on a command line.
pub(super) struct Way<'a> {
    /// ` --peer ssh:beta`, as given or as it would be.
    pub(super) words: &'a str,
    /// Somebody was asked there.
    pub(super) asked: bool,
}

const DO_NOT: &str = "until then: do not connect them by hand, and start nothing on a second node";

/// What to type next about the worst of what was found.
pub(super) fn steps(standing: &Standing, finding: &Finding, way: &Way<'_>) -> Vec<Step> {
    match beside(standing, finding) {
        None => steps_by(standing, finding, way),
        Some(Beside { peer, on, asked }) => {
            let words = format!(" --peer ssh:{peer}");
            let mut steps = steps_by(standing, finding, &Way { words: &words, asked });
            for step in steps.iter_mut().filter(|step| step.command.starts_with("unsplit ")) {
                if let Some(on) = on {
                    step.command.push_str(&format!("    # on {on}"));
                }
            }
            steps
        }
    }
}

/// A finding between other nodes than the two that were asked.
struct Beside<'s> {
    /// Where `--peer` must lead.
    peer: &'s str,
    /// Where the command must be typed, if not here.
    on: Option<&'s str>,
    /// Both were asked.
    asked: bool,
}

/// With more than two nodes, what is wrong may be between this node and one that was not named, or between two others.
fn beside<'s>(standing: &'s Standing, finding: &'s Finding) -> Option<Beside<'s>> {
    let [first, second] = finding.nodes.as_slice() else { return None };
    let [here, there, _, ..] = standing.nodes.as_slice() else { return None };
    let told = |name: &str| standing.node(name).is_some_and(|node| node.told == Asked::Told);
    let (here, there) = (here.node.as_str(), (there.told == Asked::Told).then_some(there.node.as_str()));
    let other = match (first == here, second == here) {
        (true, _) => second,
        (_, true) => first,
        _ => {
            let asked = told(first) && told(second);
            // From the one that was asked the other one is within reach.
            let (on, peer) = if Some(second.as_str()) == there { (second, first) } else { (first, second) };
            return Some(Beside { peer, on: Some(on), asked });
        }
    };
    (Some(other.as_str()) != there).then(|| Beside { peer: other, on: None, asked: told(other) })
}

fn steps_by(standing: &Standing, finding: &Finding, way: &Way<'_>) -> Vec<Step> {
    let r = &standing.resource;
    let mut steps = Vec::new();
    let both = format!("unsplit status {r}{}", way.words);
    let open = matches!(
        finding.class,
        Class::SplitBrain | Class::StandAlone | Class::NotConnected | Class::Disconnected | Class::Down
    );
    if unreachable(standing) {
        steps.push(step(both, "again, once the other node can be reached: what it holds decides"));
        return steps;
    }
    if !way.asked && open && standing.nodes.len() > 1 {
        steps.push(step(both, "asks the other node, too: only both generations together say who has what"));
        if finding.class == Class::SplitBrain {
            steps.push(step("", DO_NOT));
        }
        return steps;
    }
    steps.extend(for_class(standing, finding, way, &both));
    steps
}

fn for_class(standing: &Standing, finding: &Finding, way: &Way<'_>, both: &str) -> Vec<Step> {
    let r = &standing.resource;
    let peer = way.words;
    let who = finding.nodes.first().map_or("", String::as_str);
    // As a comment of the shell, so that the line can be copied as it is.
    let on = |node: &str, words: &str| format!("{words}    # on {node}");
    let volume = finding.volumes.first().copied().unwrap_or(0);
    let connect = || -> Vec<Step> {
        let alone = alone(standing, finding);
        let what = "connects again: DRBD then does what stands above";
        let toward = |node: &str| {
            // With several connections, those that stand would answer 125.
            let other = finding.nodes.iter().find(|other| other.as_str() != node);
            let other = other.filter(|_| standing.links.len() > 1);
            other.map_or(r.clone(), |other| format!("{r}:{other}"))
        };
        alone.iter().map(|node| step(on(node, &format!("drbdadm connect {}", toward(node))), what)).collect()
    };
    match finding.class {
        Class::SplitBrain => {
            let mut steps = vec![step(
                format!("unsplit diff {r}{peer}"),
                "what differs, who wrote it, in which volume; reads only, changes nothing",
            )];
            for node in &finding.nodes {
                let other = finding.nodes.iter().find(|other| other != &node).map_or("", String::as_str);
                steps.push(step(
                    format!("unsplit resolve {r}{peer} --keep {node}"),
                    format!("keeps {node}'s data: shows the plan and asks; {other}'s changes go into a salvage first"),
                ));
            }
            steps.push(step("", DO_NOT));
            steps
        }
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
        Class::MarkedButEqual => vec![
            step(format!("unsplit diff {r}{peer}"), "compares the contents of the marked blocks; reads only"),
            step(on(who, &format!("drbdadm verify {r}")), "compares everything online, with verify-alg set"),
            step(
                on("the node whose data is wrong", &format!("drbdadm invalidate {r}/{volume}")),
                "fetches everything anew from its peer, once you know which one is right",
            ),
        ],
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
            step(format!("drbdadm adjust {r}"), "then on both nodes: takes the settings over and connects"),
        ],
        Class::TwoPrimaries => vec![
            step(
                format!("drbdadm secondary {r}"),
                "on the node whose services can stop; both were writable: look at the generations above first",
            ),
            step(format!("drbdadm connect {r}"), "then on both nodes"),
        ],
        Class::Authentication => vec![
            step(
                format!("drbdadm dump {r}"),
                "on both nodes: shared-secret and cram-hmac-alg must be the same",
            ),
            step(format!("drbdadm adjust {r}"), "then on both nodes"),
        ],
        Class::AddressInUse => vec![
            step(
                "ss -tlnp; ip -brief address",
                "on both nodes: who has the port of the resource, is the address there",
            ),
            step(format!("drbdadm adjust {r}"), "once it is free"),
        ],
        Class::VersionsDiffer => {
            vec![step("cat /proc/drbd", "on both nodes: bring them to versions that understand each other")]
        }
        Class::SizesDiffer => vec![
            step("lsblk -b", "on both nodes: grow the smaller backing device, never shrink the other"),
            step(format!("drbdadm connect {r}"), "then"),
        ],
        Class::HandlerFailed => vec![
            step(
                "journalctl -k | grep 'helper command'",
                "on the node named above: which handler, and how it ended",
            ),
            step(format!("drbdadm connect {r}"), "on both nodes, once the handler works"),
        ],
        Class::ResyncConflict => vec![
            step(
                format!("drbdadm secondary {r}"),
                "on the Primary that would be overwritten, after its services were stopped",
            ),
            step(format!("drbdadm connect {r}"), "then on both nodes"),
        ],
        Class::Disconnected | Class::StandAlone => connect(),
        Class::NotConnected => vec![
            step("", "Is the network between them up, the port open, the resource up on the other node?"),
            step(
                on(who, &format!("drbdadm dump {r} | grep address; ss -tn state all")),
                "which addresses it tries",
            ),
        ],
        Class::Connecting | Class::Changing => vec![step(both, "again in a moment")],
        Class::Down => finding
            .nodes
            .iter()
            .map(|node| step(on(node, &format!("drbdadm up {r}")), "starts it there, Secondary"))
            .collect(),
        Class::NotConfigured if !finding.volumes.is_empty() => vec![
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
        Class::Inconsistent => vec![
            step(
                on(who, &format!("drbdadm connect {r}")),
                "its resync goes on once it is connected with a good peer",
            ),
            step("", format!("never `primary --force` on {who}: a half finished resync is no usable data")),
        ],
        Class::JustCreated => vec![step(
            format!("drbdadm primary --force {r}"),
            "on the node whose data is to be kept (on either, if both are empty): begins the first sync, which OVERWRITES the other node",
        )],
        Class::Outdated => {
            vec![step(on(who, &format!("drbdadm connect {r}")), "brings it up to date from its peer")]
        }
        Class::NoQuorum => vec![step(both, "bring the other nodes back; what they hold")],
        Class::Diskless => vec![step(
            on(who, &format!("drbdadm attach {r}/{volume}")),
            "attaches its disk; it then syncs what it missed",
        )],
        Class::ResyncPaused => {
            vec![step(format!("drbdadm resume-sync {r}"), "on both nodes, if somebody paused it")]
        }
        Class::Resync | Class::Verify => vec![step(format!("watch unsplit status {r}"), "until it is done")],
        Class::Unseen => vec![step(both, "again")],
        Class::Client | Class::Healthy => Vec::new(),
    }
}

fn unreachable(standing: &Standing) -> bool {
    standing.nodes.iter().any(|node| matches!(node.told, Asked::Unreachable(_) | Asked::Unreadable(_)))
}

/// The nodes that stand alone on the connection that a finding is about.
fn alone<'s>(standing: &'s Standing, finding: &Finding) -> Vec<&'s str> {
    let about = |link: &&Link| finding.nodes.contains(&link.nodes.a) && finding.nodes.contains(&link.nodes.b);
    let Some(Link { nodes, state, .. }) = standing.links.iter().find(about) else { return Vec::new() };
    let names: Pair<&str> = nodes.as_ref().map(String::as_str);
    Side::BOTH
        .into_iter()
        .filter(|side| state[*side] == Some(ConnectionState::StandAlone))
        .map(|side| names[side])
        .collect()
}
