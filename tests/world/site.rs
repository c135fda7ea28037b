//! A whole machine in memory: both sides' devices and a state directory below one schedule of faults, and the
//! commands `plan`, `resolve --plan` and `undo` as the command line runs them.

use super::FakeClock;
use super::disk::FakeDisk;
use super::faults::{Fault, Faults, Op};
use super::pair::Images;
use super::promises::{Device, Promises};
use super::rng::Rng;
use super::store::FakeStore;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use unsplit::edge::drbd::offline::{Claimant, OfflineReplica};
use unsplit::edge::layout::read_layout_within;
use unsplit::engine::images::undo::plan_undo;
use unsplit::engine::images::{Context, Work};
use unsplit::engine::incident::{Ending, begin, resume};
use unsplit::engine::inquiry::{diff, look};
use unsplit::engine::journal::Journal;
use unsplit::engine::plans;
use unsplit::engine::undone::healing_of;
use unsplit::engine::undone::{end_what_was_undone, undone_by};
use unsplit::judge::audit::{SealedPlan, Seen};
use unsplit::judge::incident::{Incident, IncidentState};
use unsplit::judge::planner::images::{Inputs, draw};
use unsplit::judge::policy::{Case, Clues, DeltaSummary, decide};
use unsplit::judge::units::{attribute, losses};
use unsplit::model::evidence::MetadataPlace;
use unsplit::model::id::{IncidentId, NodeName, PlanId, ResourceName};
use unsplit::model::plan::Purpose;
use unsplit::model::policy::Settings;
use unsplit::model::record::{Consent, Outcome};
use unsplit::model::seen::in_words;
use unsplit::model::side::{Pair, Side};
use unsplit::model::verdict::Verdict;
use unsplit::ports::disk::DiskMut;
use unsplit::ports::progress::Silent;
use unsplit::ports::replica::{Replica, Unseen, WritableReplica};
use unsplit::proof::OperatorSaidNoSalvage;
use unsplit::proof::quiesced::Hold;

/// One side's devices.
pub struct Devices {
    /// The data device.
    pub data: Arc<FakeDisk>,
    /// The metadata device, when external.
    pub metadata: Option<Arc<FakeDisk>>,
}

impl Devices {
    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = (Device, &Arc<FakeDisk>)> {
        [(Device::Data, Some(&self.data)), (Device::Metadata, self.metadata.as_ref())]
            .into_iter()
            .filter_map(|(device, disk)| Some((device, disk?)))
    }

    /// The device that holds the metadata.
    pub fn of_metadata(&self) -> &Arc<FakeDisk> {
        self.metadata.as_ref().unwrap_or(&self.data)
    }
}

/// The machine.
pub struct Site {
    /// How everything was when the split was found.
    pub images: Arc<Images>,
    /// Both sides' devices.
    pub devices: Pair<Devices>,
    /// The state directory.
    pub store: Arc<FakeStore>,
    /// The time.
    pub clock: Arc<FakeClock>,
    /// What goes wrong.
    pub faults: Arc<Faults>,
    /// What must never happen.
    pub promises: Arc<Promises>,
    /// Whether the devices are somebody else's, too.
    pub shared: Arc<AtomicBool>,
    /// What somebody else wrote and nobody has put back.
    pub foreign: Arc<Mutex<Vec<Foreign>>>,
    /// After how many checks from now the next hold on a side is lost; 0: never.
    pub holds_last: Arc<AtomicU64>,
}

/// One byte of a side's data that somebody else wrote while a command ran.
#[derive(Debug, Clone)]
pub struct Foreign {
    /// Whose.
    pub side: Side,
    /// Where.
    pub at: usize,
    /// What stood there.
    pub was: u8,
    /// What stands there now.
    pub is: u8,
    /// The word of the step under way.
    pub step: String,
}

/// Why a command ended without an ending: an error and its causes in words.
pub type Refused = String;

