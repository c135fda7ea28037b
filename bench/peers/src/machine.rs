//! What machine this is, and how quiet.

use crate::subject::{Peer, binary, find, version};
use serde::Serialize;
use std::fs::read_to_string;
use std::path::Path;
use std::process::Command;
use unsplit::model::size::human;

/// What the figures belong to.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory: u64,
    pub(crate) kernel: String,
    pub(crate) file_system: String,
    pub(crate) unsplit: String,
    pub(crate) date: String,
    /// Version of each peer, or how to get it.
    pub(crate) peers: Vec<(String, Result<String, String>)>,
}

impl Machine {
    pub(crate) fn look(folder: &Path) -> Machine {
        let mut peers: Vec<(String, Result<String, String>)> = Vec::new();
        for peer in Peer::ALL {
            if peers.iter().all(|(name, _)| name != peer.program()) {
                let there = find(peer.program()).map(|_| {
                    version(peer.program()).unwrap_or_else(|| "does not tell its version".to_owned())
                });
                peers.push((peer.program().to_owned(), there.ok_or_else(|| peer.install().to_owned())));
            }
        }
        Machine {
            processor: field("/proc/cpuinfo", "model name").unwrap_or_else(|| "?".to_owned()),
            cores: std::thread::available_parallelism().map_or(1, Into::into),
            memory: memory("MemTotal"),
            kernel: read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            file_system: file_system(folder).unwrap_or_else(|| "?".to_owned()),
            unsplit: built(),
            date: jiff::Zoned::now()
                .with_time_zone(jiff::tz::TimeZone::UTC)
                .strftime("%Y-%m-%d %H:%M UTC")
                .to_string(),
            peers,
        }
    }

    pub(crate) fn words(&self) -> String {
        format!(
            "{}, {} cores, {} of memory, Linux {}, data on {}. {}. {}.",
            self.processor,
            self.cores,
            human(self.memory),
            self.kernel,
            self.file_system,
            self.unsplit,
            self.date
        )
    }
}

/// A line of /proc/meminfo in bytes.
pub(crate) fn memory(name: &str) -> u64 {
    let value =
        field("/proc/meminfo", name).and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
    value.unwrap_or(0) * 1024
}

/// The load average of the last minute: what else runs here.
pub(crate) fn load() -> f64 {
    let text = read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0.0)
}

fn field(file: &str, name: &str) -> Option<String> {
    let text = read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Type and device of the file system that holds a folder.
fn file_system(folder: &Path) -> Option<String> {
    let folder = folder.canonicalize().ok()?;
    let mounts = read_to_string("/proc/self/mounts").ok()?;
    let holds = |line: &&str| line.split(' ').nth(1).is_some_and(|place| folder.starts_with(place));
    let best = mounts.lines().filter(holds).max_by_key(|line| line.split(' ').nth(1).map(str::len))?;
    let mut words = best.split(' ');
    let (device, kind) = (words.next()?, words.nth(1)?);
    Some(format!("{kind} ({device})"))
}

fn built() -> String {
    let version = version(binary()).unwrap_or_else(|| "unsplit".to_owned());
    let git = Command::new("git")
        .args(["describe", "--always", "--dirty"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output();
    match git {
        Ok(said) if said.status.success() => {
            format!("{version}, commit {}", String::from_utf8_lossy(&said.stdout).trim())
        }
        _ => version,
    }
}
