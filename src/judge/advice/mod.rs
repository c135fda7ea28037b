//! What to type next about a running resource that is not as it should be.
//!
//! No command is offered that leads to a state that this program itself would call worse: before commands that make two nodes
//! connect are offered, it is looked up what DRBD would do once they do ([`worse`]). What it would do is known only when both
//! nodes were asked, so that comes first.
//!
//! | file | holds |
//! |---|---|
//! | `class` | what to type, for each class of finding |
//! | `cause` | the same for what a kernel said more exactly |

mod cause;
mod class;

use super::planner::drbd::{reach, would_heal};
use super::worse::{self, Outlook, connecting as come_of};
use crate::model::drbd_live::words::ConnectionState;
use crate::model::side::{Pair, Side};
use crate::model::standing::{Asked, Class, Finding, Link, LinkVolume, Standing};

/// A command, and what it is for. Without a command: advice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What to type; may be empty. Behind `# on` stands where, if it is not where the question was asked.
    pub command: String,
    /// Why.
    pub what: String,
    /// It makes nodes connect, or lets them: at once or together with what follows.
    pub connects: bool,
}

/// How the other node is named on a command line.
#[derive(Debug, Clone, Copy)]
pub struct Way<'a> {
    /// ` --peer ssh:beta`, as given or as it would be.
    pub words: &'a str,
    /// Somebody was asked there.
    pub asked: bool,
}

fn step(command: impl Into<String>, what: impl Into<String>) -> Step {
    Step { command: command.into(), what: what.into(), connects: false }
}

fn connecting(command: impl Into<String>, what: impl Into<String>) -> Step {
    Step { connects: true, ..step(command, what) }
}

const DO_NOT: &str = "until then: do not connect them by hand, and start nothing on a second node";

/// What to type next about the worst of what was found.
#[must_use]
pub fn steps(standing: &Standing, finding: &Finding, way: &Way<'_>) -> Vec<Step> {
    let mut steps = match beside(standing, finding) {
        None => About { standing, finding, way }.steps(),
        Some(Beside { peer, on, asked }) => {
            let words = format!(" --peer ssh:{peer}");
            let way = Way { words: &words, asked };
            let mut steps = About { standing, finding, way: &way }.steps();
            for step in steps.iter_mut().filter(|step| step.command.starts_with("unsplit ")) {
                if let Some(on) = on {
                    step.command.push_str(&format!("    # on {on}"));
                }
            }
            steps
        }
    };
    let stacked = standing.nodes.iter().flat_map(|node| &node.volumes).find_map(|v| v.stacked_on.as_ref());
    if let Some(below) = stacked {
        stack(&mut steps, below);
    }
    steps
}

