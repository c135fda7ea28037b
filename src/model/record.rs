//! Journal records: the story of incidents, one event each.

use super::id::{IncidentId, PlanId, ResourceName};
use super::seen::{End, Stamp, Why};
use super::stage::StepName;
use serde::{Deserialize, Serialize};

/// Who agreed to a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Consent {
    /// The policy says `auto = true`.
    Policy,
    /// A person, by `--plan ID`, `--yes` or at the prompt.
    Operator,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum Event {
    /// An incident began with a sealed and agreed plan.
    Opened {
        /// The resource.
        resource: ResourceName,
        /// The plan; its text is in the state directory under this id.
        plan: PlanId,
        /// Who agreed.
        consent: Consent,
    },
    /// A step is about to be done.
    Intent {
        /// Index of the step in the plan.
        step: usize,
        /// Its word and its stage.
        #[serde(flatten)]
        name: StepName,
    },
    /// A step ended.
    Ended {
        /// Index of the step in the plan.
        step: usize,
        /// How.
        end: End,
    },
    /// The incident waits for a person.
    Parked {
        /// Why, what was done and what not.
        why: Why,
        /// The next command for a person.
        next: String,
    },
    /// A parked or interrupted incident was taken up again.
    Resumed,
    /// The plan that fences the peer is through: it cannot write. The incident waits until that side is back.
    Fenced,
    /// The side is back: the incident goes on with another plan, which heals it.
    Followed {
        /// The plan.
        plan: PlanId,
        /// Who agreed.
        consent: Consent,
    },
    /// The incident is over.
    Closed {
        /// In words.
        outcome: Outcome,
    },
    /// A torn last record was cut off when the journal was opened.
    TornTailCut {
        /// How many bytes.
        bytes: u64,
        /// Where they are kept.
        kept_as: String,
    },
}

/// How an incident ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The sides are equal again.
    Healed,
    /// The sides are as they were before the healing.
    Undone,
    /// Given up before anything was changed.
    Abandoned,
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Position in the journal, from 1, without gaps.
    pub seq: u64,
    /// When, by the wall clock.
    pub at: Stamp,
    /// Which incident; `None` for events of the journal itself.
    pub incident: Option<IncidentId>,
    /// What.
    #[serde(flatten)]
    pub event: Event,
}
