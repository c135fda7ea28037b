//! A partition or logical volume of a disk, read as a disk of its own.

use crate::model::extent::Extent;
use crate::ports::disk::{Disk, DiskFault};

/// Pieces of a disk in the order in which they make up another one.
pub(super) struct Slice<'a> {
    disk: &'a dyn Disk,
    /// First byte here, and where the bytes are on the disk; sorted, without overlap.
    map: Vec<(u64, Extent)>,
}

impl<'a> Slice<'a> {
    /// `None` when a piece is not inside the disk or there is none.
    pub(super) fn new(disk: &'a dyn Disk, mut map: Vec<(u64, Extent)>) -> Option<Slice<'a>> {
        map.sort_unstable_by_key(|(at, _)| *at);
        let inside =
            |extent: &Extent| extent.start.checked_add(extent.len).is_some_and(|end| end <= disk.size());
        let apart = map
            .iter()
            .zip(map.iter().skip(1))
            .all(|((at, extent), (next, _))| at.checked_add(extent.len).is_some_and(|end| end <= *next));
        let last = map.last().is_some_and(|(at, extent)| at.checked_add(extent.len).is_some());
        (last && apart && map.iter().all(|(_, extent)| inside(extent))).then_some(Slice { disk, map })
    }

    /// Where it is on the disk, when it is in one piece.
    pub(super) fn one_piece(&self) -> Option<Extent> {
        match self.map.as_slice() {
            [(0, extent)] => Some(*extent),
            _ => None,
        }
    }
}

impl Disk for Slice<'_> {
    fn name(&self) -> &str {
        self.disk.name()
    }

    fn size(&self) -> u64 {
        self.map.last().map_or(0, |(at, extent)| at + extent.len)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskFault> {
        let wanted = Extent { start: offset, len: buffer.len() as u64 };
        let outside =
            || DiskFault::Outside { disk: self.name().to_owned(), extent: wanted, size: self.size() };
        let mut done = 0;
        for (at, extent) in &self.map {
            let from = offset.saturating_add(done as u64);
            if done == buffer.len() || !(*at..at + extent.len).contains(&from) {
                continue;
            }
            let within = from - at;
            let left = usize::try_from(extent.len - within).unwrap_or(usize::MAX);
            let end = buffer.len().min(done.saturating_add(left));
            self.disk.read_at(extent.start + within, &mut buffer[done..end])?;
            done = end;
        }
        if done == buffer.len() { Ok(()) } else { Err(outside()) }
    }
}
