//! The real engine over a world in memory that loses power, breaks and is meddled with, by seeds. Each seed is a pair
//! in split brain and a schedule of faults for the runs of `resolve` and `undo` on it.
//!
//! `UNSPLIT_SIM_SEEDS=N` runs N seeds instead of the default; `UNSPLIT_SIM_SEED=S` runs just that one, with its log.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

#[path = "simulation/lost.rs"]
mod lost;
#[path = "simulation/without_salvage.rs"]
mod without_salvage;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use unsplit::engine::incident::{Ending, Obstacle};
use unsplit::engine::inquiry::look;
use unsplit::engine::plans;
use unsplit::format::drbdmeta::superblock::parse;
use unsplit::judge::audit::SealedPlan;
use unsplit::model::drbd::MetadataFormat;
use unsplit::model::drbd::{Superblock, device_flag};
use unsplit::model::extent::{Extent, ExtentSet};
use unsplit::model::lineage::Relation;
use unsplit::model::plan::images::Step;
use unsplit::model::plan::{Ground, Plan};
use unsplit::model::policy::Settings;
use unsplit::model::record::Outcome;
use unsplit::model::side::{Pair, Side};
use unsplit::ports::replica::Replica;
use world::disk::FakeDisk;
use world::faults::Fault;
use world::older;
use world::pair::{Log, Spec};
use world::promises::Device;
use world::rng::Rng;
use world::site::{Foreign, Refused, Site};

/// Schedules in a default run.
const SEEDS: u64 = 3000;
/// About as many operations as a healing takes; faults beyond its end do nothing.
const OPERATIONS: u64 = 320;

/// A world with a sealed plan.
struct Scene {
    site: Site,
    sealed: SealedPlan,
    survivor: Side,
    /// For people, when something is wrong.
    story: Vec<String>,
}

type Check = Result<(), String>;

impl Scene {
    fn new(spec: Spec, survivor: Side, full: bool) -> Scene {
        let site = Site::new(spec.build(), survivor);
        let sealed = site.plan(survivor, full).unwrap_or_else(|why| panic!("no plan for {spec:?}: {why}"));
        site.promises.planned(sealed.id(), sealed.plan());
        Scene { site, sealed, survivor, story: vec![format!("{spec:?}, survivor {survivor}")] }
    }

    /// The same scene from its beginning.
    fn afresh(&self) -> Scene {
        let site = Site::new((*self.site.images).clone(), self.survivor);
        site.promises.planned(self.sealed.id(), self.sealed.plan());
        Scene { site, sealed: self.sealed.clone(), survivor: self.survivor, story: self.story[..1].to_vec() }
    }

    /// `unsplit plan` until it says that the plan is kept: then it is.
    fn keep_plan(&mut self, faults: Vec<(u64, Fault)>, seed: u64) -> Check {
        self.site.faults.go_on(faults);
        loop {
            let kept = self.site.keep(&self.sealed);
            self.put_back();
            self.story.push(format!("keep the plan: {kept:?}"));
            if self.site.faults.is_off() {
                self.power_cut(seed)?;
            } else if kept.is_ok() {
                return Ok(());
            }
        }
    }

    /// Its plan is one that an earlier version drew and stored.
    fn keep_old_plan(&mut self) {
        self.site.faults.go_on([]);
        let plan = of_an_earlier_version(&self.sealed);
        let id = older::keep(&*self.site.store, &plan);
        self.sealed = plans::load(&*self.site.store, id).unwrap();
        assert_eq!((self.sealed.plan(), self.sealed.id()), (&plan, id));
        self.site.promises.planned(id, &plan);
        self.site.promises.settles_at(5);
    }

    fn victim(&self) -> Side {
        self.survivor.other()
    }

    /// One command, and everything that must hold after it whatever happened.
    fn run(&mut self, command: Command) -> Result<Result<Ending, Refused>, String> {
        let ending = match command {
            Command::Resolve => self.site.resolve(self.sealed.id()),
            Command::Undo => self.site.undo(),
        };
        self.story.push(format!("{command:?}: {ending:?}"));
        if let Some(broken) = self.site.promises.broken().first() {
            return Err(broken.clone());
        }
        if let (Ok(ending), false) = (&ending, self.site.faults.is_off()) {
            self.without_faults(|scene| scene.site.promises.ending_is_honest(ending, &scene.site.store))?;
        }
        self.others_lost_nothing(&ending)?;
        self.nothing_lost()?;
        self.in_sync_only_if_equal()?;
        Ok(ending)
    }

