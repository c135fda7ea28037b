//! The real drbdmeta on sparse files, and files as disks.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use unsplit::edge::drbd::image::ImageReplica;
use unsplit::format::drbdmeta::superblock::encode_into;
use unsplit::model::drbd::Superblock;
use unsplit::model::evidence::MetadataPlace;
use unsplit::model::extent::Extent;
use unsplit::ports::disk::{Disk, DiskFault, DiskMut};

/// Whether drbdmeta can be asked. Says so when not, so that nobody takes a skipped test for a passed one.
pub(crate) fn available(test: &str) -> bool {
    let runs = Command::new("drbdmeta").arg("--help").output().is_ok();
    let root = Command::new("id").arg("-u").output().is_ok_and(|out| out.stdout.starts_with(b"0\n"));
    if !runs {
        crate::skipped::lacking(&format!("{test} needs drbdmeta (drbd-utils)"));
    } else if !root {
        crate::skipped::needs_root(&format!("{test} needs root"));
    }
    runs && root
}

/// A file as a disk.
pub(crate) struct FileDisk {
    name: String,
    file: File,
    size: u64,
}

impl FileDisk {
    pub(crate) fn open(path: &Path) -> Arc<dyn DiskMut> {
        let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
        let size = file.metadata().unwrap().len();
        Arc::new(FileDisk { name: path.display().to_string(), file, size })
    }

    fn fault(&self, act: &'static str, start: u64, len: usize) -> impl FnOnce(std::io::Error) -> DiskFault {
        let (disk, extent) = (self.name.clone(), Extent { start, len: len as u64 });
        move |source| DiskFault::Io { disk, act, extent, source }
    }
}

impl Disk for FileDisk {
    fn name(&self) -> &str {
        &self.name
    }
    fn size(&self) -> u64 {
        self.size
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskFault> {
        let len = buffer.len();
        self.file.read_exact_at(buffer, offset).map_err(self.fault("read", offset, len))
    }
}

impl DiskMut for FileDisk {
    fn write_at(&self, offset: u64, buffer: &[u8]) -> Result<(), DiskFault> {
        assert!(offset + buffer.len() as u64 <= self.size, "write behind the end");
        self.file.write_all_at(buffer, offset).map_err(self.fault("write", offset, buffer.len()))
    }
    fn flush(&self) -> Result<(), DiskFault> {
        Ok(())
    }
    fn as_disk(&self) -> &dyn Disk {
        self
    }
}

/// A file that drbdmeta and we look at.
pub(crate) struct Image {
    pub(crate) path: PathBuf,
    pub(crate) version: &'static str,
    pub(crate) place: MetadataPlace,
    _dir: tempfile::TempDir,
}

impl Image {
    /// An empty sparse file.
    pub(crate) fn empty(version: &'static str, place: MetadataPlace, size: u64) -> Image {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image");
        File::create(&path).unwrap().set_len(size).unwrap();
        Image { path, version, place, _dir: dir }
    }

    /// What `drbdmeta create-md` makes.
    pub(crate) fn created(version: &'static str, place: MetadataPlace, size: u64, args: &[&str]) -> Image {
        let image = Image::empty(version, place, size);
        let mut all = vec!["create-md"];
        all.extend(args);
        image.run(&all);
        image
    }

    fn command(&self, args: &[&str]) -> Command {
        let place = match self.place {
            MetadataPlace::Internal => "internal".to_owned(),
            MetadataPlace::FlexibleExternal => "flex-external".to_owned(),
            MetadataPlace::IndexedExternal(index) => index.to_string(),
        };
        let mut command = Command::new("drbdmeta");
        command.args(["--force", "-", self.version]).arg(&self.path).arg(place).args(args);
        command
    }

    /// Runs drbdmeta; returns whether it succeeded and what it said.
    pub(crate) fn ask(&self, args: &[&str]) -> (bool, String) {
        // Without a minor, drbdmeta notes the size of the last device under the minor -1, and believes it of the next one:
        // two at a time confuse each other.
        let notes = Path::new("/var/lib/drbd");
        let _alone = File::open(notes).ok().inspect(|folder| folder.lock().unwrap());
        let _ = std::fs::remove_file(notes.join("drbd-minor--1.lkbd"));
        let out = self.command(args).output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
        (out.status.success(), text.into_owned())
    }

    pub(crate) fn run(&self, args: &[&str]) -> String {
        let (done, text) = self.ask(args);
        assert!(done, "drbdmeta {args:?} failed:\n{text}");
        text
    }

    pub(crate) fn dump_text(&self) -> String {
        // Only what goes to stdout: warnings about plain files go to stderr.
        self.run(&["dump-md"])
            .lines()
            .filter(|line| !line.starts_with("ioctl("))
            .collect::<Vec<_>>()
            .join("\n")
    }

    pub(crate) fn dump(&self) -> super::dump::Dump {
        super::dump::Dump::parse(&self.dump_text())
    }

    pub(crate) fn disk(&self) -> Arc<dyn DiskMut> {
        FileDisk::open(&self.path)
    }

    /// Opens it as a replica; external metadata gets a data file of `data_size` bytes beside it.
    pub(crate) fn replica(&self, data_size: u64) -> ImageReplica {
        match self.place {
            MetadataPlace::Internal => ImageReplica::open(self.disk(), None, None).unwrap(),
            place => {
                let data = self.path.with_extension("data");
                File::create(&data).unwrap().set_len(data_size).unwrap();
                ImageReplica::open(FileDisk::open(&data), Some(self.disk()), Some(place)).unwrap()
            }
        }
    }

    /// Writes a superblock over the present one.
    pub(crate) fn patch(&self, at: u64, superblock: &Superblock) {
        let disk = self.disk();
        let mut block = [0; 4096];
        disk.read_at(at, &mut block).unwrap();
        encode_into(superblock, &mut block);
        disk.write_at(at, &block).unwrap();
    }

    /// Writes text to a file beside the image and returns its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.path.with_extension(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}
