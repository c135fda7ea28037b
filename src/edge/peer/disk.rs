//! A disk on the peer, read and, under the agent's claim, written by request.

use super::lane::LaneReceiver;
use super::session::{Lost, Outcome, Session};
use super::told::Trouble;
use crate::format::wire::content::{Coding, pack, unpack};
use crate::format::wire::control::{Act, Courtesy, LONGEST_READ, Opened, Reply, Request, Which};
use crate::model::extent::{Extent, ExtentSet};
use crate::model::id::Digest;
use crate::ports::channel::{ChannelFault, Receiver};
use crate::ports::disk::{Disk, DiskFault, DiskMut, Replacement, Stretch};
use crate::ports::replica::FarEnd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Requests of one caller that are under way at once.
const PIPELINE: usize = 8;
/// After how many messages at most compressing is tried again.
const LONGEST_PAUSE: u32 = 64;

/// A disk over there.
pub struct RemoteDisk {
    session: Arc<Session>,
    thing: u32,
    which: Which,
    name: String,
    size: u64,
    thrift: Thrift,
}

/// When to try compressing: always, until it does not shrink; then after ever longer pauses.
struct Thrift {
    allowed: bool,
    pause: AtomicU32,
    left: AtomicU32,
}

impl Thrift {
    fn new(allowed: bool) -> Thrift {
        Thrift { allowed, pause: AtomicU32::new(0), left: AtomicU32::new(0) }
    }

    fn try_now(&self) -> bool {
        let wait = |left: u32| left.checked_sub(1);
        self.allowed && self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, wait).is_err()
    }

    fn learn(&self, coding: Coding, vain: bool) {
        if vain {
            let pause = (self.pause.load(Ordering::Relaxed) * 2).clamp(1, LONGEST_PAUSE);
            self.pause.store(pause, Ordering::Relaxed);
            self.left.store(pause, Ordering::Relaxed);
        } else if coding == Coding::Zstd {
            self.pause.store(0, Ordering::Relaxed);
        }
    }
}

impl RemoteDisk {
    /// One of the disks of something that was opened.
    #[must_use]
    pub fn new(session: &Arc<Session>, thing: u32, which: Which, name: String, size: u64) -> RemoteDisk {
        let thrift = Thrift::new(session.limits().squeeze);
        RemoteDisk { session: Arc::clone(session), thing, which, name, size, thrift }
    }

    /// Opens a plain disk, for reading.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn open(
        session: &Arc<Session>,
        path: &str,
        courtesy: Courtesy,
    ) -> Result<(RemoteDisk, Opened), Trouble> {
        let opened = session.open(Request::OpenDisk { path: path.to_owned(), courtesy })?;
        let name = format!("{} on {}", opened.data, session.elsewhere().host);
        Ok((RemoteDisk::new(session, opened.thing, Which::Data, name, opened.size), opened))
    }

    /// The [`content_digest`](crate::digest::content::content_digest) of extents, made where they are.
    ///
    /// # Errors
    /// [`DiskFault`].
    pub fn content_digest(&self, extents: &ExtentSet, threads: usize) -> Result<Digest, DiskFault> {
        let extent = Extent::between(extents.iter().next().map_or(0, |first| first.start), extents.end());
        let failed = |trouble: Trouble| trouble.disk(&self.name, Act::Read, extent);
        let request = Request::ContentDigest {
            thing: self.thing,
            which: self.which,
            extents: extents.clone(),
            threads: u16::try_from(threads).unwrap_or(u16::MAX),
        };
        match self.session.call(&request, &[]) {
            Ok((Reply::Digest(digest), _)) => Ok(digest),
            other => Err(failed(wrong(other))),
        }
    }

    /// Starts the answering side of a comparison over there, and gives the channel to it.
    ///
    /// # Errors
    /// [`ChannelFault`].
    pub fn answering(&self, threads: usize) -> Result<FarEnd, ChannelFault> {
        let threads = u16::try_from(threads).unwrap_or(u16::MAX);
        let (sender, receiver, outcome) =
            self.session.channel(&Request::Answer { thing: self.thing, threads })?;
        Ok((Box::new(sender), Box::new(Explained { receiver, outcome: Some(outcome) })))
    }

    /// Has pieces written, a few under way at once; where a digest is given, only over bytes that have it.
    fn send<'b>(
        &self,
        pieces: impl Iterator<Item = (u64, &'b [u8], Option<Digest>)>,
    ) -> Result<(), DiskFault> {
        let mut pieces = pieces.peekable();
        while pieces.peek().is_some() {
            let group: Vec<_> = pieces.by_ref().take(PIPELINE).collect();
            let failed = |piece: &(u64, &[u8], Option<Digest>), trouble: Trouble| {
                let extent = Extent { start: piece.0, len: piece.1.len() as u64 };
                trouble.disk(&self.name, Act::Write, extent)
            };
            let packed = group.iter().map(|&(at, piece, was)| {
                self.check(at, piece.len())?;
                let (coding, packed, vain) = pack(piece, self.thrift.try_now());
                self.thrift.learn(coding, vain);
                let len = u32::try_from(piece.len()).unwrap_or(u32::MAX);
                Ok((Request::Write { thing: self.thing, which: self.which, at, len, coding, was }, packed))
            });
            let requests = packed.collect::<Result<Vec<_>, DiskFault>>()?;
            let answers = self.session.call_all(&requests).map_err(|lost| failed(&group[0], lost.into()))?;
            for (piece, answer) in group.iter().zip(answers) {
                if !matches!(answer, (Reply::Done, _)) {
                    return Err(failed(piece, wrong(Ok(answer))));
                }
            }
        }
        Ok(())
    }

    fn check(&self, offset: u64, len: usize) -> Result<(), DiskFault> {
        let len = len as u64;
        if offset.checked_add(len).is_some_and(|end| end <= self.size) {
            return Ok(());
        }
        let extent = Extent { start: offset, len };
        Err(DiskFault::Outside { disk: self.name.clone(), extent, size: self.size })
    }
}

