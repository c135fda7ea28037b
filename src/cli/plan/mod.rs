//! `unsplit plan`.
//!
//! | file | holds |
//! |---|---|
//! | `verdict` | nothing to do, held, refused; the reasons |
//! | `parts` | what every plan's page has |

mod parts;
mod verdict;

pub(super) use parts::{fate_words, kept, loss_table, steps, to_run};
pub(super) use verdict::{Agreed, Document, Held, agree, agree_document, held_word, reasons, show_held};

use super::Cli;
use super::compared;
use super::diff::offer_full;
use super::exit::{DIVERGED, FINE, Failure, HELD};
use super::incident::{open_desk, refuse_while_open};
use super::live::{self, Target, TargetArgs};
use super::pair::{Found, OpenPair, PairArgs, open};
use super::screen::{Screen, Tone};
use super::suggest::Suggestion;
use crate::edge::blockdev::Mode;
use crate::engine::inquiry::Sight;
use crate::engine::journal::Journal;
use crate::engine::plans;
use crate::engine::recall::Place;
use crate::judge::audit::{SealedPlan, Seen};
use crate::judge::planner::images::{Inputs, draw};
use crate::judge::policy::{Case, Clues, DeltaSummary, decide, decide_running};
use crate::judge::units::losses;
use crate::judge::worse::keepable;
use crate::model::delta::{Coverage, Uncertain};
use crate::model::id::{NodeName, ResourceName};
use crate::model::plan::{Plan, Purpose, Step};
use crate::model::policy::{SalvageRule, Settings};
use crate::model::shell::shell_path;
use crate::model::side::{Pair, Side};
use crate::model::size::human;
use crate::model::verdict::{Trace, Verdict};
use crate::ports::store::Store;
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
    /// The side that `--keep` names.
    ///
    /// # Errors
    /// It is neither `a`, `b` nor a side's name.
    pub fn keep_side(&self, names: &Pair<NodeName>) -> Result<Option<Side>, Failure> {
        let Some(word) = &self.keep else { return Ok(None) };
        // A name wins over the letters: a node may be called `b` and be side a.
        let by_name = Side::BOTH.into_iter().find(|side| names[*side].as_str() == word);
        let by_letter = Side::BOTH.into_iter().find(|side| side.word() == word);
        by_name.or(by_letter).map(Some).ok_or_else(|| {
            let named = match (names.a.as_str(), names.b.as_str()) {
                ("a", "b") => "a or b".to_owned(),
                (a, b) => format!("a, b, {a} or {b}"),
            };
            Failure::usage(format!("--keep {word}: there is no such side; say {named}"))
        })
    }
}

/// What `plan` (and `resolve` without a plan) came to.
pub enum Drawn {
    /// Nothing to do.
    Agree(Agreed),
    /// A sealed and kept plan; `auto` says whether the policy lets it run without asking.
    Sealed {
        /// The plan.
        sealed: Box<SealedPlan>,
        /// From the policy.
        auto: bool,
        /// How much was compared.
        seen: Coverage,
    },
    /// The policy does not decide, or refuses.
    Held(Held),
}

/// Observes, compares, decides, plans, seals; keeps the plan in the state directory.
///
/// `said`: gets sentences about where the comparison came from.
///
/// # Errors
/// Anything that keeps a plan from being drawn.
pub fn draw_plan(
    opened: &OpenPair,
    pair: &PairArgs,
    choice: &ChoiceArgs,
    settings: &Settings,
    store: &dyn Store,
    journal: &Journal,
    said: &mut Vec<String>,
) -> Result<Drawn, Failure> {
    let sight = opened.look(settings)?;
    // One incident at a time for a device: an open one must be ended first.
    refuse_while_open(sight.evidence.as_ref().map(|seen| &seen.source), store, journal, &[])?;
    let names = sight.evidence.as_ref().map(|seen| seen.name.clone());
    let keep = choice.keep_side(&names)?;
    let found = opened.diff_in(&sight, choice.full, &pair.options, Place::Open(store))?;
    said.extend_from_slice(&found.remarks);
    let seen = found.delta.coverage();
    let (survivor, auto, trace) = match judge(settings, &sight, &found, keep) {
        Verdict::Agree { trace } => return Ok(Drawn::Agree(Agreed { trace, seen })),
        Verdict::Heal { survivor, auto, trace } => (survivor, auto, trace),
        verdict @ (Verdict::Hold { .. } | Verdict::Refuse { .. }) => {
            let keepable = keepable(sight.disks(), &sight.comparison);
            return Ok(Drawn::Held(Held { verdict, keepable, seen }));
        }
    };
    let salvage = salvage_wanted(settings, choice)?;
    let plan =
        draw_from(pair.options.resource.clone(), &sight, &found, survivor, salvage, choice.full, trace)?;
    let sealed = plans::seal_healing(plan, &[Seen { evidence: &sight.evidence, delta: &found.delta }])
        .map_err(Failure::internal)?;
    plans::keep(store, &sealed).map_err(Failure::internal)?;
    Ok(Drawn::Sealed { sealed: Box::new(sealed), auto, seen })
}

