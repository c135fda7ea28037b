//! What an agent has opened, and its answers.
//!
//! Who overwrites must have been told by the asking side's engine, which holds the proofs. The agent adds its own: it
//! writes nothing but under its own claim, which only `Seat::claimed` gives out.

use super::armed::Armed;
use super::confine::Confinement;
use crate::digest::content::content_digest;
use crate::edge::blockdev::{BlockFile, Mode};
use crate::edge::common::{Common, common};
use crate::edge::drbd::image::{ImageReplica, ObserveError};
use crate::edge::drbd::node::{LocalNode, act_as_told};
use crate::edge::drbd::offline::{Claimant, Devices};
use crate::edge::pace::{Pace, step_back};
use crate::edge::peer::greet::ourselves;
use crate::format::drbdmeta::BLOCK;
use crate::format::drbdmeta::geometry::Geometry;
use crate::format::wire::content::{pack, unpack};
use crate::format::wire::control::{Act, Courtesy, Fault, LONGEST_READ, Opened, Reply, Request, Which};
use crate::model::drbd::{Role, Superblock};
use crate::model::evidence::Source;
use crate::model::extent::{Extent, ExtentSet};
use crate::model::id::NodeName;
use crate::model::salvage::Piece;
use crate::model::seen::{End, Why, in_words};
use crate::ports::disk::{Disk, DiskFault, DiskMut, Replacement, Stretch};
use crate::ports::node::Node;
use crate::ports::progress::Progress;
use crate::proof::quiesced::Hold;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

/// Disks and replicas that may be open at once.
const MOST: usize = 256;

/// Something opened.
pub struct Seat {
    data: Arc<dyn Disk>,
    replica: Option<Patient>,
}

struct Patient {
    name: NodeName,
    role: Option<Role>,
    image: ImageReplica,
    claimant: Devices,
    hold: RwLock<Option<Box<dyn Hold>>>,
}

/// A replica that is claimed. Only through it is anything written.
struct Claimed<'s> {
    patient: &'s Patient,
    _held: RwLockReadGuard<'s, Option<Box<dyn Hold>>>,
}

/// What is open, by number. A number is given once, unless the asking side asks for it by itself.
#[derive(Default)]
struct Seats {
    open: BTreeMap<u32, Arc<Seat>>,
    next: u32,
}

/// Everything an agent has opened.
#[derive(Default)]
pub struct Desk {
    seats: Mutex<Seats>,
    armed: Armed,
    confinement: Confinement,
}

fn refused(why: &str) -> Fault {
    Fault::Refused(why.to_owned())
}

fn causes(error: &dyn std::error::Error) -> Vec<String> {
    let mut causes = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(next) = cause {
        causes.push(next.to_string());
        cause = next.source();
    }
    causes
}

pub(super) fn unseen(error: impl std::error::Error) -> Fault {
    Fault::Unseen { causes: causes(&error), advice: None }
}

fn not_opened(error: ObserveError) -> Fault {
    Fault::Unseen { causes: causes(&error), advice: error.advice() }
}

fn disk_fault(fault: DiskFault) -> Fault {
    match fault {
        DiskFault::Io { act, source, .. } => {
            Fault::Io { act: Act::of(act), words: source.to_string(), errno: source.raw_os_error() }
        }
        DiskFault::Short { got, .. } => Fault::Short { got },
        DiskFault::Outside { size, .. } => Fault::Outside { size },
        DiskFault::Changed { .. } => Fault::Changed,
    }
}

fn disk(path: &str, mode: Mode, courtesy: Courtesy) -> Result<BlockFile, Fault> {
    if courtesy.nice {
        step_back().map_err(unseen)?;
    }
    let disk = BlockFile::open(Path::new(path), mode).map_err(unseen)?;
    Ok(disk.paced(courtesy.rate.filter(|rate| *rate > 0).map(|rate| Arc::new(Pace::new(rate)))))
}

fn ended<E: std::error::Error + 'static>(result: Result<(), E>) -> Reply {
    Reply::Ended(match result {
        Ok(()) => End::Done,
        // A failed write may have been carried out in part: look again, never assume.
        Err(error) => End::Unknown(Why(in_words(&error))),
    })
}

