//! `unsplit resolve` of several resources: all plans are shown, consent is asked for once, then one is healed after the other.
//!
//! One after the other, because there is one journal: one process writes it, record after record, and the cursor that lets an act
//! follow its intent holds it for as long as its incident runs. And resyncs side by side would only share the same link.

use super::plan::{draw_each, lost_words};
use super::{Rows, ask, row};
use crate::cli::Cli;
use crate::cli::at_terminal::AtTerminal;
use crate::cli::consent::{agreed_at_the_prompt, nobody_agreed, run_words};
use crate::cli::exit::{FINE, Failure, HELD};
use crate::cli::live::chosen::Task;
use crate::cli::live::ending::{finished, finished_document, show_finished};
use crate::cli::live::list::{List, Outcome, Row};
use crate::cli::live::words_of;
use crate::cli::plan::show;
use crate::cli::resolve::{ResolveArgs, others};
use crate::cli::screen::{Screen, Tone};
use crate::engine::drbd::plan_of;
use crate::model::id::NodeName;
use crate::model::record::Consent;
use crate::ports::store::Store;
use crate::resolver::access::Wanted;
use crate::resolver::both::Both;
use crate::resolver::desk::Desk;
use crate::resolver::draw::DrawnPlan;
use crate::resolver::draw::drbd::Drawing;
use crate::resolver::opened::Opened;
use crate::resolver::run::{self, How};

/// Reaches the peer, draws, asks and heals.
pub(in crate::cli) fn run(
    cli: &Cli,
    args: &ResolveArgs,
    screen: &mut Screen,
    desk: &Desk,
    wanted: &Wanted,
) -> Result<u8, Failure> {
    let both = Both::reach(&words_of(wanted), &args.options.access(), "resolve")?;
    over(cli, args, screen, desk, &both, wanted)
}

/// Draws, asks and heals what is wanted of these nodes' resources.
///
/// # Errors
/// What concerns all of them: the policy file, a node that does not answer, printing.
pub fn over(
    cli: &Cli,
    args: &ResolveArgs,
    screen: &mut Screen,
    desk: &Desk,
    both: &Both,
    wanted: &Wanted,
) -> Result<u8, Failure> {
    let (access, choice) = (args.options.access(), args.choice.choice());
    let policy = access.policy()?;
    let asked = ask(both, wanted, Task::Heal)?;
    let mut rows = Rows::default();
    let mut plans: Vec<DrawnPlan> = Vec::new();
    let salvages = desk.store.locate("salvage");
    {
        let (access, choice) = (&access, &choice);
        let (policy, reports) = (policy.as_ref(), Some(&asked.reports));
        let drawing = Drawing { both, desk, access, choice, policy, reports };
        draw_each(cli, screen, &drawing, &asked, &mut rows, |cli, screen, drawn| {
            if !cli.json {
                show(screen, drawn, &salvages)?;
                screen.line("")?;
            }
            plans.push(drawn.clone());
            Ok(None)
        })?;
    }
    let consents = consents(cli, args, screen, &plans)?;
    for (drawn, consent) in plans.iter().zip(consents) {
        let row = match consent {
            Some(consent) => heal(cli, args, screen, desk, both, drawn, consent)?,
            None => not_agreed(cli, drawn),
        };
        rows.put(row);
    }
    let list = List::new("resolve", both, asked.rows(|name| rows.take(name)));
    list.show(cli.json, screen)?;
    Ok(list.exit_code())
}

/// Who agreed to each plan: `--yes`, its policy, or a person who is asked once for all that are left.
fn consents(
    cli: &Cli,
    args: &ResolveArgs,
    screen: &mut Screen,
    plans: &[DrawnPlan],
) -> Result<Vec<Option<Consent>>, Failure> {
    let known = |drawn: &DrawnPlan| match (args.yes, drawn.auto) {
        (true, _) => Some(Consent::Operator),
        (false, true) => Some(Consent::Policy),
        (false, false) => None,
    };
    let mut victims: Vec<NodeName> = Vec::new();
    for drawn in plans.iter().filter(|drawn| known(drawn).is_none()) {
        let plan = drawn.sealed.plan();
        let victim = &plan.names[plan.victim()];
        if !victims.contains(victim) {
            victims.push(victim.clone());
        }
    }
    let said = if victims.is_empty() {
        None
    } else {
        let asked = |screen: &mut Screen| {
            screen.heading("To be agreed to, all at once")?;
            plans.iter().filter(|drawn| known(drawn).is_none()).try_for_each(|drawn| {
                screen.line(format!("  {}: {}", drawn.sealed.plan().resource, lost_words(drawn)))
            })
        };
        agreed_at_the_prompt(cli, screen, &victims, asked)?
    };
    Ok(plans.iter().map(|drawn| known(drawn).or(said)).collect())
}

fn not_agreed(cli: &Cli, drawn: &DrawnPlan) -> Row {
    let (id, plan) = (drawn.sealed.id(), drawn.sealed.plan());
    Row {
        resource: plan.resource.to_string(),
        outcome: Outcome::NotAgreed,
        exit_code: HELD,
        says: "a plan was drawn and kept; nobody agreed to it, nothing was changed".to_owned(),
        next: vec![run_words(cli, id, plan.salvage)],
        document: Some(nobody_agreed(cli, id, plan.salvage).document()),
    }
}

/// One plan, as an incident of its own. What stops it is in its row.
fn heal(
    cli: &Cli,
    args: &ResolveArgs,
    screen: &mut Screen,
    desk: &Desk,
    both: &Both,
    drawn: &DrawnPlan,
    consent: Consent,
) -> Result<Row, Failure> {
    let (sealed, plan) = (&drawn.sealed, drawn.sealed.plan());
    if !cli.json {
        let title = screen.paint(Tone::Strong, &format!("Healing {}", plan.resource));
        screen.line(title)?;
        screen.out().flush()?;
    }
    let running = plan_of(sealed).map_err(Failure::internal)?;
    let run = both.still_there().and_then(|()| {
        let how = How { threads: args.options.access().threads(), no_salvage: args.choice.no_salvage };
        let mut by = AtTerminal::new(cli, screen, desk, true);
        run::start(desk, &mut by, &Opened::Drbd(both.clone()), (sealed, None), consent, how)
    });
    let outcome = run.and_then(|ran| {
        let outcome = finished(cli, running, &ran.incident, &ran.ending)?;
        Ok((ran.incident, outcome, ran.left))
    });
    match outcome {
        Ok((id, outcome, left)) => {
            if !cli.json {
                show_finished(cli, screen, &*desk.store, running, &id, outcome)?;
                others(cli, screen, &left)?;
                screen.line("")?;
            }
            let document = finished_document(&*desk.store, plan, &id, outcome);
            let says = format!("equals {} now, by incident {id}", plan.names[plan.survivor]);
            row(&plan.resource, Outcome::Healed, FINE, says, Vec::new(), document)
        }
        Err(failure) => {
            let failure = failure.in_state_dir(&crate::cli::plan::state_dir_words(cli));
            if !cli.json {
                screen.line(failure.text())?;
                screen.line("")?;
            }
            Ok(Row::failed(plan.resource.as_str(), &failure))
        }
    }
}
