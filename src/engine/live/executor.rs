//! Runs a sealed live plan, one journaled step after the other.
//!
//! Every step looks first where the two nodes stand, so a run that was cut off is run again from its first step: what DRBD has
//! begun or done meanwhile by itself is found, not assumed. Nothing is given up without [`Standstill`] and [`Preserved`].

use super::draw::{content_of, generations, look_beside};
use super::pair::{LivePair, PairError, look};
use super::standing::{Standing, standing};
use crate::engine::contents::same_within;
use crate::engine::executor::{Ending, Obstacle, in_words};
use crate::engine::inquiry::{self, InquiryError, Sight};
use crate::engine::journal::{Cursor, Journal, JournalError, Ready, Recorded, Stopped};
use crate::engine::salvage::{self, Label, PartSource, dir_of};
use crate::judge::live_plan::{SealedLivePlan, would_heal};
use crate::model::drbd::Superblock;
use crate::model::drbd_live::words::{DiskState, Role};
use crate::model::extent::ExtentSet;
use crate::model::id::{Digest, IncidentId, PlanId};
use crate::model::lineage::Relation;
use crate::model::live_plan::{LivePlan, LiveStep, LiveVolume, Reach};
use crate::model::node::NodeAct;
use crate::model::plan::Purpose;
use crate::model::policy::{SalvageRule, Settings};
use crate::model::record::{Consent, Event, Outcome};
use crate::model::salvage::PartKind;
use crate::model::seen::{End, Why};
use crate::model::side::{Pair, Side};
use crate::ports::clock::Clock;
use crate::ports::node::{Node, Operated};
use crate::ports::progress::Progress;
use crate::ports::replica::Replica;
use crate::ports::store::Store;
use crate::proof::{OperatorSaidNoSalvage, Preserved, Standstill, Wanted};
use std::time::Duration;

/// How long is waited for DRBD.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Until two nodes that were told to connect have shaken hands.
    pub connect: Duration,
    /// Until a resync that makes no progress counts as stuck.
    pub stall: Duration,
    /// Between two looks.
    pub look: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            connect: Duration::from_secs(90),
            stall: Duration::from_secs(300),
            look: Duration::from_millis(300),
        }
    }
}

/// Where a live plan runs.
#[derive(Clone, Copy)]
pub struct LiveTheatre<'w> {
    /// The two nodes.
    pub nodes: Pair<&'w dyn Operated>,
    /// The state directory.
    pub store: &'w dyn Store,
    /// Time, for records.
    pub clock: &'w dyn Clock,
    /// Who watches.
    pub progress: &'w dyn Progress,
    /// Lets time pass.
    pub pause: &'w dyn Fn(Duration),
    /// Threads for reading and hashing.
    pub threads: usize,
    /// How long is waited.
    pub patience: Patience,
}

/// Begins a new incident with this plan and runs it.
///
/// # Errors
/// [`JournalError`]: without a journal nothing is done.
pub fn begin(
    journal: &mut Journal,
    theatre: LiveTheatre<'_>,
    sealed: &SealedLivePlan,
    incident: &IncidentId,
    consent: Consent,
    waived: Option<OperatorSaidNoSalvage>,
) -> Result<Ending, JournalError> {
    let cursor = journal.begin(incident.clone(), sealed.plan().resource.clone(), sealed.id(), consent)?;
    run(cursor, theatre, sealed, incident, false, waived)
}

/// Takes up an interrupted or parked incident again.
///
/// # Errors
/// [`JournalError`].
pub fn resume(
    journal: &mut Journal,
    theatre: LiveTheatre<'_>,
    sealed: &SealedLivePlan,
    incident: &IncidentId,
    waived: Option<OperatorSaidNoSalvage>,
) -> Result<Ending, JournalError> {
    let touched = touched(journal, sealed.plan(), incident);
    run(journal.resume(incident)?, theatre, sealed, incident, touched, waived)
}

