//! Calls of the kernel that no crate makes safely: which pages of a file are in memory (two ways), the priority
//! of this process's reads and writes, and leases. The only `unsafe` of this crate stands here and in
//! `guard`.
#![allow(unsafe_code)]

use nix::libc;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};

/// `cachestat(2)`, the same on all architectures; Linux 6.5 and later.
const SYS_CACHESTAT: libc::c_long = 451;
/// Pages as the page cache counts them; larger ones of other architectures only make the answer coarser.
const PAGE: u64 = 4096;
/// Whether the kernel is too old for `cachestat`.
static OLD_KERNEL: AtomicBool = AtomicBool::new(false);

/// How much of a range is in the page cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resident {
    /// All of it, or so much that what is missing costs less than another way of reading: 15 of 16 pages.
    AllButFew,
    /// At least half of it.
    Most,
    /// Less than half of it.
    Some,
    /// Nothing.
    None,
}

/// How much of `len` bytes (at most 1 GiB) of `file` from `offset` on is in the page cache now; all of it
/// to be inside the file. Nothing if the system does not tell.
pub(super) fn resident(file: &File, offset: u64, len: u64) -> Option<Resident> {
    let first = offset / PAGE * PAGE;
    let len = (offset + len).div_ceil(PAGE) * PAGE - first;
    let pages = len / PAGE;
    let cached = if OLD_KERNEL.load(Ordering::Relaxed) {
        counted_by_map(file, first, len)?
    } else {
        match counted(file, first, len) {
            Ok(cached) => cached,
            Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => {
                OLD_KERNEL.store(true, Ordering::Relaxed);
                counted_by_map(file, first, len)?
            }
            Err(_) => return None,
        }
    };
    Some(match cached {
        0 => Resident::None,
        cached if cached >= pages - pages / 16 => Resident::AllButFew,
        cached if cached >= pages - cached => Resident::Most,
        _ => Resident::Some,
    })
}

fn counted(file: &File, offset: u64, len: u64) -> io::Result<u64> {
    #[repr(C)]
    struct Range {
        offset: u64,
        len: u64,
    }
    #[repr(C)]
    #[derive(Default)]
    struct Counts {
        cached: u64,
        dirty: u64,
        writeback: u64,
        evicted: u64,
        recently_evicted: u64,
    }
    let range = Range { offset, len };
    let mut counts = Counts::default();
    // SAFETY: the call reads one `Range` and writes one `Counts`; both live here, are laid out as the
    // kernel's `struct cachestat_range` and `struct cachestat` (two and five 64-bit numbers, never grown
    // since), and nothing else refers to them. The descriptor is open while `file` is borrowed. No flags.
    let end = unsafe {
        libc::syscall(SYS_CACHESTAT, file.as_raw_fd(), &raw const range, &raw mut counts, 0 as libc::c_uint)
    };
    if end == 0 { Ok(counts.cached) } else { Err(io::Error::last_os_error()) }
}

/// As [`counted`], for older kernels: `mincore(2)` tells it of mapped pages only. The pages are mapped for
/// that and never touched, so nothing is read and no fault can come.
fn counted_by_map(file: &File, offset: u64, len: u64) -> Option<u64> {
    let (size, at) = (usize::try_from(len).ok()?, libc::off_t::try_from(offset).ok()?);
    let mut present = vec![0u8; usize::try_from(len / PAGE).ok()?];
    // SAFETY: a fresh mapping at an address of the kernel's choice replaces nothing. It is not accessible
    // (`PROT_NONE`), no reference to it is ever made, and it is removed below.
    let map = unsafe {
        libc::mmap(std::ptr::null_mut(), size, libc::PROT_NONE, libc::MAP_SHARED, file.as_raw_fd(), at)
    };
    if map == libc::MAP_FAILED {
        return None;
    }
    // SAFETY: `map` is the mapping of `size` bytes made above; `present` has a byte for each page of at
    // least 4 KiB, and the kernel writes no more than one for each page of its own size.
    let told = unsafe { libc::mincore(map, size, present.as_mut_ptr()) } == 0;
    // SAFETY: the same mapping, of which nothing is kept.
    unsafe { libc::munmap(map, size) };
    told.then(|| present.iter().map(|page| u64::from(page & 1)).sum())
}