impl Site {
    /// The images on disks, durable; an empty state directory.
    pub fn new(images: Images, survivor: Side) -> Site {
        let images = Arc::new(images);
        let faults = Arc::new(Faults::none());
        let store = Arc::new(FakeStore::new(64 << 20, Arc::clone(&faults)));
        let promises = Arc::new(Promises::new(Arc::clone(&images), Arc::clone(&store), survivor));
        let devices = Pair::from_fn(|side| {
            let volume = &images.sides[side];
            let disk = |device: Device, bytes: &[u8]| {
                let disk = FakeDisk::new(&format!("/dev/{side}-{device:?}"), bytes, Arc::clone(&faults));
                let promises = Arc::clone(&promises);
                disk.watch(Box::new(move |offset, len| promises.hold_before(side, device, offset, len)));
                Arc::new(disk)
            };
            Devices {
                data: disk(Device::Data, &volume.data),
                metadata: volume.metadata.as_ref().map(|bytes| disk(Device::Metadata, bytes)),
            }
        });
        let clock = Arc::new(FakeClock::new());
        let site = Site {
            images,
            devices,
            store,
            clock,
            faults,
            promises,
            shared: Arc::default(),
            foreign: Arc::default(),
            holds_last: Arc::default(),
        };
        site.listen();
        site
    }

    /// What others do when the schedule says so.
    fn listen(&self) {
        // The disks and the promises hold the schedule themselves.
        let data = self.devices.as_ref().map(|devices| Arc::downgrade(&devices.data));
        let (promises, images) = (Arc::downgrade(&self.promises), Arc::clone(&self.images));
        let (shared, foreign) = (Arc::clone(&self.shared), Arc::clone(&self.foreign));
        let chance = Mutex::new(Rng::new(self.images.spec.seed ^ 0xF0E1));
        self.faults.tell(Box::new(move |fault, op, words| {
            let (Some(promises), Some(a), Some(b)) = (promises.upgrade(), data.a.upgrade(), data.b.upgrade())
            else {
                return;
            };
            let data = Pair::new(a, b);
            match (fault, op) {
                (Fault::Claim, _) => {
                    shared.store(true, Ordering::Relaxed);
                    promises.claim_lost();
                }
                (Fault::Foreign, _) => {
                    let mut chance = chance.lock().unwrap();
                    let side = if chance.one_in(2) { Side::A } else { Side::B };
                    let at = usize::try_from(chance.below(images.size)).unwrap();
                    let (was, durable) = (data[side].content()[at], data[side].certain()[at]);
                    // A cache that holds something else: that byte could not be put back as it was.
                    if was != durable {
                        return;
                    }
                    // A byte that stood there on neither side.
                    let known = Pair::from_fn(|side| (images.sides[side].data[at], data[side].content()[at]));
                    let is_known =
                        |byte: &u8| known.iter().any(|(_, (then, now))| byte == then || byte == now);
                    let any = u8::try_from(chance.below(256)).unwrap();
                    let is =
                        (0..=255).map(|more| any.wrapping_add(more)).find(|byte| !is_known(byte)).unwrap();
                    let step = promises.step_under_way().map_or_else(String::new, |(_, word)| word);
                    data[side].meddle(at, &[is]);
                    foreign.lock().unwrap().push(Foreign { side, at, was, is, step });
                }
                (Fault::Bad, Op::Read) if words.contains("-Data") => promises.read_fails(),
                _ => {}
            }
        }));
    }

    /// The power goes and comes back.
    pub fn power_cut(&self, seed: u64) {
        let mut rng = Rng::new(seed);
        for (_, side) in self.devices.iter() {
            side.all().for_each(|(_, disk)| disk.power_cut(&mut rng));
        }
        self.store.power_cut(&mut rng);
        self.faults.reboot();
    }

