//! The few acts on the metadata. Each is idempotent and durable when it returns, and what it wrote was read back: a disk that
//! says it wrote need not have.
//!
//! The order that survives a power cut anywhere: bitmap, then log, then superblock. What the log hides is marked before
//! the log is reset, and the superblock tells the new story only when everything under it is true.

use super::observe::Hidden;
use super::{ImageReplica, ObserveError};
use crate::format::drbdmeta::bitmap::{Edit, Marking};
use crate::format::drbdmeta::superblock::encode_into;
use crate::format::drbdmeta::{BLOCK, activity_log};
use crate::model::drbd::Superblock;
use crate::model::evidence::LogState;
use crate::model::extent::{Extent, ExtentSet};
use crate::model::plan::images::MetadataChange;
use crate::ports::disk::DiskFault;
use std::io;

impl ImageReplica {
    /// The 4 KiB blocks of the metadata disk that settling `change` can alter: superblock, activity log blocks that are
    /// not initial already, and the bitmap blocks the edit alters.
    ///
    /// # Errors
    /// [`ObserveError`] when the present metadata cannot be read.
    pub fn changed_blocks(
        &self,
        change: &MetadataChange,
        overwritten: &ExtentSet,
    ) -> Result<ExtentSet, ObserveError> {
        let mut blocks = vec![Extent { start: self.geometry.superblock_at, len: BLOCK as u64 }];
        if change.reset_log {
            let log = self.geometry.log;
            let (now, then) = (self.read_metadata(log)?, activity_log::initial(&self.superblock));
            blocks.extend(altered(&now, &then, log.start));
        }
        let edit = self.edit(change, overwritten, false)?;
        let start = self.geometry.bitmap.start;
        if !edit.is_empty() {
            self.each_bitmap_chunk(|at, chunk| {
                let before = chunk.to_vec();
                if edit.apply(at, chunk)? {
                    blocks.extend(altered(&before, chunk, start + at));
                }
                Ok(())
            })?;
        }
        Ok(blocks.into_iter().collect())
    }

    /// The edit that `change` means, including what the log hides now. `again`: the log may have been torn by an earlier
    /// attempt.
    fn edit(
        &self,
        change: &MetadataChange,
        overwritten: &ExtentSet,
        again: bool,
    ) -> Result<Edit, ObserveError> {
        let mut hidden = ExtentSet::empty();
        if !change.mark_hot_slots.is_empty() {
            hidden = match self.hidden_now(&self.reread()?) {
                Ok(found) => self.hides(found),
                // The attempt that tore it had marked everything before it began to: this marks too much, never too little.
                Err(ObserveError::Log { .. }) if again => ExtentSet::whole(self.size()),
                Err(error) => return Err(error),
            };
        }
        self.edit_with(change, overwritten, hidden)
    }

    /// What a log hides, as extents.
    pub(super) fn hides(&self, hidden: Hidden) -> ExtentSet {
        match hidden.log {
            LogState::Clean => ExtentSet::empty(),
            LogState::Hot => hidden.hot,
            LogState::Disabled => ExtentSet::whole(self.size()),
        }
    }

    /// The edit that `change` means when the log hides this.
    pub(super) fn edit_with(
        &self,
        change: &MetadataChange,
        overwritten: &ExtentSet,
        hidden: ExtentSet,
    ) -> Result<Edit, ObserveError> {
        let mark = vec![
            Marking { slots: change.mark_slots.clone(), extents: overwritten.clone() },
            Marking { slots: change.mark_hot_slots.clone(), extents: hidden },
        ];
        Ok(Edit::new(self.geometry.layout, &change.clear_slots, mark)?)
    }

    /// Everything of `change` but `during`: bitmap (with what the log hides), log, superblock, in the order that survives
    /// a power cut. `again` says that this may have been tried before: see [`crate::ports::replica::WritableReplica::settle`].
    ///
    /// # Errors
    /// [`ObserveError`]; any part may then have been done. Doing it again finishes it.
    pub fn settle(
        &self,
        change: &MetadataChange,
        overwritten: &ExtentSet,
        again: bool,
    ) -> Result<(), ObserveError> {
        self.settle_bitmap(change, overwritten, again)?;
        if change.reset_log {
            self.reset_log()?;
        }
        Ok(self.write_superblock(&change.after)?)
    }

