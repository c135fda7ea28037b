//! Comparing across a link: every byte in both directions, counted by a pipe of our own in the place of ssh.

use crate::counter::Counter;
use crate::data::BLOCK;
use crate::rounds::{Limits, Row, Section, Wrong, measure};
use crate::runner::Job;
use crate::subject::{Expected, Peer, binary, compare_has, find, repaired, stat, unsplit};
use anyhow::Context as _;
use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;

/// A comparison across a link.
pub(crate) struct Link<'a> {
    pub(crate) a: &'a Path,
    pub(crate) b: &'a Path,
    pub(crate) size: u64,
    pub(crate) expected: &'a Expected,
    pub(crate) counter: &'a Counter,
    /// Makes the second one differ again.
    pub(crate) restore: &'a dyn Fn() -> anyhow::Result<()>,
    /// Whether the peers run, too: they read holes like data.
    pub(crate) peers: bool,
}

pub(crate) fn measure_link(title: &str, link: &Link<'_>, limits: Limits) -> anyhow::Result<Section> {
    let mut notes = vec![format!(
        "Both ends on this machine, joined by a pipe that counts. The data that differs is {} bytes; rsync and bdsync send it \
         along, unsplit compare only finds it.",
        link.expected.blocks * BLOCK
    )];
    let mut rows = Vec::new();
    if compare_has("--peer") {
        rows.push(own(link));
    } else {
        notes
            .push("**unsplit is missing in this table: this build's `compare` has no `--peer`.**".to_owned());
    }
    if link.peers {
        if find("rsync").is_some() {
            rows.push(rsync(link));
        }
        if find("bdsync").is_some() {
            rows.push(bdsync(link, Peer::Bdsync, &["--hash=sha1", "--blocksize=65536"]));
            rows.push(bdsync(link, Peer::Bdsync4k, &[]));
        }
    }
    let mut section = measure(title, &rows, limits, &|| Ok(()))?;
    section.notes.append(&mut notes);
    Ok(section)
}

fn own<'a>(link: &Link<'a>) -> Row<'a> {
    let peer = format!("exec:{} {} agent --stdio", link.counter.words(0), binary());
    let words = ["compare", &link.a.display().to_string(), &link.b.display().to_string(), "--peer", &peer];
    let words = words.map(ToOwned::to_owned).to_vec();
    let row = unsplit("unsplit compare --peer", words, link.size, link.expected, "/differs");
    let (check, counter) = (row.check, link.counter);
    let said = Rc::new(Cell::new(None));
    let says = said.clone();
    Row {
        reference: true,
        check: Box::new(move |used| {
            let found = check(used)?;
            let document: serde_json::Value =
                serde_json::from_str(&used.ends.first().context("nothing ran")?.out)?;
            let number =
                |name: &str| document.pointer(&format!("/wire/{name}")).and_then(|value| value.as_u64());
            says.set(number("sent").zip(number("received")));
            Ok(match number("round_trips") {
                Some(trips) => format!("{found}, {trips} round trips"),
                None => found,
            })
        }),
        wire: Some(Box::new(move || {
            let counted = counter.take()?;
            // What it says of itself must be what went through the pipe, up to the framing of its messages.
            if let Some((sent, received)) = said.get() {
                let (said, real) = (sent + received, counted.sum());
                let close = said.abs_diff(real) <= real / 10 + 1024;
                anyhow::ensure!(
                    close,
                    Wrong(format!("says {said} bytes on the wire, and {real} were counted"))
                );
            }
            Ok(counted)
        })),
        ..row
    }
}

fn rsync<'a>(link: &Link<'a>) -> Row<'a> {
    // rsync adds the name of the host, which the counter drops.
    let remote = link.counter.words(1);
    let (a, b) = (link.a.display().to_string(), format!("there:{}", link.b.display()));
    let words = ["rsync", "-e", &remote, "--inplace", "--no-whole-file", "--ignore-times", "--stats", &a, &b];
    let Link { a: here, b: there, expected, counter, restore, .. } = *link;
    Row {
        name: "rsync --inplace, over the pipe".to_owned(),
        job: Job { commands: vec![words.map(ToOwned::to_owned).to_vec()], count_only: false },
        check: Box::new(move |used| {
            let found = Peer::Rsync.check(used, expected)?;
            repaired(here, there, expected)?;
            let out = &used.ends.first().context("nothing ran")?.out;
            let own = stat(out, "Total bytes sent:")? + stat(out, "Total bytes received:")?;
            Ok(format!("{found}; its own count of all bytes: {own}"))
        }),
        wire: Some(Box::new(move || counter.take())),
        restore: Some(Box::new(restore)),
        ..Peer::Rsync.row(link.a, link.b, link.size, expected, false)
    }
}

fn bdsync<'a>(link: &Link<'a>, peer: Peer, options: &[&str]) -> Row<'a> {
    let remote = format!("{} bdsync --server", link.counter.words(0));
    let (a, b) = (link.a.display().to_string(), link.b.display().to_string());
    let words = [&["bdsync"], options, &[&remote, &a, &b]].concat();
    let counter = link.counter;
    Row {
        job: Job { commands: vec![words.into_iter().map(ToOwned::to_owned).collect()], count_only: true },
        wire: Some(Box::new(move || counter.take())),
        ..peer.row(link.a, link.b, link.size, link.expected, false)
    }
}