/// `drbdadm` passes over a resource that is stacked on another one unless it is told so.
fn stack(steps: &mut Vec<Step>, below: &str) {
    let mut told = false;
    for step in steps.iter_mut() {
        told |= step.command.contains("drbdadm ");
        step.command = step.command.replace("drbdadm ", "drbdadm --stacked ");
    }
    if told {
        let what = format!("it is stacked on {below}: it can be up only where {below} is Primary");
        steps.push(step("", what));
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

/// A finding, and how its nodes are reached.
struct About<'s> {
    standing: &'s Standing,
    finding: &'s Finding,
    way: &'s Way<'s>,
}

impl<'s> About<'s> {
    fn steps(&self) -> Vec<Step> {
        let standing = self.standing;
        if standing.nodes.iter().any(|node| matches!(node.told, Asked::Unreachable(_) | Asked::Unreadable(_)))
        {
            return vec![step(
                self.both(),
                "again, once the other node can be reached: what it holds decides",
            )];
        }
        let alone = !self.way.asked && standing.nodes.len() > 1;
        let open = matches!(
            self.finding.class,
            Class::SplitBrain
                | Class::StandAlone
                | Class::NotConnected
                | Class::Disconnected
                | Class::Down
                | Class::HandshakeLoop
        );
        let ask =
            || step(self.both(), "asks the other node, too: only both generations together say who has what");
        if alone && open {
            let mut steps = vec![ask()];
            if self.finding.class == Class::SplitBrain {
                steps.push(step("", DO_NOT));
            }
            return steps;
        }
        let steps = self.finding.cause.and_then(|cause| cause::steps(self, cause));
        let steps = self.evened(steps.unwrap_or_else(|| class::steps(self)));
        if !steps.iter().any(|step| step.connects) {
            return steps;
        }
        if alone {
            let mut first: Vec<Step> = steps.into_iter().filter(|step| !step.connects).collect();
            if !first.iter().any(|step| step.command == self.both()) {
                first.push(ask());
            }
            return first;
        }
        self.judged(steps)
    }

    /// The steps, if what comes of them is not worse than what is; else those that change nothing, and what else to do.
    fn judged(&self, steps: Vec<Step>) -> Vec<Step> {
        let Some((link, why)) = self.bad() else { return steps };
        let mut instead: Vec<Step> = steps.into_iter().take_while(|step| !step.connects).collect();
        instead.extend(self.decide(link));
        instead
            .push(step("", format!("do not connect {} and {} by hand: {why}", link.nodes.a, link.nodes.b)));
        instead
    }

    /// A connection whose ends must not simply meet, and why.
    fn bad(&self) -> Option<(&'s Link, String)> {
        self.links().find_map(|link| unfit(link).map(|why| (link, why)))
    }

    /// What lets somebody decide whose data is kept, and heals so.
    fn decide(&self, link: &Link) -> Vec<Step> {
        let (r, peer) = (&self.standing.resource, self.way.words);
        let mut steps = vec![step(
            format!("unsplit diff {r}{peer} --full"),
            "compares all bytes, not only what is marked; reads only, changes nothing",
        )];
        for side in keepable(link) {
            steps.push(self.keeping(link, side));
        }
        steps
    }

    /// What keeps this side of all volumes: `resolve`, wherever it finds a way.
    fn keeping(&self, link: &Link, side: Side) -> Step {
        let (kept, other) = (&link.nodes[side], &link.nodes[side.other()]);
        match self.heals(link, side) {
            Ok(()) => self.keep(kept, other),
            Err(why) => self.by_hand(link, kept, other, &why),
        }
    }

    /// Whether `resolve` would find a way to keep this side of every volume.
    fn heals(&self, link: &Link, survivor: Side) -> Result<(), String> {
        let Some(generation) = self.standing.node(&link.nodes.a).and_then(|node| node.generation) else {
            return Ok(());
        };
        let names = link.nodes.as_ref().map(String::as_str);
        link.volumes.iter().try_for_each(|volume| match (&volume.lineages, &volume.comparison) {
            (Pair { a: Some(a), b: Some(b) }, Some(found)) if !found.settled() => {
                would_heal(Pair::new(a, b), names, survivor, reach(generation, found.common_base))
            }
            _ => Ok(()),
        })
    }

    /// What heals where DRBD's own way would go the wrong way round: the other side is declared out of date as a whole.
    fn by_hand(&self, link: &Link, kept: &str, other: &str, why: &str) -> Step {
        let r = &self.standing.resource;
        let volumes =
            link.volumes.iter().map(|volume| format!("drbdadm invalidate {r}/{} && ", volume.volume));
        step(
            on(other, &format!("{}drbdadm connect {}", volumes.collect::<String>(), self.toward(kept))),
            format!(
                "keeps {kept}'s data: OVERWRITES all that {other} holds, without a copy. Copy {other}'s backing device first. `unsplit \
                 resolve` cannot do it while the resource runs: {why}"
            ),
        )
    }

    /// The steps, if both nodes have as much of every volume; else what makes it so, since nothing is compared or healed before.
    fn evened(&self, mut steps: Vec<Step>) -> Vec<Step> {
        let starts = |step: &Step, verb: &str| step.command.starts_with(&format!("unsplit {verb} "));
        let needs = |step: &Step| starts(step, "resolve") || starts(step, "diff");
        let Some((node, volume)) = self.links().find_map(|link| self.smaller(link)) else { return steps };
        if !steps.iter().any(needs) {
            return steps;
        }
        steps.retain(|step| !needs(step));
        let first = step(
            on(node, &resize(&self.standing.resource, volume)),
            format!(
                "the volumes have different sizes: one was resized while the two were apart. Grow {node}'s backing device first, if it is \
                 not as large as the other's"
            ),
        );
        steps.splice(0..0, [first, step(self.both(), "then compares the two, and says how to go on")]);
        steps
    }

    /// A volume that is smaller on one end, and where.
    fn smaller(&self, link: &'s Link) -> Option<(&'s str, u32)> {
        let size = |side: Side, number: u32| {
            let node = self.standing.node(&link.nodes[side])?;
            node.volumes.iter().find(|volume| volume.volume == number)?.size
        };
        link.volumes.iter().find_map(|volume| {
            let number = volume.volume;
            let (a, b) = (size(Side::A, number)?, size(Side::B, number)?);
            let smaller = if a < b { Side::A } else { Side::B };
            (a != b).then(|| (link.nodes[smaller].as_str(), number))
        })
    }

    fn keep(&self, kept: &str, other: &str) -> Step {
        let (r, peer) = (&self.standing.resource, self.way.words);
        step(
            format!("unsplit resolve {r}{peer} --keep {kept}"),
            format!(
                "keeps {kept}'s data: shows the plan and asks; what only {other} has goes into a salvage first"
            ),
        )
    }

    /// Both nodes' view.
    fn both(&self) -> String {
        format!("unsplit status {}{}", self.standing.resource, self.way.words)
    }

    /// The connections that the finding is about: the one between its two nodes, or all of its one node.
    fn links(&self) -> impl Iterator<Item = &'s Link> {
        let (standing, nodes) = (self.standing, &self.finding.nodes);
        let both = nodes.len() == 2;
        standing.links.iter().filter(move |link| {
            let a = nodes.contains(&link.nodes.a);
            let b = nodes.contains(&link.nodes.b);
            if both { a && b } else { a || b || nodes.is_empty() }
        })
    }

    /// The nodes that stand alone on the connections that the finding is about, each with its peer.
    fn alone(&self) -> Vec<(&'s str, &'s str)> {
        let alone = |link: &'s Link| {
            let names: Pair<&str> = link.nodes.as_ref().map(String::as_str);
            Side::BOTH
                .into_iter()
                .filter(|side| link.state[*side] == Some(ConnectionState::StandAlone))
                .map(move |side| (names[side], names[side.other()]))
                .collect::<Vec<_>>()
        };
        self.links().flat_map(alone).collect()
    }

    /// The resource, with the peer where there are several connections: those that stand would answer 125.
    fn toward(&self, peer: &str) -> String {
        let r = &self.standing.resource;
        if self.standing.links.len() > 1 { format!("{r}:{peer}") } else { r.clone() }
    }

    fn connect(&self, what: &str) -> Vec<Step> {
        let one =
            |(node, peer)| connecting(on(node, &format!("drbdadm connect {}", self.toward(peer))), what);
        self.alone().into_iter().map(one).collect()
    }

    fn who(&self) -> &'s str {
        self.finding.nodes.first().map_or("", String::as_str)
    }

    /// The first of the volumes that it is about.
    fn volume(&self) -> u32 {
        self.finding.volumes.first().copied().unwrap_or(0)
    }
}

