//! Words for whoever reads the system's log: to syslog, or to the kernel's log where there is none. Never waits.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;

/// How urgent it is, by syslog's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// Somebody has to act.
    Alert = 1,
    /// Something went wrong.
    Error = 3,
    /// Worth knowing.
    Warning = 4,
    /// For the record.
    Info = 6,
}

/// Facility `daemon`.
const DAEMON: u8 = 3 << 3;
/// The kernel takes no longer lines.
const LONGEST: usize = 900;

/// Says it to standard error, if that takes it at once.
pub fn tell(text: &str) {
    let stderr = std::io::stderr();
    let ready = poll(&mut [PollFd::new(&stderr.as_fd(), PollFlags::OUT)], Some(&Timespec::default()));
    if ready.is_ok_and(|ready| ready > 0) {
        // Who has closed it does not want to know.
        let _ = writeln!(std::io::stderr(), "unsplit: {}", one_line(text));
    }
}

fn one_line(text: &str) -> String {
    let mut line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let end = (0..=line.len().min(LONGEST)).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
    line.truncate(end);
    line
}

/// Says it to the system's log.
pub fn say(urgency: Urgency, text: &str) {
    let line = one_line(text);
    let priority = DAEMON | urgency as u8;
    let said = UnixDatagram::unbound().is_ok_and(|socket| {
        let message = format!("<{priority}>unsplit[{}]: {line}", std::process::id());
        socket.set_nonblocking(true).is_ok()
            && socket.connect("/dev/log").is_ok()
            && socket.send(message.as_bytes()).is_ok()
    });
    if !said {
        let nonblock = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let kmsg = OpenOptions::new().write(true).custom_flags(nonblock).open("/dev/kmsg");
        // There is nobody left to tell.
        let _ = kmsg.and_then(|mut kmsg| kmsg.write_all(format!("<{priority}>unsplit: {line}\n").as_bytes()));
    }
}
