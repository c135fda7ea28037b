//! The grammar of LVM's texts: sections `name { ... }`, assignments `name = value`, comments from `#`;
//! values are integers, decimals, strings, and lists of them.

/// Sections inside sections. LVM's own texts need four.
pub const DEEPEST: usize = 16;
/// Names and values in one text.
pub const MOST_ITEMS: usize = 2_000_000;
/// Values in lists per text is bounded by the same number.
const LONGEST_NAME: usize = 255;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// An integer.
    Integer(i64),
    /// A number with a decimal point. Only ever passed over.
    Decimal(f64),
    /// A string. Bytes that are not UTF-8 are replaced: LVM writes such only into comments and host names.
    Text(String),
    /// A list.
    List(Vec<Value>),
    /// A section.
    Section(Section),
}

/// Names and values, in order of appearance.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Section {
    entries: Vec<(String, Value)>,
}

impl Section {
    /// The value of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.entries.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// The section of a name.
    #[must_use]
    pub fn section(&self, name: &str) -> Option<&Section> {
        match self.get(name) {
            Some(Value::Section(section)) => Some(section),
            _ => None,
        }
    }

    /// The string of a name.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The integer of a name, when it is not negative.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        match self.get(name) {
            Some(Value::Integer(number)) => u64::try_from(*number).ok(),
            _ => None,
        }
    }

    /// The list of a name.
    #[must_use]
    pub fn list(&self, name: &str) -> Option<&[Value]> {
        match self.get(name) {
            Some(Value::List(list)) => Some(list),
            _ => None,
        }
    }

    /// Names and values, in order of appearance.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.entries.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// The sections inside, in order of appearance.
    pub fn sections(&self) -> impl Iterator<Item = (&str, &Section)> {
        self.iter().filter_map(|(name, value)| match value {
            Value::Section(section) => Some((name, section)),
            _ => None,
        })
    }
}

/// Why a text cannot be read. `at` counts bytes from the text's start.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TextError {
    /// Something else was due.
    #[error("LVM text, byte {at}: expected {expected}")]
    Expected {
        /// Where.
        at: usize,
        /// What was due.
        expected: &'static str,
    },
    /// A number that is none, or is too large.
    #[error("LVM text, byte {at}: not a number")]
    Number {
        /// Where.
        at: usize,
    },
    /// Sections nested too deeply.
    #[error("LVM text, byte {at}: sections are nested more than {DEEPEST} deep")]
    Depth {
        /// Where.
        at: usize,
    },
    /// More than any real text has.
    #[error("LVM text, byte {at}: more than {MOST_ITEMS} names and values")]
    Size {
        /// Where.
        at: usize,
    },
    /// The same name twice in a section: which one holds is not ours to guess.
    #[error("LVM text, byte {at}: `{name}` is given twice in one section")]
    Twice {
        /// Where.
        at: usize,
        /// The name.
        name: String,
    },
}

