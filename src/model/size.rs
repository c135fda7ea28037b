//! Sizes as people read them.

/// Size of a disk sector as DRBD, LVM and partition tables count it, in bytes.
pub const SECTOR: u64 = 512;

/// Granularity of divergence: the block DRBD's bitmap counts by default, in bytes.
pub const BLOCK: u64 = 4096;

/// Formats a number of bytes for people: exact below 1 KiB, otherwise three significant digits in
/// binary units (`1.50 MiB`), never rounded up to the next unit's 1.
#[must_use]
pub fn human(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut unit = 0;
    let mut scale = 1024u128;
    while u128::from(bytes) >= scale * 1024 {
        scale *= 1024;
        unit += 1;
    }
    let bytes = u128::from(bytes);
    if bytes % scale == 0 {
        return format!("{} {}", bytes / scale, UNITS[unit]);
    }
    // Truncating keeps 1023.99 KiB from printing as 1024 KiB.
    let hundredths = bytes * 100 / scale;
    let (whole, part) = (hundredths / 100, hundredths % 100);
    if whole >= 100 {
        format!("{whole} {}", UNITS[unit])
    } else if whole >= 10 {
        format!("{whole}.{} {}", part / 10, UNITS[unit])
    } else {
        format!("{whole}.{part:02} {}", UNITS[unit])
    }
}

/// Parses a size with an optional binary unit: `4096`, `4KiB`, `1.5 GiB`, `10M` (also binary: this is
/// a storage tool). Returns `None` for anything else, including overflow.
#[must_use]
pub fn parse(text: &str) -> Option<u64> {
    let text = text.trim();
    let split = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let shift = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kib" | "kb" => 10,
        "m" | "mib" | "mb" => 20,
        "g" | "gib" | "gb" => 30,
        "t" | "tib" | "tb" => 40,
        "p" | "pib" | "pb" => 50,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: u64 = whole.parse().ok()?;
    let base = whole.checked_mul(1u64 << shift)?;
    if fraction.is_empty() {
        return if number.ends_with('.') { None } else { Some(base) };
    }
    if shift == 0 || fraction.len() > 9 {
        return None;
    }
    let value: u128 = fraction.parse().ok()?;
    let part = (value << shift) / 10u128.pow(u32::try_from(fraction.len()).ok()?);
    base.checked_add(u64::try_from(part).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_well() {
        assert_eq!(human(0), "0 B");
        assert_eq!(human(1023), "1023 B");
        assert_eq!(human(1024), "1 KiB");
        assert_eq!(human(1536), "1.50 KiB");
        assert_eq!(human(1024 * 1024 - 1), "1023 KiB");
        assert_eq!(human(96 << 20), "96 MiB");
        assert_eq!(human(u64::MAX), "15.9 EiB");
    }

    #[test]
    fn sizes_parse() {
        assert_eq!(parse("1GiB"), Some(1 << 30));
        assert_eq!(parse("1.5 MiB"), Some(3 << 19));
        assert_eq!(parse("10M"), Some(10 << 20));
        assert_eq!(parse("4096"), Some(4096));
        for bad in ["", "x", "1.", "-1", "1.5", "99999999999999999999", "17000000P", "1 GiB2"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
