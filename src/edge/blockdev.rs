//! Regular files and block devices as disks.

use super::claim::{ClaimError, Claimed};
use super::exact::{at_most, write_all_at};
use super::mapped::Mapped;
use super::pace::Pace;
use super::sweep::Direct;
use super::writer::{Writer, again};
use crate::digest::aligned::Aligned;
use crate::model::extent::Extent;
use crate::ports::disk::{Disk, DiskFault, DiskMut, Stretch};
use rustix::fs::OFlags;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Largest buffer, in bytes, for requests that direct I/O does not take as they are.
const BOUNCE: u64 = 1 << 20;

/// What a disk is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Reading. Never disturbs who uses it.
    ReadOnly,
    /// Reading and writing, without a claim: see [`BlockFile::claim`].
    ReadWrite,
    /// Reading and writing, claimed for as long as the disk is open.
    Exclusive,
}

impl Mode {
    fn words(self) -> &'static str {
        match self {
            Mode::ReadOnly => "reading",
            Mode::ReadWrite | Mode::Exclusive => "writing",
        }
    }
}

/// Why a path could not be opened as a disk.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Nothing has that name.
    #[error("{path}: there is no such file or device")]
    Missing {
        /// The path.
        path: String,
    },
    /// It is a directory.
    #[error("{path}: is a directory; name an image file or a block device")]
    Directory {
        /// The path.
        path: String,
    },
    /// It is something else that holds no blocks.
    #[error("{path}: is a {what}; name an image file or a block device")]
    NotStorage {
        /// The path.
        path: String,
        /// What it is, in words.
        what: &'static str,
    },
    /// The system does not allow it.
    #[error("{path}: may not be opened for {what}: {}", denied_because(what))]
    Denied {
        /// The path.
        path: String,
        /// What it was opened for.
        what: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The device takes no writes.
    #[error("{path}: is a read-only device, and it is to be written; make it writable, or name a copy")]
    ReadOnlyDevice {
        /// The path.
        path: String,
    },
    /// It has no bytes.
    #[error("{path}: is empty (0 bytes); a device without medium or an image that was never written?")]
    Empty {
        /// The path.
        path: String,
    },
    /// Somebody else uses it.
    #[error("{path}: cannot be claimed for writing")]
    Busy {
        /// The path.
        path: String,
        /// Who.
        #[source]
        source: ClaimError,
    },
    /// The path is not UTF-8 or holds control characters, so that it could not be named in reports and in salvages.
    #[error(
        "{path}: the path is not UTF-8 or holds control characters; give it another name, or a link with one"
    )]
    NotText {
        /// The path, as far as it can be shown.
        path: String,
    },
    /// Anything else.
    #[error("{path}: {act} failed")]
    Io {
        /// The path.
        path: String,
        /// What was tried.
        act: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// What a path leads to: equal for two paths to the same file (hard and symbolic links) or to the same
/// device (`/dev/dm-3` and `/dev/vg/lv`). A loop device and its backing file are two identities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Identity {
    /// A regular file: device and inode number of its file system.
    File {
        /// `st_dev`.
        dev: u64,
        /// `st_ino`.
        ino: u64,
    },
    /// A block device: its number, major and minor as in `st_rdev`.
    Device {
        /// `st_rdev`.
        rdev: u64,
    },
}

impl Identity {
    /// The identity of a file or block device; nothing for anything else.
    #[must_use]
    pub fn of(metadata: &Metadata) -> Option<Identity> {
        let kind = metadata.file_type();
        if kind.is_file() {
            Some(Identity::File { dev: metadata.dev(), ino: metadata.ino() })
        } else if kind.is_block_device() {
            Some(Identity::Device { rdev: metadata.rdev() })
        } else {
            None
        }
    }
}

/// As it travels to another machine.
impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Identity::File { dev, ino } => write!(f, "file {dev}:{ino}"),
            Identity::Device { rdev } => write!(f, "device {rdev}"),
        }
    }
}

impl std::str::FromStr for Identity {
    type Err = ();
    fn from_str(text: &str) -> Result<Identity, ()> {
        let number = |text: &str| text.parse().map_err(drop);
        match text.split_once(' ').ok_or(())? {
            ("file", place) => {
                let (dev, ino) = place.split_once(':').ok_or(())?;
                Ok(Identity::File { dev: number(dev)?, ino: number(ino)? })
            }
            ("device", rdev) => Ok(Identity::Device { rdev: number(rdev)? }),
            _ => Err(()),
        }
    }
}

