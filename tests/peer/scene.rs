//! Two images in a folder, and unsplit run on them with B on a peer.

use crate::captures::Capture;
use crate::world::pair::{Images, Spec};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use unsplit::model::side::Side;

pub const BIN: &str = env!("CARGO_BIN_EXE_unsplit");

/// Longer than any run here takes; a run that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(120);

/// The agent of this build.
pub fn agent() -> String {
    format!("exec:{BIN} agent --stdio")
}

/// Something run by a shell in place of the agent.
pub fn shell(script: &str) -> String {
    assert!(!script.contains('\''), "it is quoted with these");
    format!("exec:sh -c '{script}'")
}

pub struct Scene {
    pub folder: TempDir,
    pub before: Vec<(PathBuf, Vec<u8>)>,
    metadata: Vec<String>,
}

impl Scene {
    pub fn of(capture: Capture) -> Scene {
        let folder = tempfile::tempdir().unwrap();
        for (image, name) in capture.unpack(folder.path()).iter().zip(["a.img", "b.img"]) {
            fs::rename(image, folder.path().join(name)).unwrap();
        }
        Scene::with(folder, Vec::new())
    }

    pub fn made(spec: &Spec) -> Scene {
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let Images { sides, .. } = spec.build();
        let mut metadata = Vec::new();
        for side in Side::BOTH {
            fs::write(folder.path().join(format!("{side}.img")), &sides[side].data).unwrap();
            if let Some(bytes) = &sides[side].metadata {
                let path = folder.path().join(format!("{side}.md"));
                fs::write(&path, bytes).unwrap();
                metadata.extend([format!("--meta-{side}"), path.display().to_string()]);
            }
        }
        Scene::with(folder, metadata)
    }

    fn with(folder: TempDir, metadata: Vec<String>) -> Scene {
        let mut before: Vec<(PathBuf, Vec<u8>)> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| (path.clone(), fs::read(path).unwrap()))
            .collect();
        before.sort();
        Scene { folder, before, metadata }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// Everything as it is now, for comparing with `before`.
    pub fn now(&self) -> Vec<(PathBuf, Vec<u8>)> {
        self.before.iter().map(|(path, _)| (path.clone(), fs::read(path).unwrap())).collect()
    }

    /// The two sides and, if B is on a peer, the peer.
    pub fn sides(&self, peer: Option<&str>) -> Vec<String> {
        let mut words =
            vec![self.path("a.img").display().to_string(), self.path("b.img").display().to_string()];
        words.extend(self.metadata.clone());
        if let Some(peer) = peer {
            words.extend(["--peer".to_owned(), peer.to_owned()]);
        }
        words
    }

    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(BIN);
        command
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .arg("--state-dir")
            .arg(self.path("state"));
        command.args(words);
        command
    }

    pub fn run(&self, words: &[&str]) -> Output {
        in_time(self.command(words))
    }

    /// A command on both sides.
    pub fn on(&self, command: &str, peer: Option<&str>, more: &[&str]) -> Output {
        let sides = self.sides(peer);
        let words: Vec<&str> = [command].into_iter().chain(sides.iter().map(String::as_str)).collect();
        self.run(&[&words[..], more].concat())
    }

    /// The same as a document, with its exit code.
    pub fn json(&self, command: &str, peer: Option<&str>, more: &[&str]) -> (i32, Value) {
        let output = self.on(command, peer, &[&["--json"], more].concat());
        let document = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output)));
        (output.status.code().unwrap(), document)
    }
}

pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Runs to its end, which must come in time.
pub fn in_time(mut command: Command) -> Output {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let read = |from: &mut dyn std::io::Read| {
        let mut all = Vec::new();
        from.read_to_end(&mut all).unwrap();
        all
    };
    let started = Instant::now();
    std::thread::scope(|scope| {
        let out = scope.spawn(|| read(&mut stdout));
        let err = scope.spawn(|| read(&mut stderr));
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if started.elapsed() > LIMIT {
                child.kill().unwrap();
                child.wait().unwrap();
                panic!("{command:?} hangs");
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        Output { status, stdout: out.join().unwrap(), stderr: err.join().unwrap() }
    })
}

/// A tool of the system; tests that need one say so when it is not there.
pub fn tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let found = path.split(':').map(|dir| Path::new(dir).join(name)).find(|path| path.is_file());
    if found.is_none() {
        crate::skipped::lacking(&format!("{name} is not installed"));
    }
    found
}
