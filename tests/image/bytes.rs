//! Superblocks, bitmaps and activity logs as bytes.

use super::shape::{BLOCK, Shape};
use std::collections::BTreeSet;
use unsplit::model::drbd::{MetadataFormat, Superblock};

/// An activity log slot without an extent.
const FREE: u32 = 0xffff_ffff;
/// Slots that one transaction repeats.
const WINDOW: usize = 919;

fn put32(block: &mut [u8], at: usize, value: u32) {
    block[at..at + 4].copy_from_slice(&value.to_be_bytes());
}

fn put64(block: &mut [u8], at: usize, value: u64) {
    block[at..at + 8].copy_from_slice(&value.to_be_bytes());
}

pub fn superblock(told: &Superblock) -> [u8; 4096] {
    let mut block = [0; 4096];
    let b = &mut block[..];
    put64(b, 0, told.effective_size);
    put64(b, 8, told.current.0);
    put32(b, 56, told.flags);
    put32(b, 64, told.md_size);
    put32(b, 68, told.al_offset.cast_unsigned());
    put32(b, 72, told.al_extents);
    put32(b, 76, told.bm_offset.cast_unsigned());
    put32(b, 80, told.bm_bytes_per_bit);
    put32(b, 84, told.la_peer_max_bio_size);
    let (history, stripes) = match told.format {
        MetadataFormat::V08 => {
            put32(b, 60, if told.unclean_magic { 0x8374_026c } else { 0x8374_026b });
            put64(b, 16, told.bitmap.0);
            put64(b, 40, told.device_uuid);
            (24, 88)
        }
        MetadataFormat::V09 => {
            put32(b, 60, 0x8374_026d);
            put64(b, 16, told.members);
            put64(b, 48, told.device_uuid);
            put32(b, 88, told.max_peers);
            put32(b, 92, told.node_id.cast_unsigned());
            for (id, peer) in told.peers.iter().enumerate() {
                let at = 112 + 32 * id;
                put64(b, at, peer.bitmap_uuid.0);
                put64(b, at + 8, peer.bitmap_dagtag);
                put32(b, at + 16, peer.flags);
                put32(b, at + 20, peer.bitmap_index.cast_unsigned());
            }
            (1136, 96)
        }
    };
    put32(b, stripes, told.al_stripes);
    put32(b, stripes + 4, told.al_stripe_size_4k);
    for (i, past) in told.history.iter().enumerate() {
        put64(b, history + 8 * i, past.0);
    }
    block
}

/// The few fields that checks look at.
#[derive(Debug)]
pub struct Read(Vec<u8>);

impl Read {
    pub fn of(block: &[u8]) -> Read {
        Read(block.to_vec())
    }

    fn at32(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.0[at..at + 4].try_into().unwrap())
    }

    fn at64(&self, at: usize) -> u64 {
        u64::from_be_bytes(self.0[at..at + 8].try_into().unwrap())
    }

    pub fn current(&self) -> u64 {
        self.at64(8)
    }

    pub fn flags(&self) -> u32 {
        self.at32(56)
    }

    pub fn magic(&self) -> u32 {
        self.at32(60)
    }

    pub fn v08_bitmap(&self) -> u64 {
        self.at64(16)
    }

    pub fn peer_bitmap(&self, id: u8) -> u64 {
        self.at64(112 + 32 * usize::from(id))
    }
}

/// Place of bit `n` of a slot in the bitmap area: byte and mask.
pub fn place(n: u64, slot: u64, slots: u64) -> (usize, u8) {
    let bit = (n & !31) * slots + slot * 32 + (n & 31);
    (usize::try_from(bit / 8).unwrap(), 1 << (bit % 8))
}

/// The bits of a slot below `count`.
pub fn bits(area: &[u8], count: u64, slot: u64, slots: u64) -> BTreeSet<u64> {
    let set = |n: &u64| {
        let (byte, mask) = place(*n, slot, slots);
        area[byte] & mask != 0
    };
    (0..count).filter(set).collect()
}

/// CRC-32C of each byte alone.
const CRC: [u32; 256] = {
    let (mut table, mut byte) = ([0; 256], 0);
    while byte < 256 {
        let (mut crc, mut bit) = (byte as u32, 0);
        while bit < 8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { 0x82F6_3B78 } else { 0 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

/// With the CRC-32C of the block in its place; start value 0, no final inversion.
fn sealed(mut block: Vec<u8>) -> Vec<u8> {
    let step = |crc: u32, byte: &u8| crc >> 8 ^ CRC[((crc ^ u32::from(*byte)) & 0xff) as usize];
    let crc = block.iter().fold(0, step);
    put32(&mut block, 8, crc);
    block
}

fn unused_block() -> Vec<u8> {
    let mut block = vec![0; 4096];
    put32(&mut block, 0, 0x69cb_65a2);
    block[12..14].copy_from_slice(&[0xff, 0xff]);
    sealed(block)
}

/// The activity log after these assignments of slots to extents, one transaction each.
pub fn log(shape: &Shape, assignments: &[(u16, u32)]) -> Vec<u8> {
    let mut area = unused_block().repeat(usize::try_from(shape.ring()).unwrap());
    let slots = shape.al_slots as usize;
    let (mut table, mut window) = (vec![FREE; slots], 0);
    for (number, (slot, extent)) in (0u32..).zip(assignments) {
        let mut block = vec![0; 4096];
        put32(&mut block, 0, 0x69cb_65a2);
        put32(&mut block, 4, number);
        block[14..16].copy_from_slice(&1u16.to_be_bytes());
        block[16..18].copy_from_slice(&u16::try_from(slots).unwrap().to_be_bytes());
        block[18..20].copy_from_slice(&u16::try_from(window).unwrap().to_be_bytes());
        block[36..164].fill(0xff);
        block[36..38].copy_from_slice(&slot.to_be_bytes());
        block[164..].fill(0xff);
        put32(&mut block, 164, *extent);
        for (i, held) in table[window..].iter().take(WINDOW).enumerate() {
            put32(&mut block, 420 + 4 * i, *held);
        }
        table[usize::from(*slot)] = *extent;
        window = if window + WINDOW < slots { window + WINDOW } else { 0 };
        let i = u64::from(number) % shape.ring();
        let at = i % shape.stripes * shape.stripe_4k + i / shape.stripes;
        let at = usize::try_from(at * BLOCK).unwrap();
        area[at..at + 4096].copy_from_slice(&sealed(block));
    }
    area
}
