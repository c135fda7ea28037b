//! The third backend, two disks in memory, through the same loop and the same use cases: healed, cut off at every operation,
//! taken up, undone.

use crate::driver::{names, observe_to_undo};
use crate::world::disk::FakeDisk;
use crate::world::faults::{Fault, Faults};
use crate::world::rng::Rng;
use crate::world::store::FakeStore;
use std::sync::Arc;
use unsplit::digest::delta::{Question, delta};
use unsplit::edge::clock::SystemClock;
use unsplit::edge::memory::MemoryDisk;
use unsplit::engine::backend::Obstacle;
use unsplit::engine::incident::{Ending, begin, resume};
use unsplit::engine::journal::Journal;
use unsplit::engine::memory::basis::observe;
use unsplit::engine::memory::undo::plan_undo;
use unsplit::engine::memory::{Context, Work};
use unsplit::engine::plans;
use unsplit::engine::undone::healing_of;
use unsplit::judge::audit::{Looked, SealedPlan, Seen, seal};
use unsplit::judge::planner::memory::draw;
use unsplit::model::delta::{Delta, Scope};
use unsplit::model::extent::ExtentSet;
use unsplit::model::id::{Digest, IncidentId, ResourceName};
use unsplit::model::plan::memory::{Observed, Step};
use unsplit::model::plan::{Ground, Plan};
use unsplit::model::record::{Consent, Outcome};
use unsplit::model::side::{Pair, Side};
use unsplit::model::verdict::{Reason, Trace};
use unsplit::ports::memory::MemoryReplica;
use unsplit::ports::progress::Silent;
use unsplit::resolver::access::{Access, Reading};
use unsplit::resolver::desk::open_desk;
use unsplit::resolver::opened::Opened;

const SIZE: usize = 96 << 10;

/// Two disks that differ in three places, one of them at an odd end.
fn contents() -> Pair<Vec<u8>> {
    let base: Vec<u8> = (0..SIZE).map(|at| u8::try_from(at / 4096).unwrap()).collect();
    let (mut a, mut b) = (base.clone(), base);
    a[8192..12288].fill(0xA1);
    b[9000..9100].fill(0xB2);
    b[20480..40960].fill(0xB3);
    a[SIZE - 512..].fill(0xA4);
    Pair::new(a, b)
}

pub(super) struct World {
    pub(super) faults: Arc<Faults>,
    disks: Pair<Arc<FakeDisk>>,
    sides: Pair<MemoryDisk<FakeDisk>>,
    pub(super) store: Arc<FakeStore>,
}

impl World {
    pub(super) fn new() -> World {
        let faults = Arc::new(Faults::none());
        let held = contents();
        let disk = |side: Side| Arc::new(FakeDisk::new(side.word(), &held[side], Arc::clone(&faults)));
        let disks = Pair::from_fn(disk);
        let sides = Pair::from_fn(|side| MemoryDisk::new(side.word(), Arc::clone(&disks[side])));
        let store = Arc::new(FakeStore::new(64 << 20, Arc::clone(&faults)));
        World { faults, disks, sides, store }
    }

    pub(super) fn replicas(&self) -> Pair<&dyn MemoryReplica> {
        self.sides.as_ref().map(|side| side as &dyn MemoryReplica)
    }

    pub(super) fn content(&self, side: Side) -> Vec<u8> {
        self.disks[side].content()
    }

    fn drawn(&self) -> (Plan, Pair<Observed>, Delta) {
        let (nothing, size) = (ExtentSet::empty(), SIZE as u64);
        let question = Question {
            size,
            marked: Pair::new(nothing.clone(), nothing.clone()),
            doubt: Pair::new(nothing.clone(), nothing),
            marks_complete: false,
            scope: Scope::Everything,
        };
        let sides = self.replicas();
        let seen = sides.map(|side| observe(side, 1).unwrap());
        let delta = delta(sides.a.data(), sides.b.data(), question, 1, &Silent).unwrap();
        let [rule, evidence, conclusion] = ["memory", "a test", "keep a"].map(str::to_owned);
        let trace = Trace::new(Reason { rule, evidence, conclusion });
        let about = (ResourceName::new("r3").unwrap(), names("a", "b"));
        (draw(about, &seen, &delta, Side::A, trace), seen, delta)
    }

    pub(super) fn healing(&self) -> SealedPlan {
        let (plan, seen, delta) = self.drawn();
        let seen = [Seen { looked: Looked::Memory(&seen), delta: &delta }];
        let sealed = plans::seal_healing(plan, &seen).unwrap();
        plans::keep(&*self.store, &sealed).unwrap();
        sealed
    }

    /// Begins an incident with the plan, or takes it up; `None`: the journal failed.
    fn run(&self, id: &str, sealed: &SealedPlan, healed: Option<&SealedPlan>) -> Option<Ending> {
        let id = IncidentId::new(id).unwrap();
        let journal = Journal::open(self.store.clone(), Arc::new(SystemClock)).ok()?;
        let context = Context {
            sides: self.replicas(),
            store: &*self.store,
            clock: &SystemClock,
            progress: &Silent,
            threads: 1,
        };
        let work = Work::new(context, sealed, healed).unwrap();
        let known = journal.incident(&id).map(|incident| incident.is_closed());
        match known {
            None => begin(&journal, &work, &id, Consent::Operator, None).ok(),
            Some(false) => resume(&journal, &work, &id, None).ok(),
            Some(true) => Some(Ending::Finished(Outcome::Abandoned)),
        }
    }

