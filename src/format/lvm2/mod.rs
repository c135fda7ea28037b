//! LVM2's on-disk structures: label, metadata areas, and the text in them. Byte positions are relative to
//! the start of the physical volume.
//!
//! Facts: `lib/format_text/layout.h`, `lib/label/label.h`, `libdm/libdm-config.c` of LVM 2.03, and what its tools
//! wrote on loop devices.

pub mod group;
pub mod label;
pub mod map;
pub mod metadata_area;
pub mod text;
pub mod write;

/// Sectors LVM counts in, whatever the device's own sector size.
pub(crate) const SECTOR: u64 = 512;

/// LVM's CRC: the common CRC-32 polynomial, but started at `0xf597a6cf` and not inverted at the end.
pub(crate) fn checksum(pieces: &[&[u8]]) -> u32 {
    const START: u32 = 0xf597_a6cf;
    // crc32fast inverts before and after; undoing both gives the plain register.
    let mut hasher = crc32fast::Hasher::new_with_initial(!START);
    pieces.iter().for_each(|piece| hasher.update(piece));
    !hasher.finalize()
}

/// Little-endian `u32` at `at`; `None` behind the end.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let end = at.checked_add(4)?;
    bytes.get(at..end)?.try_into().ok().map(u32::from_le_bytes)
}

/// Little-endian `u64` at `at`; `None` behind the end.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let end = at.checked_add(8)?;
    bytes.get(at..end)?.try_into().ok().map(u64::from_le_bytes)
}

/// LVM's printed form of a 32-character identifier: groups of 6-4-4-4-4-4-6 with dashes between.
pub(crate) fn dashed(id: &[u8; 32]) -> Option<String> {
    let fine = id.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'!' || *byte == b'#');
    let mut out = String::with_capacity(38);
    for (at, byte) in id.iter().enumerate() {
        if (6..30).contains(&at) && (at - 6) % 4 == 0 {
            out.push('-');
        }
        out.push(*byte as char);
    }
    fine.then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_printed_as_lvm_does() {
        // From a physical volume made by pvcreate, and the text vgcreate wrote about it.
        assert_eq!(
            dashed(b"iHcyevxC7EcKGNXf9i4ycacMccIUalAS").as_deref(),
            Some("iHcyev-xC7E-cKGN-Xf9i-4yca-cMcc-IUalAS")
        );
        assert_eq!(dashed(&[0; 32]), None);
    }
}
