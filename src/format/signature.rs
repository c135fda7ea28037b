//! What stands at the start of a volume, for people: a file system, swap, encryption. A hint that decides nothing.
//!
//! Facts: the superblock layouts of the kernel's file systems, as `blkid` knows them.

/// Bytes from the start of a volume that [`content`] looks at; btrfs's superblock stands last.
pub const LOOKED_AT: usize = 65536 + 4096;

/// Names what the first bytes of a volume (up to [`LOOKED_AT`], fewer are fine) say to be.
#[must_use]
pub fn content(head: &[u8]) -> Option<&'static str> {
    let holds = |at: usize, word: &[u8]| head.get(at..).is_some_and(|rest| rest.starts_with(word));
    if holds(0, b"LUKS\xba\xbe") {
        return Some("LUKS");
    }
    if holds(0, b"XFSB") {
        return Some("xfs");
    }
    if holds(3, b"NTFS    ") {
        return Some("ntfs");
    }
    if holds(3, b"EXFAT   ") {
        return Some("exfat");
    }
    if holds(65536 + 64, b"_BHRfS_M") {
        return Some("btrfs");
    }
    if holds(1024 + 56, &[0x53, 0xef]) {
        return Some(ext(head));
    }
    if holds(4086, b"SWAPSPACE2") || holds(65526, b"SWAPSPACE2") {
        return Some("swap");
    }
    if (0..4).any(|sector| holds(sector * 512, b"LABELONE") && holds(sector * 512 + 24, b"LVM2")) {
        return Some("LVM physical volume");
    }
    if holds(4096, &[0xfc, 0x4e, 0x2b, 0xa9]) || holds(0, &[0xfc, 0x4e, 0x2b, 0xa9]) {
        return Some("Linux RAID member");
    }
    if holds(82, b"FAT32") || holds(54, b"FAT16") || holds(54, b"FAT12") {
        return Some("fat");
    }
    if holds(512, b"EFI PART") || holds(4096, b"EFI PART") {
        return Some("GPT disk");
    }
    super::mbr::table(head).map(|_| "MBR disk")
}

/// ext4 has one of its own incompatible features, ext3 a journal, ext2 neither.
fn ext(head: &[u8]) -> &'static str {
    const JOURNAL: u32 = 0x4;
    // Extents, 64 bit, flexible groups, inline data, encryption: what ext3 refuses to mount.
    const ONLY_EXT4: u32 = 0x40 | 0x80 | 0x200 | 0x8000 | 0x10000;
    let half = |at: usize| {
        head.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes)
    };
    if half(1024 + 96) & ONLY_EXT4 != 0 {
        "ext4"
    } else if half(1024 + 92) & JOURNAL != 0 {
        "ext3"
    } else {
        "ext2"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_at_their_places() {
        for (at, word, expected) in [
            (0, &b"LUKS\xba\xbe"[..], "LUKS"),
            (0, b"XFSB", "xfs"),
            (3, b"NTFS    ", "ntfs"),
            (65600, b"_BHRfS_M", "btrfs"),
            (1080, &[0x53, 0xef], "ext2"),
            (4086, b"SWAPSPACE2", "swap"),
        ] {
            let mut head = vec![0; LOOKED_AT];
            head[at..at + word.len()].copy_from_slice(word);
            assert_eq!(content(&head), Some(expected));
            assert_eq!(content(&head[..at + word.len() - 1]), None, "{expected}, cut off");
        }
        assert_eq!(content(&[]), None);
    }
}