/// What the policy says of this pair.
#[must_use]
pub fn judge(settings: &Settings, sight: &Sight, found: &Found, keep: Option<Side>) -> Verdict {
    decide(settings, &case(sight, found, keep))
}

/// The same of a volume of a resource that runs.
#[must_use]
pub fn judge_running(settings: &Settings, sight: &Sight, found: &Found, keep: Option<Side>) -> Verdict {
    decide_running(settings, &case(sight, found, keep))
}

fn case(sight: &Sight, found: &Found, keep: Option<Side>) -> Case {
    Case {
        names: found.names.clone(),
        lineages: sight.lineages.clone(),
        comparison: sight.comparison.clone(),
        delta: DeltaSummary::of(&found.delta),
        clues: Clues::default(),
        keep,
    }
}

fn draw_from(
    resource: ResourceName,
    sight: &Sight,
    found: &Found,
    survivor: Side,
    salvage: bool,
    full: bool,
    trace: Trace,
) -> Result<Plan, Failure> {
    draw(Inputs {
        resource,
        evidence: &sight.evidence,
        superblocks: sight.superblocks.clone(),
        delta: &found.delta,
        survivor,
        salvage,
        full,
        losses: losses(&found.units, survivor),
        trace,
    })
    .map_err(Failure::evidence)
}

/// Both the policy and the command line must say so before nothing is kept.
pub(super) fn salvage_wanted(settings: &Settings, choice: &ChoiceArgs) -> Result<bool, Failure> {
    match (settings.salvage, choice.no_salvage) {
        (SalvageRule::Off, true) => Ok(false),
        (SalvageRule::Required, true) => Err(Failure::usage(
            "--no-salvage needs a policy that says salvage = \"off\", too: what is discarded would be gone for good",
        )),
        (SalvageRule::Off | SalvageRule::Required, false) => Ok(true),
    }
}

pub(super) fn run(cli: &Cli, args: &PlanArgs, screen: &mut Screen) -> Result<u8, Failure> {
    let pair = match args.target.target()? {
        Target::Pair(pair) => pair,
        Target::Resource(resource) => return live::plan::run(cli, args, screen, &resource),
        Target::Several(wanted) => return live::several::plan::run(cli, args, screen, &wanted),
    };
    let settings = pair.options.settings()?;
    let opened = open(&pair, Mode::ReadOnly)?;
    let desk = open_desk(&cli.state_dir)?;
    let mut said = Vec::new();
    let drawn = draw_plan(&opened, &pair, &args.choice, &settings, &*desk.store, &desk.journal, &mut said)?;
    if !cli.json {
        said.iter().try_for_each(|remark| screen.line(remark))?;
    }
    match &drawn {
        Drawn::Agree(agreed) => {
            agree(cli, screen, agreed, &everything(cli, &pair))?;
            Ok(FINE)
        }
        Drawn::Held(verdict) => {
            held(cli, screen, verdict, &pair, &args.choice)?;
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
                let whole = Suggestion::of_pair(cli, "plan", &pair).choice(&args.choice);
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
    pair: &PairArgs,
    choice: &ChoiceArgs,
) -> Result<(), Failure> {
    if cli.json {
        let document: Document<'_, Plan> =
            Document::without_plan("unsplit.plan", held_word(&held.verdict), held.verdict.trace());
        return Ok(screen.json(&Document { coverage: Some(held.seen), ..document })?);
    }
    let names = Pair::new(&pair.options.name_a, &pair.options.name_b);
    let choose = |keep: &NodeName| Suggestion::of_pair(cli, "plan", pair).choice(choice).keep(keep.as_str());
    show_held(screen, held, names, &choose)?;
    Ok(offer_full(cli, screen, held.seen, &everything(cli, pair))?)
}

/// The command that compares everything, whatever is marked.
pub(super) fn everything(cli: &Cli, pair: &PairArgs) -> Suggestion {
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
