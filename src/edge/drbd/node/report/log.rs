//! What the kernel logged about DRBD, from `/dev/kmsg`: what its ring still holds.

use crate::format::kmsg::{self, Latest};
use crate::model::node::LogLine;
use crate::model::seen::Why;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, read as read_fd};
use std::time::{Duration, Instant};

/// How many of DRBD's lines are kept, of all resources together.
const LINES: usize = 4000;
/// How long is read. Rings are read in milliseconds, in seconds on a machine that has no time; a log of which the end was not
/// reached is none, because its last lines are what counts.
const LIMIT: Duration = Duration::from_secs(20);
/// Longest record, by the kernel's own buffer with room to spare.
const RECORD: usize = 16 << 10;

/// DRBD's lines, oldest first.
pub(super) fn read() -> Result<Vec<LogLine>, Why> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let cannot = |errno: Errno| {
        let hint = if errno == Errno::PERM || errno == Errno::ACCESS { " (root may)" } else { "" };
        Why(format!("/dev/kmsg: {}{hint}", std::io::Error::from(errno)))
    };
    let log = open("/dev/kmsg", flags, Mode::empty()).map_err(cannot)?;
    let until = Instant::now() + LIMIT;
    let mut lines = Latest::new(LINES);
    let mut record = vec![0; RECORD];
    loop {
        if Instant::now() >= until {
            return Err(Why(format!("/dev/kmsg: its end was not reached within {} s", LIMIT.as_secs())));
        }
        match read_fd(&log, record.as_mut_slice()) {
            Ok(0) | Err(Errno::AGAIN) => break,
            Ok(len) => {
                if let Some(line) = record.get(..len).and_then(kmsg::record).filter(kmsg::is_drbd) {
                    lines.take(line);
                }
            }
            // Overwritten while it was read: the next read goes on with the oldest that is left.
            Err(Errno::PIPE | Errno::INTR) => {}
            Err(errno) => return Err(cannot(errno)),
        }
    }
    Ok(lines.into_lines())
}
