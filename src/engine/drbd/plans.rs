//! Live plans at rest: `live-plans/<id>.json` in the state directory, named by the BLAKE3 of their bytes.

use crate::engine::plans::PlanError;
use crate::judge::audit_live::{SealedLivePlan, Seen, seal, seal_undo, unseal_stored};
use crate::model::id::{Digest, PlanId};
use crate::model::live_plan::LivePlan;
use crate::ports::store::Store;

const FOLDER: &str = "live-plans";
/// Longest plan that is read back.
const LONGEST: u64 = 1 << 30;

fn canonical(plan: &LivePlan) -> Result<Vec<u8>, PlanError> {
    let wrong = |source| PlanError::Malformed { file: "the plan".to_owned(), source };
    let mut text = serde_json::to_vec(plan).map_err(wrong)?;
    text.push(b'\n');
    Ok(text)
}

fn digest(text: &[u8]) -> Digest {
    Digest(*blake3::hash(text).as_bytes())
}

/// Audits a healing that was just drawn from this: what was seen of each volume, in order.
///
/// # Errors
/// [`PlanError::Unsound`].
pub fn sealed(plan: LivePlan, seen: &[Seen<'_>]) -> Result<SealedLivePlan, PlanError> {
    let digest = digest(&canonical(&plan)?);
    seal(plan, digest, seen).map_err(|findings| PlanError::Unsound { findings })
}

/// Audits an undo of that healing.
///
/// # Errors
/// [`PlanError::Unsound`].
pub fn sealed_undo(plan: LivePlan, healed: &LivePlan) -> Result<SealedLivePlan, PlanError> {
    let digest = digest(&canonical(&plan)?);
    seal_undo(plan, digest, healed).map_err(|findings| PlanError::Unsound { findings })
}

/// Keeps a sealed plan: written beside, synced, renamed, folder synced.
///
/// # Errors
/// [`PlanError::Store`].
pub fn keep(store: &dyn Store, sealed: &SealedLivePlan) -> Result<(), PlanError> {
    let text = canonical(sealed.plan())?;
    let name = format!("{FOLDER}/{}.json", digest(&text));
    if store.len(&name)? != Some(text.len() as u64) {
        store.create_dir(FOLDER)?;
        let beside = format!("{name}.tmp");
        store.create(&beside)?;
        store.write_at(&beside, 0, &text)?;
        store.sync(&beside)?;
        store.rename(&beside, &name)?;
    }
    // Also for a plan that is there: an earlier attempt may have ended before its name was durable.
    store.sync_dir(FOLDER)?;
    store.sync_dir("")?;
    Ok(())
}

/// Ids of all kept live plans.
///
/// # Errors
/// [`PlanError::Store`].
pub fn kept(store: &dyn Store) -> Result<Vec<PlanId>, PlanError> {
    let names = store.list(FOLDER)?;
    Ok(names.iter().filter_map(|name| name.strip_suffix(".json")?.parse().ok().map(PlanId)).collect())
}

/// Whether a plan of that id is a live one.
#[must_use]
pub fn is_live(store: &dyn Store, id: PlanId) -> bool {
    // What cannot be read is reported by whoever loads it.
    matches!(store.len(&format!("{FOLDER}/{}.json", id.0)), Ok(Some(_)))
}

/// Reads one plan back, checks its digest and audits it again. `None`: there is no live plan of that id.
///
/// # Errors
/// [`PlanError`].
pub fn load(store: &dyn Store, id: PlanId) -> Result<Option<SealedLivePlan>, PlanError> {
    let name = format!("{FOLDER}/{}.json", id.0);
    let Some(len) = store.len(&name)? else { return Ok(None) };
    let file = store.locate(&name);
    if len > LONGEST {
        let found = "not even computed: the file is far too long".to_owned();
        return Err(PlanError::Altered { file, found });
    }
    let mut text = vec![0; usize::try_from(len).unwrap_or(0)];
    store.read_at(&name, 0, &mut text)?;
    let found = digest(&text);
    if found != id.0 {
        return Err(PlanError::Altered { file, found: found.to_string() });
    }
    let plan = serde_json::from_slice(&text).map_err(|source| PlanError::Malformed { file, source })?;
    unseal_stored(plan, found).map(Some).map_err(|findings| PlanError::Unsound { findings })
}