/// Whether the incident ever came to a step after which data may be overwritten.
#[must_use]
pub fn touched(journal: &Journal, plan: &LivePlan, incident: &IncidentId) -> bool {
    let history = journal.incident(incident).map_or(&[][..], |incident| &incident.history);
    history.iter().any(|record| {
        matches!(&record.event, Event::Intent { step, .. } if plan.steps.get(*step).is_some_and(|step| step.overwrites()))
    })
}

/// The folder name of one volume's salvage: an incident's name with the volume.
///
/// # Errors
/// Never in practice: the name grows by a few characters.
pub fn salvage_of(incident: &IncidentId, volume: u32) -> Result<IncidentId, String> {
    IncidentId::new(&format!("{incident}-v{volume}")).map_err(|error| error.to_string())
}

fn run(
    mut cursor: Cursor<'_, Ready>,
    theatre: LiveTheatre<'_>,
    sealed: &SealedLivePlan,
    incident: &IncidentId,
    touched: bool,
    waived: Option<OperatorSaidNoSalvage>,
) -> Result<Ending, JournalError> {
    let plan = sealed.plan();
    let mut stage = Stage {
        theatre,
        plan,
        id: sealed.id(),
        incident,
        touched,
        waived,
        armed: false,
        sights: Vec::new(),
        marks: Vec::new(),
        kept: None,
        obstacle: None,
    };
    for (index, step) in plan.steps.iter().enumerate() {
        let performed = cursor.declare(index, step.word())?.perform(|_| stage.perform(*step));
        match performed.record()? {
            Recorded::Well(next) => {
                stage.touched |= step.overwrites();
                cursor = next;
            }
            Recorded::Badly(stopped) => return stage.give_way(stopped, step.overwrites()),
        }
    }
    let outcome = match plan.purpose {
        Purpose::Heal => Outcome::Healed,
        Purpose::Undo { .. } => Outcome::Undone,
    };
    cursor.close(outcome)?;
    Ok(Ending::Finished(outcome))
}

/// One volume, opened and looked at.
pub(super) struct Seen {
    pub(super) replicas: Pair<Box<dyn Replica>>,
    pub(super) sight: Sight,
}

/// What shows, without reading its data again, that nobody wrote to the victim's volume meanwhile: the kernel counts writes
/// since the device was attached, and whoever attaches it anew and writes leaves traces in the metadata.
#[derive(PartialEq, Eq)]
struct Mark {
    boot: Option<String>,
    written: Option<u64>,
    superblock: Superblock,
    area: Digest,
}

/// One run.
pub(super) struct Stage<'r, 'w> {
    pub(super) theatre: LiveTheatre<'w>,
    pub(super) plan: &'r LivePlan,
    pub(super) id: PlanId,
    pub(super) incident: &'r IncidentId,
    /// An overwriting step was declared, now or in an earlier run.
    pub(super) touched: bool,
    /// The victim was told, in this run, to give up its data.
    pub(super) armed: bool,
    waived: Option<OperatorSaidNoSalvage>,
    pub(super) sights: Vec<Seen>,
    /// Of each volume whose content was last found as the plan has it: what the victim showed then.
    marks: Vec<(u32, Mark)>,
    pub(super) kept: Option<Vec<Preserved>>,
    obstacle: Option<Obstacle>,
}