/// A regular file or block device of fixed size.
///
/// Devices are read and written with `O_DIRECT`, always: the page cache of a backing device does not see
/// what DRBD writes below it, so a cached read could be stale. Files go through the page cache, except
/// where [`Disk::sweep_at`] finds them not to be in it.
#[derive(Debug)]
pub struct BlockFile {
    /// A device's is for writing, too, if it was opened so.
    file: File,
    writer: Writer,
    name: String,
    size: u64,
    identity: Identity,
    /// Smallest unit of direct I/O in bytes; 1 for files.
    sector: u64,
    /// Held while a device write is widened to whole sectors, so that two such writes cannot undo each other.
    widening: Mutex<()>,
    claimed: Option<Claimed>,
    shared_claim: Mutex<Weak<Claimed>>,
    direct: Direct,
    mapped: Mapped,
    pace: Option<Arc<Pace>>,
}

impl BlockFile {
    /// Opens an image file or a block device. The size is taken now and stays.
    ///
    /// # Errors
    /// [`OpenError`], which says what to do.
    pub fn open(path: &Path, mode: Mode) -> Result<BlockFile, OpenError> {
        let shown = path.display().to_string();
        let io_error = |act| {
            let path = shown.clone();
            move |source| OpenError::Io { path, act, source }
        };
        let absolute: PathBuf = std::path::absolute(path).map_err(io_error("finding its full path"))?;
        let name = match absolute.to_str() {
            Some(name) if !name.contains(char::is_control) => name.to_owned(),
            _ => return Err(OpenError::NotText { path: shown.replace(char::is_control, "?") }),
        };
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => OpenError::Missing { path: name.clone() },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                OpenError::Denied { path: name.clone(), what: mode.words(), source }
            }
            _ => OpenError::Io { path: name.clone(), act: "opening it", source },
        };
        // Looked at before opening, because opening a pipe waits and opening some devices acts.
        let before = std::fs::metadata(&absolute).map_err(failed)?;
        let expected = storage(&before, &name)?;
        let direct =
            if matches!(expected, Identity::Device { .. }) { OFlags::DIRECT } else { OFlags::empty() };
        let file = OpenOptions::new()
            .read(true)
            .write(mode != Mode::ReadOnly)
            .custom_flags((direct | OFlags::NOCTTY | OFlags::NONBLOCK).bits().cast_signed())
            .open(&absolute)
            .map_err(failed)?;
        let metadata = file.metadata().map_err(io_error("looking at it"))?;
        let identity = storage(&metadata, &name)?;
        if identity != expected {
            return Err(io_error("opening it")(io::Error::other("it was replaced meanwhile; try again")));
        }
        if mode != Mode::ReadOnly && is_read_only(identity) {
            return Err(OpenError::ReadOnlyDevice { path: name });
        }
        let (size, sector) = match identity {
            Identity::File { .. } => (metadata.len(), 1),
            Identity::Device { .. } => {
                let size = (&file).seek(SeekFrom::End(0)).map_err(io_error("finding its size"))?;
                let sector = rustix::fs::ioctl_blksszget(&file)
                    .map_err(|error| io_error("finding its sector size")(error.into()))?;
                (size, u64::from(sector).max(1))
            }
        };
        if size == 0 {
            return Err(OpenError::Empty { path: name });
        }
        let (file, writer) = if mode == Mode::ReadOnly || direct != OFlags::empty() {
            (file, Writer::Same)
        } else {
            // Now it is known that it may be written to, and nobody has it open for that on our behalf.
            let reader = again(&file, false).map_err(io_error("opening it for reading"))?;
            drop(file);
            (reader, Writer::later())
        };
        let mut disk = BlockFile {
            file,
            writer,
            name,
            size,
            identity,
            sector,
            widening: Mutex::new(()),
            claimed: None,
            shared_claim: Mutex::default(),
            direct: Direct::default(),
            mapped: Mapped::default(),
            pace: None,
        };
        if mode == Mode::Exclusive {
            match disk.claim() {
                Ok(claimed) => disk.claimed = Some(claimed),
                Err(source) => return Err(OpenError::Busy { path: disk.name, source }),
            }
        }
        Ok(disk)
    }

    /// The same disk, of which no more is read than `pace` allows.
    #[must_use]
    pub fn paced(self, pace: Option<Arc<Pace>>) -> BlockFile {
        BlockFile { pace, ..self }
    }

    /// What this is, whatever path led to it.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Whether this is a block device.
    #[must_use]
    pub fn is_device(&self) -> bool {
        matches!(self.identity, Identity::Device { .. })
    }

    /// Whether it was opened as [`Mode::Exclusive`].
    #[must_use]
    pub fn is_claimed(&self) -> bool {
        self.claimed.is_some()
    }

    pub(super) fn shared_claim(&self) -> &Mutex<Weak<Claimed>> {
        &self.shared_claim
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Whether anybody else has the file open for writing, where the kernel tells.
    pub(super) fn others_write(&self) -> Option<bool> {
        self.writer.others_write(&self.file)
    }

    pub(super) fn direct(&self) -> &Direct {
        &self.direct
    }

    pub(super) fn mapped(&self) -> &Mapped {
        &self.mapped
    }

    fn inside(&self, offset: u64, len: usize) -> Result<Extent, DiskFault> {
        let extent = Extent { start: offset, len: len as u64 };
        match offset.checked_add(extent.len) {
            Some(end) if end <= self.size => Ok(extent),
            _ => Err(DiskFault::Outside { disk: self.name.clone(), extent, size: self.size }),
        }
    }

    pub(super) fn fault(&self, act: &'static str, extent: Extent, source: io::Error) -> DiskFault {
        DiskFault::Io { disk: self.name.clone(), act, extent, source }
    }

    /// Whether a request can go to the system as it is.
    fn fits(&self, offset: u64, buffer: &[u8]) -> bool {
        let address = buffer.as_ptr().addr() as u64;
        [offset, buffer.len() as u64, address].iter().all(|number| number.is_multiple_of(self.sector))
    }

    fn read_exact(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskFault> {
        let extent = Extent { start: offset, len: buffer.len() as u64 };
        let mut done = 0;
        while done < buffer.len() {
            let rest = &mut buffer[done..];
            let given = rest.len();
            let read = self.file.read_at(rest, offset + done as u64);
            match read.and_then(|count| at_most("read", count, given)) {
                Ok(0) => {
                    return Err(DiskFault::Short { disk: self.name.clone(), extent, got: done as u64 });
                }
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.fault("read", extent, error)),
            }
        }
        Ok(())
    }

    /// See [`Disk::read_at`].
    pub(super) fn read_now(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskFault> {
        let extent = self.inside(offset, buffer.len())?;
        if self.fits(offset, buffer) {
            return self.read_exact(offset, buffer);
        }
        let whole = |extent: Extent| within(extent, extent);
        let mut bounce = Aligned::new(whole(self.widened(extent, offset).0).end);
        let mut at = offset;
        while at < extent.end() {
            let (outer, inner) = self.widened(extent, at);
            let sectors = &mut bounce.as_mut_slice()[whole(outer)];
            self.read_exact(outer.start, sectors)?;
            buffer[within(extent_from(offset, inner), inner)].copy_from_slice(&sectors[within(outer, inner)]);
            at = inner.end();
        }
        Ok(())
    }

    /// Until that many bytes may be read.
    fn wait_for(&self, bytes: usize) {
        if let Some(pace) = &self.pace {
            pace.wait(bytes as u64);
        }
    }

    fn write_all(&self, offset: u64, buffer: &[u8]) -> Result<(), DiskFault> {
        let extent = Extent { start: offset, len: buffer.len() as u64 };
        let written = self.writer.with(&self.file, |file| write_all_at(file, buffer, offset));
        written.map_err(|error| self.fault("write", extent, error))
    }

    /// The whole sectors around the part of `extent` from `at` on, at most [`BOUNCE`] bytes, and the part
    /// of `extent` that they hold.
    fn widened(&self, extent: Extent, at: u64) -> (Extent, Extent) {
        let start = at / self.sector * self.sector;
        let end = extent.end().next_multiple_of(self.sector).min(self.size).min(start + BOUNCE);
        (Extent::between(start, end), Extent::between(at, extent.end().min(end)))
    }
}

/// Why the system may have refused, for people.
fn denied_because(what: &str) -> &'static str {
    if what == Mode::ReadOnly.words() { "run as root" } else { "it is read-only, or you are not root" }
}

