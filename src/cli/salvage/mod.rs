//! `unsplit salvage`.
//!
//! | file | holds |
//! |---|---|
//! | `owner` | whose a salvage is, and how it can be put back |
//! | `opening` | how it is opened without unsplit |

mod opening;
mod owner;

use self::opening::Behind;
use self::owner::WayBack;
use super::Cli;
use super::exit::{EVIDENCE, FINE, Failure, Kind};
use super::screen::{Screen, Tone};
use crate::edge::clock::local;
use crate::edge::events;
use crate::edge::state_dir::StateDir;
use crate::edge::terminal::TerminalProgress;
use crate::engine::journal::Journal;
use crate::engine::salvage::{FOLDER, NOTE, OF_A_RESYNC, State, list, verify};
use crate::engine::undone::undone_by;
use crate::engine::{drbd, plans};
use crate::judge::discarded::discarded;
use crate::judge::incident::Incident;
use crate::model::id::IncidentId;
use crate::model::salvage::{Manifest, Part, PartKind};
use crate::model::seen::in_words;
use crate::model::size::human;
use crate::ports::store::Store;
use crate::resolver::desk::open_store_read_only;
use crate::resolver::discarded::command;
use clap::{Args, Subcommand};
use std::sync::Arc;

/// List, show and verify the kept copies.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  unsplit salvage list\n  unsplit salvage show 20261121-031502-3f9a2c\n  unsplit salvage verify\n\nA salvage is never deleted by unsplit. docs/salvage.md tells what is in it and how to open it without unsplit."
)]
pub struct SalvageArgs {
    /// What to do
    #[command(subcommand)]
    pub command: SalvageCommand,
}

/// What can be done with salvages.
#[derive(Debug, Subcommand)]
pub enum SalvageCommand {
    /// List all salvages
    #[command(after_help = "Example:\n  unsplit salvage list")]
    List,
    /// Show what a salvage holds, and how to open it
    #[command(after_help = "Example:\n  unsplit salvage show 20261121-031502-3f9a2c")]
    Show {
        /// The incident it belongs to
        #[arg(value_name = "INCIDENT")]
        incident: String,
    },
    /// Read a salvage back and compare every piece with its digest
    #[command(
        after_help = "Examples:\n  unsplit salvage verify 20261121-031502-3f9a2c\n  unsplit salvage verify            (all of them)"
    )]
    Verify {
        /// The incident it belongs to [default: all]
        #[arg(value_name = "INCIDENT")]
        incident: Option<String>,
    },
}

fn store(cli: &Cli) -> Result<Arc<StateDir>, Failure> {
    open_store_read_only(&cli.state_dir)?.ok_or_else(|| {
        let text = format!("there are no salvages: {} does not exist", cli.state_dir.display());
        Failure::new(Kind::Evidence, anyhow::Error::msg(text)).hint("give the right folder with --state-dir")
    })
}

/// Salvages that must be there, by the journal. A damaged journal tells nothing here; other commands complain about it.
fn owed(store: &StateDir) -> Vec<String> {
    let Ok(Some(story)) = Journal::read(store) else { return Vec::new() };
    let incidents = story.incidents.as_slice().iter().filter(|one| one.preserved());
    incidents.flat_map(|one| salvages_of(store, one)).collect()
}

