//! The journal: what the engine is about to do, and how it ended, durable before anything follows.
//!
//! Order of writes, and why each stands where it does:
//!
//! 1. A new journal is written as `journal.new`, synced, renamed, and the folder synced: a file called
//!    `journal` always has its header, so an empty one is damage and not a beginning.
//! 2. An append writes one line at the end and syncs it. Only then is the record believed: here, and by
//!    the caller, who acts on it.
//! 3. What is read when opening for writing is written and synced once more as far as an earlier sync may have failed
//!    on it, before anybody acts on it.
//! 4. A torn last line found when opening is copied to `journal.torn-SEQ` and synced, name included,
//!    before the journal is cut. The cut is synced before the next append, which records it.
//!
//! After the first failure of a write or sync nothing is known about the journal's end. The journal then
//! refuses everything (`Latched`); only opening it again finds out.
//!
//! One journal serves all who share it: appends follow one another under a lock, a [`Cursor`] has the claim
//! on its own incident and on no other, and whoever only reads ([`Journal::incidents`]) waits for nobody.

mod cursor;
mod load;

pub use cursor::{Cursor, Declared, NotReady, Performed, Ready, Recorded, Stopped};

use crate::format::journal::{self as framing, EncodeError, Link, MAX_JOURNAL, Tail};
use crate::judge::incident::{IllegalTransition, Incident, IncidentState, Incidents};
use crate::model::id::IncidentId;
use crate::model::record::{Event, Outcome, Record};
use crate::ports::clock::Clock;
use crate::ports::store::{Store, StoreFault};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Name of the journal in the state directory.
pub const FILE: &str = "journal";

/// What first went wrong with a journal's file.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The file could not be written or synced.
    #[error("the journal could not be written")]
    Store(#[source] StoreFault),
    /// The file is not as long as this writer left it.
    #[error("{path} has {found} bytes where this writer left {expected}: somebody else writes it")]
    OtherWriter {
        /// The file.
        path: String,
        /// Bytes it should have.
        expected: u64,
        /// Bytes it has.
        found: u64,
    },
}

/// Why a journal could not be opened, read or appended to.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file could not be read or created. Nothing is known about its records: it is not empty.
    #[error("the journal cannot be read or created; until it can, nothing is known about earlier incidents")]
    Unavailable(#[source] StoreFault),
    /// There is no journal, but there was one: what it left behind is still here.
    #[error(
        "{path} is missing, but {witness} is there: a journal was here and was removed; restore it, or move \
         the state directory away once all its incidents are known to be over"
    )]
    Missing {
        /// Where it should be.
        path: String,
        /// What it left behind.
        witness: String,
    },
    /// The journal is older than what was done by it.
    #[error(
        "{path} ends before {witness}, so it is not the newest: an older copy was put in its place; bring the newest one \
         back, or, if {witness} was copied here by hand, move it elsewhere"
    )]
    RolledBack {
        /// The journal.
        path: String,
        /// What the journal does not know of.
        witness: String,
    },
    /// The file is damaged in a way no crash explains.
    #[error("{path} is damaged")]
    Damaged {
        /// The file.
        path: String,
        /// Where and how.
        #[source]
        source: framing::Damage,
    },
    /// The file is intact, but tells a story that cannot have happened.
    #[error("{path}, line {line}: the record contradicts the ones before it; nothing was changed")]
    Contradiction {
        /// The file.
        path: String,
        /// The line, from 1.
        line: u64,
        /// Both events.
        #[source]
        source: IllegalTransition,
    },
    /// The record may not be appended here. Nothing was written.
    #[error("the record cannot be appended; nothing was written")]
    Illegal(#[source] IllegalTransition),
    /// The record has no acceptable form. Nothing was written.
    #[error("the record cannot be written down; nothing was written")]
    Unwritable(#[source] EncodeError),
    /// The journal is as long as it may be. Nothing was written.
    #[error(
        "{path} has reached {MAX_JOURNAL} bytes; move the state directory away when its incidents are over"
    )]
    Full {
        /// The file.
        path: String,
    },
    /// Writing failed now: whether the record is there is unknown.
    #[error(transparent)]
    Failed(Arc<Cause>),
    /// Writing failed before: the journal takes no more records until it is opened again.
    #[error("the journal stopped at its first failure and takes no more records; run the command again")]
    Latched {
        /// The first failure.
        #[source]
        first: Arc<Cause>,
    },
    /// The incident does not wait for a step.
    #[error(transparent)]
    NotReady(#[from] NotReady),
}

/// The records of a journal, read without touching it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Story {
    /// All records, first one first.
    pub records: Vec<Record>,
    /// The incidents they tell of.
    pub incidents: Incidents,
    /// How the file ends. A torn tail is no damage: a writer may be at work.
    pub tail: Tail,
}

/// The journal of one state directory, open for writing. The state directory's lock keeps other processes
/// away; within this one it is shared.
pub struct Journal {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    end: Mutex<TheEnd>,
    /// What the durable records tell. Replaced as a whole, so that nobody reads while it changes.
    incidents: Mutex<Arc<Incidents>>,
    /// Incidents that a cursor has.
    claimed: Mutex<BTreeSet<IncidentId>>,
}

/// Where the file ends: whoever appends has this to itself until the record is durable.
struct TheEnd {
    link: Link,
    /// Bytes of the file up to the end of the last record.
    len: u64,
    broken: Option<Arc<Cause>>,
}

