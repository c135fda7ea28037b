//! The story of an incident as a state machine: which record may follow which. Used on every append and
//! on every replay, so that an illegal journal is neither written nor believed.
//!
//! | state \ event | opened | intent | ended | parked | resumed | fenced | followed | closed |
//! |---|---|---|---|---|---|---|---|---|
//! | (none) | Ready | - | - | - | - | - | - | - |
//! | Ready | - | InStep | - | Parked | Ready | Fenced | - | Closed |
//! | InStep | - | - | Ready or Stopped | Parked | Ready | - | - | - |
//! | Stopped | - | - | - | Parked | Ready | - | - | Closed, abandoned, if nothing was changed |
//! | Parked | - | - | - | - | Ready | - | - | Closed, not as healed |
//! | Fenced | - | - | - | Parked | Ready | - | Ready, with the new plan | Closed, abandoned |
//! | Closed | - | - | - | - | - | - | - | - |
//!
//! Steps are done in order and none is skipped. After `Resumed` any step up to the one after the highest
//! that ever ended well may be done again, as claims and fresh evidence must be; from there on in ascending
//! order. Which of them must be repeated is the engine's knowledge.

#[cfg(test)]
mod tests;

use crate::model::id::{IncidentId, PlanId, ResourceName};
use crate::model::record::{Consent, Event, Outcome, Record};
use crate::model::seen::{End, Why};
use crate::model::stage::{Stage, StepName};
use std::collections::BTreeMap;

/// Where an incident stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IncidentState {
    /// A step may be declared.
    Ready {
        /// The step after the highest one that ever ended well.
        next_step: usize,
        /// The lowest step that may be declared now: below `next_step` only after a resumption.
        floor: usize,
    },
    /// A step was declared and has not ended: what it did is unknown.
    InStep {
        /// The step.
        step: usize,
        /// Its word, and its stage.
        name: StepName,
        /// The step after the highest one that ever ended well.
        next_step: usize,
    },
    /// A step ended badly: nothing may go on before the incident was parked or resumed.
    Stopped {
        /// The step.
        step: usize,
        /// Its end: not done, or unknown.
        end: End,
        /// The step after the highest one that ever ended well.
        next_step: usize,
    },
    /// It waits for a person.
    Parked {
        /// Why.
        why: Why,
        /// The next command for a person.
        next: String,
        /// The step after the highest one that ever ended well.
        next_step: usize,
    },
    /// The peer was proven unable to write. The plan that heals it follows when it is back.
    Fenced {
        /// The step after the highest one that ever ended well.
        next_step: usize,
    },
    /// It is over.
    Closed {
        /// How.
        outcome: Outcome,
    },
}

impl IncidentState {
    /// A word for messages.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            IncidentState::Ready { .. } => "ready",
            IncidentState::InStep { .. } => "in a step",
            IncidentState::Stopped { .. } => "stopped",
            IncidentState::Parked { .. } => "parked",
            IncidentState::Fenced { .. } => "fenced",
            IncidentState::Closed { .. } => "closed",
        }
    }
}

/// One incident as its records tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    /// Its name.
    pub id: IncidentId,
    /// The resource.
    pub resource: ResourceName,
    /// The plan that is carried out: the last one, where one followed another.
    pub plan: PlanId,
    /// Who agreed to it.
    pub consent: Consent,
    /// Where it stands.
    pub state: IncidentState,
    /// Its records, first one first. Never empty.
    pub history: Vec<Record>,
}

