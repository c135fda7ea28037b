//! Undo: puts back what a healing overwrote, as an incident of its own.

use crate::engine::plans::seal_undo;
use crate::engine::undone::UndoError;
use crate::judge::audit::SealedPlan;
use crate::judge::planner::images::draw_undo;
use crate::model::extent::Extent;
use crate::model::id::IncidentId;
use crate::model::plan::images::ImagesPlan;
use crate::model::side::Pair;
use crate::ports::disk::{Disk, DiskFault, DiskMut};
use crate::ports::replica::Replica;
use std::sync::{Mutex, PoisonError};

/// Bytes of a superblock.
const SUPERBLOCK: u64 = 4096;

/// Draws and seals the undo of a healing, from what the two sides look like now.
///
/// # Errors
/// [`UndoError`].
pub fn plan_undo(
    healed: ImagesPlan<'_>,
    incident: &IncidentId,
    replicas: Pair<&dyn Replica>,
) -> Result<SealedPlan, UndoError> {
    let unseen = |side| move |source| UndoError::Unseen { side, source };
    let present =
        Pair::from_fn(|side| replicas[side].superblock_block().map_err(unseen(side))).transpose()?;
    let areas = Pair::from_fn(|side| replicas[side].area_digest().map_err(unseen(side))).transpose()?;
    Ok(seal_undo(draw_undo(healed, incident.clone(), present, areas), &healed)?)
}

/// Holds a superblock's 4 KiB back until everything else that is written is durable. Metadata is put back in the order of
/// its places, and external metadata begins with the superblock: it must not tell the old story, with bits set and a
/// log to replay, before these are there.
pub(super) struct SuperblockLast<'d> {
    disk: &'d dyn DiskMut,
    at: u64,
    held: Mutex<Vec<(u64, Vec<u8>)>>,
}

impl<'d> SuperblockLast<'d> {
    /// `at`: the superblock's first byte on `disk`.
    pub(super) fn new(disk: &'d dyn DiskMut, at: u64) -> Self {
        SuperblockLast { disk, at, held: Mutex::default() }
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Vec<(u64, Vec<u8>)>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk for SuperblockLast<'_> {
    fn name(&self) -> &str {
        self.disk.name()
    }

    fn size(&self) -> u64 {
        self.disk.size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskFault> {
        self.disk.read_at(offset, buffer)
    }
}

impl DiskMut for SuperblockLast<'_> {
    fn write_at(&self, offset: u64, buffer: &[u8]) -> Result<(), DiskFault> {
        let write = Extent { start: offset, len: buffer.len() as u64 };
        let superblock = Extent { start: self.at, len: SUPERBLOCK };
        let Some(inside) = write.intersect(&superblock).filter(|inside| inside.len > 0) else {
            return self.disk.write_at(offset, buffer);
        };
        let at = |place: u64| usize::try_from(place - offset).unwrap_or(usize::MAX);
        self.held().push((inside.start, buffer[at(inside.start)..at(inside.end())].to_vec()));
        for (start, bytes) in
            [(offset, &buffer[..at(inside.start)]), (inside.end(), &buffer[at(inside.end())..])]
        {
            if !bytes.is_empty() {
                self.disk.write_at(start, bytes)?;
            }
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), DiskFault> {
        self.disk.flush()?;
        let held = std::mem::take(&mut *self.held());
        for (start, bytes) in &held {
            self.disk.write_at(*start, bytes)?;
        }
        if held.is_empty() { Ok(()) } else { self.disk.flush() }
    }

    fn as_disk(&self) -> &dyn Disk {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Notes what is written and flushed, in order.
    #[derive(Default)]
    struct Noted(Mutex<Vec<String>>);

    impl Disk for Noted {
        fn name(&self) -> &str {
            "noted"
        }
        fn size(&self) -> u64 {
            1 << 20
        }
        fn read_at(&self, _: u64, buffer: &mut [u8]) -> Result<(), DiskFault> {
            buffer.fill(0);
            Ok(())
        }
    }

    impl DiskMut for Noted {
        fn write_at(&self, offset: u64, buffer: &[u8]) -> Result<(), DiskFault> {
            self.0.lock().unwrap().push(format!("{offset}+{}", buffer.len()));
            Ok(())
        }
        fn flush(&self) -> Result<(), DiskFault> {
            self.0.lock().unwrap().push("flush".to_owned());
            Ok(())
        }
        fn as_disk(&self) -> &dyn Disk {
            self
        }
    }

    fn order(at: u64, writes: &[(u64, usize)]) -> Vec<String> {
        let noted = Noted::default();
        let last = SuperblockLast::new(&noted, at);
        for (offset, len) in writes {
            last.write_at(*offset, &vec![1; *len]).unwrap();
        }
        last.flush().unwrap();
        noted.0.into_inner().unwrap()
    }

    #[test]
    fn the_superblock_is_written_when_all_else_is_durable() {
        // External: superblock, log, bitmap. Internal: bitmap, log and superblock in one piece.
        assert_eq!(
            order(0, &[(0, 8192), (36864, 4096)]),
            ["4096+4096", "36864+4096", "flush", "0+4096", "flush"]
        );
        assert_eq!(order(8192, &[(0, 12288)]), ["0+8192", "flush", "8192+4096", "flush"]);
        assert_eq!(order(65536, &[(0, 4096)]), ["0+4096", "flush"]);
    }
}
