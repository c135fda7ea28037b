//! Devices that carry another device inside, often at an offset: members of a Linux RAID, and bcache. Who takes such a
//! device for the one inside reads and writes at wrong places, or past a cache.
//!
//! Facts: `mdp_superblock_1` and `mdp_superblock_s` of linux/raid/md_p.h; `cache_sb` of bcache's super-block.

use super::{be32, holds, le32, le64};
use crate::model::size::SECTOR;

/// What carries another device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// What it is: `a member of a Linux RAID`.
    pub what: &'static str,
    /// First byte of what it carries.
    pub start: u64,
    /// End of what it carries; `None` when that is where the device ends.
    pub end: Option<u64>,
    /// What to do. `{}` stands for the path, as a shell takes it.
    pub next: &'static str,
}

/// Bytes that [`md`] and [`old_md`] need.
pub const BLOCK: usize = 4096;
const RAID: &str = "a member of a Linux RAID, not the array";
const ASSEMBLE: &str =
    "mdadm --assemble --readonly /dev/md127 {}, then give /dev/md127 (a file needs `losetup` first)";
const MD: u32 = 0xa92b_4efc;
const BCACHE: &[u8; 16] = b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81";
const BCACHE_AT: usize = 4096;

/// What the first [`super::HEAD`] bytes say.
#[must_use]
pub fn at_start(head: &[u8]) -> Option<Member> {
    head.get(BCACHE_AT..).and_then(md).or_else(|| md(head)).or_else(|| bcache(head))
}

/// Where a superblock of a RAID may stand near the end of a device of `size` bytes: version 1.0, then 0.90.
#[must_use]
pub fn end_places(size: u64) -> [Option<u64>; 2] {
    let new = (size / SECTOR).checked_sub(16).map(|sectors| (sectors & !7) * SECTOR);
    let old = (size & !0xffff).checked_sub(0x1_0000);
    [new, old]
}

/// A superblock of version 1.
#[must_use]
pub fn md(block: &[u8]) -> Option<Member> {
    if le32(block, 0) != Some(MD) || le32(block, 4) != Some(1) {
        return None;
    }
    let start = le64(block, 128)?.checked_mul(SECTOR)?;
    let end = start.checked_add(le64(block, 136)?.checked_mul(SECTOR)?)?;
    Some(Member { what: RAID, start, end: Some(end), next: ASSEMBLE })
}

/// A superblock of version 0.90, which stands at `at`, behind what it carries. It has the byte order of its machine.
#[must_use]
pub fn old_md(block: &[u8], at: u64) -> Option<Member> {
    let words = |read: fn(&[u8], usize) -> Option<u32>| [0, 4, 8].map(|place| read(block, place));
    let known = [Some(MD), Some(0), Some(90)];
    let found = words(le32) == known || words(be32) == known;
    found.then_some(Member { what: RAID, start: 0, end: Some(at), next: ASSEMBLE })
}

fn bcache(head: &[u8]) -> Option<Member> {
    let sb = head.get(BCACHE_AT..)?;
    if !holds(sb, 24, BCACHE) {
        return None;
    }
    let (what, start) = match le64(sb, 16)? {
        1 => ("the backing device of a bcache, not the bcache", 16 * SECTOR),
        4 | 6 => ("the backing device of a bcache, not the bcache", le64(sb, 184)?.checked_mul(SECTOR)?),
        _ => ("the cache device of a bcache", 16 * SECTOR),
    };
    Some(Member { what, start, end: None, next: "give the bcache device itself, /dev/bcacheN" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version_1(start: u64, len: u64) -> Vec<u8> {
        let mut block = vec![0; BLOCK];
        block[..4].copy_from_slice(&MD.to_le_bytes());
        block[4] = 1;
        block[128..136].copy_from_slice(&(start / SECTOR).to_le_bytes());
        block[136..144].copy_from_slice(&(len / SECTOR).to_le_bytes());
        block
    }

    #[test]
    fn raid_members_say_what_they_carry() {
        let block = version_1(1 << 20, 3 << 20);
        for at in [0, BCACHE_AT] {
            let mut head = vec![0; super::super::HEAD];
            let len = block.len().min(head.len() - at);
            head[at..at + len].copy_from_slice(&block[..len]);
            let found = at_start(&head).unwrap();
            assert_eq!((found.start, found.end), (1 << 20, Some(4 << 20)));
        }
        let huge = version_1(u64::MAX / SECTOR * SECTOR, 1 << 20);
        assert_eq!(md(&huge), None, "no overflow");
        assert_eq!(md(&block[..130]), None, "cut off");
    }

    #[test]
    fn old_superblocks_of_both_byte_orders() {
        for order in [u32::to_le_bytes as fn(u32) -> [u8; 4], u32::to_be_bytes] {
            let mut block = vec![0; BLOCK];
            for (at, word) in [(0, MD), (4, 0), (8, 90)] {
                block[at..at + 4].copy_from_slice(&order(word));
            }
            assert_eq!(old_md(&block, 65536).unwrap().end, Some(65536));
        }
        assert_eq!(old_md(&[0; 64], 0), None);
        assert_eq!(end_places(4 << 20), [Some((4 << 20) - 8192), Some((4 << 20) - 65536)]);
        assert_eq!(end_places(100), [None, None]);
    }

    #[test]
    fn bcache_devices() {
        let mut head = vec![0; super::super::HEAD];
        head[BCACHE_AT + 24..BCACHE_AT + 40].copy_from_slice(BCACHE);
        head[BCACHE_AT + 16] = 4;
        head[BCACHE_AT + 184..BCACHE_AT + 192].copy_from_slice(&2048u64.to_le_bytes());
        assert_eq!(at_start(&head).unwrap().start, 1 << 20);
        head[BCACHE_AT + 16] = 1;
        assert_eq!(at_start(&head).unwrap().start, 8192);
        head[BCACHE_AT + 16] = 3;
        assert!(at_start(&head).unwrap().what.contains("cache device"));
        head[BCACHE_AT + 24] = 0;
        assert_eq!(at_start(&head), None);
    }
}
