//! Reads qcow2 files: those of [`super::layout`], and plain ones of qemu-img. Written without looking at how the
//! writer thinks: it walks L1 and L2 tables as QEMU does. Every offset is checked against the file before it is used.
//!
//! Compressed clusters, encryption, external data files, other compression, extended L2 entries, and files marked
//! dirty or corrupt are refused with their names.

use super::{
    COMPRESSED, COPIED, EXTENSION_BACKING_FORMAT, HEADER_V2, HEADER_V3, MAGIC, MAX_BACKING, MAX_L1_ENTRIES,
    OFFSET, ZERO,
};
use crate::model::extent::{Extent, ExtentSet};

/// Bytes of a file at hand.
pub trait Bytes {
    /// Why a read failed.
    type Fault: std::error::Error + 'static;
    /// Bytes of the file.
    fn size(&self) -> u64;
    /// Fills the buffer from `offset`; the range is inside [`Self::size`].
    ///
    /// # Errors
    /// Whatever went wrong.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Self::Fault>;
}

/// A slice ended early: cannot be, the reader asks inside its size only.
#[derive(Debug, thiserror::Error)]
#[error("the slice ended early")]
pub struct SliceEnded;

impl Bytes for &[u8] {
    type Fault = SliceEnded;
    fn size(&self) -> u64 {
        self.len() as u64
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), SliceEnded> {
        let from = usize::try_from(offset).map_err(|_| SliceEnded)?;
        let bytes = self.get(from..).and_then(|rest| rest.get(..buffer.len())).ok_or(SliceEnded)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }
}

/// Why a qcow2 file cannot be read. `F` is why the bytes under it could not.
#[derive(Debug, thiserror::Error)]
pub enum Qcow2Fault<F: std::error::Error + 'static> {
    /// The bytes could not be read.
    #[error("{len} bytes at byte {offset} of the file cannot be read")]
    Read {
        /// Offset in the file.
        offset: u64,
        /// How many.
        len: u64,
        /// Why.
        #[source]
        source: F,
    },
    /// It is no qcow2 file, or its header contradicts itself.
    #[error("the header is wrong: {0}")]
    Header(&'static str),
    /// A feature that this reader does not know, by its name.
    #[error("the file uses {0}, which is not supported here: convert it with `qemu-img convert -O qcow2`")]
    Unsupported(&'static str),
    /// The file is shorter than its tables say, or an entry is damaged.
    #[error("the {table} entry for byte {guest} of the volume is damaged: {entry:#018x}")]
    Entry {
        /// `L1` or `L2`.
        table: &'static str,
        /// First guest byte the entry is for.
        guest: u64,
        /// The entry.
        entry: u64,
    },
    /// More tables or clusters in use than the file has room for.
    #[error("the tables use more clusters than the file has")]
    Crowded,
    /// The file does not store this byte of the volume: its backing file would.
    #[error("byte {0} of the volume is not stored in the file")]
    Absent(u64),
    /// A defect of the caller.
    #[error("{len} bytes at byte {offset} are outside the volume of {size} bytes")]
    Outside {
        /// First byte.
        offset: u64,
        /// How many.
        len: u64,
        /// Size of the volume.
        size: u64,
    },
}

/// Where bytes of the volume are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the file, from this offset on.
    Stored(u64),
    /// Nowhere: they are zeros.
    Zero,
    /// In the backing file, or zeros without one.
    Absent,
}

