//! MBR partition tables with extended partitions and their chain of logical ones. Sectors of 512 bytes.
//!
//! Facts: the layout is de facto; checked against tables that sfdisk wrote.

use crate::model::extent::Extent;

/// Bytes per sector that the table counts in.
pub const SECTOR: u64 = 512;
/// Most logical partitions that are followed.
pub const MOST_LOGICAL: usize = 256;
const TABLE: usize = 446;
const EXTENDED: [u8; 3] = [0x05, 0x0f, 0x85];
const PROTECTIVE: u8 = 0xee;

/// One of the four entries of a table sector, in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Partition number: 1 to 4 for primary ones, from 5 for logical ones.
    pub number: u32,
    /// Type byte.
    pub kind: u8,
    /// Marked as the one to boot.
    pub active: bool,
    /// First sector, on the disk.
    pub first: u64,
    /// Number of sectors, not 0.
    pub sectors: u64,
}

impl Entry {
    /// The bytes of the partition on the disk.
    #[must_use]
    pub fn extent(&self) -> Extent {
        // Both are sums of a few 32-bit numbers.
        Extent { start: self.first * SECTOR, len: self.sectors * SECTOR }
    }

    /// Whether it only holds logical partitions.
    #[must_use]
    pub fn is_extended(&self) -> bool {
        EXTENDED.contains(&self.kind)
    }
}

/// What sector 0 says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The disk's signature; with the partition number it identifies a partition.
    pub disk: u32,
    /// The used entries among the four.
    pub primaries: Vec<Entry>,
}

impl Table {
    /// Whether it says that a GUID partition table is in force.
    #[must_use]
    pub fn is_protective(&self) -> bool {
        self.primaries.iter().any(|entry| entry.kind == PROTECTIVE)
    }
}

/// Reads sector 0. `None` when it is not a partition table: no `55 AA`, no used entry, entries that are none
/// (boot flag neither 0 nor 0x80), or the boot sector of a file system.
#[must_use]
pub fn table(sector: &[u8]) -> Option<Table> {
    let entries = entries(sector)?;
    // Boot sectors of these end in 55 AA, too, with code where the table would be.
    let holds = |at: usize, word: &[u8]| sector.get(at..).is_some_and(|rest| rest.starts_with(word));
    let file_system =
        holds(3, b"NTFS    ") || holds(3, b"EXFAT   ") || holds(54, b"FAT") || holds(82, b"FAT32");
    let primaries: Vec<Entry> = entries.into_iter().flatten().collect();
    let disk = sector.get(440..444).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes);
    (!file_system && !primaries.is_empty()).then_some(Table { disk, primaries })
}

/// The four entries of a table sector, numbered 1 to 4; `None` for unused ones.
fn entries(sector: &[u8]) -> Option<[Option<Entry>; 4]> {
    if sector.get(510..512) != Some(&[0x55, 0xaa]) {
        return None;
    }
    let (table, _) = sector.get(TABLE..510)?.as_chunks::<16>();
    let mut out = [None; 4];
    for ((slot, raw), number) in out.iter_mut().zip(table).zip(1..) {
        if raw[0] & 0x7f != 0 {
            return None;
        }
        let half = |at: usize| u32::from_le_bytes([raw[at], raw[at + 1], raw[at + 2], raw[at + 3]]);
        let (kind, first, sectors) = (raw[4], half(8).into(), half(12).into());
        if kind != 0 && sectors > 0 {
            *slot = Some(Entry { number, kind, active: raw[0] == 0x80, first, sectors });
        }
    }
    Some(out)
}

/// The logical partitions of an extended one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logical {
    /// The partitions, as far as the chain could be followed.
    pub entries: Vec<Entry>,
    /// The sectors that hold the chain's tables.
    pub tables: Vec<u64>,
    /// Why the chain could not be followed to its end.
    pub broken: Option<String>,
}

