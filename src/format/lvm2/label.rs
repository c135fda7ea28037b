//! The label that makes a device a physical volume, and the PV header in the same sector.

use super::{SECTOR, checksum, dashed, u32_at, u64_at};

/// Sectors at the start of a device in which a label may stand.
pub const LABEL_SECTORS: usize = 4;
const SECTOR_BYTES: usize = SECTOR as usize;
pub(super) const MAGIC: &[u8; 8] = b"LABELONE";
pub(super) const TYPE: &[u8; 8] = b"LVM2 001";
/// The checksum covers the sector from here to its end.
pub(super) const CHECKED_FROM: usize = 20;

/// A part of the physical volume, in bytes from its start. A `size` of 0 means: to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Area {
    /// First byte.
    pub offset: u64,
    /// Number of bytes.
    pub size: u64,
}

/// A valid label with its PV header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// Sector the label stands in.
    pub sector: u64,
    /// The physical volume's UUID, with dashes.
    pub pv_id: String,
    /// Size of the device when the header was written, in bytes.
    pub device_size: u64,
    /// Where extents may be.
    pub data: Vec<Area>,
    /// Where copies of the volume group's description are kept.
    pub metadata: Vec<Area>,
    /// Where a boot loader may be embedded.
    pub bootloader: Vec<Area>,
}

/// Why a sector that says `LABELONE` is not a usable label.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LabelError {
    /// The checksum does not fit.
    #[error("LVM label in sector {sector}: checksum is {stored:#010x}, the sector gives {computed:#010x}")]
    Checksum {
        /// Where.
        sector: u64,
        /// What the label says.
        stored: u32,
        /// What its bytes give.
        computed: u32,
    },
    /// The label names another sector as its own: a copy that was moved.
    #[error("LVM label in sector {sector} says it belongs in sector {says}")]
    Moved {
        /// Where it stands.
        sector: u64,
        /// Where it says to stand.
        says: u64,
    },
    /// Not the type of LVM2.
    #[error("LVM label in sector {sector} is of an unknown type")]
    Type {
        /// Where.
        sector: u64,
    },
    /// The header behind the label cannot be read.
    #[error("LVM label in sector {sector}: {what}")]
    Header {
        /// Where.
        sector: u64,
        /// What is wrong.
        what: &'static str,
    },
}

/// What the first sectors of a device say.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The first valid label.
    pub label: Option<Label>,
    /// Labels that are not valid.
    pub damaged: Vec<LabelError>,
}

/// Looks for a label in the first [`LABEL_SECTORS`] sectors, given from byte 0 of the device.
#[must_use]
pub fn find(head: &[u8]) -> Found {
    let mut found = Found::default();
    for (number, sector) in (0..).zip(head.chunks_exact(SECTOR_BYTES).take(LABEL_SECTORS)) {
        if !sector.starts_with(MAGIC) {
            continue;
        }
        match parse(sector, number) {
            Ok(label) if found.label.is_none() => found.label = Some(label),
            Ok(_) => {}
            Err(error) => found.damaged.push(error),
        }
    }
    found
}

fn parse(bytes: &[u8], sector: u64) -> Result<Label, LabelError> {
    let header = |what| LabelError::Header { sector, what };
    let stored = u32_at(bytes, 16).ok_or(header("it is cut off"))?;
    let computed = checksum(&[bytes.get(CHECKED_FROM..).unwrap_or_default()]);
    // A fuzzer cannot guess checksums; what stands behind them must be safe all the same.
    if stored != computed && !cfg!(fuzzing) {
        return Err(LabelError::Checksum { sector, stored, computed });
    }
    let says = u64_at(bytes, 8).ok_or(header("it is cut off"))?;
    if says != sector {
        return Err(LabelError::Moved { sector, says });
    }
    if bytes.get(24..32) != Some(TYPE) {
        return Err(LabelError::Type { sector });
    }
    let at = u32_at(bytes, 20).and_then(|at| usize::try_from(at).ok()).ok_or(header("it is cut off"))?;
    let pv = bytes.get(at..).filter(|_| at >= 32).ok_or(header("the PV header is outside the sector"))?;
    let id = pv.first_chunk::<32>().ok_or(header("the PV header is cut off"))?;
    let pv_id = dashed(id).ok_or(header("the PV's UUID is not made of letters and digits"))?;
    let device_size = u64_at(pv, 32).ok_or(header("the PV header is cut off"))?;
    let lists = header("a list of areas runs out of the sector");
    let (data, at) =
        areas(pv, 40).ok_or(LabelError::Header { sector, what: "the list of data areas has no end" })?;
    let (metadata, at) = areas(pv, at).ok_or(lists)?;
    // The extension is optional: version 0 or the end of the sector means none.
    let bootloader = match u32_at(pv, at) {
        Some(1..) => areas(pv, at + 8).map(|(list, _)| list).unwrap_or_default(),
        _ => Vec::new(),
    };
    Ok(Label { sector, pv_id, device_size, data, metadata, bootloader })
}

/// Reads (offset, size) pairs up to the pair of zeros; gives the position behind it. Bounded by the sector.
fn areas(bytes: &[u8], mut at: usize) -> Option<(Vec<Area>, usize)> {
    let mut list = Vec::new();
    loop {
        let area = Area { offset: u64_at(bytes, at)?, size: u64_at(bytes, at + 8)? };
        at += 16;
        if area.offset == 0 {
            return Some((list, at));
        }
        list.push(area);
    }
}
