//! How many leaves differ, from 3 KiB: each leaf's value is added to one of [`BINS`] counters on one of [`STRATA`] levels.
//! Level `s` gets a share of `2^-(s+1)` of the leaves, so that on some level the counters are neither all changed nor all the
//! same. Counters are sums of one byte: two sides' counters differ unless no leaf under them does (or, once in 256,
//! by chance).

use super::value::mix;
use crate::format::wire::reconcile::{BINS, STRATA};

/// How often a counter does not show that something under it differs.
const CHANCE: f64 = 1.0 / 256.0;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Estimator {
    seed: u64,
    bins: Vec<u8>,
}

impl Estimator {
    pub(super) fn new(seed: u64) -> Self {
        Estimator { seed, bins: vec![0; STRATA * BINS] }
    }

    pub(super) fn add(&mut self, index: u64, value: u128) {
        let place = mix(index.wrapping_add(self.seed));
        let level = (place.trailing_zeros() as usize).min(STRATA - 1);
        #[allow(clippy::cast_possible_truncation)] // below BINS
        let bin = (place >> 56) as usize % BINS;
        #[allow(clippy::cast_possible_truncation)] // the highest byte
        let byte = (value >> 120) as u8;
        let slot = &mut self.bins[level * BINS + bin];
        *slot = slot.wrapping_add(byte);
    }

    pub(super) fn bins(&self) -> &[u8] {
        &self.bins
    }

    /// How many leaves differ between this side and the one with these counters; the most likely number. Spread: about
    /// 6 % (one standard deviation), exact or nearly so below ten.
    pub(super) fn estimate(&self, other: &[u8]) -> f64 {
        let mut changed = [0u32; STRATA];
        for (level, (mine, theirs)) in self.bins.chunks(BINS).zip(other.chunks(BINS)).enumerate() {
            let count = mine.iter().zip(theirs).filter(|(mine, theirs)| mine != theirs).count();
            changed[level] = u32::try_from(count).unwrap_or(u32::MAX);
        }
        if changed.iter().all(|count| *count == 0) {
            return 0.0;
        }
        // The derivative of the log-likelihood falls in the number: halve the interval where it passes zero.
        let slope = |number: f64| {
            let level = |(level, changed): (usize, &u32)| {
                // The last level takes what the ones before it left over.
                let share = 0.5f64.powi(i32::try_from((level + 1).min(STRATA - 1)).unwrap_or(0));
                let rate = share / BINS as f64;
                let load = number * rate;
                let same = BINS as f64 - f64::from(*changed);
                // A counter over a difference stays the same by chance.
                let untouched = (1.0 - CHANCE) * (-load).exp();
                f64::from(*changed) * rate / load.exp_m1().max(1e-300)
                    - same * rate * untouched / (CHANCE + untouched)
            };
            changed.iter().enumerate().map(level).sum::<f64>()
        };
        let (mut low, mut high) = (-1.0f64, 34.0f64);
        for _ in 0..60 {
            let middle = f64::midpoint(low, high);
            if slope(middle.exp2()) > 0.0 {
                low = middle;
            } else {
                high = middle;
            }
        }
        low.exp2()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_are_near() {
        let mut state = 9u64;
        let mut next = move || {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            mix(state)
        };
        for number in [0u32, 1, 5, 30, 1000, 40_000, 700_000] {
            let rounds = if number > 100_000 { 8 } else { 60 };
            let mut worst = 0.0f64;
            let mut squares = 0.0;
            for _ in 0..rounds {
                let seed = next();
                let (mut a, b) = (Estimator::new(seed), Estimator::new(seed));
                for _ in 0..number {
                    a.add(next() >> 38, u128::from(next()) << 64);
                }
                let found = a.estimate(b.bins());
                let error = (found - f64::from(number)) / f64::from(number.max(1));
                worst = worst.max(error.abs());
                squares += error * error;
            }
            let spread = (squares / f64::from(rounds)).sqrt();
            assert!(spread < 0.11 && worst < 0.5, "{number}: spread {spread:.3}, worst {worst:.3}");
        }
    }

    #[test]
    fn the_same_on_both_sides_is_nothing() {
        let (mut a, mut b) = (Estimator::new(1), Estimator::new(1));
        for index in 0..10_000u64 {
            a.add(index, u128::from(mix(index)) << 64);
            b.add(9_999 - index, u128::from(mix(9_999 - index)) << 64);
        }
        assert_eq!(a, b);
        assert!(a.estimate(b.bins()) == 0.0);
    }
}
