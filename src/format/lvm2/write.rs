//! Writes a physical volume whose group has linear volumes only: for demonstrations and tests, on a disk that
//! holds nothing yet. LVM's own tools accept the result (`tests/layout/tools.rs`).

use super::metadata_area::{HEADER, MAGIC, VERSION};
use super::{SECTOR, checksum, dashed, label};
use crate::model::extent::Extent;
use std::fmt::Write as _;

/// Bytes at the start of the disk that are written; extents begin behind them.
pub const HEAD: u64 = 1 << 20;
/// Where the metadata area begins; it takes the rest of the first MiB.
const AREA: u64 = 4096;

/// LVM's identifier of a group, physical or logical volume: 32 letters and digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identifier([u8; 32]);

impl Identifier {
    /// An identifier made of 32 random bytes, or of any others that make it unique.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        const LETTERS: &[u8; 62] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
        Identifier(bytes.map(|byte| LETTERS[usize::from(byte) % LETTERS.len()]))
    }
}

impl std::fmt::Display for Identifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&dashed(&self.0).unwrap_or_default())
    }
}

/// A group to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeGroupSpec {
    /// Its name.
    pub name: String,
    /// Its identifier.
    pub id: Identifier,
    /// The identifier of its only physical volume.
    pub pv_id: Identifier,
    /// Size of the disk in bytes, a multiple of 512.
    pub device_size: u64,
    /// Size of an extent in bytes: a power of two, at least 4096.
    pub extent_size: u64,
    /// The volumes, allocated one behind the other.
    pub volumes: Vec<VolumeSpec>,
    /// When it was made, in seconds since 1970-01-01 UTC.
    pub created: i64,
}

/// A volume to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeSpec {
    /// Its name.
    pub name: String,
    /// Its identifier.
    pub id: Identifier,
    /// Its size: a multiple of the extent size, not 0.
    pub bytes: u64,
}

/// What is to be written, and where the volumes then are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// The first [`HEAD`] bytes of the disk.
    pub head: Vec<u8>,
    /// Each volume's bytes on the disk, in the order of the specification.
    pub volumes: Vec<Extent>,
}

/// Why a group cannot be written.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DescribeError {
    /// LVM does not take the name, or it is given twice.
    #[error(
        "`{name}` is not a name for LVM here: letters, digits, `.`, `_`, `-`, `+`, not starting with `-`, each once"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// A size that LVM does not take.
    #[error("{what} of {bytes} bytes: must be {rule}")]
    Size {
        /// Whose size.
        what: String,
        /// The size.
        bytes: u64,
        /// What it must be.
        rule: &'static str,
    },
    /// The volumes do not fit on the disk.
    #[error("the volumes take {need} extents, the disk has {have}")]
    Full {
        /// Extents that the volumes take.
        need: u64,
        /// Extents there are.
        have: u64,
    },
    /// The description is longer than its area.
    #[error("a description of {bytes} bytes is too long: use fewer volumes")]
    TooLong {
        /// How long.
        bytes: usize,
    },
}

/// Describes a group on one physical volume.
///
/// # Errors
/// [`DescribeError`] when LVM would not take it.
pub fn describe(spec: &VolumeGroupSpec) -> Result<Described, DescribeError> {
    check_names(spec)?;
    let size = |what: &str, bytes, rule| DescribeError::Size { what: what.to_owned(), bytes, rule };
    if !spec.extent_size.is_power_of_two() || !(4096..=1 << 32).contains(&spec.extent_size) {
        return Err(size("extents", spec.extent_size, "a power of two from 4096 bytes to 4 GiB"));
    }
    let have = spec.device_size.saturating_sub(HEAD) / spec.extent_size;
    if !spec.device_size.is_multiple_of(SECTOR) || !(1..=u64::from(u32::MAX)).contains(&have) {
        return Err(size(
            "disk",
            spec.device_size,
            "whole sectors, with room for 1 to 2^32 extents behind 1 MiB",
        ));
    }
    let mut firsts = Vec::new();
    let mut need: u64 = 0;
    for volume in &spec.volumes {
        if volume.bytes == 0 || !volume.bytes.is_multiple_of(spec.extent_size) {
            return Err(size(&volume.name, volume.bytes, "whole extents"));
        }
        firsts.push(need);
        need = need.saturating_add(volume.bytes / spec.extent_size);
    }
    if need > have {
        return Err(DescribeError::Full { need, have });
    }
    let text = text(spec, &firsts, have);
    let mut head = vec![0; HEAD as usize];
    put(&mut head, SECTOR, &label_sector(spec));
    put(&mut head, AREA, &area_header(&text));
    // The second half of the buffer stays free for LVM's next change.
    if text.len() as u64 > (HEAD - AREA - HEADER) / 2 {
        return Err(DescribeError::TooLong { bytes: text.len() });
    }
    put(&mut head, AREA + HEADER, &text);
    let volumes = spec
        .volumes
        .iter()
        .zip(firsts)
        .map(|(volume, first)| Extent { start: HEAD + first * spec.extent_size, len: volume.bytes });
    Ok(Described { head, volumes: volumes.collect() })
}

