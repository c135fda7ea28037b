//! The exact layout of a qcow2 file whose content is known to be a set of extents.
//!
//! Everything has its place before the first byte is written, so the file can be written in one sequential
//! pass and its size is known in advance:
//!
//! ```text
//! header | refcount table | refcount blocks | L1 table | L2 tables in use | data clusters in guest order
//! ```
//!
//! The cluster size is 4 KiB where QEMU's limits allow it (L1 table of 32 MiB, refcount table of 8 MiB: a
//! little less than 8 TiB), else the smallest that fits: 8 KiB to 32 TiB, 16 KiB to 128 TiB, 64 KiB for 1 PiB.
//! Extents are widened to whole clusters and the writer fills the difference with the bytes that stand
//! around them. That was preferred to extended L2 entries (4 KiB subclusters of a 128 KiB cluster), which
//! only QEMU since 5.2 reads and which would leave holes in the file: its true size would depend on the file system.

use super::{
    COPIED, EXTENSION_BACKING_FORMAT, HEADER_V3, MAGIC, MAX_BACKING, MAX_L1_ENTRIES,
    MAX_REFCOUNT_TABLE_ENTRIES,
};
use crate::model::extent::{Extent, ExtentSet, Iter};
use crate::model::size::SECTOR;
use std::iter::Peekable;

/// Smallest cluster: 4 KiB.
const MIN_CLUSTER_BITS: u32 = 12;
/// Largest cluster we choose: 1 MiB.
const MAX_CLUSTER_BITS: u32 = 20;
/// Beyond any device; keeps every sum below far away from overflow.
const MAX_VIRTUAL_SIZE: u64 = 1 << 56;

/// Why no file can be laid out.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LayoutFault {
    /// qcow2 counts sectors.
    #[error("a size of {0} bytes is not a multiple of {SECTOR}")]
    OddSize(u64),
    /// Larger than any device.
    #[error(
        "a size of {0} bytes is more than the {MAX_VIRTUAL_SIZE} bytes that a qcow2 file can describe here"
    )]
    TooLarge(u64),
    /// An extent lies outside the virtual size.
    #[error("{len} bytes at byte {start} lie outside the {size} bytes of the volume", start = extent.start, len = extent.len)]
    Outside {
        /// The extent.
        extent: Extent,
        /// The virtual size.
        size: u64,
    },
    /// The backing file's path cannot be written into the header, or QEMU would read it as something else than a path.
    #[error("`{0}` cannot be a backing file: it must be an absolute path of at most {MAX_BACKING} bytes")]
    Backing(String),
}

/// Where everything goes in one file. Offsets and sizes in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    virtual_size: u64,
    cluster_bits: u32,
    backing: Option<String>,
    /// Runs of whole clusters; the last may reach beyond the virtual size.
    clusters: ExtentSet,
    l1_entries: u64,
    refcount_table_clusters: u64,
    refcount_blocks: u64,
    l1_clusters: u64,
    l2_tables: u64,
    data_clusters: u64,
}

impl Layout {
    /// Lays out a file that stores `extents` of a volume of `virtual_size` bytes, over a raw `backing` file if given.
    ///
    /// # Errors
    /// [`LayoutFault`].
    pub fn new(virtual_size: u64, extents: &ExtentSet, backing: Option<&str>) -> Result<Layout, LayoutFault> {
        if !virtual_size.is_multiple_of(SECTOR) {
            return Err(LayoutFault::OddSize(virtual_size));
        }
        if virtual_size > MAX_VIRTUAL_SIZE {
            return Err(LayoutFault::TooLarge(virtual_size));
        }
        if let Some(last) = extents.last().filter(|last| last.end() > virtual_size) {
            return Err(LayoutFault::Outside { extent: last, size: virtual_size });
        }
        if let Some(path) = backing
            && !(path.starts_with('/') && path.len() <= MAX_BACKING && !path.contains('\0'))
        {
            return Err(LayoutFault::Backing(path.chars().take(80).flat_map(char::escape_default).collect()));
        }
        (MIN_CLUSTER_BITS..=MAX_CLUSTER_BITS)
            .find_map(|bits| Layout::with_clusters(bits, virtual_size, extents, backing))
            .ok_or(LayoutFault::TooLarge(virtual_size))
    }