    fn undo(&self) -> (SealedPlan, SealedPlan) {
        let journal = Journal::open(self.store.clone(), Arc::new(SystemClock)).unwrap();
        let (id, healed) = healing_of(&journal, &*self.store, None).unwrap();
        let undo = plan_undo(healed.plan().memory().unwrap(), &id).unwrap();
        plans::keep(&*self.store, &undo).unwrap();
        (undo, healed)
    }

    /// The power goes, and comes back.
    pub(super) fn power_cut(&self, rng: &mut Rng) {
        self.store.power_cut(rng);
        self.disks.iter().for_each(|(_, disk)| disk.power_cut(rng));
        self.faults.reboot();
    }
}

fn is_through(ending: Option<&Ending>) -> bool {
    matches!(ending, Some(Ending::Finished(Outcome::Healed | Outcome::Undone)))
}

/// Runs with a cut at each operation in turn, and takes it up until it is through. Returns how many cuts there were.
fn cut_everywhere(
    prepare: impl Fn(&World),
    run: impl Fn(&World) -> Option<Ending>,
    then: impl Fn(&World),
) -> u64 {
    for cut in 0.. {
        let (world, mut rng) = (World::new(), Rng::new(cut));
        prepare(&world);
        world.faults.go_on([(cut, Fault::Cut)]);
        let first = run(&world);
        let over = !world.faults.is_off();
        if over {
            assert!(is_through(first.as_ref()), "without a cut: {first:?}");
        } else {
            world.power_cut(&mut rng);
            // One that had changed nothing gives itself up.
            let again = (0..3).map(|_| run(&world)).find(|ending| is_through(ending.as_ref()));
            assert!(again.is_some(), "cut at operation {cut}: {first:?}, {:#?}", world.faults.log());
        }
        world.faults.reboot();
        then(&world);
        if over {
            return cut;
        }
    }
    0
}

#[test]
fn a_healing_of_memory_disks_is_cut_everywhere_and_goes_on() {
    let held = contents();
    let cuts = cut_everywhere(
        |world| drop(world.healing()),
        |world| {
            let sealed = plans::load(&*world.store, plans::kept(&*world.store).ok()?[0]).ok()?;
            match world.run("i1", &sealed, None) {
                Some(Ending::Finished(Outcome::Abandoned)) => world.run("i2", &sealed, None),
                ending => ending,
            }
        },
        |world| {
            assert_eq!([world.content(Side::A), world.content(Side::B)], [held.a.clone(), held.a.clone()]);
            // What was overwritten was kept.
            let (undo, healed) = world.undo();
            let ending = world.run("u1", &undo, Some(&healed));
            assert_eq!(ending, Some(Ending::Finished(Outcome::Undone)));
            assert_eq!([world.content(Side::A), world.content(Side::B)], [held.a.clone(), held.b.clone()]);
        },
    );
    assert!(cuts > 60, "{cuts}");
}

#[test]
fn an_undo_of_memory_disks_is_cut_everywhere_and_goes_on() {
    let held = contents();
    let cuts = cut_everywhere(
        |world| assert!(is_through(world.run("i1", &world.healing(), None).as_ref())),
        |world| {
            let (undo, healed) = match Journal::open(world.store.clone(), Arc::new(SystemClock)) {
                Ok(journal) if journal.incidents().iter().any(|incident| incident.id.as_str() == "u1") => {
                    let incidents = journal.incidents();
                    let of = |id: &str| incidents.iter().find(|one| one.id.as_str() == id).unwrap().plan;
                    (plans::load(&*world.store, of("u1")).ok()?, plans::load(&*world.store, of("i1")).ok()?)
                }
                _ => {
                    let journal = Journal::open(world.store.clone(), Arc::new(SystemClock)).ok()?;
                    let (id, healed) = healing_of(&journal, &*world.store, None).ok()?;
                    let undo = plan_undo(healed.plan().memory().unwrap(), &id).ok()?;
                    plans::keep(&*world.store, &undo).ok()?;
                    (undo, healed)
                }
            };
            match world.run("u1", &undo, Some(&healed)) {
                Some(Ending::Finished(Outcome::Abandoned)) => world.run("u2", &undo, Some(&healed)),
                ending => ending,
            }
        },
        |world| {
            assert_eq!([world.content(Side::A), world.content(Side::B)], [held.a.clone(), held.b.clone()]);
        },
    );
    assert!(cuts > 60, "{cuts}");
}