fn check_names(spec: &VolumeGroupSpec) -> Result<(), DescribeError> {
    let mut seen = std::collections::HashSet::new();
    for name in std::iter::once(&spec.name).chain(spec.volumes.iter().map(|volume| &volume.name)) {
        let fine = (1..=127).contains(&name.len())
            && !name.starts_with('-')
            && name != "."
            && name != ".."
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-+".contains(c));
        // A volume may be called like its group.
        let again = !std::ptr::eq(name, &spec.name) && !seen.insert(name);
        if !fine || again {
            return Err(DescribeError::Name { name: name.clone() });
        }
    }
    Ok(())
}

fn put(head: &mut [u8], at: u64, bytes: &[u8]) {
    let start = usize::try_from(at).unwrap_or(usize::MAX);
    if let Some(room) = start.checked_add(bytes.len()).and_then(|end| head.get_mut(start..end)) {
        room.copy_from_slice(bytes);
    }
}

/// Label and PV header: one data area from [`HEAD`] to the end, one metadata area, extension 2 with "in use".
fn label_sector(spec: &VolumeGroupSpec) -> Vec<u8> {
    let mut checked = Vec::new();
    checked.extend(32u32.to_le_bytes());
    checked.extend(label::TYPE);
    checked.extend(spec.pv_id.0);
    for word in [spec.device_size, HEAD, 0, 0, 0, AREA, HEAD - AREA, 0, 0] {
        checked.extend(word.to_le_bytes());
    }
    checked.extend(2u32.to_le_bytes());
    checked.extend(1u32.to_le_bytes());
    checked.resize(SECTOR as usize - label::CHECKED_FROM, 0);
    let mut out = label::MAGIC.to_vec();
    out.extend(1u64.to_le_bytes());
    out.extend(checksum(&[&checked]).to_le_bytes());
    out.extend(checked);
    out
}

fn area_header(text: &[u8]) -> Vec<u8> {
    let mut checked = MAGIC.to_vec();
    checked.extend(VERSION.to_le_bytes());
    for word in [AREA, HEAD - AREA, HEADER, text.len() as u64] {
        checked.extend(word.to_le_bytes());
    }
    checked.extend(checksum(&[text]).to_le_bytes());
    checked.resize(HEADER as usize - 4, 0);
    let mut out = checksum(&[&checked]).to_le_bytes().to_vec();
    out.extend(checked);
    out
}

