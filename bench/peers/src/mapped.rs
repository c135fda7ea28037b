//! Mapped files, and which of their pages are in memory. The only unsafe code of this program.

#![allow(unsafe_code)]

use anyhow::Context as _;
use memmap2::{Mmap, MmapOptions};
use std::fs::File;
use std::path::Path;

/// Maps part of a file or device for reading.
pub(crate) fn map(file: &File, start: u64, len: u64) -> anyhow::Result<Mmap> {
    let len = usize::try_from(len)?;
    // SAFETY: the map is only read, and what it maps are this program's own files (or devices that the user says are
    // idle), which nobody cuts short or writes while they are measured.
    Ok(unsafe { MmapOptions::new().offset(start).len(len).map(file)? })
}

/// Bytes of the file that are in the page cache, rounded up to pages.
pub(crate) fn resident(path: &Path, size: u64) -> anyhow::Result<u64> {
    const WINDOW: u64 = 1 << 30;
    let file = File::open(path).with_context(|| format!("{} cannot be opened", path.display()))?;
    // SAFETY: asks for a number and touches no memory.
    let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) })?;
    let mut pages = 0;
    for start in (0..size).step_by(WINDOW as usize) {
        let map = map(&file, start, WINDOW.min(size - start))?;
        let mut states = vec![0u8; map.len().div_ceil(page)];
        // SAFETY: the range is exactly one live mapping, page aligned, and there is one byte for each of its pages.
        let failed = unsafe { libc::mincore(map.as_ptr().cast_mut().cast(), map.len(), states.as_mut_ptr()) };
        if failed != 0 {
            return Err(std::io::Error::last_os_error()).context("mincore failed");
        }
        pages += states.iter().filter(|state| **state & 1 != 0).count();
    }
    Ok((pages * page) as u64)
}
