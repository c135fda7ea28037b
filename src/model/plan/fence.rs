//! What only a plan that fences the peer knows. It has no volumes: what is on the peer's disks is seen when it is back.

use super::{Plan, Told};
use crate::model::node::Toward;
use crate::model::stage::{Stage, StepName};
use serde::{Deserialize, Serialize};
use std::ops::Deref;

/// The only step. Nothing is recorded as over: the incident waits for the healing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "step")]
pub enum Step {
    /// Prove that the peer cannot write.
    Fence,
}

impl Step {
    /// As every plan tells it.
    pub(super) fn told(&self) -> Told {
        match self {
            Step::Fence => Told { name: StepName::new("fence", Stage::Fence), bytes: None },
        }
    }
}

/// What only a plan that fences the peer knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ground {
    /// How the peer is reached, as `--peer` says it: its own answer is the first proof that is asked for.
    pub peer: String,
    /// How the peer names its connection toward this node.
    pub toward: Toward,
    /// The steps.
    pub steps: Vec<Step>,
}

/// A plan that fences the peer, with its parts at hand.
#[derive(Debug, Clone, Copy)]
pub struct FencePlan<'p> {
    pub(super) plan: &'p Plan,
    /// What only it knows.
    pub ground: &'p Ground,
}

impl Deref for FencePlan<'_> {
    type Target = Plan;

    fn deref(&self) -> &Plan {
        self.plan
    }
}
