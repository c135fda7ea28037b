//! Who answers is no agent of ours: each case says what it is and what to do, and none hangs.

use crate::captures::Capture;
use crate::scene::{BIN, Scene, shell, text, tool};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use unsplit::api::agent::{AgentError, serve};
use unsplit::api::confine::Confinement;
use unsplit::format::wire::hello::{Hello, hello_bytes};

fn refused(scene: &Scene, peer: &str, says: &[&str]) {
    let said = scene.on("status", Some(peer), &["--peer-timeout", "2"]);
    let shown = text(&said);
    assert_eq!(said.status.code(), Some(4), "{peer}: {shown}");
    for word in says {
        assert!(shown.contains(word), "{peer}: no `{word}` in {shown}");
    }
    assert!(shown.contains("next: "), "{shown}");
}

fn hello_with(change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let hello = Hello { unsplit: "9.9".into(), host: "n2".into(), machine: None, silence: None };
    let mut bytes = hello_bytes(&hello);
    change(&mut bytes);
    bytes
}

#[test]
fn whoever_is_no_agent_is_told_apart() {
    let scene = Scene::of(Capture::Drbd84Down);
    let file = |name: &str, bytes: &[u8]| {
        std::fs::write(scene.path(name), bytes).unwrap();
        scene.path(name).display().to_string()
    };
    refused(&scene, "exec:/nowhere/unsplit agent --stdio", &["cannot be started"]);
    refused(
        &scene,
        &shell("echo sh: unsplit: not found >&2; exit 127"),
        &["not found there", "sh: unsplit: not found", "PATH"],
    );
    refused(
        &scene,
        &shell("echo out of memory >&2; exit 3"),
        &["ended before it greeted", "out of memory", "exit status: 3"],
    );
    refused(&scene, "exec:true", &["ended before it greeted"]);
    refused(&scene, &shell("echo Welcome to node2; sleep 1"), &["`Welcome to node2`", "startup files"]);
    refused(&scene, &shell("printf Hi"), &["`Hi`"]);
    refused(&scene, "exec:sleep 30", &["nothing was heard for 2 seconds", "--peer-timeout"]);
    let other = file("other", &hello_with(|bytes| bytes[8] = 7));
    refused(
        &scene,
        &shell(&format!("cat {other}; sleep 1")),
        &["speaks version 7", "this one speaks ", "same version"],
    );
    // A later version may say something shorter, and end.
    let other = file(
        "shorter",
        &hello_with(|bytes| {
            bytes[8] = 7;
            bytes.truncate(20);
        }),
    );
    refused(&scene, &shell(&format!("cat {other}")), &["speaks version 7"]);
    let damaged = file("damaged", &hello_with(|bytes| bytes[20] ^= 1));
    refused(&scene, &shell(&format!("cat {damaged}; sleep 1")), &["greeting is damaged"]);
    let cut = file("cut", &hello_with(|bytes| bytes.truncate(30)));
    refused(&scene, &shell(&format!("cat {cut}")), &["ended before it greeted"]);
}

#[test]
fn a_peer_that_says_nothing_more_is_not_waited_for() {
    let scene = Scene::of(Capture::Drbd84Down);
    std::fs::write(scene.path("hello"), hello_with(|_| {})).unwrap();
    let hello = scene.path("hello").display().to_string();
    refused(&scene, &shell(&format!("cat {hello}; exec sleep 60")), &["silent for 2 seconds"]);
    refused(&scene, &shell(&format!("cat {hello}; exit 9")), &["closed", "exit status: 9"]);
    // It reads everything and answers with noise.
    refused(&scene, &shell(&format!("cat {hello} /dev/zero")), &["damaged or is no message of ours"]);
    refused(&scene, &shell(&format!("cat {hello} /dev/urandom")), &["damaged or is no message of ours"]);
}

