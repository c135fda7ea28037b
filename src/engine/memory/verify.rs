//! What is checked in the end.

use super::run::{Execution, NotDone};
use crate::engine::backend::Obstacle;

impl Execution<'_, '_> {
    /// The victim holds, from its first byte to its last, what the plan promised.
    pub(super) fn verify_content(&self) -> Result<(), NotDone> {
        let victim = self.plan.victim();
        if self.whole(victim)? == self.plan.ground.becomes {
            return Ok(());
        }
        let name = self.context.sides[victim].data().name();
        Err((Obstacle::Verify, format!("{name} does not hold what the plan promised")))
    }
}
