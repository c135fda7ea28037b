//! What advice is measured against: how bad a pair stands, what a command does to it, and which of two stands is worse. Images,
//! running resources and the advice about both are ranked here and nowhere else.
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
                _ => match connecting(self.disks(), &found, &found.reconnect) {
                    Outlook::Silent => Plight::Silent,
                    Outlook::Reversed { .. } | Outlook::Discards { .. } => Plight::Reversed,
                    Outlook::Well => Plight::ResyncDue,
                    Outlook::Refused | Outlook::Unknown | Outlook::Chance => Plight::Undecided,
                },
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
                after.went_back |= goes_back(self.disks(), &found, survivor);
                after.lineages = copied(&self.lineages, survivor);
            }
            (Deed::Connect { .. }, Reconnect::Connect { .. }) => after.connected = true,
            (Deed::Connect { .. }, Reconnect::Resync { source, .. }) => {
                // DRBD keeps no copy.
                after.lost |= connecting(self.disks(), &found, &found.reconnect) > Outlook::Well;
                after.lineages = copied(&self.lineages, *source);
                after.connected = true;
            }
            (Deed::Connect { .. }, Reconnect::Disconnect { .. }) => {}
            // Either end may lose: what may be lost counts as lost.
            (Deed::Connect { .. }, Reconnect::Unpredictable { .. }) => after.lost = true,
        }
        Ok(after)
    }

    fn disks(&self) -> Pair<DiskState> {
        self.lineages.as_ref().map(|lineage| lineage.disk)
    }

    fn compare(&self, net: &Settings, discard: Option<Side>) -> Result<Comparison, Incomparable> {
        let with = Handshake {
            discard_my_data: Pair::from_fn(|side| discard == Some(side)),
            ..Handshake::newest(self.lineages.a.format)
        };
        compare_in(self.lineages.as_ref(), Pair::new("a", "b"), net, &with)
    }
}

/// What would come of connecting two nodes: of one volume, or the worst of several. Worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outlook {
    /// They are equal, or DRBD brings the older one up to date.
    Well,
    /// DRBD would refuse: nothing changes.
    Refused,
    /// Not every volume could be compared.
    Unknown,
    /// Connected as equal, with blocks marked as different.
    Silent,
    /// Which side is overwritten is chance.
    Chance,
    /// The better disk, or newer data, would be overwritten with the other side's.
    Reversed {
        /// Whose data would stay.
        source: Side,
    },
    /// What one side wrote by itself would be overwritten, without a copy.
    Discards {
        /// Whose data would stay.
        source: Side,
    },
}

/// What would come of DRBD's doing that.
#[must_use]
pub fn connecting(disks: Pair<DiskState>, found: &Comparison, does: &Reconnect) -> Outlook {
    match does {
        Reconnect::Connect { leftover_bits: 0 } => Outlook::Well,
        Reconnect::Connect { .. } => Outlook::Silent,
        Reconnect::Resync { source, .. } if found.relation == Relation::Diverged => {
            Outlook::Discards { source: *source }
        }
        Reconnect::Resync { source, .. } if goes_back(disks, found, *source) => {
            Outlook::Reversed { source: *source }
        }
        Reconnect::Resync { .. } => Outlook::Well,
        Reconnect::Disconnect { .. } => Outlook::Refused,
        Reconnect::Unpredictable { .. } => Outlook::Chance,
    }
}

/// Whether keeping `survivor` would put older data, or a poorer disk's, in the place of better. A disk that is half written by its
/// own word is no newer data. One that is Outdated by its own word still is: somebody wrote there since, and where its generation
/// is the newer one, neither side can be kept without going back.
#[must_use]
pub fn goes_back(disks: Pair<DiskState>, found: &Comparison, survivor: Side) -> bool {
    let newer = match found.relation {
        Relation::Ahead => Some(Side::A),
        Relation::Behind => Some(Side::B),
        Relation::InSync | Relation::Diverged | Relation::Unrelated => None,
    };
    let victim = survivor.other();
    let half_written = disks[victim] <= DiskState::Inconsistent && poorer(disks, found, victim);
    poorer(disks, found, survivor) || (newer == Some(victim) && !half_written)
}

/// Whether `side`'s own disk state says less than the other's. A `Consistent` disk may be as good as an `UpToDate` one, and only
/// time tells: it counts as poorer between equal generations, where nothing else does, as it does for DRBD 9. Not so for a node
/// that crashed as Primary: both generations of DRBD follow that, whatever the disks say.
#[must_use]
pub fn poorer(disks: Pair<DiskState>, found: &Comparison, side: Side) -> bool {
    let (own, other) = (disks[side], disks[side.other()]);
    let counts = found.relation == Relation::InSync && !found.follows_a_crash();
    own < other && (own <= DiskState::Outdated || counts)
}

/// The sides whose keeping may be proposed without a warning, the better one first.
#[must_use]
pub fn keepable(disks: Pair<DiskState>, found: &Comparison) -> Vec<Side> {
    if found.relation == Relation::Unrelated {
        return Vec::new();
    }
    let whole = |side: &Side| disks[*side] > DiskState::Inconsistent;
    let mut sides: Vec<Side> =
        Side::BOTH.into_iter().filter(whole).filter(|side| !goes_back(disks, found, *side)).collect();
    if found.relation == Relation::InSync && found.source == Some(Side::B) {
        sides.reverse();
    }
    sides
}

/// The same for a connection with several volumes, of which one side is kept as a whole.
pub fn keepable_of_all<'c>(volumes: impl Iterator<Item = (Pair<DiskState>, &'c Comparison)>) -> Vec<Side> {
    let mut unsettled =
        volumes.filter(|(_, found)| !found.settled()).map(|(disks, found)| keepable(disks, found));
    let first = unsettled.next().unwrap_or_else(|| Side::BOTH.to_vec());
    unsettled.fold(first, |mut kept, these| {
        kept.retain(|side| these.contains(side));
        kept
    })
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
