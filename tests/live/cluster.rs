//! Two nodes in memory that do what real kernels did (8.4.11 and 9.3.3 in the lab): roles, connections, the discard word and
//! how long it lives, policies that differ, resyncs that copy real bytes between disks with real metadata. Everything happens
//! in ticks: one for each act, each wait, and each opened replica, so that a seed always tells the same story.

use crate::world::disk::FakeDisk;
use crate::world::faults::Faults;
use crate::world::rng::Rng;
use crate::world::store::FakeStore;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};
use unsplit::edge::drbd::offline::{Claimant, OfflineReplica};
use unsplit::engine::salvage;
use unsplit::format::drbdmeta::bitmap::{Edit, Marking};
use unsplit::format::drbdmeta::create::{Fresh, Wanted, create};
use unsplit::format::drbdmeta::superblock::encode_into;
use unsplit::model::drbd::{
    GenerationUuid, MetadataFormat, PeerSlot, Superblock, device_flag as flag, peer_flag,
};
use unsplit::model::drbd_live::Generation;
use unsplit::model::drbd_live::object::{DiskOptions, NetOptions, ResourceOptions};
use unsplit::model::drbd_live::tree::{Connection, Device, Live, PeerDevice, Resource};
use unsplit::model::drbd_live::words::{ConnectionState, DiskState, MetaIndex, ReplicationState, Role};
use unsplit::model::evidence::MetadataPlace;
use unsplit::model::extent::{Extent, ExtentSet};
use unsplit::model::id::{IncidentId, NodeName};
use unsplit::model::node::{AfterSb, ConnectAs, DeviceUser, DrbdSeen, NodeAct, NodeReport, Toward};
use unsplit::model::salvage::PartKind;
use unsplit::model::seen::{End, Stamp, Why};
use unsplit::model::side::{Pair, Side};
use unsplit::ports::disk::{Disk, DiskFault, DiskMut};
use unsplit::ports::node::{Backing, Node, Operated};
use unsplit::ports::replica::{Replica, Unseen};
use unsplit::proof::quiesced::Hold;
use unsplit::proof::{Preserved, Standstill};

use crate::world::faults::Op;

mod node;

pub use node::FakeNode;

pub const BLOCK: u64 = 4096;

/// One volume on one node.
pub struct Volume {
    pub disk: Arc<FakeDisk>,
    pub size: u64,
    fresh: Fresh,
    pub superblock: Superblock,
    pub bits: BTreeSet<u64>,
    pub state: DiskState,
    pub replication: ReplicationState,
    written: u64,
    /// What this node's own writers left, and what came from a peer by right.
    pub truth: Vec<u8>,
    /// Blocks that this node's writers changed while the peer did not hear of it.
    pub own: BTreeSet<u64>,
}

/// One node.
pub struct Host {
    pub up: bool,
    boot: u32,
    pub role: Role,
    pub held: bool,
    pub connection: ConnectionState,
    pub discard: bool,
    pub policies: AfterSb,
    pub configured: AfterSb,
    pub volumes: Vec<Volume>,
    /// Its agent does not answer until this tick.
    deaf_until: u64,
}

/// What somebody else does.
#[derive(Debug, Clone, Copy)]
pub enum Meddling {
    Link(bool),
    /// A cluster manager promotes, and a guest writes.
    Promote(Side),
    Demote(Side),
    Adjust(Side),
    Disconnect(Side),
    Reboot(Side),
    Up(Side),
    Deaf(Side, u64),
    Hold(Side),
    Release(Side),
}

pub struct State {
    pub generation: Generation,
    pub hosts: Pair<Host>,
    pub link: bool,
    pub tick: u64,
    rng: Rng,
    pub survivor: Side,
    /// The survivor's guests go on writing.
    pub busy: bool,
    pub meddling: Vec<(u64, Meddling)>,
    pub log: Vec<String>,
    pub broken: Vec<String>,
    /// An undo runs: both nodes are written to, and the node may be promoted.
    pub undoing: bool,
    /// The victim's guests wrote after the plan was drawn.
    pub victim_wrote: bool,
    /// The survivor began a new generation after the plan was drawn.
    pub survivor_moved: bool,
    /// How many blocks of the victim were overwritten with something else.
    pub overwritten: u64,
    pub handshakes_that_break: u64,
}

