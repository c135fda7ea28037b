//! Journal, then act, then journal: as types. Each stage consumes the one before it.
//!
//! ```
//! # use unsplit::engine::journal::{Cursor, JournalError, Ready, Recorded, Stopped};
//! # use unsplit::model::{record::Outcome, seen::End, stage::StepName};
//! // What an executor looks like: declared, then acted, then recorded, until the steps are through.
//! fn run(mut at: Cursor<'_, Ready>, steps: &[StepName]) -> Result<(), JournalError> {
//!     for (index, name) in steps.iter().enumerate().skip(at.next_step()) {
//!         match at.declare(index, name.clone())?.perform(|_permit| End::Done).record()? {
//!             Recorded::Well(ready) => at = ready,
//!             Recorded::Badly(stopped) => {
//!                 return stopped.park("it says why", "unsplit resolve --resume").map(|_| ());
//!             }
//!         }
//!     }
//!     at.close(Outcome::Healed).map(|_| ())
//! }
//! ```
//!
//! Acting before the intent is durable does not compile: only a declared step can be performed.
//!
//! ```compile_fail,E0599
//! # use unsplit::engine::journal::{Cursor, JournalError, Ready};
//! # use unsplit::model::seen::End;
//! fn act(at: Cursor<'_, Ready>) -> Result<(), JournalError> {
//!     at.perform(|_| End::Done).record()?;
//!     Ok(())
//! }
//! ```
//! ```
//! # use unsplit::engine::journal::{Cursor, JournalError, Ready};
//! # use unsplit::model::{seen::End, stage::{Stage, StepName}};
//! fn act(at: Cursor<'_, Ready>) -> Result<(), JournalError> {
//!     at.declare(0, StepName::new("quiesce", Stage::Quiesce))?.perform(|_| End::Done).record()?;
//!     Ok(())
//! }
//! ```
//!
//! Nor does going on before the end is durable: what was performed must be recorded first.
//!
//! ```compile_fail,E0599
//! # use unsplit::engine::journal::{Cursor, JournalError, Performed};
//! # use unsplit::model::stage::StepName;
//! fn go_on(at: Cursor<'_, Performed>, next: StepName) -> Result<(), JournalError> {
//!     at.declare(1, next)?;
//!     Ok(())
//! }
//! ```
//! ```
//! # use unsplit::engine::journal::{Cursor, JournalError, Performed, Recorded};
//! # use unsplit::model::stage::StepName;
//! fn go_on(at: Cursor<'_, Performed>, next: StepName) -> Result<(), JournalError> {
//!     if let Recorded::Well(ready) = at.record()? {
//!         ready.declare(1, next)?;
//!     }
//!     Ok(())
//! }
//! ```
//!
//! Nor does doing a declared step twice: performing consumes it.
//!
//! ```compile_fail,E0382
//! # use unsplit::engine::journal::{Cursor, Declared};
//! # use unsplit::model::seen::End;
//! fn twice(at: Cursor<'_, Declared>) {
//!     let _first = at.perform(|_| End::Done);
//!     let _second = at.perform(|_| End::Done);
//! }
//! ```
//! ```
//! # use unsplit::engine::journal::{Cursor, Declared};
//! # use unsplit::model::seen::End;
//! fn once(at: Cursor<'_, Declared>) {
//!     let _first = at.perform(|_| End::Done);
//! }
//! ```
//!
//! Nor does going on after a step that ended badly: a stopped incident can only be parked or given up.
//!
//! ```compile_fail,E0599
//! # use unsplit::engine::journal::{Cursor, JournalError, Stopped};
//! # use unsplit::model::stage::StepName;
//! fn ignore(at: Cursor<'_, Stopped>, next: StepName) -> Result<(), JournalError> {
//!     at.declare(2, next)?;
//!     Ok(())
//! }
//! ```
//! ```
//! # use unsplit::engine::journal::{Cursor, JournalError, Stopped};
//! fn heed(at: Cursor<'_, Stopped>) -> Result<(), JournalError> {
//!     at.park("it says why", "unsplit resolve --resume")?;
//!     Ok(())
//! }
//! ```

use super::{Journal, JournalError, lock};
use crate::judge::incident::IncidentState;
use crate::model::id::{IncidentId, PlanId, ResourceName};
use crate::model::record::{Consent, Event, Outcome, Record};
use crate::model::seen::{End, Why};
use crate::model::stage::{Stage, StepName};
use crate::proof::Permit;

