//! Which mounts are on another machine or in another program: asking what a file on them is may hang for ever.

use super::mounts::unescaped;
use super::roots::{Number, Roots, text};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What is known of mounts so far. No two mounts of a machine share a number, whatever their namespaces.
#[derive(Debug, Default)]
pub(super) struct Remote {
    /// By number.
    mounts: BTreeMap<u64, bool>,
    /// Numbers of the file systems that may hang.
    devices: BTreeSet<Number>,
    /// Processes whose list was read.
    read: BTreeSet<u32>,
}

impl Remote {
    /// Whether a mount of this process may hang. What is in no list may, too.
    pub(super) fn mount(&mut self, roots: &Roots, pid: u32, id: u64) -> bool {
        if !self.mounts.contains_key(&id) {
            self.read(roots, pid);
        }
        self.mounts.get(&id).copied().unwrap_or(true)
    }

    /// Whether the file system with this number, of which this process has something mapped, may hang.
    pub(super) fn device(&mut self, roots: &Roots, pid: u32, number: Number) -> bool {
        // Only file systems without a device of their own are on other machines or in programs.
        if number.major != 0 {
            return false;
        }
        self.read(roots, pid);
        self.devices.contains(&number)
    }

    /// Whether a path of our own namespace is on a mount that may hang.
    pub(super) fn path(roots: &Roots, path: &Path) -> bool {
        let list = text(&roots.proc.join("self/mountinfo")).unwrap_or_default();
        let places = list.lines().filter_map(|line| {
            let place = unescaped(line.split(' ').nth(4)?);
            path.starts_with(&place).then_some((place.len(), fields(line)?.2))
        });
        // Of two mounts at one place the later one is seen.
        places.max_by_key(|(long, _)| *long).is_some_and(|(_, hangs)| hangs)
    }

    fn read(&mut self, roots: &Roots, pid: u32) {
        if !self.read.insert(pid) {
            return;
        }
        let list = text(&roots.proc.join(pid.to_string()).join("mountinfo")).unwrap_or_default();
        for line in list.lines() {
            let Some((id, number, hangs)) = fields(line) else { continue };
            self.mounts.insert(id, hangs);
            if hangs {
                self.devices.insert(number);
            }
        }
    }
}

/// proc(5): mount id, parent, device, root, mount point, options, optional fields, `-`, type, source.
fn fields(line: &str) -> Option<(u64, Number, bool)> {
    const FAR: [&str; 13] = [
        "nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "afs", "lustre", "gfs2", "ocfs2", "coda",
        "autofs",
    ];
    let (head, tail) = line.split_once(" - ")?;
    let mut words = head.split(' ');
    let id = words.next()?.parse().ok()?;
    let number = words.nth(1)?.parse().ok()?;
    let kind = tail.split(' ').next()?;
    Some((id, number, FAR.contains(&kind) || kind.starts_with("fuse")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_mountinfo() {
        let line = |kind: &str| format!("36 35 0:47 / /srv rw,noatime master:1 - {kind} host:/x rw");
        let number = Number { major: 0, minor: 47 };
        for (kind, hangs) in [("nfs4", true), ("fuse.sshfs", true), ("ext4", false), ("devtmpfs", false)] {
            assert_eq!(fields(&line(kind)), Some((36, number, hangs)), "{kind}");
        }
        for bad in ["", " - ", "x 1 0:1 / / rw - ext4", "1 2 3 / / - x"] {
            assert_eq!(fields(bad), None, "{bad}");
        }
    }
}
