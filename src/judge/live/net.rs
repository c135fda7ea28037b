//! The options of a connection as each end has them: the kernel's while it has any, else the configuration's. Both ends must
//! agree on some of them, and they decide what DRBD would do.

use crate::model::drbd_live::object::{NetOptions, Value};
use crate::model::drbd_live::words::AfterSplitBrain;
use crate::model::node::ConfiguredOption;
use crate::model::policy::{AfterSb0pri, AfterSb1pri, AfterSb2pri, RrConflict, Settings};
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error as WordError, StrDeserializer};

/// One end's options, in DRBD's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Net {
    pub(super) protocol: String,
    pub(super) after_sb: [String; 3],
    pub(super) rr_conflict: String,
    pub(super) always_asbp: bool,
    pub(super) two_primaries: bool,
    pub(super) integrity: String,
    /// Whether a secret is set, where that is known.
    pub(super) secret: Option<bool>,
    pub(super) discard_my_data: bool,
    /// From the kernel, rather than from the files.
    pub(super) running: bool,
}

/// An option on which both ends must agree, and do not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mismatch {
    pub(super) option: &'static str,
    pub(super) values: [String; 2],
}

impl Net {
    pub(super) fn of_kernel(options: &NetOptions) -> Net {
        let sb = |value: Option<AfterSplitBrain>| value.map_or("disconnect".to_owned(), |v| v.to_string());
        let text = |name: &str| {
            let found = options.others.iter().find(|setting| setting.name == name);
            match found.map(|setting| &setting.value) {
                Some(Value::Text(text)) => text.clone(),
                _ => String::new(),
            }
        };
        Net {
            protocol: options.protocol.map_or("C".to_owned(), |protocol| protocol.to_string()),
            after_sb: [sb(options.after_sb_0pri), sb(options.after_sb_1pri), sb(options.after_sb_2pri)],
            rr_conflict: options.rr_conflict.map_or("disconnect".to_owned(), |value| value.to_string()),
            always_asbp: options.always_asbp.unwrap_or(false),
            two_primaries: options.allow_two_primaries.unwrap_or(false),
            integrity: text("integrity_alg"),
            secret: options.has_secret,
            discard_my_data: options.discard_my_data.unwrap_or(false),
            running: true,
        }
    }

    /// What is not written down has DRBD's default. `host`: whose files they are.
    pub(super) fn of_files(options: &[ConfiguredOption], host: &str) -> Net {
        let word = |name: &str, default: &str| {
            let found = options.iter().find(|option| option.name == name);
            found.map_or(default, |option| option.value.as_str()).to_owned()
        };
        let yes = |name: &str| word(name, "no") == "yes";
        // As drbdadm tells it to each kernel.
        let zero = match word("after-sb-0pri", "disconnect").strip_prefix("discard-node-") {
            Some(node) if node == host => "discard-local".to_owned(),
            Some(_) => "discard-remote".to_owned(),
            None => word("after-sb-0pri", "disconnect"),
        };
        Net {
            protocol: word("protocol", "C"),
            after_sb: [zero, word("after-sb-1pri", "disconnect"), word("after-sb-2pri", "disconnect")],
            rr_conflict: word("rr-conflict", "disconnect"),
            always_asbp: yes("always-asbp"),
            two_primaries: yes("allow-two-primaries"),
            integrity: word("data-integrity-alg", ""),
            secret: None,
            discard_my_data: false,
            running: false,
        }
    }

    /// The settings by which DRBD would decide, this end being side A. `rr-conflict` is each end's own; where they differ, the
    /// word that changes nothing is taken.
    pub(super) fn settings(&self, other: Option<&Net>) -> Settings {
        let mut settings = Settings::drbd_defaults();
        settings.after_sb_0pri = word::<AfterSb0pri>(&self.after_sb[0]).unwrap_or(AfterSb0pri::Disconnect);
        settings.after_sb_1pri = word::<AfterSb1pri>(&self.after_sb[1]).unwrap_or(AfterSb1pri::Disconnect);
        settings.after_sb_2pri = word::<AfterSb2pri>(&self.after_sb[2]).unwrap_or(AfterSb2pri::Disconnect);
        settings.always_asbp = self.always_asbp || other.is_some_and(|other| other.always_asbp);
        let same = other.is_none_or(|other| other.rr_conflict == self.rr_conflict);
        let rr = if same { word::<RrConflict>(&self.rr_conflict) } else { None };
        settings.rr_conflict = rr.unwrap_or(RrConflict::Disconnect);
        settings
    }

