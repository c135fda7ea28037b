//! Incidents on the screen, and the state directory behind them.

use super::consent::waiver;
use super::exit::{Failure, PARKED};
use super::screen::{Screen, Tone};
use crate::edge::blockdev::Identity;
use crate::edge::clock::SystemClock;
use crate::edge::peer::greet::ourselves;
use crate::edge::state_dir::{AtWork, StateDir, StateDirError};
use crate::engine::drbd;
use crate::engine::journal::{Journal, Story};
use crate::engine::plans::{self, PlanError};
use crate::engine::undone::end_what_was_undone;
use crate::judge::incident::{Incident, IncidentState};
use crate::model::evidence::Source;
use crate::model::id::IncidentId;
use crate::model::plan::Purpose;
use crate::model::record::Outcome;
use crate::model::seen::{Stamp, in_words};
use crate::model::side::Pair;
use crate::ports::clock::Clock;
use crate::ports::store::Store;
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;

/// The state directory and its journal, for writing. Only one process has them at a time.
pub struct Desk {
    /// The files.
    pub store: Arc<StateDir>,
    /// The journal.
    pub journal: Journal,
}

/// Opens the state directory for writing.
///
/// # Errors
/// It is in use, damaged, or not writable.
pub fn open_desk(state_dir: &Path) -> Result<Desk, Failure> {
    let store = Arc::new(StateDir::open(state_dir).map_err(unopened)?);
    let journal = Journal::open(store.clone(), Arc::new(SystemClock)).map_err(Failure::internal)?;
    end_what_was_undone(&journal, &*store).map_err(Failure::internal)?;
    Ok(Desk { store, journal })
}

fn unopened(error: StateDirError) -> Failure {
    let hint = match &error {
        StateDirError::Locked { .. } => {
            "wait; never go round it with another --state-dir, whose journal would not know of what is running here"
        }
        StateDirError::Untrusted { .. } => {
            "mend it as said, after looking whether somebody has changed something there"
        }
        StateDirError::Io { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
            "run as root, or give another folder with --state-dir"
        }
        StateDirError::Io { .. } => {
            "mend that, or, where no incident is known yet, give another folder with --state-dir"
        }
        _ => "give the right folder with --state-dir",
    };
    Failure::internal(error).hint(hint)
}

/// Opens the journal for reading; `None` when there never was one.
///
/// # Errors
/// It is damaged or not readable.
pub fn open_journal_read_only(state_dir: &Path) -> Result<Option<Story>, Failure> {
    let Some(store) = open_store_read_only(state_dir)? else { return Ok(None) };
    Journal::read(&*store).map_err(Failure::internal)
}

/// Opens the state directory for reading; `None` when it does not exist.
///
/// # Errors
/// It is not readable.
pub fn open_store_read_only(state_dir: &Path) -> Result<Option<Arc<StateDir>>, Failure> {
    // Asked first, so that a folder that exists but cannot be read is an error and not "no incidents".
    match state_dir.try_exists() {
        Ok(false) => Ok(None),
        _ => StateDir::open_read_only(state_dir).map(|store| Some(Arc::new(store))).map_err(unopened),
    }
}

/// Whether the incident waits for something.
#[must_use]
pub fn is_open(incident: &Incident) -> bool {
    !incident.is_closed()
}

/// A new incident's id: when, and the beginning of its plan's id, so that two in one second differ.
///
/// # Errors
/// Never in practice: the text is made of digits.
pub fn new_id(plan: crate::model::id::PlanId, taken: &[Incident]) -> Result<IncidentId, Failure> {
    let stamp = jiff::Timestamp::from_millisecond(SystemClock.now().0).map_err(Failure::internal)?;
    let base = format!("{}-{}", stamp.strftime("%Y%m%d-%H%M%S"), plan.0.short().get(..6).unwrap_or_default());
    let mut text = base.clone();
    let mut again = 2;
    while taken.iter().any(|incident| incident.id.as_str() == text) {
        text = format!("{base}-{again}");
        again += 1;
    }
    IncidentId::new(&text).map_err(Failure::internal)
}

/// A stamp in the local zone, for people.
#[must_use]
pub fn when(stamp: Stamp) -> String {
    match jiff::Timestamp::from_millisecond(stamp.0) {
        Ok(moment) => {
            moment.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
        }
        Err(_) => format!("{} ms", stamp.0),
    }
}

