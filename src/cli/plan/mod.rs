//! `unsplit plan`.
//!
//! | file | holds |
//! |---|---|
//! | `verdict` | nothing to do, held, refused; the reasons |
//! | `parts` | what every plan's page has |

mod parts;
mod verdict;

pub(super) use parts::{fate_words, kept, loss_table, steps, to_run};
pub(super) use verdict::{Document, agree, agree_document, held_word, reasons, show_held};

use super::Cli;
use super::compared;
use super::diff::offer_full;
use super::exit::{DIVERGED, FINE, Failure, HELD};
use super::live::{self, TargetArgs};
use super::screen::{Screen, Tone};
use super::suggest::Suggestion;
use crate::edge::blockdev::Mode;
use crate::edge::terminal::TerminalProgress;
use crate::judge::audit::SealedPlan;
use crate::model::delta::Uncertain;
use crate::model::id::NodeName;
use crate::model::plan::{Plan, Purpose, Step};
use crate::model::shell::shell_path;
use crate::model::side::Side;
use crate::model::size::human;
use crate::ports::store::Store;
use crate::resolver::access::{Choice, Target, TwoSides};
use crate::resolver::desk::open_desk;
use crate::resolver::draw::Held;
use crate::resolver::draw::images::{Drawn, draw_plan};
use crate::resolver::sides::open;
use clap::Args;

/// Draw a plan: what would happen, what would be lost, what would be kept.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  unsplit plan r0 --peer ssh:node2 --keep node1\n  unsplit plan --all --peer ssh:node2 --policy FILE  all that are split\n  unsplit plan node1.img node2.img --keep a\n  unsplit plan node1.img node2.img --policy policies/classic-two-node.toml\n\nA plan changes nothing. `unsplit resolve --plan ID` runs it, as long as both sides are still as they were."
)]
pub struct PlanArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub target: TargetArgs,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub choice: ChoiceArgs,
}

/// What to keep, and how.
#[derive(Debug, Clone, Default, Args)]
pub struct ChoiceArgs {
    /// Keep this side, whatever the policy says: `a`, `b`, or a name
    #[arg(long, value_name = "SIDE")]
    pub keep: Option<String>,

    /// Compare the whole volume, before and after
    #[arg(long)]
    pub full: bool,

    /// Keep no copy of what is discarded; only together with a policy that says salvage = "off"
    #[arg(long)]
    pub no_salvage: bool,
}

impl ChoiceArgs {
    /// What was chosen.
    #[must_use]
    pub fn choice(&self) -> Choice {
        Choice { keep: self.keep.clone(), full: self.full, no_salvage: self.no_salvage }
    }
}

pub(super) fn run(cli: &Cli, args: &PlanArgs, screen: &mut Screen) -> Result<u8, Failure> {
    let pair = match args.target.target()? {
        Target::Pair(pair) => pair,
        Target::Resource(resource) => return live::plan::run(cli, args, screen, &resource),
        Target::Several(wanted) => return live::several::plan::run(cli, args, screen, &wanted),
    };
    let settings = pair.access.settings()?;
    let opened = open(&pair, Mode::ReadOnly)?;
    let desk = open_desk(&cli.state_dir)?;
    let (choice, mut said) = (args.choice.choice(), Vec::new());
    let progress = TerminalProgress::new();
    let drawn = draw_plan(&opened, &pair.access, &choice, &settings, &desk, &progress, &mut said)?;
    if !cli.json {
        said.iter().try_for_each(|remark| screen.line(remark))?;
    }
    match &drawn {
        Drawn::Agree(agreed) => {
            agree(cli, screen, agreed, &everything(cli, &pair))?;
            Ok(FINE)
        }
        Drawn::Held(verdict) => {
            held(cli, screen, verdict, &pair, &choice)?;
            Ok(HELD)
        }
        Drawn::Sealed { sealed, auto, seen } => {
            if cli.json {
                let document = document(sealed, "heal", Some(*auto));
                screen.json(&Document { coverage: Some(*seen), ..document })?;
            } else {
                show(screen, sealed, &desk.store.locate("salvage"))?;
                screen.heading("What was compared for this")?;
                compared::show(screen, "  ", *seen)?;
                to_run(cli, screen, sealed.id(), sealed.plan().salvage)?;
                let keep = sealed.plan().names[sealed.plan().survivor].as_str();
                let whole = Suggestion::of_pair(cli, "plan", &pair).choice(&choice);
                offer_full(cli, screen, *seen, &whole.flag("--full", true).keep(keep))?;
            }
            Ok(DIVERGED)
        }
    }
}

fn document<'a>(sealed: &'a SealedPlan, verdict: &'static str, auto: Option<bool>) -> Document<'a, Plan> {
    let plan = sealed.plan();
    let id = Some(sealed.id().0.to_string());
    Document { id, auto, plan: Some(plan), ..Document::without_plan("unsplit.plan", verdict, &plan.trace) }
}

/// The plan of an undo, as JSON.
///
/// # Errors
/// When standard output is closed.
pub fn show_undo(screen: &mut Screen, sealed: &SealedPlan) -> std::io::Result<()> {
    screen.json(&document(sealed, "undo", None))
}