/// Both nodes, and what is between them.
pub struct Cluster {
    pub state: Mutex<State>,
    pub store: Arc<FakeStore>,
    pub faults: Arc<Faults>,
    pub names: Pair<NodeName>,
}

/// What to make.
#[derive(Debug, Clone)]
pub struct Shape {
    pub generation: Generation,
    pub survivor: Side,
    /// Of each volume: how the two came apart.
    pub volumes: Vec<Apart>,
    pub busy: bool,
    pub survivor_primary: bool,
    pub victim_primary: bool,
    pub seed: u64,
}

/// How the two replicas of a volume came apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Apart {
    /// Both wrote since a common generation.
    Diverged,
    /// Both wrote, and their bitmaps begin at different generations.
    History,
    /// Only the survivor wrote.
    SurvivorAhead,
    /// Only the victim wrote.
    VictimAhead,
    /// Neither did.
    Equal,
}

fn at(value: u64) -> usize {
    usize::try_from(value).unwrap()
}

fn uuid(rng: &mut Rng) -> GenerationUuid {
    GenerationUuid(rng.next() & !1 | 1 << 40)
}

const SIZE: u64 = 256 << 10;

impl Volume {
    fn blank(format: MetadataFormat, side: Side, number: usize, faults: &Arc<Faults>) -> Volume {
        let fresh = create(&Wanted::internal(format, SIZE), false).unwrap();
        let mut superblock = fresh.superblock.clone();
        superblock.effective_size = fresh.geometry.data_capacity / 512;
        superblock.device_uuid = 0xD0D0_0000 + number as u64 * 2 + side as u64;
        if format == MetadataFormat::V09 {
            let (own, peer) = if side == Side::A { (0, 1) } else { (1, 0) };
            superblock.node_id = own;
            superblock.peers[peer] = PeerSlot {
                bitmap_uuid: GenerationUuid::UNSET,
                bitmap_dagtag: 0,
                flags: peer_flag::DEVICE_SEEN | peer_flag::NODE_EXISTS,
                bitmap_index: 0,
            };
        }
        let size = superblock.effective_size * 512;
        let disk = FakeDisk::new(&format!("/dev/{side}{number}"), &vec![0; at(SIZE)], Arc::clone(faults));
        disk.meddle(at(fresh.geometry.log.start), &fresh.log_bytes());
        Volume {
            disk: Arc::new(disk),
            size,
            fresh,
            superblock,
            bits: BTreeSet::new(),
            state: DiskState::UpToDate,
            replication: ReplicationState::Off,
            written: 0,
            truth: vec![0; at(size)],
            own: BTreeSet::new(),
        }
    }

    pub fn blocks(&self) -> u64 {
        self.size / BLOCK
    }

    pub fn bitmap_uuid(&self) -> GenerationUuid {
        match self.superblock.format {
            MetadataFormat::V08 => self.superblock.bitmap,
            MetadataFormat::V09 => self.superblock.peers[self.peer()].bitmap_uuid,
        }
    }

    fn peer(&self) -> usize {
        usize::from(self.superblock.node_id == 0)
    }

    fn set_bitmap_uuid(&mut self, uuid: GenerationUuid) {
        let peer = self.peer();
        match self.superblock.format {
            MetadataFormat::V08 => self.superblock.bitmap = uuid,
            MetadataFormat::V09 => self.superblock.peers[peer].bitmap_uuid = uuid,
        }
    }

    fn push_history(&mut self, uuid: GenerationUuid) {
        if uuid != GenerationUuid::UNSET {
            self.superblock.history.insert(0, uuid);
            self.superblock.history.pop();
        }
    }

    /// Bumps the generation, as the first write of a Primary that is alone does.
    fn begin_generation(&mut self, rng: &mut Rng) -> bool {
        if self.bitmap_uuid() != GenerationUuid::UNSET {
            return false;
        }
        self.set_bitmap_uuid(self.superblock.current.masked());
        self.superblock.current = uuid(rng);
        true
    }

    fn block(&self, block: u64) -> Vec<u8> {
        self.disk.content()[at(block * BLOCK)..at((block + 1) * BLOCK)].to_vec()
    }

    fn put(&self, block: u64, bytes: &[u8]) {
        self.disk.meddle(at(block * BLOCK), bytes);
    }

    pub fn data(&self) -> Vec<u8> {
        self.disk.content()[..at(self.size)].to_vec()
    }

