#![no_main]
//! What is offered as a backing device, looked at and opened. The input is its size (4 bytes), what stands at its start
//! (length of 2 bytes, then that), and what stands before its end. It must be opened or refused; what is refused says what
//! to do.

use libfuzzer_sys::fuzz_target;
use std::sync::Arc;
use unsplit::edge::drbd::image::{ImageReplica, ObserveError};
use unsplit::format::offered::{extent, kinds, member};
use unsplit::format::qcow2::owned::owner;
use unsplit::model::evidence::Trust;
use unsplit::model::extent::Extent;
use unsplit::ports::disk::{Disk, DiskFault, DiskMut};

/// The start, zeros, the end.
struct Bytes {
    size: u64,
    head: Vec<u8>,
    tail: Vec<u8>,
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
        // Slices, not single bytes: opening reads up to a gigabyte in search of an older superblock.
        buffer.fill(0);
        let tail_at = self.size.saturating_sub(self.tail.len() as u64);
        for (start, bytes) in [(0, &self.head), (tail_at, &self.tail)] {
            let first = start.max(offset);
            let end = (start + bytes.len() as u64).min(offset + extent.len);
            if let Some(len) = end.checked_sub(first).and_then(|len| usize::try_from(len).ok()) {
                let at = |from: u64| usize::try_from(first - from).unwrap_or(usize::MAX);
                buffer[at(offset)..][..len].copy_from_slice(&bytes[at(start)..][..len]);
            }
        }
        Ok(())
    }
}

impl DiskMut for Bytes {
    fn write_at(&self, _: u64, _: &[u8]) -> Result<(), DiskFault> {
        unreachable!("opening writes nothing")
    }

    fn flush(&self) -> Result<(), DiskFault> {
        unreachable!("opening writes nothing")
    }

    fn as_disk(&self) -> &dyn Disk {
        self
    }
}

fuzz_target!(|input: &[u8]| {
    let _ = kinds::recognise(input, input);
    let _ = (member::at_start(input), member::md(input), member::old_md(input, 65536));
    let _ = extent::file_system(input);
    let _ = owner(&input, input.len() as u64 / 2);
    let Some((size, rest)) = input.split_first_chunk::<4>() else { return };
    let Some((len, rest)) = rest.split_first_chunk::<2>() else { return };
    let (head, tail) = rest.split_at(rest.len().min(u16::from_le_bytes(*len).into()));
    let size = u64::from(u32::from_le_bytes(*size)).max(1);
    let disk = Arc::new(Bytes { size, head: head.to_vec(), tail: tail.to_vec() });
    if let Err(error @ ObserveError::NotThis { .. }) =
        ImageReplica::open_with(disk, None, None, Trust::Checked)
    {
        assert!(error.advice().is_some_and(|advice| !advice.is_empty()));
    }
});
