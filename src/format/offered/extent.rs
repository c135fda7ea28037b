//! How long the file system at the start of a volume says it is. One that is longer than the volume stands on something
//! else than the volume.
//!
//! Facts: the superblocks of ext2 to ext4, XFS, NTFS and exFAT, as their specifications lay them out.

use super::{be32, be64, holds, le32, le64};

/// A file system and its length in bytes, from the first [`super::HEAD`] bytes. `None`: none of those that are known.
#[must_use]
pub fn file_system(head: &[u8]) -> Option<(&'static str, u64)> {
    ext(head).or_else(|| xfs(head)).or_else(|| ntfs(head)).or_else(|| exfat(head))
}

fn ext(head: &[u8]) -> Option<(&'static str, u64)> {
    const SIXTY_FOUR_BITS: u32 = 0x80;
    let sb = head.get(1024..)?;
    if !holds(sb, 56, &[0x53, 0xef]) {
        return None;
    }
    let block = 1024u64.checked_shl(le32(sb, 24).filter(|log| *log <= 6)?)?;
    let high = if le32(sb, 96)? & SIXTY_FOUR_BITS == 0 { 0 } else { le32(sb, 336)? };
    let blocks = u64::from(high) << 32 | u64::from(le32(sb, 4)?);
    Some(("an ext2, ext3 or ext4 file system", blocks.checked_mul(block)?))
}

fn xfs(head: &[u8]) -> Option<(&'static str, u64)> {
    if !holds(head, 0, b"XFSB") {
        return None;
    }
    let block = be32(head, 4).filter(|size| size.is_power_of_two() && (512..=65536).contains(size))?;
    Some(("an XFS file system", be64(head, 8)?.checked_mul(block.into())?))
}

fn ntfs(head: &[u8]) -> Option<(&'static str, u64)> {
    if !holds(head, 3, b"NTFS    ") {
        return None;
    }
    let sector = u16::from_le_bytes(*head.get(11..)?.first_chunk()?);
    let sector = Some(sector).filter(|size| size.is_power_of_two() && (256..=4096).contains(size))?;
    Some(("an NTFS file system", le64(head, 40)?.checked_mul(sector.into())?))
}

fn exfat(head: &[u8]) -> Option<(&'static str, u64)> {
    if !holds(head, 3, b"EXFAT   ") {
        return None;
    }
    let shift = head.get(108).filter(|shift| (9..=12).contains(*shift))?;
    Some(("an exFAT file system", le64(head, 72)?.checked_mul(1 << shift)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths() {
        let mut head = vec![0; super::super::HEAD];
        head[..4].copy_from_slice(b"XFSB");
        head[4..8].copy_from_slice(&4096u32.to_be_bytes());
        head[8..16].copy_from_slice(&100u64.to_be_bytes());
        assert_eq!(file_system(&head).unwrap().1, 409_600);
        head[8..16].copy_from_slice(&u64::MAX.to_be_bytes());
        assert_eq!(file_system(&head), None, "no overflow");
        let mut head = vec![0; super::super::HEAD];
        head[1024 + 56..1024 + 58].copy_from_slice(&[0x53, 0xef]);
        head[1024 + 24] = 2;
        head[1024 + 4] = 50;
        head[1024 + 336] = 1;
        assert_eq!(file_system(&head).unwrap().1, 50 * 4096);
        head[1024 + 96] = 0x80;
        assert_eq!(file_system(&head).unwrap().1, ((1 << 32) + 50) * 4096);
        head[1024 + 24] = 200;
        assert_eq!(file_system(&head), None);
        assert_eq!(file_system(&[]), None);
    }
}
