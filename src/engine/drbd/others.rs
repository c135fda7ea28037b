//! DRBD 9: the nodes of a resource beside the two that a healing is about, as those two see them.

use super::pair::LivePair;
use super::run::Execution;
use super::standing::state;
use crate::model::drbd_live::tree::Connection;
use crate::model::drbd_live::words::{ConnectionState, DiskState, ReplicationState, Role};
use crate::model::id::ResourceName;
use crate::model::node::{NodeAct, Toward};
use crate::model::seen::End;
use crate::model::side::{Pair, Side};
use crate::proof::Permit;

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Other {
    /// Its name, as the configuration has it; `node id N` where it has none.
    pub name: String,
    /// The connections that lead to it.
    pub toward: Pair<Toward>,
    /// The state of each; no connection at all counts as StandAlone.
    pub state: Pair<ConnectionState>,
    /// Its role, as each of the two sees it.
    pub role: Pair<Option<Role>>,
    /// Whether each sees it without any disk.
    pub diskless: Pair<bool>,
    /// Whether each calls it connected and equal.
    pub equal: Pair<bool>,
}

fn equal(connection: &Connection) -> bool {
    !connection.peer_devices.is_empty()
        && connection.peer_devices.iter().all(|volume| {
            volume.info.replication == Some(ReplicationState::Established)
                && matches!(volume.info.disk, Some(DiskState::UpToDate | DiskState::Diskless))
                && volume.statistics.out_of_sync.unwrap_or(0) == 0
        })
}

fn diskless(connection: &Connection) -> bool {
    !connection.peer_devices.is_empty()
        && connection.peer_devices.iter().all(|volume| volume.info.disk == Some(DiskState::Diskless))
}

/// All of them, by node id.
#[must_use]
pub fn others(pair: &LivePair) -> Vec<Other> {
    let the_two = pair.toward.as_ref().map(|toward| toward.peer);
    let mut ids: Vec<u32> = Side::BOTH
        .into_iter()
        .flat_map(|side| pair.told[side].connections.iter().filter_map(|known| known.peer_node_id))
        .filter(|id| ![the_two.a, the_two.b].contains(&Some(*id)))
        .collect();
    ids.sort_unstable();
    ids.dedup();
    let one = |id: u32| {
        let toward = Pair::from_fn(|_| Toward { resource: pair.resource.clone(), peer: Some(id) });
        let known = Pair::from_fn(|side: Side| {
            pair.told[side].connections.iter().find(|known| known.peer_node_id == Some(id))
        });
        let name = known.a.or(known.b).and_then(|known| known.name.clone());
        Other {
            name: name.unwrap_or_else(|| format!("node id {id}")),
            state: Pair::from_fn(|side| state(&pair.told[side], &toward[side])),
            role: Pair::from_fn(|side| known[side]?.info.peer_role),
            diskless: Pair::from_fn(|side| known[side].is_some_and(diskless)),
            equal: Pair::from_fn(|side| known[side].is_some_and(equal)),
            toward,
        }
    };
    ids.into_iter().map(one).collect()
}

impl Other {
    fn connected(&self, side: Side) -> bool {
        self.state[side] == ConnectionState::Connected
    }

    /// Holds the victim's data and is connected with it, not with the survivor: what DRBD copies to the victim would go on to
    /// this node, of which nothing is kept.
    #[must_use]
    pub fn shares_the_victims_data(&self, survivor: Side) -> bool {
        let victim = survivor.other();
        self.connected(victim) && !self.connected(survivor) && !self.diskless[victim]
    }

    /// Writes through a survivor that is Secondary: DRBD then resyncs from this node only, not from that survivor.
    #[must_use]
    pub fn writes_through(&self, survivor: Side) -> bool {
        self.connected(survivor) && self.role[survivor] == Some(Role::Primary)
    }

    /// Once the victim holds the survivor's data it may connect here: this node is connected with the survivor and holds the
    /// same, or no data at all.
    #[must_use]
    pub fn takes_the_healed(&self, survivor: Side) -> bool {
        self.connected(survivor) && self.equal[survivor] && !self.connected(survivor.other())
    }
}

/// Why nothing may be written through DRBD from here: another node is Primary, and what is written arrives under whoever uses the
/// device there. One whose role nobody tells while it is connected counts as Primary.
#[must_use]
pub fn primary_elsewhere(pair: &LivePair) -> Option<String> {
    let one = others(pair).into_iter().find(|other| {
        Side::BOTH.into_iter().any(|side| other.connected(side) && other.role[side] != Some(Role::Secondary))
    })?;
    let (r, name) = (&pair.resource, one.name);
    Some(format!(
        "{r} is Primary on {name}: stop what uses it there, and make it Secondary (`drbdadm secondary {r}`)"
    ))
}

