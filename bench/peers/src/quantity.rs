//! Sizes and numbers, read and written.

/// Bytes in a mebibyte and a gibibyte.
pub(crate) const MIB: u64 = 1 << 20;
pub(crate) const GIB: u64 = 1 << 30;

/// `16M`, `2GiB`, `4096`: bytes.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    unsplit::model::size::parse(text)
        .filter(|size| *size >= MIB)
        .map(|size| size / MIB * MIB)
        .ok_or_else(|| format!("{text}: give a size of at least 1M, like 256M or 2G"))
}

/// A positive number with about three digits.
pub(crate) fn digits(value: f64) -> String {
    match value {
        v if v >= 99.95 => format!("{v:.0}"),
        v if v >= 9.995 => format!("{v:.1}"),
        v if v >= 0.0995 => format!("{v:.2}"),
        v => format!("{v:.3}"),
    }
}

/// The middle value; of an even number of values, the mean of the two in the middle.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}
