//! `unsplit resolve`.

use super::Cli;
use super::exit::{EVIDENCE, FINE, Failure, HELD, INTERNAL, NOT_FENCED, PARKED, USAGE};
use super::incident::{
    Desk, close_what_was_undone, has_changed_something, is_open, new_id, open_desk, refuse_while_open,
    resume_command,
};
use super::pair::{OpenPair, PairArgs, PairOptions, args_from_sources, open};
use super::plan::{ChoiceArgs, Drawn, agree, draw_plan, held, no_salvage_words, show, state_dir_words};
use super::reading::Reading;
use super::screen::{Screen, Tone};
use crate::edge::blockdev::Mode;
use crate::edge::clock::SystemClock;
use crate::edge::terminal::TerminalProgress;
use crate::engine::executor::{Ending, Obstacle, Theatre, begin, resume};
use crate::engine::journal::JournalError;
use crate::engine::plans::{self, PlanError};
use crate::engine::salvage::dir_of;
use crate::judge::audit::SealedPlan;
use crate::judge::incident::{Incident, IncidentState};
use crate::model::id::IncidentId;
use crate::model::plan::{Plan, Purpose, Step};
use crate::model::record::{Consent, Event, Outcome};
use crate::model::side::Side;
use crate::ports::replica::Patient;
use crate::ports::store::Store;
use crate::proof::preserved::OperatorSaidNoSalvage;
use clap::Args;
use serde::Serialize;
use std::io::{BufRead, IsTerminal};
use std::path::PathBuf;

/// Run a plan, or draw and run one, or take up an interrupted one.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  unsplit resolve --plan 3f9a2c41d0e7                      run a plan that `unsplit plan` drew\n  unsplit resolve node1.img node2.img --keep a --yes       draw and run\n  unsplit resolve node1.img node2.img --policy FILE        run if the policy decides and says auto = true, else ask\n  unsplit resolve --resume                                 go on after a crash or a repaired cause"
)]
pub struct ResolveArgs {
    /// Backing device, snapshot or image of the first node
    #[arg(value_name = "A", requires = "b", conflicts_with_all = ["plan", "resume"])]
    pub a: Option<PathBuf>,

    /// The same of the second node
    #[arg(value_name = "B")]
    pub b: Option<PathBuf>,

    /// Run the plan with this id (or its beginning)
    #[arg(long, value_name = "ID", conflicts_with = "resume")]
    pub plan: Option<String>,

    /// Take up the open incident again, or the named one
    #[arg(long, value_name = "INCIDENT", num_args = 0..=1, default_missing_value = "")]
    pub resume: Option<String>,

    /// End this open incident and leave both sides as they are; with --yes if it has changed a side already
    #[arg(long, value_name = "INCIDENT", conflicts_with_all = ["a", "plan", "resume"])]
    pub give_up: Option<String>,

    /// Consent without being asked
    #[arg(long)]
    pub yes: bool,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub options: PairOptions,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub choice: ChoiceArgs,
}

