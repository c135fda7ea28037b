//! Two sides of a split brain made up from a seed: real DRBD metadata, divergent data, and bitmaps and activity
//! logs that explain the difference.

use super::rng::Rng;
use drbd_sys::metadata::{self as sys, al};
use unsplit::format::drbdmeta::bitmap::{Edit, Marking, Scan};
use unsplit::format::drbdmeta::create::{Fresh, Wanted, create};
use unsplit::format::drbdmeta::geometry::Geometry;
use unsplit::format::drbdmeta::superblock::encode_into;
use unsplit::model::drbd::{
    GenerationUuid, MetadataFormat, PeerSlot, Superblock, device_flag as flag, peer_flag,
};
use unsplit::model::evidence::MetadataPlace;
use unsplit::model::extent::{Extent, ExtentSet};
use unsplit::model::side::{Pair, Side};

const BLOCK: usize = 4096;

/// What a side's activity log says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Log {
    /// Went down in order.
    Clean,
    /// Was Primary: some of its changes are in no bitmap, only their extent is in the log.
    Hot,
    /// Was Primary with the log switched off: everything is suspect.
    Off,
}

/// What to build.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// v08 or v09.
    pub format: MetadataFormat,
    /// Bytes of each data device.
    pub device: usize,
    /// Internal or flexible external.
    pub places: Pair<MetadataPlace>,
    /// Their logs.
    pub logs: Pair<Log>,
    /// Bitmap slots, v09: with 2 there is a third node, with 3 also a slot nobody has yet.
    pub slots: u32,
    /// Bytes per bit.
    pub per_bit: u32,
    /// Log stripes and their blocks.
    pub stripes: Pair<(u32, u32)>,
    /// Of a hundred blocks, how many differ.
    pub differing: u64,
    /// Whatever else is left to chance.
    pub seed: u64,
}

impl Spec {
    /// Two sides of half a MiB in default shape, shut down in order.
    pub fn plain(format: MetadataFormat, seed: u64) -> Spec {
        Spec {
            format,
            device: 256 << 10,
            places: Pair::new(MetadataPlace::Internal, MetadataPlace::Internal),
            logs: Pair::new(Log::Clean, Log::Clean),
            slots: 1,
            per_bit: 4096,
            stripes: Pair::new((1, 8), (1, 8)),
            differing: 25,
            seed,
        }
    }

    /// Anything that DRBD could have left.
    pub fn from_seed(seed: u64) -> Spec {
        let mut rng = Rng::new(seed ^ 0x5EC);
        let v09 = rng.one_in(2);
        let format = if v09 { MetadataFormat::V09 } else { MetadataFormat::V08 };
        let mut one_of = |choices: &[u64]| choices[usize::try_from(rng.below(choices.len() as u64)).unwrap()];
        let places = [MetadataPlace::Internal, MetadataPlace::FlexibleExternal];
        let logs = [Log::Clean, Log::Clean, Log::Hot, Log::Hot, Log::Hot, Log::Off];
        let at = |index: u64| usize::try_from(index).unwrap();
        Spec {
            format,
            device: at(one_of(&[100, 128, 160, 256])) << 10,
            places: Pair::new(places[at(one_of(&[0, 0, 1]))], places[at(one_of(&[0, 0, 1]))]),
            logs: Pair::new(logs[at(one_of(&[0, 1, 2, 3, 4, 5]))], logs[at(one_of(&[0, 1, 2, 3, 4, 5]))]),
            slots: if v09 { u32::try_from(one_of(&[1, 2, 3])).unwrap() } else { 1 },
            per_bit: if v09 { u32::try_from(one_of(&[4096, 4096, 8192, 16384])).unwrap() } else { 4096 },
            stripes: Pair::from_fn(|_| if one_of(&[0, 0, 1]) == 1 { (2, 4) } else { (1, 8) }),
            differing: one_of(&[1, 10, 30, 60]),
            seed,
        }
    }

    fn wanted(&self, side: Side) -> Wanted {
        let external = 4096 + 32768 + 3 * 4096;
        let (stripes, each) = self.stripes[side];
        Wanted {
            place: self.places[side],
            metadata_size: match self.places[side] {
                MetadataPlace::Internal => self.device as u64,
                _ => external,
            },
            data_size: self.device as u64,
            max_peers: self.slots,
            bytes_per_bit: self.per_bit,
            al_stripes: stripes,
            al_stripe_size_4k: each,
            ..Wanted::internal(self.format, self.device as u64)
        }
    }

