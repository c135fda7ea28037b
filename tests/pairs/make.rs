//! Makes a pair on files and knows the truth about it.

use super::case::{Case, Content, Log, SideSpec};
use super::generations::{THIRD, tell};
use super::image::rng::Rng;
use super::image::shape::AL_EXTENT;
use super::image::shape::BLOCK;
use super::image::{Layout, Metadata, SECTOR};
use super::tools;
use super::writes::{Blocks, Writes};
use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use unsplit::format::lvm2::write::{Identifier, VolumeGroupSpec, VolumeSpec, describe};
use unsplit::model::drbd::{MetadataFormat, Superblock};
use unsplit::model::evidence::MetadataPlace;

/// What the activity log hides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Hot {
    Nothing,
    /// These extents of 4 MiB.
    Extents(BTreeSet<u32>),
    Everything,
}

/// One side on files.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) data: PathBuf,
    /// Its metadata device, if it has one.
    pub(crate) metadata: Option<PathBuf>,
    pub(crate) layout: Layout,
    pub(crate) told: Superblock,
    /// Set bits of each slot, inside the replicated size.
    pub(crate) bits: Vec<BTreeSet<u64>>,
    pub(crate) hot: Hot,
}

impl Node {
    /// The file that holds the metadata.
    pub(crate) fn metadata_file(&self) -> &Path {
        self.metadata.as_deref().unwrap_or(&self.data)
    }
}

/// A pair on files.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) case: Case,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) nodes: [Node; 2],
    /// Bytes of replicated data.
    pub(crate) size: u64,
    /// Byte range of a volume that holds a file system on both sides.
    pub(crate) file_system: Option<std::ops::Range<usize>>,
}

impl Made {
    pub(crate) fn blocks(&self) -> u64 {
        self.size.div_ceil(BLOCK)
    }

    /// Number of meaningful bits in each of a side's slots.
    pub(crate) fn bit_count(&self, side: usize) -> u64 {
        self.size.div_ceil(self.case.sides[side].bytes_per_bit)
    }

    /// Whether a side's bitmap marks a block of 4 KiB.
    pub(crate) fn bitmap_has(&self, side: usize, block: u64) -> bool {
        let spec = &self.case.sides[side];
        let slot = usize::try_from(spec.slot).unwrap();
        self.nodes[side].bits[slot].contains(&(block * BLOCK / spec.bytes_per_bit))
    }

    /// Whether a side's activity log hides a block.
    pub(crate) fn hot_has(&self, side: usize, block: u64) -> bool {
        match &self.nodes[side].hot {
            Hot::Nothing => false,
            Hot::Everything => true,
            Hot::Extents(extents) => extents.contains(&u32::try_from(block * BLOCK / AL_EXTENT).unwrap()),
        }
    }

    pub(crate) fn candidate(&self, side: usize, block: u64) -> bool {
        self.bitmap_has(side, block) || self.hot_has(side, block)
    }
}

fn usize_of(value: u64) -> usize {
    usize::try_from(value).unwrap()
}

/// Contents before the split: islands of data in holes, and what `content` asks for.
struct Base {
    bytes: Vec<u8>,
    file_system: Option<std::ops::Range<usize>>,
}

