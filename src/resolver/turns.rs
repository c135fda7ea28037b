//! Work on many things, a few at a time, whose results are wanted in order.

use super::failure::Failure;
use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// How many volumes are compared at once, at most: a session has eight channels, and an agent eight workers.
pub const AT_ONCE: usize = 6;

/// What a thread may use of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Things that are worked on at once.
    pub at_once: usize,
    /// Threads for each of them.
    pub threads: usize,
    /// What each of them may divide itself into, so that no more than [`AT_ONCE`] are under way in all.
    pub room: usize,
}

impl Share {
    /// All of `threads`, for whatever there is.
    pub fn whole(threads: usize) -> Share {
        Share { at_once: 1, threads, room: AT_ONCE }
    }

    /// What each of `count` things gets of one of these.
    pub fn among(self, count: usize) -> Share {
        let at_once = self.threads.min(count).min(self.room).max(1);
        Share { at_once, threads: (self.threads / at_once).max(1), room: (self.room / at_once).max(1) }
    }
}

struct State<T> {
    next: usize,
    taken: usize,
    done: BTreeMap<usize, T>,
    /// Nobody takes any more, or a worker died.
    over: bool,
}

struct Turns<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

impl<T> Turns<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) {
        self.lock().over = true;
        self.changed.notify_all();
    }
}

/// Ends everything when whoever holds it panics, so that nobody waits for what will not come.
struct Watch<'t, T>(&'t Turns<T>);

impl<T> Drop for Watch<'_, T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.end();
        }
    }
}

/// Works on things 0 to `count`, at most `at_once` at a time, and hands the results to `take` in order. Nobody runs further ahead
/// of `take` than there are workers, so that what waits there is bounded.
///
/// # Errors
/// What `take` says; then nothing more is begun.
pub fn in_turn<T: Send>(
    count: usize,
    at_once: usize,
    work: impl Fn(usize) -> T + Sync,
    mut take: impl FnMut(usize, T) -> Result<(), Failure>,
) -> Result<(), Failure> {
    if at_once < 2 || count < 2 {
        return (0..count).try_for_each(|at| take(at, work(at)));
    }
    let state = State { next: 0, taken: 0, done: BTreeMap::new(), over: false };
    let turns = Turns { state: Mutex::new(state), changed: Condvar::new() };
    let ahead = at_once * 2;
    let worker = || {
        let _watch = Watch(&turns);
        loop {
            let mut state = turns.lock();
            while !state.over && state.next < count && state.next >= state.taken + ahead {
                state = turns.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.over || state.next >= count {
                return;
            }
            let at = state.next;
            state.next += 1;
            drop(state);
            let result = work(at);
            turns.lock().done.insert(at, result);
            turns.changed.notify_all();
        }
    };
    std::thread::scope(|scope| {
        let _watch = Watch(&turns);
        for _ in 0..at_once.min(count) {
            scope.spawn(worker);
        }
        for at in 0..count {
            let mut state = turns.lock();
            let result = loop {
                if let Some(result) = state.done.remove(&at) {
                    break result;
                }
                // A worker that died: its panic is everybody's once the scope ends.
                if state.over {
                    return Ok(());
                }
                state = turns.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            };
            state.taken = at + 1;
            drop(state);
            turns.changed.notify_all();
            if let Err(failure) = take(at, result) {
                turns.end();
                return Err(failure);
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn results_come_in_order_and_no_more_at_once_than_allowed() {
        for (count, at_once) in [(0, 4), (1, 4), (2, 1), (50, 2), (50, 6)] {
            let (now, most, begun) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
            let mut seen = Vec::new();
            let work = |at: usize| {
                begun.fetch_add(1, Ordering::SeqCst);
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::yield_now();
                now.fetch_sub(1, Ordering::SeqCst);
                at * 10
            };
            let take = |at: usize, result: usize| {
                assert!(begun.load(Ordering::SeqCst) <= at + 1 + 3 * at_once, "too far ahead");
                assert_eq!(result, at * 10);
                seen.push(at);
                Ok(())
            };
            in_turn(count, at_once, work, take).unwrap();
            assert_eq!(seen, (0..count).collect::<Vec<_>>());
            assert!(most.load(Ordering::SeqCst) <= at_once.max(1));
        }
    }

    #[test]
    fn the_first_refusal_ends_it() {
        let begun = AtomicUsize::new(0);
        let work = |_| begun.fetch_add(1, Ordering::SeqCst);
        let refuse = |at: usize, _| if at == 3 { Err(Failure::usage("enough")) } else { Ok(()) };
        assert!(in_turn(1000, 4, work, refuse).is_err());
        assert!(begun.load(Ordering::SeqCst) < 1000);
    }

    #[test]
    #[should_panic(expected = "a scoped thread panicked")]
    fn a_worker_that_dies_leaves_nobody_waiting() {
        let work = |at: usize| assert_ne!(at, 5, "on purpose");
        let _ = in_turn(100, 3, work, |_, ()| Ok(()));
    }

    #[test]
    fn the_machine_is_shared() {
        let of = |threads: usize, count: usize| Share::whole(threads).among(count);
        assert_eq!(of(8, 1), Share { at_once: 1, threads: 8, room: AT_ONCE });
        assert_eq!(of(8, 3), Share { at_once: 3, threads: 2, room: 2 });
        assert_eq!(of(2, 100), Share { at_once: 2, threads: 1, room: 3 });
        assert_eq!(of(200, 100), Share { at_once: AT_ONCE, threads: 33, room: 1 });
        assert_eq!(of(0, 0), Share { at_once: 1, threads: 1, room: AT_ONCE });
        for (resources, volumes) in [(1, 40), (3, 40), (100, 40), (100, 1)] {
            let each = of(200, resources);
            assert!(each.at_once * each.among(volumes).at_once <= AT_ONCE, "{resources} x {volumes}");
        }
    }
}
