//! Reading much of a file once, on the path that suits where its bytes are now.
//!
//! What is in the page cache is copied from there: that is memory's speed. What is not is read with direct
//! I/O through a second descriptor, at what raw direct reads reach and little processor time
//! (docs/performance.md), and nothing of what running guests have cached is displaced. Where the file
//! system has no direct I/O, or does not tell what is cached, everything goes through the page cache. Block
//! devices are never read through it.

use super::blockdev::BlockFile;
use super::kernel::{Resident, resident};
use crate::digest::aligned::ALIGNMENT;
use crate::model::extent::Extent;
use crate::ports::disk::DiskFault;
use rustix::fs::OFlags;
use rustix::io::{Errno, ReadWriteFlags};
use std::fs::{File, OpenOptions};
use std::io::{self, IoSliceMut};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// A range that is partly in the page cache is decided by parts of this many bytes: what is at least half
/// there is read through it.
const PART: u64 = 256 << 10;
const PAGE: u64 = ALIGNMENT as u64;

/// The second descriptor of a file.
#[derive(Debug, Default)]
pub(super) struct Direct {
    opened: OnceLock<Option<File>>,
    /// The file system opened it and then took no request.
    refused: AtomicBool,
    /// The file system does not know reads that give only what is cached.
    must_ask: AtomicBool,
    /// For so many further reads it is asked what is cached before one is tried.
    cold: AtomicU32,
}

/// How long a file is expected to stay cold once something was found that is not cached.
const COLD_FOR: u32 = 64;

impl Direct {
    /// The descriptor for direct I/O, opened at first use; nothing where that cannot be.
    fn file(&self, file: &File) -> Option<&File> {
        if self.refused.load(Ordering::Relaxed) {
            return None;
        }
        let open = || {
            // Through the open descriptor, so that it is this file whatever its path leads to by now.
            let again = format!("/proc/self/fd/{}", file.as_raw_fd());
            let flags = (OFlags::DIRECT | OFlags::NONBLOCK).bits().cast_signed();
            OpenOptions::new().read(true).custom_flags(flags).open(again).ok()
        };
        self.opened.get_or_init(open).as_ref()
    }
}

impl BlockFile {
    /// Whether reading is a copy from the page cache, or would be no more if it were not there yet.
    pub(super) fn is_at_hand(&self, extent: Extent) -> bool {
        if self.is_device() {
            return false;
        }
        match resident(self.file(), extent.start, extent.len) {
            Some(Resident::AllButFew) | None => true,
            Some(_) => self.direct().file(self.file()).is_none(),
        }
    }

    /// Copies from the page cache what is in it, in one call: asking first would be another one. But a try that finds
    /// nothing makes the kernel read the page into the cache in the background, alone and before anybody waits for it
    /// (seen on 6.18: every block of a cold file was read so, two at a time): so where one failed, asking comes first.
    pub(super) fn read_cached(&self, offset: u64, buffer: &mut [u8]) -> bool {
        let direct = self.direct();
        let extent = Extent { start: offset, len: buffer.len() as u64 };
        let cold = direct.cold.load(Ordering::Relaxed);
        if cold > 0 {
            if !self.is_at_hand(extent) {
                direct.cold.store(COLD_FOR, Ordering::Relaxed);
                return false;
            }
            // Another thread may have counted meanwhile: then one more asks, or one fewer.
            direct.cold.store(cold - 1, Ordering::Relaxed);
            return self.read_now(offset, buffer).is_ok();
        }
        if !direct.must_ask.load(Ordering::Relaxed) {
            let part = &mut [IoSliceMut::new(buffer)];
            match rustix::io::preadv2(self.file(), part, offset, ReadWriteFlags::NOWAIT) {
                Ok(count) if count == buffer.len() => return true,
                Err(Errno::AGAIN) => {
                    direct.cold.store(COLD_FOR, Ordering::Relaxed);
                    return false;
                }
                // Some of it is there; or the file ends.
                Ok(_) | Err(Errno::INTR) => {}
                // A file system without it.
                Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => {
                    direct.must_ask.store(true, Ordering::Relaxed);
                }
                Err(_) => return false,
            }
        }
        self.is_at_hand(extent) && self.read_now(offset, buffer).is_ok()
    }

