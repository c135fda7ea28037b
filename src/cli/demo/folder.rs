//! Where the demonstration keeps its files.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// A new folder of our own. Unless it is to be kept, it is removed when dropped.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Folder {
    /// A new folder for temporary files, readable for nobody else.
    pub(super) fn temporary() -> io::Result<Folder> {
        let base = std::path::absolute(std::env::temp_dir())?;
        let pid = std::process::id();
        for again in 0..1000 {
            let path = base.join(format!("unsplit-demo-{pid}-{again}"));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Folder { path, keep: false }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(at(&path, error)),
            }
        }
        Err(io::Error::other(format!("{} is full of unsplit-demo-* folders", base.display())))
    }

    /// The named folder, which is made, or must be empty.
    pub(super) fn kept(path: &Path) -> io::Result<Folder> {
        let path = std::path::absolute(path)?;
        std::fs::create_dir_all(&path).map_err(|error| at(&path, error))?;
        if std::fs::read_dir(&path).map_err(|error| at(&path, error))?.next().is_some() {
            return Err(io::Error::other(format!(
                "{} is not empty: give a new or empty folder",
                path.display()
            )));
        }
        Ok(Folder { path, keep: true })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the folder now, and says if that failed. A folder to be kept stays.
    pub(super) fn close(mut self) -> io::Result<()> {
        if self.keep {
            return Ok(());
        }
        self.keep = true;
        std::fs::remove_dir_all(&self.path).map_err(|error| at(&self.path, error))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep {
            // Only on the way out of an error, which says more than this one would.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

fn at(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporary_folders_are_distinct_and_go_away() {
        let (one, two) = (Folder::temporary().unwrap(), Folder::temporary().unwrap());
        assert_ne!(one.path(), two.path());
        std::fs::write(one.path().join("file"), b"x").unwrap();
        let paths = [one.path().to_owned(), two.path().to_owned()];
        one.close().unwrap();
        drop(two);
        assert!(paths.iter().all(|path| !path.exists()));
    }

    #[test]
    fn a_kept_folder_must_be_empty_and_stays() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("a/b");
        Folder::kept(&path).unwrap().close().unwrap();
        drop(Folder::kept(&path).unwrap());
        std::fs::write(path.join("file"), b"x").unwrap();
        assert!(Folder::kept(&path).unwrap_err().to_string().contains("not empty"));
        assert!(path.join("file").exists());
    }
}