impl Patient {
    fn claimed(&self) -> Result<Claimed<'_>, Fault> {
        let held = self.hold.read().unwrap_or_else(PoisonError::into_inner);
        if held.is_none() {
            return Err(refused("nothing is written without a claim, and this agent holds none"));
        }
        Ok(Claimed { patient: self, _held: held })
    }
}

impl Patient {
    /// A superblock of another layout would make the metadata unreadable.
    fn may_become(&self, superblock: &Superblock) -> Result<(), Fault> {
        let source = self.image.source();
        let Source { place, superblock_at, metadata_size, data_size, .. } = source;
        let then = Geometry::of(superblock, place, superblock_at, metadata_size, data_size);
        match then {
            Ok(then) if then == *self.image.geometry() => Ok(()),
            _ => Err(refused("a superblock of another layout than the one that is there")),
        }
    }
}

impl Claimed<'_> {
    fn disk(&self, which: Which) -> Arc<dyn DiskMut> {
        match which {
            Which::Data => self.patient.image.data_mut(),
            Which::Metadata => self.patient.image.metadata_disk(),
        }
    }
}

impl Seat {
    fn patient(&self) -> Result<&Patient, Fault> {
        self.replica.as_ref().ok_or_else(|| refused("that is a plain disk, not a replica"))
    }

    fn claimed(&self) -> Result<Claimed<'_>, Fault> {
        self.patient()?.claimed()
    }

    /// One of its disks, for reading.
    ///
    /// # Errors
    /// A plain disk has no metadata.
    pub fn disk(&self, which: Which) -> Result<Arc<dyn Disk>, Fault> {
        match which {
            Which::Data => Ok(Arc::clone(&self.data)),
            Which::Metadata => Ok(Arc::new(MetadataDisk(self.patient()?.image.metadata_disk()))),
        }
    }
}

/// The metadata device, for reading.
struct MetadataDisk(Arc<dyn DiskMut>);

