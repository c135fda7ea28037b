//! A buffer whose first byte lies on a page boundary, as direct I/O wants it.

/// Alignment in bytes: the largest that any common device asks of memory, offsets and lengths.
pub const ALIGNMENT: usize = 4096;

/// Bytes of fixed length that start at a multiple of [`ALIGNMENT`]. Zero at first.
#[derive(Debug)]
pub struct Aligned {
    // Never resized: a new allocation would move the boundary.
    bytes: Box<[u8]>,
    skip: usize,
    len: usize,
}

impl Aligned {
    /// A buffer of `len` bytes.
    #[must_use]
    pub fn new(len: usize) -> Self {
        let bytes = vec![0; len + ALIGNMENT].into_boxed_slice();
        let skip = bytes.as_ptr().addr().wrapping_neg() % ALIGNMENT;
        Aligned { bytes, skip, len }
    }

    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[self.skip..self.skip + self.len]
    }

    /// The bytes, to write into.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.bytes[self.skip..self.skip + self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_start_on_a_boundary() {
        for len in [0, 1, 511, 4096, 100_000] {
            let mut buffer = Aligned::new(len);
            assert_eq!(buffer.as_slice().len(), len);
            assert_eq!(buffer.as_slice().as_ptr().addr() % ALIGNMENT, 0);
            assert_eq!(buffer.as_mut_slice().as_ptr().addr() % ALIGNMENT, 0);
        }
    }
}
