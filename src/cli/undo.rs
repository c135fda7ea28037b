//! `unsplit undo`.

use super::Cli;
use super::exit::{DIVERGED, Failure, Kind};
use super::incident::state_words;
use super::live;
use super::plan;
use super::reading::ReadingArgs;
use super::resolve::{conclude, context, journal_stopped, open_as_planned, take_up};
use super::salvage;
use super::screen::Screen;
use crate::edge::peer::PeerSpec;
use crate::edge::terminal::TerminalProgress;
use crate::engine::images::undo::{UndoError, healing_of, plan_undo};
use crate::engine::images::{Work, plan_of};
use crate::engine::incident::begin;
use crate::engine::plans;
use crate::judge::incident::Incident;
use crate::model::id::IncidentId;
use crate::model::plan::{Plan, Purpose};
use crate::model::record::Consent;
use crate::resolver::desk::{Desk, give_up_command, is_open, new_id, open_desk, refuse_while_open};
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
    let desk = open_desk(&cli.state_dir)?;
    // A salvage's name is its incident's, or that with a volume.
    let named = args.incident.as_deref();
    let named = named.map(|word| salvage::incident_meant(&*desk.store, &desk.journal.incidents(), word));
    let named = named.as_deref();
    let open = open_undo(&desk, named)?;
    let live = match &open {
        Some(open) => live::undo::LiveIncident::of(&desk, open)?,
        None => live::undo::target(&desk, named)?,
    };
    if let Some(live) = live {
        return live::undo::run(cli, args, screen, &desk, &live);
    }
    if let Some(salvage) = live::discarded::named(named) {
        return live::discarded::run(cli, args, screen, &desk, &salvage);
    }
    if args.peer.is_some() {
        return Err(Failure::usage(
            "--peer is for what a handler kept before a resync (`unsplit salvage list`, resync-...): otherwise the plan of the healing \
             tells where the other node is",
        ));
    }
    // An undo that was cut off goes on first; nothing else may touch these devices before.
    if let Some(open) = open {
        if args.dry_run {
            let sealed = plans::load(&*desk.store, open.plan).map_err(Failure::internal)?;
            screen.line(format!(
                "Undo {} is under way ({}); it would go on:",
                open.id,
                state_words(&open.state)
            ))?;
            return steps(screen, sealed.plan());
        }
        return take_up(cli, screen, &desk, &open, &args.reading.reading(), false);
    }
    refuse_what_changed_nothing_yet(&desk, named)?;
    let (id, healed) = healing_of(&desk.journal, &*desk.store, named).map_err(failure)?;
    let heals = plan_of(&healed).map_err(Failure::internal)?;
    refuse_while_open(heals.volume.at.as_ref(), &*desk.store, &desk.journal, &[&id])?;
    let opened = open_as_planned(heals, &args.reading.reading())?;
    let sealed = plan_undo(heals, &id, opened.replicas()).map_err(failure)?;
    if args.dry_run && cli.json {
        screen.json(&plan::document(&sealed))?;
        return Ok(DIVERGED);
    }
    if args.dry_run {
        screen.line(format!("Undo of incident {id}:"))?;
        return steps(screen, sealed.plan());
    }
    plans::keep(&*desk.store, &sealed).map_err(Failure::internal)?;
    let undo = new_id(sealed.id(), &desk.journal.incidents())?;
    let progress = TerminalProgress::new();
    let store = desk.store.clone();
    let context = context(&opened, &*store, &progress, args.reading.reading().threads());
    let work = Work::new(context, &sealed, Some(&healed)).map_err(Failure::internal)?;
    let ending = begin(&desk.journal, &work, &undo, Consent::Operator, None)
        .map_err(|error| journal_stopped(cli, &undo, sealed.plan().salvage, error))?;
    let ending = opened.told_by_the_link(ending);
    conclude(cli, screen, &*store, plan_of(&sealed).map_err(Failure::internal)?, &undo, &ending)
}

/// The undo that was cut off and is meant: any, or the one that is named, or whose healing is. Also one that had not come to
/// write anything: nothing else may touch these devices before it is over.
fn open_undo(desk: &Desk, asked: Option<&str>) -> Result<Option<Incident>, Failure> {
    let meant = |id: &IncidentId| asked.is_none_or(|asked| asked == id.as_str());
    for incident in desk.journal.incidents().iter().filter(|incident| is_open(incident)) {
        match plans::purpose(&*desk.store, incident.plan) {
            Ok(Purpose::Undo { incident: healed }) if meant(&incident.id) || meant(&healed) => {
                return Ok(Some(incident.clone()));
            }
            Ok(_) => {}
            // Another one's plan is no obstacle: `refuse_while_open` looks at it.
            Err(_) if !meant(&incident.id) => {}
            Err(error) => return Err(Failure::internal(error).hint(give_up_command(&incident.id))),
        }
    }
    Ok(None)
}

/// An open healing without a change has nothing to undo, but it is not over, either.
fn refuse_what_changed_nothing_yet(desk: &Desk, asked: Option<&str>) -> Result<(), Failure> {
    let named = |incident: &&Incident| asked == Some(incident.id.as_str());
    match desk.journal.incidents().iter().find(named) {
        Some(incident) if is_open(incident) && !incident.touched() => {
            let text = format!("incident {} has not changed anything: there is nothing to undo", incident.id);
            Err(Failure::usage(text).hint(give_up_command(&incident.id)))
        }
        _ => Ok(()),
    }
}

fn steps(screen: &mut Screen, plan: &Plan) -> Result<u8, Failure> {
    plan::steps(screen, plan)?;
    Ok(DIVERGED)
}

fn failure(error: UndoError) -> Failure {
    let kind = match &error {
        UndoError::Unknown { .. }
        | UndoError::NothingHealed
        | UndoError::AlreadyUndone { .. }
        | UndoError::NothingChanged { .. }
        | UndoError::IsUndo { .. } => Kind::Usage,
        _ => Kind::Evidence,
    };
    Failure::new(kind, error)
}
