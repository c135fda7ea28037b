//! How a run on a running resource ended, on the screen and as an exit code.

use crate::cli::Cli;
use crate::cli::exit::{Failure, Kind};
use crate::cli::plan::state_dir_words;
use crate::cli::resolve::{equals, kept_words, kind, of_a_fence, only_a_new_plan};
use crate::cli::screen::{Screen, Tone};
use crate::cli::suggest::Suggestion;
use crate::engine::drbd::salvage_of;
use crate::engine::incident::{Ending, Obstacle};
use crate::engine::salvage::dir_of;
use crate::model::id::IncidentId;
use crate::model::plan::drbd::DrbdPlan;
use crate::model::plan::{Plan, Purpose};
use crate::model::record::Outcome;
use crate::ports::store::Store;
use crate::resolver::desk::{give_up_command, resume_command, waiver};

fn salvages(plan: &Plan, id: &IncidentId) -> Vec<IncidentId> {
    plan.volumes
        .iter()
        .filter(|volume| plan.salvage && !volume.overwrite.is_empty())
        .filter_map(|volume| salvage_of(id, volume.number).ok())
        .collect()
}

/// A run that ended well, as JSON.
#[must_use]
pub(in crate::cli) fn finished_document(
    store: &dyn Store,
    plan: &Plan,
    id: &IncidentId,
    outcome: Outcome,
) -> serde_json::Value {
    let salvages: Vec<String> = salvages(plan, id).iter().map(|id| store.locate(&dir_of(id))).collect();
    serde_json::json!({
        "schema": "unsplit.resolve", "version": 1, "incident": id, "outcome": outcome,
        "survivor": plan.survivor, "salvage": salvages.first(), "salvages": salvages,
    })
}

/// A run that ended well, on the screen.
///
/// # Errors
/// When standard output is closed.
pub(in crate::cli) fn show_finished(
    cli: &Cli,
    screen: &mut Screen,
    store: &dyn Store,
    plan: DrbdPlan<'_>,
    id: &IncidentId,
    outcome: Outcome,
) -> std::io::Result<()> {
    let (keep, lose) = (&plan.names[plan.survivor], &plan.names[plan.victim()]);
    let (state_dir, resource) = (state_dir_words(cli), &plan.resource);
    let [what, how] = if outcome == Outcome::Undone {
        let what = format!("Undone: {resource} holds what {lose} held, on both nodes.");
        [what, "What was written back was compared.".to_owned()]
    } else {
        let size = plan.volumes.iter().map(|volume| volume.size).sum();
        let [what, how] =
            equals(&format!("{resource} on {lose}"), keep.as_str(), plan.bytes(), size, plan.is_full());
        [format!("Healed: {what}"), how]
    };
    let line = screen.paint(Tone::Good, &what);
    screen.line(line)?;
    screen.line(format!("{how} The nodes are connected, and in sync by DRBD's records."))?;
    let whose = if outcome == Outcome::Undone { "What was there before" } else { "What it held" };
    let kept = salvages(&plan, id);
    for salvage in &kept {
        screen.line(format!("{whose} is kept in {}", store.locate(&dir_of(salvage))))?;
        screen.line(format!(
            "  unsplit salvage show {salvage}{state_dir}     what is in it, and how to open it"
        ))?;
    }
    if outcome != Outcome::Undone && !kept.is_empty() {
        screen.line(format!(
            "  unsplit undo {id}{state_dir}     put it back, as long as nobody has written since"
        ))?;
    }
    Ok(())
}

/// How it ended, if well.
///
/// # Errors
/// It did not end well: exit codes 4, 5, 6 or 70.
pub(in crate::cli) fn finished(
    cli: &Cli,
    plan: DrbdPlan<'_>,
    id: &IncidentId,
    ending: &Ending,
) -> Result<Outcome, Failure> {
    let (keep, lose) = (&plan.names[plan.survivor], &plan.names[plan.victim()]);
    let (state_dir, resource) = (state_dir_words(cli), &plan.resource);
    match ending {
        Ending::Finished(outcome) => Ok(*outcome),
        Ending::Fenced => Err(of_a_fence(id, ending)),
        Ending::Abandoned { obstacle, why } => {
            let text = format!("incident {id} was given up before any data was changed: {why}");
            let failure = Failure::new(kind(*obstacle, &plan.purpose), anyhow::Error::msg(text));
            let left = match plan.undoes() {
                None => format!("{resource} stays disconnected on {lose}, as in a split brain"),
                Some(_) => format!("`unsplit status {resource}` shows how it stands"),
            };
            let next = match obstacle {
                Obstacle::Stale if plan.purpose != Purpose::Heal => left,
                Obstacle::Stale => {
                    // A plan that is run by its id stays stale: the words that draw a new one.
                    let typed = |verb: &str| {
                        Suggestion::by_words(cli, verb, resource.as_str(), &plan.ground.peer)
                            .flag("--full", plan.is_full())
                    };
                    let (diff, again) = (typed("diff"), typed("resolve").keep(keep.as_str()));
                    format!("{left}; look again: `{diff}`, then `{again}`")
                }
                Obstacle::Busy | Obstacle::Link | Obstacle::Salvage | Obstacle::Device | Obstacle::Verify => {
                    format!("{left}; mend the cause, then run the same command again")
                }
            };
            Err(failure.hint(next))
        }
        Ending::Parked { why, obstacle, may_pass } => {
            let kept = kept_words(plan.salvage, &plan.purpose, *obstacle);
            let text = format!("incident {id} is parked: {why}. {kept}");
            let resume = format!("{}{}{state_dir}", resume_command(id), waiver(plan.salvage));
            let next = match (may_pass, obstacle, &plan.purpose) {
                (false, ..) => only_a_new_plan(id, &resume, &state_dir),
                // What the plan was drawn from may not come back.
                (true, Obstacle::Stale, Purpose::Heal) => format!(
                    "if that passes, `{resume}`; else `{}{state_dir}`, and a new plan",
                    give_up_command(id)
                ),
                (true, ..) => format!("mend the cause, then `{resume}`"),
            };
            Err(Failure::new(Kind::Parked, anyhow::Error::msg(text)).hint(next))
        }
    }
}
