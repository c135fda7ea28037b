//! Taking up what was cut off.

use super::ending::{conclude, journal_stopped, outcome_document};
use super::{ResolveArgs, context, open_again};
use crate::cli::Cli;
use crate::cli::consent::must_say_no_salvage;
use crate::cli::exit::{FINE, Failure, Kind};
use crate::cli::incident::state_words;
use crate::cli::live;
use crate::cli::screen::Screen;
use crate::edge::terminal::TerminalProgress;
use crate::engine::images::Work;
use crate::engine::incident::resume;
use crate::engine::plans;
use crate::engine::undone::undo_of;
use crate::judge::audit::SealedPlan;
use crate::judge::incident::Incident;
use crate::model::id::IncidentId;
use crate::model::plan::Purpose;
use crate::proof::preserved::OperatorSaidNoSalvage;
use crate::resolver::access::Reading;
use crate::resolver::desk::{Desk, is_open, resume_command};

pub(super) fn resume_one(
    cli: &Cli,
    args: &ResolveArgs,
    screen: &mut Screen,
    desk: &Desk,
    asked: &str,
) -> Result<u8, Failure> {
    let incidents = desk.journal.incidents();
    let found = if asked.is_empty() {
        let mut waiting = incidents
            .iter()
            .filter(|incident| is_open(incident) && !is_being_undone(desk, &incidents, &incident.id));
        let first = waiting.next();
        if let Some(second) = waiting.next() {
            let first = first.map_or("", |incident| incident.id.as_str());
            return Err(Failure::usage(format!(
                "several incidents are open, such as {first} and {}: say which; `unsplit status` shows them",
                second.id
            )));
        }
        first
    } else {
        incidents.iter().find(|incident| incident.id.as_str() == asked)
    };
    match found.cloned() {
        Some(incident) if is_open(&incident) => {
            take_up(cli, screen, desk, &incident, &args.options.reading.reading(), args.choice.no_salvage)
        }
        Some(incident) => {
            Err(Failure::usage(format!("incident {} is over: {}", incident.id, state_words(&incident.state))))
        }
        None if asked.is_empty() => {
            if cli.json {
                outcome_document(screen, None, "nothing-open", None, None)?;
            } else {
                screen.line("No incident is open: nothing to resume.")?;
            }
            Ok(FINE)
        }
        None => Err(Failure::usage(format!("there is no incident `{asked}`; `unsplit history` lists them"))),
    }
}

fn is_being_undone(desk: &Desk, incidents: &[Incident], healing: &IncidentId) -> bool {
    // A plan that cannot be read is reported by whoever needs it.
    matches!(undo_of(&*desk.store, incidents, healing, is_open), Ok(Some(_)))
}

/// Goes on with an open incident.
pub(in crate::cli) fn take_up(
    cli: &Cli,
    screen: &mut Screen,
    desk: &Desk,
    incident: &Incident,
    reading: &Reading,
    no_salvage: bool,
) -> Result<u8, Failure> {
    let sealed = plans::load(&*desk.store, incident.plan).map_err(Failure::internal)?;
    let Some(plan) = sealed.plan().images() else {
        must_say_no_salvage(cli, no_salvage, sealed.plan().salvage)?;
        return live::resolve::take_up(cli, screen, desk, incident, &sealed, reading, no_salvage);
    };
    let healed = match &plan.purpose {
        Purpose::Heal => None,
        Purpose::Undo { incident } => Some(sealed_of(desk, incident)?),
    };
    if healed.is_none() {
        refuse_while_undoing(desk, &incident.id)?;
    }
    must_say_no_salvage(cli, no_salvage, plan.salvage)?;
    let opened = open_again(plan, reading)?;
    if !cli.json {
        screen.line(format!("Taking up incident {} ({}).", incident.id, state_words(&incident.state)))?;
    }
    let progress = TerminalProgress::new();
    let store = desk.store.clone();
    let context = context(&opened, &*store, &progress, reading.threads());
    let work = Work::new(context, &sealed, healed.as_ref()).map_err(Failure::internal)?;
    let waived = OperatorSaidNoSalvage::from_flag(no_salvage, sealed.id());
    let ending = resume(&desk.journal, &work, &incident.id, waived)
        .map_err(|error| journal_stopped(cli, &incident.id, sealed.plan().salvage, error))?;
    let ending = opened.told_by_the_link(ending);
    conclude(cli, screen, &*store, plan, &incident.id, &ending)
}

/// A healing must not go on while its undo is under way, or after it.
fn refuse_while_undoing(desk: &Desk, healing: &IncidentId) -> Result<(), Failure> {
    let may_undo =
        |incident: &Incident| incident.id != *healing && (is_open(incident) || incident.is_undone());
    let incidents = desk.journal.incidents();
    match undo_of(&*desk.store, &incidents, healing, may_undo).map_err(Failure::internal)? {
        None => Ok(()),
        Some(undo) => {
            let text = format!("incident {healing} is being undone by {}", undo.id);
            Err(Failure::new(Kind::Parked, anyhow::Error::msg(text)).hint(resume_command(&undo.id)))
        }
    }
}

fn sealed_of(desk: &Desk, id: &IncidentId) -> Result<SealedPlan, Failure> {
    let incident = desk.journal.incident(id).ok_or_else(|| {
        Failure::new(Kind::Internal, anyhow::anyhow!("incident {id} is not in the journal"))
    })?;
    plans::load(&*desk.store, incident.plan).map_err(Failure::internal)
}