    /// Writes the metadata as the kernel keeps it.
    fn persist(&mut self, role: Role) {
        let primary = role == Role::Primary;
        let superblock = &mut self.superblock;
        superblock.flags = 0;
        if self.state != DiskState::Inconsistent {
            superblock.flags |= flag::CONSISTENT;
        }
        if self.state == DiskState::UpToDate {
            superblock.flags |= flag::WAS_UP_TO_DATE;
        }
        superblock.flags |= if primary { flag::PRIMARY_IND } else { flag::AL_CLEAN };
        superblock.unclean_magic = primary && superblock.format == MetadataFormat::V08;
        superblock.current = GenerationUuid(superblock.current.masked().0 | u64::from(primary));
        let mut block = [0; 4096];
        encode_into(superblock, &mut block);
        let geometry = &self.fresh.geometry;
        self.disk.meddle(at(geometry.superblock_at), &block);
        let extents: ExtentSet =
            self.bits.iter().map(|block| Extent { start: block * BLOCK, len: BLOCK }).collect();
        let mut area = vec![0; at(geometry.bitmap.len)];
        let marks = vec![Marking { slots: vec![0], extents }];
        Edit::new(geometry.layout, &[], marks).unwrap().apply(0, &mut area).unwrap();
        self.disk.meddle(at(geometry.bitmap.start), &area);
    }
}

impl Host {
    fn persist(&mut self) {
        let role = self.role;
        self.volumes.iter_mut().for_each(|volume| volume.persist(role));
    }
}

/// What two replicas are to each other, and so what a handshake comes to.
enum Row {
    Equal,
    Ahead { side: Side, full: bool },
    Split { base: bool },
    Unrelated,
}

fn row(a: &Volume, b: &Volume) -> Row {
    let unset = GenerationUuid::UNSET;
    let current = |volume: &Volume| volume.superblock.current.masked();
    let bitmap = |volume: &Volume| volume.bitmap_uuid().masked();
    let past = |volume: &Volume| -> BTreeSet<u64> {
        let all = volume.superblock.history.iter().map(|uuid| uuid.masked());
        all.filter(|uuid| *uuid != unset).map(|uuid| uuid.0).collect()
    };
    if current(a) == current(b) {
        Row::Equal
    } else if bitmap(a) == current(b) {
        Row::Ahead { side: Side::A, full: false }
    } else if bitmap(b) == current(a) {
        Row::Ahead { side: Side::B, full: false }
    } else if past(a).contains(&current(b).0) {
        Row::Ahead { side: Side::A, full: true }
    } else if past(b).contains(&current(a).0) {
        Row::Ahead { side: Side::B, full: true }
    } else if bitmap(a) != unset && bitmap(a) == bitmap(b) {
        Row::Split { base: true }
    } else {
        let (mut of_a, mut of_b) = (past(a), past(b));
        of_a.insert(bitmap(a).0);
        of_b.insert(bitmap(b).0);
        if of_a.intersection(&of_b).any(|uuid| *uuid != 0) {
            Row::Split { base: false }
        } else {
            Row::Unrelated
        }
    }
}

impl State {
    fn note(&mut self, words: impl Into<String>) {
        let line = format!("{:>4} {}", self.tick, words.into());
        self.log.push(line);
    }

    fn alone(&mut self, side: Side) {
        let v84 = self.generation == Generation::V84;
        let host = &mut self.hosts[side];
        host.connection = ConnectionState::StandAlone;
        host.volumes.iter_mut().for_each(|volume| volume.replication = ReplicationState::Off);
        if v84 {
            host.discard = false;
        }
    }

    /// The other end notices that it is alone, and waits.
    fn wait_again(&mut self, side: Side) {
        let host = &mut self.hosts[side];
        if host.connection == ConnectionState::Connected {
            host.connection = ConnectionState::Connecting;
            host.volumes.iter_mut().for_each(|volume| volume.replication = ReplicationState::Off);
        }
    }

