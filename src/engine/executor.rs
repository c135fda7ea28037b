//! Runs a sealed plan, one journaled step after the other. Takes sealed plans only; every overwriting act
//! needs the proofs that earlier steps made.
//!
//! A run that was cut off is run again from its first step: every step is idempotent, and what has been
//! overwritten already is checked against what the plan itself may have left (see [`super::midway`]).

use super::before::{self, BeforeError, Noted};
use super::contents::same_within;
use super::journal::{Cursor, Journal, JournalError, Ready, Recorded, Stopped};
use super::midway::{
    Kept, Stale, Was, area_known, as_drawn, as_left, every_sector_known, nothing_else_differs, same_content,
    still_equal, superblock_known, superblocks_written,
};
use super::overwrite::{Guarded, NotOverwritten, copy, digest_of_pieces};
use super::relation::relation;
use super::salvage::{self, KeptDisk, Label, PartSource, SalvageError, dir_of};
use super::undo::SuperblockLast;
use crate::digest::content::content_digest;
use crate::judge::audit::SealedPlan;
use crate::model::extent::{Extent, ExtentSet};
use crate::model::id::{IncidentId, PlanId};
use crate::model::plan::{Plan, Purpose, Step};
use crate::model::policy::SalvageRule;
use crate::model::record::{Consent, Outcome};
use crate::model::salvage::{PartKind, Piece};
use crate::model::seen::{End, Why};
use crate::model::side::{Pair, Side};
use crate::model::stage::Stage as Line;
use crate::ports::clock::Clock;
use crate::ports::disk::{Disk, DiskFault};
use crate::ports::progress::Progress;
use crate::ports::replica::{Patient, Replica};
use crate::ports::store::Store;
use crate::proof::{OperatorSaidNoSalvage, Permit, Preserved, Quiesced, Wanted};

/// Where a plan runs.
#[derive(Clone, Copy)]
pub struct Theatre<'w> {
    /// The two sides.
    pub patients: Pair<&'w dyn Patient>,
    /// The state directory.
    pub store: &'w dyn Store,
    /// Time, for records.
    pub clock: &'w dyn Clock,
    /// Who watches.
    pub progress: &'w dyn Progress,
    /// Threads for reading and hashing.
    pub threads: usize,
}

/// What kind of obstacle stopped a run: decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// Somebody else may be writing.
    Busy,
    /// The world is not what the plan was drawn from.
    Stale,
    /// The copy could not be taken: space, I/O.
    Salvage,
    /// Reading or writing a side failed.
    Device,
    /// The link to a side was lost.
    Link,
    /// The result is not what was promised.
    Verify,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// All steps are done.
    Finished(Outcome),
    /// Stopped before anything was changed on either side; the incident is closed.
    Abandoned {
        /// What kind of obstacle.
        obstacle: Obstacle,
        /// In words.
        why: String,
    },
    /// Stopped in the middle; nothing is lost; a person must look.
    Parked {
        /// What kind of obstacle.
        obstacle: Obstacle,
        /// In words.
        why: String,
    },
}

/// Begins a new incident with this plan and runs it.
///
/// # Errors
/// [`JournalError`]: without a journal nothing is done.
pub fn begin(
    journal: &Journal,
    theatre: Theatre<'_>,
    sealed: &SealedPlan,
    healed: Option<&SealedPlan>,
    incident: &IncidentId,
    consent: Consent,
    waived: Option<OperatorSaidNoSalvage>,
) -> Result<Ending, JournalError> {
    let cursor = journal.begin(incident.clone(), sealed.plan().resource.clone(), sealed.id(), consent)?;
    run(cursor, theatre, sealed, healed, incident, false, waived)
}

/// Takes up an interrupted or parked incident again.
///
/// # Errors
/// [`JournalError`].
pub fn resume(
    journal: &Journal,
    theatre: Theatre<'_>,
    sealed: &SealedPlan,
    healed: Option<&SealedPlan>,
    incident: &IncidentId,
    waived: Option<OperatorSaidNoSalvage>,
) -> Result<Ending, JournalError> {
    let touched = journal.incident(incident).is_some_and(|incident| incident.touched());
    run(journal.resume(incident)?, theatre, sealed, healed, incident, touched, waived)
}

