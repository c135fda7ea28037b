#![no_main]
//! A disk through the whole reading of layouts: GPT, MBR, LVM. The input is its size (4 bytes) and what stands at its
//! start. Checksums are not checked when fuzzing. The result must be disjoint and cover the disk.

use libfuzzer_sys::fuzz_target;
use unsplit::edge::layout::read_layout;
use unsplit::model::extent::{Extent, ExtentSet};
use unsplit::ports::disk::{Disk, DiskFault};

/// The input, then zeros up to the size.
struct Bytes {
    size: u64,
    data: Vec<u8>,
}

impl Disk for Bytes {
    fn name(&self) -> &str {
        "fuzz"
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskFault> {
        let extent = Extent { start: offset, len: buffer.len() as u64 };
        if offset.checked_add(extent.len).is_none_or(|end| end > self.size) {
            return Err(DiskFault::Outside { disk: "fuzz".into(), extent, size: self.size });
        }
        for (at, byte) in (offset..).zip(buffer) {
            *byte = usize::try_from(at).ok().and_then(|at| self.data.get(at)).copied().unwrap_or(0);
        }
        Ok(())
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((size, data)) = input.split_first_chunk::<4>() else { return };
    let disk = Bytes { size: u32::from_le_bytes(*size).into(), data: data.to_vec() };
    let layout = read_layout(&disk);
    let pieces = || layout.units.iter().flat_map(|unit| &unit.map).map(|(_, extent)| *extent);
    assert_eq!(pieces().collect::<ExtentSet>(), ExtentSet::whole(disk.size));
    assert_eq!(pieces().map(|extent| extent.len).sum::<u64>(), disk.size);
});