fn base(case: &Case, folder: &Path, rng: &mut Rng) -> Base {
    let size = usize_of(case.sectors * SECTOR);
    let mut bytes = vec![0; size];
    for chunk in bytes.chunks_mut(64 << 10) {
        if rng.one_in(6) {
            rng.fill(chunk);
        }
    }
    let mut file_system = None;
    match case.content {
        Content::Plain => {}
        Content::Gpt => tools::partition(folder, &mut bytes),
        Content::Lvm | Content::Ext4 => {
            let mut id = [0; 32];
            let mut identifier = || {
                rng.fill(&mut id);
                Identifier::from_bytes(id)
            };
            let mut volume = |name: &str, mib: u64| VolumeSpec {
                name: name.to_owned(),
                id: identifier(),
                bytes: mib << 20,
            };
            let volumes = vec![volume("root", 4), volume("swap", 1)];
            let described = describe(&VolumeGroupSpec {
                name: "pairs".to_owned(),
                id: identifier(),
                pv_id: identifier(),
                device_size: size as u64,
                extent_size: 1 << 20,
                volumes,
                created: 1_767_225_600,
            })
            .unwrap();
            bytes[..described.head.len()].copy_from_slice(&described.head);
            let root = described.volumes[0];
            let range = usize_of(root.start)..usize_of(root.start + root.len);
            if case.content == Content::Ext4
                && let Some(image) = tools::file_system(folder, range.len(), "before", rng.next())
            {
                bytes[range.clone()].copy_from_slice(&image);
                file_system = Some(range);
            }
        }
    }
    Base { bytes, file_system }
}

/// New content of a block: all of it, one sector, or its last byte.
fn rewrite(bytes: &mut [u8], block: u64, rng: &mut Rng) {
    let start = usize_of(block * BLOCK);
    let end = (start + usize_of(BLOCK)).min(bytes.len());
    match rng.below(4) {
        0 => bytes[end - 1] ^= 1,
        1 => rng.fill(&mut bytes[start..start + usize_of(SECTOR)]),
        _ => rng.fill(&mut bytes[start..end]),
    }
}

/// Both sides' data, and what happened.
fn data(case: &Case, folder: &Path, rng: &mut Rng) -> ([Vec<u8>; 2], Writes, Option<std::ops::Range<usize>>) {
    let Base { bytes, file_system } = base(case, folder, rng);
    let mut writes = Writes::of(case, rng);
    let mut sides = [bytes.clone(), bytes.clone()];
    for block in &writes.same {
        let seed = rng.next();
        for side in &mut sides {
            rewrite(side, *block, &mut Rng::new(seed));
        }
    }
    for (side, bytes) in sides.iter_mut().enumerate() {
        for block in writes.changed[side].iter().chain(&writes.unmarked[side]) {
            rewrite(bytes, *block, rng);
        }
    }
    if let Some(range) = &file_system {
        // The volume is one whole file system on each side, whatever was written above.
        let alone = case.relation.successor().filter(|_| case.relation.common_base());
        for (side, own) in sides.iter_mut().enumerate() {
            own[range.clone()].copy_from_slice(&bytes[range.clone()]);
            if alone.is_none_or(|alone| alone == side) {
                let image = tools::file_system(folder, range.len(), ["alpha", "beta"][side], rng.next());
                own[range.clone()].copy_from_slice(&image.unwrap());
            }
        }
        let within = (range.start as u64 / BLOCK)..(range.end as u64 / BLOCK);
        let kinds = [&mut writes.changed, &mut writes.unmarked, &mut writes.rewritten];
        for blocks in kinds.into_iter().flatten().chain([&mut writes.same]) {
            blocks.retain(|block| !within.contains(block));
        }
        for (own, changed) in sides.iter().zip(&mut writes.changed) {
            changed.extend(within.clone().filter(|block| {
                let at = usize_of(block * BLOCK)..usize_of((block + 1) * BLOCK);
                own[at.clone()] != bytes[at]
            }));
        }
    }
    (sides, writes, file_system)
}

/// The transactions that leave exactly `hot` behind, and what they say on the way there.
fn transactions(spec: &SideSpec, hot: &BTreeSet<u32>, rng: &mut Rng) -> Vec<(u16, u32)> {
    let ring = spec.stripes.0 * spec.stripes.1;
    let slots: Vec<u16> = {
        let all = u16::try_from(spec.al_slots).unwrap();
        // Slots are taken from the end, as kernels do.
        (0..all).rev().take(hot.len()).collect()
    };
    let mut all = Vec::new();
    let before = if spec.log == Log::Wrapped { ring + 3 } else { rng.below(3) };
    for _ in 0..before {
        // What was hot once, even where there is no data, counts no more.
        all.push((slots[rng.index(slots.len())], u32::try_from(rng.below(100)).unwrap()));
    }
    all.extend(slots.into_iter().zip(hot.iter().copied()));
    all
}

