//! A few open files, so that many writes to one file open it once, and so that the sync after them is asked
//! of the same open file: it is the one that learns of their errors.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Open files kept at once: journal, a salvage's parts, its manifest.
const KEPT: usize = 8;

/// A symbolic link is not followed, and a FIFO does not block. In the integer type that the standard
/// library wants.
#[allow(clippy::cast_possible_wrap)]
pub(super) const NO_FOLLOW: i32 =
    (rustix::fs::OFlags::NOFOLLOW.bits() | rustix::fs::OFlags::NONBLOCK.bits()) as i32;

/// The error for what is not a regular file.
pub(super) fn not_a_file() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")
}

/// The open files, the least recently used one first.
#[derive(Debug)]
pub(super) struct OpenFiles {
    writable: bool,
    kept: Mutex<Vec<(PathBuf, Arc<File>)>>,
}

impl OpenFiles {
    pub(super) fn new(writable: bool) -> Self {
        OpenFiles { writable, kept: Mutex::new(Vec::new()) }
    }

    /// Creates an empty file, or empties an existing one.
    pub(super) fn create(&self, path: &Path, mode: u32) -> io::Result<()> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(mode)
            .custom_flags(NO_FOLLOW)
            .open(path)?;
        if !file.metadata()?.is_file() {
            return Err(not_a_file());
        }
        file.set_len(0)?;
        self.keep(path, Arc::new(file));
        Ok(())
    }

    /// Does `act` with the file, opening it if it is not open.
    pub(super) fn with<T>(&self, path: &Path, act: impl FnOnce(&File) -> io::Result<T>) -> io::Result<T> {
        let file = match self.find(path) {
            Some(file) => file,
            None => {
                let file =
                    OpenOptions::new().read(true).write(self.writable).custom_flags(NO_FOLLOW).open(path)?;
                if !file.metadata()?.is_file() {
                    return Err(not_a_file());
                }
                let file = Arc::new(file);
                self.keep(path, Arc::clone(&file));
                file
            }
        };
        act(&file)
    }

    /// Closes a file, or everything open below a folder: its name will mean something else.
    pub(super) fn forget_below(&self, path: &Path) {
        self.lock().retain(|(kept, _)| !kept.starts_with(path));
    }

    fn find(&self, path: &Path) -> Option<Arc<File>> {
        let mut kept = self.lock();
        let place = kept.iter().position(|(known, _)| known == path)?;
        let entry = kept.remove(place);
        let file = Arc::clone(&entry.1);
        kept.push(entry);
        Some(file)
    }

    fn keep(&self, path: &Path, file: Arc<File>) {
        let mut kept = self.lock();
        kept.retain(|(known, _)| known != path);
        if kept.len() >= KEPT {
            kept.remove(0);
        }
        kept.push((path.to_owned(), file));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(PathBuf, Arc<File>)>> {
        // The list is whole after every change: a panic elsewhere does not spoil it.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
