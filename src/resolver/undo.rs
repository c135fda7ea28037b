//! Putting back what a healing overwrote.

use super::access::Reading;
use super::both::Both;
use super::desk::{Desk, give_up_command, is_open, refuse_while_open, resume_command};
use super::discarded;
use super::driver::Driver;
use super::failure::{Failure, Kind};
use super::opened::Opened;
use super::run::{How, Ran, start};
use crate::engine::drbd::draw::content_of;
use crate::engine::drbd::undo::{note_healed, noted, untouched, written_since};
use crate::engine::drbd::{plan_of, salvage_of};
use crate::engine::images::{self, undo::plan_undo};
#[cfg(feature = "memory-disks")]
use crate::engine::memory;
use crate::engine::plans;
use crate::engine::salvage::{dir_of, load_manifest};
use crate::engine::undone::{UndoError, healing_of};
use crate::judge::audit::SealedPlan;
use crate::judge::incident::Incident;
use crate::judge::planner::drbd::draw_undo;
use crate::model::extent::ExtentSet;
use crate::model::id::IncidentId;
use crate::model::plan::drbd::Untouched;
use crate::model::plan::{Plan, Purpose};
use crate::model::record::Consent;
use crate::model::salvage::PartKind;
use crate::model::side::Pair;
use crate::ports::progress::Progress;
use crate::ports::replica::Unseen;

/// What an undo means.
#[derive(Debug)]
pub enum Meant {
    /// One that was cut off: it goes on first, nothing else may touch these devices before.
    GoesOn(Incident),
    /// A healing, with its plan.
    Healing(IncidentId, Box<SealedPlan>),
    /// What DRBD itself discarded and a handler kept: [`discarded::draw`] draws its undo.
    Discarded(IncidentId),
}

/// An undo that was drawn from what stands there now.
pub struct DrawnUndo {
    /// The healing, or the salvage of a handler.
    pub of: IncidentId,
    /// The plan that puts back what it overwrote.
    pub sealed: SealedPlan,
    /// The plan of the healing; what DRBD itself discarded has none.
    pub(super) healed: Option<SealedPlan>,
    /// What the devices show now, where no healing noted it: nothing was written since if both still show it.
    pub(super) shown: Option<Vec<Pair<Untouched>>>,
    pub(super) opened: Opened,
}

