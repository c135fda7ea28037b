//! Frames over any byte stream: the same for the asking side and for the agent.
//!
//! Three threads serve a line: one reads, one writes, one watches the time. None of them ever waits for who uses the line,
//! so whatever both sides send, neither can block the other: replies go to who waits for them, messages of channels come
//! only as fast as room was given for them, and what waits to be sent is bounded.

use super::lane::{Lane, WINDOW};
use crate::format::wire::control::LONGEST;
use crate::format::wire::frame::{HEADER, Kind, LONGEST_PAYLOAD, header_for, parse_header};
use crate::ports::channel::ChannelFault;
use std::collections::{HashMap, VecDeque};
use std::io::{self, BufWriter, Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Who wants to send waits while that many bytes have not been taken yet.
const OUTBOX: usize = 8 << 20;
/// A peer that lets more than that pile up without taking it is no agent of ours.
const OUTBOX_LIMIT: usize = 64 << 20;
/// Requests that may be under way at once; who wants to ask one more waits for a reply to any.
pub const MAX_IN_FLIGHT: usize = 32;
/// Channels on one line.
pub const MAX_LANES: usize = 8;

/// Why a line is of no further use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gone {
    /// The stream ended.
    Closed,
    /// Silence for that many seconds.
    TimedOut(u64),
    /// Signs of life, and no progress, for that many seconds.
    Stuck(u64),
    /// What came is not ours, or damaged.
    Corrupt(String),
    /// The stream failed.
    Io(String),
}

impl From<Gone> for ChannelFault {
    fn from(gone: Gone) -> Self {
        match gone {
            Gone::Closed => ChannelFault::Closed,
            Gone::TimedOut(seconds) => ChannelFault::TimedOut(seconds),
            Gone::Stuck(seconds) => ChannelFault::Stuck(seconds),
            Gone::Corrupt(words) => ChannelFault::Corrupt(words),
            Gone::Io(words) => ChannelFault::Io(io::Error::other(words)),
        }
    }
}

impl std::fmt::Display for Gone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Gone::Closed => f.write_str("the connection to the peer was closed"),
            Gone::TimedOut(seconds) => write!(f, "the peer was silent for {seconds} seconds"),
            Gone::Stuck(seconds) => write!(f, "{}", ChannelFault::Stuck(*seconds)),
            Gone::Corrupt(words) => {
                write!(f, "what the peer sent is damaged or is no message of ours: {words}")
            }
            Gone::Io(words) => write!(f, "the connection to the peer failed: {words}"),
        }
    }
}

/// Which end of a line this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It asks. A peer that owes an answer and gets no further for `patience` is given up.
    Asks {
        /// How long is waited for progress.
        patience: Duration,
    },
    /// It answers.
    Answers,
}

/// A request whose reply is waited for.
#[derive(Debug)]
struct Waiting {
    /// Longest reply in bytes.
    most: usize,
    /// When it was asked, or when something of its own came or was sent last.
    moved: Instant,
    reply: Option<Vec<u8>>,
    /// Somebody will ask for it.
    wanted: bool,
}

impl Waiting {
    fn is_owed(&self) -> bool {
        self.reply.is_none()
    }
}

/// A message no longer than this says only that its sender is alive. Longer ones are bounded by what was asked.
const SIGN_OF_LIFE: usize = 1;

pub(super) struct State {
    outbox: VecDeque<Vec<u8>>,
    outbox_bytes: usize,
    closing: bool,
    pub(super) gone: Option<Gone>,
    silence: Duration,
    heard: Instant,
    took: Instant,
    parts: HashMap<u32, Vec<u8>>,
    waiting: HashMap<u32, Waiting>,
    /// What the other side has come to, and when it last came further.
    told: u64,
    worked: Instant,
    pub(super) lanes: HashMap<u32, Lane>,
}

impl State {
    /// The longest reply to this, which must be one that is waited for. That some of it came is progress.
    fn most(&mut self, id: u32) -> Result<usize, Gone> {
        self.moved(id);
        match self.waiting.get(&id) {
            Some(Waiting { most, reply: None, .. }) => Ok(*most),
            _ => Err(Gone::Corrupt("a reply to what was not asked".to_owned())),
        }
    }

    /// Something of this request's own came or was sent.
    pub(super) fn moved(&mut self, id: u32) {
        if let Some(waiting) = self.waiting.get_mut(&id) {
            waiting.moved = Instant::now();
        }
    }

