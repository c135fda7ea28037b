//! An LVM physical volume: label, metadata areas, text, map.

use super::assemble::{cover, filler};
use super::window::Window;
use crate::format::lvm2::group::{self, VolumeGroup};
use crate::format::lvm2::label::{self, Area, Label};
use crate::format::lvm2::map;
use crate::format::lvm2::metadata_area::{self as area, Contents};
use crate::model::extent::{Extent, ExtentSet};
use crate::model::unit::{Unit, UnitKind};

/// Bytes that belong to the label: LVM reads and writes a page at once and never puts an area there.
const LABEL_PAGE: u64 = 4096;

/// What stands in a window.
pub(super) enum Outcome {
    /// No label: not a physical volume.
    Nothing,
    /// It is, or was, a physical volume, but who writes where cannot be told. The notes say why.
    Damaged,
    /// Units that cover the window, with positions from its start.
    Units(Vec<Unit>),
}

/// Looks for a physical volume at the start of the window.
pub(super) fn read(window: &Window<'_>, notes: &mut Vec<String>) -> Outcome {
    let head = (label::LABEL_SECTORS as u64 * crate::model::size::SECTOR).min(window.len());
    let found = match window.read(0, head) {
        Ok(bytes) => label::find(&bytes),
        Err(error) => {
            notes.push(format!("looking for an LVM label: {error}"));
            return Outcome::Damaged;
        }
    };
    notes.extend(found.damaged.iter().map(ToString::to_string));
    let Some(label) = found.label else {
        return if found.damaged.is_empty() { Outcome::Nothing } else { Outcome::Damaged };
    };
    let copies = copies(window, &label, notes);
    let group = match newest(&copies, notes) {
        Newest::Group(group) => group,
        Newest::NoGroup => {
            let name = "LVM label and metadata (no volume group)";
            let own = filler(name, UnitKind::Structure, &own_bytes(&label, window.len(), LABEL_PAGE));
            return Outcome::Units(cover(window.len(), vec![own], "physical volume without a group", notes));
        }
        Newest::Unknown => return Outcome::Damaged,
    };
    let mapped = match map::on_device(group, &label.pv_id) {
        Ok(mapped) => mapped,
        Err(error) => {
            notes.push(error.to_string());
            return Outcome::Damaged;
        }
    };
    if mapped.extents.end() > window.len() {
        notes.push(format!(
            "volume group {}: its extents end at byte {}, but there are only {} bytes",
            group.name,
            mapped.extents.end(),
            window.len()
        ));
    }
    notes.extend(mapped.notes);
    let own = own_bytes(&label, window.len(), mapped.extents.start);
    let mut units = mapped.units;
    units.push(filler(&format!("{}: LVM label and metadata", group.name), UnitKind::Structure, &own));
    Outcome::Units(cover(window.len(), units, &format!("{}: free space", group.name), notes))
}

/// The bytes LVM keeps for itself. Extents begin at `extents`.
fn own_bytes(label: &Label, len: u64, extents: u64) -> ExtentSet {
    let page = Extent { start: 0, len: LABEL_PAGE.min(extents) };
    let areas = label.metadata.iter().chain(&label.bootloader).map(|area| Extent {
        start: area.offset,
        len: if area.size == 0 { len.saturating_sub(area.offset) } else { area.size },
    });
    std::iter::once(page).chain(areas).collect::<ExtentSet>().clip(len)
}

/// What one metadata area says.
enum Copy {
    Group(Box<VolumeGroup>),
    Empty,
    Ignored,
    Damaged,
}

fn copies(window: &Window<'_>, label: &Label, notes: &mut Vec<String>) -> Vec<Copy> {
    let mut copies = Vec::new();
    for area in &label.metadata {
        let copy = match read_copy(window, *area) {
            Ok(copy) => copy,
            Err(error) => {
                notes.push(error);
                Copy::Damaged
            }
        };
        copies.push(copy);
    }
    copies
}

fn read_copy(window: &Window<'_>, at: Area) -> Result<Copy, String> {
    let unread = |error| format!("LVM metadata area at byte {}: {error}", at.offset);
    let header = window.read(at.offset, area::HEADER).map_err(unread)?;
    let place = match area::contents(&header, at).map_err(|error| error.to_string())? {
        Contents::Empty => return Ok(Copy::Empty),
        Contents::Ignored => return Ok(Copy::Ignored),
        Contents::Text(place) => place,
    };
    let mut text = Vec::new();
    for piece in &place.pieces {
        text.extend(window.read(piece.start, piece.len).map_err(unread)?);
    }
    area::check_text(&text, &place, at.offset).map_err(|error| error.to_string())?;
    let group = group::parse(&text).map_err(|error| unread(error.to_string()))?;
    Ok(Copy::Group(Box::new(group)))
}

enum Newest<'a> {
    Group(&'a VolumeGroup),
    /// The physical volume belongs to no group.
    NoGroup,
    /// No copy can be read, or they contradict each other.
    Unknown,
}

fn newest<'a>(copies: &'a [Copy], notes: &mut Vec<String>) -> Newest<'a> {
    let groups: Vec<&VolumeGroup> = copies
        .iter()
        .filter_map(|copy| match copy {
            Copy::Group(group) => Some(group.as_ref()),
            _ => None,
        })
        .collect();
    let Some(newest) = groups.iter().copied().max_by_key(|group| group.seqno) else {
        let all_empty = !copies.is_empty() && copies.iter().all(|copy| matches!(copy, Copy::Empty));
        if all_empty {
            return Newest::NoGroup;
        }
        if copies.iter().all(|copy| matches!(copy, Copy::Ignored)) {
            notes.push("this physical volume keeps no copy of its group's metadata".to_owned());
        }
        return Newest::Unknown;
    };
    for group in groups {
        if group.seqno < newest.seqno {
            notes.push(format!(
                "volume group {}: one copy of the metadata is older ({}) than the other ({})",
                newest.name, group.seqno, newest.seqno
            ));
        } else if group != newest {
            notes.push(format!(
                "two copies of the LVM metadata contradict each other at number {}",
                newest.seqno
            ));
            return Newest::Unknown;
        }
    }
    Newest::Group(newest)
}
