//! The copies of what was overwritten: which there are, what is wrong with them, whose they are, and how each can be put back.

mod owner;

pub use owner::{Owner, owner};

use super::discarded::command;
use super::failure::{Failure, Kind};
use crate::edge::events;
use crate::edge::state_dir::StateDir;
use crate::engine::journal::Journal;
use crate::engine::salvage::{FOLDER, NOTE, OF_A_RESYNC, State, list};
use crate::engine::undone::undone_by;
use crate::engine::{drbd, plans};
use crate::judge::discarded::discarded;
use crate::judge::incident::Incident;
use crate::model::id::IncidentId;
use crate::model::salvage::{Manifest, Part, PartKind};
use crate::model::seen::in_words;
use crate::ports::store::Store;

/// How to put it back.
#[derive(Debug, PartialEq, Eq)]
pub enum WayBack {
    /// By this command, typed with the same state directory.
    Type(String),
    /// Not now: why, and what first.
    First(String, String),
    /// Not at all, and why.
    No(String),
}

/// What lies behind a salvage that names no backing file.
#[derive(Debug)]
pub enum Behind {
    /// This device of this machine: the victim's own, which holds the survivor's data now.
    Device(String),
    /// The backing device of this volume of a running resource, on the node that was overwritten.
    LowerDevice(String),
    /// Nothing that could be named.
    Unknown,
}

/// Salvages that must be there, by the journal. A damaged journal tells nothing here; other commands complain about it.
fn owed(store: &StateDir) -> Vec<String> {
    let Ok(Some(story)) = Journal::read(store) else { return Vec::new() };
    let incidents = story.incidents.as_slice().iter().filter(|one| one.preserved());
    incidents.flat_map(|one| taken_by(store, one)).collect()
}

/// The salvages that an incident's plan takes: one, or for a running resource one for each volume that differs.
fn taken_by(store: &dyn Store, incident: &Incident) -> Vec<String> {
    match plans::load(store, incident.plan) {
        Ok(sealed) if sealed.plan().images().is_some() => vec![incident.id.to_string()],
        Ok(sealed) => {
            let differ = sealed.plan().volumes.iter().filter(|volume| !volume.overwrite.is_empty());
            let named = differ.filter_map(|volume| drbd::salvage_of(&incident.id, volume.number).ok());
            named.map(|id| id.to_string()).collect()
        }
        // Which volumes differed is not known any more; other commands complain about the plan.
        Err(_) => Vec::new(),
    }
}

const GONE: &str =
    "its manifest is gone, although the journal says that it was taken: restore the folder from a backup";

