//! Keeping what will be overwritten, and reading back what was kept.

use super::Context;
use super::basis::Stale;
use super::run::Execution;
use crate::engine::backend::Obstacle;
use crate::engine::before::{self, BeforeError, Noted, Sources};
use crate::engine::replace::digest_of_pieces;
use crate::engine::salvage::{self, KeptDisk, Label, PartSource, SalvageError, dir_of};
use crate::model::extent::ExtentSet;
use crate::model::id::{IncidentId, PlanId};
use crate::model::plan::Purpose;
use crate::model::policy::SalvageRule;
use crate::model::salvage::PartKind;
use crate::model::seen::End;
use crate::model::side::{Pair, Side};
use crate::model::size::SECTOR;
use crate::ports::replica::Unseen;
use crate::proof::{Preserved, Wanted};

impl<'w> Execution<'_, 'w> {
    /// The folder that holds the victim's bytes: an undo reads the one its healing took.
    pub(super) fn salvage_dir(&self) -> String {
        match self.plan.undoes() {
            None => dir_of(self.incident),
            Some(incident) => dir_of(incident),
        }
    }

    /// What the salvage must hold before anything is overwritten.
    pub(super) fn wanted(&self) -> Wanted {
        let parts = vec![(PartKind::VictimData, self.plan.volume.overwrite.clone())];
        match (&self.plan.purpose, self.healed) {
            (Purpose::Undo { incident }, Some(healed)) => {
                Wanted { incident: incident.clone(), plan: healed.id, parts }
            }
            _ => Wanted { incident: self.incident.clone(), plan: self.id, parts },
        }
    }

    /// The salvage's parts as disks: the victim's data, and both sides' metadata.
    pub(super) fn kept_parts(&self) -> Result<(KeptDisk<'w>, Pair<KeptDisk<'w>>), SalvageError> {
        let (store, dir) = (self.context.store, self.salvage_dir());
        let reader = |kind| salvage::reader(store, &dir, kind);
        let metadata = Pair::from_fn(|side| reader(self.metadata_kind(side))).transpose()?;
        Ok((reader(PartKind::VictimData)?, metadata))
    }

    /// Who this is for, in the note of what stood on the victim.
    fn note_of(&self) -> (&IncidentId, PlanId) {
        (self.incident, self.id)
    }

    /// The note of what stood on both sides, of a plan that keeps nothing.
    pub(super) fn find_note(&self) -> Result<Option<Noted<'w>>, BeforeError> {
        if self.plan.salvage {
            return Ok(None);
        }
        Noted::open(self.context.store, self.note_of(), &self.plan.volume.overwrite)
    }

    pub(super) fn metadata_kind(&self, side: Side) -> PartKind {
        if side == self.plan.survivor { PartKind::SurvivorMetadata } else { PartKind::VictimMetadata }
    }

    /// The blocks of both sides' metadata that the plan changes.
    fn blocks_to_change(&self) -> Result<Pair<ExtentSet>, Unseen> {
        let of = |side: Side| {
            self.context.sides[side]
                .changed_blocks(&self.plan.ground.metadata[side], &self.plan.volume.overwrite)
        };
        Pair::from_fn(of).transpose()
    }

    pub(super) fn preserve(&mut self) -> End {
        if self.kept.is_some() {
            // Verified again by check-basis: after the first overwrite the victim is no longer a source.
            return End::AlreadySo;
        }
        let Context { sides, store, progress, .. } = self.context;
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
        let blocks = match self.blocks_to_change() {
            Ok(blocks) => blocks,
            Err(error) => return self.not_done(Obstacle::Device, &error),
        };
        let metadata = |kind, side: Side| PartSource {
            kind,
            disk: sides[side].metadata(),
            extents: &blocks[side],
            // An image may end in the middle of a sector. Nothing of DRBD's stands in that rest.
            virtual_size: sides[side].metadata().size() / SECTOR * SECTOR,
            backing: None,
        };
        let parts = [
            PartSource {
                kind: PartKind::VictimData,
                disk: sides[victim].data(),
                extents: &self.plan.volume.overwrite,
                virtual_size: self.plan.volume.size,
                // A path of another machine would lead to something else here, or nowhere.
                backing: Some(sides[survivor].source()).filter(|at| at.on.is_none()).map(|at| at.data),
            },
            metadata(PartKind::VictimMetadata, victim),
            metadata(PartKind::SurvivorMetadata, survivor),
        ];
        let label = Label {
            incident: self.incident.clone(),
            plan: self.id,
            resource: self.plan.resource.clone(),
            victim,
            victim_name: self.plan.names[victim].clone(),
            survivor_name: self.plan.names[survivor].clone(),
            taken_at: self.context.clock.now(),
        };
        match salvage::take(store, &self.salvage_dir(), &label, &parts, progress) {
            Ok(kept) => {
                let mut parts = kept.manifest.parts.into_iter();
                let data = parts.find(|part| part.kind == PartKind::VictimData);
                let taken = data.map(|part| part.pieces).unwrap_or_default();
                if digest_of_pieces(&taken) != self.plan.ground.basis[victim].content {
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

    /// Notes what stands there when nothing is kept of it. A run that goes on has looked, and noted it before.
    fn look_at_the_victim(&mut self) -> End {
        if self.standing.is_some() {
            return End::AlreadySo;
        }
        let blocks = match self.blocks_to_change() {
            Ok(blocks) => blocks,
            Err(error) => return self.not_done(Obstacle::Device, &error),
        };
        let Context { sides, store, threads, progress, .. } = self.context;
        let victim = self.plan.victim();
        progress.begin("looking at what is overwritten", self.plan.volume.overwrite.bytes());
        let metadata = Pair::from_fn(|side| (sides[side].metadata(), &blocks[side]));
        let from = Sources { data: (sides[victim].data(), &self.plan.volume.overwrite), metadata };
        let noted = before::note(store, self.note_of(), from, threads, progress);
        progress.finish();
        let standing = match noted {
            Ok(standing) => standing,
            Err(error @ BeforeError::Disk(_)) => return self.not_done(Obstacle::Device, &error),
            Err(error) => return self.not_done(Obstacle::Salvage, &error),
        };
        if digest_of_pieces(&standing) != self.plan.ground.basis[victim].content {
            return self.stale(&Stale::Content { side: victim });
        }
        self.standing = Some(standing);
        End::AlreadySo
    }
}