/// The hot extents, or those that the ring still mentions though it does not count.
fn extents(case: &Case, rng: &mut Rng) -> BTreeSet<u32> {
    let all = u32::try_from((case.sectors * SECTOR).div_ceil(AL_EXTENT)).unwrap();
    let mut some: BTreeSet<u32> = (0..all).filter(|_| rng.one_in(3)).collect();
    some.insert(u32::try_from(rng.below(u64::from(all))).unwrap());
    some
}

/// Set bits of each slot: the peer's by what was written and what the log hides, all others by chance.
fn bits(case: &Case, side: usize, marked: &Blocks, hot: &Hot, rng: &mut Rng) -> Vec<BTreeSet<u64>> {
    let spec = &case.sides[side];
    let per_bit = spec.bytes_per_bit / BLOCK;
    let count = (case.sectors * SECTOR).div_ceil(spec.bytes_per_bit);
    let told = |block: &&u64, rng: &mut Rng| match hot {
        Hot::Nothing => true,
        Hot::Everything => rng.one_in(2),
        Hot::Extents(extents) => {
            let extent = u32::try_from(**block * BLOCK / AL_EXTENT).unwrap();
            !extents.contains(&extent) || rng.one_in(2)
        }
    };
    (0..spec.max_peers)
        .map(|slot| match slot == spec.slot {
            true => marked.iter().filter(|block| told(block, rng)).map(|block| block / per_bit).collect(),
            false => (0..rng.below(20)).map(|_| rng.below(count)).collect(),
        })
        .collect()
}

/// Sizes in sectors of the data device and, if it has one, of the metadata device.
fn sizes(case: &Case, spec: &SideSpec) -> (u64, Option<u64>) {
    let shape = spec.shape(case.format);
    let log = spec.stripes.0 * spec.stripes.1 * 8;
    match spec.place {
        MetadataPlace::Internal => {
            let wanted = case.sectors + spec.spare;
            let mut sectors = (wanted + log + 16).next_multiple_of(8);
            // The bitmap covers the whole device, itself included.
            while shape.layout(sectors).bitmap < wanted * SECTOR {
                sectors += 8;
            }
            (sectors + spec.tail, None)
        }
        MetadataPlace::FlexibleExternal => {
            let bitmap = shape.bitmap_sectors(case.sectors + spec.spare);
            // drbdmeta does not look at less than this.
            let sectors = (8 + log + bitmap).max(256);
            (case.sectors + spec.spare, Some(sectors + spec.tail))
        }
        MetadataPlace::IndexedExternal(_) => (case.sectors + spec.spare, Some(300 << 11)),
    }
}

struct Writing<'a> {
    case: &'a Case,
    folder: &'a Path,
}

