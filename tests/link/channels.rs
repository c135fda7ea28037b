//! Channels in memory and over the system's pipes, that may die, stall, cut or damage what they carry; and two agents
//! talking over them, bounded in time.

use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use unsplit::digest::link::{Answered, LinkCompared, LinkError, LinkOptions, Question, answer, ask};
use unsplit::ports::channel::{ChannelFault, LONGEST_MESSAGE, Receiver, Sender};
use unsplit::ports::disk::Disk;
use unsplit::ports::progress::{Progress, Silent};

/// Longer than anything here takes; a test that reaches it has found a deadlock.
const PATIENCE: Duration = Duration::from_secs(60);

/// What happens to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mishap {
    /// The link is cut instead.
    Dies,
    /// It and all after it never arrive, and nobody says so.
    Stalls,
    /// Its end is missing.
    Cut,
    /// It is empty.
    Emptied,
    /// One bit is another.
    Flipped(u64),
    /// It arrives twice.
    Doubled,
    /// It is lost, what follows arrives.
    Lost,
}

/// What happens to which message, counted over one direction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) from_asker: bool,
    pub(crate) number: u64,
    pub(crate) mishap: Mishap,
}

pub(crate) struct MemorySender {
    to: mpsc::SyncSender<Vec<u8>>,
    dead: Arc<AtomicBool>,
    plan: Option<(u64, Mishap)>,
    pub(crate) sent: Arc<AtomicU64>,
    stalled: bool,
}

pub(crate) struct MemoryReceiver {
    from: mpsc::Receiver<Vec<u8>>,
    dead: Arc<AtomicBool>,
    patience: Duration,
}

impl MemorySender {
    fn pass_on(&self, message: Vec<u8>) -> Result<(), ChannelFault> {
        let mut message = message;
        loop {
            if self.dead.load(Ordering::SeqCst) {
                return Err(ChannelFault::Closed);
            }
            match self.to.try_send(message) {
                Ok(()) => return Ok(()),
                Err(mpsc::TrySendError::Disconnected(_)) => return Err(ChannelFault::Closed),
                Err(mpsc::TrySendError::Full(back)) => message = back,
            }
            std::thread::yield_now();
        }
    }
}

impl Sender for MemorySender {
    fn send(&mut self, message: &[u8]) -> Result<(), ChannelFault> {
        assert!(message.len() <= LONGEST_MESSAGE);
        let number = self.sent.fetch_add(1, Ordering::SeqCst);
        let mishap = self.plan.filter(|(at, _)| *at == number).map(|(_, mishap)| mishap);
        let mut message = message.to_vec();
        match mishap {
            None => {}
            Some(Mishap::Dies) => {
                self.dead.store(true, Ordering::SeqCst);
                return Err(ChannelFault::Closed);
            }
            Some(Mishap::Stalls) => self.stalled = true,
            Some(Mishap::Cut) => message.truncate(message.len() * 2 / 3),
            Some(Mishap::Emptied) => message.clear(),
            Some(Mishap::Flipped(bit)) => {
                let bit = (bit % (8 * message.len() as u64)) as usize;
                message[bit / 8] ^= 1 << (bit % 8);
            }
            Some(Mishap::Doubled) => self.pass_on(message.clone())?,
            Some(Mishap::Lost) => return Ok(()),
        }
        if self.stalled {
            return Ok(());
        }
        self.pass_on(message)
    }

    fn flush(&mut self) -> Result<(), ChannelFault> {
        Ok(())
    }
}

impl Drop for MemorySender {
    fn drop(&mut self) {
        if !self.stalled {
            return;
        }
        // A stalled link does not say that its end is gone, either.
        std::mem::forget(self.to.clone());
    }
}

