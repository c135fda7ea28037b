//! The keys of a policy and the words each of them takes.

use crate::model::id::NodeName;
use crate::model::policy::{
    AfterSb0pri, AfterSb1pri, AfterSb2pri, FenceRule, Keep, RrConflict, SalvageRule, Settings,
};
use crate::model::size;

/// A value as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// A string.
    Text(String),
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Number(i64),
    /// Anything else, by its kind: a list, a date, ...
    Other(&'static str),
}

impl std::fmt::Display for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Written::Text(text) => {
                let shown: String = text.chars().take(60).flat_map(char::escape_debug).collect();
                write!(f, "`{shown}`")
            }
            Written::Bool(value) => write!(f, "`{value}`"),
            Written::Number(value) => write!(f, "`{value}`"),
            Written::Other(kind) => f.write_str(kind),
        }
    }
}

/// A key of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// `after-sb-0pri`
    AfterSb0pri,
    /// `after-sb-1pri`
    AfterSb1pri,
    /// `after-sb-2pri`
    AfterSb2pri,
    /// `always-asbp`
    AlwaysAsbp,
    /// `rr-conflict`
    RrConflict,
    /// `keep`
    Keep,
    /// `salvage`
    Salvage,
    /// `fence`
    Fence,
    /// `auto`
    Auto,
    /// `max-discard`
    MaxDiscard,
    /// `merge`
    Merge,
}

impl Key {
    /// All keys, in the order of the documentation.
    pub const ALL: [Key; 11] = [
        Key::AfterSb0pri,
        Key::AfterSb1pri,
        Key::AfterSb2pri,
        Key::AlwaysAsbp,
        Key::RrConflict,
        Key::Keep,
        Key::Salvage,
        Key::Fence,
        Key::Auto,
        Key::MaxDiscard,
        Key::Merge,
    ];

    /// The key as written.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Key::AfterSb0pri => "after-sb-0pri",
            Key::AfterSb1pri => "after-sb-1pri",
            Key::AfterSb2pri => "after-sb-2pri",
            Key::AlwaysAsbp => "always-asbp",
            Key::RrConflict => "rr-conflict",
            Key::Keep => "keep",
            Key::Salvage => "salvage",
            Key::Fence => "fence",
            Key::Auto => "auto",
            Key::MaxDiscard => "max-discard",
            Key::Merge => "merge",
        }
    }

    /// The key of that name.
    #[must_use]
    pub fn of(word: &str) -> Option<Key> {
        Key::ALL.into_iter().find(|key| key.word() == word)
    }

    /// Whether DRBD has this key in `net {}`.
    #[must_use]
    pub fn is_drbds(self) -> bool {
        matches!(
            self,
            Key::AfterSb0pri | Key::AfterSb1pri | Key::AfterSb2pri | Key::AlwaysAsbp | Key::RrConflict
        )
    }

    /// The values the key takes, fixed words first, then patterns in capitals.
    #[must_use]
    pub fn values(self) -> &'static [&'static str] {
        match self {
            Key::AfterSb0pri => &[
                "disconnect",
                "discard-younger-primary",
                "discard-older-primary",
                "discard-zero-changes",
                "discard-least-changes",
                "discard-local",
                "discard-remote",
                "discard-node-NAME",
            ],
            Key::AfterSb1pri => {
                &["disconnect", "consensus", "violently-as0p", "discard-secondary", "call-pri-lost-after-sb"]
            }
            Key::AfterSb2pri => &["disconnect", "violently-as0p", "call-pri-lost-after-sb"],
            Key::AlwaysAsbp => &["yes", "no", "true", "false"],
            Key::RrConflict => &["disconnect", "call-pri-lost", "violently", "retry-connect", "auto-discard"],
            Key::Keep => &["ask", "most-changes", "newest", "quorate", "running-guest", "NODE"],
            Key::Salvage => &["required", "off"],
            Key::Fence => &["required", "quorum", "manual"],
            Key::Auto => &["true", "false"],
            Key::MaxDiscard => &["unlimited", "SIZE"],
            Key::Merge => &["never"],
        }
    }

    /// Whether `word` is one of the key's fixed words.
    #[must_use]
    pub fn takes(self, word: &str) -> bool {
        self.values().contains(&word) && !word.ends_with(|c: char| c.is_ascii_uppercase())
    }

    /// Puts a value into the settings; `None` when the key does not take it.
    #[must_use]
    pub fn set(self, settings: &mut Settings, value: &Written) -> Option<()> {
        match (self, value) {
            (Key::AfterSb0pri, Written::Text(text)) => settings.after_sb_0pri = zero_primaries(text)?,
            (Key::AfterSb1pri, Written::Text(text)) => {
                settings.after_sb_1pri = match text.as_str() {
                    "disconnect" => AfterSb1pri::Disconnect,
                    "consensus" => AfterSb1pri::Consensus,
                    "violently-as0p" => AfterSb1pri::ViolentlyAs0p,
                    "discard-secondary" => AfterSb1pri::DiscardSecondary,
                    "call-pri-lost-after-sb" => AfterSb1pri::CallPriLostAfterSb,
                    _ => return None,
                }
            }
            (Key::AfterSb2pri, Written::Text(text)) => {
                settings.after_sb_2pri = match text.as_str() {
                    "disconnect" => AfterSb2pri::Disconnect,
                    "violently-as0p" => AfterSb2pri::ViolentlyAs0p,
                    "call-pri-lost-after-sb" => AfterSb2pri::CallPriLostAfterSb,
                    _ => return None,
                }
            }
            (Key::RrConflict, Written::Text(text)) => {
                settings.rr_conflict = match text.as_str() {
                    "disconnect" => RrConflict::Disconnect,
                    "call-pri-lost" => RrConflict::CallPriLost,
                    "violently" => RrConflict::Violently,
                    "retry-connect" => RrConflict::RetryConnect,
                    "auto-discard" => RrConflict::AutoDiscard,
                    _ => return None,
                }
            }
            (Key::Keep, Written::Text(text)) => settings.keep = keep(text)?,
            (Key::Salvage, Written::Text(text)) => {
                settings.salvage = match text.as_str() {
                    "required" => SalvageRule::Required,
                    "off" => SalvageRule::Off,
                    _ => return None,
                }
            }
            (Key::Fence, Written::Text(text)) => {
                settings.fence = match text.as_str() {
                    "required" => FenceRule::Required,
                    "quorum" => FenceRule::Quorum,
                    "manual" => FenceRule::Manual,
                    _ => return None,
                }
            }
            (Key::AlwaysAsbp, value) => settings.always_asbp = yes(value)?,
            (Key::Auto, Written::Bool(value)) => settings.auto = *value,
            (Key::MaxDiscard, Written::Text(text)) if text == "unlimited" => settings.max_discard = None,
            (Key::MaxDiscard, Written::Text(text)) => settings.max_discard = Some(size::parse(text)?),
            (Key::MaxDiscard, Written::Number(bytes)) => {
                settings.max_discard = Some(u64::try_from(*bytes).ok()?);
            }
            (Key::Merge, Written::Text(text)) if text == "never" => {}
            _ => return None,
        }
        Some(())
    }
}

