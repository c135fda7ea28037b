//! Which resources a command about several is to take on, and which it passes over.

use super::list::{Outcome, Row};
use super::status::{exit_code, judged};
use crate::cli::exit::FINE;
use crate::edge::peer::PeerSpec;
use crate::judge::live::Witness;
use crate::model::id::ResourceName;
use crate::model::node::NodeReport;
use crate::model::shell::shell_word;
use crate::model::side::{Pair, Side};
use crate::model::standing::{Class, Standing, Weight};
use crate::resolver::access::Wanted;

/// What is to be done with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    /// Compared.
    Diff,
    /// Healed, or a plan drawn for that.
    Heal,
}

/// One of several resources.
pub(super) enum Chosen {
    /// It is to be taken on.
    Take(ResourceName),
    /// It is passed over, and this is said of it.
    Leave(Row),
}

impl Chosen {
    /// Its name, if it is to be taken on.
    pub(super) fn taken(&self) -> Option<&ResourceName> {
        match self {
            Chosen::Take(name) => Some(name),
            Chosen::Leave(_) => None,
        }
    }
}

/// What was asked for: those that were named, as they are; or all, each by how it stands.
pub(super) fn choose(
    wanted: &Wanted,
    reports: &Pair<NodeReport>,
    peer: &PeerSpec,
    task: Task,
) -> Vec<Chosen> {
    if let Wanted::Named(names) = wanted {
        return names.iter().cloned().map(Chosen::Take).collect();
    }
    let witnesses = [Witness::told(&reports.a), Witness::told(&reports.b)];
    let hosts = reports.as_ref().map(|report| report.state.host.as_str());
    judged(&witnesses)
        .iter()
        .map(|standing| {
            let name = &standing.resource;
            let knows = Pair::from_fn(|side: Side| {
                let witness = if side == Side::A { &witnesses[0] } else { &witnesses[1] };
                witness.resources().any(|known| known == name)
            });
            one(standing, knows, hosts, peer, task)
        })
        .collect()
}

fn one(standing: &Standing, knows: Pair<bool>, hosts: Pair<&str>, peer: &PeerSpec, task: Task) -> Chosen {
    let name = &standing.resource;
    let row = |outcome, exit_code, says: String, next| {
        Chosen::Leave(Row { resource: name.clone(), outcome, exit_code, says, next, document: None })
    };
    let resource = match ResourceName::new(name) {
        Ok(resource) => resource,
        Err(error) => {
            return row(Outcome::Left, crate::cli::exit::EVIDENCE, error.to_string(), Vec::new());
        }
    };
    // Its other nodes are not these two.
    if let Some(lacks) = Side::BOTH.into_iter().find(|side| !knows[*side]) {
        let says = format!("{} knows it, {} does not", hosts[lacks.other()], hosts[lacks]);
        return row(Outcome::OneNodeOnly, FINE, says, Vec::new());
    }
    let worst = standing.worst();
    let says = standing.findings.first().map_or("", |finding| finding.says.as_str());
    if worst.weight() == Weight::Good {
        return row(Outcome::Healthy, FINE, says.to_owned(), Vec::new());
    }
    if is_for(standing, hosts, task) {
        return Chosen::Take(resource);
    }
    let status = format!("unsplit status {resource} --peer {}", shell_word(peer.as_str()));
    let code = exit_code(std::slice::from_ref(standing));
    row(Outcome::Left, code, format!("{}: {says}", worst.word()), vec![status])
}

/// Whether it is for this command. Healing is for what is split between these two: what is merely not connected, or syncs, is
/// DRBD's or a person's. Comparing is for whatever stands still.
fn is_for(standing: &Standing, hosts: Pair<&str>, task: Task) -> bool {
    let between = |finding: &crate::model::standing::Finding| {
        [hosts.a, hosts.b].into_iter().all(|host| finding.nodes.iter().any(|node| node == host))
    };
    match task {
        Task::Heal => {
            standing.findings.iter().any(|finding| finding.class == Class::SplitBrain && between(finding))
        }
        Task::Diff => {
            let up = standing.nodes.iter().filter(|node| node.up == Some(true)).count();
            let moves = matches!(
                standing.worst(),
                Class::Resync | Class::ResyncPaused | Class::Changing | Class::Connecting
            );
            up >= 2 && !moves
        }
    }
}
