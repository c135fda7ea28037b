//! The two sides as the command line names them.

use super::exit::{EVIDENCE, Failure, USAGE};
use super::reading::Reading;
use super::screen::shell_path;
use crate::edge::blockdev::{BlockFile, Mode};
use crate::edge::clock::SystemClock;
use crate::edge::drbd::image::ObserveError;
use crate::edge::drbd::offline::OfflineReplica;
use crate::edge::layout::read_layout_within;
use crate::edge::terminal::TerminalProgress;
use crate::engine::inquiry::{InquiryError, Sight, diff, look, side_words};
use crate::format::drbdmeta::superblock::SuperblockError;
use crate::format::policy as policy_format;
use crate::judge::policy::Policy;
use crate::judge::units::{UnitReport, attribute};
use crate::model::delta::Delta;
use crate::model::drbd::Role;
use crate::model::evidence::{MetadataPlace, Source};
use crate::model::id::{NodeName, ResourceName};
use crate::model::policy::Settings;
use crate::model::side::{Pair, Side};
use crate::model::unit::Layout;
use crate::ports::replica::Replica;
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Two backing devices or images of one volume, one of each node.
#[derive(Debug, Clone, Args)]
pub struct PairArgs {
    /// Backing device, snapshot or image of the first node
    #[arg(value_name = "A")]
    pub a: PathBuf,

    /// The same of the second node
    #[arg(value_name = "B")]
    pub b: PathBuf,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub options: PairOptions,
}

/// How the two sides are to be read.
#[derive(Debug, Clone, Args)]
pub struct PairOptions {
    /// What to call the first side
    #[arg(long, value_name = "NAME", default_value = "a", value_parser = node_name)]
    pub name_a: NodeName,

    /// What to call the second side
    #[arg(long, value_name = "NAME", default_value = "b", value_parser = node_name)]
    pub name_b: NodeName,

    /// Metadata device of the first side, if external; `:N` for index N
    #[arg(long, value_name = "DEV[:N]", value_parser = metadata_device)]
    pub meta_a: Option<MetadataDevice>,

    /// The same of the second side
    #[arg(long, value_name = "DEV[:N]", value_parser = metadata_device)]
    pub meta_b: Option<MetadataDevice>,

    /// Role of the first node when its image was taken [default: as its metadata says]
    #[arg(long, value_name = "ROLE")]
    pub role_a: Option<RoleWord>,

    /// The same of the second node
    #[arg(long, value_name = "ROLE")]
    pub role_b: Option<RoleWord>,

    /// The resource's name, for policy overrides and records
    #[arg(long, value_name = "NAME", default_value = "offline", value_parser = resource_name)]
    pub resource: ResourceName,

    /// Policy file [default: DRBD's own defaults, which never decide]
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub reading: Reading,
}

/// A role on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RoleWord {
    /// The node was Primary
    Primary,
    /// The node was Secondary
    Secondary,
}

/// An external metadata device on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataDevice {
    /// Its path.
    pub path: PathBuf,
    /// Its index, for indexed metadata.
    pub index: Option<u32>,
}

fn node_name(text: &str) -> Result<NodeName, String> {
    NodeName::new(text).map_err(|error| error.to_string())
}

fn resource_name(text: &str) -> Result<ResourceName, String> {
    ResourceName::new(text).map_err(|error| error.to_string())
}

fn metadata_device(text: &str) -> Result<MetadataDevice, String> {
    match text.rsplit_once(':') {
        Some((path, index))
            if !path.is_empty() && index.chars().all(|c| c.is_ascii_digit()) && !index.is_empty() =>
        {
            let index = index.parse().map_err(|_| format!("`{index}` is not an index"))?;
            Ok(MetadataDevice { path: path.into(), index: Some(index) })
        }
        _ if text.is_empty() => Err("a path is needed".to_owned()),
        _ => Ok(MetadataDevice { path: text.into(), index: None }),
    }
}

impl PairOptions {
    /// Threads to use.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.reading.threads()
    }

    /// The settings that apply to the resource.
    ///
    /// # Errors
    /// The policy file is missing or wrong.
    pub fn settings(&self) -> Result<Settings, Failure> {
        let Some(path) = &self.policy else { return Ok(Settings::drbd_defaults()) };
        Ok(load_policy(path)?.settings_for(&self.resource).clone())
    }
}