impl Receiver for MemoryReceiver {
    fn receive(&mut self) -> Result<Vec<u8>, ChannelFault> {
        let start = Instant::now();
        loop {
            match self.from.recv_timeout(Duration::from_millis(2)) {
                Ok(message) => return Ok(message),
                Err(mpsc::RecvTimeoutError::Disconnected) => return Err(ChannelFault::Closed),
                Err(mpsc::RecvTimeoutError::Timeout) if self.dead.load(Ordering::SeqCst) => {
                    return Err(ChannelFault::Closed);
                }
                Err(mpsc::RecvTimeoutError::Timeout) if start.elapsed() > self.patience => {
                    return Err(ChannelFault::TimedOut(self.patience.as_secs()));
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
        }
    }
}

/// One message: its length, then its bytes.
pub(crate) struct PipeSender(PipeWriter);
pub(crate) struct PipeReceiver(PipeReader);

fn ended(error: std::io::Error) -> ChannelFault {
    match error.kind() {
        std::io::ErrorKind::BrokenPipe | std::io::ErrorKind::UnexpectedEof => ChannelFault::Closed,
        _ => ChannelFault::Io(error),
    }
}

impl Sender for PipeSender {
    fn send(&mut self, message: &[u8]) -> Result<(), ChannelFault> {
        let whole = [&(message.len() as u32).to_le_bytes(), message].concat();
        self.0.write_all(&whole).map_err(ended)
    }
    fn flush(&mut self) -> Result<(), ChannelFault> {
        self.0.flush().map_err(ended)
    }
}

impl Receiver for PipeReceiver {
    fn receive(&mut self) -> Result<Vec<u8>, ChannelFault> {
        let mut len = [0; 4];
        self.0.read_exact(&mut len).map_err(ended)?;
        let mut message = vec![0; u32::from_le_bytes(len) as usize];
        self.0.read_exact(&mut message).map_err(ended)?;
        Ok(message)
    }
}

pub(crate) type Halves = (Box<dyn Sender>, Box<dyn Receiver>);

/// Both ends of a channel in memory with room for `room` messages each way; what it sent each way is counted.
pub(crate) fn memory(room: usize, plan: Option<Plan>) -> (Halves, Halves, [Arc<AtomicU64>; 2]) {
    let dead = Arc::new(AtomicBool::new(false));
    let counts = [Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0))];
    // After damage that nobody noticed each may wait for more from the other: real channels end that by their patience.
    let patience = if plan.is_some() { Duration::from_millis(150) } else { PATIENCE };
    let way = |from_asker: bool| {
        let (to, from) = mpsc::sync_channel(room);
        let plan = plan.filter(|plan| plan.from_asker == from_asker).map(|plan| (plan.number, plan.mishap));
        let sent = counts[usize::from(!from_asker)].clone();
        let sender = MemorySender { to, dead: dead.clone(), plan, sent, stalled: false };
        (sender, MemoryReceiver { from, dead: dead.clone(), patience })
    };
    let (there, here) = (way(true), way(false));
    ((Box::new(there.0), Box::new(here.1)), (Box::new(here.0), Box::new(there.1)), counts)
}

/// Both ends of two pipes that hold 4 KiB each.
pub(crate) fn pipes() -> (Halves, Halves) {
    let narrow = || {
        let (reader, writer) = pipe().unwrap();
        let size = nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
        assert_eq!(size, 4096);
        (reader, writer)
    };
    let (there, here) = (narrow(), narrow());
    (
        (Box::new(PipeSender(there.1)), Box::new(PipeReceiver(here.0))),
        (Box::new(PipeSender(here.1)), Box::new(PipeReceiver(there.0))),
    )
}

pub(crate) fn options(threads: usize) -> LinkOptions {
    LinkOptions { threads, piece: 64 << 10, pulse: Duration::from_millis(1), ..LinkOptions::default() }
}

type Asked = Result<LinkCompared, LinkError>;
type Answer = Result<Answered, LinkError>;

/// Two agents over a channel. Each drops its ends when it is done, as processes do.
pub(crate) fn converse(
    (mine, theirs): (Halves, Halves),
    (here, there): (&(dyn Disk + '_), &(dyn Disk + '_)),
    question: &Question,
    threads: (usize, usize),
) -> (Asked, Answer) {
    converse_with((mine, theirs), (here, there), question, (options(threads.0), options(threads.1)), &Silent)
}

pub(crate) fn converse_with(
    (mine, theirs): (Halves, Halves),
    (here, there): (&(dyn Disk + '_), &(dyn Disk + '_)),
    question: &Question,
    options: (LinkOptions, LinkOptions),
    progress: &dyn Progress,
) -> (Asked, Answer) {
    let over = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let over = &over;
        let asker = scope.spawn(move || {
            let (mut sender, mut receiver) = mine;
            let end = ask(here, question, &mut *sender, &mut *receiver, &options.0, progress);
            over.fetch_add(1, Ordering::SeqCst);
            end
        });
        let answerer = scope.spawn(move || {
            let (mut sender, mut receiver) = theirs;
            let end = answer(there, &mut *sender, &mut *receiver, &options.1, &Silent);
            over.fetch_add(1, Ordering::SeqCst);
            end
        });
        // A deadlock ends the test run, instead of hanging it.
        let start = Instant::now();
        while over.load(Ordering::SeqCst) < 2 && !(asker.is_finished() && answerer.is_finished()) {
            if start.elapsed() > 2 * PATIENCE {
                eprintln!("the two agents wait for each other");
                std::process::abort();
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        (asker.join().unwrap(), answerer.join().unwrap())
    })
}
