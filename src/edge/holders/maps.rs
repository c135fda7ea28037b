//! Memory of processes that is a part of a file or device: it is written through without any descriptor.

use super::remote::Remote;
use super::roots::{Number, Roots, bytes};
use super::sought::Sought;
use std::path::Path;

/// A shared mapping, by a line of `/proc/PID/maps`.
#[derive(Debug, PartialEq, Eq)]
struct Mapping<'l> {
    /// First and last address, as `maps`, `map_files` and `smaps` write it.
    range: &'l str,
    writable: bool,
    shared: bool,
    /// The file system that the file is on.
    device: Number,
    inode: u64,
    path: &'l str,
}

/// proc(5): addresses, permissions, offset, device (hexadecimal), inode, path.
fn mapping(line: &str) -> Option<Mapping<'_>> {
    let mut rest = line;
    let mut word = || {
        let (word, after) = rest.trim_start_matches(' ').split_once(' ')?;
        rest = after;
        Some(word)
    };
    let (range, permissions, _offset, device, inode) = (word()?, word()?, word()?, word()?, word()?);
    let (major, minor) = device.split_once(':')?;
    let hex = |text| u32::from_str_radix(text, 16).ok();
    Some(Mapping {
        range,
        writable: permissions.as_bytes().get(1) == Some(&b'w'),
        shared: permissions.ends_with('s'),
        device: Number { major: hex(major)?, minor: hex(minor)? },
        inode: inode.parse().ok().filter(|inode| *inode != 0)?,
        path: rest.trim_start_matches(' '),
    })
}

/// Whether a process has a part of it in its memory; with `writing`, so that it can write to it: shared, and writable or
/// made so at any time because it was opened for writing.
pub(super) fn has_mapped(
    roots: &Roots,
    pid: u32,
    sought: &Sought,
    writing: bool,
    remote: &mut Remote,
) -> bool {
    let folder = roots.proc.join(pid.to_string());
    let maps = bytes(&folder.join("maps"));
    let lines = maps.split(|byte| *byte == b'\n').filter(|line| !writing || may_be_shared(line));
    lines.into_iter().any(|line| {
        let line = String::from_utf8_lossy(line);
        mapping(&line).is_some_and(|found| {
            (found.shared || !writing)
                && sought.may_be(found.inode)
                && is_sought(roots, &folder, pid, &found, sought, remote)
                && (!writing || found.writable || may_be_made_writable(&folder, found.range))
        })
    })
}

/// A first look, since most of the many lines are of private memory: the last of the four letters after the addresses.
fn may_be_shared(line: &[u8]) -> bool {
    line.iter().position(|byte| *byte == b' ').and_then(|at| line.get(at + 4)) == Some(&b's')
}

fn is_sought(
    roots: &Roots,
    folder: &Path,
    pid: u32,
    found: &Mapping<'_>,
    sought: &Sought,
    remote: &mut Remote,
) -> bool {
    if remote.device(roots, pid, found.device) {
        return false;
    }
    let is_at = |path| !Remote::path(roots, Path::new(path)) && sought.is_at(roots, Path::new(path));
    // The mapping's own link, which only root may follow, is right whatever the path leads to by now and in whichever
    // namespace it was opened.
    let link = folder.join("map_files").join(found.range);
    if std::fs::metadata(&link).is_ok() || !matches!(sought, Sought::File(_)) {
        return sought.is_at(roots, &link) || is_at(found.path);
    }
    let Sought::File(crate::edge::blockdev::Identity::File { dev, .. }) = sought else { return false };
    Number::of(*dev) == found.device || is_at(found.path)
}

/// Whether a shared mapping that is not writable now was made of a file that was opened for writing: `mw`, "may write", among
/// the flags in `/proc/PID/smaps`. What cannot be read counts as such.
fn may_be_made_writable(folder: &Path, range: &str) -> bool {
    let smaps = bytes(&folder.join("smaps"));
    let smaps = String::from_utf8_lossy(&smaps);
    let own = smaps.lines().skip_while(|line| !line.starts_with(&format!("{range} ")));
    let flags =
        own.skip(1).take_while(|line| mapping(line).is_none()).find_map(|line| line.strip_prefix("VmFlags:"));
    flags.is_none_or(|flags| flags.split_whitespace().any(|flag| flag == "mw"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_maps() {
        let line =
            "7f0000000000-7f0000001000 rw-s 00000000 fe:01 1234567                    /srv/a b.img (deleted)";
        let found = mapping(line).unwrap();
        assert_eq!(
            found,
            Mapping {
                range: "7f0000000000-7f0000001000",
                writable: true,
                shared: true,
                device: Number { major: 0xfe, minor: 1 },
                inode: 1_234_567,
                path: "/srv/a b.img (deleted)",
            }
        );
        for (permissions, writable, shared) in [("r--s", false, true), ("rw-p", true, false)] {
            let line = format!("1-2 {permissions} 0 0:5 7 /x");
            let found = mapping(&line).unwrap();
            assert_eq!((found.writable, found.shared), (writable, shared));
        }
        for bad in
            ["", "Size: 4 kB", "1-2 rw-p 0 00:00 0 ", "1-2 rw-p 0 00:00 0 [heap]", "1-2 rw-s 0 z:1 5 /x"]
        {
            assert_eq!(mapping(bad), None, "{bad}");
        }
    }
}