    /// Opens both sides, as every command does anew.
    pub fn open(&self) -> Result<Pair<OfflineReplica>, Refused> {
        Pair::from_fn(|side| {
            let devices = &self.devices[side];
            let name = NodeName::new(if side == Side::A { "node1" } else { "node2" }).unwrap();
            let data = Arc::clone(&devices.data) as Arc<dyn DiskMut>;
            let metadata = devices.metadata.as_ref().map(|disk| Arc::clone(disk) as Arc<dyn DiskMut>);
            let place = metadata.is_some().then_some(MetadataPlace::FlexibleExternal);
            let claimant = Box::new(Claims {
                last: Arc::clone(&self.holds_last),
                shared: Arc::clone(&self.shared),
                promises: Arc::clone(&self.promises),
            });
            OfflineReplica::over(name, data, metadata, place, None, claimant)
                .map_err(|error| in_words(&error))
        })
        .transpose()
    }

    /// `unsplit plan --keep SIDE`, short of keeping the plan.
    pub fn plan(&self, survivor: Side, full: bool) -> Result<SealedPlan, Refused> {
        self.plan_of(survivor, full, true)
    }

    /// The same with `--no-salvage`.
    pub fn plan_without_salvage(&self, survivor: Side) -> Result<SealedPlan, Refused> {
        self.plan_of(survivor, false, false)
    }

    fn plan_of(&self, survivor: Side, full: bool, salvage: bool) -> Result<SealedPlan, Refused> {
        let sides = self.open()?;
        let replicas = sides.as_ref().map(|side| side as &dyn Replica);
        let settings = Settings::drbd_defaults();
        let sight = look(replicas, &settings, &*self.clock).map_err(|error| in_words(&error))?;
        let delta = diff(replicas, &sight, full, 1, &Silent).map_err(|error| in_words(&error))?;
        let layouts = Pair::from_fn(|side| read_layout_within(replicas[side].data(), delta.size));
        let case = Case {
            names: sight.evidence.as_ref().map(|seen| seen.name.clone()),
            lineages: sight.lineages.clone(),
            comparison: sight.comparison.clone(),
            delta: DeltaSummary::of(&delta),
            clues: Clues::default(),
            keep: Some(survivor),
        };
        let trace = match decide(&settings, &case) {
            Verdict::Heal { survivor: decided, trace, .. } if decided == survivor => trace,
            other => return Err(format!("not healed: {other:?}")),
        };
        let plan = draw(Inputs {
            resource: ResourceName::new("r0").unwrap(),
            evidence: &sight.evidence,
            superblocks: sight.superblocks.clone(),
            delta: &delta,
            survivor,
            salvage,
            full,
            losses: losses(&attribute(&delta, &layouts), survivor),
            trace,
        })
        .map_err(|error| in_words(&error))?;
        plans::seal_healing(plan, &[Seen::of_replicas(&sight.evidence, &delta)])
            .map_err(|error| in_words(&error))
    }

    /// Keeps a plan, as `unsplit plan` does at its end.
    pub fn keep(&self, sealed: &SealedPlan) -> Result<(), Refused> {
        plans::keep(&*self.store, sealed).map_err(|error| in_words(&error))
    }

    /// The journal, opened for writing.
    pub fn journal(&self) -> Result<Journal, Refused> {
        Journal::open(self.store.clone(), self.clock.clone()).map_err(|error| in_words(&error))
    }

    fn context<'w>(&'w self, sides: &'w Pair<OfflineReplica>) -> Context<'w> {
        Context {
            sides: sides.as_ref().map(|side| side as &dyn WritableReplica),
            store: &*self.store,
            clock: &*self.clock,
            progress: &Silent,
            threads: 1,
        }
    }