/// DRBD's own booleans are `yes` and `no`.
fn yes(value: &Written) -> Option<bool> {
    match value {
        Written::Bool(value) => Some(*value),
        Written::Text(text) if text == "yes" => Some(true),
        Written::Text(text) if text == "no" => Some(false),
        _ => None,
    }
}

fn zero_primaries(text: &str) -> Option<AfterSb0pri> {
    Some(match text {
        "disconnect" => AfterSb0pri::Disconnect,
        "discard-younger-primary" => AfterSb0pri::DiscardYoungerPrimary,
        "discard-older-primary" => AfterSb0pri::DiscardOlderPrimary,
        "discard-zero-changes" => AfterSb0pri::DiscardZeroChanges,
        "discard-least-changes" => AfterSb0pri::DiscardLeastChanges,
        "discard-local" => AfterSb0pri::DiscardLocal,
        "discard-remote" => AfterSb0pri::DiscardRemote,
        _ => AfterSb0pri::DiscardNode(NodeName::new(text.strip_prefix("discard-node-")?).ok()?),
    })
}

fn keep(text: &str) -> Option<Option<Keep>> {
    Some(match text {
        "ask" => None,
        "most-changes" => Some(Keep::MostChanges),
        "newest" => Some(Keep::Newest),
        "quorate" => Some(Keep::Quorate),
        "running-guest" => Some(Keep::RunningGuest),
        node => {
            // Any other name is a node's: a mistyped word must not silently become one.
            let reserved = Key::ALL.into_iter().any(|key| key.takes(node));
            let mistyped = Key::Keep.values().iter().any(|word| close(word, node));
            if reserved || mistyped {
                return None;
            }
            Some(Keep::Node(NodeName::new(node).ok()?))
        }
    })
}

/// The word of `list` that `text` was probably meant to be.
#[must_use]
pub fn nearest<'a>(text: &str, list: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    list.into_iter().find(|word| close(word, text))
}

/// At most two letters apart, in words long enough for that to mean something.
fn close(word: &str, text: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (word.chars().collect(), text.chars().take(64).collect());
    if a.len() < 5 || a.len().abs_diff(text.chars().count()) > 2 {
        return false;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.iter().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, right) in b.iter().enumerate() {
            let here = if left == right { corner } else { 1 + corner.min(row[j]).min(row[j + 1]) };
            corner = row[j + 1];
            row[j + 1] = here;
        }
    }
    row[b.len()] <= 2
}
