//! The one loop: each step of a sealed plan is declared, performed and recorded, until all are through or one
//! ends badly. It knows no backend.
//!
//! A run that was cut off is run again from its first step: every step is idempotent, and looks first.

use super::backend::{Backend, Ended, Part, Run};
use super::journal::{Cursor, Journal, JournalError, NotReady, Ready, Recorded, Stopped};
use crate::model::id::IncidentId;
use crate::model::plan::Purpose;
use crate::model::record::{Consent, Outcome};
use crate::model::seen::End;
use crate::model::stage::{Stage, StepName};
use crate::proof::OperatorSaidNoSalvage;

pub use super::backend::Obstacle;

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// All steps are done.
    Finished(Outcome),
    /// The peer was proven unable to write. The incident is open: the plan that heals follows when that side is back.
    Fenced,
    /// Stopped before anything was changed on either side; the incident is closed.
    Abandoned {
        /// What kind of obstacle.
        obstacle: Obstacle,
        /// In words.
        why: String,
    },
    /// Stopped in the middle; nothing is lost; a person must look.
    Parked {
        /// What kind of obstacle.
        obstacle: Obstacle,
        /// Whether going on can succeed once it is out of the way, as [`Run::may_pass`] has it.
        may_pass: bool,
        /// In words.
        why: String,
    },
}

/// Begins a new incident with this plan and runs it.
///
/// # Errors
/// [`JournalError`]: without a journal nothing is done.
pub fn begin(
    journal: &Journal,
    backend: &dyn Backend,
    incident: &IncidentId,
    consent: Consent,
    waived: Option<OperatorSaidNoSalvage>,
) -> Result<Ending, JournalError> {
    let sealed = backend.sealed();
    let cursor = journal.begin(incident.clone(), sealed.plan().resource.clone(), sealed.id(), consent)?;
    go(journal, cursor, backend, Part { incident, again: false, waived })
}

/// Takes up an interrupted or parked incident again.
///
/// # Errors
/// [`JournalError`].
pub fn resume(
    journal: &Journal,
    backend: &dyn Backend,
    incident: &IncidentId,
    waived: Option<OperatorSaidNoSalvage>,
) -> Result<Ending, JournalError> {
    let again = journal.incident(incident).is_some_and(|incident| incident.touched());
    go(journal, journal.resume(incident)?, backend, Part { incident, again, waived })
}

/// Goes on with an incident whose peer was fenced, by the plan that heals.
///
/// # Errors
/// [`JournalError`]; also when the incident does not wait for that.
pub fn follow(
    journal: &Journal,
    backend: &dyn Backend,
    incident: &IncidentId,
    consent: Consent,
    waived: Option<OperatorSaidNoSalvage>,
) -> Result<Ending, JournalError> {
    let (plan, known) = (backend.sealed().plan(), journal.incident(incident));
    if let Some(other) =
        known.filter(|known| known.resource != plan.resource || plan.purpose != Purpose::Heal)
    {
        return Err(NotReady::OtherResource { id: other.id, resource: other.resource }.into());
    }
    let cursor = journal.follow(incident, backend.sealed().id(), consent)?;
    go(journal, cursor, backend, Part { incident, again: false, waived })
}

fn go(
    journal: &Journal,
    mut cursor: Cursor<'_, Ready>,
    backend: &dyn Backend,
    part: Part<'_>,
) -> Result<Ending, JournalError> {
    let plan = backend.sealed().plan();
    let mut run = backend.run(part);
    let mut touched = part.again;
    for (step, name) in plan.steps().into_iter().enumerate() {
        let stage = name.stage;
        match perform(cursor, step, name, &mut *run)? {
            (Recorded::Well(next), _) => {
                touched |= stage >= Stage::Overwrite;
                cursor = next;
            }
            (Recorded::Badly(stopped), obstacle) => return give_way(stopped, touched, obstacle, &mut *run),
        }
    }
    // Before the close: a cut in between takes the incident up again, and notes it then.
    if let Err(why) = run.finished() {
        tracing::warn!("a later undo cannot know whether something was written since: {why}");
    }
    let outcome = match plan.purpose {
        Purpose::Heal => Outcome::Healed,
        Purpose::Undo { .. } => Outcome::Undone,
        Purpose::Fence => {
            cursor.fenced()?;
            return Ok(Ending::Fenced);
        }
    };
    cursor.close(outcome)?;
    run.over();
    // A healing that was parked and then undone is over, too: it must not go on.
    if let Purpose::Undo { incident } = &plan.purpose
        && journal.incident(incident).is_some_and(|healing| !healing.is_closed())
    {
        journal.end(incident, "it was undone", Outcome::Undone)?;
    }
    Ok(Ending::Finished(outcome))
}

fn perform<'j>(
    cursor: Cursor<'j, Ready>,
    step: usize,
    name: StepName,
    run: &mut dyn Run,
) -> Result<(Recorded<'j>, Obstacle), JournalError> {
    let mut met = Obstacle::Device;
    let performed = cursor.declare(step, name)?.perform(|permit| {
        let Ended { end, obstacle } = run.perform(permit);
        met = obstacle;
        end
    });
    Ok((performed.record()?, met))
}

/// A step ended badly. Before anything was changed the incident is over; afterwards, or when nobody knows, it waits for a
/// person.
fn give_way(
    stopped: Cursor<'_, Stopped>,
    touched: bool,
    obstacle: Obstacle,
    run: &mut dyn Run,
) -> Result<Ending, JournalError> {
    match stopped.end().clone() {
        End::NotDone(why) if !touched => {
            stopped.abandon()?;
            run.over();
            Ok(Ending::Abandoned { obstacle, why: why.0 })
        }
        End::NotDone(why) | End::Unknown(why) => {
            let id = stopped.incident();
            let may_pass = run.may_pass(obstacle);
            let next = match may_pass {
                true => format!("unsplit resolve --resume {id}"),
                false => format!("unsplit resolve --give-up {id} --yes"),
            };
            stopped.park(why.clone(), next)?;
            Ok(Ending::Parked { obstacle, may_pass, why: why.0 })
        }
        End::Done | End::AlreadySo => {
            stopped.park("a step that ended well was taken for a failure", "unsplit history")?;
            let why = "a defect in unsplit: please report it".to_owned();
            Ok(Ending::Parked { obstacle, may_pass: true, why })
        }
    }
}
