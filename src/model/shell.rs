//! Text as a shell takes it, for commands that are shown to be typed.

/// A word as a shell takes it. One that begins with a dash becomes a path, so that no program takes it for an option.
#[must_use]
pub fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    if text.starts_with('-') {
        return shell_word(&format!("./{text}"));
    }
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}