    /// Wherever a run ended: where both sides' metadata say that nothing is left to sync, their contents agree wherever the
    /// split was seen, by what can be read and by what is certain to survive a power cut.
    fn in_sync_only_if_equal(&self) -> Check {
        let (volumes, agree) = (&self.site.images.sides, self.sealed.plan().images().unwrap().must_agree());
        for durably in [false, true] {
            let bytes = |disk: &FakeDisk| if durably { disk.certain() } else { disk.content() };
            let lineages = Pair::from_fn(|side| {
                let metadata = bytes(self.site.devices[side].of_metadata());
                let at = usize::try_from(volumes[side].geometry.superblock_at).unwrap();
                let superblock = parse(&metadata[at..at + 4096]).ok()?;
                let bits = volumes[side].marks_in(&metadata, 0);
                Some((superblock, bits))
            });
            let (Some((a, left_a)), Some((b, left_b))) = (&lineages.a, &lineages.b) else { continue };
            let up_to_date = |superblock: &Superblock| {
                superblock.has(device_flag::CONSISTENT) && superblock.has(device_flag::WAS_UP_TO_DATE)
            };
            let in_sync = a.current.same(b.current) && up_to_date(a) && up_to_date(b);
            if !in_sync {
                continue;
            }
            let data = Pair::from_fn(|side| bytes(&self.site.devices[side].data));
            for extent in agree.subtract(left_a).subtract(left_b).iter() {
                let range = usize::try_from(extent.start).unwrap()..usize::try_from(extent.end()).unwrap();
                ensure(
                    data.a[range.clone()] == data.b[range],
                    &format!(
                        "P10: in sync by both superblocks, and they differ within {extent:?} (durably: {durably})"
                    ),
                )?;
            }
        }
        Ok(())
    }

    /// What somebody else wrote while the command ran is still there, and was not called healed or undone where it was looked
    /// at. Then it is put back, so that the story can go on.
    fn others_lost_nothing(&mut self, ending: &Result<Ending, Refused>) -> Check {
        let plan = self.sealed.plan().images().unwrap();
        for foreign in self.site.foreign.lock().unwrap().iter() {
            let Foreign { side, at, is, step, .. } = foreign;
            let now = Pair::from_fn(|side| self.site.devices[side].data.content()[*at]);
            ensure(now[*side] == *is, &format!("P2: what somebody else wrote is gone: {foreign:?}"))?;
            let here = Extent { start: *at as u64, len: 1 };
            let (overwritten, compared) =
                (plan.volume.overwrite.covers(&here), plan.must_agree().covers(&here));
            // What comes while the contents are compared for the last time, or later, is kept out by the claim alone.
            let late = ["verify-relation", "record"].contains(&step.as_str());
            let after_all_else =
                ["verify-content", "settle-metadata", "restore-metadata"].contains(&step.as_str());
            let looked_at = compared && !late && (overwritten || !plan.is_full() || !after_all_else);
            if let (true, Ok(Ending::Finished(outcome))) = (looked_at, ending) {
                let before = self.site.images.sides[*side].data[*at];
                let fine = match outcome {
                    Outcome::Undone if overwritten => now[*side] == before,
                    _ => now.a == now.b,
                };
                ensure(fine, &format!("P10: {ending:?}, and {foreign:?} was not noticed"))?;
            }
        }
        self.put_back();
        Ok(())
    }

    /// The bytes that somebody else wrote become what they were, last first, also where they were copied to.
    fn put_back(&mut self) {
        let all = std::mem::take(&mut *self.site.foreign.lock().unwrap());
        for Foreign { side, at, was, is, step } in all.into_iter().rev() {
            self.story.push(format!("somebody wrote byte {at} of side {side} during {step}; it is put back"));
            for here in [side, side.other()] {
                let disk = &self.site.devices[here].data;
                let copied = here == side || (side == self.survivor && disk.content()[at] == is);
                if copied && disk.content()[at] == is {
                    disk.meddle(at, &[was]);
                }
            }
        }
        self.site.shared.store(false, Ordering::Relaxed);
    }

