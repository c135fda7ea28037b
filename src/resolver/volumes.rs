//! The volumes of a running resource, read beside DRBD on both nodes and compared.

use super::access::{Access, MetadataDevice, TwoSides};
use super::both::{Both, Pause};
use super::contents::{Found, briefly, contents, inquiry_failure};
use super::failure::Failure;
use super::there::MEND;
use super::turns::{Share, in_turn};
use crate::edge::clock::SystemClock;
use crate::edge::peer::PeerSpec;
use crate::engine::drbd::beside::look_beside;
use crate::engine::drbd::pair::{LivePair, PairedVolume};
use crate::engine::inquiry::{InquiryError, Sight};
use crate::engine::recall::{Memory, Place};
use crate::judge::advice::resize;
use crate::model::drbd::Role;
use crate::model::evidence::MetadataPlace;
use crate::model::id::ResourceName;
use crate::model::policy::Settings;
use crate::model::side::{Pair, Side};
use crate::ports::node::Backing;
use crate::ports::progress::{Progress, Silent};
use crate::ports::replica::{Replica, Unseen};
use std::path::Path;

fn metadata(backing: &Backing) -> Option<MetadataDevice> {
    let path = backing.metadata.clone()?.into();
    let index = match backing.place {
        Some(MetadataPlace::IndexedExternal(index)) => Some(index),
        _ => None,
    };
    Some(MetadataDevice { path, index })
}

/// The two backing devices of a volume, as two sides.
#[must_use]
pub fn as_pair(pair: &LivePair, volume: &PairedVolume, peer: &PeerSpec, access: &Access) -> TwoSides {
    let backing = volume.backing.as_ref();
    let role = |backing: &Backing| match backing.role {
        Role::Primary => Role::Primary,
        _ => Role::Secondary,
    };
    TwoSides {
        paths: backing.map(|backing| backing.data.clone().into()),
        access: Access {
            names: pair.names.clone(),
            metadata: backing.map(metadata),
            peer: Some(peer.clone()),
            roles: backing.map(|backing| Some(role(backing))),
            resource: pair.resource.clone(),
            ..access.clone()
        },
    }
}

/// How volumes are to be compared.
#[derive(Clone, Copy)]
pub struct How<'h> {
    /// By these settings.
    pub settings: &'h Settings,
    /// Everything, not only what is marked.
    pub full: bool,
    /// Whether a kept comparison may be used.
    pub believe: bool,
    /// Where comparisons are kept, if they are.
    pub state_dir: Option<&'h Path>,
    /// Who watches.
    pub progress: &'h dyn Progress,
    /// What may be used of the machine.
    pub share: Share,
}

/// One volume, compared.
pub struct Compared {
    /// Which.
    pub volume: PairedVolume,
    /// Both sides.
    pub replicas: Pair<Box<dyn Replica>>,
    /// Their metadata.
    pub sight: Sight,
    /// What differs.
    pub found: Found,
}

impl Compared {
    /// Both sides, for reading.
    pub fn replicas(&self) -> Pair<&dyn Replica> {
        self.replicas.as_ref().map(|replica| &**replica)
    }
}

/// Compares all volumes, several at once, and hands them over in order, each as soon as its turn has come.
///
/// # Errors
/// One could not be compared; or what `take` says.
pub fn compare_all(
    both: &Both,
    pair: &LivePair,
    how: How<'_>,
    mut take: impl FnMut(Compared) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let share = how.share.among(pair.volumes.len());
    // Bars of volumes that are compared side by side would overwrite each other.
    let progress: &dyn Progress = if share.at_once > 1 { &Silent } else { how.progress };
    let how = How { share, progress, ..how };
    in_turn(
        pair.volumes.len(),
        share.at_once,
        |at| compare(both, pair, &pair.volumes[at], how),
        |_, compared| take(compared?),
    )
}

fn compare(both: &Both, pair: &LivePair, volume: &PairedVolume, how: How<'_>) -> Result<Compared, Failure> {
    let named = |mut failure: Failure| {
        failure.error = failure.error.context(format!("volume {} of {}", volume.volume, pair.resource));
        failure
    };
    compared(both, &pair.resource, volume, how).map_err(named)
}

fn compared(
    both: &Both,
    resource: &ResourceName,
    volume: &PairedVolume,
    how: How<'_>,
) -> Result<Compared, Failure> {
    let nodes = both.operated();
    let open = |side: Side| {
        nodes[side].replica(&volume.backing[side]).map_err(|why| {
            let failure = unseen(nodes[side].name().as_str(), why);
            // DRBD found its metadata there when it attached the device.
            match volume.backing[side].metadata {
                None => failure.hint(format!(
                    "was {} grown since DRBD attached it, and DRBD not told? Then, on {}: `{}`; and the same on the other node, once its \
                     device is as large",
                    volume.backing[side].data,
                    nodes[side].name(),
                    resize(resource.as_str(), volume.volume)
                )),
                Some(_) => failure,
            }
        })
    };
    let replicas = Pair::new(open(Side::A)?, open(Side::B)?);
    let borrowed = replicas.as_ref().map(|replica| &**replica);
    let failed = |error: InquiryError| {
        let failure = inquiry_failure(error);
        if both.still_there().is_err() { failure.hint(MEND) } else { failure }
    };
    let pause: &Pause = both.pause();
    let sight =
        look_beside(borrowed, volume, how.settings, &SystemClock, &|time| pause(time)).map_err(failed)?;
    let in_place = |place: Place<'_>| {
        let memory = Memory { place, clock: &SystemClock, believe: how.believe };
        contents(borrowed, &sight, how.full, how.share.threads, how.progress, &memory)
    };
    let found = match how.state_dir {
        Some(state_dir) => briefly(state_dir, in_place),
        None => in_place(Place::Nowhere),
    }
    .map_err(failed)?;
    both.still_there()?;
    Ok(Compared { volume: volume.clone(), replicas, sight, found })
}

fn unseen(node: &str, why: Unseen) -> Failure {
    Failure::evidence(anyhow::Error::new(why).context(format!("its device on {node} cannot be used")))
}