    /// On what the two ends do not agree although DRBD insists.
    pub(super) fn mismatches(&self, other: &Net) -> Vec<Mismatch> {
        let mut found = Vec::new();
        let mut differ = |option, a: &str, b: &str| {
            if a != b {
                found.push(Mismatch { option, values: [a.to_owned(), b.to_owned()] });
            }
        };
        differ("protocol", &self.protocol, &other.protocol);
        differ("after-sb-0pri", &self.after_sb[0], mirrored(&other.after_sb[0]));
        differ("after-sb-1pri", &self.after_sb[1], &other.after_sb[1]);
        differ("after-sb-2pri", &self.after_sb[2], &other.after_sb[2]);
        let yes = |flag| if flag { "yes" } else { "no" };
        differ("allow-two-primaries", yes(self.two_primaries), yes(other.two_primaries));
        differ("data-integrity-alg", &self.integrity, &other.integrity);
        if let (Some(mine), Some(theirs)) = (self.secret, other.secret) {
            differ(
                "shared-secret",
                if mine { "set" } else { "not set" },
                if theirs { "set" } else { "not set" },
            );
        }
        found
    }
}

/// What one end calls local is remote at the other.
fn mirrored(word: &str) -> &str {
    match word {
        "discard-local" => "discard-remote",
        "discard-remote" => "discard-local",
        same => same,
    }
}

/// DRBD's word as a value; a name of a node is none here.
fn word<'a, T: Deserialize<'a>>(word: &'a str) -> Option<T> {
    let words: StrDeserializer<'a, WordError> = word.into_deserializer();
    T::deserialize(words).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(list: &[(&str, &str)]) -> Vec<ConfiguredOption> {
        let option = |(name, value): &(&str, &str)| ConfiguredOption {
            name: (*name).to_owned(),
            value: (*value).to_owned(),
        };
        list.iter().map(option).collect()
    }

    #[test]
    fn files_and_kernel_say_the_same() {
        let files = Net::of_files(&options(&[("after-sb-0pri", "discard-zero-changes")]), "alpha");
        let kernel = Net::of_kernel(&NetOptions {
            after_sb_0pri: Some(AfterSplitBrain::DiscardZeroChanges),
            ..NetOptions::default()
        });
        assert_eq!(files.mismatches(&kernel), []);
        assert_eq!(files.settings(None).after_sb_0pri, AfterSb0pri::DiscardZeroChanges);
        assert_eq!(Net::of_files(&[], "x").settings(None), Settings::drbd_defaults());
    }

    #[test]
    fn a_named_victim_is_local_here_and_remote_there() {
        let list = options(&[("after-sb-0pri", "discard-node-alpha")]);
        let (alpha, beta) = (Net::of_files(&list, "alpha"), Net::of_files(&list, "beta"));
        assert_eq!(alpha.after_sb[0], "discard-local");
        assert_eq!(beta.after_sb[0], "discard-remote");
        assert_eq!(alpha.mismatches(&beta), []);
        assert_eq!(alpha.settings(Some(&beta)).after_sb_0pri, AfterSb0pri::DiscardLocal);
    }

    #[test]
    fn what_must_agree_is_named() {
        let a = Net::of_files(&options(&[("protocol", "A"), ("rr-conflict", "violently")]), "a");
        let b = Net::of_files(&options(&[("allow-two-primaries", "yes")]), "b");
        let names: Vec<_> = a.mismatches(&b).iter().map(|mismatch| mismatch.option).collect();
        assert_eq!(names, ["protocol", "allow-two-primaries"]);
        assert_eq!(a.settings(Some(&b)).rr_conflict, RrConflict::Disconnect);
    }
}
