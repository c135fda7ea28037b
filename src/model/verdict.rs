//! Decisions, and the reasons that travel with them.

use super::side::Side;
use serde::{Deserialize, Serialize};

/// One reason on the way to a verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The rule: a row of the lineage table, a policy key with its value, or a guard.
    pub rule: String,
    /// The evidence it looked at, in numbers and names.
    pub evidence: String,
    /// What it concluded.
    pub conclusion: String,
}

/// The reasons behind a verdict, in the order they were weighed. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Reason>")]
pub struct Trace(Vec<Reason>);

/// A trace without a reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a trace has at least one reason")]
pub struct NoReason;

impl TryFrom<Vec<Reason>> for Trace {
    type Error = NoReason;

    fn try_from(reasons: Vec<Reason>) -> Result<Self, NoReason> {
        if reasons.is_empty() { Err(NoReason) } else { Ok(Trace(reasons)) }
    }
}

impl Trace {
    /// A trace starts with its first reason.
    #[must_use]
    pub fn new(first: Reason) -> Self {
        Trace(vec![first])
    }

    /// Adds the next reason.
    pub fn push(
        &mut self,
        rule: impl Into<String>,
        evidence: impl Into<String>,
        conclusion: impl Into<String>,
    ) {
        self.0.push(Reason { rule: rule.into(), evidence: evidence.into(), conclusion: conclusion.into() });
    }

    /// The reasons, first one first.
    #[must_use]
    pub fn reasons(&self) -> &[Reason] {
        &self.0
    }
}

/// What is to be done with one volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "verdict")]
pub enum Verdict {
    /// Nothing: the sides agree.
    Agree {
        /// Why.
        trace: Trace,
    },
    /// Keep one side, overwrite the other.
    Heal {
        /// Whose data is kept.
        survivor: Side,
        /// Whether the policy lets this run without asking.
        auto: bool,
        /// Why.
        trace: Trace,
    },
    /// The policy gives no decision: a person must choose.
    Hold {
        /// Why.
        trace: Trace,
    },
    /// No choice of survivor would be right on this evidence.
    Refuse {
        /// Why.
        trace: Trace,
    },
}

impl Verdict {
    /// The reasons.
    #[must_use]
    pub fn trace(&self) -> &Trace {
        match self {
            Verdict::Agree { trace }
            | Verdict::Heal { trace, .. }
            | Verdict::Hold { trace }
            | Verdict::Refuse { trace } => trace,
        }
    }
}
