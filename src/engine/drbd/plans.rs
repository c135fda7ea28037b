//! Plans for running resources at rest.

use crate::engine::plans::{self, PlanError};
use crate::judge::audit::SealedLivePlan;
use crate::model::id::PlanId;
use crate::model::live_plan::LivePlan;
use crate::ports::store::Store;

pub use crate::engine::plans::{keep, kept, seal_healing, seal_undo};

/// Whether a plan of that id is one of these.
#[must_use]
pub fn is_live(store: &dyn Store, id: PlanId) -> bool {
    plans::is_kept::<LivePlan>(store, id)
}

/// Reads one plan back. `None`: there is no such plan for a running resource.
///
/// # Errors
/// [`PlanError`].
pub fn load(store: &dyn Store, id: PlanId) -> Result<Option<SealedLivePlan>, PlanError> {
    plans::read(store, id)
}
