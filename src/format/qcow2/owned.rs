//! Whether a qcow2 file owns a byte of what it stands on: the byte's cluster has a reference count. So a volume that
//! holds a qcow2 file can be told from a qcow2 file that holds a volume.

use super::read::Bytes;
use super::{HEADER_V2, HEADER_V3, MAGIC, MAX_REFCOUNT_TABLE_ENTRIES, OFFSET};

/// Whose a byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The file's own: its header, a table, or content of its disk.
    File,
    /// Not the file's: it lies behind it.
    Nobody,
    /// The file is damaged or was not closed in order: its counts prove nothing.
    Unknown,
}

/// Who owns byte `at` of what begins with a qcow2 header. Reads a few words only.
pub fn owner(bytes: &impl Bytes, at: u64) -> Owner {
    counted(bytes, at).map_or(Owner::Unknown, |count| if count == 0 { Owner::Nobody } else { Owner::File })
}

/// The reference count of the cluster that holds byte `at`; `None` when it cannot be told.
fn counted(bytes: &impl Bytes, at: u64) -> Option<u64> {
    const DIRTY_OR_CORRUPT: u64 = 0b11;
    let header = read(bytes, 0, HEADER_V3)?;
    let half = |at: usize| header.get(at..)?.first_chunk().copied().map(u32::from_be_bytes);
    let word = |at: usize| header.get(at..)?.first_chunk().copied().map(u64::from_be_bytes);
    if half(0)? != MAGIC {
        return None;
    }
    let order = match half(4)? {
        2 => 4,
        3 if word(HEADER_V2)? & DIRTY_OR_CORRUPT == 0 => half(96)?,
        _ => return None,
    };
    let cluster_bits = half(20).filter(|bits| (9..=21).contains(bits))?;
    let order = Some(order).filter(|order| *order <= 6)?;
    let (table, clusters) = (word(48)?, u64::from(half(56)?));
    let entries = (clusters << cluster_bits) / 8;
    if entries == 0 || entries > MAX_REFCOUNT_TABLE_ENTRIES || table == 0 {
        return None;
    }
    let cluster = at >> cluster_bits;
    // A block of counts fills a cluster.
    let per_block = cluster_bits + 3 - order;
    let (number, within) = (cluster >> per_block, cluster & ((1 << per_block) - 1));
    if number >= entries {
        return Some(0);
    }
    let entry = read(bytes, table.checked_add(number * 8)?, 8)?;
    let block = u64::from_be_bytes(*entry.first_chunk()?) & OFFSET;
    if block == 0 {
        return Some(0);
    }
    let bit = within << order;
    let len = (1usize << order).div_ceil(8);
    let count = read(bytes, block.checked_add(bit / 8)?, len)?;
    let count = count.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
    Some(if order < 3 { count >> (bit % 8) & ((1 << (1 << order)) - 1) } else { count })
}

fn read(bytes: &impl Bytes, at: u64, len: usize) -> Option<Vec<u8>> {
    at.checked_add(len as u64).filter(|end| *end <= bytes.size())?;
    let mut buffer = vec![0; len];
    bytes.read_at(at, &mut buffer).ok().map(|()| buffer)
}
