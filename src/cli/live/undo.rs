//! `unsplit undo` of a live healing.

use super::resolve::{after, carry_out, reach_as_planned, take_up};
use crate::cli::Cli;
use crate::cli::exit::{DIVERGED, Failure, Kind};
use crate::cli::incident::state_words;
use crate::cli::screen::Screen;
use crate::cli::undo::UndoArgs;
use crate::edge::terminal::TerminalProgress;
use crate::engine::drbd::draw::content_of;
use crate::engine::drbd::undo::{noted, untouched, written_since};
use crate::engine::drbd::{plan_of, salvage_of};
use crate::engine::incident::begin;
use crate::engine::plans;
use crate::engine::salvage::{dir_of, load_manifest};
use crate::engine::undone;
use crate::judge::audit::SealedPlan;
use crate::judge::incident::Incident;
use crate::judge::planner::drbd::draw_undo;
use crate::model::extent::ExtentSet;
use crate::model::id::IncidentId;
use crate::model::plan::{Plan, Purpose};
use crate::model::record::Consent;
use crate::model::salvage::PartKind;
use crate::ports::replica::Unseen;
use crate::resolver::both::Both;
use crate::resolver::desk::{Desk, is_open, new_id, refuse_while_open, resume_command};

/// An incident about a running resource, and its plan.
pub struct LiveIncident {
    incident: Incident,
    sealed: SealedPlan,
}

impl LiveIncident {
    /// With its plan, if that is for a running resource.
    ///
    /// # Errors
    /// Its plan is damaged.
    pub(in crate::cli) fn of(desk: &Desk, incident: &Incident) -> Result<Option<LiveIncident>, Failure> {
        let sealed = plans::load(&*desk.store, incident.plan).map_err(Failure::evidence)?;
        Ok(sealed.plan().drbd().is_some().then(|| LiveIncident { incident: incident.clone(), sealed }))
    }
}

/// The incident that `undo` means, if it is a live one: the named one, else the last that changed something.
///
/// # Errors
/// Its plan is damaged.
pub(in crate::cli) fn target(desk: &Desk, asked: Option<&str>) -> Result<Option<LiveIncident>, Failure> {
    let incidents = desk.journal.incidents();
    if let Some(asked) = asked {
        let Some(incident) = incidents.iter().find(|incident| incident.id.as_str() == asked).cloned() else {
            return Ok(None);
        };
        return LiveIncident::of(desk, &incident);
    }
    for incident in incidents.iter().rev() {
        if !incident.touched() || !(is_open(incident) || incident.is_healed()) {
            continue;
        }
        // The last one decides whether this is about a running resource or about devices.
        let Some(live) = LiveIncident::of(desk, incident)? else { return Ok(None) };
        let heals = live.sealed.plan().purpose == Purpose::Heal;
        if !heals || undone_by(desk, &incident.id)?.is_none() {
            return Ok(Some(live));
        }
    }
    Ok(None)
}

/// The undo of that healing that came to its end.
///
/// # Errors
/// A plan is damaged.
pub(super) fn undone_by(desk: &Desk, healing: &IncidentId) -> Result<Option<IncidentId>, Failure> {
    let incidents = desk.journal.incidents();
    let by = undone::undone_by(&*desk.store, &incidents, healing).map_err(Failure::internal)?;
    Ok(by.map(|undo| undo.id.clone()))
}

fn refused(kind: Kind, text: String) -> Failure {
    Failure::new(kind, anyhow::Error::msg(text))
}

