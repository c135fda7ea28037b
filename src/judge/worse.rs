//! What advice is measured against: how bad a pair stands, what a command does to it, and which of two stands is worse.
//!
//! A model of the generations, marks and disks alone. It knows no contents, so it only says what those three claim.

use super::lineage::{CONTRADICTORY, Handshake, Incomparable, compare_in};
use crate::model::drbd::{DiskState, GenerationUuid};
use crate::model::lineage::{Comparison, Lineage, Reconnect, Relation};
use crate::model::policy::Settings;
use crate::model::side::{Pair, Side};

/// How bad a pair stands, best first: a later one is worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Plight {
    /// The same generation, nothing marked, nothing to do.
    Settled,
    /// DRBD finishes it alone, from the side whose data counts.
    ResyncDue,
    /// The generations are equal or in order, but DRBD would drop the connection or its choice depends on chance.
    Undecided,
    /// The same generation, blocks are marked, and DRBD would connect the two as they are.
    Silent,
    /// Split brain, and the bitmaps cover all that differs.
    Split,
    /// Split brain without a common base.
    SplitWithoutBase,
    /// The two histories contradict each other.
    Contradictory,
    /// Nothing in common.
    Unrelated,
    /// A connection would overwrite the better disk with the poorer one's data.
    Reversed,
    /// Connected, called equal, and blocks are marked: applications may read either side's.
    SilentConnected,
    /// The older or poorer side was kept; what the other one had is in a salvage.
    WentBack,
    /// What one side alone had was overwritten, and there is no copy of it.
    Lost,
}

/// Where a pair stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stand {
    /// Both lineages.
    pub lineages: Pair<Lineage>,
    /// The two are connected.
    pub connected: bool,
    /// The older or poorer side was kept.
    pub went_back: bool,
    /// Something was overwritten without a copy.
    pub lost: bool,
}

/// What can be done to a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// `drbdadm connect` on both nodes, with `--discard-my-data` on one of them or none.
    Connect {
        /// The side that gives up its data.
        discard: Option<Side>,
    },
    /// unsplit's own healing: the victim's content goes into a salvage first.
    Heal {
        /// Whose data is kept.
        survivor: Side,
    },
}

impl Stand {
    /// Two nodes that are not connected, with nothing lost yet.
    #[must_use]
    pub fn apart(lineages: Pair<Lineage>) -> Self {
        Stand { lineages, connected: false, went_back: false, lost: false }
    }

    /// How bad that is, with these `net` options.
    ///
    /// # Errors
    /// [`Incomparable`] when the sides' metadata formats differ.
    pub fn plight(&self, net: &Settings) -> Result<Plight, Incomparable> {
        let found = self.compare(net, None)?;
        Ok(match (self.lost, self.went_back, found.relation) {
            (true, ..) => Plight::Lost,
            (_, true, _) => Plight::WentBack,
            (.., Relation::Unrelated) => Plight::Unrelated,
            (.., Relation::Diverged) if found.name == CONTRADICTORY => Plight::Contradictory,
            (.., Relation::Diverged) if found.common_base => Plight::Split,
            (.., Relation::Diverged) => Plight::SplitWithoutBase,
            (.., Relation::InSync | Relation::Ahead | Relation::Behind) => match found.reconnect {
                Reconnect::Connect { leftover_bits: 0 } => Plight::Settled,
                Reconnect::Connect { .. } if self.connected => Plight::SilentConnected,
                Reconnect::Connect { .. } => Plight::Silent,
                Reconnect::Resync { source, .. } if goes_back(&self.lineages, &found, source) => {
                    Plight::Reversed
                }
                Reconnect::Resync { .. } => Plight::ResyncDue,
                Reconnect::Disconnect { .. } | Reconnect::Unpredictable { .. } => Plight::Undecided,
            },
        })
    }

    /// Where the pair stands after that was done.
    ///
    /// # Errors
    /// [`Incomparable`] when the sides' metadata formats differ.
    pub fn after(&self, deed: Deed, net: &Settings) -> Result<Stand, Incomparable> {
        let discard = match deed {
            Deed::Connect { discard } => discard,
            Deed::Heal { .. } => None,
        };
        let found = self.compare(net, discard)?;
        let mut after = self.clone();
        match (deed, &found.reconnect) {
            (Deed::Heal { survivor }, _) => {
                after.went_back |= goes_back(&self.lineages, &found, survivor);
                after.lineages = copied(&self.lineages, survivor);
            }
            (Deed::Connect { .. }, Reconnect::Connect { .. }) => after.connected = true,
            (Deed::Connect { .. }, Reconnect::Resync { source, .. }) => {
                // DRBD keeps no copy.
                after.lost |=
                    found.relation == Relation::Diverged || goes_back(&self.lineages, &found, *source);
                after.lineages = copied(&self.lineages, *source);
                after.connected = true;
            }
            (Deed::Connect { .. }, Reconnect::Disconnect { .. }) => {}
            // Either end may lose: what may be lost counts as lost.
            (Deed::Connect { .. }, Reconnect::Unpredictable { .. }) => after.lost = true,
        }
        Ok(after)
    }

    fn compare(&self, net: &Settings, discard: Option<Side>) -> Result<Comparison, Incomparable> {
        let with = Handshake {
            discard_my_data: Pair::from_fn(|side| discard == Some(side)),
            ..Handshake::newest(self.lineages.a.format)
        };
        compare_in(self.lineages.as_ref(), Pair::new("a", "b"), net, &with)
    }
}

/// Whether keeping `survivor` would put older data, or a poorer disk's, in the place of better.
#[must_use]
pub fn goes_back(lineages: &Pair<Lineage>, found: &Comparison, survivor: Side) -> bool {
    let newer = match found.relation {
        Relation::Ahead => Some(Side::A),
        Relation::Behind => Some(Side::B),
        Relation::InSync | Relation::Diverged | Relation::Unrelated => None,
    };
    newer == Some(survivor.other()) || poorer(lineages, found, survivor)
}

/// Whether `side`'s own disk state says less than the other's. A `Consistent` disk may be as good as an `UpToDate` one: only
/// between equal generations does that difference count.
#[must_use]
pub fn poorer(lineages: &Pair<Lineage>, found: &Comparison, side: Side) -> bool {
    let (own, other) = (lineages[side].disk, lineages[side.other()].disk);
    own < other && (own <= DiskState::Outdated || found.relation == Relation::InSync)
}

/// The sides whose keeping may be proposed without a warning, the better one first.
#[must_use]
pub fn keepable(lineages: &Pair<Lineage>, found: &Comparison) -> Vec<Side> {
    if found.relation == Relation::Unrelated {
        return Vec::new();
    }
    let whole = |side: &Side| lineages[*side].disk > DiskState::Inconsistent;
    let mut sides: Vec<Side> =
        Side::BOTH.into_iter().filter(whole).filter(|side| !goes_back(lineages, found, *side)).collect();
    if found.relation == Relation::InSync && found.source == Some(Side::B) {
        sides.reverse();
    }
    sides
}

/// After a complete copy of `source` over the other side.
fn copied(lineages: &Pair<Lineage>, source: Side) -> Pair<Lineage> {
    let from = &lineages[source];
    Pair::from_fn(|side| Lineage {
        current: from.current.masked(),
        bitmap: GenerationUuid::UNSET,
        history: from.history.clone(),
        disk: DiskState::UpToDate,
        crashed_primary: false,
        primary_lost_quorum: false,
        dirty_bits: 0,
        ..lineages[side].clone()
    })
}

#[cfg(test)]
mod tests;
