//! Incidents that are not over, seen wherever one looks: `status`, `diff` and `plan` of a resource or of a pair of devices name those
//! that are about it, and whose after-sb policies the kernels still hold.

use super::Cli;
use super::exit::PARKED;
use super::incident::{show, view};
use super::plan::state_dir_words;
use super::screen::Screen;
use crate::edge::state_dir::AtWork;
use crate::engine::journal::Journal;
use crate::engine::plans;
use crate::judge::incident::Incident;
use crate::model::evidence::Source;
use crate::model::node::AfterSb;
use crate::model::plan::Purpose;
use crate::model::plan::drbd::{DrbdPlan, Step};
use crate::model::seen::in_words;
use crate::model::side::Pair;
use crate::ports::store::Store;
use crate::resolver::desk::{
    can_be_undone_now, devices_of, is_open, open_store_read_only, shares_a_device, stands_on, waiver_of,
};
use serde::Serialize;

/// What somebody looks at.
#[derive(Debug, Clone, Copy)]
pub enum About<'a> {
    /// Everything that this state directory knows.
    Everything,
    /// Running resources.
    Resources {
        /// What they are called.
        names: &'a [&'a str],
        /// Their backing devices on this machine ([`crate::resolver::nodes::backing_devices`]): they may have been healed while the resource was down.
        devices: &'a [String],
    },
    /// Two sides.
    Devices(Pair<&'a Source>),
}

/// Open incidents, and what they hold.
#[derive(Debug, Default)]
pub struct StillOpen {
    found: Vec<Found>,
    /// Why the journal could not be read; then nobody knows whether one is open.
    not_read: Option<String>,
    at_work: Option<AtWork>,
    state_dir: String,
}

#[derive(Debug)]
struct Found {
    incident: Incident,
    undo: bool,
    waiver: &'static str,
    holds: Option<String>,
}

/// As JSON shows it.
#[derive(Debug, Clone, Serialize)]
pub struct OpenView {
    open: Vec<super::incident::IncidentView>,
    not_read: Option<String>,
}

impl StillOpen {
    /// Those about what somebody looks at. A journal that cannot be read is said, and keeps nobody from looking.
    #[must_use]
    pub fn about(cli: &Cli, about: About<'_>) -> StillOpen {
        let state_dir = state_dir_words(cli);
        let store = match open_store_read_only(&cli.state_dir) {
            Ok(None) => return StillOpen { state_dir, ..StillOpen::default() },
            Ok(Some(store)) => store,
            Err(failure) => {
                let causes: Vec<String> = failure.error.chain().map(ToString::to_string).collect();
                return StillOpen { not_read: Some(causes.join(": ")), state_dir, ..StillOpen::default() };
            }
        };
        match Journal::read(&*store) {
            Ok(story) => {
                let all = story.as_ref().map_or(&[][..], |story| story.incidents.as_slice());
                StillOpen {
                    found: among(&*store, all, about),
                    at_work: store.at_work(),
                    state_dir,
                    not_read: None,
                }
            }
            Err(error) => StillOpen { not_read: Some(in_words(&error)), state_dir, ..StillOpen::default() },
        }
    }

    /// Whether there is none, as far as could be read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The exit code of a look: an incident that waits for somebody outweighs what is found otherwise.
    #[must_use]
    pub fn or(&self, code: u8) -> u8 {
        if self.found.is_empty() { code } else { PARKED }
    }

    /// On the screen, before what was asked for; nothing when there is none.
    ///
    /// # Errors
    /// When standard output is closed.
    pub fn show(&self, screen: &mut Screen) -> std::io::Result<()> {
        if let (Some(who), false) = (self.at_work, self.found.is_empty()) {
            screen.line(who.to_string())?;
        }
        for found in &self.found {
            show(screen, &found.incident, found.undo, found.waiver, &self.state_dir, self.at_work)?;
            if let Some(holds) = &found.holds {
                screen.line(format!("  {holds}"))?;
            }
        }
        if let Some(why) = &self.not_read {
            screen.line(format!("Whether an incident about this is open is not known: {why}"))?;
        }
        if !self.found.is_empty() || self.not_read.is_some() {
            screen.line("")?;
        }
        Ok(())
    }