    fn handshake(&mut self) {
        let both = |state: ConnectionState, hosts: &Pair<Host>| {
            Side::BOTH.into_iter().all(|side| hosts[side].up && hosts[side].connection == state)
        };
        if !self.link || !both(ConnectionState::Connecting, &self.hosts) {
            return;
        }
        if self.handshakes_that_break > 0 && self.rng.one_in(2) {
            self.handshakes_that_break -= 1;
            self.note("the link breaks in the handshake");
            self.hosts.a.discard = false;
            self.hosts.b.discard = false;
            return;
        }
        if self.hosts.a.policies != self.hosts.b.policies {
            self.note("incompatible after-sb settings");
            return Side::BOTH.into_iter().for_each(|side| self.alone(side));
        }
        let mut sources = Vec::new();
        for number in 0..self.hosts.a.volumes.len() {
            let (a, b) = (&self.hosts.a.volumes[number], &self.hosts.b.volumes[number]);
            let found = row(a, b);
            let by_disk = match (a.state, b.state) {
                (DiskState::Inconsistent, DiskState::UpToDate) => Some(Side::B),
                (DiskState::UpToDate, DiskState::Inconsistent) => Some(Side::A),
                _ => None,
            };
            let nine = self.generation == Generation::V9;
            let decided = match (by_disk, found) {
                (_, Row::Unrelated) => Err("Unrelated data"),
                (Some(source), Row::Split { base: false }) => Ok(Some((source, true))),
                (Some(source), Row::Ahead { full, .. }) => Ok(Some((source, full))),
                (Some(source), _) => Ok(Some((source, false))),
                (None, Row::Equal) => Ok(None),
                // 9 turns an ordinary resync round when the newer side gives up its data; 8.4 does not.
                (None, Row::Ahead { side, full }) => {
                    let gives_up = nine && self.hosts[side].discard && !self.hosts[side.other()].discard;
                    Ok(Some((if gives_up { side.other() } else { side }, full)))
                }
                (None, Row::Split { base }) => match (self.hosts.a.discard, self.hosts.b.discard) {
                    (true, false) => Ok(Some((Side::B, nine && !base))),
                    (false, true) => Ok(Some((Side::A, nine && !base))),
                    _ => Err("Split-Brain detected but unresolved"),
                },
            };
            let target_is_primary =
                matches!(decided, Ok(Some((source, _))) if self.hosts[source.other()].role == Role::Primary);
            match decided {
                Ok(_) if target_is_primary => {
                    self.note("I shall become SyncTarget, but I am primary!");
                    return Side::BOTH.into_iter().for_each(|side| self.alone(side));
                }
                Ok(source) => sources.push(source),
                Err(why) => {
                    self.note(why);
                    return Side::BOTH.into_iter().for_each(|side| self.alone(side));
                }
            }
        }
        if self.hosts.a.role == Role::Primary && self.hosts.b.role == Role::Primary {
            self.note("two primaries refused");
            return Side::BOTH.into_iter().for_each(|side| self.alone(side));
        }
        self.note(format!("handshake: sources {sources:?}"));
        for side in Side::BOTH {
            self.hosts[side].connection = ConnectionState::Connected;
            self.hosts[side].discard = false;
        }
        for (number, source) in sources.into_iter().enumerate() {
            match source {
                None => {
                    for side in Side::BOTH {
                        self.hosts[side].volumes[number].replication = ReplicationState::Established;
                    }
                }
                Some((source, full)) => self.begin_resync(number, source, full),
            }
        }
        self.hosts.a.persist();
        self.hosts.b.persist();
    }

    fn begin_resync(&mut self, number: usize, source: Side, full: bool) {
        let target = source.other();
        if target == self.survivor {
            self.broken.push(format!("volume {number}: the survivor is overwritten"));
        }
        let blocks = self.hosts[source].volumes[number].blocks();
        let union: BTreeSet<u64> = if full {
            (0..blocks).collect()
        } else {
            let bits = |side: Side| self.hosts[side].volumes[number].bits.iter().copied();
            bits(Side::A).chain(bits(Side::B)).collect()
        };
        let sync = uuid(&mut self.rng);
        {
            let from = &mut self.hosts[source].volumes[number];
            from.push_history(from.bitmap_uuid());
            from.set_bitmap_uuid(sync);
            from.bits.clone_from(&union);
            from.replication = ReplicationState::SyncSource;
        }
        let to = &mut self.hosts[target].volumes[number];
        to.superblock.current = sync;
        to.set_bitmap_uuid(GenerationUuid::UNSET);
        to.bits = union;
        to.state = DiskState::Inconsistent;
        to.replication = ReplicationState::SyncTarget;
    }

    fn copy(&mut self, number: usize, source: Side, block: u64, store: &Arc<FakeStore>) {
        let new = self.hosts[source].volumes[number].block(block);
        self.overwrite(number, source.other(), block, &new, store);
    }

