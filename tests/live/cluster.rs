//! Two nodes in memory that do what real kernels did (8.4.11 and 9.3.3 in the lab): roles, connections, the discard word and
//! how long it lives, policies that differ, resyncs that copy real bytes between disks with real metadata. Everything happens
//! in ticks: one for each act, each wait, and each opened replica, so that a seed always tells the same story.

use crate::world::disk::FakeDisk;
use crate::world::faults::Faults;
use crate::world::image::{Layout, Metadata};
use crate::world::rng::Rng;
use crate::world::store::FakeStore;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};
use unsplit::edge::drbd::offline::{Claimant, OfflineReplica};
use unsplit::engine::salvage;
use unsplit::model::drbd::{GenerationUuid, MetadataFormat, device_flag as flag};
use unsplit::model::drbd_live::Generation;
use unsplit::model::drbd_live::object::{DiskOptions, NetOptions, ResourceOptions};
use unsplit::model::drbd_live::tree::{Connection, Device, Live, PeerDevice, Resource};
use unsplit::model::drbd_live::words::{
    AfterSplitBrain, ConnectionState, DiskState, MetaIndex, ReplicationState, Role,
};
use unsplit::model::evidence::MetadataPlace;
use unsplit::model::extent::{Extent, ExtentSet};
use unsplit::model::id::{IncidentId, NodeName};
use unsplit::model::node::{
    AfterSb, Configured, ConfiguredOption, ConnectAs, DeviceUser, DrbdSeen, LogLine, NodeAct, NodeReport,
    NodeState, Toward,
};
use unsplit::model::salvage::PartKind;
use unsplit::model::seen::{End, Stamp, Why};
use unsplit::model::side::{Pair, Side};
use unsplit::ports::disk::{Disk, DiskFault, DiskMut};
use unsplit::ports::node::{Backing, Node, Operated};
use unsplit::ports::replica::{Replica, Unseen};
use unsplit::proof::quiesced::Hold;
use unsplit::proof::{FencedPeer, Permit, Preserved, Standstill};

use crate::world::faults::Op;

mod many;
mod node;
mod state;

pub use many::Nodes;
pub use node::FakeNode;

pub const BLOCK: u64 = 4096;

/// What the configuration files say: policies that are not what a healing sets.
pub const CONFIGURED: AfterSb = AfterSb {
    zero: AfterSplitBrain::DiscardZeroChanges,
    one: AfterSplitBrain::Consensus,
    two: AfterSplitBrain::Disconnect,
};

/// One volume on one node.
pub struct Volume {
    pub disk: Arc<FakeDisk>,
    pub size: u64,
    pub metadata: Metadata,
    pub bits: BTreeSet<u64>,
    /// The bits as they are on disk.
    flushed: BTreeSet<u64>,
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
    pub machine: String,
    /// So many bytes more than its volumes had, as its kernel tells.
    pub grown: u64,
    /// What its `before-resync-target` handler ends with.
    pub refuses: u32,
    /// For volumes from this one on.
    pub refuses_from: usize,
    /// Its kernel tells neither its boot id nor what was written.
    pub hides: bool,
    /// Who uses its devices cannot be found out.
    pub users_unknown: bool,
    /// Its kernel's log.
    pub kernel: Vec<String>,
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
    /// The handler ends so from now on.
    Refuse(Side, u32),
    /// So many times the link breaks after the bitmaps were exchanged, and is back at once.
    Break(u64),
    /// A guest writes again where it wrote before, and goes.
    Rewrite(Side),
    /// Promoted, and nobody writes.
    Raise(Side),
    /// Somebody lets DRBD overwrite the survivor. It takes so many ticks until the first block.
    Turn(u64),
    /// The same, and it is over at once.
    Overrun,
    /// Both volumes are made larger, as both kernels tell.
    Grow,
}

/// Which side each volume is resynced from, if it is, and whether wholly.
pub type Sources = Vec<Option<(Side, bool)>>;