    /// What each of them is, in a sentence, and the command that goes on with it, or looks at it again. Empty when none is
    /// open, and that is known.
    #[must_use]
    pub fn told(&self) -> Vec<(String, String)> {
        let look = || format!("unsplit status{}", self.state_dir);
        let OpenView { open, not_read } = self.view();
        let open = open.iter().map(|incident| {
            let (told, next) = incident.told();
            (told, next.unwrap_or_else(look))
        });
        let unknown = |why| (format!("Whether an incident about this is open is not known: {why}"), look());
        open.chain(not_read.map(unknown)).collect()
    }

    /// As JSON.
    #[must_use]
    pub fn view(&self) -> OpenView {
        OpenView {
            open: self
                .found
                .iter()
                .map(|found| view(&found.incident, found.waiver, &self.state_dir, self.at_work))
                .collect(),
            not_read: self.not_read.clone(),
        }
    }
}

fn among(store: &dyn Store, incidents: &[Incident], about: About<'_>) -> Vec<Found> {
    let open = incidents.iter().filter(|incident| is_open(incident) && concerns(store, incident, about));
    open.map(|incident| Found {
        incident: incident.clone(),
        undo: can_be_undone_now(incident, store),
        waiver: waiver_of(incident, store),
        holds: holds(store, incident),
    })
    .collect()
}

/// Whether an open incident is about this. One whose plan cannot be read may be about anything.
fn concerns(store: &dyn Store, incident: &Incident, about: About<'_>) -> bool {
    match about {
        About::Everything => true,
        About::Resources { names, devices } => {
            let on_them = || {
                devices_of(store, incident).map_or(true, |theirs| {
                    theirs.iter().any(|theirs| devices.iter().any(|path| stands_on(theirs, path)))
                })
            };
            names.contains(&incident.resource.as_str()) || on_them()
        }
        About::Devices(ours) => devices_of(store, incident).map_or(true, |theirs| {
            ours.iter().any(|(_, ours)| theirs.iter().any(|theirs| shares_a_device(ours, theirs)))
        }),
    }
}

/// The policies that a live healing took from the kernels and has not put back yet.
fn holds(store: &dyn Store, incident: &Incident) -> Option<String> {
    let sealed = plans::load(store, incident.plan).ok()?;
    let plan = sealed.plan().drbd()?;
    if plan.purpose != Purpose::Heal || !took_the_policies(incident, plan) {
        return None;
    }
    let mut words: Vec<String> = Vec::new();
    for (side, policies) in plan.ground.policies.iter() {
        match policies {
            Some(policies) if *policies == AfterSb::DISCONNECT => {}
            Some(policies) => words.push(format!("{} on {}", policy_words(policies), plan.names[side])),
            // 8.4 tells no options of a connection that is not there.
            None => words.push(format!("what the files say on {}", plan.names[side])),
        }
    }
    (!words.is_empty()).then(|| {
        format!(
            "holds: the kernels' after-sb policies are `disconnect` until it is over, then again {}",
            words.join(", ")
        )
    })
}

/// The three policies in DRBD's words.
#[must_use]
pub fn policy_words(policies: &AfterSb) -> String {
    format!("{}/{}/{}", policies.zero, policies.one, policies.two)
}

fn took_the_policies(incident: &Incident, plan: DrbdPlan<'_>) -> bool {
    let at = |step: Step| plan.ground.steps.iter().position(|planned| *planned == step);
    at(Step::Reconnect).is_some_and(|at| incident.declared(at))
        && !at(Step::RestorePolicies).is_some_and(|at| incident.ended_well(at))
}
