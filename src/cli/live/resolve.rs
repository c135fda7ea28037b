//! `unsplit resolve RESOURCE`, and going on with what was begun.

use super::ending::{conclude, finished};
use super::plan::{everything, held};
use crate::cli::Cli;
use crate::cli::exit::{FINE, Failure, HELD};
use crate::cli::incident::state_words;
use crate::cli::plan::agree;
use crate::cli::resolve::{ResolveArgs, consent, journal_stopped};
use crate::cli::screen::Screen;
use crate::edge::clock::SystemClock;
use crate::edge::terminal::TerminalProgress;
use crate::engine::drbd::others::left_to_do;
use crate::engine::drbd::{Context, Patience, Work, plan_of};
use crate::engine::incident::{Ending, begin, resume};
use crate::engine::journal::JournalError;
use crate::judge::audit::SealedPlan;
use crate::judge::incident::Incident;
use crate::model::id::{IncidentId, ResourceName};
use crate::model::plan::drbd::DrbdPlan;
use crate::model::record::{Consent, Outcome};
use crate::proof::OperatorSaidNoSalvage;
use crate::resolver::access::{Access, Reading};
use crate::resolver::both::Both;
use crate::resolver::desk::{Desk, new_id};
use crate::resolver::draw::Drawn;
use crate::resolver::draw::drbd::Drawing;
use crate::resolver::turns::Share;

/// Draws and runs.
pub(in crate::cli) fn run(
    cli: &Cli,
    args: &ResolveArgs,
    screen: &mut Screen,
    desk: &Desk,
    resource: &ResourceName,
) -> Result<u8, Failure> {
    let (access, choice) = (args.options.access(), args.choice.choice());
    let policy = access.policy()?;
    let both = Both::reach(resource.as_str(), &access, "resolve")?;
    let (choice, policy) = (&choice, policy.as_ref());
    let drawing = Drawing { both: &both, desk, access: &access, choice, policy, reports: None };
    let ready = drawing.ready(both.look(resource)?)?;
    if let Some(in_use) = &ready.in_use {
        in_use.show_early(cli.json, screen)?;
    }
    match drawing.draw(ready, Share::whole(access.threads()), &TerminalProgress::new())? {
        Drawn::Agree(agreed) => {
            agree(cli, screen, &agreed, &everything(cli, resource, &access))?;
            Ok(FINE)
        }
        Drawn::Held(why) => {
            held(cli, screen, &why, resource, &drawing)?;
            Ok(HELD)
        }
        Drawn::Sealed(drawn) => {
            let (sealed, consent) = (&drawn.sealed, consent(cli, args, screen, desk, &drawn)?);
            let (id, ending) = start(cli, args, desk, &both, sealed, consent)?;
            after(cli, screen, desk, &both, sealed, &id, &ending)
        }
    }
}

/// Runs a plan that was drawn before.
pub(in crate::cli) fn run_plan(
    cli: &Cli,
    args: &ResolveArgs,
    screen: &mut Screen,
    desk: &Desk,
    sealed: &SealedPlan,
) -> Result<u8, Failure> {
    let both = reach_as_planned(planned(sealed)?, &args.options.reading.reading())?;
    let (id, ending) = start(cli, args, desk, &both, sealed, Consent::Operator)?;
    after(cli, screen, desk, &both, sealed, &id, &ending)
}

fn planned(sealed: &SealedPlan) -> Result<DrbdPlan<'_>, Failure> {
    plan_of(sealed).map_err(Failure::internal)
}

/// Both nodes of a plan.
///
/// # Errors
/// The peer cannot be talked to.
pub fn reach_as_planned(plan: DrbdPlan<'_>, reading: &Reading) -> Result<Both, Failure> {
    let peer =
        plan.ground.peer.parse().map_err(|why: String| {
            Failure::internal(anyhow::anyhow!("the plan names no usable peer: {why}"))
        })?;
    let access = Access::of(plan.names.clone(), plan.resource.clone(), Some(peer), reading.clone());
    Both::reach(plan.resource.as_str(), &access, "resolve")
}

