//! One run of a sealed plan: its steps, and the proofs they make.

use super::{Context, Work};
use crate::engine::backend::{Ended, Obstacle, Part, Run};
use crate::model::id::{IncidentId, PlanId};
use crate::model::plan::memory::{MemoryPlan, Step};
use crate::model::salvage::Piece;
use crate::model::seen::{End, Why, in_words};
use crate::model::side::{Pair, Side};
use crate::proof::{Permit, Preserved, Quiesced};

/// One run: the proofs gathered so far.
pub(super) struct Execution<'r, 'w> {
    pub(super) context: Context<'w>,
    pub(super) id: PlanId,
    pub(super) plan: MemoryPlan<'w>,
    pub(super) healed: Option<PlanId>,
    pub(super) incident: &'r IncidentId,
    /// An earlier run may have changed the victim.
    pub(super) again: bool,
    pub(super) quiet: Option<Quiesced>,
    pub(super) kept: Option<Preserved>,
    /// What was seen on the victim in this run, where it is to be overwritten.
    pub(super) standing: Option<Vec<Piece>>,
}

/// A step that was not done: what stood in the way, and why.
pub(super) type NotDone = (Obstacle, String);

/// The error as what stood in the way.
pub(super) fn met(obstacle: Obstacle, error: &(dyn std::error::Error + 'static)) -> NotDone {
    (obstacle, in_words(error))
}

impl Run for Execution<'_, '_> {
    fn perform(&mut self, permit: &Permit<'_>) -> Ended {
        let (end, obstacle) = match self.plan.ground.steps.get(permit.step()) {
            // Some of it may have been written.
            Some(Step::Overwrite { side, .. }) => match self.overwrite(*side, permit) {
                Ok(()) => (End::Done, Obstacle::Device),
                Err((obstacle, why)) => (End::Unknown(Why(why)), obstacle),
            },
            Some(step) => match self.look(*step) {
                Ok(()) => (End::Done, Obstacle::Device),
                Err((obstacle, why)) => (End::NotDone(Why(why)), obstacle),
            },
            None => (End::NotDone("the plan has no such step".into()), Obstacle::Device),
        };
        Ended { end, obstacle }
    }
}

impl<'r, 'w> Execution<'r, 'w> {
    pub(super) fn new(work: &'r Work<'w>, part: Part<'r>) -> Execution<'r, 'w> {
        Execution {
            context: work.context,
            id: work.sealed.id(),
            plan: work.plan,
            healed: work.healed,
            incident: part.incident,
            again: part.again,
            quiet: None,
            kept: None,
            standing: None,
        }
    }

    /// A step that changes neither side.
    fn look(&mut self, step: Step) -> Result<(), NotDone> {
        match step {
            Step::Quiesce => self.quiesce(),
            Step::CheckBasis => self.check_basis(),
            Step::Preserve { .. } => self.preserve(),
            Step::VerifyContent => self.verify_content(),
            Step::Overwrite { .. } | Step::Record => Ok(()),
        }
    }

    fn quiesce(&mut self) -> Result<(), NotDone> {
        let hold = |side: Side| self.context.sides[side].hold();
        let holds = Pair::from_fn(hold).transpose().map_err(|error| met(Obstacle::Busy, &error))?;
        self.quiet = Some(Quiesced::by_holding(holds).map_err(|error| met(Obstacle::Busy, &error))?);
        Ok(())
    }
}
