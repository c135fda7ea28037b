//! Who drives: a person at a terminal, or a daemon that answers by policy.

use super::access::Reading;
use super::draw::DrawnPlan;
use super::failure::Failure;
use super::in_use::InUse;
use super::opened::Opened;
use crate::judge::incident::Incident;
use crate::model::plan::Plan;
use crate::model::record::Consent;
use crate::ports::progress::Progress;

/// What a use case asks, and tells, while it is under way.
pub trait Driver {
    /// Watches bytes go by.
    fn progress(&self) -> Box<dyn Progress>;

    /// Opens what a plan was drawn from; `again` as [`Opened::as_planned`] has it. Who keeps sessions with peers open gives
    /// them here.
    ///
    /// # Errors
    /// As there.
    fn open(&self, plan: &Plan, reading: &Reading, again: bool) -> Result<Opened, Failure> {
        Opened::as_planned(plan, reading, again)
    }

    /// Somebody uses the side that would be overwritten: told before the comparison, which may take long.
    ///
    /// # Errors
    /// It cannot be told; then nothing is begun.
    fn in_use(&mut self, users: &InUse) -> Result<(), Failure>;

    /// Where a comparison came from, in a sentence.
    ///
    /// # Errors
    /// As above.
    fn remark(&mut self, sentence: &str) -> Result<(), Failure>;

    /// Who agrees to this plan; nobody: it is kept, and does not run.
    ///
    /// # Errors
    /// Whoever could agree cannot be asked.
    fn consent(&mut self, drawn: &DrawnPlan) -> Result<Option<Consent>, Failure>;

    /// An incident that was cut off or parked is taken up.
    ///
    /// # Errors
    /// It cannot be told; then nothing is begun.
    fn takes_up(&mut self, incident: &Incident) -> Result<(), Failure>;
}
