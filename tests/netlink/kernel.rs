//! This machine's kernel: its controller, and that there is no DRBD.

use drbd_sys::netlink::generic as sys;
use std::path::Path;
use std::time::{Duration, Instant};
use unsplit::edge::drbd::netlink::NetlinkError;
use unsplit::edge::drbd::netlink::reader::{Limits, Reader};
use unsplit::edge::drbd::netlink::socket::{Kernel, Open, Wire, WireFault};
use unsplit::edge::drbd::netlink::watch::{Heard, Watch};

fn drbd_is_loaded() -> bool {
    Path::new("/sys/module/drbd").exists()
}

#[test]
fn the_controller_describes_itself() {
    let family = Reader::of_this_machine(Limits::default()).family_named(sys::CTRL_NAME).unwrap();
    assert_eq!((family.id, family.version), (sys::GENL_ID_CTRL, u32::from(sys::CTRL_VERSION)));
    assert_eq!(family.group(sys::CTRL_GROUP_NOTIFY), Some(sys::CTRL_GROUP_NOTIFY_ID));
    let get_family = u32::from(sys::CTRL_CMD_GETFAMILY);
    assert!(
        family
            .commands
            .iter()
            .any(|(command, flags)| *command == get_family && flags & sys::GENL_CMD_CAP_DO != 0)
    );
    assert!(family.dumps(sys::CTRL_CMD_GETFAMILY));
}

#[test]
fn a_family_that_is_not_there_is_a_word_of_its_own() {
    let mut reader = Reader::of_this_machine(Limits::default());
    assert!(matches!(reader.family_named("no_such_thing"), Err(NetlinkError::NotLoaded)));
    // The socket is as good as new.
    assert_eq!(reader.family_named(sys::CTRL_NAME).unwrap().id, sys::GENL_ID_CTRL);
}

#[test]
fn without_the_module_nothing_is_read() {
    if drbd_is_loaded() {
        crate::skipped::not_here("this machine has DRBD");
        return;
    }
    let error = Reader::of_this_machine(Limits::default()).snapshot().unwrap_err();
    assert!(matches!(error, NetlinkError::NotLoaded));
    assert!(error.to_string().contains("the DRBD module is not loaded"));
}

#[test]
fn a_watch_without_the_module_waits_for_it() {
    if drbd_is_loaded() {
        crate::skipped::not_here("this machine has DRBD");
        return;
    }
    let mut watch = Watch::of_this_machine(Limits::default());
    let soon = || Instant::now() + Duration::from_millis(30);
    assert_eq!(watch.next(soon()).unwrap(), Some(Heard::NotLoaded));
    assert_eq!(watch.next(soon()).unwrap(), None);
}

/// Waiting ends when it shall, and neither before.
#[test]
fn silence_ends_in_time() {
    let mut wire = Kernel.open().unwrap();
    let begin = Instant::now();
    assert!(matches!(wire.receive(begin + Duration::from_millis(50)), Err(WireFault::TimedOut)));
    assert!(begin.elapsed() >= Duration::from_millis(50));
    assert!(matches!(wire.receive(begin), Err(WireFault::TimedOut)), "a time that is past");
}

/// A real dump of several parts, by the real rules: the controller's list of all families.
#[test]
fn a_real_dump_has_parts_and_an_end() {
    use unsplit::format::drbdnl::family::{Announcement, announcement};
    use unsplit::format::drbdnl::frame::{Control, frames};
    let mut wire = Kernel.open().unwrap();
    let mut request = unsplit::format::drbdnl::request::family(sys::CTRL_NAME, 7);
    request.truncate(sys::NLMSG_HEADER_BYTES + sys::GENL_HEADER_BYTES);
    let length = u32::try_from(request.len()).unwrap();
    request[..4].copy_from_slice(&length.to_ne_bytes());
    request[6..8].copy_from_slice(&(sys::NLM_F_REQUEST | sys::NLM_F_DUMP).to_ne_bytes());
    wire.send(&request).unwrap();
    let until = Instant::now() + Duration::from_secs(10);
    let mut names = Vec::new();
    'all: loop {
        for frame in frames(&wire.receive(until).unwrap()) {
            let frame = frame.unwrap();
            assert_eq!(frame.sequence, 7);
            match frame.control() {
                Control::Payload => match announcement(frame.body).unwrap() {
                    Announcement::Here(family) => names.push(family.name),
                    other => panic!("{other:?}"),
                },
                Control::Done(0) => break 'all,
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(names.iter().any(|name| name == sys::CTRL_NAME), "{names:?}");
}
