//! The agent: serves one other unsplit over a byte stream, and ends with it.

use super::confine::Confinement;
use super::desk::{Desk, unseen};
use crate::digest::link::{LinkOptions, answer};
use crate::edge::peer::greet::{NoGreeting, first_line, ourselves, read_greeting};
use crate::edge::peer::lane::{LaneReceiver, LaneSender, open_lane};
use crate::edge::peer::line::{End, Gone, Line};
use crate::format::wire::control::{Fault, LONGEST, Reply, Request, Which, document_bytes};
use crate::format::wire::frame::Kind;
use crate::format::wire::hello::{NotAHello, PROTOCOL, hello_bytes};
use crate::format::wire::reply::read_request;
use crate::ports::channel::{ChannelFault, Receiver, Sender};
use crate::ports::progress::Progress;
use std::io::{self, Read, Write};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver as Queue, TrySendError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::Scope;
use std::time::Duration;

/// Requests that are worked on at once.
const WORKERS: usize = 8;
/// Requests that may wait; an asking side of ours has fewer under way.
const QUEUE: usize = 64;
/// Silence after which the asking side counts as gone, unless it names another limit.
const SILENCE: Duration = Duration::from_secs(60);

/// Why an agent could not serve.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AgentError {
    /// Who speaks is no unsplit.
    #[error(
        "what comes in is not from unsplit: `{0}`. The agent is started by `unsplit ... --peer`, not by hand"
    )]
    NotUnsplit(String),
    /// Another version.
    #[error(
        "the other side speaks version {0} of the protocol, this one speaks {PROTOCOL}: install the same version on both"
    )]
    Version(u32),
    /// The system lets this user start no more threads.
    #[error(
        "no thread could be started: {0}. The limit on processes and threads is reached (`ulimit -u`, \
         `TasksMax` of the session's slice): raise it, or end some of what runs there"
    )]
    NoThread(String),
    /// The stream failed or carried nonsense.
    #[error("{0}")]
    Stream(String),
}

/// Serves until the other side ends the stream, then releases everything.
///
/// A read of `input` that returns `WouldBlock` is made again: so an input with a time limit of its own notices when the
/// other side is silent for too long.
///
/// # Errors
/// [`AgentError`]; the end of the stream between two requests is none.
pub fn serve(
    mut input: impl Read,
    output: impl Write + Send,
    confinement: Confinement,
) -> Result<(), AgentError> {
    let line = Line::new(End::Answers, SILENCE, Box::new(|| {}));
    let (queue, work) = sync_channel::<Work>(QUEUE);
    let (work, waiting) = (Mutex::new(work), AtomicUsize::new(0));
    let desk = Desk::confined(confinement);
    let served = std::thread::scope(|scope| {
        // Ends with this, and the workers with it.
        let queue = queue;
        let start = |what: Task| started(scope, what, &work, &waiting, &desk, &line);
        let writer = std::thread::Builder::new().spawn_scoped(scope, || line.write_all(output));
        let threads = writer.map(|_| ()).and_then(|()| {
            start(Task::Watch)?;
            (0..WORKERS).try_for_each(|_| start(Task::Answer))
        });
        if let Err(error) = threads {
            line.fail(Gone::Closed);
            return Err(AgentError::NoThread(error.to_string()));
        }
        // Only now: whoever was greeted is answered.
        let _ = line.send_plain(hello_bytes(&ourselves(None)));
        let hello = match read_greeting(&line, &mut input) {
            Ok(hello) => hello,
            Err(why) => {
                line.close();
                return no_greeting(why);
            }
        };
        let seconds = hello.silence.map_or(SILENCE, |seconds| Duration::from_secs(u64::from(seconds)));
        line.allow_silence(seconds.clamp(Duration::from_secs(1), Duration::from_secs(3600)));
        line.read_all(&mut input, |id, bytes| {
            let refuse = |why: &str| {
                let fault = Reply::Fault(Fault::Refused(why.to_owned()));
                reply(&line, id, &fault, &[]);
            };
            let len = bytes.len();
            match read_request(bytes) {
                Err(error) => refuse(&error.to_string()),
                // Opened here and now, because messages may follow at once.
                Ok((request @ (Request::Answer { .. } | Request::Echo), _)) => match open_lane(&line, id) {
                    Ok((sender, receiver)) => {
                        let (desk, line) = (&desk, &line);
                        let talk = move || {
                            let end = kept(|| converse(desk, line, request, sender, receiver));
                            reply(line, id, &end.map_or_else(Reply::Fault, |()| Reply::Done), &[]);
                        };
                        if std::thread::Builder::new().spawn_scoped(scope, talk).is_err() {
                            refuse("no thread could be started there");
                        }
                    }
                    Err(fault) => refuse(&fault.to_string()),
                },
                Ok(_) if waiting.fetch_add(len, Ordering::SeqCst).saturating_add(len) > LONGEST => {
                    waiting.fetch_sub(len, Ordering::SeqCst);
                    refuse("too much is asked at once");
                }
                Ok((request, beside)) => {
                    let failed = match queue.try_send(Work { id, request, beside, len }) {
                        Ok(()) => return,
                        Err(failed) => failed,
                    };
                    waiting.fetch_sub(len, Ordering::SeqCst);
                    match failed {
                        TrySendError::Full(_) => refuse("too many requests at once"),
                        TrySendError::Disconnected(_) => line.fail(Gone::Closed),
                    }
                }
            }
        });
        // The workers end with the queue; a write that is under way is finished before its claim ends.
        drop(queue);
        desk.release();
        match line.gone() {
            None | Some(Gone::Closed) => Ok(()),
            Some(gone) => Err(AgentError::Stream(gone.to_string())),
        }
    });
    // Only now: an act may have been under way until here.
    desk.left_alone();
    served
}