#[test]
fn ssh_that_fails_is_quoted() {
    let scene = Scene::of(Capture::Drbd84Down);
    let fake = scene.path("bin");
    std::fs::create_dir(&fake).unwrap();
    let script = "#!/bin/sh\necho \"ssh: connect to host $3 port 22: No route to host\" >&2\nexit 255\n";
    std::fs::write(fake.join("ssh"), script).unwrap();
    std::fs::set_permissions(fake.join("ssh"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let sides = scene.sides(Some("ssh:root@n2"));
    let words: Vec<&str> = ["status"].into_iter().chain(sides.iter().map(String::as_str)).collect();
    let mut command = scene.command(&words);
    let path = std::env::var("PATH").unwrap();
    command.env("PATH", format!("{}:{path}", fake.display()));
    let said = crate::scene::in_time(command);
    let shown = text(&said);
    assert_eq!(said.status.code(), Some(4), "{shown}");
    assert!(
        shown.contains("ssh:root@n2: ssh could not connect")
            && shown.contains("host root@n2 port 22: No route"),
        "{shown}"
    );
}

#[test]
fn the_agent_refuses_whoever_is_no_unsplit() {
    let serve = |input: &[u8]| {
        let mut out = Vec::new();
        (serve(input, &mut out, Confinement::default()), out)
    };
    let (end, out) = serve(b"");
    assert_eq!(end, Ok(()));
    assert_eq!(out[..8], *b"\0UNSPLIT");
    assert_eq!(serve(b"GET / HTTP/1.1\r\n\r\n").0, Err(AgentError::NotUnsplit("GET / HTTP/1.1".to_owned())));
    assert_eq!(serve(&hello_with(|bytes| bytes[8] = 99)).0, Err(AgentError::Version(99)));
    assert!(matches!(serve(&hello_with(|bytes| bytes[30] ^= 4)).0, Err(AgentError::Stream(_))));
    assert!(matches!(serve(&[hello_with(|_| {}), vec![1; 40]].concat()).0, Err(AgentError::Stream(_))));
    assert_eq!(serve(&hello_with(|_| {})).0, Ok(()));
}

#[test]
fn the_agent_ends_when_its_input_is_closed_and_when_it_is_silent() {
    let start = || {
        let mut command = Command::new(BIN);
        command
            .args(["agent", "--stdio"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let mut closed = start();
    drop(closed.stdin.take());
    assert!(closed.wait().unwrap().success());

    let mut silent = start();
    let hello = Hello { unsplit: "9".into(), host: "n".into(), machine: None, silence: Some(1) };
    let mut stdin = silent.stdin.take().unwrap();
    stdin.write_all(&hello_bytes(&hello)).unwrap();
    let output = silent.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", text(&output));
    assert!(String::from_utf8_lossy(&output.stderr).contains("silent for 1 seconds"));
    drop(stdin);
}

/// `ulimit -u` is reached: a sentence and an exit code, where a thread that could not be started ended the process.
#[test]
fn an_agent_that_cannot_start_threads_says_so() {
    let (Some(prlimit), Some(setpriv)) = (tool("prlimit"), tool("setpriv")) else { return };
    // Whoever is root is not limited: it runs as a user that nobody else is, who must be able to reach the program.
    let folder = tempfile::tempdir().unwrap();
    let open = PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).unwrap();
    let program = folder.path().join("unsplit");
    std::fs::copy(BIN, &program).unwrap();
    let mut command = match rustix::process::geteuid().is_root() {
        true => {
            let mut command = Command::new(setpriv);
            command.args(["--reuid", "54321", "--regid", "54321", "--clear-groups"]).arg(prlimit);
            command
        }
        false => Command::new(prlimit),
    };
    command.arg("--nproc=1").arg(&program).args(["agent", "--stdio"]).stdin(Stdio::piped());
    let output = crate::scene::in_time(command);
    let shown = text(&output);
    assert_eq!(output.status.code(), Some(4), "{shown}");
    assert!(shown.contains("no thread could be started") && shown.contains("ulimit -u"), "{shown}");
    assert!(output.stdout.is_empty(), "nobody was greeted");
}
