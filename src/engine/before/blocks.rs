//! Blocks of a side's metadata in a note: a table of where they were, and their bytes.
//!
//! The table has of each side, in order: bytes of the metadata disk, how many runs of blocks, and of each run its start and its
//! length; all of them 64 bits, little-endian.

use crate::model::extent::{Extent, ExtentSet};
use crate::model::side::{Pair, Side};
use crate::ports::disk::{Disk, DiskFault};
use crate::ports::store::{Store, StoreFault};
use std::io;

const NUMBER: usize = 8;

pub(super) fn table(metadata: &Pair<(&dyn Disk, &ExtentSet)>) -> Vec<u8> {
    let mut numbers = Vec::new();
    for (_, (disk, blocks)) in metadata.iter() {
        let runs = Vec::from_iter(blocks.iter());
        numbers.extend([disk.size(), runs.len() as u64]);
        numbers.extend(runs.iter().flat_map(|run| [run.start, run.len]));
    }
    numbers.into_iter().flat_map(u64::to_le_bytes).collect()
}

/// Reads the table at `at` of a file of `end` bytes: size and runs of each side, and where it ends. `None` when it is none.
#[allow(clippy::type_complexity)]
pub(super) fn read_table(
    store: &dyn Store,
    path: &str,
    mut at: u64,
    end: u64,
) -> Result<Option<(Pair<(u64, ExtentSet)>, u64)>, StoreFault> {
    let mut sides = Vec::new();
    for _ in Side::BOTH {
        let Some([size, runs]) = read(store, path, &mut at, end)? else { return Ok(None) };
        let (mut kept, mut last) = (Vec::new(), 0);
        for _ in 0..runs {
            let Some([start, len]) = read(store, path, &mut at, end)? else { return Ok(None) };
            let behind = start.checked_add(len).filter(|behind| len > 0 && start >= last && *behind <= size);
            let Some(behind) = behind else { return Ok(None) };
            kept.push(Extent { start, len });
            last = behind;
        }
        sides.push((size, kept.into_iter().collect()));
    }
    let [b, a] = [sides.pop(), sides.pop()];
    Ok(a.zip(b).map(|(a, b)| (Pair::new(a, b), at)))
}

fn read<const MANY: usize>(
    store: &dyn Store,
    path: &str,
    at: &mut u64,
    end: u64,
) -> Result<Option<[u64; MANY]>, StoreFault> {
    let len = (MANY * NUMBER) as u64;
    if end.saturating_sub(*at) < len {
        return Ok(None);
    }
    let mut bytes = vec![0; MANY * NUMBER];
    store.read_at(path, *at, &mut bytes)?;
    *at += len;
    let (numbers, _) = bytes.as_chunks::<NUMBER>();
    Ok(numbers.iter().map(|number| u64::from_le_bytes(*number)).collect::<Vec<_>>().try_into().ok())
}

/// The blocks, as a disk that has nothing else.
pub struct Blocks<'s> {
    store: &'s dyn Store,
    path: String,
    size: u64,
    kept: ExtentSet,
    /// Each run, and where in the file its bytes begin.
    runs: Vec<(Extent, u64)>,
}

impl<'s> Blocks<'s> {
    pub(super) fn new(store: &'s dyn Store, path: &str, size: u64, kept: ExtentSet, mut at: u64) -> Self {
        let mut runs = Vec::new();
        for run in kept.iter() {
            runs.push((run, at));
            at = at.saturating_add(run.len);
        }
        Blocks { store, path: path.to_owned(), size, kept, runs }
    }

    /// Which there are.
    #[must_use]
    pub fn kept(&self) -> &ExtentSet {
        &self.kept
    }
}

impl Disk for Blocks<'_> {
    fn name(&self) -> &str {
        &self.path
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskFault> {
        let extent = Extent { start: offset, len: buffer.len() as u64 };
        let fault = |source| DiskFault::Io { disk: self.path.clone(), act: "read", extent, source };
        let at = self.runs.partition_point(|(run, _)| run.end() <= offset);
        let inside = self.runs.get(at).filter(|(run, _)| run.start <= offset && extent.end() <= run.end());
        let Some((run, begins)) = inside else {
            return Err(fault(io::Error::other("not all of it was noted")));
        };
        let read = self.store.read_at(&self.path, begins + (offset - run.start), buffer);
        read.map_err(|error| fault(io::Error::other(error)))
    }
}
