//! What would come of connecting two nodes, once nothing but their generations, marks and disks decides.

use crate::model::drbd_live::words::DiskState;
use crate::model::lineage::{Reconnect, Relation};
use crate::model::side::Side;
use crate::model::standing::{Link, LinkVolume};

/// What would come of it. Worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outlook {
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
    /// The better disk would be overwritten with a poorer one's data.
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

/// What would come of a connection: the worst that would come of one of its volumes.
pub(super) fn outlook(link: &Link) -> Outlook {
    link.volumes.iter().map(volume).max().unwrap_or(Outlook::Unknown)
}

fn volume(volume: &LinkVolume) -> Outlook {
    let Some(found) = &volume.comparison else { return Outlook::Unknown };
    // What stands in the way now may be taken out of it by the very commands that are offered.
    match volume.once_free.as_ref().unwrap_or(&found.reconnect) {
        Reconnect::Connect { leftover_bits: 0 } => Outlook::Well,
        Reconnect::Connect { .. } => Outlook::Silent,
        Reconnect::Resync { source, .. } if found.relation == Relation::Diverged => {
            Outlook::Discards { source: *source }
        }
        Reconnect::Resync { source, .. } if poorer(volume, *source) => Outlook::Reversed { source: *source },
        Reconnect::Resync { .. } => Outlook::Well,
        Reconnect::Disconnect { .. } => Outlook::Refused,
        Reconnect::Unpredictable { .. } => Outlook::Chance,
    }
}

/// Whether a side's own disk says less than the other's. A `Consistent` disk may be as good as an `UpToDate` one.
fn poorer(volume: &LinkVolume, side: Side) -> bool {
    let rank = |side: Side| {
        volume.disk[side].map(|state| match state {
            DiskState::UpToDate => 3,
            DiskState::Consistent => 2,
            DiskState::Outdated => 1,
            _ => 0,
        })
    };
    match (rank(side), rank(side.other())) {
        (Some(own @ ..=1), Some(other)) => own < other,
        _ => false,
    }
}

/// The sides whose data may be kept without going back to older or poorer data, in order.
pub(super) fn keepable(link: &Link) -> Vec<Side> {
    let older = |side: Side| {
        link.volumes.iter().filter_map(|volume| volume.comparison.as_ref()).any(|found| {
            matches!((found.relation, side), (Relation::Ahead, Side::B) | (Relation::Behind, Side::A))
        })
    };
    let poor = |side: Side| link.volumes.iter().any(|volume| poorer(volume, side));
    let strange = link
        .volumes
        .iter()
        .any(|volume| volume.comparison.as_ref().is_some_and(|found| found.relation == Relation::Unrelated));
    if strange {
        return Vec::new();
    }
    let whole: Vec<Side> = Side::BOTH.into_iter().filter(|side| !poor(*side)).collect();
    // By the rules a resync that was cut off makes a side "ahead" whose disk is known to be old.
    if whole.len() == 1 {
        return whole;
    }
    whole.into_iter().filter(|side| !older(*side)).collect()
}
