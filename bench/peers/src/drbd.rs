//! DRBD's metadata on two images: a split brain in which each side's bitmap marks some blocks.

use crate::data::BLOCK;
use drbd_sys::metadata as sys;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use unsplit::format::drbdmeta::create::{Fresh, Wanted, create};
use unsplit::model::drbd::{GenerationUuid, MetadataFormat, PeerSlot, device_flag, peer_flag};
use unsplit::model::extent::ExtentSet;

/// Metadata for an image of that size; says where the replicated data ends.
pub(crate) fn fresh(size: u64) -> anyhow::Result<Fresh> {
    Ok(create(&Wanted::internal(MetadataFormat::V09, size), false)?)
}

/// Writes the metadata of node `number` (0 or 1), whose bitmap marks what it wrote while alone. Generations as DRBD
/// leaves them when both nodes went on from the same one and were stopped in order.
pub(crate) fn write(path: &Path, fresh: &Fresh, number: u8, marked: &ExtentSet) -> anyhow::Result<()> {
    let base = GenerationUuid(0x5EED_0000_0000_0010);
    let mut superblock = fresh.superblock.clone();
    superblock.effective_size = fresh.geometry.data_capacity / sys::SECTOR_BYTES;
    superblock.current = GenerationUuid(0x5EED_0000_0000_1000 << (4 * number));
    superblock.device_uuid = 77 + u64::from(number);
    superblock.flags = device_flag::CONSISTENT | device_flag::WAS_UP_TO_DATE | device_flag::AL_CLEAN;
    superblock.node_id = number.into();
    superblock.members = 0b11;
    let own = PeerSlot {
        bitmap_uuid: GenerationUuid::UNSET,
        bitmap_dagtag: 0,
        flags: peer_flag::NODE_EXISTS,
        bitmap_index: -1,
    };
    let peer =
        PeerSlot { bitmap_uuid: base, bitmap_dagtag: 0, flags: peer_flag::DEVICE_SEEN, bitmap_index: 0 };
    for (slot, value) in superblock.peers.iter_mut().zip(if number == 0 { [own, peer] } else { [peer, own] })
    {
        *slot = value;
    }
    let file = File::options().write(true).open(path)?;
    file.write_all_at(&fresh.log_bytes(), fresh.geometry.log.start)?;
    let told = Fresh { superblock, ..fresh.clone() };
    file.write_all_at(&told.superblock_bytes(), fresh.geometry.superblock_at)?;
    write_bitmap(&file, fresh, marked)
}

/// One bit for each block, the lowest bit of a byte first: with one peer the slots need no interleaving. Only the pages
/// that have bits are written; the rest of a new file is zeros.
fn write_bitmap(file: &File, fresh: &Fresh, marked: &ExtentSet) -> anyhow::Result<()> {
    let mut page = [0; BLOCK as usize];
    let mut at = 0;
    for block in marked.iter().flat_map(|run| run.start / BLOCK..run.end().div_ceil(BLOCK)) {
        let here = block / 8 / BLOCK;
        if here != at {
            file.write_all_at(&page, fresh.geometry.bitmap.start + at * BLOCK)?;
            (page, at) = ([0; BLOCK as usize], here);
        }
        page[usize::try_from(block / 8 % BLOCK)?] |= 1 << (block % 8);
    }
    Ok(file.write_all_at(&page, fresh.geometry.bitmap.start + at * BLOCK)?)
}
