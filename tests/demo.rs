//! The first command that anybody runs, through the real binary; what it leaves behind is read by DRBD's and LVM's
//! own tools.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod skipped;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// Blocks that the image of node1 marks after its activity log was applied: the hot 4 MiB, and what the bitmap marks
/// outside them (orders 1700-1719, stock items 40-59 and 200-209).
const MARKED_AFTER_REPLAY: u32 = 1024 + 20 + 20 + 10;

fn demo(temporary: &Path, words: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_unsplit"));
    command.arg("demo").args(words).env("TMPDIR", temporary).current_dir(temporary);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn succeed(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(output.stderr.is_empty(), "{}", text(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).unwrap().next().is_none()
}

#[test]
fn the_whole_line_is_walked() {
    for format in ["v08", "v09"] {
        let folder = tempfile::tempdir().unwrap();
        let shown = succeed(demo(folder.path(), &["--format", format]));
        // Else the machine's own state directory would be written to, and its incidents told.
        let runs = shown.lines().filter(|line| line.starts_with("$ unsplit "));
        assert!(runs.clone().count() >= 6, "{shown}");
        runs.for_each(|line| assert!(line.contains(" --state-dir state"), "{line}"));
        for line in [
            "$ unsplit status node1.img node2.img",
            "SPLIT BRAIN: a and b both went on",
            "$ unsplit diff node1.img node2.img",
            "✓ Exactly the 190 blocks that were written differently, no more and no less.",
            "demo/vm-102-disk-0         -   320 KiB                 -          -",
            "$ unsplit plan node1.img node2.img --keep a --state-dir state",
            "$ unsplit resolve --plan ",
            "Healed: b now equals a in the ",
            "ledger entry 342, changed on node2 while alone",
            "✓ Both images hold the same data again, byte for byte.",
            "$ unsplit undo --state-dir state",
            "Undone: a and b are as they were before the healing.",
            "✓ Both image files, metadata included, are byte for byte as before the healing.",
            &format!("{format} metadata."),
        ] {
            assert!(shown.contains(line), "{format}: `{line}` is not in\n{shown}");
        }
        assert!(!shown.contains('\u{1b}'), "no colours unless on a terminal");
        let too_wide =
            shown.lines().find(|line| line.chars().count() > 110 && !line.contains("unsplit-demo-"));
        assert_eq!(too_wide, None);
        assert!(is_empty(folder.path()), "nothing is left behind");
    }
}

#[test]
fn two_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let both = [demo(folder.path(), &[]), demo(folder.path(), &["--format", "v08"])];
    for child in both {
        assert!(succeed(child).contains("✓ Both image files"));
    }
    assert!(is_empty(folder.path()));
}

#[test]
fn what_is_kept_can_be_used() {
    for format in ["v08", "v09"] {
        let folder = tempfile::tempdir().unwrap();
        let shown = succeed(demo(folder.path(), &["--format", format, "--keep-files", "kept"]));
        let kept = folder.path().join("kept");
        assert!(shown.contains(&format!("cd {}", kept.display())));
        let unsplit = |words: &[&str], code: i32| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_unsplit"));
            let output = command.args(words).current_dir(&kept).output().unwrap();
            assert_eq!(output.status.code(), Some(code), "{words:?}: {}", text(&output));
            text(&output)
        };
        // It was undone: in split brain again, and both incidents in the journal.
        assert!(unsplit(&["status", "node1.img", "node2.img"], 1).contains("SPLIT BRAIN"));
        assert!(unsplit(&["history", "--state-dir", "state"], 0).contains("undone"));
        unsplit(&["salvage", "verify", "--state-dir", "state"], 0);
        drbdmeta_takes(&kept, format);
        lvm_reads(&kept);
        // The other side can be kept just as well.
        unsplit(&["resolve", "node1.img", "node2.img", "--keep", "b", "--yes", "--state-dir", "state"], 0);
        unsplit(&["diff", "node1.img", "node2.img", "--full"], 0);
    }
}

#[test]
fn nobody_elses_files_are_touched() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mine"), b"mine").unwrap();
    let output = demo(folder.path(), &["--keep-files", "."]).wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(70), "{}", text(&output));
    assert!(text(&output).contains("is not empty"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    for words in [&["--json"][..], &["--state-dir", "x"]] {
        let output = demo(folder.path(), words).wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn no_room_is_an_error_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("sh");
    // No file may grow beyond 1 MiB (2048 units of 512 bytes): the images cannot be made. The signal that comes with it is ignored.
    command.args(["-c", "trap '' XFSZ; ulimit -f 2048; exec \"$0\" demo", env!("CARGO_BIN_EXE_unsplit")]);
    let output = command.env("TMPDIR", folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(70), "{}", text(&output));
    assert!(text(&output).contains("node1.img cannot be written"), "{}", text(&output));
    assert!(is_empty(folder.path()));
}

/// DRBD's own tool takes the metadata of both nodes, and replays node1's activity log.
fn drbdmeta_takes(kept: &Path, format: &str) {
    let drbdmeta = |image: &Path, word: &str| {
        let mut command = Command::new("drbdmeta");
        command.args(["--force", "-", format]).arg(image).args(["internal", word]);
        let output = run(command)?;
        assert!(output.status.success(), "{word}: {}", text(&output));
        Some(text(&output))
    };
    let Some(dump) = drbdmeta(&kept.join("node2.img"), "dump-md") else { return };
    assert!(dump.contains(&format!("version \"{format}\"")) && !dump.contains("unclean"), "{dump}");
    assert!(dump.contains("# bits-set 130;"), "80 ledger entries, 40 and 10 stock items: {dump}");
    // A copy, because replaying changes it.
    let copy = kept.join("copy.img");
    fs::copy(kept.join("node1.img"), &copy).unwrap();
    assert!(drbdmeta(&copy, "dump-md").unwrap().contains("unclean"), "node1 was cut off while Primary");
    let applied = drbdmeta(&copy, "apply-al").unwrap();
    assert!(applied.contains("Marked additional 3896 KB as out-of-sync based on AL."), "{applied}");
    let dump = drbdmeta(&copy, "dump-md").unwrap();
    assert!(dump.contains(&format!("# bits-set {MARKED_AFTER_REPLAY};")), "{dump}");
    fs::remove_file(copy).unwrap();
}

fn lvm_reads(kept: &Path) {
    for image in ["node1.img", "node2.img"] {
        let mut command = Command::new("pvck");
        command.args(["--dump", "metadata"]).arg(kept.join(image)).env("LVM_SUPPRESS_FD_WARNINGS", "1");
        let Some(output) = run(command) else { return };
        let dump = text(&output);
        assert!(output.status.success(), "{dump}");
        for name in ["demo {", "vm-101-disk-0 {", "vm-102-disk-0 {", "shared {"] {
            assert!(dump.contains(name), "{dump}");
        }
    }
}

/// Runs a tool of the system; says so when it is not there.
fn run(mut command: Command) -> Option<Output> {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    match command.env("PATH", path).output() {
        Ok(output) => Some(output),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            skipped::lacking(&format!("{:?} is not installed", command.get_program()));
            None
        }
        Err(error) => panic!("{:?}: {error}", command.get_program()),
    }
}
