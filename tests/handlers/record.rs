//! Every handler is recorded, and DRBD gets its answer, whatever state the node is in.

use super::{V9, V84, dress, events, events_when, handler, run, scripted};
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;
use unsplit::edge::events::read;
use unsplit::model::handled::{Handler, Outcome};

/// Far above what is needed, far below for ever: this is not about speed.
const SOON: Duration = Duration::from_secs(30);

#[test]
fn both_generations_are_recorded() {
    let folder = tempfile::tempdir().unwrap();
    for environment in [V84, V9] {
        for handler_name in Handler::ALL {
            if matches!(handler_name, Handler::FencePeer | Handler::BeforeResyncTarget) {
                continue;
            }
            let ended = run(handler(folder.path(), environment, &[handler_name.word()]));
            assert_eq!(ended.code, 0, "{handler_name}: {}", ended.said);
        }
    }
    let found = events_when(folder.path(), 2 * (Handler::ALL.len() - 2));
    let first = &found[0];
    assert_eq!((first.handler, first.exit, &first.did), (Handler::InitialSplitBrain, 0, &Outcome::Recorded));
    assert!(found.iter().all(|event| event.call.resource.as_deref() == Some("r0")));
    assert!(found.iter().all(|event| event.call.peer.as_deref() == Some("node1")));
    assert!(found.iter().all(|event| event.call.volumes == [0] && event.call.minors == [0]));
    // People read it.
    let mut shown = Command::new(super::BINARY);
    shown.args(["--state-dir", &folder.path().display().to_string(), "events", "r0"]);
    let shown = run(shown);
    assert_eq!(shown.code, 0);
    assert!(
        shown.said.contains("r0/0 with node1: split-brain") && shown.said.contains("unsplit status r0"),
        "{}",
        shown.said
    );
}

#[test]
fn nothing_but_the_call_itself_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    // As the kernel starts drbdadm: no descriptors at all, and no environment here.
    let mut count = 0;
    for script in
        ["exec \"$@\" <&- >&- 2>&-", "exec \"$@\" < /dev/full > /dev/full 2>&1", "ulimit -n 16; exec \"$@\""]
    {
        let ended = run(scripted(script, folder.path(), &[], &["split-brain"]));
        assert_eq!(ended.code, 0, "{script}: {}", ended.said);
        count += 1;
        assert_eq!(events(folder.path()).len(), count, "{script}");
    }
    assert_eq!(events(folder.path())[0].call.resource, None);
    let ended = run(handler(folder.path(), &[("DRBD_RESOURCE", "../../x y")], &["out-of-sync"]));
    assert_eq!(ended.code, 0);
    assert_eq!(events(folder.path())[count].call.resource.as_deref(), Some("../../x y"));
}

#[test]
fn a_state_directory_that_cannot_be_used_costs_the_record_only() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let damaged = folder.path().join("damaged");
    fs::create_dir_all(damaged.join("events/log")).unwrap();
    let linked = folder.path().join("linked");
    fs::create_dir_all(linked.join("events")).unwrap();
    std::os::unix::fs::symlink("/dev/full", linked.join("events/log")).unwrap();
    for state in [file.join("below"), "/proc/nowhere".into(), "/dev/null".into(), damaged, linked] {
        let ended = run(handler(&state, V84, &["split-brain"]));
        assert_eq!(ended.code, 0, "{}: {}", state.display(), ended.said);
        assert!(ended.said.contains("not recorded"), "{}: {}", state.display(), ended.said);
        assert!(
            ended.said.contains("Split brain"),
            "the system's log learns of it all the same: {}",
            ended.said
        );
        assert!(ended.took < SOON, "{:?}", ended.took);
    }
    // A disk that is full after so many blocks of 512 bytes: half a line may be written, and is taken back.
    let state = folder.path().join("full");
    for blocks in [0, 1, 2, 3, 1000] {
        // The signal is for shells; a full disk sends none.
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
        let ended = run(scripted(&script, &state, V9, &["split-brain"]));
        assert_eq!(ended.code, 0, "{blocks}: {}", ended.said);
    }
    let found = read(&state).unwrap();
    assert_eq!((found.torn, found.unknown), (0, 0));
    assert!(!found.events.is_empty(), "there was room in the end");
}

