//! Disks that fail, shrink, have holes, change, or are far larger than memory.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use unsplit::model::extent::{Extent, ExtentSet};
use unsplit::ports::disk::{Disk, DiskFault, Stretch};

pub(crate) const BLOCK: u64 = 4096;

pub(crate) fn set(extents: &[(u64, u64)]) -> ExtentSet {
    extents.iter().copied().map(Extent::from).collect()
}

/// A disk in memory that can fail, be shorter than it says, and tell of holes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fake {
    pub(crate) size: u64,
    pub(crate) bytes: Vec<u8>,
    pub(crate) bad: ExtentSet,
    pub(crate) holes: ExtentSet,
    /// Reading nothing but bytes of a hole, more than a block of them, fails the test.
    pub(crate) strict: bool,
    /// It is not in memory: it is read with many requests in flight.
    pub(crate) cold: bool,
}

impl Fake {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Fake { size: bytes.len() as u64, bytes, ..Fake::default() }
    }
}

fn io_fault(extent: Extent, code: i32) -> DiskFault {
    DiskFault::Io { disk: "fake".to_owned(), act: "read", extent, source: io::Error::from_raw_os_error(code) }
}

impl Disk for Fake {
    fn name(&self) -> &str {
        "fake"
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskFault> {
        let extent = Extent { start: offset, len: buffer.len() as u64 };
        // As a failed read leaves it: with anything.
        buffer.fill(0xEE);
        if extent.end() > self.size {
            return Err(DiskFault::Outside { disk: "fake".to_owned(), extent, size: self.size });
        }
        if let Some(bad) = self.bad.iter().find(|bad| bad.intersect(&extent).is_some()) {
            // Reasons differ from place to place.
            return Err(io_fault(extent, if (bad.start / BLOCK).is_multiple_of(3) { 5 } else { 61 }));
        }
        let there = self.bytes.len() as u64;
        if extent.end() > there {
            return Err(DiskFault::Short {
                disk: "fake".to_owned(),
                extent,
                got: there.saturating_sub(offset),
            });
        }
        // Digests of what differs read block by block, whatever it is.
        assert!(
            !self.strict || extent.len <= BLOCK || !self.holes.covers(&extent),
            "{extent:?} is a hole and was read"
        );
        buffer.copy_from_slice(&self.bytes[offset as usize..extent.end() as usize]);
        Ok(())
    }

    fn at_hand(&self, _: Extent) -> bool {
        !self.cold
    }

    fn stretch(&self, offset: u64) -> Stretch {
        match self.holes.iter().find(|hole| hole.end() > offset) {
            Some(hole) if hole.start <= offset => Stretch::Hole(hole.end()),
            Some(hole) => Stretch::Data(hole.start),
            None => Stretch::Data(self.size),
        }
    }
}

/// A disk of any size: blocks in `data` hold something made from their number, those in `changed` something else.
pub(crate) struct Sparse {
    pub(crate) size: u64,
    pub(crate) data: ExtentSet,
    pub(crate) changed: ExtentSet,
    pub(crate) bytes_read: AtomicU64,
}

impl Sparse {
    pub(crate) fn new(size: u64, data: ExtentSet) -> Self {
        Sparse { size, data, changed: ExtentSet::empty(), bytes_read: AtomicU64::new(0) }
    }

    /// The same disk, with other content in these blocks.
    pub(crate) fn but(&self, changed: ExtentSet) -> Self {
        Sparse { data: self.data.union(&changed), changed, ..Sparse::new(self.size, ExtentSet::empty()) }
    }
}

fn has(set: &ExtentSet, at: u64) -> bool {
    set.covers(&Extent { start: at, len: 1 })
}

impl Disk for Sparse {
    fn name(&self) -> &str {
        "sparse"
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskFault> {
        self.bytes_read.fetch_add(buffer.len() as u64, Ordering::Relaxed);
        assert_eq!(offset % BLOCK, 0);
        for (at, block) in (offset..).step_by(BLOCK as usize).zip(buffer.chunks_mut(BLOCK as usize)) {
            block.fill(0);
            if has(&self.data, at) {
                let other = u64::from(has(&self.changed, at));
                let mut state = (at + other + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
                for eight in block.chunks_mut(8) {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    eight.copy_from_slice(&state.to_le_bytes()[..eight.len()]);
                }
            }
        }
        Ok(())
    }

    fn stretch(&self, offset: u64) -> Stretch {
        match self.data.iter_from(offset).next() {
            Some(run) if run.start <= offset => Stretch::Data(run.end()),
            Some(run) => Stretch::Hole(run.start),
            None => Stretch::Hole(self.size),
        }
    }
}

/// A disk that is written to: from the read with this number on, counted over both kinds, other bytes come.
pub(crate) struct Moving {
    pub(crate) before: Fake,
    pub(crate) after: Fake,
    pub(crate) reads: AtomicU64,
    pub(crate) from: u64,
}

impl Moving {
    pub(crate) fn new(before: Fake, after: Fake, from: u64) -> Self {
        Moving { before, after, reads: AtomicU64::new(0), from }
    }
}

impl Disk for Moving {
    fn name(&self) -> &str {
        "moving"
    }
    fn size(&self) -> u64 {
        self.before.size
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskFault> {
        let now = self.reads.fetch_add(1, Ordering::SeqCst);
        if now < self.from { &self.before } else { &self.after }.read_at(offset, buffer)
    }
}