    /// The layout with one cluster size, unless one of QEMU's limits is in the way.
    fn with_clusters(
        bits: u32,
        virtual_size: u64,
        extents: &ExtentSet,
        backing: Option<&str>,
    ) -> Option<Layout> {
        let cluster = 1u64 << bits;
        let span = cluster * (cluster / 8);
        let l1_entries = virtual_size.div_ceil(span);
        if l1_entries > MAX_L1_ENTRIES {
            return None;
        }
        let clusters = extents.align(cluster);
        let (mut l2_tables, mut last_table) = (0, None);
        for run in clusters.iter() {
            let (first, last) = (run.start / span, (run.end() - 1) / span);
            l2_tables += last - first + u64::from(last_table != Some(first));
            last_table = Some(last);
        }
        let l1_clusters = (l1_entries * 8).div_ceil(cluster).max(1);
        let data_clusters = clusters.bytes() / cluster;
        // The refcount blocks count themselves and their table: grow both until they are enough.
        let (mut refcount_blocks, mut refcount_table_clusters) = (1, 1);
        loop {
            let total =
                1 + refcount_table_clusters + refcount_blocks + l1_clusters + l2_tables + data_clusters;
            let blocks = total.div_ceil(cluster / 2);
            let table = (blocks * 8).div_ceil(cluster);
            if (blocks, table) == (refcount_blocks, refcount_table_clusters) {
                break;
            }
            (refcount_blocks, refcount_table_clusters) = (blocks, table);
        }
        (refcount_table_clusters * cluster / 8 <= MAX_REFCOUNT_TABLE_ENTRIES).then(|| Layout {
            virtual_size,
            cluster_bits: bits,
            backing: backing.map(str::to_owned),
            clusters,
            l1_entries,
            refcount_table_clusters,
            refcount_blocks,
            l1_clusters,
            l2_tables,
            data_clusters,
        })
    }

    /// Size of the volume, bytes.
    #[must_use]
    pub fn virtual_size(&self) -> u64 {
        self.virtual_size
    }

    /// Bytes of a cluster: a power of two from 4 KiB to 1 MiB.
    #[must_use]
    pub fn cluster(&self) -> u64 {
        1 << self.cluster_bits
    }

    /// What is stored: runs of whole clusters. The last may reach beyond the virtual size; zeros belong there.
    #[must_use]
    pub fn clusters(&self) -> &ExtentSet {
        &self.clusters
    }

    /// Where the first data cluster goes; the others follow in guest order, without gaps.
    #[must_use]
    pub fn data_offset(&self) -> u64 {
        (self.l2_first() + self.l2_tables) * self.cluster()
    }

    /// Bytes of the finished file.
    #[must_use]
    pub fn file_size(&self) -> u64 {
        self.data_offset() + self.data_clusters * self.cluster()
    }

