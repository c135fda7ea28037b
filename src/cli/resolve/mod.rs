//! `unsplit resolve`: running a plan.

mod ending;
mod give_up;
mod resume;

pub(super) use ending::{conclude, equals, journal_stopped, kept_words, kind, only_a_new_plan};
pub(super) use resume::take_up;

use super::Cli;
use super::consent::{agreed_at_the_prompt, must_say_no_salvage, nobody_agreed};
use super::exit::{FINE, Failure, HELD, Kind};
use super::live;
use super::pair::PairOptions;
use super::plan::{ChoiceArgs, agree, everything, held, show};
use super::screen::Screen;
use crate::edge::blockdev::Mode;
use crate::edge::clock::SystemClock;
use crate::edge::terminal::TerminalProgress;
use crate::engine::images::{Context, Work, plan_of};
use crate::engine::incident::begin;
use crate::engine::plans::{self, PlanError};
use crate::engine::salvage::dir_of;
use crate::engine::undone::undone_by;
use crate::judge::audit::SealedPlan;
use crate::judge::incident::Incident;
use crate::model::evidence::Trust;
use crate::model::plan::Purpose;
use crate::model::plan::images::ImagesPlan;
use crate::model::record::Consent;
use crate::model::side::Pair;
use crate::ports::store::Store;
use crate::proof::preserved::OperatorSaidNoSalvage;
use crate::resolver::access::{Reading, Target, TwoSides};
use crate::resolver::desk::{Desk, is_open, new_id, open_desk, refuse_while_open};
use crate::resolver::draw::images::draw_plan;
use crate::resolver::draw::{Drawn, DrawnPlan};
use crate::resolver::sides::{OpenPair, OpenSide, as_planned, open};
use clap::Args;
use ending::outcome_document;
use give_up::give_up;
use resume::resume_one;
use std::path::PathBuf;

/// Run a plan, or draw and run one, or take up an interrupted one.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  unsplit resolve --plan 3f9a2c41d0e7                      run a plan that `unsplit plan` drew\n  unsplit resolve r0 --peer ssh:node2 --keep node1         heal a running resource\n  unsplit resolve --all --peer ssh:node2 --policy FILE     all that are split, one by one\n  unsplit resolve node1.img node2.img --keep a --yes       draw and run\n  unsplit resolve node1.img node2.img --policy FILE        run if the policy decides and says auto = true, else ask\n  unsplit resolve --resume                                 go on after a crash or a repaired cause"
)]
pub struct ResolveArgs {
    /// Running resources, one or more, by name; or two backing devices, snapshots or images, one of each node
    ///
    /// Two words are two files or devices unless --peer is given: then words without a `/` are resources, and A and an
    /// absolute path B are a device here and one there.
    #[arg(value_name = "RESOURCE|A B", conflicts_with_all = ["plan", "resume"])]
    pub words: Vec<PathBuf>,

    /// Every resource that is split between these two nodes: shows all plans, asks once, heals one after the other
    #[arg(long, conflicts_with_all = ["words", "plan", "resume", "give_up"])]
    pub all: bool,

    /// Run the plan with this id (or its beginning)
    #[arg(long, value_name = "ID", conflicts_with = "resume")]
    pub plan: Option<String>,

    /// Take up the open incident again, or the named one
    #[arg(long, value_name = "INCIDENT", num_args = 0..=1, default_missing_value = "")]
    pub resume: Option<String>,

