//! Plans at rest: `FOLDER/<id>.json` in the state directory, named by the BLAKE3 of their bytes.

use crate::judge::audit::{self, Audited, Finding, Sealed, SealedPlan, Seen};
use crate::model::id::{Digest, PlanId};
use crate::model::live_plan::LivePlan;
use crate::model::plan::{Plan, Purpose};
use crate::ports::store::{Store, StoreFault};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, BufReader, BufWriter, Read, Write};

/// Longest plan that is read back: 2.6 million scattered extents make about 60 MB of text.
const LONGEST: u64 = 1 << 30;

/// A plan that is kept.
pub trait Stored: Audited + Serialize + DeserializeOwned {
    /// Where, in the state directory.
    const FOLDER: &'static str;
}

impl Stored for Plan {
    const FOLDER: &'static str = "plans";
}

impl Stored for LivePlan {
    const FOLDER: &'static str = "live-plans";
}

fn file_of<P: Stored>(id: Digest) -> String {
    format!("{}/{id}.json", P::FOLDER)
}

/// Why a plan could not be sealed, kept or found.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The audit found something.
    #[error("the plan did not pass the audit, so it will not run:\n{}", list(findings))]
    Unsound {
        /// All that was found.
        findings: Vec<Finding>,
    },
    /// The state directory refused.
    #[error("plans cannot be read or written")]
    Store(#[from] StoreFault),
    /// No plan has such an id.
    #[error(
        "no plan starts with `{asked}`; {known}. `unsplit plan` draws one, and it runs with the --state-dir it was drawn with"
    )]
    Unknown {
        /// What was asked for.
        asked: String,
        /// What there is.
        known: String,
    },
    /// The journal names a plan whose file is not there.
    #[error("{file} is gone, but the journal names it: restore it from a backup of the state directory")]
    Gone {
        /// The file.
        file: String,
    },
    /// Several plans start so.
    #[error("{count} plans start with `{asked}`: give more digits")]
    Ambiguous {
        /// What was asked for.
        asked: String,
        /// How many match.
        count: usize,
    },
    /// The file's bytes are not what its name says.
    #[error(
        "{file} was changed since the plan was drawn (its digest is {found}): it will not run. Draw a new plan"
    )]
    Altered {
        /// The file.
        file: String,
        /// The digest of what is there.
        found: String,
    },
    /// The text is not a plan.
    #[error("{file} does not hold a plan of this version")]
    Malformed {
        /// The file.
        file: String,
        /// What the reader said.
        #[source]
        source: serde_json::Error,
    },
}

fn list(findings: &[Finding]) -> String {
    findings.iter().map(|finding| format!("  - {finding}")).collect::<Vec<_>>().join("\n")
}

/// Bytes handed over at once: the text of a plan with millions of extents is never in memory as a whole.
const AT_ONCE: usize = 1 << 20;

/// Writes the canonical form of a plan: JSON on one line.
fn write_canonical(plan: &impl Serialize, out: impl Write) -> Result<(), serde_json::Error> {
    let mut out = BufWriter::with_capacity(AT_ONCE, out);
    serde_json::to_writer(&mut out, plan)?;
    out.write_all(b"\n").and_then(|()| out.flush()).map_err(serde_json::Error::io)
}

/// Counts and hashes what passes.
#[derive(Default)]
struct Measure {
    len: u64,
    hasher: blake3::Hasher,
}

impl Measure {
    fn take(&mut self, bytes: &[u8]) {
        self.len += bytes.len() as u64;
        self.hasher.update(bytes);
    }

    fn digest(&self) -> Digest {
        Digest(*self.hasher.finalize().as_bytes())
    }
}

impl Write for &mut Measure {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.take(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file of the store, written or read from its start to its end.
struct Pass<'a> {
    store: &'a dyn Store,
    path: &'a str,
    len: u64,
    read: Measure,
    written: u64,
    /// What the store said; more than fits into an [`io::Error`].
    fault: Option<StoreFault>,
}

impl<'a> Pass<'a> {
    fn over(store: &'a dyn Store, path: &'a str, len: u64) -> Self {
        Pass { store, path, len, read: Measure::default(), written: 0, fault: None }
    }

    fn failed(&mut self, fault: StoreFault) -> io::Error {
        let kind = fault.source.kind();
        self.fault = Some(fault);
        io::Error::from(kind)
    }
}

impl Write for &mut Pass<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.store.write_at(self.path, self.written, bytes).map_err(|fault| self.failed(fault))?;
        self.written += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for &mut Pass<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.len - self.read.len).unwrap_or(usize::MAX);
        let most = left.min(buffer.len());
        let part = &mut buffer[..most];
        if !part.is_empty() {
            self.store.read_at(self.path, self.read.len, part).map_err(|fault| self.failed(fault))?;
            self.read.take(part);
        }
        Ok(part.len())
    }
}

fn canonical_digest(plan: &impl Serialize) -> Result<Measure, PlanError> {
    let mut measure = Measure::default();
    write_canonical(plan, &mut measure)
        .map_err(|source| PlanError::Malformed { file: "the plan".to_owned(), source })?;
    Ok(measure)
}

