//! Who uses a file or device, as far as `/proc` and `/sys` tell. What cannot be read is left out: the locks, the kernel's own
//! claims and, for files, its leases decide.
//!
//! | file | holds |
//! |---|---|
//! | `census` | everybody who uses a device, with what ends each use |
//! | `others` | everybody who can write to a file or device now |
//! | `sought` | what leads to the bytes in question |
//! | `footing` | on which bytes of what else a partition or loop device stands |
//! | `reach` | how a process reaches them: by a descriptor, its memory, an io_uring |
//! | `maps`, `rings` | the last two of these |
//! | `remote` | what must not be asked, because it may hang |
//! | `stack` | what the kernel stacked on it: LVM, md, loop devices, ... |
//! | `mounts` | file systems and swap, in all mount namespaces |
//! | `open` | processes that use a device or what is mounted from it |
//! | `owner` | what guest, container or service a process is part of |
//! | `exports` | what the kernel itself serves to others: iSCSI, NVMe, NFS, ZFS |
//! | `roots` | where `/proc`, `/sys` and `/dev` are |

mod census;
mod exports;
mod footing;
mod maps;
mod mounts;
mod open;
mod others;
mod owner;
mod reach;
mod remote;
mod rings;
mod roots;
mod sought;
mod stack;

#[cfg(test)]
mod tests;

pub(in crate::edge) use census::users;
pub(in crate::edge) use footing::{footings, shared};
pub(in crate::edge) use roots::{Number, Roots};
pub(in crate::edge) use stack::Upper;

use super::blockdev::Identity;

/// Words for everybody known to hold the file or device.
pub(super) fn of(identity: Identity) -> Vec<String> {
    let roots = Roots::of_this_machine();
    let mut by = match identity {
        Identity::File { .. } => Vec::new(),
        Identity::Device { rdev } => device_holders(rdev),
    };
    if by.is_empty() {
        by = others::users(&roots, identity);
    }
    by.extend(others::kernel(&roots, identity));
    by.sort();
    by.dedup();
    by
}

/// Words for everybody else who can write to it although it is claimed: processes, and what the kernel does for others.
pub(super) fn others(identity: Identity) -> Vec<String> {
    let roots = Roots::of_this_machine();
    let mut by = others::writers(&roots, identity);
    by.extend(others::kernel(&roots, identity));
    by
}

/// Words for every other process that can write to it.
pub(super) fn writers(identity: Identity) -> Vec<String> {
    others::writers(&Roots::of_this_machine(), identity)
}

/// Words for everybody who could be writing now: processes, and what stands on it.
pub(super) fn open_for_change(identity: Identity) -> Vec<String> {
    let mut by = others(identity);
    if let Identity::Device { rdev } = identity {
        by.extend(device_holders(rdev));
    }
    by
}

/// File systems, swap and stacked devices on a device or its partitions.
fn device_holders(rdev: u64) -> Vec<String> {
    census::kernel(&Roots::of_this_machine(), Number::of(rdev)).into_iter().map(|user| user.who).collect()
}
