//! `--peer ssh:HOST` for real: an sshd of our own on the loopback, with a key made for this test.

use crate::captures::Capture;
use crate::scene::{BIN, Scene, in_time, text, tool};
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Ended by its process id when dropped.
struct Sshd(Child);

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn key(path: &Path) -> bool {
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).status();
    made.is_ok_and(|status| status.success())
}

fn start(folder: &Path, sshd: &PathBuf) -> Option<(Sshd, u16)> {
    let (host_key, user_key) = (folder.join("host"), folder.join("user"));
    if !key(&host_key) || !key(&user_key) {
        crate::skipped::lacking("ssh-keygen makes no keys here");
        return None;
    }
    fs::copy(folder.join("user.pub"), folder.join("authorized")).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let show = |name: &str| folder.join(name).display().to_string();
    let config = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nUsePAM no\nStrictModes no\n\
         PasswordAuthentication no\nPermitRootLogin yes\nSetEnv PATH={}:/usr/bin:/bin\n",
        show("host"),
        show("authorized"),
        show("remote-bin"),
    );
    fs::write(folder.join("sshd_config"), config).unwrap();
    if unsplit_is_root() {
        // Its privilege separation wants this folder, which the system's service makes when it starts.
        let _ = fs::create_dir("/run/sshd");
    }
    let child = Command::new(sshd)
        .args(["-D", "-e", "-f"])
        .arg(folder.join("sshd_config"))
        .stdin(Stdio::null())
        .stderr(fs::File::create(folder.join("sshd.log")).unwrap())
        .spawn()
        .unwrap();
    let sshd = Sshd(child);
    let until = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if Instant::now() > until {
            let log = fs::read_to_string(folder.join("sshd.log")).unwrap();
            crate::skipped::lacking(&format!("sshd does not start here: {log}"));
            return None;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Some((sshd, port))
}

fn unsplit_is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn a_healing_over_ssh() {
    let (Some(sshd), Some(ssh)) = (tool("sshd"), tool("ssh")) else { return };
    let scene = Scene::of(Capture::Drbd84Down);
    let folder = scene.folder.path().join("ssh");
    fs::create_dir(&folder).unwrap();
    let Some((sshd, port)) = start(&folder, &sshd) else { return };
    fs::create_dir(folder.join("bin")).unwrap();
    let show = |name: &str| folder.join(name).display().to_string();
    // What an administrator would put into ssh's configuration.
    let script = format!(
        "#!/bin/sh\nexec {} -p {port} -i {} -o IdentitiesOnly=yes -o UserKnownHostsFile={} -o StrictHostKeyChecking=accept-new -F none \"$@\"\n",
        ssh.display(),
        show("user"),
        show("known"),
    );
    fs::write(folder.join("bin/ssh"), script).unwrap();
    fs::set_permissions(folder.join("bin/ssh"), fs::Permissions::from_mode(0o755)).unwrap();
    let run = |words: &[&str]| {
        let mut command = scene.command(words);
        let path = std::env::var("PATH").unwrap();
        command.env("PATH", format!("{}:{path}", show("bin")));
        in_time(command)
    };
    let sides = scene.sides(Some("ssh:127.0.0.1"));
    let on = |command: &'static str, more: &[&'static str]| {
        let words: Vec<&str> = [command].into_iter().chain(sides.iter().map(String::as_str)).collect();
        run(&[&words[..], more].concat())
    };

    // No unsplit there yet.
    let missing = on("status", &[]);
    assert_eq!(missing.status.code(), Some(4), "{}", text(&missing));
    assert!(text(&missing).contains("unsplit was not found there"), "{}", text(&missing));

    fs::create_dir(folder.join("remote-bin")).unwrap();
    std::os::unix::fs::symlink(BIN, folder.join("remote-bin/unsplit")).unwrap();
    let diff = on("diff", &[]);
    assert_eq!(
        diff.status.code(),
        Some(1),
        "{}\n{}",
        text(&diff),
        fs::read_to_string(show("sshd.log")).unwrap()
    );
    let healed = on("resolve", &["--keep", "a", "--yes"]);
    assert_eq!(healed.status.code(), Some(0), "{}", text(&healed));
    assert_eq!(on("diff", &["--full"]).status.code(), Some(0));
    let undone = run(&["undo"]);
    assert_eq!(undone.status.code(), Some(0), "{}", text(&undone));
    assert!(scene.now() == scene.before, "undone: byte for byte as before");

    // The key may do less: whatever is asked for, the command that stands beside it is run (docs/peer.md).
    let key = fs::read_to_string(show("user.pub")).unwrap();
    let may = |options: &str| {
        let path = scene.path("b.img");
        let line =
            format!("command=\"unsplit agent --stdio --allow {} {options}\",restrict {key}", path.display());
        fs::write(folder.join("authorized"), line).unwrap();
    };
    may("--read-only");
    assert_eq!(on("diff", &[]).status.code(), Some(1));
    let refused = on("resolve", &["--keep", "a", "--yes"]);
    assert_eq!(refused.status.code(), Some(4), "{}", text(&refused));
    assert!(text(&refused).contains("started with --read-only"), "{}", text(&refused));
    assert!(scene.now() == scene.before, "nothing was written");
    let copy = scene.path("copy.img").display().to_string();
    fs::copy(scene.path("b.img"), &copy).unwrap();
    let refused = run(&["diff", &sides[0], &copy, "--peer", "ssh:127.0.0.1"]);
    assert_eq!(refused.status.code(), Some(4), "{}", text(&refused));
    assert!(text(&refused).contains("the peer does not allow"), "{}", text(&refused));
    may("");
    let healed = on("resolve", &["--keep", "a", "--yes"]);
    assert_eq!(healed.status.code(), Some(0), "{}", text(&healed));

    drop(sshd);
    let gone = on("status", &[]);
    assert_eq!(gone.status.code(), Some(4));
    assert!(
        text(&gone).contains("ssh could not connect") && text(&gone).contains("refused"),
        "{}",
        text(&gone)
    );
}
