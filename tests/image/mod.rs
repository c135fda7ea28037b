//! The one maker of DRBD's metadata for tests and benchmarks: superblock, bitmap and activity log as raw bytes, by the
//! published layout and independent of the code under test.
//!
//! ```text
//! let mut side = Metadata::internal(MetadataFormat::V08, device.len() as u64).generations(mine, base, [old]);
//! side.mark(0, block);
//! side.put_into(&mut device);
//! ```

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod bytes;
pub mod rng;
pub mod shape;

pub use shape::{Layout, SECTOR, Shape};

use std::fs::File;
use std::os::unix::fs::FileExt;
use unsplit::model::drbd::{
    GenerationUuid, MetadataFormat, PeerSlot, Superblock, V08_HISTORY, V09_PEERS, device_flag, peer_flag,
};
use unsplit::model::extent::ExtentSet;

/// Up to date, and down in order.
pub const GOOD: u32 = device_flag::CONSISTENT | device_flag::WAS_UP_TO_DATE | device_flag::AL_CLEAN;

/// What a superblock says of a node that is not there.
pub const NOBODY: PeerSlot =
    PeerSlot { bitmap_uuid: GenerationUuid::UNSET, bitmap_dagtag: 0, flags: 0, bitmap_index: -1 };

/// The metadata of one side.
#[derive(Debug, Clone)]
pub struct Metadata {
    pub shape: Shape,
    pub layout: Layout,
    /// What the superblock says.
    pub told: Superblock,
    /// What the activity log was told: extents and their slots, one transaction each.
    pub log: Vec<(u16, u32)>,
    /// As far as bits are set.
    bitmap: Vec<u8>,
    peer: usize,
}

impl Metadata {
    /// Internal metadata as `drbdmeta create-md` shapes it, on a device of so many bytes.
    pub fn internal(format: MetadataFormat, size: u64) -> Metadata {
        Metadata::of(Shape::usual(format), size, size)
    }

    /// For a data device and the device that holds the metadata, in bytes. All that fits is replicated, up to date, and without a
    /// mark; of the two nodes 0 and 1 this is the first.
    pub fn of(shape: Shape, metadata_size: u64, data_size: u64) -> Metadata {
        let layout = shape.layout(metadata_size / SECTOR);
        let (peers, history) = match shape.format {
            MetadataFormat::V08 => (0, V08_HISTORY),
            MetadataFormat::V09 => (V09_PEERS, V09_PEERS),
        };
        let narrow = |value: u64| u32::try_from(value).unwrap();
        let told = Superblock {
            format: shape.format,
            unclean_magic: false,
            effective_size: shape.capacity(&layout, data_size) / SECTOR,
            current: GenerationUuid::JUST_CREATED,
            bitmap: GenerationUuid::UNSET,
            history: vec![GenerationUuid::UNSET; history],
            members: 0,
            device_uuid: 0xD0D0_0000_0000_0001,
            flags: GOOD,
            md_size: layout.md_size,
            al_offset: layout.al_offset,
            al_extents: shape.al_slots,
            bm_offset: layout.bm_offset,
            bm_bytes_per_bit: narrow(shape.bytes_per_bit),
            la_peer_max_bio_size: 0,
            max_peers: narrow(shape.max_peers),
            node_id: -1,
            al_stripes: narrow(shape.stripes),
            al_stripe_size_4k: narrow(shape.stripe_4k),
            peers: vec![NOBODY; peers],
        };
        Metadata { shape, layout, told, log: Vec::new(), bitmap: Vec::new(), peer: 1 }.of_node(0, 1)
    }

    /// Which node it is, and who its peer in the first slot is, before anything is said of generations. v08 has no such numbers,
    /// and only the device tells them apart.
    pub fn of_node(mut self, own: u8, peer: u8) -> Metadata {
        self.told.device_uuid = 0xD0D0_0000_0000_0001 + u64::from(own);
        self.peer = usize::from(peer);
        if self.shape.format == MetadataFormat::V09 {
            self.told.node_id = i32::from(own);
            self.told.peers.fill(NOBODY);
            let known = peer_flag::DEVICE_SEEN | peer_flag::NODE_EXISTS;
            self.told.peers[self.peer] = PeerSlot { flags: known, bitmap_index: 0, ..NOBODY };
        }
        self
    }

    /// The generation, that since which the bitmap for the peer collects, and the past ones from the newest on.
    pub fn generations(mut self, current: u64, bitmap: u64, past: impl IntoIterator<Item = u64>) -> Metadata {
        self.told.current = GenerationUuid(current);
        self.set_bitmap_uuid(GenerationUuid(bitmap));
        for (slot, uuid) in self.told.history.iter_mut().zip(past) {
            *slot = GenerationUuid(uuid);
        }
        self
    }

    pub fn bitmap_uuid(&self) -> GenerationUuid {
        match self.shape.format {
            MetadataFormat::V08 => self.told.bitmap,
            MetadataFormat::V09 => self.told.peers[self.peer].bitmap_uuid,
        }
    }

    pub fn set_bitmap_uuid(&mut self, uuid: GenerationUuid) {
        match self.shape.format {
            MetadataFormat::V08 => self.told.bitmap = uuid,
            MetadataFormat::V09 => self.told.peers[self.peer].bitmap_uuid = uuid,
        }
    }

    /// Bytes of replicated data.
    pub fn size(&self) -> u64 {
        self.told.effective_size * SECTOR
    }

    /// Sets a bit of a slot.
    pub fn mark(&mut self, slot: u64, bit: u64) {
        let (byte, mask) = bytes::place(bit, slot, self.shape.max_peers);
        if byte >= self.bitmap.len() {
            self.bitmap.resize(byte + 1, 0);
        }
        self.bitmap[byte] |= mask;
    }

    /// Sets all bits of a slot that touch any of this.
    pub fn mark_all(&mut self, slot: u64, extents: &ExtentSet) {
        let grain = self.shape.bytes_per_bit;
        for run in extents.iter() {
            (run.start / grain..run.end().div_ceil(grain)).for_each(|bit| self.mark(slot, bit));
        }
    }

    /// Clears all bits.
    pub fn clear_marks(&mut self) {
        self.bitmap.clear();
    }

    /// Where on the device that holds the metadata which bytes go. The bitmap is as long as bits are set in it.
    pub fn parts(&self) -> [(u64, Vec<u8>); 3] {
        [
            (self.layout.bitmap, self.bitmap.clone()),
            (self.layout.log, bytes::log(&self.shape, &self.log)),
            (self.layout.superblock, bytes::superblock(&self.told).to_vec()),
        ]
    }

    /// Onto a device in memory, whatever it held there.
    pub fn put_into(&self, device: &mut [u8]) {
        let at = |at: u64| usize::try_from(at).unwrap();
        device[at(self.layout.bitmap)..at(self.layout.bitmap_end)].fill(0);
        for (start, bytes) in self.parts() {
            device[at(start)..at(start) + bytes.len()].copy_from_slice(&bytes);
        }
    }

    /// Into a file that holds zeros there; holes stay holes.
    pub fn put_on(&self, file: &File) {
        const ZEROS: [u8; 4096] = [0; 4096];
        for (start, bytes) in self.parts() {
            for (block, at) in bytes.chunks(ZEROS.len()).zip((start..).step_by(ZEROS.len())) {
                if *block != ZEROS[..block.len()] {
                    file.write_all_at(block, at).unwrap();
                }
            }
        }
    }
}
