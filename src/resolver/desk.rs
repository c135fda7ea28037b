//! The state directory and its journal; which incidents are open, about which devices, and what is typed to go on with one.

use super::failure::{Failure, Kind};
use crate::edge::blockdev::Identity;
use crate::edge::clock::SystemClock;
use crate::edge::common::common;
use crate::edge::peer::greet::ourselves;
use crate::edge::state_dir::{StateDir, StateDirError};
use crate::engine::journal::{Journal, Story};
use crate::engine::plans::{self, PlanError};
use crate::engine::undone::end_what_was_undone;
use crate::judge::incident::{Incident, IncidentState};
use crate::model::evidence::Source;
use crate::model::id::IncidentId;
use crate::model::plan::{Plan, Purpose};
use crate::model::record::Outcome;
use crate::model::seen::in_words;
use crate::model::side::Pair;
use crate::ports::clock::Clock;
use crate::ports::store::Store;
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
/// [`Kind::Parked`], with the commands that end it; also when the open incident's plan cannot be read, so that nobody knows
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
            Failure::new(Kind::Parked, anyhow::Error::msg(text)).hint(next)
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

/// The devices that an incident is about.
///
/// # Errors
/// Its plan cannot be read.
pub fn devices_of(store: &dyn Store, incident: &Incident) -> Result<Vec<Source>, PlanError> {
    let sealed = plans::load(store, incident.plan)?;
    let volumes = sealed.plan().volumes.iter();
    Ok(volumes.flat_map(|volume| [volume.at.a.clone(), volume.at.b.clone()]).collect())
}

/// Whether two sides stand on one data or metadata device, by whatever paths. Metadata devices with several indexes
/// serve several resources.
#[must_use]
pub fn shares_a_device(a: &Source, b: &Source) -> bool {
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
    let share = |a: &str, b: &str| if is_here { shares_bytes(a, b) } else { a == b };
    same_machine
        && (share(&a.data, &b.data) || (a.superblock_at == b.superblock_at && same(&a.metadata, &b.metadata)))
}

/// Whether a side is this device of this machine, by whatever path.
#[must_use]
pub fn stands_on(source: &Source, path: &str) -> bool {
    let here = || ourselves(None);
    let is_here = match &source.on {
        None => true,
        Some(on) if on.machine.is_some() => on.machine == here().machine,
        Some(on) => on.host == here().host,
    };
    is_here && shares_bytes(&source.data, path)
}

fn same_thing(a: &str, b: &str) -> bool {
    a == b || identity(a).is_some_and(|found| Some(found) == identity(b))
}

/// Whether two paths lead to some of the same bytes: one may be a loop device over the other, or a partition of it.
fn shares_bytes(a: &str, b: &str) -> bool {
    a == b || identity(a).zip(identity(b)).is_some_and(|(a, b)| common(a, b).is_some())
}

fn identity(path: &str) -> Option<Identity> {
    std::fs::metadata(path).ok().and_then(|found| Identity::of(&found))
}

/// ` --no-salvage`, when a plan keeps nothing: it must be said again when the plan is run.
#[must_use]
pub fn waiver(salvage: bool) -> &'static str {
    if salvage { "" } else { " --no-salvage" }
}

/// What must be said again when an incident's plan goes on: ` --no-salvage`, where it keeps nothing. Nothing for a plan that
/// cannot be read: whoever needs it reports that.
#[must_use]
pub fn waiver_of(incident: &Incident, store: &dyn Store) -> &'static str {
    waiver(plans::load(store, incident.plan).map_or(true, |sealed| sealed.plan().salvage))
}

/// Whether an open incident can be undone as it is: a healing of devices that began to change a side, and kept what it
/// overwrites. One of a running resource must be healed first, since DRBD may still be overwriting; and an undo only goes on.
#[must_use]
pub fn can_be_undone_now(incident: &Incident, store: &dyn Store) -> bool {
    // A plan that cannot be read is reported by whoever needs it.
    let can = |plan: &Plan| plan.images().is_some() && plan.purpose == Purpose::Heal && plan.salvage;
    incident.touched() && plans::load(store, incident.plan).is_ok_and(|sealed| can(sealed.plan()))
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
        IncidentState::Fenced { .. } => "waits for the side that was fenced".to_owned(),
        IncidentState::Closed { outcome: Outcome::Healed } => "healed".to_owned(),
        IncidentState::Closed { outcome: Outcome::Undone } => "undone".to_owned(),
        IncidentState::Closed { outcome: Outcome::Abandoned } => "given up".to_owned(),
    }
}
