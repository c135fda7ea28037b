//! The volumes of a running resource, opened beside DRBD on both nodes.

use super::{Nodes, nodes};
use crate::cli::exit::{EVIDENCE, Failure};
use crate::cli::pair::{Found, MetadataDevice, OpenPair, PairArgs, PairOptions, RoleWord, open};
use crate::edge::blockdev::Mode;
use crate::edge::clock::SystemClock;
use crate::edge::peer::{PeerSpec, RemoteNode};
use crate::engine::inquiry::Sight;
use crate::engine::live::draw::look_beside;
use crate::engine::live::pair::{LivePair, PairError, PairedVolume, look};
use crate::model::drbd::Role;
use crate::model::evidence::MetadataPlace;
use crate::model::id::ResourceName;
use crate::model::policy::Settings;
use crate::model::side::{Pair, Side};
use crate::ports::node::{Backing, Node, Operated};
use std::path::Path;

/// Both nodes of a resource.
pub struct Both {
    nodes: Nodes,
    peer: PeerSpec,
}

impl Both {
    /// This node and the named peer.
    ///
    /// # Errors
    /// No peer is named, or it cannot be talked to.
    pub fn reach(resource: &ResourceName, options: &PairOptions, command: &str) -> Result<Both, Failure> {
        let Some(peer) = &options.peer else {
            return Err(Failure::usage(format!(
                "the other node of {resource} must be named: both sides are needed"
            ))
            .hint(format!("unsplit {command} {resource} --peer ssh:OTHER-NODE")));
        };
        Ok(Both { nodes: nodes(Some(peer), options.peer_timeout)?, peer: peer.clone() })
    }

    fn remote(&self) -> Result<&RemoteNode, Failure> {
        self.nodes
            .remote
            .as_ref()
            .ok_or_else(|| Failure::internal(anyhow::anyhow!("the peer was not reached")))
    }

    /// How the peer was named.
    #[must_use]
    pub fn peer(&self) -> &PeerSpec {
        &self.peer
    }

    /// For acting.
    ///
    /// # Errors
    /// Never: the peer was reached.
    pub fn operated(&self) -> Result<Pair<&dyn Operated>, Failure> {
        Ok(Pair::new(&self.nodes.local, self.remote()?))
    }

    /// What both tell of the resource now.
    ///
    /// # Errors
    /// Exit code 4 or 2.
    pub fn look(&self, resource: &ResourceName) -> Result<LivePair, Failure> {
        look(self.nodes()?, resource).map_err(not_a_pair)
    }

    /// For asking.
    ///
    /// # Errors
    /// Never: the peer was reached.
    pub fn nodes(&self) -> Result<Pair<&dyn Node>, Failure> {
        Ok(Pair::new(&self.nodes.local, self.remote()?))
    }
}

fn not_a_pair(error: PairError) -> Failure {
    match error {
        PairError::OneMachine(_) => Failure::new(crate::cli::exit::USAGE, error),
        _ => Failure::new(EVIDENCE, error),
    }
}

fn metadata(backing: &Backing) -> Option<MetadataDevice> {
    let path = backing.metadata.clone()?.into();
    let index = match backing.place {
        Some(MetadataPlace::IndexedExternal(index)) => Some(index),
        _ => None,
    };
    Some(MetadataDevice { path, index })
}

fn role(backing: &Backing) -> Option<RoleWord> {
    Some(match backing.role {
        Role::Primary => RoleWord::Primary,
        _ => RoleWord::Secondary,
    })
}

/// The two backing devices of a volume, as the command line would name them.
#[must_use]
pub(super) fn as_pair(
    pair: &LivePair,
    volume: &PairedVolume,
    peer: &PeerSpec,
    options: &PairOptions,
) -> PairArgs {
    let backing = &volume.backing;
    PairArgs {
        a: backing.a.data.clone().into(),
        b: backing.b.data.clone().into(),
        options: PairOptions {
            name_a: pair.names.a.clone(),
            name_b: pair.names.b.clone(),
            meta_a: metadata(&backing.a),
            meta_b: metadata(&backing.b),
            peer: Some(peer.clone()),
            role_a: role(&backing.a),
            role_b: role(&backing.b),
            resource: pair.resource.clone(),
            ..options.clone()
        },
    }
}

/// One volume, compared.
pub(super) struct Compared<'p> {
    /// Which.
    pub volume: &'p PairedVolume,
    /// Both sides.
    pub opened: OpenPair,
    /// Their metadata.
    pub sight: Sight,
    /// What differs.
    pub found: Found,
}

/// Opens and compares a volume.
///
/// # Errors
/// Exit code 4.
pub(super) fn compare<'p>(
    pair: &LivePair,
    volume: &'p PairedVolume,
    peer: &PeerSpec,
    options: &PairOptions,
    settings: &Settings,
    full: bool,
    state_dir: Option<&Path>,
) -> Result<Compared<'p>, Failure> {
    let named = |mut failure: Failure| {
        failure.error = failure.error.context(format!("volume {} of {}", volume.volume, pair.resource));
        failure
    };
    let args = as_pair(pair, volume, peer, options);
    let opened = open(&args, Mode::ReadOnly).map_err(named)?;
    let secondary = Pair::from_fn(|side: Side| volume.backing[side].role == Role::Secondary);
    let sight = look_beside(opened.replicas(), secondary, settings, &SystemClock, &std::thread::sleep)
        .map_err(|error| named(opened.failure(error)))?;
    let found = match state_dir {
        Some(state_dir) => opened.diff(&sight, full, &args.options, state_dir),
        None => opened.diff_in(&sight, full, &args.options, crate::engine::recall::Place::Nowhere),
    }
    .map_err(named)?;
    Ok(Compared { volume, opened, sight, found })
}

/// The devices of a resource's only volume.
///
/// # Errors
/// It has several.
pub fn only_volume(resource: &ResourceName, options: &PairOptions) -> Result<PairArgs, Failure> {
    let both = Both::reach(resource, options, "report")?;
    let pair = both.look(resource)?;
    match pair.volumes.as_slice() {
        [volume] => Ok(as_pair(&pair, volume, both.peer(), options)),
        several => {
            let all: Vec<String> = several
                .iter()
                .map(|volume| {
                    let args = as_pair(&pair, volume, both.peer(), options);
                    format!("volume {}: unsplit report {}", volume.volume, args.words())
                })
                .collect();
            Err(Failure::usage(format!("{resource} has {} volumes: report one at a time", several.len()))
                .hint(all.join("; ")))
        }
    }
}