    /// Builds it.
    pub fn build(&self) -> Images {
        let mut rng = Rng::new(self.seed ^ 0xB111D);
        let fresh = Pair::from_fn(|side| create(&self.wanted(side), false).expect("a shape that fits"));
        let capacity = fresh.a.geometry.data_size.min(fresh.b.geometry.data_size);
        // Sometimes not a multiple of the block size.
        let size = capacity / 512 * 512 - if rng.one_in(2) { rng.below(8) * 512 } else { 0 };

        let mut common = vec![0; usize::try_from(size).unwrap()];
        fill(&mut common, &mut rng);
        let mut data = Pair::new(common.clone(), common);
        let (mut marked, mut hidden) = (nothing(), nothing());
        let blocks = size.div_ceil(BLOCK as u64);
        let always = rng.below(blocks);
        for block in 0..blocks {
            let extent = Extent::between(block * BLOCK as u64, ((block + 1) * BLOCK as u64).min(size));
            let changes =
                if block == always || rng.below(100) < self.differing { 1 + rng.below(3) } else { 0 };
            for (side, bit) in [(Side::A, 1), (Side::B, 2)] {
                // A mark is a claim: some blocks are marked and equal.
                let claimed = rng.one_in(16);
                if changes & bit == 0 {
                    if claimed {
                        marked[side].push(extent);
                    }
                    continue;
                }
                scribble(&mut data[side], extent, &mut rng);
                let unmarked = match self.logs[side] {
                    Log::Clean => false,
                    // The log tells of the first extent only.
                    Log::Hot | Log::Off => extent.end() <= sys::AL_EXTENT_BYTES && rng.one_in(2),
                };
                if unmarked { &mut hidden[side] } else { &mut marked[side] }.push(extent);
            }
        }

        let (uuids, mut third) = (Uuids::new(&mut rng), nothing());
        let sides = Pair::from_fn(|side| {
            let superblock = self.superblock(side, &fresh[side], size, &uuids, &mut rng);
            let geometry = Geometry::of(
                &superblock,
                self.places[side],
                fresh[side].geometry.superblock_at,
                self.wanted(side).metadata_size,
                self.device as u64,
            )
            .expect("the geometry fits");
            if self.slots > 1 {
                third[side] = (0..blocks)
                    .filter(|_| rng.one_in(4))
                    .map(|block| {
                        Extent::between(block * BLOCK as u64, ((block + 1) * BLOCK as u64).min(size))
                    })
                    .collect();
            }
            let mut device = vec![0; self.device];
            fill(&mut device, &mut rng);
            device[..data[side].len()].copy_from_slice(&data[side]);
            let mut metadata = match self.places[side] {
                MetadataPlace::Internal => device.clone(),
                _ => vec![0; usize::try_from(self.wanted(side).metadata_size).unwrap()],
            };
            put_metadata(&mut metadata, &fresh[side], &superblock, &geometry, &marked[side], &third[side]);
            if self.logs[side] != Log::Clean {
                put_transactions(&mut metadata, &superblock, &geometry, &mut rng);
            }
            match self.places[side] {
                MetadataPlace::Internal => Volume { data: metadata, metadata: None, geometry },
                _ => Volume { data: device, metadata: Some(metadata), geometry },
            }
        });
        Images { spec: *self, sides, size, third }
    }

    fn superblock(&self, side: Side, fresh: &Fresh, size: u64, uuids: &Uuids, rng: &mut Rng) -> Superblock {
        let mut superblock = fresh.superblock.clone();
        let primary = self.logs[side] != Log::Clean;
        superblock.effective_size = size / 512;
        superblock.current = GenerationUuid(uuids.current[side] | u64::from(primary));
        superblock.device_uuid = rng.next() | 1;
        superblock.flags = flag::CONSISTENT | flag::WAS_UP_TO_DATE;
        superblock.flags |= if primary { flag::PRIMARY_IND } else { flag::AL_CLEAN };
        if self.logs[side] == Log::Off {
            superblock.flags |= flag::AL_DISABLED;
        }
        for (slot, uuid) in superblock.history.iter_mut().zip(uuids.history) {
            *slot = GenerationUuid(uuid);
        }
        match self.format {
            MetadataFormat::V08 => {
                superblock.bitmap = GenerationUuid(uuids.base);
                superblock.unclean_magic = primary;
            }
            MetadataFormat::V09 => {
                let (own, peer) = if side == Side::A { (0, 1) } else { (1, 0) };
                superblock.node_id = own;
                let peer_of = |bitmap_uuid, bitmap_index| PeerSlot {
                    bitmap_uuid: GenerationUuid(bitmap_uuid),
                    bitmap_dagtag: 0,
                    flags: peer_flag::DEVICE_SEEN | peer_flag::NODE_EXISTS,
                    bitmap_index,
                };
                superblock.peers[usize::try_from(peer).unwrap()] = peer_of(uuids.base, 0);
                if self.slots > 1 {
                    // The third node saw the same split, or shares this side's generation still.
                    let uuid = if rng.one_in(2) { uuids.base } else { 0 };
                    superblock.peers[2] = peer_of(uuid, 1);
                }
            }
        }
        superblock
    }
}

struct Uuids {
    current: Pair<u64>,
    base: u64,
    history: [u64; 2],
}

impl Uuids {
    fn new(rng: &mut Rng) -> Uuids {
        let mut uuid = || rng.next() & !1 | 1 << 40;
        Uuids { current: Pair::new(uuid(), uuid()), base: uuid(), history: [uuid(), uuid()] }
    }
}