/// A third node, of 9.
#[derive(Debug, Clone, Copy)]
pub struct Third {
    pub connected_to: Side,
    pub role: Role,
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
    /// Bitmaps are exchanged, and the link breaks.
    pub exchanges_that_break: u64,
    /// In so many ticks an exchange comes to nothing on that target; and what each volume's source would be.
    pub exchanging: Option<(u64, Side, Sources)>,
    /// A plan is being carried out; and what the survivor's guests wrote since: nobody promised to keep what stood there.
    pub running: bool,
    pub late: BTreeSet<(usize, u64)>,
    /// Volumes that came to be equal.
    pub joined: BTreeSet<usize>,
    pub third: Option<Third>,
    /// Both nodes may be Primary.
    pub dual: bool,
    /// What stood in blocks that were written through a device and not flushed since.
    pub unflushed: Vec<(Side, usize, u64, Vec<u8>)>,
    /// Ticks until a resync that somebody else turned round copies anything.
    pub held_back: u64,
    pub turned_by_others: bool,
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
        let (own, peer) = if side == Side::A { (0, 1) } else { (1, 0) };
        let mut metadata = Metadata::internal(format, SIZE).of_node(own, peer);
        metadata.told.device_uuid = 0xD0D0_0000 + number as u64 * 2 + side as u64;
        let size = metadata.size();
        let disk = FakeDisk::new(&format!("/dev/{side}{number}"), &vec![0; at(SIZE)], Arc::clone(faults));
        Volume {
            disk: Arc::new(disk),
            size,
            metadata,
            bits: BTreeSet::new(),
            flushed: BTreeSet::new(),
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

    fn push_history(&mut self, uuid: GenerationUuid) {
        if uuid != GenerationUuid::UNSET {
            self.metadata.told.history.insert(0, uuid);
            self.metadata.told.history.pop();
        }
    }

    /// Bumps the generation, as the first write of a Primary that is alone does.
    fn begin_generation(&mut self, rng: &mut Rng) -> bool {
        if self.metadata.bitmap_uuid() != GenerationUuid::UNSET {
            return false;
        }
        self.metadata.set_bitmap_uuid(self.metadata.told.current.masked());
        self.metadata.told.current = uuid(rng);
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

    /// Writes the metadata as the kernel keeps it: a Primary that is alone marks in memory what it writes, and on disk only, in the
    /// activity log, that it may have; the bits follow when it gives the role up, or connects.
    fn persist(&mut self, role: Role, alone: bool) {
        let primary = role == Role::Primary;
        let lags = primary && alone;
        if !lags {
            self.flushed.clone_from(&self.bits);
        }
        let superblock = &mut self.metadata.told;
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
        self.metadata.clear_marks();
        self.flushed.iter().for_each(|block| self.metadata.mark(0, *block));
        // One extent is more than the whole volume.
        self.metadata.log = if lags { vec![(0, 0)] } else { Vec::new() };
        let Layout { bitmap, bitmap_end, .. } = self.metadata.layout;
        self.disk.meddle(at(bitmap), &vec![0; at(bitmap_end - bitmap)]);
        self.metadata.parts().iter().for_each(|(start, bytes)| self.disk.meddle(at(*start), bytes));
    }
}

impl Host {
    fn persist(&mut self) {
        let (role, alone) = (self.role, self.connection != ConnectionState::Connected);
        self.volumes.iter_mut().for_each(|volume| volume.persist(role, alone));
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
    let current = |volume: &Volume| volume.metadata.told.current.masked();
    let bitmap = |volume: &Volume| volume.metadata.bitmap_uuid().masked();
    let past = |volume: &Volume| -> BTreeSet<u64> {
        let all = volume.metadata.told.history.iter().map(|uuid| uuid.masked());
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
            policies: CONFIGURED,
            configured: CONFIGURED,
            volumes: (0..shape.volumes.len()).map(|n| Volume::blank(format, side, n, &faults)).collect(),
            deaf_until: 0,
            machine: format!("machine-{side}"),
            grown: 0,
            refuses: 0,
            refuses_from: 0,
            hides: false,
            users_unknown: false,
            kernel: Vec::new(),
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
                volume.metadata.told.current = base;
                volume.metadata.told.history[0] = past;
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
                volume.metadata.set_bitmap_uuid(new);
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
            exchanges_that_break: 0,
            exchanging: None,
            running: false,
            late: BTreeSet::new(),
            joined: BTreeSet::new(),
            third: None,
            dual: false,
            unflushed: Vec::new(),
            held_back: 0,
            turned_by_others: false,
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

    /// A volume more on both nodes, equal.
    pub fn add_volume(&self) {
        let mut state = self.lock();
        let format = state.hosts.a.volumes[0].metadata.told.format;
        let base = uuid(&mut state.rng);
        for side in Side::BOTH {
            let host = &mut state.hosts[side];
            let mut volume = Volume::blank(format, side, host.volumes.len(), &self.faults);
            volume.metadata.told.current = base;
            host.volumes.push(volume);
            host.persist();
        }
    }

    /// A node's metadata, written as its kernel keeps it.
    pub fn persist(&self, state: &mut State, side: Side) {
        state.hosts[side].persist();
    }

    /// The power goes on both nodes: what was not flushed is lost.
    pub fn lose_unflushed(&self) {
        let mut state = self.lock();
        for (side, number, block, old) in std::mem::take(&mut state.unflushed).into_iter().rev() {
            state.hosts[side].volumes[number].put(block, &old);
        }
    }

    /// All that went wrong is over: the link is there, both nodes are up, nobody uses the victim.
    pub fn calm(&self) {
        let mut state = self.lock();
        state.meddling.clear();
        (state.handshakes_that_break, state.exchanges_that_break) = (0, 0);
        state.link = true;
        let victim = state.survivor.other();
        for side in Side::BOTH {
            state.hosts[side].deaf_until = 0;
            state.hosts[side].refuses = 0;
            state.meddle(Meddling::Up(side), &self.store);
        }
        state.meddle(Meddling::Demote(victim), &self.store);
    }
}