#[test]
fn what_somebody_else_wrote_to_a_memory_disk_stops_it() {
    // Before anything was changed: given up.
    let world = World::new();
    let sealed = world.healing();
    world.disks.b.meddle(50_000, &[7]);
    let given_up = world.run("i1", &sealed, None);
    assert!(matches!(given_up, Some(Ending::Abandoned { obstacle: Obstacle::Stale, .. })), "{given_up:?}");
    // In the middle: it waits for a person, and goes no further.
    let world = World::new();
    let sealed = world.healing();
    let mut at = 0;
    let foreign = loop {
        let world = World::new();
        let sealed = world.healing();
        world.faults.go_on([(at, Fault::Io)]);
        let ending = world.run("i1", &sealed, None);
        if matches!(ending, Some(Ending::Parked { .. })) {
            world.faults.reboot();
            world.disks.b.meddle(90_000, &[7]);
            break world.run("i1", &sealed, None);
        }
        assert!(!is_through(ending.as_ref()), "no operation parks");
        at += 1;
    };
    assert!(matches!(foreign, Some(Ending::Parked { obstacle: Obstacle::Stale, .. })), "{foreign:?}");
    // A side that is held by somebody else.
    let held = world.sides.a.hold().unwrap();
    let busy = world.run("i1", &sealed, None);
    assert!(matches!(busy, Some(Ending::Abandoned { obstacle: Obstacle::Busy, .. })), "{busy:?}");
    drop(held);
    assert!(is_through(world.run("i2", &sealed, None).as_ref()));
}

#[test]
fn memory_disks_from_observing_to_undo_without_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let desk = open_desk(&folder.path().join("state")).unwrap();
    let faults = Arc::new(Faults::none());
    let held = contents();
    let disks = Pair::from_fn(|side| Arc::new(FakeDisk::new(side.word(), &held[side], Arc::clone(&faults))));
    let sides: Pair<Arc<dyn MemoryReplica>> =
        Pair::from_fn(|side| Arc::new(MemoryDisk::new(side.word(), Arc::clone(&disks[side]))) as _);
    let opened = || Opened::Memory(sides.clone());
    let access =
        Access::of(names("left", "right"), ResourceName::new("r0").unwrap(), None, Reading::default());
    let is_healed = || disks.a.content() == disks.b.content();
    observe_to_undo(&desk, &opened(), &access, "left", Some(&opened), is_healed);
    assert_eq!([disks.a.content(), disks.b.content()], [held.a, held.b]);
}

type Change = fn(&mut Plan);

/// The same story, audited by the same rules, and what only memory disks must be.
#[test]
fn no_fault_in_a_plan_for_memory_disks_passes_the_audit() {
    let world = World::new();
    let (plan, seen, delta) = world.drawn();
    let looked = [Seen { looked: Looked::Memory(&seen), delta: &delta }];
    let canonical = Digest([0; 32]);
    assert!(seal(plan.clone(), canonical, &looked).is_ok());
    fn ground(plan: &mut Plan) -> &mut unsplit::model::plan::memory::Ground {
        match &mut plan.ground {
            Ground::Memory(ground) => ground,
            _ => panic!("a plan for memory disks"),
        }
    }
    let faults: [(&str, Change); 12] = [
        ("discard-before-preserve", |plan| ground(plan).steps.swap(2, 3)),
        ("stale-evidence", |plan| ground(plan).steps.swap(1, 3)),
        ("exactly-once", |plan| ground(plan).steps.retain(|step| !matches!(step, Step::Preserve { .. }))),
        ("record-last", |plan| ground(plan).steps.swap(4, 5)),
        ("numbers", |plan| ground(plan).steps[2] = Step::Preserve { bytes: 1 }),
        ("survivor-untouched", |plan| {
            let bytes = plan.bytes();
            ground(plan).steps[3] = Step::Overwrite { side: Side::A, bytes };
        }),
        ("promise", |plan| ground(plan).becomes = Digest([1; 32])),
        ("basis", |plan| ground(plan).whole.b = Digest([1; 32])),
        ("basis", |plan| ground(plan).content.a = Digest([1; 32])),
        ("salvage", |plan| plan.salvage = false),
        ("two-sides", |plan| plan.volumes[0].at.b = plan.volumes[0].at.a.clone()),
        ("everything-that-differs", |plan| {
            let first = plan.volumes[0].overwrite.first().unwrap();
            plan.volumes[0].overwrite = [first].into_iter().collect();
        }),
    ];
    for (rule, fault) in faults {
        let mut plan = plan.clone();
        fault(&mut plan);
        let found = seal(plan, canonical, &looked).unwrap_err();
        assert!(found.iter().any(|finding| finding.rule == rule), "{rule}: {found:?}");
    }
    // An undo that leads elsewhere.
    let sealed = world.healing();
    assert!(is_through(world.run("i1", &sealed, None).as_ref()));
    let undo = world.undo().0.plan().clone();
    let wrong: [Change; 3] = [
        |plan| ground(plan).becomes = Digest([1; 32]),
        |plan| ground(plan).content.b = Digest([1; 32]),
        |plan| plan.volumes[0].at.a.data.push('x'),
    ];
    for fault in wrong {
        let mut undo = undo.clone();
        fault(&mut undo);
        let found = unsplit::judge::audit::seal_undo(undo, canonical, sealed.plan()).unwrap_err();
        assert!(found.iter().any(|finding| finding.rule == "undoes-that"), "{found:?}");
    }
}
