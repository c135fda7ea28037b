//! What only a plan that fences the peer must be.

use super::{Finding, note};
use crate::model::plan::Purpose;
use crate::model::plan::fence::FencePlan;

/// Any plan.
pub(super) fn sound(plan: FencePlan<'_>, out: &mut Vec<Finding>) {
    note(out, "purpose", plan.purpose != Purpose::Fence, || {
        "a peer that is out of reach is fenced, and not healed".to_owned()
    });
    note(out, "connection", plan.ground.toward.resource != plan.resource, || {
        format!("the peer's connection is one of {}", plan.ground.toward.resource)
    });
}
