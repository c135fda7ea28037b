//! Which of two manners of comparing what is at hand is faster here and now, found out by trying both.

use super::batch::lock;
use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

/// Trials of each manner in one go, at least: in one go, because threads that map at the same time hinder each other, and
/// those that copy do not.
const TRIALS: u64 = 6;
/// The same at most.
const MOST_TRIALS: u64 = 32;
/// Every so many portions, both manners are tried.
const AGAIN: u64 = 256;
/// A trial in place lets go of what it looked at right after, which interrupts the other processors; otherwise that is done
/// for many portions at once. So looking in place costs a trial up to this part of copying more than it will cost later.
const UNDUE: u64 = 8;

/// How a portion that is at hand is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// Copies are compared.
    Copy,
    /// What lies in memory is compared in place.
    InPlace,
}

/// What is known so far; all threads try together.
pub(super) struct Trial {
    each: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    begun: u64,
    /// Picoseconds a byte, of either manner; the last [`Trial::each`].
    costs: [VecDeque<u64>; 2],
}

/// The median, as a thread that had to wait for a processor says nothing. Nothing of nothing, so that what was not
/// tried yet wins.
fn typical(costs: &VecDeque<u64>) -> u64 {
    let mut sorted: Vec<u64> = costs.iter().copied().collect();
    sorted.sort_unstable();
    sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or(0)
}

impl Trial {
    /// For so many threads.
    pub(super) fn new(threads: usize) -> Trial {
        Trial { each: (2 * threads as u64).clamp(TRIALS, MOST_TRIALS), state: Mutex::default() }
    }

    /// How to compare the next portion, and whether that is a trial, of which [`Trial::took`] is to be told: each manner
    /// some times, then the faster one, and both again now and then.
    pub(super) fn next(&self) -> (Manner, bool) {
        let mut state = lock(&self.state);
        let begun = state.begun;
        state.begun += 1;
        // Whatever comes first is slow: threads, tables and processors are not ready yet.
        let Some(turn) = begun.checked_sub(self.each) else { return (Manner::InPlace, false) };
        let turn = turn % AGAIN;
        if turn < 2 * self.each {
            return (if turn < self.each { Manner::Copy } else { Manner::InPlace }, true);
        }
        let [copy, in_place] = state.costs.each_ref().map(typical);
        (if in_place < copy + copy / UNDUE { Manner::InPlace } else { Manner::Copy }, false)
    }

    /// What a trial with so many bytes took.
    pub(super) fn took(&self, manner: Manner, bytes: u64, time: Duration) {
        let cost = time.as_nanos().saturating_mul(1000) / u128::from(bytes.max(1));
        let costs = &mut lock(&self.state).costs[manner as usize];
        if costs.len() as u64 >= self.each {
            costs.pop_front();
        }
        costs.push_back(u64::try_from(cost).unwrap_or(u64::MAX));
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
        let (copy, in_place) = run(&Trial::new(2), 1000, |_| (100, 80));
        assert!(copy < 40 && in_place > 960, "{copy} {in_place}");
        let (copy, in_place) = run(&Trial::new(2), 1000, |_| (80, 100));
        assert!(in_place < 40 && copy > 960, "{copy} {in_place}");
    }

    #[test]
    fn a_trial_in_place_may_cost_a_little_more() {
        let (copy, _) = run(&Trial::new(2), 1000, |_| (100, 105));
        assert!(copy < 40, "{copy}");
        let (_, in_place) = run(&Trial::new(2), 1000, |_| (100, 115));
        assert!(in_place < 40, "{in_place}");
    }

    #[test]
    fn a_thread_that_had_to_wait_decides_nothing() {
        let disturbed = |turn: usize| if turn.is_multiple_of(3) { (5000, 7000) } else { (100, 80) };
        let (copy, _) = run(&Trial::new(2), 1000, disturbed);
        assert!(copy < 40, "{copy}");
    }

    #[test]
    fn when_the_other_becomes_faster_it_is_found() {
        let trial = Trial::new(2);
        run(&trial, 500, |_| (100, 80));
        let (copy, _) = run(&trial, 3000, |_| (100, 300));
        assert!(copy > 2000, "{copy}");
        let (_, in_place) = run(&trial, 1000, |_| (100, 80));
        assert!(in_place > 600, "{in_place}");
    }

    #[test]
    fn portions_count_by_their_bytes() {
        let trial = Trial::new(2);
        for _ in 0..3 * TRIALS {
            let (manner, _) = trial.next();
            let bytes = if manner == Manner::Copy { 2 * MIB } else { MIB };
            trial.took(manner, bytes, Duration::from_micros(if manner == Manner::Copy { 150 } else { 100 }));
        }
        assert_eq!(trial.next(), (Manner::Copy, false), "75 us for a MiB are fewer than 100");
    }
}
