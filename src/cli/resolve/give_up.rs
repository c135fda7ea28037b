//! Giving up.

use super::ResolveArgs;
use super::ending::forget_comparisons;
use crate::cli::Cli;
use crate::cli::exit::{FINE, Failure, Kind};
use crate::cli::incident::state_words;
use crate::cli::plan::state_dir_words;
use crate::cli::screen::Screen;
use crate::engine::before;
use crate::engine::drbd::overwrite::carried_word;
use crate::engine::plans;
use crate::engine::salvage::dir_of;
use crate::judge::audit::SealedPlan;
use crate::model::plan::{Plan, Purpose};
use crate::model::record::Outcome;
use crate::ports::store::Store;
use crate::resolver::desk::{Desk, give_up_command, is_open};

/// Ends an open incident as it is. Nothing but the journal is read or written: it must be possible whatever became of
/// the devices, the plan and the salvage.
pub(super) fn give_up(
    cli: &Cli,
    args: &ResolveArgs,
    screen: &mut Screen,
    desk: &Desk,
    asked: &str,
) -> Result<u8, Failure> {
    let found = desk.journal.incidents().iter().find(|incident| incident.id.as_str() == asked).cloned();
    let incident = match found {
        Some(incident) if is_open(&incident) => incident,
        Some(incident) => {
            let state = state_words(&incident.state);
            return Err(Failure::usage(format!("incident {} is over: {state}", incident.id)));
        }
        None => {
            return Err(Failure::usage(format!(
                "there is no incident `{asked}`; `unsplit history` lists them"
            )));
        }
    };
    let id = incident.id.clone();
    let changed = incident.touched();
    let sealed = plans::load(&*desk.store, incident.plan).ok();
    let plan = sealed.as_ref().map(SealedPlan::plan);
    let live = plan.and_then(Plan::drbd);
    if changed && !args.yes {
        let text = if live.is_some() {
            format!(
                "incident {id} has told DRBD to overwrite a node: given up now, DRBD goes on by itself if it can, and nothing is verified"
            )
        } else {
            format!(
                "incident {id} has begun to change a side: given up now, that side stays Inconsistent and may be half overwritten"
            )
        };
        let next = format!("{} --yes{}", give_up_command(&id), state_dir_words(cli));
        return Err(Failure::new(Kind::Held, anyhow::Error::msg(text)).hint(next));
    }
    desk.journal.end(&id, "the operator gave it up", Outcome::Abandoned).map_err(Failure::internal)?;
    before::forget(&*desk.store, &id);
    if let Some(images) = plan.and_then(Plan::images) {
        forget_comparisons(&*desk.store, &images);
    }
    let told = live.filter(|plan| changed && plan.purpose == Purpose::Heal);
    let carried = told.and_then(carried_word);
    if cli.json {
        screen.json(&serde_json::json!({
            "schema": "unsplit.resolve", "version": 1, "incident": id, "outcome": Outcome::Abandoned, "changed": changed,
        }))?;
    } else if let (true, Some(plan)) = (changed, live) {
        let resource = &plan.resource;
        screen.line(format!(
            "Incident {id} is given up. DRBD was told to overwrite {}; `unsplit status {resource}` shows how far that came.",
            plan.names[plan.victim()]
        ))?;
        screen.line(format!("What was kept of it stays in {}-v*", desk.store.locate(&dir_of(&id))))?;
    } else if changed {
        screen.line(format!(
            "Incident {id} is given up. Both sides stay as they are; one may be half overwritten."
        ))?;
        screen.line(format!("What was kept of it stays in {}", desk.store.locate(&dir_of(&id))))?;
    } else {
        screen.line(format!("Incident {id} is given up. It had not changed anything."))?;
    }
    if let (false, Some(carried)) = (cli.json, carried) {
        screen.line(carried.trim())?;
    }
    Ok(FINE)
}
