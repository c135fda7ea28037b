//! A disk in memory with a volatile write cache.

use super::cache::{Cached, SECTOR};
use super::faults::{Faults, Op, Verdict};
use super::rng::Rng;
use std::io;
use std::sync::{Arc, Mutex, OnceLock};
use unsplit::model::extent::Extent;
use unsplit::ports::disk::{Disk, DiskFault, DiskMut};

/// Is told of every write before it happens: offset and length in bytes.
pub type Watcher = Box<dyn Fn(u64, usize) + Send + Sync>;

/// A disk of fixed size.
pub struct FakeDisk {
    name: String,
    size: usize,
    bytes: Mutex<Cached>,
    faults: Arc<Faults>,
    watcher: OnceLock<Watcher>,
}

impl FakeDisk {
    /// A disk with durable content.
    pub fn new(name: &str, content: &[u8], faults: Arc<Faults>) -> FakeDisk {
        let bytes = Mutex::new(Cached::durable(content));
        FakeDisk { name: name.to_owned(), size: content.len(), bytes, faults, watcher: OnceLock::new() }
    }

    /// Has every write announced to `watcher`. Once only.
    pub fn watch(&self, watcher: Watcher) {
        assert!(self.watcher.set(watcher).is_ok(), "one watcher");
    }

    /// What is to be read now, without counting as an operation.
    pub fn content(&self) -> Vec<u8> {
        self.bytes.lock().unwrap().visible().to_vec()
    }

    /// What is certain to survive a power cut.
    pub fn certain(&self) -> Vec<u8> {
        self.bytes.lock().unwrap().certain().to_vec()
    }

    /// Somebody else writes, durably, without counting as an operation.
    pub fn meddle(&self, offset: usize, bytes: &[u8]) {
        let mut cached = self.bytes.lock().unwrap();
        assert!(offset + bytes.len() <= self.size);
        cached.write(offset, bytes);
        cached.flush();
    }

    /// The power goes.
    pub fn power_cut(&self, rng: &mut Rng) {
        self.bytes.lock().unwrap().power_cut(rng);
    }

    fn fault(&self, act: &'static str, offset: u64, len: usize, source: io::Error) -> DiskFault {
        let extent = Extent { start: offset, len: len as u64 };
        DiskFault::Io { disk: self.name.clone(), act, extent, source }
    }

    fn inside(&self, offset: u64, len: usize) -> Result<std::ops::Range<usize>, DiskFault> {
        let outside = || DiskFault::Outside {
            disk: self.name.clone(),
            extent: Extent { start: offset, len: len as u64 },
            size: self.size as u64,
        };
        let start = usize::try_from(offset).map_err(|_| outside())?;
        let end = start.checked_add(len).filter(|end| *end <= self.size).ok_or_else(outside)?;
        Ok(start..end)
    }

    fn next(&self, op: Op, act: &'static str, offset: u64, len: usize) -> Result<Option<Verdict>, DiskFault> {
        self.faults
            .next(op, || format!("{act} {} at {offset} for {len}", self.name))
            .map_err(|error| self.fault(act, offset, len, error))
    }
}

impl Disk for FakeDisk {
    fn name(&self) -> &str {
        &self.name
    }

    fn size(&self) -> u64 {
        self.size as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskFault> {
        let range = self.inside(offset, buffer.len())?;
        if let Some(verdict) = self.next(Op::Read, "read", offset, buffer.len())? {
            return Err(self.fault("read", offset, buffer.len(), verdict.error));
        }
        buffer.copy_from_slice(&self.bytes.lock().unwrap().visible()[range]);
        Ok(())
    }
}

impl DiskMut for FakeDisk {
    fn write_at(&self, offset: u64, buffer: &[u8]) -> Result<(), DiskFault> {
        let range = self.inside(offset, buffer.len())?;
        if let Some(watcher) = self.watcher.get() {
            watcher(offset, buffer.len());
        }
        let verdict = self.next(Op::Write, "write", offset, buffer.len())?;
        let mut bytes = self.bytes.lock().unwrap();
        match verdict {
            None => {
                bytes.write(range.start, buffer);
                Ok(())
            }
            Some(verdict) if verdict.silent => Ok(()),
            Some(mut verdict) => {
                // A disk writes whole sectors, also when it fails.
                let part =
                    if verdict.whole { buffer.len() } else { verdict.part(buffer.len()) / SECTOR * SECTOR };
                bytes.write(range.start, &buffer[..part]);
                Err(self.fault("write", offset, buffer.len(), verdict.error))
            }
        }
    }

    fn flush(&self) -> Result<(), DiskFault> {
        let verdict = self.next(Op::Flush, "flush", 0, 0)?;
        let mut bytes = self.bytes.lock().unwrap();
        match verdict {
            None => {
                bytes.flush();
                Ok(())
            }
            Some(verdict) if verdict.whole => {
                bytes.flush();
                Err(self.fault("flush", 0, 0, verdict.error))
            }
            Some(mut verdict) => {
                bytes.fail_flush(&mut verdict.rng);
                Err(self.fault("flush", 0, 0, verdict.error))
            }
        }
    }

    fn as_disk(&self) -> &dyn Disk {
        self
    }
}