/// The incident is not at a point where a step may be declared.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum NotReady {
    /// No incident has this name.
    #[error("there is no incident {id}")]
    NoSuchIncident {
        /// The name.
        id: IncidentId,
    },
    /// It is in another state.
    #[error("incident {id} is {state}: resume it first, if it is not closed")]
    Elsewhere {
        /// Its name.
        id: IncidentId,
        /// Its state, in a word.
        state: &'static str,
    },
    /// The plan that is to follow is about another resource, or heals nothing.
    #[error("incident {id} is about {resource}: only a plan that heals it can follow")]
    OtherResource {
        /// Its name.
        id: IncidentId,
        /// Its resource.
        resource: ResourceName,
    },
    /// Another cursor has it.
    #[error("incident {id} is being carried out")]
    Claimed {
        /// Its name.
        id: IncidentId,
    },
}

/// Stage: a step may be declared.
#[derive(Debug)]
pub struct Ready {
    next_step: usize,
}

/// Stage: the intent is durable; the step may be done.
#[derive(Debug)]
pub struct Declared {
    step: usize,
    stage: Stage,
}

/// Stage: the step was done, or tried; its end is not durable yet.
#[derive(Debug)]
pub struct Performed {
    step: usize,
    end: End,
}

/// Stage: the step ended badly, durably so.
#[derive(Debug)]
pub struct Stopped {
    step: usize,
    end: End,
}

/// The claim on one incident: while it is held nobody else appends records of that incident.
#[derive(Debug)]
struct Claim<'j> {
    journal: &'j Journal,
    incident: IncidentId,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        lock(&self.journal.claimed).remove(&self.incident);
    }
}

/// Where the executor of one incident stands in the journal. Dropping it leaves the incident as the
/// journal says: a declared step without an end is unknown.
#[derive(Debug)]
#[must_use = "the incident goes nowhere without it"]
pub struct Cursor<'j, At> {
    claim: Claim<'j>,
    stage: At,
}

/// What recording an end leads to.
#[derive(Debug)]
#[must_use]
pub enum Recorded<'j> {
    /// The step ended well; the next one may be declared.
    Well(Cursor<'j, Ready>),
    /// It did not: nothing goes on before the incident was parked.
    Badly(Cursor<'j, Stopped>),
}

impl Journal {
    fn claim(&self, incident: &IncidentId) -> Result<Claim<'_>, NotReady> {
        if lock(&self.claimed).insert(incident.clone()) {
            Ok(Claim { journal: self, incident: incident.clone() })
        } else {
            Err(NotReady::Claimed { id: incident.clone() })
        }
    }

    /// Opens a new incident.
    ///
    /// # Errors
    /// [`JournalError`]; `Illegal` if the incident exists.
    pub fn begin(
        &self,
        incident: IncidentId,
        resource: ResourceName,
        plan: PlanId,
        consent: Consent,
    ) -> Result<Cursor<'_, Ready>, JournalError> {
        let claim = self.claim(&incident)?;
        self.write_down(Some(incident), Event::Opened { resource, plan, consent })?;
        claim.ready()
    }

    /// Takes up an incident that was interrupted or parked. Steps may then be repeated from the first one on.
    ///
    /// # Errors
    /// [`JournalError`]; `NotReady` if there is no such incident or another cursor has it, `Illegal` if it is closed.
    pub fn resume(&self, incident: &IncidentId) -> Result<Cursor<'_, Ready>, JournalError> {
        let claim = self.claim(incident)?;
        if self.incidents().get(incident).is_none() {
            return Err(NotReady::NoSuchIncident { id: incident.clone() }.into());
        }
        self.write_down(Some(incident.clone()), Event::Resumed)?;
        claim.ready()
    }

    /// Goes on with the plan that heals, after the one that fenced the peer.
    ///
    /// # Errors
    /// [`JournalError`]; `NotReady` if there is no such incident or another cursor has it, `Illegal` if the peer was not
    /// fenced by it.
    pub fn follow(
        &self,
        incident: &IncidentId,
        plan: PlanId,
        consent: Consent,
    ) -> Result<Cursor<'_, Ready>, JournalError> {
        let claim = self.claim(incident)?;
        if self.incidents().get(incident).is_none() {
            return Err(NotReady::NoSuchIncident { id: incident.clone() }.into());
        }
        self.write_down(Some(incident.clone()), Event::Followed { plan, consent })?;
        claim.ready()
    }

    /// The cursor of an incident that waits for a step. One that was interrupted inside a step, stopped or
    /// parked must be resumed instead.
    ///
    /// # Errors
    /// `NotReady`.
    pub fn ready(&self, incident: &IncidentId) -> Result<Cursor<'_, Ready>, JournalError> {
        self.claim(incident)?.ready()
    }
}

