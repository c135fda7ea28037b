//! From what a policy file says to a policy that can be relied on. [`check`] is the only way to make a [`Policy`].

use super::unsafe_combinations;
use super::words::{Key, Written, nearest};
use crate::model::id::ResourceName;
use crate::model::policy::Settings;
use globset::{Glob, GlobMatcher};
use std::ops::Range;

/// Where something stands in the file: byte offsets.
pub type Span = Range<usize>;

/// Most overrides a policy may have.
pub const MAX_OVERRIDES: usize = 1000;
/// Longest glob, in bytes.
pub const MAX_GLOB: usize = 256;

/// `key = value` as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where it stands.
    pub key_at: Span,
    /// The value.
    pub value: Written,
    /// Where it stands.
    pub value_at: Span,
    /// It stood in a `[net]` table, so only DRBD's own keys make sense.
    pub in_net: bool,
}

/// One `[[resource]]` table as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawOverride {
    /// Its entries, `match` among them.
    pub entries: Vec<Entry>,
    /// Where the table starts.
    pub at: Span,
}

/// A policy file as written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RawPolicy {
    /// Entries at the top and in `[net]`.
    pub top: Vec<Entry>,
    /// `[[resource]]` tables, in order.
    pub overrides: Vec<RawOverride>,
}

/// What is wrong with a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// No such key.
    #[error("unknown key `{key}`{}", did_you_mean(.near))]
    UnknownKey {
        /// As written.
        key: String,
        /// What was probably meant.
        near: Option<&'static str>,
    },
    /// A key of unsplit's own in `[net]`.
    #[error("`{key}` is not an option of DRBD's `net` section: write it outside of `[net]`")]
    NotDrbds {
        /// The key.
        key: &'static str,
    },
    /// The key twice.
    #[error("`{key}` is given twice")]
    Twice {
        /// The key.
        key: String,
    },
    /// A value the key does not take.
    #[error("`{key}` does not take {value}{}{}; it takes {}", taken_by(.elsewhere), did_you_mean(.near), listed(.key))]
    UnknownValue {
        /// The key.
        key: &'static str,
        /// As written.
        value: String,
        /// Keys that take the value.
        elsewhere: Vec<&'static str>,
        /// What was probably meant.
        near: Option<&'static str>,
    },
    /// `merge = "units"`.
    #[error("merging by units is not available in this release, use \"never\"")]
    MergeNotAvailable,
    /// Not a size.
    #[error(
        "{value} is not a size: write something like \"1GiB\", \"500 MiB\", a number of bytes, or \"unlimited\""
    )]
    NotASize {
        /// As written.
        value: String,
    },
    /// A `[[resource]]` without `match`.
    #[error("this `[[resource]]` has no `match = \"GLOB\"`, so it applies to nothing")]
    NoMatch,
    /// A `match` that is no glob.
    #[error("{glob} is not a glob for resource names: {why}")]
    BadGlob {
        /// As written.
        glob: String,
        /// Why not.
        why: String,
    },
    /// A `[[resource]]` that never applies.
    #[error("this `[[resource]]` never applies: {why}; the first table that matches is the one that counts")]
    Unreachable {
        /// Which earlier one shadows it.
        why: String,
    },
    /// Too many tables.
    #[error("more than {MAX_OVERRIDES} `[[resource]]` tables")]
    TooMany,
    /// Values that must not go together.
    #[error("unsafe combination: {why}")]
    Unsafe {
        /// Which, why, and what to do.
        why: &'static str,
    },
    /// The description is not a text.
    #[error("`description` is a text, not {value}")]
    NotAText {
        /// As written.
        value: String,
    },
}

fn did_you_mean(near: &Option<&'static str>) -> String {
    near.map_or_else(String::new, |word| format!(", did you mean `{word}`?"))
}

fn taken_by(keys: &[&'static str]) -> String {
    if keys.is_empty() { String::new() } else { format!(" (that is a value of {})", keys.join(" and ")) }
}

fn listed(key: &str) -> String {
    Key::of(key).map_or_else(String::new, |key| key.values().join(", "))
}

/// Something wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub at: Span,
    /// What.
    pub wrong: Wrong,
}

