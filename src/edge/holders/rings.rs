//! Files that are registered with an io_uring: written through it after their descriptor is closed.

use super::remote::Remote;
use super::roots::{Roots, names, text};
use super::sought::Sought;
use std::path::Path;

/// Whether a ring of this process knows it. Whether for writing, the kernel does not tell. Kernels that write only the last
/// part of a name, or nothing, tell too little.
pub(super) fn has_registered(roots: &Roots, pid: u32, sought: &Sought) -> bool {
    let folder = roots.proc.join(pid.to_string());
    names(&folder.join("fd")).iter().any(|fd| {
        let is_ring = std::fs::read_link(folder.join("fd").join(fd))
            .is_ok_and(|target| target == Path::new("anon_inode:[io_uring]"));
        let info = is_ring.then(|| text(&folder.join("fdinfo").join(fd))).flatten().unwrap_or_default();
        files(&info).any(|path| {
            let path = Path::new(&path);
            path.is_absolute() && !Remote::path(roots, path) && sought.is_at(roots, path)
        })
    })
}

/// The names after `UserFiles:`, each as `    0: /path`, until the next heading.
fn files(info: &str) -> impl Iterator<Item = String> {
    let lines = info.lines().skip_while(|line| !line.starts_with("UserFiles:")).skip(1);
    let numbered = lines.map_while(|line| {
        let (number, path) = line.trim_start().split_once(": ")?;
        number.parse::<u32>().is_ok().then(|| super::mounts::unescaped(path))
    });
    numbered.collect::<Vec<_>>().into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_ring_tells() {
        let info = "pos:\t0\nSqMask:\t0x3\nUserFiles:\t3\n    0: /srv/a\\040b\n    1: <none>\n    2: /dev/sdb\nUserBufs:\t1\n    0: 0x7f00/4096\n";
        assert_eq!(files(info).collect::<Vec<_>>(), ["/srv/a b", "<none>", "/dev/sdb"]);
        for bad in ["", "UserFiles:", "UserFiles:\t1\nx", "    0: /srv/a"] {
            assert_eq!(files(bad).count(), 0, "{bad}");
        }
    }
}