impl<'j> Claim<'j> {
    fn ready(self) -> Result<Cursor<'j, Ready>, JournalError> {
        let incidents = self.journal.incidents();
        let id = self.incident.clone();
        match incidents.get(&self.incident).map(|found| &found.state) {
            None => Err(NotReady::NoSuchIncident { id }.into()),
            Some(IncidentState::Ready { next_step, .. }) => {
                let stage = Ready { next_step: *next_step };
                Ok(Cursor { claim: self, stage })
            }
            Some(other) => Err(NotReady::Elsewhere { id, state: other.word() }.into()),
        }
    }
}

impl<'j, At> Cursor<'j, At> {
    /// The incident.
    #[must_use]
    pub fn incident(&self) -> &IncidentId {
        &self.claim.incident
    }

    fn write(&self, event: Event) -> Result<Record, JournalError> {
        self.claim.journal.write_down(Some(self.claim.incident.clone()), event)
    }

    fn at<Next>(self, stage: Next) -> Cursor<'j, Next> {
        Cursor { claim: self.claim, stage }
    }

    fn parked(self, why: Why, next: String) -> Result<Record, JournalError> {
        self.write(Event::Parked { why, next })
    }
}

impl<'j> Cursor<'j, Ready> {
    /// The step after the highest one that ever ended well: where to go on, after repeating what must be.
    #[must_use]
    pub fn next_step(&self) -> usize {
        self.stage.next_step
    }

    /// Makes the intent durable. `step` is the index in the plan, `name` its word and stage.
    ///
    /// # Errors
    /// [`JournalError`]; the step must then not be done.
    pub fn declare(self, step: usize, name: StepName) -> Result<Cursor<'j, Declared>, JournalError> {
        let stage = name.stage;
        self.write(Event::Intent { step, name })?;
        Ok(self.at(Declared { step, stage }))
    }

    /// Parks the incident.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn park(self, why: impl Into<Why>, next: impl Into<String>) -> Result<Record, JournalError> {
        self.parked(why.into(), next.into())
    }

    /// Has the incident wait for the peer that was fenced.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn fenced(self) -> Result<Record, JournalError> {
        self.write(Event::Fenced)
    }

    /// Closes the incident.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn close(self, outcome: Outcome) -> Result<Record, JournalError> {
        self.write(Event::Closed { outcome })
    }
}

impl<'j> Cursor<'j, Declared> {
    /// Index of the declared step.
    #[must_use]
    pub fn step(&self) -> usize {
        self.stage.step
    }

    /// Does the step. If `act` panics, the journal says what is true: declared, end unknown.
    pub fn perform(self, act: impl FnOnce(&Permit<'_>) -> End) -> Cursor<'j, Performed> {
        let Declared { step, stage } = self.stage;
        let end = act(&Permit::of_declared(&self.claim.incident, step, stage));
        self.at(Performed { step, end })
    }
}

impl<'j> Cursor<'j, Performed> {
    /// How the step ended.
    pub fn end(&self) -> &End {
        &self.stage.end
    }

    /// Makes the end durable.
    ///
    /// # Errors
    /// [`JournalError`]; the step's end then counts as unknown.
    pub fn record(self) -> Result<Recorded<'j>, JournalError> {
        let (step, end) = (self.stage.step, self.stage.end.clone());
        self.write(Event::Ended { step, end: end.clone() })?;
        let incidents = self.claim.journal.incidents();
        match incidents.get(&self.claim.incident).map(|found| &found.state) {
            Some(IncidentState::Ready { next_step, .. }) => {
                let next_step = *next_step;
                Ok(Recorded::Well(self.at(Ready { next_step })))
            }
            _ => Ok(Recorded::Badly(self.at(Stopped { step, end }))),
        }
    }
}

impl Cursor<'_, Stopped> {
    /// Index of the step that ended badly.
    #[must_use]
    pub fn step(&self) -> usize {
        self.stage.step
    }

    /// How it ended.
    pub fn end(&self) -> &End {
        &self.stage.end
    }

    /// Parks the incident.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn park(self, why: impl Into<Why>, next: impl Into<String>) -> Result<Record, JournalError> {
        self.parked(why.into(), next.into())
    }

    /// Gives the incident up. Only after a step that was not done: an unknown end must be parked.
    ///
    /// # Errors
    /// [`JournalError`]; `Illegal` after an unknown end.
    pub fn abandon(self) -> Result<Record, JournalError> {
        self.write(Event::Closed { outcome: Outcome::Abandoned })
    }
}