/// Follows the chain inside `extended`. `read` gives the sector of a number; partitions are numbered from `number`.
/// Reads at most [`MOST_LOGICAL`] sectors, each once.
///
/// # Errors
/// None: a chain that breaks gives what was found so far, and says why.
pub fn logical<E: std::fmt::Display>(
    extended: &Entry,
    number: u32,
    mut read: impl FnMut(u64) -> Result<Vec<u8>, E>,
) -> Logical {
    let mut found = Logical { entries: Vec::new(), tables: Vec::new(), broken: None };
    let inside = |sector: u64| (extended.first..extended.first + extended.sectors).contains(&sector);
    let mut next = Some(extended.first);
    while let Some(at) = next {
        let broken = if found.tables.contains(&at) {
            Some(format!("the chain of logical partitions runs in a circle at sector {at}"))
        } else if found.tables.len() >= MOST_LOGICAL {
            Some(format!("more than {MOST_LOGICAL} logical partitions"))
        } else if !inside(at) {
            Some(format!("the chain of logical partitions leaves the extended one, to sector {at}"))
        } else {
            None
        };
        if broken.is_some() {
            found.broken = broken;
            return found;
        }
        let table = match read(at) {
            Ok(sector) => entries(&sector),
            Err(error) => {
                found.broken = Some(format!("the table of logical partitions in sector {at}: {error}"));
                return found;
            }
        };
        let Some(table) = table else {
            found.broken =
                Some(format!("sector {at} should hold a table of logical partitions, but holds none"));
            return found;
        };
        found.tables.push(at);
        next = None;
        for entry in table.into_iter().flatten() {
            if entry.is_extended() {
                // Links count from the extended partition, and the first one holds.
                next = next.or(Some(extended.first + entry.first));
            } else {
                let taken = u32::try_from(found.entries.len()).unwrap_or(u32::MAX);
                found.entries.push(Entry {
                    number: number.saturating_add(taken),
                    first: at + entry.first,
                    ..entry
                });
            }
        }
    }
    found
}

/// What a partition type is called; `None` when it is not one of the common ones.
#[must_use]
pub fn kind_name(kind: u8) -> Option<&'static str> {
    Some(match kind {
        0x01 | 0x04 | 0x06 | 0x0e => "FAT16",
        0x07 => "NTFS/exFAT",
        0x0b | 0x0c => "FAT32",
        0x27 => "Windows recovery",
        0x82 => "Linux swap",
        0x83 => "Linux",
        0x8e => "Linux LVM",
        0xa5 => "FreeBSD",
        0xef => "EFI system",
        0xfd => "Linux RAID",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table sector with (type, first, sectors) entries.
    fn sector(entries: &[(u8, u32, u32)]) -> Vec<u8> {
        let mut out = vec![0; 512];
        for (slot, (kind, first, sectors)) in entries.iter().enumerate() {
            let at = TABLE + slot * 16;
            out[at + 4] = *kind;
            out[at + 8..at + 12].copy_from_slice(&first.to_le_bytes());
            out[at + 12..at + 16].copy_from_slice(&sectors.to_le_bytes());
        }
        out[510..].copy_from_slice(&[0x55, 0xaa]);
        out
    }

    fn extended() -> Entry {
        Entry { number: 4, kind: 5, active: false, first: 1000, sectors: 1000 }
    }

    fn follow(tables: &[(u64, Vec<u8>)]) -> Logical {
        logical(&extended(), 5, |at| {
            tables
                .iter()
                .find(|(place, _)| *place == at)
                .map(|(_, bytes)| bytes.clone())
                .ok_or("no such sector")
        })
    }

    #[test]
    fn a_chain_is_followed() {
        let found =
            follow(&[(1000, sector(&[(0x83, 8, 100), (5, 200, 150)])), (1200, sector(&[(0x82, 8, 142)]))]);
        assert_eq!(found.broken, None);
        assert_eq!(found.tables, [1000, 1200]);
        let seen: Vec<_> = found.entries.iter().map(|e| (e.number, e.kind, e.first, e.sectors)).collect();
        assert_eq!(seen, [(5, 0x83, 1008, 100), (6, 0x82, 1208, 142)]);
    }

    #[test]
    fn circles_and_breaks_end() {
        let circle = follow(&[(1000, sector(&[(0x83, 8, 9), (5, 0, 150)]))]);
        assert!(circle.broken.unwrap().contains("circle"));
        assert_eq!(circle.entries.len(), 1);
        let outside = follow(&[(1000, sector(&[(0x83, 8, 9), (5, u32::MAX, 150)]))]);
        assert!(outside.broken.unwrap().contains("leaves"));
        assert!(follow(&[(1000, vec![0; 512])]).broken.unwrap().contains("holds none"));
        assert!(follow(&[]).broken.unwrap().contains("no such sector"));
        let long = logical(&Entry { sectors: 1 << 20, ..extended() }, 5, |at| {
            Ok::<_, String>(sector(&[(0x83, 1, 1), (5, u32::try_from(at).unwrap() - 1000 + 2, 2)]))
        });
        assert_eq!(long.entries.len(), MOST_LOGICAL);
        assert!(long.broken.is_some());
    }

    #[test]
    fn boot_sectors_are_no_tables() {
        assert!(table(&sector(&[(0x83, 1, 1)])).is_some());
        assert!(table(&sector(&[])).is_none());
        let mut ntfs = sector(&[(0x83, 1, 1)]);
        ntfs[3..11].copy_from_slice(b"NTFS    ");
        assert!(table(&ntfs).is_none());
        let mut code = sector(&[(0x83, 1, 1)]);
        code[TABLE + 16] = 0x33;
        assert!(table(&code).is_none());
        assert!(table(&[]).is_none());
    }
}
