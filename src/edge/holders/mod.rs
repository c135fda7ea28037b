//! Who uses a file or device, as far as `/proc` and `/sys` tell. For messages and as a last check: what
//! cannot be read is left out, the locks and the kernel's own claims decide.
//!
//! | file | holds |
//! |---|---|
//! | `census` | everybody who uses a device, with what ends each use |
//! | `stack` | what the kernel stacked on it: LVM, md, loop devices, ... |
//! | `mounts` | file systems and swap, in all mount namespaces |
//! | `open` | processes that have it open |
//! | `owner` | what guest, container or service a process is part of |
//! | `exports` | what the kernel itself serves to others: iSCSI, NVMe, NFS, ZFS |
//! | `roots` | where `/proc`, `/sys` and `/dev` are |

mod census;
mod exports;
mod mounts;
mod open;
mod owner;
mod roots;
mod stack;

#[cfg(test)]
mod tests;

pub(in crate::edge) use census::users;
pub(in crate::edge) use roots::{Number, Roots};
pub(in crate::edge) use stack::Upper;

use super::blockdev::Identity;
use super::passing::is_forked_child;
use std::fs;
use std::path::Path;

/// Words for everybody known to hold the file or device.
pub(super) fn of(identity: Identity) -> Vec<String> {
    let mut by = match identity {
        Identity::File { .. } => processes(identity, false),
        Identity::Device { rdev } => device_holders(rdev),
    };
    if by.is_empty() && matches!(identity, Identity::Device { .. }) {
        by = processes(identity, false);
    }
    by.sort();
    by.dedup();
    by
}

/// Words for every other process that has it open for writing.
pub(super) fn writers(identity: Identity) -> Vec<String> {
    processes(identity, true)
}

/// Words for everybody who could be writing now: processes, and what stands on it.
pub(super) fn open_for_change(identity: Identity) -> Vec<String> {
    let mut by = writers(identity);
    match identity {
        Identity::File { .. } => by.extend(loop_device(identity)),
        Identity::Device { rdev } => by.extend(device_holders(rdev)),
    }
    by
}

/// Another way to the same bytes, in words: a loop device that a file backs; for a loop device, a second one over the same
/// file, or a process that writes to that file.
pub(super) fn loop_device(identity: Identity) -> Option<String> {
    match identity {
        Identity::File { .. } => loop_over(identity, None),
        Identity::Device { rdev } => {
            let own = Number::of(rdev).to_string();
            let file = backing_file(&format!("/sys/dev/block/{own}"))?;
            loop_over(file, Some(&own)).or_else(|| {
                let by = writers(file).into_iter().next()?;
                Some(format!("{by}, which writes to the file behind it"))
            })
        }
    }
}

/// A loop device over `file` other than the one with the number `own`.
fn loop_over(file: Identity, own: Option<&str>) -> Option<String> {
    names("/sys/block").into_iter().filter(|name| name.starts_with("loop")).find_map(|name| {
        let node = format!("/sys/block/{name}");
        let number = fs::read_to_string(format!("{node}/dev")).unwrap_or_default();
        let other = own.is_none_or(|own| number.trim() != own);
        (other && backing_file(&node) == Some(file)).then(|| format!("the loop device /dev/{name}"))
    })
}

/// What a loop device stands on.
fn backing_file(node: &str) -> Option<Identity> {
    let backing = fs::read_to_string(format!("{node}/loop/backing_file")).ok()?;
    Identity::of(&fs::metadata(backing.strip_suffix('\n').unwrap_or(&backing)).ok()?)
}

fn names(dir: &str) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}

/// File systems, swap and stacked devices on a device or its partitions.
fn device_holders(rdev: u64) -> Vec<String> {
    census::kernel(&Roots::of_this_machine(), Number::of(rdev)).into_iter().map(|user| user.who).collect()
}

/// Other processes that have it open.
fn processes(identity: Identity, writing: bool) -> Vec<String> {
    let own = std::process::id().to_string();
    let mut by = Vec::new();
    for pid in names("/proc").into_iter().filter(|name| name.bytes().all(|b| b.is_ascii_digit())) {
        if pid == own {
            continue;
        }
        let opened = names(&format!("/proc/{pid}/fd")).iter().any(|fd| is_open(&pid, fd, identity, writing));
        // A child of ours that has not run its program yet has all that we have, and writes nothing.
        if opened && !is_forked_child(Path::new("/proc"), &pid) {
            let command = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            by.push(format!("process {pid} ({})", command.trim_end()));
        }
    }
    by
}

fn is_open(pid: &str, fd: &str, identity: Identity, writing: bool) -> bool {
    let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).unwrap_or_default();
    let field = |key: &str| info.lines().find_map(|line| line.strip_prefix(key).map(str::trim));
    if writing {
        // proc(5): the flags of open(2), octal; the lowest two bits are the access mode, 0 for reading.
        let flags = field("flags:").and_then(|text| u32::from_str_radix(text, 8).ok());
        if flags.is_none_or(|flags| flags & 3 == 0) {
            return false;
        }
    }
    let link = format!("/proc/{pid}/fd/{fd}");
    // Asking a file's identity can hang on a dead network file system: only ask where it may be ours.
    let maybe = match identity {
        Identity::File { ino, .. } => {
            field("ino:").and_then(|text| text.parse().ok()).is_none_or(|number: u64| number == ino)
                && fs::read_link(&link).is_ok_and(|target| target.starts_with("/"))
        }
        Identity::Device { .. } => fs::read_link(&link).is_ok_and(|target| target.starts_with("/dev")),
    };
    maybe && fs::metadata(&link).is_ok_and(|metadata| Identity::of(&metadata) == Some(identity))
}
