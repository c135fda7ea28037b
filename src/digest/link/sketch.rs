//! A table that gives the places of what differs, if not too much does. Both sides hold the same leaves, so a cell needs no
//! sum of indices: it holds `S0`, the sum of the values of its leaves, and `S1`, the sum of index times value, both modulo
//! `2^64`. The other side's cell subtracted, one differing leaf alone leaves `D` and `index x D`: one division gives the
//! index. Each leaf is in one cell of each of three parts; taking found leaves out of their other cells bares further
//! ones ("peeling"), which succeeds for almost every set while there are at least 1.23 cells a leaf.
//!
//! Everything is linear: a table made with [`FULL`] cells a part folds to any divisor of it, by adding, after the number of
//! differences is known; the low bits of the sums are the sums modulo a smaller power of two, so short ones travel.

use super::value::mix;

/// Cells of one part before folding: a number with many divisors (2^5 x 3^2 x 5 x 7 x 11).
pub const FULL: u32 = 110_880;
/// Parts.
pub(super) const PARTS: usize = 3;
/// Bits that tell a lone leaf from a mixture beyond what the index takes.
const SPARE: u32 = 20;

/// A table of the leaves of one side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sketch {
    seeds: [u64; PARTS],
    /// Cells in each part.
    fold: u32,
    /// Part after part.
    cells: Vec<[u64; 2]>,
}

/// Nothing more can be taken out, but something is left.
#[derive(Debug, PartialEq, Eq)]
pub struct Stuck;

impl Sketch {
    /// An empty table with `fold` cells a part.
    #[must_use]
    pub fn new(seeds: [u64; PARTS], fold: u32) -> Self {
        Sketch { seeds, fold, cells: vec![[0; 2]; PARTS * fold as usize] }
    }

    /// Cells in each part.
    pub(super) fn cells_a_part(&self) -> u32 {
        self.fold
    }

    fn place(&self, part: usize, index: u64) -> usize {
        let high = mix(index.wrapping_add(self.seeds[part])) >> 32;
        #[allow(clippy::cast_possible_truncation)] // below FULL
        let full = ((high * u64::from(FULL)) >> 32) as u32;
        part * self.fold as usize + (full % self.fold) as usize
    }

    fn put(&mut self, index: u64, value: u64) {
        for part in 0..PARTS {
            let place = self.place(part, index);
            let [sum, product] = &mut self.cells[place];
            *sum = sum.wrapping_add(value);
            *product = product.wrapping_add(index.wrapping_mul(value));
        }
    }

    /// Adds a leaf with its value, of which the low half counts.
    pub fn add(&mut self, index: u64, value: u128) {
        #[allow(clippy::cast_possible_truncation)] // the low half is meant
        self.put(index, value as u64);
    }

    /// The table with fewer cells a part: a divisor of those it has.
    #[must_use]
    pub fn folded(&self, fold: u32) -> Sketch {
        let mut out = Sketch::new(self.seeds, fold);
        for (part, cells) in self.cells.chunks(self.fold as usize).enumerate() {
            for (at, cell) in cells.iter().enumerate() {
                let [sum, product] = &mut out.cells[part * fold as usize + at % fold as usize];
                *sum = sum.wrapping_add(cell[0]);
                *product = product.wrapping_add(cell[1]);
            }
        }
        out
    }

    /// The cells that one who has the table with `known` cells a part still needs (`known` divides the cells a part;
    /// 0: all): every part without its last `known` cells, `width` bytes a sum.
    pub(super) fn beyond(&self, known: u32, width: u8) -> Vec<u8> {
        let mut out = Vec::new();
        for cells in self.cells.chunks(self.fold as usize) {
            for sum in cells[..(self.fold - known) as usize].iter().flatten() {
                out.extend(&sum.to_le_bytes()[..usize::from(width)]);
            }
        }
        out
    }

    /// How many bytes [`Sketch::beyond`] gives.
    pub(super) fn bytes_beyond(fold: u32, known: u32, width: u8) -> usize {
        PARTS * (fold - known) as usize * 2 * usize::from(width)
    }