/// An opened file.
#[derive(Debug)]
pub struct Image<B> {
    bytes: B,
    version: u32,
    cluster_bits: u32,
    virtual_size: u64,
    l1_offset: u64,
    l1_entries: u64,
    backing: Option<String>,
    backing_format: Option<String>,
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

/// Names of the incompatible features of version 3, by bit.
const INCOMPATIBLE: [&str; 5] = [
    "the mark `dirty`",
    "the mark `corrupt`",
    "an external data file",
    "another compression",
    "extended L2 entries",
];

impl<B: Bytes> Image<B> {
    /// Reads and checks the header.
    ///
    /// # Errors
    /// [`Qcow2Fault`].
    pub fn open(bytes: B) -> Result<Self, Qcow2Fault<B::Fault>> {
        use Qcow2Fault::{Header, Unsupported};
        let size = bytes.size();
        let fixed = fetch(&bytes, 0, size.min(HEADER_V3 as u64))?;
        let short = || Header("the file is too short");
        if u32_at(&fixed, 0) != Some(MAGIC) {
            return Err(Header("no qcow2 magic number at byte 0"));
        }
        let version = u32_at(&fixed, 4).ok_or_else(short)?;
        let header_len = match version {
            2 => HEADER_V2,
            3 => u32_at(&fixed, 100).and_then(|len| usize::try_from(len).ok()).ok_or_else(short)?,
            _ => return Err(Unsupported("a version other than 2 and 3")),
        };
        let cluster_bits = u32_at(&fixed, 20).ok_or_else(short)?;
        if !(9..=21).contains(&cluster_bits) {
            return Err(Header("the cluster size is not between 512 bytes and 2 MiB"));
        }
        let cluster = 1u64 << cluster_bits;
        if version == 3 {
            if header_len < HEADER_V3 || !header_len.is_multiple_of(8) || header_len as u64 > cluster {
                return Err(Header("the header's length is wrong"));
            }
            let features = u64_at(&fixed, 72).ok_or_else(short)?;
            if features != 0 {
                let bit = features.trailing_zeros() as usize;
                return Err(Unsupported(INCOMPATIBLE.get(bit).copied().unwrap_or("an unknown feature")));
            }
        }
        let field32 = |at| u32_at(&fixed, at).ok_or_else(short);
        let field64 = |at| u64_at(&fixed, at).ok_or_else(short);
        let virtual_size = field64(24)?;
        if field32(32)? != 0 {
            return Err(Unsupported("encryption"));
        }
        let (l1_entries, l1_offset) = (u64::from(field32(36)?), field64(40)?);
        let span = cluster * (cluster / 8);
        if l1_entries > MAX_L1_ENTRIES || l1_entries < virtual_size.div_ceil(span) {
            return Err(Header("the L1 table's size does not fit the volume's size"));
        }
        let l1_end = l1_offset.checked_add(l1_entries * 8);
        if !l1_offset.is_multiple_of(cluster) || l1_end.is_none_or(|end| end > size) {
            return Err(Header("the L1 table is not inside the file"));
        }
        let first_cluster = fetch(&bytes, 0, size.min(cluster))?;
        let backing = match (field64(8)?, field32(16)?) {
            (0, _) => None,
            (at, len) => {
                let (at, len) = (usize::try_from(at).unwrap_or(usize::MAX), len as usize);
                let name = at.checked_add(len).and_then(|end| first_cluster.get(at..end));
                let name =
                    name.filter(|_| len <= MAX_BACKING).ok_or(Header("the backing file's name is wrong"))?;
                Some(
                    String::from_utf8(name.to_vec())
                        .map_err(|_| Header("the backing file's name is not UTF-8"))?,
                )
            }
        };
        let backing_format = extensions(&first_cluster, header_len)
            .find(|(kind, _)| *kind == EXTENSION_BACKING_FORMAT)
            .map(|(_, text)| String::from_utf8_lossy(text).into_owned());
        Ok(Image {
            bytes,
            version,
            cluster_bits,
            virtual_size,
            l1_offset,
            l1_entries,
            backing,
            backing_format,
        })
    }

    /// Size of the volume, bytes.
    #[must_use]
    pub fn virtual_size(&self) -> u64 {
        self.virtual_size
    }

    /// Bytes of a cluster.
    #[must_use]
    pub fn cluster(&self) -> u64 {
        1 << self.cluster_bits
    }

