//! `unsplit plan RESOURCE`: one plan on the screen.

use crate::cli::Cli;
use crate::cli::compared;
use crate::cli::diff::offer_full;
use crate::cli::exit::{DIVERGED, FINE, Failure, HELD};
use crate::cli::plan::{
    self, Document, PlanArgs, agree, held_word, kept, loss_table, reasons, show_held, to_run,
};
use crate::cli::screen::{Screen, Tone};
use crate::cli::still_open::{About, StillOpen, backing_devices};
use crate::cli::suggest::Suggestion;
use crate::edge::terminal::TerminalProgress;
use crate::judge::audit::SealedLivePlan;
use crate::model::delta::{Coverage, Uncertain};
use crate::model::id::{NodeName, ResourceName};
use crate::model::live_plan::{LivePlan, LiveStep, Reach};
use crate::model::plan::Purpose;
use crate::model::side::Pair;
use crate::model::size::human;
use crate::model::verdict::Verdict;
use crate::ports::store::Store;
use crate::resolver::access::Access;
use crate::resolver::both::Both;
use crate::resolver::desk::open_desk;
use crate::resolver::draw::Held;
use crate::resolver::draw::drbd::{Drawing, DrawnPlan, LiveDrawn};
use crate::resolver::in_use::{InUse, User};
use crate::resolver::turns::Share;

const SCHEMA: &str = "unsplit.live-plan";

pub(in crate::cli) fn run(
    cli: &Cli,
    args: &PlanArgs,
    screen: &mut Screen,
    resource: &ResourceName,
) -> Result<u8, Failure> {
    let (access, choice) = (args.target.options.access(), args.choice.choice());
    let policy = access.policy()?;
    let both = Both::reach(resource.as_str(), &access, "plan")?;
    let pair = both.look(resource)?;
    if !cli.json {
        // Before it is refused because of it, perhaps only after much was compared.
        let devices = backing_devices(&pair.states.a, &[resource.as_str()]);
        let about = About::Resources { names: &[resource.as_str()], devices: &devices };
        StillOpen::about(cli, about).show(screen)?;
    }
    let desk = open_desk(&cli.state_dir)?;
    let (choice, policy) = (&choice, policy.as_ref());
    let drawing = Drawing { both: &both, desk: &desk, access: &access, choice, policy, reports: None };
    let ready = drawing.ready(pair)?;
    if let Some(in_use) = &ready.in_use {
        in_use.show_early(cli.json, screen)?;
    }
    match drawing.draw(ready, Share::whole(access.threads()), &TerminalProgress::new())? {
        LiveDrawn::Agree(agreed) => {
            agree(cli, screen, &agreed, &everything(cli, resource, &access))?;
            Ok(FINE)
        }
        LiveDrawn::Held { held: why, names } => {
            held(cli, screen, &why, &names, resource, &drawing)?;
            Ok(HELD)
        }
        LiveDrawn::Sealed(drawn) => {
            let DrawnPlan { sealed, auto, in_use, seen } = &*drawn;
            if cli.json {
                screen.json(&document(sealed, Some(*auto), Some(in_use), Some(*seen)))?;
            } else {
                show(screen, sealed, &desk.store.locate("salvage"), Some(in_use))?;
                screen.heading("What was compared for this")?;
                compared::show(screen, "  ", *seen)?;
                to_run(cli, screen, sealed.id(), sealed.plan().salvage)?;
                let keep = sealed.plan().names[sealed.plan().survivor].as_str();
                let whole = Suggestion::of_resource(cli, "plan", resource.as_str(), &access).choice(choice);
                offer_full(cli, screen, *seen, &whole.flag("--full", true).keep(keep))?;
            }
            Ok(DIVERGED)
        }
    }
}

/// The plan as JSON. `in_use`: who uses the side that it overwrites, if that was asked.
#[must_use]
pub fn document<'a>(
    sealed: &'a SealedLivePlan,
    auto: Option<bool>,
    in_use: Option<&'a InUse>,
    coverage: Option<Coverage>,
) -> impl serde::Serialize + 'a {
    let plan = sealed.plan();
    let verdict = if plan.purpose == Purpose::Heal { "heal" } else { "undo" };
    let document: Document<'a, LivePlan, &'a [User]> = Document::without_plan(SCHEMA, verdict, &plan.trace);
    Document {
        id: Some(sealed.id().0.to_string()),
        auto,
        plan: Some(plan),
        coverage,
        in_use: Some(in_use.map_or(&[][..], |in_use| &in_use.users)),
        ..document
    }
}

/// That no plan was drawn, as JSON.
#[must_use]
pub(super) fn held_document(held: &Held) -> impl serde::Serialize + '_ {
    let document: Document<'_, LivePlan, &[User]> =
        Document::without_plan(SCHEMA, held_word(&held.verdict), held.verdict.trace());
    Document { in_use: Some(&[][..]), coverage: Some(held.seen), ..document }
}

/// The command that compares everything, whatever is marked.
pub(super) fn everything(cli: &Cli, resource: &ResourceName, access: &Access) -> Suggestion {
    Suggestion::of_resource(cli, "diff", resource.as_str(), access).flag("--full", true)
}

