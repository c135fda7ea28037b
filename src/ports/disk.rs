//! A random-access block store of fixed size: a device, a snapshot, an image file.

use crate::model::extent::Extent;
use crate::model::salvage::Piece;
use crate::proof::preserved::ReadPiece;
use std::io;

/// Why a read or write of a disk failed. Nothing is known about the bytes that were asked for.
#[derive(Debug, thiserror::Error)]
pub enum DiskFault {
    /// The device or file system said no.
    #[error("{disk}: {act} of {len} bytes at byte {offset} failed", len = extent.len, offset = extent.start)]
    Io {
        /// The disk's name.
        disk: String,
        /// `read`, `write` or `flush`.
        act: &'static str,
        /// Where.
        extent: Extent,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file ended early: it shrank, or is shorter than its size said.
    #[error("{disk}: only {got} of {len} bytes at byte {offset} are there: it became shorter while in use", len = extent.len, offset = extent.start)]
    Short {
        /// The disk's name.
        disk: String,
        /// Where.
        extent: Extent,
        /// How many bytes came.
        got: u64,
    },
    /// The range is not inside the disk: a defect of the caller.
    #[error("{disk}: {len} bytes at byte {offset} are outside its {size} bytes", len = extent.len, offset = extent.start)]
    Outside {
        /// The disk's name.
        disk: String,
        /// Where.
        extent: Extent,
        /// The disk's size.
        size: u64,
    },
    /// What was to be replaced is not what was seen there before: nothing of it was replaced.
    #[error(
        "{disk}: the {len} bytes at byte {offset} are not those that were checked before: somebody else wrote there. \
         They were left as they are",
        len = extent.len, offset = extent.start
    )]
    Changed {
        /// The disk's name.
        disk: String,
        /// The piece that holds something else.
        extent: Extent,
    },
}

/// What a stretch of a sparse file is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stretch {
    /// May hold data up to this byte (exclusive).
    Data(u64),
    /// A hole, reading as zeros, up to this byte (exclusive).
    Hole(u64),
}

/// Reading.
pub trait Disk: Send + Sync {
    /// For messages: the path.
    fn name(&self) -> &str;
    /// Size in bytes, fixed when opened.
    fn size(&self) -> u64;
    /// Fills the whole buffer from `offset`.
    ///
    /// # Errors
    /// [`DiskFault`]; the buffer's content is then undefined.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskFault>;
    /// As [`Disk::read_at`], for whoever passes over much of the disk once: takes the path that is fastest
    /// for a large request, and leaves the page cache to those who use it. Best with a buffer on a page
    /// boundary and an offset and a length of whole blocks. Default: [`Disk::read_at`].
    ///
    /// # Errors
    /// [`DiskFault`]; the buffer's content is then undefined.
    fn sweep_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskFault> {
        self.read_at(offset, buffer)
    }
    /// Whether reading `extent` is a copy from memory, done before another thread could be asked for it.
    /// Otherwise many requests should be in flight at once. A guess: what was in memory may leave it.
    /// Default: yes.
    fn at_hand(&self, extent: Extent) -> bool {
        let _ = extent;
        true
    }
    /// As [`Disk::read_at`], if that is a copy from memory; `false` if it is not, or fails: then nothing is known
    /// about the buffer, and reading tells why. Default: asks [`Disk::at_hand`] first.
    fn read_if_at_hand(&self, offset: u64, buffer: &mut [u8]) -> bool {
        let extent = Extent { start: offset, len: buffer.len() as u64 };
        self.at_hand(extent) && self.read_at(offset, buffer).is_ok()
    }
    /// Shows `look` the bytes of `extent` where they lie in memory, without copying them. `false`: that cannot
    /// be done, or what was shown were other bytes than the disk's (a page could not be had, the disk became
    /// shorter); then what was seen means nothing, `look` may not have been called, and reading tells. Best
    /// with extents that cross no multiple of 1 MiB.
    ///
    /// The bytes may change while they are looked at: only compare them, and read what is to be kept.
    /// Default: `false`.
    fn in_place(&self, extent: Extent, look: &mut dyn FnMut(&[u8])) -> bool {
        let _ = (extent, look);
        false
    }
    /// Lets go of what [`Disk::in_place`] took for `extent`: else that is done later, for more of it at a time,
    /// and costs somebody else the time. Default: nothing.
    fn leave(&self, extent: Extent) {
        let _ = extent;
    }
    /// What stands at `offset` (below the size), if the disk can tell cheaply. Default: data to the end.
    fn stretch(&self, offset: u64) -> Stretch {
        let _ = offset;
        Stretch::Data(self.size())
    }
}

/// Writing, too.
pub trait DiskMut: Disk {
    /// Writes the whole buffer at `offset`. Durable only after [`DiskMut::flush`].
    ///
    /// # Errors
    /// [`DiskFault`]; any part of the range may then have been written.
    fn write_at(&self, offset: u64, buffer: &[u8]) -> Result<(), DiskFault>;
    /// Replaces pieces in order, each only if what stands there is still what `was` says: read, compared and written one
    /// piece after the other, as close to the disk as can be. What is left between comparing a piece and writing it
    /// cannot be closed without the other writer's help.
    ///
    /// # Errors
    /// [`DiskFault::Changed`]: that piece and those behind it were not written (across a link, a few behind it may have
    /// been: each of them had been compared). Else as for [`Disk::read_at`] and [`DiskMut::write_at`].
    fn replace(&self, pieces: &[Replacement<'_>]) -> Result<(), DiskFault> {
        for Replacement { was, new } in pieces {
            let mut present = vec![0; new.len()];
            self.read_at(was.start, &mut present)?;
            if ReadPiece::of(was.start, &present).piece() != *was {
                return Err(DiskFault::Changed { disk: self.name().to_owned(), extent: was.extent() });
            }
            self.write_at(was.start, new)?;
        }
        Ok(())
    }
    /// Makes every earlier write durable.
    ///
    /// # Errors
    /// [`DiskFault`]; nothing is then known about earlier writes.
    fn flush(&self) -> Result<(), DiskFault>;
    /// This disk, for reading.
    fn as_disk(&self) -> &dyn Disk;
}

/// Bytes that take the place of others.
#[derive(Debug, Clone, Copy)]
pub struct Replacement<'b> {
    /// What must stand there until then: place, length and digest.
    pub was: Piece,
    /// What is written; as long.
    pub new: &'b [u8],
}
