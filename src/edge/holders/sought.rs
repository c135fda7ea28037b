//! The file or the devices whose users are looked for.

use super::roots::{Number, Roots};
use crate::edge::blockdev::Identity;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// What leads to the bytes in question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sought {
    /// A regular file, by whatever name.
    File(Identity),
    /// A device, and what else of the kernel leads to its bytes.
    Devices(BTreeSet<Number>),
}

impl Sought {
    /// The file; or the device, the disk that it is a partition of, and its own partitions. Whoever writes to one of them
    /// writes to what is sought, and the kernel's exclusive opening keeps nobody away who asks for no exclusiveness.
    pub(super) fn of(roots: &Roots, identity: Identity) -> Sought {
        let Identity::Device { rdev } = identity else { return Sought::File(identity) };
        let number = Number::of(rdev);
        let mut all = BTreeSet::from([number]);
        let folder = roots.sys.join("dev/block").join(number.to_string());
        if let Ok(folder) = fs::canonicalize(folder) {
            let number_in = |folder: &Path| super::roots::text(&folder.join("dev"))?.parse::<Number>().ok();
            if folder.join("partition").exists() {
                all.extend(folder.parent().and_then(number_in));
            }
            let parts = super::roots::names(&folder).into_iter().map(|name| folder.join(name));
            all.extend(
                parts.filter(|part| part.join("partition").exists()).filter_map(|part| number_in(&part)),
            );
        }
        Sought::Devices(all)
    }

    /// Whether a path leads to it.
    pub(super) fn is_at(&self, roots: &Roots, path: &Path) -> bool {
        match self {
            Sought::File(file) => {
                fs::metadata(path).is_ok_and(|metadata| Identity::of(&metadata) == Some(*file))
            }
            Sought::Devices(numbers) => {
                (roots.number_at)(path).is_some_and(|number| numbers.contains(&number))
            }
        }
    }

    /// Whether a file with this inode number can be it. A device has nodes anywhere.
    pub(super) fn may_be(&self, inode: u64) -> bool {
        match self {
            Sought::File(Identity::File { ino, .. }) => *ino == inode,
            _ => true,
        }
    }
}