/// Tells why the policy does not decide, and what a person can type.
///
/// # Errors
/// When standard output is closed.
pub(super) fn held(
    cli: &Cli,
    screen: &mut Screen,
    held: &Held,
    pair: &TwoSides,
    choice: &Choice,
) -> Result<(), Failure> {
    if cli.json {
        let document: Document<'_, Plan> =
            Document::without_plan("unsplit.plan", held_word(&held.verdict), held.verdict.trace());
        return Ok(screen.json(&Document { coverage: Some(held.seen), ..document })?);
    }
    let names = pair.access.names.as_ref();
    let choose = |keep: &NodeName| Suggestion::of_pair(cli, "plan", pair).choice(choice).keep(keep.as_str());
    show_held(screen, held, names, &choose)?;
    Ok(offer_full(cli, screen, held.seen, &everything(cli, pair))?)
}

/// The command that compares everything, whatever is marked.
pub(super) fn everything(cli: &Cli, pair: &TwoSides) -> Suggestion {
    Suggestion::of_pair(cli, "diff", pair).flag("--full", true)
}

/// ` --state-dir DIR`, when it is not the default.
#[must_use]
pub fn state_dir_words(cli: &Cli) -> String {
    if cli.state_dir.as_os_str() == super::STATE_DIR {
        String::new()
    } else {
        let absolute = std::path::absolute(&cli.state_dir);
        format!(" --state-dir {}", shell_path(absolute.as_deref().unwrap_or(&cli.state_dir)))
    }
}

/// The whole plan in words.
///
/// # Errors
/// When standard output is closed.
pub fn show(screen: &mut Screen, sealed: &SealedPlan, salvages: &str) -> std::io::Result<()> {
    let plan = sealed.plan();
    let (keep, lose) = (&plan.names[plan.survivor], &plan.names[plan.victim()]);
    let title = format!("Plan {} for {}: keep {keep}, overwrite {lose}", sealed.id(), plan.resource);
    let title = screen.paint(Tone::Strong, &title);
    screen.line(title)?;
    screen.line(format!("  {keep} is {}", plan.basis[plan.survivor].source.place_words()))?;
    screen.line(format!("  {lose} is {}", plan.basis[plan.victim()].source.place_words()))?;
    reasons(screen, &plan.trace)?;
    let doubtful = (plan.doubtful, Uncertain::from_marks(plan.common_base));
    loss_table(screen, keep.as_str(), lose.as_str(), &plan.losses, doubtful)?;
    let end = " `unsplit undo` puts it back exactly.";
    let what = || (plan.overwrite.bytes(), format!("{lose}'s data and both sides' DRBD metadata"), end);
    kept(screen, plan.salvage.then(what), salvages)?;
    screen.heading("What will happen")?;
    steps(screen, plan.steps.iter().map(|step| step_words(step, plan)))
}

/// A step in words.
#[must_use]
pub fn step_words(step: &Step, plan: &Plan) -> String {
    let undo = plan.purpose != Purpose::Heal;
    let name = |side: &Side| plan.names[*side].to_string();
    match step {
        Step::Quiesce => {
            "take both sides for ourselves, so that nobody else writes; stop if anybody does".to_owned()
        }
        Step::CheckBasis if undo => {
            "check that neither side was used since the healing; stop if one was".to_owned()
        }
        Step::CheckBasis => "check that both sides are exactly as this plan saw them; stop if not".to_owned(),
        Step::Preserve { bytes } if plan.salvage => format!(
            "copy {} of {}'s data to the salvage, flush it, read it back and compare",
            human(*bytes),
            plan.names[plan.victim()]
        ),
        Step::Preserve { .. } => "keep nothing, as told".to_owned(),
        Step::MarkInconsistent { side } => {
            format!("mark {} as Inconsistent, so that nothing attaches it half-written", name(side))
        }
        Step::Overwrite { side, bytes } if undo => {
            format!("write {} from the salvage back to {}", human(*bytes), name(side))
        }
        Step::Overwrite { side, bytes } => {
            format!("overwrite {} on {} with {}'s data", human(*bytes), name(side), name(&side.other()))
        }
        Step::SettleMetadata { side } => {
            format!(
                "write {}'s DRBD metadata as after a finished resync: same generation, nothing left to sync",
                name(side)
            )
        }
        Step::RestoreMetadata { side } => format!("write {}'s DRBD metadata back as it was", name(side)),
        Step::VerifyRelation if undo => {
            "compare both sides' metadata with the salvage: every byte as it was".to_owned()
        }
        Step::VerifyRelation => "compare the generations again: they must be in sync".to_owned(),
        Step::VerifyContent { .. } if undo => {
            format!("compare {}'s data with the salvage: every byte as it was", plan.names[plan.victim()])
        }
        Step::VerifyContent { full: true } => "compare the whole volume again: it must be equal".to_owned(),
        Step::VerifyContent { full: false } => {
            "compare again all that was compared for this plan: it must be equal".to_owned()
        }
        Step::Record => "close the incident in the journal".to_owned(),
    }
}
