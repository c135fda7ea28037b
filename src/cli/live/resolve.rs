//! `unsplit resolve RESOURCE`, and going on with what was begun.

use super::ending::conclude;
use super::plan::{LiveDrawn, draw_plan, held, show};
use super::volumes::Both;
use crate::cli::Cli;
use crate::cli::exit::{FINE, Failure, HELD, USAGE};
use crate::cli::incident::{Desk, close_what_was_undone, is_open, new_id, refuse_while_open, state_words};
use crate::cli::pair::{PEER_TIMEOUT, PairOptions};
use crate::cli::plan::{agree, state_dir_words};
use crate::cli::reading::Reading;
use crate::cli::resolve::{ResolveArgs, agreed_at_the_prompt, journal_stopped};
use crate::cli::screen::Screen;
use crate::edge::clock::SystemClock;
use crate::edge::terminal::TerminalProgress;
use crate::engine::executor::Ending;
use crate::engine::live::executor::{LiveTheatre, Patience, begin, resume};
use crate::engine::live::others::left_to_do;
use crate::engine::live::undo::{note_healed, noted, since_kept, untouched};
use crate::judge::incident::{Incident, IncidentState};
use crate::judge::live_plan::SealedLivePlan;
use crate::model::id::{IncidentId, ResourceName};
use crate::model::live_plan::LivePlan;
use crate::model::plan::Purpose;
use crate::model::record::{Consent, Outcome};
use crate::proof::OperatorSaidNoSalvage;

/// Draws and runs.
pub(in crate::cli) fn run(
    cli: &Cli,
    args: &ResolveArgs,
    screen: &mut Screen,
    desk: &mut Desk,
    resource: &ResourceName,
) -> Result<u8, Failure> {
    let both = Both::reach(resource, &args.options, "resolve")?;
    match draw_plan(&both, resource, &args.options, &args.choice, desk)? {
        LiveDrawn::Agree(trace) => {
            agree(cli, screen, &trace)?;
            Ok(FINE)
        }
        LiveDrawn::Held { verdict, names } => {
            held(cli, screen, &verdict, &names, resource, &both)?;
            Ok(HELD)
        }
        LiveDrawn::Sealed { sealed, auto } => {
            let consent = if args.yes {
                Some(Consent::Operator)
            } else if auto {
                Some(Consent::Policy)
            } else {
                let victim = sealed.plan().names[sealed.plan().victim()].clone();
                let salvages = crate::ports::store::Store::locate(&*desk.store, "salvage");
                agreed_at_the_prompt(cli, screen, &victim, |screen| show(screen, &sealed, &salvages))?
            };
            let Some(consent) = consent else {
                let why = format!(
                    "plan {} was drawn and kept, but nobody agreed to it (no --yes, no policy with auto = true, no matching \
                     answer): nothing was changed",
                    sealed.id()
                );
                let waive = if sealed.plan().salvage { "" } else { " --no-salvage" };
                let next = format!("unsplit resolve --plan {}{waive}{}", sealed.id(), state_dir_words(cli));
                return Err(Failure::new(HELD, anyhow::Error::msg(why)).hint(next));
            };
            start(cli, args, screen, desk, &both, &sealed, consent)
        }
    }
}

/// Runs a plan that was drawn before.
pub(in crate::cli) fn run_plan(
    cli: &Cli,
    args: &ResolveArgs,
    screen: &mut Screen,
    desk: &mut Desk,
    sealed: &SealedLivePlan,
) -> Result<u8, Failure> {
    let plan = sealed.plan();
    must_say_no_salvage(cli, args.choice.no_salvage, plan)?;
    let before = desk.journal.incidents().iter().rev().find(|incident| incident.plan == sealed.id()).cloned();
    match before {
        Some(incident) if is_open(&incident) => {
            take_up(cli, screen, desk, &incident, sealed, &args.options.reading, args.choice.no_salvage)
        }
        Some(Incident { id, state: IncidentState::Closed { outcome: Outcome::Healed }, .. }) => {
            if cli.json {
                screen.json(&serde_json::json!({
                    "schema": "unsplit.resolve", "version": 1, "incident": id, "outcome": "already-healed",
                    "survivor": plan.survivor, "salvage": null,
                }))?;
            } else {
                screen.line(format!(
                    "Plan {} was already carried out, by incident {id}. Nothing was changed now.",
                    sealed.id()
                ))?;
            }
            Ok(FINE)
        }
        _ if plan.purpose != Purpose::Heal => Err(Failure::usage(format!(
            "plan {} is an undo: `unsplit undo` draws and runs undos from what it finds now",
            sealed.id()
        ))),
        _ => {
            for volume in &plan.volumes {
                refuse_while_open(volume.sources.as_ref(), &*desk.store, &desk.journal, &[])?;
            }
            let both = reach_as_planned(plan, &args.options.reading)?;
            start(cli, args, screen, desk, &both, sealed, Consent::Operator)
        }
    }
}

