//! Plans at rest: `plans/<id>.json` in the state directory, named by the BLAKE3 of their bytes.
//!
//! Those of version 1 stay where they are, under their ids: [`plan_v1`] knows their shapes. What ran had a folder of its own.

use crate::format::plan_v1;
use crate::judge::audit::{self, Finding, SealedPlan, Seen};
use crate::model::id::{Digest, PlanId};
use crate::model::plan::{Plan, Purpose};
use crate::ports::store::{Store, StoreFault};
use serde::Serialize;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};

/// Longest plan that is read back: 2.6 million scattered extents make about 60 MB of text.
const LONGEST: u64 = 1 << 30;

/// Digits that name a plan, at least: running it overwrites a side, and asks no more.
const FEWEST_DIGITS: usize = 6;

const FOLDER: &str = "plans";
/// Of plans of version 1 for running resources.
const OLD_FOLDER: &str = "live-plans";

fn file_in(folder: &str, id: Digest) -> String {
    format!("{folder}/{id}.json")
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
    /// A slip of the finger could mean it.
    #[error("`{asked}` is too short to name a plan: give at least {FEWEST_DIGITS} of its digits")]
    TooShort {
        /// What was asked for.
        asked: String,
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
    /// The text holds more than the plan that was read from it, or tells it in another way.
    #[error(
        "{file} is not as `unsplit plan` writes a plan: it has fields that no plan has, or another form. It will not run. \
         Draw a new plan"
    )]
    NotCanonical {
        /// The file.
        file: String,
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
pub fn seal_healing(plan: Plan, seen: &[Seen<'_>]) -> Result<SealedPlan, PlanError> {
    let digest = canonical_digest(&plan)?.digest();
    audit::seal(plan, digest, seen).map_err(|findings| PlanError::Unsound { findings })
}

/// Audits a plan that fences the peer.
///
/// # Errors
/// [`PlanError::Unsound`].
pub fn seal_fence(plan: Plan) -> Result<SealedPlan, PlanError> {
    let digest = canonical_digest(&plan)?.digest();
    audit::seal_fence(plan, digest).map_err(|findings| PlanError::Unsound { findings })
}

/// Audits an undo of that healing.
///
/// # Errors
/// [`PlanError::Unsound`].
pub fn seal_undo(plan: Plan, healed: &Plan) -> Result<SealedPlan, PlanError> {
    let digest = canonical_digest(&plan)?.digest();
    audit::seal_undo(plan, digest, healed).map_err(|findings| PlanError::Unsound { findings })
}

/// Keeps a sealed plan: written beside, synced, renamed, folder synced.
///
/// # Errors
/// [`PlanError::Store`].
pub fn keep(store: &dyn Store, sealed: &SealedPlan) -> Result<(), PlanError> {
    let measure = canonical_digest(sealed.plan())?;
    let name = file_in(FOLDER, measure.digest());
    if store.len(&name)? != Some(measure.len) {
        store.create_dir(FOLDER)?;
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
    store.sync_dir(FOLDER)?;
    store.sync_dir("")?;
    Ok(())
}

/// Ids of all kept plans.
///
/// # Errors
/// [`PlanError::Store`].
pub fn kept(store: &dyn Store) -> Result<Vec<PlanId>, PlanError> {
    let names = [store.list(FOLDER)?, store.list(OLD_FOLDER)?].concat();
    Ok(names.iter().filter_map(|name| name.strip_suffix(".json")?.parse().ok().map(PlanId)).collect())
}

/// Finds the plan whose id starts with `asked`, checks its digest and audits it again.
///
/// # Errors
/// [`PlanError`].
pub fn find(store: &dyn Store, asked: &str) -> Result<SealedPlan, PlanError> {
    let all = kept(store)?;
    let matching: Vec<&PlanId> =
        all.iter().filter(|id| !asked.is_empty() && id.0.to_string().starts_with(asked)).collect();
    let id = match matching.as_slice() {
        [_] if asked.len() < FEWEST_DIGITS => {
            return Err(PlanError::TooShort { asked: asked.to_owned() });
        }
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

/// What a kept plan is for.
///
/// # Errors
/// [`PlanError`].
pub fn purpose(store: &dyn Store, id: PlanId) -> Result<Purpose, PlanError> {
    Ok(load(store, id)?.plan().purpose.clone())
}

/// The beginning of every plan of version 1: all that wrote them began with it.
const OF_V1: &[u8] = br#"{"version":1,"#;

/// The form in which a plan is kept.
#[derive(Clone, Copy)]
enum Form {
    Version1,
    Present,
}

/// Where a plan is kept, and how long its file is.
fn place(store: &dyn Store, id: PlanId) -> Result<(&'static str, u64), PlanError> {
    for folder in [FOLDER, OLD_FOLDER] {
        if let Some(len) = store.len(&file_in(folder, id.0))? {
            return Ok((folder, len));
        }
    }
    Err(PlanError::Gone { file: store.locate(&file_in(FOLDER, id.0)) })
}

/// Reads a plan back, checks its digest and audits it again.
///
/// # Errors
/// [`PlanError`].
pub fn load(store: &dyn Store, id: PlanId) -> Result<SealedPlan, PlanError> {
    let (folder, len) = place(store, id)?;
    let name = file_in(folder, id.0);
    let file = store.locate(&name);
    if len > LONGEST {
        let found = "not even computed: the file is far too long".to_owned();
        return Err(PlanError::Altered { file, found });
    }
    let mut pass = Pass::over(store, &name, len);
    let mut reader = BufReader::with_capacity(AT_ONCE, &mut pass);
    let mut form = Form::Present;
    let parsed = match reader.fill_buf() {
        Err(error) => Err(serde_json::Error::io(error)),
        Ok(_) if folder == OLD_FOLDER => {
            form = Form::Version1;
            serde_json::from_reader(reader).map(plan_v1::Running::into_plan)
        }
        Ok(begins) if begins.starts_with(OF_V1) => {
            form = Form::Version1;
            serde_json::from_reader(reader).map(plan_v1::Images::into_plan)
        }
        Ok(_) => serde_json::from_reader(reader),
    };
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
    let plan = parsed.map_err(|source| PlanError::Malformed { file: file.clone(), source })?;
    let sealed = match form {
        Form::Version1 => audit::unseal_of_version_1(plan, digest),
        // What it holds beside the plan nobody would see, and what it holds twice only once.
        Form::Present if canonical_digest(&plan)?.digest() != digest => {
            return Err(PlanError::NotCanonical { file });
        }
        Form::Present => audit::unseal_stored(plan, digest),
    };
    sealed.map_err(|findings| PlanError::Unsound { findings })
}
