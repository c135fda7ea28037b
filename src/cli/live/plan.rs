//! `unsplit plan RESOURCE`, and drawing for `resolve`.

use super::volumes::{Both, Compared, compare};
use crate::cli::Cli;
use crate::cli::exit::{DIVERGED, FINE, Failure, HELD, NOT_FENCED};
use crate::cli::incident::{Desk, open_desk, refuse_while_open};
use crate::cli::pair::PairOptions;
use crate::cli::plan::{ChoiceArgs, PlanArgs, judge, loss_table, reasons, salvage_wanted, state_dir_words};
use crate::cli::screen::{Screen, Tone};
use crate::edge::peer::PeerSpec;
use crate::edge::terminal::TerminalProgress;
use crate::engine::inquiry::InquiryError;
use crate::engine::live::draw::{Decision, Found, draw};
use crate::engine::live::others::in_the_way;
use crate::engine::live::pair::LivePair;
use crate::engine::live::plans;
use crate::engine::live::policies::to_restore;
use crate::judge::live_plan::{SealedLivePlan, reach, side_named, would_heal};
use crate::judge::units::losses;
use crate::model::drbd_live::words::ConnectionState;
use crate::model::id::ResourceName;
use crate::model::live_plan::{LivePlan, LiveStep, Reach};
use crate::model::plan::Purpose;
use crate::model::policy::Settings;
use crate::model::side::{Pair, Side};
use crate::model::size::human;
use crate::model::verdict::{Reason, Trace, Verdict};
use crate::ports::store::Store;

/// What drawing came to.
pub enum LiveDrawn {
    /// Nothing to do.
    Agree(Trace),
    /// A sealed and kept plan.
    Sealed {
        /// The plan.
        sealed: Box<SealedLivePlan>,
        /// Whether the policy lets it run without asking.
        auto: bool,
    },
    /// The policy does not decide, or refuses; the nodes' names, for the next command.
    Held {
        /// Why.
        verdict: Box<Verdict>,
        /// The nodes.
        names: Pair<crate::model::id::NodeName>,
    },
}

/// The settings for a resource.
///
/// # Errors
/// The policy file is missing or wrong.
pub fn settings(resource: &ResourceName, options: &PairOptions) -> Result<Settings, Failure> {
    match &options.policy {
        None => Ok(Settings::drbd_defaults()),
        Some(path) => Ok(crate::cli::pair::load_policy(path)?.settings_for(resource).clone()),
    }
}

fn kept_side(choice: &ChoiceArgs, pair: &LivePair) -> Result<Option<Side>, Failure> {
    let Some(word) = &choice.keep else { return Ok(None) };
    let named = side_named(&pair.names, word);
    named.map(Some).ok_or_else(|| {
        Failure::usage(format!(
            "--keep {word}: there is no such node; say {} or {}",
            pair.names.a, pair.names.b
        ))
    })
}

/// Compares all volumes, decides, plans, seals; keeps the plan in the state directory.
///
/// # Errors
/// Anything that keeps a plan from being drawn.
pub fn draw_plan(
    both: &Both,
    resource: &ResourceName,
    options: &PairOptions,
    choice: &ChoiceArgs,
    desk: &Desk,
) -> Result<LiveDrawn, Failure> {
    let settings = settings(resource, options)?;
    let pair = both.look(resource)?;
    let keep = kept_side(choice, &pair)?;
    must_be_apart(&pair)?;
    let mut compared = Vec::new();
    for volume in &pair.volumes {
        let found = compare(&pair, volume, both.peer(), options, &settings, choice.full, None);
        compared.push(found.map_err(|failure| as_drbd_documents_it(failure, &pair, keep))?);
    }
    for volume in &compared {
        let sources = volume.sight.evidence.as_ref().map(|seen| &seen.source);
        refuse_while_open(sources, &*desk.store, &desk.journal, &[])?;
    }
    let (survivor, auto, trace) = match decide_all(&settings, &compared, keep) {
        Decided::Heal { survivor, auto, trace } => (survivor, auto, trace),
        Decided::Agree(trace) => return Ok(LiveDrawn::Agree(trace)),
        Decided::Held(verdict) => {
            return Ok(LiveDrawn::Held { verdict: Box::new(verdict), names: pair.names.clone() });
        }
    };
    if let Some(why) = in_the_way(&pair, survivor) {
        let next = why.what_to_type(resource);
        return Err(Failure::new(NOT_FENCED, why).hint(next));
    }
    refuse_what_drbd_would_not_do(&pair, &compared, survivor, both.peer())?;
    let salvage = salvage_wanted(&settings, choice)?;
    let progress = TerminalProgress::new();
    let found = compared
        .iter()
        .map(|volume| Found {
            volume: volume.volume,
            sight: &volume.sight,
            delta: &volume.found.delta,
            losses: losses(&volume.found.units, survivor),
            replicas: volume.opened.replicas(),
        })
        .collect();
    for volume in &compared {
        if let Some(bad) = volume.found.delta.unreadable.first() {
            return Err(Failure::evidence(anyhow::anyhow!(
                "volume {} cannot be read on {} at byte {}: {}. What cannot be read can be neither kept nor compared",
                volume.volume.volume,
                pair.names[bad.side],
                bad.extent.start,
                bad.why
            )));
        }
    }
    let restore = to_restore(both.nodes()?, &pair);
    let decision =
        Decision { peer: both.peer().to_string(), survivor, restore, salvage, full: choice.full, trace };
    let plan = draw(&pair, found, decision, options.threads(), &progress).map_err(Failure::evidence)?;
    let sealed = plans::sealed(plan).map_err(Failure::internal)?;
    plans::keep(&*desk.store, &sealed).map_err(Failure::internal)?;
    Ok(LiveDrawn::Sealed { sealed: Box::new(sealed), auto })
}

