//! Healing two images, snapshots or devices that nobody else uses: unsplit itself overwrites the victim.
//!
//! | file | holds |
//! |---|---|
//! | `run` | one run of a sealed plan: its steps, and the proofs they make |
//! | `basis` | what a plan rests on, looked at again |
//! | `preserve` | keeping what will be overwritten |
//! | `overwrite` | the acts that change a side |
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
use crate::model::plan::images::ImagesPlan;
use crate::model::side::Pair;
use crate::ports::clock::Clock;
use crate::ports::progress::Progress;
use crate::ports::replica::WritableReplica;
use crate::ports::store::Store;
use run::Execution;

/// Where a plan runs.
#[derive(Clone, Copy)]
pub struct Context<'w> {
    /// The two sides.
    pub sides: Pair<&'w dyn WritableReplica>,
    /// The state directory.
    pub store: &'w dyn Store,
    /// Time, for records.
    pub clock: &'w dyn Clock,
    /// Who watches.
    pub progress: &'w dyn Progress,
    /// Threads for reading and hashing.
    pub threads: usize,
}

/// A plan for two images, to be carried out.
#[derive(Clone, Copy)]
pub struct Work<'w> {
    context: Context<'w>,
    sealed: &'w SealedPlan,
    plan: ImagesPlan<'w>,
    /// The healing, when this plan undoes one.
    healed: Option<Healed<'w>>,
}

/// The healing that a plan undoes.
#[derive(Clone, Copy)]
struct Healed<'w> {
    id: PlanId,
    plan: ImagesPlan<'w>,
}

/// The plan as one for two images.
///
/// # Errors
/// It is none.
pub fn plan_of(sealed: &SealedPlan) -> Result<ImagesPlan<'_>, OtherBackend> {
    sealed.plan().images().ok_or(OtherBackend { plan: sealed.id() })
}

impl<'w> Work<'w> {
    /// `healed`: the plan of the healing, when this one undoes it.
    ///
    /// # Errors
    /// One of them is no plan for two images.
    pub fn new(
        context: Context<'w>,
        sealed: &'w SealedPlan,
        healed: Option<&'w SealedPlan>,
    ) -> Result<Work<'w>, OtherBackend> {
        let healed = healed.map(|healed| Ok(Healed { id: healed.id(), plan: plan_of(healed)? }));
        Ok(Work { context, sealed, plan: plan_of(sealed)?, healed: healed.transpose()? })
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