fn run(
    mut cursor: Cursor<'_, Ready>,
    theatre: Theatre<'_>,
    sealed: &SealedPlan,
    healed: Option<&SealedPlan>,
    incident: &IncidentId,
    touched: bool,
    waived: Option<OperatorSaidNoSalvage>,
) -> Result<Ending, JournalError> {
    let plan = sealed.plan();
    let mut stage = Stage {
        theatre,
        sealed,
        plan,
        healed,
        incident,
        touched,
        again: touched,
        waived,
        quiet: None,
        kept: None,
        standing: None,
        proven: false,
        obstacle: None,
    };
    for (index, step) in plan.steps.iter().enumerate() {
        let performed = cursor.declare(index, step.name())?.perform(|permit| stage.perform(step, permit));
        match performed.record()? {
            Recorded::Well(next) => {
                stage.touched |= step.stage() >= Line::Overwrite;
                cursor = next;
            }
            Recorded::Badly(stopped) => return stage.give_way(stopped),
        }
    }
    let outcome = match plan.purpose {
        Purpose::Heal => Outcome::Healed,
        Purpose::Undo { .. } => Outcome::Undone,
    };
    cursor.close(outcome)?;
    if !plan.salvage {
        before::forget(theatre.store, incident);
    }
    Ok(Ending::Finished(outcome))
}

/// One run: the proofs gathered so far.
struct Stage<'r, 'w> {
    theatre: Theatre<'w>,
    sealed: &'r SealedPlan,
    plan: &'r Plan,
    healed: Option<&'r SealedPlan>,
    incident: &'r IncidentId,
    touched: bool,
    /// An earlier run of this incident touched a side.
    again: bool,
    waived: Option<OperatorSaidNoSalvage>,
    quiet: Option<Quiesced>,
    kept: Option<Preserved>,
    /// What was seen on the victim in this run, where it is to be overwritten.
    standing: Option<Vec<Piece>>,
    /// The contents were found to be what this run promises, after the last of them was written.
    proven: bool,
    obstacle: Option<Obstacle>,
}

/// An error and its causes in one line, for records that outlive the process.
pub fn in_words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        words.push_str(": ");
        words.push_str(&next.to_string());
        cause = next.source();
    }
    words
}

