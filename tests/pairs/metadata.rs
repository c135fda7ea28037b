//! DRBD's metadata as raw bytes, by the published layout and independent of the code under test.

use std::collections::BTreeSet;

pub(crate) const BLOCK: u64 = 4096;
pub(crate) const SECTOR: u64 = 512;
/// Sectors of one slot on an indexed metadata device.
pub(crate) const INDEX_SECTORS: u64 = 262_144;
/// Bytes that one activity log extent covers.
pub(crate) const AL_EXTENT: u64 = 4 << 20;
pub(crate) const FREE: u32 = 0xffff_ffff;
/// Slots that one transaction repeats.
const WINDOW: usize = 919;

pub(crate) mod flag {
    pub(crate) const CONSISTENT: u32 = 1;
    pub(crate) const PRIMARY_IND: u32 = 2;
    pub(crate) const WAS_UP_TO_DATE: u32 = 0x10;
    pub(crate) const CRASHED_PRIMARY: u32 = 0x40;
    pub(crate) const AL_CLEAN: u32 = 0x80;
    pub(crate) const AL_DISABLED: u32 = 0x100;
    pub(crate) const PEER_DEVICE_SEEN: u32 = 0x10;
    pub(crate) const PEER_NODE_EXISTS: u32 = 0x1_0000;
}

pub(crate) const JUST_CREATED: u64 = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Format {
    V08,
    V09,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    Internal,
    Flexible,
    Indexed(u32),
}

/// What determines where everything goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) format: Format,
    pub(crate) place: Place,
    pub(crate) bytes_per_bit: u64,
    pub(crate) max_peers: u64,
    pub(crate) stripes: u64,
    pub(crate) stripe_4k: u64,
    pub(crate) al_slots: u32,
}

/// Bytes from the start of the metadata device; the offsets in sectors as the superblock says them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    pub(crate) superblock: u64,
    pub(crate) log: u64,
    pub(crate) log_len: u64,
    pub(crate) bitmap: u64,
    pub(crate) bitmap_end: u64,
    pub(crate) md_size: u32,
    pub(crate) al_offset: i32,
    pub(crate) bm_offset: i32,
}

impl Shape {
    fn ring(&self) -> u64 {
        self.stripes * self.stripe_4k
    }

    /// Sectors that the bitmap of a device of so many sectors takes.
    pub(crate) fn bitmap_sectors(&self, sectors: u64) -> u64 {
        let bits = sectors.div_ceil(self.bytes_per_bit / SECTOR).next_multiple_of(64);
        (bits / 8 * self.max_peers).next_multiple_of(BLOCK) / SECTOR
    }

    /// Where everything goes on a metadata device of so many sectors.
    pub(crate) fn layout(&self, sectors: u64) -> Layout {
        let log = self.ring() * 8;
        let signed = |sectors: u64| i32::try_from(sectors).unwrap();
        match self.place {
            Place::Internal => {
                let bitmap = self.bitmap_sectors(sectors);
                let superblock = (sectors & !7) - 8;
                Layout {
                    superblock: superblock * SECTOR,
                    log: (superblock - log) * SECTOR,
                    log_len: log * SECTOR,
                    bitmap: (superblock - log - bitmap) * SECTOR,
                    bitmap_end: (superblock - log) * SECTOR,
                    md_size: u32::try_from(bitmap + 8 + log).unwrap(),
                    al_offset: -signed(log),
                    bm_offset: -signed(bitmap + log),
                }
            }
            Place::Flexible | Place::Indexed(_) => {
                let (start, size) = match self.place {
                    Place::Indexed(index) => (u64::from(index) * INDEX_SECTORS, INDEX_SECTORS),
                    _ => (0, sectors),
                };
                Layout {
                    superblock: start * SECTOR,
                    log: (start + 8) * SECTOR,
                    log_len: log * SECTOR,
                    bitmap: (start + 8 + log) * SECTOR,
                    bitmap_end: (start + size) * SECTOR,
                    md_size: u32::try_from(size).unwrap(),
                    al_offset: 8,
                    bm_offset: signed(8 + log),
                }
            }
        }
    }
}

/// What a v09 superblock says of one node id.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PeerTold {
    pub(crate) id: u32,
    pub(crate) bitmap_uuid: u64,
    pub(crate) flags: u32,
    pub(crate) slot: i32,
}

/// What a superblock says besides its layout.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) sectors: u64,
    pub(crate) current: u64,
    pub(crate) bitmap: u64,
    pub(crate) history: Vec<u64>,
    pub(crate) device: u64,
    pub(crate) flags: u32,
    pub(crate) unclean: bool,
    pub(crate) node_id: u32,
    pub(crate) peers: Vec<PeerTold>,
}

fn put32(block: &mut [u8], at: usize, value: u32) {
    block[at..at + 4].copy_from_slice(&value.to_be_bytes());
}

fn put64(block: &mut [u8], at: usize, value: u64) {
    block[at..at + 8].copy_from_slice(&value.to_be_bytes());
}

