//! One side's replica of a volume: reading it, and, with proofs in hand, changing it.
//!
//! Offline images implement both today (`edge::drbd::image`); live nodes are other adapters of the same seam.

use super::channel::{ChannelFault, Receiver, Sender};
use super::disk::{Disk, DiskFault, DiskMut};
use crate::model::drbd::Superblock;
use crate::model::evidence::{Evidence, Source};
use crate::model::extent::ExtentSet;
use crate::model::id::{Digest, NodeName};
use crate::model::plan::images::{MetadataChange, RawBlock};
use crate::model::remembered::WriteStamp;
use crate::model::seen::{End, Stamp, Why};
use crate::proof::Permit;
use crate::proof::preserved::Preserved;
use crate::proof::quiesced::{Hold, Quiesced};

/// A replica could not be seen: missing, unreadable or damaged. The cause says which, where and what to do.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Unseen(pub Box<dyn std::error::Error + Send + Sync>);

/// Both halves of a channel to whoever answers on another machine.
pub type FarEnd = (Box<dyn Sender>, Box<dyn Receiver>);

/// Reading one side.
pub trait Replica: Send + Sync {
    /// What the side is called.
    fn name(&self) -> &NodeName;
    /// Where it is.
    fn source(&self) -> Source;
    /// Bytes of replicated data.
    fn size(&self) -> u64;
    /// The superblock, read now.
    ///
    /// # Errors
    /// [`Unseen`].
    fn superblock(&self) -> Result<Superblock, Unseen>;
    /// The superblock's 4 KiB, read now.
    ///
    /// # Errors
    /// [`Unseen`].
    fn superblock_block(&self) -> Result<RawBlock, Unseen>;
    /// Digest of activity log and bitmap area, read now.
    ///
    /// # Errors
    /// [`Unseen`].
    fn area_digest(&self) -> Result<Digest, Unseen>;
    /// Everything this side says when facing `peer`, read now.
    ///
    /// # Errors
    /// [`Unseen`].
    fn observe(&self, peer: &Superblock, now: Stamp) -> Result<Evidence, Unseen>;
    /// The replicated data, without metadata.
    fn data(&self) -> &dyn Disk;
    /// The device that holds the metadata.
    fn metadata(&self) -> &dyn Disk;
    /// The content digest (`digest::content`) of extents of the data, made on the machine where the data is, with that many
    /// threads. `None`: the data is on this machine, read it.
    fn digest_there(&self, extents: &ExtentSet, threads: usize) -> Option<Result<Digest, DiskFault>> {
        let _ = (extents, threads);
        None
    }
    /// Whether the data is on another machine: then it is compared there, see [`Replica::answering`].
    fn is_far(&self) -> bool {
        false
    }
    /// When the data is on another machine: starts the answering side of a comparison of it there, and gives the channel
    /// to that.
    ///
    /// # Errors
    /// [`ChannelFault`]; always, when the data is on this machine.
    fn answering(&self, threads: usize) -> Result<FarEnd, ChannelFault> {
        let _ = threads;
        Err(ChannelFault::Closed)
    }
    /// What shows later that nothing was written to this side meanwhile.
    ///
    /// # Errors
    /// Why that cannot be known. By default it never is.
    fn write_stamp(&self) -> Result<WriteStamp, Why> {
        Err(Why::from("writes to this kind of replica leave no trace that could be trusted"))
    }
    /// The blocks of the metadata device that a change would touch.
    ///
    /// # Errors
    /// [`Unseen`].
    fn changed_blocks(&self, change: &MetadataChange, overwritten: &ExtentSet) -> Result<ExtentSet, Unseen>;
    /// What a settling that was cut off (or was done, or is being undone) left of activity log and bitmap, given the
    /// `blocks` of the metadata device as they were before it.
    ///
    /// # Errors
    /// [`Unseen`].
    fn area_left(
        &self,
        change: &MetadataChange,
        overwritten: &ExtentSet,
        before: &dyn Disk,
        blocks: &ExtentSet,
    ) -> Result<AreaLeft, Unseen>;
}

/// What is left of activity log and bitmap after a settling that may have been cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AreaLeft {
    /// The digest of the whole area, had the settling not happened.
    pub before: Digest,
    /// The first byte, on the metadata device, of a sector that is neither as before nor as the settling leaves it.
    pub foreign: Option<u64>,
}

/// Changing one side. Every act asks for the proofs that make it safe and for the permit of its step, and is idempotent.
pub trait WritableReplica: Replica {
    /// Takes the replica for ourselves.
    ///
    /// # Errors
    /// [`Unseen`] that names who holds it.
    fn hold(&self) -> Result<Box<dyn Hold>, Unseen>;
    /// Writes a superblock over the present one and makes it durable.
    fn write_superblock(
        &self,
        superblock: &Superblock,
        quiet: &Quiesced,
        kept: &Preserved,
        permit: &Permit<'_>,
    ) -> End;
    /// The data, for overwriting.
    fn data_mut(&self, quiet: &Quiesced, kept: &Preserved, permit: &Permit<'_>) -> &dyn DiskMut;
    /// The metadata device, for putting kept blocks back.
    fn metadata_mut(&self, quiet: &Quiesced, kept: &Preserved, permit: &Permit<'_>) -> &dyn DiskMut;
    /// Writes bitmap, activity log and then the superblock as `change` says; durable, in that order.
    ///
    /// `again`: an earlier attempt may have been cut off. Then what already looks right is written, too, because a
    /// flush that failed loses what can still be read, and a log that the attempt tore counts as hiding everything.
    fn settle(
        &self,
        change: &MetadataChange,
        overwritten: &ExtentSet,
        again: bool,
        quiet: &Quiesced,
        kept: &Preserved,
        permit: &Permit<'_>,
    ) -> End;
}