fn must_say_no_salvage(cli: &Cli, said: bool, plan: &LivePlan) -> Result<(), Failure> {
    if plan.salvage || said {
        return Ok(());
    }
    let text = "this plan keeps no copy of what it overwrites: --no-salvage must be said again to run it";
    let hint = format!("the same command with --no-salvage{}", state_dir_words(cli));
    Err(Failure::new(USAGE, anyhow::Error::msg(text)).hint(hint))
}

/// Both nodes of a plan.
///
/// # Errors
/// The peer cannot be talked to.
pub fn reach_as_planned(plan: &LivePlan, reading: &Reading) -> Result<Both, Failure> {
    let peer = plan
        .peer
        .parse()
        .map_err(|why: String| Failure::internal(anyhow::anyhow!("the plan names no usable peer: {why}")))?;
    let options = PairOptions {
        name_a: plan.names.a.clone(),
        name_b: plan.names.b.clone(),
        meta_a: None,
        meta_b: None,
        peer: Some(peer),
        peer_timeout: PEER_TIMEOUT,
        role_a: None,
        role_b: None,
        resource: plan.resource.clone(),
        policy: None,
        reading: reading.clone(),
        no_cache: false,
    };
    reading.step_back()?;
    Both::reach(&plan.resource, &options, "resolve")
}

/// Runs `act` in the theatre of these nodes.
///
/// # Errors
/// What `act` says.
pub fn in_theatre<T>(
    both: &Both,
    desk: &mut Desk,
    threads: usize,
    act: impl FnOnce(&mut crate::engine::journal::Journal, LiveTheatre<'_>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let store = desk.store.clone();
    let progress = TerminalProgress::new();
    let theatre = LiveTheatre {
        nodes: both.operated()?,
        store: &*store,
        clock: &SystemClock,
        progress: &progress,
        pause: &std::thread::sleep,
        threads,
        patience: Patience::default(),
    };
    act(&mut desk.journal, theatre)
}

fn start(
    cli: &Cli,
    args: &ResolveArgs,
    screen: &mut Screen,
    desk: &mut Desk,
    both: &Both,
    sealed: &SealedLivePlan,
    consent: Consent,
) -> Result<u8, Failure> {
    let id = new_id(sealed.id(), desk.journal.incidents())?;
    let waived = OperatorSaidNoSalvage::from_flag(args.choice.no_salvage, sealed.id());
    let ending = in_theatre(both, desk, args.options.threads(), |journal, theatre| {
        begin(journal, theatre, sealed, &id, consent, waived)
            .map_err(|error| journal_stopped(cli, &id, error))
    })?;
    after(cli, screen, desk, both, sealed, &id, &ending)
}

/// Goes on with an open incident.
pub(in crate::cli) fn take_up(
    cli: &Cli,
    screen: &mut Screen,
    desk: &mut Desk,
    incident: &Incident,
    sealed: &SealedLivePlan,
    reading: &Reading,
    no_salvage: bool,
) -> Result<u8, Failure> {
    must_say_no_salvage(cli, no_salvage, sealed.plan())?;
    let both = reach_as_planned(sealed.plan(), reading)?;
    if !cli.json {
        screen.line(format!("Taking up incident {} ({}).", incident.id, state_words(&incident.state)))?;
    }
    let id = &incident.id;
    let waived = OperatorSaidNoSalvage::from_flag(no_salvage, sealed.id());
    let ending = in_theatre(&both, desk, reading.threads(), |journal, theatre| {
        resume(journal, theatre, sealed, id, waived).map_err(|error| journal_stopped(cli, id, error))
    })?;
    after(cli, screen, desk, &both, sealed, id, &ending)
}

/// What follows a run: notes for an undo, and the screen.
///
/// # Errors
/// How it ended, unless well.
pub fn after(
    cli: &Cli,
    screen: &mut Screen,
    desk: &mut Desk,
    both: &Both,
    sealed: &SealedLivePlan,
    id: &IncidentId,
    ending: &Ending,
) -> Result<u8, Failure> {
    let mut left = Vec::new();
    match ending {
        Ending::Finished(Outcome::Healed) => {
            let seen = both.look(&sealed.plan().resource).map_err(|failure| failure.text());
            left = seen.as_ref().map(|pair| left_to_do(pair, sealed.plan().survivor)).unwrap_or_default();
            let at_keeping = noted(&*desk.store, id);
            let noted = seen.and_then(|pair| {
                let since = since_kept(at_keeping?, untouched(&pair), sealed.plan().survivor);
                let since = since.ok_or("what was written when the copy was taken was not noted")?;
                note_healed(&*desk.store, id, &since)
            });
            if let Err(why) = noted {
                tracing::warn!("a later undo cannot know whether something was written since: {why}");
            }
        }
        Ending::Finished(Outcome::Undone) => close_what_was_undone(desk)?,
        _ => {}
    }
    let code = conclude(cli, screen, &*desk.store, sealed.plan(), id, ending)?;
    if !left.is_empty() && !cli.json {
        screen.heading("The other nodes")?;
        left.iter().try_for_each(|sentence| screen.line(format!("  {sentence}")))?;
    }
    Ok(code)
}