/// Why a healing must not begin while another node is connected as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InTheWay {
    /// It would be overwritten through the victim.
    #[error(
        "{other} is connected to {victim} and not to {survivor}: it holds what {victim} holds, and what DRBD copies to {victim} would go on to \
         {other}, of whose data nothing is kept"
    )]
    SharesTheVictims {
        /// It.
        other: String,
        /// Whose data would be overwritten.
        victim: String,
        /// Whose data would be kept.
        survivor: String,
    },
    /// DRBD would not resync from a Secondary that a Primary writes through.
    #[error(
        "{other} is Primary and writes through {survivor}: DRBD then resyncs {victim} from {other} only, and {survivor} would be connected to it without a \
         resync"
    )]
    WritesThrough {
        /// It.
        other: String,
        /// Whose data would be overwritten.
        victim: String,
        /// Whose data would be kept.
        survivor: String,
    },
}

impl InTheWay {
    /// What takes it out of the way.
    #[must_use]
    pub fn what_to_type(&self, resource: &ResourceName) -> String {
        match self {
            InTheWay::SharesTheVictims { other, victim, survivor } => format!(
                "on {victim} `drbdadm disconnect {resource}:{other}`, then the same command again; {other} is healed afterwards in the same way, on \
                 {survivor} with `unsplit resolve {resource} --peer ssh:{other} --keep {survivor}`"
            ),
            InTheWay::WritesThrough { other, victim, .. } => format!(
                "heal from where the writer is, on {other} with `unsplit resolve {resource} --peer ssh:{victim} --keep {other}`; or make it \
                 Secondary there for as long as the healing takes"
            ),
        }
    }
}

/// The first of them, if there is one.
#[must_use]
pub fn in_the_way(pair: &LivePair, survivor: Side) -> Option<InTheWay> {
    let (keep, lose) = (pair.names[survivor].to_string(), pair.names[survivor.other()].to_string());
    let secondary = pair.told[survivor].info.role == Some(Role::Secondary);
    others(pair).into_iter().find_map(|other| {
        if other.shares_the_victims_data(survivor) {
            Some(InTheWay::SharesTheVictims {
                other: other.name,
                victim: lose.clone(),
                survivor: keep.clone(),
            })
        } else if secondary && other.writes_through(survivor) {
            Some(InTheWay::WritesThrough { other: other.name, victim: lose.clone(), survivor: keep.clone() })
        } else {
            None
        }
    })
}

impl Execution<'_, '_> {
    /// The healed victim's end of each connection to a node that holds the survivor's data; the other end is not within reach, and may
    /// be told already. What does not come about here is no reason to call the healing failed: the end of the run says what is left.
    pub(super) fn connect_others(&mut self, permit: &Permit<'_>) -> End {
        let pair = match self.look() {
            Ok(pair) => pair,
            Err(end) => return end,
        };
        let (survivor, victim) = (self.plan.survivor, self.plan.victim());
        let mut end = End::AlreadySo;
        for other in others(&pair).into_iter().filter(|other| other.takes_the_healed(survivor)) {
            match self.victim().act(&NodeAct::Reconnect(other.toward[victim].clone()), permit) {
                End::Done => end = End::Done,
                End::AlreadySo => {}
                End::NotDone(why) | End::Unknown(why) => {
                    tracing::warn!(%why, "{} was not connected with {}", self.plan.names[victim], other.name);
                }
            }
        }
        end
    }
}

/// What is left to do about the other nodes after a healing, as sentences with commands: those that the healed node is not
/// connected with.
#[must_use]
pub fn left_to_do(pair: &LivePair, survivor: Side) -> Vec<String> {
    let (r, keep, lose) = (&pair.resource, &pair.names[survivor], &pair.names[survivor.other()]);
    let apart = others(pair).into_iter().filter(|other| !other.connected(survivor.other()));
    apart
        .map(|other| {
            let name = &other.name;
            if other.takes_the_healed(survivor) {
                let here = match other.state[survivor.other()] {
                    ConnectionState::StandAlone => format!(" and on {lose} `drbdadm connect {r}:{name}`"),
                    _ => String::new(),
                };
                format!(
                    "{name} holds {keep}'s data and is not connected with {lose}: on {name} `drbdadm connect {r}:{lose}`{here}"
                )
            } else if other.connected(survivor) {
                format!("{name} is not in sync with {keep} yet; afterwards, on {name} `drbdadm connect {r}:{lose}`")
            } else {
                format!("{name} is connected with neither of the two: `unsplit status {r} --peer ssh:{name}` on {keep} shows how it stands")
            }
        })
        .collect()
}
