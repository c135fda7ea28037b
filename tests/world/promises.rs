//! What must hold at every moment, checked from outside: before each write to a device against what is durable then,
//! and after each run against how everything was when the split was found.

use super::pair::Images;
use super::store::FakeStore;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use unsplit::engine::incident::Ending;
use unsplit::engine::journal::{FILE, Journal};
use unsplit::engine::salvage;
use unsplit::format::journal::{Tail, parse};
use unsplit::judge::incident::IncidentState;
use unsplit::model::extent::{Extent, ExtentSet};
use unsplit::model::id::{Digest, PlanId};
use unsplit::model::plan::Plan;
use unsplit::model::record::{Event, Outcome};
use unsplit::model::salvage::PartKind;
use unsplit::model::seen::in_words;
use unsplit::model::side::{Pair, Side};
use unsplit::ports::disk::Disk;
use unsplit::ports::progress::Silent;

const SECTOR: usize = 512;

/// One of a side's devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// The data device; also holds the metadata when that is internal.
    Data,
    /// The metadata device.
    Metadata,
}

#[derive(Default)]
struct State {
    /// The healing and what it overwrites.
    healing: Option<(PlanId, ExtentSet)>,
    /// Writes to devices in this run.
    writes: u64,
    /// A durable salvage was seen in this run.
    kept: bool,
    broken: Vec<String>,
    /// The durable journal as last read, and what it declares.
    declared: Option<(Vec<u8>, Declared)>,
    /// The step that was under way when the devices ceased to be ours alone.
    lost_in: Option<usize>,
    /// A read of a side's data failed while contents were verified.
    unverified: bool,
    /// What the salvages came to, by their bytes: reading them is dear.
    salvages: HashMap<Digest, Result<Vec<Pair<ExtentSet>>, String>>,
}

/// The step under way, in a word, and its side; or why there is none.
type Declared = Result<(String, Side), String>;

/// The promises of one world.
pub struct Promises {
    images: Arc<Images>,
    store: Arc<FakeStore>,
    survivor: Side,
    /// The step of a healing that settles the victim's metadata; the survivor's comes next.
    settles: AtomicUsize,
    /// The operator said that nothing is kept.
    waived: AtomicBool,
    state: Mutex<State>,
}

