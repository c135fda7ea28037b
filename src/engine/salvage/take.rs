//! Takes a salvage.

use super::catalogue::{prove_again, stored_manifest};
use super::error::SalvageError;
use super::readback::read_back;
use super::write::write_part;
use super::{BATCH, KINDS, Label, MANIFEST, MANIFEST_UNPROVEN, PartSource, file_of, phase};
use crate::format::manifest::{MAX_MANIFEST, PIECE, PIECE_TEXT, VERSION, manifest_bytes};
use crate::format::qcow2::Layout;
use crate::model::salvage::{Manifest, Part};
use crate::ports::progress::Progress;
use crate::ports::store::Store;
use crate::proof::{Preserved, ReadPart, Wanted};

/// Bytes that a salvage leaves free: the journal must go on.
pub const RESERVE: u64 = 16 << 20;

/// Bytes of a manifest without its pieces: three parts with escaped paths, names, and quotes.
const MANIFEST_FRAME: u64 = 32 << 10;

/// A salvage that is there, and the proof of it.
#[derive(Debug)]
pub struct Kept {
    /// What it holds.
    pub manifest: Manifest,
    /// That it was read back.
    pub proof: Preserved,
    /// It had been taken before, for the same plan, and was only read back now.
    pub already: bool,
}

/// Bytes that a salvage of these parts takes: the files exactly, the manifest at most.
///
/// # Errors
/// [`SalvageError::Layout`], [`SalvageError::TooManyPieces`].
pub fn needed_space(parts: &[PartSource<'_>]) -> Result<u64, SalvageError> {
    let layouts = parts.iter().map(layout).collect::<Result<Vec<_>, _>>()?;
    Ok(layouts.iter().map(Layout::file_size).sum::<u64>() + manifest_size(parts)?)
}

fn layout(part: &PartSource<'_>) -> Result<Layout, SalvageError> {
    Layout::new(part.virtual_size, part.extents, part.backing.as_deref())
        .map_err(|source| SalvageError::Layout { part: part.kind, source })
}

fn manifest_size(parts: &[PartSource<'_>]) -> Result<u64, SalvageError> {
    let cuts = |part: &PartSource<'_>| -> u64 {
        part.extents.iter().map(|run| (run.end() - 1) / PIECE - run.start / PIECE + 1).sum()
    };
    let pieces: u64 = parts.iter().map(cuts).sum();
    pieces
        .checked_mul(PIECE_TEXT)
        .map(|bytes| bytes + MANIFEST_FRAME)
        .filter(|bytes| *bytes <= MAX_MANIFEST)
        .ok_or(SalvageError::TooManyPieces(pieces))
}

/// Copies the parts to `dir`, reads everything back from the store, and compares it with a second reading of the
/// sources. Only then the manifest gets its name, and the proof is made.
///
/// If `dir` already holds a complete salvage of the same incident and plan, that is read back instead and nothing is
/// written. The rest of an interrupted take is removed.
///
/// # Errors
/// [`SalvageError`]. The sources are only read. Before the first byte is written, the space has been found sufficient;
/// after an error, what had been written is removed as far as the store lets us, and a further take starts anew.
pub fn take(
    store: &dyn Store,
    dir: &str,
    label: &Label,
    parts: &[PartSource<'_>],
    progress: &dyn Progress,
) -> Result<Kept, SalvageError> {
    check_parts(parts)?;
    let wanted = Wanted {
        incident: label.incident.clone(),
        plan: label.plan,
        parts: parts.iter().map(|part| (part.kind, part.extents.clone())).collect(),
    };
    if store.len(&format!("{dir}/{MANIFEST}"))?.is_some() {
        let (manifest, proof) = prove_again(store, dir, &wanted, progress)?;
        // The earlier take may have been cut off between giving the manifest its name and making that durable.
        sync_all(store, dir, &manifest)?;
        return Ok(Kept { manifest, proof, already: true });
    }
    remove_rest(store, dir)?;
    let (needed, free) = (needed_space(parts)?, store.free_space()?);
    if needed.saturating_add(RESERVE) > free {
        return Err(SalvageError::NoSpace { needed, reserve: RESERVE, free });
    }
    let taken = write_and_prove(store, dir, label, parts, &wanted, progress);
    if taken.is_err() {
        // The error that is reported is the first one; a rest that cannot be removed now is removed by the next take.
        let _ = store.remove(&format!("{dir}/{MANIFEST}")).and_then(|()| remove_rest(store, dir));
    }
    taken
}

/// Copies the parts to `dir` from disks that others may be writing to: what was read first is kept, and what the store
/// gives back is compared with that, not with the disks. So it proves nothing that anything could be overwritten on.
///
/// # Errors
/// [`SalvageError`]. The sources are only read; what had been written is removed as far as the store lets us.
pub fn take_moving(
    store: &dyn Store,
    dir: &str,
    label: &Label,
    parts: &[PartSource<'_>],
    progress: &dyn Progress,
) -> Result<Manifest, SalvageError> {
    check_parts(parts)?;
    let (needed, free) = (needed_space(parts)?, store.free_space()?);
    if needed.saturating_add(RESERVE) > free {
        return Err(SalvageError::NoSpace { needed, reserve: RESERVE, free });
    }
    let taken = copy(store, dir, label, parts, progress).and_then(|manifest| {
        let manifest_in_store = stored_manifest(store, dir, MANIFEST_UNPROVEN)?.1;
        for part in &manifest_in_store.parts {
            read_back(store, dir, part, None, progress)?;
        }
        store.rename(&format!("{dir}/{MANIFEST_UNPROVEN}"), &format!("{dir}/{MANIFEST}"))?;
        sync_folders(store, dir)?;
        Ok(manifest)
    });
    if taken.is_err() {
        // The error that is reported is the first one.
        let _ = store.remove(&format!("{dir}/{MANIFEST}")).and_then(|()| remove_rest(store, dir));
    }
    taken
}

fn check_parts(parts: &[PartSource<'_>]) -> Result<(), SalvageError> {
    for (index, part) in parts.iter().enumerate() {
        if parts[..index].iter().any(|other| other.kind == part.kind) {
            return Err(SalvageError::Twice(part.kind));
        }
        let (disk, size) = (part.disk.name(), part.disk.size());
        if size < part.virtual_size {
            let (disk, needed) = (disk.to_owned(), part.virtual_size);
            return Err(SalvageError::TooSmall { part: part.kind, disk, size, needed });
        }
    }
    Ok(())
}

/// Removes what only an unfinished take leaves. Files that are not ours stay.
fn remove_rest(store: &dyn Store, dir: &str) -> Result<(), crate::ports::store::StoreFault> {
    for name in store.list(dir)? {
        if name == MANIFEST_UNPROVEN || KINDS.iter().any(|kind| file_of(*kind) == name) {
            store.remove(&format!("{dir}/{name}"))?;
        }
    }
    Ok(())
}

fn write_and_prove(
    store: &dyn Store,
    dir: &str,
    label: &Label,
    parts: &[PartSource<'_>],
    wanted: &Wanted,
    progress: &dyn Progress,
) -> Result<Kept, SalvageError> {
    let manifest = copy(store, dir, label, parts, progress)?;
    let bytes = parts.iter().map(|part| part.extents.bytes()).sum();
    let (unproven, proven) = (format!("{dir}/{MANIFEST_UNPROVEN}"), format!("{dir}/{MANIFEST}"));
    let (_, stored) = stored_manifest(store, dir, MANIFEST_UNPROVEN)?;
    let read: Vec<ReadPart> = phase(progress, "read back", bytes, || {
        let pairs = stored.parts.iter().zip(parts);
        pairs.map(|(part, source)| read_back(store, dir, part, Some(source), progress)).collect()
    })?;
    store.rename(&unproven, &proven)?;
    sync_folders(store, dir)?;
    let (stored_bytes, stored) = stored_manifest(store, dir, MANIFEST)?;
    if stored != manifest {
        let what = "it does not hold what was just written".into();
        return Err(SalvageError::File { file: store.locate(&proven), what });
    }
    let proof = Preserved::prove(wanted, &stored_bytes, &read).map_err(SalvageError::Unproven)?;
    Ok(Kept { manifest, proof, already: false })
}

/// Writes the parts and the manifest, which is not yet one that anybody relies on.
fn copy(
    store: &dyn Store,
    dir: &str,
    label: &Label,
    parts: &[PartSource<'_>],
    progress: &dyn Progress,
) -> Result<Manifest, SalvageError> {
    let bytes = parts.iter().map(|part| part.extents.bytes()).sum();
    store.create_dir(dir)?;
    let copied = phase(progress, "preserve", bytes, || {
        parts.iter().map(|part| copy_part(store, dir, part, progress)).collect()
    })?;
    let manifest = Manifest {
        version: VERSION,
        incident: label.incident.clone(),
        plan: label.plan,
        resource: label.resource.clone(),
        victim: label.victim,
        victim_name: label.victim_name.clone(),
        survivor_name: label.survivor_name.clone(),
        taken_at: label.taken_at,
        parts: copied,
    };
    write_manifest(store, &format!("{dir}/{MANIFEST_UNPROVEN}"), &manifest)?;
    // The files' names must last before the manifest's name does.
    store.sync_dir(dir)?;
    Ok(manifest)
}

fn copy_part(
    store: &dyn Store,
    dir: &str,
    source: &PartSource<'_>,
    progress: &dyn Progress,
) -> Result<Part, SalvageError> {
    let file = file_of(source.kind).to_owned();
    let pieces = write_part(store, &format!("{dir}/{file}"), &layout(source)?, source, progress)?;
    Ok(Part {
        kind: source.kind,
        file,
        virtual_size: source.virtual_size,
        backing: source.backing.clone(),
        pieces,
    })
}

fn write_manifest(store: &dyn Store, path: &str, manifest: &Manifest) -> Result<(), SalvageError> {
    let bytes = manifest_bytes(manifest)
        .map_err(|source| SalvageError::Manifest { path: store.locate(path), source })?;
    store.create(path)?;
    let mut at = 0;
    for chunk in bytes.chunks(BATCH) {
        store.write_at(path, at, chunk)?;
        at += chunk.len() as u64;
    }
    store.sync(path)?;
    Ok(())
}

fn sync_all(store: &dyn Store, dir: &str, manifest: &Manifest) -> Result<(), SalvageError> {
    let files = manifest.parts.iter().map(|part| part.file.as_str());
    for file in files.chain([MANIFEST]) {
        store.sync(&format!("{dir}/{file}"))?;
    }
    sync_folders(store, dir)
}

/// Makes the names in `dir`, and its own name up to the state directory, durable.
fn sync_folders(store: &dyn Store, dir: &str) -> Result<(), SalvageError> {
    let mut folder = dir;
    loop {
        store.sync_dir(folder)?;
        if folder.is_empty() {
            return Ok(());
        }
        folder = folder.rsplit_once('/').map_or("", |(parent, _)| parent);
    }
}
