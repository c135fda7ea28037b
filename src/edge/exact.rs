//! Reading and writing all of a buffer at a place in a file, whatever the kernel says of it. The standard library panics
//! when a kernel, or what a file system in user space tells it, counts more bytes than it was given.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Writes the whole buffer at `offset`.
pub(super) fn write_all_at(file: &File, buffer: &[u8], offset: u64) -> io::Result<()> {
    write_all(buffer, offset, |rest, at| file.write_at(rest, at))
}

/// Fills the whole buffer from `offset`.
pub(super) fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    let mut done = 0;
    while done < buffer.len() {
        let rest = &mut buffer[done..];
        let given = rest.len();
        match file.read_at(rest, offset + done as u64) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => done += at_most("read", count, given)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The count, unless it is more than was asked for.
pub(super) fn at_most(act: &str, count: usize, given: usize) -> io::Result<usize> {
    if count <= given {
        return Ok(count);
    }
    Err(io::Error::other(format!("the kernel says it {act} {count} bytes of {given}")))
}

fn write_all(
    mut rest: &[u8],
    mut at: u64,
    mut write: impl FnMut(&[u8], u64) -> io::Result<usize>,
) -> io::Result<()> {
    while !rest.is_empty() {
        match write(rest, at) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                let count = at_most("wrote", count, rest.len())?;
                (rest, at) = (&rest[count..], at + count as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_writes_go_on_and_impossible_ones_are_errors() {
        let mut written = Vec::new();
        write_all(b"abcdef", 10, |rest, at| {
            written.push((at, rest.len()));
            Ok(rest.len().min(4))
        })
        .unwrap();
        assert_eq!(written, [(10, 6), (14, 2)]);
        let error = write_all(b"abc", 0, |_, _| Ok(4)).unwrap_err();
        assert!(error.to_string().contains("wrote 4 bytes of 3"), "{error}");
        let error = write_all(b"abc", 0, |_, _| Ok(0)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WriteZero);
        let mut again = true;
        write_all(b"abc", 0, |rest, _| {
            if std::mem::take(&mut again) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            Ok(rest.len())
        })
        .unwrap();
    }
}
