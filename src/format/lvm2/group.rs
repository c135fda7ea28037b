//! A volume group as its text describes it.

use super::SECTOR;
use super::text::{Section, TextError, Value};

/// A volume group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeGroup {
    /// Its name.
    pub name: String,
    /// Its UUID, with dashes.
    pub id: String,
    /// Grows with every change: of two copies the higher one is in force.
    pub seqno: u64,
    /// Size of a physical extent, in bytes. Never 0.
    pub extent_size: u64,
    /// The devices it is made of.
    pub physical_volumes: Vec<PhysicalVolume>,
    /// Its volumes, hidden ones included.
    pub logical_volumes: Vec<LogicalVolume>,
}

/// A device of the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhysicalVolume {
    /// What the text calls it: `pv0`.
    pub name: String,
    /// Its UUID, with dashes.
    pub id: String,
    /// Where extent 0 begins, in bytes.
    pub pe_start: u64,
    /// Number of extents.
    pub pe_count: u64,
    /// Whether the group was told that it is missing.
    pub missing: bool,
}

/// A volume of the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogicalVolume {
    /// Its name, without the group's.
    pub name: String,
    /// Its UUID, with dashes.
    pub id: String,
    /// Whether it is there for use; hidden ones are parts of others.
    pub visible: bool,
    /// Its segments, in the order of the text.
    pub segments: Vec<Segment>,
}

/// A run of a volume's extents that are allocated the same way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// First extent inside the volume.
    pub start: u64,
    /// Number of extents of the volume.
    pub count: u64,
    /// How they are allocated.
    pub kind: SegmentKind,
}

/// How a segment is allocated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SegmentKind {
    /// Linear (one stripe) or striped.
    Striped {
        /// Bytes on one stripe before the next one's turn; 0 when there is one stripe.
        stripe_size: u64,
        /// Where each stripe begins.
        stripes: Vec<AreaStart>,
    },
    /// Thin, RAID, mirror, snapshot, cache, VDO, ...: not mapped here.
    Other {
        /// LVM's word for it.
        kind: String,
        /// Extents it takes directly, if any: pairs of a device's or volume's name and a first extent.
        areas: Vec<AreaStart>,
        /// Volumes it names, with the key it names them under: (`pool`, `data`'s value) and so on.
        volumes: Vec<(String, String)>,
    },
}

/// Where a stripe begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AreaStart {
    /// The name of a physical volume (`pv0`), or of another logical volume.
    pub on: String,
    /// First extent there.
    pub first: u64,
}

/// Why a text is not the description of a volume group.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum GroupError {
    /// The text does not follow the grammar.
    #[error(transparent)]
    Text(#[from] TextError),
    /// Not the kind or version that LVM2 writes.
    #[error("LVM text: not a volume group's description of version 1")]
    Kind,
    /// There are none, or several, sections that could be the group.
    #[error("LVM text: {count} sections where one volume group was expected")]
    Groups {
        /// How many.
        count: usize,
    },
    /// A value is missing or makes no sense.
    #[error("LVM text: {of}: `{key}` is missing or makes no sense")]
    Field {
        /// Whose: group, device, volume, segment.
        of: String,
        /// Which.
        key: &'static str,
    },
}

/// Reads the text of a metadata area.
///
/// # Errors
/// [`GroupError`]. A segment type that is not known is not an error.
pub fn parse(bytes: &[u8]) -> Result<VolumeGroup, GroupError> {
    let root = super::text::parse(bytes)?;
    if root.text("contents") != Some("Text Format Volume Group") || root.number("version") != Some(1) {
        return Err(GroupError::Kind);
    }
    let mut groups = root.sections();
    match (groups.next(), groups.count()) {
        (Some((name, section)), 0) => group(name, section),
        (first, rest) => Err(GroupError::Groups { count: usize::from(first.is_some()) + rest }),
    }
}

fn field<T>(of: &str, key: &'static str, value: Option<T>) -> Result<T, GroupError> {
    value.ok_or_else(|| GroupError::Field { of: of.to_owned(), key })
}

/// Sectors as bytes, if that is a number.
fn bytes(sectors: u64) -> Option<u64> {
    sectors.checked_mul(SECTOR)
}

