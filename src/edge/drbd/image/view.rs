//! The replicated data without what lies behind it.

use crate::model::extent::Extent;
use crate::ports::disk::{Disk, DiskFault, DiskMut, Stretch};
use std::sync::Arc;

/// The first bytes of a disk. Reads and writes behind them are refused, not shortened.
pub struct DataView {
    disk: Arc<dyn DiskMut>,
    size: u64,
}

impl DataView {
    /// The first `size` bytes of `disk`, or all of it if it is smaller.
    #[must_use]
    pub fn new(disk: Arc<dyn DiskMut>, size: u64) -> Self {
        let size = size.min(disk.size());
        DataView { disk, size }
    }

    fn check(&self, offset: u64, len: usize) -> Result<(), DiskFault> {
        let len = len as u64;
        if offset.checked_add(len).is_some_and(|end| end <= self.size) {
            return Ok(());
        }
        let extent = Extent { start: offset, len };
        Err(DiskFault::Outside { disk: self.disk.name().to_owned(), extent, size: self.size })
    }
}

impl Disk for DataView {
    fn name(&self) -> &str {
        self.disk.name()
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskFault> {
        self.check(offset, buffer.len())?;
        self.disk.read_at(offset, buffer)
    }

    fn sweep_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskFault> {
        self.check(offset, buffer.len())?;
        self.disk.sweep_at(offset, buffer)
    }

    fn at_hand(&self, extent: Extent) -> bool {
        self.disk.at_hand(extent)
    }

    fn read_if_at_hand(&self, offset: u64, buffer: &mut [u8]) -> bool {
        self.check(offset, buffer.len()).is_ok() && self.disk.read_if_at_hand(offset, buffer)
    }

    fn in_place(&self, extent: Extent, look: &mut dyn FnMut(&[u8])) -> bool {
        extent.end() <= self.size && self.disk.in_place(extent, look)
    }

    fn leave(&self, extent: Extent) {
        self.disk.leave(extent);
    }

    fn stretch(&self, offset: u64) -> Stretch {
        match self.disk.stretch(offset) {
            Stretch::Data(end) => Stretch::Data(end.min(self.size)),
            Stretch::Hole(end) => Stretch::Hole(end.min(self.size)),
        }
    }
}

impl DiskMut for DataView {
    fn write_at(&self, offset: u64, buffer: &[u8]) -> Result<(), DiskFault> {
        self.check(offset, buffer.len())?;
        self.disk.write_at(offset, buffer)
    }

    fn flush(&self) -> Result<(), DiskFault> {
        self.disk.flush()
    }

    fn as_disk(&self) -> &dyn Disk {
        self
    }
}
