//! `unsplit salvage`.

use super::Cli;
use super::exit::{EVIDENCE, FINE, Failure};
use super::incident::{open_store_read_only, when};
use super::screen::{Screen, Tone};
use crate::edge::state_dir::StateDir;
use crate::edge::terminal::TerminalProgress;
use crate::engine::executor::in_words;
use crate::engine::salvage::{FOLDER, State, list, load_manifest, verify};
use crate::model::salvage::{Manifest, Part, PartKind};
use crate::model::size::human;
use crate::ports::store::Store;
use clap::{Args, Subcommand};
use std::sync::Arc;

/// List, show and verify the kept copies.
#[derive(Debug, Args)]
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
        Failure::new(EVIDENCE, anyhow::Error::msg(text)).hint("give the right folder with --state-dir")
    })
}

/// The folder of a named salvage and what it says it holds.
fn known(store: &dyn Store, incident: &str) -> Result<(String, Manifest), Failure> {
    let found = list(store).map_err(Failure::internal)?;
    let Some(salvage) = found.iter().find(|found| found.name == incident) else {
        let names: Vec<&str> = found.iter().map(|found| found.name.as_str()).collect();
        let have = if names.is_empty() {
            "there are none".to_owned()
        } else {
            format!("there are: {}", names.join(", "))
        };
        return Err(Failure::usage(format!("there is no salvage of incident `{incident}`; {have}")));
    };
    let manifest = load_manifest(store, &salvage.dir).map_err(Failure::evidence)?;
    Ok((salvage.dir.clone(), manifest))
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
    let mut rows = Vec::new();
    let mut views = Vec::new();
    let mut code = FINE;
    for found in list(&*store).map_err(Failure::internal)? {
        let why = match found.state {
            State::Complete(manifest) => {
                views.push(serde_json::json!({
                    "incident": found.name, "resource": manifest.resource, "victim": manifest.victim_name,
                    "survivor": manifest.survivor_name, "taken_at": manifest.taken_at, "bytes": data_bytes(&manifest),
                }));
                rows.push(vec![
                    found.name,
                    manifest.resource.to_string(),
                    manifest.victim_name.to_string(),
                    human(data_bytes(&manifest)),
                    when(manifest.taken_at),
                ]);
                continue;
            }
            State::Unfinished => "an interrupted copy; nothing was overwritten on its strength".to_owned(),
            State::Damaged(error) => {
                code = EVIDENCE;
                in_words(&error)
            }
        };
        views.push(serde_json::json!({"incident": found.name, "not_usable": why}));
        rows.push(vec![found.name, "not usable:".to_owned(), why, String::new(), String::new()]);
    }
    if cli.json {
        screen.json(&serde_json::json!({"schema": "unsplit.salvages", "version": 1, "salvages": views}))?;
    } else if rows.is_empty() {
        screen.line("No salvages.")?;
    } else {
        screen.table(&["incident", "resource", "of side", "data", "taken"], &rows, 9)?;
    }
    Ok(code)
}

fn show(cli: &Cli, screen: &mut Screen, incident: &str) -> Result<u8, Failure> {
    let store = store(cli)?;
    let (dir, manifest) = known(&*store, incident)?;
    let path = |part: &Part| store.locate(&format!("{dir}/{}", part.file));
    if cli.json {
        screen.json(&serde_json::json!({"schema": "unsplit.salvage", "version": 1, "folder": store.locate(&dir), "manifest": manifest}))?;
        return Ok(FINE);
    }
    screen.line(format!(
        "Salvage of incident {incident}: what {} held before {}'s data was written over it",
        manifest.victim_name, manifest.survivor_name
    ))?;
    screen.line(format!("taken {} for plan {}", when(manifest.taken_at), manifest.plan))?;
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
        screen.heading(&format!("To look at {} as it was", manifest.victim_name))?;
        let file = path(part);
        screen.line(format!("  qemu-nbd --read-only --connect=/dev/nbd0 {file}"))?;
        screen.line(format!("  qemu-img convert -O raw {file} {}-as-it-was.img", manifest.victim_name))?;
        if let Some(backing) = &part.backing {
            screen.line(format!("Both read the rest from {backing}, which must not have changed since."))?;
        }
    }
    screen.heading("To put it back")?;
    screen.line(format!("  unsplit undo {incident}{}", super::plan::state_dir_words(cli)))?;
    Ok(FINE)
}

fn verify_some(cli: &Cli, screen: &mut Screen, incident: Option<&str>) -> Result<u8, Failure> {
    let store = store(cli)?;
    let names = match incident {
        Some(incident) => {
            known(&*store, incident)?;
            vec![incident.to_owned()]
        }
        None => {
            let found = list(&*store).map_err(Failure::internal)?;
            // The rest of an interrupted copy is nothing that could be verified.
            found
                .into_iter()
                .filter(|found| !matches!(found.state, State::Unfinished))
                .map(|found| found.name)
                .collect()
        }
    };
    let mut code = FINE;
    let mut views = Vec::new();
    for name in names {
        match verify(&*store, &format!("{FOLDER}/{name}"), &TerminalProgress::new()) {
            Ok(manifest) => {
                let bytes: u64 = manifest.parts.iter().map(bytes).sum();
                views.push(serde_json::json!({"incident": name, "verified": true, "bytes": bytes}));
                if !cli.json {
                    let line = screen.paint(
                        Tone::Good,
                        &format!("{name}: {} read back, every piece as its digest says", human(bytes)),
                    );
                    screen.line(line)?;
                }
            }
            Err(error) => {
                code = EVIDENCE;
                let why = in_words(&error);
                views.push(serde_json::json!({"incident": name, "verified": false, "error": why}));
                if !cli.json {
                    let line = screen.paint(Tone::Bad, &format!("{name}: NOT GOOD: {why}"));
                    screen.line(line)?;
                }
            }
        }
    }
    if cli.json {
        screen.json(
            &serde_json::json!({"schema": "unsplit.salvage-verify", "version": 1, "salvages": views}),
        )?;
    }
    Ok(code)
}
