//! DRBD's on-disk metadata: bytes to model and back.
//!
//! | file | holds |
//! |---|---|
//! | [`superblock`] | the 4 KiB block that names generations, peers and the layout |
//! | [`geometry`] | where on which device activity log, bitmap and data are |
//! | [`locate`] | where a superblock may stand |
//! | [`bitmap`] | the blocks that changed, streamed |
//! | [`activity_log`] | the extents that may have changed without a mark |
//! | [`create`] | metadata of a new device |
//!
//! Checked against drbdmeta 9.22 in `tests/drbdmeta.rs`.

pub mod activity_log;
pub mod bitmap;
pub mod create;
pub mod geometry;
pub mod locate;
pub mod superblock;

use drbd_sys::metadata as sys;

/// Size of a superblock, of an activity log transaction, and of the unit in which metadata is written, in bytes.
pub const BLOCK: usize = sys::BLOCK_BYTES;

/// `N` bytes of `block` at `at`; zeros where the block is too short, which callers rule out by taking whole blocks.
fn field<const N: usize>(block: &[u8], at: usize) -> [u8; N] {
    block.get(at..at + N).and_then(|bytes| bytes.try_into().ok()).unwrap_or([0; N])
}

fn be16(block: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(field(block, at))
}

fn be32(block: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(field(block, at))
}

fn be32_signed(block: &[u8], at: usize) -> i32 {
    i32::from_be_bytes(field(block, at))
}

fn be64(block: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(field(block, at))
}
