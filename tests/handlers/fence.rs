//! fence-peer's answer is a statement about the peer: it is made only when it is proven.

use super::{V9, V84, events_when, handler, run};
use std::path::Path;
use std::time::Duration;
use unsplit::model::handled::Outcome;

fn code(state: &Path, environment: &[(&str, &str)], words: &[&str]) -> i32 {
    let words: Vec<&str> = ["fence-peer"].into_iter().chain(words.iter().copied()).collect();
    run(handler(state, environment, &words)).code
}

/// A peer that answers so. What is asked of it is its last word: `exec:sh -c` runs it, with a drbdadm of ours in front.
fn peer(folder: &Path, host: &str, role: &str, disk: &str) -> String {
    let script = folder.join("peer");
    let text = format!(
        "#!/bin/sh\nfor word; do line=$word; done\ncase $line in *'drbdadm outdate r0'*) ;; *) exit 3 ;; esac\n\
         printf 'unsplit-host\\n{host}\\nunsplit-boot\\nother\\nunsplit-role\\n{role}\\nunsplit-dstate\\n{disk}\\nunsplit-end\\n'\n"
    );
    std::fs::write(&script, text).unwrap();
    format!("exec:sh {}", script.display())
}

#[test]
fn an_agents_answer_is_handed_on() {
    let folder = tempfile::tempdir().unwrap();
    for code_there in [0, 1, 3, 4, 5, 6, 7, 99] {
        let via = format!("sh -c 'echo because >&2; exit {code_there}'");
        assert_eq!(code(folder.path(), V84, &["--via", &via]), code_there);
    }
    // DRBD gets its answer before the event is written down: one call's event may come after the next call's.
    let found = events_when(folder.path(), 8);
    for code_there in [0, 1, 3, 4, 5, 6, 7, 99] {
        let event = found.iter().find(|event| event.exit == code_there).expect("an event for each answer");
        assert!(
            matches!(&event.did, Outcome::Fenced { how } if how.contains("because")),
            "{code_there}: {:?}",
            event.did
        );
    }
    // It sees what DRBD told.
    let via = "sh -c 'test $DRBD_RESOURCE.$DRBD_PEER_NODE_ID = r0.0 && exit 4'";
    assert_eq!(code(folder.path(), V9, &["--via", via]), 4);
    assert_eq!(run(handler(folder.path(), V9, &["unfence-peer", "--via", via])).code, 4);
}

#[test]
fn nothing_is_claimed_without_proof() {
    let folder = tempfile::tempdir().unwrap();
    for words in [
        &[][..],
        &["--via", "/nowhere/agent"],
        &["--via", "sh -c 'kill -9 $$'"],
        // The work itself is killed, or stopped.
        &["--via", "sh -c 'kill -9 $PPID'"],
        &["--via", "sh -c 'kill -STOP $PPID; exit 4'", "--deadline", "1s"],
        &["--via", "sleep 60", "--deadline", "1s"],
        &["--via", "sh -c 'trap \"\" TERM; sleep 60; exit 4'", "--deadline", "1s"],
        &["--peer", "exec:/nowhere/ssh"],
        &["--peer", "exec:sh -c 'exit 255'"],
        &["--peer", "exec:echo 4"],
        &["--peer", "exec:sleep 60", "--deadline", "1s"],
        // This node itself answers: no peer has its boot id.
        &["--peer", "exec:sh -c", "--deadline", "2s"],
    ] {
        let all: Vec<&str> = ["fence-peer"].into_iter().chain(words.iter().copied()).collect();
        let ended = run(handler(folder.path(), V84, &all));
        assert_eq!(ended.code, 1, "{words:?}: {}", ended.said);
        assert!(ended.took < Duration::from_secs(40), "{words:?}: {:?}", ended.took);
    }
    // Also where nothing can be recorded.
    assert_eq!(code(Path::new("/proc/nowhere"), V84, &[]), 1);
}

#[test]
fn the_peers_own_words() {
    let folder = tempfile::tempdir().unwrap();
    for (role, disk, expected) in [
        ("Secondary/Unknown", "Outdated/DUnknown", 4),
        ("Secondary", "Outdated", 4),
        ("Secondary", "Inconsistent", 3),
        ("Primary/Unknown", "UpToDate/DUnknown", 6),
        ("Secondary", "Diskless", 1),
        ("", "", 1),
    ] {
        let peer = peer(folder.path(), "node1", role, disk);
        assert_eq!(code(folder.path(), V84, &["--peer", &peer]), expected, "{role} {disk}");
    }
    // It does not do it: asked again until the time is over.
    let stubborn = peer(folder.path(), "node1", "Secondary", "UpToDate/DUnknown");
    assert_eq!(code(folder.path(), V84, &["--peer", &stubborn, "--deadline", "2s"]), 1);
    // Not the peer that DRBD means.
    let other = peer(folder.path(), "node7", "Secondary", "Outdated");
    assert_eq!(code(folder.path(), V9, &["--peer", &other]), 1);
}

/// Nobody knows what a peer does that cannot be reached.
#[test]
fn silence_is_never_down() {
    let folder = tempfile::tempdir().unwrap();
    let said = [
        "Connection timed out",
        "No route to host",
        "Network is unreachable",
        "Host is down",
        "Connection refused",
        "Permission denied, publickey.",
    ];
    for said in said {
        let peer = format!("exec:sh -c 'echo ssh: connect to host n port 22: {said} >&2; exit 255'");
        assert_eq!(code(folder.path(), V84, &["--peer", &peer]), 1, "{said}");
        // There was an option that made it 5; whoever still has it in a configuration gets no wrong answer.
        let words = ["--peer", &peer, "--unreachable-is", "5"];
        assert_eq!(code(folder.path(), V84, &words), 2, "{said}");
    }
    let found = events_when(folder.path(), said.len());
    let named = |said: &str| {
        found.iter().any(|event| matches!(&event.did, Outcome::NotFenced { why } if why.0.contains(said)))
    };
    assert!(said.into_iter().all(named), "{found:?}");
}
