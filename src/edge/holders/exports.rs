//! What the kernel itself serves to others from a device: no process has it open then.

use super::mounts::Mount;
use super::roots::{Number, Roots, names, text};
use crate::model::node::DeviceUser;
use std::collections::BTreeSet;
use std::path::Path;

/// Everything served from these devices or from file systems on them.
pub(super) fn exports(roots: &Roots, devices: &BTreeSet<Number>, mounts: &[Mount]) -> Vec<DeviceUser> {
    let is_on = |path: &Path| {
        (roots.number_at)(path).is_some_and(|number| devices.contains(&number)) || is_under(path, mounts)
    };
    let mut users = served(roots, &is_on);
    users.extend(nfs(roots, mounts));
    users
}

/// What is served as a disk from paths that `is_on` finds.
pub(super) fn served(roots: &Roots, is_on: &dyn Fn(&Path) -> bool) -> Vec<DeviceUser> {
    let mut users = targets(roots, is_on);
    users.extend(nvme(roots, is_on));
    users
}

/// Whether a path of our namespace lies on one of the file systems.
pub(super) fn is_under(path: &Path, mounts: &[Mount]) -> bool {
    mounts.iter().any(|mount| mount.process.is_none() && path.starts_with(&mount.place))
}

/// LIO: iSCSI, Fibre Channel, vhost. A backstore names its device in `udev_path`; one over a file may do so only in `info`, as
/// `File: PATH  Size: `.
fn targets(roots: &Roots, is_on: &dyn Fn(&Path) -> bool) -> Vec<DeviceUser> {
    let target = roots.sys.join("kernel/config/target");
    let mut users = Vec::new();
    for adapter in names(&target.join("core")) {
        for name in names(&target.join("core").join(&adapter)) {
            let backstore = target.join("core").join(&adapter).join(&name);
            let info = text(&backstore.join("info")).unwrap_or_default();
            let file = info.split_once(" File: ").and_then(|(_, rest)| Some(rest.split_once("  Size: ")?.0));
            let path = text(&backstore.join("udev_path")).unwrap_or_default();
            let paths = [Some(path.trim()), file];
            if !paths.into_iter().flatten().any(|path| path.starts_with('/') && is_on(Path::new(path))) {
                continue;
            }
            let exported = exported(&target, &adapter, &name);
            let exported = exported.map_or_else(String::new, |wwn| format!(", exported as {wwn}"));
            let kind = if adapter.starts_with("fileio") { "fileio" } else { "block" };
            users.push(DeviceUser {
                who: format!("the iSCSI/LIO backstore {name}{exported}"),
                ends_with: Some(format!("targetcli /backstores/{kind} delete {name}")),
            });
        }
    }
    users
}

/// The first target with a LUN that leads to this backstore.
fn exported(target: &Path, adapter: &str, name: &str) -> Option<String> {
    let backstore = Path::new("core").join(adapter).join(name);
    for fabric in names(target).into_iter().filter(|fabric| fabric != "core") {
        for wwn in names(&target.join(&fabric)) {
            for group in names(&target.join(&fabric).join(&wwn)) {
                let luns = target.join(&fabric).join(&wwn).join(&group).join("lun");
                for lun in names(&luns) {
                    let leads = |entry: &String| {
                        std::fs::read_link(luns.join(&lun).join(entry))
                            .is_ok_and(|to| to.ends_with(&backstore))
                    };
                    if names(&luns.join(&lun)).iter().any(leads) {
                        return Some(wwn);
                    }
                }
            }
        }
    }
    None
}

/// The kernel's NVMe target.
fn nvme(roots: &Roots, is_on: &dyn Fn(&Path) -> bool) -> Vec<DeviceUser> {
    let subsystems = roots.sys.join("kernel/config/nvmet/subsystems");
    let mut users = Vec::new();
    for subsystem in names(&subsystems) {
        let namespaces = subsystems.join(&subsystem).join("namespaces");
        for namespace in names(&namespaces) {
            let folder = namespaces.join(&namespace);
            let enabled = text(&folder.join("enable")).is_some_and(|text| text.trim() == "1");
            let path = text(&folder.join("device_path")).unwrap_or_default();
            if enabled && is_on(Path::new(path.trim())) {
                users.push(DeviceUser {
                    who: format!("namespace {namespace} of the NVMe target {subsystem}"),
                    ends_with: Some(format!("echo 0 > {}", folder.join("enable").display())),
                });
            }
        }
    }
    users
}

/// The kernel's NFS server.
fn nfs(roots: &Roots, mounts: &[Mount]) -> Vec<DeviceUser> {
    let list = ["fs/nfsd/exports", "fs/nfs/exports"].iter().find_map(|name| text(&roots.proc.join(name)));
    let list = list.unwrap_or_default();
    let paths: BTreeSet<&str> = list
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['\t', ' ']).next())
        .filter(|path| is_under(Path::new(path), mounts))
        .collect();
    let user = |path| DeviceUser {
        who: format!("the NFS export {path}"),
        ends_with: Some("systemctl stop nfs-server".to_owned()),
    };
    paths.into_iter().map(user).collect()
}

/// ZFS pools on these devices, by what `zpool status -LP` prints: ZFS shows them in neither tree.
pub(super) fn pools(roots: &Roots, devices: &BTreeSet<Number>, status: &str) -> Vec<DeviceUser> {
    let (mut pool, mut found) = ("", BTreeSet::new());
    for line in status.lines() {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("pool:"), Some(name)) => pool = name,
            (Some(path), _)
                if path.starts_with('/')
                    && (roots.number_at)(Path::new(path)).is_some_and(|number| devices.contains(&number)) =>
            {
                found.insert(pool);
            }
            _ => {}
        }
    }
    let user = |pool| DeviceUser {
        who: format!("the ZFS pool {pool}"),
        ends_with: Some(format!("zpool export {pool}")),
    };
    found.into_iter().map(user).collect()
}
