//! How a run ended, for people and for programs, and what can be done next.

use crate::cli::Cli;
use crate::cli::exit::{FINE, Failure, Kind};
use crate::cli::live;
use crate::cli::plan::state_dir_words;
use crate::cli::screen::{Screen, Tone};
use crate::cli::suggest::Suggestion;
use crate::engine::incident::{Ending, Obstacle};
use crate::engine::salvage::dir_of;
use crate::model::id::IncidentId;
use crate::model::plan::images::ImagesPlan;
use crate::model::plan::{self, Purpose};
use crate::model::record::Outcome;
use crate::model::side::Side;
use crate::model::size::human;
use crate::ports::store::Store;
use crate::resolver::access::Reading;
use crate::resolver::desk::{Desk, give_up_command, resume_command, waiver};
use crate::resolver::give_up::forget_comparisons;
use crate::resolver::run::Ran;
use crate::resolver::sides::as_planned;
use crate::resolver::there::MEND;
use serde::Serialize;

/// What `resolve` and `undo` came to, as JSON.
pub(super) fn outcome_document(
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

/// Tells how an incident ended, and what can be done next.
///
/// # Errors
/// How it ended, unless well.
pub(in crate::cli) fn conclude(
    cli: &Cli,
    screen: &mut Screen,
    desk: &Desk,
    ran: &Ran,
) -> Result<u8, Failure> {
    let Ran { incident, sealed, ending, left } = ran;
    match sealed.plan().kind() {
        Some(plan::Kind::Images(plan)) => of_images(cli, screen, &*desk.store, plan, incident, ending),
        Some(plan::Kind::Drbd(plan)) => {
            let outcome = live::ending::finished(cli, plan, incident, ending)?;
            if cli.json {
                screen.json(&live::ending::finished_document(&*desk.store, &plan, incident, outcome))?;
            } else {
                live::ending::show_finished(cli, screen, &*desk.store, plan, incident, outcome)?;
            }
            others(cli, screen, left)?;
            Ok(FINE)
        }
        Some(plan::Kind::Fence(_)) => Err(of_a_fence(incident, ending)),
        #[cfg(feature = "memory-disks")]
        Some(plan::Kind::Memory(_)) => Ok(FINE),
        None => Err(Failure::internal(anyhow::anyhow!("plan {} fits no kind of storage", sealed.id()))),
    }
}

/// What is left to do on nodes beside the two.
///
/// # Errors
/// When standard output is closed.
pub(in crate::cli) fn others(cli: &Cli, screen: &mut Screen, left: &[String]) -> std::io::Result<()> {
    if left.is_empty() || cli.json {
        return Ok(());
    }
    screen.heading("The other nodes")?;
    left.iter().try_for_each(|sentence| screen.line(format!("  {sentence}")))
}

fn of_images(
    cli: &Cli,
    screen: &mut Screen,
    store: &dyn Store,
    plan: ImagesPlan<'_>,
    id: &IncidentId,
    ending: &Ending,
) -> Result<u8, Failure> {
    let (keep, lose) = (&plan.names[plan.survivor], &plan.names[plan.victim()]);
    let state_dir = state_dir_words(cli);
    match ending {
        Ending::Fenced => Err(of_a_fence(id, ending)),
        Ending::Finished(outcome) => {
            forget_comparisons(store, &plan);
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
                    screen.line(format!(
                        "{} of {lose}'s data and both sides' metadata are back, each compared with the salvage.",
                        human(plan.bytes())
                    ))?;
                    let [diff, _] = again(cli, plan);
                    screen.line("They relate as they did then. To look at them:")?;
                    screen.line(format!("  {diff}"))?;
                }
                _ => {
                    let (bytes, full) = (plan.bytes(), plan.is_full());
                    let [what, how] = equals(lose.as_str(), keep.as_str(), bytes, plan.volume.size, full);
                    let line = screen.paint(Tone::Good, &format!("Healed: {what}"));
                    screen.line(line)?;
                    // Images stand still, so all that the plan had compared is compared again.
                    let how = if full { how } else { AGAIN.to_owned() };
                    screen.line(how)?;
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
            let failure = Failure::new(kind(*obstacle, &plan.purpose), anyhow::Error::msg(text));
            Err(match (&plan.purpose, obstacle) {
                (Purpose::Heal, Obstacle::Stale) => {
                    let [diff, plan] = again(cli, plan);
                    failure.hint(format!("look again with `{diff}`, then draw a new plan with `{plan}`"))
                }
                (Purpose::Undo { incident }, Obstacle::Stale) => failure.hint(format!(
                    "an undo never overwrites newer data; `unsplit salvage show {incident}{state_dir}` tells how to \
                     open what was kept"
                )),
                (Purpose::Undo { incident }, Obstacle::Salvage) => {
                    failure.hint(format!("unsplit salvage verify {incident}{state_dir}"))
                }
                (_, Obstacle::Link) => {
                    failure.hint(MEND)
                }
                (_, Obstacle::Busy) => failure.hint("stop who uses it, then run the same command again"),
                _ => failure,
            })
        }
        Ending::Parked { why, obstacle, may_pass } => {
            let kept = kept_words(plan.salvage, &plan.purpose, *obstacle);
            let undo = plan.salvage && plan.purpose == Purpose::Heal && *obstacle != Obstacle::Salvage;
            let back = match undo {
                true => format!("; or go back with `unsplit undo {id}{state_dir}`"),
                false => String::new(),
            };
            let text = format!("incident {id} is parked: {why}. {kept}");
            let resume = format!("{}{}{state_dir}", resume_command(id), waiver(plan.salvage));
            let next = match may_pass {
                true => format!("mend the cause, then `{resume}`{back}"),
                false => only_a_new_plan(id, &resume, &state_dir),
            };
            Err(Failure::new(Kind::Parked, anyhow::Error::msg(text)).hint(next))
        }
    }
}

/// What is left when going on cannot succeed. What somebody else wrote is not put back by waiting, and an undo does not overwrite
/// it, either: a new plan sees it and keeps it.
pub(in crate::cli) fn only_a_new_plan(id: &IncidentId, resume: &str, state_dir: &str) -> String {
    format!(
        "end this one with `{} --yes{state_dir}` and draw a new plan, which keeps what stands there now; for as long as it \
         does, `{resume}` parks again, and an undo refuses",
        give_up_command(id)
    )
}

/// The commands that look at a plan's two sides again, and draw another plan for them.
fn again(cli: &Cli, plan: ImagesPlan<'_>) -> [String; 2] {
    // A plan whose peer cannot be named any more is no reason to say nothing.
    match as_planned(plan.volume.at.as_ref(), &plan.names, &plan.resource, &Reading::default()) {
        Ok(pair) => {
            let typed = |verb: &str| Suggestion::of_pair(cli, verb, &pair).flag("--full", plan.is_full());
            let keep = plan.names[plan.survivor].as_str();
            [typed("diff").to_string(), typed("plan").keep(keep).to_string()]
        }
        Err(_) => ["unsplit diff".to_owned(), "unsplit plan".to_owned()],
    }
}

/// How a healing of images was verified.
const AGAIN: &str =
    "Verified by generation, and by comparing again all that the plan had compared; no more than that.";

/// What a healing made equal, and how that was verified. `healed`: bytes that differed; `size`: bytes of the volume.
#[must_use]
pub(in crate::cli) fn equals(lose: &str, keep: &str, healed: u64, size: u64, full: bool) -> [String; 2] {
    let (healed, size) = (human(healed), human(size));
    if full {
        let what = format!("{lose} now equals {keep}; {healed} of {size} had differed.");
        return [what, "Verified by generation, and by comparing everything.".to_owned()];
    }
    let what = format!("{lose} now equals {keep} in the {healed} of {size} that were seen to differ.");
    [what, "Verified by generation, and by content there; the rest was not compared again.".to_owned()]
}

/// How a run ended that only fences the peer: nothing is healed by it.
pub(in crate::cli) fn of_a_fence(id: &IncidentId, ending: &Ending) -> Failure {
    let (kind, text) = match ending {
        Ending::Finished(_) | Ending::Fenced => {
            let waits = "waits for the side that was fenced: its healing follows when it is back";
            (Kind::Parked, format!("incident {id} {waits}"))
        }
        Ending::Abandoned { why, .. } => (Kind::NotFenced, format!("incident {id} was given up: {why}")),
        Ending::Parked { why, .. } => (Kind::Parked, format!("incident {id} is parked: {why}")),
    };
    Failure::new(kind, anyhow::Error::msg(text))
}

/// What of the overwritten data there is, when a run stopped in the middle.
pub(in crate::cli) fn kept_words(salvage: bool, purpose: &Purpose, obstacle: Obstacle) -> &'static str {
    match (salvage, purpose) {
        (false, _) => "No copy was kept of what is overwritten, as the policy and the command line said",
        // The salvage is there, or it is what is wrong: the words before say.
        (true, _) if obstacle == Obstacle::Salvage => {
            "Nothing was changed now: the salvage is what is missing or damaged"
        }
        (true, Purpose::Fence) => "Nothing was changed",
        (true, Purpose::Heal) => "Nothing is lost: what is overwritten is in the salvage",
        (true, Purpose::Undo { .. }) => "Nothing is lost: what is put back is in the salvage",
    }
}

