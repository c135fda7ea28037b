//! What a replica marks as changed here, without knowing its peer's superblock: also of a device that DRBD has attached.

use super::{ImageReplica, ObserveError};
use crate::format::drbdmeta::bitmap::{Marked, Scan};
use crate::model::drbd::{MetadataFormat, Role};
use crate::model::extent::ExtentSet;

impl ImageReplica {
    /// What the bitmap on disk marks toward a peer; 8.4 has one peer, 9 knows it by its node id. `None` when there is no
    /// bitmap for that peer. If this node is `Primary`, what the activity log covers is added, because its marks may
    /// still be in memory only.
    ///
    /// # Errors
    /// [`ObserveError`].
    pub fn marked_toward(&self, node_id: Option<u32>, role: Role) -> Result<Option<ExtentSet>, ObserveError> {
        let superblock = self.reread()?;
        let slot = match superblock.format {
            MetadataFormat::V08 => Some(0),
            MetadataFormat::V09 => {
                let id = node_id.and_then(|id| i32::try_from(id).ok());
                superblock.peer(id).and_then(|peer| u32::try_from(peer.bitmap_index).ok())
            }
        };
        let Some(slot) = slot else { return Ok(None) };
        let before = if role == Role::Primary { Some(self.hidden_from(&superblock)?) } else { None };
        let mut scan = Scan::new(self.geometry.layout, slot)?;
        self.each_bitmap_chunk(|_, chunk| Ok(scan.feed(chunk)?))?;
        let Marked { extents, .. } = scan.finish()?;
        let Some(before) = before else { return Ok(Some(extents)) };
        // An extent may have left the log for the bitmap meanwhile.
        let after = self.hidden_from(&superblock)?;
        Ok(Some(extents.union(&before).union(&after).clip(self.size())))
    }

    fn hidden_from(&self, superblock: &crate::model::drbd::Superblock) -> Result<ExtentSet, ObserveError> {
        let log = self.read_metadata(self.geometry.log)?;
        Ok(self.hidden(&log, superblock, Some(Role::Primary))?.hot)
    }
}
