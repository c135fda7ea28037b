//! What is to be healed, and how it is reached and read: said once, by whoever drives.

use super::failure::{Failure, Kind};
use crate::edge::pace::{Pace, step_back};
use crate::edge::peer::PeerSpec;
use crate::edge::text_file::read_text;
use crate::format::policy as policy_format;
use crate::format::wire::control::Courtesy;
use crate::judge::policy::Policy;
use crate::model::drbd::Role;
use crate::model::evidence::Trust;
use crate::model::id::{NodeName, ResourceName};
use crate::model::policy::Settings;
use crate::model::side::{Pair, Side};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Two backing devices or images of one volume, one of each node.
#[derive(Debug, Clone)]
pub struct TwoSides {
    /// Backing device, snapshot or image of each node.
    pub paths: Pair<PathBuf>,
    /// How they are reached and read.
    pub access: Access,
}

/// Which of the resources that run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// These, each once.
    Named(Vec<ResourceName>),
    /// All that both nodes know.
    All,
}

/// What is to be healed.
#[derive(Debug)]
pub enum Target {
    /// Two sides.
    Pair(Box<TwoSides>),
    /// A resource that runs.
    Resource(ResourceName),
    /// Several of them.
    Several(Wanted),
}

/// How two sides, or two nodes, are reached and read.
#[derive(Debug, Clone)]
pub struct Access {
    /// What the sides are called.
    pub names: Pair<NodeName>,
    /// Metadata devices, where they are external.
    pub metadata: Pair<Option<MetadataDevice>>,
    /// Why each is taken for a backing device.
    pub trust: Pair<Trust>,
    /// Each node's role when its image was taken; `None`: as its metadata says.
    pub roles: Pair<Option<Role>>,
    /// The other node. Side B's paths are then paths there.
    pub peer: Option<PeerSpec>,
    /// Seconds of silence after which the peer counts as gone.
    pub peer_timeout: u16,
    /// What the pair is called.
    pub resource: ResourceName,
    /// The policy file; `None`: DRBD's own defaults, which never decide.
    pub policy: Option<PathBuf>,
    /// How disks are read.
    pub reading: Reading,
    /// Whether a kept comparison is believed where nothing was written since.
    pub believe: bool,
}

/// Seconds of silence after which a peer counts as gone.
pub const PEER_TIMEOUT: u16 = 60;

/// An external metadata device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataDevice {
    /// Its path.
    pub path: PathBuf,
    /// Its index, for indexed metadata.
    pub index: Option<u32>,
}

/// How disks are read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// Threads for reading and comparing; `None`: one per core, at most 8.
    pub threads: Option<u16>,
    /// Bytes per second of each side, at most.
    pub rate: Option<u64>,
    /// Everybody else goes first.
    pub nice: bool,
}

/// What to keep, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    /// The side to keep, whatever the policy says: `a`, `b`, or a name.
    pub keep: Option<String>,
    /// Compare the whole volume, before and after.
    pub full: bool,
    /// Keep no copy of what is discarded. The policy must say so, too.
    pub no_salvage: bool,
}

impl Access {
    /// As the sides are when nothing more is known of them than their names.
    #[must_use]
    pub fn of(
        names: Pair<NodeName>,
        resource: ResourceName,
        peer: Option<PeerSpec>,
        reading: Reading,
    ) -> Access {
        Access {
            names,
            metadata: Pair::new(None, None),
            trust: Pair::new(Trust::Checked, Trust::Checked),
            roles: Pair::new(None, None),
            peer,
            peer_timeout: PEER_TIMEOUT,
            resource,
            policy: None,
            reading,
            believe: true,
        }
    }

    /// The same about a resource of that name.
    #[must_use]
    pub fn about(&self, resource: &ResourceName) -> Access {
        Access { resource: resource.clone(), ..self.clone() }
    }

    /// Threads to use.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.reading.threads()
    }

    /// The policy file, if one is named.
    ///
    /// # Errors
    /// It is missing or wrong.
    pub fn policy(&self) -> Result<Option<Policy>, Failure> {
        self.policy.as_deref().map(load_policy).transpose()
    }

    /// The settings that apply to the resource.
    ///
    /// # Errors
    /// The policy file is missing or wrong.
    pub fn settings(&self) -> Result<Settings, Failure> {
        Ok(settings(self.policy()?.as_ref(), &self.resource))
    }
}

/// The settings of a policy for a resource; DRBD's own defaults without one.
#[must_use]
pub fn settings(policy: Option<&Policy>, resource: &ResourceName) -> Settings {
    policy.map_or_else(Settings::drbd_defaults, |policy| policy.settings_for(resource).clone())
}

/// Reads a policy file.
///
/// # Errors
/// The file is missing or wrong.
pub fn load_policy(path: &Path) -> Result<Policy, Failure> {
    let text = read_text(path, policy_format::MAX_BYTES).map_err(|source| {
        let what = format!("policy {} cannot be read", path.display());
        Failure::new(Kind::Usage, anyhow::Error::new(source).context(what))
    })?;
    policy_format::load(&text, &path.display().to_string())
        .map_err(|problems| Failure::new(Kind::Usage, problems))
}

impl Choice {
    /// The side that is to be kept.
    ///
    /// # Errors
    /// It is neither `a`, `b` nor a side's name.
    pub fn keep_side(&self, names: &Pair<NodeName>) -> Result<Option<Side>, Failure> {
        let Some(word) = &self.keep else { return Ok(None) };
        // A name wins over the letters: a node may be called `b` and be side a.
        let by_name = Side::BOTH.into_iter().find(|side| names[*side].as_str() == word);
        let by_letter = Side::BOTH.into_iter().find(|side| side.word() == word);
        by_name.or(by_letter).map(Some).ok_or_else(|| {
            let named = match (names.a.as_str(), names.b.as_str()) {
                ("a", "b") => "a or b".to_owned(),
                (a, b) => format!("a, b, {a} or {b}"),
            };
            Failure::usage(format!("--keep {word}: there is no such side; say {named}"))
        })
    }
}

impl Reading {
    /// Threads to use: one per core if not said, at most 8, beyond that the disks are the limit.
    #[must_use]
    pub fn threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(2, usize::from).min(8);
        self.threads.map_or_else(cores, usize::from)
    }

    /// The bound on one disk's reads: each disk has its own.
    #[must_use]
    pub fn pace(&self) -> Option<Arc<Pace>> {
        self.rate.map(|rate| Arc::new(Pace::new(rate)))
    }

    /// The same for the disks of a peer.
    #[must_use]
    pub fn there(&self) -> Courtesy {
        Courtesy { rate: self.rate, nice: self.nice }
    }

    /// Lets everybody else go first, where that is wanted: this process, and what it does from now on.
    ///
    /// # Errors
    /// The system refused: whoever asked for it would otherwise be surprised.
    pub fn step_back(&self) -> Result<(), Failure> {
        if !self.nice {
            return Ok(());
        }
        step_back().map_err(|error| {
            Failure::evidence(error).hint("leave out --nice, and use --rate to go gently instead")
        })
    }
}