/// Everything that is there or should be, with what is wrong with it.
///
/// # Errors
/// The folder of the salvages cannot be read.
pub fn all(store: &StateDir) -> Result<Vec<Entry>, Failure> {
    let owed = owed(store);
    let mut found: Vec<_> = list(store)
        .map_err(Failure::internal)?
        .into_iter()
        .map(|found| {
            let state = match found.state {
                State::Complete(manifest) => Ok(manifest),
                State::Unfinished if owed.contains(&found.name) => Err(Fault::Damaged(GONE.to_owned())),
                State::Unfinished => Err(Fault::Unfinished),
                State::Damaged(error) => Err(Fault::Damaged(in_words(&error))),
            };
            (found.name, state)
        })
        .collect();
    for name in owed {
        if !found.iter().any(|(known, _)| *known == name) {
            found.push((name, Err(Fault::Damaged(GONE.to_owned()))));
        }
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(found)
}

/// A salvage's name, and what it holds or what is wrong with it.
pub type Entry = (String, Result<Manifest, Fault>);

/// What is wrong with a salvage.
#[derive(Debug)]
pub enum Fault {
    /// A copy that was cut off, before anything was overwritten.
    Unfinished,
    /// It is damaged or gone: how.
    Damaged(String),
}

impl Fault {
    /// In words.
    #[must_use]
    pub fn words(&self) -> &str {
        match self {
            Fault::Unfinished => "an interrupted copy; nothing was overwritten on its strength",
            Fault::Damaged(why) => why,
        }
    }
}

/// The folder of a named salvage and what it says it holds.
///
/// # Errors
/// There is none of that name, or it is not usable.
pub fn known(store: &StateDir, incident: &str) -> Result<(String, Manifest), Failure> {
    let found = all(store)?;
    let Some((name, state)) = found.iter().find(|(name, _)| name == incident) else {
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        let have = if names.is_empty() {
            "there are none".to_owned()
        } else {
            format!("there are: {}", names.join(", "))
        };
        return Err(Failure::usage(format!("there is no salvage of incident `{incident}`; {have}")));
    };
    match state {
        Ok(manifest) => Ok((format!("{FOLDER}/{name}"), manifest.clone())),
        Err(fault) => {
            let text = format!("the salvage of incident {name} is not usable: {}", fault.words());
            Err(Failure::new(Kind::Evidence, anyhow::Error::msg(text)))
        }
    }
}

/// How many bytes a part holds.
#[must_use]
pub fn bytes(part: &Part) -> u64 {
    part.pieces.iter().map(|piece| piece.len).sum()
}

/// How many bytes of data a salvage holds.
#[must_use]
pub fn data_bytes(manifest: &Manifest) -> u64 {
    manifest.parts.iter().filter(|part| part.kind == PartKind::VictimData).map(bytes).sum()
}

/// What a handler wrote about the salvage that it took.
#[must_use]
pub fn note(store: &StateDir, dir: &str) -> Option<String> {
    const LONGEST: u64 = 64 << 10;
    let path = format!("{dir}/{NOTE}");
    let len = store.len(&path).ok().flatten().filter(|len| *len <= LONGEST)?;
    let mut bytes = vec![0; usize::try_from(len).ok()?];
    store.read_at(&path, 0, &mut bytes).ok()?;
    String::from_utf8(bytes).ok()
}

/// The incident that somebody means who types its name or one of its salvages'; as typed, if it is neither.
#[must_use]
pub fn incident_meant(store: &dyn Store, incidents: &[Incident], word: &str) -> String {
    owner::meant(store, incidents, word).map_or_else(|| word.to_owned(), |incident| incident.id.to_string())
}

/// The salvage of that name, or the only one of the incident of that name.
///
/// # Errors
/// The incident has several.
pub fn only(store: &StateDir, incidents: &[Incident], word: &str) -> Result<String, Failure> {
    let incident = incidents.iter().find(|incident| incident.id.as_str() == word);
    let salvages = incident.map(|incident| taken_by(store, incident)).unwrap_or_default();
    match salvages.as_slice() {
        [only] => Ok(only.clone()),
        [] => Ok(word.to_owned()),
        several => Err(Failure::usage(format!("incident {word} has a salvage for each volume")).hint(
            several.iter().map(|name| format!("unsplit salvage show {name}")).collect::<Vec<_>>().join("; "),
        )),
    }
}

/// How what is in it can be put back; and what lies behind it.
///
/// `incidents`: `None` where the journal cannot be read.
#[must_use]
pub fn fate(
    store: &StateDir,
    incidents: Option<&[Incident]>,
    name: &str,
    manifest: &Manifest,
) -> (WayBack, Behind) {
    if name.starts_with(OF_A_RESYNC) {
        let volume = name.strip_prefix(&format!("{OF_A_RESYNC}{}-", manifest.resource));
        let volume = volume.and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        let behind = volume
            .map_or(Behind::Unknown, |volume| Behind::LowerDevice(format!("{}/{volume}", manifest.resource)));
        return (of_a_resync(store, name, manifest), behind);
    }
    let Some(incidents) = incidents else {
        return (WayBack::No("the journal cannot be read, and an undo needs it".to_owned()), Behind::Unknown);
    };
    match owner::owner(store, incidents, name) {
        None => (WayBack::No("the journal knows no incident that took it".to_owned()), Behind::Unknown),
        Some(owner) => {
            let behind = owner.own_device(store, name, manifest).map_or(Behind::Unknown, Behind::Device);
            (owner.way_back(store, incidents), behind)
        }
    }
}

/// How to put back what DRBD itself discarded.
fn of_a_resync(store: &StateDir, name: &str, manifest: &Manifest) -> WayBack {
    let proven = IncidentId::new(name).map_err(|error| error.to_string()).and_then(|id| {
        if let Some(by) = Journal::read(store)
            .ok()
            .flatten()
            .and_then(|story| Some(undone_by(store, &story.incidents, &id).ok()??.id.clone()))
        {
            return Err(format!("it was put back, by incident {by}"));
        }
        let events = events::read(store.path()).map_err(|error| in_words(&error))?;
        discarded(&events.events, &id)
            .map_err(|why| format!("Not as a whole: {why}. Open it as above, and copy over what is needed"))
    });
    match proven {
        Ok(_) => WayBack::Type(command(name, manifest)),
        Err(why) => WayBack::No(why),
    }
}