    /// Looks without counting operations.
    fn without_faults(&self, look: impl FnOnce(&Scene) -> Check) -> Check {
        self.site.faults.pause();
        let result = look(self);
        self.site.faults.unpause();
        result
    }

    /// By what can be read, and by what would survive a power cut.
    fn nothing_lost(&self) -> Check {
        self.without_faults(|scene| {
            let site = &scene.site;
            let disk = |side: Side, device: Device| match device {
                Device::Data => &site.devices[side].data,
                Device::Metadata => site.devices[side].of_metadata(),
            };
            site.promises.nothing_lost(|side, device| disk(side, device).content(), &site.store)?;
            site.promises.nothing_lost(|side, device| disk(side, device).certain(), &site.store.certain())
        })
    }

    fn power_cut(&mut self, seed: u64) -> Check {
        self.story.push("power cut".to_owned());
        self.site.power_cut(seed);
        self.nothing_lost()
    }

    /// Equal, in sync, and durably so.
    fn healed(&mut self, seed: u64) -> Check {
        self.power_cut(seed)?;
        let (size, site) = (usize::try_from(self.site.images.size).unwrap(), &self.site);
        let now = Pair::from_fn(|side| site.devices[side].data.content());
        ensure(now.a[..size] == now.b[..size], "the victim does not equal the survivor")?;
        let sides = site.open()?;
        let replicas = sides.as_ref().map(|side| side as &dyn Replica);
        let sight =
            look(replicas, &Settings::drbd_defaults(), &*site.clock).map_err(|error| error.to_string())?;
        ensure(sight.comparison.relation == Relation::InSync, "not in sync")?;
        for (side, seen) in sight.evidence.iter() {
            ensure(seen.marks.bits_after_replay == 0, &format!("side {side} has bits left"))?;
            self.third_node_will_know(side)?;
        }
        Ok(())
    }

    /// Whatever changed on this side since the third node saw it stays marked for the third node.
    fn third_node_will_know(&self, side: Side) -> Check {
        let (site, volume) = (&self.site, &self.site.images.sides[side]);
        let now = site.devices[side].of_metadata().content();
        let hot = match site.images.spec.logs[side] {
            Log::Clean => ExtentSet::empty(),
            Log::Hot | Log::Off => ExtentSet::whole(site.images.size),
        };
        let mut must = site.images.third[side].union(&hot);
        if side == self.victim() {
            must = must.union(&self.sealed.plan().volumes[0].overwrite);
        }
        for slot in 1..volume.geometry.layout.slots {
            let missing = must.subtract(&volume.marks_in(&now, slot));
            ensure(missing.is_empty(), &format!("slot {slot} of side {side} lacks marks: {missing:?}"))?;
        }
        Ok(())
    }

    /// Byte for byte as before the healing, and durably so.
    fn undone(&mut self, seed: u64) -> Check {
        self.power_cut(seed)?;
        for (side, devices) in self.site.devices.iter() {
            let volume = &self.site.images.sides[side];
            ensure(devices.data.content() == volume.data, &format!("{side}'s data device is not as before"))?;
            let metadata = devices.metadata.as_ref().map(|disk| disk.content());
            ensure(metadata == volume.metadata, &format!("{side}'s metadata device is not as before"))?;
        }
        Ok(())
    }

    /// Without faults, to the end. A run that gave up before anything was changed is begun anew.
    fn finish(&mut self, command: Command) -> Check {
        self.site.faults.reboot();
        self.site.holds_last.store(0, Ordering::Relaxed);
        for _ in 0..3 {
            match self.run(command)? {
                Ok(Ending::Finished(_)) => return Ok(()),
                Ok(Ending::Abandoned { .. }) => {}
                Ok(Ending::Fenced) => return Err("no plan here fences anybody".to_owned()),
                Ok(Ending::Parked { why, .. }) => {
                    return Err(format!("{command:?} without faults parks: {why}"));
                }
                // Cut off between the last record and its message.
                Err(why) if command == Command::Undo && why.contains("was already undone by") => {
                    return Ok(());
                }
                Err(why) => return Err(format!("{command:?} without faults is refused: {why}")),
            }
        }
        Err(format!("{command:?} without faults does not end"))
    }