/// One side's devices.
#[derive(Debug, Clone)]
pub struct Volume {
    /// The data device.
    pub data: Vec<u8>,
    /// The metadata device, when external.
    pub metadata: Option<Vec<u8>>,
    /// Where everything is.
    pub geometry: Geometry,
}

impl Volume {
    /// The device that holds the metadata.
    pub fn metadata_device(&self) -> &[u8] {
        self.metadata.as_deref().unwrap_or(&self.data)
    }

    /// What a bitmap slot marks, read from the bytes of the device that holds the metadata.
    pub fn marks_in(&self, metadata: &[u8], slot: u32) -> ExtentSet {
        let area = self.geometry.bitmap;
        let mut scan = Scan::new(self.geometry.layout, slot).unwrap();
        scan.feed(&metadata[range(area)]).unwrap();
        scan.finish().unwrap().extents
    }
}

/// Both sides, as the split left them.
#[derive(Debug, Clone)]
pub struct Images {
    /// What they were made from.
    pub spec: Spec,
    /// The devices.
    pub sides: Pair<Volume>,
    /// Bytes of replicated data.
    pub size: u64,
    /// What each side had marked for the third node.
    pub third: Pair<ExtentSet>,
}

fn nothing() -> Pair<ExtentSet> {
    Pair::new(ExtentSet::empty(), ExtentSet::empty())
}

fn range(extent: Extent) -> std::ops::Range<usize> {
    usize::try_from(extent.start).unwrap()..usize::try_from(extent.end()).unwrap()
}

/// Random blocks, no two alike, made fast.
fn fill(bytes: &mut [u8], rng: &mut Rng) {
    let mut block = [0; BLOCK];
    rng.fill(&mut block);
    for chunk in bytes.chunks_mut(BLOCK) {
        rng.fill(&mut block[..16]);
        chunk.copy_from_slice(&block[..chunk.len()]);
    }
}

/// Changes a block wholly, in one sector, or in one byte.
fn scribble(data: &mut [u8], extent: Extent, rng: &mut Rng) {
    let block = &mut data[range(extent)];
    match rng.below(3) {
        0 => rng.fill(block),
        1 => {
            let sector = usize::try_from(rng.below(block.len() as u64 / 512)).unwrap() * 512;
            rng.fill(&mut block[sector..sector + 512]);
        }
        _ => {
            let at = usize::try_from(rng.below(block.len() as u64)).unwrap();
            block[at] ^= 1 + u8::try_from(rng.below(255)).unwrap();
        }
    }
}

fn put_metadata(
    metadata: &mut [u8],
    fresh: &Fresh,
    superblock: &Superblock,
    geometry: &Geometry,
    marked: &ExtentSet,
    third: &ExtentSet,
) {
    let mut block = [0; BLOCK];
    encode_into(superblock, &mut block);
    let at = usize::try_from(geometry.superblock_at).unwrap();
    metadata[at..at + BLOCK].copy_from_slice(&block);
    metadata[range(geometry.log)].copy_from_slice(&fresh.log_bytes());
    let slots: Vec<u32> = (1..geometry.layout.slots).collect();
    let mark =
        vec![Marking { slots: vec![0], extents: marked.clone() }, Marking { slots, extents: third.clone() }];
    let area = &mut metadata[range(geometry.bitmap)];
    area.fill(0);
    Edit::new(geometry.layout, &[], mark).unwrap().apply(0, area).unwrap();
}

/// A few transactions, as a Primary leaves them, that make the volume's first extent hot.
fn put_transactions(metadata: &mut [u8], superblock: &Superblock, geometry: &Geometry, rng: &mut Rng) {
    let log = &mut metadata[range(geometry.log)];
    let (stripes, per_stripe) = (superblock.al_stripes as usize, superblock.al_stripe_size_4k as usize);
    for number in 0..1 + u32::try_from(rng.below(6)).unwrap() {
        let i = number as usize % (stripes * per_stripe);
        let at = (i % stripes * per_stripe + i / stripes) * BLOCK;
        let block = &mut log[at..at + BLOCK];
        block.fill(0);
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(al::MAGIC, &sys::MAGIC_AL.to_be_bytes());
        put(al::TR_NUMBER, &number.to_be_bytes());
        put(al::CONTEXT_SIZE, &7u16.to_be_bytes());
        for context in 0..al::CONTEXT_COUNT {
            put(al::CONTEXT + 4 * context, &al::FREE.to_be_bytes());
        }
        put(al::CONTEXT, &0u32.to_be_bytes());
        for update in 0..al::UPDATES {
            put(al::UPDATE_SLOT_NR + 2 * update, &u16::MAX.to_be_bytes());
        }
        let crc = !crc32c::crc32c_append(!0, block);
        block[al::CRC32C..al::CRC32C + 4].copy_from_slice(&crc.to_be_bytes());
    }
}
