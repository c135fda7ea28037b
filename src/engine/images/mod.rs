//! Healing two images, snapshots or devices that nobody else uses: unsplit itself overwrites the victim.
//!
//! | file | holds |
//! |---|---|
//! | `run` | one run of a sealed plan: its steps, and the proofs they make |
//! | `basis` | what a plan rests on, looked at again |
//! | `preserve` | keeping what will be overwritten |
//! | `overwrite` | the acts that change a side |
//! | `replace` | overwriting piece by piece, each compared first |
//! | `verify` | what is checked in the end |
//! | `undo` | putting back what a healing overwrote |

pub mod basis;
mod overwrite;
mod preserve;
mod replace;
mod run;
pub mod undo;
mod verify;

use super::backend::{Backend, Line, Part, Run};
use crate::judge::audit::SealedPlan;
use crate::model::side::Pair;
use crate::model::stage::StepName;
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
    /// Where.
    pub context: Context<'w>,
    /// The plan.
    pub sealed: &'w SealedPlan,
    /// The plan of the healing, when this one undoes it.
    pub healed: Option<&'w SealedPlan>,
}

impl Backend for Work<'_> {
    fn line(&self) -> Line<'_> {
        let plan = self.sealed.plan();
        Line { plan: self.sealed.id(), resource: &plan.resource, purpose: &plan.purpose }
    }

    fn steps(&self) -> Vec<StepName> {
        self.sealed.plan().steps.iter().map(|step| step.name()).collect()
    }

    fn run<'r>(&'r self, part: Part<'r>) -> Box<dyn Run + 'r> {
        Box::new(Execution::new(self, part))
    }
}
