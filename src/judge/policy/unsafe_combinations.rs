//! Values that are fine alone and must not go together.

use super::check::{Entry, Problem, Span, Wrong};
use super::words::Key;
use crate::model::policy::{
    AfterSb0pri, AfterSb1pri, AfterSb2pri, FenceRule, Keep, RrConflict, SalvageRule, Settings,
};

struct Combination {
    keys: &'static [Key],
    holds: fn(&Settings) -> bool,
    why: &'static str,
}

const COMBINATIONS: [Combination; 6] = [
    Combination {
        keys: &[Key::Salvage, Key::Auto],
        holds: |s| s.auto && s.salvage == SalvageRule::Off,
        why: "`auto = true` with `salvage = \"off\"` destroys data without a copy and without asking; keep `salvage = \"required\"`, or ask",
    },
    Combination {
        keys: &[Key::AfterSb1pri, Key::Auto],
        holds: |s| s.auto && s.after_sb_1pri == AfterSb1pri::ViolentlyAs0p,
        why: "`auto = true` with `after-sb-1pri = \"violently-as0p\"` overwrites a Primary under its application without asking; use \"consensus\" or \"discard-secondary\", or ask",
    },
    Combination {
        keys: &[Key::AfterSb2pri, Key::Auto],
        holds: |s| s.auto && s.after_sb_2pri == AfterSb2pri::ViolentlyAs0p,
        why: "`auto = true` with `after-sb-2pri = \"violently-as0p\"` overwrites a Primary under its application without asking; use \"call-pri-lost-after-sb\", or ask",
    },
    Combination {
        keys: &[Key::RrConflict, Key::Auto],
        holds: |s| s.auto && s.rr_conflict == RrConflict::Violently,
        why: "`auto = true` with `rr-conflict = \"violently\"` overwrites a Primary under its application without asking; use \"disconnect\", or ask",
    },
    Combination {
        keys: &[Key::Fence, Key::Auto],
        holds: |s| s.auto && s.fence == FenceRule::Manual,
        why: "`auto = true` with `fence = \"manual\"` would wait for a person all the same; use \"required\" or \"quorum\", or `auto = false`",
    },
    Combination {
        keys: &[Key::Keep, Key::AfterSb0pri],
        holds: |s| matches!((&s.keep, &s.after_sb_0pri), (Some(Keep::Node(kept)), AfterSb0pri::DiscardNode(lost)) if kept == lost),
        why: "`keep` and `after-sb-0pri` name the same node, one to be kept and one to be discarded",
    },
];

/// Adds the unsafe combinations in `settings`, which `entries` made of `base`. `below` are the entries that made
/// `base`; a combination that `base` already has is not reported again.
pub(super) fn find(
    settings: &Settings,
    base: Option<&Settings>,
    entries: &[Entry],
    below: &[Entry],
    problems: &mut Vec<Problem>,
) {
    for combination in &COMBINATIONS {
        if !(combination.holds)(settings) || base.is_some_and(combination.holds) {
            continue;
        }
        let at = place(combination.keys, entries).or_else(|| place(combination.keys, below));
        problems.push(Problem { at: at.unwrap_or(0..0), wrong: Wrong::Unsafe { why: combination.why } });
    }
}

/// The value to blame: the first of the keys that these entries give.
fn place(keys: &[Key], entries: &[Entry]) -> Option<Span> {
    keys.iter()
        .find_map(|key| entries.iter().find(|entry| entry.key == key.word()))
        .map(|entry| entry.value_at.clone())
}
