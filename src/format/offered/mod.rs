//! What a file or device is that is offered as a backing device, as far as its own bytes say: an image in a container
//! format, an archive, a stream, a part of something larger. Bytes in, names out; what follows from a name is decided
//! where the geometry is known.
//!
//! [`kinds`] knows what is never a volume by itself. [`member`] knows devices that carry another device at an offset:
//! parts of a RAID, caches. [`extent`] knows how long the file system at the start says it is.

pub mod extent;
pub mod kinds;
pub mod member;

/// Bytes from the start that are looked at.
pub const HEAD: usize = 8192;
/// Bytes before the end that are looked at.
pub const TAIL: usize = 512;

fn holds(bytes: &[u8], at: usize, word: &[u8]) -> bool {
    bytes.get(at..).is_some_and(|rest| rest.starts_with(word))
}

fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_le_bytes)
}

fn le64(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().copied().map(u64::from_le_bytes)
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_be_bytes)
}

fn be64(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().copied().map(u64::from_be_bytes)
}
