//! `unsplit undo`.

use super::Cli;
use super::at_terminal::AtTerminal;
use super::exit::{DIVERGED, Failure};
use super::plan;
use super::reading::ReadingArgs;
use super::resolve::conclude;
use super::screen::Screen;
use crate::edge::peer::PeerSpec;
use crate::engine::plans;
use crate::model::id::IncidentId;
use crate::model::record::Consent;
use crate::resolver::both::Both;
use crate::resolver::desk::{Desk, open_desk, state_words};
use crate::resolver::discarded;
use crate::resolver::run;
use crate::resolver::salvages::incident_meant;
use crate::resolver::undo::{self, DrawnUndo, Meant};
use clap::Args;

/// Put back what a healing overwrote.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  unsplit undo                            undo the last healing\n  unsplit undo 20261121-031502-3f9a2c     undo this one\n  unsplit undo --dry-run                  show what it would do\n  unsplit undo resync-r0-0-whole-20261121-031502-4711 --peer ssh:node1     what DRBD itself discarded here\n\nBoth sides must be as the healing left them: an undo never overwrites newer data."
)]
pub struct UndoArgs {
    /// The incident to undo, or a salvage [default: the last that changed something]
    #[arg(value_name = "INCIDENT")]
    pub incident: Option<String>,

    /// Show what would be done, and change nothing
    #[arg(long)]
    pub dry_run: bool,

    /// How the other node is reached; only for what a handler kept before a resync (resync-...), of which no plan tells it
    #[arg(long, value_name = "PEER")]
    pub peer: Option<PeerSpec>,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub reading: ReadingArgs,
}

pub(super) fn run(cli: &Cli, args: &UndoArgs, screen: &mut Screen) -> Result<u8, Failure> {
    let (desk, reading) = (open_desk(&cli.state_dir)?, args.reading.reading());
    // A salvage's name is its incident's, or that with a volume.
    let named = args.incident.as_deref();
    let named = named.map(|word| incident_meant(&*desk.store, &desk.journal.incidents(), word));
    let meant = undo::meant(&desk, named.as_deref())?;
    if args.peer.is_some() && !matches!(meant, Meant::Discarded(_)) {
        return Err(Failure::usage(
            "--peer is for what a handler kept before a resync (`unsplit salvage list`, resync-...): otherwise the plan of the healing \
             tells where the other node is",
        ));
    }
    let mut by = AtTerminal::new(cli, screen, &desk, true);
    match meant {
        Meant::Healing(id, healed) => {
            let drawn = undo::draw(&desk, &by, &id, *healed, &reading)?;
            put_back(cli, args, screen, &desk, &drawn, &format!("Undo of incident {id}:"))
        }
        Meant::Discarded(id) => {
            let both = discarded::reach(&desk, &id, args.peer.as_ref(), &reading)?;
            of_discarded(cli, args, screen, &desk, &both, &id)
        }
        Meant::GoesOn(open) if args.dry_run => {
            let sealed = plans::load(&*desk.store, open.plan).map_err(Failure::internal)?;
            let state = state_words(&open.state);
            screen.line(format!("Undo {} is under way ({state}); it would go on:", open.id))?;
            plan::steps(screen, sealed.plan())?;
            Ok(DIVERGED)
        }
        Meant::GoesOn(open) => {
            let ran = run::resume(&desk, &mut by, &open, &reading, false)?;
            conclude(cli, screen, &desk, &ran)
        }
    }
}

/// Puts back what DRBD itself discarded, on these nodes.
///
/// # Errors
/// How it ended, unless well.
pub fn of_discarded(
    cli: &Cli,
    args: &UndoArgs,
    screen: &mut Screen,
    desk: &Desk,
    both: &Both,
    id: &IncidentId,
) -> Result<u8, Failure> {
    let by = AtTerminal::new(cli, screen, desk, true);
    let drawn = discarded::draw(desk, &by, both, id, &args.reading.reading())?;
    put_back(cli, args, screen, desk, &drawn, &format!("Undo of what DRBD discarded ({id}):"))
}

/// Runs an undo that was drawn, or shows under `title` what it would do.
fn put_back(
    cli: &Cli,
    args: &UndoArgs,
    screen: &mut Screen,
    desk: &Desk,
    drawn: &DrawnUndo,
    title: &str,
) -> Result<u8, Failure> {
    if !args.dry_run {
        let mut by = AtTerminal::new(cli, screen, desk, true);
        let ran = undo::run(desk, &mut by, drawn, Consent::Operator, args.reading.reading().threads())?;
        return conclude(cli, screen, desk, &ran);
    }
    if cli.json {
        screen.json(&plan::document(&drawn.sealed))?;
    } else {
        screen.line(title)?;
        plan::steps(screen, drawn.sealed.plan())?;
    }
    Ok(DIVERGED)
}
