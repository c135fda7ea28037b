//! Looks at salvages that are there.

use super::error::SalvageError;
use super::readback::read_back;
use super::{FOLDER, MANIFEST};
use crate::format::manifest::{MAX_MANIFEST, ManifestFault, parse_manifest};
use crate::model::salvage::Manifest;
use crate::ports::progress::Progress;
use crate::ports::store::Store;
use crate::proof::{Preserved, ReadPart, Wanted};

/// A folder under [`FOLDER`].
#[derive(Debug)]
pub struct Found {
    /// Its name: the incident's.
    pub name: String,
    /// Its path in the store, for the other functions here.
    pub dir: String,
    /// What is in it.
    pub state: State,
}

/// What a salvage's folder holds.
#[derive(Debug)]
pub enum State {
    /// A salvage with a sound manifest. Its files were not looked at.
    Complete(Manifest),
    /// The rest of an interrupted take, or nothing: no manifest.
    Unfinished,
    /// A manifest that cannot be used.
    Damaged(SalvageError),
}

/// Every salvage, sorted by name.
///
/// # Errors
/// [`SalvageError::Store`] when the folders cannot be listed.
pub fn list(store: &dyn Store) -> Result<Vec<Found>, SalvageError> {
    let names = store.list(FOLDER)?;
    let found = names.into_iter().map(|name| {
        let dir = format!("{FOLDER}/{name}");
        let state = match load_manifest(store, &dir) {
            Ok(manifest) => State::Complete(manifest),
            Err(SalvageError::NotThere { .. }) => State::Unfinished,
            Err(error) => State::Damaged(error),
        };
        Found { name, dir, state }
    });
    Ok(found.collect())
}

/// A salvage's manifest, checked in itself. The files are not looked at.
///
/// # Errors
/// [`SalvageError::NotThere`], [`SalvageError::Manifest`], [`SalvageError::Store`].
pub fn load_manifest(store: &dyn Store, dir: &str) -> Result<Manifest, SalvageError> {
    Ok(stored_manifest(store, dir, MANIFEST)?.1)
}

/// Reads a salvage wholly and compares it with its manifest.
///
/// # Errors
/// [`SalvageError`], which names the first damage found.
pub fn verify(store: &dyn Store, dir: &str, progress: &dyn Progress) -> Result<Manifest, SalvageError> {
    let (_, manifest) = stored_manifest(store, dir, MANIFEST)?;
    read_parts_back(store, dir, &manifest, progress)?;
    Ok(manifest)
}

/// Makes the proof again from a salvage that was taken earlier: after a crash, when the victim may already be partly
/// overwritten and cannot be read once more.
///
/// # Errors
/// [`SalvageError`], also when it is of another plan or does not cover what is wanted.
pub fn prove_again(
    store: &dyn Store,
    dir: &str,
    wanted: &Wanted,
    progress: &dyn Progress,
) -> Result<(Manifest, Preserved), SalvageError> {
    let (bytes, manifest) = stored_manifest(store, dir, MANIFEST)?;
    if manifest.incident != wanted.incident || manifest.plan != wanted.plan {
        return Err(SalvageError::Other {
            dir: store.locate(dir),
            incident: manifest.incident,
            plan: manifest.plan,
        });
    }
    let read = read_parts_back(store, dir, &manifest, progress)?;
    let proof = Preserved::prove(wanted, &bytes, &read).map_err(SalvageError::Unproven)?;
    Ok((manifest, proof))
}

fn read_parts_back(
    store: &dyn Store,
    dir: &str,
    manifest: &Manifest,
    progress: &dyn Progress,
) -> Result<Vec<ReadPart>, SalvageError> {
    let bytes = manifest.parts.iter().flat_map(|part| &part.pieces).map(|piece| piece.len).sum();
    progress.begin("verify salvage", bytes);
    let read = manifest.parts.iter().map(|part| read_back(store, dir, part, None, progress)).collect();
    progress.finish();
    read
}

/// A manifest's bytes as the store gives them back, and what they say.
pub(super) fn stored_manifest(
    store: &dyn Store,
    dir: &str,
    name: &str,
) -> Result<(Vec<u8>, Manifest), SalvageError> {
    let path = format!("{dir}/{name}");
    let full = store.locate(&path);
    let Some(len) = store.len(&path)? else { return Err(SalvageError::NotThere { path: full }) };
    let wrong = |source| SalvageError::Manifest { path: full.clone(), source };
    if len > MAX_MANIFEST {
        return Err(wrong(ManifestFault::TooLarge(len)));
    }
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    store.read_at(&path, 0, &mut bytes)?;
    let manifest = parse_manifest(&bytes).map_err(wrong)?;
    Ok((bytes, manifest))
}
