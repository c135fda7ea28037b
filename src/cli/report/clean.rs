//! Foreign text made harmless: names of logical volumes and messages of tools come from disks that anybody may have
//! written.

/// Characters that hide or reorder the text around them.
fn hides(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// One line of at most `max` characters: control, invisible and reordering characters become `\u{..}`, and what is
/// too long loses its middle, because names mostly differ at their ends.
pub(super) fn line(text: &str, max: usize) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if hides(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    let count = out.chars().count();
    if count <= max {
        return out;
    }
    if max < 3 {
        return out.chars().take(max).collect();
    }
    let keep = max - 3;
    let (head, tail) = (keep - keep / 2, keep / 2);
    let start: String = out.chars().take(head).collect();
    let end: String = out.chars().skip(count - tail).collect();
    format!("{start}...{end}")
}

/// As [`line()`], escaped for HTML text and for attributes in double or single quotes. Never more than 3 times `max`
/// bytes: a text that escaping would swell beyond that is cut shorter.
pub(super) fn html(text: &str, max: usize) -> String {
    let mut most = max;
    loop {
        let out = escaped(&line(text, most));
        if out.len() <= max.saturating_mul(3) || most == 0 {
            return out;
        }
        most /= 2;
    }
}

/// As [`html()`], but what is too long loses its end: for places too narrow to show both ends.
pub(super) fn html_start(text: &str, max: usize) -> String {
    let whole = line(text, usize::MAX);
    if whole.chars().count() <= max {
        return escaped(&whole);
    }
    let start: String = whole.chars().take(max.saturating_sub(1)).collect();
    escaped(&format!("{start}\u{2026}"))
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_foreign_gets_through() {
        assert_eq!(html("<script>'\"&", 99), "&lt;script&gt;&#39;&quot;&amp;");
        assert_eq!(line("a\nb\u{1b}[31m\u{202e}x\0", 99), "a\\u{a}b\\u{1b}[31m\\u{202e}x\\u{0}");
        assert_eq!(line("größer", 99), "größer");
    }

    #[test]
    fn long_text_keeps_both_ends() {
        assert_eq!(line("abcdefghij", 10), "abcdefghij");
        assert_eq!(line("abcdefghijk", 10), "abcd...ijk");
        assert_eq!(html_start("<bcdef", 4), "&lt;bc\u{2026}");
        assert_eq!(html_start("<bcd", 4), "&lt;bcd");
        assert_eq!(html("<b>", 9), "&lt;b&gt;");
        for max in 0..200 {
            assert!(html(&"\"".repeat(1000), max).len() <= (3 * max).max(18));
            assert!(html(&"\u{1f600}".repeat(1000), max).len() <= (3 * max).max(18));
        }
        assert_eq!(line(&"\u{202e}".repeat(1000), 20).chars().count(), 20);
    }
}
