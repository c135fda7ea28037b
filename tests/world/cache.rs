//! Bytes behind a volatile write cache: what is written is read at once, and durable only after a flush.
//! A power cut keeps any part of the rest, in sectors, each as it was after any of the writes to it.

use super::rng::Rng;
use std::collections::BTreeMap;

/// What a disk writes as a whole or not at all.
pub const SECTOR: usize = 512;

/// The bytes of one file or disk.
#[derive(Debug, Clone, Default)]
pub struct Cached {
    visible: Vec<u8>,
    durable: Vec<u8>,
    /// Sectors written since the last flush, with their content after each write.
    pending: BTreeMap<usize, Vec<Vec<u8>>>,
    /// Lengths set since the last flush.
    lengths: Vec<usize>,
}

impl Cached {
    /// Durable bytes.
    pub fn durable(bytes: &[u8]) -> Cached {
        Cached { visible: bytes.to_vec(), durable: bytes.to_vec(), ..Cached::default() }
    }

    /// What a reader sees.
    pub fn visible(&self) -> &[u8] {
        &self.visible
    }

    /// What is certain to survive a power cut.
    pub fn certain(&self) -> &[u8] {
        &self.durable
    }

    /// Writes into the cache, growing as needed.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let end = offset + bytes.len();
        if end > self.visible.len() {
            self.visible.resize(end, 0);
            self.lengths.push(end);
        }
        self.visible[offset..end].copy_from_slice(bytes);
        for sector in offset / SECTOR..=(end - 1) / SECTOR {
            let from = sector * SECTOR;
            let content = self.visible[from..(from + SECTOR).min(self.visible.len())].to_vec();
            self.pending.entry(sector).or_default().push(content);
        }
    }

    /// Cuts or grows, in the cache.
    pub fn set_len(&mut self, len: usize) {
        let edge = len.min(self.visible.len()) / SECTOR;
        self.visible.resize(len, 0);
        self.lengths.push(len);
        self.pending.retain(|sector, _| sector * SECTOR < len);
        // What stood behind the cut in its sector must not come back when the file grows again.
        if edge * SECTOR < len {
            let content = self.visible[edge * SECTOR..((edge + 1) * SECTOR).min(len)].to_vec();
            self.pending.entry(edge).or_default().push(content);
        }
    }

    /// The durable length goes through the first `many` lengths that were set: a cut drops what is behind it.
    fn settle_length(&mut self, many: usize) {
        for len in &self.lengths[..many] {
            self.durable.resize(*len, 0);
        }
    }

    /// Everything becomes durable that has not been lost.
    pub fn flush(&mut self) {
        self.settle_length(self.lengths.len());
        for (sector, versions) in &self.pending {
            store(&mut self.durable, *sector, versions.last());
        }
        self.forget();
    }

    /// A flush that fails: each sector becomes durable or is lost, and lost ones are not written by a later
    /// flush either, though they can be read until the power goes. That is what kernels do.
    pub fn fail_flush(&mut self, rng: &mut Rng) {
        if rng.one_in(2) {
            self.settle_length(self.lengths.len());
        }
        for (sector, versions) in &self.pending {
            if rng.one_in(2) {
                store(&mut self.durable, *sector, versions.last());
            }
        }
        self.forget();
    }

    fn forget(&mut self) {
        self.pending.clear();
        self.lengths.clear();
    }

    /// The power goes. What was not durable survives in any part.
    pub fn power_cut(&mut self, rng: &mut Rng) {
        let before = self.durable.len();
        let many = usize::try_from(rng.below(self.lengths.len() as u64 + 1)).unwrap();
        self.settle_length(many);
        let after = self.durable.len();
        if after > before && rng.one_in(3) {
            // Grown in part only.
            let less = usize::try_from(rng.below((after - before) as u64 + 1)).unwrap();
            self.durable.truncate(after - less);
        }
        for (sector, versions) in &self.pending {
            let choice = usize::try_from(rng.below(versions.len() as u64 + 1)).unwrap();
            store(&mut self.durable, *sector, choice.checked_sub(1).and_then(|index| versions.get(index)));
        }
        self.forget();
        self.visible.clone_from(&self.durable);
    }
}

/// Puts a sector's content in place, as far as the length allows.
fn store(durable: &mut [u8], sector: usize, content: Option<&Vec<u8>>) {
    let from = sector * SECTOR;
    if let Some(content) = content
        && from < durable.len()
    {
        let len = content.len().min(durable.len() - from);
        durable[from..from + len].copy_from_slice(&content[..len]);
    }
}