impl Incident {
    /// Whether it is over.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.state, IncidentState::Closed { .. })
    }

    /// Whether a step of this stage, or of a later one, was ever declared: its intent is journaled before the act.
    #[must_use]
    pub fn reached(&self, stage: Stage) -> bool {
        self.intents().any(|(_, name)| name.stage >= stage)
    }

    /// Whether it may have changed a side. One that gave itself up had not: after a change it parks.
    #[must_use]
    pub fn touched(&self) -> bool {
        let gave_itself_up = match self.history.as_slice() {
            [.., before, last] => {
                matches!(last.event, Event::Closed { outcome: Outcome::Abandoned })
                    && matches!(before.event, Event::Ended { end: End::NotDone(_), .. })
            }
            _ => false,
        };
        self.reached(Stage::Overwrite) && !gave_itself_up
    }

    /// Whether a step of this stage, or of a later one, was done. One that was only declared may have been, or not.
    #[must_use]
    pub fn carried_out(&self, stage: Stage) -> bool {
        self.of_this_plan().any(|(step, name)| name.stage >= stage && self.ended_well(step))
    }

    /// Whether what it overwrites was kept: that was done once, and read back. A copy that was waived is found to be so,
    /// never done.
    #[must_use]
    pub fn preserved(&self) -> bool {
        let mut kept = self.of_this_plan().filter(|(_, name)| name.stage == Stage::Preserve);
        kept.any(|(step, _)| self.ends(step).any(|end| *end == End::Done))
    }

    /// Whether the plan's step at this place was ever declared.
    #[must_use]
    pub fn declared(&self, step: usize) -> bool {
        self.of_this_plan().any(|(at, _)| at == step)
    }

    /// Whether the plan's step at this place ever ended well.
    #[must_use]
    pub fn ended_well(&self, step: usize) -> bool {
        self.ends(step).any(|end| matches!(end, End::Done | End::AlreadySo))
    }

    fn intents(&self) -> impl Iterator<Item = (usize, &StepName)> {
        intents(&self.history)
    }

    /// The intents of the plan that is carried out now: another one's steps have other meanings.
    fn of_this_plan(&self) -> impl Iterator<Item = (usize, &StepName)> {
        intents(self.since_this_plan())
    }

    fn since_this_plan(&self) -> &[Record] {
        let followed = |record: &Record| matches!(record.event, Event::Followed { .. });
        let from = self.history.iter().rposition(followed).unwrap_or(0);
        self.history.get(from..).unwrap_or_default()
    }

    fn ends(&self, of: usize) -> impl Iterator<Item = &End> {
        self.since_this_plan().iter().filter_map(move |record| match &record.event {
            Event::Ended { step, end } if *step == of => Some(end),
            _ => None,
        })
    }

    /// Whether it came to the end of a healing.
    #[must_use]
    pub fn is_healed(&self) -> bool {
        matches!(self.state, IncidentState::Closed { outcome: Outcome::Healed })
    }

    /// Whether it is over as undone: it undid a healing, or is one that was undone.
    #[must_use]
    pub fn is_undone(&self) -> bool {
        matches!(self.state, IncidentState::Closed { outcome: Outcome::Undone })
    }

    fn take(&mut self, record: &Record) -> Result<(), IllegalTransition> {
        self.state = self.after(record)?;
        if let Event::Followed { plan, consent } = record.event {
            (self.plan, self.consent) = (plan, consent);
        }
        self.history.push(record.clone());
        Ok(())
    }

    /// The state after `record`.
    fn after(&self, record: &Record) -> Result<IncidentState, IllegalTransition> {
        let state = if record.incident.as_ref() == Some(&self.id) {
            follow(&self.state, &record.event)
        } else {
            Err(Rule::OwnRecords)
        };
        state.map_err(|rule| IllegalTransition {
            seq: record.seq,
            previous: self.history.last().map(|last| Box::new(last.event.clone())),
            event: Box::new(record.event.clone()),
            rule,
        })
    }
}

fn intents(of: &[Record]) -> impl Iterator<Item = (usize, &StepName)> {
    of.iter().filter_map(|record| match &record.event {
        Event::Intent { step, name } => Some((*step, name)),
        _ => None,
    })
}

/// What an illegal record broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// The first record of an incident opens it.
    OpensFirst,
    /// An incident is opened once.
    OpensOnce,
    /// Nothing follows the record that closes it.
    NothingAfterClosed,
    /// Its records carry its name; the journal's own carry none.
    OwnRecords,
    /// A step is declared only when no other is under way, failed or parked.
    DeclaresWhenReady,
    /// Steps ascend and none is skipped; going back needs a resumption.
    StepsAscend,
    /// Only the step that was declared ends.
    EndsWhatWasDeclared,
    /// A parked incident is resumed before it is parked again.
    ParksOnce,
    /// An incident waits as fenced when its steps ended well, and only then another plan follows.
    FollowsAFence,
    /// It is closed as healed or undone when its steps ended well, as abandoned when it is known what was done.
    ClosesWhenSettled,
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Rule::OpensFirst => "an incident's first record opens it",
            Rule::OpensOnce => "an incident is opened once",
            Rule::NothingAfterClosed => "nothing follows the end of an incident",
            Rule::OwnRecords => "an incident's records carry its name, the journal's own carry none",
            Rule::DeclaresWhenReady => "a step is declared only when no other is under way, failed or parked",
            Rule::StepsAscend => "steps ascend, none is skipped, and going back needs a resumption",
            Rule::EndsWhatWasDeclared => "only the step that was declared can end",
            Rule::ParksOnce => "a parked incident is resumed before it is parked again",
            Rule::FollowsAFence => "a plan follows another only when that one fenced the peer",
            Rule::ClosesWhenSettled => "an incident is closed only when it is known what was done",
        })
    }
}

