//! A store over a temporary folder that can fail or lie at any operation, and disks in memory and in files.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use unsplit::model::extent::{Extent, ExtentSet};
use unsplit::ports::disk::{Disk, DiskFault, DiskMut};
use unsplit::ports::store::{Store, StoreFault};

/// What goes wrong, at which operation (counted from 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    None,
    /// This one fails, after half of a write was done.
    Once(u64),
    /// This one and every later one fails: the machine is gone.
    From(u64),
    /// This one, if it is a write, says Ok and writes one wrong bit.
    Lie(u64),
    /// This one, if it is a write, says Ok and writes nothing (what was there stays).
    Drop(u64),
}

pub struct TestStore {
    root: PathBuf,
    pub free: u64,
    trouble: Trouble,
    operations: AtomicU64,
    writes: AtomicU64,
    story: Mutex<Vec<(&'static str, String)>>,
}

impl TestStore {
    pub fn new(root: &Path) -> Self {
        TestStore::troubled(root, Trouble::None)
    }

    pub fn troubled(root: &Path, trouble: Trouble) -> Self {
        let counters = (AtomicU64::new(0), AtomicU64::new(0));
        let story = Mutex::new(Vec::new());
        TestStore {
            root: root.to_owned(),
            free: 1 << 40,
            trouble,
            operations: counters.0,
            writes: counters.1,
            story,
        }
    }

    pub fn operations(&self) -> u64 {
        self.operations.load(Ordering::SeqCst)
    }

    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::SeqCst)
    }

    /// What was done to which path, in order.
    pub fn story(&self) -> Vec<(&'static str, String)> {
        self.story.lock().unwrap().clone()
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    fn run<T>(
        &self,
        act: &'static str,
        path: &str,
        work: impl FnOnce(PathBuf, bool) -> io::Result<T>,
    ) -> Result<T, StoreFault> {
        let now = self.operations.fetch_add(1, Ordering::SeqCst) + 1;
        self.story.lock().unwrap().push((act, path.to_owned()));
        let fails = match self.trouble {
            Trouble::Once(at) => now == at,
            Trouble::From(at) => now >= at,
            _ => false,
        };
        let done = work(self.path(path), fails);
        let done = if fails { Err(io::Error::other("made to fail")) } else { done };
        done.map_err(|source| StoreFault { act, path: self.locate(path), source })
    }
}

impl Store for TestStore {
    fn locate(&self, path: &str) -> String {
        self.path(path).to_str().unwrap().to_owned()
    }
    fn create_dir(&self, dir: &str) -> Result<(), StoreFault> {
        self.run("create folder", dir, |path, fails| if fails { Ok(()) } else { fs::create_dir_all(path) })
    }
    fn create(&self, path: &str) -> Result<(), StoreFault> {
        self.run("create", path, |path, _| File::create(path).map(drop))
    }
    fn len(&self, path: &str) -> Result<Option<u64>, StoreFault> {
        self.run("look at", path, |path, _| match fs::metadata(path) {
            Ok(data) => Ok(Some(data.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        })
    }
    fn read_at(&self, path: &str, offset: u64, buffer: &mut [u8]) -> Result<(), StoreFault> {
        self.run("read", path, |path, _| File::open(path)?.read_exact_at(buffer, offset))
    }
    fn write_at(&self, path: &str, offset: u64, buffer: &[u8]) -> Result<(), StoreFault> {
        let write = self.writes.fetch_add(1, Ordering::SeqCst) + 1;
        self.run("write", path, |path, fails| {
            let mut bytes = buffer.to_vec();
            if fails {
                bytes.truncate(buffer.len() / 2);
            }
            if self.trouble == Trouble::Lie(write) {
                let at = bytes.len() / 3;
                bytes[at] ^= 0x10;
            }
            let file = File::options().write(true).open(path)?;
            if self.trouble == Trouble::Drop(write) {
                // The length grows, the content does not come: what a lost write looks like.
                let end = offset + bytes.len() as u64;
                return if file.metadata()?.len() < end { file.set_len(end) } else { Ok(()) };
            }
            file.write_all_at(&bytes, offset)
        })
    }
    fn set_len(&self, path: &str, len: u64) -> Result<(), StoreFault> {
        self.run("cut", path, |path, _| File::options().write(true).open(path)?.set_len(len))
    }
    fn sync(&self, path: &str) -> Result<(), StoreFault> {
        self.run("sync", path, |path, _| File::open(path).map(drop))
    }
    fn sync_dir(&self, dir: &str) -> Result<(), StoreFault> {
        self.run("sync names of", dir, |path, _| File::open(path).map(drop))
    }
    fn rename(&self, from: &str, to: &str) -> Result<(), StoreFault> {
        // A failing rename may or may not have happened; here it has.
        self.run("rename", from, |path, _| fs::rename(path, self.path(to)))
    }
    fn remove(&self, path: &str) -> Result<(), StoreFault> {
        self.run("remove", path, |path, fails| {
            if fails {
                return Ok(());
            }
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            }
        })
    }
    fn list(&self, dir: &str) -> Result<Vec<String>, StoreFault> {
        self.run("list", dir, |path, _| {
            let entries = match fs::read_dir(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
                entries => entries?,
            };
            let mut names = Vec::new();
            for entry in entries {
                names.push(entry?.file_name().into_string().unwrap());
            }
            names.sort();
            Ok(names)
        })
    }
    fn free_space(&self) -> Result<u64, StoreFault> {
        self.run("look at", "", |_, _| Ok(self.free))
    }
}

/// A disk in memory. From `short_from` on it ends early; from the `changes_after`th read on its first byte differs.
pub struct MemoryDisk {
    pub bytes: Mutex<Vec<u8>>,
    size: u64,
    pub short_from: Option<u64>,
    pub changes_after: Option<u64>,
    reads: AtomicU64,
}

impl MemoryDisk {
    pub fn new(bytes: Vec<u8>) -> Self {
        let size = bytes.len() as u64;
        MemoryDisk {
            bytes: Mutex::new(bytes),
            size,
            short_from: None,
            changes_after: None,
            reads: AtomicU64::new(0),
        }
    }

    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::SeqCst)
    }

    pub fn content(&self) -> Vec<u8> {
        self.bytes.lock().unwrap().clone()
    }
}