    /// Somebody else writes one byte; the command must notice and write nothing. Then the byte is put back.
    fn meddled(&mut self, command: Command, rng: &mut Rng) -> Check {
        let plan = self.sealed.plan();
        let side = if rng.one_in(2) { Side::A } else { Side::B };
        let geometry = &self.site.images.sides[side].geometry;
        let (what, disk, at) = match rng.below(4) {
            // What is overwritten, or any of what the plan relies on: also what it found equal.
            0 | 1 => {
                let relied_on = plan.images().unwrap().must_agree();
                let extents =
                    Vec::from_iter(if rng.one_in(2) { &plan.volumes[0].overwrite } else { &relied_on });
                let extent = extents[usize::try_from(rng.below(extents.len() as u64)).unwrap()];
                ("data", &self.site.devices[side].data, extent.start + rng.below(extent.len))
            }
            // The current UUID or the device UUID: no write of ours changes them to anything.
            2 => (
                "superblock",
                self.site.devices[side].of_metadata(),
                geometry.superblock_at + 9 + rng.below(6),
            ),
            _ => {
                let at = geometry.bitmap.start + rng.below(geometry.bitmap.len);
                ("bitmap", self.site.devices[side].of_metadata(), at)
            }
        };
        let index = usize::try_from(at).unwrap();
        let was = disk.certain()[index];
        let seen = disk.content()[index];
        if was != seen {
            return Ok(()); // A cache that lost a write: that byte is not one to put back.
        }
        let flip = 1 + u8::try_from(rng.below(255)).unwrap();
        disk.meddle(index, &[was ^ flip]);
        self.story.push(format!("somebody changes byte {at} of side {side}'s {what}"));
        let ending = match command {
            Command::Resolve => self.site.resolve(self.sealed.id()),
            Command::Undo => self.site.undo(),
        };
        self.story.push(format!("{command:?}: {ending:?}"));
        self.put_back();
        let disk = if what == "data" {
            &self.site.devices[side].data
        } else {
            self.site.devices[side].of_metadata()
        };
        ensure(!matches!(ending, Ok(Ending::Finished(_))), &format!("P5: a changed {what} was not noticed"))?;
        ensure(self.site.promises.writes() == 0, &format!("P5: a changed {what} was noticed too late"))?;
        disk.meddle(index, &[was]);
        self.story.push("the byte is put back".to_owned());
        if let Ok(ending) = &ending {
            self.site.promises.ending_is_honest(ending, &self.site.store)?;
        }
        self.nothing_lost()
    }

    fn closed_as(&self, outcome: Outcome) -> bool {
        self.site.faults.pause();
        let story = unsplit::engine::journal::Journal::read(&*self.site.store);
        self.site.faults.unpause();
        story.ok().flatten().is_some_and(|story| {
            story.incidents.as_slice().last().is_some_and(|incident| {
                incident.state == unsplit::judge::incident::IncidentState::Closed { outcome }
            })
        })
    }