/// The description, with the NUL that ends it.
fn text(spec: &VolumeGroupSpec, firsts: &[u64], extents: u64) -> Vec<u8> {
    let mut out = String::new();
    // Writing into a String cannot fail.
    let _ = write!(
        out,
        "{} {{\nid = \"{}\"\nseqno = 1\nformat = \"lvm2\"\nstatus = [\"RESIZEABLE\", \"READ\", \"WRITE\"]\nflags = []\n\
         extent_size = {}\nmax_lv = 0\nmax_pv = 0\nmetadata_copies = 0\n\nphysical_volumes {{\n\npv0 {{\nid = \"{}\"\n\
         device = \"unknown\"\n\nstatus = [\"ALLOCATABLE\"]\nflags = []\ndev_size = {}\npe_start = {}\n\
         pe_count = {extents}\n}}\n}}\n\n",
        spec.name,
        spec.id,
        spec.extent_size / SECTOR,
        spec.pv_id,
        spec.device_size / SECTOR,
        HEAD / SECTOR,
    );
    if !spec.volumes.is_empty() {
        out.push_str("logical_volumes {\n");
        for (volume, first) in spec.volumes.iter().zip(firsts) {
            let _ = write!(
                out,
                "\n{} {{\nid = \"{}\"\nstatus = [\"READ\", \"WRITE\", \"VISIBLE\"]\nflags = []\n\
                 creation_time = {}\ncreation_host = \"unsplit\"\nsegment_count = 1\n\nsegment1 {{\n\
                 start_extent = 0\nextent_count = {}\n\ntype = \"striped\"\nstripe_count = 1\n\n\
                 stripes = [\n\"pv0\", {first}\n]\n}}\n}}\n",
                volume.name,
                volume.id,
                spec.created,
                volume.bytes / spec.extent_size,
            );
        }
        out.push_str("}\n\n");
    }
    let _ = write!(
        out,
        "}}\n# Generated by unsplit\n\ncontents = \"Text Format Volume Group\"\nversion = 1\n\n\
         description = \"Made by unsplit.\"\n\ncreation_host = \"unsplit\"\ncreation_time = {}\n\n\0",
        spec.created,
    );
    out.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::super::{group, label, map, metadata_area};
    use super::*;

    fn spec() -> VolumeGroupSpec {
        let id = |seed: u8| Identifier::from_bytes(std::array::from_fn(|i| seed.wrapping_mul(31) ^ i as u8));
        VolumeGroupSpec {
            name: "demo".into(),
            id: id(1),
            pv_id: id(2),
            device_size: 64 << 20,
            extent_size: 4 << 20,
            volumes: vec![
                VolumeSpec { name: "vm-1".into(), id: id(3), bytes: 8 << 20 },
                VolumeSpec { name: "vm-2".into(), id: id(4), bytes: 4 << 20 },
            ],
            created: 1_700_000_000,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let described = describe(&spec()).unwrap();
        assert_eq!(described.head.len() as u64, HEAD);
        assert_eq!(described.volumes, [(1 << 20, 8 << 20).into(), (9 << 20, 4 << 20).into()]);
        let found = label::find(&described.head);
        assert_eq!(found.damaged, []);
        let label = found.label.unwrap();
        assert_eq!((label.pv_id.clone(), label.device_size), (spec().pv_id.to_string(), 64 << 20));
        let area = label.metadata[0];
        let header = &described.head[area.offset as usize..];
        let metadata_area::Contents::Text(place) = metadata_area::contents(header, area).unwrap() else {
            panic!("no text")
        };
        let text = &described.head[place.pieces[0].start as usize..][..place.pieces[0].len as usize];
        metadata_area::check_text(text, &place, area.offset).unwrap();
        let group = group::parse(text).unwrap();
        assert_eq!((group.name.as_str(), group.physical_volumes[0].pe_count), ("demo", 15));
        let mapped = map::on_device(&group, &label.pv_id).unwrap();
        assert_eq!(mapped.notes, [""; 0]);
        let maps: Vec<_> = mapped.units.iter().map(|unit| (unit.name.as_str(), unit.map.clone())).collect();
        assert_eq!(
            maps,
            [("demo/vm-1", vec![(0, described.volumes[0])]), ("demo/vm-2", vec![(0, described.volumes[1])])]
        );
    }

    #[test]
    fn what_lvm_would_not_take_is_refused() {
        let with = |change: fn(&mut VolumeGroupSpec)| {
            let mut spec = spec();
            change(&mut spec);
            describe(&spec).unwrap_err()
        };
        assert!(matches!(with(|s| s.volumes[1].name = "vm-1".into()), DescribeError::Name { .. }));
        assert!(matches!(with(|s| s.name = "a b".into()), DescribeError::Name { .. }));
        assert!(matches!(with(|s| s.volumes[0].bytes = 100), DescribeError::Size { .. }));
        assert!(matches!(with(|s| s.extent_size = 3 << 20), DescribeError::Size { .. }));
        assert!(matches!(with(|s| s.device_size = 1 << 20), DescribeError::Size { .. }));
        assert_eq!(with(|s| s.volumes[0].bytes = 60 << 20), DescribeError::Full { need: 16, have: 15 });
    }
}