    /// The bytes before [`Self::data_offset`], from the beginning.
    #[must_use]
    pub fn tables(&self) -> Tables<'_> {
        Tables {
            layout: self,
            next: 0,
            runs: self.clusters.iter().peekable(),
            guest: 0,
            l2_given: 0,
            data_given: 0,
        }
    }

    fn refcount_table_first(&self) -> u64 {
        1
    }

    fn refcount_blocks_first(&self) -> u64 {
        self.refcount_table_first() + self.refcount_table_clusters
    }

    fn l1_first(&self) -> u64 {
        self.refcount_blocks_first() + self.refcount_blocks
    }

    fn l2_first(&self) -> u64 {
        self.l1_first() + self.l1_clusters
    }

    /// Guest bytes that one L2 table covers.
    fn span(&self) -> u64 {
        self.cluster() * (self.cluster() / 8)
    }

    fn fill_header(&self, out: &mut [u8]) {
        let mut header = Vec::with_capacity(HEADER_V3 + MAX_BACKING + 32);
        let mut extensions = Vec::new();
        if self.backing.is_some() {
            extensions.extend_from_slice(&EXTENSION_BACKING_FORMAT.to_be_bytes());
            extensions.extend_from_slice(&3u32.to_be_bytes());
            extensions.extend_from_slice(b"raw\0\0\0\0\0");
        }
        extensions.extend_from_slice(&[0; 8]);
        let name = self.backing.as_deref().unwrap_or_default().as_bytes();
        let name_at = if name.is_empty() { 0 } else { HEADER_V3 + extensions.len() };

        header.extend_from_slice(&MAGIC.to_be_bytes());
        header.extend_from_slice(&3u32.to_be_bytes());
        header.extend_from_slice(&(name_at as u64).to_be_bytes());
        header.extend_from_slice(&low32(name.len() as u64).to_be_bytes());
        header.extend_from_slice(&self.cluster_bits.to_be_bytes());
        header.extend_from_slice(&self.virtual_size.to_be_bytes());
        header.extend_from_slice(&0u32.to_be_bytes()); // no encryption
        header.extend_from_slice(&low32(self.l1_entries).to_be_bytes());
        header.extend_from_slice(&(self.l1_first() * self.cluster()).to_be_bytes());
        header.extend_from_slice(&(self.refcount_table_first() * self.cluster()).to_be_bytes());
        header.extend_from_slice(&low32(self.refcount_table_clusters).to_be_bytes());
        header.extend_from_slice(&0u32.to_be_bytes()); // no snapshots
        header.extend_from_slice(&[0; 32]); // their offset; incompatible, compatible, autoclear features: none
        header.extend_from_slice(&4u32.to_be_bytes()); // refcounts of 2^4 bits
        header.extend_from_slice(&low32(HEADER_V3 as u64).to_be_bytes());
        header.extend_from_slice(&extensions);
        header.extend_from_slice(name);
        out[..header.len()].copy_from_slice(&header);
    }
}

/// The low half; every number given here was bounded far below 2^32 when the layout was made.
fn low32(number: u64) -> u32 {
    (number & u64::from(u32::MAX)) as u32
}

/// Generates a file's tables cluster by cluster, so that they need not be held in memory.
#[derive(Debug)]
pub struct Tables<'a> {
    layout: &'a Layout,
    /// Next cluster of the file.
    next: u64,
    /// The runs of the layout that may still matter.
    runs: Peekable<Iter<'a>>,
    /// Guest offset up to which L1, then L2, tables are done.
    guest: u64,
    l2_given: u64,
    data_given: u64,
}