/// A state in words.
#[must_use]
pub fn state_words(state: &IncidentState) -> String {
    match state {
        IncidentState::Ready { next_step, .. } => format!("interrupted before step {}", next_step + 1),
        IncidentState::InStep { step, name, .. } => {
            format!("interrupted in step {} ({})", step + 1, name.word)
        }
        IncidentState::Stopped { step, .. } => format!("stopped in step {}", step + 1),
        IncidentState::Parked { .. } => "parked".to_owned(),
        IncidentState::Closed { outcome: Outcome::Healed } => "healed".to_owned(),
        IncidentState::Closed { outcome: Outcome::Undone } => "undone".to_owned(),
        IncidentState::Closed { outcome: Outcome::Abandoned } => "given up".to_owned(),
    }
}

/// Whether a process may be at work at it just now: the state directory is taken, and it waits for nobody.
fn runs(incident: &Incident, at_work: Option<AtWork>) -> Option<AtWork> {
    let waits = matches!(incident.state, IncidentState::Parked { .. } | IncidentState::Closed { .. });
    at_work.filter(|_| !waits)
}

/// Where an incident stands, in words; whoever gave it up in the middle left its changes behind. `at_work`: who has the state
/// directory.
#[must_use]
pub fn standing(incident: &Incident, at_work: Option<AtWork>) -> String {
    if let Some(who) = runs(incident, at_work) {
        let by = who.process.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
        return match &incident.state {
            IncidentState::InStep { step, name, .. } => {
                format!("running, by {by}, in step {} ({})", step + 1, name.word)
            }
            _ => format!("running, by {by}"),
        };
    }
    match incident.state {
        IncidentState::Closed { outcome: Outcome::Abandoned } if incident.touched() => {
            "given up in the middle".to_owned()
        }
        IncidentState::Closed { outcome: Outcome::Abandoned } => "given up, nothing changed".to_owned(),
        _ => state_words(&incident.state),
    }
}

/// An incident as JSON shows it.
#[derive(Debug, Serialize)]
pub struct IncidentView {
    id: IncidentId,
    resource: String,
    plan: String,
    pub(super) state: String,
    why: Option<String>,
    next: Option<String>,
    process: Option<u32>,
}

/// The view of an incident. `waiver` as [`waiver_of`] has it; `state_dir` is ` --state-dir DIR`, or nothing for the
/// default; `at_work`: who has it.
#[must_use]
pub fn view(incident: &Incident, waiver: &str, state_dir: &str, at_work: Option<AtWork>) -> IncidentView {
    let runs = runs(incident, at_work);
    let resume = resume_command(&incident.id);
    let (why, next) = match &incident.state {
        _ if runs.is_some() => (None, None),
        IncidentState::Parked { why, next, .. } => (Some(why.to_string()), Some(next.clone())),
        IncidentState::Closed { .. } => (None, None),
        _ => (None, Some(resume.clone())),
    };
    let next = next.map(|next| if next == resume { next + waiver } else { next });
    IncidentView {
        id: incident.id.clone(),
        resource: incident.resource.to_string(),
        plan: incident.plan.0.to_string(),
        state: standing(incident, at_work),
        process: runs.and_then(|who| who.process),
        why,
        next: next.map(|next| match next.starts_with("unsplit ") {
            true => next + state_dir,
            false => next,
        }),
    }
}

/// The command that takes an incident up again.
#[must_use]
pub fn resume_command(id: &IncidentId) -> String {
    format!("unsplit resolve --resume {id}")
}

/// The command that ends an open incident and leaves both sides as they are.
#[must_use]
pub fn give_up_command(id: &IncidentId) -> String {
    format!("unsplit resolve --give-up {id}")
}

/// Refuses while another incident on these devices is open. `except` are the incidents that may be.
///
/// # Errors
/// Exit code 6, with the commands that end it; also when the open incident's plan cannot be read, so that nobody knows
/// which devices it is about.
pub fn refuse_while_open(
    devices: Pair<&Source>,
    store: &dyn Store,
    journal: &Journal,
    except: &[&IncidentId],
) -> Result<(), Failure> {
    for incident in journal.incidents().iter().filter(|incident| is_open(incident)) {
        if except.contains(&&incident.id) {
            continue;
        }
        let refused = |text: String| {
            let resume = resume_command(&incident.id) + waiver_of(incident, store);
            let next = [resume, give_up_command(&incident.id)].join("\n");
            Failure::new(PARKED, anyhow::Error::msg(text)).hint(next)
        };
        let theirs = devices_of(store, incident).map_err(|error| {
            let why = in_words(&error);
            refused(format!(
                "incident {} is not over, and which devices it is about is unknown: {why}",
                incident.id
            ))
        })?;
        if devices.iter().any(|(_, ours)| theirs.iter().any(|theirs| shares_a_device(ours, theirs))) {
            return Err(refused(format!("incident {} on these devices is not over", incident.id)));
        }
    }
    Ok(())
}