/// Whether the kernel refuses writes to a device although it lets it be opened for them. Unknown counts as no: then the
/// first write finds out.
fn is_read_only(identity: Identity) -> bool {
    let Identity::Device { rdev } = identity else { return false };
    let (major, minor) = (rustix::fs::major(rdev), rustix::fs::minor(rdev));
    std::fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/ro")).is_ok_and(|text| text.trim() == "1")
}

/// The identity of what can be a disk.
fn storage(metadata: &Metadata, name: &str) -> Result<Identity, OpenError> {
    let path = || name.to_owned();
    let kind = metadata.file_type();
    Identity::of(metadata).ok_or_else(|| match () {
        () if kind.is_dir() => OpenError::Directory { path: path() },
        () if kind.is_char_device() => OpenError::NotStorage { path: path(), what: "character device" },
        () if kind.is_fifo() => OpenError::NotStorage { path: path(), what: "pipe" },
        () if kind.is_socket() => OpenError::NotStorage { path: path(), what: "socket" },
        () => OpenError::NotStorage { path: path(), what: "thing without blocks" },
    })
}

/// Where `inner` lies in a buffer that holds `outer`; both at most [`BOUNCE`] bytes.
#[allow(clippy::cast_possible_truncation)]
fn within(outer: Extent, inner: Extent) -> std::ops::Range<usize> {
    (inner.start - outer.start) as usize..(inner.end() - outer.start) as usize
}