    /// Since when the other side has got no further with the oldest thing that it owes.
    fn owed_since(&self) -> Option<Instant> {
        let owed = self.waiting.values().filter(|waiting| waiting.is_owed());
        owed.map(|waiting| waiting.moved.max(self.worked)).min()
    }
}

/// A byte stream that carries frames.
pub struct Line {
    state: Mutex<State>,
    changed: Condvar,
    stop: Box<dyn Fn() + Send + Sync>,
    end: End,
    /// What this side has come to, in bytes.
    done: AtomicU64,
}

impl Line {
    /// A line that gives up after `silence` without a word from the other side, and then calls `stop`, which must end
    /// both directions of the stream.
    #[must_use]
    pub fn new(end: End, silence: Duration, stop: Box<dyn Fn() + Send + Sync>) -> Arc<Line> {
        let now = Instant::now();
        let state = State {
            outbox: VecDeque::new(),
            outbox_bytes: 0,
            closing: false,
            gone: None,
            silence,
            heard: now,
            took: now,
            parts: HashMap::new(),
            waiting: HashMap::new(),
            told: 0,
            worked: now,
            lanes: HashMap::new(),
        };
        let done = AtomicU64::new(0);
        Arc::new(Line { state: Mutex::new(state), changed: Condvar::new(), stop, end, done })
    }

