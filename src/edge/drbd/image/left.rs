//! What a settling that was cut off left of activity log and bitmap: sectors as they were before, sectors as it leaves
//! them, and nothing else, unless somebody else wrote.

use super::{ImageReplica, ObserveError};
use crate::format::drbdmeta::{BLOCK, activity_log, superblock};
use crate::model::extent::{Extent, ExtentSet};
use crate::model::id::Digest;
use crate::model::plan::images::MetadataChange;
use crate::model::size::SECTOR;
use crate::ports::disk::{Disk, DiskFault};
use crate::ports::replica::AreaLeft;

impl ImageReplica {
    /// Compares log and bitmap with what `change` can have left, given the `blocks` of the metadata disk as they were
    /// `before`.
    ///
    /// # Errors
    /// [`ObserveError`].
    pub fn area_left(
        &self,
        change: &MetadataChange,
        overwritten: &ExtentSet,
        before: &dyn Disk,
        blocks: &ExtentSet,
    ) -> Result<AreaLeft, ObserveError> {
        let mut hasher = blake3::Hasher::new();
        let log = self.geometry.log;
        let present = self.read_metadata(log)?;
        let mut was = present.clone();
        put_back(log.start, &mut was, before, blocks)?;
        hasher.update(&was);
        let then = if change.reset_log { activity_log::initial(&self.superblock) } else { was.clone() };
        let mut foreign = first_foreign(log.start, &present, &[&was, &then]);

        // What the log hid then; and everything, which a repetition marks when it finds the log torn.
        let whole = ExtentSet::whole(self.size());
        let hid = if change.mark_hot_slots.is_empty() {
            ExtentSet::empty()
        } else {
            let at = self.geometry.superblock_at;
            let mut block = self.read_metadata(Extent { start: at, len: BLOCK as u64 })?;
            put_back(at, &mut block, before, blocks)?;
            let superblock = superblock::parse(&block).map_err(|source| ObserveError::Corrupt {
                disk: self.metadata.name().to_owned(),
                at,
                source,
            })?;
            self.hides(self.hidden(&was, &superblock, None)?)
        };
        let exact = self.edit_with(change, overwritten, hid)?;
        let generous = self.edit_with(change, overwritten, whole)?;
        let start = self.geometry.bitmap.start;
        self.each_bitmap_chunk(|at, present| {
            let mut was = present.to_vec();
            put_back(start + at, &mut was, before, blocks)?;
            hasher.update(&was);
            if *present != *was {
                let (mut then, mut more) = (was.clone(), was.clone());
                exact.apply(at, &mut then)?;
                generous.apply(at, &mut more)?;
                foreign = foreign.or_else(|| first_foreign(start + at, present, &[&was, &then, &more]));
            }
            Ok(())
        })?;
        Ok(AreaLeft { before: Digest(*hasher.finalize().as_bytes()), foreign })
    }
}

/// Puts the kept blocks back into `bytes`, which stand at `start` of the metadata disk.
fn put_back(start: u64, bytes: &mut [u8], before: &dyn Disk, blocks: &ExtentSet) -> Result<(), DiskFault> {
    let here = Extent { start, len: bytes.len() as u64 };
    for block in blocks.iter().filter_map(|block| block.intersect(&here)) {
        let from = usize::try_from(block.start - start).unwrap_or(usize::MAX);
        let to = usize::try_from(block.end() - start).unwrap_or(usize::MAX);
        before.read_at(block.start, &mut bytes[from..to])?;
    }
    Ok(())
}

/// The first sector of `present`, which stands at `start`, that is in none of the others.
fn first_foreign(start: u64, present: &[u8], known: &[&[u8]]) -> Option<u64> {
    let sector = usize::try_from(SECTOR).unwrap_or(512);
    let strange = |(at, found): &(usize, &[u8])| {
        !known.iter().any(|bytes| bytes.get(at * sector..at * sector + found.len()) == Some(found))
    };
    let (at, _) = present.chunks(sector).enumerate().find(strange)?;
    Some(start + at as u64 * SECTOR)
}
