//! Reading, creating and mending the journal's file.

use super::{FILE, JournalError, Story};
use crate::engine::salvage::{MANIFEST, OF_A_RESYNC, load_manifest};
use crate::format::journal::{self as framing, Damage, Flaw, Link, MAX_JOURNAL, Tail};
use crate::judge::incident::{Incident, Incidents};
use crate::model::stage::Stage;
use crate::ports::store::{Store, StoreFault};
use std::io;

/// Where a new journal is prepared.
const NEW: &str = "journal.new";
/// What a kept torn tail's name begins with.
const TORN: &str = "journal.torn-";
/// What it holds was put there by an incident, which is in a journal, or by DRBD's handler, whose names say so. (A plan alone
/// has changed nothing.)
const SALVAGES: &str = "salvage";
/// Bytes asked for at once.
const CHUNK: usize = 1 << 20;
/// Different torn tails that are kept for one place in the journal before giving up.
const MAX_KEPT: u32 = 1000;

/// A journal's file as read.
pub(super) struct Loaded {
    pub(super) story: Story,
    pub(super) link: Link,
    /// Bytes up to the end of the last record.
    pub(super) len: u64,
    /// The last record's line, newline included.
    last_line: Vec<u8>,
    /// The torn bytes after them.
    pub(super) torn: Option<Vec<u8>>,
}

/// Reads the journal; `None` if there never was one.
pub(super) fn load(store: &dyn Store) -> Result<Option<Loaded>, JournalError> {
    // Before the journal is read: what is there now, a journal that is read later tells of.
    let witnesses = Witnesses::here(store)?;
    let Some(len) = store.len(FILE).map_err(JournalError::Unavailable)? else {
        return never_there(store).map(|()| None);
    };
    if len > MAX_JOURNAL {
        let source = Damage { line: 1, offset: 0, flaw: Flaw::TooLarge { len } };
        return Err(JournalError::Damaged { path: store.locate(FILE), source });
    }
    let mut bytes = read_all(store, FILE, len).map_err(JournalError::Unavailable)?;
    let replay = framing::parse(&bytes)
        .map_err(|source| JournalError::Damaged { path: store.locate(FILE), source })?;

    let mut incidents = Incidents::default();
    for (line, record) in (2u64..).zip(&replay.records) {
        incidents.apply(record).map_err(|source| JournalError::Contradiction {
            path: store.locate(FILE),
            line,
            source,
        })?;
    }
    witnesses.agree(store, &incidents, replay.records.last().map_or(0, |record| record.seq))?;
    let torn = match replay.tail {
        Tail::Clean => None,
        Tail::Torn { from, .. } => usize::try_from(from).ok().map(|from| bytes.split_off(from)),
    };
    let before_last = bytes.strip_suffix(b"\n").unwrap_or(&bytes).iter().rposition(|byte| *byte == b'\n');
    let last_line = bytes[before_last.map_or(0, |at| at + 1)..].to_vec();
    let story = Story { records: replay.records, incidents, tail: replay.tail };
    Ok(Some(Loaded { story, link: replay.link, len: bytes.len() as u64, last_line, torn }))
}

/// Makes durable what was read: the last writer may have stopped because its sync failed, and what a failed sync did not
/// write can still be read but is not written by a later one. That can be the last record (a writer stops at its first
/// failure), the length after a cut, and the journal's own name.
pub(super) fn confirm(store: &dyn Store, loaded: &Loaded) -> Result<(), JournalError> {
    let write = || {
        store.write_at(FILE, loaded.len - loaded.last_line.len() as u64, &loaded.last_line)?;
        if loaded.torn.is_none() {
            store.set_len(FILE, loaded.len)?;
        }
        store.sync(FILE)?;
        store.sync_dir("")
    };
    write().map_err(JournalError::Unavailable)
}

/// What a journal has left behind. It must tell of each: all are made after a record that says so is durable.
struct Witnesses {
    /// Names of the folders of salvages.
    salvages: Vec<String>,
    /// Names of the torn tails that were kept.
    tails: Vec<String>,
}

impl Witnesses {
    fn here(store: &dyn Store) -> Result<Witnesses, JournalError> {
        let salvages = store.list(SALVAGES).map_err(JournalError::Unavailable)?;
        let mut tails = store.list("").map_err(JournalError::Unavailable)?;
        tails.retain(|name| name.starts_with(TORN));
        Ok(Witnesses { salvages, tails })
    }

