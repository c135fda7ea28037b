//! The seam between the loop ([`super::incident`]) and what it heals. One folder beside this file is one backend:
//! [`super::images`], [`super::drbd`].

use crate::judge::audit::SealedPlan;
use crate::model::id::{IncidentId, PlanId};
use crate::model::seen::{End, Why};
use crate::proof::{OperatorSaidNoSalvage, Permit};

/// What kind of obstacle stopped a run: decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// Somebody else may be writing.
    Busy,
    /// The world is not what the plan was drawn from.
    Stale,
    /// The copy could not be taken: space, I/O.
    Salvage,
    /// Reading or writing a side failed.
    Device,
    /// The link to a side was lost.
    Link,
    /// The result is not what was promised.
    Verify,
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Ended {
    /// The end, as the journal has it. `NotDone` is a promise that the step changed nothing.
    pub end: End,
    /// What stood in the way, when it did not end well.
    pub obstacle: Obstacle,
}

/// A plan of one backend cannot be carried out by another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("plan {plan} is not for this kind of storage")]
pub struct OtherBackend {
    /// The plan.
    pub plan: PlanId,
}

/// What a run is told of its incident.
#[derive(Debug, Clone, Copy)]
pub struct Part<'r> {
    /// The incident.
    pub incident: &'r IncidentId,
    /// An earlier run of it may have changed a side.
    pub again: bool,
    /// The operator said that nothing is kept.
    pub waived: Option<OperatorSaidNoSalvage>,
}

/// A sealed plan, and everything that is needed to carry it out.
pub trait Backend {
    /// The plan.
    fn sealed(&self) -> &SealedPlan;
    /// One run of it.
    fn run<'r>(&'r self, part: Part<'r>) -> Box<dyn Run + 'r>;
}

/// One run: holds the proofs that its steps made.
pub trait Run {
    /// Does the step that is permitted.
    fn perform(&mut self, permit: &Permit<'_>) -> Ended;
    /// All steps ended well, and the incident is about to be closed: notes what an undo of it will need.
    ///
    /// # Errors
    /// Why an undo will not know that; it then refuses where it must know.
    fn finished(&mut self) -> Result<(), Why> {
        Ok(())
    }
    /// Whether what stands in the way may pass, so that going on can succeed. Otherwise only a new plan can.
    fn may_pass(&self, obstacle: Obstacle) -> bool {
        let _ = obstacle;
        true
    }
    /// The incident is closed: what only it needed may go.
    fn over(&mut self) {}
}
