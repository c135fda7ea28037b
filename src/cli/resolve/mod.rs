//! `unsplit resolve`: running a plan.

mod ending;
mod give_up;

pub(super) use ending::{conclude, equals, kept_words, kind, of_a_fence, only_a_new_plan, others};

use super::Cli;
use super::at_terminal::AtTerminal;
use super::consent::nobody_agreed;
use super::exit::{FINE, Failure, HELD, Kind};
use super::live;
use super::pair::PairOptions;
use super::plan::{ChoiceArgs, agree, everything, held};
use super::screen::Screen;
use super::suggest::Topic;
use crate::edge::blockdev::Mode;
use crate::engine::plans::{self, PlanError};
use crate::engine::salvage::dir_of;
use crate::judge::audit::SealedPlan;
use crate::model::id::IncidentId;
use crate::ports::store::Store;
use crate::resolver::access::{Access, Target};
use crate::resolver::desk::{Desk, open_desk};
use crate::resolver::heal::{Healed, heal};
use crate::resolver::opened::Opened;
use crate::resolver::run::{self, Asked};
use clap::Args;
use ending::outcome_document;
use give_up::give_up;
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
    let (reading, no_salvage) = (args.options.reading.reading(), args.choice.no_salvage);
    if let Some(asked) = &args.resume {
        let asked = Some(asked.as_str()).filter(|asked| !asked.is_empty());
        let Some(incident) = run::waiting(&desk, asked)? else {
            return nothing_open(cli, screen);
        };
        let mut by = AtTerminal::new(cli, screen, &desk, true);
        let ran = run::resume(&desk, &mut by, &incident, &reading, no_salvage)?;
        return conclude(cli, screen, &desk, &ran);
    }
    if let Some(asked) = &args.plan {
        let sealed = plans::find(&*desk.store, asked).map_err(not_found)?;
        let mut by = AtTerminal::new(cli, screen, &desk, true);
        return match run::run_plan(&desk, &mut by, &sealed, &reading, no_salvage)? {
            Asked::Ran(ran) => conclude(cli, screen, &desk, &ran),
            Asked::CarriedOut(by) => carried_out(cli, screen, &desk, &sealed, &by),
        };
    }
    if args.words.is_empty() && !args.all {
        return Err(Failure::usage("say what to resolve: a resource, two sides, --plan ID, or --resume"));
    }
    match live::meant(&args.words, args.all, &args.options.access())? {
        Target::Several(wanted) => live::several::resolve::run(cli, args, screen, &desk, &wanted),
        Target::Pair(two) => {
            // A wrong policy is said before anything is opened.
            two.access.policy()?;
            let opened = Opened::sides(&two, Mode::ReadWrite)?;
            of_one(cli, args, screen, &desk, &opened, Topic::Sides(&two), &two.access)
        }
        Target::Resource(name) => {
            let given = args.options.access();
            given.policy()?;
            let access = given.about(&name);
            let opened = Opened::nodes(&access, "resolve")?;
            of_one(cli, args, screen, &desk, &opened, Topic::Resource(&name, &given), &access)
        }
    }
}

fn of_one(
    cli: &Cli,
    args: &ResolveArgs,
    screen: &mut Screen,
    desk: &Desk,
    opened: &Opened,
    topic: Topic<'_>,
    access: &Access,
) -> Result<u8, Failure> {
    let choice = args.choice.choice();
    let mut by = AtTerminal::new(cli, screen, desk, args.yes);
    match heal(desk, &mut by, opened, access, &choice)? {
        Healed::Agree(agreed) => {
            agree(cli, screen, &agreed, &everything(cli, topic))?;
            Ok(FINE)
        }
        Healed::Held(why) => {
            held(cli, screen, &why, topic, &choice)?;
            Ok(HELD)
        }
        Healed::NotAgreed(drawn) => Err(nobody_agreed(cli, drawn.sealed.id(), drawn.sealed.plan().salvage)),
        Healed::Ran(ran) => conclude(cli, screen, desk, &ran),
    }
}

fn nothing_open(cli: &Cli, screen: &mut Screen) -> Result<u8, Failure> {
    if cli.json {
        outcome_document(screen, None, "nothing-open", None, None)?;
    } else {
        screen.line("No incident is open: nothing to resume.")?;
    }
    Ok(FINE)
}

fn carried_out(
    cli: &Cli,
    screen: &mut Screen,
    desk: &Desk,
    sealed: &SealedPlan,
    by: &IncidentId,
) -> Result<u8, Failure> {
    let (id, plan) = (sealed.id(), sealed.plan());
    if cli.json {
        // What runs has one for each volume.
        let salvage = plan.images().is_some() && plan.salvage;
        let salvage = salvage.then(|| desk.store.locate(&dir_of(by)));
        outcome_document(screen, Some(by), "already-healed", Some(plan.survivor), salvage)?;
    } else {
        let text = format!("Plan {id} was already carried out, by incident {by}. Nothing was changed now.");
        screen.line(text)?;
    }
    Ok(FINE)
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
        PlanError::Unknown { .. } | PlanError::Ambiguous { .. } | PlanError::TooShort { .. } => Kind::Usage,
        PlanError::Store(_) => Kind::Internal,
        _ => Kind::Evidence,
    };
    Failure::new(kind, error)
}