    /// End this open incident and leave both sides as they are; with --yes if it has changed a side already
    #[arg(long, value_name = "INCIDENT", conflicts_with_all = ["words", "plan", "resume"])]
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
    let desk = open_desk(&cli.state_dir)?;
    if let Some(asked) = &args.give_up {
        return give_up(cli, args, screen, &desk, asked);
    }
    if let Some(asked) = &args.resume {
        return resume_one(cli, args, screen, &desk, asked);
    }
    if let Some(asked) = &args.plan {
        let sealed = plans::find(&*desk.store, asked).map_err(not_found)?;
        return run_plan(cli, args, screen, &desk, &sealed);
    }
    if args.words.is_empty() && !args.all {
        return Err(Failure::usage("say what to resolve: a resource, two sides, --plan ID, or --resume"));
    }
    let pair = match live::meant(&args.words, args.all, &args.options.access())? {
        Target::Pair(pair) => *pair,
        Target::Resource(resource) => {
            return live::resolve::run(cli, args, screen, &desk, &resource);
        }
        Target::Several(wanted) => {
            return live::several::resolve::run(cli, args, screen, &desk, &wanted);
        }
    };
    let settings = pair.access.settings()?;
    let opened = open(&pair, Mode::ReadWrite)?;
    let (choice, mut said) = (args.choice.choice(), Vec::new());
    let progress = TerminalProgress::new();
    let drawn = draw_plan(&opened, &pair.access, &choice, &settings, &desk, &progress, &mut said)?;
    if !cli.json {
        said.iter().try_for_each(|remark| screen.line(remark))?;
    }
    match drawn {
        Drawn::Agree(agreed) => {
            agree(cli, screen, &agreed, &everything(cli, &pair))?;
            Ok(FINE)
        }
        Drawn::Held(why) => {
            held(cli, screen, &why, &pair, &choice)?;
            Ok(HELD)
        }
        Drawn::Sealed(drawn) => {
            let consent = consent(cli, args, screen, &desk, &drawn)?;
            start(cli, args, screen, &desk, &opened, &drawn.sealed, consent)
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
        ("--peer", options.peer.is_some()),
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
    let kind = match &error {
        PlanError::Unknown { .. } | PlanError::Ambiguous { .. } => Kind::Usage,
        PlanError::Store(_) => Kind::Internal,
        _ => Kind::Evidence,
    };
    Failure::new(kind, error)
}

/// Asks, unless the policy or `--yes` already answered.
///
/// # Errors
/// Nobody agreed.
pub(super) fn consent(
    cli: &Cli,
    args: &ResolveArgs,
    screen: &mut Screen,
    desk: &Desk,
    drawn: &DrawnPlan,
) -> Result<Consent, Failure> {
    if args.yes {
        return Ok(Consent::Operator);
    }
    if drawn.auto {
        return Ok(Consent::Policy);
    }
    let plan = drawn.sealed.plan();
    let victim = plan.names[plan.victim()].clone();
    let salvages = desk.store.locate("salvage");
    let agreed = agreed_at_the_prompt(cli, screen, &[victim], |screen| show(screen, drawn, &salvages))?;
    agreed.ok_or_else(|| nobody_agreed(cli, drawn.sealed.id(), plan.salvage))
}

/// What running a plan by its id comes to.
pub(super) enum Asked {
    /// It was begun: the same command after a crash goes on where it was.
    Begun(Incident),
    /// It was carried out already, and still counts: the exit code.
    CarriedOut(u8),
    /// It begins now.
    New,
}

/// Looks whether a plan may be run by its id, and what that means now.
///
/// # Errors
/// An incident on these devices is open, or the plan is an undo.
fn asked_for(cli: &Cli, screen: &mut Screen, desk: &Desk, sealed: &SealedPlan) -> Result<Asked, Failure> {
    let (id, plan, incidents) = (sealed.id(), sealed.plan(), desk.journal.incidents());
    let before = incidents.iter().rev().find(|incident| incident.plan == id);
    if let Some(open) = before.filter(|incident| is_open(incident)) {
        return Ok(Asked::Begun(open.clone()));
    }
    for volume in &plan.volumes {
        refuse_while_open(volume.at.as_ref(), &*desk.store, &desk.journal, &[])?;
    }
    let healed = before.filter(|before| before.is_healed()).map(|before| &before.id);
    let undone = |id| undone_by(&*desk.store, &incidents, id).map_err(Failure::internal);
    if let Some(by) = healed
        && undone(by)?.is_none()
    {
        if cli.json {
            // What runs has one for each volume.
            let salvage = plan.images().is_some() && plan.salvage;
            let salvage = salvage.then(|| desk.store.locate(&dir_of(by)));
            outcome_document(screen, Some(by), "already-healed", Some(plan.survivor), salvage)?;
        } else {
            let text =
                format!("Plan {id} was already carried out, by incident {by}. Nothing was changed now.");
            screen.line(text)?;
        }
        return Ok(Asked::CarriedOut(FINE));
    }
    if plan.purpose != Purpose::Heal {
        return Err(Failure::usage(format!(
            "plan {id} is an undo: `unsplit undo` draws and runs undos from what it finds now"
        )));
    }
    Ok(Asked::New)
}

fn run_plan(
    cli: &Cli,
    args: &ResolveArgs,
    screen: &mut Screen,
    desk: &Desk,
    sealed: &SealedPlan,
) -> Result<u8, Failure> {
    let plan = sealed.plan();
    must_say_no_salvage(cli, args.choice.no_salvage, plan.salvage)?;
    match asked_for(cli, screen, desk, sealed)? {
        Asked::Begun(incident) => {
            take_up(cli, screen, desk, &incident, &args.options.reading.reading(), args.choice.no_salvage)
        }
        Asked::CarriedOut(code) => Ok(code),
        Asked::New => match plan.images() {
            Some(plan) => {
                let opened = open_as_planned(plan, &args.options.reading.reading())?;
                start(cli, args, screen, desk, &opened, sealed, Consent::Operator)
            }
            None => live::resolve::run_plan(cli, args, screen, desk, sealed),
        },
    }
}

pub(in crate::cli) fn open_as_planned(plan: ImagesPlan<'_>, reading: &Reading) -> Result<OpenPair, Failure> {
    open(&args_as_planned(plan, reading)?, Mode::ReadWrite)
}

fn args_as_planned(plan: ImagesPlan<'_>, reading: &Reading) -> Result<TwoSides, Failure> {
    as_planned(plan.volume.at.as_ref(), &plan.names, &plan.resource, reading)
}

/// The same for a run that was cut off. A side may hold a mixture of both sides' bytes now, which looks like neither, so it
/// is not looked at again: every sector is held against what the plan can have left there.
pub(in crate::cli) fn open_again(plan: ImagesPlan<'_>, reading: &Reading) -> Result<OpenPair, Failure> {
    let mut two = args_as_planned(plan, reading)?;
    two.access.trust = Pair::new(Trust::AsIs, Trust::AsIs);
    open(&two, Mode::ReadWrite)
}

pub(in crate::cli) fn context<'w>(
    opened: &'w OpenPair,
    store: &'w dyn Store,
    progress: &'w TerminalProgress,
    threads: usize,
) -> Context<'w> {
    Context {
        sides: opened.sides.as_ref().map(OpenSide::writable),
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
    desk: &Desk,
    opened: &OpenPair,
    sealed: &SealedPlan,
    consent: Consent,
) -> Result<u8, Failure> {
    let id = new_id(sealed.id(), &desk.journal.incidents())?;
    let progress = TerminalProgress::new();
    let store = desk.store.clone();
    let context = context(opened, &*store, &progress, args.options.reading.reading().threads());
    let work = Work::new(context, sealed, None).map_err(Failure::internal)?;
    let waived = OperatorSaidNoSalvage::from_flag(args.choice.no_salvage, sealed.id());
    let ending = begin(&desk.journal, &work, &id, consent, waived)
        .map_err(|error| journal_stopped(cli, &id, sealed.plan().salvage, error))?;
    let ending = opened.told_by_the_link(ending);
    conclude(cli, screen, &*store, plan_of(sealed).map_err(Failure::internal)?, &id, &ending)
}
