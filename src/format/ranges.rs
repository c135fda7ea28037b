//! A list of byte ranges as text: one `START LENGTH` a line, decimal or `0x` hexadecimal, in bytes; `#` begins a comment.
//! It is what `unsplit compare --within` reads and `--extents` prints, and easy to make from any tool's block list.

use crate::model::extent::{Extent, ExtentSet};

/// Why a list of ranges cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RangesError {
    /// A line is something else.
    #[error(
        "line {line}: `{text}` is not a range; write its first byte and its length in bytes, as in `1048576 4096`"
    )]
    NotARange {
        /// Counted from 1.
        line: u64,
        /// Its beginning.
        text: String,
    },
    /// The range ends beyond what 64 bits count.
    #[error("line {line}: {len} bytes at byte {start} end beyond the last possible byte")]
    TooFar {
        /// Counted from 1.
        line: u64,
        /// Its first byte.
        start: u64,
        /// Its length.
        len: u64,
    },
}

/// Parses a list. Order does not matter, ranges may overlap, empty ones are skipped.
///
/// # Errors
/// [`RangesError`] of the first line that is no range.
pub fn parse(text: &str) -> Result<ExtentSet, RangesError> {
    let mut ranges = Vec::new();
    for (line, whole) in (1..).zip(text.lines()) {
        let words = whole.split('#').next().unwrap_or_default();
        let mut words = words.split_ascii_whitespace();
        let Some(first) = words.next() else { continue };
        let range = number(first).zip(words.next().and_then(number)).filter(|_| words.next().is_none());
        let Some((start, len)) = range else {
            return Err(RangesError::NotARange { line, text: whole.chars().take(60).collect() });
        };
        if start.checked_add(len).is_none() {
            return Err(RangesError::TooFar { line, start, len });
        }
        if len > 0 {
            ranges.push(Extent { start, len });
        }
    }
    Ok(ranges.into_iter().collect())
}

fn number(word: &str) -> Option<u64> {
    match word.strip_prefix("0x") {
        // `from_str_radix` would take a sign.
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            u64::from_str_radix(digits, 16).ok()
        }
        Some(_) => None,
        None if word.bytes().all(|byte| byte.is_ascii_digit()) => word.parse().ok(),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_in_any_order_with_comments() {
        let text = "# from a bitmap\n8192 4096  # second\n\n0x0 0x1000\r\n4096 0\n\t9000 100\n";
        let set = parse(text).unwrap();
        assert_eq!(
            set.iter().collect::<Vec<_>>(),
            [Extent { start: 0, len: 4096 }, Extent { start: 8192, len: 4096 }]
        );
        assert!(parse("").unwrap().is_empty());
    }

    #[test]
    fn anything_else_is_named() {
        for bad in [
            "1",
            "1 2 3",
            "a 1",
            "1 -1",
            "+1 1",
            "0x 1",
            "1 0x+1",
            "18446744073709551616 1",
            "1,2",
            "\u{663}\u{20}1",
        ] {
            let error = parse(&format!("1 1\n{bad}")).unwrap_err();
            assert!(matches!(error, RangesError::NotARange { line: 2, .. }), "{bad}: {error}");
        }
        let error = parse("18446744073709551615 1").unwrap_err();
        assert_eq!(error, RangesError::TooFar { line: 1, start: u64::MAX, len: 1 });
    }
}
