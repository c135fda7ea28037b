//! What the demonstration finds out for itself, by other means than the commands it shows.

use super::records::{Volume, headline_of};
use super::world::World;
use crate::edge::state_dir::StateDir;
use crate::engine::journal::Journal;
use crate::engine::plans;
use crate::engine::salvage::{dir_of, reader};
use crate::judge::incident::IncidentState;
use crate::model::extent::ExtentSet;
use crate::model::id::{Digest, IncidentId};
use crate::model::record::Outcome;
use crate::model::salvage::PartKind;
use crate::model::side::{Pair, Side};
use crate::ports::disk::Disk as _;
use anyhow::{Context as _, bail};
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

const CHUNK: usize = 4 << 20;

/// BLAKE3 of both image files, whole.
pub(super) fn digests(world: &World) -> anyhow::Result<Pair<Digest>> {
    let digest = |path: &Path| -> anyhow::Result<Digest> {
        let (mut file, mut hasher, mut buffer) = (File::open(path)?, blake3::Hasher::new(), vec![0; CHUNK]);
        loop {
            let got = file.read(&mut buffer)?;
            if got == 0 {
                return Ok(Digest(*hasher.finalize().as_bytes()));
            }
            hasher.update_rayon(&buffer[..got]);
        }
    };
    world.images.as_ref().map(|path| digest(path)).transpose()
}

/// Whether the replicated data of both images is equal, read byte by byte from the files.
pub(super) fn equal_data(world: &World) -> anyhow::Result<bool> {
    let files = world.images.as_ref().map(File::open).transpose()?;
    let (mut a, mut b, mut at) = (vec![0; CHUNK], vec![0; CHUNK], 0);
    while at < world.data_size {
        let len = usize::try_from(world.data_size - at).unwrap_or(CHUNK).min(CHUNK);
        files.a.read_exact_at(&mut a[..len], at)?;
        files.b.read_exact_at(&mut b[..len], at)?;
        if a[..len] != b[..len] {
            return Ok(false);
        }
        at += len as u64;
    }
    Ok(true)
}

/// The first line of a record, as an image file holds it.
pub(super) fn record(world: &World, side: Side, volume: Volume, number: u64) -> anyhow::Result<String> {
    let place = world.place(volume, number);
    let mut block = vec![0; usize::try_from(place.len).unwrap_or(0)];
    File::open(&world.images[side])?.read_exact_at(&mut block, place.start)?;
    Ok(headline_of(&block))
}

/// The same, as the salvage of an incident holds it.
pub(super) fn kept_record(
    state_dir: &Path,
    incident: &IncidentId,
    world: &World,
    volume: Volume,
    number: u64,
) -> anyhow::Result<String> {
    let store = StateDir::open_read_only(state_dir)?;
    let place = world.place(volume, number);
    let mut block = vec![0; usize::try_from(place.len).unwrap_or(0)];
    reader(&store, &dir_of(incident), PartKind::VictimData)?.read_at(place.start, &mut block)?;
    Ok(headline_of(&block))
}

/// The id of the only plan there is, shortened as people type it.
pub(super) fn only_plan(state_dir: &Path) -> anyhow::Result<String> {
    match plans::kept(&StateDir::open_read_only(state_dir)?)?.as_slice() {
        [plan] => Ok(plan.0.short()),
        plans => bail!("one plan was expected in {}, there are {}", state_dir.display(), plans.len()),
    }
}

/// The last incident in the journal, and how it ended.
pub(super) fn last_incident(state_dir: &Path) -> anyhow::Result<(IncidentId, Option<Outcome>)> {
    let story = Journal::read(&StateDir::open_read_only(state_dir)?)?.context("there is no journal")?;
    let last = story.incidents.as_slice().last().context("there is no incident in the journal")?;
    let outcome = match &last.state {
        IncidentState::Closed { outcome } => Some(*outcome),
        _ => None,
    };
    Ok((last.id.clone(), outcome))
}

/// What `diff --json` says differs.
pub(super) fn differs(document: &[u8]) -> anyhow::Result<ExtentSet> {
    let document: serde_json::Value = serde_json::from_slice(document)?;
    let differs = document.pointer("/volumes/0/delta/differs").context("the document has no delta")?;
    Ok(serde_json::from_value(differs.clone())?)
}
