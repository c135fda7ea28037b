//! Putting back what a healing overwrote.

use crate::engine::plans::{PlanError, seal_undo};
use crate::judge::audit::SealedPlan;
use crate::judge::planner::memory::draw_undo;
use crate::model::id::IncidentId;
use crate::model::plan::memory::MemoryPlan;

/// Draws and seals the undo of a healing. Whether the disks still hold what that left is looked at when it runs.
///
/// # Errors
/// [`PlanError`]: it does not pass the audit.
pub fn plan_undo(healed: MemoryPlan<'_>, incident: &IncidentId) -> Result<SealedPlan, PlanError> {
    seal_undo(draw_undo(healed, incident.clone()), &healed)
}
