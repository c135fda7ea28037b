//! Healing two disks that are only in memory: the smallest backend, which shows what one must bring. For tests only.
//!
//! | file | holds |
//! |---|---|
//! | `run` | one run of a sealed plan: its steps, and the proofs they make |
//! | `basis` | what a plan rests on, looked at again |
//! | `preserve` | keeping what will be overwritten |
//! | `overwrite` | the act that changes a side |
//! | `verify` | what is checked in the end |
//! | `undo` | putting back what a healing overwrote |

pub mod basis;
mod overwrite;
mod preserve;
mod run;
pub mod undo;
mod verify;

use super::backend::{Backend, OtherBackend, Part, Run};
use crate::judge::audit::SealedPlan;
use crate::model::id::PlanId;
use crate::model::plan::memory::MemoryPlan;
use crate::model::side::Pair;
use crate::ports::clock::Clock;
use crate::ports::memory::MemoryReplica;
use crate::ports::progress::Progress;
use crate::ports::store::Store;

/// Where a plan runs.
#[derive(Clone, Copy)]
pub struct Context<'w> {
    /// The two sides.
    pub sides: Pair<&'w dyn MemoryReplica>,
    /// The state directory.
    pub store: &'w dyn Store,
    /// Time, for records.
    pub clock: &'w dyn Clock,
    /// Who watches.
    pub progress: &'w dyn Progress,
    /// Threads for reading and hashing.
    pub threads: usize,
}

/// A plan for two memory disks, to be carried out.
#[derive(Clone, Copy)]
pub struct Work<'w> {
    context: Context<'w>,
    sealed: &'w SealedPlan,
    plan: MemoryPlan<'w>,
    /// The plan of the healing, when this plan undoes one.
    healed: Option<PlanId>,
}

/// The plan as one for two memory disks.
///
/// # Errors
/// It is none.
pub fn plan_of(sealed: &SealedPlan) -> Result<MemoryPlan<'_>, OtherBackend> {
    sealed.plan().memory().ok_or(OtherBackend { plan: sealed.id() })
}

impl<'w> Work<'w> {
    /// `healed`: the plan of the healing, when this one undoes it.
    ///
    /// # Errors
    /// It is no plan for two memory disks.
    pub fn new(
        context: Context<'w>,
        sealed: &'w SealedPlan,
        healed: Option<&SealedPlan>,
    ) -> Result<Work<'w>, OtherBackend> {
        Ok(Work { context, sealed, plan: plan_of(sealed)?, healed: healed.map(SealedPlan::id) })
    }
}

impl Backend for Work<'_> {
    fn sealed(&self) -> &SealedPlan {
        self.sealed
    }

    fn run<'r>(&'r self, part: Part<'r>) -> Box<dyn Run + 'r> {
        Box::new(run::Execution::new(self, part))
    }
}
