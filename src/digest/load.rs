//! Reading one side, and telling the blocks that cannot be read from their neighbours.

use super::aligned::Aligned;
use super::judge::Bad;
use super::route::Route;
use crate::model::extent::Extent;
use crate::model::seen::Why;
use crate::model::side::Side;
use crate::model::size::BLOCK;
use crate::ports::disk::{Disk, DiskFault};

/// What a side has in a portion: the bytes of its spans, one behind the other.
pub(super) struct Load {
    pub(super) buffer: Aligned,
    pub(super) bad: Bad,
}

/// The ways of reading a disk, as [`Disk`] has them.
#[derive(Clone, Copy)]
pub(super) enum Way {
    AtHand,
    /// Not at all if it is not at hand.
    OnlyAtHand,
    Sweep,
}

fn read(disk: &dyn Disk, way: Way, offset: u64, buffer: &mut [u8]) -> Result<(), DiskFault> {
    match way {
        Way::AtHand | Way::OnlyAtHand => disk.read_at(offset, buffer),
        Way::Sweep => disk.sweep_at(offset, buffer),
    }
}

/// Reads `extent`; if that fails, the blocks of `parts` one by one. No, if it was to be read
/// only if it is at hand, and was not.
pub(super) fn fill(
    disk: &dyn Disk,
    way: Way,
    extent: Extent,
    parts: &[Extent],
    buffer: &mut [u8],
    bad: &mut Bad,
) -> bool {
    if let Way::OnlyAtHand = way {
        return disk.read_if_at_hand(extent.start, buffer);
    }
    if read(disk, way, extent.start, buffer).is_ok() {
        return true;
    }
    for block in parts.iter().flat_map(|part| part.pieces(BLOCK)) {
        #[allow(clippy::cast_possible_truncation)] // never longer than a portion
        let range = (block.start - extent.start) as usize..(block.end() - extent.start) as usize;
        if let Err(fault) = read(disk, way, block.start, &mut buffer[range]) {
            bad.push((block, reason(&fault)));
        }
    }
    true
}

impl Load {
    /// Reads all that a route needs of a side into `buffer`, which is long enough.
    pub(super) fn read(disk: &dyn Disk, side: Side, route: &Route, mut buffer: Aligned) -> Load {
        let mut bad = Bad::new();
        let mut at = 0;
        for span in route.reads(side) {
            #[allow(clippy::cast_possible_truncation)] // never longer than a portion
            let end = at + span.extent.len as usize;
            let bytes = &mut buffer.as_mut_slice()[at..end];
            fill(disk, Way::Sweep, span.extent, route.parts(span), bytes, &mut bad);
            at = end;
        }
        Load { buffer, bad }
    }
}

/// The reason without the place, so that neighbours can be joined: the extent tells the place.
pub(super) fn reason(fault: &DiskFault) -> Why {
    match fault {
        DiskFault::Io { source, .. } => Why(source.to_string()),
        DiskFault::Short { .. } => Why("the disk became shorter while in use".to_owned()),
        DiskFault::Outside { .. } | DiskFault::Changed { .. } => Why(fault.to_string()),
    }
}