impl Tables<'_> {
    /// Fills as many whole clusters at the front of `buffer` as are left and fit; says how many bytes that are.
    /// 0 when the tables are complete (or `buffer` is smaller than a cluster).
    pub fn fill(&mut self, buffer: &mut [u8]) -> usize {
        let layout = self.layout;
        let cluster = usize::try_from(layout.cluster()).unwrap_or(usize::MAX);
        let mut filled = 0;
        for out in buffer.chunks_exact_mut(cluster) {
            if self.next == layout.l2_first() + layout.l2_tables {
                break;
            }
            out.fill(0);
            if self.next < layout.refcount_table_first() {
                layout.fill_header(out);
            } else if self.next < layout.refcount_blocks_first() {
                self.fill_refcount_table(out);
            } else if self.next < layout.l1_first() {
                self.fill_refcount_block(out);
            } else if self.next < layout.l2_first() {
                self.fill_l1(out);
                if self.next + 1 == layout.l2_first() {
                    (self.runs, self.guest) = (layout.clusters.iter().peekable(), 0);
                }
            } else {
                self.fill_l2(out);
            }
            self.next += 1;
            filled += cluster;
        }
        filled
    }

    fn fill_refcount_table(&self, out: &mut [u8]) {
        let cluster = self.layout.cluster();
        let first = (self.next - self.layout.refcount_table_first()) * (cluster / 8);
        for (entry, index) in out.chunks_exact_mut(8).zip(first..self.layout.refcount_blocks) {
            entry.copy_from_slice(&((self.layout.refcount_blocks_first() + index) * cluster).to_be_bytes());
        }
    }

    /// Every cluster of the file is used exactly once.
    fn fill_refcount_block(&self, out: &mut [u8]) {
        let cluster = self.layout.cluster();
        let first = (self.next - self.layout.refcount_blocks_first()) * (cluster / 2);
        for (entry, _) in out.chunks_exact_mut(2).zip(first..self.layout.file_size() / cluster) {
            entry.copy_from_slice(&1u16.to_be_bytes());
        }
    }

    fn fill_l1(&mut self, out: &mut [u8]) {
        let (layout, span) = (self.layout, self.layout.span());
        for entry in out.chunks_exact_mut(8) {
            let end = self.guest.saturating_add(span);
            self.skip_runs();
            if self.runs.peek().is_some_and(|run| run.start < end) {
                let table = (layout.l2_first() + self.l2_given) * layout.cluster();
                entry.copy_from_slice(&(table | COPIED).to_be_bytes());
                self.l2_given += 1;
            }
            self.guest = end;
        }
    }

    fn fill_l2(&mut self, out: &mut [u8]) {
        let (layout, cluster, span) = (self.layout, self.layout.cluster(), self.layout.span());
        self.skip_runs();
        let Some(first) = self.runs.peek() else { return };
        let from = self.guest.max(first.start / span * span);
        let covered = Extent { start: from, len: span };
        for part in self.runs.clone().map_while(|run| run.intersect(&covered)) {
            let entries = (part.start - from) / cluster..(part.end() - from) / cluster;
            for entry in entries.filter_map(|index| usize::try_from(index * 8).ok()) {
                let host = layout.data_offset() + self.data_given * cluster;
                out[entry..entry + 8].copy_from_slice(&(host | COPIED).to_be_bytes());
                self.data_given += 1;
            }
        }
        self.guest = covered.end();
    }

    /// Passes the runs that end at or before the guest offset reached.
    fn skip_runs(&mut self) {
        while self.runs.next_if(|run| run.end() <= self.guest).is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(extents: &[(u64, u64)]) -> ExtentSet {
        extents.iter().map(|&pair| Extent::from(pair)).collect()
    }

    fn tables(layout: &Layout, step: usize) -> Vec<u8> {
        let (mut out, mut buffer) = (Vec::new(), vec![0xaa; step]);
        let mut tables = layout.tables();
        loop {
            match tables.fill(&mut buffer) {
                0 => break out,
                filled => out.extend_from_slice(&buffer[..filled]),
            }
        }
    }

    #[test]
    fn tables_have_the_promised_length_in_any_step() {
        let layout = Layout::new(10 << 30, &set(&[(0, 4096), (5 << 30, 9 << 20)]), Some("/b")).unwrap();
        let whole = tables(&layout, 1 << 20);
        assert_eq!(whole.len() as u64, layout.data_offset());
        assert_eq!(whole, tables(&layout, 4096));
        assert_eq!(layout.file_size(), layout.data_offset() + 4096 + (9 << 20));
    }

    #[test]
    fn cluster_sizes_follow_qemus_limits() {
        let cluster = |size, extents: &ExtentSet| Layout::new(size, extents, None).unwrap().cluster();
        let none = ExtentSet::empty();
        assert_eq!(cluster(512, &none), 4096);
        assert_eq!(cluster(8 << 40, &none), 4096);
        assert_eq!(cluster((8 << 40) + 512, &none), 8192);
        // All of 8 TiB needs more than a refcount table of 8 MiB can count in 4 KiB clusters.
        assert_eq!(cluster(8 << 40, &ExtentSet::whole(8 << 40)), 8192);
        assert_eq!(cluster(16 << 40, &none), 8192);
        assert_eq!(cluster(1 << 50, &ExtentSet::whole(1 << 50)), 65536);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let none = ExtentSet::empty();
        assert_eq!(Layout::new(513, &none, None), Err(LayoutFault::OddSize(513)));
        assert_eq!(Layout::new(1 << 57, &none, None), Err(LayoutFault::TooLarge(1 << 57)));
        let extent = Extent { start: 4096, len: 4096 };
        assert_eq!(
            Layout::new(4096, &set(&[(4096, 4096)]), None),
            Err(LayoutFault::Outside { extent, size: 4096 })
        );
        for bad in ["", "relative", "nbd:host", &format!("/{}", "x".repeat(1023)), "/a\0b"] {
            assert!(matches!(Layout::new(512, &none, Some(bad)), Err(LayoutFault::Backing(_))), "{bad:?}");
        }
    }
}