/// Unrelated data is not healed; what a person types who knows which node's data is to stay.
fn as_drbd_documents_it(failure: Failure, pair: &LivePair, keep: Option<Side>) -> Failure {
    if !matches!(failure.error.downcast_ref(), Some(InquiryError::Unrelated { .. })) {
        return failure;
    }
    let r = &pair.resource;
    let (keep, lose) = match keep {
        Some(side) => (pair.names[side].as_str(), pair.names[side.other()].as_str()),
        None => ("the node whose data stays", "the other node"),
    };
    failure.hint(format!(
        "if {keep}'s data is to stay and EVERYTHING that {lose} holds may go (nothing is kept of it: copy its disk first): on {lose} \
         `drbdadm down {r} && drbdadm create-md {r} && drbdadm up {r}`, on {keep} `drbdadm adjust {r}`; DRBD then copies the whole volume"
    ))
}

/// Two that are connected are DRBD's to sync.
fn must_be_apart(pair: &LivePair) -> Result<(), Failure> {
    let state = |side: Side| crate::engine::live::standing::state(&pair.told[side], &pair.toward[side]);
    if state(Side::A) == ConnectionState::Connected && state(Side::B) == ConnectionState::Connected {
        let resource = &pair.resource;
        return Err(Failure::evidence(anyhow::anyhow!(
            "{resource} is connected: the two are not in split brain, and DRBD keeps them in sync by itself"
        ))
        .hint(format!(
            "unsplit status {resource} shows what it does; `drbdadm verify {resource}` compares the contents"
        )));
    }
    Ok(())
}

enum Decided {
    Agree(Trace),
    Heal { survivor: Side, auto: bool, trace: Trace },
    Held(Verdict),
}

