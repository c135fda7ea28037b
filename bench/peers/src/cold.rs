//! Files put out of the page cache, or into it, and proof that it worked.

use crate::mapped::resident;
use anyhow::Context as _;
use rustix::fs::{Advice, fadvise};
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// Writes back what is dirty and drops the file's pages; needs no root. Returns the bytes that stayed.
pub(crate) fn evict(path: &Path, size: u64) -> anyhow::Result<u64> {
    let file = File::open(path).with_context(|| format!("{} cannot be opened", path.display()))?;
    file.sync_all()?;
    let mut left = size;
    for _ in 0..3 {
        fadvise(&file, 0, None, Advice::DontNeed)?;
        left = resident(path, size)?;
        if left == 0 {
            break;
        }
    }
    Ok(left)
}

/// Reads the file unless it is in the page cache. Returns the bytes that are there now.
pub(crate) fn load(path: &Path, size: u64) -> anyhow::Result<u64> {
    let there = resident(path, size)?;
    if there >= size {
        return Ok(there);
    }
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    while file.read(&mut buffer)? > 0 {}
    resident(path, size)
}
