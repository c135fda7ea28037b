//! The last act of a node that must stop: without a clean shutdown, which could write more, or hang.

use super::Then;
use crate::edge::voice::{Urgency, say};
use rustix::system::{RebootCommand, reboot};

/// Does it. Returns only if the system refuses.
pub(super) fn act(then: Then) {
    let (key, command, word) = match then {
        Then::Nothing => return,
        Then::Reboot => ("b", RebootCommand::Restart, "restart"),
        Then::Halt => ("o", RebootCommand::PowerOff, "power off"),
    };
    // The kernel's own way needs nothing of user space, and waits for no device.
    if std::fs::write("/proc/sysrq-trigger", key).is_ok() {
        std::thread::sleep(std::time::Duration::from_secs(2));
    }
    if let Err(error) = reboot(command) {
        say(Urgency::Alert, &format!("this node was to {word} and cannot ({error}): stop it by hand, now"));
    }
}
