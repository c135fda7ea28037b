//! Which units a replica's own structures describe: partition tables, and LVM physical volumes on the whole
//! volume or inside a partition.
//!
//! Damage and read errors become notes, and the bytes in question stay unclaimed: a wrong claim about who
//! writes where would be worse than none.

mod assemble;
mod pv;
mod tables;
mod window;

use crate::format::{gpt, signature};
use crate::model::extent::Extent;
use crate::model::unit::{Layout, Unit, UnitKind};
use crate::ports::disk::Disk;
use window::Window;

/// Most units whose first bytes are looked at for a hint.
const MOST_HINTS: usize = 4096;
/// Most notes that are kept.
const MOST_NOTES: usize = 200;

/// A partition as its table has it: it may reach beyond the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// `partition 2`.
    pub name: String,
    /// Its bytes.
    pub extent: Extent,
}

/// The partitions that the table at the start of a disk describes, primary and logical; none when there is no table that
/// can be read.
#[must_use]
pub fn partitions(disk: &dyn Disk) -> Vec<Partition> {
    let whole = Window::new(disk, Extent { start: 0, len: disk.size() });
    match tables::read(&whole, &mut Vec::new()) {
        tables::Outcome::Table { partitions, .. } => partitions
            .into_iter()
            .map(|partition| Partition { name: partition.name, extent: partition.extent })
            .collect(),
        tables::Outcome::Nothing | tables::Outcome::Damaged => Vec::new(),
    }
}

/// Whether a disk has a partition table that cannot be read: one is promised, or a header of one stands where it belongs, at
/// either end, and is not intact.
#[must_use]
pub fn table_is_damaged(disk: &dyn Disk) -> bool {
    let whole = Window::new(disk, Extent { start: 0, len: disk.size() });
    if matches!(tables::read(&whole, &mut Vec::new()), tables::Outcome::Damaged) {
        return true;
    }
    let broken = |size: u64, at: u64| {
        let sector = whole.read(at.saturating_mul(size), size);
        sector.is_ok_and(|sector| gpt::is_header(&sector) && gpt::header(&sector, at).is_err())
    };
    gpt::SECTOR_SIZES
        .into_iter()
        .any(|size| broken(size, 1) || broken(size, (whole.len() / size).saturating_sub(1)))
}

/// The layout of a disk that holds nothing but the replicated data: what the guests see.
#[must_use]
pub fn read_layout(disk: &dyn Disk) -> Layout {
    read_layout_within(disk, disk.size())
}

/// The layout of the replicated data in the first `size` bytes of a disk, which may hold DRBD's metadata behind them.
/// A table's backup copy is looked for at the end of these bytes.
#[must_use]
pub fn read_layout_within(disk: &dyn Disk, size: u64) -> Layout {
    let whole = Window::new(disk, Extent { start: 0, len: size.min(disk.size()) });
    let mut notes = Vec::new();
    let mut units = match tables::read(&whole, &mut notes) {
        tables::Outcome::Table { structure, partitions } => {
            partitioned(&whole, structure, partitions, &mut notes)
        }
        tables::Outcome::Damaged => vacant(&whole),
        tables::Outcome::Nothing => match pv::read(&whole, &mut notes) {
            pv::Outcome::Units(units) => units,
            pv::Outcome::Nothing | pv::Outcome::Damaged => vacant(&whole),
        },
    };
    hint(&whole, &mut units, &mut notes);
    if notes.len() > MOST_NOTES {
        let more = notes.len() - MOST_NOTES;
        notes.truncate(MOST_NOTES);
        notes.push(format!("{more} more notes"));
    }
    Layout { units, notes }
}

/// A volume without any table that could be read.
fn vacant(whole: &Window<'_>) -> Vec<Unit> {
    assemble::cover(whole.len(), Vec::new(), "whole volume", &mut Vec::new())
}

fn partitioned(
    whole: &Window<'_>,
    structure: Unit,
    partitions: Vec<tables::Partition>,
    notes: &mut Vec<String>,
) -> Vec<Unit> {
    let mut units = vec![structure];
    for partition in partitions {
        let unit = |kind| Unit {
            name: partition.title.clone(),
            kind,
            identity: partition.identity.clone(),
            map: vec![(0, partition.extent)],
            content: None,
        };
        let inside = whole.part(partition.extent);
        let Some(inside) = inside else {
            // Sticks out of the disk: `cover` cuts it and says so.
            units.push(unit(UnitKind::Partition));
            continue;
        };
        let mut found = Vec::new();
        match pv::read(&inside, &mut found) {
            pv::Outcome::Nothing => units.push(unit(UnitKind::Partition)),
            pv::Outcome::Damaged => units.push(unit(UnitKind::Opaque)),
            pv::Outcome::Units(volumes) => units.extend(volumes.into_iter().map(|mut volume| {
                volume.name = format!("{} > {}", partition.name, volume.name);
                volume.map.iter_mut().for_each(|(_, extent)| extent.start += partition.extent.start);
                volume
            })),
        }
        notes.extend(found.into_iter().map(|note| format!("{}: {note}", partition.name)));
    }
    assemble::cover(whole.len(), units, "outside any partition", notes)
}

/// Looks at the first bytes of units that have one writer, and of a volume without any table.
fn hint(whole: &Window<'_>, units: &mut [Unit], notes: &mut Vec<String>) {
    let alone = units.len() == 1;
    let looked_at = units.iter_mut().filter(|unit| match unit.kind {
        UnitKind::Partition | UnitKind::LogicalVolume => true,
        UnitKind::Unclaimed => alone,
        UnitKind::Structure | UnitKind::Opaque => false,
    });
    for unit in looked_at.take(MOST_HINTS) {
        match head(whole, &unit.map) {
            Ok(bytes) => unit.content = signature::content(&bytes).map(str::to_owned),
            Err(error) => notes.push(format!("{}: its first bytes: {error}", unit.name)),
        }
    }
}

/// The parts of a unit's first [`signature::LOOKED_AT`] bytes in which signatures stand; zeros elsewhere and where
/// the unit has no bytes on this disk.
fn head(whole: &Window<'_>, map: &[(u64, Extent)]) -> Result<Vec<u8>, String> {
    let mut bytes = vec![0; signature::LOOKED_AT];
    let end = bytes.len() as u64;
    for wanted in [Extent::between(0, 8192), Extent::between(65024, end)] {
        for (at, extent) in map.iter().take_while(|(at, _)| *at < wanted.end()) {
            let Some(common) = (Extent { start: *at, len: extent.len }).intersect(&wanted) else { continue };
            let read = whole.read(extent.start + (common.start - at), common.len)?;
            // Below 70,000, so it fits any usize.
            let from = usize::try_from(common.start).unwrap_or(usize::MAX);
            bytes[from..from + read.len()].copy_from_slice(&read);
        }
    }
    Ok(bytes)
}
