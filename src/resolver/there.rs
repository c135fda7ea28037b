//! Side B on another node.

use super::access::TwoSides;
use super::failure::{Failure, Kind};
use super::sides::{OpenPair, OpenSide, open_a};
use crate::edge::blockdev::{BlockFile, Mode};
use crate::edge::common::{Common, common};
use crate::edge::peer::greet::{machine_id, ourselves};
use crate::edge::peer::replica::Address;
use crate::edge::peer::session::ConnectError;
use crate::edge::peer::told::{Told, Trouble};
use crate::edge::peer::{Limits, PeerSpec, RemoteReplica, Session};
use crate::engine::inquiry::side_words;
use crate::format::wire::control::Fault;
use crate::model::evidence::{Elsewhere, MetadataPlace};
use crate::model::side::{Pair, Side};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// What to do about a lost link.
pub const MEND: &str = "mend the connection to the peer, then run the same command again";

/// Starts the agent on the peer.
///
/// # Errors
/// It cannot be talked to, with what to do.
pub fn connect(peer: &PeerSpec, silence: u16) -> Result<Arc<Session>, Failure> {
    let limits = Limits::of(Duration::from_secs(u64::from(silence)));
    Session::connect(peer, limits).map_err(|error: ConnectError| {
        let advice = error.advice();
        Failure::evidence(error).hint(advice)
    })
}

/// What the agent said, as a failure.
#[must_use]
pub fn trouble(trouble: Trouble, what: String) -> Failure {
    let hint = match &trouble {
        Trouble::Fault(Fault::Unseen { advice, .. }) => advice.clone(),
        Trouble::Fault(Fault::Forbidden { advice, .. }) => Some(advice.clone()),
        Trouble::Lost(_) => Some(MEND.to_owned()),
        _ => None,
    };
    Failure {
        kind: Kind::Evidence,
        error: anyhow::Error::new(Told::new(trouble.causes())).context(what),
        hint,
    }
}

/// Paths travel as text.
///
/// # Errors
/// The path is not UTF-8, or relative: a peer has no folder that it could be relative to.
pub fn path_there(path: &Path) -> Result<String, Failure> {
    let refused = |why: &str| Failure::new(Kind::Usage, anyhow::anyhow!("{}: {why}", path.display()));
    if !path.is_absolute() {
        return Err(refused("a path on the peer must be absolute"));
    }
    path.to_str().map(str::to_owned).ok_or_else(|| refused("a path on the peer must be UTF-8"))
}

/// Opens side A here and side B on the peer.
pub(super) fn open_there(two: &TwoSides, peer: &PeerSpec, mode: Mode) -> Result<OpenPair, Failure> {
    let access = &two.access;
    let (name, meta) = (&access.names.b, access.metadata.b.as_ref());
    let address = Address {
        name: name.clone(),
        data: path_there(&two.paths.b)?,
        metadata: meta.map(|meta| path_there(&meta.path)).transpose()?,
        place: meta.and_then(|meta| meta.index).map(MetadataPlace::IndexedExternal),
        role: access.roles.b,
        write: mode != Mode::ReadOnly,
        trust: access.trust.b,
        courtesy: access.reading.there(),
    };
    let (data, a) = open_a(two, mode)?;
    let session = connect(peer, access.peer_timeout)?;
    let b = RemoteReplica::open(&session, address).map_err(|error| {
        trouble(error, format!("{} on {peer} cannot be used", side_words(Side::B, name.as_str())))
    })?;
    if let Some(common) = common_there(&data, &session.elsewhere(), b.identity()) {
        let there = format!("{} on {peer}", two.paths.b.display());
        let words = common.words(&two.paths.a.display().to_string(), &there);
        return Err(Failure::usage(format!("{words}: the peer is this machine")));
    }
    Ok(OpenPair { sides: Pair::new(OpenSide::Here(Box::new(a)), OpenSide::There(Box::new(b))) })
}

/// What a disk here shares with one of a peer, which may be this very machine.
#[must_use]
pub fn common_there(a: &BlockFile, there: &Elsewhere, b: &str) -> Option<Common> {
    let same_machine = match (machine_id(), &there.machine) {
        (Some(here), Some(there)) => here == *there,
        _ => ourselves(None).host == there.host,
    };
    let b = b.parse().ok().filter(|_| same_machine)?;
    common(a.identity(), b)
}