impl Writing<'_> {
    fn file(&self, name: &str, sectors: u64) -> (PathBuf, File) {
        let path = self.folder.join(name);
        let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        file.set_len(sectors * SECTOR).unwrap();
        (path, file)
    }

    fn node(&self, side: usize, data: &[u8], marked: &Blocks, mut metadata: Metadata, rng: &mut Rng) -> Node {
        let (case, spec) = (self.case, &self.case.sides[side]);
        let (sectors, metadata_sectors) = sizes(case, spec);
        let (path, file) = self.file(&format!("node{}.img", side + 1), sectors);
        write_sparsely(&file, data);
        let layout = metadata.layout;
        let extents = extents(case, rng);
        let hot = match spec.log {
            Log::Clean | Log::Left | Log::Attached | Log::Replayed => Hot::Nothing,
            Log::Hot | Log::Wrapped => Hot::Extents(extents.clone()),
            Log::Disabled => Hot::Everything,
        };
        let bits = bits(case, side, marked, &hot, rng);
        for (slot, bits) in (0..).zip(&bits) {
            bits.iter().for_each(|bit| metadata.mark(slot, *bit));
        }
        if spec.garbage {
            let meaningful = (case.sectors * SECTOR).div_ceil(spec.bytes_per_bit);
            let all = (layout.bitmap_end - layout.bitmap).min(1 << 20) * 8 / (32 * spec.max_peers) * 32;
            for slot in 0..spec.max_peers {
                (meaningful..all).for_each(|bit| metadata.mark(slot, bit));
            }
        }
        metadata.log = if spec.log == Log::Clean { Vec::new() } else { transactions(spec, &extents, rng) };
        let (beside, target) = match metadata_sectors {
            None => (None, file),
            Some(sectors) => {
                let (path, target) = self.file(&format!("meta{}.img", side + 1), sectors);
                (Some(path), target)
            }
        };
        // What lies between the replicated data and the metadata is nobody's, and must stay as it is.
        let spare = if beside.is_none() { layout.bitmap } else { sectors * SECTOR } - data.len() as u64;
        let mut stray = vec![0; usize_of(spare)];
        rng.fill(&mut stray);
        File::options().write(true).open(&path).unwrap().write_all_at(&stray, data.len() as u64).unwrap();
        if let MetadataPlace::IndexedExternal(index) = spec.place {
            self.neighbour(&target, 1 - index, rng);
        }
        metadata.put_on(&target);
        Node { data: path, metadata: beside, layout, told: metadata.told, bits, hot }
    }

    /// Another volume's metadata at the other index of the device.
    fn neighbour(&self, file: &File, index: u32, rng: &mut Rng) {
        let spec = SideSpec { place: MetadataPlace::IndexedExternal(index), ..self.case.sides[0] };
        let blank = Metadata::of(spec.shape(self.case.format), 300 << 20, 1 << 20);
        let mut other = blank.of_node(spec.node_id, THIRD).generations(rng.generation(), 0, []);
        other.told.device_uuid = rng.generation();
        other.put_on(file);
    }
}

/// Holes stay holes.
fn write_sparsely(file: &File, bytes: &[u8]) {
    const ZEROS: [u8; 4096] = [0; 4096];
    for (block, at) in bytes.chunks(ZEROS.len()).zip((0..).step_by(ZEROS.len())) {
        if *block != ZEROS[..block.len()] {
            file.write_all_at(block, at).unwrap();
        }
    }
}

/// In memory for the dealt pairs, where the many flushes cost nothing; on a disk for those with a name.
fn folder(case: &Case) -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let place = if case.dealt && memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    tempfile::tempdir_in(place).unwrap()
}

/// Makes the pair.
pub(crate) fn make(case: &Case) -> Made {
    let folder = folder(case);
    let mut rng = Rng::new(case.seed);
    let (sides, writes, file_system) = data(case, folder.path(), &mut rng);
    let writing = Writing { case, folder: folder.path() };
    let blank = [0, 1].map(|side| {
        let spec = &case.sides[side];
        let (sectors, metadata_sectors) = sizes(case, spec);
        let of_metadata = metadata_sectors.unwrap_or(sectors) * SECTOR;
        Metadata::of(spec.shape(case.format), of_metadata, sectors * SECTOR)
    });
    let [told_a, told_b] = tell(case, blank, &mut rng);
    let a = writing.node(0, &sides[0], &writes.marked(0), told_a, &mut rng);
    let b = writing.node(1, &sides[1], &writes.marked(1), told_b, &mut rng);
    if case.format == MetadataFormat::V08 {
        assert!(case.sides.iter().all(|side| side.max_peers == 1 && side.bytes_per_bit == 4096));
    }
    Made { case: case.clone(), nodes: [a, b], size: case.sectors * SECTOR, file_system, folder }
}