    /// The bitmap part of `change`, with what the log hides. Must come before [`ImageReplica::reset_log`].
    ///
    /// # Errors
    /// [`ObserveError`]; any part may then have been written.
    pub fn settle_bitmap(
        &self,
        change: &MetadataChange,
        overwritten: &ExtentSet,
        again: bool,
    ) -> Result<(), ObserveError> {
        self.apply(&self.edit(change, overwritten, again)?, again)
    }

    /// Clears some slots, then marks extents in others.
    ///
    /// # Errors
    /// [`ObserveError`]; any part may then have been written.
    pub fn edit_bitmap(
        &self,
        clear_slots: &[u32],
        mark_slots: &[u32],
        extents: &ExtentSet,
    ) -> Result<(), ObserveError> {
        let mark = vec![Marking { slots: mark_slots.to_vec(), extents: extents.clone() }];
        self.apply(&Edit::new(self.geometry.layout, clear_slots, mark)?, false)
    }

    /// Writes what the edit alters, or, `again`, the whole bitmap: after a failed flush what can be read need not be on disk.
    fn apply(&self, edit: &Edit, again: bool) -> Result<(), ObserveError> {
        let start = self.geometry.bitmap.start;
        if !edit.is_empty() {
            self.each_bitmap_chunk(|at, chunk| {
                let before = chunk.to_vec();
                let altered_any = edit.apply(at, chunk)?;
                if again {
                    self.metadata.write_at(start + at, chunk)?;
                } else if altered_any {
                    let runs: ExtentSet = altered(&before, chunk, at).collect();
                    for run in runs.iter() {
                        let from = usize::try_from(run.start - at).unwrap_or(0);
                        let to = usize::try_from(run.end() - at).unwrap_or(0);
                        self.metadata.write_at(start + run.start, &chunk[from..to])?;
                    }
                }
                Ok(())
            })?;
        }
        self.metadata.flush()?;
        self.holds(edit)
    }

    /// The edit, made again, alters nothing.
    fn holds(&self, edit: &Edit) -> Result<(), ObserveError> {
        if edit.is_empty() {
            return Ok(());
        }
        let start = self.geometry.bitmap.start;
        self.each_bitmap_chunk(|at, chunk| {
            if edit.apply(at, chunk)? {
                return Err(self.lost(start + at, chunk.len()).into());
            }
            Ok(())
        })
    }

    fn lost(&self, start: u64, len: usize) -> DiskFault {
        let (disk, extent) = (self.metadata.name().to_owned(), Extent { start, len: len as u64 });
        let source = io::Error::other(
            "what was written is not what is read there now: the device loses writes, or somebody else wrote to it",
        );
        DiskFault::Io { disk, act: "write", extent, source }
    }

    /// Writes a part of the metadata, makes it durable, and reads it back.
    fn write(&self, at: u64, bytes: &[u8]) -> Result<(), DiskFault> {
        self.metadata.write_at(at, bytes)?;
        self.metadata.flush()?;
        let mut present = vec![0; bytes.len()];
        self.metadata.read_at(at, &mut present)?;
        if present == bytes { Ok(()) } else { Err(self.lost(at, bytes.len())) }
    }

    /// Makes the activity log empty.
    ///
    /// # Errors
    /// [`DiskFault`]; any part may then have been written.
    pub fn reset_log(&self) -> Result<(), DiskFault> {
        self.write(self.geometry.log.start, &activity_log::initial(&self.superblock))
    }

    /// Writes the superblock over the present one; bytes that the model does not know stay as they are.
    ///
    /// # Errors
    /// [`DiskFault`]; the block may then be old or new (it is one 4 KiB write).
    pub fn write_superblock(&self, superblock: &Superblock) -> Result<(), DiskFault> {
        let at = self.geometry.superblock_at;
        let mut block = [0; BLOCK];
        self.metadata.read_at(at, &mut block)?;
        encode_into(superblock, &mut block);
        self.write(at, &block)
    }
}

/// The 4 KiB blocks in which two stretches of bytes differ; `start` is where they begin.
fn altered(before: &[u8], after: &[u8], start: u64) -> impl Iterator<Item = Extent> {
    let pairs = before.chunks(BLOCK).zip(after.chunks(BLOCK)).zip((start..).step_by(BLOCK));
    pairs
        .filter(|((before, after), _)| before != after)
        .map(|((block, _), start)| Extent { start, len: block.len() as u64 })
}
