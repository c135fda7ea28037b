//! A document of a peer's, looked at before it is taken apart: how much memory it can come to, and whether its texts can
//! steer a terminal.
//!
//! An object of two characters can become a structure of a kilobyte, so objects are counted as well as bytes. Texts end on
//! screens, in journals and in reports, whatever field they come in, so it is here that they lose what a terminal obeys:
//! control characters, and those that turn the direction of writing.

/// How deep lists and objects may be nested.
const DEEPEST: u32 = 64;

/// Why a document is not taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooMuch {
    /// Too many objects.
    #[error("a request or reply holds more than {0} objects")]
    Objects(usize),
    /// Nested too deep.
    #[error("a request or reply is nested deeper than {DEEPEST}")]
    Depth,
}

/// Whether a terminal obeys it in place of showing it, or a reader would be misled by what it does to its neighbours.
fn steers(c: u32) -> bool {
    matches!(
        c,
        0..=0x1F | 0x7F..=0x9F | 0x061C | 0x200E | 0x200F | 0x2028..=0x202E | 0x2066..=0x2069
    )
}

/// No character: steers nothing.
const NOTHING: u32 = 0xFFFF;

/// The number behind `\u`, and how many bytes of `rest` (which begins with the backslash) it takes.
fn escaped(rest: &[u8]) -> Option<(u32, usize)> {
    let code = match rest.get(1)? {
        b'b' => 8,
        b't' => 9,
        b'n' => 10,
        b'f' => 12,
        b'r' => 13,
        b'u' => {
            let digits = rest.get(2..6)?;
            let value = |digit: &u8| char::from(*digit).to_digit(16);
            let code = digits.iter().try_fold(0, |code, digit| Some(code * 16 + value(digit)?))?;
            return Some((code, 6));
        }
        // Itself, or no JSON: neither is for us to change.
        _ => NOTHING,
    };
    Some((code, 2))
}

/// The character that `rest` begins with, and how many bytes it takes; one byte where it is none.
fn character(rest: &[u8]) -> (u32, usize) {
    let first = rest.first().copied().unwrap_or_default();
    let len = match first {
        0xC2..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xF4 => 4,
        _ => 1,
    };
    let text = rest.get(..len).and_then(|bytes| std::str::from_utf8(bytes).ok());
    // Bytes that are no character are left to whoever parses.
    text.and_then(|text| text.chars().next()).map_or((NOTHING, 1), |c| (u32::from(c), len))
}

/// Puts `?` in the place of every character inside the document's texts that steers, and counts the document's objects.
/// What is no JSON is left as it is, for whoever parses it to say so.
///
/// # Errors
/// [`TooMuch`].
pub fn make_harmless(document: &mut Vec<u8>, most: usize) -> Result<(), TooMuch> {
    let (mut from, mut to) = (0, 0);
    let (mut objects, mut depth, mut inside) = (0usize, 0u32, false);
    while let Some(byte) = document.get(from).copied() {
        let mut len = 1;
        let mut harmful = false;
        match (inside, byte) {
            (_, b'"') => inside = !inside,
            (true, b'\\') => {
                if let Some((code, taken)) = document.get(from..).and_then(escaped) {
                    // An escaped quote or backslash is itself.
                    (harmful, len) = (steers(code), taken);
                }
            }
            (true, _) => {
                let (code, taken) = document.get(from..).map_or((NOTHING, 1), character);
                // A bare control character below 0x20 is no JSON.
                (harmful, len) = (code >= 0x20 && steers(code), taken);
            }
            (false, b'{' | b'[') => {
                objects += usize::from(byte == b'{');
                depth += 1;
                if objects > most {
                    return Err(TooMuch::Objects(most));
                }
                if depth > DEEPEST {
                    return Err(TooMuch::Depth);
                }
            }
            (false, b'}' | b']') => depth = depth.saturating_sub(1),
            (false, _) => {}
        }
        if harmful {
            if let Some(place) = document.get_mut(to) {
                *place = b'?';
            }
            to += 1;
        } else {
            document.copy_within(from..from + len, to);
            to += len;
        }
        from += len;
    }
    document.truncate(to);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn read(value: &Value) -> Value {
        let mut bytes = serde_json::to_vec(value).unwrap();
        make_harmless(&mut bytes, 100).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    fn texts(value: &Value) -> Vec<String> {
        match value {
            Value::String(text) => vec![text.clone()],
            Value::Array(all) => all.iter().flat_map(texts).collect(),
            Value::Object(all) => {
                all.iter().flat_map(|(k, v)| [vec![k.clone()], texts(v)].concat()).collect()
            }
            _ => Vec::new(),
        }
    }

    #[test]
    fn what_steers_becomes_a_question_mark() {
        let evil = "\u{1b}]0;x\u{7}\r\n\t\u{9b}2J\u{7f}\u{202e}\u{2066}\u{200f}\u{61c}\u{2028}fine \u{e4} \" \\ / \u{1f600}";
        let shown = read(&json!({ "a": evil, evil: [evil, 5, { "b": evil }] }));
        let expected = "?]0;x?????2J??????fine \u{e4} \" \\ / \u{1f600}";
        assert_eq!(shown, json!({ "a": expected, expected: [expected, 5, { "b": expected }] }));
        // Spelled in the long way.
        let mut spelled = br#"["\u001b\u009B\u202E\u0041\ud83d\ude00\\u001b"]"#.to_vec();
        make_harmless(&mut spelled, 0).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&spelled).unwrap(), json!(["???A\u{1f600}\\u001b"]));
    }

    #[test]
    fn much_is_refused_before_it_is_made() {
        let list = |count: usize| format!("[{}]", vec!["{}"; count].join(",")).into_bytes();
        assert_eq!(make_harmless(&mut list(100), 100), Ok(()));
        assert_eq!(make_harmless(&mut list(101), 100), Err(TooMuch::Objects(100)));
        // In a text they are text.
        assert_eq!(make_harmless(&mut br#""{{{{{\"{{{""#.to_vec(), 0), Ok(()));
        assert_eq!(make_harmless(&mut b"[".repeat(65), 0), Err(TooMuch::Depth));
        assert_eq!(make_harmless(&mut b"[]".repeat(1000), 0), Ok(()));
    }

    proptest! {
        #[test]
        fn any_bytes_stay_what_they_are_worth(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let mut changed = bytes.clone();
            if make_harmless(&mut changed, 5).is_ok() {
                prop_assert!(changed.len() <= bytes.len());
                let (before, after) =
                    (serde_json::from_slice::<Value>(&bytes), serde_json::from_slice::<Value>(&changed));
                prop_assert_eq!(before.is_ok(), after.is_ok());
            }
        }

        #[test]
        fn no_text_that_comes_out_steers(words in prop::collection::vec(any::<String>(), 0..6)) {
            let value = json!({ "list": words, "one": { "key": words.first() } });
            let out = read(&value);
            for text in texts(&out) {
                prop_assert!(!text.chars().any(|c| steers(u32::from(c))), "{text:?}");
            }
            let expected: Vec<String> = words
                .iter()
                .map(|text| text.chars().map(|c| if steers(u32::from(c)) { '?' } else { c }).collect())
                .collect();
            prop_assert_eq!(&out["list"], &json!(expected));
        }
    }
}
