//! Disks that are only in memory, for tests of the incident line.

use crate::model::evidence::{MetadataPlace, Source, Trust};
use crate::ports::disk::{Disk, DiskMut};
use crate::ports::memory::MemoryReplica;
use crate::ports::replica::Unseen;
use crate::proof::{Hold, Permit, Preserved, Quiesced};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A disk as a side: anything that can be read and written, and one holder at a time.
pub struct MemoryDisk<D> {
    name: String,
    disk: Arc<D>,
    held: Arc<AtomicBool>,
}

impl<D: DiskMut> MemoryDisk<D> {
    /// A side of that name.
    pub fn new(name: &str, disk: Arc<D>) -> MemoryDisk<D> {
        MemoryDisk { name: name.to_owned(), disk, held: Arc::default() }
    }
}

/// Given back when it is dropped.
struct Held {
    held: Arc<AtomicBool>,
}

impl Hold for Held {
    fn still_ours(&self) -> Result<(), String> {
        Ok(())
    }

    fn how(&self) -> &str {
        "one holder at a time"
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.held.store(false, Ordering::Release);
    }
}

impl<D: DiskMut> MemoryReplica for MemoryDisk<D> {
    fn source(&self) -> Source {
        let (data, size) = (format!("memory:{}", self.name), self.disk.size());
        Source {
            metadata: data.clone(),
            data,
            data_size: size,
            metadata_size: size,
            place: MetadataPlace::Internal,
            superblock_at: 0,
            on: None,
            trust: Trust::AsIs,
            grown_to: None,
        }
    }

    fn data(&self) -> &dyn Disk {
        self.disk.as_disk()
    }

    fn hold(&self) -> Result<Box<dyn Hold>, Unseen> {
        if self.held.swap(true, Ordering::AcqRel) {
            return Err(Unseen(format!("memory:{} is held by somebody else", self.name).into()));
        }
        Ok(Box::new(Held { held: Arc::clone(&self.held) }))
    }

    fn data_mut(&self, _: &Quiesced, _: &Preserved, _: &Permit<'_>) -> &dyn DiskMut {
        &*self.disk
    }
}