    /// Some runs with faults, cuts and meddling between them.
    fn troubled(&mut self, command: Command, rng: &mut Rng) -> Check {
        let end = match command {
            Command::Resolve => Outcome::Healed,
            Command::Undo => Outcome::Undone,
        };
        for _ in 0..1 + rng.below(3) {
            let faults: Vec<(u64, Fault)> =
                (0..1 + rng.below(3)).map(|_| (rng.below(OPERATIONS), any_fault(rng))).collect();
            self.site.faults.go_on(faults);
            if rng.one_in(8) {
                self.site.holds_last.store(1 + rng.below(10), Ordering::Relaxed);
            }
            let _ = self.run(command)?;
            if self.site.faults.is_off() || rng.one_in(3) {
                self.power_cut(rng.next())?;
            } else {
                self.site.faults.reboot();
            }
            self.site.holds_last.store(0, Ordering::Relaxed);
            if rng.one_in(4) && !self.closed_as(end) {
                self.meddled(command, rng)?;
            }
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Command {
    Resolve,
    Undo,
}

fn ensure(holds: bool, or: &str) -> Check {
    if holds { Ok(()) } else { Err(or.to_owned()) }
}

fn any_fault(rng: &mut Rng) -> Fault {
    use Fault::{Bad, Claim, Cut, Foreign, Io, NoSpace, Short};
    [Io, Io, Short, NoSpace, Cut, Cut, Cut, Foreign, Foreign, Claim, Bad]
        [usize::try_from(rng.below(11)).unwrap()]
}

/// The whole life of one seed.
fn live(seed: u64, scene: &mut Option<Scene>) -> Check {
    let mut rng = Rng::new(seed);
    let survivor = if rng.one_in(2) { Side::A } else { Side::B };
    let full = rng.one_in(4);
    let scene = scene.insert(Scene::new(Spec::from_seed(seed), survivor, full));
    let faults =
        if rng.one_in(4) { (0..3).map(|_| (rng.below(24), any_fault(&mut rng))).collect() } else { vec![] };
    scene.keep_plan(faults, rng.next())?;
    if rng.one_in(4) {
        scene.power_cut(rng.next())?;
    }
    if rng.one_in(8) {
        scene.meddled(Command::Resolve, &mut rng)?;
    }
    scene.troubled(Command::Resolve, &mut rng)?;
    let early = rng.one_in(4);
    if !early {
        scene.finish(Command::Resolve)?;
        scene.healed(rng.next())?;
    }
    if rng.one_in(2) || early {
        // A healing that ended before anything was changed cannot be undone: then this is refused, and nothing changes.
        scene.site.faults.reboot();
        let changed = scene.sides_changed();
        scene.troubled(Command::Undo, &mut rng)?;
        if changed || scene.sides_changed() {
            scene.finish(Command::Undo)?;
            scene.undone(rng.next())?;
            scene.finish(Command::Resolve)?;
            scene.healed(rng.next())?;
        }
    }
    Ok(())
}

impl Scene {
    fn sides_changed(&self) -> bool {
        self.site.devices.iter().any(|(side, devices)| {
            let volume = &self.site.images.sides[side];
            devices.data.content() != volume.data
                || devices.metadata.as_ref().map(|disk| disk.content()) != volume.metadata
        })
    }
}

/// Runs a seed on one thread, so that every operation has its number.
fn try_seed(seed: u64, loud: bool) -> Check {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    pool.install(|| {
        let mut scene = None;
        let result = catch_unwind(AssertUnwindSafe(|| live(seed, &mut scene)))
            .unwrap_or_else(|_| Err("a panic".to_owned()));
        let story = scene.as_ref().map(|scene| scene.story.join("\n  ")).unwrap_or_default();
        if loud && let Some(scene) = &scene {
            eprintln!("{}", scene.site.faults.log().join("\n"));
        }
        result.map_err(|why| format!("seed {seed}: {why}\n  {story}"))
    })
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

#[test]
fn every_schedule_ends_healed_undone_or_parked_with_nothing_lost() {
    if let Some(seed) = number("UNSPLIT_SIM_SEED") {
        try_seed(seed, true).unwrap_or_else(|why| panic!("{why}"));
        return;
    }
    let seeds = number("UNSPLIT_SIM_SEEDS").unwrap_or(SEEDS);
    each(
        seeds,
        |seed| try_seed(seed, false),
        "UNSPLIT_SIM_SEED=N cargo test --test simulation every_schedule",
    );
}

/// Tries all numbers on a few threads; panics with the first failures.
fn each(many: u64, attempt: impl Fn(u64) -> Check + Sync, replay: &str) {
    let (next, failures) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= many {
                        break;
                    }
                    if let Err(why) = attempt(number) {
                        failures.lock().unwrap().push((number, why));
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap();
    failures.sort();
    if !failures.is_empty() {
        let shown: Vec<&str> = failures.iter().take(3).map(|(_, why)| why.as_str()).collect();
        let mut kinds: std::collections::BTreeMap<String, Vec<u64>> = std::collections::BTreeMap::new();
        for (number, why) in &failures {
            let line = why.lines().next().unwrap_or_default();
            let kind: String = line
                .split_once(": ")
                .map_or(line, |(_, rest)| rest)
                .chars()
                .filter(|c| !c.is_ascii_digit())
                .take(110)
                .collect();
            kinds.entry(kind).or_default().push(*number);
        }
        let kinds: Vec<String> = kinds
            .iter()
            .map(|(kind, numbers)| {
                format!("{} × {kind} {:?}", numbers.len(), &numbers[..numbers.len().min(4)])
            })
            .collect();
        panic!(
            "{} of {many} failed; replay one with {replay}\n{}\n\n{}",
            failures.len(),
            kinds.join("\n"),
            shown.join("\n\n")
        );
    }
}

/// Lets this happen at every single operation of a healing, and of the undo after it; then goes on without faults to the
/// end, where the power is cut once more: what was promised must be durable.
fn everywhere(format: MetadataFormat, fault: Fault) {
    let spec = || Spec {
        slots: if format == MetadataFormat::V09 { 2 } else { 1 },
        logs: Pair::new(Log::Hot, Log::Hot),
        ..Spec::plain(format, 7)
    };
    let mut whole = Scene::new(spec(), Side::A, false);
    whole.keep_plan(vec![], 0).unwrap();
    let before = whole.site.faults.count();
    whole.finish(Command::Resolve).unwrap();
    let healing = whole.site.faults.count() - before;
    let before = whole.site.faults.count();
    whole.finish(Command::Undo).unwrap();
    let undoing = whole.site.faults.count() - before;
    assert!(healing > 60 && undoing > 40, "{healing} and {undoing} operations");

    let attempt = |operation: u64| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        pool.install(|| {
            let mut scene = whole.afresh();
            scene.keep_plan(vec![], 0)?;
            let trouble = |scene: &mut Scene, command, at| -> Check {
                scene.site.faults.go_on([(at, fault)]);
                let _ = scene.run(command)?;
                if fault == Fault::Cut {
                    ensure(scene.site.faults.is_off(), "the cut did not come")?;
                    scene.power_cut(operation)?;
                }
                scene.finish(command)
            };
            let mut all = || -> Check {
                if operation < healing {
                    trouble(&mut scene, Command::Resolve, operation)?;
                    scene.healed(operation)?;
                    // The way back from here is the same whatever happened; try it now and then.
                    if !operation.is_multiple_of(8) {
                        return Ok(());
                    }
                    scene.finish(Command::Undo)?;
                } else {
                    scene.finish(Command::Resolve)?;
                    trouble(&mut scene, Command::Undo, operation - healing)?;
                }
                scene.undone(operation)
            };
            let result = all();
            result.map_err(|why| {
                format!("{fault:?} at operation {operation}: {why}\n  {}", scene.story.join("\n  "))
            })
        })
    };
    each(healing + undoing, attempt, "the test itself: it always does the same");
}

#[test]
fn cut_at_every_operation_of_v08() {
    everywhere(MetadataFormat::V08, Fault::Cut);
}

#[test]
fn cut_at_every_operation_of_v09() {
    everywhere(MetadataFormat::V09, Fault::Cut);
}

/// A flush that fails loses what can still be read: whoever goes on must write it once more.
#[test]
fn an_io_error_at_every_operation_of_v09() {
    everywhere(MetadataFormat::V09, Fault::Io);
}

/// The plan as versions drew it that verified contents last, and did not note what they compared.
fn of_an_earlier_version(sealed: &SealedPlan) -> Plan {
    let mut plan = sealed.plan().clone();
    let Ground::Images(ground) = &mut plan.ground else { panic!("a plan for a resource that runs") };
    ground.compared = None;
    let steps = &mut ground.steps;
    let content = steps.iter().position(|step| matches!(step, Step::VerifyContent { .. })).unwrap();
    let content = steps.remove(content);
    steps.insert(steps.len() - 1, content);
    plan
}

/// A disk loses one write of the victim's data and says nothing. That is found before any metadata says that the two agree, and
/// after a power cut at that moment they still do not.
#[test]
fn a_write_that_a_disk_loses_is_found_before_anything_says_in_sync() {
    for (format, earlier) in
        [(MetadataFormat::V08, false), (MetadataFormat::V09, false), (MetadataFormat::V09, true)]
    {
        let mut whole = Scene::new(Spec::plain(format, 5), Side::A, false);
        let keep = |scene: &mut Scene| match earlier {
            true => scene.keep_old_plan(),
            false => scene.keep_plan(vec![], 0).unwrap(),
        };
        keep(&mut whole);
        let before = whole.site.faults.count();
        whole.finish(Command::Resolve).unwrap();
        whole.healed(1).unwrap();
        let log = whole.site.faults.log();
        let write = |line: &String| {
            let (number, words) = line.split_once(": ").unwrap();
            let at = words.strip_prefix("write /dev/b-Data at ")?.split(' ').next()?.parse::<u64>().ok()?;
            let data = whole.sealed.plan().volumes[0].overwrite.covers(&Extent { start: at, len: 1 });
            data.then(|| number.parse::<u64>().unwrap() - before)
        };
        let writes: Vec<u64> = log.iter().skip(usize::try_from(before).unwrap()).filter_map(write).collect();
        assert!(writes.len() > 5, "{}", log.join("\n"));
        for at in writes {
            let mut scene = whole.afresh();
            keep(&mut scene);
            scene.site.faults.go_on([(at, Fault::Lost)]);
            let ending = scene.run(Command::Resolve).unwrap().unwrap();
            assert!(
                matches!(&ending, Ending::Parked { obstacle: Obstacle::Verify, why, .. } if why.contains("still differ")),
                "{ending:?}"
            );
            scene.power_cut(at).unwrap();
            scene.in_sync_only_if_equal().unwrap();
            scene.finish(Command::Resolve).unwrap();
            scene.healed(at).unwrap();
        }
    }
}

/// What cannot be read while contents are verified is not verified.
#[test]
fn unreadable_blocks_park_a_healing_while_it_is_verified() {
    let whole = Scene::new(Spec::plain(MetadataFormat::V08, 6), Side::A, false);
    let mut parked = 0;
    for operation in 0..OPERATIONS {
        let mut scene = whole.afresh();
        scene.keep_plan(vec![], 0).unwrap();
        scene.site.faults.go_on([(operation, Fault::Bad)]);
        // That no such run is called finished is checked after every run.
        let ending = scene.run(Command::Resolve).unwrap();
        if scene.site.promises.unverified() {
            assert!(matches!(ending, Ok(Ending::Parked { .. })), "{ending:?}");
            parked += 1;
        }
    }
    assert!(parked > 1, "no read failed while contents were verified");
}

/// An open incident of an earlier version is taken up again, and ends well wherever it was cut.
#[test]
fn a_healing_that_an_earlier_version_began_is_finished() {
    let scene = Scene::new(Spec::plain(MetadataFormat::V09, 9), Side::B, false);
    for operation in (0..OPERATIONS).step_by(7) {
        let mut scene = scene.afresh();
        scene.keep_old_plan();
        scene.site.faults.go_on([(operation, Fault::Cut)]);
        let _ = scene.run(Command::Resolve).unwrap();
        scene.power_cut(operation).unwrap();
        scene.finish(Command::Resolve).unwrap();
        scene.healed(operation).unwrap();
    }
}

#[test]
fn a_plan_that_is_said_to_be_kept_survives_whatever_went_wrong_before() {
    let scene = Scene::new(Spec::plain(MetadataFormat::V08, 3), Side::A, false);
    for operation in 0..16 {
        for fault in [Fault::Io, Fault::Short, Fault::NoSpace, Fault::Cut] {
            for seed in 0..4 {
                let mut scene = scene.afresh();
                scene.keep_plan(vec![(operation, fault)], seed).unwrap();
                scene.power_cut(seed).unwrap();
                let kept = unsplit::engine::plans::load(&*scene.site.store, scene.sealed.id());
                assert!(kept.is_ok(), "{fault:?} at {operation}, {kept:?}\n{}", scene.story.join("\n"));
            }
        }
    }
}
