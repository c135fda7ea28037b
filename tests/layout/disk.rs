//! Disks for tests: sparse in memory, or a file.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use unsplit::model::extent::{Extent, ExtentSet};
use unsplit::model::unit::{Layout, Unit, UnitKind};
use unsplit::ports::disk::{Disk, DiskFault};

/// Zeros with pieces in them, and ranges that cannot be read.
#[derive(Default)]
pub struct MemoryDisk {
    pub size: u64,
    pub pieces: Vec<(u64, Vec<u8>)>,
    pub broken: Vec<Extent>,
}

impl MemoryDisk {
    pub fn new(size: u64, pieces: &[(u64, &[u8])]) -> Self {
        let pieces = pieces.iter().map(|(at, bytes)| (*at, bytes.to_vec())).collect();
        MemoryDisk { size, pieces, broken: Vec::new() }
    }

    /// Changes bytes; the later piece wins.
    pub fn put(&mut self, at: u64, bytes: &[u8]) {
        self.pieces.push((at, bytes.to_vec()));
    }
}

impl Disk for MemoryDisk {
    fn name(&self) -> &str {
        "memory"
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskFault> {
        let extent = Extent { start: offset, len: buffer.len() as u64 };
        if extent.end() > self.size {
            return Err(DiskFault::Outside { disk: "memory".into(), extent, size: self.size });
        }
        if self.broken.iter().any(|broken| broken.intersect(&extent).is_some()) {
            let source = std::io::Error::other("bad sector");
            return Err(DiskFault::Io { disk: "memory".into(), act: "read", extent, source });
        }
        buffer.fill(0);
        for (at, bytes) in &self.pieces {
            let piece = Extent { start: *at, len: bytes.len() as u64 };
            if let Some(common) = piece.intersect(&extent) {
                let (from, to, len) = (common.start - at, common.start - offset, common.len as usize);
                buffer[to as usize..to as usize + len]
                    .copy_from_slice(&bytes[from as usize..from as usize + len]);
            }
        }
        Ok(())
    }
}

/// A file.
pub struct FileDisk(File, u64);

impl FileDisk {
    pub fn open(path: &Path) -> Self {
        let file = File::open(path).unwrap();
        let size = file.metadata().unwrap().len();
        FileDisk(file, size)
    }
}

impl Disk for FileDisk {
    fn name(&self) -> &str {
        "file"
    }

    fn size(&self) -> u64 {
        self.1
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskFault> {
        let extent = Extent { start: offset, len: buffer.len() as u64 };
        self.0.read_exact_at(buffer, offset).map_err(|source| DiskFault::Io {
            disk: "file".into(),
            act: "read",
            extent,
            source,
        })
    }
}

pub const MIB: u64 = 1 << 20;

/// Name, kind and extents in MiB; panics when an extent is not in whole MiB.
pub fn in_mib(unit: &Unit) -> (&str, UnitKind, Vec<(u64, u64)>) {
    let whole = |bytes: u64| {
        assert_eq!(bytes % MIB, 0, "{}: {:?}", unit.name, unit.map);
        bytes / MIB
    };
    (&unit.name, unit.kind, unit.extents().iter().map(|e| (whole(e.start), whole(e.len))).collect())
}

pub fn named<'a>(layout: &'a Layout, name: &str) -> &'a Unit {
    layout.units.iter().find(|unit| unit.name == name).unwrap_or_else(|| panic!("no {name} in {layout:#?}"))
}

/// What every layout must be: disjoint, complete, in order, with pieces in order.
pub fn check(layout: &Layout, size: u64) {
    let pieces = || layout.units.iter().flat_map(|unit| &unit.map).map(|(_, extent)| *extent);
    assert_eq!(pieces().collect::<ExtentSet>(), ExtentSet::whole(size), "{layout:#?}");
    assert_eq!(pieces().map(|extent| extent.len).sum::<u64>(), size, "{layout:#?}");
    let firsts: Vec<_> = layout.units.iter().map(|unit| unit.extents().first().unwrap().start).collect();
    assert!(firsts.is_sorted(), "{layout:#?}");
    for unit in &layout.units {
        assert!(
            unit.map.windows(2).all(|pair| pair[0].0 + pair[0].1.len <= pair[1].0)
                || unit.kind == UnitKind::Opaque
        );
    }
}