    /// A block of a node is overwritten with what its peer holds: if it held something of its own, that must have been kept.
    fn overwrite(&mut self, number: usize, target: Side, block: u64, new: &[u8], store: &Arc<FakeStore>) {
        let volume = &mut self.hosts[target].volumes[number];
        let old = volume.block(block);
        volume.put(block, new);
        volume.truth[at(block * BLOCK)..at((block + 1) * BLOCK)].copy_from_slice(new);
        if old == new {
            return;
        }
        self.overwritten += 1;
        let precious = self.undoing || self.hosts[target].volumes[number].own.contains(&block);
        if precious && !is_kept(&store.certain(), number, block, &old) {
            let words =
                format!("volume {number}: block {block} of {target} was overwritten and is in no salvage");
            self.note(words.clone());
            self.broken.push(words);
        }
        self.hosts[target].volumes[number].own.remove(&block);
    }

    fn resync(&mut self, store: &Arc<FakeStore>) {
        if self.hosts.a.connection != ConnectionState::Connected {
            return;
        }
        for number in 0..self.hosts.a.volumes.len() {
            let of = |side: Side| self.hosts[side].volumes[number].replication;
            let Some(source) = Side::BOTH.into_iter().find(|side| of(*side) == ReplicationState::SyncSource)
            else {
                continue;
            };
            let many = 1 + at(self.rng.below(24));
            let some: Vec<u64> = self.hosts[source].volumes[number].bits.iter().copied().take(many).collect();
            for block in some {
                self.copy(number, source, block, store);
                self.hosts.a.volumes[number].bits.remove(&block);
                self.hosts.b.volumes[number].bits.remove(&block);
            }
            if self.hosts[source].volumes[number].bits.is_empty() {
                self.note(format!("volume {number}: resync done"));
                let from = &mut self.hosts[source].volumes[number];
                let sync = from.bitmap_uuid();
                from.push_history(sync);
                from.set_bitmap_uuid(GenerationUuid::UNSET);
                from.replication = ReplicationState::Established;
                from.own.clear();
                let (current, history) = (from.superblock.current, from.superblock.history.clone());
                let to = &mut self.hosts[source.other()].volumes[number];
                to.superblock.current = current;
                to.superblock.history = history;
                to.state = DiskState::UpToDate;
                to.replication = ReplicationState::Established;
                to.own.clear();
            }
        }
        self.hosts.a.persist();
        self.hosts.b.persist();
    }

    /// A guest on a Primary writes a block.
    pub fn write(&mut self, side: Side, number: usize, block: u64, bytes: &[u8], store: &Arc<FakeStore>) {
        let connected = self.hosts[side].connection == ConnectionState::Connected;
        let mirrored = connected && self.hosts[side.other()].connection == ConnectionState::Connected;
        {
            let rng = &mut self.rng;
            let volume = &mut self.hosts[side].volumes[number];
            volume.put(block, bytes);
            volume.truth[at(block * BLOCK)..at((block + 1) * BLOCK)].copy_from_slice(bytes);
            volume.written += 8;
            if !mirrored {
                volume.bits.insert(block);
                volume.own.insert(block);
                let began = volume.begin_generation(rng);
                if side != self.survivor {
                    self.victim_wrote = true;
                } else if began {
                    self.survivor_moved = true;
                }
            }
        }
        if mirrored {
            self.overwrite(number, side.other(), block, bytes, store);
            let there = &mut self.hosts[side.other()].volumes[number];
            there.written += 8;
            there.bits.remove(&block);
            self.hosts[side].volumes[number].bits.remove(&block);
        }
        self.hosts[side].persist();
        self.hosts[side.other()].persist();
    }

    fn scribble(&mut self, side: Side, many: u64, store: &Arc<FakeStore>) {
        for _ in 0..many {
            let number = at(self.rng.below(self.hosts[side].volumes.len() as u64));
            let block = self.rng.below(self.hosts[side].volumes[number].blocks());
            let mut bytes = self.hosts[side].volumes[number].block(block);
            self.rng.fill(&mut bytes[..64]);
            self.write(side, number, block, &bytes, store);
        }
    }