/// A checked policy: settings for every resource there could be.
#[derive(Debug, Clone)]
pub struct Policy {
    description: Option<String>,
    defaults: Settings,
    overrides: Vec<(GlobMatcher, Settings)>,
}

impl Policy {
    /// DRBD's defaults and nothing else.
    #[must_use]
    pub fn drbd_defaults() -> Self {
        Policy { description: None, defaults: Settings::drbd_defaults(), overrides: Vec::new() }
    }

    /// What the file says of itself.
    #[must_use]
    pub fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    /// The settings of a resource: those of the first `[[resource]]` whose glob matches, on top of the file's own.
    #[must_use]
    pub fn settings_for(&self, resource: &ResourceName) -> &Settings {
        self.chosen(resource).map_or(&self.defaults, |(_, settings)| settings)
    }

    /// The glob of the `[[resource]]` that applies to a resource, if one does.
    #[must_use]
    pub fn override_for(&self, resource: &ResourceName) -> Option<&str> {
        self.chosen(resource).map(|(glob, _)| glob.glob().glob())
    }

    fn chosen(&self, resource: &ResourceName) -> Option<&(GlobMatcher, Settings)> {
        self.overrides.iter().find(|(glob, _)| glob.is_match(resource.as_str()))
    }
}

/// DRBD's other `net` options: accepted in `[net]`, so that a whole section can be carried over, and not used.
const OTHER_NET_OPTIONS: &str = "\
    protocol allow-two-primaries allow-remote-read cram-hmac-alg shared-secret connect-int \
    ping-int ping-timeout timeout ko-count max-buffers max-epoch-size sndbuf-size \
    rcvbuf-size data-integrity-alg verify-alg csums-alg csums-after-crash-only use-rle \
    tcp-cork socket-check-timeout on-congestion congestion-fill congestion-extents fencing \
    transport load-balance-paths rdma-ctrl-rcvbuf-size rdma-ctrl-sndbuf-size tls tls-keyring \
    tls-privkey tls-certificate";

/// Checks what a file says.
///
/// # Errors
/// Everything that is wrong with it, in the order of the file.
pub fn check(raw: &RawPolicy) -> Result<Policy, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut description = None;
    let defaults = table(&Settings::drbd_defaults(), &raw.top, &mut problems, |entry| {
        if entry.in_net || entry.key != "description" {
            return Some(false);
        }
        match &entry.value {
            Written::Text(text) => {
                description = Some(text.clone());
                Some(true)
            }
            _ => None,
        }
    });
    unsafe_combinations::find(&defaults, None, &raw.top, &[], &mut problems);
    if raw.overrides.len() > MAX_OVERRIDES {
        let at = raw.overrides[MAX_OVERRIDES].at.clone();
        problems.push(Problem { at, wrong: Wrong::TooMany });
    }
    let mut overrides: Vec<(GlobMatcher, Settings)> = Vec::new();
    for one in raw.overrides.iter().take(MAX_OVERRIDES) {
        let settings = table(&defaults, &one.entries, &mut problems, |entry| {
            Some(!entry.in_net && entry.key == "match")
        });
        unsafe_combinations::find(&settings, Some(&defaults), &one.entries, &raw.top, &mut problems);
        match glob_of(one) {
            Err(problem) => problems.push(problem),
            Ok((glob, at)) => match overrides.iter().find_map(|(earlier, _)| shadows(earlier, glob.glob())) {
                Some(why) => problems.push(Problem { at, wrong: Wrong::Unreachable { why } }),
                None => overrides.push((glob.compile_matcher(), settings)),
            },
        }
    }
    if problems.is_empty() {
        return Ok(Policy { description, defaults, overrides });
    }
    problems.sort_by_key(|problem| (problem.at.start, problem.at.end));
    Err(problems)
}