/// The command that shows what keeping a node would do.
#[must_use]
pub(super) fn choose(cli: &Cli, resource: &ResourceName, by: &Drawing<'_>, keep: &NodeName) -> Suggestion {
    Suggestion::of_resource(cli, "plan", resource.as_str(), by.access).choice(by.choice).keep(keep.as_str())
}

/// Tells why the policy does not decide, and what a person can type.
///
/// # Errors
/// When standard output is closed.
pub(super) fn held(
    cli: &Cli,
    screen: &mut Screen,
    held: &Held,
    names: &Pair<NodeName>,
    resource: &ResourceName,
    by: &Drawing<'_>,
) -> Result<(), Failure> {
    if cli.json {
        screen.json(&held_document(held))?;
        return Ok(());
    }
    let choose = |keep: &NodeName| choose(cli, resource, by, keep);
    show_held(screen, held, names.as_ref(), &choose)?;
    if matches!(held.verdict, Verdict::Refuse { .. }) {
        screen.heading("What it is, and what can be typed")?;
        let status = Suggestion::of_resource(cli, "status", resource.as_str(), by.access);
        screen.line(format!("  {status}"))?;
    }
    offer_full(cli, screen, held.seen, &everything(cli, resource, by.access))?;
    Ok(())
}

/// The plan in words. `in_use`: who uses the side that it overwrites, if that was asked.
///
/// # Errors
/// When standard output is closed.
pub fn show(
    screen: &mut Screen,
    sealed: &SealedLivePlan,
    salvages: &str,
    in_use: Option<&InUse>,
) -> std::io::Result<()> {
    let plan = sealed.plan();
    let (keep, lose) = (&plan.names[plan.survivor], &plan.names[plan.victim()]);
    let title = format!("Plan {} for {}, running: keep {keep}, overwrite {lose}", sealed.id(), plan.resource);
    let title = screen.paint(Tone::Strong, &title);
    screen.line(title)?;
    reasons(screen, &plan.trace)?;
    for volume in &plan.volumes {
        if plan.volumes.len() > 1 {
            screen.line("")?;
            screen.line(format!("Volume {} ({})", volume.volume, human(volume.size)))?;
        }
        let doubtful = (volume.doubtful, Uncertain::from_marks(volume.reach == Reach::Bitmaps));
        loss_table(screen, keep.as_str(), lose.as_str(), &volume.losses, doubtful)?;
    }
    kept(screen, plan.salvage.then(|| (plan.bytes(), format!("{lose}'s data"), "")), salvages)?;
    if let Some(in_use) = in_use.filter(|in_use| !in_use.users.is_empty()) {
        screen.line("")?;
        in_use.show(screen)?;
    }
    screen.heading("What will happen")?;
    plan::steps(screen, plan.steps.iter().map(|step| step_words(*step, plan)))?;
    screen.line(format!("  {keep} stays in use all the time; {lose} must not be in use."))
}

/// A step in words.
#[must_use]
pub fn step_words(step: LiveStep, plan: &LivePlan) -> String {
    let (keep, lose, resource) = (&plan.names[plan.survivor], &plan.names[plan.victim()], &plan.resource);
    let here = &plan.names.a;
    match step {
        LiveStep::Isolate => {
            format!("disconnect {resource} on {lose}, so that nothing begins before its time")
        }
        LiveStep::Demote => {
            format!("make {resource} Secondary on {lose}; whoever uses it there is named, and stops this")
        }
        LiveStep::CheckBasis => "check that everything is still as this plan was drawn from".to_owned(),
        LiveStep::Preserve { bytes } => format!("copy {} into the salvage and read it back", human(bytes)),
        LiveStep::Invalidate => format!(
            "declare {lose}'s data out of date, because DRBD 8.4 would otherwise believe bitmaps that do not cover all that differs"
        ),
        LiveStep::Reconnect => format!(
            "connect {lose} with --discard-my-data, and {keep}; no after-sb policy may decide otherwise"
        ),
        LiveStep::Resync => {
            let all = plan.volumes.iter().any(|volume| volume.reach != Reach::Bitmaps);
            let what = if all { "everything" } else { "what either side marked" };
            format!("watch DRBD copy {what} from {keep} to {lose}")
        }
        LiveStep::VerifyRelation => "check that DRBD calls both the same generation".to_owned(),
        LiveStep::VerifyContent { full: true } => "compare the contents of the whole volumes".to_owned(),
        LiveStep::VerifyContent { full: false } => "compare the contents wherever they differed".to_owned(),
        LiveStep::RestorePolicies => "put the connection's after-sb policies back".to_owned(),
        LiveStep::ConnectOthers => {
            format!("connect {lose} with the other nodes that hold {keep}'s data")
        }
        LiveStep::Promote => format!("make {resource} Primary on {here}; nobody else may use it"),
        LiveStep::WriteBack { bytes } => {
            format!("write {} of what {lose} held through DRBD, to both nodes", human(bytes))
        }
        LiveStep::StepDown => format!("make {resource} Secondary on {here} again"),
        LiveStep::Record => "close the incident".to_owned(),
    }
}