    /// See [`crate::ports::disk::Disk::sweep_at`].
    pub(super) fn sweep(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskFault> {
        let extent = Extent { start: offset, len: buffer.len() as u64 };
        let fits = offset.is_multiple_of(PAGE) && buffer.as_ptr().addr().is_multiple_of(ALIGNMENT);
        let direct = if self.is_device() || !fits { None } else { self.direct().file(self.file()) };
        let Some(direct) = direct else { return self.read_now(offset, buffer) };
        match resident(self.file(), extent.start, extent.len) {
            Some(Resident::None) => self.read_direct(direct, offset, buffer),
            Some(Resident::Most | Resident::Some) => self.read_mixed(direct, offset, buffer),
            Some(Resident::AllButFew) | None => self.read_now(offset, buffer),
        }
    }

    /// Each part on its own path; neighbours that take the direct one in one request.
    fn read_mixed(&self, direct: &File, offset: u64, buffer: &mut [u8]) -> Result<(), DiskFault> {
        let all = Extent { start: offset, len: buffer.len() as u64 };
        // What is mostly cached is in use; completing it adds no more to the cache than was there.
        let cached = |part: Extent| {
            matches!(
                resident(self.file(), part.start, part.len),
                Some(Resident::AllButFew | Resident::Most) | None
            )
        };
        let mut parts = all.pieces(PART).map(|part| (part, cached(part))).peekable();
        while let Some((mut part, cached)) = parts.next() {
            while let Some((next, _)) = parts.next_if(|next| next.1 == cached) {
                part.len += next.len;
            }
            #[allow(clippy::cast_possible_truncation)] // inside the buffer
            let bytes = &mut buffer[(part.start - offset) as usize..(part.end() - offset) as usize];
            if cached {
                self.read_now(part.start, bytes)?;
            } else {
                self.read_direct(direct, part.start, bytes)?;
            }
        }
        Ok(())
    }

    /// Whole pages with direct I/O, from a page boundary on; what is left goes through the page cache.
    fn read_direct(&self, direct: &File, offset: u64, buffer: &mut [u8]) -> Result<(), DiskFault> {
        let whole = buffer.len() / ALIGNMENT * ALIGNMENT;
        let fits =
            |count: usize, asked: usize| (1..=asked).contains(&count) && count.is_multiple_of(ALIGNMENT);
        let mut done = 0;
        while done < whole {
            match direct.read_at(&mut buffer[done..whole], offset + done as u64) {
                Ok(count) if fits(count, whole - done) => done += count,
                // The file ends here, or the next request would not begin on a boundary.
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    // This file system wants another alignment, or none of it: not worth asking each time.
                    self.direct().refused.store(true, Ordering::Relaxed);
                    break;
                }
                Err(error) => {
                    let extent = Extent { start: offset, len: buffer.len() as u64 };
                    return Err(self.fault("read", extent, error));
                }
            }
        }
        if done == buffer.len() {
            return Ok(());
        }
        self.read_now(offset + done as u64, &mut buffer[done..])
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::print_stderr)]

    use super::*;
    use crate::digest::aligned::Aligned;
    use crate::edge::blockdev::Mode;
    use crate::ports::disk::Disk;

    const STRIDE: u64 = 1 << 20;
    const BLOCKS: u64 = 64;

    /// Trying what is not cached must not cache it: neither reading it one by one nor displacing what guests have there.
    #[test]
    fn looking_for_what_is_not_cached_leaves_it_so() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for at in 0..BLOCKS {
            file.as_file().write_all_at(&[1; 4096], at * STRIDE).unwrap();
        }
        file.as_file().sync_all().unwrap();
        rustix::fs::fadvise(file.as_file(), 0, None, rustix::fs::Advice::DontNeed).unwrap();
        let disk = BlockFile::open(file.path(), Mode::ReadOnly).unwrap();
        let cached =
            || (0..BLOCKS).filter(|at| disk.is_at_hand(Extent { start: at * STRIDE, len: 4096 })).count();
        let before = cached();
        if before > 0 {
            crate::skipped::not_here(&format!("{before} blocks stay in the page cache here"));
            return;
        }
        let mut block = Aligned::new(4096);
        for at in 0..BLOCKS {
            assert!(!disk.read_if_at_hand(at * STRIDE, block.as_mut_slice()), "block {at}");
        }
        // What the kernel was made to read arrives a little later.
        std::thread::sleep(std::time::Duration::from_millis(300));
        assert!(cached() <= 2, "{} of {BLOCKS} blocks were read into the page cache", cached());
    }
}
