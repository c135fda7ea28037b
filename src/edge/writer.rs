//! What a disk is written through, and whether anybody else has it open for writing.
//!
//! A file is opened for writing no sooner than it is written to: until then this process is none of those that have it open
//! so, and the kernel can be asked whether there are any.

use super::kernel::is_open_for_writing;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The descriptor for writing.
#[derive(Debug)]
pub(super) enum Writer {
    /// The one for reading, which may or may not be for writing as well.
    Same,
    /// One of its own, opened when it is needed.
    Own(Mutex<Option<Arc<File>>>),
}

impl Writer {
    /// One that is opened later, again and again if need be.
    pub(super) fn later() -> Writer {
        Writer::Own(Mutex::default())
    }

    /// Does `act` with it.
    pub(super) fn with(&self, file: &File, act: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
        let Writer::Own(own) = self else { return act(file) };
        let writer = {
            let mut own = lock(own);
            match &*own {
                Some(writer) => Arc::clone(writer),
                None => Arc::clone(own.insert(Arc::new(again(file, true)?))),
            }
        };
        act(&writer)
    }

    /// Whether anybody else has the file open for writing. Nothing where it cannot be told: for devices, on file systems
    /// without leases, for files of others, and while this process is writing to it.
    pub(super) fn others_write(&self, file: &File) -> Option<bool> {
        let Writer::Own(own) = self else { return None };
        let mut own = lock(own);
        // A write that goes on holds the descriptor, too.
        if own.take_if(|writer| Arc::strong_count(writer) == 1).is_none() && own.is_some() {
            return None;
        }
        // With the list locked, no write of ours begins meanwhile.
        is_open_for_writing(&again(file, false).ok()?).ok()
    }
}

fn lock(own: &Mutex<Option<Arc<File>>>) -> MutexGuard<'_, Option<Arc<File>>> {
    own.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The same file opened once more: through the open descriptor, so that it is this file whatever its path leads to by now.
pub(super) fn again(file: &File, for_writing: bool) -> io::Result<File> {
    let flags = (rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::NONBLOCK).bits().cast_signed();
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    OpenOptions::new().read(true).write(for_writing).custom_flags(flags).open(path)
}
