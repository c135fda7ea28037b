//! SIGKILL before each call that changes something for good, as a power cut: the events file stays readable, loses no earlier event, and
//! takes the next.

use super::{V9, V84, events, handler, run, scripted};
use std::fs;
use std::path::Path;
use std::process::Command;
use unsplit::edge::events::read;

const CALLS: &str =
    "write,pwrite64,fsync,fdatasync,rename,renameat,renameat2,ftruncate,unlink,unlinkat,mkdir,mkdirat";

pub(crate) fn can_trace() -> bool {
    let traced = Command::new("strace").args(["-f", "-o", "/dev/null", "true"]).output();
    traced.is_ok_and(|traced| traced.status.success())
}

#[test]
fn every_write_may_be_the_last() {
    if !can_trace() {
        crate::skipped::needs_root("strace may not trace here");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let cuts: u32 = [false, true].into_iter().map(|is_new| cut_everywhere(folder.path(), is_new)).sum();
    assert!(cuts >= 6, "only {cuts} places were cut");
}

/// Cuts every call of one that finds the events file or has to make it; how many were cut.
fn cut_everywhere(folder: &Path, is_new: bool) -> u32 {
    for at in 1..200 {
        let state = folder.join(format!("{is_new}-{at}"));
        if !is_new {
            assert_eq!(run(handler(&state, V84, &["split-brain"])).code, 0);
        }
        let before = events(&state).len();
        let script = format!(
            "exec strace -f -qq -o {}.trace -e trace={CALLS} -e inject={CALLS}:signal=KILL:when={at} \"$@\"",
            state.display()
        );
        scripted(&script, &state, V9, &["initial-split-brain"]).output().unwrap();
        let trace = fs::read_to_string(format!("{}.trace", state.display())).unwrap();
        let found = read(&state).unwrap();
        assert!(found.events.len() >= before && found.torn <= 1, "call {at}: {found:?}");
        let cut = found.events.len();
        assert_eq!(run(handler(&state, V84, &["out-of-sync"])).code, 0);
        let found = read(&state).unwrap();
        assert_eq!(found.events.len(), cut + 1, "call {at}: the next is taken");
        assert!(found.torn <= 1);
        // `when` counts for each thread by itself: beyond the longest nothing is killed any more.
        if !trace.contains("killed by SIGKILL") {
            return at - 1;
        }
    }
    panic!("it never came to its end");
}