/// Settings of one table. `special` says whether an entry is none of the settings' business: `Some(true)`, it has
/// been dealt with; `Some(false)`, it is a setting; `None`, it is a text that is none.
fn table(
    base: &Settings,
    entries: &[Entry],
    problems: &mut Vec<Problem>,
    mut special: impl FnMut(&Entry) -> Option<bool>,
) -> Settings {
    let mut settings = base.clone();
    let mut seen: Vec<Key> = Vec::new();
    for entry in entries {
        match special(entry) {
            Some(true) => continue,
            Some(false) => {}
            None => {
                let wrong = Wrong::NotAText { value: entry.value.to_string() };
                problems.push(Problem { at: entry.value_at.clone(), wrong });
                continue;
            }
        }
        if entry.in_net && OTHER_NET_OPTIONS.split_ascii_whitespace().any(|option| option == entry.key) {
            continue;
        }
        let Some(key) = Key::of(&entry.key) else {
            let shown = entry.key.chars().take(60).flat_map(char::escape_debug).collect();
            let near = nearest(&entry.key, Key::ALL.map(Key::word));
            let wrong = Wrong::UnknownKey { key: shown, near };
            problems.push(Problem { at: entry.key_at.clone(), wrong });
            continue;
        };
        if entry.in_net && !key.is_drbds() {
            problems.push(Problem { at: entry.key_at.clone(), wrong: Wrong::NotDrbds { key: key.word() } });
            continue;
        }
        if seen.contains(&key) {
            let wrong = Wrong::Twice { key: key.word().to_owned() };
            problems.push(Problem { at: entry.key_at.clone(), wrong });
            continue;
        }
        seen.push(key);
        if key.set(&mut settings, &entry.value).is_none() {
            problems.push(Problem { at: entry.value_at.clone(), wrong: wrong_value(key, &entry.value) });
        }
    }
    settings
}

fn wrong_value(key: Key, value: &Written) -> Wrong {
    if key == Key::Merge && *value == Written::Text("units".into()) {
        return Wrong::MergeNotAvailable;
    }
    let shown = value.to_string();
    let text = if let Written::Text(text) = value { text.as_str() } else { "" };
    let elsewhere: Vec<&'static str> =
        Key::ALL.into_iter().filter(|other| *other != key && other.takes(text)).map(Key::word).collect();
    if key == Key::MaxDiscard && elsewhere.is_empty() {
        return Wrong::NotASize { value: shown };
    }
    let near = nearest(text, key.values().iter().copied().filter(|word| key.takes(word)));
    Wrong::UnknownValue { key: key.word(), value: shown, elsewhere, near }
}

fn glob_of(one: &RawOverride) -> Result<(Glob, Span), Problem> {
    let mut matches = one.entries.iter().filter(|entry| !entry.in_net && entry.key == "match");
    let Some(entry) = matches.next() else {
        return Err(Problem { at: one.at.clone(), wrong: Wrong::NoMatch });
    };
    let bad = |why: &str| Problem {
        at: entry.value_at.clone(),
        wrong: Wrong::BadGlob { glob: entry.value.to_string(), why: why.to_owned() },
    };
    match &entry.value {
        Written::Text(text) if text.is_empty() => Err(bad("it is empty")),
        Written::Text(text) if text.len() > MAX_GLOB => Err(bad("it is too long")),
        // Alternatives multiply when compiled; names need few.
        Written::Text(text) if text.matches(['{', ',']).count() > 32 => {
            Err(bad("it has too many alternatives"))
        }
        Written::Text(text) => match Glob::new(text) {
            Ok(glob) => Ok((glob, entry.value_at.clone())),
            Err(error) => Err(bad(&error.kind().to_string())),
        },
        _ => Err(bad("it is not a text")),
    }
}

/// Why `earlier` leaves nothing for `later`. Sound, not complete: only what is certain is reported.
fn shadows(earlier: &GlobMatcher, later: &str) -> Option<String> {
    let plain = |glob: &str| !glob.contains(['*', '?', '[', ']', '{', '}', '\\', '!']);
    let text = earlier.glob().glob();
    let covered = if text == later || text.chars().all(|c| c == '*') {
        true
    } else if plain(later) {
        earlier.is_match(later)
    } else {
        // `vm-*` takes everything that starts with `vm-`, whatever follows.
        text.strip_suffix('*').is_some_and(|prefix| plain(prefix) && later.starts_with(prefix))
    };
    covered.then(|| format!("`{text}` above matches everything that `{later}` does"))
}
