//! One run of a sealed plan, and the proof it makes.

use super::Work;
use crate::engine::backend::{Ended, Obstacle, Run};
use crate::model::plan::fence::Step;
use crate::model::seen::{End, Why};
use crate::proof::{FencedPeer, Permit};

/// One run. It keeps no proof: that is as old as the step, and is asked for again where it is needed.
pub(super) struct Execution<'r, 'w> {
    work: &'r Work<'w>,
}

impl<'r, 'w> Execution<'r, 'w> {
    pub(super) fn new(work: &'r Work<'w>) -> Execution<'r, 'w> {
        Execution { work }
    }
}

impl Run for Execution<'_, '_> {
    fn perform(&mut self, permit: &Permit<'_>) -> Ended {
        let end = match self.work.plan.ground.steps.get(permit.step()) {
            Some(Step::Fence) => match self.work.fencer.fence(&self.work.plan.ground.toward, permit) {
                // The journal holds that it was proven. Whoever promotes proves it again.
                Ok(FencedPeer { .. }) => End::Done,
                Err(why) => End::NotDone(Why(why.0)),
            },
            None => End::NotDone("the plan has no such step".into()),
        };
        Ended { end, obstacle: Obstacle::Busy }
    }
}