/// A record that cannot follow the one before it.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
#[error(
    "record {seq}: {} cannot follow {}: {rule}", describe(event),
    previous.as_ref().map_or_else(|| "nothing".to_owned(), |event| describe(event))
)]
pub struct IllegalTransition {
    /// Sequence number of the record.
    pub seq: u64,
    /// The incident's event before it, if there is one.
    pub previous: Option<Box<Event>>,
    /// The record's event.
    pub event: Box<Event>,
    /// What it breaks.
    pub rule: Rule,
}

/// An event in a few words.
#[must_use]
pub fn describe(event: &Event) -> String {
    match event {
        Event::Opened { resource, plan, .. } => format!("the opening for {resource} with plan {plan}"),
        Event::Intent { step, name } => format!("the intent of step {step} ({})", name.word),
        Event::Ended { step, end } => {
            let how = match end {
                End::Done => "done",
                End::AlreadySo => "already so",
                End::NotDone(_) => "not done",
                End::Unknown(_) => "unknown",
            };
            format!("the end of step {step} ({how})")
        }
        Event::Parked { .. } => "the parking".to_owned(),
        Event::Resumed => "the resumption".to_owned(),
        Event::Fenced => "the wait for the fenced peer".to_owned(),
        Event::Followed { plan, .. } => format!("the change to plan {plan}"),
        Event::Closed { outcome } => {
            let how = match outcome {
                Outcome::Healed => "healed",
                Outcome::Undone => "undone",
                Outcome::Abandoned => "abandoned",
            };
            format!("the closing ({how})")
        }
        Event::TornTailCut { bytes, .. } => format!("the cut of a torn tail of {bytes} bytes"),
    }
}

/// The incident after `record`, given the incident before it (`None`: there is none of that name yet).
///
/// # Errors
/// [`IllegalTransition`] for every pair the table above does not name.
pub fn advance(incident: Option<Incident>, record: &Record) -> Result<Incident, IllegalTransition> {
    match incident {
        None => open(record),
        Some(mut incident) => {
            incident.take(record)?;
            Ok(incident)
        }
    }
}

fn open(record: &Record) -> Result<Incident, IllegalTransition> {
    let rule = match (&record.event, &record.incident) {
        (Event::Opened { resource, plan, consent }, Some(id)) => {
            return Ok(Incident {
                id: id.clone(),
                resource: resource.clone(),
                plan: *plan,
                consent: *consent,
                state: IncidentState::Ready { next_step: 0, floor: 0 },
                history: vec![record.clone()],
            });
        }
        (Event::TornTailCut { .. }, _) | (_, None) => Rule::OwnRecords,
        (_, Some(_)) => Rule::OpensFirst,
    };
    Err(IllegalTransition { seq: record.seq, previous: None, event: Box::new(record.event.clone()), rule })
}

/// The table. Every pair is named; there is no arm for "anything else".
fn follow(state: &IncidentState, event: &Event) -> Result<IncidentState, Rule> {
    use IncidentState as S;
    match (state, event) {
        (_, Event::TornTailCut { .. }) => Err(Rule::OwnRecords),
        (S::Closed { .. }, _) => Err(Rule::NothingAfterClosed),
        (_, Event::Opened { .. }) => Err(Rule::OpensOnce),

        (S::Ready { next_step, floor }, Event::Intent { step, name }) => {
            if (floor..=next_step).contains(&step) {
                Ok(S::InStep { step: *step, name: name.clone(), next_step: *next_step })
            } else {
                Err(Rule::StepsAscend)
            }
        }
        (
            S::InStep { .. } | S::Stopped { .. } | S::Parked { .. } | S::Fenced { .. },
            Event::Intent { .. },
        ) => Err(Rule::DeclaresWhenReady),

        (S::InStep { step: declared, next_step, .. }, Event::Ended { step, end }) => {
            if step == declared {
                ended(*step, end, *next_step)
            } else {
                Err(Rule::EndsWhatWasDeclared)
            }
        }
        (S::Ready { .. } | S::Stopped { .. } | S::Parked { .. } | S::Fenced { .. }, Event::Ended { .. }) => {
            Err(Rule::EndsWhatWasDeclared)
        }

        (
            S::Ready { next_step, .. }
            | S::InStep { next_step, .. }
            | S::Stopped { next_step, .. }
            | S::Fenced { next_step },
            Event::Parked { why, next },
        ) => Ok(S::Parked { why: why.clone(), next: next.clone(), next_step: *next_step }),
        (S::Parked { .. }, Event::Parked { .. }) => Err(Rule::ParksOnce),

        (
            S::Ready { next_step, .. }
            | S::InStep { next_step, .. }
            | S::Stopped { next_step, .. }
            | S::Parked { next_step, .. }
            | S::Fenced { next_step },
            Event::Resumed,
        ) => Ok(S::Ready { next_step: *next_step, floor: 0 }),

        (S::Ready { next_step, .. }, Event::Fenced) if *next_step > 0 => {
            Ok(S::Fenced { next_step: *next_step })
        }
        (S::Fenced { .. }, Event::Followed { .. }) => Ok(S::Ready { next_step: 0, floor: 0 }),
        (
            S::Ready { .. } | S::InStep { .. } | S::Stopped { .. } | S::Parked { .. } | S::Fenced { .. },
            Event::Fenced | Event::Followed { .. },
        ) => Err(Rule::FollowsAFence),

        (_, Event::Closed { outcome }) => {
            if may_close(state, *outcome) {
                Ok(S::Closed { outcome: *outcome })
            } else {
                Err(Rule::ClosesWhenSettled)
            }
        }
    }
}