impl<'w> Stage<'_, 'w> {
    /// A step ended badly. Before anything was changed the incident is over; afterwards it waits for a person.
    fn give_way(&self, stopped: Cursor<'_, Stopped>) -> Result<Ending, JournalError> {
        let obstacle = self.obstacle.unwrap_or(Obstacle::Device);
        match stopped.end().clone() {
            End::NotDone(why) if !self.touched => {
                stopped.abandon()?;
                if !self.plan.salvage {
                    before::forget(self.theatre.store, self.incident);
                }
                Ok(Ending::Abandoned { obstacle, why: why.0 })
            }
            End::NotDone(why) | End::Unknown(why) => {
                stopped.park(why.clone(), self.way_out(obstacle))?;
                Ok(Ending::Parked { obstacle, why: why.0 })
            }
            End::Done | End::AlreadySo => {
                stopped.park("a step that ended well was taken for a failure", "unsplit history").map(|_| {
                    Ending::Parked { obstacle, why: "a defect in unsplit: please report it".to_owned() }
                })
            }
        }
    }

    /// What can succeed. Where somebody else wrote to a side, going on parks again and an undo refuses: a new plan sees what stands
    /// there now, and keeps it.
    fn way_out(&self, obstacle: Obstacle) -> String {
        let id = self.incident;
        match (obstacle, &self.plan.purpose) {
            (Obstacle::Stale, Purpose::Heal) => format!("unsplit resolve --give-up {id} --yes"),
            _ => format!("unsplit resolve --resume {id}"),
        }
    }

    fn not_done(&mut self, obstacle: Obstacle, error: &dyn std::error::Error) -> End {
        self.obstacle = Some(obstacle);
        End::NotDone(Why(in_words(error)))
    }

    fn stopped(&mut self, obstacle: Obstacle, why: impl Into<String>) -> End {
        self.obstacle = Some(obstacle);
        End::NotDone(Why(why.into()))
    }

    fn perform(&mut self, step: &Step, permit: &Permit<'_>) -> End {
        match step {
            Step::Quiesce => self.quiesce(),
            Step::CheckBasis => self.check_basis(),
            Step::Preserve { .. } => self.preserve(),
            Step::MarkInconsistent { side } => self.mark(*side, permit),
            Step::Overwrite { side, .. } => self.overwrite(*side, permit),
            Step::SettleMetadata { side } => self.settle(*side, permit),
            Step::RestoreMetadata { side } => self.restore_metadata(*side, permit),
            Step::VerifyRelation => self.verify_relation(permit),
            Step::VerifyContent { .. } => self.verify_content(),
            Step::Record => End::Done,
        }
    }

    fn replicas(&self) -> Pair<&'w dyn Replica> {
        self.theatre.patients.map(|patient| patient as &dyn Replica)
    }

    /// The folder that holds the victim's bytes: an undo reads the one its healing took.
    fn salvage_dir(&self) -> String {
        match &self.plan.purpose {
            Purpose::Heal => dir_of(self.incident),
            Purpose::Undo { incident } => dir_of(incident),
        }
    }

    /// What the salvage must hold before anything is overwritten.
    fn wanted(&self) -> Wanted {
        let parts = vec![(PartKind::VictimData, self.plan.overwrite.clone())];
        match (&self.plan.purpose, self.healed) {
            (Purpose::Undo { incident }, Some(healed)) => {
                Wanted { incident: incident.clone(), plan: healed.id(), parts }
            }
            _ => Wanted { incident: self.incident.clone(), plan: self.sealed.id(), parts },
        }
    }

    fn quiesce(&mut self) -> End {
        let hold = |side: Side| self.theatre.patients[side].hold();
        let holds = match (hold(Side::A), hold(Side::B)) {
            (Ok(a), Ok(b)) => Pair::new(a, b),
            (Err(error), _) | (_, Err(error)) => return self.not_done(Obstacle::Busy, &error),
        };
        match Quiesced::by_holding(holds) {
            Ok(quiet) => {
                self.quiet = Some(quiet);
                End::Done
            }
            Err(error) => self.not_done(Obstacle::Busy, &error),
        }
    }

    fn check_basis(&mut self) -> End {
        let Theatre { threads, progress, store, .. } = self.theatre;
        // A salvage is only looked for where one must exist by now.
        let kept_exists = self.plan.salvage && (self.touched || self.plan.purpose != Purpose::Heal);
        if kept_exists {
            match salvage::prove_again(store, &self.salvage_dir(), &self.wanted(), progress) {
                Ok((_, proof)) => self.kept = Some(proof),
                Err(error) => return self.not_done(Obstacle::Salvage, &error),
            }
        }
        let outcome = if self.touched || self.healed.is_some() {
            let readers = match kept_exists.then(|| self.kept_parts()).transpose() {
                Ok(readers) => readers,
                Err(error) => return self.not_done(Obstacle::Salvage, &error),
            };
            let noted = match self.noted() {
                Ok(noted) => noted,
                Err(error) => return self.not_done(Obstacle::Salvage, &error),
            };
            let was = match (&readers, &noted) {
                (Some((data, metadata)), _) => Was::Kept(Kept {
                    data,
                    metadata: metadata.as_ref().map(|part| (part as &dyn Disk, part.kept())),
                }),
                (None, Some(noted)) => Was::Noted(noted),
                (None, None) => Was::Unknown,
            };
            as_left(self.plan, self.healed.map(SealedPlan::plan), self.replicas(), was, threads, progress)
                .map(Some)
        } else {
            as_drawn(self.plan, self.replicas(), threads, progress)
                .and_then(|()| {
                    nothing_else_differs(self.plan, self.replicas(), self.theatre.clock, threads, progress)
                })
                .map(|()| None)
        };
        match outcome {
            Ok(standing) => {
                self.standing = standing;
                End::Done
            }
            Err(stale) => self.stale(&stale),
        }
    }

    fn stale(&mut self, stale: &Stale) -> End {
        let obstacle = match stale {
            Stale::Unreadable { .. } | Stale::NewGap { .. } => Obstacle::Device,
            Stale::NotWritten { .. } => Obstacle::Verify,
            _ => Obstacle::Stale,
        };
        self.not_done(obstacle, stale)
    }

    /// The salvage's parts as disks: the victim's data, and both sides' metadata.
    fn kept_parts(&self) -> Result<(KeptDisk<'w>, Pair<KeptDisk<'w>>), SalvageError> {
        let (store, dir) = (self.theatre.store, self.salvage_dir());
        let reader = |kind| salvage::reader(store, &dir, kind);
        let metadata = Pair::from_fn(|side| reader(self.metadata_kind(side))).transpose()?;
        Ok((reader(PartKind::VictimData)?, metadata))
    }

    /// Who this is for, in the note of what stood on the victim.
    fn note_of(&self) -> (&IncidentId, PlanId) {
        (self.incident, self.sealed.id())
    }

    /// The note of what stood on the victim, of a plan that keeps nothing.
    fn noted(&self) -> Result<Option<Noted<'w>>, BeforeError> {
        if self.plan.salvage {
            return Ok(None);
        }
        Noted::open(self.theatre.store, self.note_of(), &self.plan.overwrite)
    }

    fn preserve(&mut self) -> End {
        if self.kept.is_some() {
            // Verified again by check-basis: after the first overwrite the victim is no longer a source.
            return End::AlreadySo;
        }
        let Theatre { patients, store, progress, .. } = self.theatre;
        let (survivor, victim) = (self.plan.survivor, self.plan.victim());
        if !self.plan.salvage {
            let Some(said) = self.waived else {
                return self.stopped(
                    Obstacle::Salvage,
                    "the plan takes no salvage, and the command line did not say --no-salvage",
                );
            };
            return match Preserved::waived(SalvageRule::Off, &said, self.incident.clone()) {
                Ok(waived) => {
                    self.kept = Some(waived);
                    self.look_at_the_victim()
                }
                Err(error) => self.not_done(Obstacle::Salvage, &error),
            };
        }
        let changed =
            |side: Side| patients[side].changed_blocks(&self.plan.metadata[side], &self.plan.overwrite);
        let blocks: Pair<ExtentSet> = match Pair::from_fn(changed).transpose() {
            Ok(blocks) => blocks,
            Err(error) => return self.not_done(Obstacle::Device, &error),
        };
        let metadata = |kind, side: Side| PartSource {
            kind,
            disk: patients[side].metadata(),
            extents: &blocks[side],
            virtual_size: patients[side].metadata().size(),
            backing: None,
        };
        let parts = [
            PartSource {
                kind: PartKind::VictimData,
                disk: patients[victim].data(),
                extents: &self.plan.overwrite,
                virtual_size: self.plan.size,
                // A path of another machine would lead to something else here, or nowhere.
                backing: Some(patients[survivor].source()).filter(|at| at.on.is_none()).map(|at| at.data),
            },
            metadata(PartKind::VictimMetadata, victim),
            metadata(PartKind::SurvivorMetadata, survivor),
        ];
        let label = Label {
            incident: self.incident.clone(),
            plan: self.sealed.id(),
            resource: self.plan.resource.clone(),
            victim,
            victim_name: self.plan.names[victim].clone(),
            survivor_name: self.plan.names[survivor].clone(),
            taken_at: self.theatre.clock.now(),
        };
        match salvage::take(store, &self.salvage_dir(), &label, &parts, progress) {
            Ok(kept) => {
                let mut parts = kept.manifest.parts.into_iter();
                let data = parts.find(|part| part.kind == PartKind::VictimData);
                let taken = data.map(|part| part.pieces).unwrap_or_default();
                if digest_of_pieces(&taken) != self.plan.basis[victim].content {
                    return self.stopped(
                        Obstacle::Stale,
                        "the copy is not of the data the plan was drawn from. Draw a new plan",
                    );
                }
                self.standing = Some(taken);
                self.kept = Some(kept.proof);
                End::Done
            }
            // Not that anything is wrong with the copy: somebody writes to what is copied.
            Err(error @ SalvageError::SourceChanged { .. }) => self.not_done(Obstacle::Busy, &error),
            Err(error) => self.not_done(Obstacle::Salvage, &error),
        }
    }

    /// Notes what stands on the victim when nothing is kept of it. A run that goes on has looked, and noted it before.
    fn look_at_the_victim(&mut self) -> End {
        if self.standing.is_some() {
            return End::AlreadySo;
        }
        let Theatre { patients, store, threads, progress, .. } = self.theatre;
        let victim = self.plan.victim();
        progress.begin("looking at what is overwritten", self.plan.overwrite.bytes());
        let what = (patients[victim].data(), &self.plan.overwrite);
        let noted = before::note(store, self.note_of(), what, threads, progress);
        progress.finish();
        let standing = match noted {
            Ok(standing) => standing,
            Err(error @ BeforeError::Disk(_)) => return self.not_done(Obstacle::Device, &error),
            Err(error) => return self.not_done(Obstacle::Salvage, &error),
        };
        if digest_of_pieces(&standing) != self.plan.basis[victim].content {
            return self.stale(&Stale::Content { side: victim });
        }
        self.standing = Some(standing);
        End::AlreadySo
    }

    /// The proofs, asked again. Without them nothing is overwritten.
    fn proofs(&self) -> Result<(&Quiesced, &Preserved), String> {
        let quiet = self.quiet.as_ref().ok_or("writers were not proven to be kept out")?;
        quiet.check().map_err(|error| error.to_string())?;
        let kept = self.kept.as_ref().ok_or("no verified copy of the victim exists")?;
        Ok((quiet, kept))
    }

    fn mark(&mut self, side: Side, permit: &Permit<'_>) -> End {
        let Some(during) = &self.plan.metadata[side].during else {
            return self.stopped(Obstacle::Stale, "the plan does not say how the victim is marked");
        };
        if let Err(stale) = superblock_known(self.healing(), side, self.replicas()[side]) {
            return self.stale(&stale);
        }
        let result = self
            .proofs()
            .map(|(quiet, kept)| self.theatre.patients[side].write_superblock(during, quiet, kept, permit));
        self.acted(result)
    }

    fn acted(&mut self, result: Result<End, String>) -> End {
        match result {
            Ok(end) => {
                self.obstacle = Some(Obstacle::Device);
                end
            }
            Err(why) => self.stopped(Obstacle::Busy, why),
        }
    }

    /// The healing whose metadata is written, or written back.
    fn healing(&self) -> &Plan {
        self.healed.map_or(self.plan, SealedPlan::plan)
    }

    fn overwrite(&mut self, side: Side, permit: &Permit<'_>) -> End {
        match self.try_overwrite(side, permit) {
            Ok(()) => End::Done,
            Err((obstacle, why)) => {
                self.obstacle = Some(obstacle);
                // Some of it may have been written.
                End::Unknown(Why(why))
            }
        }
    }

    fn try_overwrite(&self, side: Side, permit: &Permit<'_>) -> Result<(), (Obstacle, String)> {
        let Theatre { patients, store, clock, progress, .. } = self.theatre;
        let (quiet, kept) = self.proofs().map_err(|why| (Obstacle::Busy, why))?;
        let standing = self.standing.as_deref();
        let standing = standing
            .ok_or_else(|| (Obstacle::Stale, "what stands on the victim was not looked at".to_owned()))?;
        let into = Guarded::new(patients[side].data_mut(quiet, kept, permit), standing, quiet, clock);
        let failed = |error: &(dyn std::error::Error + 'static)| match (into.lost(), changed(error)) {
            (Some(who), _) => (Obstacle::Busy, who),
            (None, Some(piece)) => (Obstacle::Stale, self.what_changed(side, piece, error)),
            (None, None) => (Obstacle::Device, in_words(error)),
        };
        match self.plan.purpose {
            Purpose::Heal => {
                let (from, expected) = (patients[side.other()].data(), self.plan.basis[side.other()].content);
                copy(from, &into, expected, progress).map_err(|error| match error {
                    NotOverwritten::Source => (Obstacle::Stale, in_words(&error)),
                    NotOverwritten::Disk(fault) => failed(&fault),
                })
            }
            Purpose::Undo { .. } => {
                salvage::restore(store, &self.salvage_dir(), PartKind::VictimData, &into, progress)
                    .map(drop)
                    .map_err(|error| failed(&error))
            }
        }
    }

    /// Where in a piece that changed somebody else's bytes stand, as far as that can be told.
    fn what_changed(&self, side: Side, piece: Extent, error: &(dyn std::error::Error + 'static)) -> String {
        let of = |side: Side| self.theatre.patients[side].data();
        let looked = self.plan.salvage.then(|| {
            let (data, metadata) = self.kept_parts().ok()?;
            let metadata = metadata.as_ref().map(|part| (part as &dyn Disk, part.kept()));
            let was = Was::Kept(Kept { data: &data, metadata });
            every_sector_known(side, Pair::from_fn(of), was, 0, piece).err()
        });
        match looked.flatten() {
            Some(foreign @ Stale::Foreign { .. }) => in_words(&foreign),
            _ => in_words(error),
        }
    }

    /// Right before a side's metadata is written: it is still what was found, or what this plan left.
    fn metadata_is_ours(&mut self, side: Side) -> Result<(), End> {
        let touched_before = self.again || self.healed.is_some();
        let kept = (self.plan.salvage && touched_before).then(|| self.kept_parts()).transpose();
        let kept = kept.map_err(|error| self.not_done(Obstacle::Salvage, &error))?;
        let replica = self.replicas()[side];
        let known = superblock_known(self.healing(), side, replica).and_then(|()| match &kept {
            Some((_, metadata)) => {
                let part = &metadata[side];
                area_known(self.healing(), side, replica, (part, part.kept()))
            }
            // Without a salvage nobody knows any more what was there before.
            None if touched_before => Ok(()),
            None => match replica.area_digest() {
                Ok(found) if found == self.plan.basis[side].area => Ok(()),
                Ok(_) => Err(Stale::Area { side }),
                Err(source) => Err(Stale::Unseen { side, source }),
            },
        });
        known.map_err(|stale| self.stale(&stale))
    }

    fn settle(&mut self, side: Side, permit: &Permit<'_>) -> End {
        let proven = self.prove_content();
        if !matches!(proven, End::Done | End::AlreadySo) {
            return proven;
        }
        if let Err(end) = self.metadata_is_ours(side) {
            return end;
        }
        let change = &self.plan.metadata[side];
        let result = self.proofs().map(|(quiet, kept)| {
            self.theatre.patients[side].settle(change, &self.plan.overwrite, self.again, quiet, kept, permit)
        });
        self.acted(result)
    }

    fn restore_metadata(&mut self, side: Side, permit: &Permit<'_>) -> End {
        let proven = self.prove_content();
        if !matches!(proven, End::Done | End::AlreadySo) {
            return proven;
        }
        if let Err(end) = self.metadata_is_ours(side) {
            return end;
        }
        let kind = self.metadata_kind(side);
        let Theatre { patients, store, progress, .. } = self.theatre;
        let result = self.proofs().map(|(quiet, kept)| {
            let at = self.plan.basis[side].source.superblock_at;
            let into = SuperblockLast::new(patients[side].metadata_mut(quiet, kept, permit), at);
            match salvage::restore(store, &self.salvage_dir(), kind, &into, progress) {
                Ok(_) => End::Done,
                Err(error) => End::Unknown(Why(in_words(&error))),
            }
        });
        self.acted(result)
    }

    fn metadata_kind(&self, side: Side) -> PartKind {
        if side == self.plan.survivor { PartKind::SurvivorMetadata } else { PartKind::VictimMetadata }
    }

    fn verify_relation(&mut self, permit: &Permit<'_>) -> End {
        match self.plan.purpose {
            Purpose::Heal => match self.verify_in_sync() {
                End::Done => self.verify_still_equal(permit),
                end => end,
            },
            Purpose::Undo { .. } => {
                let metadata = self.verify_kept(&[PartKind::VictimMetadata, PartKind::SurvivorMetadata]);
                if metadata == End::Done { self.verify_put_back() } else { metadata }
            }
        }
    }

    fn verify_in_sync(&mut self) -> End {
        let replicas = self.replicas();
        if let Err(stale) = superblocks_written(self.plan, replicas) {
            return self.stale(&stale);
        }
        match relation(replicas, self.theatre.clock) {
            Ok((comparison, 0)) if comparison.settled() => End::Done,
            Ok((comparison, bits)) => self.stopped(
                Obstacle::Verify,
                format!(
                    "after the healing the metadata of both sides does not say in sync, as was promised: by rule {} they are {}, with \
                     {bits} blocks marked",
                    comparison.name,
                    comparison.relation.words()
                ),
            ),
            Err(error) => {
                let why = in_words(error.as_ref());
                self.stopped(Obstacle::Device, why)
            }
        }
    }

    fn verify_content(&mut self) -> End {
        let proven = self.prove_content();
        let good = matches!(proven, End::Done | End::AlreadySo);
        // Undos of earlier versions verify everything last.
        if good && self.plan.purpose != Purpose::Heal && !self.plan.steps.contains(&Step::VerifyRelation) {
            return self.verify_kept(&[PartKind::VictimMetadata, PartKind::SurvivorMetadata]);
        }
        proven
    }

    /// Compares the contents, once in a run: nothing is said of them in any metadata before.
    fn prove_content(&mut self) -> End {
        if self.proven {
            return End::AlreadySo;
        }
        let end = match self.plan.purpose {
            Purpose::Heal => self.verify_equal(),
            Purpose::Undo { .. } => self.verify_put_back(),
        };
        self.proven = end == End::Done;
        end
    }

    fn verify_equal(&mut self) -> End {
        let scope = self.plan.must_agree().union(&self.plan.overwrite);
        match self.compare_again(&scope) {
            Ok(()) => End::Done,
            Err((obstacle, why)) => self.stopped(obstacle, format!("{why}. The victim stays Inconsistent")),
        }
    }

    /// Once more, now that the metadata says in sync: somebody may have written since the contents were verified. If so the
    /// metadata is made to say otherwise. Of a whole volume only what was overwritten is looked at again.
    fn verify_still_equal(&mut self, permit: &Permit<'_>) -> End {
        let mut scope = self.plan.overwrite.clone();
        if !self.plan.is_full() {
            scope = scope.union(&self.plan.must_agree());
        }
        let Err((obstacle, why)) = self.compare_again(&scope) else { return End::Done };
        let now = match self.mark(self.plan.victim(), permit) {
            End::Done | End::AlreadySo => "The victim is marked Inconsistent again".to_owned(),
            End::NotDone(error) | End::Unknown(error) => format!(
                "The victim could not be marked Inconsistent again ({error}): do not let the two connect before that is done"
            ),
        };
        self.stopped(obstacle, format!("{why}. {now}"))
    }

    fn compare_again(&self, scope: &ExtentSet) -> Result<(), (Obstacle, String)> {
        let Theatre { threads, progress, .. } = self.theatre;
        match same_within(self.replicas(), self.plan.size, scope, threads, progress) {
            Ok(found) if found.differs.is_empty() && found.unreadable.is_empty() => Ok(()),
            Ok(found) => {
                let first = [found.differs.first(), found.unreadable.first().map(|gap| gap.extent)];
                let first = first.into_iter().flatten().map(|extent| extent.start).min().unwrap_or_default();
                Err((
                    Obstacle::Verify,
                    format!(
                        "{} bytes still differ and {} extents cannot be read, the first at byte {first}",
                        found.differs.bytes(),
                        found.unreadable.len()
                    ),
                ))
            }
            Err(error) => Err((Obstacle::Device, in_words(&error))),
        }
    }

    fn verify_put_back(&mut self) -> End {
        let Theatre { threads, progress, .. } = self.theatre;
        let (replicas, survivor) = (self.replicas(), self.plan.survivor);
        let others = still_equal(self.plan, replicas, threads, progress)
            .and_then(|()| same_content(self.plan, survivor, replicas[survivor], threads, progress));
        match others {
            Ok(()) => self.verify_kept(&[PartKind::VictimData]),
            Err(stale) => self.stale(&stale),
        }
    }

    /// These parts of the salvage are what stands where they were taken from.
    fn verify_kept(&mut self, kinds: &[PartKind]) -> End {
        let Theatre { patients, store, threads, progress, .. } = self.theatre;
        let manifest = match salvage::load_manifest(store, &self.salvage_dir()) {
            Ok(manifest) => manifest,
            Err(error) => return self.not_done(Obstacle::Salvage, &error),
        };
        let victim = self.plan.victim();
        for part in manifest.parts.iter().filter(|part| kinds.contains(&part.kind)) {
            let disk = match part.kind {
                PartKind::VictimData => patients[victim].data(),
                PartKind::VictimMetadata => patients[victim].metadata(),
                PartKind::SurvivorMetadata => patients[self.plan.survivor].metadata(),
            };
            let extents: ExtentSet = part.pieces.iter().map(|piece| piece.extent()).collect();
            match content_digest(disk, &extents, threads, progress) {
                Ok(found) if found == digest_of_pieces(&part.pieces) => {}
                Ok(_) => {
                    return self.stopped(
                        Obstacle::Verify,
                        format!("{} does not hold what {} kept", disk.name(), part.file),
                    );
                }
                Err(error) => return self.not_done(Obstacle::Device, &error),
            }
        }
        End::Done
    }
}

/// The piece that held something else than what was checked, if that is what went wrong.
fn changed(error: &(dyn std::error::Error + 'static)) -> Option<Extent> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(DiskFault::Changed { extent, .. }) = error.downcast_ref() {
            return Some(*extent);
        }
        next = error.source();
    }
    None
}
