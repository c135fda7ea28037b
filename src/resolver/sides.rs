//! Two sides, opened: here, or one of them on a peer.

use super::access::{Access, MetadataDevice, Reading, TwoSides};
use super::contents::{Found, briefly, contents, inquiry_failure};
use super::failure::{Failure, Kind};
use super::there::MEND;
use crate::edge::blockdev::{BlockFile, Mode};
use crate::edge::clock::SystemClock;
use crate::edge::common::{Common, common};
use crate::edge::drbd::offline::OfflineReplica;
use crate::edge::peer::RemoteReplica;
use crate::engine::incident::{Ending, Obstacle};
use crate::engine::inquiry::{InquiryError, Sight, look, side_words};
use crate::engine::recall::{Memory, Place};
use crate::model::evidence::{MetadataPlace, Source};
use crate::model::id::{NodeName, ResourceName};
use crate::model::policy::Settings;
use crate::model::side::{Pair, Side};
use crate::ports::progress::Progress;
use crate::ports::replica::{Replica, WritableReplica};
use std::path::Path;
use std::sync::Arc;

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

/// A metadata device that was named must not be a data device.
fn metadata_device_of(
    side: Side,
    access: &Access,
    data: &[(Side, &Arc<BlockFile>)],
    mode: Mode,
) -> Result<Option<Arc<BlockFile>>, Failure> {
    let Some(meta) = &access.metadata[side] else { return Ok(None) };
    let opened = device(&meta.path, access, mode)?;
    for (whose, data) in data {
        let Some(common) = common(opened.identity(), data.identity()) else { continue };
        let words = match common {
            Common::All if *whose == side => {
                format!("--meta-{side} names the data device itself; leave it out")
            }
            Common::All => format!("--meta-{side} names the other side's data device"),
            shared => shared.words(&format!("--meta-{side}"), &format!("{whose}'s data device")),
        };
        return Err(Failure::usage(format!("side {side}: {words}")));
    }
    Ok(Some(opened))
}

fn device(path: &Path, access: &Access, mode: Mode) -> Result<Arc<BlockFile>, Failure> {
    let opened = BlockFile::open(path, mode).map_err(Failure::evidence)?;
    Ok(Arc::new(opened.paced(access.reading.pace())))
}

/// Without an index the place is found, not assumed.
fn place(meta: Option<&MetadataDevice>) -> Option<MetadataPlace> {
    meta.and_then(|meta| meta.index).map(MetadataPlace::IndexedExternal)
}

/// Opens both sides.
///
/// # Errors
/// Missing, busy, damaged or the same thing twice; or the peer cannot be talked to.
pub fn open(two: &TwoSides, mode: Mode) -> Result<OpenPair, Failure> {
    let access = &two.access;
    if access.names.a == access.names.b {
        return Err(Failure::usage(
            "both sides have the same name: give --name-a and --name-b different names",
        ));
    }
    for (side, name) in access.names.iter() {
        if name.as_str().eq_ignore_ascii_case(side.other().word()) {
            let other = side.other();
            return Err(Failure::usage(format!(
                "--name-{side} {name}: side {side} cannot be called {name}, because `{other}` means the other side (in --keep, for \
                 one), and only its case would tell them apart; give the sides other names, spelled as DRBD spells them"
            )));
        }
    }
    access.reading.step_back()?;
    match &access.peer {
        None => open_here(two, mode).map_err(|failure| or_resources(failure, two)),
        Some(peer) => super::there::open_there(two, peer, mode),
    }
    .and_then(|opened| if mode == Mode::ReadOnly { Ok(opened) } else { opened.unless_grown() })
}

/// Two words without a peer are two files; where there are none of these names, resources may have been meant.
fn or_resources(failure: Failure, two: &TwoSides) -> Failure {
    let name = |path: &Path| {
        let text = path.to_string_lossy();
        !text.contains('/') && ResourceName::new(&text).is_ok() && !path.exists()
    };
    if failure.hint.is_some() || !name(&two.paths.a) || !name(&two.paths.b) {
        return failure;
    }
    let (a, b) = (two.paths.a.display(), two.paths.b.display());
    failure.hint(format!(
        "if {a} and {b} are running resources, name their other node, too: --peer ssh:OTHER-NODE"
    ))
}