    fn promote(&mut self, side: Side) -> Result<(), &'static str> {
        let peer = &self.hosts[side.other()];
        let connected = self.hosts[side].connection == ConnectionState::Connected;
        if connected && peer.role == Role::Primary {
            return Err("(-1) Multiple primaries not allowed by config");
        }
        if self.hosts[side].volumes.iter().any(|volume| volume.state != DiskState::UpToDate) {
            return Err("(-2) Need access to UpToDate data");
        }
        let host = &mut self.hosts[side];
        host.role = Role::Primary;
        if self.generation == Generation::V9 {
            host.discard = false;
        } else if !connected {
            // 8.4 begins a generation with the promotion.
            let mut moved = false;
            for volume in &mut host.volumes {
                moved |= volume.begin_generation(&mut self.rng);
            }
            if moved && side == self.survivor {
                self.survivor_moved = true;
            } else if moved {
                self.victim_wrote = true;
            }
        }
        self.hosts[side].persist();
        Ok(())
    }

    fn meddle(&mut self, what: Meddling, store: &Arc<FakeStore>) {
        self.note(format!("meddling: {what:?}"));
        match what {
            Meddling::Link(link) => {
                self.link = link;
                if !link {
                    Side::BOTH.into_iter().for_each(|side| self.wait_again(side));
                }
            }
            Meddling::Promote(side) => {
                if self.hosts[side].up && self.promote(side).is_ok() {
                    self.scribble(side, 3, store);
                }
            }
            Meddling::Demote(side) => {
                self.hosts[side].role = Role::Secondary;
                self.hosts[side].held = false;
                self.hosts[side].persist();
            }
            Meddling::Adjust(side) => {
                if self.hosts[side].up && self.hosts[side].connection == ConnectionState::StandAlone {
                    let host = &mut self.hosts[side];
                    host.connection = ConnectionState::Connecting;
                    host.policies = host.configured;
                }
            }
            Meddling::Disconnect(side) => {
                if self.hosts[side].up {
                    self.alone(side);
                    self.wait_again(side.other());
                }
            }
            Meddling::Reboot(side) => {
                self.alone(side);
                self.wait_again(side.other());
                let host = &mut self.hosts[side];
                (host.up, host.role, host.discard, host.held) = (false, Role::Secondary, false, false);
                host.boot += 1;
                host.volumes.iter_mut().for_each(|volume| volume.written = 0);
                host.persist();
            }
            Meddling::Up(side) => {
                let host = &mut self.hosts[side];
                if !host.up {
                    host.up = true;
                    host.connection = ConnectionState::Connecting;
                    host.policies = host.configured;
                }
            }
            Meddling::Deaf(side, until) => self.hosts[side].deaf_until = self.tick + until,
            Meddling::Hold(side) => self.hosts[side].held = self.hosts[side].role == Role::Primary,
            Meddling::Release(side) => self.hosts[side].held = false,
        }
    }

    /// Time passes.
    fn pass(&mut self, store: &Arc<FakeStore>) {
        self.tick += 1;
        let now = self.tick;
        let (due, later) = std::mem::take(&mut self.meddling).into_iter().partition(|(tick, _)| *tick <= now);
        self.meddling = later;
        let due: Vec<(u64, Meddling)> = due;
        for (_, what) in due {
            self.meddle(what, store);
        }
        self.resync(store);
        self.handshake();
        let survivor = self.survivor;
        if self.busy && self.hosts[survivor].role == Role::Primary && self.rng.one_in(5) {
            self.scribble(survivor, 1, store);
        }
    }

    fn act(&mut self, side: Side, act: &NodeAct) -> End {
        let no = |why: &str| End::NotDone(Why(why.to_owned()));
        if !self.hosts[side].up {
            return no("r0 is not up on this node");
        }
        match act {
            NodeAct::Disconnect(_) => {
                if self.hosts[side].connection == ConnectionState::StandAlone {
                    return End::AlreadySo;
                }
                self.alone(side);
                self.wait_again(side.other());
                End::Done
            }
            NodeAct::Demote { .. } => {
                if self.hosts[side].role == Role::Secondary {
                    return End::AlreadySo;
                }
                if self.hosts[side].held {
                    return no("State change failed: (-12) Device is held open by someone");
                }
                self.hosts[side].role = Role::Secondary;
                self.hosts[side].persist();
                End::Done
            }
            NodeAct::Connect { how, .. } => {
                if self.hosts[side].connection == ConnectionState::Connected {
                    return no("r0 is connected already");
                }
                if *how == ConnectAs::Victim && self.hosts[side].role == Role::Primary {
                    return no("(123) --discard-my-data not allowed when primary.");
                }
                self.alone(side);
                let host = &mut self.hosts[side];
                host.policies = AfterSb::DISCONNECT;
                host.discard |= *how == ConnectAs::Victim;
                host.connection = ConnectionState::Connecting;
                End::Done
            }
            NodeAct::RestorePolicies { to, .. } => {
                let v84 = self.generation == Generation::V84;
                let host = &mut self.hosts[side];
                if v84 && host.connection == ConnectionState::StandAlone {
                    return End::AlreadySo;
                }
                match to {
                    Some(to) => host.policies = *to,
                    None if v84 => host.policies = host.configured,
                    None => return no("which policies there were is not known"),
                }
                End::Done
            }
            NodeAct::Invalidate { volume, .. } => {
                let host = &mut self.hosts[side];
                if host.role == Role::Primary || host.connection != ConnectionState::StandAlone {
                    return no("(-5) refused");
                }
                let volume = &mut host.volumes[*volume as usize];
                volume.bits = (0..volume.blocks()).collect();
                volume.state = DiskState::Inconsistent;
                host.persist();
                End::Done
            }
            NodeAct::Promote { .. } => {
                if self.hosts[side].role == Role::Primary {
                    return End::AlreadySo;
                }
                if !self.undoing {
                    self.broken.push("a healing promoted a node".to_owned());
                }
                self.promote(side).map_or_else(no, |()| End::Done)
            }
        }
    }

    fn told(&self, side: Side) -> Resource {
        let host = &self.hosts[side];
        let v84 = self.generation == Generation::V84;
        let mut resource = Resource { name: "r0".to_owned(), ..Resource::default() };
        resource.info.role = Some(host.role);
        let id = |side: Side| u32::from(side == Side::B);
        if !v84 {
            resource.options =
                Some(ResourceOptions { node_id: Some(id(side)), ..ResourceOptions::default() });
        }
        for (number, volume) in (0..).zip(&host.volumes) {
            let mut device = Device { volume: number, minor: Some(number), ..Device::default() };
            device.info.disk = Some(volume.state);
            device.statistics.written = Some(volume.written);
            device.statistics.current = Some(volume.superblock.current);
            device.disk_options = Some(DiskOptions {
                backing_device: Some(format!("/dev/{side}{number}")),
                meta_index: Some(MetaIndex::Internal),
                ..DiskOptions::default()
            });
            resource.devices.push(device);
        }
        if v84 && host.connection == ConnectionState::StandAlone {
            return resource;
        }
        let peer = &self.hosts[side.other()];
        let connected = host.connection == ConnectionState::Connected;
        let mut connection =
            Connection { peer_node_id: (!v84).then_some(id(side.other())), ..Connection::default() };
        connection.info.state = Some(host.connection);
        connection.info.peer_role = Some(if connected { peer.role } else { Role::Unknown });
        connection.options = Some(NetOptions {
            after_sb_0pri: Some(host.policies.zero),
            after_sb_1pri: Some(host.policies.one),
            after_sb_2pri: Some(host.policies.two),
            ..NetOptions::default()
        });
        for (number, volume) in (0..).zip(&host.volumes) {
            let mut there = PeerDevice { volume: number, ..PeerDevice::default() };
            there.info.replication = Some(volume.replication);
            let disk = if connected { peer.volumes[number as usize].state } else { DiskState::Unknown };
            there.info.disk = Some(disk);
            there.statistics.out_of_sync = Some(volume.bits.len() as u64 * 8);
            connection.peer_devices.push(there);
        }
        resource.connections.push(connection);
        resource
    }
}