impl Promises {
    /// Of the pair in these images, whose state directory is `store`.
    pub fn new(images: Arc<Images>, store: Arc<FakeStore>, survivor: Side) -> Promises {
        Promises {
            images,
            store,
            survivor,
            settles: AtomicUsize::new(6),
            waived: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    /// The healing is one of another version, whose victim is settled in this step.
    pub fn settles_at(&self, step: usize) {
        self.settles.store(step, Ordering::Relaxed);
    }

    /// The operator said that nothing is kept.
    pub fn nothing_is_kept(&self) {
        self.waived.store(true, Ordering::Relaxed);
    }

    fn keeps(&self) -> bool {
        !self.waived.load(Ordering::Relaxed)
    }

    /// This is the healing.
    pub fn planned(&self, id: PlanId, plan: &Plan) {
        self.state.lock().unwrap().healing = Some((id, plan.volumes[0].overwrite.clone()));
    }

    /// Another command begins.
    pub fn next_run(&self) {
        let mut state = self.state.lock().unwrap();
        state.writes = 0;
        state.kept = false;
        state.lost_in = None;
        state.unverified = false;
    }

    /// The devices are not ours alone any more. What was asked before may be finished; no other step may write.
    pub fn claim_lost(&self) {
        let step = self.step_under_way().map_or(usize::MAX, |(step, _)| step);
        self.state.lock().unwrap().lost_in.get_or_insert(step);
    }

    /// A read of a side's data fails.
    pub fn read_fails(&self) {
        let verifying = self.step_under_way().is_some_and(|(_, word)| word == "verify-content");
        self.state.lock().unwrap().unverified |= verifying;
    }

    /// Whether a read of a side's data failed for good while contents were verified in this run.
    pub fn unverified(&self) -> bool {
        self.state.lock().unwrap().unverified
    }

    /// Index and word of the last step that is durably declared, ended or not.
    pub fn step_under_way(&self) -> Option<(usize, String)> {
        let bytes = self.store.certain().content(FILE)?;
        let replay = parse(&bytes).ok()?;
        replay.records.iter().rev().find_map(|record| match &record.event {
            Event::Intent { step, name } => Some((*step, name.word.clone())),
            _ => None,
        })
    }

    /// Writes to any device since the command began.
    pub fn writes(&self) -> u64 {
        self.state.lock().unwrap().writes
    }

    /// What was broken so far.
    pub fn broken(&self) -> Vec<String> {
        self.state.lock().unwrap().broken.clone()
    }

    /// Called before every write to a device.
    pub fn hold_before(&self, side: Side, device: Device, offset: u64, len: usize) {
        let extent = Extent { start: offset, len: len as u64 };
        let mut state = self.state.lock().unwrap();
        state.writes += 1;
        let certain = self.store.certain();
        let mut broken = Vec::new();
        let under_way = state.lost_in.and_then(|lost| Some((lost, self.step_under_way()?.0)));
        if let Some((lost, now)) = under_way.filter(|(lost, now)| lost != now) {
            broken.push(format!(
                "P1: step {now} writes {len} bytes at {offset} of side {side}, and the claim was lost in step {lost}"
            ));
        }
        match self.declared(&certain, &mut state) {
            Ok((word, on)) => {
                if side != on {
                    broken.push(format!("P6: step {word} is not for side {side}"));
                }
                if let Err(why) = self.belongs(&state, side, device, extent, &word) {
                    broken.push(format!(
                        "P3: step {word} writes {len} bytes at {offset} of side {side}: {why}"
                    ));
                }
            }
            Err(why) => broken.push(format!("P6: {len} bytes at {offset} of side {side}, but {why}")),
        }
        if self.keeps() && !state.kept {
            match self.salvages(&certain, &mut state) {
                Ok(_) => state.kept = true,
                Err(why) => broken.push(format!("P2: {len} bytes at {offset} of side {side}, but {why}")),
            }
        }
        state.broken.extend(broken);
    }

    /// The step that is under way, by what is durable.
    fn declared(&self, certain: &FakeStore, state: &mut State) -> Declared {
        let bytes = certain.content(FILE).ok_or("the journal is not durable")?;
        match &state.declared {
            Some((read, declared)) if *read == bytes => declared.clone(),
            _ => {
                let declared = self.declared_in(&bytes);
                state.declared = Some((bytes, declared.clone()));
                declared
            }
        }
    }

    fn declared_in(&self, journal: &[u8]) -> Declared {
        let replay = parse(journal).map_err(|damage| format!("the durable journal is damaged: {damage}"))?;
        if replay.tail != Tail::Clean {
            return Err("the durable journal has a torn tail".to_owned());
        }
        let last = replay.records.last().ok_or("the durable journal is empty")?;
        let (Event::Intent { step, name }, Some(_)) = (&last.event, &last.incident) else {
            return Err(format!("the last durable record is {:?}", last.event));
        };
        let victim = self.survivor.other();
        let settles = self.settles.load(Ordering::Relaxed);
        let on = match (name.word.as_str(), step) {
            // What was found too late to be in sync is made Inconsistent again.
            ("mark-inconsistent" | "overwrite" | "verify-relation", _) => victim,
            ("settle-metadata", step) if *step == settles => victim,
            ("settle-metadata", step) if *step == settles + 1 => self.survivor,
            ("restore-metadata", 5) => victim,
            ("restore-metadata", 6) => self.survivor,
            _ => return Err(format!("the declared step is {step}, {}", name.word)),
        };
        Ok((name.word.clone(), on))
    }

    fn belongs(
        &self,
        state: &State,
        side: Side,
        device: Device,
        extent: Extent,
        word: &str,
    ) -> Result<(), String> {
        let volume = &self.images.sides[side];
        let geometry = &volume.geometry;
        let on_metadata = (device == Device::Metadata) == volume.metadata.is_some();
        let superblock = Extent { start: geometry.superblock_at, len: 4096 };
        let area: ExtentSet = [superblock, geometry.log, geometry.bitmap].into_iter().collect();
        let (right_device, allowed) = match word {
            "mark-inconsistent" | "verify-relation" => (on_metadata, [superblock].into_iter().collect()),
            "overwrite" => (
                device == Device::Data,
                state.healing.as_ref().map_or_else(ExtentSet::empty, |(_, overwrite)| overwrite.clone()),
            ),
            _ => (on_metadata, area),
        };
        if right_device && allowed.covers(&extent) {
            Ok(())
        } else {
            Err("that is not what it is for".to_owned())
        }
    }

    /// The complete salvages of the healing, each verified and compared with how everything was.
    fn salvages(&self, store: &FakeStore, state: &mut State) -> Result<Vec<Pair<ExtentSet>>, String> {
        let key = store.fingerprint(salvage::FOLDER);
        if let Some(known) = state.salvages.get(&key) {
            return known.clone();
        }
        let found = self.read_salvages(store, state);
        state.salvages.insert(key, found.clone());
        found
    }

    fn read_salvages(&self, store: &FakeStore, state: &State) -> Result<Vec<Pair<ExtentSet>>, String> {
        let (plan, overwrite) = state.healing.as_ref().ok_or("nothing was planned")?;
        let victim = self.survivor.other();
        let mut complete = Vec::new();
        for found in salvage::list(store).map_err(|error| in_words(&error))? {
            let salvage::State::Complete(manifest) = found.state else { continue };
            if manifest.plan != *plan {
                continue;
            }
            salvage::verify(store, &found.dir, &Silent).map_err(|error| in_words(&error))?;
            let mut metadata = Pair::new(ExtentSet::empty(), ExtentSet::empty());
            let mut others = false;
            for part in &manifest.parts {
                let reader =
                    salvage::reader(store, &found.dir, part.kind).map_err(|error| in_words(&error))?;
                let before = match part.kind {
                    PartKind::VictimData => &self.images.sides[victim].data[..],
                    PartKind::VictimMetadata => self.images.sides[victim].metadata_device(),
                    PartKind::SurvivorMetadata => self.images.sides[self.survivor].metadata_device(),
                };
                for extent in reader.kept().iter() {
                    let mut bytes = vec![0; usize::try_from(extent.len).unwrap()];
                    reader.read_at(extent.start, &mut bytes).map_err(|error| in_words(&error))?;
                    let from = usize::try_from(extent.start).unwrap();
                    // Of bytes that somebody else wrote: no plan may rely on that one.
                    others |= bytes != before[from..from + bytes.len()];
                }
                match part.kind {
                    PartKind::VictimData if !overwrite.subtract(reader.kept()).is_empty() => {
                        return Err(format!("{} does not keep everything", part.file));
                    }
                    PartKind::VictimData => {}
                    PartKind::VictimMetadata => metadata[victim] = reader.kept().clone(),
                    PartKind::SurvivorMetadata => metadata[self.survivor] = reader.kept().clone(),
                }
            }
            if !others {
                complete.push(metadata);
            }
        }
        if complete.is_empty() { Err("there is no complete salvage".to_owned()) } else { Ok(complete) }
    }

    /// Nothing of what was there is lost, by what `content` and the state directory hold.
    ///
    /// # Errors
    /// What is lost.
    pub fn nothing_lost(
        &self,
        content: impl Fn(Side, Device) -> Vec<u8>,
        store: &FakeStore,
    ) -> Result<(), String> {
        let mut state = self.state.lock().unwrap();
        let mut changed = false;
        let mut metadata = Pair::new(ExtentSet::empty(), ExtentSet::empty());
        for side in Side::BOTH {
            let volume = &self.images.sides[side];
            let victim = side != self.survivor;
            let size = usize::try_from(self.images.size).unwrap();
            let area: ExtentSet = [
                Extent { start: volume.geometry.superblock_at, len: 4096 },
                volume.geometry.log,
                volume.geometry.bitmap,
            ]
            .into_iter()
            .collect();
            let devices = [(Device::Data, Some(&volume.data)), (Device::Metadata, volume.metadata.as_ref())];
            for (device, before) in devices {
                let Some(before) = before else { continue };
                let now = content(side, device);
                let other = &self.images.sides[self.survivor].data;
                for at in (0..before.len()).step_by(SECTOR) {
                    let sector = at..(at + SECTOR).min(before.len());
                    if now[sector.clone()] == before[sector.clone()] {
                        continue;
                    }
                    changed = true;
                    let extent = Extent::between(sector.start as u64, sector.end as u64);
                    if device == Device::Data && at < size {
                        if !victim {
                            return Err(format!("the survivor's data changed at {at}"));
                        }
                        if now[sector.clone()] != other[sector.clone()] {
                            return Err(format!("the victim has something foreign at {at}"));
                        }
                    } else if (device == Device::Metadata) == volume.metadata.is_some()
                        && area.covers(&extent)
                    {
                        metadata[side].push(extent);
                    } else {
                        return Err(format!(
                            "{device:?} of side {side} changed at {at}, where nothing is ours"
                        ));
                    }
                }
            }
        }
        if !changed || !self.keeps() {
            return Ok(());
        }
        let kept = self.salvages(store, &mut state)?;
        let whole = |kept: &Pair<ExtentSet>| {
            Side::BOTH.into_iter().all(|side| metadata[side].subtract(&kept[side]).is_empty())
        };
        if kept.iter().any(whole) { Ok(()) } else { Err("changed metadata is not in the salvage".to_owned()) }
    }

    /// What an ending says is what the journal says, and what happened.
    ///
    /// # Errors
    /// The contradiction.
    pub fn ending_is_honest(&self, ending: &Ending, store: &FakeStore) -> Result<(), String> {
        let story = Journal::read(store).map_err(|error| in_words(&error))?.ok_or("no journal")?;
        let incident = |state: &dyn Fn(&IncidentState) -> bool| {
            story.incidents.as_slice().iter().any(|incident| state(&incident.state))
        };
        let fine = match ending {
            // No plan here fences anybody.
            Ending::Fenced => false,
            Ending::Parked { why, .. } => {
                !why.is_empty()
                    && incident(
                        &|state| matches!(state, IncidentState::Parked { why, next, .. } if !why.0.is_empty() && next.starts_with("unsplit ")),
                    )
            }
            Ending::Abandoned { why, .. } => {
                !why.is_empty()
                    && self.writes() == 0
                    && incident(&|state| {
                        matches!(state, IncidentState::Closed { outcome: Outcome::Abandoned })
                    })
            }
            Ending::Finished(_) if self.state.lock().unwrap().unverified => false,
            Ending::Finished(outcome) => incident(
                &|state| matches!(state, IncidentState::Closed { outcome: closed } if closed == outcome),
            ),
        };
        if fine { Ok(()) } else { Err(format!("P7: {ending:?} after {} writes; {story:?}", self.writes())) }
    }
}