    /// `unsplit resolve --plan ID`: begins, or goes on where an earlier run ended.
    pub fn resolve(&self, plan: PlanId) -> Result<Ending, Refused> {
        self.promises.next_run();
        let journal = self.journal()?;
        let sealed = plans::load(&*self.store, plan).map_err(|error| in_words(&error))?;
        let before = journal.incidents().iter().rev().find(|incident| incident.plan == plan).cloned();
        let sides = self.open()?;
        let waived = OperatorSaidNoSalvage::from_flag(!sealed.plan().salvage, plan);
        match before {
            Some(incident) if !incident.is_closed() => {
                let work =
                    Work::new(self.context(&sides), &sealed, None).map_err(|error| in_words(&error))?;
                resume(&journal, &work, &incident.id, waived).map_err(|error| in_words(&error))
            }
            Some(Incident { state: IncidentState::Closed { outcome: Outcome::Healed }, id, .. })
                if undone_by(&*self.store, &journal.incidents(), &id)
                    .map_err(|error| in_words(&error))?
                    .is_none() =>
            {
                Ok(Ending::Finished(Outcome::Healed))
            }
            _ => {
                let id = new_id(&journal);
                let work =
                    Work::new(self.context(&sides), &sealed, None).map_err(|error| in_words(&error))?;
                begin(&journal, &work, &id, Consent::Operator, waived).map_err(|error| in_words(&error))
            }
        }
    }

    /// `unsplit undo`.
    pub fn undo(&self) -> Result<Ending, Refused> {
        self.promises.next_run();
        let journal = self.journal()?;
        end_what_was_undone(&journal, &*self.store).map_err(|error| in_words(&error))?;
        for incident in journal.incidents().to_vec() {
            let undo = plans::load(&*self.store, incident.plan).map_err(|error| in_words(&error))?;
            if let (false, Purpose::Undo { incident: healed }) = (incident.is_closed(), &undo.plan().purpose)
            {
                let healed = journal.incident(healed).expect("it was healed").plan;
                let healed = plans::load(&*self.store, healed).map_err(|error| in_words(&error))?;
                let sides = self.open()?;
                let work = Work::new(self.context(&sides), &undo, Some(&healed))
                    .map_err(|error| in_words(&error))?;
                return resume(&journal, &work, &incident.id, None).map_err(|error| in_words(&error));
            }
        }
        let (id, healed) = healing_of(&journal, &*self.store, None).map_err(|error| in_words(&error))?;
        let sides = self.open()?;
        let replicas = sides.as_ref().map(|side| side as &dyn Replica);
        let undo = plan_undo(healed.plan().images().ok_or("not of images")?, &id, replicas)
            .map_err(|error| in_words(&error))?;
        plans::keep(&*self.store, &undo).map_err(|error| in_words(&error))?;
        let incident = new_id(&journal);
        let work = Work::new(self.context(&sides), &undo, Some(&healed)).map_err(|error| in_words(&error))?;
        begin(&journal, &work, &incident, Consent::Operator, None).map_err(|error| in_words(&error))
    }
}

fn new_id(journal: &Journal) -> IncidentId {
    IncidentId::new(&format!("i{}", journal.incidents().len() + 1)).unwrap()
}

/// Holds that may be lost.
#[derive(Clone)]
struct Claims {
    last: Arc<AtomicU64>,
    shared: Arc<AtomicBool>,
    promises: Arc<Promises>,
}

impl Claimant for Claims {
    fn claim(&self) -> Result<Box<dyn Hold>, Unseen> {
        Ok(Box::new(self.clone()))
    }
}

impl Hold for Claims {
    fn still_ours(&self) -> Result<(), String> {
        let lost = || Err("somebody opened the device".to_owned());
        if self.shared.load(Ordering::Relaxed) {
            return lost();
        }
        match self.last.load(Ordering::Relaxed) {
            0 => Ok(()),
            1 => {
                self.last.store(0, Ordering::Relaxed);
                self.promises.claim_lost();
                lost()
            }
            more => {
                self.last.store(more - 1, Ordering::Relaxed);
                Ok(())
            }
        }
    }

    fn how(&self) -> &str {
        "in memory"
    }
}