fn open_here(two: &TwoSides, mode: Mode) -> Result<OpenPair, Failure> {
    let access = &two.access;
    let data = Pair::new(device(&two.paths.a, access, mode)?, device(&two.paths.b, access, mode)?);
    if let Some(common) = common(data.a.identity(), data.b.identity()) {
        let words = common.words(&two.paths.a.display().to_string(), &two.paths.b.display().to_string());
        return Err(Failure::usage(format!("{words}: give one image of each node")));
    }
    let all = [(Side::A, &data.a), (Side::B, &data.b)];
    let meta = |side| metadata_device_of(side, access, &all, mode);
    // One device may hold the metadata of both sides, at two indexes: then it is opened once, and claimed once.
    let metadata = match (meta(Side::A)?, meta(Side::B)?) {
        (Some(a), Some(b)) => match common(a.identity(), b.identity()) {
            None => Pair::new(Some(a), Some(b)),
            Some(Common::All) => Pair::new(Some(a.clone()), Some(a)),
            Some(shared) => return Err(Failure::usage(shared.words("--meta-a", "--meta-b"))),
        },
        (a, b) => Pair::new(a, b),
    };
    let a = open_side(Side::A, access, &data.a, metadata.a)?;
    let b = open_side(Side::B, access, &data.b, metadata.b)?;
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
pub(super) fn open_a(two: &TwoSides, mode: Mode) -> Result<(Arc<BlockFile>, OfflineReplica), Failure> {
    let data = device(&two.paths.a, &two.access, mode)?;
    let metadata = metadata_device_of(Side::A, &two.access, &[(Side::A, &data)], mode)?;
    let side = open_side(Side::A, &two.access, &data, metadata)?;
    Ok((data, side))
}

fn open_side(
    side: Side,
    access: &Access,
    data: &Arc<BlockFile>,
    metadata: Option<Arc<BlockFile>>,
) -> Result<OfflineReplica, Failure> {
    let (name, role) = (&access.names[side], access.roles[side]);
    let (place, trust) = (place(access.metadata[side].as_ref()), access.trust[side]);
    OfflineReplica::open_with(name.clone(), data.clone(), metadata, place, role, trust).map_err(|error| {
        let hint = error.advice();
        let words = format!("{} cannot be used", side_words(side, name.as_str()));
        Failure { kind: Kind::Evidence, error: anyhow::Error::new(error).context(words), hint }
    })
}

/// How to open what a plan was drawn from.
///
/// # Errors
/// A peer that is not usable.
pub fn as_planned(
    sources: Pair<&Source>,
    names: &Pair<NodeName>,
    resource: &ResourceName,
    reading: &Reading,
) -> Result<TwoSides, Failure> {
    let wrong = |why: String| Failure::internal(anyhow::anyhow!("the plan names no usable peer: {why}"));
    let peer = sources.b.on.as_ref().map(|on| on.peer.parse().map_err(wrong)).transpose()?;
    let metadata = |source: &Source| {
        let path = source.metadata.clone().into();
        match source.place {
            MetadataPlace::Internal => None,
            MetadataPlace::FlexibleExternal => Some(MetadataDevice { path, index: None }),
            MetadataPlace::IndexedExternal(index) => Some(MetadataDevice { path, index: Some(index) }),
        }
    };
    let access = Access {
        metadata: sources.map(metadata),
        trust: sources.map(|source| source.trust),
        ..Access::of(names.clone(), resource.clone(), peer, reading.clone())
    };
    Ok(TwoSides { paths: sources.map(|source| source.data.clone().into()), access })
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
                return Err(Failure::evidence(lost).hint(MEND));
            }
        }
        Ok(())
    }

    /// An error of the inquiry, as a failure of the command.
    #[must_use]
    pub fn failure(&self, error: InquiryError) -> Failure {
        let failure = inquiry_failure(error);
        if self.still_there().is_err() { failure.hint(MEND) } else { failure }
    }

    /// How a run ended, when the link was lost: then nobody else is in the way, and the devices are not at fault.
    #[must_use]
    pub fn told_by_the_link(&self, ending: Ending) -> Ending {
        if self.still_there().is_ok() {
            return ending;
        }
        let obstacle = Obstacle::Link;
        match ending {
            Ending::Finished(_) | Ending::Fenced => ending,
            Ending::Abandoned { why, .. } => Ending::Abandoned { obstacle, why },
            // A link comes back.
            Ending::Parked { why, .. } => Ending::Parked { obstacle, may_pass: true, why },
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
        access: &Access,
        state_dir: &Path,
        progress: &dyn Progress,
    ) -> Result<Found, Failure> {
        briefly(state_dir, |place| self.diff_in(sight, full, access, place, progress))
    }

    /// The same with a state directory that is open already.
    ///
    /// # Errors
    /// See [`InquiryError`].
    pub fn diff_in(
        &self,
        sight: &Sight,
        full: bool,
        access: &Access,
        place: Place<'_>,
        progress: &dyn Progress,
    ) -> Result<Found, Failure> {
        let memory = Memory { place, clock: &SystemClock, believe: access.believe };
        let found = contents(self.replicas(), sight, full, access.threads(), progress, &memory)
            .map_err(|error| self.failure(error))?;
        self.still_there()?;
        Ok(found)
    }
}