/// One survivor for the whole connection: DRBD's `--discard-my-data` means all of its volumes.
fn decide_all(settings: &Settings, compared: &[Compared<'_>], keep: Option<Side>) -> Decided {
    let mut agreed = None;
    let mut heal: Option<(Side, bool, Trace, u32)> = None;
    for volume in compared {
        match judge(settings, &volume.sight, &volume.found, keep) {
            Verdict::Agree { trace } => agreed = agreed.or(Some(trace)),
            Verdict::Heal { survivor, auto, trace } => match &mut heal {
                None => heal = Some((survivor, auto, trace, volume.volume.volume)),
                Some((first, all_auto, _, _)) if *first == survivor => *all_auto &= auto,
                Some((_, _, trace, number)) => {
                    let mut trace = trace.clone();
                    trace.push(
                        "one survivor for a connection",
                        format!("the policy keeps different sides of volume {number} and volume {}", volume.volume.volume),
                        "not decided: --discard-my-data means all volumes of a connection, so a person must name one side (--keep)",
                    );
                    return Decided::Held(Verdict::Hold { trace });
                }
            },
            held => return Decided::Held(held),
        }
    }
    match (heal, agreed) {
        (Some((survivor, auto, trace, _)), _) => Decided::Heal { survivor, auto, trace },
        (None, Some(trace)) => Decided::Agree(trace),
        (None, None) => Decided::Agree(Trace::new(Reason {
            rule: "volumes".to_owned(),
            evidence: String::new(),
            conclusion: "the resource has no volume".to_owned(),
        })),
    }
}

fn refuse_what_drbd_would_not_do(
    pair: &LivePair,
    compared: &[Compared<'_>],
    survivor: Side,
    peer: &PeerSpec,
) -> Result<(), Failure> {
    let names = pair.names.as_ref().map(|name| name.as_str());
    for volume in compared {
        let way = reach(pair.generation, volume.sight.comparison.common_base);
        if let Err(why) = would_heal(volume.sight.lineages.as_ref(), names, survivor, way) {
            let resource = &pair.resource;
            let text = format!(
                "{resource} cannot be healed live with {} kept (volume {}): {why}",
                names[survivor], volume.volume.volume
            );
            let backing = &volume.volume.backing;
            return Err(Failure::new(HELD, anyhow::Error::msg(text)).hint(format!(
                "take {resource} down on both nodes (`drbdadm down {resource}`) and heal its devices: `unsplit resolve {} {} --peer {peer} \
                 --keep {}`",
                backing.a.data,
                backing.b.data,
                survivor.word()
            )));
        }
    }
    Ok(())
}

pub(in crate::cli) fn run(
    cli: &Cli,
    args: &PlanArgs,
    screen: &mut Screen,
    resource: &ResourceName,
) -> Result<u8, Failure> {
    let options = &args.target.options;
    let both = Both::reach(resource, options, "plan")?;
    let desk = open_desk(&cli.state_dir)?;
    match draw_plan(&both, resource, options, &args.choice, &desk)? {
        LiveDrawn::Agree(trace) => {
            crate::cli::plan::agree(cli, screen, &trace)?;
            Ok(FINE)
        }
        LiveDrawn::Held { verdict, names } => {
            held(cli, screen, &verdict, &names, resource, &both)?;
            Ok(HELD)
        }
        LiveDrawn::Sealed { sealed, auto } => {
            if cli.json {
                document(screen, &sealed, Some(auto))?;
            } else {
                show(screen, &sealed, &desk.store.locate("salvage"))?;
                screen.heading("Nothing has been changed. To run this plan")?;
                let waive = if sealed.plan().salvage { "" } else { " --no-salvage" };
                screen.line(format!(
                    "  unsplit resolve --plan {}{waive}{}",
                    sealed.id(),
                    state_dir_words(cli)
                ))?;
            }
            Ok(DIVERGED)
        }
    }
}

/// The plan as JSON.
///
/// # Errors
/// When standard output is closed.
pub fn document(screen: &mut Screen, sealed: &SealedLivePlan, auto: Option<bool>) -> std::io::Result<()> {
    let plan = sealed.plan();
    let verdict = if plan.purpose == Purpose::Heal { "heal" } else { "undo" };
    screen.json(&serde_json::json!({
        "schema": "unsplit.live-plan", "version": 1, "verdict": verdict, "id": sealed.id().0.to_string(), "auto": auto,
        "trace": plan.trace, "plan": plan,
    }))
}

/// Tells why the policy does not decide, and what a person can type.
///
/// # Errors
/// When standard output is closed.
pub fn held(
    cli: &Cli,
    screen: &mut Screen,
    verdict: &Verdict,
    names: &Pair<crate::model::id::NodeName>,
    resource: &ResourceName,
    both: &Both,
) -> Result<(), Failure> {
    let refused = matches!(verdict, Verdict::Refuse { .. });
    if cli.json {
        let word = if refused { "refuse" } else { "hold" };
        screen.json(&serde_json::json!({
            "schema": "unsplit.live-plan", "version": 1, "id": null, "auto": null, "verdict": word, "trace": verdict.trace(), "plan": null,
        }))?;
        return Ok(());
    }
    let headline = if refused {
        "Refused: no choice of survivor would be right on this evidence. Nothing was changed."
    } else {
        "Held: the policy does not decide this case. A person must choose. Nothing was changed."
    };
    let headline = screen.paint(Tone::Bad, headline);
    screen.line(headline)?;
    reasons(screen, verdict.trace())?;
    if refused {
        screen.heading("What it is, and what can be typed")?;
        screen.line(format!("  unsplit status {resource} --peer {}", both.peer()))?;
    } else {
        screen.heading("To choose, see in detail what each choice would do")?;
        let state_dir = state_dir_words(cli);
        for side in Side::BOTH {
            let (keep, lose) = (&names[side], &names[side.other()]);
            screen
                .line(format!("  unsplit plan {resource} --peer {} --keep {keep}{state_dir}", both.peer()))?;
            screen.line(format!(
                "      keeps {keep}'s data and overwrites {lose}; a copy is kept; a plan changes nothing yet"
            ))?;
        }
    }
    Ok(())
}

/// The plan in words.
///
/// # Errors
/// When standard output is closed.
pub fn show(screen: &mut Screen, sealed: &SealedLivePlan, salvages: &str) -> std::io::Result<()> {
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
        loss_table(screen, keep.as_str(), lose.as_str(), &volume.losses, volume.doubtful)?;
    }
    screen.heading("What will be kept")?;
    if plan.salvage {
        screen.line(format!("  {} of {lose}'s data, verified, under {salvages},", human(plan.bytes())))?;
        screen.line("  before anything is overwritten.")?;
    } else {
        let warning = screen.paint(
            Tone::Bad,
            "  NOTHING: the policy and the command line both say so. There will be no undo.",
        );
        screen.line(warning)?;
    }
    screen.heading("What will happen")?;
    for (at, step) in plan.steps.iter().enumerate() {
        screen.line(format!("  {:>2}. {}", at + 1, step_words(*step, plan)))?;
    }
    screen.line(format!("  {keep} stays in use all the time; {lose} must not be in use."))?;
    Ok(())
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
