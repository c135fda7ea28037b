//! Looking for the metadata.

use super::ObserveError;
use crate::format::drbdmeta::BLOCK;
use crate::format::drbdmeta::geometry::{Geometry, GeometryError, Shape, superblock_position};
use crate::format::drbdmeta::locate::{self, Candidate, NotHere};
use crate::format::drbdmeta::superblock;
use crate::model::drbd::Superblock;
use crate::model::evidence::MetadataPlace;
use crate::ports::disk::{Disk, DiskFault, Stretch};
use drbd_sys::metadata as sys;

/// What was found.
pub(super) struct Found {
    pub(super) place: MetadataPlace,
    pub(super) superblock: Superblock,
    pub(super) geometry: Geometry,
}

/// How much of a disk without metadata is read in search of an older superblock. Holes are free.
const SEARCH_BYTES: u64 = 1 << 30;

fn read_block(disk: &dyn Disk, at: u64) -> Result<Vec<u8>, DiskFault> {
    let mut block = vec![0; BLOCK];
    disk.read_at(at, &mut block)?;
    Ok(block)
}

fn try_candidate(
    disk: &dyn Disk,
    here: Candidate,
    data_size: u64,
) -> Result<Result<Found, NotHere>, DiskFault> {
    let block = read_block(disk, here.superblock_at)?;
    Ok(locate::accept(here, &block, disk.size(), data_size).map(|(superblock, geometry)| Found {
        place: here.place,
        superblock,
        geometry,
    }))
}

/// Turns a refusal into words about the disk.
pub(super) fn refused(disk: &dyn Disk, here: Candidate, why: NotHere, data: &dyn Disk) -> ObserveError {
    let (disk, at) = (disk.name().to_owned(), here.superblock_at);
    let usable = data.size() / sys::SECTOR_BYTES * sys::SECTOR_BYTES;
    match why {
        NotHere::Superblock(source) if source.is_absence() => {
            ObserveError::NotFound { disk, tried: tried(&[here]), begins: None }
        }
        NotHere::Superblock(source) => ObserveError::Corrupt { disk, at, source },
        NotHere::Geometry { why: GeometryError::Overfull { effective, capacity, .. }, .. }
            if here.place != MetadataPlace::Internal && capacity >= usable =>
        {
            ObserveError::Truncated { disk: data.name().to_owned(), size: data.size(), effective }
        }
        NotHere::Geometry { why, .. } => ObserveError::Misfit { disk, at, place: here.place, source: why },
    }
}

fn tried(places: &[Candidate]) -> String {
    let shown = places.iter().take(3).map(|each| format!("{} (byte {})", each.place, each.superblock_at));
    let mut text = shown.collect::<Vec<_>>().join(", ");
    if let Some(more) = places.len().checked_sub(3).filter(|more| *more > 0) {
        text.push_str(&format!(" and {more} more indexes"));
    }
    text
}

/// Internal metadata exactly where it belongs; nothing is searched for.
pub(super) fn exactly(disk: &dyn Disk) -> Result<Option<Found>, DiskFault> {
    let size = disk.size();
    let Some(here) = locate::internal(size).next() else { return Ok(None) };
    Ok(try_candidate(disk, here, size)?.ok())
}

/// Internal metadata.
pub(super) fn internal(disk: &dyn Disk) -> Result<Found, ObserveError> {
    let size = disk.size();
    let Some(here) = locate::internal(size).next() else {
        return Err(ObserveError::TooSmall { disk: disk.name().to_owned(), size });
    };
    let why = match try_candidate(disk, here, size)? {
        Ok(found) => return Ok(found),
        Err(why) => why,
    };
    if !why.is_absence() {
        return Err(refused(disk, here, why, disk));
    }
    if let Some(found) = elsewhere(disk)? {
        let old_size = found + BLOCK as u64;
        return Err(ObserveError::Grown { disk: disk.name().to_owned(), found, old_size, size });
    }
    if let Some(before) = here.superblock_at.checked_sub(BLOCK as u64) {
        let block = read_block(disk, before)?;
        if block[..4] == sys::MAGIC_AL.to_be_bytes() {
            return Err(ObserveError::Destroyed { disk: disk.name().to_owned(), at: here.superblock_at });
        }
    }
    Err(refused(disk, here, why, disk))
}

