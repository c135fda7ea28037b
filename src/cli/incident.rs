//! Incidents on the screen.

use super::screen::{Screen, Tone};
use crate::edge::state_dir::AtWork;
use crate::judge::incident::{Incident, IncidentState};
use crate::model::id::IncidentId;
use crate::model::record::Outcome;
use crate::resolver::desk::{give_up_command, resume_command, state_words};
use serde::Serialize;

/// Whether a process may be at work at it just now: the state directory is taken, and it waits for nobody.
fn runs(incident: &Incident, at_work: Option<AtWork>) -> Option<AtWork> {
    let waits = matches!(incident.state, IncidentState::Parked { .. } | IncidentState::Closed { .. });
    at_work.filter(|_| !waits)
}

/// Where an incident stands, in words; whoever gave it up in the middle left its changes behind. `at_work`: who has the state
/// directory.
#[must_use]
pub fn standing(incident: &Incident, at_work: Option<AtWork>) -> String {
    if let Some(who) = runs(incident, at_work) {
        let by = who.process.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
        return match &incident.state {
            IncidentState::InStep { step, name, .. } => {
                format!("running, by {by}, in step {} ({})", step + 1, name.word)
            }
            _ => format!("running, by {by}"),
        };
    }
    match incident.state {
        IncidentState::Closed { outcome: Outcome::Abandoned } if incident.touched() => {
            "given up in the middle".to_owned()
        }
        IncidentState::Closed { outcome: Outcome::Abandoned } => "given up, nothing changed".to_owned(),
        _ => state_words(&incident.state),
    }
}

/// An incident as JSON shows it.
#[derive(Debug, Clone, Serialize)]
pub struct IncidentView {
    id: IncidentId,
    resource: String,
    plan: String,
    pub(super) state: String,
    why: Option<String>,
    next: Option<String>,
    process: Option<u32>,
}

impl IncidentView {
    /// What it is, in a sentence, and what to type; nothing while it runs.
    pub(super) fn told(&self) -> (String, Option<String>) {
        let IncidentView { id, resource, state, .. } = self;
        let why = self.why.as_ref().map_or_else(String::new, |why| format!(": {why}"));
        let told = format!(
            "Incident {id} ({resource}) is not over: {state}{why}. A side may be half overwritten: what this page counts is \
             what stands there now"
        );
        (told, self.next.clone())
    }
}

/// The view of an incident. `waiver` as [`crate::resolver::desk::waiver_of`] has it; `state_dir` is ` --state-dir DIR`, or nothing for the
/// default; `at_work`: who has it.
#[must_use]
pub fn view(incident: &Incident, waiver: &str, state_dir: &str, at_work: Option<AtWork>) -> IncidentView {
    let runs = runs(incident, at_work);
    let resume = resume_command(&incident.id);
    let (why, next) = match &incident.state {
        _ if runs.is_some() => (None, None),
        IncidentState::Parked { why, next, .. } => (Some(why.to_string()), Some(next.clone())),
        IncidentState::Closed { .. } => (None, None),
        _ => (None, Some(resume.clone())),
    };
    let next = next.map(|next| if next == resume { next + waiver } else { next });
    IncidentView {
        id: incident.id.clone(),
        resource: incident.resource.to_string(),
        plan: incident.plan.0.to_string(),
        state: standing(incident, at_work),
        process: runs.and_then(|who| who.process),
        why,
        next: next.map(|next| match next.starts_with("unsplit ") {
            true => next + state_dir,
            false => next,
        }),
    }
}

/// An open incident and its next command. `undo`: whether it can be undone now; `waiver` as [`crate::resolver::desk::waiver_of`] has it; `at_work`:
/// who has the state directory.
///
/// # Errors
/// When standard output is closed.
pub fn show(
    screen: &mut Screen,
    incident: &Incident,
    undo: bool,
    waiver: &str,
    state_dir: &str,
    at_work: Option<AtWork>,
) -> std::io::Result<()> {
    let view = view(incident, waiver, state_dir, at_work);
    let title = screen.paint(Tone::Bad, &format!("Incident {} ({}): {}", view.id, view.resource, view.state));
    screen.line(title)?;
    if let Some(why) = &view.why {
        screen.line(format!("  why:  {why}"))?;
    }
    let gives_up = give_up_command(&view.id);
    if let Some(next) = &view.next {
        if next.starts_with(&gives_up) {
            return screen.line(format!(
                "  next: {next}   end it, and leave both sides as they are; a new plan keeps what stands there now"
            ));
        }
        screen.line(format!("  next: {next}        go on"))?;
        if undo {
            screen.line(format!(
                "        unsplit undo {}{state_dir}                put back what was overwritten so far",
                view.id
            ))?;
        }
        screen.line(format!("        {gives_up}{state_dir}   leave both sides as they are"))?;
    }
    Ok(())
}
