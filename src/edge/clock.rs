//! The system's wall clock.

use crate::model::seen::Stamp;
use crate::ports::clock::Clock;
use std::time::{SystemTime, UNIX_EPOCH};

/// The wall clock of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Stamp {
        let millis = |span: std::time::Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        Stamp(match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => millis(since),
            // A clock set before 1970 is wrong, but no reason to fail: stamps are for people.
            Err(before) => -millis(before.duration()),
        })
    }
}

/// A stamp in the local zone, for people.
#[must_use]
pub fn local(stamp: Stamp) -> String {
    match jiff::Timestamp::from_millisecond(stamp.0) {
        Ok(moment) => {
            moment.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
        }
        Err(_) => format!("{} ms", stamp.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn now_follows_the_wall_clock() {
        let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let now = SystemClock.now().0;
        let after = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        assert!((before..=after).contains(&u128::try_from(now).unwrap()));
    }
}