    /// Whether a journal with these incidents, the last record of which is number `last`, is the newest.
    fn agree(&self, store: &dyn Store, incidents: &Incidents, last: u64) -> Result<(), JournalError> {
        let older = |witness: &str| JournalError::RolledBack {
            path: store.locate(FILE),
            witness: store.locate(witness),
        };
        for name in self.salvages.iter().filter(|name| !name.starts_with(OF_A_RESYNC)) {
            if !incidents.as_slice().iter().any(|incident| took(incident, name)) {
                let dir = format!("{SALVAGES}/{name}");
                let has = store.len(&format!("{dir}/{MANIFEST}")).map_err(JournalError::Unavailable)?;
                // Damaged, or of another name, it proves nothing: something that a person put there.
                let proves =
                    || load_manifest(store, &dir).is_ok_and(|manifest| manifest.incident.as_str() == name);
                if has.is_some() && proves() {
                    return Err(older(&dir));
                }
            }
        }
        for name in &self.tails {
            // A tail is kept under the number that its record would have had.
            let number = name[TORN.len()..].split('.').next().and_then(|number| number.parse::<u64>().ok());
            if number.is_some_and(|number| number > last.saturating_add(1)) {
                return Err(older(name));
            }
        }
        Ok(())
    }
}

/// Whether the incident's records say that it took the salvage of this name: its own, or that of one of its volumes.
fn took(incident: &Incident, name: &str) -> bool {
    let rest = name.strip_prefix(incident.id.as_str());
    let named = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("-v"));
    named && incident.reached(Stage::Preserve)
}

/// No journal is fine only if nothing says that there was one: the journal is made before anything else. A folder in which
/// nothing was ever put (perhaps a link to a larger disk) says nothing.
fn never_there(store: &dyn Store) -> Result<(), JournalError> {
    for name in store.list("").map_err(JournalError::Unavailable)? {
        let filled =
            || store.list(&name).map(|inside| inside.iter().any(|name| !name.starts_with(OF_A_RESYNC)));
        let witness =
            name.starts_with(TORN) || (name == SALVAGES && filled().map_err(JournalError::Unavailable)?);
        if witness {
            return Err(JournalError::Missing { path: store.locate(FILE), witness: store.locate(&name) });
        }
    }
    Ok(())
}

fn read_all(store: &dyn Store, path: &str, len: u64) -> Result<Vec<u8>, StoreFault> {
    let too_large = |_| StoreFault {
        act: "read",
        path: store.locate(path),
        source: io::Error::from(io::ErrorKind::FileTooLarge),
    };
    let mut bytes = vec![0; usize::try_from(len).map_err(too_large)?];
    let mut offset = 0;
    for chunk in bytes.chunks_mut(CHUNK) {
        store.read_at(path, offset, chunk)?;
        offset += chunk.len() as u64;
    }
    Ok(bytes)
}

/// Creates an empty journal. It appears under its name only when it is whole.
pub(super) fn create(store: &dyn Store) -> Result<Loaded, JournalError> {
    let header = framing::header();
    let write = || {
        store.create(NEW)?;
        store.write_at(NEW, 0, &header)?;
        store.sync(NEW)?;
        store.rename(NEW, FILE)?;
        store.sync_dir("")
    };
    write().map_err(JournalError::Unavailable)?;
    let story = Story { records: Vec::new(), incidents: Incidents::default(), tail: Tail::Clean };
    Ok(Loaded { story, link: Link::start(), len: header.len() as u64, last_line: header, torn: None })
}

/// Keeps the torn bytes in a file of their own, then cuts the journal to `len`. Returns the file's name.
pub(super) fn cut(store: &dyn Store, torn: &[u8], len: u64, last: u64) -> Result<String, JournalError> {
    let keep = || {
        let name = keep(store, torn, last.saturating_add(1))?;
        store.set_len(FILE, len)?;
        store.sync(FILE)?;
        Ok(name)
    };
    keep().map_err(JournalError::Unavailable)
}

fn keep(store: &dyn Store, torn: &[u8], seq: u64) -> Result<String, StoreFault> {
    for attempt in 1..=MAX_KEPT {
        let name = if attempt == 1 { format!("{TORN}{seq}") } else { format!("{TORN}{seq}.{attempt}") };
        // A crash between keeping and cutting leaves a copy of this very tail; anything else is another
        // tail, or a copy cut short, and is never written over.
        match store.len(&name)? {
            None => {
                store.create(&name)?;
                store.write_at(&name, 0, torn)?;
            }
            Some(len) if len == torn.len() as u64 && read_all(store, &name, len)? == torn => {}
            Some(_) => continue,
        }
        store.sync(&name)?;
        store.sync_dir("")?;
        return Ok(name);
    }
    Err(StoreFault {
        act: "find a free name for",
        path: store.locate(&format!("{TORN}{seq}")),
        source: io::Error::from(io::ErrorKind::AlreadyExists),
    })
}
