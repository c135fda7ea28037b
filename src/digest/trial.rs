//! Which of two manners of comparing what is at hand is faster here and now, found out by trying both.

use super::batch::lock;
use std::sync::Mutex;
use std::time::Duration;

/// What of each manner is remembered: the least of the last few, as a thread that had to
/// wait for a processor says nothing.
const REMEMBERED: usize = 3;
/// Each so many portions, both manners are tried once more.
const AGAIN: u64 = 128;

/// How a portion that is at hand is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// Copies are compared.
    Copy,
    /// What lies in memory is compared in place.
    InPlace,
}

/// What is known so far; all threads try together.
#[derive(Default)]
pub(super) struct Trial(Mutex<State>);

#[derive(Default)]
struct State {
    begun: u64,
    /// Picoseconds a byte, of either manner.
    costs: [Costs; 2],
}

#[derive(Default)]
struct Costs {
    last: [u64; REMEMBERED],
    told: usize,
}

impl Costs {
    /// Nothing until one was told, so that a manner that was not tried yet wins.
    fn least(&self) -> u64 {
        self.last[..self.told.min(REMEMBERED)].iter().copied().min().unwrap_or(0)
    }
}

impl Trial {
    /// How to compare the next portion, and whether that is a trial, of which [`Trial::took`] is to be told: each manner
    /// some times, then the faster one, and both again now and then.
    pub(super) fn next(&self) -> (Manner, bool) {
        let mut state = lock(&self.0);
        let turn = state.begun;
        state.begun += 1;
        if turn < 2 * REMEMBERED as u64 || turn % AGAIN < 2 {
            return (if turn.is_multiple_of(2) { Manner::Copy } else { Manner::InPlace }, true);
        }
        let [copy, in_place] = state.costs.each_ref().map(Costs::least);
        (if in_place < copy { Manner::InPlace } else { Manner::Copy }, false)
    }

    /// What a trial with so many bytes took.
    pub(super) fn took(&self, manner: Manner, bytes: u64, time: Duration) {
        let cost = time.as_nanos().saturating_mul(1000) / u128::from(bytes.max(1));
        let costs = &mut lock(&self.0).costs[manner as usize];
        costs.last[costs.told % REMEMBERED] = u64::try_from(cost).unwrap_or(u64::MAX);
        costs.told += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// How often each manner is chosen in `turns` portions, which take (copied, in place) microseconds.
    fn run(trial: &Trial, turns: usize, micros: impl Fn(usize) -> (u64, u64)) -> (usize, usize) {
        let mut chosen = (0, 0);
        for turn in 0..turns {
            let (manner, told) = trial.next();
            let (copy, in_place) = micros(turn);
            let (times, took) = match manner {
                Manner::Copy => (&mut chosen.0, copy),
                Manner::InPlace => (&mut chosen.1, in_place),
            };
            *times += 1;
            if told {
                trial.took(manner, MIB, Duration::from_micros(took));
            }
        }
        chosen
    }

    #[test]
    fn the_faster_manner_gets_nearly_all() {
        let (copy, in_place) = run(&Trial::default(), 1000, |_| (100, 80));
        assert!(copy < 25 && in_place > 975, "{copy} {in_place}");
        let (copy, in_place) = run(&Trial::default(), 1000, |_| (80, 100));
        assert!(in_place < 25 && copy > 975, "{copy} {in_place}");
    }

    #[test]
    fn a_thread_that_had_to_wait_decides_nothing() {
        let disturbed = |turn: usize| if turn.is_multiple_of(3) { (5000, 7000) } else { (100, 80) };
        let (copy, _) = run(&Trial::default(), 1000, disturbed);
        assert!(copy < 40, "{copy}");
    }

    #[test]
    fn when_the_other_becomes_faster_it_is_found() {
        let trial = Trial::default();
        run(&trial, 500, |_| (100, 80));
        let (copy, _) = run(&trial, 2000, |_| (100, 300));
        assert!(copy > 1500, "{copy}");
        let (_, in_place) = run(&trial, 1000, |_| (100, 80));
        assert!(in_place > 600, "{in_place}");
    }

    #[test]
    fn portions_count_by_their_bytes() {
        let trial = Trial::default();
        for _ in 0..2 * REMEMBERED {
            let (manner, _) = trial.next();
            let bytes = if manner == Manner::Copy { 2 * MIB } else { MIB };
            trial.took(manner, bytes, Duration::from_micros(if manner == Manner::Copy { 150 } else { 100 }));
        }
        assert_eq!(trial.next(), (Manner::Copy, false), "75 us for a MiB are fewer than 100");
    }
}
