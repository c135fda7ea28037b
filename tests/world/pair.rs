//! Two sides of a split brain made up from a seed: real DRBD metadata, divergent data, and bitmaps and activity
//! logs that explain the difference.

use super::image::{Metadata, NOBODY, Shape};
use super::rng::Rng;
use drbd_sys::metadata as sys;
use unsplit::format::drbdmeta::bitmap::Scan;
use unsplit::format::drbdmeta::geometry::Geometry;
use unsplit::model::drbd::{GenerationUuid, MetadataFormat, PeerSlot, device_flag as flag, peer_flag};
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

    /// Metadata of the side: node 0 or 1, with a third node in the second slot where there is one.
    fn metadata(&self, side: Side) -> Metadata {
        let (stripes, stripe_4k) = self.stripes[side];
        let shape = Shape {
            place: self.places[side],
            max_peers: self.slots.into(),
            bytes_per_bit: self.per_bit.into(),
            stripes: stripes.into(),
            stripe_4k: stripe_4k.into(),
            ..Shape::usual(self.format)
        };
        let (own, peer) = if side == Side::A { (0, 1) } else { (1, 0) };
        Metadata::of(shape, self.metadata_size(side), self.device as u64).of_node(own, peer)
    }

    fn metadata_size(&self, side: Side) -> u64 {
        match self.places[side] {
            MetadataPlace::Internal => self.device as u64,
            _ => 4096 + 32768 + 3 * 4096,
        }
    }

    /// Builds it.
    pub fn build(&self) -> Images {
        let mut rng = Rng::new(self.seed ^ 0xB111D);
        let blank = Pair::from_fn(|side| self.metadata(side));
        let capacity = blank.a.size().min(blank.b.size());
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
            let mut told = self.told(side, &blank[side], size, &uuids, &mut rng);
            let geometry = Geometry::of(
                &told.told,
                self.places[side],
                told.layout.superblock,
                self.metadata_size(side),
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
            told.mark_all(0, &marked[side]);
            (1..self.slots.into()).for_each(|slot| told.mark_all(slot, &third[side]));
            if self.logs[side] != Log::Clean {
                // As a Primary leaves them: the volume's first extent is hot.
                told.log = vec![(0, 0); 1 + usize::try_from(rng.below(6)).unwrap()];
            }
            let metadata = match self.places[side] {
                MetadataPlace::Internal => {
                    told.put_into(&mut device);
                    None
                }
                _ => {
                    let mut metadata = vec![0; usize::try_from(self.metadata_size(side)).unwrap()];
                    told.put_into(&mut metadata);
                    Some(metadata)
                }
            };
            Volume { data: device, metadata, geometry }
        });
        Images { spec: *self, sides, size, third }
    }

    fn told(&self, side: Side, blank: &Metadata, size: u64, uuids: &Uuids, rng: &mut Rng) -> Metadata {
        let primary = self.logs[side] != Log::Clean;
        let current = uuids.current[side] | u64::from(primary);
        let mut metadata = blank.clone().generations(current, uuids.base, uuids.history);
        let superblock = &mut metadata.told;
        superblock.effective_size = size / 512;
        superblock.device_uuid = rng.next() | 1;
        superblock.flags = flag::CONSISTENT | flag::WAS_UP_TO_DATE;
        superblock.flags |= if primary { flag::PRIMARY_IND } else { flag::AL_CLEAN };
        if self.logs[side] == Log::Off {
            superblock.flags |= flag::AL_DISABLED;
        }
        match self.format {
            MetadataFormat::V08 => superblock.unclean_magic = primary,
            MetadataFormat::V09 if self.slots > 1 => {
                // The third node saw the same split, or shares this side's generation still.
                let uuid = if rng.one_in(2) { uuids.base } else { 0 };
                let flags = peer_flag::DEVICE_SEEN | peer_flag::NODE_EXISTS;
                let bitmap_uuid = GenerationUuid(uuid);
                superblock.peers[2] = PeerSlot { bitmap_uuid, flags, bitmap_index: 1, ..NOBODY };
            }
            MetadataFormat::V09 => {}
        }
        metadata
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
