//! What else a handshake depends on: things that exist only while two kernels talk, or only in their memory.
//!
//! Reading metadata of two nodes that are not talking says nothing about them; [`Handshake::newest`] gives what
//! two freshly started nodes of the newest protocol would bring.

use crate::model::drbd::{GenerationUuid, MetadataFormat};
use crate::model::lineage::Lineage;
use crate::model::side::{Pair, Side};

/// DRBD's replication protocol (`protocol` in `net {}`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WireProtocol {
    /// Asynchronous.
    A,
    /// Memory synchronous.
    B,
    /// Synchronous.
    C,
}

/// Circumstances of one handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handshake {
    /// The protocol version both ends agreed on.
    pub protocol: u32,
    /// 8.4: both ends have the feature WSAME, which also stands for "compares crashed Primaries properly".
    pub wsame: bool,
    /// The replication protocol.
    pub wire: WireProtocol,
    /// 9: a side's UUIDs or flags changed after they were sent, while the two were still connecting.
    pub changed: bool,
    /// 9: the side had been connected with the other one before and stayed up since (`RECONNECT`).
    pub reconnect: Pair<bool>,
    /// 9: the sync source that missed the end of a resync, if its kernel remembers one.
    pub missed_end: Option<Side>,
    /// 9: the side's data is not in the middle of a change through a third node (`STABLE`).
    pub stable: Pair<bool>,
    /// 9: the generation a side is being synced to from a third node; it stands for its own current one.
    pub syncing_to: Pair<Option<GenerationUuid>>,
    /// Which end holds RESOLVE_CONFLICTS; not known before the connection stands.
    pub resolve_conflicts: Option<Side>,
    /// The side connects with `--discard-my-data`.
    pub discard_my_data: Pair<bool>,
}

impl Handshake {
    /// Two nodes that were started anew and connect by the newest protocol of their generation: 101 with WSAME
    /// in 8.4, 124 in 9, replication protocol C, nothing remembered, no options given.
    #[must_use]
    pub fn newest(format: MetadataFormat) -> Self {
        Handshake {
            protocol: match format {
                MetadataFormat::V08 => 101,
                MetadataFormat::V09 => 124,
            },
            wsame: true,
            wire: WireProtocol::C,
            changed: false,
            reconnect: Pair::new(false, false),
            missed_end: None,
            stable: Pair::new(true, true),
            syncing_to: Pair::new(None, None),
            resolve_conflicts: None,
            discard_my_data: Pair::new(false, false),
        }
    }

    /// The same handshake seen from the other side.
    #[must_use]
    pub fn swapped(&self) -> Self {
        Handshake {
            reconnect: self.reconnect.swapped(),
            missed_end: self.missed_end.map(Side::other),
            stable: self.stable.swapped(),
            syncing_to: self.syncing_to.swapped(),
            resolve_conflicts: self.resolve_conflicts.map(Side::other),
            discard_my_data: self.discard_my_data.swapped(),
            ..self.clone()
        }
    }
}

/// What one node looks at when it compares: its own lineage, its peer's, and the handshake with itself as side A.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The node that compares.
    pub me: &'a Lineage,
    /// The other one.
    pub peer: &'a Lineage,
    /// Circumstances, side A being `me`.
    pub with: &'a Handshake,
}

impl Facts<'_> {
    /// A history slot, masked; unset when there is none.
    #[must_use]
    pub(super) fn past(lineage: &Lineage, slot: usize) -> GenerationUuid {
        lineage.history.get(slot).copied().unwrap_or(GenerationUuid::UNSET).masked()
    }
}

/// Whether a generation is among those given (bit 0 aside).
pub(super) fn among(uuid: GenerationUuid, list: &[GenerationUuid]) -> bool {
    list.iter().any(|other| other.same(uuid))
}