/// Puts the calling thread, and those that it will start, into the idle class for reads and writes: they
/// are served when nobody else wants the device, where its scheduler knows classes (BFQ, mq-deadline).
///
/// # Errors
/// What the system said.
pub(super) fn idle_io() -> io::Result<()> {
    // From the kernel's linux/ioprio.h: the class stands above 13 bits of data, which idle has none of.
    const WHO_PROCESS: libc::c_int = 1;
    const CLASS_IDLE: libc::c_int = 3 << 13;
    // SAFETY: three numbers, no memory; 0 is the calling thread.
    let end = unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0 as libc::c_int, CLASS_IDLE) };
    if end == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Whether anybody has a regular file open for writing, or mapped from such an opening: this process, another one in whatever
/// namespace, or the kernel itself (a loop device, a target, swap). The kernel knows it of every file: it gives a lease for
/// reading only where there is nobody. `fresh` is a descriptor for reading that nothing else uses.
///
/// # Errors
/// What the system said: not every file system gives leases, and only the owner of a file, or root, may ask.
pub(super) fn is_open_for_writing(fresh: &File) -> io::Result<bool> {
    // linux/fcntl.h: F_LINUX_SPECIFIC_BASE, and 10 above it.
    const F_SETSIG: libc::c_int = 10;
    const F_SETLEASE: libc::c_int = 1024;
    // Who opens the file while the lease stands makes the kernel send a signal: by default one that ends the process. This
    // one is ignored by default.
    // SAFETY: two numbers, no memory; the descriptor is open while `fresh` is borrowed.
    if unsafe { libc::fcntl(fresh.as_raw_fd(), F_SETSIG, libc::SIGURG) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: as above.
    let end = unsafe { libc::fcntl(fresh.as_raw_fd(), F_SETLEASE, libc::F_RDLCK) };
    let error = io::Error::last_os_error();
    if end != 0 {
        return if error.raw_os_error() == Some(libc::EAGAIN) { Ok(true) } else { Err(error) };
    }
    // SAFETY: as above.
    unsafe { libc::fcntl(fresh.as_raw_fd(), F_SETLEASE, libc::F_UNLCK) };
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// Both ways of counting, one beside the other, on a file that was just written and so is in memory.
    #[test]
    fn both_ways_of_counting_agree() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![1; 100 * PAGE as usize + 5]).unwrap();
        for (offset, len) in [(0, 101 * PAGE), (3 * PAGE, PAGE), (100 * PAGE, PAGE)] {
            assert_eq!(counted_by_map(&file, offset, len), Some(len / PAGE));
            match counted(&file, offset, len) {
                Ok(cached) => assert_eq!(cached, len / PAGE),
                Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ENOSYS)),
            }
        }
        assert_eq!(resident(&file, 0, 100 * PAGE + 5), Some(Resident::AllButFew));
        assert_eq!(resident(&file, 5, 10), Some(Resident::AllButFew));
        // A hole has no pages until it is read.
        file.set_len(200 * PAGE).unwrap();
        assert_eq!(counted_by_map(&file, 110 * PAGE, 10 * PAGE), Some(0));
        assert_eq!(resident(&file, 110 * PAGE, 10 * PAGE), Some(Resident::None));
        assert_eq!(resident(&file, 90 * PAGE, 11 * PAGE), Some(Resident::AllButFew));
        // The kernel takes single pages away from files that nobody touches: that makes them no slower to copy.
        assert_eq!(resident(&file, 41 * PAGE, 64 * PAGE), Some(Resident::AllButFew));
        assert_eq!(resident(&file, 42 * PAGE, 64 * PAGE), Some(Resident::Most));
        assert_eq!(resident(&file, 90 * PAGE, 20 * PAGE), Some(Resident::Most));
        assert_eq!(resident(&file, 99 * PAGE, 20 * PAGE), Some(Resident::Some));
    }

    /// A writer is known without a name, a descriptor or a lock; a reader is none.
    #[test]
    fn a_lease_tells_of_writers() {
        let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        let asked = || is_open_for_writing(&File::open(&path).unwrap());
        let _reader = File::open(&path).unwrap();
        match asked() {
            Ok(open) => assert!(!open),
            // A file system without leases.
            Err(error) => return assert_eq!(error.raw_os_error(), Some(libc::EINVAL)),
        }
        let writer = File::options().append(true).open(&path).unwrap();
        assert!(asked().unwrap());
        drop(writer);
        assert!(!asked().unwrap());
    }

    #[test]
    fn the_idle_class_is_taken() {
        // Its own thread: the class is the thread's.
        std::thread::spawn(|| idle_io().unwrap()).join().unwrap();
    }
}
