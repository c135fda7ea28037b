//! `unsplit plan RESOURCE`: one plan on the screen.

use crate::cli::Cli;
use crate::cli::diff::offer_full;
use crate::cli::exit::{DIVERGED, FINE, Failure, HELD};
use crate::cli::plan::{PlanArgs, agree, held_document, present, show_held};
use crate::cli::screen::Screen;
use crate::cli::still_open::{About, StillOpen, backing_devices};
use crate::cli::suggest::Suggestion;
use crate::edge::terminal::TerminalProgress;
use crate::model::id::{NodeName, ResourceName};
use crate::model::verdict::Verdict;
use crate::resolver::access::Access;
use crate::resolver::both::Both;
use crate::resolver::desk::open_desk;
use crate::resolver::draw::drbd::Drawing;
use crate::resolver::draw::{Drawn, Held};
use crate::resolver::turns::Share;

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
        Drawn::Agree(agreed) => {
            agree(cli, screen, &agreed, &everything(cli, resource, &access))?;
            Ok(FINE)
        }
        Drawn::Held(why) => {
            held(cli, screen, &why, resource, &drawing)?;
            Ok(HELD)
        }
        Drawn::Sealed(drawn) => {
            let again = Suggestion::of_resource(cli, "plan", resource.as_str(), &access).choice(choice);
            present(cli, screen, &desk, &drawn, again)?;
            Ok(DIVERGED)
        }
    }
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
    resource: &ResourceName,
    by: &Drawing<'_>,
) -> Result<(), Failure> {
    if cli.json {
        screen.json(&held_document(held))?;
        return Ok(());
    }
    let choose = |keep: &NodeName| choose(cli, resource, by, keep);
    show_held(screen, held, &choose)?;
    if matches!(held.verdict, Verdict::Refuse { .. }) {
        screen.heading("What it is, and what can be typed")?;
        let status = Suggestion::of_resource(cli, "status", resource.as_str(), by.access);
        screen.line(format!("  {status}"))?;
    }
    offer_full(cli, screen, held.seen, &everything(cli, resource, by.access))?;
    Ok(())
}