pub(super) fn run(cli: &Cli, args: &ResolveArgs, screen: &mut Screen) -> Result<u8, Failure> {
    if args.plan.is_some() || args.resume.is_some() || args.give_up.is_some() {
        refuse_what_a_plan_says(args)?;
    }
    let mut desk = open_desk(&cli.state_dir)?;
    if let Some(asked) = &args.give_up {
        return give_up(cli, args, screen, &mut desk, asked);
    }
    if let Some(asked) = &args.resume {
        return resume_one(cli, args, screen, &mut desk, asked);
    }
    if let Some(asked) = &args.plan {
        let sealed = plans::find(&*desk.store, asked).map_err(not_found)?;
        return run_plan(cli, args, screen, &mut desk, &sealed);
    }
    let (Some(a), Some(b)) = (&args.a, &args.b) else {
        return Err(Failure::usage("say what to resolve: two sides, --plan ID, or --resume"));
    };
    let pair = PairArgs { a: a.clone(), b: b.clone(), options: args.options.clone() };
    let settings = args.options.settings()?;
    let opened = open(&pair, Mode::ReadWrite)?;
    let drawn = draw_plan(&opened, &pair, &args.choice, &settings, &*desk.store, &desk.journal)?;
    match drawn {
        Drawn::Agree(trace) => {
            agree(cli, screen, &trace)?;
            Ok(FINE)
        }
        Drawn::Held(verdict) => {
            held(cli, screen, &verdict, &pair)?;
            Ok(HELD)
        }
        Drawn::Sealed { sealed, auto } => {
            let Some(consent) = consent(cli, args, screen, &desk, &sealed, auto)? else {
                let why = format!(
                    "plan {} was drawn and kept, but nobody agreed to it (no --yes, no policy with auto = true, no matching \
                     answer): nothing was changed",
                    sealed.id()
                );
                let waive = no_salvage_words(sealed.plan());
                let next = format!("unsplit resolve --plan {}{waive}{}", sealed.id(), state_dir_words(cli));
                return Err(Failure::new(HELD, anyhow::Error::msg(why)).hint(next));
            };
            start(cli, args, screen, &mut desk, &opened, &sealed, consent)
        }
    }
}

/// A plan has no choices left: whoever still makes one may mean another plan.
fn refuse_what_a_plan_says(args: &ResolveArgs) -> Result<(), Failure> {
    let (choice, options) = (&args.choice, &args.options);
    let given = [
        ("--keep", choice.keep.is_some()),
        ("--full", choice.full),
        ("--policy", options.policy.is_some()),
        ("--meta-a", options.meta_a.is_some()),
        ("--meta-b", options.meta_b.is_some()),
        ("--role-a", options.role_a.is_some()),
        ("--role-b", options.role_b.is_some()),
    ];
    match given.into_iter().find(|(_, given)| *given) {
        Some((flag, _)) => Err(Failure::usage(format!(
            "{flag} cannot be said of a plan that is drawn: it holds all choices. To choose otherwise draw another with `unsplit plan`"
        ))),
        None => Ok(()),
    }
}

fn not_found(error: PlanError) -> Failure {
    let code = match &error {
        PlanError::Unknown { .. } | PlanError::Ambiguous { .. } => USAGE,
        PlanError::Store(_) => INTERNAL,
        _ => EVIDENCE,
    };
    Failure::new(code, error)
}

/// Asks, unless the policy or `--yes` already answered.
fn consent(
    cli: &Cli,
    args: &ResolveArgs,
    screen: &mut Screen,
    desk: &Desk,
    sealed: &SealedPlan,
    auto: bool,
) -> Result<Option<Consent>, Failure> {
    if args.yes {
        return Ok(Some(Consent::Operator));
    }
    if auto {
        return Ok(Some(Consent::Policy));
    }
    if cli.json || !std::io::stdin().is_terminal() {
        return Ok(None);
    }
    show(screen, sealed, &desk.store.locate("salvage"))?;
    let victim = &sealed.plan().names[sealed.plan().victim()];
    write!(screen.out(), "\nType the name of the side to overwrite ({victim}) to agree: ")?;
    screen.out().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok((answer.trim() == victim.as_str()).then_some(Consent::Operator))
}

