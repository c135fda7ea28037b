//! Files that people write: configuration, read whole and never waited for.

use rustix::fs::OFlags;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The text of a regular file: no more than `most` bytes and one, by which a reader sees that it is too long.
///
/// # Errors
/// What the system said; `InvalidInput` for what is no regular file (a pipe would be waited for, perhaps for ever),
/// `InvalidData` for what is no UTF-8.
pub fn read_text(path: &Path, most: usize) -> io::Result<String> {
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        let why = "it is not a regular file (a pipe, a folder or a device); write the text to a file";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    let mut bytes = Vec::new();
    file.take((most as u64).saturating_add(1)).read_to_end(&mut bytes)?;
    String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_file_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, "text").unwrap();
        assert_eq!(read_text(&path, 100).unwrap(), "text");
        assert_eq!(read_text(&path, 2).unwrap(), "tex");
        std::fs::write(&path, [0xff]).unwrap();
        assert_eq!(read_text(&path, 100).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(read_text(folder.path(), 100).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(read_text(Path::new("/dev/zero"), 100).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert_eq!(read_text(&pipe, 100).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
