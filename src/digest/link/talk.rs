//! The two halves of the conversation: counting what they carry, and keeping the peer from waiting in silence.

use super::LinkError;
use crate::format::wire::reconcile::Message;
use crate::ports::channel::{ChannelFault, Receiver, Sender};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// Bytes counted for what a channel puts around each message: a length and a checksum of 32 bits each.
pub const FRAME: u64 = 8;
/// Most messages thrown away while waiting for the peer to notice that all is over.
const MOST_DRAINED: u32 = 4096;

/// What a comparison cost on the link, as this side counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wire {
    /// Bytes sent, with [`FRAME`] bytes for each message.
    pub sent: u64,
    /// Bytes received, likewise.
    pub received: u64,
    /// How many times this side sent something and then waited for an answer to it.
    pub round_trips: u32,
}

/// A digest of everything said in one direction so far, signs of life excepted.
#[derive(Default)]
struct Minutes {
    before: blake3::Hasher,
    last: Vec<u8>,
}

impl Minutes {
    fn note(&mut self, message: Vec<u8>) {
        self.before.update(&(self.last.len() as u64).to_le_bytes()).update(&self.last);
        self.last = message;
    }

    fn before_last(&self) -> [u8; 32] {
        *self.before.finalize().as_bytes()
    }

    fn all(&self) -> [u8; 32] {
        let mut all = self.before.clone();
        all.update(&(self.last.len() as u64).to_le_bytes()).update(&self.last);
        *all.finalize().as_bytes()
    }
}

/// The sending half.
pub(super) struct Out<'a> {
    sender: &'a mut dyn Sender,
    minutes: Minutes,
    pub(super) bytes: u64,
    /// Nothing more may be said.
    over: bool,
}

impl<'a> Out<'a> {
    pub(super) fn new(sender: &'a mut dyn Sender) -> Self {
        Out { sender, minutes: Minutes::default(), bytes: 0, over: false }
    }

    /// Hands a message over; it goes out with the next [`Out::flush`].
    pub(super) fn put(&mut self, message: &Message) -> Result<(), LinkError> {
        let bytes = message.encode();
        self.bytes += bytes.len() as u64 + FRAME;
        self.sender.send(&bytes).inspect_err(|_| self.over = true)?;
        if *message != Message::Working {
            self.minutes.note(bytes);
        }
        Ok(())
    }

    /// The digest of everything said so far.
    pub(super) fn said(&self) -> [u8; 32] {
        self.minutes.all()
    }

    pub(super) fn flush(&mut self) -> Result<(), LinkError> {
        self.sender.flush().inspect_err(|_| self.over = true)?;
        Ok(())
    }

    pub(super) fn say(&mut self, message: &Message) -> Result<(), LinkError> {
        self.put(message)?;
        self.flush()
    }

    /// Tells the peer, once and if it can still be told, that this side gives up.
    pub(super) fn abort(&mut self, error: &LinkError) {
        if !self.over {
            self.over = true;
            let mut why = error.to_string();
            if let LinkError::Again(fault) = error {
                why = format!("{why}: {fault}");
            }
            // The error itself is reported; if the peer cannot be told, the closed channel tells it.
            let _ = self.say(&Message::Abort { why });
        }
    }
}

/// The receiving half.
pub(super) struct In<'a> {
    receiver: &'a mut dyn Receiver,
    minutes: Minutes,
    pub(super) bytes: u64,
    /// Nothing more will come.
    over: bool,
}

impl<'a> In<'a> {
    pub(super) fn new(receiver: &'a mut dyn Receiver) -> Self {
        In { receiver, minutes: Minutes::default(), bytes: 0, over: false }
    }

    /// The next message that says something.
    pub(super) fn next(&mut self) -> Result<Message, LinkError> {
        if self.over {
            return Err(ChannelFault::Closed.into());
        }
        loop {
            let bytes = self.receiver.receive().inspect_err(|_| self.over = true)?;
            self.bytes += bytes.len() as u64 + FRAME;
            let message = Message::decode(&bytes)?;
            if message == Message::Working {
                continue;
            }
            self.minutes.note(bytes);
            match message {
                Message::Abort { why } => {
                    self.over = true;
                    // Other people's text: no control characters on our terminal.
                    let why = why.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
                    return Err(LinkError::Peer { why });
                }
                Message::Bye => {
                    self.over = true;
                    return Ok(Message::Bye);
                }
                message => return Ok(message),
            }
        }
    }

    /// The digest of everything heard so far.
    pub(super) fn heard(&self) -> [u8; 32] {
        self.minutes.all()
    }

    /// The same without the last message.
    pub(super) fn heard_before(&self) -> [u8; 32] {
        // The first message is preceded by the empty one that the minutes begin with.
        self.minutes.before_last()
    }