    /// The other side's table, from what [`Sketch::beyond`] gave and the table known before, if there is one. Sums are
    /// right in their low `width` bytes only.
    pub(super) fn completed(
        seeds: [u64; PARTS],
        fold: u32,
        width: u8,
        bytes: &[u8],
        known: Option<&Sketch>,
    ) -> Self {
        let mut out = Sketch::new(seeds, fold);
        let fresh = (fold - known.map_or(0, |known| known.fold)) as usize;
        let mut sums = bytes.chunks_exact(usize::from(width)).map(|low| {
            let mut sum = [0; 8];
            sum[..low.len()].copy_from_slice(low);
            u64::from_le_bytes(sum)
        });
        for part in 0..PARTS {
            let cells = &mut out.cells[part * fold as usize..][..fold as usize];
            let (given, derived) = cells.split_at_mut(fresh);
            for cell in given.iter_mut() {
                *cell = [sums.next().unwrap_or(0), sums.next().unwrap_or(0)];
            }
            let Some(known) = known else { continue };
            let each = known.fold as usize;
            for (at, cell) in derived.iter_mut().enumerate() {
                let mut rest = known.cells[part * each + at];
                for given in given.iter().skip(at).step_by(each) {
                    rest = [rest[0].wrapping_sub(given[0]), rest[1].wrapping_sub(given[1])];
                }
                *cell = rest;
            }
        }
        out
    }

    /// The leaves, of `leaves` in all, whose values differ between this table and another with as many cells, if sums are
    /// compared in their low `width` bytes.
    pub fn peel(mut self, other: &Sketch, width: u8, leaves: u64) -> Result<Vec<u64>, Stuck> {
        let bits = 8 * u32::from(width);
        let mask = u64::MAX >> (64 - bits);
        for (mine, theirs) in self.cells.iter_mut().zip(&other.cells) {
            *mine = [mine[0].wrapping_sub(theirs[0]) & mask, mine[1].wrapping_sub(theirs[1]) & mask];
        }
        let mut found = Vec::new();
        let mut queue: Vec<usize> = (0..self.cells.len()).collect();
        // A mixture mistaken for a leaf puts wrong sums elsewhere; without a bound that could go on for ever.
        let most = 2 * self.cells.len();
        while let Some(at) = queue.pop() {
            let Some((index, value)) = self.alone(at, bits, leaves) else { continue };
            if found.len() == most {
                return Err(Stuck);
            }
            found.push(index);
            self.put(index, value.wrapping_neg());
            for part in 0..PARTS {
                let place = self.place(part, index);
                for sum in &mut self.cells[place] {
                    *sum &= mask;
                }
                queue.push(place);
            }
        }
        if self.cells.iter().any(|cell| *cell != [0; 2]) {
            return Err(Stuck);
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// The index and the difference of values of the one leaf that differs in a cell, if it looks like one.
    fn alone(&self, at: usize, bits: u32, leaves: u64) -> Option<(u64, u64)> {
        let [sum, product] = self.cells[at];
        if sum == 0 {
            return None;
        }
        // Divide modulo 2^bits: first by the power of two in the sum, then by its odd rest.
        let twos = sum.trailing_zeros();
        if product.trailing_zeros() < twos {
            return None;
        }
        let left = u64::MAX >> (64 - (bits - twos));
        let index = (product >> twos).wrapping_mul(inverse(sum >> twos)) & left;
        // Fewer bits than the index has would leave several.
        let fits = index < leaves && left >= leaves - 1;
        (fits && self.place(at / self.fold as usize, index) == at).then_some((index, sum))
    }
}

/// One divided by an odd number, modulo 2^64: Newton's method, from five right bits.
fn inverse(odd: u64) -> u64 {
    let mut inverse = odd.wrapping_mul(3) ^ 2;
    for _ in 0..4 {
        inverse = inverse.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(inverse)));
    }
    inverse
}

/// Bytes a sum for a volume of that many leaves.
pub(super) fn width_for(leaves: u64) -> u8 {
    let bits = 64 - leaves.leading_zeros() + SPARE;
    u8::try_from(bits.div_ceil(8).clamp(4, 8)).unwrap_or(8)
}

/// Cells a part for that many differences as estimated: the smallest divisor of [`FULL`] with room for an estimate that is
/// too low by its spread. `None`: no table is large enough.
pub(super) fn fold_for(estimate: f64) -> Option<u32> {
    // At large numbers 1.23 cells a leaf suffice, and the estimate's spread of 6 % asks for as much again; small tables
    // fail by chance much earlier.
    let cells = estimate * 1.40 + 3.0 * estimate.sqrt() + 18.0;
    (1..=FULL).find(|fold| FULL.is_multiple_of(*fold) && f64::from(*fold) * PARTS as f64 >= cells)
}

