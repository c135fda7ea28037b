//! Looking at files where they lie in the page cache, without copying.

use super::blockdev::BlockFile;
use super::guard::{SEGMENT, Segment};
use crate::model::extent::Extent;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Segments that a file keeps: threads are in the middle of 2 MiB each, so 60 of them are in no more than two.
const KEPT: usize = 2;

/// The segments of a file that are mapped now, the latest last.
#[derive(Default)]
pub(super) struct Mapped {
    kept: Mutex<VecDeque<(u64, Arc<Segment>)>>,
    /// This file cannot be mapped: not worth asking each time.
    refused: AtomicBool,
}

impl std::fmt::Debug for Mapped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mapped").finish_non_exhaustive()
    }
}

impl BlockFile {
    /// See [`crate::ports::disk::Disk::in_place`].
    pub(super) fn look(&self, extent: Extent, see: &mut dyn FnMut(&[u8])) -> bool {
        // A device's own page cache may be stale.
        if self.is_device() || extent.end() > crate::ports::disk::Disk::size(self) {
            return false;
        }
        let start = extent.start / SEGMENT as u64 * SEGMENT as u64;
        let Some(segment) = self.segment(start) else { return false };
        #[allow(clippy::cast_possible_truncation)] // a longer range is refused below
        let range = (extent.start - start) as usize..(extent.end() - start) as usize;
        // The rest of the last page of a file that became shorter reads as zeros.
        let whole = || self.file().metadata().is_ok_and(|metadata| metadata.len() >= extent.end());
        if segment.look(range, see) {
            return whole();
        }
        // Nobody is to meet a broken one again.
        self.mapped().lock().retain(|(_, kept)| !Arc::ptr_eq(kept, &segment));
        false
    }

    /// See [`crate::ports::disk::Disk::leave`].
    #[allow(clippy::cast_possible_truncation)] // inside a segment
    pub(super) fn look_away(&self, extent: Extent) {
        for (start, segment) in self.mapped().lock().iter() {
            let (from, to) = (extent.start.max(*start), extent.end().min(start + SEGMENT as u64));
            if from < to {
                segment.leave((from - start) as usize..(to - start) as usize);
            }
        }
    }

    /// The segment that begins at `start`.
    fn segment(&self, start: u64) -> Option<Arc<Segment>> {
        let mapped = self.mapped();
        if mapped.refused.load(Ordering::Relaxed) {
            return None;
        }
        // Unmapping takes its time: not while others wait.
        let _left: Option<(u64, Arc<Segment>)>;
        let mut kept = mapped.lock();
        if let Some((_, segment)) = kept.iter().find(|(at, _)| *at == start) {
            return Some(segment.clone());
        }
        let Some(segment) = Segment::new(self.file(), start) else {
            mapped.refused.store(true, Ordering::Relaxed);
            return None;
        };
        let segment = Arc::new(segment);
        _left = if kept.len() >= KEPT { kept.pop_front() } else { None };
        kept.push_back((start, segment.clone()));
        Some(segment)
    }
}

impl Mapped {
    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<(u64, Arc<Segment>)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