impl Disk for MetadataDisk {
    fn name(&self) -> &str {
        self.0.name()
    }
    fn size(&self) -> u64 {
        self.0.size()
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskFault> {
        self.0.read_at(offset, buffer)
    }
    fn stretch(&self, offset: u64) -> Stretch {
        self.0.stretch(offset)
    }
}

/// This machine as a node. Its name is for people; `localhost` stands in for one that no name of ours can be.
pub(super) fn this_node() -> Result<LocalNode, Fault> {
    let host = ourselves(None).host;
    let name = NodeName::new(&host).or_else(|_| NodeName::new("localhost")).map_err(unseen)?;
    Ok(LocalNode::new(name))
}

/// A reply and the bytes beside it.
type Answer = Result<(Reply, Vec<u8>), Fault>;

fn plain(reply: Reply) -> Answer {
    Ok((reply, Vec::new()))
}

impl Desk {
    /// A desk at which no more may be asked than this.
    #[must_use]
    pub fn confined(confinement: Confinement) -> Desk {
        Desk { confinement, ..Desk::default() }
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What has this number.
    ///
    /// # Errors
    /// Nothing has.
    pub fn seat(&self, thing: u32) -> Result<Arc<Seat>, Fault> {
        self.seats().open.get(&thing).cloned().ok_or_else(|| refused("nothing with that number is open"))
    }

    /// Under the number that is asked for, or the next one.
    fn sit(&self, seat: Seat, asked: Option<u32>) -> Result<u32, Fault> {
        let mut seats = self.seats();
        if seats.open.len() >= MOST {
            return Err(refused("too much is open"));
        }
        let thing = asked.unwrap_or(seats.next);
        if seats.open.contains_key(&thing) {
            return Err(refused("something with that number is open already"));
        }
        seats.next = thing.max(seats.next).checked_add(1).ok_or_else(|| refused("too much was opened"))?;
        seats.open.insert(thing, Arc::new(seat));
        Ok(thing)
    }

    /// Forgets what has this number. A claim on it ends when the last request that uses it does.
    fn close(&self, thing: u32) -> Answer {
        let seat = self.seats().open.remove(&thing);
        seat.map_or_else(|| Err(refused("nothing with that number is open")), |_| plain(Reply::Done))
    }

    /// Nobody asks any more, and nothing is under way.
    pub fn left_alone(&self) {
        if let Ok(node) = this_node() {
            self.armed.left_alone(&node);
        }
    }

    /// Ends every claim, once the writes under it are finished.
    pub fn release(&self) {
        let seats: Vec<Arc<Seat>> = self.seats().open.values().cloned().collect();
        for patient in seats.iter().filter_map(|seat| seat.replica.as_ref()) {
            *patient.hold.write().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    /// Does what is asked and says what came of it. Requests that open a channel are not for this.
    #[must_use]
    pub fn answer(&self, request: Request, beside: &[u8], progress: &dyn Progress) -> (Reply, Vec<u8>) {
        self.try_answer(request, beside, progress).unwrap_or_else(|fault| (Reply::Fault(fault), Vec::new()))
    }

    fn try_answer(&self, request: Request, beside: &[u8], progress: &dyn Progress) -> Answer {
        self.confinement.may(&request)?;
        match request {
            Request::Open { .. } | Request::OpenDisk { .. } => self.open_any(request, None),
            Request::OpenAs { thing, opening } => self.open_any(*opening, Some(thing)),
            Request::Read { thing, which, at, len, squeeze } => {
                if len > LONGEST_READ {
                    return Err(refused("more bytes are asked for than one reply holds"));
                }
                let mut bytes = vec![0; len as usize];
                self.seat(thing)?.disk(which)?.read_at(at, &mut bytes).map_err(disk_fault)?;
                let (coding, packed, vain) = pack(&bytes, squeeze);
                Ok((Reply::Bytes { len, coding, vain }, packed))
            }
            Request::Stretch { thing, which, at } => {
                let disk = self.seat(thing)?.disk(which)?;
                if at >= disk.size() {
                    return Err(Fault::Outside { size: disk.size() });
                }
                plain(match disk.stretch(at) {
                    Stretch::Data(until) => Reply::Stretch { hole: false, until },
                    Stretch::Hole(until) => Reply::Stretch { hole: true, until },
                })
            }
            Request::ContentDigest { thing, which, extents, threads } => {
                let disk = self.seat(thing)?.disk(which)?;
                let threads = usize::from(threads).clamp(1, 8);
                let digest = content_digest(&*disk, &extents, threads, progress).map_err(disk_fault)?;
                plain(Reply::Digest(digest))
            }
            Request::Superblock { .. }
            | Request::SuperblockBlock { .. }
            | Request::AreaDigest { .. }
            | Request::Observe { .. }
            | Request::ChangedBlocks { .. }
            | Request::AreaLeft { .. } => self.look(request, beside),
            Request::Hold { .. } | Request::StillOurs { .. } | Request::Release { .. } => {
                self.claim(&request)
            }
            Request::WriteSuperblock { .. }
            | Request::Write { .. }
            | Request::Flush { .. }
            | Request::Settle { .. } => self.act(request, beside),
            Request::Report => {
                let report = this_node()?.report().map_err(unseen)?;
                plain(Reply::Report(Box::new(self.confinement.report(report))))
            }
            Request::State => {
                let state = this_node()?.state().map_err(unseen)?;
                self.armed.told(&state);
                plain(Reply::State(Box::new(self.confinement.state(state))))
            }
            Request::Log => {
                let node = this_node()?;
                let state = self.confinement.state(node.state().map_err(unseen)?);
                let log = node.log().map_err(unseen)?;
                plain(Reply::Log(log.map(|lines| self.confinement.log(lines, &state))))
            }
            Request::Users { minor } => plain(Reply::Users(this_node()?.users(minor).map_err(unseen)?)),
            // The proofs are with the asking side's engine.
            Request::Act(act) => {
                let end = act_as_told(&act);
                self.armed.acted(&act, &end);
                plain(Reply::Ended(end))
            }
            Request::Close { thing } => self.close(thing),
            Request::Answer { .. } | Request::Echo => Err(refused("that needs a channel")),
        }
    }

    fn open_any(&self, request: Request, asked: Option<u32>) -> Answer {
        match request {
            Request::OpenDisk { path, courtesy } => self.open_disk(&path, courtesy, asked),
            opening => self.open(opening, asked),
        }
    }

    fn disk(&self, path: &str, mode: Mode, courtesy: Courtesy) -> Result<BlockFile, Fault> {
        let disk = disk(path, mode, courtesy)?;
        self.confinement.opened(disk.identity(), path)?;
        Ok(disk)
    }

    fn open_disk(&self, path: &str, courtesy: Courtesy, asked: Option<u32>) -> Answer {
        let disk = self.disk(path, Mode::ReadOnly, courtesy)?;
        let (data, size, identity) = (disk.name().to_owned(), disk.size(), disk.identity().to_string());
        let thing = self.sit(Seat { data: Arc::new(disk), replica: None }, asked)?;
        plain(Reply::Opened(Opened { thing, data, size, identity, source: None, superblock: None }))
    }

    fn open(&self, request: Request, asked: Option<u32>) -> Answer {
        let Request::Open { name, data, metadata, place, role, write, trust, courtesy } = request else {
            return Err(refused("a request in the wrong place"));
        };
        let mode = if write { Mode::ReadWrite } else { Mode::ReadOnly };
        let open = |path: &str| self.disk(path, mode, courtesy).map(Arc::new);
        let data = open(&data)?;
        let metadata = metadata.as_deref().map(open).transpose()?;
        match metadata.as_ref().and_then(|metadata| common(metadata.identity(), data.identity())) {
            None => {}
            Some(Common::All) => {
                return Err(refused("the metadata device is the data device itself; leave it out"));
            }
            Some(shared) => return Err(refused(&shared.words("the metadata device", "the data device"))),
        }
        let identity = data.identity().to_string();
        let claimant =
            Devices::new([Some(Arc::clone(&data)), metadata.clone()].into_iter().flatten().collect());
        let metadata = metadata.map(|metadata| metadata as Arc<dyn DiskMut>);
        let image = ImageReplica::open_with(data, metadata, place, trust).map_err(not_opened)?;
        let (source, size) = (image.source(), image.size());
        let superblock = Some(Box::new(image.superblock().clone()));
        let data = image.data();
        let patient = Patient { name, role, image, claimant, hold: RwLock::new(None) };
        let thing = self.sit(Seat { data, replica: Some(patient) }, asked)?;
        let data = source.data.clone();
        plain(Reply::Opened(Opened { thing, data, size, identity, source: Some(source), superblock }))
    }

    fn look(&self, request: Request, beside: &[u8]) -> Answer {
        match request {
            Request::Superblock { thing } => {
                let superblock = self.seat(thing)?.patient()?.image.reread().map_err(unseen)?;
                plain(Reply::Superblock(Box::new(superblock)))
            }
            Request::SuperblockBlock { thing } => {
                let block = self.seat(thing)?.patient()?.image.superblock_block().map_err(unseen)?;
                let coding = crate::format::wire::content::Coding::Raw;
                Ok((Reply::Bytes { len: 4096, coding, vain: false }, block.0.to_vec()))
            }
            Request::AreaDigest { thing } => {
                plain(Reply::Digest(self.seat(thing)?.patient()?.image.area_digest().map_err(unseen)?))
            }
            Request::Observe { thing, peer, now } => {
                let seat = self.seat(thing)?;
                let patient = seat.patient()?;
                let seen = patient.image.observe(patient.name.clone(), patient.role, &peer, now);
                plain(Reply::Evidence(Box::new(seen.map_err(unseen)?)))
            }
            Request::ChangedBlocks { thing, change, overwritten } => {
                let seat = self.seat(thing)?;
                let blocks = seat.patient()?.image.changed_blocks(&change, &overwritten).map_err(unseen)?;
                plain(Reply::Extents(blocks))
            }
            Request::AreaLeft { thing, change, overwritten, blocks, coding } => {
                let seat = self.seat(thing)?;
                let image = &seat.patient()?.image;
                // Never more than there is metadata, of which the device has as much.
                let Geometry { superblock_at, log, bitmap, .. } = *image.geometry();
                let block = Extent { start: superblock_at, len: BLOCK as u64 };
                let area: ExtentSet = [block, log, bitmap].into_iter().collect();
                if !blocks.subtract(&area).is_empty() || blocks.bytes() > MOST_KEPT {
                    return Err(refused("the kept blocks are not of this device's metadata"));
                }
                let mut bytes = vec![0; usize::try_from(blocks.bytes()).unwrap_or_default()];
                unpack(coding, beside, &mut bytes).map_err(unseen)?;
                let kept = KeptBlocks { blocks, bytes, size: image.metadata_disk().size() };
                let left = image.area_left(&change, &overwritten, &kept, &kept.blocks).map_err(unseen)?;
                plain(Reply::Left { before: left.before, foreign: left.foreign })
            }
            _ => Err(refused("a request in the wrong place")),
        }
    }

    fn claim(&self, request: &Request) -> Answer {
        let (Request::Hold { thing } | Request::StillOurs { thing } | Request::Release { thing }) = request
        else {
            return Err(refused("a request in the wrong place"));
        };
        let seat = self.seat(*thing)?;
        let patient = seat.patient()?;
        match request {
            Request::StillOurs { .. } => {
                let held = patient.hold.read().unwrap_or_else(PoisonError::into_inner);
                let hold = held.as_ref().ok_or_else(|| refused("this agent holds no claim"))?;
                let said = |why: String| Fault::Unseen { causes: vec![why], advice: None };
                hold.still_ours().map_err(said)?;
                plain(Reply::Done)
            }
            Request::Hold { .. } => {
                let mut held = patient.hold.write().unwrap_or_else(PoisonError::into_inner);
                if held.is_some() {
                    return Err(refused("this agent holds the claim already"));
                }
                let said = |error: crate::ports::replica::Unseen| unseen(error);
                patient.image.as_used().map_err(unseen)?;
                let hold = patient.claimant.claim().map_err(said)?;
                let how = hold.how().to_owned();
                *held = Some(hold);
                plain(Reply::Held { how })
            }
            _ => {
                // Waits for writes under way: they stand under the claim.
                *patient.hold.write().unwrap_or_else(PoisonError::into_inner) = None;
                plain(Reply::Done)
            }
        }
    }

    fn act(&self, request: Request, beside: &[u8]) -> Answer {
        match request {
            Request::WriteSuperblock { thing, superblock } => {
                let seat = self.seat(thing)?;
                let claimed = seat.claimed()?;
                claimed.patient.may_become(&superblock)?;
                plain(ended(claimed.patient.image.write_superblock(&superblock)))
            }
            Request::Write { thing, which, at, len, coding, was } => {
                if len > LONGEST_READ {
                    return Err(refused("more bytes are to be written than one request holds"));
                }
                let mut bytes = vec![0; len as usize];
                unpack(coding, beside, &mut bytes).map_err(unseen)?;
                let seat = self.seat(thing)?;
                let claimed = seat.claimed()?;
                let disk = claimed.disk(which);
                let written = match was {
                    None => disk.write_at(at, &bytes),
                    Some(blake3) => {
                        let was = Piece { start: at, len: bytes.len() as u64, blake3 };
                        disk.replace(&[Replacement { was, new: &bytes }])
                    }
                };
                written.map_err(disk_fault)?;
                plain(Reply::Done)
            }
            Request::Flush { thing, which } => {
                let seat = self.seat(thing)?;
                seat.claimed()?.disk(which).flush().map_err(disk_fault)?;
                plain(Reply::Done)
            }
            Request::Settle { thing, change, overwritten, again } => {
                let seat = self.seat(thing)?;
                let claimed = seat.claimed()?;
                claimed.patient.may_become(&change.after)?;
                plain(ended(claimed.patient.image.settle(&change, &overwritten, again)))
            }
            _ => Err(refused("a request in the wrong place")),
        }
    }
}

/// Kept metadata blocks in all; the bitmaps of the largest volumes stay below.
const MOST_KEPT: u64 = 512 << 20;

/// Blocks of the metadata device as they were, sent along.
struct KeptBlocks {
    blocks: ExtentSet,
    bytes: Vec<u8>,
    size: u64,
}

impl Disk for KeptBlocks {
    fn name(&self) -> &str {
        "the kept metadata"
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskFault> {
        let wanted = Extent { start: offset, len: buffer.len() as u64 };
        let mut before = 0;
        for block in self.blocks.iter() {
            if block.start <= wanted.start && wanted.end() <= block.end() {
                let from = usize::try_from(before + wanted.start - block.start).unwrap_or(usize::MAX);
                if let Some(kept) = self.bytes.get(from..from.saturating_add(buffer.len())) {
                    buffer.copy_from_slice(kept);
                    return Ok(());
                }
            }
            before += block.len;
        }
        Err(DiskFault::Outside { disk: self.name().to_owned(), extent: wanted, size: self.size })
    }
}