pub(in crate::cli) fn run(
    cli: &Cli,
    args: &UndoArgs,
    screen: &mut Screen,
    desk: &Desk,
    live: &LiveIncident,
) -> Result<u8, Failure> {
    let (id, healed) = (&live.incident.id, live.sealed.plan());
    if matches!(healed.purpose, Purpose::Undo { .. }) {
        if is_open(&live.incident) && args.dry_run {
            screen.line(format!(
                "Undo {id} is under way ({}); it would go on:",
                state_words(&live.incident.state)
            ))?;
            return as_steps(screen, healed);
        }
        if is_open(&live.incident) {
            return take_up(cli, screen, desk, &live.incident, &live.sealed, &args.reading.reading(), false);
        }
        return Err(refused(Kind::Usage, format!("incident {id} is itself an undo")));
    }
    if is_open(&live.incident) {
        let text =
            format!("incident {id} is not over: DRBD may still be overwriting. It must be healed first");
        return Err(refused(Kind::Evidence, text).hint(resume_command(id)));
    }
    if !live.incident.touched() {
        return Err(refused(
            Kind::Usage,
            format!("incident {id} did not change anything: there is nothing to undo"),
        ));
    }
    if let Some(by) = undone_by(desk, id)? {
        return Err(refused(Kind::Usage, format!("incident {id} was undone by {by}")));
    }
    if !healed.salvage {
        return Err(refused(
            Kind::Evidence,
            format!("incident {id} kept no copy: there is nothing to put back"),
        ));
    }
    for volume in &healed.volumes {
        refuse_while_open(volume.at.as_ref(), &*desk.store, &desk.journal, &[id])?;
    }
    let both = reach_as_planned(plan_of(&live.sealed).map_err(Failure::internal)?, &args.reading.reading())?;
    let pair = both.look(&healed.resource)?;
    nothing_written(desk, live, &pair)?;
    let sealed = draw(desk, live, &both, &pair, args)?;
    if args.dry_run {
        if cli.json {
            screen.json(&crate::cli::plan::document(&sealed))?;
            return Ok(DIVERGED);
        }
        screen.line(format!("Undo of incident {id}:"))?;
        return as_steps(screen, sealed.plan());
    }
    plans::keep(&*desk.store, &sealed).map_err(Failure::internal)?;
    let undo = new_id(sealed.id(), &desk.journal.incidents())?;
    let ending = carry_out(cli, desk, &both, &sealed, args.reading.reading().threads(), &undo, |work| {
        begin(&desk.journal, work, &undo, Consent::Operator, None)
    })?;
    after(cli, screen, desk, &both, &sealed, &undo, &ending)
}

pub(super) fn as_steps(screen: &mut Screen, plan: &Plan) -> Result<u8, Failure> {
    crate::cli::plan::steps(screen, plan)?;
    Ok(DIVERGED)
}

/// What was written after the healing would be mixed with what is put back: a file system of two halves.
fn nothing_written(
    desk: &Desk,
    live: &LiveIncident,
    pair: &crate::engine::drbd::pair::LivePair,
) -> Result<(), Failure> {
    let id = &live.incident.id;
    let then = noted(&*desk.store, id).map_err(|why| refused(Kind::Evidence, why))?;
    let why = match then {
        None => Some("what the devices showed after the healing was not noted".to_owned()),
        Some(then) => written_since(&pair.names, &pair.volumes, &then, &untouched(pair)),
    };
    let Some(why) = why else { return Ok(()) };
    let healed = live.sealed.plan();
    let salvages: Vec<String> = healed
        .volumes
        .iter()
        .filter_map(|volume| salvage_of(id, volume.number).ok())
        .map(|salvage| format!("unsplit salvage show {salvage}"))
        .collect();
    Err(refused(
        Kind::Evidence,
        format!(
            "incident {id} cannot be undone as a whole: {why}. Putting back what was kept would mix it with newer data"
        ),
    )
    .hint(format!("open what was kept beside it, and copy over what is needed: {}", salvages.join("; "))))
}

/// The plan that puts back all that was kept.
fn draw(
    desk: &Desk,
    live: &LiveIncident,
    both: &Both,
    pair: &crate::engine::drbd::pair::LivePair,
    args: &UndoArgs,
) -> Result<SealedPlan, Failure> {
    let (id, healed) = (&live.incident.id, live.sealed.plan());
    let progress = TerminalProgress::new();
    let mut kept = Vec::new();
    for (volume, now) in healed.volumes.iter().zip(&pair.volumes) {
        let extents: ExtentSet = if volume.overwrite.is_empty() {
            ExtentSet::empty()
        } else {
            let salvage = salvage_of(id, volume.number).map_err(|why| refused(Kind::Evidence, why))?;
            let manifest = load_manifest(&*desk.store, &dir_of(&salvage)).map_err(Failure::evidence)?;
            let parts = manifest.parts.iter().filter(|part| part.kind == PartKind::VictimData);
            parts.flat_map(|part| part.pieces.iter().map(|piece| piece.extent())).collect()
        };
        let replica = both.operated().a.replica(&now.backing.a);
        let replica = replica.map_err(|Unseen(why)| Failure::evidence(anyhow::anyhow!("{why}")))?;
        let content = content_of(&*replica, &extents, args.reading.reading().threads(), &progress);
        kept.push((extents, content.map_err(Failure::evidence)?));
    }
    let undo = draw_undo(plan_of(&live.sealed).map_err(Failure::internal)?, id.clone(), kept);
    plans::seal_undo(undo, healed).map_err(Failure::internal)
}