fn ended(step: usize, end: &End, next_step: usize) -> Result<IncidentState, Rule> {
    match end {
        End::Done | End::AlreadySo => {
            let after = step.checked_add(1).ok_or(Rule::StepsAscend)?;
            Ok(IncidentState::Ready { next_step: next_step.max(after), floor: after })
        }
        End::NotDone(_) | End::Unknown(_) => {
            // A repetition that fails does not undo what an earlier round did: `next_step` stays.
            Ok(IncidentState::Stopped { step, end: end.clone(), next_step })
        }
    }
}

fn may_close(state: &IncidentState, outcome: Outcome) -> bool {
    match (state, outcome) {
        // How many steps the plan has is the engine's knowledge; that none was done is visible here.
        (IncidentState::Ready { next_step, .. }, Outcome::Healed | Outcome::Undone) => *next_step > 0,
        (IncidentState::Ready { .. } | IncidentState::Fenced { .. }, Outcome::Abandoned) => true,
        (IncidentState::Stopped { end, .. }, Outcome::Abandoned) => matches!(end, End::NotDone(_)),
        // A person gave up, or another incident put the sides back.
        (IncidentState::Parked { .. }, Outcome::Abandoned | Outcome::Undone) => true,
        (IncidentState::Stopped { .. } | IncidentState::Parked { .. } | IncidentState::Fenced { .. }, _)
        | (IncidentState::InStep { .. } | IncidentState::Closed { .. }, _) => false,
    }
}

/// All incidents of a journal, in the order they were opened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Incidents {
    list: Vec<Incident>,
    place: BTreeMap<IncidentId, usize>,
}

impl Incidents {
    /// The incidents, first one first.
    #[must_use]
    pub fn as_slice(&self) -> &[Incident] {
        &self.list
    }

    /// The incident of that name.
    #[must_use]
    pub fn get(&self, id: &IncidentId) -> Option<&Incident> {
        self.list.get(*self.place.get(id)?)
    }

    /// Takes the next record of the journal into account.
    ///
    /// # Errors
    /// [`IllegalTransition`]; the incidents are then as before.
    pub fn apply(&mut self, record: &Record) -> Result<(), IllegalTransition> {
        if is_the_journals_own(record) {
            return Ok(());
        }
        let place = record.incident.as_ref().and_then(|id| self.place.get(id));
        match place.and_then(|place| self.list.get_mut(*place)) {
            Some(incident) => {
                incident.take(record)?;
            }
            None => {
                let incident = open(record)?;
                self.place.insert(incident.id.clone(), self.list.len());
                self.list.push(incident);
            }
        }
        Ok(())
    }

    /// Whether the next record would be accepted.
    ///
    /// # Errors
    /// [`IllegalTransition`].
    pub fn check(&self, record: &Record) -> Result<(), IllegalTransition> {
        if is_the_journals_own(record) {
            return Ok(());
        }
        match record.incident.as_ref().and_then(|id| self.get(id)) {
            Some(incident) => incident.after(record).map(|_| ()),
            None => open(record).map(|_| ()),
        }
    }
}

impl std::ops::Deref for Incidents {
    type Target = [Incident];
    fn deref(&self) -> &[Incident] {
        &self.list
    }
}

/// Whether the record is about the journal, not about an incident.
fn is_the_journals_own(record: &Record) -> bool {
    record.incident.is_none() && matches!(record.event, Event::TornTailCut { .. })
}
