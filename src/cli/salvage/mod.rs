//! `unsplit salvage`.

mod opening;

use super::Cli;
use super::exit::{EVIDENCE, FINE, Failure, Kind};
use super::plan::state_dir_words;
use super::screen::{Screen, Tone};
use crate::edge::clock::local;
use crate::edge::state_dir::StateDir;
use crate::edge::terminal::TerminalProgress;
use crate::engine::journal::Journal;
use crate::engine::salvage::{FOLDER, verify};
use crate::model::salvage::{Part, PartKind};
use crate::model::seen::in_words;
use crate::model::size::human;
use crate::ports::store::Store;
use crate::resolver::desk::open_store_read_only;
use crate::resolver::salvages::{Fault, WayBack, all, bytes, data_bytes, fate, known, note, only, owner};
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

fn show(cli: &Cli, screen: &mut Screen, asked: &str) -> Result<u8, Failure> {
    let store = store(cli)?;
    // A damaged journal keeps nobody from opening what was kept.
    let story = Journal::read(&*store);
    let incidents = match &story {
        Ok(story) => Some(story.as_ref().map_or(&[][..], |story| story.incidents.as_slice())),
        Err(_) => None,
    };
    let name = only(&store, incidents.unwrap_or_default(), asked)?;
    let (dir, manifest) = known(&store, &name)?;
    let (back, behind) = fate(&store, incidents, &name, &manifest);
    let owner = owner(&*store, incidents.unwrap_or_default(), &name);
    let path = |part: &Part| store.locate(&format!("{dir}/{}", part.file));
    let words = state_dir_words(cli);
    if cli.json {
        let undo = match &back {
            WayBack::Type(command) => Some(format!("{command}{words}")),
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
            screen.line(format!("  {command}{words}"))?;
            let others = owner.map(|owner| owner.salvages).unwrap_or_default();
            let others: Vec<String> = others.into_iter().filter(|other| *other != name).collect();
            if !others.is_empty() {
                screen.line(format!("      puts back the whole incident: {}, too", others.join(", ")))?;
            }
        }
        WayBack::First(why, command) => screen.line(format!("  {command}{words}\n      {why}"))?,
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
