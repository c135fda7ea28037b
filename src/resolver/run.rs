//! Running a plan: begun now, or taken up where it was cut off.

use super::access::Reading;
use super::desk::{Desk, is_open, new_id, refuse_while_open, resume_command, state_words, waiver};
use super::driver::Driver;
use super::failure::{Failure, Kind};
use super::opened::Opened;
use crate::engine::incident::{self, Ending};
use crate::engine::journal::JournalError;
use crate::engine::plans;
use crate::engine::undone::{undo_of, undone_by};
use crate::judge::audit::SealedPlan;
use crate::judge::incident::Incident;
use crate::model::id::IncidentId;
use crate::model::record::Consent;
use crate::proof::OperatorSaidNoSalvage;

/// An incident that was run.
pub struct Ran {
    /// Which.
    pub incident: IncidentId,
    /// Its plan.
    pub sealed: SealedPlan,
    /// How it ended.
    pub ending: Ending,
    /// What is left to do on nodes beside the two.
    pub left: Vec<String>,
}

/// What running a plan by its id came to.
pub enum Asked {
    /// It was run, or went on where it was cut off.
    Ran(Box<Ran>),
    /// It was carried out already by this incident, and still counts.
    CarriedOut(IncidentId),
}

/// How a plan is run.
#[derive(Debug, Clone, Copy)]
pub struct How {
    /// Threads for reading and hashing.
    pub threads: usize,
    /// It was said again that nothing is kept.
    pub no_salvage: bool,
}

/// Begins a new incident with a plan, and runs it. `healed`: the plan of the healing, when this one undoes one.
///
/// # Errors
/// The journal cannot be written.
pub fn start(
    desk: &Desk,
    by: &mut dyn Driver,
    opened: &Opened,
    (sealed, healed): (&SealedPlan, Option<&SealedPlan>),
    consent: Consent,
    how: How,
) -> Result<Ran, Failure> {
    let id = new_id(sealed.id(), &desk.journal.incidents())?;
    let waived = OperatorSaidNoSalvage::from_flag(how.no_salvage, sealed.id());
    let progress = by.progress();
    let ending = opened.carry_out(desk, (sealed, healed), (&*progress, how.threads), |work| {
        incident::begin(&desk.journal, work, &id, consent, waived)
    })?;
    ended(opened, sealed, id, ending)
}

fn ended(
    opened: &Opened,
    sealed: &SealedPlan,
    incident: IncidentId,
    ending: Result<Ending, JournalError>,
) -> Result<Ran, Failure> {
    let plan = sealed.plan();
    let ending = ending.map_err(|error| journal_stopped(&incident, plan.salvage, error))?;
    let ending = opened.told_by_the_link(ending);
    let left = opened.left(plan, &ending);
    Ok(Ran { incident, sealed: sealed.clone(), ending, left })
}

/// The journal failed in the middle: nothing more is done without it, and nothing is lost. `salvage`: whether the plan keeps
/// what it overwrites.
#[must_use]
pub fn journal_stopped(id: &IncidentId, salvage: bool, error: JournalError) -> Failure {
    let what = format!(
        "incident {id} stopped where it was: its journal cannot be written. Mend the state directory, then go on"
    );
    Failure::internal(anyhow::Error::new(error).context(what)).hint(resume_command(id) + waiver(salvage))
}

/// Runs a plan by its id: begins an incident, goes on with the one that was begun, or finds that it was carried out.
///
/// # Errors
/// An incident on these devices is open, or the plan is an undo; or what it stands on cannot be opened.
pub fn run_plan(
    desk: &Desk,
    by: &mut dyn Driver,
    sealed: &SealedPlan,
    reading: &Reading,
    no_salvage: bool,
) -> Result<Asked, Failure> {
    let (id, plan, incidents) = (sealed.id(), sealed.plan(), desk.journal.incidents());
    must_say_no_salvage(no_salvage, plan.salvage)?;
    let before = incidents.iter().rev().find(|incident| incident.plan == id);
    if let Some(open) = before.filter(|incident| is_open(incident)) {
        return resume(desk, by, open, reading, no_salvage).map(Box::new).map(Asked::Ran);
    }
    for volume in &plan.volumes {
        refuse_while_open(volume.at.as_ref(), &*desk.store, &desk.journal, &[])?;
    }
    let healed = before.filter(|before| before.is_healed()).map(|before| &before.id);
    if let Some(by) = healed
        && undone_by(&*desk.store, &incidents, by).map_err(Failure::internal)?.is_none()
    {
        return Ok(Asked::CarriedOut(by.clone()));
    }
    if plan.undoes().is_some() {
        return Err(Failure::usage(format!(
            "plan {id} is an undo: `unsplit undo` draws and runs undos from what it finds now"
        )));
    }
    let opened = by.open(plan, reading, false)?;
    let how = How { threads: reading.threads(), no_salvage };
    start(desk, by, &opened, (sealed, None), Consent::Operator, how).map(Box::new).map(Asked::Ran)
}

