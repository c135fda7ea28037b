//! Seeded numbers, the same on every machine (SplitMix64: Steele, Lea, Flood 2014), and decks to deal values from.

/// A stream of numbers.
#[derive(Debug, Clone)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `bound`, which is at least 1.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap()
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn fill(&mut self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            let bytes = self.next().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }

    /// A generation: no primary bit, neither 0 nor "just created".
    pub(crate) fn generation(&mut self) -> u64 {
        (self.next() & !1) | 0x0100_0000_0000_0000
    }
}

/// Deals every value once, in random order, before it deals any of them again: so many cases as the largest deck
/// has values meet them all.
#[derive(Debug)]
pub(crate) struct Deck<T> {
    values: Vec<T>,
    left: Vec<T>,
}

impl<T: Clone> Deck<T> {
    pub(crate) fn new(values: &[T]) -> Deck<T> {
        Deck { values: values.to_vec(), left: Vec::new() }
    }

    pub(crate) fn deal(&mut self, rng: &mut Rng) -> T {
        if self.left.is_empty() {
            self.left.clone_from(&self.values);
        }
        let at = rng.index(self.left.len());
        self.left.swap_remove(at)
    }
}
