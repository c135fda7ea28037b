//! The partition table of a volume, GPT or MBR.

use super::assemble::filler;
use super::window::Window;
use crate::format::gpt::{self, Entry, Header};
use crate::format::mbr;
use crate::model::extent::{Extent, ExtentSet};
use crate::model::unit::{Unit, UnitKind};

/// What was found.
pub(super) enum Outcome {
    /// No partition table.
    Nothing,
    /// There should be one, but it cannot be read. The notes say why.
    Damaged,
    /// A table.
    Table {
        /// The sectors it stands in.
        structure: Unit,
        /// Its partitions; extents are not checked against the disk or each other.
        partitions: Vec<Partition>,
    },
}

/// A partition.
pub(super) struct Partition {
    /// `partition 2`.
    pub(super) name: String,
    /// The same with the table's own name or type: `partition 2 (root)`.
    pub(super) title: String,
    /// Its GUID, or MBR signature and number.
    pub(super) identity: String,
    /// Its bytes.
    pub(super) extent: Extent,
}

/// Looks for a table the way Linux does: GPT only behind a protective MBR.
pub(super) fn read(window: &Window<'_>, notes: &mut Vec<String>) -> Outcome {
    let boot = match window.read(0, mbr::SECTOR.min(window.len())) {
        Ok(bytes) => bytes,
        Err(error) => {
            notes.push(format!("looking for a partition table: {error}"));
            return Outcome::Damaged;
        }
    };
    match mbr::table(&boot) {
        Some(table) if table.is_protective() => read_gpt(window, &table, notes),
        Some(table) => {
            stray_gpt(window, notes);
            read_mbr(window, &table, notes)
        }
        None => {
            stray_gpt(window, notes);
            Outcome::Nothing
        }
    }
}

fn stray_gpt(window: &Window<'_>, notes: &mut Vec<String>) {
    for size in gpt::SECTOR_SIZES {
        if window.read(size, size).is_ok_and(|sector| gpt::header(&sector, 1).is_ok()) {
            notes.push("a GPT header without a protective MBR was passed over, as Linux does".to_owned());
        }
    }
}

/// A header with its entries.
type Copy = (Header, Vec<Entry>);

fn read_gpt(window: &Window<'_>, boot: &mbr::Table, notes: &mut Vec<String>) -> Outcome {
    if boot.primaries.len() > 1 {
        notes.push(
            "the protective MBR holds partitions of its own (hybrid MBR); they were passed over".to_owned(),
        );
    }
    let mut damage = Vec::new();
    let primary = gpt::SECTOR_SIZES.into_iter().find_map(|size| gpt_copy(window, size, 1, &mut damage));
    let last = |size: u64| (window.len() / size).saturating_sub(1);
    let backup = match &primary {
        Some((header, _)) => gpt_copy(window, header.sector_size, header.other, &mut damage),
        None => {
            gpt::SECTOR_SIZES.into_iter().find_map(|size| gpt_copy(window, size, last(size), &mut damage))
        }
    };
    notes.extend(damage);
    match (&primary, &backup) {
        (Some((header, entries)), Some((_, copy))) if entries != copy => {
            notes.push(format!(
                "the GPT's backup in sector {} differs from the primary, which holds",
                header.other
            ));
        }
        (Some((header, _)), None) => {
            notes.push(format!(
                "the GPT has no intact backup in sector {}, where the primary says",
                header.other
            ));
        }
        (None, Some((header, _))) => {
            notes.push(format!("the primary GPT is damaged; its backup in sector {} was used", header.at));
        }
        (None, None) => {
            notes.push("the protective MBR promises a GPT, but there is no intact one".to_owned());
            return Outcome::Damaged;
        }
        _ => {}
    }
    let sector =
        primary.iter().chain(&backup).map(|(header, _)| header.sector_size).max().unwrap_or(mbr::SECTOR);
    let own = primary.iter().chain(&backup).flat_map(|(header, _)| {
        let size = header.sector_size;
        [Some(Extent { start: header.at.saturating_mul(size), len: size }), header.entries_extent()]
    });
    let own: ExtentSet = own.flatten().chain([Extent { start: 0, len: sector }]).collect();
    let Some((header, entries)) = primary.as_ref().or(backup.as_ref()) else { return Outcome::Damaged };
    let partitions = entries.iter().filter_map(|entry| gpt_partition(header, entry, notes)).collect();
    Outcome::Table {
        structure: filler("partition table", UnitKind::Structure, &own.clip(window.len())),
        partitions,
    }
}