fn group(name: &str, section: &Section) -> Result<VolumeGroup, GroupError> {
    let extent_size = section.number("extent_size").filter(|size| *size > 0).and_then(bytes);
    let volumes = |key| section.section(key).into_iter().flat_map(Section::sections);
    Ok(VolumeGroup {
        name: name.to_owned(),
        id: field(name, "id", section.text("id"))?.to_owned(),
        seqno: field(name, "seqno", section.number("seqno"))?,
        extent_size: field(name, "extent_size", extent_size)?,
        physical_volumes: volumes("physical_volumes")
            .map(|(pv, section)| physical(pv, section))
            .collect::<Result<_, _>>()?,
        logical_volumes: volumes("logical_volumes")
            .map(|(lv, section)| logical(lv, section))
            .collect::<Result<_, _>>()?,
    })
}

fn says(section: &Section, key: &str, word: &str) -> bool {
    section.list(key).unwrap_or_default().iter().any(|flag| matches!(flag, Value::Text(flag) if flag == word))
}

fn physical(name: &str, section: &Section) -> Result<PhysicalVolume, GroupError> {
    Ok(PhysicalVolume {
        name: name.to_owned(),
        id: field(name, "id", section.text("id"))?.to_owned(),
        pe_start: field(name, "pe_start", section.number("pe_start").and_then(bytes))?,
        pe_count: field(name, "pe_count", section.number("pe_count"))?,
        missing: says(section, "flags", "MISSING") || says(section, "status", "MISSING"),
    })
}

fn logical(name: &str, section: &Section) -> Result<LogicalVolume, GroupError> {
    let segments: Vec<Segment> =
        section.sections().map(|(_, segment)| self::segment(name, segment)).collect::<Result<_, _>>()?;
    let count = u64::try_from(segments.len()).ok();
    field(name, "segment_count", section.number("segment_count").filter(|said| Some(*said) == count))?;
    Ok(LogicalVolume {
        name: name.to_owned(),
        id: field(name, "id", section.text("id"))?.to_owned(),
        visible: says(section, "status", "VISIBLE"),
        segments,
    })
}

fn segment(of: &str, section: &Section) -> Result<Segment, GroupError> {
    let kind = field(of, "type", section.text("type"))?;
    // "striped+FLAG" carries a compatibility flag that changes how old LVMs treat it: not ours to map.
    let kind = if kind == "striped" { striped(of, section)? } else { other(kind, section) };
    Ok(Segment {
        start: field(of, "start_extent", section.number("start_extent"))?,
        count: field(of, "extent_count", section.number("extent_count").filter(|count| *count > 0))?,
        kind,
    })
}

fn striped(of: &str, section: &Section) -> Result<SegmentKind, GroupError> {
    let stripes = field(of, "stripes", section.list("stripes").and_then(starts))?;
    let said = section.number("stripe_count").filter(|said| u64::try_from(stripes.len()).ok() == Some(*said));
    field(of, "stripe_count", said.filter(|count| *count > 0))?;
    let stripe_size = match stripes.len() {
        1 => 0,
        _ => {
            field(of, "stripe_size", section.number("stripe_size").filter(|size| *size > 0).and_then(bytes))?
        }
    };
    Ok(SegmentKind::Striped { stripe_size, stripes })
}

/// A list of pairs of a name and an extent number.
fn starts(list: &[Value]) -> Option<Vec<AreaStart>> {
    let (pairs, []) = list.as_chunks::<2>() else { return None };
    pairs
        .iter()
        .map(|pair| match pair {
            [Value::Text(on), Value::Integer(first)] => {
                Some(AreaStart { on: on.clone(), first: u64::try_from(*first).ok()? })
            }
            _ => None,
        })
        .collect()
}

/// What an unmapped segment takes and names: any list may hold names, each with or without an extent number.
fn other(kind: &str, section: &Section) -> SegmentKind {
    let (mut areas, mut volumes) = (Vec::new(), Vec::new());
    for (key, value) in section.iter() {
        match value {
            Value::Text(name) if key != "type" => volumes.push((key.to_owned(), name.clone())),
            Value::List(list) => {
                for (at, item) in list.iter().enumerate() {
                    let Value::Text(on) = item else { continue };
                    volumes.push((key.to_owned(), on.clone()));
                    if let Some(Value::Integer(first)) = list.get(at + 1)
                        && let Ok(first) = u64::try_from(*first)
                    {
                        areas.push(AreaStart { on: on.clone(), first });
                    }
                }
            }
            _ => {}
        }
    }
    SegmentKind::Other { kind: kind.to_owned(), areas, volumes }
}
