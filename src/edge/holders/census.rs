//! Everybody who uses a block device, and what ends each use. From above to below: what is named first has to end first.

use super::exports::{exports, is_under, pools};
use super::mounts::{Mount, mounts, swaps};
use super::open::{open, process};
use super::roots::{Number, Roots};
use super::stack::{Layer, Upper, loop_files, stack};
use crate::edge::process::run;
use crate::model::node::DeviceUser;
use crate::model::shell::shell_word;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long `zpool` may take.
const ZPOOL: Duration = Duration::from_secs(5);
/// No machine's pools fill more.
const MOST: usize = 4 << 20;

/// Everybody, as far as this user may know; who may not know says so as a user of its own. Processes are not asked for
/// longer than `limit`. `uppers`: the DRBD resources of this node and what they stand on.
pub(in crate::edge) fn users(
    roots: &Roots,
    device: Number,
    uppers: &[Upper],
    limit: Duration,
) -> Vec<DeviceUser> {
    let until = Instant::now() + limit;
    let layers = stack(roots, device, uppers);
    let devices: BTreeSet<Number> = layers.iter().map(|layer| layer.number).collect();
    let mounts = mounts(roots, &devices);
    let open = open(roots, &devices, &mounts, until);
    let mut all = open.users;
    all.extend(exports(roots, &devices, &mounts));
    all.extend(files_as_disks(roots, &mounts));
    all.extend(used_by_kernel(roots, &layers, &devices, &mounts));
    for (count, why) in [
        (open.hidden, "may not be looked into; ask as root"),
        (open.unasked, "were not asked: the time was over"),
    ] {
        if count > 0 {
            all.push(DeviceUser { who: format!("perhaps others: {count} processes {why}"), ends_with: None });
        }
    }
    all
}

/// What the kernel itself uses a device for: file systems, swap, what is stacked on it.
pub(super) fn kernel(roots: &Roots, device: Number) -> Vec<DeviceUser> {
    let layers = stack(roots, device, &[]);
    let devices: BTreeSet<Number> = layers.iter().map(|layer| layer.number).collect();
    used_by_kernel(roots, &layers, &devices, &mounts(roots, &devices))
}

fn used_by_kernel(
    roots: &Roots,
    layers: &[Layer],
    devices: &BTreeSet<Number>,
    mounts: &[Mount],
) -> Vec<DeviceUser> {
    let mut all: Vec<DeviceUser> = mounts.iter().rev().map(|mount| mounted(roots, mount)).collect();
    all.extend(
        swaps(roots, devices)
            .into_iter()
            .map(|path| DeviceUser { who: "swap".to_owned(), ends_with: Some(format!("swapoff {path}")) }),
    );
    if roots.proc.join("spl/kstat/zfs").exists() {
        let words = ["zpool", "status", "-LP"].map(ToOwned::to_owned);
        if let Ok(ran) = run(&words, ZPOOL, MOST) {
            all.extend(pools(roots, devices, &String::from_utf8_lossy(&ran.output)));
        }
    }
    all.extend(layers.iter().rev().filter_map(Layer::as_user));
    all
}

fn mounted(roots: &Roots, mount: &Mount) -> DeviceUser {
    let place = &mount.place;
    let Some(pid) = mount.process else {
        return DeviceUser {
            who: format!("the file system mounted at {place}"),
            ends_with: Some(format!("umount {}", shell_word(place))),
        };
    };
    let process = process(roots, pid);
    let in_container = process.container();
    let whose = in_container.as_ref().map_or_else(
        || format!("of process {pid} ({})", process.name),
        |(container, _)| format!("of {container} (process {pid})"),
    );
    let ends_with = in_container.map(|(_, command)| command).filter(|command| !command.is_empty());
    DeviceUser {
        who: format!("the file system mounted at {place} in the mount namespace {whose}"),
        ends_with: Some(
            ends_with.unwrap_or_else(|| format!("nsenter -t {pid} -m umount {}", shell_word(place))),
        ),
    }
}

/// Loop devices over files on these file systems.
fn files_as_disks(roots: &Roots, mounts: &[Mount]) -> Vec<DeviceUser> {
    let on = loop_files(roots).into_iter().filter(|(_, _, backing)| is_under(Path::new(backing), mounts));
    on.map(|(name, _, backing)| DeviceUser {
        who: format!("the loop device /dev/{name} over {backing}"),
        ends_with: Some(format!("losetup -d /dev/{name}")),
    })
    .collect()
}