fn run_plan(
    cli: &Cli,
    args: &ResolveArgs,
    screen: &mut Screen,
    desk: &mut Desk,
    sealed: &SealedPlan,
) -> Result<u8, Failure> {
    must_say_no_salvage(cli, args.choice.no_salvage, sealed.plan())?;
    let before = desk.journal.incidents().iter().rev().find(|incident| incident.plan == sealed.id()).cloned();
    if !before.as_ref().is_some_and(is_open) {
        let sources = sealed.plan().basis.as_ref().map(|basis| &basis.source);
        refuse_while_open(sources, &*desk.store, &desk.journal, &[])?;
    }
    match before {
        // The same command after a crash goes on where it was.
        Some(incident) if is_open(&incident) => {
            take_up(cli, screen, desk, &incident, &args.options.reading, args.choice.no_salvage)
        }
        Some(Incident { id, state: IncidentState::Closed { outcome: Outcome::Healed }, .. })
            if !undone(desk, &id)? =>
        {
            if cli.json {
                let salvage = sealed.plan().salvage.then(|| desk.store.locate(&dir_of(&id)));
                outcome_document(screen, Some(&id), "already-healed", Some(sealed.plan().survivor), salvage)?;
            } else {
                screen.line(format!(
                    "Plan {} was already carried out, by incident {id}. Nothing was changed now.",
                    sealed.id()
                ))?;
            }
            Ok(FINE)
        }
        _ if sealed.plan().purpose != Purpose::Heal => Err(Failure::usage(format!(
            "plan {} is an undo: `unsplit undo` draws and runs undos from what it finds now",
            sealed.id()
        ))),
        _ => {
            let opened = open_as_planned(sealed.plan(), &args.options.reading)?;
            start(cli, args, screen, desk, &opened, sealed, Consent::Operator)
        }
    }
}

/// What `resolve` and `undo` came to, as JSON.
fn outcome_document(
    screen: &mut Screen,
    incident: Option<&IncidentId>,
    outcome: impl Serialize,
    survivor: Option<Side>,
    salvage: Option<String>,
) -> std::io::Result<()> {
    screen.json(&serde_json::json!({
        "schema": "unsplit.resolve", "version": 1, "incident": incident, "outcome": outcome,
        "survivor": survivor, "salvage": salvage,
    }))
}