/// Whether any salvage of that volume holds a block so.
fn is_kept(store: &FakeStore, number: usize, block: u64, bytes: &[u8]) -> bool {
    let suffix = format!("-v{number}");
    let folders: BTreeSet<String> = store
        .paths()
        .iter()
        .filter_map(|path| path.strip_prefix("salvage/")?.split_once('/'))
        .map(|(folder, _)| folder.to_owned())
        .filter(|folder| folder.ends_with(&suffix))
        .collect();
    folders.into_iter().any(|folder| {
        let dir = salvage::dir_of(&IncidentId::new(&folder).unwrap());
        let Ok(reader) = salvage::reader(store, &dir, PartKind::VictimData) else { return false };
        let wanted: ExtentSet = [Extent { start: block * BLOCK, len: BLOCK }].into_iter().collect();
        let mut read = vec![0; bytes.len()];
        wanted.subtract(reader.kept()).is_empty()
            && reader.read_at(block * BLOCK, &mut read).is_ok()
            && read == bytes
    })
}

impl Cluster {
    /// Two nodes that came apart.
    pub fn new(shape: &Shape) -> Arc<Cluster> {
        let mut rng = Rng::new(shape.seed ^ 0xC1A5);
        let faults = Arc::new(Faults::none());
        let store = Arc::new(FakeStore::new(64 << 20, Arc::clone(&faults)));
        let format =
            if shape.generation == Generation::V84 { MetadataFormat::V08 } else { MetadataFormat::V09 };
        let host = |side: Side| Host {
            up: true,
            boot: 1,
            role: Role::Secondary,
            held: false,
            connection: ConnectionState::StandAlone,
            discard: false,
            policies: AfterSb::DISCONNECT,
            configured: AfterSb::DISCONNECT,
            volumes: (0..shape.volumes.len()).map(|n| Volume::blank(format, side, n, &faults)).collect(),
            deaf_until: 0,
        };
        let mut hosts = Pair::from_fn(host);
        for (number, apart) in shape.volumes.iter().enumerate() {
            let (base, past) = (uuid(&mut rng), uuid(&mut rng));
            let mut common = vec![0; at(hosts.a.volumes[number].size)];
            rng.fill(&mut common);
            for side in Side::BOTH {
                let volume = &mut hosts[side].volumes[number];
                volume.disk.meddle(0, &common);
                volume.truth.clone_from(&common);
                volume.superblock.current = base;
                volume.superblock.history[0] = past;
            }
            let survivor = shape.survivor;
            let writers: &[Side] = match apart {
                Apart::Diverged | Apart::History => &Side::BOTH,
                Apart::SurvivorAhead => &[survivor],
                Apart::VictimAhead => &[survivor.other()],
                Apart::Equal => &[],
            };
            for side in writers {
                let volume = &mut hosts[*side].volumes[number];
                volume.begin_generation(&mut rng);
                for _ in 0..=rng.below(8) {
                    let block = rng.below(volume.blocks());
                    let mut bytes = volume.block(block);
                    rng.fill(&mut bytes);
                    volume.put(block, &bytes);
                    volume.truth[at(block * BLOCK)..at((block + 1) * BLOCK)].copy_from_slice(&bytes);
                    volume.bits.insert(block);
                    volume.own.insert(block);
                }
            }
            if *apart == Apart::History {
                // One side began its bitmap anew: what it marked before is known to nobody.
                let volume = &mut hosts.a.volumes[number];
                volume.push_history(base);
                let new = uuid(&mut rng);
                volume.set_bitmap_uuid(new);
                volume.bits.clear();
            }
        }
        if shape.survivor_primary {
            hosts[shape.survivor].role = Role::Primary;
        }
        if shape.victim_primary {
            hosts[shape.survivor.other()].role = Role::Primary;
        }
        for side in Side::BOTH {
            let number = |rng: &mut Rng| rng.below(1000) * 8;
            hosts[side].volumes.iter_mut().for_each(|volume| volume.written = number(&mut rng));
            hosts[side].persist();
        }
        let state = State {
            generation: shape.generation,
            hosts,
            link: true,
            tick: 0,
            rng,
            survivor: shape.survivor,
            busy: shape.busy,
            meddling: Vec::new(),
            log: Vec::new(),
            broken: Vec::new(),
            undoing: false,
            victim_wrote: false,
            survivor_moved: false,
            overwritten: 0,
            handshakes_that_break: 0,
        };
        let names = Pair::new(NodeName::new("node1").unwrap(), NodeName::new("node2").unwrap());
        Arc::new(Cluster { state: Mutex::new(state), store, faults, names })
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Time passes.
    pub fn pass(&self) {
        self.lock().pass(&self.store);
    }

    /// Somebody does something now.
    pub fn meddle(&self, what: Meddling) {
        self.lock().meddle(what, &self.store);
    }

    /// All that went wrong is over: the link is there, both nodes are up, nobody uses the victim.
    pub fn calm(&self) {
        let mut state = self.lock();
        state.meddling.clear();
        state.handshakes_that_break = 0;
        state.link = true;
        let victim = state.survivor.other();
        for side in Side::BOTH {
            state.hosts[side].deaf_until = 0;
            state.meddle(Meddling::Up(side), &self.store);
        }
        state.meddle(Meddling::Demote(victim), &self.store);
    }
}