impl Disk for MemoryDisk {
    fn name(&self) -> &str {
        "memory"
    }
    fn size(&self) -> u64 {
        self.size
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskFault> {
        let extent = Extent { start: offset, len: buffer.len() as u64 };
        if extent.end() > self.size {
            return Err(DiskFault::Outside { disk: "memory".into(), extent, size: self.size });
        }
        if let Some(short) = self.short_from.filter(|short| extent.end() > *short) {
            return Err(DiskFault::Short {
                disk: "memory".into(),
                extent,
                got: short.saturating_sub(offset),
            });
        }
        let from = usize::try_from(offset).unwrap();
        buffer.copy_from_slice(&self.bytes.lock().unwrap()[from..from + buffer.len()]);
        let reads = self.reads.fetch_add(1, Ordering::SeqCst) + 1;
        if self.changes_after.is_some_and(|after| reads > after)
            && let Some(byte) = buffer.first_mut()
        {
            *byte ^= 1;
        }
        Ok(())
    }
}

impl DiskMut for MemoryDisk {
    fn write_at(&self, offset: u64, buffer: &[u8]) -> Result<(), DiskFault> {
        let from = usize::try_from(offset).unwrap();
        self.bytes.lock().unwrap()[from..from + buffer.len()].copy_from_slice(buffer);
        Ok(())
    }
    fn flush(&self) -> Result<(), DiskFault> {
        Ok(())
    }
    fn as_disk(&self) -> &dyn Disk {
        self
    }
}

/// A (sparse) file as a disk.
pub struct FileDisk {
    file: File,
    size: u64,
}

impl FileDisk {
    pub fn open(path: &Path) -> Self {
        let file = File::open(path).unwrap();
        let size = file.metadata().unwrap().len();
        FileDisk { file, size }
    }
}

impl Disk for FileDisk {
    fn name(&self) -> &str {
        "file"
    }
    fn size(&self) -> u64 {
        self.size
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskFault> {
        let extent = Extent { start: offset, len: buffer.len() as u64 };
        self.file.read_exact_at(buffer, offset).map_err(|source| DiskFault::Io {
            disk: "file".into(),
            act: "read",
            extent,
            source,
        })
    }
}

/// Numbers that look random and are the same in every run.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 20
    }

    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(4) {
            let number = self.roll().to_le_bytes();
            chunk.copy_from_slice(&number[..chunk.len()]);
        }
    }
}

pub fn set(extents: &[(u64, u64)]) -> ExtentSet {
    extents.iter().map(|&pair| Extent::from(pair)).collect()
}

/// The survivor's data, and the victim's, which differs in every byte of `extents` and nowhere else.
pub fn sides(size: u64, extents: &ExtentSet) -> (Vec<u8>, Vec<u8>) {
    let mut survivor = vec![0; usize::try_from(size).unwrap()];
    Dice(size).fill(&mut survivor);
    let mut victim = survivor.clone();
    for extent in extents.iter() {
        let range = usize::try_from(extent.start).unwrap()..usize::try_from(extent.end()).unwrap();
        victim[range].iter_mut().for_each(|byte| *byte ^= 0xa5);
    }
    (survivor, victim)
}

/// Runs qemu-img; `None`, with a word, when it is not installed. Its complaint is the panic's message.
pub fn qemu_img(args: &[&str]) -> Option<String> {
    let output = match Command::new("qemu-img").args(args).output() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            crate::skipped::lacking("qemu-img is not installed");
            return None;
        }
        output => output.unwrap(),
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "qemu-img {args:?}: {}{}", text(&output.stdout), text(&output.stderr));
    Some(text(&output.stdout))
}
