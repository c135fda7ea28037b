//! `unsplit history`.

use super::Cli;
use super::exit::{FINE, Failure};
use super::incident::{IncidentView, standing, view};
use super::screen::{Screen, Tone};
use crate::edge::clock::local;
use crate::edge::state_dir::{AtWork, StateDir};
use crate::engine::journal::Story;
use crate::engine::undone::undone;
use crate::judge::incident::{Incident, IncidentState};
use crate::model::id::IncidentId;
use crate::model::record::{Consent, Event, Outcome, Record};
use crate::model::seen::End;
use crate::ports::store::Store;
use crate::resolver::desk::{is_open, open_journal_read_only, open_store_read_only, state_words, waiver_of};
use clap::Args;
use std::collections::{BTreeMap, BTreeSet};

/// Show what was done, when and why.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  unsplit history                             all incidents\n  unsplit history 20261121-031502-3f9a2c      every record of one"
)]
pub struct HistoryArgs {
    /// Show every record of this incident
    #[arg(value_name = "INCIDENT")]
    pub incident: Option<String>,
}

pub(super) fn run(cli: &Cli, args: &HistoryArgs, screen: &mut Screen) -> Result<u8, Failure> {
    let Some(journal) = open_journal_read_only(&cli.state_dir)? else {
        if let Some(asked) = &args.incident {
            return Err(Failure::usage(format!(
                "there is no incident `{asked}`: there is no journal in {}",
                cli.state_dir.display()
            )));
        }
        if cli.json {
            screen.json(&serde_json::json!({"schema": "unsplit.history", "version": 1, "incidents": [], "records": []}))?;
        } else {
            screen.line(format!("No history: there is no journal in {} yet.", cli.state_dir.display()))?;
        }
        return Ok(FINE);
    };
    if let Some(asked) = &args.incident
        && !journal.incidents.as_slice().iter().any(|incident| incident.id.as_str() == asked)
    {
        return Err(Failure::usage(format!("there is no incident `{asked}`; `unsplit history` lists them")));
    }
    let records: Vec<&Record> = journal
        .records
        .iter()
        .filter(|record| {
            args.incident
                .as_deref()
                .is_none_or(|asked| record.incident.as_ref().is_some_and(|id| id.as_str() == asked))
        })
        .collect();
    if cli.json {
        let words = super::plan::state_dir_words(cli);
        let around = Around::of(cli, &journal)?;
        let view = |incident| around.view(incident, &words);
        let incidents: Vec<_> = journal.incidents.as_slice().iter().map(view).collect();
        screen.json(&serde_json::json!({"schema": "unsplit.history", "version": 1, "incidents": incidents, "records": records}))?;
    } else if args.incident.is_some() {
        for record in records {
            screen.line(format!("{}  {}", local(record.at), words(&record.event)))?;
        }
    } else {
        incidents(cli, screen, &journal)?;
    }
    Ok(FINE)
}

/// What an incident's own records do not tell: who is at work, and what was undone since.
struct Around {
    at_work: Option<AtWork>,
    undone: BTreeSet<IncidentId>,
    waivers: BTreeMap<IncidentId, &'static str>,
}

impl Around {
    fn of(cli: &Cli, journal: &Story) -> Result<Around, Failure> {
        let store = open_store_read_only(&cli.state_dir)?;
        let all = journal.incidents.as_slice();
        Ok(Around {
            at_work: store.as_deref().and_then(StateDir::at_work),
            undone: store.as_deref().map(|store| undone(store, all)).unwrap_or_default(),
            waivers: store.as_deref().map(|store| waivers(store, all)).unwrap_or_default(),
        })
    }

    fn standing(&self, incident: &Incident) -> String {
        let words = standing(incident, self.at_work);
        let healed = matches!(incident.state, IncidentState::Closed { outcome: Outcome::Healed });
        if healed && self.undone.contains(&incident.id) {
            format!("{words}, and undone since")
        } else {
            words
        }
    }

    fn view(&self, incident: &Incident, state_dir: &str) -> IncidentView {
        let waiver = self.waivers.get(&incident.id).copied().unwrap_or_default();
        let mut view = view(incident, waiver, state_dir, self.at_work);
        view.state = self.standing(incident);
        view
    }
}

/// What each open incident must be taken up with.
fn waivers(store: &dyn Store, all: &[Incident]) -> BTreeMap<IncidentId, &'static str> {
    let open = all.iter().filter(|incident| is_open(incident));
    open.map(|incident| (incident.id.clone(), waiver_of(incident, store))).collect()
}

fn incidents(cli: &Cli, screen: &mut Screen, journal: &Story) -> Result<(), Failure> {
    let around = Around::of(cli, journal)?;
    if journal.incidents.as_slice().is_empty() {
        screen.line("No incident yet.")?;
    }
    let rows: Vec<Vec<String>> = journal
        .incidents
        .as_slice()
        .iter()
        .map(|incident| {
            let of = |record: &&Record| record.incident.as_ref() == Some(&incident.id);
            let began = journal.records.iter().find(of).map_or_else(String::new, |record| local(record.at));
            vec![
                incident.id.to_string(),
                incident.resource.to_string(),
                began,
                incident.plan.to_string(),
                around.standing(incident),
            ]
        })
        .collect();
    if !rows.is_empty() {
        screen.table(&["incident", "resource", "began", "plan", "state"], &rows, 9)?;
    }
    let open = journal.incidents.as_slice().iter().any(is_open);
    if let (Some(who), true) = (around.at_work, open) {
        screen.line(who.to_string())?;
    }
    for record in &journal.records {
        if let Event::TornTailCut { .. } = record.event {
            let line = screen.paint(Tone::Bad, &format!("{}  {}", local(record.at), words(&record.event)));
            screen.line(line)?;
        }
    }
    Ok(())
}

fn who(agreed: Consent) -> &'static str {
    match agreed {
        Consent::Policy => "the policy",
        Consent::Operator => "the operator",
    }
}

/// An event in words.
#[must_use]
pub fn words(event: &Event) -> String {
    match event {
        Event::Opened { resource, plan, consent } => {
            format!("opened for {resource} with plan {plan}, agreed to by {}", who(*consent))
        }
        Event::Intent { step, name } => format!("step {}: {} ...", step + 1, name.word),
        Event::Ended { step, end } => {
            let how = match end {
                End::Done => "done".to_owned(),
                End::AlreadySo => "already so".to_owned(),
                End::NotDone(why) => format!("NOT DONE: {why}"),
                End::Unknown(why) => format!("UNKNOWN: {why}"),
            };
            format!("step {}: {how}", step + 1)
        }
        Event::Parked { why, next } => format!("PARKED: {why}. Next: {next}"),
        Event::Resumed => "taken up again".to_owned(),
        Event::Fenced => {
            "the peer was proven unable to write; its healing follows when it is back".to_owned()
        }
        Event::Followed { plan, consent } => {
            format!("goes on with plan {plan}, agreed to by {}", who(*consent))
        }
        Event::Closed { outcome } => {
            format!("closed: {}", state_words(&IncidentState::Closed { outcome: *outcome }))
        }
        Event::TornTailCut { bytes, kept_as } => {
            format!("the journal's last record was torn by a crash: {bytes} bytes cut off, kept in {kept_as}")
        }
    }
}