/// One copy of the table, if it is intact. Damage is noted only where the signature stands.
fn gpt_copy(window: &Window<'_>, size: u64, at: u64, damage: &mut Vec<String>) -> Option<Copy> {
    let place = at.checked_mul(size).filter(|place| *place < window.len())?;
    let sector = match window.read(place, size) {
        Ok(sector) => sector,
        Err(error) => {
            damage.push(format!("GPT header in sector {at}: {error}"));
            return None;
        }
    };
    if !gpt::is_header(&sector) {
        return None;
    }
    let copy = || {
        let header = gpt::header(&sector, at).map_err(|error| error.to_string())?;
        let place = header.entries_extent().ok_or("the entries are beyond any disk")?;
        let bytes = window.read(place.start, place.len)?;
        let entries = header.used_entries(&bytes).map_err(|error| error.to_string())?;
        Ok::<Copy, String>((header, entries))
    };
    copy().map_err(|error| damage.push(error)).ok()
}

fn gpt_partition(header: &Header, entry: &Entry, notes: &mut Vec<String>) -> Option<Partition> {
    let name = format!("partition {}", entry.number);
    let Some(extent) = header.extent(entry) else {
        notes.push(format!("{name}: is beyond any disk"));
        return None;
    };
    let said = if entry.name.is_empty() { gpt::kind_name(&entry.kind) } else { Some(entry.name.as_str()) };
    let identity = if entry.guid.0 == [0; 16] { String::new() } else { entry.guid.to_string() };
    Some(Partition { title: title(&name, said), name, identity, extent })
}

fn title(name: &str, said: Option<&str>) -> String {
    said.map_or_else(|| name.to_owned(), |said| format!("{name} ({said})"))
}

fn read_mbr(window: &Window<'_>, table: &mbr::Table, notes: &mut Vec<String>) -> Outcome {
    let mut own = vec![Extent { start: 0, len: mbr::SECTOR }];
    let mut entries = Vec::new();
    let mut logical = 5;
    for entry in &table.primaries {
        if !entry.is_extended() {
            entries.push(*entry);
            continue;
        }
        let found = mbr::logical(entry, logical, |sector| {
            sector
                .checked_mul(mbr::SECTOR)
                .ok_or_else(String::new)
                .and_then(|at| window.read(at, mbr::SECTOR))
        });
        logical = logical.saturating_add(u32::try_from(found.entries.len()).unwrap_or(u32::MAX));
        notes.extend(found.broken.map(|why| format!("partition {}: {why}", entry.number)));
        own.extend(
            found.tables.iter().map(|sector| Extent { start: sector * mbr::SECTOR, len: mbr::SECTOR }),
        );
        entries.extend(found.entries);
    }
    let partitions = entries
        .iter()
        .map(|entry| {
            let name = format!("partition {}", entry.number);
            let identity = match table.disk {
                0 => String::new(),
                disk => format!("{disk:08x}-{:02x}", entry.number),
            };
            Partition {
                title: title(&name, mbr::kind_name(entry.kind)),
                name,
                identity,
                extent: entry.extent(),
            }
        })
        .collect();
    let own: ExtentSet = own.into_iter().collect();
    Outcome::Table {
        structure: filler("partition table", UnitKind::Structure, &own.clip(window.len())),
        partitions,
    }
}
