//! Reading evidence. Nothing is written.

use super::{ImageReplica, ObserveError};
use crate::format::drbdmeta::BLOCK;
use crate::format::drbdmeta::activity_log::{self, ActivityLog};
use crate::format::drbdmeta::bitmap::{Marked, Scan};
use crate::judge::aftermath::slot_toward;
use crate::model::drbd::{MetadataFormat, Role, Superblock, device_flag, peer_flag};
use crate::model::evidence::{Evidence, LogState, Marks};
use crate::model::extent::{Extent, ExtentSet};
use crate::model::id::{Digest, NodeName};
use crate::model::plan::images::RawBlock;
use crate::model::seen::Stamp;
use crate::ports::disk::DiskFault;
use drbd_sys::metadata as sys;

/// What the activity log hides, as far as the superblock says that it matters.
pub(super) struct Hidden {
    pub(super) log: LogState,
    pub(super) hot: ExtentSet,
}

impl ImageReplica {
    /// Reads everything this replica says about `peer`. `role`: the role the node really has, if better known than from
    /// the metadata; a Primary's log counts as hot in any case. `now`: for the record.
    ///
    /// # Errors
    /// [`ObserveError`]; [`ObserveError::Moving`] when the metadata changed meanwhile.
    pub fn observe(
        &self,
        name: NodeName,
        role: Option<Role>,
        peer: &Superblock,
        now: Stamp,
    ) -> Result<Evidence, ObserveError> {
        let (block, superblock) = self.read_superblock()?;
        let log_bytes = self.read_metadata(self.geometry.log)?;
        let slot = slot_toward(&superblock, peer);

        let mut hasher = blake3::Hasher::new();
        hasher.update(&log_bytes);
        let mut scan = slot.map(|slot| Scan::new(self.geometry.layout, slot)).transpose()?;
        self.each_bitmap_chunk(|_, chunk| {
            hasher.update(chunk);
            scan.as_mut().map_or(Ok(()), |scan| scan.feed(chunk))?;
            Ok(())
        })?;
        let marked = scan.map(Scan::finish).transpose()?;

        // An extent may have left the log for the bitmap while we read: the two logs together hide nothing.
        let again = self.read_metadata(self.geometry.log)?;
        if self.read_superblock()?.0 != block {
            return Err(ObserveError::Moving { disk: self.metadata.name().to_owned() });
        }
        let mut hidden = self.hidden(&log_bytes, &superblock, role)?;
        if again != log_bytes {
            let later = self.hidden(&again, &superblock, role)?;
            hidden.hot = hidden.hot.union(&later.hot);
        }
        Ok(Evidence {
            name,
            source: self.source(),
            role: role.unwrap_or(if superblock.has(device_flag::PRIMARY_IND) {
                Role::Primary
            } else {
                Role::Secondary
            }),
            marks: self.marks(&superblock, peer, slot, marked, hidden),
            superblock,
            superblock_digest: Digest(*blake3::hash(&block).as_bytes()),
            area_digest: Digest(*hasher.finalize().as_bytes()),
            taken_at: now,
        })
    }

