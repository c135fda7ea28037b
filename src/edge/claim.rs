//! Claiming a disk before it is written: nobody else may use it meanwhile.

use super::blockdev::{BlockFile, Identity};
use super::holders;
use super::passing::{SEEN, UNSEEN, outwait};
use crate::ports::disk::Disk;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use rustix::fs::{FlockOperation, OFlags};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// Why a disk could not be claimed. It was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Somebody uses it.
    #[error("{path} is in use{}; stop that first", by_whom(by))]
    InUse {
        /// The disk's name.
        path: String,
        /// Who, in words, as far as the system tells.
        by: Vec<String>,
    },
    /// It could not be found out.
    #[error("{path}: {act} failed, so it is not known whether anybody uses it")]
    Io {
        /// The disk's name.
        path: String,
        /// What was tried.
        act: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

fn by_whom(by: &[String]) -> String {
    if by.is_empty() {
        " (the system does not tell by whom)".to_owned()
    } else {
        format!(" by {}", by.join(", "))
    }
}

/// A disk that nobody else may claim. Ends when dropped.
#[derive(Debug)]
#[must_use = "the claim ends when this is dropped"]
pub struct Claimed {
    // Its open file description holds the locks. They are not tied to the process: closing another
    // descriptor of the same file, as with plain POSIX locks, would silently end them.
    _file: File,
}

impl BlockFile {
    /// Claims the disk for writing; waits no longer than a moment.
    ///
    /// Block devices are opened with `O_EXCL`, which the kernel refuses while a file system, DRBD, device
    /// mapper, md or swap uses the device or one of its partitions. Of a file the kernel tells, by a lease,
    /// whether anybody at all has it open or mapped for writing. Both get a write lock over all bytes, which
    /// conflicts with the locks that qemu takes on its images; files get an exclusive `flock`, too. Last, no
    /// other process that we may look into (all, for root) can write to it, through a descriptor, through its
    /// memory or through an io_uring, and the kernel serves it to nobody as a disk (loop devices, LIO, NVMe) and
    /// does not swap to it. A program on another machine that shares the disk is not noticed.
    ///
    /// # Errors
    /// [`ClaimError`], also when it is this process that has claimed it already.
    pub fn claim(&self) -> Result<Claimed, ClaimError> {
        outwait(
            || self.try_claim(),
            |error| match error {
                ClaimError::InUse { by, .. } if by.is_empty() => UNSEEN,
                ClaimError::InUse { .. } => SEEN,
                ClaimError::Io { .. } => Duration::ZERO,
            },
        )
    }

    /// Claims the disk, or shares the claim that is held on this opened disk already: the metadata of both sides may
    /// stand on one device.
    ///
    /// # Errors
    /// As for [`BlockFile::claim`].
    pub fn claim_together(&self) -> Result<Arc<Claimed>, ClaimError> {
        let mut shared = self.shared_claim().lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = shared.upgrade() {
            return Ok(held);
        }
        let claimed = Arc::new(self.claim()?);
        *shared = Arc::downgrade(&claimed);
        Ok(claimed)
    }

    /// Whether the claimed disk is still what its path leads to, and still ours alone as far as that can be asked again.
    ///
    /// # Errors
    /// In words, what is wrong.
    pub fn still_alone(&self) -> Result<(), String> {
        let found = std::fs::metadata(self.name()).ok().as_ref().and_then(Identity::of);
        if found != Some(self.identity()) {
            return Err(format!(
                "{} was removed or replaced since it was opened: what is written would not be found there",
                self.name()
            ));
        }
        let others = || {
            let others = holders::others(self.identity());
            if others.is_empty() { Ok(()) } else { Err(others) }
        };
        outwait(others, |_| SEEN).map_err(|by| format!("{} is in use by {}", self.name(), by.join(", ")))
    }

    fn try_claim(&self) -> Result<Claimed, ClaimError> {
        let path = || self.name().to_owned();
        let failed = |act: &'static str| move |source| ClaimError::Io { path: path(), act, source };
        let in_use = || ClaimError::InUse { path: path(), by: holders::of(self.identity()) };

        if self.others_write() == Some(true) {
            let by = holders::others(self.identity());
            return Err(ClaimError::InUse { path: path(), by });
        }
        // Through the open descriptor, so that it is this file whatever its path leads to by now.
        let again = format!("/proc/self/fd/{}", self.file().as_raw_fd());
        let exclusive = if self.is_device() { OFlags::EXCL } else { OFlags::empty() };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags((exclusive | OFlags::NONBLOCK).bits().cast_signed())
            .open(again)
            .map_err(|error| match error.kind() {
                io::ErrorKind::ResourceBusy => in_use(),
                _ => failed("opening it for writing")(error),
            })?;
        match fcntl(&file, FcntlArg::F_OFD_SETLK(&whole_file(libc::F_WRLCK))) {
            Ok(_) => {}
            Err(nix::Error::EAGAIN | nix::Error::EACCES) => return Err(in_use()),
            Err(error) => return Err(failed("locking it")(error.into())),
        }
        // Not on devices: udev takes that lock for a moment whenever it probes one.
        if matches!(self.identity(), Identity::File { .. }) {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => return Err(in_use()),
                Err(error) => return Err(failed("locking it")(error.into())),
            }
        }
        let by = holders::others(self.identity());
        if !by.is_empty() {
            return Err(ClaimError::InUse { path: path(), by });
        }
        Ok(Claimed { _file: file })
    }
}

#[allow(clippy::cast_possible_truncation)] // the constants are 0 to 2
fn whole_file(kind: i32) -> libc::flock {
    libc::flock { l_type: kind as i16, l_whence: libc::SEEK_SET as i16, l_start: 0, l_len: 0, l_pid: 0 }
}
