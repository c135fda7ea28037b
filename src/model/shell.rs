//! Text as a shell takes it, for commands that are shown to be typed.

use std::fmt::Write as _;

/// Whether a terminal does more than show it: control characters, and what changes the direction of writing and so hides
/// what follows.
#[must_use]
pub fn acts(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A word as a shell takes it: as it is, or quoted. One that would be taken for an option is a path with `./` before it.
#[must_use]
pub fn shell_word(text: &str) -> String {
    if text.starts_with('-') {
        return quoted(&format!("./{text}"));
    }
    quoted(text)
}

/// A path as a shell takes it.
#[must_use]
pub fn shell_path(path: &std::path::Path) -> String {
    shell_word(&path.to_string_lossy())
}

/// A word as a shell takes it, whatever it begins with.
#[must_use]
pub fn quoted(text: &str) -> String {
    shell_bytes(text.as_bytes())
}

/// Bytes as a shell takes them for one word: as they are, in quotes, or, where they hold what a terminal acts upon or no text
/// at all, as `$'...'`, which bash, zsh and ksh know.
#[must_use]
pub fn shell_bytes(bytes: &[u8]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.is_empty() && text.chars().all(plain) => text.to_owned(),
        Ok(text) if !text.chars().any(acts) => format!("'{}'", text.replace('\'', r"'\''")),
        _ => {
            let mut word = String::from("$'");
            for byte in bytes {
                match byte {
                    b'\'' | b'\\' => word.extend(['\\', char::from(*byte)]),
                    b' '..=b'~' => word.push(char::from(*byte)),
                    _ => {
                        let _ = write!(word, "\\x{byte:02x}");
                    }
                }
            }
            word.push('\'');
            word
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_a_shell() {
        for (text, word) in [
            ("a/b.img", "a/b.img"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("-x", "./-x"),
            ("", "''"),
            ("$x", "'$x'"),
            ("a\nb", r"$'a\x0ab'"),
        ] {
            assert_eq!(shell_word(text), word);
        }
    }
}
