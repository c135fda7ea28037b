//! Reading both sides' metadata beside a DRBD that runs, and what the kernel knows better than its metadata.

use super::pair::PairedVolume;
use crate::engine::inquiry::{InquiryError, Sight, look};
use crate::judge::lineage::{Handshake, Incomparable, compare_in};
use crate::model::drbd::{Role, device_flag};
use crate::model::evidence::{Evidence, LogState, Marks};
use crate::model::extent::ExtentSet;
use crate::model::lineage::Relation;
use crate::model::policy::Settings;
use crate::model::side::{Pair, Side};
use crate::ports::clock::Clock;
use crate::ports::replica::Replica;
use std::time::Duration;

/// How often a look at metadata that changes meanwhile is repeated, and how long is waited between.
const LOOKS: u32 = 12;
const BETWEEN: Duration = Duration::from_millis(700);

/// Reads both sides and compares their lineages, beside DRBD: metadata that changes while it is read is read again, and a
/// superblock may say for some seconds after a demotion that its node is Primary.
///
/// # Errors
/// [`InquiryError`].
pub fn look_beside(
    replicas: Pair<&dyn Replica>,
    volume: &PairedVolume,
    settings: &Settings,
    clock: &dyn Clock,
    pause: &dyn Fn(Duration),
) -> Result<Sight, InquiryError> {
    let mut left = LOOKS;
    loop {
        let seen = look(replicas, settings, clock);
        left -= 1;
        let again = match &seen {
            Err(InquiryError::Unseen { .. }) => true,
            Ok(sight) => Side::BOTH.into_iter().any(|side| {
                volume.backing[side].role == Role::Secondary
                    && sight.evidence[side].superblock.has(device_flag::PRIMARY_IND)
            }),
            Err(_) => false,
        };
        if !again || left == 0 {
            let mut sight = seen?;
            for side in Side::BOTH {
                let size = replicas[side].size();
                as_counted(&mut sight.evidence[side].marks, volume.out_of_sync[side], size);
            }
            return Ok(without_replay(sight, settings)?);
        }
        pause(BETWEEN);
    }
}

/// The side whose bitmap is not its own any more: DRBD 9 exchanged both for a resync that did not begin, so that it marks nothing that
/// the other does not, and is `Outdated`. What is marked on both may then have been written by one alone.
#[must_use]
pub fn exchanged(evidence: &Pair<Evidence>, relation: Relation) -> Option<Side> {
    if relation != Relation::Diverged {
        return None;
    }
    Side::BOTH.into_iter().find(|side| {
        let (own, other) = (&evidence[*side], &evidence[side.other()]);
        let outdated =
            own.superblock.has(device_flag::CONSISTENT) && !own.superblock.has(device_flag::WAS_UP_TO_DATE);
        let size = own.superblock.effective_size.saturating_mul(512);
        let marked = own.marks.bitmap.clip(size);
        outdated && !marked.is_empty() && marked.subtract(&other.marks.candidates(size)).is_empty()
    })
}

/// A running Primary may have written where neither its bitmap nor its activity log on disk says so. Seen with 9.3.3: extents that
/// were hot while the node was Secondary (its peer wrote there) get no transaction when it writes there itself as Primary; with
/// none written at all the log on disk is empty. The kernel's own count of what is out of sync tells: where it is more than
/// the disk can account for, everything may have been written.
fn as_counted(marks: &mut Marks, out_of_sync: Option<u64>, size: u64) {
    let (Some(counted), LogState::Hot) = (out_of_sync, marks.log) else { return };
    let on_disk = marks.bitmap.bytes();
    if counted > on_disk && (marks.hot.is_empty() || counted > marks.candidates(size).bytes()) {
        marks.log = LogState::Disabled;
        marks.hot = ExtentSet::whole(size);
    }
}

/// A Primary that is alone begins a generation with its first write. While the generations are still equal none was written, and what
/// its activity log has hot is of before: no bits that a handshake would bring, because nobody replays the log of a node that runs.
fn without_replay(mut sight: Sight, settings: &Settings) -> Result<Sight, Incomparable> {
    let runs = |side: Side| sight.evidence[side].marks.log != LogState::Clean;
    if sight.comparison.relation != Relation::InSync || !(runs(Side::A) || runs(Side::B)) {
        return Ok(sight);
    }
    for side in Side::BOTH {
        sight.lineages[side].dirty_bits = sight.evidence[side].marks.bits;
    }
    let names = sight.evidence.as_ref().map(|seen| seen.name.as_str());
    let with = Handshake::newest(sight.lineages.a.format);
    sight.comparison = compare_in(sight.lineages.as_ref(), names, settings, &with)?;
    Ok(sight)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::extent::Extent;

    const SIZE: u64 = 32 << 20;

    fn marks(log: LogState, bitmap: u64, hot: u64) -> Marks {
        let set = |len: u64| {
            let run = Extent { start: 0, len };
            if len == 0 { ExtentSet::empty() } else { [run].into_iter().collect() }
        };
        let (bitmap, hot) = (set(bitmap), set(hot));
        Marks { slot: Some(0), bits: bitmap.bytes() / 4096, bitmap, log, hot, bits_after_replay: 0 }
    }

    #[test]
    fn what_the_kernel_counts_beyond_bitmap_and_log_may_be_anywhere() {
        let whole = |log: LogState, bitmap: u64, hot: u64, counted: Option<u64>| {
            let mut marks = marks(log, bitmap, hot);
            as_counted(&mut marks, counted, SIZE);
            marks.candidates(SIZE).bytes() == SIZE
        };
        // As the lab's 9.3.3 showed it: 68 bits in memory, 36 on disk, nothing in the log.
        assert!(whole(LogState::Hot, 36 << 12, 0, Some(68 << 12)));
        assert!(!whole(LogState::Hot, 36 << 12, 0, Some(36 << 12)));
        assert!(!whole(LogState::Hot, 36 << 12, 4 << 20, Some(68 << 12)));
        assert!(whole(LogState::Hot, 36 << 12, 4 << 20, Some(5 << 20)));
        // A Secondary's bitmap is on disk; a kernel that does not count says nothing.
        assert!(!whole(LogState::Clean, 36 << 12, 0, Some(68 << 12)));
        assert!(!whole(LogState::Hot, 36 << 12, 0, None));
    }
}