/// The receiving half of a channel that says why it ended, if the agent refused it.
struct Explained {
    receiver: LaneReceiver,
    outcome: Option<Outcome>,
}

impl Receiver for Explained {
    fn receive(&mut self) -> Result<Vec<u8>, ChannelFault> {
        let fault = match self.receiver.receive() {
            Err(ChannelFault::Closed) => self.outcome.take().map(Outcome::wait),
            other => return other,
        };
        Err(match fault {
            Some(Err(trouble @ Trouble::Fault(_))) => ChannelFault::Refused(trouble.causes().join(": ")),
            _ => ChannelFault::Closed,
        })
    }
}

/// What came instead of what was asked.
pub(super) fn wrong(answer: Result<(Reply, Vec<u8>), Lost>) -> Trouble {
    match answer {
        Ok((Reply::Fault(fault), _)) => Trouble::Fault(fault),
        Ok(_) => Trouble::Nonsense,
        Err(lost) => Trouble::Lost(lost),
    }
}

/// Where each piece of a long request stands.
fn places(offset: u64) -> impl Iterator<Item = u64> {
    (offset..).step_by(LONGEST_READ as usize)
}

impl Disk for RemoteDisk {
    fn name(&self) -> &str {
        &self.name
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskFault> {
        self.check(offset, buffer.len())?;
        let whole = Extent { start: offset, len: buffer.len() as u64 };
        let failed = |trouble: Trouble| trouble.disk(&self.name, Act::Read, whole);
        let pieces: Vec<(u64, &mut [u8])> =
            places(offset).zip(buffer.chunks_mut(LONGEST_READ as usize)).collect();
        let mut pieces = pieces.into_iter().peekable();
        while pieces.peek().is_some() {
            let mut group: Vec<(u64, &mut [u8])> = pieces.by_ref().take(PIPELINE).collect();
            let request = |at: u64, len: usize| Request::Read {
                thing: self.thing,
                which: self.which,
                at,
                len: u32::try_from(len).unwrap_or(u32::MAX),
                squeeze: self.thrift.try_now(),
            };
            let requests: Vec<_> =
                group.iter().map(|(at, piece)| (request(*at, piece.len()), Vec::new())).collect();
            let answers = self.session.call_all(&requests).map_err(|lost| failed(lost.into()))?;
            for ((_, piece), answer) in group.iter_mut().zip(answers) {
                match answer {
                    (Reply::Bytes { len, coding, vain }, beside) if len as usize == piece.len() => {
                        unpack(coding, &beside, piece).map_err(|_| failed(Trouble::Nonsense))?;
                        self.thrift.learn(coding, vain);
                    }
                    other => return Err(failed(wrong(Ok(other)))),
                }
            }
        }
        Ok(())
    }

    fn at_hand(&self, _: Extent) -> bool {
        false
    }

    fn stretch(&self, offset: u64) -> Stretch {
        let request = Request::Stretch { thing: self.thing, which: self.which, at: offset };
        match self.session.call(&request, &[]) {
            Ok((Reply::Stretch { hole, until }, _)) if until > offset => {
                let until = until.min(self.size);
                if hole { Stretch::Hole(until) } else { Stretch::Data(until) }
            }
            // Reading says what is wrong.
            _ => Stretch::Data(self.size),
        }
    }
}

impl DiskMut for RemoteDisk {
    fn write_at(&self, offset: u64, buffer: &[u8]) -> Result<(), DiskFault> {
        let pieces = places(offset).zip(buffer.chunks(LONGEST_READ as usize));
        self.send(pieces.map(|(at, bytes)| (at, bytes, None)))
    }

    fn replace(&self, pieces: &[Replacement<'_>]) -> Result<(), DiskFault> {
        self.send(pieces.iter().map(|piece| (piece.was.start, piece.new, Some(piece.was.blake3))))
    }

    fn flush(&self) -> Result<(), DiskFault> {
        match self.session.call(&Request::Flush { thing: self.thing, which: self.which }, &[]) {
            Ok((Reply::Done, _)) => Ok(()),
            other => {
                let nowhere = Extent { start: 0, len: 0 };
                Err(wrong(other).disk(&self.name, Act::Flush, nowhere))
            }
        }
    }

    fn as_disk(&self) -> &dyn Disk {
        self
    }
}