fn undone(desk: &Desk, healed: &IncidentId) -> Result<bool, Failure> {
    for incident in desk.journal.incidents() {
        if matches!(incident.state, IncidentState::Closed { outcome: Outcome::Undone }) {
            let plan = plans::load(&*desk.store, incident.plan).map_err(Failure::internal)?;
            if matches!(&plan.plan().purpose, Purpose::Undo { incident } if incident == healed) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn resume_one(
    cli: &Cli,
    args: &ResolveArgs,
    screen: &mut Screen,
    desk: &mut Desk,
    asked: &str,
) -> Result<u8, Failure> {
    let incidents = desk.journal.incidents();
    let found = if asked.is_empty() {
        let mut waiting =
            incidents.iter().filter(|incident| is_open(incident) && !is_being_undone(desk, &incident.id));
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
            take_up(cli, screen, desk, &incident, &args.options.reading, args.choice.no_salvage)
        }
        Some(incident) => Err(Failure::usage(format!(
            "incident {} is over: {}",
            incident.id,
            super::incident::state_words(&incident.state)
        ))),
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

fn is_being_undone(desk: &Desk, healing: &IncidentId) -> bool {
    // A plan that cannot be read is reported by whoever needs it.
    let undoes = |incident: &Incident| {
        plans::load(&*desk.store, incident.plan).is_ok_and(
            |plan| matches!(&plan.plan().purpose, Purpose::Undo { incident } if incident == healing),
        )
    };
    desk.journal.incidents().iter().any(|incident| is_open(incident) && undoes(incident))
}

/// Ends an open incident as it is. Nothing but the journal is read or written: it must be possible whatever became of
/// the devices, the plan and the salvage.
fn give_up(
    cli: &Cli,
    args: &ResolveArgs,
    screen: &mut Screen,
    desk: &mut Desk,
    asked: &str,
) -> Result<u8, Failure> {
    let found = desk.journal.incidents().iter().find(|incident| incident.id.as_str() == asked).cloned();
    let incident = match found {
        Some(incident) if is_open(&incident) => incident,
        Some(incident) => {
            let state = super::incident::state_words(&incident.state);
            return Err(Failure::usage(format!("incident {} is over: {state}", incident.id)));
        }
        None => {
            return Err(Failure::usage(format!(
                "there is no incident `{asked}`; `unsplit history` lists them"
            )));
        }
    };
    let id = incident.id.clone();
    let changed = has_changed_something(&incident);
    if changed && !args.yes {
        let text = format!(
            "incident {id} has begun to change a side: given up now, that side stays Inconsistent and may be half overwritten"
        );
        let next = format!("{} --yes{}", super::incident::give_up_command(&id), state_dir_words(cli));
        return Err(Failure::new(HELD, anyhow::Error::msg(text)).hint(next));
    }
    if !matches!(incident.state, IncidentState::Parked { .. }) {
        let parked =
            Event::Parked { why: "the operator gave it up".into(), next: "nothing: it is over".to_owned() };
        desk.journal.append(Some(id.clone()), parked).map_err(Failure::internal)?;
    }
    let closed = Event::Closed { outcome: Outcome::Abandoned };
    desk.journal.append(Some(id.clone()), closed).map_err(Failure::internal)?;
    if cli.json {
        screen.json(&serde_json::json!({
            "schema": "unsplit.resolve", "version": 1, "incident": id, "outcome": Outcome::Abandoned, "changed": changed,
        }))?;
    } else if changed {
        screen.line(format!(
            "Incident {id} is given up. Both sides stay as they are; one may be half overwritten."
        ))?;
        screen.line(format!("What was kept of it stays in {}", desk.store.locate(&dir_of(&id))))?;
    } else {
        screen.line(format!("Incident {id} is given up. It had not changed anything."))?;
    }
    Ok(FINE)
}

/// Said when the plan was drawn, and again when it runs; found out before an incident is opened for it.
fn must_say_no_salvage(cli: &Cli, said: bool, plan: &Plan) -> Result<(), Failure> {
    if plan.salvage || said {
        return Ok(());
    }
    let text = "this plan keeps no copy of what it overwrites: --no-salvage must be said again to run it";
    let hint = format!("the same command with --no-salvage{}", state_dir_words(cli));
    Err(Failure::new(USAGE, anyhow::Error::msg(text)).hint(hint))
}

/// Goes on with an open incident.
pub(super) fn take_up(
    cli: &Cli,
    screen: &mut Screen,
    desk: &mut Desk,
    incident: &Incident,
    reading: &Reading,
    no_salvage: bool,
) -> Result<u8, Failure> {
    let sealed = plans::load(&*desk.store, incident.plan).map_err(Failure::internal)?;
    let healed = match &sealed.plan().purpose {
        Purpose::Heal => None,
        Purpose::Undo { incident } => Some(sealed_of(desk, incident)?),
    };
    if healed.is_none() {
        refuse_while_undoing(desk, &incident.id)?;
    }
    must_say_no_salvage(cli, no_salvage, sealed.plan())?;
    let opened = open_as_planned(sealed.plan(), reading)?;
    if !cli.json {
        screen.line(format!(
            "Taking up incident {} ({}).",
            incident.id,
            super::incident::state_words(&incident.state)
        ))?;
    }
    let progress = TerminalProgress::new();
    let store = desk.store.clone();
    let theatre = theatre(&opened, &*store, &progress, reading.threads());
    let ending = resume(
        &mut desk.journal,
        theatre,
        &sealed,
        healed.as_ref(),
        &incident.id,
        OperatorSaidNoSalvage::from_flag(no_salvage, sealed.id()),
    )
    .map_err(|error| journal_stopped(cli, &incident.id, error))?;
    if matches!(ending, Ending::Finished(Outcome::Undone)) {
        close_what_was_undone(desk)?;
    }
    conclude(cli, screen, &*store, sealed.plan(), &incident.id, &ending)
}

/// A healing must not go on while its undo is under way, or after it.
fn refuse_while_undoing(desk: &Desk, healing: &IncidentId) -> Result<(), Failure> {
    let may_undo = |incident: &&Incident| {
        incident.id != *healing
            && (is_open(incident)
                || matches!(incident.state, IncidentState::Closed { outcome: Outcome::Undone }))
    };
    for incident in desk.journal.incidents().iter().filter(may_undo) {
        let plan = plans::load(&*desk.store, incident.plan).map_err(Failure::internal)?;
        if matches!(&plan.plan().purpose, Purpose::Undo { incident } if incident == healing) {
            let text = format!("incident {healing} is being undone by {}", incident.id);
            return Err(Failure::new(PARKED, anyhow::Error::msg(text)).hint(resume_command(&incident.id)));
        }
    }
    Ok(())
}

fn sealed_of(desk: &Desk, id: &IncidentId) -> Result<SealedPlan, Failure> {
    let incident = desk.journal.incidents().iter().find(|incident| incident.id == *id);
    let incident = incident
        .ok_or_else(|| Failure::new(INTERNAL, anyhow::anyhow!("incident {id} is not in the journal")))?;
    plans::load(&*desk.store, incident.plan).map_err(Failure::internal)
}

pub(super) fn open_as_planned(plan: &Plan, reading: &Reading) -> Result<OpenPair, Failure> {
    let sources = plan.basis.as_ref().map(|basis| &basis.source);
    open(&args_from_sources(sources, &plan.names, &plan.resource, reading), Mode::ReadWrite)
}

pub(super) fn theatre<'w>(
    opened: &'w OpenPair,
    store: &'w dyn Store,
    progress: &'w TerminalProgress,
    threads: usize,
) -> Theatre<'w> {
    Theatre {
        patients: opened.sides.as_ref().map(|side| side as &dyn Patient),
        store,
        clock: &SystemClock,
        progress,
        threads,
    }
}

/// Begins a new incident and runs its plan.
fn start(
    cli: &Cli,
    args: &ResolveArgs,
    screen: &mut Screen,
    desk: &mut Desk,
    opened: &OpenPair,
    sealed: &SealedPlan,
    consent: Consent,
) -> Result<u8, Failure> {
    let id = new_id(sealed.id(), desk.journal.incidents())?;
    let progress = TerminalProgress::new();
    let store = desk.store.clone();
    let theatre = theatre(opened, &*store, &progress, args.options.threads());
    let ending = begin(
        &mut desk.journal,
        theatre,
        sealed,
        None,
        &id,
        consent,
        OperatorSaidNoSalvage::from_flag(args.choice.no_salvage, sealed.id()),
    )
    .map_err(|error| journal_stopped(cli, &id, error))?;
    conclude(cli, screen, &*store, sealed.plan(), &id, &ending)
}

/// The journal failed in the middle: nothing more is done without it, and nothing is lost.
pub(super) fn journal_stopped(cli: &Cli, id: &IncidentId, error: JournalError) -> Failure {
    let state_dir = state_dir_words(cli);
    Failure::internal(
        anyhow::Error::new(error)
            .context(format!("incident {id} stopped where it was: its journal cannot be written")),
    )
    .hint(format!("mend the state directory, then `{}{state_dir}`", resume_command(id)))
}

/// Tells how it ended, and what can be done next.
pub(super) fn conclude(
    cli: &Cli,
    screen: &mut Screen,
    store: &dyn Store,
    plan: &Plan,
    id: &IncidentId,
    ending: &Ending,
) -> Result<u8, Failure> {
    let (keep, lose) = (&plan.names[plan.survivor], &plan.names[plan.victim()]);
    let state_dir = state_dir_words(cli);
    match ending {
        Ending::Finished(outcome) => {
            if cli.json {
                // An undo keeps nothing: it empties no salvage, and makes none.
                let kept = plan.salvage && plan.purpose == Purpose::Heal;
                let salvage = kept.then(|| store.locate(&dir_of(id)));
                outcome_document(screen, Some(id), outcome, Some(plan.survivor), salvage)?;
                return Ok(FINE);
            }
            match outcome {
                Outcome::Undone => {
                    let line = screen.paint(
                        Tone::Good,
                        &format!("Undone: {keep} and {lose} are as they were before the healing."),
                    );
                    screen.line(line)?;
                    screen.line("They relate as they did then. `unsplit plan` draws a new plan.")?;
                }
                _ => {
                    let full =
                        plan.steps.iter().any(|step| matches!(step, Step::VerifyContent { full: true }));
                    let verified = if full {
                        "by comparing everything"
                    } else {
                        "by content wherever they were seen to differ"
                    };
                    let line = screen.paint(
                        Tone::Good,
                        &format!("Healed: {lose} now equals {keep}. Verified by generation, and {verified}."),
                    );
                    screen.line(line)?;
                    if plan.salvage {
                        screen.line(format!("What {lose} held is kept in {}", store.locate(&dir_of(id))))?;
                        screen.line(format!(
                            "  unsplit salvage show {id}{state_dir}     what is in it, and how to open it"
                        ))?;
                        screen.line(format!("  unsplit undo {id}{state_dir}             put it back"))?;
                    }
                }
            }
            Ok(FINE)
        }
        Ending::Abandoned { obstacle, why } => {
            let text = format!("incident {id} was given up before anything was changed: {why}");
            let failure = Failure::new(code(*obstacle, &plan.purpose), anyhow::Error::msg(text));
            Err(match (&plan.purpose, obstacle) {
                (Purpose::Heal, Obstacle::Stale) => {
                    failure.hint("look again with `unsplit diff`, then draw a new plan with `unsplit plan`")
                }
                (Purpose::Undo { incident }, Obstacle::Stale) => failure.hint(format!(
                    "an undo never overwrites newer data; `unsplit salvage show {incident}{state_dir}` tells how to \
                     open what was kept"
                )),
                (Purpose::Undo { incident }, Obstacle::Salvage) => {
                    failure.hint(format!("unsplit salvage verify {incident}{state_dir}"))
                }
                (_, Obstacle::Busy) => failure.hint("stop who uses it, then run the same command again"),
                _ => failure,
            })
        }
        Ending::Parked { why, obstacle } => {
            let (kept, back) = match (plan.salvage, &plan.purpose) {
                (false, _) => (
                    "No copy was kept of what was overwritten, as the policy and the command line said",
                    String::new(),
                ),
                // The salvage is there, or it is what is wrong: then an undo cannot go on, either.
                (true, _) if *obstacle == Obstacle::Salvage => {
                    ("Nothing was changed now: the salvage is what is missing or damaged", String::new())
                }
                (true, Purpose::Heal) => (
                    "Nothing is lost: what was overwritten is in the salvage",
                    format!("; or go back with `unsplit undo {id}{state_dir}`"),
                ),
                (true, Purpose::Undo { .. }) => {
                    ("Nothing is lost: what is put back is in the salvage", String::new())
                }
            };
            let text = format!("incident {id} is parked: {why}. {kept}");
            Err(Failure::new(PARKED, anyhow::Error::msg(text)).hint(format!(
                "mend the cause, then `{}{}{state_dir}`{back}",
                resume_command(id),
                no_salvage_words(plan)
            )))
        }
    }
}

fn code(obstacle: Obstacle, purpose: &Purpose) -> u8 {
    match obstacle {
        // The salvage is what an undo works from.
        Obstacle::Salvage if *purpose != Purpose::Heal => EVIDENCE,
        Obstacle::Busy => NOT_FENCED,
        Obstacle::Stale | Obstacle::Device | Obstacle::Verify => EVIDENCE,
        Obstacle::Salvage => INTERNAL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::journal::NotReady;
    use clap::Parser;

    #[test]
    fn a_journal_that_fails_in_the_middle_says_how_to_go_on() {
        let cli = Cli::try_parse_from(["unsplit", "--state-dir", "/s", "resolve", "--resume"]).unwrap();
        let id = IncidentId::new("i1").unwrap();
        let failure = journal_stopped(&cli, &id, NotReady::NoSuchIncident { id: id.clone() }.into());
        assert_eq!(failure.code, INTERNAL);
        assert!(failure.text().contains("unsplit resolve --resume i1 --state-dir /s"), "{}", failure.text());
    }
}
