//! The state directory: a real folder behind the [`Store`] port, with one writer at a time.

mod files;

use super::exact::{read_exact_at, write_all_at};
use super::passing::{SEEN, UNSEEN, outwait};
use super::trust::{Untrusted, trusted};
use crate::ports::store::{Store, StoreFault};
use files::OpenFiles;
use rustix::fs::{FlockOperation, flock};
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Name of the lock in the state directory. Not reachable through [`Store`].
pub const LOCK: &str = "lock";
/// Folders and files belong to their owner alone: the salvages hold the victim's data.
const DIR_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// Longest path below the state directory, in bytes: far below PATH_MAX.
const MAX_PATH: usize = 1024;

/// Why a state directory could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum StateDirError {
    /// It is not there, and opening it for reading does not create it.
    #[error("there is no state directory {}", path.display())]
    NotThere {
        /// The folder.
        path: PathBuf,
    },
    /// The path is not a folder.
    #[error("{} is not a folder", path.display())]
    NotAFolder {
        /// The path.
        path: PathBuf,
    },
    /// Its path is not UTF-8 or holds control characters, so that no message and no overlay could name it.
    #[error("{}: the path is not UTF-8 or holds control characters", path.display().to_string().replace(char::is_control, "?"))]
    NotText {
        /// The path.
        path: PathBuf,
    },
    /// Another process works in it.
    #[error(
        "the state directory {} is in use by {}: wait until it is done",
        path.display(), holder.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
    )]
    Locked {
        /// The folder.
        path: PathBuf,
        /// The holder's process id, if it has written it down.
        holder: Option<u32>,
    },
    /// Somebody else can change it.
    #[error("the state directory {} is not safe to act by", path.display())]
    Untrusted {
        /// The folder.
        path: PathBuf,
        /// What is wrong, and what mends it.
        #[source]
        source: Untrusted,
    },
    /// The system said no.
    #[error("cannot {act} {}", path.display())]
    Io {
        /// What was tried, in words.
        act: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Another process that has the state directory's lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AtWork {
    /// Its number, if it has written that down yet.
    pub process: Option<u32>,
}

impl fmt::Display for AtWork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.process {
            Some(pid) => write!(f, "Process {pid}")?,
            None => f.write_str("Another process")?,
        }
        f.write_str(" works in this state directory just now, maybe at this incident: wait until it is done.")
    }
}

/// A state directory. While one is open for writing, no other process can open it so.
#[derive(Debug)]
pub struct StateDir {
    root: PathBuf,
    files: OpenFiles,
    /// Holds the lock as long as it lives; `None` when open for reading only, or for a part of it.
    lock: Option<File>,
    /// The folder in it that may be changed without the lock, because nobody else knows its name.
    part: Option<String>,
}

impl StateDir {
    /// Opens the folder for writing, creating it (mode 0700) if needed, and takes its lock.
    ///
    /// # Errors
    /// [`StateDirError`]; `Locked` names the process that holds it.
    pub fn open(path: &Path) -> Result<StateDir, StateDirError> {
        let root = std::path::absolute(path).map_err(io_error("resolve the path", path))?;
        if root.to_str().is_none_or(|text| text.contains(char::is_control)) {
            return Err(StateDirError::NotText { path: root });
        }
        if !root.exists() {
            DirBuilder::new()
                .recursive(true)
                .mode(DIR_MODE)
                .create(&root)
                .map_err(io_error("create the state directory", &root))?;
            if let Some(parent) = root.parent() {
                File::open(parent).and_then(|dir| dir.sync_all()).map_err(io_error("sync", parent))?;
            }
        }
        let root = safe(&root)?;
        let lock = outwait(|| take_lock(&root), stays)?;
        Ok(StateDir { root, files: OpenFiles::new(true), lock: Some(lock), part: None })
    }

    /// Opens the folder for reading, without the lock. Whatever would change it fails.
    ///
    /// # Errors
    /// [`StateDirError`]; `NotThere` when the folder does not exist: then there are no incidents.
    pub fn open_read_only(path: &Path) -> Result<StateDir, StateDirError> {
        let root = resolved(path)?;
        Ok(StateDir { root, files: OpenFiles::new(false), lock: None, part: None })
    }

