//! `unsplit events`.

use super::Cli;
use super::exit::{FINE, Failure, Kind};
use super::screen::{Screen, Tone};
use crate::edge::clock::local;
use crate::edge::events::{FOLDER, read};
use crate::edge::voice::Urgency;
use crate::model::handled::{Handled, Handler, Outcome};
use crate::model::size::human;
use clap::Args;
use std::fmt::Write as _;

/// Show what DRBD called its handlers for.
///
/// The newest last. docs/handlers.md tells how to have DRBD call unsplit; `unsplit history` shows what unsplit itself did.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  unsplit events                  the last 50 events\n  unsplit events r0 --last 5      of resource r0\n  unsplit events --json           all that is known of each: UUIDs, roles, disk states"
)]
pub struct EventsArgs {
    /// Only of this resource
    #[arg(value_name = "RESOURCE")]
    pub resource: Option<String>,
    /// Only the last so many
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub last: usize,
}

pub(super) fn run(cli: &Cli, args: &EventsArgs, screen: &mut Screen) -> Result<u8, Failure> {
    let found = read(&cli.state_dir).map_err(|error| {
        let text = format!("{} cannot be read", cli.state_dir.join(FOLDER).display());
        Failure::new(Kind::Evidence, anyhow::Error::new(error).context(text))
    })?;
    let wanted = |event: &&Handled| args.resource.is_none() || event.call.resource == args.resource;
    let events: Vec<&Handled> = found.events.iter().filter(wanted).collect();
    let shown = &events[events.len().saturating_sub(args.last)..];
    if cli.json {
        screen.json(&serde_json::json!({
            "schema": "unsplit.events", "version": 1, "events": shown, "torn": found.torn, "unknown": found.unknown,
        }))?;
        return Ok(FINE);
    }
    if shown.is_empty() {
        let of = args.resource.as_ref().map_or_else(String::new, |resource| format!(" of {resource}"));
        screen.line(format!("No events{of}. docs/handlers.md tells how to have DRBD call unsplit."))?;
    }
    let state_dir = super::plan::state_dir_words(cli);
    for event in shown {
        let (urgency, text) = words(event, &state_dir);
        // Names may hold anything; an event is one line.
        let line = format!("{}  {}", local(event.at), text.replace('\n', "\\n"));
        let line = match urgency {
            Urgency::Alert | Urgency::Error => screen.paint(Tone::Bad, &line),
            Urgency::Warning | Urgency::Info => line,
        };
        screen.line(line)?;
    }
    for (count, what) in [
        (found.torn, "not as they were written, torn by a power cut or a full disk"),
        (found.unknown, "written by a newer unsplit"),
    ] {
        if count > 0 {
            screen.line(format!("{count} lines are {what}."))?;
        }
    }
    Ok(FINE)
}

/// An event in words, and how urgent it is. `state_dir`: what a command of ours needs to find the state directory.
#[must_use]
pub fn words(event: &Handled, state_dir: &str) -> (Urgency, String) {
    let call = &event.call;
    let resource = call.resource.as_deref().unwrap_or("(a resource that DRBD did not name)");
    let mut text = resource.to_owned();
    if let [volume] = call.volumes[..] {
        let _ = write!(text, "/{volume}");
    }
    if let Some(peer) = call.peer.as_deref().or(call.peer_address.as_deref()) {
        let _ = write!(text, " with {peer}");
    }
    let _ = write!(text, ": {}", event.handler);
    if let Some(state) = state(event) {
        let _ = write!(text, " ({state})");
    }
    let next = format!("Next: unsplit status {resource}{state_dir}");
    let mut urgency = match event.handler {
        Handler::SplitBrain => {
            let _ = write!(
                text,
                ". Split brain: both sides have changed, and DRBD connects them no more. {next}"
            );
            Urgency::Alert
        }
        Handler::InitialSplitBrain => {
            text.push_str(". Split brain seen; DRBD's policies decide now");
            Urgency::Warning
        }
        Handler::PriLost | Handler::PriLostAfterSb | Handler::PriOnInconDegr | Handler::LocalIoError => {
            Urgency::Alert
        }
        Handler::OutOfSync => {
            let _ = write!(text, ". The verify found differences. {next}");
            Urgency::Error
        }
        Handler::QuorumLost => Urgency::Error,
        Handler::FencePeer | Handler::Disconnected => Urgency::Warning,
        Handler::UnfencePeer
        | Handler::BeforeResyncTarget
        | Handler::BeforeResyncSource
        | Handler::AfterResyncTarget => Urgency::Info,
    };
    let mut raise = |to: Urgency| {
        if (to as u8) < urgency as u8 {
            urgency = to;
        }
    };
    let _ = match &event.did {
        Outcome::Recorded => Ok(()),
        Outcome::Kept { salvage, bytes, whole, overwritten } => {
            raise(Urgency::Warning);
            let of = overwritten
                .map_or_else(String::new, |all| format!(" ({} are about to be overwritten)", human(all)));
            let what = if *whole { "the whole volume, " } else { "this node's own changes, " };
            write!(
                text,
                ". Kept {what}{}{of}. Look at it: unsplit salvage show {salvage}{state_dir}",
                human(*bytes)
            )
        }
        Outcome::NothingToKeep { why } => write!(text, ". Nothing to keep: {why}"),
        Outcome::NotKept { why } => {
            raise(Urgency::Alert);
            let so = if event.exit == 0 { "the resync overwrites it" } else { "so the resync was refused" };
            write!(text, ". NOT KEPT, {so}: {why}")
        }
        Outcome::Fenced { how } => write!(text, ". Exit code {}: {how}", event.exit),
        Outcome::NotFenced { why } => {
            raise(Urgency::Error);
            write!(text, ". NOT FENCED, exit code {}: {why}", event.exit)
        }
        Outcome::Stopping { then } => write!(text, ". This node stops now: {then}"),
    };
    (urgency, text)
}

/// Roles and disk states, in short.
fn state(event: &Handled) -> Option<String> {
    let then = event.then.as_ref().ok()?;
    let mut text = format!("{} here", then.role?);
    if let Some(peer) = then.peer_role {
        let _ = write!(text, ", {peer} there");
    }
    let out_of_sync: u64 = then.volumes.iter().filter_map(|volume| volume.out_of_sync).sum();
    if out_of_sync > 0 {
        let _ = write!(text, ", {} out of sync", human(out_of_sync));
    }
    Some(text)
}