    /// The backing file's name, as it is in the header.
    #[must_use]
    pub fn backing(&self) -> Option<&str> {
        self.backing.as_deref()
    }

    /// The backing file's format, if the header names one.
    #[must_use]
    pub fn backing_format(&self) -> Option<&str> {
        self.backing_format.as_deref()
    }

    /// Everything that the file itself stores, zero clusters included; clipped to the volume.
    ///
    /// # Errors
    /// [`Qcow2Fault`]. The work is bounded by the file's size.
    pub fn allocated(&self) -> Result<ExtentSet, Qcow2Fault<B::Fault>> {
        let (cluster, span) = (self.cluster(), self.cluster() * (self.cluster() / 8));
        let room = self.bytes.size().div_ceil(cluster);
        let (mut tables, mut clusters) = (0u64, 0u64);
        let mut set = ExtentSet::empty();
        // Entries beyond the volume may be there after a shrink; they hold nothing of it.
        let entries = self.l1_entries.min(self.virtual_size.div_ceil(span));
        let per_read = 8192;
        for from in (0..entries).step_by(8192) {
            let count = per_read.min(entries - from);
            let l1 = fetch(&self.bytes, self.l1_offset + from * 8, count * 8)?;
            for (index, entry) in (from..).zip(l1.chunks_exact(8)) {
                let guest = index * span;
                let Some(table) = self.l2_offset(guest, u64_at(entry, 0).unwrap_or(0))? else { continue };
                tables += 1;
                if tables > room {
                    return Err(Qcow2Fault::Crowded);
                }
                let l2 = fetch(&self.bytes, table, cluster)?;
                for (slot, entry) in (0..).zip(l2.chunks_exact(8)) {
                    let at = guest + slot * cluster;
                    if at >= self.virtual_size {
                        break;
                    }
                    match self.place(at, u64_at(entry, 0).unwrap_or(0))? {
                        Place::Absent => continue,
                        Place::Stored(_) => clusters += 1,
                        Place::Zero => {}
                    }
                    if clusters > room {
                        return Err(Qcow2Fault::Crowded);
                    }
                    set.push(Extent::between(at, (at + cluster).min(self.virtual_size)));
                }
            }
        }
        Ok(set)
    }

    /// Where the bytes `[offset, offset + len)` of the volume are: adjacent ascending stretches.
    ///
    /// # Errors
    /// [`Qcow2Fault`].
    pub fn places(&self, offset: u64, len: u64) -> Result<Vec<(Extent, Place)>, Qcow2Fault<B::Fault>> {
        let end = offset.checked_add(len).filter(|end| *end <= self.virtual_size);
        let Some(end) = end else {
            return Err(Qcow2Fault::Outside { offset, len, size: self.virtual_size });
        };
        let (cluster, span) = (self.cluster(), self.cluster() * (self.cluster() / 8));
        let mut out: Vec<(Extent, Place)> = Vec::new();
        for part in Extent::between(offset, end).pieces(span) {
            let index = part.start / span;
            let guest = index * span;
            let entry = fetch(&self.bytes, self.l1_offset + index * 8, 8)?;
            let Some(table) = self.l2_offset(guest, u64_at(&entry, 0).unwrap_or(0))? else {
                join(&mut out, part, Place::Absent);
                continue;
            };
            let first = (part.start - guest) / cluster;
            let count = (part.end() - guest).div_ceil(cluster) - first;
            let slots = fetch(&self.bytes, table + first * 8, count * 8)?;
            for (piece, entry) in part.pieces(cluster).zip(slots.chunks_exact(8)) {
                let place = match self.place(piece.start, u64_at(entry, 0).unwrap_or(0))? {
                    Place::Stored(host) => {
                        let host = host + piece.start % cluster;
                        if host.checked_add(piece.len).is_none_or(|end| end > self.bytes.size()) {
                            let entry = u64_at(entry, 0).unwrap_or(0);
                            return Err(Qcow2Fault::Entry { table: "L2", guest: piece.start, entry });
                        }
                        Place::Stored(host)
                    }
                    other => other,
                };
                join(&mut out, piece, place);
            }
        }
        Ok(out)
    }

