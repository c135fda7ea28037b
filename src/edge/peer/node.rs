//! A node at the other end of a link.

use super::replica::{Address, RemoteReplica};
use super::session::Session;
use super::told::Trouble;
use crate::format::wire::control::{Courtesy, Reply, Request};
use crate::model::evidence::Trust;
use crate::model::id::NodeName;
use crate::model::node::{ConnectAs, DeviceUser, DrbdSeen, LogLine, NodeAct, NodeReport, NodeState, Toward};
use crate::model::seen::{End, Why};
use crate::ports::disk::DiskMut;
use crate::ports::node::{Backing, Node, Operated};
use crate::ports::replica::{Replica, Unseen};
use crate::proof::{FencedPeer, Permit, Preserved, Standstill};
use std::sync::Arc;

/// Users of one device that are told of.
const MOST_USERS: usize = 64;
/// Characters of one text of the peer's that are shown, journaled and kept.
const LONGEST: usize = 4000;

/// What the peer says ends on a terminal and in the journal: no control characters, and not without end.
fn clean(text: &str) -> String {
    let mut clean: String =
        text.chars().take(LONGEST).map(|c| if c.is_control() { '?' } else { c }).collect();
    if text.chars().nth(LONGEST).is_some() {
        clean.push_str("...");
    }
    clean
}

/// The texts of a report that are only shown. Names and paths stay as they are: they are compared, and sent back.
fn fit_for_a_screen(mut report: NodeReport) -> NodeReport {
    report.state = clean_state(report.state);
    if let Err(why) = &mut report.configured {
        why.0 = clean(&why.0);
    }
    report.log = clean_log(report.log);
    report
}

fn clean_state(mut state: NodeState) -> NodeState {
    state.host = clean(&state.host);
    if let DrbdSeen::Unreadable(why) = &mut state.drbd {
        why.0 = clean(&why.0);
    }
    state
}

fn clean_log(mut log: Result<Vec<LogLine>, Why>) -> Result<Vec<LogLine>, Why> {
    match &mut log {
        Ok(lines) => lines.iter_mut().for_each(|line| line.text = clean(&line.text)),
        Err(why) => why.0 = clean(&why.0),
    }
    log
}

/// A node whose agent is talked to.
pub struct RemoteNode {
    session: Arc<Session>,
    name: NodeName,
    peer: String,
    courtesy: Courtesy,
}

impl RemoteNode {
    /// The node that the session leads to, called so.
    #[must_use]
    pub fn new(session: Arc<Session>, name: NodeName) -> RemoteNode {
        let peer = session.elsewhere().peer;
        RemoteNode { session, name, peer, courtesy: Courtesy::default() }
    }

    /// How its disks are to be read.
    #[must_use]
    pub fn with(self, courtesy: Courtesy) -> RemoteNode {
        RemoteNode { courtesy, ..self }
    }

    fn ask(&self, request: &Request) -> Result<Reply, Unseen> {
        match self.session.call(request, &[]) {
            Ok((Reply::Fault(fault), _)) => Err(Trouble::Fault(fault).unseen()),
            Ok((reply, _)) => Ok(reply),
            Err(lost) => Err(Trouble::Lost(lost).unseen()),
        }
    }
}

impl Node for RemoteNode {
    fn name(&self) -> &NodeName {
        &self.name
    }

    fn peer(&self) -> Option<&str> {
        Some(&self.peer)
    }

    fn state(&self) -> Result<NodeState, Unseen> {
        match self.ask(&Request::State)? {
            Reply::State(state) => Ok(clean_state(*state)),
            _ => Err(Trouble::Nonsense.unseen()),
        }
    }

    fn log(&self) -> Result<Result<Vec<LogLine>, Why>, Unseen> {
        match self.ask(&Request::Log)? {
            Reply::Log(log) => Ok(clean_log(log)),
            _ => Err(Trouble::Nonsense.unseen()),
        }
    }

    fn report(&self) -> Result<NodeReport, Unseen> {
        match self.ask(&Request::Report)? {
            Reply::Report(report) => Ok(fit_for_a_screen(*report)),
            _ => Err(Trouble::Nonsense.unseen()),
        }
    }