impl<'w> Stage<'_, 'w> {
    fn give_way(&self, stopped: Cursor<'_, Stopped>, in_overwriting: bool) -> Result<Ending, JournalError> {
        let obstacle = self.obstacle.unwrap_or(Obstacle::Device);
        match stopped.end().clone() {
            End::NotDone(why) if !self.touched && !in_overwriting => {
                stopped.abandon()?;
                Ok(Ending::Abandoned { obstacle, why: why.0 })
            }
            End::NotDone(why) | End::Unknown(why) => {
                stopped.park(why.clone(), format!("unsplit resolve --resume {}", self.incident))?;
                Ok(Ending::Parked { obstacle, why: why.0 })
            }
            End::Done | End::AlreadySo => {
                stopped.park("a step that ended well was taken for a failure", "unsplit history").map(|_| {
                    Ending::Parked { obstacle, why: "a defect in unsplit: please report it".to_owned() }
                })
            }
        }
    }

    pub(super) fn stopped(&mut self, obstacle: Obstacle, why: impl Into<String>) -> End {
        self.obstacle = Some(obstacle);
        End::NotDone(Why(why.into()))
    }

    pub(super) fn not_done(&mut self, obstacle: Obstacle, error: &dyn std::error::Error) -> End {
        self.stopped(obstacle, in_words(error))
    }

    fn perform(&mut self, step: LiveStep) -> End {
        match step {
            LiveStep::Isolate => self.isolate(),
            LiveStep::Demote => self.demote(),
            LiveStep::CheckBasis => match self.plan.purpose {
                Purpose::Heal => self.check_basis(),
                Purpose::Undo { .. } => self.check_undo(),
            },
            LiveStep::Preserve { .. } => self.preserve(),
            LiveStep::Invalidate => self.invalidate(),
            LiveStep::Reconnect => self.reconnect(),
            LiveStep::Resync => self.resync(),
            LiveStep::VerifyRelation => self.verify_relation(),
            LiveStep::VerifyContent { full } => self.verify_content(full),
            LiveStep::RestorePolicies => self.restore_policies(),
            LiveStep::Promote => self.promote(),
            LiveStep::WriteBack { .. } => self.write_back(),
            LiveStep::StepDown => self.step_down(),
            LiveStep::Record => End::Done,
        }
    }

    pub(super) fn survivor(&self) -> &'w dyn Operated {
        self.theatre.nodes[self.plan.survivor]
    }

    pub(super) fn victim(&self) -> &'w dyn Operated {
        self.theatre.nodes[self.plan.victim()]
    }

    /// Both nodes, asked now. A plan runs only on the machines and the connection it was drawn for.
    pub(super) fn look(&mut self) -> Result<LivePair, End> {
        let nodes = self.theatre.nodes.map(|node| node as &dyn Node);
        match look(nodes, &self.plan.resource) {
            Ok(pair) => {
                let machines = pair.reports.as_ref().map(|report| report.machine.clone());
                let volumes: Vec<u32> = pair.volumes.iter().map(|volume| volume.volume).collect();
                let planned: Vec<u32> = self.plan.volumes.iter().map(|volume| volume.volume).collect();
                let same = machines == self.plan.machines
                    && pair.toward == self.plan.toward
                    && pair.generation == self.plan.generation
                    && volumes == planned;
                if same {
                    Ok(pair)
                } else {
                    Err(self.stopped(
                        Obstacle::Stale,
                        format!(
                            "{} is not the resource on the nodes that the plan was drawn for. Draw a new plan",
                            self.plan.resource
                        ),
                    ))
                }
            }
            Err(error @ PairError::Unseen { .. }) => Err(self.not_done(Obstacle::Link, &error)),
            Err(error) => Err(self.not_done(Obstacle::Stale, &error)),
        }
    }

    pub(super) fn standing(&mut self) -> Result<(LivePair, Standing), End> {
        let pair = self.look()?;
        let standing = standing(pair.told.as_ref(), &pair.toward, self.plan.survivor);
        Ok((pair, standing))
    }

    /// An act of somebody's, and what stopped it.
    pub(super) fn acted(&mut self, obstacle: Obstacle, end: End) -> Result<(), End> {
        match end {
            End::Done | End::AlreadySo => Ok(()),
            other => {
                self.obstacle = Some(obstacle);
                Err(other)
            }
        }
    }

    /// Once DRBD overwrites, or has overwritten, in the plan's direction, the steps before are over.
    fn is_under_way(&mut self) -> Result<bool, End> {
        if !self.touched {
            return Ok(false);
        }
        let (_, standing) = self.standing()?;
        Ok(matches!(standing, Standing::Resyncing { .. } | Standing::Joined))
    }

    fn isolate(&mut self) -> End {
        let (_, standing) = match self.standing() {
            Ok(found) => found,
            Err(end) => return end,
        };
        match standing {
            Standing::Apart(_) => {}
            Standing::Resyncing { .. } | Standing::Joined if self.touched => return End::AlreadySo,
            Standing::Backwards { volume } if self.touched => return self.stop_backwards(volume),
            _ => {
                return self.stopped(
                    Obstacle::Stale,
                    format!(
                        "{} is connected: what the plan was drawn from is over. `unsplit status {}` shows what is",
                        self.plan.resource, self.plan.resource
                    ),
                );
            }
        }
        let toward = self.plan.toward[self.plan.victim()].clone();
        let end = self.victim().act(&NodeAct::Disconnect(toward));
        match self.acted(Obstacle::Busy, end) {
            Ok(()) => End::Done,
            Err(end) => end,
        }
    }

    fn demote(&mut self) -> End {
        match self.is_under_way() {
            Ok(true) => return End::AlreadySo,
            Ok(false) => {}
            Err(end) => return end,
        }
        let (name, side) = (self.plan.names[self.plan.victim()].clone(), self.plan.victim());
        match self.look() {
            // Nobody can have a Secondary's devices open.
            Ok(pair) if pair.told[side].info.role == Some(Role::Secondary) => return End::AlreadySo,
            Ok(_) => {}
            Err(end) => return end,
        }
        let mut in_use = Vec::new();
        for volume in &self.plan.volumes {
            match self.victim().users(volume.minors[self.plan.victim()]) {
                Ok(users) => in_use.extend(users.into_iter().map(|user| {
                    let end = user.ends_with.map(|how| format!(" (`{how}`)")).unwrap_or_default();
                    format!("volume {}: {}{end}", volume.volume, user.who)
                })),
                Err(error) => return self.not_done(Obstacle::Busy, &error),
            }
        }
        let resource = self.plan.resource.clone();
        if !in_use.is_empty() {
            return self.stopped(
                Obstacle::Busy,
                format!(
                    "{resource} is in use on {name}, whose data would be overwritten: {}. Stop that first",
                    in_use.join("; ")
                ),
            );
        }
        let end = self.victim().act(&NodeAct::Demote { resource });
        match self.acted(Obstacle::Busy, end) {
            Ok(()) => End::Done,
            Err(End::NotDone(why)) => self.stopped(
                Obstacle::Busy,
                format!("{} stays Primary on {name}: {why}. If a cluster manager holds it there, put it into maintenance mode first", self.plan.resource),
            ),
            Err(other) => other,
        }
    }

    /// The proof that the victim stands still, now.
    pub(super) fn still(&mut self, pair: &LivePair) -> Result<Standstill, End> {
        let victim = self.plan.victim();
        Standstill::prove(&pair.told[victim], self.plan.toward[victim].clone()).map_err(|error| {
            let name = &self.plan.names[victim];
            self.obstacle = Some(Obstacle::Busy);
            End::NotDone(Why(format!(
                "{name} does not stand still: {error}. Does a cluster manager, LINSTOR or `drbdadm adjust` act on it? Put \
                 that into maintenance mode first"
            )))
        })
    }

    fn check_basis(&mut self) -> End {
        match self.is_under_way() {
            Ok(true) => {
                return match self.prove_kept() {
                    Ok(()) => End::AlreadySo,
                    Err(end) => end,
                };
            }
            Ok(false) => {}
            Err(end) => return end,
        }
        if self.touched
            && let Err(end) = self.prove_kept()
        {
            return end;
        }
        let pair = match self.look() {
            Ok(pair) => pair,
            Err(end) => return end,
        };
        if let Err(end) = self.still(&pair) {
            return end;
        }
        self.sights.clear();
        self.marks.clear();
        match self.all_as_drawn(&pair) {
            Ok(()) => End::Done,
            Err(end) => end,
        }
    }

    /// Whether the victim may have been overwritten already, now or in an earlier run.
    fn begun(&self) -> bool {
        self.touched || self.armed
    }

    /// What the plan rests on is still so. Looked at again before each act that gives up data: a cluster manager may have
    /// promoted the victim, and a guest may have written there, while it was kept or while a connection was refused. Where the
    /// kernel and the metadata show that nothing was written since the last look, the data is not read again.
    pub(super) fn all_as_drawn(&mut self, pair: &LivePair) -> Result<(), End> {
        let victim = self.plan.victim();
        for (planned, found) in self.plan.volumes.iter().zip(&pair.volumes) {
            // A resync that was cut off leaves the victim Inconsistent: nobody can have written there since, and all that
            // it held is in the salvage.
            if self.begun() && found.disks[victim] == DiskState::Inconsistent {
                continue;
            }
            let open = |side: Side| self.theatre.nodes[side].replica(&found.backing[side]);
            let replicas = match (open(Side::A), open(Side::B)) {
                (Ok(a), Ok(b)) => Pair::new(a, b),
                (Err(error), _) | (_, Err(error)) => return Err(self.not_done(Obstacle::Device, &error)),
            };
            // Before the data is read: what is written during the reading counts as written after it.
            let mark = self.mark(planned, pair, &*replicas[victim])?;
            let last = self.marks.iter().position(|(volume, _)| *volume == planned.volume);
            if last.is_some_and(|at| self.marks[at].1 == mark && mark.tells()) {
                continue;
            }
            let seen = self.as_drawn(planned, pair, replicas)?;
            if let Some(at) = last {
                self.marks.remove(at);
            }
            self.marks.push((planned.volume, mark));
            if self.kept.is_none() {
                self.sights.push(seen);
            }
        }
        Ok(())
    }

    fn mark(&mut self, planned: &LiveVolume, pair: &LivePair, victim: &dyn Replica) -> Result<Mark, End> {
        let side = self.plan.victim();
        let device = pair.told[side].devices.iter().find(|device| device.volume == planned.volume);
        let area = victim.area_digest().map_err(|error| self.not_done(Obstacle::Device, &error))?;
        let superblock = victim.superblock().map_err(|error| self.not_done(Obstacle::Device, &error))?;
        let written = device.and_then(|device| device.statistics.written);
        Ok(Mark { boot: pair.reports[side].boot.clone(), written, superblock, area })
    }

    fn as_drawn(
        &mut self,
        planned: &LiveVolume,
        pair: &LivePair,
        replicas: Pair<Box<dyn Replica>>,
    ) -> Result<Seen, End> {
        let (victim, number) = (self.plan.victim(), planned.volume);
        let LiveTheatre { clock, pause, threads, progress, .. } = self.theatre;
        let roles = pair.told.as_ref().map(|told| told.info.role == Some(Role::Secondary));
        let settings = Settings::drbd_defaults();
        let sight = look_beside(replicas.as_ref().map(|replica| &**replica), roles, &settings, clock, pause)
            .map_err(|error| self.not_done(inquiry_obstacle(&error), &error))?;
        let superblocks = sight.evidence.as_ref().map(|seen| &seen.superblock);
        let same = |side: Side| {
            generations(superblocks[side], superblocks[side.other()]).same(&planned.generations[side])
        };
        // A resync that came to its end before the two parted again: the victim holds nothing of its own any more.
        let survivor_leads = if self.plan.survivor == Side::A { Relation::Ahead } else { Relation::Behind };
        if self.begun()
            && !same(victim)
            && (sight.comparison.relation == Relation::InSync || sight.comparison.relation == survivor_leads)
        {
            return Ok(Seen { replicas, sight });
        }
        for side in Side::BOTH {
            // Once it is begun, a survivor that goes on is no reason to stop half-way: what DRBD would do decides.
            let excused = self.begun() && side == self.plan.survivor;
            if !(same(side) || excused) {
                return Err(self.stopped(
                    Obstacle::Stale,
                    format!(
                        "volume {number} has another generation on {} than when the plan was drawn. Draw a new plan",
                        self.plan.names[side]
                    ),
                ));
            }
        }
        let names = self.plan.names.as_ref().map(|name| name.as_str());
        if let Err(why) = would_heal(sight.lineages.as_ref(), names, self.plan.survivor, planned.reach) {
            return Err(self.stopped(Obstacle::Stale, format!("volume {number}: {why}. Draw a new plan")));
        }
        let marks = &sight.evidence[victim].marks.bitmap;
        let more = marks.clip(planned.size).subtract(&planned.victim_marks);
        if let Some(first) = more.first() {
            return Err(self.stopped(
                Obstacle::Stale,
                format!(
                    "{} wrote to volume {number} since the plan was drawn (at byte {}). Draw a new plan",
                    self.plan.names[victim], first.start
                ),
            ));
        }
        let content = content_of(&*replicas[victim], &planned.guarded(), threads, progress)
            .map_err(|error| self.not_done(Obstacle::Device, &error))?;
        if content != planned.content {
            return Err(self.stopped(
                Obstacle::Stale,
                format!(
                    "{}'s data of volume {number} is not what it was when the plan was drawn. Draw a new plan",
                    self.plan.names[victim]
                ),
            ));
        }
        Ok(Seen { replicas, sight })
    }

    /// The salvages, where they must exist by now.
    pub(super) fn prove_kept(&mut self) -> Result<(), End> {
        if self.kept.is_some() {
            return Ok(());
        }
        if !self.plan.salvage {
            return self.waive();
        }
        let mut kept = Vec::new();
        for volume in self.plan.volumes.iter().filter(|volume| !volume.overwrite.is_empty()) {
            let incident = salvage_of(self.incident, volume.volume)
                .map_err(|why| self.stopped(Obstacle::Salvage, why))?;
            let parts = vec![(PartKind::VictimData, volume.overwrite.clone())];
            let wanted = Wanted { incident: incident.clone(), plan: self.id, parts };
            let proof =
                salvage::prove_again(self.theatre.store, &dir_of(&incident), &wanted, self.theatre.progress);
            match proof {
                Ok((_, proof)) => kept.push(proof),
                Err(error) => return Err(self.not_done(Obstacle::Salvage, &error)),
            }
        }
        self.kept = Some(kept);
        Ok(())
    }

    fn waive(&mut self) -> Result<(), End> {
        let Some(said) = self.waived else {
            return Err(self.stopped(
                Obstacle::Salvage,
                "the plan takes no salvage, and the command line did not say --no-salvage",
            ));
        };
        match Preserved::waived(SalvageRule::Off, &said, self.incident.clone()) {
            Ok(waived) => {
                self.kept = Some(vec![waived]);
                Ok(())
            }
            Err(error) => Err(self.not_done(Obstacle::Salvage, &error)),
        }
    }

    fn preserve(&mut self) -> End {
        if self.kept.is_some() {
            return End::AlreadySo;
        }
        if !self.plan.salvage {
            return self.waive().map_or_else(|end| end, |()| End::AlreadySo);
        }
        let mut kept = Vec::new();
        for (planned, seen) in self.plan.volumes.iter().zip(std::mem::take(&mut self.sights)) {
            match self.preserve_one(planned, &seen) {
                Ok(Some(proof)) => kept.push(proof),
                Ok(None) => {}
                Err(end) => return end,
            }
        }
        self.kept = Some(kept);
        End::Done
    }

    /// Keeps all that differs now: the survivor may have gone on writing since the plan was drawn.
    fn preserve_one(&mut self, planned: &LiveVolume, seen: &Seen) -> Result<Option<Preserved>, End> {
        let LiveTheatre { store, clock, progress, threads, .. } = self.theatre;
        let replicas = seen.replicas.as_ref().map(|replica| &**replica);
        // An undo overwrites what the plan says, on both nodes; a healing all that differs.
        let extents = if self.plan.purpose == Purpose::Heal {
            let full = planned.reach != Reach::Bitmaps;
            let delta = inquiry::diff(replicas, &seen.sight, full, threads, progress)
                .map_err(|error| self.not_done(inquiry_obstacle(&error), &error))?;
            if let Some(bad) = delta.unreadable.first() {
                let why = format!(
                    "volume {} cannot be read on {} at byte {}: {}. What cannot be read cannot be kept",
                    planned.volume, self.plan.names[bad.side], bad.extent.start, bad.why
                );
                return Err(self.stopped(Obstacle::Device, why));
            }
            delta.differs.union(&planned.overwrite)
        } else {
            planned.overwrite.clone()
        };
        if extents.is_empty() {
            return Ok(None);
        }
        let incident =
            salvage_of(self.incident, planned.volume).map_err(|why| self.stopped(Obstacle::Salvage, why))?;
        let (from, other) = match self.plan.purpose {
            Purpose::Heal => (self.plan.victim(), self.plan.survivor),
            Purpose::Undo { .. } => (self.plan.survivor, self.plan.victim()),
        };
        let part = PartSource {
            kind: PartKind::VictimData,
            disk: replicas[from].data(),
            extents: &extents,
            virtual_size: planned.size,
            // A path of another machine would lead to something else here, or nowhere.
            backing: Some(&planned.sources[other]).filter(|at| at.on.is_none()).map(|at| at.data.clone()),
        };
        let label = Label {
            incident: incident.clone(),
            plan: self.id,
            resource: self.plan.resource.clone(),
            victim: from,
            victim_name: self.plan.names[from].clone(),
            survivor_name: self.plan.names[other].clone(),
            taken_at: clock.now(),
        };
        let dir = dir_of(&incident);
        let wanted = Wanted { incident, plan: self.id, parts: vec![(PartKind::VictimData, extents.clone())] };
        let manifest = format!("{dir}/{}", salvage::MANIFEST);
        // A run that was cut off may have kept what differed then. Nothing was overwritten since, so where more differs now
        // it is taken anew.
        let earlier = store.len(&manifest).map(|len| len.is_some());
        if matches!(earlier, Ok(true))
            && salvage::prove_again(store, &dir, &wanted, progress).is_err()
            && let Err(error) = store.remove(&manifest)
        {
            return Err(self.not_done(Obstacle::Salvage, &error));
        }
        match salvage::take(store, &dir, &label, &[part], progress) {
            Ok(kept) => Ok(Some(kept.proof)),
            Err(error) => Err(self.not_done(Obstacle::Salvage, &error)),
        }
    }

    fn verify_relation(&mut self) -> End {
        let (pair, standing) = match self.standing() {
            Ok(found) => found,
            Err(end) => return end,
        };
        if standing != Standing::Joined {
            return self.stopped(Obstacle::Verify, format!("the two are not joined: {standing:?}"));
        }
        for planned in &self.plan.volumes {
            let current = |side: Side| {
                let device = pair.told[side].devices.iter().find(|device| device.volume == planned.volume);
                device.and_then(|device| device.statistics.current)
            };
            match (current(Side::A), current(Side::B)) {
                // In the plan's direction the generation is the survivor's, or a later one; never the victim's.
                (Some(a), Some(b))
                    if a.same(b)
                        && a.same(planned.generations[self.plan.victim()].current)
                        && !a.same(planned.generations[self.plan.survivor].current) =>
                {
                    return self.stopped(
                        Obstacle::Verify,
                        format!(
                            "volume {}: both nodes now hold {}'s generation. Somebody let DRBD overwrite {} instead, whose data this plan \
                             keeps",
                            planned.volume,
                            self.plan.names[self.plan.victim()],
                            self.plan.names[self.plan.survivor]
                        ),
                    );
                }
                (Some(a), Some(b)) if a.same(b) => {}
                (a, b) => {
                    let words = |uuid: Option<_>| {
                        uuid.map_or("unknown".to_owned(), |uuid: crate::model::drbd::GenerationUuid| {
                            uuid.to_string()
                        })
                    };
                    return self.stopped(
                        Obstacle::Verify,
                        format!(
                            "volume {}: the generations are {} and {}",
                            planned.volume,
                            words(a),
                            words(b)
                        ),
                    );
                }
            }
        }
        End::Done
    }

    /// Compares the contents beside DRBD. A survivor that goes on writing shows differences for moments: only what differs at
    /// every look counts.
    fn verify_content(&mut self, full: bool) -> End {
        const LOOKS: u32 = 12;
        let pair = match self.look() {
            Ok(pair) => pair,
            Err(end) => return end,
        };
        for (planned, found) in self.plan.volumes.iter().zip(&pair.volumes) {
            let open = |side: Side| self.theatre.nodes[side].replica(&found.backing[side]);
            let replicas = match (open(Side::A), open(Side::B)) {
                (Ok(a), Ok(b)) => Pair::new(a, b),
                (Err(error), _) | (_, Err(error)) => return self.not_done(Obstacle::Device, &error),
            };
            let replicas = replicas.as_ref().map(|replica| &**replica);
            let mut scope = if full { ExtentSet::whole(planned.size) } else { planned.guarded() };
            for look in 1..=LOOKS {
                if scope.is_empty() {
                    break;
                }
                let LiveTheatre { threads, progress, .. } = self.theatre;
                let compared = match same_within(replicas, planned.size, &scope, threads, progress) {
                    Ok(compared) => compared,
                    Err(error) => return self.not_done(inquiry_obstacle(&error), &error),
                };
                if let Some(bad) = compared.unreadable.first() {
                    let name = &self.plan.names[bad.side];
                    let why = format!(
                        "volume {} cannot be read on {name} at byte {}: {}",
                        planned.volume, bad.extent.start, bad.why
                    );
                    return self.stopped(Obstacle::Device, why);
                }
                scope = compared.differs;
                if look < LOOKS && !scope.is_empty() {
                    (self.theatre.pause)(Duration::from_millis(400));
                }
            }
            if let Err(end) = self.verify_restored(planned, replicas) {
                return end;
            }
            if let Some(first) = scope.first() {
                return self.stopped(
                    Obstacle::Verify,
                    format!(
                        "volume {}: {} bytes still differ between the nodes, the first at byte {}, although DRBD calls them in sync",
                        planned.volume, scope.bytes(), first.start
                    ),
                );
            }
        }
        End::Done
    }

    fn restore_policies(&mut self) -> End {
        for side in Side::BOTH {
            let act = NodeAct::RestorePolicies {
                toward: self.plan.toward[side].clone(),
                to: self.plan.policies[side],
            };
            let end = self.theatre.nodes[side].act(&act);
            if let Err(end) = self.acted(Obstacle::Verify, end) {
                return match end {
                    End::NotDone(why) => End::NotDone(Why(format!(
                        "healed, but the after-sb policies of {} on {} stay `disconnect`: {why}. `drbdadm adjust {}` puts the configured ones back",
                        self.plan.resource, self.plan.names[side], self.plan.resource
                    ))),
                    other => other,
                };
            }
        }
        End::Done
    }
}

impl Mark {
    /// A node that tells nothing proves nothing.
    fn tells(&self) -> bool {
        self.boot.is_some() && self.written.is_some()
    }
}

pub(super) fn inquiry_obstacle(error: &InquiryError) -> Obstacle {
    match error {
        InquiryError::Link(_) => Obstacle::Link,
        InquiryError::Unseen { .. } | InquiryError::Compare(_) => Obstacle::Device,
        _ => Obstacle::Stale,
    }
}
