//! Plans at rest: `plans/<id>.json` in the state directory, named by the BLAKE3 of their bytes.

use crate::judge::audit::{Finding, SealedPlan, seal, unseal_stored};
use crate::model::delta::Delta;
use crate::model::evidence::Evidence;
use crate::model::id::{Digest, PlanId};
use crate::model::plan::Plan;
use crate::model::side::Pair;
use crate::ports::store::{Store, StoreFault};

/// Longest plan that is read back: 2.6 million scattered extents make about 60 MB of text.
const LONGEST: u64 = 1 << 30;

const FOLDER: &str = "plans";

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

/// The canonical form of a plan, and its digest.
///
/// # Errors
/// Never in practice: a plan is made of plain data.
pub fn canonical(plan: &Plan) -> Result<(Vec<u8>, Digest), serde_json::Error> {
    let mut bytes = serde_json::to_vec(plan)?;
    bytes.push(b'\n');
    let digest = Digest(*blake3::hash(&bytes).as_bytes());
    Ok((bytes, digest))
}

fn canonical_digest(plan: &Plan) -> Result<Digest, PlanError> {
    let (_, digest) =
        canonical(plan).map_err(|source| PlanError::Malformed { file: "the plan".to_owned(), source })?;
    Ok(digest)
}

/// Audits a healing plan against its evidence.
///
/// # Errors
/// [`PlanError::Unsound`].
pub fn seal_healing(plan: Plan, evidence: &Pair<Evidence>, delta: &Delta) -> Result<SealedPlan, PlanError> {
    let digest = canonical_digest(&plan)?;
    seal(plan, digest, evidence, delta).map_err(|findings| PlanError::Unsound { findings })
}

/// Audits an undo plan.
///
/// # Errors
/// [`PlanError::Unsound`].
pub fn seal_undo(plan: Plan) -> Result<SealedPlan, PlanError> {
    let digest = canonical_digest(&plan)?;
    unseal_stored(plan, digest).map_err(|findings| PlanError::Unsound { findings })
}

/// Keeps a sealed plan: written beside, synced, renamed, folder synced.
///
/// # Errors
/// [`PlanError::Store`].
pub fn keep(store: &dyn Store, sealed: &SealedPlan) -> Result<(), PlanError> {
    let (bytes, digest) = canonical(sealed.plan())
        .map_err(|source| PlanError::Malformed { file: "the plan".to_owned(), source })?;
    let name = format!("{FOLDER}/{digest}.json");
    if store.len(&name)? != Some(bytes.len() as u64) {
        store.create_dir(FOLDER)?;
        let beside = format!("{name}.tmp");
        store.create(&beside)?;
        store.write_at(&beside, 0, &bytes)?;
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
    Ok(store
        .list(FOLDER)?
        .iter()
        .filter_map(|name| name.strip_suffix(".json"))
        .filter_map(|hex| hex.parse().ok().map(PlanId))
        .collect())
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

/// Reads one plan back.
///
/// # Errors
/// [`PlanError`].
pub fn load(store: &dyn Store, id: PlanId) -> Result<SealedPlan, PlanError> {
    let name = format!("{FOLDER}/{}.json", id.0);
    let file = store.locate(&name);
    let len = match store.len(&name)? {
        Some(len) if len <= LONGEST => len,
        Some(_) => {
            return Err(PlanError::Altered {
                file,
                found: "not even computed: the file is far too long".to_owned(),
            });
        }
        None => return Err(PlanError::Gone { file }),
    };
    let mut bytes = vec![0; usize::try_from(len).unwrap_or_default()];
    store.read_at(&name, 0, &mut bytes)?;
    let digest = Digest(*blake3::hash(&bytes).as_bytes());
    if digest != id.0 {
        return Err(PlanError::Altered { file, found: digest.short() });
    }
    let plan: Plan =
        serde_json::from_slice(&bytes).map_err(|source| PlanError::Malformed { file, source })?;
    unseal_stored(plan, digest).map_err(|findings| PlanError::Unsound { findings })
}
