//! What a resync that DRBD decided by itself would cost this node, and what of it has to be kept.

use crate::model::drbd_live::words::DiskState;
use crate::model::handled::Threatened;

/// What has to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Nothing, and why.
    Nothing(&'static str),
    /// What is marked as changed here.
    Marked,
    /// Everything: which blocks are this node's own cannot be told from the others.
    Whole,
}

/// A volume that is kept whole where more is overwritten than this node changed, bytes: then `unsplit undo` can put all of it back.
/// Of a larger one only what this node changed is kept, in a time that goes with that.
pub const SMALL: u64 = 1 << 30;

/// Decides. The first rule that fits.
///
/// Both kernels were seen (8.4.11, 9.3.3) to call the handler while the bitmap on disk still holds this node's own bits alone:
/// the union with the peer's is in memory only, and nothing has been overwritten.
#[must_use]
pub fn keep(volume: &Threatened) -> Keep {
    let all = |bytes: u64| bytes >= volume.size;
    if volume.fresh {
        return Keep::Nothing("its metadata is new: DRBD knows of no data here");
    }
    if volume.settled && volume.disk == Some(DiskState::Inconsistent) {
        return Keep::Nothing(
            "this goes on with a resync that was interrupted: what was to be kept was kept then",
        );
    }
    if volume.disk == Some(DiskState::Inconsistent) && all(volume.own) {
        return Keep::Nothing(
            "its disk was Inconsistent before, and all of it is synced: DRBD knows of no usable data here",
        );
    }
    match (volume.own, volume.overwritten) {
        (own, _) if all(own) => Keep::Whole,
        // A full resync after a split brain: the bitmap began later than the two sides parted.
        (_, Some(overwritten)) if all(overwritten) && volume.split => Keep::Whole,
        (0, _) => Keep::Nothing("no block is marked as changed here: it only catches up"),
        (own, Some(overwritten)) if overwritten > own && volume.size <= SMALL => Keep::Whole,
        _ => Keep::Marked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 1 << 40;
    const VOLUME: Threatened = Threatened {
        size: SIZE,
        own: 100,
        overwritten: Some(300),
        disk: Some(DiskState::Outdated),
        fresh: false,
        split: true,
        settled: false,
    };

    #[test]
    fn own_changes_are_kept() {
        assert_eq!(keep(&VOLUME), Keep::Marked);
        assert_eq!(keep(&Threatened { split: false, overwritten: None, ..VOLUME }), Keep::Marked);
        // Even of a resync that goes on, when the first call failed.
        assert_eq!(keep(&Threatened { disk: Some(DiskState::Inconsistent), ..VOLUME }), Keep::Marked);
        // A settled call of an earlier resync means nothing for a new one.
        assert_eq!(keep(&Threatened { settled: true, ..VOLUME }), Keep::Marked);
    }

    #[test]
    fn a_small_volume_is_kept_so_that_it_can_be_put_back() {
        let small = Threatened { size: SMALL, ..VOLUME };
        assert_eq!(keep(&small), Keep::Whole);
        assert_eq!(keep(&Threatened { size: SMALL + 1, ..VOLUME }), Keep::Marked);
        // All that is overwritten is this node's own: that is enough.
        assert_eq!(keep(&Threatened { overwritten: Some(100), ..small.clone() }), Keep::Marked);
        assert_eq!(keep(&Threatened { overwritten: None, ..small.clone() }), Keep::Marked);
        assert!(matches!(keep(&Threatened { own: 0, ..small }), Keep::Nothing(_)));
    }

    #[test]
    fn what_cannot_be_told_apart_is_kept_whole() {
        assert_eq!(keep(&Threatened { own: SIZE, split: false, ..VOLUME }), Keep::Whole);
        assert_eq!(keep(&Threatened { overwritten: Some(SIZE), ..VOLUME }), Keep::Whole);
        assert_eq!(keep(&Threatened { own: 0, overwritten: Some(SIZE), ..VOLUME }), Keep::Whole);
    }

    #[test]
    fn catching_up_costs_nothing() {
        for overwritten in [None, Some(0), Some(300)] {
            let volume = Threatened { own: 0, overwritten, split: false, ..VOLUME };
            assert!(matches!(keep(&volume), Keep::Nothing(_)));
        }
        let full = Threatened { own: 0, overwritten: Some(SIZE), split: false, ..VOLUME };
        assert!(matches!(keep(&full), Keep::Nothing(_)), "a full resync without a split brain");
        assert!(matches!(keep(&Threatened { fresh: true, own: SIZE, ..VOLUME }), Keep::Nothing(_)));
        // A first sync on 8.4: the mark of new metadata is overwritten before the handler is called.
        let first = Threatened { own: SIZE, disk: Some(DiskState::Inconsistent), split: false, ..VOLUME };
        assert!(matches!(keep(&first), Keep::Nothing(_)));
        let again = Threatened { settled: true, disk: Some(DiskState::Inconsistent), ..VOLUME };
        assert!(matches!(keep(&again), Keep::Nothing(_)));
    }
}
