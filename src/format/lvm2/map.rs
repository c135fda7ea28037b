//! Which bytes of one physical volume belong to which logical volume.

use super::group::{AreaStart, LogicalVolume, PhysicalVolume, Segment, SegmentKind, VolumeGroup};
use crate::model::extent::Extent;
use crate::model::unit::{Unit, UnitKind};
use std::collections::{HashMap, HashSet};

/// Most pieces (stripe chunks) all volumes of one device are cut into: about 32 MiB of memory. Volumes
/// beyond it are opaque.
pub const MOST_PIECES: usize = 1 << 20;
/// Most notes about volumes of one group.
const MOST_NOTES: usize = 50;

/// What a group keeps on one of its devices. Byte positions on that device, not cut to its size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnDevice {
    /// Where extents are.
    pub extents: Extent,
    /// Volumes with at least one extent here, in the order of the text. They may overlap when the text is wrong.
    pub units: Vec<Unit>,
    /// What could not be mapped or lies elsewhere.
    pub notes: Vec<String>,
}

/// Why a group says nothing about a device.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum MapError {
    /// The device is not one of the group's.
    #[error("volume group {group} does not name physical volume {pv_id} as its own")]
    NotAMember {
        /// The group's name.
        group: String,
        /// The device's UUID.
        pv_id: String,
    },
    /// The device's extents end beyond any device.
    #[error("volume group {group}: the extents of physical volume {pv_id} end beyond any device")]
    TooLarge {
        /// The group's name.
        group: String,
        /// The device's UUID.
        pv_id: String,
    },
}

/// Maps the volumes of `group` onto its device with the UUID `pv_id`.
///
/// # Errors
/// [`MapError`]. What is wrong with single volumes becomes a note, and the volume opaque.
pub fn on_device(group: &VolumeGroup, pv_id: &str) -> Result<OnDevice, MapError> {
    let fail = || (group.name.clone(), pv_id.to_owned());
    let Some(device) = group.physical_volumes.iter().find(|pv| pv.id == pv_id) else {
        let (group, pv_id) = fail();
        return Err(MapError::NotAMember { group, pv_id });
    };
    let end = device.pe_count.checked_mul(group.extent_size).and_then(|len| device.pe_start.checked_add(len));
    let Some(end) = end else {
        let (group, pv_id) = fail();
        return Err(MapError::TooLarge { group, pv_id });
    };
    let mut mapper = Mapper {
        group,
        device,
        devices: group.physical_volumes.iter().map(|pv| pv.name.as_str()).collect(),
        users: users(group),
        pieces: 0,
        notes: Vec::new(),
    };
    let units = group.logical_volumes.iter().filter_map(|volume| mapper.unit(volume)).collect();
    let mut notes = mapper.notes;
    if device.missing {
        notes.push(format!("volume group {} has this physical volume marked as missing", group.name));
    }
    if notes.len() > MOST_NOTES {
        let more = notes.len() - MOST_NOTES;
        notes.truncate(MOST_NOTES);
        notes.push(format!("volume group {}: {more} more notes like these", group.name));
    }
    Ok(OnDevice { extents: Extent::between(device.pe_start, end), units, notes })
}

/// For each volume that a segment of another one names: that other one, its segment type, and the key.
fn users(group: &VolumeGroup) -> HashMap<&str, (&str, &str, &str)> {
    let mut users = HashMap::new();
    for volume in &group.logical_volumes {
        for segment in &volume.segments {
            if let SegmentKind::Other { kind, volumes, .. } = &segment.kind {
                for (key, name) in volumes {
                    users.entry(name.as_str()).or_insert((volume.name.as_str(), kind.as_str(), key.as_str()));
                }
            }
        }
    }
    users
}

struct Mapper<'a> {
    group: &'a VolumeGroup,
    device: &'a PhysicalVolume,
    devices: HashSet<&'a str>,
    users: HashMap<&'a str, (&'a str, &'a str, &'a str)>,
    pieces: usize,
    notes: Vec<String>,
}