    /// Fills the buffer with the volume's bytes from `offset`, all of which the file must store itself.
    ///
    /// # Errors
    /// [`Qcow2Fault`], of which [`Qcow2Fault::Absent`] names the first byte that only a backing file has.
    pub fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Qcow2Fault<B::Fault>> {
        let mut rest = buffer;
        for (extent, place) in self.places(offset, rest.len() as u64)? {
            let len = usize::try_from(extent.len).unwrap_or(usize::MAX).min(rest.len());
            let (part, behind) = rest.split_at_mut(len);
            match place {
                Place::Stored(host) => self.bytes.read_at(host, part).map_err(|source| Qcow2Fault::Read {
                    offset: host,
                    len: extent.len,
                    source,
                })?,
                Place::Zero => part.fill(0),
                Place::Absent => return Err(Qcow2Fault::Absent(extent.start)),
            }
            rest = behind;
        }
        Ok(())
    }

    /// The L2 table an L1 entry points to.
    fn l2_offset(&self, guest: u64, entry: u64) -> Result<Option<u64>, Qcow2Fault<B::Fault>> {
        let offset = entry & OFFSET;
        let inside = offset.checked_add(self.cluster()).is_some_and(|end| end <= self.bytes.size());
        if entry == 0 {
            Ok(None)
        } else if entry & !(OFFSET | COPIED) == 0
            && offset != 0
            && offset.is_multiple_of(self.cluster())
            && inside
        {
            Ok(Some(offset))
        } else {
            Err(Qcow2Fault::Entry { table: "L1", guest, entry })
        }
    }

    /// What an L2 entry says.
    fn place(&self, guest: u64, entry: u64) -> Result<Place, Qcow2Fault<B::Fault>> {
        if entry & COMPRESSED != 0 {
            return Err(Qcow2Fault::Unsupported("compressed clusters"));
        }
        let flags = if self.version >= 3 { COPIED | ZERO } else { COPIED };
        let offset = entry & OFFSET;
        if entry & !(OFFSET | flags) != 0
            || !offset.is_multiple_of(self.cluster())
            || offset >= self.bytes.size()
        {
            return Err(Qcow2Fault::Entry { table: "L2", guest, entry });
        }
        Ok(if entry & ZERO != 0 && self.version >= 3 {
            Place::Zero
        } else if offset == 0 {
            Place::Absent
        } else {
            Place::Stored(offset)
        })
    }
}

/// Reads `len` bytes; the callers have bounded `len` by the file's size or a cluster.
fn fetch<B: Bytes>(bytes: &B, offset: u64, len: u64) -> Result<Vec<u8>, Qcow2Fault<B::Fault>> {
    if offset.checked_add(len).is_none_or(|end| end > bytes.size()) {
        return Err(Qcow2Fault::Header("a table is not inside the file"));
    }
    let mut buffer = vec![0; usize::try_from(len).unwrap_or(0)];
    bytes.read_at(offset, &mut buffer).map_err(|source| Qcow2Fault::Read { offset, len, source })?;
    Ok(buffer)
}

/// Appends a stretch, merged with the one before where they continue each other.
fn join(out: &mut Vec<(Extent, Place)>, extent: Extent, place: Place) {
    if let Some((last, last_place)) = out.last_mut() {
        let continues = match (*last_place, place) {
            (Place::Stored(before), Place::Stored(host)) => before.checked_add(last.len) == Some(host),
            (before, now) => before == now,
        };
        if continues && last.end() == extent.start {
            last.len += extent.len;
            return;
        }
    }
    out.push((extent, place));
}

/// The header extensions, as far as they are well-formed.
fn extensions(first_cluster: &[u8], mut at: usize) -> impl Iterator<Item = (u32, &[u8])> {
    std::iter::from_fn(move || {
        let kind = u32_at(first_cluster, at).filter(|kind| *kind != 0)?;
        let len = usize::try_from(u32_at(first_cluster, at.checked_add(4)?)?).ok()?;
        let start = at.checked_add(8)?;
        let data = first_cluster.get(start..start.checked_add(len)?)?;
        at = start.checked_add(len.checked_next_multiple_of(8)?)?;
        Some((kind, data))
    })
}

#[cfg(test)]
mod tests {
    use super::super::layout::Layout;
    use super::*;

