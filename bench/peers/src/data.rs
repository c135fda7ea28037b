//! The data: the same bytes on every machine, and the truth about where two files differ.

use crate::subject::Expected;
use anyhow::Context as _;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use unsplit::model::extent::{Extent, ExtentSet};

/// Differences are of whole blocks, in bytes.
pub(crate) const BLOCK: u64 = 4096;
/// Bytes written at once.
const PIECE: u64 = 1 << 20;
/// Zeros, holes and islands come in runs of this many bytes.
const GRAIN: u64 = 64 << 10;
/// A cluster of differences, in blocks.
const CLUSTER: u64 = 64;

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum Kind {
    /// No zeros, nothing that repeats.
    Random,
    /// Half of it zeros, written as such.
    ZeroHeavy,
    /// One eighth data, the rest holes.
    Sparse,
}

/// Where the second file differs from the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum Differences {
    Nowhere,
    /// 0.01 % of the blocks, at random.
    Scattered,
    /// 1 % of the blocks, in runs of 64.
    Clustered,
}

/// Where the two files differ.
#[derive(Debug, Clone, Default)]
pub(crate) struct Truth {
    /// The blocks that differ.
    pub(crate) extents: ExtentSet,
    /// The bytes that differ: fewer than in these blocks, as some bytes are equal by chance.
    pub(crate) bytes: u64,
}

/// A number from a seed and a position: splitmix64's finaliser.
pub(crate) fn mixed(seed: u64, at: u64) -> u64 {
    let mut z = seed ^ at.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The content of a block: `seed` says whose.
pub(crate) fn fill(seed: u64, block: u64, bytes: &mut [u8]) {
    let start = mixed(seed, block);
    for (at, word) in bytes.chunks_mut(8).enumerate() {
        word.copy_from_slice(&mixed(start, at as u64).to_le_bytes()[..word.len()]);
    }
}

/// The content before anything differs, and the content of the second file where it does.
const FIRST: u64 = 0x75_6E73_706C_6974;
const SECOND: u64 = 0x62_656E_6368;

impl Kind {
    fn has_data(self, at: u64) -> bool {
        match self {
            Kind::Random => true,
            Kind::ZeroHeavy => mixed(FIRST ^ 1, at / GRAIN) & 1 == 0,
            Kind::Sparse => mixed(FIRST ^ 2, at / (16 * GRAIN)) & 7 == 0,
        }
    }

    /// The first file's content of a block.
    fn block(self, block: u64, bytes: &mut [u8]) {
        if self.has_data(block * BLOCK) { fill(FIRST, block, bytes) } else { bytes.fill(0) }
    }
}

/// `count` different multiples of `step` below `blocks`, the same on every run.
pub(crate) fn pick(blocks: u64, step: u64, count: u64, seed: u64) -> BTreeSet<u64> {
    let places = (blocks / step).max(1);
    let mut picked = BTreeSet::new();
    for at in 0.. {
        if picked.len() as u64 >= count.min(places) {
            break;
        }
        picked.insert(mixed(seed, at) % places * step);
    }
    picked
}

impl Differences {
    fn blocks(self, blocks: u64) -> BTreeSet<u64> {
        match self {
            Differences::Nowhere => BTreeSet::new(),
            Differences::Scattered => pick(blocks, 1, (blocks / 10_000).max(1), 7),
            Differences::Clustered => pick(blocks, CLUSTER, (blocks / 100 / CLUSTER).max(1), 8)
                .into_iter()
                .flat_map(|start| start..(start + CLUSTER).min(blocks))
                .collect(),
        }
    }
}

/// Two files.
#[derive(Debug)]
pub(crate) struct FilePair {
    pub(crate) kind: Kind,
    pub(crate) a: PathBuf,
    pub(crate) b: PathBuf,
    pub(crate) size: u64,
    pub(crate) truth: Truth,
    changed: BTreeSet<u64>,
}

impl FilePair {
    /// Makes two equal files.
    pub(crate) fn make(folder: &Path, kind: Kind, size: u64) -> anyhow::Result<FilePair> {
        let [a, b] = ["a", "b"].map(|side| folder.join(format!("{kind:?}-{side}.img").to_lowercase()));
        let (one, two) = std::thread::scope(|scope| {
            let other = scope.spawn(|| write(&a, kind, size));
            let two = write(&b, kind, size);
            (other.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the writer died"))), two)
        });
        one.and(two).with_context(|| format!("the data cannot be written in {}", folder.display()))?;
        Ok(FilePair { kind, a, b, size, truth: Truth::default(), changed: BTreeSet::new() })
    }

    /// Makes the second file differ in these places and nowhere else. Sparse files only once: holes do not come back.
    pub(crate) fn differ(&mut self, differences: Differences) -> anyhow::Result<()> {
        let wanted = differences.blocks(self.size / BLOCK);
        let file = File::options().write(true).open(&self.b)?;
        let (mut before, mut after) = ([0; BLOCK as usize], [0; BLOCK as usize]);
        for block in self.changed.difference(&wanted) {
            self.kind.block(*block, &mut before);
            file.write_all_at(&before, block * BLOCK)?;
        }
        let mut bytes = 0;
        for block in &wanted {
            self.kind.block(*block, &mut before);
            fill(SECOND, *block, &mut after);
            bytes += before.iter().zip(&after).filter(|(one, other)| one != other).count() as u64;
        }
        let extents = wanted.iter().map(|block| Extent { start: block * BLOCK, len: BLOCK }).collect();
        self.truth = Truth { extents, bytes };
        self.changed = wanted;
        self.restore()
    }

    /// Writes the differences again, after a tool has made both files equal.
    pub(crate) fn restore(&self) -> anyhow::Result<()> {
        let file = File::options().write(true).open(&self.b)?;
        let mut after = [0; BLOCK as usize];
        for block in &self.changed {
            fill(SECOND, *block, &mut after);
            file.write_all_at(&after, block * BLOCK)?;
        }
        // Nothing is left to be written while others are measured.
        Ok(file.sync_all()?)
    }

    /// What a comparison must find.
    pub(crate) fn expected(&self) -> Expected {
        let extents = self.truth.extents.clone();
        Expected { blocks: extents.bytes() / BLOCK, extents: Some(extents), bytes: Some(self.truth.bytes) }
    }

    pub(crate) fn remove(self) -> anyhow::Result<()> {
        std::fs::remove_file(&self.a)?;
        Ok(std::fs::remove_file(&self.b)?)
    }
}

fn write(path: &Path, kind: Kind, size: u64) -> anyhow::Result<()> {
    let file = File::create_new(path)?;
    file.set_len(size)?;
    let mut piece = vec![0; PIECE as usize];
    for start in (0..size).step_by(PIECE as usize) {
        let len = PIECE.min(size - start);
        let bytes = &mut piece[..usize::try_from(len)?];
        for (block, at) in bytes.chunks_mut(BLOCK as usize).zip((start..).step_by(BLOCK as usize)) {
            kind.block(at / BLOCK, block);
        }
        match kind {
            Kind::Sparse if bytes.iter().all(|byte| *byte == 0) => {}
            _ => file.write_all_at(bytes, start)?,
        }
    }
    Ok(file.sync_all()?)
}