    /// After an abort: takes what the peer still sends until it has noticed, so that neither waits for the other to read.
    pub(super) fn drain(&mut self) {
        for _ in 0..MOST_DRAINED {
            if self.over {
                return;
            }
            match self.receiver.receive() {
                Ok(bytes) => {
                    let message = Message::decode(&bytes);
                    self.over = matches!(message, Ok(Message::Abort { .. } | Message::Bye));
                }
                Err(_) => self.over = true,
            }
        }
    }
}

/// Ends a failed session in an orderly way: tells the peer, and hears it out.
pub(super) fn end<T>(
    result: Result<T, LinkError>,
    out: &mut Out<'_>,
    from: &mut In<'_>,
) -> Result<T, LinkError> {
    if let Err(error) = &result {
        // A link that failed cannot be told anything.
        if matches!(error, LinkError::Channel(_)) {
            out.over = true;
            return result;
        }
        // At the same time: a peer that is sending hears nothing until there is room for what it sends.
        std::thread::scope(|scope| {
            let _ = std::thread::Builder::new().spawn_scoped(scope, || from.drain());
            out.abort(error);
        });
        from.drain();
    }
    result
}

/// Does `work` on a thread of its own while this one gives signs of life, and a third listens for the peer's next message,
/// which also takes the peer's signs of life off the link. After the work, `then` may send something; the result is
/// that of the work and the message. When the link fails the work is told to stop early.
///
/// `early` says which message may come before the work is done: a peer that has sent it waits, and so takes signs of life.
/// After any other it may be sending still; then only who reads on can be heard to give up.
pub(super) fn while_listening<T: Send>(
    out: &mut Out<'_>,
    from: &mut In<'_>,
    pulse: Duration,
    early: impl Fn(&Message) -> bool + Send,
    work: impl FnOnce(&AtomicBool) -> Result<T, LinkError> + Send,
    then: impl FnOnce(&mut Out<'_>, &T) -> Result<(), LinkError>,
) -> Result<(T, Message), LinkError> {
    let (stop, dead, working) = (AtomicBool::new(false), AtomicBool::new(false), AtomicBool::new(true));
    std::thread::scope(|scope| {
        let (give_up, given_up) = channel::<()>();
        let (stop, dead, working) = (&stop, &dead, &working);
        let listen = move || {
            let heard = match from.next() {
                Ok(message) if working.load(Ordering::SeqCst) && !early(&message) => {
                    Err(LinkError::rules("a message came before its time"))
                }
                heard => heard,
            };
            match &heard {
                // Ends without a word when all is well.
                Ok(_) => {
                    if given_up.recv().is_ok() {
                        from.drain();
                    }
                }
                Err(LinkError::Channel(_)) => {
                    dead.store(true, Ordering::SeqCst);
                    stop.store(true, Ordering::SeqCst);
                }
                Err(_) => {
                    stop.store(true, Ordering::SeqCst);
                    from.drain();
                }
            }
            heard
        };
        let thread = std::thread::Builder::new;
        let listener = thread().spawn_scoped(scope, listen).map_err(LinkError::NoThread)?;
        let (done, result) = channel();
        let worker = move || {
            // Nobody takes it only after a panic.
            let _ = done.send(work(stop));
        };
        let worker = thread().spawn_scoped(scope, worker).map_err(LinkError::NoThread);
        let worker = match worker {
            Ok(worker) => worker,
            Err(error) => {
                // The listener ends when the peer answers this.
                let _ = give_up.send(());
                out.abort(&error);
                return Err(error);
            }
        };
        let mut sent = Ok(());
        let worked = loop {
            match result.recv_timeout(pulse) {
                Ok(worked) => break Some(worked),
                Err(RecvTimeoutError::Disconnected) => break None,
                Err(RecvTimeoutError::Timeout) if sent.is_ok() => {
                    sent = out.say(&Message::Working).inspect_err(|_| stop.store(true, Ordering::Relaxed));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        };
        if let Err(panic) = worker.join() {
            // The listener ends when the peer answers this.
            let _ = give_up.send(());
            out.abort(&LinkError::rules("a thread panicked"));
            std::panic::resume_unwind(panic);
        }
        working.store(false, Ordering::SeqCst);
        let heard_fault = stop.load(Ordering::SeqCst) && sent.is_ok();
        let ended = match worked {
            Some(Ok(value)) if !heard_fault => sent.and_then(|()| then(out, &value)).map(|()| value),
            // The listener knows what happened.
            Some(Ok(value)) => Ok(value),
            Some(Err(error)) => Err(error),
            None => Err(LinkError::rules("a thread ended early")),
        };
        let lost = LinkError::rules("what came is no message that could come here");
        let why = ended.as_ref().err().or(Some(&lost).filter(|_| heard_fault));
        if let Some(why) = why.filter(|_| !dead.load(Ordering::SeqCst)) {
            // The listener ends when the peer answers this, or the channel ends.
            let _ = give_up.send(());
            out.abort(why);
        }
        drop(give_up);
        let heard = listener.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok((ended?, heard?))
    })
}
