//! A part of a disk, read with positions counted from its own start.

use crate::model::extent::Extent;
use crate::ports::disk::Disk;

/// A disk, or a partition of it.
pub(super) struct Window<'a> {
    disk: &'a dyn Disk,
    extent: Extent,
}

impl<'a> Window<'a> {
    /// `extent` must be inside the disk.
    pub(super) fn new(disk: &'a dyn Disk, extent: Extent) -> Self {
        Window { disk, extent }
    }

    /// Its size in bytes.
    pub(super) fn len(&self) -> u64 {
        self.extent.len
    }

    /// A part of it; `None` when it sticks out or is empty.
    pub(super) fn part(&self, part: Extent) -> Option<Window<'a>> {
        let fits = part.len > 0 && part.start.checked_add(part.len).is_some_and(|end| end <= self.extent.len);
        fits.then(|| Window::new(self.disk, Extent { start: self.extent.start + part.start, len: part.len }))
    }

    /// Reads bytes; callers bound `len`. The error says what happened and where.
    pub(super) fn read(&self, offset: u64, len: u64) -> Result<Vec<u8>, String> {
        let outside = || format!("{len} bytes at byte {offset} are outside its {} bytes", self.extent.len);
        let fits = offset.checked_add(len).is_some_and(|end| end <= self.extent.len);
        let size = usize::try_from(len).ok().filter(|_| fits).ok_or_else(outside)?;
        let mut bytes = vec![0; size];
        match self.disk.read_at(self.extent.start + offset, &mut bytes) {
            Ok(()) => Ok(bytes),
            Err(error) => {
                let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
                Err(format!("{error}{}", cause.unwrap_or_default()))
            }
        }
    }
}