/// What kind of failure a run is that gave itself up.
pub(in crate::cli) fn kind(obstacle: Obstacle, purpose: &Purpose) -> Kind {
    match obstacle {
        // The salvage is what an undo works from.
        Obstacle::Salvage if *purpose != Purpose::Heal => Kind::Evidence,
        Obstacle::Busy => Kind::NotFenced,
        Obstacle::Stale | Obstacle::Device | Obstacle::Link | Obstacle::Verify => Kind::Evidence,
        Obstacle::Salvage => Kind::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::journal::NotReady;
    use crate::resolver::run::journal_stopped;

    #[test]
    fn a_journal_that_fails_in_the_middle_says_how_to_go_on() {
        let id = IncidentId::new("i1").unwrap();
        for (salvage, says) in [
            (true, "unsplit resolve --resume i1 --state-dir /s"),
            (false, "unsplit resolve --resume i1 --no-salvage --state-dir /s"),
        ] {
            let error = NotReady::NoSuchIncident { id: id.clone() }.into();
            let failure = journal_stopped(&id, salvage, error).in_state_dir(" --state-dir /s");
            assert_eq!(failure.kind, Kind::Internal);
            assert!(failure.text().contains(says), "{}", failure.text());
        }
    }

    /// Whoever reads "nothing is lost" relies on it.
    #[test]
    fn nothing_is_called_kept_where_the_salvage_is_what_is_wrong() {
        let undo = Purpose::Undo { incident: IncidentId::new("i1").unwrap() };
        for purpose in [&Purpose::Heal, &undo] {
            for obstacle in
                [Obstacle::Busy, Obstacle::Stale, Obstacle::Device, Obstacle::Link, Obstacle::Verify]
            {
                assert!(kept_words(true, purpose, obstacle).starts_with("Nothing is lost"));
                assert!(kept_words(false, purpose, obstacle).starts_with("No copy was kept"));
            }
            assert!(kept_words(true, purpose, Obstacle::Salvage).contains("missing or damaged"));
        }
        assert_eq!(kind(Obstacle::Salvage, &Purpose::Heal), Kind::Internal);
        assert_eq!(kind(Obstacle::Salvage, &undo), Kind::Evidence);
    }
}
