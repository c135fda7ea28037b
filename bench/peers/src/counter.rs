//! A pipe that counts: stands in the place of ssh, starts the other end, passes everything on.

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

/// The hidden command: `__count REPORT SKIP WORD...`, where SKIP words (a host's name) are dropped.
pub(crate) const COMMAND: &str = "__count";

/// Bytes that went through, seen from the side that started the counter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counted {
    pub(crate) sent: u64,
    pub(crate) received: u64,
}

impl Counted {
    pub(crate) fn sum(self) -> u64 {
        self.sent + self.received
    }
}

/// A counter's command line and the report it leaves.
#[derive(Debug)]
pub(crate) struct Counter {
    report: PathBuf,
    program: String,
}

impl Counter {
    pub(crate) fn new(folder: &Path) -> anyhow::Result<Counter> {
        let program = std::env::current_exe()?.display().to_string();
        let counter = Counter { report: folder.join("counted.json"), program };
        // The tools split their remote commands at spaces, each by its own rules of quoting.
        anyhow::ensure!(
            !counter.words(0).contains(&['\'', '"', '\\', '\t'][..])
                && counter.words(0).split(' ').count() == 4,
            "the folder of this checkout or of the data has a space or a quote in its name: name another by --dir"
        );
        Ok(counter)
    }

    /// The command line, to be followed by `skip` words to drop and the command of the other end.
    pub(crate) fn words(&self, skip: usize) -> String {
        format!("{} {COMMAND} {} {skip}", self.program, self.report.display())
    }

    /// What the last counter counted. Taking it removes it, so that an old one is never taken for a new one.
    pub(crate) fn take(&self) -> anyhow::Result<Counted> {
        let bytes = std::fs::read(&self.report).context("the counting pipe left no report")?;
        std::fs::remove_file(&self.report)?;
        Ok(serde_json::from_slice(&bytes)?)
    }
}

/// Runs as the pipe; returns the other end's exit code.
pub(crate) fn serve(words: &[String]) -> anyhow::Result<i32> {
    let [report, skip, words @ ..] = words else { anyhow::bail!("too few words") };
    let (program, words) =
        words.get(skip.parse::<usize>()?..).and_then(<[String]>::split_first).context("no command")?;
    let mut child = Command::new(program)
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("{program} cannot be started"))?;
    let (mut to, mut from) =
        (child.stdin.take().context("no pipe")?, child.stdout.take().context("no pipe")?);
    static SENT: AtomicU64 = AtomicU64::new(0);
    let received = AtomicU64::new(0);
    // Not waited for: it may still be reading when the other end has nothing more to say.
    std::thread::spawn(move || pass(&mut std::io::stdin().lock(), &mut to, &SENT));
    pass(&mut from, &mut std::io::stdout().lock(), &received);
    let code = child.wait()?.code().unwrap_or(255);
    let counted = Counted { sent: SENT.load(Ordering::SeqCst), received: received.load(Ordering::SeqCst) };
    std::fs::write(report, serde_json::to_vec(&counted)?)?;
    Ok(code)
}

/// Passes bytes on until one end closes. Flushes each piece, as a network would not hold it back either.
fn pass(from: &mut impl Read, to: &mut impl Write, count: &AtomicU64) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(len @ 1..) = from.read(&mut buffer) {
        count.fetch_add(len as u64, Ordering::SeqCst);
        if to.write_all(&buffer[..len]).and_then(|()| to.flush()).is_err() {
            break;
        }
    }
}
