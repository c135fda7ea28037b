//! The agent: serves one other unsplit over a byte stream, and ends with it.

use super::desk::{Desk, unseen};
use crate::digest::link::{LinkOptions, answer};
use crate::edge::peer::greet::{NoGreeting, first_line, ourselves, read_greeting};
use crate::edge::peer::lane::{LaneReceiver, LaneSender, open_lane};
use crate::edge::peer::line::{Gone, Line};
use crate::format::wire::control::{Fault, Reply, Request, Which, document_bytes, parse_document};
use crate::format::wire::frame::Kind;
use crate::format::wire::hello::{NotAHello, PROTOCOL, hello_bytes};
use crate::ports::channel::{ChannelFault, Receiver, Sender};
use crate::ports::progress::Silent;
use std::io::{Read, Write};
use std::sync::mpsc::{Receiver as Queue, TrySendError, sync_channel};
use std::sync::{Mutex, PoisonError};
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
pub fn serve(mut input: impl Read, output: impl Write + Send) -> Result<(), AgentError> {
    let line = Line::new(SILENCE, Box::new(|| {}));
    let (queue, work) = sync_channel::<(u32, Vec<u8>)>(QUEUE);
    let work = Mutex::new(work);
    let desk = Desk::default();
    let served = std::thread::scope(|scope| {
        scope.spawn(|| line.write_all(output));
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
        scope.spawn(|| line.watch());
        for _ in 0..WORKERS {
            scope.spawn(|| work_on(&work, &desk, &line));
        }
        line.read_all(&mut input, |id, bytes| {
            let refuse = |why: &str| {
                let fault = Reply::Fault(Fault::Refused(why.to_owned()));
                reply(&line, id, &fault, &[]);
            };
            match parse_document::<Request>(&bytes) {
                // Opened here and now, because messages may follow at once.
                Ok((request @ (Request::Answer { .. } | Request::Echo), _)) => match open_lane(&line, id) {
                    Ok((sender, receiver)) => {
                        let (desk, line) = (&desk, &line);
                        let talk = move || {
                            let end = converse(desk, request, sender, receiver);
                            reply(line, id, &end.map_or_else(Reply::Fault, |()| Reply::Done), &[]);
                        };
                        if std::thread::Builder::new().spawn_scoped(scope, talk).is_err() {
                            refuse("no thread could be started");
                        }
                    }
                    Err(fault) => refuse(&fault.to_string()),
                },
                _ => match queue.try_send((id, bytes)) {
                    Ok(()) => {}
                    Err(TrySendError::Full(_)) => refuse("too many requests at once"),
                    Err(TrySendError::Disconnected(_)) => line.fail(Gone::Closed),
                },
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

fn work_on(queue: &Mutex<Queue<(u32, Vec<u8>)>>, desk: &Desk, line: &Line) {
    loop {
        // A statement of its own, so that the queue is free again while the request is worked on.
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((id, bytes)) = next else { break };
        // Nobody is left to want it done, and the claim may be gone.
        if line.gone().is_some() {
            continue;
        }
        let (answer, beside) = match parse_document::<Request>(&bytes) {
            Ok((request, beside)) => desk.answer(request, beside),
            Err(error) => (Reply::Fault(Fault::Refused(error.to_string())), Vec::new()),
        };
        reply(line, id, &answer, &beside);
    }
}

fn converse(
    desk: &Desk,
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
            let answered = answer(&*disk, &mut sender, &mut receiver, &options, &Silent);
            answered.map(|_| ()).map_err(unseen)
        }
        _ => Err(Fault::Refused("that needs no channel".to_owned())),
    }
}
