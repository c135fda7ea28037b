//! The two sides as the command line names them.

use super::exit::{EVIDENCE, Failure, USAGE};
use super::incident::when;
use super::reading::Reading;
use crate::edge::blockdev::{BlockFile, Mode};
use crate::edge::clock::SystemClock;
use crate::edge::drbd::offline::OfflineReplica;
use crate::edge::layout::read_layout_within;
use crate::edge::peer::{PeerSpec, RemoteReplica};
use crate::edge::state_dir::StateDir;
use crate::edge::terminal::TerminalProgress;
use crate::edge::text_file::read_text;
use crate::engine::incident::{Ending, Obstacle};
use crate::engine::inquiry::{InquiryError, Sight, look, side_words};
use crate::engine::recall::{self, Memory, Place};
use crate::format::policy as policy_format;
use crate::judge::policy::Policy;
use crate::judge::units::{UnitReport, attribute};
use crate::model::delta::Delta;
use crate::model::drbd::Role;
use crate::model::evidence::{MetadataPlace, Source, Trust};
use crate::model::id::{NodeName, ResourceName};
use crate::model::policy::Settings;
use crate::model::seen::{Stamp, Why};
use crate::model::shell::shell_word;
use crate::model::side::{Pair, Side};
use crate::model::unit::Layout;
use crate::ports::progress::Progress;
use crate::ports::replica::{Replica, WritableReplica};
use crate::ports::store::Store;
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Two backing devices or images of one volume, one of each node.
#[derive(Debug, Clone)]
pub struct PairArgs {
    /// Backing device, snapshot or image of the first node.
    pub a: PathBuf,
    /// The same of the second node.
    pub b: PathBuf,
    /// How they are to be read.
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

    /// The first side is a backing device just as it is, though it looks like something else
    #[arg(long)]
    pub as_is_a: bool,

    /// The same of the second side
    #[arg(long)]
    pub as_is_b: bool,

    /// The other node: `ssh:HOST`, or `exec:COMMAND`; B and --meta-b are then paths there
    #[arg(long, value_name = "PEER")]
    pub peer: Option<PeerSpec>,

    /// Give up when the other node says nothing for that long
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = clap::value_parser!(u16).range(1..=3600))]
    pub peer_timeout: u16,

    /// Role of the first node when its image was taken [default: as its metadata says]
    #[arg(long, value_name = "ROLE")]
    pub role_a: Option<RoleWord>,

    /// The same of the second node
    #[arg(long, value_name = "ROLE")]
    pub role_b: Option<RoleWord>,

    /// The resource's name, for policy overrides and records
    #[arg(long, value_name = "NAME", default_value = RESOURCE, value_parser = resource_name)]
    pub resource: ResourceName,

    /// Policy file [default: DRBD's own defaults, which never decide]
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub reading: Reading,

    /// Read both sides even where a kept comparison shows that nothing was written since
    #[arg(long)]
    pub no_cache: bool,
}

/// Seconds of silence after which a peer counts as gone.
pub const PEER_TIMEOUT: u16 = 60;

/// What two sides are called together, when nobody says.
pub const RESOURCE: &str = "offline";

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
    /// A side's name, metadata device and role.
    pub(super) fn of(&self, side: Side) -> (&NodeName, Option<&MetadataDevice>, Option<Role>) {
        match side {
            Side::A => (&self.name_a, self.meta_a.as_ref(), role(self.role_a)),
            Side::B => (&self.name_b, self.meta_b.as_ref(), role(self.role_b)),
        }
    }

    /// Why a side is taken for a backing device.
    #[must_use]
    pub fn trust(&self, side: Side) -> Trust {
        let as_is = match side {
            Side::A => self.as_is_a,
            Side::B => self.as_is_b,
        };
        if as_is { Trust::AsIs } else { Trust::Checked }
    }

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

