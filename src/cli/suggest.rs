//! Commands of ours that a screen proposes: built in one place, so that what is typed again means the same.
//!
//! Each carries every option that was given and matters to it, paths as absolute ones, every word as a shell takes it.

use super::pair::RESOURCE;
use super::{Cli, STATE_DIR};
use crate::model::drbd::Role;
use crate::model::evidence::Trust;
use crate::model::id::ResourceName;
use crate::model::shell::{quoted, shell_bytes};
use crate::model::side::Side;
use crate::resolver::access::{Access, Choice, MetadataDevice, PEER_TIMEOUT, TwoSides};
use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// A command line, word by word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suggestion {
    words: Vec<String>,
    state_dir: Vec<String>,
}

/// What a command is about.
#[derive(Debug, Clone, Copy)]
pub enum Topic<'t> {
    /// Two sides.
    Sides(&'t TwoSides),
    /// A running resource, as it and its other node were named.
    Resource(&'t ResourceName, &'t Access),
}

impl Suggestion {
    /// About the same again.
    #[must_use]
    pub fn about(cli: &Cli, verb: &str, topic: Topic<'_>) -> Self {
        match topic {
            Topic::Sides(two) => Suggestion::of_pair(cli, verb, two),
            Topic::Resource(name, access) => Suggestion::of_resource(cli, verb, name.as_str(), access),
        }
    }

    /// `unsplit VERB`, with the state directory that was named.
    #[must_use]
    pub fn new(cli: &Cli, verb: &str) -> Self {
        let mut state_dir = Vec::new();
        if cli.state_dir.as_os_str() != STATE_DIR {
            push_path(&mut state_dir, "--state-dir", &absolute(&cli.state_dir));
        }
        Suggestion { words: vec!["unsplit".to_owned(), verb.to_owned()], state_dir }
    }

    /// About two sides, and how they are to be read.
    #[must_use]
    pub fn of_pair(cli: &Cli, verb: &str, two: &TwoSides) -> Self {
        let mut made = Suggestion::new(cli, verb);
        made.words.push(shell_bytes(absolute(&two.paths.a).as_bytes()));
        // A path on the peer is absolute there, or refused.
        let b = &two.paths.b;
        let b = if two.access.peer.is_some() { b.clone().into_os_string() } else { absolute(b) };
        made.words.push(shell_bytes(b.as_bytes()));
        push_access(&mut made.words, &two.access);
        made
    }

    /// About a running resource and its other node, with how they are to be read.
    #[must_use]
    pub fn of_resource(cli: &Cli, verb: &str, resource: &str, access: &Access) -> Self {
        let mut made = Suggestion::new(cli, verb);
        made.words.push(quoted(resource));
        push_access(&mut made.words, access);
        made
    }

    /// About a running resource, where nothing is known but how its other node is reached, as `--peer` says it.
    #[must_use]
    pub fn by_words(cli: &Cli, verb: &str, resource: &str, peer: &str) -> Self {
        let mut made = Suggestion::new(cli, verb);
        made.words.push(quoted(resource));
        push(&mut made.words, "--peer", peer);
        made
    }

    /// With a flag, where it was given.
    #[must_use]
    pub fn flag(mut self, flag: &str, given: bool) -> Self {
        if given {
            self.words.push(flag.to_owned());
        }
        self
    }

    /// With `--keep NAME`.
    #[must_use]
    pub fn keep(mut self, name: &str) -> Self {
        push(&mut self.words, "--keep", name);
        self
    }

    /// With what was chosen beside the side to keep.
    #[must_use]
    pub fn choice(self, choice: &Choice) -> Self {
        self.flag("--full", choice.full).flag("--no-salvage", choice.no_salvage)
    }
}

impl fmt::Display for Suggestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words.join(" "))?;
        self.state_dir.iter().try_for_each(|word| write!(f, " {word}"))
    }
}

/// The option, and its value: as one word where the value could be taken for an option itself.
fn push(words: &mut Vec<String>, flag: &str, value: &str) {
    if value.starts_with('-') {
        words.push(format!("{flag}={}", quoted(value)));
    } else {
        words.extend([flag.to_owned(), quoted(value)]);
    }
}

fn push_path(words: &mut Vec<String>, flag: &str, path: &OsString) {
    words.extend([flag.to_owned(), shell_bytes(path.as_bytes())]);
}

/// From wherever it will be typed. Links stay: they were named.
fn absolute(path: &Path) -> OsString {
    // It fails for the empty path only, which no device or file has.
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).into_os_string()
}

/// How two sides are to be read, without what nobody said.
fn push_access(words: &mut Vec<String>, access: &Access) {
    for (side, name) in access.names.iter() {
        if name.as_str() != side.word() {
            push(words, &format!("--name-{side}"), name.as_str());
        }
    }
    for (side, device) in access.metadata.iter() {
        if let Some(MetadataDevice { path, index }) = device {
            let there = side == Side::B && access.peer.is_some();
            let mut value = if there { path.clone().into_os_string() } else { absolute(path) };
            if let Some(index) = index {
                value.push(format!(":{index}"));
            }
            push_path(words, &format!("--meta-{side}"), &value);
        }
    }
    for (side, trust) in access.trust.iter() {
        if *trust == Trust::AsIs {
            words.push(format!("--as-is-{side}"));
        }
    }
    if let Some(peer) = &access.peer {
        push(words, "--peer", peer.as_str());
    }
    if access.peer_timeout != PEER_TIMEOUT {
        push(words, "--peer-timeout", &access.peer_timeout.to_string());
    }
    for (side, role) in access.roles.iter() {
        if let Some(role) = role {
            let word = if *role == Role::Primary { "primary" } else { "secondary" };
            push(words, &format!("--role-{side}"), word);
        }
    }
    if access.resource.as_str() != RESOURCE {
        push(words, "--resource", access.resource.as_str());
    }
    if let Some(policy) = &access.policy {
        push_path(words, "--policy", &absolute(policy));
    }
    let reading = &access.reading;
    if let Some(threads) = reading.threads {
        push(words, "--threads", &threads.to_string());
    }
    if let Some(rate) = reading.rate {
        push(words, "--rate", &rate.to_string());
    }
    for (flag, given) in [("--nice", reading.nice), ("--no-cache", !access.believe)] {
        if given {
            words.push(flag.to_owned());
        }
    }
}

#[cfg(test)]
mod tests;