    fn file(size: u64, extents: &[(u64, u64)], backing: Option<&str>) -> (Layout, Vec<u8>) {
        let set = extents.iter().map(|&pair| Extent::from(pair)).collect();
        let layout = Layout::new(size, &set, backing).unwrap();
        let mut bytes = vec![0; usize::try_from(layout.file_size()).unwrap()];
        let mut tables = layout.tables();
        let filled = tables.fill(&mut bytes);
        assert_eq!(filled as u64, layout.data_offset());
        for (at, byte) in bytes[filled..].iter_mut().enumerate() {
            *byte = u8::try_from(at / 4096 % 251 + 1).unwrap();
        }
        (layout, bytes)
    }

    #[test]
    fn reads_what_the_layout_says() {
        let extents = [(0, 4096), (8192, 8192), ((2 << 20) - 4096, 8192), ((1 << 30) - 4096, 4096)];
        let (_, bytes) = file(1 << 30, &extents, Some("/dev/vg/survivor"));
        let image = Image::open(bytes.as_slice()).unwrap();
        assert_eq!(image.virtual_size(), 1 << 30);
        assert_eq!((image.backing(), image.backing_format()), (Some("/dev/vg/survivor"), Some("raw")));
        let want: ExtentSet = extents.iter().map(|&pair| Extent::from(pair)).collect();
        assert_eq!(image.allocated().unwrap(), want);
        let mut buffer = vec![0; 8192];
        image.read((2 << 20) - 4096, &mut buffer).unwrap();
        assert_eq!((buffer[0], buffer[8191]), (4, 5));
        image.read(8192 + 100, &mut buffer[..10]).unwrap();
        assert_eq!(buffer[..10], [2; 10]);
        assert!(matches!(image.read(4096, &mut buffer), Err(Qcow2Fault::Absent(4096))));
        assert!(matches!(image.read(1 << 30, &mut buffer), Err(Qcow2Fault::Outside { .. })));
    }

    #[test]
    fn a_cut_file_is_an_error_at_every_length() {
        let (layout, bytes) = file(4 << 20, &[(0, 4096), (3 << 20, 4096)], Some("/x"));
        assert!(bytes.len() as u64 == layout.file_size());
        for len in (0..bytes.len()).step_by(64) {
            let cut = &bytes[..len];
            let readable = Image::open(cut).and_then(|image| {
                image.read(0, &mut [0; 4096])?;
                image.read(3 << 20, &mut [0; 4096])
            });
            assert!(readable.is_err(), "cut to {len}");
        }
    }

    #[test]
    fn tables_that_share_are_refused() {
        let (layout, mut bytes) = file(1 << 30, &[(0, 4096)], None);
        let l1 = usize::try_from(layout.data_offset() - 2 * 4096).unwrap();
        let entry: [u8; 8] = bytes[l1..l1 + 8].try_into().unwrap();
        for slot in bytes[l1..l1 + 4096].chunks_exact_mut(8) {
            slot.copy_from_slice(&entry);
        }
        assert!(matches!(Image::open(bytes.as_slice()).unwrap().allocated(), Err(Qcow2Fault::Crowded)));
    }
}
