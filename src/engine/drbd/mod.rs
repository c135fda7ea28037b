//! Healing resources that run: DRBD overwrites, unsplit makes sure that it is the right node, that it is kept first, and
//! that nobody writes there meanwhile.
//!
//! | file | holds |
//! |---|---|
//! | `standing` | where a connection stands, from what both nodes tell |
//! | `pair` | the two nodes of a resource, and its volumes |
//! | `basis` | what a plan rests on, looked at again |
//! | `beside` | reading metadata beside a DRBD that runs |
//! | `cause` | why DRBD ended a connection, from the kernels' logs |
//! | `draw` | from a verdict to a plan |
//! | `policies` | the after-sb policies that are put back in the end |
//! | `ours` | whether a resync is that of a healing of ours |
//! | `run` | one run of a sealed plan: its steps, and the proofs they make |
//! | `preserve` | keeping what will be overwritten |
//! | `verify` | what is checked in the end |
//! | `overwrite` | connecting with `--discard-my-data`, and watching the resync |
//! | `rest` | what an undo does not put back, and must find as it was |
//! | `undo` | putting back, through DRBD, what a live healing overwrote |

mod basis;
pub mod beside;
mod cause;
pub mod draw;
mod note;
pub mod others;
pub mod ours;
pub mod overwrite;
pub mod pair;
pub mod policies;
mod preserve;
mod rest;
mod run;
pub mod standing;
pub mod undo;
mod verify;

use super::backend::{Backend, OtherBackend, Part, Run};
use super::salvage::OF_A_RESYNC;
use crate::judge::audit::SealedPlan;
use crate::model::id::IncidentId;
use crate::model::plan::drbd::DrbdPlan;
use crate::model::side::Pair;
use crate::ports::clock::Clock;
use crate::ports::node::Operated;
use crate::ports::progress::Progress;
use crate::ports::store::Store;
use run::Execution;
use std::time::Duration;

/// How long is waited for DRBD.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Until two nodes that were told to connect have shaken hands.
    pub connect: Duration,
    /// Until a resync that makes no progress counts as stuck.
    pub stall: Duration,
    /// Between two looks.
    pub look: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            connect: Duration::from_secs(90),
            stall: Duration::from_secs(300),
            look: Duration::from_millis(300),
        }
    }
}

/// Where a plan runs.
#[derive(Clone, Copy)]
pub struct Context<'w> {
    /// The two nodes.
    pub nodes: Pair<&'w dyn Operated>,
    /// The state directory.
    pub store: &'w dyn Store,
    /// Time, for records.
    pub clock: &'w dyn Clock,
    /// Who watches.
    pub progress: &'w dyn Progress,
    /// Lets time pass.
    pub pause: &'w dyn Fn(Duration),
    /// Threads for reading and hashing.
    pub threads: usize,
    /// How long is waited.
    pub patience: Patience,
}

/// A plan for a running resource, to be carried out.
#[derive(Clone, Copy)]
pub struct Work<'w> {
    context: Context<'w>,
    sealed: &'w SealedPlan,
    plan: DrbdPlan<'w>,
}

/// The plan as one for a running resource.
///
/// # Errors
/// It is none.
pub fn plan_of(sealed: &SealedPlan) -> Result<DrbdPlan<'_>, OtherBackend> {
    sealed.plan().drbd().ok_or(OtherBackend { plan: sealed.id() })
}

impl<'w> Work<'w> {
    /// That plan there.
    ///
    /// # Errors
    /// It is no plan for a running resource.
    pub fn new(context: Context<'w>, sealed: &'w SealedPlan) -> Result<Work<'w>, OtherBackend> {
        Ok(Work { context, sealed, plan: plan_of(sealed)? })
    }
}

impl Backend for Work<'_> {
    fn sealed(&self) -> &SealedPlan {
        self.sealed
    }

    fn run<'r>(&'r self, part: Part<'r>) -> Box<dyn Run + 'r> {
        Box::new(Execution::new(self, part))
    }
}

/// The folder name of one volume's salvage: an incident's name with the volume. What a handler kept before a resync has no
/// incident; its own name stands in for one.
///
/// # Errors
/// Never in practice: the name grows by a few characters.
pub fn salvage_of(incident: &IncidentId, volume: u32) -> Result<IncidentId, String> {
    if incident.as_str().starts_with(OF_A_RESYNC) {
        return Ok(incident.clone());
    }
    IncidentId::new(&format!("{incident}-v{volume}")).map_err(|error| error.to_string())
}