/// Reads a policy file.
///
/// # Errors
/// The file is missing or wrong; exit code 2.
pub fn load_policy(path: &Path) -> Result<Policy, Failure> {
    let text = read_text(path, policy_format::MAX_BYTES).map_err(|source| {
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
    pub sides: Pair<OpenSide>,
}

/// An opened side.
pub enum OpenSide {
    /// On this machine.
    Here(Box<OfflineReplica>),
    /// On the peer.
    There(Box<RemoteReplica>),
}

impl OpenSide {
    /// For reading.
    #[must_use]
    pub fn replica(&self) -> &dyn Replica {
        match self {
            OpenSide::Here(replica) => &**replica,
            OpenSide::There(replica) => &**replica,
        }
    }

    /// For changing.
    #[must_use]
    pub fn writable(&self) -> &dyn WritableReplica {
        match self {
            OpenSide::Here(replica) => &**replica,
            OpenSide::There(replica) => &**replica,
        }
    }
}

fn role(word: Option<RoleWord>) -> Option<Role> {
    word.map(|word| match word {
        RoleWord::Primary => Role::Primary,
        RoleWord::Secondary => Role::Secondary,
    })
}

/// A metadata device that was named must not be a data device.
fn metadata_device_of(
    side: Side,
    options: &PairOptions,
    data: &[(Side, &Arc<BlockFile>)],
    mode: Mode,
) -> Result<Option<Arc<BlockFile>>, Failure> {
    let (_, Some(meta), _) = options.of(side) else { return Ok(None) };
    let opened = device(&meta.path, options, mode)?;
    for (whose, data) in data {
        if opened.identity() == data.identity() {
            let whose = if *whose == side {
                "the data device itself; leave it out"
            } else {
                "the other side's data device"
            };
            return Err(Failure::usage(format!("side {side}: --meta-{side} names {whose}")));
        }
    }
    Ok(Some(opened))
}

fn device(path: &Path, options: &PairOptions, mode: Mode) -> Result<Arc<BlockFile>, Failure> {
    let opened = BlockFile::open(path, mode).map_err(Failure::evidence)?;
    Ok(Arc::new(opened.paced(options.reading.pace())))
}

/// Without an index the place is found, not assumed.
fn place(meta: Option<&MetadataDevice>) -> Option<MetadataPlace> {
    meta.and_then(|meta| meta.index).map(MetadataPlace::IndexedExternal)
}

/// Opens both sides.
///
/// # Errors
/// Missing, busy, damaged or the same thing twice; or the peer cannot be talked to.
pub fn open(args: &PairArgs, mode: Mode) -> Result<OpenPair, Failure> {
    let options = &args.options;
    if options.name_a == options.name_b {
        return Err(Failure::usage(
            "both sides have the same name: give --name-a and --name-b different names",
        ));
    }
    for (side, name) in [(Side::A, &options.name_a), (Side::B, &options.name_b)] {
        if name.as_str().eq_ignore_ascii_case(side.other().word()) {
            let other = side.other();
            return Err(Failure::usage(format!(
                "--name-{side} {name}: side {side} cannot be called {name}, because `{other}` means the other side (in --keep, for \
                 one), and only its case would tell them apart; give the sides other names, spelled as DRBD spells them"
            )));
        }
    }
    options.reading.step_back()?;
    match &options.peer {
        None => open_here(args, mode).map_err(|failure| or_resources(failure, args)),
        Some(peer) => super::peer::open_there(args, peer, mode),
    }
    .and_then(|opened| if mode == Mode::ReadOnly { Ok(opened) } else { opened.unless_grown() })
}

/// Two words without a peer are two files; where there are none of these names, resources may have been meant.
fn or_resources(failure: Failure, args: &PairArgs) -> Failure {
    let name = |path: &Path| {
        let text = path.to_string_lossy();
        !text.contains('/') && ResourceName::new(&text).is_ok() && !path.exists()
    };
    if failure.hint.is_some() || !name(&args.a) || !name(&args.b) {
        return failure;
    }
    let (a, b) = (args.a.display(), args.b.display());
    failure.hint(format!(
        "if {a} and {b} are running resources, name their other node, too: --peer ssh:OTHER-NODE"
    ))
}

fn open_here(args: &PairArgs, mode: Mode) -> Result<OpenPair, Failure> {
    let options = &args.options;
    let data = Pair::new(device(&args.a, options, mode)?, device(&args.b, options, mode)?);
    if data.a.identity() == data.b.identity() {
        return Err(Failure::usage(format!(
            "{} and {} are the same thing: give one image of each node",
            args.a.display(),
            args.b.display()
        )));
    }
    let all = [(Side::A, &data.a), (Side::B, &data.b)];
    let meta = |side| metadata_device_of(side, options, &all, mode);
    // One device may hold the metadata of both sides, at two indexes: then it is opened once, and claimed once.
    let metadata = match (meta(Side::A)?, meta(Side::B)?) {
        (Some(a), Some(b)) if a.identity() == b.identity() => Pair::new(Some(a.clone()), Some(a)),
        (a, b) => Pair::new(a, b),
    };
    let a = open_side(Side::A, options, &data.a, metadata.a)?;
    let b = open_side(Side::B, options, &data.b, metadata.b)?;
    let places = [a.source(), b.source()].map(|source| (source.metadata, source.superblock_at));
    if places[0] == places[1] {
        return Err(Failure::usage(
            "--meta-a and --meta-b name the same metadata: give each side's own, `:N` for its index",
        ));
    }
    Ok(OpenPair { sides: Pair::new(a, b).map(|side| OpenSide::Here(Box::new(side))) })
}

/// Opens side A when side B is elsewhere.
///
/// # Errors
/// Missing, busy or damaged.
pub(super) fn open_a(args: &PairArgs, mode: Mode) -> Result<(Arc<BlockFile>, OfflineReplica), Failure> {
    let data = device(&args.a, &args.options, mode)?;
    let metadata = metadata_device_of(Side::A, &args.options, &[(Side::A, &data)], mode)?;
    let side = open_side(Side::A, &args.options, &data, metadata)?;
    Ok((data, side))
}

fn open_side(
    side: Side,
    options: &PairOptions,
    data: &Arc<BlockFile>,
    metadata: Option<Arc<BlockFile>>,
) -> Result<OfflineReplica, Failure> {
    let (name, meta, role) = options.of(side);
    let (place, trust) = (place(meta), options.trust(side));
    OfflineReplica::open_with(name.clone(), data.clone(), metadata, place, role, trust).map_err(|error| {
        let hint = error.advice();
        let words = format!("{} cannot be used", side_words(side, name.as_str()));
        Failure { code: EVIDENCE, error: anyhow::Error::new(error).context(words), hint }
    })
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
) -> Result<PairArgs, Failure> {
    let wrong = |why: String| Failure::internal(anyhow::anyhow!("the plan names no usable peer: {why}"));
    let peer = sources.b.on.as_ref().map(|on| on.peer.parse().map_err(wrong)).transpose()?;
    let meta = |source: &Source| match source.place {
        MetadataPlace::Internal => None,
        MetadataPlace::FlexibleExternal => {
            Some(MetadataDevice { path: source.metadata.clone().into(), index: None })
        }
        MetadataPlace::IndexedExternal(index) => {
            Some(MetadataDevice { path: source.metadata.clone().into(), index: Some(index) })
        }
    };
    Ok(PairArgs {
        a: sources.a.data.clone().into(),
        b: sources.b.data.clone().into(),
        options: PairOptions {
            name_a: names.a.clone(),
            name_b: names.b.clone(),
            meta_a: meta(sources.a),
            meta_b: meta(sources.b),
            as_is_a: sources.a.trust == Trust::AsIs,
            as_is_b: sources.b.trust == Trust::AsIs,
            peer,
            peer_timeout: PEER_TIMEOUT,
            role_a: None,
            role_b: None,
            resource: resource.clone(),
            policy: None,
            reading: reading.clone(),
            no_cache: false,
        },
    })
}

impl OpenPair {
    /// Refuses a side whose device was grown since DRBD last used it: it can be looked at, not changed.
    fn unless_grown(self) -> Result<OpenPair, Failure> {
        if Side::BOTH.into_iter().all(|side| self.replicas()[side].source().grown_to.is_none()) {
            return Ok(self);
        }
        // Looking says how the pair stands, too.
        self.look(&Settings::drbd_defaults()).and(Ok(self))
    }

    /// What a lost link left unread is not unreadable: it was not read.
    ///
    /// # Errors
    /// The link to the peer was lost for good.
    pub fn still_there(&self) -> Result<(), Failure> {
        for (_, side) in self.sides.iter() {
            if let OpenSide::There(replica) = side
                && let Some(lost) = replica.lost()
            {
                return Err(Failure::evidence(lost).hint(super::peer::MEND));
            }
        }
        Ok(())
    }

    /// An error of the inquiry, as a failure of the command.
    #[must_use]
    pub fn failure(&self, error: InquiryError) -> Failure {
        let failure = inquiry_failure(error);
        if self.still_there().is_err() { failure.hint(super::peer::MEND) } else { failure }
    }

    /// How a run ended, when the link was lost: then nobody else is in the way, and the devices are not at fault.
    #[must_use]
    pub fn told_by_the_link(&self, ending: Ending) -> Ending {
        if self.still_there().is_ok() {
            return ending;
        }
        let obstacle = Obstacle::Link;
        match ending {
            Ending::Finished(outcome) => Ending::Finished(outcome),
            Ending::Abandoned { why, .. } => Ending::Abandoned { obstacle, why },
            Ending::Parked { why, .. } => Ending::Parked { obstacle, why },
        }
    }

    /// Both sides, for reading.
    #[must_use]
    pub fn replicas(&self) -> Pair<&dyn Replica> {
        self.sides.as_ref().map(OpenSide::replica)
    }

    /// Observes and compares.
    ///
    /// # Errors
    /// See [`InquiryError`]; exit code 4, or 2 when one node was given twice.
    pub fn look(&self, settings: &Settings) -> Result<Sight, Failure> {
        look(self.replicas(), settings, &SystemClock).map_err(|error| self.failure(error))
    }

    /// Compares contents, or finds in the state directory, if there is one, that this was done and nothing written since.
    ///
    /// # Errors
    /// See [`InquiryError`].
    pub fn diff(
        &self,
        sight: &Sight,
        full: bool,
        options: &PairOptions,
        state_dir: &Path,
    ) -> Result<Found, Failure> {
        briefly(state_dir, |place| self.diff_in(sight, full, options, place))
    }

    /// The same with a state directory that is open already.
    ///
    /// # Errors
    /// See [`InquiryError`].
    pub fn diff_in(
        &self,
        sight: &Sight,
        full: bool,
        options: &PairOptions,
        place: Place<'_>,
    ) -> Result<Found, Failure> {
        let progress = TerminalProgress::new();
        let memory = Memory { place, clock: &SystemClock, believe: !options.no_cache };
        let found = contents(self.replicas(), sight, full, options.threads(), &progress, &memory)
            .map_err(|error| self.failure(error))?;
        self.still_there()?;
        Ok(found)
    }
}

/// Compares contents, or finds that this was done, and says which units differ. Whoever reads over a link asks afterwards
/// whether it still stands: what a lost link left unread is not unreadable.
///
/// # Errors
/// [`InquiryError`].
pub(super) fn contents(
    replicas: Pair<&dyn Replica>,
    sight: &Sight,
    full: bool,
    threads: usize,
    progress: &dyn Progress,
    memory: &Memory<'_>,
) -> Result<Found, InquiryError> {
    let recalled = recall::diff(replicas, sight, full, threads, progress, memory)?;
    if let Some(why) = &recalled.not_kept {
        tracing::debug!(%why, "the comparison is not kept for later");
    }
    let delta = recalled.delta;
    let mut remarks = recalled.remarks;
    remarks.extend(
        recalled
            .compared_at
            .map(|at| format!("Compared at {}, nothing written since; --no-cache reads again.", when(at))),
    );
    let layouts = Pair::from_fn(|side| read_layout_within(replicas[side].data(), delta.size));
    let units = attribute(&delta, &layouts);
    let names = sight.evidence.as_ref().map(|seen| seen.name.clone());
    Ok(Found { names, delta, layouts, units, compared_at: recalled.compared_at, remarks })
}

/// With the state directory, if there is one, as a place for comparisons.
pub(super) fn briefly<T>(state_dir: &Path, work: impl FnOnce(Place<'_>) -> T) -> T {
    // Not held open for writing while disks are read: others have incidents to go on with.
    let reading = StateDir::open_read_only(state_dir).ok();
    let writing = || match StateDir::open(state_dir) {
        Ok(store) => Ok(Box::new(store) as Box<dyn Store>),
        Err(error) => Err(Why(error.to_string())),
    };
    work(match &reading {
        Some(reading) => Place::Briefly { reading, writing: &writing },
        None => Place::Nowhere,
    })
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
    /// When the comparison was made, if it was found and not made now.
    pub compared_at: Option<Stamp>,
    /// Sentences about where the comparison came from.
    pub remarks: Vec<String>,
}

/// An error of the inquiry, as a failure of the command.
pub(super) fn inquiry_failure(error: InquiryError) -> Failure {
    let code = match &error {
        InquiryError::SameDevice { .. } | InquiryError::SameNode { .. } => USAGE,
        InquiryError::Unrelated { .. } => super::exit::HELD,
        _ => EVIDENCE,
    };
    let hint = match &error {
        InquiryError::Room { .. } => Some(
            "give the partitions (or what is behind the header) alone, `losetup -f --show -r -o START --sizelimit LENGTH FILE`; only if \
             DRBD uses less than both devices hold (`disk { size ...; }`, or both were grown and it was not told yet), add --as-is-a"
                .to_owned(),
        ),
        InquiryError::Sizes { smaller, need, .. } => Some(format!(
            "if it was resized during the split: make {smaller}'s backing device at least {need} bytes, move its metadata to the new end \
             (`drbdadm check-resize RES` on its node, before it is attached), and give both sides again; while the resource runs, \
             `unsplit status RES --peer PEER` says what to do"
        )),
        InquiryError::Grown { side, .. } => Some(format!(
            "`drbdadm check-resize RES` on {side}'s node moves the metadata to the new end (before it is attached); then give both \
             sides again"
        )),
        InquiryError::Unrelated { .. } => Some(
            "`unsplit diff` of the same two with --full compares everything and changes nothing; if the two belong together, keep one \
             and give the other fresh metadata (`drbdadm create-md`), so that DRBD syncs it fully: that OVERWRITES it, copy it first"
                .to_owned(),
        ),
        InquiryError::Shifted { side, path, start, len } => Some(format!(
            "losetup -f --show -r -o {start} --sizelimit {len} {} prints the device to give instead (leave -r out when it is to \
             be healed); only if DRBD uses the whole of it all the same, add --as-is-{side}",
            shell_word(path)
        )),
        _ => None,
    };
    let failure = Failure::new(code, error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
