//! GUID partition tables.
//!
//! Facts: UEFI Specification 2.10, chapter 5 (GPT disk layout), and what sgdisk wrote.

use crate::model::extent::Extent;

/// Most entries a table may have. The usual number is 128.
pub const MOST_ENTRIES: u32 = 4096;
/// Largest entry, in bytes. The usual size is 128.
pub const LARGEST_ENTRY: u32 = 4096;
/// Sizes of logical sectors a disk may have.
pub const SECTOR_SIZES: [u64; 2] = [512, 4096];
const SMALLEST_HEADER: u32 = 92;
const SIGNATURE: &[u8; 8] = b"EFI PART";
const REVISION_1: u32 = 0x0001_0000;

/// A GUID in the byte order of the disk, printed in the mixed order people know.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Guid(pub [u8; 16]);

impl std::fmt::Display for Guid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
        for (number, at) in ORDER.into_iter().enumerate() {
            if [4, 6, 8, 10].contains(&number) {
                f.write_str("-")?;
            }
            write!(f, "{:02X}", self.0[at])?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Guid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

/// A header, primary or backup. Sector numbers count logical sectors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Bytes per logical sector.
    pub sector_size: u64,
    /// Sector the header stands in.
    pub at: u64,
    /// Sector of the other header.
    pub other: u64,
    /// First sector partitions may use.
    pub first_usable: u64,
    /// Last sector partitions may use.
    pub last_usable: u64,
    /// The disk's GUID.
    pub disk: Guid,
    /// First sector of the entries.
    pub entries_at: u64,
    /// Number of entries, used or not.
    pub entries: u32,
    /// Bytes per entry.
    pub entry_size: u32,
    /// Checksum of the entries.
    pub entries_checksum: u32,
}

/// A used entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Partition number, from 1.
    pub number: u32,
    /// What it is for.
    pub kind: Guid,
    /// Its own GUID.
    pub guid: Guid,
    /// First sector.
    pub first: u64,
    /// Last sector, included.
    pub last: u64,
    /// Attribute bits.
    pub attributes: u64,
    /// Its name; may be empty.
    pub name: String,
}

/// Why a sector that says `EFI PART`, or its entries, cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum GptError {
    /// The header's checksum does not fit.
    #[error("GPT header in sector {at}: checksum is {stored:#010x}, its bytes give {computed:#010x}")]
    HeaderChecksum {
        /// Sector of the header.
        at: u64,
        /// What it says.
        stored: u32,
        /// What its bytes give.
        computed: u32,
    },
    /// A field makes no sense.
    #[error("GPT header in sector {at}: {field} is {value}")]
    Field {
        /// Sector of the header.
        at: u64,
        /// Which field.
        field: &'static str,
        /// What it says.
        value: u64,
    },
    /// The entries' checksum does not fit.
    #[error(
        "GPT entries of the header in sector {at}: checksum is {stored:#010x}, their bytes give {computed:#010x}"
    )]
    EntriesChecksum {
        /// Sector of the header.
        at: u64,
        /// What the header says.
        stored: u32,
        /// What the bytes give.
        computed: u32,
    },
    /// Fewer bytes than the entries need.
    #[error("GPT entries of the header in sector {at}: {got} bytes where {need} were expected")]
    EntriesShort {
        /// Sector of the header.
        at: u64,
        /// How many were given.
        got: usize,
        /// How many it takes.
        need: u64,
    },
    /// A partition whose end is before its start.
    #[error("GPT partition {number}: ends in sector {last}, before it starts in sector {first}")]
    Backwards {
        /// Its number.
        number: u32,
        /// First sector.
        first: u64,
        /// Last sector.
        last: u64,
    },
}

/// Whether a sector claims to be a GPT header.
#[must_use]
pub fn is_header(sector: &[u8]) -> bool {
    sector.starts_with(SIGNATURE)
}

/// Reads the header in sector number `at` of a disk whose sectors are as large as the slice.
///
/// # Errors
/// [`GptError`] when the checksum or a field does not fit. Without the signature: a wrong `signature` field.
pub fn header(sector: &[u8], at: u64) -> Result<Header, GptError> {
    let field = |field, value| GptError::Field { at, field, value };
    let (half, word) = (|from| u32_at(sector, from), |from| u64_at(sector, from));
    if !is_header(sector) {
        return Err(field("the signature", word(0)));
    }
    if half(8) != REVISION_1 {
        return Err(field("the revision", half(8).into()));
    }
    let size = half(12);
    let body = usize::try_from(size).ok().and_then(|size| sector.get(..size));
    let Some(body) = body.filter(|_| size >= SMALLEST_HEADER) else {
        return Err(field("the header's size", size.into()));
    };
    // The checksum counts itself as zeros.
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&body[..16]);
    hasher.update(&[0; 4]);
    hasher.update(&body[20..]);
    let (stored, computed) = (half(16), hasher.finalize());
    // A fuzzer cannot guess checksums; what stands behind them must be safe all the same.
    if stored != computed && !cfg!(fuzzing) {
        return Err(GptError::HeaderChecksum { at, stored, computed });
    }
    if word(24) != at {
        return Err(field("its own sector number", word(24)));
    }
    let (entries, entry_size) = (half(80), half(84));
    if entries > MOST_ENTRIES {
        return Err(field("the number of entries", entries.into()));
    }
    if !(128..=LARGEST_ENTRY).contains(&entry_size) || !entry_size.is_multiple_of(128) {
        return Err(field("the size of an entry", entry_size.into()));
    }
    let header = Header {
        sector_size: sector.len() as u64,
        at,
        other: word(32),
        first_usable: word(40),
        last_usable: word(48),
        disk: guid_at(sector, 56),
        entries_at: word(72),
        entries,
        entry_size,
        entries_checksum: half(88),
    };
    if header.entries_extent().is_none() {
        return Err(field("the sector of the entries", word(72)));
    }
    Ok(header)
}

