//! Where `/proc` and `/sys` are, so that a test can put others in their place.

use crate::edge::blockdev::Identity;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// A block device's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::edge) struct Number {
    pub(in crate::edge) major: u32,
    pub(in crate::edge) minor: u32,
}

impl Number {
    /// Of a `dev_t`.
    pub(in crate::edge) fn of(rdev: u64) -> Number {
        Number { major: rustix::fs::major(rdev), minor: rustix::fs::minor(rdev) }
    }

    /// The device that has it.
    pub(in crate::edge) fn identity(self) -> Identity {
        Identity::Device { rdev: rustix::fs::makedev(self.major, self.minor) }
    }
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

impl std::str::FromStr for Number {
    type Err = ();
    fn from_str(text: &str) -> Result<Number, ()> {
        let (major, minor) = text.trim().split_once(':').ok_or(())?;
        Ok(Number { major: major.parse().map_err(drop)?, minor: minor.parse().map_err(drop)? })
    }
}

/// The trees that are asked.
#[derive(Debug, Clone)]
pub(in crate::edge) struct Roots {
    /// `/proc`
    pub(in crate::edge) proc: PathBuf,
    /// `/sys`
    pub(in crate::edge) sys: PathBuf,
    /// `/dev`: what processes call devices begins so.
    pub(in crate::edge) dev: PathBuf,
    /// What block device a path leads to, if it leads to one.
    pub(in crate::edge) number_at: fn(&Path) -> Option<Number>,
    /// Our own process: it is nobody else.
    pub(in crate::edge) own: u32,
}

impl Roots {
    /// This machine's.
    pub(in crate::edge) fn of_this_machine() -> Roots {
        Roots {
            proc: "/proc".into(),
            sys: "/sys".into(),
            dev: "/dev".into(),
            number_at,
            own: std::process::id(),
        }
    }
}

fn number_at(path: &Path) -> Option<Number> {
    let metadata = fs::metadata(path).ok()?;
    metadata.file_type().is_block_device().then(|| Number::of(metadata.rdev()))
}

/// No file of these trees that is read here is longer.
const LONGEST: u64 = 4 << 20;

/// A file's text; nothing if it cannot be read, most often because what it tells of has just ended.
pub(super) fn text(path: &Path) -> Option<String> {
    use std::io::Read;
    let mut bytes = Vec::new();
    fs::File::open(path).ok()?.take(LONGEST).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// No process has more memory mappings than fill this: the kernel's own limit is 65530 of them.
const LONGEST_MAPS: u64 = 64 << 20;

/// A file's bytes; none if it cannot be read.
pub(super) fn bytes(path: &Path) -> Vec<u8> {
    use std::io::Read;
    let mut bytes = Vec::new();
    // What was read before a process ended is what there was.
    let _ = fs::File::open(path).map(|file| file.take(LONGEST_MAPS).read_to_end(&mut bytes));
    bytes
}

/// The names in a folder, sorted; none if it cannot be listed.
pub(super) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort_unstable();
    names
}
