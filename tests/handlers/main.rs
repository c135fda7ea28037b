//! The binary as DRBD's drbdadm calls it: both generations' environments, closed descriptors, disks that are full, read-only or
//! damaged, many calls at once, SIGKILL before each write. DRBD always gets an answer, and never one that claims too much.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]
#![allow(unreachable_pub, dead_code)]

mod config;
mod cut;
mod fence;
mod preserve;
mod record;
#[path = "../skipped/mod.rs"]
mod skipped;
#[path = "../world/mod.rs"]
mod world;

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use unsplit::edge::events::read;
use unsplit::model::handled::Handled;

/// As drbdadm 9.22 sets it for a handler of a device, DRBD 8.4.11.
const V84: &[(&str, &str)] = &[
    ("DRBD_PEER_ADDRESS", "10.9.0.1"),
    ("HOME", "/"),
    ("DRBD_CONF", "/etc/drbd.conf"),
    ("DRBD_PEER_AF", "ipv4"),
    ("DRBD_PEER", "node1"),
    ("DRBD_RESOURCE", "r0"),
    ("DRBD_PEERS", "node1"),
    ("TERM", "linux"),
    ("PATH", "/sbin:/usr/sbin:/bin:/usr/bin:/lib/drbd"),
    ("DRBD_MINOR", "0"),
    ("DRBD_LL_DISK", "/nowhere/disk"),
    ("DRBD_VOLUME", "0"),
];
/// The same for DRBD 9.3.3.
const V9: &[(&str, &str)] = &[
    ("DRBD_PEER_ADDRESS", "10.9.0.1"),
    ("HOME", "/"),
    ("DRBD_CONF", "/etc/drbd.conf"),
    ("DRBD_PEER_AF", "ipv4"),
    ("DRBD_CSTATE", "Connected"),
    ("DRBD_PEER_NODE_ID", "0"),
    ("DRBD_RESOURCE", "r0"),
    ("TERM", "linux"),
    ("DRBD_BACKING_DEV", "/nowhere/disk"),
    ("PATH", "/sbin:/usr/sbin:/bin:/usr/bin"),
    ("DRBD_MINOR", "0"),
    ("DRBD_MY_ADDRESS", "10.9.0.2"),
    ("DRBD_LL_DISK", "/nowhere/disk"),
    ("DRBD_VOLUME", "0"),
    ("DRBD_MY_AF", "ipv4"),
    ("DRBD_NODE_ID_0", "node1"),
    ("DRBD_NODE_ID_1", "node2"),
    ("DRBD_MY_NODE_ID", "1"),
];

const BINARY: &str = env!("CARGO_BIN_EXE_unsplit");

/// A call with nothing in the environment but what DRBD sets.
fn handler(state: &Path, environment: &[(&str, &str)], words: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    dress(&mut command, environment);
    command.arg("--state-dir").arg(state).arg("handler").args(words);
    command
}

/// The same through `sh -c SCRIPT`, where `"$@"` is the call.
fn scripted(script: &str, state: &Path, environment: &[(&str, &str)], words: &[&str]) -> Command {
    let mut command = Command::new("sh");
    dress(&mut command, environment);
    command.args(["-c", script, "sh", BINARY, "--state-dir"]).arg(state).arg("handler").args(words);
    command
}

fn dress(command: &mut Command, environment: &[(&str, &str)]) {
    command.env_clear().envs(environment.iter().copied()).current_dir("/").stdin(Stdio::null());
}

struct Ended {
    code: i32,
    said: String,
    took: Duration,
}

fn run(mut command: Command) -> Ended {
    let began = Instant::now();
    let Output { status, stdout, stderr } = command.output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    Ended { code: status.code().unwrap_or_else(|| panic!("{status}: {said}")), said, took: began.elapsed() }
}

fn events(state: &Path) -> Vec<Handled> {
    read(state).unwrap().events
}

/// What is recorded after the answer is there soon.
fn events_when(state: &Path, count: usize) -> Vec<Handled> {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let found = events(state);
        if found.len() >= count {
            return found;
        }
        assert!(Instant::now() < until, "{count} events wanted, {} found", found.len());
        std::thread::sleep(Duration::from_millis(20));
    }
}