impl Disk for BlockFile {
    fn name(&self) -> &str {
        &self.name
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskFault> {
        self.inside(offset, buffer.len())?;
        self.wait_for(buffer.len());
        self.read_now(offset, buffer)
    }

    fn sweep_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskFault> {
        self.inside(offset, buffer.len())?;
        self.wait_for(buffer.len());
        self.sweep(offset, buffer)
    }

    fn at_hand(&self, extent: Extent) -> bool {
        self.is_at_hand(extent)
    }

    fn read_if_at_hand(&self, offset: u64, buffer: &mut [u8]) -> bool {
        if self.is_device() || self.inside(offset, buffer.len()).is_err() {
            return false;
        }
        self.wait_for(buffer.len());
        self.read_cached(offset, buffer)
    }

    #[allow(clippy::cast_possible_truncation)] // only counted
    fn in_place(&self, extent: Extent, look: &mut dyn FnMut(&[u8])) -> bool {
        self.wait_for(extent.len as usize);
        self.look(extent, look)
    }

    fn leave(&self, extent: Extent) {
        self.look_away(extent);
    }

    fn stretch(&self, offset: u64) -> Stretch {
        use rustix::fs::SeekFrom as Seek;
        let unknown = Stretch::Data(self.size);
        if self.is_device() {
            return unknown;
        }
        match rustix::fs::seek(&self.file, Seek::Data(offset)) {
            Ok(data) if data > offset => Stretch::Hole(data.min(self.size)),
            Ok(_) => match rustix::fs::seek(&self.file, Seek::Hole(offset)) {
                Ok(hole) if hole > offset => Stretch::Data(hole.min(self.size)),
                _ => unknown,
            },
            // No data from here on: a hole to the end, unless the end has moved to before it. Then the
            // bytes are gone, not zero, and reading must find out.
            Err(rustix::io::Errno::NXIO)
                if self.file.metadata().is_ok_and(|metadata| metadata.len() >= self.size) =>
            {
                Stretch::Hole(self.size)
            }
            Err(_) => unknown,
        }
    }
}

/// An extent that starts at the request's first byte and holds `inner`.
fn extent_from(offset: u64, inner: Extent) -> Extent {
    Extent::between(offset, inner.end())
}

impl DiskMut for BlockFile {
    fn write_at(&self, offset: u64, buffer: &[u8]) -> Result<(), DiskFault> {
        let extent = self.inside(offset, buffer.len())?;
        if !self.is_device() {
            // A write behind the end of a file that shrank would grow it again, with a hole of zeros.
            let now = self.file.metadata().map_err(|error| self.fault("write", extent, error))?.len();
            if now < extent.end() {
                let got = now.saturating_sub(offset);
                return Err(DiskFault::Short { disk: self.name.clone(), extent, got });
            }
        }
        if self.fits(offset, buffer) {
            return self.write_all(offset, buffer);
        }
        let _alone = self.widening.lock().unwrap_or_else(PoisonError::into_inner);
        let whole = |extent: Extent| within(extent, extent);
        let mut bounce = Aligned::new(whole(self.widened(extent, offset).0).end);
        let mut at = offset;
        while at < extent.end() {
            let (outer, inner) = self.widened(extent, at);
            let sectors = &mut bounce.as_mut_slice()[whole(outer)];
            if outer != inner {
                self.read_exact(outer.start, sectors)?;
            }
            sectors[within(outer, inner)].copy_from_slice(&buffer[within(extent_from(offset, inner), inner)]);
            self.write_all(outer.start, sectors)?;
            at = inner.end();
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), DiskFault> {
        let all = Extent { start: 0, len: self.size };
        self.file.sync_data().map_err(|error| self.fault("flush", all, error))
    }

    fn as_disk(&self) -> &dyn Disk {
        self
    }
}