impl PairArgs {
    /// The two sides and everything that says how to read them, as they must be typed again: for the next command.
    #[must_use]
    pub fn words(&self) -> String {
        let mut words = format!("{} {}", shell_path(&self.a), shell_path(&self.b));
        let options = &self.options;
        let names = [("--name-a", "a", &options.name_a), ("--name-b", "b", &options.name_b)];
        for (flag, default, name) in names {
            if name.as_str() != default {
                words.push_str(&format!(" {flag} {name}"));
            }
        }
        for (flag, device) in [("--meta-a", &options.meta_a), ("--meta-b", &options.meta_b)] {
            if let Some(MetadataDevice { path, index }) = device {
                let index = index.map(|index| format!(":{index}")).unwrap_or_default();
                words.push_str(&format!(" {flag} {}{index}", shell_path(path)));
            }
        }
        for (flag, role) in [("--role-a", options.role_a), ("--role-b", options.role_b)] {
            if let Some(role) = role.as_ref().and_then(ValueEnum::to_possible_value) {
                words.push_str(&format!(" {flag} {}", role.get_name()));
            }
        }
        if options.resource.as_str() != "offline" {
            words.push_str(&format!(" --resource {}", options.resource));
        }
        if let Some(policy) = &options.policy {
            words.push_str(&format!(" --policy {}", shell_path(policy)));
        }
        words
    }
}

/// Reads a policy file.
///
/// # Errors
/// The file is missing or wrong; exit code 2.
pub fn load_policy(path: &Path) -> Result<Policy, Failure> {
    let text = std::fs::read_to_string(path).map_err(|source| {
        Failure::new(
            USAGE,
            anyhow::Error::new(source).context(format!("policy {} cannot be read", path.display())),
        )
    })?;
    policy_format::load(&text, &path.display().to_string()).map_err(|problems| Failure::new(USAGE, problems))
}

/// Two opened sides.
pub struct OpenPair {
    /// The sides.
    pub sides: Pair<OfflineReplica>,
}

fn role(word: Option<RoleWord>) -> Option<Role> {
    word.map(|word| match word {
        RoleWord::Primary => Role::Primary,
        RoleWord::Secondary => Role::Secondary,
    })
}

/// What a person can do about metadata that is there and cannot be used.
fn what_to_do(error: &ObserveError) -> Option<String> {
    let words = match error {
        ObserveError::Corrupt { source: SuperblockError::Version07, .. } => return None,
        ObserveError::Corrupt { .. } => {
            "restore the metadata from a dump (`drbdmeta ... restore-md`), or copy this side again"
        }
        ObserveError::Misfit { .. } => {
            "give the whole device or image as DRBD used it, neither grown nor cut, and with the right --meta-a or --meta-b if external"
        }
        ObserveError::Disk(_) => {
            "look at the kernel's log; a failing disk is best copied first (`ddrescue`), and the copy used here"
        }
        ObserveError::SeveralIndexes { .. } => "give the index, too: --meta-a DEV:N or --meta-b DEV:N",
        _ => return None,
    };
    Some(words.to_owned())
}

/// The devices that `--meta-a` and `--meta-b` name.
fn metadata_devices(
    options: &PairOptions,
    data: &Pair<Arc<BlockFile>>,
    device: &dyn Fn(&Path) -> Result<Arc<BlockFile>, Failure>,
) -> Result<Pair<Option<Arc<BlockFile>>>, Failure> {
    let open = |side: Side, meta: &Option<MetadataDevice>| -> Result<_, Failure> {
        let Some(meta) = meta else { return Ok(None) };
        let opened = device(&meta.path)?;
        for (whose, data) in data.iter() {
            if opened.identity() == data.identity() {
                let whose = if whose == side {
                    "the data device itself; leave it out"
                } else {
                    "the other side's data device"
                };
                return Err(Failure::usage(format!("side {side}: --meta-{side} names {whose}")));
            }
        }
        Ok(Some(opened))
    };
    // One device may hold the metadata of both sides, at two indexes: then it is opened once, and claimed once.
    Ok(match (open(Side::A, &options.meta_a)?, open(Side::B, &options.meta_b)?) {
        (Some(a), Some(b)) if a.identity() == b.identity() => Pair::new(Some(a.clone()), Some(a)),
        (a, b) => Pair::new(a, b),
    })
}