/// Audits a healing plan against what it was drawn from: what was seen of each volume, in order.
///
/// # Errors
/// [`PlanError::Unsound`].
pub fn seal_healing<P: Stored>(plan: P, seen: &[Seen<'_>]) -> Result<Sealed<P>, PlanError> {
    let digest = canonical_digest(&plan)?.digest();
    audit::seal(plan, digest, seen).map_err(|findings| PlanError::Unsound { findings })
}

/// Audits an undo of that healing.
///
/// # Errors
/// [`PlanError::Unsound`].
pub fn seal_undo<P: Stored>(plan: P, healed: &P) -> Result<Sealed<P>, PlanError> {
    let digest = canonical_digest(&plan)?.digest();
    audit::seal_undo(plan, digest, healed).map_err(|findings| PlanError::Unsound { findings })
}

/// Keeps a sealed plan: written beside, synced, renamed, folder synced.
///
/// # Errors
/// [`PlanError::Store`].
pub fn keep<P: Stored>(store: &dyn Store, sealed: &Sealed<P>) -> Result<(), PlanError> {
    let measure = canonical_digest(sealed.plan())?;
    let name = file_of::<P>(measure.digest());
    if store.len(&name)? != Some(measure.len) {
        store.create_dir(P::FOLDER)?;
        let beside = format!("{name}.tmp");
        store.create(&beside)?;
        let mut pass = Pass::over(store, &beside, measure.len);
        let written = write_canonical(sealed.plan(), &mut pass);
        if let Some(fault) = pass.fault.take() {
            return Err(fault.into());
        }
        written.map_err(|source| PlanError::Malformed { file: store.locate(&beside), source })?;
        store.sync(&beside)?;
        store.rename(&beside, &name)?;
    }
    // Also for a plan that is there: an earlier attempt may have ended before its name was durable.
    store.sync_dir(P::FOLDER)?;
    store.sync_dir("")?;
    Ok(())
}

/// Ids of all kept plans of a kind.
///
/// # Errors
/// [`PlanError::Store`].
pub fn kept<P: Stored>(store: &dyn Store) -> Result<Vec<PlanId>, PlanError> {
    let names = store.list(P::FOLDER)?;
    Ok(names.iter().filter_map(|name| name.strip_suffix(".json")?.parse().ok().map(PlanId)).collect())
}

/// Whether a plan of that kind and id is kept.
#[must_use]
pub fn is_kept<P: Stored>(store: &dyn Store, id: PlanId) -> bool {
    // What cannot be read is reported by whoever loads it.
    matches!(store.len(&file_of::<P>(id.0)), Ok(Some(_)))
}

/// Finds the plan whose id starts with `asked`, checks its digest and audits it again.
///
/// # Errors
/// [`PlanError`].
pub fn find(store: &dyn Store, asked: &str) -> Result<SealedPlan, PlanError> {
    let all = kept::<Plan>(store)?;
    let matching: Vec<&PlanId> =
        all.iter().filter(|id| !asked.is_empty() && id.0.to_string().starts_with(asked)).collect();
    let id = match matching.as_slice() {
        [id] => **id,
        [] => {
            let known = match all.len() {
                0 => "there are none".to_owned(),
                count => format!("there are {count}, such as {}", all[count - 1]),
            };
            return Err(PlanError::Unknown { asked: asked.to_owned(), known });
        }
        several => return Err(PlanError::Ambiguous { asked: asked.to_owned(), count: several.len() }),
    };
    load(store, id)
}

/// Reads a plan for two images back.
///
/// # Errors
/// [`PlanError`].
pub fn load(store: &dyn Store, id: PlanId) -> Result<SealedPlan, PlanError> {
    read(store, id)?.ok_or_else(|| PlanError::Gone { file: store.locate(&file_of::<Plan>(id.0)) })
}

/// What a kept plan is for, whatever it heals.
///
/// # Errors
/// [`PlanError`].
pub fn purpose(store: &dyn Store, id: PlanId) -> Result<Purpose, PlanError> {
    match read::<LivePlan>(store, id)? {
        Some(live) => Ok(live.plan().purpose.clone()),
        None => Ok(load(store, id)?.plan().purpose.clone()),
    }
}

/// Reads one plan back, checks its digest and audits it again. `None`: there is none of that kind and id.
///
/// # Errors
/// [`PlanError`].
pub fn read<P: Stored>(store: &dyn Store, id: PlanId) -> Result<Option<Sealed<P>>, PlanError> {
    let name = file_of::<P>(id.0);
    let Some(len) = store.len(&name)? else { return Ok(None) };
    let file = store.locate(&name);
    if len > LONGEST {
        let found = "not even computed: the file is far too long".to_owned();
        return Err(PlanError::Altered { file, found });
    }
    let mut pass = Pass::over(store, &name, len);
    let parsed: Result<P, _> = serde_json::from_reader(BufReader::with_capacity(AT_ONCE, &mut pass));
    // What does not parse is hashed to its end all the same: an altered plan is called that.
    let rest = io::copy(&mut &mut pass, &mut io::sink());
    if let (Some(fault), _) | (None, Err(fault)) =
        (pass.fault.take(), rest.map_err(|source| StoreFault { act: "read", path: file.clone(), source }))
    {
        return Err(fault.into());
    }
    let digest = pass.read.digest();
    if digest != id.0 {
        return Err(PlanError::Altered { file, found: digest.short() });
    }
    let plan = parsed.map_err(|source| PlanError::Malformed { file, source })?;
    audit::unseal_stored(plan, digest).map(Some).map_err(|findings| PlanError::Unsound { findings })
}