#[test]
fn many_at_once_are_all_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..12).map(|number| format!("r{number}")).collect();
    let children: Vec<_> = names
        .iter()
        .map(|name| {
            let environment = [("DRBD_RESOURCE", name.as_str()), ("PATH", "/bin")];
            let mut command = handler(folder.path(), &environment, &["split-brain", "--deadline", "60s"]);
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        })
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let mut found: Vec<String> =
        events(folder.path()).into_iter().map(|event| event.call.resource.unwrap()).collect();
    found.sort();
    let mut names = names;
    names.sort();
    assert_eq!(found, names);
}

#[test]
fn a_notify_program_keeps_nobody_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let script = format!(
        "cat /nowhere; echo \"$UNSPLIT_HANDLER $DRBD_RESOURCE $UNSPLIT_EVENT\" > {0}.new; mv {0}.new {0}; sleep 30",
        out.display()
    );
    let exec = format!("sh -c '{script}'");
    let ended = run(handler(folder.path(), V84, &["split-brain", "--exec", &exec]));
    assert_eq!(ended.code, 0);
    assert!(ended.took < Duration::from_secs(25), "DRBD waited for it: {:?}", ended.took);
    assert_eq!(events(folder.path()).len(), 1, "recorded first");
    let until = std::time::Instant::now() + SOON;
    while !out.exists() {
        assert!(std::time::Instant::now() < until);
        std::thread::sleep(Duration::from_millis(20));
    }
    let told = fs::read_to_string(&out).unwrap();
    let json = told.strip_prefix("split-brain r0 ").unwrap_or_else(|| panic!("{told}"));
    let event: unsplit::model::handled::Handled = serde_json::from_str(json).unwrap();
    assert_eq!(event, events(folder.path())[0]);
    let ended = run(handler(folder.path(), V84, &["split-brain", "--exec", "/nowhere/program"]));
    assert_eq!(ended.code, 0, "{}", ended.said);
}

#[test]
fn mistakes_in_a_configuration_are_said() {
    let folder = tempfile::tempdir().unwrap();
    for words in [
        &["no-such-handler"][..],
        &["split-brain", "--via", "x"],
        &["split-brain", "--then", "reboot"],
        &["fence-peer", "--via", "'unclosed"],
        &["fence-peer", "--via", "x", "--peer", "ssh"],
        &["fence-peer", "--peer", "ssh:h", "--unreachable-is", "5"],
        &["fence-peer", "--peer", "node2"],
        &["before-resync-target", "--required", "--best-effort"],
        &["split-brain", "--deadline", "1h"],
    ] {
        let ended = run(handler(folder.path(), V84, words));
        // To DRBD, 2 of fence-peer is "broken", and of before-resync-target "do not begin".
        assert_eq!(ended.code, 2, "{words:?}: {}", ended.said);
    }
    assert!(events(folder.path()).is_empty());
}

#[test]
fn the_environment_of_drbd_only() {
    // What the tests set is what they say.
    let mut command = Command::new("env");
    dress(&mut command, &[("A", "b")]);
    assert_eq!(run(command).said.trim(), "A=b");
}

/// A name may hold anything; an event is one line.
#[test]
fn a_name_with_a_line_break_stays_on_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let environment = [("DRBD_RESOURCE", "r0\n2026-01-01  r9: healed"), ("PATH", "/usr/bin:/bin")];
    assert_eq!(run(handler(folder.path(), &environment, &["pri-lost"])).code, 0);
    let mut shown = Command::new(super::BINARY);
    shown.arg("--state-dir").arg(folder.path()).arg("events");
    let ended = run(shown);
    assert_eq!((ended.code, ended.said.trim_end().lines().count()), (0, 1), "{}", ended.said);
    assert!(ended.said.contains(r"r0\n2026-01-01  r9"), "{}", ended.said);
}