    /// Who holds the lock, if it is another process: what stands open may be what it does just now. A lock that cannot be
    /// looked at is not known to be held.
    #[must_use]
    pub fn at_work(&self) -> Option<AtWork> {
        let path = self.root.join(LOCK);
        let file = OpenOptions::new().read(true).custom_flags(files::NO_FOLLOW).open(path).ok()?;
        // For a moment only, and shared: whoever wants the lock waits longer than that.
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Err(rustix::io::Errno::WOULDBLOCK) => match holder(file) {
                Some(pid) if pid == std::process::id() => None,
                process => Some(AtWork { process }),
            },
            _ => None,
        }
    }

    /// Opens the folder for reading, and one folder in it, whose name nobody else uses, for writing: beside a process that
    /// has the lock. Creates the state directory (mode 0700) if needed.
    ///
    /// # Errors
    /// [`StateDirError`].
    pub fn open_part(path: &Path, part: &str) -> Result<StateDir, StateDirError> {
        let root = std::path::absolute(path).map_err(io_error("resolve the path", path))?;
        if !root.exists() {
            let made = DirBuilder::new().recursive(true).mode(DIR_MODE).create(&root);
            made.map_err(io_error("create the state directory", &root))?;
        }
        let root = safe(&root)?;
        Ok(StateDir { root, files: OpenFiles::new(true), lock: None, part: Some(part.to_owned()) })
    }

    /// The folder, without symbolic links.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// The full path of a relative one that is safe to follow.
    fn full(&self, act: &'static str, path: &str) -> Result<PathBuf, StoreFault> {
        if path == LOCK || !is_safe(path) {
            let why = "not a relative path of plain names";
            return Err(fault(act, &self.root.join(path), io::Error::new(io::ErrorKind::InvalidInput, why)));
        }
        Ok(self.root.join(path))
    }

    /// Like `full`, for what changes something.
    fn writable(&self, act: &'static str, path: &str) -> Result<PathBuf, StoreFault> {
        let full = self.full(act, path)?;
        let ours = self.part.as_ref().is_some_and(|part| {
            path.strip_prefix(part.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        if self.lock.is_none() && !ours {
            let why = "the state directory is open for reading only";
            return Err(fault(act, &full, io::Error::new(io::ErrorKind::ReadOnlyFilesystem, why)));
        }
        Ok(full)
    }

    /// Like `full`, where `""` is the state directory itself.
    fn folder(&self, act: &'static str, dir: &str) -> Result<PathBuf, StoreFault> {
        if dir.is_empty() { Ok(self.root.clone()) } else { self.full(act, dir) }
    }
}

/// Whether a path is relative, of plain names, and short.
fn is_safe(path: &str) -> bool {
    path.len() <= MAX_PATH
        && !path.contains('\0')
        && path.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
}

fn fault(act: &'static str, path: &Path, source: io::Error) -> StoreFault {
    StoreFault { act, path: path.display().to_string(), source }
}

fn io_error<'a>(act: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> StateDirError + 'a {
    move |source| StateDirError::Io { act, path: path.to_owned(), source }
}

fn resolved(path: &Path) -> Result<PathBuf, StateDirError> {
    let root = match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(StateDirError::NotThere { path: path.to_owned() });
        }
        other => other.map_err(io_error("resolve the path", path))?,
    };
    if root.to_str().is_none_or(|text| text.contains(char::is_control)) {
        return Err(StateDirError::NotText { path: root });
    }
    let is_dir = fs::metadata(&root).map_err(io_error("look at", &root))?.is_dir();
    if is_dir { Ok(root) } else { Err(StateDirError::NotAFolder { path: root }) }
}

/// How long a lock is waited for. Its holder writes his number down: one that runs, and is not us, stays.
fn stays(error: &StateDirError) -> Duration {
    let runs = |pid: u32| pid != std::process::id() && Path::new(&format!("/proc/{pid}")).exists();
    match error {
        StateDirError::Locked { holder, .. } if holder.is_some_and(runs) => SEEN,
        StateDirError::Locked { .. } => UNSEEN,
        _ => Duration::ZERO,
    }
}

/// Like `resolved`, for a folder that is written to and acted by.
fn safe(path: &Path) -> Result<PathBuf, StateDirError> {
    let root = resolved(path)?;
    match trusted(&root) {
        Ok(()) => Ok(root),
        Err(Untrusted::Io { path, source }) => Err(io_error("look at", &path)(source)),
        Err(source) => Err(StateDirError::Untrusted { path: root, source }),
    }
}

/// The process that wrote its id into the lock. For messages only: one that has not written it yet is a holder, too.
fn holder(lock: File) -> Option<u32> {
    let mut text = String::new();
    match lock.take(32).read_to_string(&mut text) {
        Ok(_) => text.trim().parse().ok(),
        Err(_) => None,
    }
}