/// The undo that is cut off, or what is to be put back: what was named, or the last healing that changed something.
///
/// # Errors
/// There is none, or it cannot be undone.
pub fn meant(desk: &Desk, asked: Option<&str>) -> Result<Meant, Failure> {
    let is_incident = |id: &IncidentId| desk.journal.incident(id).is_some();
    if let Some(salvage) = discarded::named(asked).filter(|salvage| !is_incident(salvage)) {
        return Ok(Meant::Discarded(salvage));
    }
    if let Some(open) = open_undo(desk, asked)? {
        return Ok(Meant::GoesOn(open));
    }
    refuse_what_changed_nothing_yet(desk, asked)?;
    let (id, healed) = healing_of(&desk.journal, &*desk.store, asked).map_err(failure)?;
    Ok(Meant::Healing(id, Box::new(healed)))
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

/// Draws the undo of a healing: what stands there now must be what it left behind.
///
/// # Errors
/// Something was written since, or what it stands on cannot be opened.
pub fn draw(
    desk: &Desk,
    by: &dyn Driver,
    of: &IncidentId,
    healed: SealedPlan,
    reading: &Reading,
) -> Result<DrawnUndo, Failure> {
    let plan = healed.plan();
    if plan.drbd().is_some() && desk.journal.incident(of).is_some_and(|healing| is_open(&healing)) {
        let text =
            format!("incident {of} is not over: DRBD may still be overwriting. It must be healed first");
        return Err(Failure::evidence(anyhow::Error::msg(text)).hint(resume_command(of)));
    }
    for volume in &plan.volumes {
        refuse_while_open(volume.at.as_ref(), &*desk.store, &desk.journal, &[of])?;
    }
    let opened = by.open(plan, reading, false)?;
    let sealed = match &opened {
        Opened::Images(pair) => {
            let healing = images::plan_of(&healed).map_err(Failure::internal)?;
            plan_undo(healing, of, pair.replicas()).map_err(failure)?
        }
        #[cfg(feature = "memory-disks")]
        Opened::Memory(_) => {
            let healing = memory::plan_of(&healed).map_err(Failure::internal)?;
            memory::undo::plan_undo(healing, of).map_err(Failure::internal)?
        }
        Opened::Drbd(both) => of_nodes(desk, both, of, &healed, (&*by.progress(), reading.threads()))?,
    };
    Ok(DrawnUndo { of: of.clone(), sealed, healed: Some(healed), shown: None, opened })
}

/// Runs an undo, as an incident of its own.
///
/// # Errors
/// The plan or the journal cannot be written.
pub fn run(
    desk: &Desk,
    by: &mut dyn Driver,
    drawn: &DrawnUndo,
    consent: Consent,
    threads: usize,
) -> Result<Ran, Failure> {
    if let Some(shown) = &drawn.shown {
        let unkept = |why: String| Failure::evidence(anyhow::Error::msg(why));
        note_healed(&*desk.store, &drawn.of, shown).map_err(unkept)?;
    }
    plans::keep(&*desk.store, &drawn.sealed).map_err(Failure::internal)?;
    let of = (&drawn.sealed, drawn.healed.as_ref());
    start(desk, by, &drawn.opened, of, consent, How { threads, no_salvage: false })
}

/// The plan that puts back, through DRBD, all that was kept.
fn of_nodes(
    desk: &Desk,
    both: &Both,
    of: &IncidentId,
    sealed: &SealedPlan,
    (progress, threads): (&dyn Progress, usize),
) -> Result<SealedPlan, Failure> {
    let healed = sealed.plan();
    let pair = both.look(&healed.resource)?;
    let wrong = |why: String| Failure::evidence(anyhow::Error::msg(why));
    // What was written after the healing would be mixed with what is put back: a file system of two halves.
    let why = match noted(&*desk.store, of).map_err(wrong)? {
        None => Some("what the devices showed after the healing was not noted".to_owned()),
        Some(then) => written_since(&pair.names, &pair.volumes, &then, &untouched(&pair)),
    };
    if let Some(why) = why {
        return Err(mixed(of, healed, &why));
    }
    let mut kept = Vec::new();
    for (volume, now) in healed.volumes.iter().zip(&pair.volumes) {
        let extents: ExtentSet = if volume.overwrite.is_empty() {
            ExtentSet::empty()
        } else {
            let salvage = salvage_of(of, volume.number).map_err(wrong)?;
            let manifest = load_manifest(&*desk.store, &dir_of(&salvage)).map_err(Failure::evidence)?;
            let parts = manifest.parts.iter().filter(|part| part.kind == PartKind::VictimData);
            parts.flat_map(|part| part.pieces.iter().map(|piece| piece.extent())).collect()
        };
        let replica = both.operated().a.replica(&now.backing.a);
        let replica = replica.map_err(|Unseen(why)| Failure::evidence(anyhow::anyhow!("{why}")))?;
        let content = content_of(&*replica, &extents, threads, progress);
        kept.push((extents, content.map_err(Failure::evidence)?));
    }
    let undo = draw_undo(plan_of(sealed).map_err(Failure::internal)?, of.clone(), kept);
    plans::seal_undo(undo, healed).map_err(Failure::internal)
}

fn mixed(of: &IncidentId, healed: &Plan, why: &str) -> Failure {
    let salvages: Vec<String> = healed
        .volumes
        .iter()
        .filter_map(|volume| salvage_of(of, volume.number).ok())
        .map(|salvage| format!("unsplit salvage show {salvage}"))
        .collect();
    let text = format!(
        "incident {of} cannot be undone as a whole: {why}. Putting back what was kept would mix it with newer data"
    );
    Failure::evidence(anyhow::Error::msg(text))
        .hint(format!("open what was kept beside it, and copy over what is needed: {}", salvages.join("; ")))
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
