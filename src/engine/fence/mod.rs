//! Proving that the peer cannot write, as a plan of its own: the peer is off or cut off now, and the plan that heals it follows
//! in the same incident when it is back.
//!
//! | file | holds |
//! |---|---|
//! | `run` | one run of a sealed plan, and the proof it makes |
//! | `answer` | the peer itself says that it does not write |

pub mod answer;
mod run;

use super::backend::{Backend, OtherBackend, Part, Run};
use crate::judge::audit::SealedPlan;
use crate::model::plan::Kind;
use crate::model::plan::fence::FencePlan;
use crate::ports::fence::Fencer;

/// A plan that fences the peer, to be carried out.
#[derive(Clone, Copy)]
pub struct Work<'w> {
    fencer: &'w dyn Fencer,
    sealed: &'w SealedPlan,
    plan: FencePlan<'w>,
}

impl<'w> Work<'w> {
    /// `fencer` is where the proof comes from.
    ///
    /// # Errors
    /// It is no plan that fences a peer.
    pub fn new(fencer: &'w dyn Fencer, sealed: &'w SealedPlan) -> Result<Work<'w>, OtherBackend> {
        match sealed.plan().kind() {
            Some(Kind::Fence(plan)) => Ok(Work { fencer, sealed, plan }),
            _ => Err(OtherBackend { plan: sealed.id() }),
        }
    }
}

impl Backend for Work<'_> {
    fn sealed(&self) -> &SealedPlan {
        self.sealed
    }

    fn run<'r>(&'r self, _: Part<'r>) -> Box<dyn Run + 'r> {
        Box::new(run::Execution::new(self))
    }
}
