//! Where DRBD puts its metadata.

use unsplit::model::drbd::MetadataFormat;
use unsplit::model::evidence::MetadataPlace;

pub const BLOCK: u64 = 4096;
pub const SECTOR: u64 = 512;
/// Sectors of one slot on an indexed metadata device.
pub const INDEX_SECTORS: u64 = 262_144;
/// Bytes that one activity log extent covers.
pub const AL_EXTENT: u64 = 4 << 20;

/// What determines where everything goes.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub format: MetadataFormat,
    pub place: MetadataPlace,
    pub bytes_per_bit: u64,
    pub max_peers: u64,
    pub stripes: u64,
    pub stripe_4k: u64,
    pub al_slots: u32,
}

/// Bytes from the start of the metadata device; the offsets in sectors as the superblock says them.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    pub superblock: u64,
    pub log: u64,
    pub log_len: u64,
    pub bitmap: u64,
    pub bitmap_end: u64,
    pub md_size: u32,
    pub al_offset: i32,
    pub bm_offset: i32,
}

impl Shape {
    /// As `drbdmeta create-md` makes it for one peer.
    pub fn usual(format: MetadataFormat) -> Shape {
        Shape {
            format,
            place: MetadataPlace::Internal,
            bytes_per_bit: 4096,
            max_peers: 1,
            stripes: 1,
            stripe_4k: 8,
            al_slots: 257,
        }
    }

    /// Blocks of the activity log.
    pub fn ring(&self) -> u64 {
        self.stripes * self.stripe_4k
    }

    /// Sectors that the bitmap of a device of so many sectors takes.
    pub fn bitmap_sectors(&self, sectors: u64) -> u64 {
        let bits = sectors.div_ceil(self.bytes_per_bit / SECTOR).next_multiple_of(64);
        (bits / 8 * self.max_peers).next_multiple_of(BLOCK) / SECTOR
    }

    /// Bytes that can be replicated of a data device of so many.
    pub fn capacity(&self, layout: &Layout, data_size: u64) -> u64 {
        match self.place {
            MetadataPlace::Internal => layout.bitmap,
            _ => data_size / SECTOR * SECTOR,
        }
    }

    /// Where everything goes on a metadata device of so many sectors.
    pub fn layout(&self, sectors: u64) -> Layout {
        let log = self.ring() * 8;
        let signed = |sectors: u64| i32::try_from(sectors).unwrap();
        match self.place {
            MetadataPlace::Internal => {
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
            MetadataPlace::FlexibleExternal | MetadataPlace::IndexedExternal(_) => {
                let (start, size) = match self.place {
                    MetadataPlace::IndexedExternal(index) => {
                        (u64::from(index) * INDEX_SECTORS, INDEX_SECTORS)
                    }
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