fn no_greeting(why: NoGreeting) -> Result<(), AgentError> {
    match why {
        NoGreeting::Ended(before) if before.is_empty() => Ok(()),
        NoGreeting::Ended(noise) | NoGreeting::Noise(noise) => {
            Err(AgentError::NotUnsplit(first_line(&noise)))
        }
        NoGreeting::Not(NotAHello::Protocol(theirs)) => Err(AgentError::Version(theirs)),
        NoGreeting::Not(other) => Err(AgentError::Stream(other.to_string())),
        NoGreeting::Gone(gone) => Err(AgentError::Stream(gone.to_string())),
    }
}

fn reply(line: &Line, id: u32, reply: &Reply, beside: &[u8]) {
    // A line that is gone has nobody who waits for this.
    if let Ok(document) = document_bytes(reply, beside) {
        let _ = line.send_document(id, Kind::Reply, &document);
    }
}

/// A request that waits for a worker.
struct Work {
    id: u32,
    request: Request,
    beside: Vec<u8>,
    /// How long it was.
    len: usize,
}

/// What a thread of the agent's does.
enum Task {
    /// Watches the time.
    Watch,
    /// Answers requests.
    Answer,
}

fn started<'scope>(
    scope: &'scope Scope<'scope, '_>,
    task: Task,
    work: &'scope Mutex<Queue<Work>>,
    waiting: &'scope AtomicUsize,
    desk: &'scope Desk,
    line: &'scope Line,
) -> io::Result<()> {
    let thread = std::thread::Builder::new();
    let started = match task {
        Task::Watch => thread.spawn_scoped(scope, || line.watch()),
        Task::Answer => thread.spawn_scoped(scope, || work_on(work, waiting, desk, line)),
    };
    started.map(|_| ())
}

/// How far the agent has come goes to the asking side with the signs of life.
struct Further<'l>(&'l Line);

impl Progress for Further<'_> {
    fn begin(&self, _: &str, _: u64) {}
    fn advance(&self, bytes: u64) {
        self.0.came_further(bytes);
    }
    fn finish(&self) {}
}

/// A panic is a defect of ours. Whoever asked is told at once, in place of waiting for an answer that will not come.
fn kept<T>(work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    let caught = std::panic::catch_unwind(AssertUnwindSafe(work));
    caught.unwrap_or_else(|_| Err(Fault::Refused("the agent failed at it: a defect of unsplit".to_owned())))
}

fn work_on(queue: &Mutex<Queue<Work>>, waiting: &AtomicUsize, desk: &Desk, line: &Line) {
    loop {
        // A statement of its own, so that the queue is free again while the request is worked on.
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Work { id, request, beside, len }) = next else { break };
        // Nobody is left to want it done, and the claim may be gone.
        if line.gone().is_none() {
            let answer = kept(|| Ok(desk.answer(request, &beside, &Further(line))));
            let (answer, beside) = answer.unwrap_or_else(|fault| (Reply::Fault(fault), Vec::new()));
            reply(line, id, &answer, &beside);
        }
        waiting.fetch_sub(len, Ordering::SeqCst);
    }
}

fn converse(
    desk: &Desk,
    line: &Line,
    request: Request,
    mut sender: LaneSender,
    mut receiver: LaneReceiver,
) -> Result<(), Fault> {
    match request {
        Request::Echo => loop {
            match receiver.receive().and_then(|message| sender.send(&message)) {
                Ok(()) => {}
                Err(ChannelFault::Closed) => return Ok(()),
                Err(fault) => return Err(Fault::Refused(fault.to_string())),
            }
        },
        Request::Answer { thing, threads } => {
            let disk = desk.seat(thing)?.disk(Which::Data)?;
            let options =
                LinkOptions { threads: usize::from(threads).clamp(1, 64), ..LinkOptions::default() };
            let answered = answer(&*disk, &mut sender, &mut receiver, &options, &Further(line));
            answered.map(|_| ()).map_err(unseen)
        }
        _ => Err(Fault::Refused("that needs no channel".to_owned())),
    }
}
