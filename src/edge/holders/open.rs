//! Processes that have devices, or files on mounted file systems, open.

use super::mounts::{Mount, processes};
use super::owner::Process;
use super::reach::way;
use super::remote::Remote;
use super::roots::{Number, Roots, text};
use super::sought::Sought;
use crate::edge::passing::is_forked_child;
use crate::model::node::DeviceUser;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What the processes told.
#[derive(Debug, Default)]
pub(super) struct Open {
    pub(super) users: Vec<DeviceUser>,
    /// Processes that we may not look into.
    pub(super) hidden: usize,
    /// Processes that were not looked into because the time was over.
    pub(super) unasked: usize,
}

/// Everybody but us.
pub(super) fn open(roots: &Roots, devices: &BTreeSet<Number>, mounts: &[Mount], until: Instant) -> Open {
    let ids: BTreeSet<u64> = mounts.iter().map(|mount| mount.id).collect();
    let our_namespace = std::fs::read_link(roots.proc.join("self/ns/mnt")).ok();
    let mut found = Open::default();
    let mut remote = Remote::default();
    let sought = Sought::Devices(devices.clone());
    for pid in processes(roots).into_iter().filter(|pid| *pid != roots.own) {
        if Instant::now() > until {
            found.unasked += 1;
            continue;
        }
        let folder = roots.proc.join(pid.to_string());
        let open = match std::fs::read_dir(folder.join("fd")) {
            Ok(entries) => entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()),
            Err(error) => {
                // Gone meanwhile: it uses nothing any more.
                found.hidden += usize::from(error.kind() == io::ErrorKind::PermissionDenied);
                continue;
            }
        };
        let device = way(roots, pid, &sought, false, &mut remote);
        let mut on: Option<&Mount> = None;
        for fd in open {
            if on.is_none() && !ids.is_empty() {
                on = mount_of(&folder, &fd).and_then(|id| mounts.iter().find(|mount| mount.id == id));
            }
        }
        if on.is_none()
            && !mounts.is_empty()
            && our_namespace == std::fs::read_link(folder.join("ns/mnt")).ok()
        {
            on = mounts.iter().find(|mount| mount.process.is_none() && stays_in(&folder, &mount.place));
        }
        // A child of ours that has not run its program yet has all that we have, and uses nothing.
        if device.is_none() && on.is_some() && is_forked_child(&roots.proc, &pid.to_string()) {
            continue;
        }
        let what = match (device, on) {
            (None, None) => continue,
            (Some(way), _) => way.words().to_owned(),
            (None, Some(mount)) => format!(", with files under {}", mount.place),
        };
        let mut user = process(roots, pid).as_user();
        user.who.push_str(&what);
        found.users.push(user);
    }
    found
}

/// The mount through which a file was opened.
fn mount_of(folder: &Path, fd: &str) -> Option<u64> {
    let info = text(&folder.join("fdinfo").join(fd))?;
    info.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim().parse().ok()
}

/// Whether the process stands in a folder of the file system, or takes it for its root.
fn stays_in(folder: &Path, place: &str) -> bool {
    let inside = |path: PathBuf| path != Path::new("/") && path.starts_with(place);
    ["cwd", "root"].iter().any(|link| std::fs::read_link(folder.join(link)).is_ok_and(inside))
}

/// What `/proc` says of a process; what cannot be read is empty.
pub(super) fn process(roots: &Roots, pid: u32) -> Process {
    let folder = roots.proc.join(pid.to_string());
    let read = |name: &str| text(&folder.join(name)).unwrap_or_default();
    Process {
        pid,
        name: read("comm").trim_end().to_owned(),
        words: read("cmdline").split_terminator('\0').map(ToOwned::to_owned).collect(),
        cgroups: read("cgroup"),
    }
}
