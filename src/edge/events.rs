//! The files of handlers' events, `events/` of the state directory: the newest is `log`, older ones are `log.1`, `log.2`, ...
//!
//! Not behind the state directory's lock: a handler must get its line written while a healing runs, and handlers of many
//! resources run at once. Each appends its line in one write, under a lock of their own that nobody waits for long.

use super::trust::trusted;
use crate::format::events::{Events, MAX_FILE, parse};
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The folder in the state directory.
pub const FOLDER: &str = "events";
const LOG: &str = "log";
const LOCK: &str = "lock";
/// From this length on the file is put aside, bytes: about a thousand events.
const LONG: u64 = 1 << 20;
/// How many are put aside before the oldest is removed.
const OLD: u32 = 7;
const PAUSE: Duration = Duration::from_millis(5);

/// Appends a line (its newline included) and makes it durable.
///
/// The lock is not waited for beyond `until`: without it the line is appended all the same, and only the changing of
/// files is left to the next.
///
/// # Errors
/// What the system said. A part of the line may then stand in the file, which costs nobody else's line.
pub fn append(state_dir: &Path, line: &[u8], until: Instant) -> io::Result<()> {
    let folder = state_dir.join(FOLDER);
    if !folder.is_dir() {
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        for made in [state_dir.parent(), Some(state_dir)].into_iter().flatten() {
            // A folder above that we may not open was not made by us.
            let _ = File::open(made).and_then(|folder| folder.sync_all());
        }
    }
    // In a folder that others can change, the name may lead anywhere.
    for folder in [state_dir, &folder] {
        trusted(folder)
            .map_err(|error| io::Error::new(io::ErrorKind::PermissionDenied, error.to_string()))?;
    }
    let lock = lock(&folder, until);
    let path = folder.join(LOG);
    if lock.is_some() && fs::symlink_metadata(&path).is_ok_and(|found| found.len() >= LONG) {
        put_aside(&folder)?;
    }
    let is_new = !path.exists();
    let mut file = open(&path, true)?;
    let before = file.seek(SeekFrom::End(0))?;
    // Who was cut off in the middle of a line does not spoil the next.
    let mut last = [b'\n'];
    if before > 0 {
        file.seek(SeekFrom::Start(before - 1))?;
        file.read_exact(&mut last)?;
    }
    let mut bytes = Vec::with_capacity(line.len() + 1);
    if last != *b"\n" || lock.is_none() {
        bytes.push(b'\n');
    }
    bytes.extend_from_slice(line);
    if let Err(error) = file.write_all(&bytes) {
        if lock.is_some() {
            // On a full disk: half a line helps nobody.
            let _ = file.set_len(before);
        }
        return Err(error);
    }
    file.sync_data()?;
    if is_new {
        File::open(&folder)?.sync_all()?;
    }
    Ok(())
}

fn open(path: &Path, for_writing: bool) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let mut options = OpenOptions::new();
    options.read(true).mode(0o600).custom_flags(flags.bits().cast_signed());
    if for_writing {
        options.append(true).create(true);
    }
    let file = options.open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"))
    }
}

/// The lock, if it can be had in time. Ends when dropped.
fn lock(folder: &Path, until: Instant) -> Option<File> {
    let file = open(&folder.join(LOCK), true).ok()?;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Some(file),
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < until => std::thread::sleep(PAUSE),
            Err(_) => return None,
        }
    }
}

fn numbered(folder: &Path, number: u32) -> PathBuf {
    if number == 0 { folder.join(LOG) } else { folder.join(format!("{LOG}.{number}")) }
}

/// Each file gets the next number, from the oldest on, so that a power cut in between loses none of them.
fn put_aside(folder: &Path) -> io::Result<()> {
    for number in (0..=OLD).rev() {
        let from = numbered(folder, number);
        let moved = if number == OLD {
            fs::remove_file(&from)
        } else {
            fs::rename(&from, numbered(folder, number + 1))
        };
        match moved {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    File::open(folder)?.sync_all()
}

/// All events that are kept, the oldest first.
///
/// # Errors
/// What the system said of a file that is there and cannot be read.
pub fn read(state_dir: &Path) -> io::Result<Events> {
    let folder = state_dir.join(FOLDER);
    let mut all = Events::default();
    for number in (0..=OLD).rev() {
        let file = match open(&numbered(&folder, number), false) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        file.take(MAX_FILE).read_to_end(&mut bytes)?;
        let found = parse(&bytes);
        all.events.extend(found.events);
        all.torn += found.torn;
        all.unknown += found.unknown;
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::events::encode;
    use crate::model::handled::{Call, Handled, Handler, Outcome};
    use crate::model::seen::Stamp;

    fn line(number: usize) -> Vec<u8> {
        encode(&Handled {
            at: Stamp(i64::try_from(number).unwrap()),
            host: "n".into(),
            boot: None,
            handler: Handler::OutOfSync,
            call: Call { resource: Some("x".repeat(1000)), ..Call::default() },
            then: Err("not asked".into()),
            did: Outcome::Recorded,
            exit: 0,
        })
        .unwrap()
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    fn stamps(folder: &Path) -> Vec<i64> {
        read(folder).unwrap().events.iter().map(|event| event.at.0).collect()
    }

    #[test]
    fn lines_of_many_at_once_are_all_there() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("deep/state");
        std::thread::scope(|scope| {
            for writer in 0..8 {
                let state = &state;
                scope.spawn(move || {
                    (0..20).for_each(|n| append(state, &line(writer * 20 + n), soon()).unwrap())
                });
            }
        });
        let mut found = stamps(&state);
        found.sort_unstable();
        assert_eq!(found, (0..160).collect::<Vec<i64>>());
        assert_eq!(read(&state).unwrap().torn, 0);
    }

    #[test]
    fn a_torn_line_costs_no_other_and_a_held_lock_no_line() {
        let folder = tempfile::tempdir().unwrap();
        append(folder.path(), &line(1), soon()).unwrap();
        let log = folder.path().join("events/log");
        let mut bytes = fs::read(&log).unwrap();
        bytes.truncate(bytes.len() - 10);
        fs::write(&log, &bytes).unwrap();
        append(folder.path(), &line(2), soon()).unwrap();
        let held = lock(&folder.path().join("events"), soon()).unwrap();
        append(folder.path(), &line(3), Instant::now()).unwrap();
        drop(held);
        append(folder.path(), &line(4), soon()).unwrap();
        assert_eq!((stamps(folder.path()), read(folder.path()).unwrap().torn), (vec![2, 3, 4], 1));
    }

    #[test]
    fn files_are_changed_and_the_oldest_removed() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()).unwrap(), Events::default());
        let lines = 12_000;
        // All but a few are put there by hand: this is not about the syncs.
        for number in 0..lines {
            if number % 400 == 0 {
                append(folder.path(), &line(number), soon()).unwrap();
            } else {
                let mut log = open(&folder.path().join("events/log"), true).unwrap();
                log.write_all(&line(number)).unwrap();
            }
        }
        let found = stamps(folder.path());
        assert_eq!(found.last(), Some(&i64::try_from(lines - 1).unwrap()));
        assert!(found.is_sorted() && found.len() < lines && found.len() > 7000, "{}", found.len());
        assert!(!folder.path().join("events/log.8").exists());
    }
}