/// The command that tells DRBD of a backing device that grew while there is no connection. The option stands before the verb: so
/// `drbdadm` takes it for a kernel of either generation (for 8.4 it does not know it after `resize`).
pub fn resize(resource: &str, volume: u32) -> String {
    format!("drbdadm -- --assume-peer-has-space resize {resource}/{volume}")
}

/// As a comment of the shell, so that the line can be copied as it is.
fn on(node: &str, words: &str) -> String {
    format!("{words}    # on {node}")
}

/// What would come of a connection: the worst that would come of one of its volumes.
fn outlook(link: &Link) -> Outlook {
    let volume = |volume: &LinkVolume| {
        let Some((disks, found)) = volume.compared() else { return Outlook::Unknown };
        // What stands in the way now may be taken out of it by the very commands that are offered.
        come_of(disks, found, volume.once_free.as_ref().unwrap_or(&found.reconnect))
    };
    link.volumes.iter().map(volume).max().unwrap_or(Outlook::Unknown)
}

/// The sides whose data may be kept without going back to older or poorer data, in order.
fn keepable(link: &Link) -> Vec<Side> {
    worse::keepable_of_all(link.volumes.iter().filter_map(LinkVolume::compared))
}

/// Why the two ends of a connection must not simply meet.
fn unfit(link: &Link) -> Option<String> {
    match outlook(link) {
        Outlook::Well | Outlook::Refused | Outlook::Unknown => None,
        Outlook::Silent => {
            Some("DRBD would take them as equal, although blocks are marked as different".to_owned())
        }
        Outlook::Reversed { source } => Some(format!(
            "DRBD would overwrite the better disk with {}'s data, which is older, incomplete, or not known to be current",
            link.nodes[source]
        )),
        Outlook::Discards { source } => Some(format!(
            "a policy would let {}'s data overwrite what the other one wrote, and nothing of it would be kept",
            link.nodes[source]
        )),
        Outlook::Chance => Some("which of them is overwritten would be chance".to_owned()),
    }
}
