//! Who has a device open.

use crate::edge::drbd::netlink::reader::{Limits, Reader};
use crate::edge::holders::{self, Number, Roots, Upper};
use crate::model::drbd_live::tree::{Device, Live};
use crate::model::node::DeviceUser;
use crate::ports::replica::Unseen;
use drbd_sys::netlink::MAJOR;
use std::time::Duration;

/// How long processes are asked what they have open. A machine with ten thousand of them takes about a second.
const LIMIT: Duration = Duration::from_secs(10);
/// How long DRBD is asked. It answers at once or not at all.
const DRBD: Duration = Duration::from_secs(3);
/// Udev's probes hold a device for milliseconds; only who stays is named.
const LOOKS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(50);

/// Everybody who uses `/dev/drbdN`.
///
/// # Errors
/// [`Unseen`] when there is no such device.
pub(super) fn users(minor: u32) -> Result<Vec<DeviceUser>, Unseen> {
    let roots = Roots::of_this_machine();
    let device = Number { major: MAJOR, minor };
    if !roots.sys.join("dev/block").join(device.to_string()).exists() {
        return Err(Unseen(format!("there is no /dev/drbd{minor} on this node").into()));
    }
    // Without an answer only DRBD on DRBD and the cross-check below are missed.
    let live = Reader::of_this_machine(Limits { answer: DRBD, ..Limits::default() }).snapshot().ok();
    let uppers = live.as_ref().map(uppers).unwrap_or_default();
    let mut found = holders::users(&roots, device, &uppers, LIMIT);
    for _ in 1..LOOKS {
        if found.is_empty() {
            break;
        }
        std::thread::sleep(PAUSE);
        let again = holders::users(&roots, device, &uppers, LIMIT);
        let stayed = again.len() >= found.len();
        found = again;
        if stayed {
            break;
        }
    }
    if found.is_empty() && live.as_ref().is_some_and(|live| is_open(live, minor)) {
        found.push(DeviceUser {
            who: "somebody: DRBD says that the device is open, the system does not tell by whom".to_owned(),
            ends_with: None,
        });
    }
    Ok(found)
}

fn devices(live: &Live) -> impl Iterator<Item = (&str, &Device)> {
    live.resources
        .iter()
        .flat_map(|resource| resource.devices.iter().map(|device| (resource.name.as_str(), device)))
}

/// This node's DRBD devices and what they stand on.
fn uppers(live: &Live) -> Vec<Upper> {
    devices(live)
        .filter_map(|(resource, device)| {
            let options = device.disk_options.as_ref().and_then(|options| options.backing_device.clone());
            let disk = options.or_else(|| device.info.backing_device.clone())?;
            Some(Upper { minor: device.minor?, resource: resource.to_owned(), disk })
        })
        .collect()
}

/// 9 counts who has a device open; 8.4 does not say.
fn is_open(live: &Live, minor: u32) -> bool {
    devices(live).any(|(_, device)| device.minor == Some(minor) && device.info.open == Some(true))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::print_stderr)]

    use super::*;

    #[test]
    fn a_device_that_is_not_there_is_unseen_not_unused() {
        let why = users(1_048_575).unwrap_err();
        assert!(why.0.to_string().contains("/dev/drbd1048575"), "{}", why.0);
    }

    /// On a node with DRBD: who mounts a device is found among its users.
    #[test]
    fn real_devices() {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let blocks = std::fs::read_dir("/sys/block").unwrap();
        let names = blocks.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let minors: Vec<u32> = names.filter_map(|name| name.strip_prefix("drbd")?.parse().ok()).collect();
        if minors.is_empty() {
            crate::skipped::not_here("there is no DRBD device here");
        }
        for minor in minors {
            let found = users(minor).unwrap();
            eprintln!("/dev/drbd{minor}: {found:#?}");
            let mounted =
                mounts.lines().any(|line| line.split(' ').nth(2) == Some(&format!("{MAJOR}:{minor}")));
            let named = found.iter().any(|user| user.who.starts_with("the file system mounted at"));
            assert!(!mounted || named, "/dev/drbd{minor} is mounted");
        }
    }
}