/// Each of these is replaced in one piece, or checked against the file before it is used again: whoever
/// panicked has left nothing half done.
fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let end = lock(&self.end);
        f.debug_struct("Journal")
            .field("path", &self.store.locate(FILE))
            .field("records", &end.link.seq)
            .field("len", &end.len)
            .field("broken", &end.broken)
            .finish_non_exhaustive()
    }
}

impl Journal {
    /// Opens the journal, or creates it if there never was one. A torn tail is kept aside, cut off, and
    /// the cut recorded.
    ///
    /// # Errors
    /// [`JournalError`]; a journal that cannot be read or understood is never taken for an empty one.
    pub fn open(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Result<Journal, JournalError> {
        let loaded = match load::load(store.as_ref())? {
            Some(loaded) => {
                load::confirm(store.as_ref(), &loaded)?;
                loaded
            }
            None => load::create(store.as_ref())?,
        };
        let torn = match loaded.torn {
            Some(torn) => {
                let kept_as = load::cut(store.as_ref(), &torn, loaded.len, loaded.link.seq)?;
                Some(Event::TornTailCut { bytes: torn.len() as u64, kept_as })
            }
            None => None,
        };
        let journal = Journal {
            store,
            clock,
            end: Mutex::new(TheEnd { link: loaded.link, len: loaded.len, broken: None }),
            incidents: Mutex::new(Arc::new(loaded.story.incidents)),
            claimed: Mutex::default(),
        };
        if let Some(cut) = torn {
            journal.append(None, cut)?;
        }
        Ok(journal)
    }

    /// Reads the journal without changing anything; `None` if there never was one.
    ///
    /// # Errors
    /// As for [`Journal::open`].
    pub fn read(store: &dyn Store) -> Result<Option<Story>, JournalError> {
        Ok(load::load(store)?.map(|loaded| loaded.story))
    }

    /// Appends one record and makes it durable. Of an incident that a cursor has only that writes.
    ///
    /// # Errors
    /// `NotReady`, `Illegal`, `Unwritable`, `Full`: nothing was written, the journal goes on. `Failed`: the
    /// record may or may not be there; from then on everything is `Latched`.
    pub fn append(&self, incident: Option<IncidentId>, event: Event) -> Result<Record, JournalError> {
        // Held until the record is there, so that nobody takes the claim meanwhile.
        let claimed = lock(&self.claimed);
        if let Some(id) = incident.as_ref().filter(|id| claimed.contains(*id)) {
            return Err(NotReady::Claimed { id: id.clone() }.into());
        }
        self.write_down(incident, event)
    }

    /// Appends, whoever has the claim.
    fn write_down(&self, incident: Option<IncidentId>, event: Event) -> Result<Record, JournalError> {
        let mut end = lock(&self.end);
        if let Some(first) = &end.broken {
            return Err(JournalError::Latched { first: Arc::clone(first) });
        }
        let seq = end.link.seq.saturating_add(1);
        let record = Record { seq, at: self.clock.now(), incident, event };
        self.incidents().check(&record).map_err(JournalError::Illegal)?;
        let (line, link) = framing::encode(&record, &end.link).map_err(JournalError::Unwritable)?;
        let len = end.len.saturating_add(line.len() as u64);
        if len > MAX_JOURNAL {
            return Err(JournalError::Full { path: self.store.locate(FILE) });
        }
        self.write(end.len, &line).map_err(|cause| {
            let cause = Arc::new(cause);
            end.broken = Some(Arc::clone(&cause));
            JournalError::Failed(cause)
        })?;
        (end.len, end.link) = (len, link);
        Arc::make_mut(&mut lock(&self.incidents)).apply(&record).map_err(JournalError::Illegal)?;
        Ok(record)
    }

    fn write(&self, at: u64, line: &[u8]) -> Result<(), Cause> {
        // A second writer should be impossible (lock); if there is one, do not write over its records.
        let found = self.store.len(FILE).map_err(Cause::Store)?.unwrap_or(0);
        if found != at {
            return Err(Cause::OtherWriter { path: self.store.locate(FILE), expected: at, found });
        }
        self.store.write_at(FILE, at, line).map_err(Cause::Store)?;
        self.store.sync(FILE).map_err(Cause::Store)
    }

    /// All incidents as they stand now, in the order they were opened. What is appended later does not show.
    #[must_use]
    pub fn incidents(&self) -> Arc<Incidents> {
        Arc::clone(&lock(&self.incidents))
    }

    /// The incident of that name, as it stands now.
    #[must_use]
    pub fn incident(&self, id: &IncidentId) -> Option<Incident> {
        self.incidents().get(id).cloned()
    }

    /// Ends an open incident that nobody carries out. The journal closes nothing in the middle of an act, so one that is
    /// not parked is parked first, with `why`.
    ///
    /// # Errors
    /// [`JournalError`]; also when it is over already, or a cursor has it.
    pub fn end(&self, id: &IncidentId, why: &str, outcome: Outcome) -> Result<(), JournalError> {
        let parked = |incident: Incident| matches!(incident.state, IncidentState::Parked { .. });
        if !self.incident(id).is_some_and(parked) {
            let next = "nothing: it is over".to_owned();
            self.append(Some(id.clone()), Event::Parked { why: why.into(), next })?;
        }
        self.append(Some(id.clone()), Event::Closed { outcome }).map(|_| ())
    }

    /// Where the journal is, for messages.
    #[must_use]
    pub fn path(&self) -> String {
        self.store.locate(FILE)
    }
}