/// The salvages that an incident's plan takes: one, or for a running resource one for each volume that differs.
fn salvages_of(store: &dyn Store, incident: &Incident) -> Vec<String> {
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
fn all(store: &StateDir) -> Result<Vec<Entry>, Failure> {
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
type Entry = (String, Result<Manifest, Fault>);

/// What is wrong with a salvage.
enum Fault {
    Unfinished,
    Damaged(String),
}

impl Fault {
    fn words(&self) -> &str {
        match self {
            Fault::Unfinished => "an interrupted copy; nothing was overwritten on its strength",
            Fault::Damaged(why) => why,
        }
    }
}

/// The folder of a named salvage and what it says it holds.
fn known(store: &StateDir, incident: &str) -> Result<(String, Manifest), Failure> {
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

fn bytes(part: &Part) -> u64 {
    part.pieces.iter().map(|piece| piece.len).sum()
}

fn data_bytes(manifest: &Manifest) -> u64 {
    manifest.parts.iter().filter(|part| part.kind == PartKind::VictimData).map(bytes).sum()
}

pub(super) fn run(cli: &Cli, args: &SalvageArgs, screen: &mut Screen) -> Result<u8, Failure> {
    match &args.command {
        SalvageCommand::List => list_all(cli, screen),
        SalvageCommand::Show { incident } => show(cli, screen, incident),
        SalvageCommand::Verify { incident } => verify_some(cli, screen, incident.as_deref()),
    }
}

fn list_all(cli: &Cli, screen: &mut Screen) -> Result<u8, Failure> {
    let Some(store) = open_store_read_only(&cli.state_dir)? else {
        if cli.json {
            screen.json(&serde_json::json!({"schema": "unsplit.salvages", "version": 1, "salvages": []}))?;
        } else {
            screen.line("No salvages.")?;
        }
        return Ok(FINE);
    };
    let (mut rows, mut bad, mut views) = (Vec::new(), Vec::new(), Vec::new());
    let mut code = FINE;
    for (name, state) in all(&store)? {
        match state {
            Ok(manifest) => {
                views.push(serde_json::json!({
                    "incident": name, "resource": manifest.resource, "victim": manifest.victim_name,
                    "survivor": manifest.survivor_name, "taken_at": manifest.taken_at, "bytes": data_bytes(&manifest),
                }));
                rows.push(vec![
                    name,
                    manifest.resource.to_string(),
                    manifest.victim_name.to_string(),
                    human(data_bytes(&manifest)),
                    local(manifest.taken_at),
                ]);
            }
            Err(fault) => {
                if matches!(fault, Fault::Damaged(_)) {
                    code = EVIDENCE;
                }
                views.push(serde_json::json!({"incident": name, "not_usable": fault.words()}));
                bad.push(format!("{name}: not usable: {}", fault.words()));
            }
        }
    }
    if cli.json {
        screen.json(&serde_json::json!({"schema": "unsplit.salvages", "version": 1, "salvages": views}))?;
        return Ok(code);
    }
    if rows.is_empty() && bad.is_empty() {
        screen.line("No salvages.")?;
    }
    if !rows.is_empty() {
        screen.table(&["incident", "resource", "of side", "data", "taken"], &rows, 9)?;
    }
    for line in bad {
        let line = screen.paint(Tone::Bad, &line);
        screen.line(line)?;
    }
    Ok(code)
}

/// What a handler wrote about the salvage that it took.
fn note(store: &StateDir, dir: &str) -> Option<String> {
    const LONGEST: u64 = 64 << 10;
    let path = format!("{dir}/{NOTE}");
    let len = store.len(&path).ok().flatten().filter(|len| *len <= LONGEST)?;
    let mut bytes = vec![0; usize::try_from(len).ok()?];
    store.read_at(&path, 0, &mut bytes).ok()?;
    String::from_utf8(bytes).ok()
}

/// The incident that somebody means who types its name or one of its salvages'; as typed, if it is neither.
#[must_use]
pub(super) fn incident_meant(store: &dyn Store, incidents: &[Incident], word: &str) -> String {
    owner::meant(store, incidents, word).map_or_else(|| word.to_owned(), |incident| incident.id.to_string())
}

/// The salvage of that name, or the only one of the incident of that name.
fn only_salvage(store: &StateDir, incidents: &[Incident], word: &str) -> Result<String, Failure> {
    let incident = incidents.iter().find(|incident| incident.id.as_str() == word);
    let salvages = incident.map(|incident| salvages_of(store, incident)).unwrap_or_default();
    match salvages.as_slice() {
        [only] => Ok(only.clone()),
        [] => Ok(word.to_owned()),
        several => Err(Failure::usage(format!("incident {word} has a salvage for each volume")).hint(
            several.iter().map(|name| format!("unsplit salvage show {name}")).collect::<Vec<_>>().join("; "),
        )),
    }
}

/// How what is in it can be put back; and what lies behind it.
fn fate(
    cli: &Cli,
    store: &StateDir,
    incidents: Option<&[Incident]>,
    name: &str,
    manifest: &Manifest,
) -> (WayBack, Behind) {
    let words = super::plan::state_dir_words(cli);
    if name.starts_with(OF_A_RESYNC) {
        let volume = name.strip_prefix(&format!("{OF_A_RESYNC}{}-", manifest.resource));
        let volume = volume.and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        let behind = volume
            .map_or(Behind::Unknown, |volume| Behind::LowerDevice(format!("{}/{volume}", manifest.resource)));
        return (of_a_resync(cli, store, name, manifest), behind);
    }
    let Some(incidents) = incidents else {
        return (WayBack::No("the journal cannot be read, and an undo needs it".to_owned()), Behind::Unknown);
    };
    match owner::owner(store, incidents, name) {
        None => (WayBack::No("the journal knows no incident that took it".to_owned()), Behind::Unknown),
        Some(owner) => {
            let behind = owner.own_device(store, name, manifest).map_or(Behind::Unknown, Behind::Device);
            (owner.way_back(store, incidents, &words), behind)
        }
    }
}

/// How to put back what DRBD itself discarded.
fn of_a_resync(cli: &Cli, store: &StateDir, name: &str, manifest: &Manifest) -> WayBack {
    let proven = IncidentId::new(name).map_err(|error| error.to_string()).and_then(|id| {
        if let Some(by) = Journal::read(store)
            .ok()
            .flatten()
            .and_then(|story| Some(undone_by(store, &story.incidents, &id).ok()??.id.clone()))
        {
            return Err(format!("it was put back, by incident {by}"));
        }
        let events = events::read(&cli.state_dir).map_err(|error| in_words(&error))?;
        discarded(&events.events, &id)
            .map_err(|why| format!("Not as a whole: {why}. Open it as above, and copy over what is needed"))
    });
    match proven {
        Ok(_) => WayBack::Type(command(name, manifest) + &super::plan::state_dir_words(cli)),
        Err(why) => WayBack::No(why),
    }
}

fn show(cli: &Cli, screen: &mut Screen, asked: &str) -> Result<u8, Failure> {
    let store = store(cli)?;
    // A damaged journal keeps nobody from opening what was kept.
    let story = Journal::read(&*store);
    let incidents = match &story {
        Ok(story) => Some(story.as_ref().map_or(&[][..], |story| story.incidents.as_slice())),
        Err(_) => None,
    };
    let name = only_salvage(&store, incidents.unwrap_or_default(), asked)?;
    let (dir, manifest) = known(&store, &name)?;
    let (back, behind) = fate(cli, &store, incidents, &name, &manifest);
    let owner = owner::owner(&*store, incidents.unwrap_or_default(), &name);
    let path = |part: &Part| store.locate(&format!("{dir}/{}", part.file));
    if cli.json {
        let undo = match &back {
            WayBack::Type(command) => Some(command),
            WayBack::First(..) | WayBack::No(_) => None,
        };
        let incident = owner.as_ref().map(|owner| &owner.incident.id);
        screen.json(&serde_json::json!({
            "schema": "unsplit.salvage", "version": 1, "folder": store.locate(&dir), "manifest": manifest,
            "incident": incident, "undo": undo,
        }))?;
        return Ok(FINE);
    }
    let what = if owner.is_some() { "Salvage of incident" } else { "Salvage" };
    screen.line(format!(
        "{what} {name}: what {} held before {}'s data was written over it",
        manifest.victim_name, manifest.survivor_name
    ))?;
    match note(&store, &dir) {
        Some(note) => screen.line(format!("taken {}\n\n{}", local(manifest.taken_at), note.trim_end()))?,
        None => screen.line(format!("taken {} for plan {}", local(manifest.taken_at), manifest.plan))?,
    }
    screen.line("")?;
    let rows: Vec<Vec<String>> = manifest
        .parts
        .iter()
        .map(|part| {
            let what = match part.kind {
                PartKind::VictimData => format!("{}'s data", manifest.victim_name),
                PartKind::VictimMetadata => format!("{}'s DRBD metadata", manifest.victim_name),
                PartKind::SurvivorMetadata => format!("{}'s DRBD metadata", manifest.survivor_name),
            };
            vec![what, human(bytes(part)), format!("{} pieces", part.pieces.len()), path(part)]
        })
        .collect();
    screen.table(&[], &rows, 9)?;
    if let Some(part) = manifest.parts.iter().find(|part| part.kind == PartKind::VictimData) {
        opening::show(screen, &manifest, part, &path(part), &behind)?;
    }
    screen.heading("To put it back")?;
    match back {
        WayBack::Type(command) => {
            screen.line(format!("  {command}"))?;
            let others = owner.map(|owner| owner.salvages).unwrap_or_default();
            let others: Vec<String> = others.into_iter().filter(|other| *other != name).collect();
            if !others.is_empty() {
                screen.line(format!("      puts back the whole incident: {}, too", others.join(", ")))?;
            }
        }
        WayBack::First(why, command) => screen.line(format!("  {command}\n      {why}"))?,
        WayBack::No(why) => screen.line(format!("  {why}"))?,
    }
    Ok(FINE)
}

fn verify_some(cli: &Cli, screen: &mut Screen, incident: Option<&str>) -> Result<u8, Failure> {
    let store = store(cli)?;
    let mut chosen = all(&store)?;
    if let Some(incident) = incident {
        if !chosen.iter().any(|(name, _)| name == incident) {
            known(&store, incident)?;
        }
        chosen.retain(|(name, _)| name == incident);
    }
    let mut code = FINE;
    let mut views = Vec::new();
    for (name, state) in chosen {
        let verified = match state {
            Ok(_) => verify(&*store, &format!("{FOLDER}/{name}"), &TerminalProgress::new())
                .map_err(|error| Fault::Damaged(in_words(&error))),
            Err(fault) => Err(fault),
        };
        let line = match verified {
            Ok(manifest) => {
                let bytes: u64 = manifest.parts.iter().map(bytes).sum();
                views.push(serde_json::json!({"incident": name, "verified": true, "bytes": bytes}));
                let text = format!("{name}: {} read back, every piece as its digest says", human(bytes));
                screen.paint(Tone::Good, &text)
            }
            // The rest of an interrupted copy is nothing that could be verified, unless it was asked for.
            Err(Fault::Unfinished) if incident.is_none() => continue,
            Err(fault) => {
                code = EVIDENCE;
                views.push(serde_json::json!({"incident": name, "verified": false, "error": fault.words()}));
                screen.paint(Tone::Bad, &format!("{name}: NOT GOOD: {}", fault.words()))
            }
        };
        if !cli.json {
            screen.line(line)?;
        }
    }
    if views.is_empty() && !cli.json {
        screen.line("No salvages: nothing to verify.")?;
    }
    if cli.json {
        screen.json(
            &serde_json::json!({"schema": "unsplit.salvage-verify", "version": 1, "salvages": views}),
        )?;
    }
    Ok(code)
}