impl Mapper<'_> {
    fn unit(&mut self, volume: &LogicalVolume) -> Option<Unit> {
        let (mut map, mut elsewhere, mut opaque, mut odd) = (Vec::new(), 0u64, None, false);
        for segment in &volume.segments {
            let taken = self.segment(segment, &mut map);
            elsewhere = elsewhere.saturating_add(taken.elsewhere);
            // A thin volume has no extents of its own anywhere; that is no news about this device.
            odd |= taken.opaque.is_some() && !matches!(segment.kind, SegmentKind::Other { .. });
            opaque = opaque.or(taken.opaque);
        }
        map.sort_unstable();
        // LVM keeps a snapshot hidden in the text, but lists it like any other volume.
        let listed = volume.visible || self.is_snapshot(volume);
        let shown = if listed { volume.name.clone() } else { format!("[{}]", volume.name) };
        let name = format!("{}/{shown}", self.group.name);
        if elsewhere > 0 && !map.is_empty() {
            self.notes.push(format!("{name}: {elsewhere} of its extents are on other physical volumes"));
        }
        if let Some(why) = opaque.as_ref().filter(|_| odd || !map.is_empty()) {
            self.notes.push(format!("{name}: {why}"));
        }
        if map.is_empty() {
            return None;
        }
        let content = self.part_of(volume);
        let kind =
            if opaque.is_some() || content.is_some() { UnitKind::Opaque } else { UnitKind::LogicalVolume };
        Some(Unit { name, kind, identity: volume.id.clone(), map, content })
    }

    fn is_snapshot(&self, volume: &LogicalVolume) -> bool {
        matches!(self.users.get(volume.name.as_str()), Some((_, "snapshot", "cow_store" | "merging_store")))
    }

    /// For internal volumes: whose part it is.
    fn part_of(&self, volume: &LogicalVolume) -> Option<String> {
        match self.users.get(volume.name.as_str()) {
            // A snapshot's blocks are nothing without its origin's; its origin is an ordinary volume.
            Some((_, "snapshot", "cow_store")) => Some("changes of a snapshot".to_owned()),
            Some((_, "snapshot", "merging_store")) => {
                Some("changes of a snapshot that is being merged".to_owned())
            }
            Some((user, kind, _)) if !volume.visible => Some(format!("part of {kind} {user}")),
            _ if !volume.visible => Some("internal volume".to_owned()),
            _ => None,
        }
    }

    fn segment(&mut self, segment: &Segment, map: &mut Vec<(u64, Extent)>) -> Taken {
        let at = segment.start.checked_mul(self.group.extent_size);
        let fits = at.is_some_and(|at| {
            segment.count.checked_mul(self.group.extent_size).and_then(|len| at.checked_add(len)).is_some()
        });
        let Some(at) = at.filter(|_| fits) else {
            return Taken::opaque("a segment ends beyond any volume's size");
        };
        match &segment.kind {
            SegmentKind::Striped { stripe_size, stripes } => {
                self.striped(at, segment.count, *stripe_size, stripes, map)
            }
            SegmentKind::Other { kind, areas, .. } => {
                let mut taken = Taken::opaque(format!("segments of type {kind} are not mapped"));
                for area in areas {
                    match self.place(area, segment.count) {
                        Place::Here(extent) => map.push((at, extent)),
                        Place::Elsewhere => taken.elsewhere = taken.elsewhere.saturating_add(segment.count),
                        Place::Unclear(_) => {}
                    }
                }
                taken
            }
        }
    }

    fn striped(
        &mut self,
        at: u64,
        count: u64,
        stripe_size: u64,
        stripes: &[AreaStart],
        map: &mut Vec<(u64, Extent)>,
    ) -> Taken {
        let mut taken = Taken::default();
        let turn = u64::try_from(stripes.len()).unwrap_or(u64::MAX);
        let (whole, each) = (count.is_multiple_of(turn), count / turn);
        for (number, stripe) in (0u64..).zip(stripes) {
            let extent = match self.place(stripe, each) {
                Place::Here(extent) => extent,
                Place::Elsewhere => {
                    taken.elsewhere = taken.elsewhere.saturating_add(each);
                    continue;
                }
                Place::Unclear(why) => {
                    taken.opaque.get_or_insert(why);
                    continue;
                }
            };
            if turn == 1 {
                map.push((at, extent));
                continue;
            }
            let chunks = extent.len.checked_div(stripe_size).unwrap_or(u64::MAX);
            let room = u64::try_from(MOST_PIECES.saturating_sub(self.pieces)).unwrap_or(0);
            if !whole || stripe_size == 0 || !extent.len.is_multiple_of(stripe_size) {
                map.push((at, extent));
                taken.opaque.get_or_insert("its stripes do not divide its extents".to_owned());
            } else if chunks > room {
                map.push((at, extent));
                taken.opaque.get_or_insert("it has too many stripes to be mapped one by one".to_owned());
            } else {
                self.pieces += usize::try_from(chunks).unwrap_or(usize::MAX);
                map.extend((0..chunks).map(|chunk| {
                    let inside = at + (chunk * turn + number) * stripe_size;
                    (inside, Extent { start: extent.start + chunk * stripe_size, len: stripe_size })
                }));
            }
        }
        taken
    }

    /// Where `count` extents from the start of an area are on our device.
    fn place(&self, area: &AreaStart, count: u64) -> Place {
        if area.on != self.device.name {
            return if self.devices.contains(area.on.as_str()) {
                Place::Elsewhere
            } else {
                Place::Unclear(format!("its data is moving, or inside another volume, {}", area.on))
            };
        }
        let size = self.group.extent_size;
        if area.first.checked_add(count).is_none_or(|end| end > self.device.pe_count) {
            return Place::Unclear(format!(
                "extents {} and following, {count} of them, are beyond the {} of the physical volume",
                area.first, self.device.pe_count
            ));
        }
        // The end of all extents was checked to be a number, so these are.
        let start = self.device.pe_start.saturating_add(area.first.saturating_mul(size));
        let len = count.saturating_mul(size);
        if len == 0 {
            Place::Unclear("a segment without extents".to_owned())
        } else {
            Place::Here(Extent { start, len })
        }
    }
}

/// What a segment took.
#[derive(Debug, Default)]
struct Taken {
    /// Extents on other devices.
    elsewhere: u64,
    /// Why its volume cannot be mapped.
    opaque: Option<String>,
}

impl Taken {
    fn opaque(why: impl Into<String>) -> Self {
        Taken { elsewhere: 0, opaque: Some(why.into()) }
    }
}

enum Place {
    Here(Extent),
    Elsewhere,
    Unclear(String),
}
