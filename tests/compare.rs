//! `unsplit compare` as its users run it: plain files, no metadata.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use tempfile::TempDir;

struct Two {
    dir: TempDir,
}

impl Two {
    /// Two files of pseudo-random bytes; `change` may alter the second.
    fn new(len: usize, change: impl FnOnce(&mut Vec<u8>)) -> Two {
        let dir = tempfile::tempdir().unwrap();
        let mut state = 7u64;
        let mut bytes: Vec<u8> = Vec::with_capacity(len);
        bytes.resize_with(len, || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        });
        fs::write(dir.path().join("a"), &bytes).unwrap();
        change(&mut bytes);
        fs::write(dir.path().join("b"), &bytes).unwrap();
        Two { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn run(&self, words: &[&str], stdin: &str) -> (i32, String, String) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_unsplit"))
            .arg("compare")
            .args(words)
            .current_dir(self.dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
        let done = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (done.status.code().unwrap(), text(done.stdout), text(done.stderr))
    }
}

#[test]
fn equal_files_are_equal() {
    let two = Two::new(3_000_001, |_| {});
    let (code, out, _) = two.run(&["a", "b"], "");
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("equal"), "{out}");
}

#[test]
fn every_differing_block_is_listed_and_no_other() {
    let two = Two::new(3_000_001, |bytes| {
        bytes[0] ^= 1;
        bytes[8191] ^= 1;
        bytes[8192] ^= 1;
        bytes[3_000_000] ^= 1;
    });
    let (code, out, _) = two.run(&["--extents", "a", "b"], "");
    assert_eq!((code, out.as_str()), (1, "0 12288\n2998272 1729\n"));
    // What it prints it also reads.
    let (code, again, _) = two.run(&["--extents", "--within", "-", "a", "b"], &out);
    assert_eq!((code, again), (1, out));
}

#[test]
fn only_the_ranges_asked_for_are_compared() {
    let two = Two::new(1 << 20, |bytes| bytes[500_000] ^= 1);
    fs::write(two.path("ranges"), "0 4096\n8192 100 # widened to the block\n").unwrap();
    let (code, out, _) = two.run(&["--within", "ranges", "a", "b"], "");
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("8 KiB"), "{out}");
    let (code, _, _) = two.run(&["--within", "-", "a", "b"], "499712 1\n");
    assert_eq!(code, 1);
}

#[test]
fn a_longer_side_is_a_difference() {
    let two = Two::new(10_000, |bytes| bytes.extend([0; 5000]));
    let (code, out, _) = two.run(&["a", "b"], "");
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("b is longer by") && out.contains("5000 bytes"), "{out}");
}

#[test]
fn wrong_use_is_said_and_costs_nothing() {
    let two = Two::new(10_000, |_| {});
    for (words, stdin, says) in [
        (vec!["a", "a"], "", "same thing"),
        (vec!["--within", "-", "a", "b"], "0 10001\n", "ends at byte 10001"),
        (vec!["--within", "-", "a", "b"], "0 1\nnonsense\n", "line 2"),
        (vec!["--within", "gone", "a", "b"], "", "cannot be read"),
    ] {
        let (code, _, err) = two.run(&words, stdin);
        assert_eq!(code, 2, "{words:?}: {err}");
        assert!(err.contains(says), "{words:?}: {err}");
    }
    let (code, _, err) = two.run(&["a", "gone"], "");
    assert_eq!(code, 4, "{err}");
}