/// Takes the lock and writes our process id into it. The file stays for good: removing it would let two
/// processes lock two files of the same name.
fn take_lock(root: &Path) -> Result<File, StateDirError> {
    let path = root.join(LOCK);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(FILE_MODE)
        .custom_flags(files::NO_FOLLOW)
        .open(&path)
        .map_err(io_error("open", &path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            return Err(StateDirError::Locked { path: root.to_owned(), holder: holder(file) });
        }
        Err(errno) => return Err(io_error("lock", &path)(errno.into())),
    }
    file.set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(io_error("write our process id to", &path))?;
    Ok(file)
}

impl Store for StateDir {
    fn locate(&self, path: &str) -> String {
        let full = if path.is_empty() { self.root.clone() } else { self.root.join(path) };
        full.display().to_string()
    }

    fn create_dir(&self, dir: &str) -> Result<(), StoreFault> {
        let act = "create the folder";
        let full = self.writable(act, dir)?;
        DirBuilder::new().recursive(true).mode(DIR_MODE).create(&full).map_err(|e| fault(act, &full, e))
    }

    fn create(&self, path: &str) -> Result<(), StoreFault> {
        let act = "create";
        let full = self.writable(act, path)?;
        self.files.create(&full, FILE_MODE).map_err(|e| fault(act, &full, e))
    }

    fn len(&self, path: &str) -> Result<Option<u64>, StoreFault> {
        let act = "look at";
        let full = self.full(act, path)?;
        match fs::symlink_metadata(&full) {
            Ok(found) if found.is_file() => Ok(Some(found.len())),
            Ok(_) => Err(fault(act, &full, files::not_a_file())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(fault(act, &full, error)),
        }
    }

    fn read_at(&self, path: &str, offset: u64, buffer: &mut [u8]) -> Result<(), StoreFault> {
        let act = "read";
        let full = self.full(act, path)?;
        let read = |file: &File| read_exact_at(file, buffer, offset);
        self.files.with(&full, read).map_err(|e| fault(act, &full, e))
    }

    fn write_at(&self, path: &str, offset: u64, buffer: &[u8]) -> Result<(), StoreFault> {
        let act = "write to";
        let full = self.writable(act, path)?;
        let write = |file: &File| write_all_at(file, buffer, offset);
        self.files.with(&full, write).map_err(|e| fault(act, &full, e))
    }

    fn set_len(&self, path: &str, len: u64) -> Result<(), StoreFault> {
        let act = "set the length of";
        let full = self.writable(act, path)?;
        self.files.with(&full, |file| file.set_len(len)).map_err(|e| fault(act, &full, e))
    }

    fn sync(&self, path: &str) -> Result<(), StoreFault> {
        let act = "sync";
        let full = self.writable(act, path)?;
        self.files.with(&full, File::sync_all).map_err(|e| fault(act, &full, e))
    }

    fn sync_dir(&self, dir: &str) -> Result<(), StoreFault> {
        let act = "sync the folder";
        let full = self.folder(act, dir)?;
        File::open(&full).and_then(|file| file.sync_all()).map_err(|e| fault(act, &full, e))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), StoreFault> {
        let act = "rename";
        let old = self.writable(act, from)?;
        let new = self.writable(act, to)?;
        self.files.forget_below(&old);
        self.files.forget_below(&new);
        fs::rename(&old, &new).map_err(|source| StoreFault {
            act,
            path: format!("{} to {}", old.display(), new.display()),
            source,
        })
    }

    fn remove(&self, path: &str) -> Result<(), StoreFault> {
        let act = "remove";
        let full = self.writable(act, path)?;
        self.files.forget_below(&full);
        match fs::remove_file(&full) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(|e| fault(act, &full, e)),
        }
    }

    fn list(&self, dir: &str) -> Result<Vec<String>, StoreFault> {
        let act = "list the folder";
        let full = self.folder(act, dir)?;
        let entries = match fs::read_dir(&full) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(|e| fault(act, &full, e))?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(|e| fault(act, &full, e))?.file_name();
            // A name that is no text is none of ours, and no path of ours can reach it.
            if let Ok(name) = name.into_string()
                && !(dir.is_empty() && name == LOCK)
            {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn free_space(&self) -> Result<u64, StoreFault> {
        let stat = rustix::fs::statvfs(&self.root)
            .map_err(|errno| fault("ask for the free space of", &self.root, errno.into()))?;
        // What an unprivileged user may still take: the reserve for root is not ours to spend.
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}
