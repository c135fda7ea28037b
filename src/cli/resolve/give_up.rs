//! Giving up.

use super::ResolveArgs;
use crate::cli::Cli;
use crate::cli::exit::{FINE, Failure};
use crate::cli::screen::Screen;
use crate::engine::salvage::dir_of;
use crate::judge::audit::SealedPlan;
use crate::model::plan::Plan;
use crate::model::record::Outcome;
use crate::ports::store::Store;
use crate::resolver::desk::Desk;
use crate::resolver::give_up::{self, GivenUp};

/// Ends an open incident as it is, and says what that leaves behind.
pub(super) fn give_up(
    cli: &Cli,
    args: &ResolveArgs,
    screen: &mut Screen,
    desk: &Desk,
    asked: &str,
) -> Result<u8, Failure> {
    let GivenUp { incident: id, changed, sealed, carried } = give_up::give_up(desk, asked, args.yes)?;
    if cli.json {
        screen.json(&serde_json::json!({
            "schema": "unsplit.resolve", "version": 1, "incident": id, "outcome": Outcome::Abandoned, "changed": changed,
        }))?;
        return Ok(FINE);
    }
    let running = sealed.as_ref().map(SealedPlan::plan).and_then(Plan::drbd);
    match (changed, running) {
        (true, Some(plan)) => {
            let resource = &plan.resource;
            screen.line(format!(
                "Incident {id} is given up. DRBD was told to overwrite {}; `unsplit status {resource}` shows how far that came.",
                plan.names[plan.victim()]
            ))?;
            screen.line(format!("What was kept of it stays in {}-v*", desk.store.locate(&dir_of(&id))))?;
        }
        (true, None) => {
            screen.line(format!(
                "Incident {id} is given up. Both sides stay as they are; one may be half overwritten."
            ))?;
            screen.line(format!("What was kept of it stays in {}", desk.store.locate(&dir_of(&id))))?;
        }
        (false, _) => {
            screen.line(format!("Incident {id} is given up. It had not changed anything."))?;
        }
    }
    if let Some(carried) = carried {
        screen.line(carried)?;
    }
    Ok(FINE)
}
