//! How a process reaches a file or device: by a descriptor, by its memory, by an io_uring.

use super::maps::has_mapped;
use super::remote::Remote;
use super::rings::has_registered;
use super::roots::{Roots, names, text};
use super::sought::Sought;
use crate::edge::passing::is_forked_child;
use std::path::Path;

/// The way that was found; the first of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Descriptor,
    Memory,
    Ring,
}

impl Way {
    /// To be appended to a process's name.
    pub(super) fn words(self) -> &'static str {
        match self {
            Way::Descriptor => "",
            Way::Memory => ", which has it mapped into its memory",
            Way::Ring => ", through an io_uring",
        }
    }
}

/// How a process reaches what is sought, if it does. With `writing` only so that it can write to it. Nothing of a child of
/// ours that has not run its program yet: it has all that we have, and uses nothing.
pub(super) fn way(
    roots: &Roots,
    pid: u32,
    sought: &Sought,
    writing: bool,
    remote: &mut Remote,
) -> Option<Way> {
    let own_id = pid;
    let pid = living(roots, pid);
    let folder = roots.proc.join(pid.to_string());
    let by_descriptor = |remote: &mut Remote| {
        names(&folder.join("fd")).iter().any(|fd| is_open(roots, pid, &folder, fd, sought, writing, remote))
    };
    let way = if by_descriptor(remote) {
        Way::Descriptor
    } else if has_mapped(roots, pid, sought, writing, remote) {
        Way::Memory
    } else if has_registered(roots, pid, sought) {
        Way::Ring
    } else {
        return None;
    };
    (!is_forked_child(&roots.proc, &own_id.to_string())).then_some(way)
}

/// A thread of the process that has its descriptors and its memory still: the first one may have ended before the others.
fn living(roots: &Roots, pid: u32) -> u32 {
    let descriptors = |id: u32| names(&roots.proc.join(id.to_string()).join("fd"));
    if !descriptors(pid).is_empty() {
        return pid;
    }
    let threads = names(&roots.proc.join(pid.to_string()).join("task"));
    threads.iter().filter_map(|id| id.parse().ok()).find(|id| !descriptors(*id).is_empty()).unwrap_or(pid)
}

fn is_open(
    roots: &Roots,
    pid: u32,
    folder: &Path,
    fd: &str,
    sought: &Sought,
    writing: bool,
    remote: &mut Remote,
) -> bool {
    let link = folder.join("fd").join(fd);
    let Ok(target) = std::fs::read_link(&link) else { return false };
    // Sockets, pipes and the like.
    if !target.is_absolute() {
        return false;
    }
    let info = text(&folder.join("fdinfo").join(fd)).unwrap_or_default();
    if writing && !writes(&info) {
        return false;
    }
    if number(&info, "ino:").is_some_and(|inode| !sought.may_be(inode)) {
        return false;
    }
    let near = target.starts_with(&roots.dev)
        || number(&info, "mnt_id:").is_some_and(|id| !remote.mount(roots, pid, id));
    near && sought.is_at(roots, &link)
}

/// proc(5): the flags of open(2), octal. The lowest two bits are the access mode: 0 reads, 1 writes, 2 does both.
fn writes(info: &str) -> bool {
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    flags.and_then(|text| u32::from_str_radix(text.trim(), 8).ok()).is_some_and(|flags| flags & 3 != 0)
}

fn number(info: &str, key: &str) -> Option<u64> {
    info.lines().find_map(|line| line.strip_prefix(key))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::writes;

    #[test]
    fn both_ways_of_opening_for_writing_are_writing() {
        for (flags, writing) in
            [("0100000", false), ("0100001", true), ("0100002", true), ("02100000", false)]
        {
            assert_eq!(writes(&format!("pos:\t0\nflags:\t{flags}\nmnt_id:\t29\n")), writing, "{flags}");
        }
        assert!(!writes(""));
    }
}