/// Metadata on a disk of its own.
pub(super) fn external(
    disk: &dyn Disk,
    data: &dyn Disk,
    place: Option<MetadataPlace>,
) -> Result<Found, ObserveError> {
    let size = disk.size();
    let places: Vec<Candidate> = match place {
        Some(place) => locate::candidate(place, size).into_iter().collect(),
        None => locate::external(size).collect(),
    };
    if places.is_empty() {
        return Err(ObserveError::TooSmall { disk: disk.name().to_owned(), size });
    }
    let (mut found, mut worst): (Vec<Found>, Option<(Candidate, NotHere)>) = (Vec::new(), None);
    for here in &places {
        match try_candidate(disk, *here, data.size())? {
            Ok(this) if this.place == MetadataPlace::FlexibleExternal => return Ok(this),
            Ok(this) => found.push(this),
            // Sector 0 is tried twice: what it says as an index counts more than why it is not flexible.
            Err(why) if !why.is_absence() => {
                let better = worst.as_ref().is_none_or(|(other, _)| {
                    other.superblock_at == here.superblock_at
                        && matches!(why, NotHere::Geometry { ref why, .. } if overfull(why))
                });
                if better {
                    worst = Some((*here, why));
                }
            }
            Err(_) => {}
        }
    }
    match (found.pop(), worst) {
        (Some(last), _) if !found.is_empty() => {
            found.push(last);
            let indexes = found.iter().filter_map(|each| match each.place {
                MetadataPlace::IndexedExternal(index) => Some(index),
                _ => None,
            });
            Err(ObserveError::SeveralIndexes { disk: disk.name().to_owned(), indexes: indexes.collect() })
        }
        // One good index beside a damaged one: which of them belongs to the data is not for us to guess.
        (Some(only), Some((here, why))) if here.superblock_at != only.geometry.superblock_at => {
            Err(refused(disk, here, why, data))
        }
        (Some(only), _) => Ok(only),
        (None, Some((here, why))) => Err(refused(disk, here, why, data)),
        (None, None) => {
            Err(ObserveError::NotFound { disk: disk.name().to_owned(), tried: tried(&places), begins: None })
        }
    }
}

fn overfull(why: &GeometryError) -> bool {
    matches!(why, GeometryError::Overfull { .. })
}

/// Where else on the disk an internal superblock stands that belongs to a smaller size: the position must be the one
/// that its own size gives it. Looks from the end backwards.
fn elsewhere(disk: &dyn Disk) -> Result<Option<u64>, DiskFault> {
    const CHUNK: u64 = 1 << 20;
    let mut stretches = Vec::new();
    let mut at = 0;
    // A file can be all fragments; what is not looked at only makes the message less precise.
    while at < disk.size() && stretches.len() < 1 << 20 {
        let (end, data) = match disk.stretch(at) {
            Stretch::Data(end) => (end, true),
            Stretch::Hole(end) => (end, false),
        };
        let end = end.clamp(at + 1, disk.size());
        if data {
            stretches.push((at, end));
        }
        at = end;
    }
    let (mut budget, mut buffer) = (SEARCH_BYTES, vec![0; CHUNK as usize]);
    for (start, end) in stretches.into_iter().rev() {
        let (start, mut end) = (start / BLOCK as u64 * BLOCK as u64, end / BLOCK as u64 * BLOCK as u64);
        while start < end && budget > 0 {
            let from = end.saturating_sub(CHUNK).max(start);
            let len = usize::try_from(end - from).unwrap_or(0);
            let chunk = &mut buffer[..len];
            disk.read_at(from, chunk)?;
            let positions = (from..).step_by(BLOCK);
            let hit =
                chunk.chunks_exact(BLOCK).zip(positions).filter(|(block, at)| belongs(block, *at)).last();
            if let Some((_, position)) = hit {
                return Ok(Some(position));
            }
            budget = budget.saturating_sub(end - from);
            end = from;
        }
    }
    Ok(None)
}

/// Whether a block is an internal superblock of a disk that ended right behind it.
fn belongs(block: &[u8], at: u64) -> bool {
    let size = at + BLOCK as u64;
    let Ok(superblock) = superblock::parse(block) else { return false };
    superblock_position(MetadataPlace::Internal, size) == Some(at)
        && Shape::of(&superblock).offsets(MetadataPlace::Internal, size).is_ok_and(|offsets| {
            (offsets.al_offset, offsets.bm_offset) == (superblock.al_offset, superblock.bm_offset)
        })
}
