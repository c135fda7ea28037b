//! What a child that was just forked has of its parent: every descriptor, with the locks on them, until it runs its program.
//! A process of its own, so that no other test forks here.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(unsafe_code)]

use rustix::fd::AsFd;
use std::io::{PipeWriter, Write};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Mutex;
use std::thread::JoinHandle;
use std::time::Duration;
use unsplit::edge::blockdev::{BlockFile, Mode, OpenError};
use unsplit::edge::state_dir::{StateDir, StateDirError};

/// One test at a time: each is about the children that the other has not.
static ALONE: Mutex<()> = Mutex::new(());

/// A child that stands between fork and exec until this is told to go on.
struct Forked {
    go_on: PipeWriter,
    parent: JoinHandle<()>,
}

impl Forked {
    fn new() -> Forked {
        let (mut arrived, mut tell) = std::io::pipe().unwrap();
        let (wait, go_on) = std::io::pipe().unwrap();
        let parent = std::thread::spawn(move || {
            let mut command = Command::new("true");
            // SAFETY: between fork and exec only what is safe in a signal handler may be called: these are write(2)
            // and read(2) on descriptors that live as long as the closure, without allocation.
            unsafe {
                command.pre_exec(move || {
                    tell.write_all(b"x")?;
                    rustix::io::read(wait.as_fd(), &mut [0_u8; 1])?;
                    Ok(())
                })
            };
            // Comes back when the child runs its program.
            assert!(command.spawn().unwrap().wait().unwrap().success());
        });
        std::io::Read::read_exact(&mut arrived, &mut [0]).unwrap();
        Forked { go_on, parent }
    }

    fn go_on(mut self) {
        self.go_on.write_all(b"x").unwrap();
        self.parent.join().unwrap();
    }
}

/// Tries in a thread, lets it try for longer than any probe holds a device, then has the child run its program.
fn try_while_forked<T: Send + 'static>(forked: Forked, attempt: impl FnOnce() -> T + Send + 'static) -> T {
    let trying = std::thread::spawn(attempt);
    std::thread::sleep(Duration::from_millis(1500));
    assert!(!trying.is_finished(), "a claim that this process gave back is taken for somebody else's");
    forked.go_on();
    trying.join().unwrap()
}

#[test]
fn a_claim_that_was_given_back_can_be_taken_again() {
    let _alone = ALONE.lock().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk.img");
    std::fs::write(&path, vec![0; 8192]).unwrap();
    let first = BlockFile::open(&path, Mode::Exclusive).unwrap();
    let forked = Forked::new();
    drop(first);
    let again = try_while_forked(forked, move || BlockFile::open(&path, Mode::Exclusive));
    assert!(again.unwrap().is_claimed());
}

#[test]
fn a_child_that_runs_nothing_yet_is_no_second_writer() {
    let _alone = ALONE.lock().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk.img");
    std::fs::write(&path, vec![0; 8192]).unwrap();
    let disk = BlockFile::open(&path, Mode::Exclusive).unwrap();
    let forked = Forked::new();
    disk.still_alone().unwrap();
    forked.go_on();
    // But who holds it and is no child of that kind is in the way, at once.
    let second = BlockFile::open(&path, Mode::Exclusive);
    assert!(matches!(second, Err(OpenError::Busy { .. })), "{second:?}");
}

#[test]
fn the_lock_of_a_state_directory_can_be_taken_again() {
    let _alone = ALONE.lock().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("state");
    let first = StateDir::open(&root).unwrap();
    let forked = Forked::new();
    drop(first);
    let again = try_while_forked(forked, {
        let root = root.clone();
        move || StateDir::open(&root)
    });
    let again = again.unwrap();
    assert!(matches!(StateDir::open(&root), Err(StateDirError::Locked { .. })));
    drop(again);
}