/// Goes on with an open incident.
///
/// # Errors
/// Its undo is under way, or what it stands on cannot be opened.
pub fn resume(
    desk: &Desk,
    by: &mut dyn Driver,
    incident: &Incident,
    reading: &Reading,
    no_salvage: bool,
) -> Result<Ran, Failure> {
    let sealed = plans::load(&*desk.store, incident.plan).map_err(Failure::internal)?;
    let plan = sealed.plan();
    let healed = match plan.undoes() {
        None => {
            refuse_while_undoing(desk, &incident.id)?;
            None
        }
        // What a handler kept has no incident, and so no plan.
        Some(incident) => match desk.journal.incident(incident) {
            Some(healing) => Some(plans::load(&*desk.store, healing.plan).map_err(Failure::internal)?),
            None if plan.images().is_none() => None,
            None => {
                return Err(Failure::internal(anyhow::anyhow!("incident {incident} is not in the journal")));
            }
        },
    };
    must_say_no_salvage(no_salvage, plan.salvage)?;
    let opened = by.open(plan, reading, true)?;
    by.takes_up(incident)?;
    let (id, progress) = (incident.id.clone(), by.progress());
    let waived = OperatorSaidNoSalvage::from_flag(no_salvage, sealed.id());
    let of = (&sealed, healed.as_ref());
    let ending = opened.carry_out(desk, of, (&*progress, reading.threads()), |work| {
        incident::resume(&desk.journal, work, &id, waived)
    })?;
    ended(&opened, &sealed, id, ending)
}

/// A healing must not go on while its undo is under way, or after it.
fn refuse_while_undoing(desk: &Desk, healing: &IncidentId) -> Result<(), Failure> {
    let may_undo =
        |incident: &Incident| incident.id != *healing && (is_open(incident) || incident.is_undone());
    let incidents = desk.journal.incidents();
    match undo_of(&*desk.store, &incidents, healing, may_undo).map_err(Failure::internal)? {
        None => Ok(()),
        Some(undo) => {
            let text = format!("incident {healing} is being undone by {}", undo.id);
            Err(Failure::new(Kind::Parked, anyhow::Error::msg(text)).hint(resume_command(&undo.id)))
        }
    }
}

/// The incident that waits to be taken up: the one that is named, or the only one. `None`: none is open.
///
/// # Errors
/// Several are open and none is named, or the named one is over or unknown.
pub fn waiting(desk: &Desk, asked: Option<&str>) -> Result<Option<Incident>, Failure> {
    let incidents = desk.journal.incidents();
    let Some(asked) = asked else {
        let being_undone = |healing: &Incident| {
            // A plan that cannot be read is reported by whoever needs it.
            matches!(undo_of(&*desk.store, &incidents, &healing.id, is_open), Ok(Some(_)))
        };
        let mut open = incidents.iter().filter(|incident| is_open(incident) && !being_undone(incident));
        let first = open.next();
        return match (first, open.next()) {
            (Some(first), Some(second)) => Err(Failure::usage(format!(
                "several incidents are open, such as {} and {}: say which; `unsplit status` shows them",
                first.id, second.id
            ))),
            (first, _) => Ok(first.cloned()),
        };
    };
    open_incident(desk, asked).map(Some)
}

/// The open incident of that name.
///
/// # Errors
/// It is over, or there is none.
pub fn open_incident(desk: &Desk, asked: &str) -> Result<Incident, Failure> {
    let incidents = desk.journal.incidents();
    let found = incidents.iter().find(|incident| incident.id.as_str() == asked);
    match found {
        Some(incident) if is_open(incident) => Ok(incident.clone()),
        Some(incident) => {
            Err(Failure::usage(format!("incident {} is over: {}", incident.id, state_words(&incident.state))))
        }
        None => Err(Failure::usage(format!("there is no incident `{asked}`; `unsplit history` lists them"))),
    }
}

/// Said when the plan was drawn, and again when it runs; found out before an incident is opened for it. `salvage`: whether
/// the plan keeps what it overwrites.
///
/// # Errors
/// It was not said again.
fn must_say_no_salvage(said: bool, salvage: bool) -> Result<(), Failure> {
    if salvage || said {
        return Ok(());
    }
    let text = "this plan keeps no copy of what it overwrites: --no-salvage must be said again to run it";
    Err(Failure::usage(text).hint("the same command with --no-salvage"))
}
