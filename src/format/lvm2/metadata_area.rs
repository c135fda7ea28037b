//! A metadata area: a header and a circular buffer of texts, of which the newest is in force.

use super::label::Area;
use super::{checksum, u32_at, u64_at};
use crate::model::extent::Extent;

/// Size of the header; the circular buffer begins behind it.
pub const HEADER: u64 = 512;
/// Longest text that is read. LVM's default areas hold less than 1 MiB; 16 MiB describe some 50,000 volumes.
pub const LONGEST_TEXT: u64 = 16 << 20;
pub(super) const MAGIC: &[u8; 16] = b" LVM2 x[5A%r0N*>";
pub(super) const VERSION: u32 = 1;
const IGNORED: u32 = 1;

/// Where the text in force stands, and its checksum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextPlace {
    /// One piece, or two when the text runs over the end of the buffer; on the physical volume.
    pub pieces: Vec<Extent>,
    /// Checksum of all of it.
    pub checksum: u32,
}

/// What a header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contents {
    /// No text: the physical volume belongs to no volume group.
    Empty,
    /// The area is switched off (`--metadataignore`): its text is not kept up to date.
    Ignored,
    /// A text.
    Text(TextPlace),
}

/// Why a metadata area cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum MetadataAreaError {
    /// The header is shorter than 512 bytes.
    #[error("LVM metadata area at byte {at}: the header is cut off")]
    Short {
        /// Where.
        at: u64,
    },
    /// The header's checksum does not fit.
    #[error(
        "LVM metadata area at byte {at}: header checksum is {stored:#010x}, its bytes give {computed:#010x}"
    )]
    HeaderChecksum {
        /// Where.
        at: u64,
        /// What the header says.
        stored: u32,
        /// What its bytes give.
        computed: u32,
    },
    /// Magic or version is not LVM2's.
    #[error("LVM metadata area at byte {at}: not a header of version 1")]
    NotOurs {
        /// Where.
        at: u64,
    },
    /// The header names another place or size than the label.
    #[error("LVM metadata area at byte {at}: the header says it is {len} bytes at byte {start}")]
    Moved {
        /// Where it stands.
        at: u64,
        /// Where it says to stand.
        start: u64,
        /// What size it says to have.
        len: u64,
    },
    /// The text would stand outside the area, or is larger than any text.
    #[error("LVM metadata area at byte {at}: a text of {size} bytes at {offset} does not fit in")]
    TextPlace {
        /// Where the area is.
        at: u64,
        /// Where in it the text would begin.
        offset: u64,
        /// How long it would be.
        size: u64,
    },
    /// The text's checksum does not fit.
    #[error(
        "LVM metadata area at byte {at}: text checksum is {stored:#010x}, its bytes give {computed:#010x}"
    )]
    TextChecksum {
        /// Where the area is.
        at: u64,
        /// What the header says.
        stored: u32,
        /// What the bytes give.
        computed: u32,
    },
}

/// Reads the header (the area's first [`HEADER`] bytes) of the area that the label names.
///
/// # Errors
/// [`MetadataAreaError`] when it is not intact, or names places outside the area.
pub fn contents(bytes: &[u8], area: Area) -> Result<Contents, MetadataAreaError> {
    let at = area.offset;
    let short = MetadataAreaError::Short { at };
    let Some(header) = bytes.get(..HEADER as usize) else { return Err(short) };
    let word = |from: usize| u64_at(header, from).unwrap_or_default();
    let half = |from: usize| u32_at(header, from).unwrap_or_default();
    let (stored, computed) = (half(0), checksum(&[header.get(4..).unwrap_or_default()]));
    if stored != computed && !cfg!(fuzzing) {
        return Err(MetadataAreaError::HeaderChecksum { at, stored, computed });
    }
    if header.get(4..20) != Some(MAGIC) || half(20) != VERSION {
        return Err(MetadataAreaError::NotOurs { at });
    }
    let (start, len) = (word(24), word(32));
    if start != area.offset || len != area.size || len <= HEADER || start.checked_add(len).is_none() {
        return Err(MetadataAreaError::Moved { at, start, len });
    }
    // The first slot is the committed text; the second, a precommitted one, is not in force.
    let (offset, size) = (word(40), word(48));
    if offset == 0 {
        return Ok(Contents::Empty);
    }
    if half(60) & IGNORED != 0 {
        return Ok(Contents::Ignored);
    }
    let outside = MetadataAreaError::TextPlace { at, offset, size };
    if offset < HEADER || offset >= len || size == 0 || size > (len - HEADER).min(LONGEST_TEXT) {
        return Err(outside);
    }
    let first = size.min(len - offset);
    let mut pieces = vec![Extent { start: start + offset, len: first }];
    if first < size {
        pieces.push(Extent { start: start + HEADER, len: size - first });
        // A text that runs into its own beginning is not one.
        if size - first > offset - HEADER {
            return Err(outside);
        }
    }
    Ok(Contents::Text(TextPlace { pieces, checksum: half(56) }))
}

/// Checks the text's bytes, in one piece, against the header. `at` is where the area stands, for the error.
///
/// # Errors
/// [`MetadataAreaError::TextChecksum`].
pub fn check_text(bytes: &[u8], place: &TextPlace, at: u64) -> Result<(), MetadataAreaError> {
    let (stored, computed) = (place.checksum, checksum(&[bytes]));
    if stored == computed || cfg!(fuzzing) {
        Ok(())
    } else {
        Err(MetadataAreaError::TextChecksum { at, stored, computed })
    }
}