fn narrow(value: u64) -> u32 {
    u32::try_from(value).unwrap()
}

pub(crate) fn superblock(shape: &Shape, layout: &Layout, told: &Told) -> Vec<u8> {
    let mut block = vec![0; 4096];
    let b = &mut block[..];
    put64(b, 0, told.sectors);
    put64(b, 8, told.current);
    put32(b, 56, told.flags);
    put32(b, 64, layout.md_size);
    put32(b, 68, layout.al_offset.cast_unsigned());
    put32(b, 72, shape.al_slots);
    put32(b, 76, layout.bm_offset.cast_unsigned());
    put32(b, 80, narrow(shape.bytes_per_bit));
    put32(b, 84, 1 << 20);
    match shape.format {
        Format::V08 => {
            put32(b, 60, if told.unclean { 0x8374_026c } else { 0x8374_026b });
            put64(b, 16, told.bitmap);
            for (i, past) in told.history.iter().take(2).enumerate() {
                put64(b, 24 + 8 * i, *past);
            }
            put64(b, 40, told.device);
            put32(b, 88, narrow(shape.stripes));
            put32(b, 92, narrow(shape.stripe_4k));
        }
        Format::V09 => {
            put32(b, 60, 0x8374_026d);
            put64(b, 48, told.device);
            put32(b, 88, narrow(shape.max_peers));
            put32(b, 92, told.node_id);
            put32(b, 96, narrow(shape.stripes));
            put32(b, 100, narrow(shape.stripe_4k));
            for id in 0..32 {
                put32(b, 112 + 32 * id + 20, u32::MAX);
            }
            for peer in &told.peers {
                let at = 112 + 32 * peer.id as usize;
                put64(b, at, peer.bitmap_uuid);
                put32(b, at + 16, peer.flags);
                put32(b, at + 20, peer.slot.cast_unsigned());
            }
            for (i, past) in told.history.iter().take(32).enumerate() {
                put64(b, 1136 + 8 * i, *past);
            }
        }
    }
    block
}

/// The few fields that the checks look at.
#[derive(Debug)]
pub(crate) struct Read(Vec<u8>);

impl Read {
    pub(crate) fn of(block: &[u8]) -> Read {
        Read(block.to_vec())
    }

    fn at32(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.0[at..at + 4].try_into().unwrap())
    }

    fn at64(&self, at: usize) -> u64 {
        u64::from_be_bytes(self.0[at..at + 8].try_into().unwrap())
    }

    pub(crate) fn current(&self) -> u64 {
        self.at64(8)
    }

    pub(crate) fn flags(&self) -> u32 {
        self.at32(56)
    }

    pub(crate) fn magic(&self) -> u32 {
        self.at32(60)
    }

    pub(crate) fn v08_bitmap(&self) -> u64 {
        self.at64(16)
    }

    pub(crate) fn peer_bitmap(&self, id: u32) -> u64 {
        self.at64(112 + 32 * id as usize)
    }
}

/// Place of bit `n` of a slot in the bitmap area: byte and mask.
fn place(n: u64, slot: u64, slots: u64) -> (usize, u8) {
    let bit = (n & !31) * slots + slot * 32 + (n & 31);
    (usize::try_from(bit / 8).unwrap(), 1 << (bit % 8))
}

pub(crate) fn set_bit(area: &mut [u8], n: u64, slot: u64, slots: u64) {
    let (byte, mask) = place(n, slot, slots);
    area[byte] |= mask;
}

/// The bits of a slot below `count`.
pub(crate) fn bits(area: &[u8], count: u64, slot: u64, slots: u64) -> BTreeSet<u64> {
    let set = |n: &u64| {
        let (byte, mask) = place(*n, slot, slots);
        area[byte] & mask != 0
    };
    (0..count).filter(set).collect()
}

/// CRC-32C of a block, bit by bit; start value 0, no final inversion.
fn crc(block: &[u8]) -> u32 {
    block.iter().fold(0, |crc: u32, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| crc >> 1 ^ if crc & 1 == 1 { 0x82F6_3B78 } else { 0 })
    })
}

fn sealed(mut block: Vec<u8>) -> Vec<u8> {
    let crc = crc(&block);
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
pub(crate) fn log(shape: &Shape, assignments: &[(u16, u32)]) -> Vec<u8> {
    let mut area = unused_block().repeat(usize::try_from(shape.ring()).unwrap());
    let slots = shape.al_slots as usize;
    let (mut table, mut window) = (vec![FREE; slots], 0);
    for (number, (slot, extent)) in (0u64..).zip(assignments) {
        let mut block = vec![0; 4096];
        put32(&mut block, 0, 0x69cb_65a2);
        put32(&mut block, 4, narrow(number));
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
        let i = number % shape.ring();
        let at = i % shape.stripes * shape.stripe_4k + i / shape.stripes;
        let at = usize::try_from(at * BLOCK).unwrap();
        area[at..at + 4096].copy_from_slice(&sealed(block));
    }
    area
}