    fn users(&self, minor: u32) -> Result<Vec<DeviceUser>, Unseen> {
        match self.ask(&Request::Users { minor })? {
            Reply::Users(users) => Ok(users
                .into_iter()
                .take(MOST_USERS)
                .map(|user| DeviceUser {
                    who: clean(&user.who),
                    ends_with: user.ends_with.as_deref().map(clean),
                })
                .collect()),
            _ => Err(Trouble::Nonsense.unseen()),
        }
    }

    fn replica(&self, backing: &Backing) -> Result<Box<dyn Replica>, Unseen> {
        let address = Address {
            name: self.name.clone(),
            data: backing.data.clone(),
            metadata: backing.metadata.clone(),
            place: backing.place,
            role: Some(backing.role),
            write: false,
            trust: Trust::Attached,
            courtesy: self.courtesy,
        };
        let replica = RemoteReplica::beside(&self.session, address).map_err(Trouble::unseen)?;
        Ok(Box::new(replica))
    }
}

impl RemoteNode {
    fn told(&self, act: &NodeAct) -> End {
        // Not asked again over a new link: the first asking may still be under way there.
        match self.session.call_once(&Request::Act(act.clone())) {
            Ok((Reply::Ended(end), _)) => match end {
                End::NotDone(why) => End::NotDone(Why(clean(&why.0))),
                End::Unknown(why) => End::Unknown(Why(clean(&why.0))),
                fine => fine,
            },
            Ok((Reply::Fault(fault), _)) => End::NotDone(Why(Trouble::Fault(fault).causes().join(": "))),
            Ok(_) => End::Unknown(Why(Trouble::Nonsense.causes().join(": "))),
            Err(lost) => End::Unknown(Why(lost.to_string())),
        }
    }
}

impl Operated for RemoteNode {
    fn act(&self, act: &NodeAct, _: &Permit<'_>) -> End {
        if act.needs_a_proof() {
            return End::NotDone("what gives up data, or promotes, asks for a proof".into());
        }
        self.told(act)
    }

    fn discard(&self, toward: &Toward, _: &Standstill, _: &[Preserved], _: &Permit<'_>) -> End {
        self.told(&NodeAct::Connect { toward: toward.clone(), how: ConnectAs::Victim })
    }

    fn invalidate(
        &self,
        volume: u32,
        minor: u32,
        still: &Standstill,
        _: &[Preserved],
        _: &Permit<'_>,
    ) -> End {
        self.told(&NodeAct::Invalidate { resource: still.toward().resource.clone(), volume, minor })
    }

    fn promote(&self, peer: &FencedPeer, _: &Permit<'_>) -> End {
        self.told(&NodeAct::Promote { resource: peer.resource().clone() })
    }

    fn device(&self, minor: u32, _: &Permit<'_>) -> Result<Arc<dyn DiskMut>, Unseen> {
        Err(Unseen(format!("/dev/drbd{minor} of another node cannot be written from here").into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::node::LogLine;
    use crate::model::seen::Stamp;

    #[test]
    fn what_a_peer_says_cannot_steer_the_terminal() {
        let evil = "\u{1b}]0;gotcha\u{7}\r\n\u{9b}2J fine \u{e4}";
        assert_eq!(clean(evil), "?]0;gotcha????2J fine \u{e4}");
        assert_eq!(clean(&"x".repeat(LONGEST + 1)), format!("{}...", "x".repeat(LONGEST)));
        assert_eq!(clean(&"x".repeat(LONGEST)), "x".repeat(LONGEST));
        let report = NodeReport {
            state: NodeState {
                host: evil.to_owned(),
                machine: None,
                boot: None,
                taken_at: Stamp(0),
                drbd: DrbdSeen::Unreadable(Why(evil.to_owned())),
            },
            configured: Err(Why(evil.to_owned())),
            log: Ok(vec![LogLine { at: 0, text: evil.to_owned() }]),
        };
        let shown = format!("{:?}", fit_for_a_screen(report));
        assert!(
            !shown.contains("\\u{1b}") && !shown.contains("\\r") && !shown.contains("\\u{9b}"),
            "{shown}"
        );
    }
}