/// The next larger table to complete one to.
pub(super) fn next_fold(fold: u32) -> Option<u32> {
    (2..=FULL).filter_map(|times| fold.checked_mul(times)).find(|fold| FULL.is_multiple_of(*fold))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEEDS: [u64; PARTS] = [1, 2, 3];

    struct Numbers(u64);

    impl Numbers {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            mix(self.0)
        }
    }

    /// Two tables that differ in `number` leaves, and which.
    fn pair(numbers: &mut Numbers, number: usize, leaves: u64) -> (Sketch, Sketch, Vec<u64>) {
        let mut places = std::collections::BTreeSet::new();
        while places.len() < number {
            places.insert(numbers.next() % leaves);
        }
        let seeds = [numbers.next(), numbers.next(), numbers.next()];
        let (mut a, mut b) = (Sketch::new(seeds, FULL), Sketch::new(seeds, FULL));
        for index in 0..200 {
            let value = u128::from(numbers.next());
            a.add(index, value);
            b.add(index, value);
        }
        for index in &places {
            a.add(*index, u128::from(numbers.next()));
            b.add(*index, u128::from(numbers.next()));
        }
        (a, b, places.into_iter().collect())
    }

    #[test]
    fn odd_numbers_have_inverses() {
        let mut numbers = Numbers(5);
        for odd in (0..1000).map(|_| numbers.next() | 1).chain([1, 3, u64::MAX]) {
            assert_eq!(odd.wrapping_mul(inverse(odd)), 1);
        }
    }

    #[test]
    fn differing_leaves_are_found() {
        let mut numbers = Numbers(7);
        let mut failed = 0;
        let mut rounds = 0;
        for leaves in [300u64, 1 << 26, 1 << 30] {
            let width = width_for(leaves);
            for number in [0usize, 1, 2, 3, 5, 10, 30, 100, 250] {
                for _ in 0..10 {
                    let (a, b, places) = pair(&mut numbers, number, leaves);
                    let mut fold = fold_for(number as f64).unwrap();
                    let mut theirs =
                        Sketch::completed(a.seeds, fold, width, &b.folded(fold).beyond(0, width), None);
                    rounds += 1;
                    let found = loop {
                        match a.folded(fold).peel(&theirs, width, leaves) {
                            Ok(found) => break found,
                            Err(Stuck) => {
                                failed += 1;
                                let next = next_fold(fold).unwrap();
                                let bytes = b.folded(next).beyond(fold, width);
                                assert_eq!(bytes.len(), Sketch::bytes_beyond(next, fold, width));
                                theirs = Sketch::completed(a.seeds, next, width, &bytes, Some(&theirs));
                                fold = next;
                            }
                        }
                    };
                    assert_eq!(found, places);
                }
            }
        }
        assert!(failed * 50 <= rounds, "{failed} of {rounds} tables were too small");
    }

    #[test]
    fn a_quarter_of_a_million_fits() {
        let mut numbers = Numbers(11);
        let (a, b, places) = pair(&mut numbers, 250_000, 1 << 30);
        assert_eq!(a.peel(&b, 8, 1 << 30).unwrap(), places);
        let (a, b, _) = pair(&mut numbers, 300_000, 1 << 30);
        assert_eq!(a.peel(&b, 8, 1 << 30), Err(Stuck));
        assert_eq!((fold_for(250_000.0), fold_for(235_000.0)), (None, Some(FULL)));
    }

    #[test]
    fn completing_a_table_gives_the_larger_one() {
        let mut numbers = Numbers(3);
        let (_, b, _) = pair(&mut numbers, 500, 1 << 20);
        let small = b.folded(12);
        for fold in [24, 36, 120, FULL] {
            let large = b.folded(fold);
            let completed = Sketch::completed(b.seeds, fold, 8, &large.beyond(12, 8), Some(&small));
            assert_eq!(completed, large);
        }
        assert_eq!(next_fold(12), Some(24));
        assert_eq!(next_fold(FULL), None);
    }

    #[test]
    fn foreign_cells_end() {
        // Whatever the other side sends, peeling ends, and finds leaves of this volume only.
        let mut numbers = Numbers(1);
        for round in 0..2000u64 {
            let mut a = Sketch::new(SEEDS, 8);
            let mut b = Sketch::new(SEEDS, 8);
            for cell in &mut b.cells {
                *cell = [numbers.next() >> (round % 60), numbers.next() >> (round % 64)];
            }
            a.add(1, 5);
            if let Ok(found) = a.peel(&b, 4, 16) {
                assert!(found.iter().all(|index| *index < 16));
            }
        }
    }
}
