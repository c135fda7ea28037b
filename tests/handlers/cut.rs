//! SIGKILL before each call that changes something for good, as a power cut: the events file stays readable, loses no earlier event, and
//! takes the next.

use super::{V9, V84, events, handler, run, scripted};
use std::fs;
use std::process::Command;
use unsplit::edge::events::read;

const CALLS: &str =
    "write,pwrite64,fsync,fdatasync,rename,renameat,renameat2,ftruncate,unlink,unlinkat,mkdir,mkdirat";

fn can_trace() -> bool {
    let traced = Command::new("strace").args(["-f", "-o", "/dev/null", "true"]).output();
    traced.is_ok_and(|traced| traced.status.success())
}

#[test]
fn every_write_may_be_the_last() {
    if !can_trace() {
        eprintln!("skipped: strace may not trace here");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (mut at, mut kills) = (1, 0);
    loop {
        let state = folder.path().join(at.to_string());
        assert_eq!(run(handler(&state, V84, &["split-brain"])).code, 0);
        // From the second event on the file is there; so both ways are cut.
        if at % 2 == 0 {
            fs::remove_dir_all(&state).unwrap();
        }
        let before = events(&state).len();
        let script = format!(
            "exec strace -f -qq -o {}.trace -e trace={CALLS} -e inject={CALLS}:signal=KILL:when={at} \"$@\"",
            state.display()
        );
        let mut command = scripted(&script, &state, V9, &["initial-split-brain"]);
        command.output().unwrap();
        let trace = fs::read_to_string(format!("{}.trace", state.display())).unwrap();
        let killed = trace.contains("killed by SIGKILL");
        kills += usize::from(killed);
        let found = read(&state).unwrap();
        assert!(found.events.len() >= before && found.torn <= 1, "call {at}: {found:?}");
        let cut = found.events.len();
        assert_eq!(run(handler(&state, V84, &["out-of-sync"])).code, 0);
        let found = read(&state).unwrap();
        assert_eq!(found.events.len(), cut + 1, "call {at}: the next is taken");
        assert!(found.torn <= 1);
        // `when` counts for each process by itself: beyond the longest nothing is killed any more.
        if !killed && at > 2 {
            break;
        }
        at += 1;
        assert!(at < 200);
    }
    assert!(kills >= 4, "only {kills} places were cut");
}
