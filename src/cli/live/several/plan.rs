//! `unsplit plan` of several resources; and what drawing came to, for `resolve`.

use super::diff::failed;
use super::{Asked, Rows, ask, row, still_open};
use crate::cli::Cli;
use crate::cli::compared;
use crate::cli::consent::run_words;
use crate::cli::exit::{DIVERGED, FINE, Failure, HELD};
use crate::cli::live::chosen::Task;
use crate::cli::live::list::{List, Outcome, Row};
use crate::cli::live::words_of;
use crate::cli::plan::{
    PlanArgs, agree, agree_document, choose, drawn_document, everything, held, held_document, show,
};
use crate::cli::screen::{Screen, Tone};
use crate::cli::suggest::Topic;
use crate::model::id::ResourceName;
use crate::model::side::Side;
use crate::model::size::human;
use crate::model::verdict::Verdict;
use crate::ports::progress::Silent;
use crate::ports::store::Store;
use crate::resolver::access::Wanted;
use crate::resolver::both::Both;
use crate::resolver::desk::open_desk;
use crate::resolver::draw::drbd::Drawing;
use crate::resolver::draw::{Drawn, DrawnPlan, Held};

/// Reaches the peer and draws.
pub(in crate::cli) fn run(
    cli: &Cli,
    args: &PlanArgs,
    screen: &mut Screen,
    wanted: &Wanted,
) -> Result<u8, Failure> {
    let both = Both::reach(&words_of(wanted), &args.target.options.access(), "plan")?;
    over(cli, args, screen, &both, wanted)
}

/// Draws what is wanted of these nodes' resources.
///
/// # Errors
/// What concerns all of them: the policy file, the state directory, a node that does not answer, printing.
pub fn over(
    cli: &Cli,
    args: &PlanArgs,
    screen: &mut Screen,
    both: &Both,
    wanted: &Wanted,
) -> Result<u8, Failure> {
    let (access, choice) = (args.target.options.access(), args.choice.choice());
    let policy = access.policy()?;
    let desk = open_desk(&cli.state_dir)?;
    let asked = ask(both, wanted, Task::Heal)?;
    still_open(cli, screen, wanted, &asked)?;
    let (choice, policy, reports) = (&choice, policy.as_ref(), Some(&asked.reports));
    let drawing = Drawing { both, desk: &desk, access: &access, choice, policy, reports };
    let mut rows = Rows::default();
    let salvages = desk.store.locate("salvage");
    draw_each(cli, screen, &drawing, &asked, &mut rows, |cli, screen, drawn| {
        let plan = drawn.sealed.plan();
        if !cli.json {
            show(screen, drawn, &salvages)?;
            compared::show(screen, "  ", drawn.seen)?;
            screen.line("")?;
        }
        let says = lost_words(drawn);
        let next = vec![run_words(cli, drawn.sealed.id(), plan.salvage)];
        let document = drawn_document(drawn);
        row(&plan.resource, Outcome::Planned, DIVERGED, says, next, document).map(Some)
    })?;
    let list = List::new("plan", both, asked.rows(|name| rows.take(name)));
    list.show(cli.json, screen)?;
    Ok(list.exit_code())
}

/// What a plan would do, in one sentence.
pub(super) fn lost_words(drawn: &DrawnPlan) -> String {
    let plan = drawn.sealed.plan();
    let (keep, lose) = (&plan.names[plan.survivor], &plan.names[plan.victim()]);
    let is_busy = drawn.in_use.as_ref().is_some_and(|in_use| !in_use.users.is_empty());
    let busy = if is_busy { format!("; in use on {lose}") } else { String::new() };
    format!("keep {keep}, overwrite {} on {lose}{busy}", human(plan.bytes()))
}

/// Draws a plan for each that was taken on, several at once. Who uses a victim that `--keep` names is said before anything is
/// compared. `drawn` gets each plan in turn and may give its row.
pub(super) fn draw_each(
    cli: &Cli,
    screen: &mut Screen,
    drawing: &Drawing<'_>,
    asked: &Asked,
    rows: &mut Rows,
    mut drawn: impl FnMut(&Cli, &mut Screen, &mut DrawnPlan) -> Result<Option<Row>, Failure>,
) -> Result<(), Failure> {
    let both = drawing.both;
    drawing.choice.keep_side(&both.names())?;
    for name in asked.taken() {
        // What cannot be used says so in its turn.
        let Ok(ready) = both.paired(&asked.reports, name).and_then(|pair| drawing.ready(pair)) else {
            continue;
        };
        if let Some(in_use) = &ready.in_use {
            in_use.show_early(cli.json, screen)?;
        }
    }
    asked.each(
        both,
        drawing.access.threads(),
        "planned",
        |pair, share| drawing.draw(drawing.ready(pair)?, share, &Silent),
        |name, found| {
            let row = match found {
                Ok(Drawn::Sealed(mut plan)) => drawn(cli, screen, &mut plan)?,
                Ok(Drawn::Agree(agreed)) => {
                    if !cli.json {
                        title(screen, name)?;
                        agree(cli, screen, &agreed, &everything(cli, Topic::Resource(name, drawing.access)))?;
                        screen.line("")?;
                    }
                    let says = if agreed.seen.whole() {
                        "the sides agree"
                    } else {
                        "nothing to do, as far as the marks tell"
                    };
                    Some(row(name, Outcome::Agree, FINE, says, Vec::new(), agree_document(&agreed))?)
                }
                Ok(Drawn::Held(why)) => Some(not_decided(cli, screen, drawing, name, &why)?),
                Err(failure) => {
                    failed(cli, screen, name, &failure)?;
                    Some(Row::failed(name.as_str(), &failure))
                }
            };
            row.into_iter().for_each(|row| rows.put(row));
            Ok(())
        },
    )
}

fn title(screen: &mut Screen, name: &ResourceName) -> std::io::Result<()> {
    let title = screen.paint(Tone::Strong, name.as_str());
    screen.line(title)
}

fn not_decided(
    cli: &Cli,
    screen: &mut Screen,
    drawing: &Drawing<'_>,
    name: &ResourceName,
    why: &Held,
) -> Result<Row, Failure> {
    let topic = Topic::Resource(name, drawing.access);
    if !cli.json {
        title(screen, name)?;
        held(cli, screen, why, topic, drawing.choice)?;
        screen.line("")?;
    }
    let refused = matches!(why.verdict, Verdict::Refuse { .. });
    let (outcome, says, next) = if refused {
        (Outcome::Refused, "no choice of survivor would be right", Vec::new())
    } else {
        let choose = |side: &Side| choose(cli, topic, drawing.choice, &why.names[*side]).to_string();
        let next = why.keepable.iter().map(choose).collect();
        (Outcome::Held, "the policy does not decide: a person must choose", next)
    };
    row(name, outcome, HELD, says, next, held_document(why))
}
