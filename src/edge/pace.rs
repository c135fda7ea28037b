//! Reading gently: no faster than asked for, and behind everybody else.

use super::kernel;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What may be read at once after a pause: this long at the full rate.
const BURST: Duration = Duration::from_millis(50);

/// A bound on the bytes read per second, shared by all who read one disk.
///
/// Over any time the bytes stay below the rate times that time, plus 50 ms' worth and one request.
#[derive(Debug)]
pub struct Pace {
    /// Bytes per second.
    rate: u64,
    /// When all that was let through would have been read at exactly the rate.
    paid_until: Mutex<Instant>,
}

impl Pace {
    /// At most `rate` bytes per second; at least 1.
    #[must_use]
    pub fn new(rate: u64) -> Pace {
        Pace { rate: rate.max(1), paid_until: Mutex::new(Instant::now()) }
    }

    /// Waits until `bytes` more may be read.
    pub fn wait(&self, bytes: u64) {
        let wait = self.reserve(bytes, Instant::now());
        if !wait.is_zero() {
            std::thread::sleep(wait);
        }
    }

    /// Books `bytes` at the time `now`; says how long to wait before reading them. Who asks first reads
    /// first, and nobody waits for more than what was booked before.
    fn reserve(&self, bytes: u64, now: Instant) -> Duration {
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.rate);
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let mut paid_until = self.paid_until.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = now.checked_sub(BURST).map_or(*paid_until, |earliest| earliest.max(*paid_until));
        *paid_until = begin.checked_add(cost).unwrap_or(begin);
        begin.saturating_duration_since(now)
    }
}

/// Makes this process step back: the lowest priority for the processor (nice 19), and the idle class for
/// reads and writes, which the schedulers BFQ and mq-deadline heed. To be called before other threads are
/// started: they inherit it, those that run already do not.
///
/// # Errors
/// What the system said.
pub fn step_back() -> io::Result<()> {
    rustix::process::setpriority_process(None, 19)?;
    kernel::idle_io()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_rate_passes() {
        let pace = Pace::new(1000);
        let start = Instant::now() + Duration::from_secs(10);
        // After any pause, 50 ms' worth is free.
        assert_eq!(pace.reserve(50, start), Duration::ZERO);
        assert_eq!(pace.reserve(100, start), Duration::ZERO, "the first request beyond goes, the next waits");
        assert_eq!(pace.reserve(1000, start), Duration::from_millis(100));
        assert_eq!(pace.reserve(1, start), Duration::from_millis(1100));
        // Time pays it back, but no more than the burst is saved up.
        let later = start + Duration::from_secs(100);
        assert_eq!(pace.reserve(150, later), Duration::ZERO);
        assert_eq!(pace.reserve(1, later), Duration::from_millis(100));
    }

    #[test]
    fn the_wait_is_real_and_shared() {
        let pace = Pace::new(1 << 20);
        let begin = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..8).for_each(|_| pace.wait(8 << 10)));
            }
        });
        // 256 KiB at 1 MiB/s, less the burst and the last request of all: at least 150 ms.
        assert!(begin.elapsed() >= Duration::from_millis(150), "{:?}", begin.elapsed());
    }

    #[test]
    fn extremes_do_not_overflow() {
        let pace = Pace::new(0);
        let now = Instant::now();
        for _ in 0..3 {
            pace.reserve(u64::MAX, now);
        }
        let fast = Pace::new(u64::MAX);
        assert_eq!(fast.reserve(1 << 40, Instant::now()), Duration::ZERO);
    }
}