/// Reads a text up to its end or its first NUL.
///
/// # Errors
/// [`TextError`].
pub fn parse(bytes: &[u8]) -> Result<Section, TextError> {
    let bytes = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    let mut reader = Reader { bytes, at: 0, items: 0 };
    let section = reader.section(0)?;
    match reader.peek() {
        None => Ok(section),
        Some(_) => Err(reader.expected("a name or the end of the text")),
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    items: usize,
}

impl Reader<'_> {
    /// The next byte that is neither space nor comment.
    fn peek(&mut self) -> Option<u8> {
        while let Some(byte) = self.bytes.get(self.at).copied() {
            match byte {
                b'#' => self.skip_line(),
                _ if byte.is_ascii_whitespace() => self.at += 1,
                _ => return Some(byte),
            }
        }
        None
    }

    fn skip_line(&mut self) {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        self.at += rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    }

    fn expected(&self, expected: &'static str) -> TextError {
        TextError::Expected { at: self.at, expected }
    }

    fn count(&mut self) -> Result<(), TextError> {
        self.items += 1;
        if self.items > MOST_ITEMS { Err(TextError::Size { at: self.at }) } else { Ok(()) }
    }

    /// Everything up to `}` or the end; neither is consumed.
    fn section(&mut self, depth: usize) -> Result<Section, TextError> {
        let mut entries: Vec<(String, Value)> = Vec::new();
        let mut names = std::collections::HashSet::new();
        while let Some(byte) = self.peek() {
            if byte == b'}' {
                break;
            }
            self.count()?;
            let at = self.at;
            let name = self.name()?;
            if !names.insert(name.clone()) {
                return Err(TextError::Twice { at, name });
            }
            let value = match self.peek() {
                Some(b'=') => {
                    self.at += 1;
                    self.value()?
                }
                Some(b'{') if depth >= DEEPEST => return Err(TextError::Depth { at: self.at }),
                Some(b'{') => {
                    self.at += 1;
                    let inner = self.section(depth + 1)?;
                    self.take(b'}', "`}`")?;
                    Value::Section(inner)
                }
                _ => return Err(self.expected("`=` or `{`")),
            };
            entries.push((name, value));
        }
        Ok(Section { entries })
    }

    fn take(&mut self, byte: u8, expected: &'static str) -> Result<(), TextError> {
        if self.peek() == Some(byte) {
            self.at += 1;
            return Ok(());
        }
        Err(self.expected(expected))
    }

    fn name(&mut self) -> Result<String, TextError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"+_.-/".contains(byte);
        let len = rest.iter().position(|byte| !fits(byte)).unwrap_or(rest.len());
        match rest.get(..len) {
            Some(name) if (1..=LONGEST_NAME).contains(&len) => {
                self.at += len;
                Ok(String::from_utf8_lossy(name).into_owned())
            }
            _ => Err(self.expected("a name")),
        }
    }

    fn value(&mut self) -> Result<Value, TextError> {
        if self.peek() != Some(b'[') {
            return self.single();
        }
        self.at += 1;
        let mut list = Vec::new();
        loop {
            match self.peek() {
                Some(b']') => {
                    self.at += 1;
                    return Ok(Value::List(list));
                }
                Some(b',') if !list.is_empty() => {
                    self.at += 1;
                    list.push(self.single()?);
                }
                _ if list.is_empty() => list.push(self.single()?),
                _ => return Err(self.expected("`,` or `]`")),
            }
        }
    }

    fn single(&mut self) -> Result<Value, TextError> {
        self.count()?;
        match self.peek() {
            Some(b'"') => self.quoted().map(Value::Text),
            Some(b'0'..=b'9' | b'-' | b'+' | b'.') => self.number(),
            _ => Err(self.expected("a number or a string")),
        }
    }

    /// A string in double quotes; a backslash keeps the next byte from meaning anything.
    fn quoted(&mut self) -> Result<String, TextError> {
        self.at += 1;
        let mut out = Vec::new();
        loop {
            match self.bytes.get(self.at).copied() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(String::from_utf8_lossy(&out).into_owned());
                }
                Some(b'\\') => {
                    out.extend(self.bytes.get(self.at + 1));
                    self.at += 2;
                }
                Some(byte) => {
                    out.push(byte);
                    self.at += 1;
                }
                None => return Err(self.expected("the closing `\"`")),
            }
        }
    }

    fn number(&mut self) -> Result<Value, TextError> {
        let at = self.at;
        let rest = self.bytes.get(at..).unwrap_or_default();
        let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
        let len = rest.iter().position(|byte| !fits(byte)).unwrap_or(rest.len());
        self.at += len;
        let word = rest.get(..len).and_then(|word| std::str::from_utf8(word).ok()).unwrap_or_default();
        match word.parse::<i64>() {
            Ok(number) => Ok(Value::Integer(number)),
            Err(_) if word.contains('.') => {
                word.parse().map(Value::Decimal).map_err(|_| TextError::Number { at })
            }
            Err(_) => Err(TextError::Number { at }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_as_lvm_writes_it() {
        let root = parse(
            b"vg0 {\nid = \"x\"\nseqno = 4\nstatus = [\"READ\", \"WRITE\"]\nflags = []\n\nlv {\nstripes = [\n\"pv0\", 6\n]\n}\n}\n# a \"comment\" {\nversion = 1\nhost = \"a\\\"b\\\\\"\t# Linux\n\0garbage {{{",
        )
        .unwrap();
        let vg = root.section("vg0").unwrap();
        assert_eq!(vg.number("seqno"), Some(4));
        assert_eq!(vg.list("flags"), Some(&[][..]));
        assert_eq!(
            vg.section("lv").unwrap().list("stripes"),
            Some(&[Value::Text("pv0".into()), Value::Integer(6)][..])
        );
        assert_eq!(root.text("host"), Some("a\"b\\"));
        assert_eq!(root.number("version"), Some(1));
    }

    #[test]
    fn broken_texts_say_where() {
        for (text, at) in [
            ("a", 1),
            ("a {", 3),
            ("a = ", 4),
            ("a = \"x", 6),
            ("a = [1 2]", 7),
            ("a = [1,]", 7),
            ("}", 0),
            ("= 1", 0),
        ] {
            match parse(text.as_bytes()) {
                Err(TextError::Expected { at: found, .. }) => assert_eq!(found, at, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
        assert_eq!(parse(b"a = 12x"), Err(TextError::Number { at: 4 }));
        assert_eq!(parse(b"a = 99999999999999999999"), Err(TextError::Number { at: 4 }));
        assert_eq!(parse(b"a = 1 a = 2"), Err(TextError::Twice { at: 6, name: "a".into() }));
        let deep = "s{".repeat(DEEPEST + 1);
        assert_eq!(parse(deep.as_bytes()), Err(TextError::Depth { at: deep.len() - 1 }));
        assert!(parse("s{".repeat(500_000).as_bytes()).is_err(), "must not exhaust the stack");
    }
}
