//! Policy files: TOML text to a checked policy, with errors that show the line.

pub mod case;
#[cfg(test)]
mod tests;

use crate::judge::policy::check::{Entry, Policy, RawOverride, RawPolicy, Span, check};
use crate::judge::policy::words::Written;
use std::fmt;
use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

/// Largest policy file, in bytes.
pub const MAX_BYTES: usize = 1 << 20;

/// One thing wrong with a policy file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong and what would be right.
    pub message: String,
    /// The line itself, cut to something printable.
    pub source_line: String,
}

/// Everything wrong with a policy file, in the order of its lines. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyErrors {
    /// The file as it was named.
    pub file: String,
    /// What is wrong.
    pub errors: Vec<PolicyError>,
}

impl std::error::Error for PolicyErrors {}

impl fmt::Display for PolicyErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}:{}:{}: {}", self.file, error.line, error.column, error.message)?;
            if !error.source_line.trim().is_empty() {
                write!(f, "\n    {}", error.source_line)?;
            }
        }
        Ok(())
    }
}

/// Reads a policy file's text; `file` is only for the messages.
///
/// # Errors
/// Everything that is wrong with it: TOML first, and if that is fine, keys, values and combinations.
pub fn load(text: &str, file: &str) -> Result<Policy, PolicyErrors> {
    let wrong = |errors| PolicyErrors { file: file.to_owned(), errors };
    if let Some(error) = too_long(text) {
        return Err(wrong(vec![error]));
    }
    let table = DeTable::parse(text).map_err(|error| wrong(vec![syntax(text, &error)]))?;
    check(&raw(table.get_ref())).map_err(|problems| {
        wrong(problems.iter().map(|problem| located(text, &problem.at, problem.wrong.to_string())).collect())
    })
}

fn too_long(text: &str) -> Option<PolicyError> {
    (text.len() > MAX_BYTES).then(|| PolicyError {
        line: 1,
        column: 1,
        message: format!("more bytes than a policy may have; at most {MAX_BYTES} are read"),
        source_line: String::new(),
    })
}

fn syntax(text: &str, error: &toml::de::Error) -> PolicyError {
    let message = error.message().lines().next().unwrap_or("not TOML").to_owned();
    located(text, &error.span().unwrap_or(0..0), message)
}

/// An error at a place of the text.
fn located(text: &str, at: &Span, message: String) -> PolicyError {
    let mut start = at.start.min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let before = &text[..start];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line_end = text[start..].find('\n').map_or(text.len(), |newline| start + newline);
    let line = &text[line_start..line_end];
    // A net section carried over may hold `shared-secret`; messages end up in logs.
    let source_line = if line.to_ascii_lowercase().contains("secret") {
        "(not shown: this line may hold a secret)".to_owned()
    } else {
        let printable = |c: char| if c.is_control() && c != '\t' { '?' } else { c };
        line.trim_end().chars().take(160).map(printable).collect()
    };
    PolicyError {
        line: before.matches('\n').count() + 1,
        column: text[line_start..start].chars().count() + 1,
        message,
        source_line,
    }
}

fn raw(table: &DeTable<'_>) -> RawPolicy {
    let mut policy = RawPolicy::default();
    for (key, value) in in_order(table) {
        match (key.get_ref().as_ref(), value.get_ref()) {
            ("net", DeValue::Table(net)) => policy.top.extend(entries(net, true)),
            ("resource", DeValue::Array(tables))
                if tables.iter().all(|one| matches!(one.get_ref(), DeValue::Table(_))) =>
            {
                for one in tables.iter() {
                    if let DeValue::Table(table) = one.get_ref() {
                        policy.overrides.push(RawOverride { entries: with_net(table), at: one.span() });
                    }
                }
            }
            _ => policy.top.push(entry(key, value, false)),
        }
    }
    policy
}

/// A `[[resource]]` table's entries, those of its `net` table among them.
fn with_net(table: &DeTable<'_>) -> Vec<Entry> {
    let mut found = Vec::new();
    for (key, value) in in_order(table) {
        match (key.get_ref().as_ref(), value.get_ref()) {
            ("net", DeValue::Table(net)) => found.extend(entries(net, true)),
            _ => found.push(entry(key, value, false)),
        }
    }
    found
}

fn entries(table: &DeTable<'_>, in_net: bool) -> Vec<Entry> {
    in_order(table).into_iter().map(|(key, value)| entry(key, value, in_net)).collect()
}

type Pairs<'t, 'i> = Vec<(&'t Spanned<std::borrow::Cow<'i, str>>, &'t Spanned<DeValue<'i>>)>;

/// In the order of the file: the map itself is sorted by key.
fn in_order<'t, 'i>(table: &'t DeTable<'i>) -> Pairs<'t, 'i> {
    let mut all: Pairs<'t, 'i> = table.iter().collect();
    all.sort_by_key(|(key, _)| key.span().start);
    all
}

fn entry(key: &Spanned<std::borrow::Cow<'_, str>>, value: &Spanned<DeValue<'_>>, in_net: bool) -> Entry {
    Entry {
        key: key.get_ref().to_string(),
        key_at: key.span(),
        value: written(value.get_ref()),
        value_at: value.span(),
        in_net,
    }
}

fn written(value: &DeValue<'_>) -> Written {
    match value {
        DeValue::String(text) => Written::Text(text.to_string()),
        DeValue::Boolean(value) => Written::Bool(*value),
        DeValue::Integer(number) => {
            integer(number).map_or(Written::Other("a number out of range"), Written::Number)
        }
        DeValue::Float(_) => Written::Other("a fraction"),
        DeValue::Datetime(_) => Written::Other("a date"),
        DeValue::Array(_) => Written::Other("a list"),
        DeValue::Table(_) => Written::Other("a table"),
    }
}

fn integer(number: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}
