//! The one place that starts other programs: by argv, never through a shell; ended by process id.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{self, BufRead, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Kept of what a program says on its standard error: its last lines, at most that many, each at most that long.
const LINES: usize = 12;
const LONGEST_LINE: usize = 400;
const PAUSE: Duration = Duration::from_millis(10);
/// How long the last words of a program that has ended are waited for.
pub(crate) const LAST_WORDS: Duration = Duration::from_secs(1);
/// Longest line that is heard of a program that runs apart.
const LONGEST_HEARD: u64 = 64 << 10;

/// A program that runs, with pipes to its standard input and output. Ended when dropped.
#[derive(Debug)]
pub struct Process {
    child: Mutex<Child>,
    said: Arc<Said>,
    name: String,
}

impl Process {
    /// Starts `argv[0]`, found in `PATH`, with the rest as its words.
    ///
    /// # Errors
    /// What the system said; `NotFound` when there is no such program.
    pub fn start(argv: &[String]) -> io::Result<(Process, ChildStdin, ChildStdout)> {
        let (program, words) =
            argv.split_first().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no program"))?;
        let mut child = Command::new(program)
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let said = Arc::<Said>::default();
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(io::Error::other("no pipes to the program"));
        };
        listen(stderr, Arc::clone(&said));
        Ok((Process { child: Mutex::new(child), said, name: program.clone() }, stdin, stdout))
    }

    /// The program's name, as it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child().id()
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last lines of its standard error, as far as they have arrived.
    #[must_use]
    pub fn said(&self) -> Vec<String> {
        self.said.lock().lines.iter().cloned().collect()
    }

    /// The last lines of its standard error once there will be no more, or after `limit`: those of a program that has ended
    /// may still be on their way, and a program that it left behind may keep the pipe open.
    #[must_use]
    pub fn said_at_last(&self, limit: Duration) -> Vec<String> {
        let waited = self.said.changed.wait_timeout_while(self.said.lock(), limit, |heard| !heard.over);
        let heard = waited.unwrap_or_else(PoisonError::into_inner).0;
        heard.lines.iter().cloned().collect()
    }

    /// How it ended, if it does within `limit`.
    #[must_use]
    pub fn ended_within(&self, limit: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + limit;
        loop {
            match self.child().try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if Instant::now() < until => {}
                _ => return None,
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Ends it at once.
    pub fn kill(&self) {
        // Fails only when it has ended already.
        let _ = self.child().kill();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        let _ = self.child().wait();
    }
}

/// What a program that ran to its end left.
#[derive(Debug)]
pub struct Ran {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub output: Vec<u8>,
    /// The last lines of its standard error.
    pub said: Vec<String>,
}

/// Runs a program to its end, with nothing on its standard input.
///
/// # Errors
/// What the system said when it could not be started; `TimedOut` when it was ended because it took longer than `limit`;
/// `FileTooLarge` when it was ended because it wrote more than `most` bytes.
pub fn run(argv: &[String], limit: Duration, most: usize) -> io::Result<Ran> {
    let until = Instant::now() + limit;
    let (process, stdin, mut stdout) = Process::start(argv)?;
    drop(stdin);
    // The reader ends with the program, and with it the pipe; a grandchild that keeps the pipe open is not waited for.
    let (report, done) = std::sync::mpsc::channel();
    std::thread::Builder::new().name("stdout".to_owned()).spawn(move || {
        let mut output = Vec::new();
        let read = (&mut stdout).take(most as u64 + 1).read_to_end(&mut output);
        let _ = report.send(read.map(|_| output));
    })?;
    let took_too_long = || {
        let words = format!("{} did not end within {} s", process.name(), limit.as_secs());
        io::Error::new(io::ErrorKind::TimedOut, words)
    };
    let left = || until.saturating_duration_since(Instant::now());
    let output = done.recv_timeout(left()).map_err(|_| took_too_long())??;
    if output.len() > most {
        let words = format!("{} wrote more than {most} bytes", process.name());
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, words));
    }
    let status = process.ended_within(left()).ok_or_else(took_too_long)?;
    Ok(Ran { status, output, said: process.said_at_last(LAST_WORDS) })
}

/// A program that runs apart from us: in a process group of its own, without standard input and error, and not ended with
/// us. Its standard output is read line by line.
#[derive(Debug)]
pub struct Apart {
    child: Child,
    lines: std::sync::mpsc::Receiver<String>,
}

/// What came of waiting for a line.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// A line.
    Line(String),
    /// There will be no more.
    End,
    /// None yet.
    Late,
}