impl Header {
    /// Bytes of all entries.
    #[must_use]
    pub fn entries_len(&self) -> u64 {
        u64::from(self.entries) * u64::from(self.entry_size)
    }

    /// Where the entries stand, in bytes, in whole sectors. `None` when that is not behind sector 1 or beyond any disk.
    #[must_use]
    pub fn entries_extent(&self) -> Option<Extent> {
        let start = self.entries_at.checked_mul(self.sector_size).filter(|_| self.entries_at > 1)?;
        let len = self.entries_len().next_multiple_of(self.sector_size);
        start.checked_add(len).map(|_| Extent { start, len })
    }

    /// The used entries among the bytes at [`Header::entries_extent`].
    ///
    /// # Errors
    /// [`GptError`] when the checksum does not fit or a partition ends before it starts.
    pub fn used_entries(&self, bytes: &[u8]) -> Result<Vec<Entry>, GptError> {
        let need = self.entries_len();
        let short = GptError::EntriesShort { at: self.at, got: bytes.len(), need };
        let Some(bytes) = usize::try_from(need).ok().and_then(|need| bytes.get(..need)) else {
            return Err(short);
        };
        let (stored, computed) = (self.entries_checksum, crc32fast::hash(bytes));
        if stored != computed && !cfg!(fuzzing) {
            return Err(GptError::EntriesChecksum { at: self.at, stored, computed });
        }
        (1..)
            .zip(bytes.chunks_exact(self.entry_size as usize))
            .filter(|(_, entry)| entry[..16] != [0; 16])
            .map(|(number, entry)| {
                let (first, last) = (u64_at(entry, 32), u64_at(entry, 40));
                if last < first {
                    return Err(GptError::Backwards { number, first, last });
                }
                let (kind, guid) = (guid_at(entry, 0), guid_at(entry, 16));
                Ok(Entry {
                    number,
                    kind,
                    guid,
                    first,
                    last,
                    attributes: u64_at(entry, 48),
                    name: name(&entry[56..128]),
                })
            })
            .collect()
    }

    /// The bytes of a partition; `None` when they are beyond any disk.
    #[must_use]
    pub fn extent(&self, entry: &Entry) -> Option<Extent> {
        let start = entry.first.checked_mul(self.sector_size)?;
        let end = entry.last.checked_add(1)?.checked_mul(self.sector_size)?;
        Some(Extent::between(start, end))
    }
}

/// What a partition type is called; `None` when it is not one of the common ones.
#[must_use]
pub fn kind_name(kind: &Guid) -> Option<&'static str> {
    Some(match kind.to_string().as_str() {
        "C12A7328-F81F-11D2-BA4B-00A0C93EC93B" => "EFI system",
        "21686148-6449-6E6F-744E-656564454649" => "BIOS boot",
        "0FC63DAF-8483-4772-8E79-3D69D8477DE4" => "Linux file system",
        "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F" => "Linux swap",
        "E6D6D379-F507-44C2-A23C-238F2A3DF928" => "Linux LVM",
        "A19D880F-05FC-4D3B-A006-743F0F84911E" => "Linux RAID",
        "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709" => "Linux root (x86-64)",
        "B921B045-1DF0-41C3-AF44-4C6F280D3FAE" => "Linux root (arm64)",
        "933AC7E1-2EB4-4F13-B844-0E14E2AEF915" => "Linux home",
        "CA7D7CCB-63ED-4C53-861C-1742536059CC" => "LUKS",
        "BC13C2FF-59E6-4262-A352-B275FD6F7172" => "Linux extended boot",
        "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7" => "Windows data",
        "E3C9E316-0B5C-4DB8-817D-F92DF00215AE" => "Windows reserved",
        "DE94BBA4-06D1-4D40-A16A-BFD50179D6AC" => "Windows recovery",
        "6A898CC3-1DD2-11B2-99A6-080020736631" => "ZFS",
        "516E7CBA-6ECF-11D6-8FF8-00022D09712B" => "FreeBSD ZFS",
        "516E7CB6-6ECF-11D6-8FF8-00022D09712B" => "FreeBSD UFS",
        _ => return None,
    })
}

/// UTF-16 up to the first NUL; what is not a character is replaced, control characters are left out.
fn name(bytes: &[u8]) -> String {
    let units =
        bytes.as_chunks::<2>().0.iter().map(|pair| u16::from_le_bytes(*pair)).take_while(|unit| *unit != 0);
    char::decode_utf16(units)
        .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
        .filter(|c| !c.is_control())
        .collect()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes)
}

fn guid_at(bytes: &[u8], at: usize) -> Guid {
    Guid(bytes.get(at..at + 16).and_then(|b| b.try_into().ok()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guids_print_in_mixed_order() {
        let bytes =
            [0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47, 0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d, 0xe4];
        assert_eq!(Guid(bytes).to_string(), "0FC63DAF-8483-4772-8E79-3D69D8477DE4");
        assert_eq!(kind_name(&Guid(bytes)), Some("Linux file system"));
    }

    #[test]
    fn a_short_or_foreign_sector_is_an_error() {
        for sector in [&b""[..], b"EFI PART", &[0; 512], &[0xff; 4096]] {
            assert!(header(sector, 1).is_err());
        }
    }
}
