//! A disk that is only in memory, as a side.

use super::disk::{Disk, DiskMut};
use super::replica::Unseen;
use crate::model::evidence::Source;
use crate::proof::{Hold, Permit, Preserved, Quiesced};

/// One side.
pub trait MemoryReplica: Send + Sync {
    /// Which disk it is.
    fn source(&self) -> Source;
    /// What it holds.
    fn data(&self) -> &dyn Disk;
    /// Takes the disk for ourselves.
    ///
    /// # Errors
    /// [`Unseen`] that names who holds it.
    fn hold(&self) -> Result<Box<dyn Hold>, Unseen>;
    /// The disk, for overwriting.
    fn data_mut(&self, quiet: &Quiesced, kept: &Preserved, permit: &Permit<'_>) -> &dyn DiskMut;
}
