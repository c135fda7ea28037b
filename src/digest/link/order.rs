//! Work in parallel, results in order: neither disk, processor nor link waits for the others while there is something
//! to do for them.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Locks, also after another thread's panic: the panic itself is carried on by the thread scope.
pub(super) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct State<U, E> {
    /// Results that nobody took yet, by their number.
    ready: BTreeMap<u64, Result<U, E>>,
    /// Items begun and results taken.
    begun: u64,
    taken: u64,
    /// How many items there are, once that is known.
    count: Option<u64>,
    /// Nobody wants more.
    stop: bool,
}

struct Line<U, E> {
    state: Mutex<State<U, E>>,
    changed: Condvar,
}

/// Whatever happens to one thread, the others must not wait for it for ever.
struct Stop<'a, U, E> {
    line: &'a Line<U, E>,
    always: bool,
}

impl<U, E> Drop for Stop<'_, U, E> {
    fn drop(&mut self) {
        if self.always || std::thread::panicking() {
            lock(&self.line.state).stop = true;
            self.line.changed.notify_all();
        }
    }
}

/// What happens on the calling thread.
pub(super) enum Step<U, E> {
    /// The next result.
    Done(Result<U, E>),
    /// There was none for a while, though something is being worked on.
    Idle,
}

/// Takes items from `source` one by one (on any thread, never on two at once), does `work` on them with `threads` threads,
/// and hands the results to `sink` in the order of the items, on the calling thread. At most two items a thread are
/// between `source` and `sink`. The first error, of `source` or of `work`, is handed to `sink` in its turn and ends it.
/// Whenever something is worked on and no result comes for as long as `pulse`, `sink` is told so; it is not told while
/// only `source` is waited for: whoever is waited for need not hear that, and may not be listening.
///
/// # Errors
/// The first error that `sink` returns: nothing is done after it.
pub(super) fn in_order<T: Send, U: Send, E: Send>(
    threads: usize,
    pulse: Duration,
    source: impl FnMut() -> Result<Option<T>, E> + Send,
    work: impl Fn(T) -> Result<U, E> + Sync,
    mut sink: impl FnMut(Step<U, E>) -> Result<(), E>,
) -> Result<(), E> {
    let threads = threads.clamp(1, 256);
    let window = 2 * threads as u64;
    let line = Line {
        state: Mutex::new(State { ready: BTreeMap::new(), begun: 0, taken: 0, count: None, stop: false }),
        changed: Condvar::new(),
    };
    let source = Mutex::new(source);
    // The next item with its number, or nothing when there is none or nobody wants it.
    let next = || {
        let mut source = lock(&source);
        let mut state = lock(&line.state);
        while !state.stop && state.count.is_none() && state.begun >= state.taken + window {
            state = line.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.stop || state.count.is_some() {
            return None;
        }
        // The source may wait for the link; results go on meanwhile.
        drop(state);
        let item = (*source)();
        let mut state = lock(&line.state);
        let number = state.begun;
        let item = match item {
            Ok(Some(item)) => {
                state.begun += 1;
                Some((number, item))
            }
            Ok(None) => {
                state.count = Some(number);
                None
            }
            Err(error) => {
                state.ready.insert(number, Err(error));
                state.count = Some(number + 1);
                None
            }
        };
        line.changed.notify_all();
        item
    };
    let one = || {
        let Some((number, item)) = next() else { return false };
        let result = work(item);
        lock(&line.state).ready.insert(number, result);
        line.changed.notify_all();
        true
    };
    let run = || {
        let _stop = Stop { line: &line, always: false };
        while one() {}
    };
    std::thread::scope(|scope| {
        let start = |_: &usize| std::thread::Builder::new().spawn_scoped(scope, run).is_ok();
        // Where no thread can be had, this one does the work.
        let alone = (0..threads).take_while(start).count() == 0;
        let _stop = Stop { line: &line, always: true };
        let mut since = Instant::now();
        loop {
            if alone {
                one();
            }
            let mut state = lock(&line.state);
            let result = loop {
                let number = state.taken;
                if let Some(result) = state.ready.remove(&number) {
                    state.taken += 1;
                    break Some(result);
                }
                if state.stop || state.count == Some(number) {
                    return Ok(());
                }
                if state.begun == number {
                    state = line.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                    since = Instant::now();
                    continue;
                }
                let left = pulse.saturating_sub(since.elapsed());
                if left.is_zero() {
                    break None;
                }
                state = line.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            };
            drop(state);
            since = Instant::now();
            let Some(result) = result else {
                sink(Step::Idle)?;
                continue;
            };
            line.changed.notify_all();
            let failed = result.is_err();
            sink(Step::Done(result))?;
            if failed {
                return Ok(());
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    const LONG: Duration = Duration::from_secs(600);

    #[test]
    fn results_come_in_order_and_few_are_under_way() {
        for threads in [1, 2, 7] {
            let under_way = AtomicU64::new(0);
            let most = AtomicU64::new(0);
            let mut at = 0u64;
            let mut seen = Vec::new();
            let source = || {
                at += 1;
                let now = under_way.fetch_add(1, Ordering::SeqCst) + 1;
                most.fetch_max(now, Ordering::SeqCst);
                Ok::<_, ()>((at <= 500).then_some(at))
            };
            let work = |item: u64| {
                // Later items are done first.
                (0..(item % 5) * 2000).for_each(|at| {
                    std::hint::black_box(at);
                });
                Ok(item * 2)
            };
            in_order(threads, LONG, source, work, |step| {
                let Step::Done(result) = step else { panic!("it was not that long") };
                under_way.fetch_sub(1, Ordering::SeqCst);
                seen.push(result?);
                Ok(())
            })
            .unwrap();
            assert_eq!(seen, (1..=500).map(|item| item * 2).collect::<Vec<_>>());
            assert!(most.load(Ordering::SeqCst) <= 2 * threads as u64 + 2);
        }
    }

    #[test]
    fn errors_come_in_their_turn_and_end_it() {
        for threads in [1, 3] {
            let mut at = 0u64;
            let mut seen = Vec::new();
            let source = || {
                at += 1;
                if at > 50 { Err("source") } else { Ok(Some(at)) }
            };
            let work = |item: u64| if item == 20 { Err("work") } else { Ok(item) };
            let end = in_order(threads, LONG, source, work, |step| {
                let Step::Done(result) = step else { panic!("it was not that long") };
                seen.push(result);
                result.map(drop)
            });
            assert_eq!(end, Err("work"));
            assert_eq!(seen.len(), 20);

            let mut at = 0u64;
            let source = || {
                at += 1;
                if at > 3 { Err("source") } else { Ok(Some(at)) }
            };
            let sink = |step| if let Step::Done(result) = step { Result::map(result, drop) } else { Ok(()) };
            assert_eq!(in_order(threads, LONG, source, Ok, sink), Err("source"));
            let end = in_order(threads, LONG, || Ok(Some(1)), Ok, |_: Step<i32, _>| Err("sink"));
            assert_eq!(end, Err("sink"));
        }
    }

    #[test]
    fn a_long_wait_is_told() {
        let idle = AtomicU64::new(0);
        let mut left = 1;
        let source = || {
            left -= 1;
            Ok::<_, ()>((left >= 0).then_some(()))
        };
        // The work ends only after the wait was told twice.
        let work = |()| {
            while idle.load(Ordering::SeqCst) < 2 {
                std::thread::yield_now();
            }
            Ok(())
        };
        let mut done = 0;
        in_order(1, Duration::from_millis(1), source, work, |step| {
            match step {
                Step::Idle => idle.fetch_add(1, Ordering::SeqCst),
                Step::Done(_) => {
                    done += 1;
                    0
                }
            };
            Ok(())
        })
        .unwrap();
        assert_eq!(done, 1);
    }

    #[test]
    fn who_waits_for_the_source_alone_says_nothing() {
        for threads in [1, 3] {
            let mut left = 3;
            let source = || {
                // Many times the pulse.
                std::thread::sleep(Duration::from_millis(20));
                left -= 1;
                Ok::<_, ()>((left >= 0).then_some(()))
            };
            let (mut done, mut idle) = (0, 0);
            in_order(threads, Duration::from_nanos(1), source, Ok, |step| {
                match step {
                    Step::Idle => idle += 1,
                    Step::Done(_) => {
                        done += 1;
                        // What was told of the item itself, between its beginning and its end, is forgotten.
                        idle = 0;
                    }
                }
                Ok(())
            })
            .unwrap();
            assert_eq!((done, idle), (3, 0));
        }
    }

    #[test]
    fn a_panic_is_carried_on() {
        let caught = std::panic::catch_unwind(|| {
            in_order(
                2,
                LONG,
                || Ok::<_, ()>(Some(1)),
                |_: i32| -> Result<i32, ()> { panic!("on purpose") },
                |_| Ok(()),
            )
        });
        assert!(caught.is_err());
    }
}
