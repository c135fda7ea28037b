//! From what was found to a plan: comparing, deciding, planning, sealing. One file for each backend.

pub mod drbd;
pub mod images;
#[cfg(feature = "memory-disks")]
mod memory;

use super::access::{Access, Choice};
use super::contents::Found;
use super::desk::Desk;
use super::driver::Driver;
use super::failure::Failure;
use super::in_use::InUse;
use super::opened::Opened;
use super::turns::Share;
use crate::engine::inquiry::Sight;
use crate::judge::audit::SealedPlan;
use crate::judge::policy::{Case, Clues, DeltaSummary, decide, decide_running};
use crate::model::delta::Coverage;
use crate::model::id::NodeName;
use crate::model::policy::{SalvageRule, Settings};
use crate::model::side::{Pair, Side};
use crate::model::verdict::{Trace, Verdict};
use drbd::Drawing;

/// What drawing came to.
pub enum Drawn {
    /// Nothing to do.
    Agree(Agreed),
    /// A sealed and kept plan.
    Sealed(Box<DrawnPlan>),
    /// The policy does not decide, or refuses.
    Held(Box<Held>),
}

/// A plan that was drawn just now.
#[derive(Debug, Clone)]
pub struct DrawnPlan {
    /// The plan.
    pub sealed: SealedPlan,
    /// Whether the policy lets it run without asking.
    pub auto: bool,
    /// Who uses the side that it overwrites; `None` of images, which nobody may.
    pub in_use: Option<InUse>,
    /// How much was compared.
    pub seen: Coverage,
}

/// There is nothing to do: why, and how much was compared.
#[derive(Debug, Clone)]
pub struct Agreed {
    /// Why.
    pub trace: Trace,
    /// How much was compared.
    pub seen: Coverage,
}

/// No plan was drawn: why, and whom a person may keep without a warning, the better side first.
#[derive(Debug, Clone)]
pub struct Held {
    /// Why.
    pub verdict: Verdict,
    /// Whom a person may keep.
    pub keepable: Vec<Side>,
    /// The sides.
    pub names: Pair<NodeName>,
    /// How much was compared.
    pub seen: Coverage,
}

/// What the policy says of this pair.
#[must_use]
pub fn judge(settings: &Settings, sight: &Sight, found: &Found, keep: Option<Side>) -> Verdict {
    decide(settings, &case(sight, found, keep))
}

/// The same of a volume of a resource that runs.
#[must_use]
pub fn judge_running(settings: &Settings, sight: &Sight, found: &Found, keep: Option<Side>) -> Verdict {
    decide_running(settings, &case(sight, found, keep))
}

fn case(sight: &Sight, found: &Found, keep: Option<Side>) -> Case {
    Case {
        names: found.names.clone(),
        lineages: sight.lineages.clone(),
        comparison: sight.comparison.clone(),
        delta: DeltaSummary::of(&found.delta),
        clues: Clues::default(),
        keep,
    }
}

/// Both the policy and whoever drives must say so before nothing is kept.
///
/// # Errors
/// Only the latter says so.
pub fn salvage_wanted(settings: &Settings, choice: &Choice) -> Result<bool, Failure> {
    match (settings.salvage, choice.no_salvage) {
        (SalvageRule::Off, true) => Ok(false),
        (SalvageRule::Required, true) => Err(Failure::usage(
            "--no-salvage needs a policy that says salvage = \"off\", too: what is discarded would be gone for good",
        )),
        (SalvageRule::Off | SalvageRule::Required, false) => Ok(true),
    }
}

/// Draws a plan for what was opened: compares, decides, plans, seals, and keeps the plan in the state directory.
///
/// # Errors
/// Anything that keeps a plan from being drawn.
pub fn draw(
    desk: &Desk,
    by: &mut dyn Driver,
    opened: &Opened,
    access: &Access,
    choice: &Choice,
) -> Result<Drawn, Failure> {
    match opened {
        Opened::Images(pair) => images::draw_plan(pair, access, choice, &access.settings()?, desk, by),
        #[cfg(feature = "memory-disks")]
        Opened::Memory(sides) => {
            memory::draw_plan(sides.as_ref().map(|side| &**side), access, choice, desk, by)
        }
        Opened::Drbd(both) => {
            let policy = access.policy()?;
            let drawing = Drawing { both, desk, access, choice, policy: policy.as_ref(), reports: None };
            let ready = drawing.ready(both.look(&access.resource)?)?;
            if let Some(in_use) = &ready.in_use {
                by.in_use(in_use)?;
            }
            drawing.draw(ready, Share::whole(access.threads()), &*by.progress())
        }
    }
}