impl Apart {
    /// Starts `argv[0]`, with these variables added to the environment.
    ///
    /// # Errors
    /// What the system said.
    pub fn start(argv: &[OsString], variables: &[(&str, String)]) -> io::Result<Apart> {
        let (program, words) =
            argv.split_first().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no program"))?;
        let mut child = Command::new(program)
            .args(words)
            .envs(variables.iter().map(|(name, value)| (*name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let stdout = child.stdout.take().ok_or_else(|| io::Error::other("no pipe to the program"))?;
        let (sender, lines) = std::sync::mpsc::channel();
        let reader = move || {
            let mut stdout = io::BufReader::new(stdout);
            let mut line = Vec::new();
            loop {
                line.clear();
                match (&mut stdout).take(LONGEST_HEARD).read_until(b'\n', &mut line) {
                    Ok(read) if read > 0 => {}
                    _ => return,
                }
                let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
                if sender.send(text).is_err() {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("stdout".to_owned()).spawn(reader)?;
        Ok(Apart { child, lines })
    }

    /// Its next line.
    #[must_use]
    pub fn line(&self, until: Instant) -> Heard {
        use std::sync::mpsc::RecvTimeoutError;
        match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(line) => Heard::Line(line),
            Err(RecvTimeoutError::Timeout) => Heard::Late,
            Err(RecvTimeoutError::Disconnected) => Heard::End,
        }
    }

    /// Ends it, without waiting until it has ended: it may hang on a dead disk.
    pub fn kill(&mut self) {
        // Fails only when it has ended already.
        let _ = self.child.kill();
    }
}

/// What is heard of a program's standard error.
#[derive(Debug, Default)]
struct Said {
    heard: Mutex<HeardSoFar>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct HeardSoFar {
    lines: VecDeque<String>,
    /// Nothing more will come.
    over: bool,
}

impl Said {
    fn lock(&self) -> MutexGuard<'_, HeardSoFar> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, line: &mut Vec<u8>) {
        let text = String::from_utf8_lossy(line).trim_end().replace(char::is_control, "?");
        line.clear();
        if text.is_empty() {
            return;
        }
        let lines = &mut self.lock().lines;
        if lines.len() == LINES {
            lines.pop_front();
        }
        lines.push_back(text);
    }

    fn end(&self) {
        self.lock().over = true;
        self.changed.notify_all();
    }
}

/// Keeps the last lines, so that a program that says much neither fills memory nor waits for a reader.
fn listen(mut stderr: impl Read + Send + 'static, said: Arc<Said>) {
    let listener = {
        let said = Arc::clone(&said);
        move || {
            let mut line = Vec::new();
            let mut bytes = [0; 1024];
            loop {
                let read = match stderr.read(&mut bytes) {
                    Ok(0) => break,
                    Ok(read) => read,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(_) => break,
                };
                for byte in &bytes[..read] {
                    match byte {
                        b'\n' => said.keep(&mut line),
                        _ if line.len() < LONGEST_LINE => line.push(*byte),
                        _ => {}
                    }
                }
            }
            said.keep(&mut line);
            said.end();
        }
    };
    // Without the thread the program may wait for a reader; its own time limit then ends it.
    if std::thread::Builder::new().name("stderr".to_owned()).spawn(listener).is_err() {
        said.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn what_a_program_says_last_is_kept() {
        let script = "for i in $(seq 1 50); do echo line $i >&2; done; exit 3";
        let (process, _in, _out) = Process::start(&argv(&["sh", "-c", script])).unwrap();
        assert_eq!(process.ended_within(Duration::from_secs(10)).unwrap().code(), Some(3));
        let said = process.said_at_last(Duration::from_secs(60));
        assert_eq!((said.last().map(String::as_str), said.len()), (Some("line 50"), LINES));
    }

    /// The words come through another process, when the program itself has long ended.
    #[test]
    fn last_words_that_are_late_are_waited_for() {
        let script = "{ read go; echo because >&2; } 0<&3 & exit 3";
        let (reader, mut writer) = io::pipe().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", &format!("exec 3<&0; {script}")]).stdin(reader).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let said = Arc::<Said>::default();
        listen(child.stderr.take().unwrap(), Arc::clone(&said));
        let process = Process { child: Mutex::new(child), said, name: "sh".to_owned() };
        assert_eq!(process.ended_within(Duration::from_secs(60)).unwrap().code(), Some(3));
        assert_eq!(process.said_at_last(Duration::from_millis(1)), [""; 0]);
        let words = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| process.said_at_last(Duration::from_secs(60)));
            io::Write::write_all(&mut writer, b"go\n").unwrap();
            waiting.join().unwrap()
        });
        assert_eq!(words, ["because"]);
    }

    #[test]
    fn a_run_is_bounded_in_time_and_size() {
        let limit = Duration::from_secs(10);
        let ran = run(&argv(&["sh", "-c", "echo out; echo err >&2; exit 11"]), limit, 100).unwrap();
        assert_eq!((ran.status.code(), &ran.output[..]), (Some(11), &b"out\n"[..]));
        assert_eq!(ran.said, ["err"]);
        let error = run(&argv(&["sleep", "60"]), Duration::from_millis(50), 100).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let error = run(&argv(&["sh", "-c", "yes"]), limit, 100).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn it_ends_when_dropped() {
        let (process, _in, _out) = Process::start(&argv(&["sleep", "60"])).unwrap();
        let id = process.id();
        assert!(process.ended_within(Duration::from_millis(20)).is_none());
        drop(process);
        assert!(!std::path::Path::new(&format!("/proc/{id}")).exists());
        assert!(Process::start(&argv(&["/nowhere/at/all"])).is_err());
    }
}