/// The devices that an incident is about, offline or live.
pub(super) fn devices_of(store: &dyn Store, incident: &Incident) -> Result<Vec<Source>, PlanError> {
    if let Some(live) = drbd::plans::load(store, incident.plan)? {
        let volumes = &live.plan().volumes;
        return Ok(volumes
            .iter()
            .flat_map(|volume| [volume.sources.a.clone(), volume.sources.b.clone()])
            .collect());
    }
    let sealed = plans::load(store, incident.plan)?;
    let basis = &sealed.plan().basis;
    Ok(vec![basis.a.source.clone(), basis.b.source.clone()])
}

/// Whether two sides stand on one data or metadata device, by whatever paths. Metadata devices with several indexes
/// serve several resources.
pub(super) fn shares_a_device(a: &Source, b: &Source) -> bool {
    let here = || ourselves(None);
    let machine = |source: &Source| match &source.on {
        None => (here().machine, here().host),
        Some(on) => (on.machine.clone(), on.host.clone()),
    };
    // By whichever way a machine is reached: two names of one peer, or a peer that is this machine.
    let same_machine = match (machine(a), machine(b)) {
        ((Some(a), _), (Some(b), _)) => a == b,
        ((_, a), (_, b)) => a == b,
    };
    let is_here = same_machine && machine(a) == (here().machine, here().host);
    let same = |a: &str, b: &str| if is_here { same_thing(a, b) } else { a == b };
    same_machine
        && (same(&a.data, &b.data) || (a.superblock_at == b.superblock_at && same(&a.metadata, &b.metadata)))
}

/// Whether a side is this device of this machine, by whatever path.
pub(super) fn stands_on(source: &Source, path: &str) -> bool {
    let here = || ourselves(None);
    let is_here = match &source.on {
        None => true,
        Some(on) if on.machine.is_some() => on.machine == here().machine,
        Some(on) => on.host == here().host,
    };
    is_here && same_thing(&source.data, path)
}

fn same_thing(a: &str, b: &str) -> bool {
    let identity = |path: &str| std::fs::metadata(path).ok().and_then(|found| Identity::of(&found));
    a == b || identity(a).is_some_and(|found| Some(found) == identity(b))
}

/// What must be said again when an incident's plan goes on: ` --no-salvage`, where it keeps nothing. Nothing for a plan that
/// cannot be read: whoever needs it reports that.
pub(super) fn waiver_of(incident: &Incident, store: &dyn Store) -> &'static str {
    let keeps = match drbd::plans::load(store, incident.plan) {
        Ok(Some(live)) => live.plan().salvage,
        _ => plans::load(store, incident.plan).map_or(true, |sealed| sealed.plan().salvage),
    };
    waiver(keeps)
}

/// Whether an open incident can be undone as it is: a healing of devices that began to change a side, and kept what it
/// overwrites. One of a running resource must be healed first, since DRBD may still be overwriting; and an undo only goes on.
#[must_use]
pub fn can_be_undone_now(incident: &Incident, store: &dyn Store) -> bool {
    // A plan that cannot be read is reported by whoever needs it.
    incident.touched()
        && !drbd::plans::is_live(store, incident.plan)
        && plans::load(store, incident.plan)
            .is_ok_and(|sealed| sealed.plan().purpose == Purpose::Heal && sealed.plan().salvage)
}

/// An open incident and its next command. `undo`: whether it can be undone now; `waiver` as [`waiver_of`] has it; `at_work`:
/// who has the state directory.
///
/// # Errors
/// When standard output is closed.
pub fn show(
    screen: &mut Screen,
    incident: &Incident,
    undo: bool,
    waiver: &str,
    state_dir: &str,
    at_work: Option<AtWork>,
) -> std::io::Result<()> {
    let view = view(incident, waiver, state_dir, at_work);
    let title = screen.paint(Tone::Bad, &format!("Incident {} ({}): {}", view.id, view.resource, view.state));
    screen.line(title)?;
    if let Some(why) = &view.why {
        screen.line(format!("  why:  {why}"))?;
    }
    let gives_up = give_up_command(&view.id);
    if let Some(next) = &view.next {
        if next.starts_with(&gives_up) {
            return screen.line(format!(
                "  next: {next}   end it, and leave both sides as they are; a new plan keeps what stands there now"
            ));
        }
        screen.line(format!("  next: {next}        go on"))?;
        if undo {
            screen.line(format!(
                "        unsplit undo {}{state_dir}                put back what was overwritten so far",
                view.id
            ))?;
        }
        screen.line(format!("        {gives_up}{state_dir}   leave both sides as they are"))?;
    }
    Ok(())
}
