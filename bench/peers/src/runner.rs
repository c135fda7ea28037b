//! Running tools and measuring what they used.
//!
//! Each measurement is made by a small process of its own (this program again, as `__run`), because the kernel counts
//! a parent's memory into the peak of the children it starts, and what children used can only be told apart by who
//! waited for them. Whatever the tools start and leave behind is waited for and counted, too.

use anyhow::{Context as _, bail};
use nix::sys::resource::{UsageWho, getrusage};
use serde::{Deserialize, Serialize};
use std::io::{Read, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The hidden command.
pub(crate) const COMMAND: &str = "__run";
/// Output kept of a tool, in bytes; beyond it is only counted.
const KEPT: usize = 64 << 20;
/// How often memory is looked at.
const SAMPLE: Duration = Duration::from_millis(5);

/// One or more commands that are started together.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) commands: Vec<Vec<String>>,
    /// Whether the output is only counted (bytes and lines), not kept.
    pub(crate) count_only: bool,
}

/// What they used together, from the first start until all had ended and their output was taken.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Used {
    pub(crate) seconds: f64,
    /// Processor time of all processes, user and kernel, in seconds.
    pub(crate) cpu: f64,
    /// The largest process's peak resident set in bytes, mapped files included.
    pub(crate) peak: u64,
    /// The peak of all processes' own (anonymous) memory together, in bytes, as sampled.
    pub(crate) own: u64,
    pub(crate) ends: Vec<End>,
}

/// How one of them ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct End {
    /// Exit code; none when a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) out_bytes: u64,
    pub(crate) out_lines: u64,
    pub(crate) err: String,
}

/// Runs a job in a process of its own.
pub(crate) fn run(job: &Job) -> anyhow::Result<Used> {
    let mut runner = Command::new(std::env::current_exe()?)
        .arg(COMMAND)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("the measuring process cannot be started")?;
    if let Some(mut stdin) = runner.stdin.take() {
        stdin.write_all(&serde_json::to_vec(job)?)?;
    }
    let done = runner.wait_with_output()?;
    if !done.status.success() {
        bail!(
            "{} could not be run",
            job.commands.first().and_then(|argv| argv.first()).map_or("it", |word| word)
        );
    }
    Ok(serde_json::from_slice(&done.stdout)?)
}

/// The other side of [`run`].
pub(crate) fn serve() -> anyhow::Result<()> {
    let job: Job = serde_json::from_reader(std::io::stdin())?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let used = measure(&job)?;
    Ok(serde_json::to_writer(std::io::stdout(), &used)?)
}

fn measure(job: &Job) -> anyhow::Result<Used> {
    let (over, own) = (AtomicBool::new(false), AtomicU64::new(0));
    let (seconds, ends) = std::thread::scope(|scope| -> anyhow::Result<_> {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                own.fetch_max(own_memory(), Ordering::Relaxed);
                std::thread::sleep(SAMPLE);
            }
        });
        let timed = timed(job);
        over.store(true, Ordering::Relaxed);
        timed
    })?;
    // Those that the tools left behind.
    while rustix::process::wait(rustix::process::WaitOptions::empty()).is_ok() {}
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let time = |value: nix::sys::time::TimeVal| value.tv_sec() as f64 + value.tv_usec() as f64 / 1e6;
    Ok(Used {
        seconds,
        cpu: time(usage.user_time()) + time(usage.system_time()),
        peak: u64::try_from(usage.max_rss())? * 1024,
        own: own.load(Ordering::Relaxed),
        ends,
    })
}

fn timed(job: &Job) -> anyhow::Result<(f64, Vec<End>)> {
    let begin = Instant::now();
    let mut children = Vec::new();
    for argv in &job.commands {
        let (program, words) = argv.split_first().context("an empty command")?;
        let child = Command::new(program)
            .args(words)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("{program} cannot be started"))?;
        children.push(child);
    }
    let ends = std::thread::scope(|scope| {
        let waiting: Vec<_> =
            children.into_iter().map(|child| scope.spawn(|| finish(child, job.count_only))).collect();
        waiting
            .into_iter()
            .map(|each| each.join().unwrap_or_else(|_| bail!("a thread died")))
            .collect::<anyhow::Result<Vec<End>>>()
    })?;
    Ok((begin.elapsed().as_secs_f64(), ends))
}

fn finish(mut child: Child, count_only: bool) -> anyhow::Result<End> {
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let (out, err) = std::thread::scope(|scope| {
        let err = scope.spawn(|| drain(err, 1 << 16));
        (drain(out, if count_only { 0 } else { KEPT }), err.join())
    });
    let (out, err) = (out?, err.unwrap_or_else(|_| bail!("a thread died"))?);
    Ok(End {
        code: child.wait()?.code(),
        out: String::from_utf8_lossy(&out.kept).into_owned(),
        out_bytes: out.bytes,
        out_lines: out.lines,
        err: String::from_utf8_lossy(&err.kept).into_owned(),
    })
}

#[derive(Default)]
struct Drained {
    kept: Vec<u8>,
    bytes: u64,
    lines: u64,
}

fn drain(from: Option<impl Read>, keep: usize) -> anyhow::Result<Drained> {
    let mut drained = Drained::default();
    let Some(mut from) = from else { return Ok(drained) };
    let mut buffer = vec![0; 64 << 10];
    loop {
        let len = from.read(&mut buffer)?;
        if len == 0 {
            return Ok(drained);
        }
        drained.bytes += len as u64;
        drained.lines += buffer[..len].iter().map(|byte| u64::from(*byte == b'\n')).sum::<u64>();
        let room = keep - drained.kept.len();
        drained.kept.extend_from_slice(&buffer[..len.min(room)]);
    }
}

/// Anonymous memory of everything this process has started, in bytes.
fn own_memory() -> u64 {
    let mut open = vec![std::process::id()];
    let mut sum = 0;
    while let Some(pid) = open.pop() {
        let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { continue };
        for thread in threads.flatten() {
            let children = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            for child in children.split_whitespace().filter_map(|word| word.parse().ok()) {
                open.push(child);
                sum += anonymous(child);
            }
        }
    }
    sum
}

fn anonymous(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| -> u64 {
        let value = status.lines().find_map(|line| line.strip_prefix(name));
        value.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    };
    (field("RssAnon:") + field("RssShmem:")) * 1024
}