/// Opens both sides.
///
/// # Errors
/// Missing, busy, damaged or the same thing twice.
pub fn open(args: &PairArgs, mode: Mode) -> Result<OpenPair, Failure> {
    let options = &args.options;
    if options.name_a == options.name_b {
        return Err(Failure::usage(
            "both sides have the same name: give --name-a and --name-b different names",
        ));
    }
    options.reading.step_back()?;
    let device = |path: &Path| {
        let opened = BlockFile::open(path, mode).map_err(Failure::evidence)?;
        Ok(Arc::new(opened.paced(options.reading.pace())))
    };
    let data = Pair::new(device(&args.a)?, device(&args.b)?);
    if data.a.identity() == data.b.identity() {
        return Err(Failure::usage(format!(
            "{} and {} are the same thing: give one image of each node",
            args.a.display(),
            args.b.display()
        )));
    }
    let metadata = metadata_devices(options, &data, &device)?;
    let open_side =
        |side: Side, data: &Arc<BlockFile>, name: &NodeName, meta: Option<&MetadataDevice>, role| {
            let metadata = metadata[side].clone();
            let place = meta.map(|meta| {
                meta.index.map_or(MetadataPlace::FlexibleExternal, MetadataPlace::IndexedExternal)
            });
            // Without an index the place is found, not assumed.
            let place = place.filter(|place| matches!(place, MetadataPlace::IndexedExternal(_)));
            OfflineReplica::open(name.clone(), data.clone(), metadata, place, role).map_err(|error| {
                let hint = what_to_do(&error);
                let words = format!("{} cannot be used", side_words(side, name.as_str()));
                Failure { code: EVIDENCE, error: anyhow::Error::new(error).context(words), hint }
            })
        };
    let a = open_side(Side::A, &data.a, &options.name_a, options.meta_a.as_ref(), role(options.role_a))?;
    let b = open_side(Side::B, &data.b, &options.name_b, options.meta_b.as_ref(), role(options.role_b))?;
    let places = [a.source(), b.source()].map(|source| (source.metadata, source.superblock_at));
    if places[0] == places[1] {
        return Err(Failure::usage(
            "--meta-a and --meta-b name the same metadata: give each side's own, `:N` for its index",
        ));
    }
    Ok(OpenPair { sides: Pair::new(a, b) })
}

/// The command line that would open what a plan was drawn from.
///
/// # Errors
/// A path that is not usable.
pub fn args_from_sources(
    sources: Pair<&Source>,
    names: &Pair<NodeName>,
    resource: &ResourceName,
    reading: &Reading,
) -> PairArgs {
    let meta = |source: &Source| match source.place {
        MetadataPlace::Internal => None,
        MetadataPlace::FlexibleExternal => {
            Some(MetadataDevice { path: source.metadata.clone().into(), index: None })
        }
        MetadataPlace::IndexedExternal(index) => {
            Some(MetadataDevice { path: source.metadata.clone().into(), index: Some(index) })
        }
    };
    PairArgs {
        a: sources.a.data.clone().into(),
        b: sources.b.data.clone().into(),
        options: PairOptions {
            name_a: names.a.clone(),
            name_b: names.b.clone(),
            meta_a: meta(sources.a),
            meta_b: meta(sources.b),
            role_a: None,
            role_b: None,
            resource: resource.clone(),
            policy: None,
            reading: reading.clone(),
        },
    }
}

impl OpenPair {
    /// Both sides, for reading.
    #[must_use]
    pub fn replicas(&self) -> Pair<&dyn Replica> {
        self.sides.as_ref().map(|side| side as &dyn Replica)
    }

    /// Observes and compares.
    ///
    /// # Errors
    /// See [`InquiryError`]; exit code 4, or 2 when one node was given twice.
    pub fn look(&self, settings: &Settings) -> Result<Sight, Failure> {
        look(self.replicas(), settings, &SystemClock).map_err(inquiry_failure)
    }

    /// Compares contents.
    ///
    /// # Errors
    /// See [`InquiryError`].
    pub fn diff(&self, sight: &Sight, full: bool, threads: usize) -> Result<Found, Failure> {
        let progress = TerminalProgress::new();
        let delta = diff(self.replicas(), sight, full, threads, &progress).map_err(inquiry_failure)?;
        let layouts = Pair::from_fn(|side| read_layout_within(self.sides[side].data(), delta.size));
        let units = attribute(&delta, &layouts);
        let names = sight.evidence.as_ref().map(|seen| seen.name.clone());
        Ok(Found { names, delta, layouts, units })
    }
}

/// What a comparison of contents found.
#[derive(Debug)]
pub struct Found {
    /// What the sides are called.
    pub names: Pair<NodeName>,
    /// What differs.
    pub delta: Delta,
    /// Each side's units.
    pub layouts: Pair<Layout>,
    /// What differs in each unit.
    pub units: UnitReport,
}

fn inquiry_failure(error: InquiryError) -> Failure {
    let code = match &error {
        InquiryError::SameDevice { .. } | InquiryError::SameNode { .. } => USAGE,
        InquiryError::Unrelated { .. } => super::exit::HELD,
        _ => EVIDENCE,
    };
    Failure::new(code, error)
}