    /// Digest of activity log and bitmap area as they stand now; equal to [`Evidence::area_digest`] of an unchanged replica.
    ///
    /// # Errors
    /// [`ObserveError`].
    pub fn area_digest(&self) -> Result<Digest, ObserveError> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.read_metadata(self.geometry.log)?);
        self.each_bitmap_chunk(|_, chunk| {
            hasher.update(chunk);
            Ok(())
        })?;
        Ok(Digest(*hasher.finalize().as_bytes()))
    }

    /// The superblock's 4 KiB as they stand now, whatever they say.
    ///
    /// # Errors
    /// The [`DiskFault`] of reading them.
    pub fn superblock_block(&self) -> Result<RawBlock, DiskFault> {
        let mut block = Box::new([0; BLOCK]);
        self.metadata.read_at(self.geometry.superblock_at, &mut block[..])?;
        Ok(RawBlock(block))
    }

    fn marks(
        &self,
        superblock: &Superblock,
        peer: &Superblock,
        slot: Option<u32>,
        marked: Option<Marked>,
        hidden: Hidden,
    ) -> Marks {
        let layout = &self.geometry.layout;
        let Marked { extents, bits } = match marked {
            Some(_) if full_sync_due(superblock, peer) => {
                Marked { extents: ExtentSet::whole(layout.data_size), bits: layout.bits() }
            }
            Some(marked) => marked,
            None => Marked::default(),
        };
        let Hidden { log, hot } = hidden;
        let bits_after_replay = match log {
            LogState::Clean => bits,
            LogState::Disabled => layout.bits(),
            LogState::Hot => {
                let all = extents.union(&hot.align(layout.bytes_per_bit).clip(layout.data_size));
                all.iter().map(|run| run.len.div_ceil(layout.bytes_per_bit)).sum()
            }
        };
        Marks { slot, bits, bitmap: extents, log, hot, bits_after_replay }
    }

    /// What the log says, given its bytes.
    pub(super) fn hidden(
        &self,
        log_bytes: &[u8],
        superblock: &Superblock,
        role: Option<Role>,
    ) -> Result<Hidden, ObserveError> {
        let log = match (activity_log::log_state(superblock), role) {
            (LogState::Clean, Some(Role::Primary)) if superblock.has(device_flag::AL_DISABLED) => {
                LogState::Disabled
            }
            (LogState::Clean, Some(Role::Primary)) => LogState::Hot,
            (state, _) => state,
        };
        match (activity_log::parse(log_bytes, superblock), log) {
            (Ok(ActivityLog { complete: false, .. }), LogState::Hot) => {
                Ok(Hidden { log: LogState::Disabled, hot: ExtentSet::whole(self.size()) })
            }
            (Ok(replayed), log) => Ok(Hidden { log, hot: replayed.extents(self.size()) }),
            // Like drbdmeta: what is not needed may be unreadable.
            (Err(_), LogState::Clean | LogState::Disabled) => Ok(Hidden { log, hot: ExtentSet::empty() }),
            (Err(source), LogState::Hot) => {
                Err(ObserveError::Log { disk: self.metadata.name().to_owned(), source })
            }
        }
    }

    /// Hands out the bitmap in order, in chunks of about 1 MiB that are whole rows of all slots: offset from the start of
    /// the bitmap, and the bytes.
    pub(super) fn each_bitmap_chunk(
        &self,
        mut take: impl FnMut(u64, &mut [u8]) -> Result<(), ObserveError>,
    ) -> Result<(), ObserveError> {
        let Extent { start, len } = self.geometry.bitmap;
        let row = sys::BLOCK_BYTES as u64 * u64::from(self.geometry.layout.slots);
        let step = ((1 << 20) / row).max(1) * row;
        let mut buffer = vec![0; usize::try_from(step.min(len)).unwrap_or(0)];
        for piece in Extent::between(0, len).pieces(step) {
            let chunk = &mut buffer[..usize::try_from(piece.len).unwrap_or(0)];
            self.metadata.read_at(start + piece.start, chunk)?;
            take(piece.start, chunk)?;
        }
        Ok(())
    }

    /// Reads and replays the log as it stands now.
    pub(super) fn hidden_now(&self, superblock: &Superblock) -> Result<Hidden, ObserveError> {
        let bytes: Result<Vec<u8>, DiskFault> = self.read_metadata(self.geometry.log);
        self.hidden(&bytes?, superblock, None)
    }
}

/// Whether the superblock says that everything has to be synced with this peer.
fn full_sync_due(superblock: &Superblock, peer: &Superblock) -> bool {
    match superblock.format {
        MetadataFormat::V08 => superblock.has(device_flag::FULL_SYNC),
        MetadataFormat::V09 => {
            superblock.peer(Some(peer.node_id)).is_some_and(|slot| slot.flags & peer_flag::FULL_SYNC != 0)
        }
    }
}