    /// Notes that this side has come that many bytes further with what it was asked.
    pub fn came_further(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wait<'g>(&self, state: MutexGuard<'g, State>) -> MutexGuard<'g, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wake(&self) {
        self.changed.notify_all();
    }

    /// Why the line is of no further use, if it is not.
    #[must_use]
    pub fn gone(&self) -> Option<Gone> {
        self.lock().gone.clone()
    }

    /// Ends the line for this reason, unless it has ended already.
    pub fn fail(&self, why: Gone) {
        let mut state = self.lock();
        if state.gone.is_none() {
            state.gone = Some(why);
            drop(state);
            self.wake();
            (self.stop)();
        }
    }

    /// From now on that much silence is the end.
    pub fn allow_silence(&self, silence: Duration) {
        let mut state = self.lock();
        state.silence = silence;
        state.heard = Instant::now();
        drop(state);
        // The watching thread reckons with it from now on.
        self.wake();
    }

    /// Lets what waits go out, then ends the sending direction.
    pub fn close(&self) {
        self.lock().closing = true;
        self.wake();
    }

    /// Hands bytes to the writing thread. Waits for room unless `urgent`: the reading thread must never wait.
    fn put(&self, bytes: Vec<u8>, urgent: bool) -> Result<(), Gone> {
        let mut state = self.lock();
        loop {
            if let Some(gone) = &state.gone {
                return Err(gone.clone());
            }
            if state.closing {
                return Err(Gone::Closed);
            }
            if urgent || state.outbox_bytes < OUTBOX {
                break;
            }
            state = self.wait(state);
        }
        if state.outbox_bytes > OUTBOX_LIMIT {
            drop(state);
            let why = Gone::Corrupt("it asks for more than it takes".to_owned());
            self.fail(why.clone());
            return Err(why);
        }
        if state.outbox.is_empty() {
            state.took = Instant::now();
        }
        state.outbox_bytes += bytes.len();
        state.outbox.push_back(bytes);
        drop(state);
        self.wake();
        Ok(())
    }

    /// Bytes that are no frame: the greeting.
    ///
    /// # Errors
    /// [`Gone`].
    pub fn send_plain(&self, bytes: Vec<u8>) -> Result<(), Gone> {
        self.put(bytes, true)
    }

    pub(super) fn send_frame(&self, id: u32, kind: Kind, payload: &[u8], urgent: bool) -> Result<(), Gone> {
        let header = header_for(id, kind, payload).map_err(|fault| Gone::Corrupt(fault.to_string()))?;
        self.put([&header, payload].concat(), urgent)
    }

    /// Sends a request or reply of any length.
    ///
    /// # Errors
    /// [`Gone`].
    pub fn send_document(&self, id: u32, kind: Kind, document: &[u8]) -> Result<(), Gone> {
        if document.len() > LONGEST {
            return Err(Gone::Corrupt(format!("a request or reply of {} bytes", document.len())));
        }
        let mut rest = document;
        while rest.len() > LONGEST_PAYLOAD {
            let (part, behind) = rest.split_at(LONGEST_PAYLOAD);
            self.send_frame(id, Kind::Part, part, false)?;
            rest = behind;
        }
        self.send_frame(id, kind, rest, false)
    }

    /// Announces that a reply with this number is waited for, of at most `most` bytes.
    ///
    /// # Errors
    /// [`Gone`].
    pub fn expect(&self, id: u32, most: usize) -> Result<(), Gone> {
        let mut state = self.lock();
        loop {
            if let Some(gone) = &state.gone {
                return Err(gone.clone());
            }
            if state.waiting.values().filter(|waiting| waiting.is_owed()).count() < MAX_IN_FLIGHT {
                state.waiting.insert(id, Waiting { most, moved: Instant::now(), reply: None, wanted: true });
                return Ok(());
            }
            state = self.wait(state);
        }
    }

    /// Waits for the reply that was announced.
    ///
    /// # Errors
    /// [`Gone`].
    pub fn reply_to(&self, id: u32) -> Result<Vec<u8>, Gone> {
        let mut state = self.lock();
        loop {
            if state.waiting.get(&id).is_none_or(|waiting| waiting.reply.is_some()) {
                return state.waiting.remove(&id).and_then(|waiting| waiting.reply).ok_or(Gone::Closed);
            }
            if let Some(gone) = state.gone.clone() {
                state.waiting.remove(&id);
                return Err(gone);
            }
            state = self.wait(state);
        }
    }

    /// Nobody will ask for this reply, whether it has come or not.
    pub(super) fn forget(&self, id: u32) {
        let mut state = self.lock();
        if let Some(waiting) = state.waiting.get_mut(&id) {
            waiting.wanted = false;
            if waiting.reply.is_some() {
                state.waiting.remove(&id);
            }
        }
    }

    /// The writing thread: until the line is closed or gone.
    pub fn write_all(&self, output: impl Write) {
        let mut output = BufWriter::with_capacity(64 << 10, output);
        loop {
            let mut state = self.lock();
            let bytes = loop {
                if state.gone.is_some() {
                    return;
                }
                if let Some(bytes) = state.outbox.pop_front() {
                    break Some(bytes);
                }
                if state.closing {
                    break None;
                }
                state = self.wait(state);
            };
            let last = state.outbox.is_empty();
            drop(state);
            let Some(bytes) = bytes else { return };
            let written = output.write_all(&bytes).and_then(|()| if last { output.flush() } else { Ok(()) });
            match written {
                Ok(()) => {
                    let mut state = self.lock();
                    state.took = Instant::now();
                    state.outbox_bytes = state.outbox_bytes.saturating_sub(bytes.len());
                    drop(state);
                    self.wake();
                }
                // Who reads says more: the stream's other direction ends, too, and tells what came last.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    std::thread::sleep(Duration::from_millis(200));
                    return self.fail(Gone::Closed);
                }
                Err(error) => return self.fail(Gone::Io(error.to_string())),
            }
        }
    }

    /// The watching thread: says that we are alive, and notices when the other side is not.
    pub fn watch(&self) {
        let mut state = self.lock();
        let mut last = Instant::now();
        while state.gone.is_none() && !state.closing {
            let silence = state.silence;
            let beat = (silence / 6).clamp(Duration::from_millis(50), Duration::from_secs(10));
            let now = Instant::now();
            let left = (last + beat).saturating_duration_since(now);
            if !left.is_zero() {
                let (woken, _) =
                    self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
                state = woken;
                continue;
            }
            last = now;
            let untaken = !state.outbox.is_empty() && now.duration_since(state.took) > silence;
            if now.duration_since(state.heard) > silence || untaken {
                drop(state);
                return self.fail(Gone::TimedOut(silence.as_secs()));
            }
            if let End::Asks { patience } = self.end
                && state.owed_since().is_some_and(|since| now.duration_since(since) > patience)
            {
                drop(state);
                return self.fail(Gone::Stuck(patience.as_secs()));
            }
            if state.outbox.is_empty() {
                drop(state);
                let done = self.done.load(Ordering::Relaxed);
                let _ = self.send_frame(0, Kind::Alive, &done.to_le_bytes(), true);
                state = self.lock();
            }
        }
    }

    /// Notes that something came.
    pub fn heard(&self) {
        self.lock().heard = Instant::now();
    }

    /// The reading thread: until the stream ends. Whole requests go to `on_request`.
    pub fn read_all(&self, input: &mut impl Read, mut on_request: impl FnMut(u32, Vec<u8>)) {
        loop {
            match self.read_one(input, &mut on_request) {
                Ok(()) => {}
                Err(gone) => return self.fail(gone),
            }
        }
    }

    fn read_one(&self, input: &mut impl Read, on_request: &mut impl FnMut(u32, Vec<u8>)) -> Result<(), Gone> {
        let mut header = [0; HEADER];
        self.fill(input, &mut header)?;
        let header = parse_header(&header).map_err(|fault| Gone::Corrupt(fault.to_string()))?;
        let mut payload = vec![0; header.len];
        self.fill(input, &mut payload)?;
        header.check(&payload).map_err(|fault| Gone::Corrupt(fault.to_string()))?;
        let corrupt = |words: &str| Gone::Corrupt(words.to_owned());

        let mut state = self.lock();
        match header.kind {
            Kind::Alive => {
                let done = payload.try_into().map(u64::from_le_bytes).map_err(|_| corrupt("no number"))?;
                if done > state.told {
                    state.told = done;
                    state.worked = Instant::now();
                }
            }
            Kind::Part => {
                if payload.is_empty() {
                    return Err(corrupt("a part of nothing"));
                }
                let most = match self.end {
                    End::Asks { .. } => state.most(header.id)?,
                    End::Answers => LONGEST,
                };
                let all: usize = match self.end {
                    End::Asks { .. } => state.parts.get(&header.id).map_or(0, Vec::len),
                    End::Answers => state.parts.values().map(Vec::len).sum(),
                };
                if all + payload.len() > most || state.parts.len() > MAX_IN_FLIGHT {
                    return Err(Gone::Corrupt(format!("more than the {most} bytes that can come here")));
                }
                state.parts.entry(header.id).or_default().append(&mut payload);
            }
            Kind::Request if self.end != End::Answers => {
                return Err(corrupt("the agent asks instead of answering"));
            }
            Kind::Request => {
                let mut whole = state.parts.remove(&header.id).unwrap_or_default();
                whole.append(&mut payload);
                drop(state);
                on_request(header.id, whole);
            }
            Kind::Reply => {
                let most = state.most(header.id)?;
                let mut whole = state.parts.remove(&header.id).unwrap_or_default();
                if whole.len() + payload.len() > most {
                    return Err(Gone::Corrupt(format!("more than the {most} bytes that can come here")));
                }
                whole.append(&mut payload);
                if let Some(waiting) = state.waiting.get_mut(&header.id) {
                    waiting.reply = Some(whole);
                    if !waiting.wanted {
                        state.waiting.remove(&header.id);
                    }
                }
                // Whatever was done on its channel is over.
                if let Some(lane) = state.lanes.get_mut(&header.id) {
                    lane.over = true;
                }
                drop(state);
                self.wake();
            }
            Kind::Message => {
                if payload.len() > SIGN_OF_LIFE {
                    state.moved(header.id);
                }
                // Who has ended its channel hears no more of it.
                if let Some(lane) = state.lanes.get_mut(&header.id) {
                    if lane.deaf {
                        drop(state);
                        self.send_frame(header.id, Kind::Credit, &1u32.to_le_bytes(), true)?;
                    } else if lane.inbox.len() >= WINDOW as usize {
                        return Err(corrupt("more messages than there was room for"));
                    } else {
                        lane.inbox.push_back(payload);
                        drop(state);
                        self.wake();
                    }
                }
            }
            Kind::Credit => {
                let room = payload.try_into().map(u32::from_le_bytes).map_err(|_| corrupt("no number"))?;
                if let Some(lane) = state.lanes.get_mut(&header.id) {
                    lane.room = lane.room.saturating_add(room).min(WINDOW);
                    drop(state);
                    self.wake();
                }
            }
            Kind::End => {
                if let Some(lane) = state.lanes.get_mut(&header.id) {
                    lane.ended = true;
                    drop(state);
                    self.wake();
                }
            }
        }
        Ok(())
    }

    /// Fills the buffer. A stream that says that nothing is there yet is asked again, as long as the line is wanted.
    fn fill(&self, input: &mut impl Read, mut buffer: &mut [u8]) -> Result<(), Gone> {
        while !buffer.is_empty() {
            match input.read(buffer) {
                Ok(0) => return Err(Gone::Closed),
                Ok(read) => {
                    self.heard();
                    buffer = &mut buffer[read..];
                }
                Err(error) => self.not_yet(error)?,
            }
        }
        Ok(())
    }

    /// Whether to go on after a read that brought nothing.
    pub(super) fn not_yet(&self, error: io::Error) -> Result<(), Gone> {
        match error.kind() {
            io::ErrorKind::Interrupted => Ok(()),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => self.gone().map_or(Ok(()), Err),
            _ => Err(Gone::Io(error.to_string())),
        }
    }
}