/// Carries the plan out on these nodes, as `act` says.
///
/// # Errors
/// The journal cannot be written.
pub fn carry_out(
    cli: &Cli,
    desk: &Desk,
    both: &Both,
    sealed: &SealedPlan,
    threads: usize,
    id: &IncidentId,
    act: impl FnOnce(&Work<'_>) -> Result<Ending, JournalError>,
) -> Result<Ending, Failure> {
    let progress = TerminalProgress::new();
    let pause = |time| both.pause()(time);
    let context = Context {
        nodes: both.operated(),
        store: &*desk.store,
        clock: &SystemClock,
        progress: &progress,
        pause: &pause,
        threads,
        patience: Patience::default(),
    };
    let work = Work::new(context, sealed).map_err(Failure::internal)?;
    act(&work).map_err(|error| journal_stopped(cli, id, sealed.plan().salvage, error))
}

/// Begins an incident with the plan, and runs it.
///
/// # Errors
/// The journal cannot be written.
pub(super) fn start(
    cli: &Cli,
    args: &ResolveArgs,
    desk: &Desk,
    both: &Both,
    sealed: &SealedPlan,
    consent: Consent,
) -> Result<(IncidentId, Ending), Failure> {
    let id = new_id(sealed.id(), &desk.journal.incidents())?;
    let waived = OperatorSaidNoSalvage::from_flag(args.choice.no_salvage, sealed.id());
    let ending = carry_out(cli, desk, both, sealed, args.options.reading.reading().threads(), &id, |work| {
        begin(&desk.journal, work, &id, consent, waived)
    })?;
    Ok((id, ending))
}

/// Goes on with an open incident.
pub(in crate::cli) fn take_up(
    cli: &Cli,
    screen: &mut Screen,
    desk: &Desk,
    incident: &Incident,
    sealed: &SealedPlan,
    reading: &Reading,
    no_salvage: bool,
) -> Result<u8, Failure> {
    let both = reach_as_planned(planned(sealed)?, reading)?;
    if !cli.json {
        screen.line(format!("Taking up incident {} ({}).", incident.id, state_words(&incident.state)))?;
    }
    let id = &incident.id;
    let waived = OperatorSaidNoSalvage::from_flag(no_salvage, sealed.id());
    let ending = carry_out(cli, desk, &both, sealed, reading.threads(), id, |work| {
        resume(&desk.journal, work, id, waived)
    })?;
    after(cli, screen, desk, &both, sealed, id, &ending)
}

/// What follows a run, on the screen.
///
/// # Errors
/// How it ended, unless well.
pub fn after(
    cli: &Cli,
    screen: &mut Screen,
    desk: &Desk,
    both: &Both,
    sealed: &SealedPlan,
    id: &IncidentId,
    ending: &Ending,
) -> Result<u8, Failure> {
    let left = left(both, sealed, ending);
    let code = conclude(cli, screen, &*desk.store, planned(sealed)?, id, ending)?;
    others(cli, screen, &left)?;
    Ok(code)
}

/// What is left to do on nodes beside the two.
///
/// # Errors
/// When standard output is closed.
pub(super) fn others(cli: &Cli, screen: &mut Screen, left: &[String]) -> std::io::Result<()> {
    if left.is_empty() || cli.json {
        return Ok(());
    }
    screen.heading("The other nodes")?;
    left.iter().try_for_each(|sentence| screen.line(format!("  {sentence}")))
}

/// The same without the screen; besides, what is left to do on other nodes.
///
/// # Errors
/// How it ended, unless well.
pub(super) fn ended(
    cli: &Cli,
    both: &Both,
    sealed: &SealedPlan,
    id: &IncidentId,
    ending: &Ending,
) -> Result<(Outcome, Vec<String>), Failure> {
    Ok((finished(cli, planned(sealed)?, id, ending)?, left(both, sealed, ending)))
}

/// What a healing left to do on nodes beside the two, as far as it can be seen.
fn left(both: &Both, sealed: &SealedPlan, ending: &Ending) -> Vec<String> {
    if *ending != Ending::Finished(Outcome::Healed) {
        return Vec::new();
    }
    let seen = both.look(&sealed.plan().resource);
    seen.map(|pair| left_to_do(&pair, sealed.plan().survivor)).unwrap_or_default()
}
