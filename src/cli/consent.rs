//! Agreeing to a plan: at a prompt, or not at all; and saying twice that nothing is kept.

use super::Cli;
use super::exit::{Failure, Kind};
use super::plan::state_dir_words;
use super::screen::Screen;
use crate::model::id::{NodeName, PlanId};
use crate::model::record::Consent;
use crate::resolver::desk::waiver;
use std::io::{BufRead, IsTerminal};

/// Shows what is to be done and asks, where somebody can answer. `victims`: all sides that would be overwritten.
///
/// # Errors
/// Standard input or output failed.
pub(super) fn agreed_at_the_prompt(
    cli: &Cli,
    screen: &mut Screen,
    victims: &[NodeName],
    show: impl FnOnce(&mut Screen) -> std::io::Result<()>,
) -> Result<Option<Consent>, Failure> {
    if cli.json || !std::io::stdin().is_terminal() {
        return Ok(None);
    }
    show(screen)?;
    let names: Vec<&str> = victims.iter().map(NodeName::as_str).collect();
    let wanted = names.join(" ");
    let what = match names.len() {
        1 => "name of the side to overwrite",
        _ => "names of the sides to overwrite",
    };
    write!(screen.out(), "\nType the {what} ({wanted}) to agree: ")?;
    screen.out().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    let said: Vec<&str> = answer.split_whitespace().collect();
    Ok((said == names).then_some(Consent::Operator))
}

/// The plan stays, and how to run it is said.
#[must_use]
pub(super) fn nobody_agreed(cli: &Cli, plan: PlanId, salvage: bool) -> Failure {
    let why = format!(
        "plan {plan} was drawn and kept, but nobody agreed to it (no --yes, no policy with auto = true, no matching \
         answer): nothing was changed. The command below runs it and does not ask"
    );
    Failure::new(Kind::Held, anyhow::Error::msg(why)).hint(run_words(cli, plan, salvage))
}

/// The command that runs a plan.
#[must_use]
pub(super) fn run_words(cli: &Cli, plan: PlanId, salvage: bool) -> String {
    format!("unsplit resolve --plan {plan}{}{}", waiver(salvage), state_dir_words(cli))
}
