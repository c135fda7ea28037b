//! Keeping what will be overwritten, and reading back what was kept.

use super::Context;
use super::run::{Execution, NotDone, met};
use crate::engine::backend::Obstacle;
use crate::engine::salvage::{self, Label, PartSource, dir_of};
use crate::model::salvage::PartKind;
use crate::proof::Wanted;

impl Execution<'_, '_> {
    /// The folder that holds the victim's bytes: an undo reads the one its healing took.
    pub(super) fn salvage_dir(&self) -> String {
        match self.plan.undoes() {
            Some(incident) => dir_of(incident),
            None => dir_of(self.incident),
        }
    }

    /// What the salvage must hold before anything is overwritten.
    pub(super) fn wanted(&self) -> Wanted {
        let incident = match self.plan.undoes() {
            Some(incident) => incident,
            None => self.incident,
        };
        Wanted {
            incident: incident.clone(),
            plan: self.healed.unwrap_or(self.id),
            parts: vec![(PartKind::VictimData, self.plan.volume.overwrite.clone())],
        }
    }

    pub(super) fn preserve(&mut self) -> Result<(), NotDone> {
        if self.kept.is_some() {
            // Read back by check-basis: after the first overwrite the victim is no longer a source.
            return Ok(());
        }
        let Context { sides, store, clock, progress, .. } = self.context;
        let (survivor, victim) = (self.plan.survivor, self.plan.victim());
        let label = Label {
            incident: self.incident.clone(),
            plan: self.id,
            resource: self.plan.resource.clone(),
            victim,
            victim_name: self.plan.names[victim].clone(),
            survivor_name: self.plan.names[survivor].clone(),
            taken_at: clock.now(),
        };
        let part = PartSource {
            kind: PartKind::VictimData,
            disk: sides[victim].data(),
            extents: &self.plan.volume.overwrite,
            virtual_size: self.plan.volume.size,
            backing: None,
        };
        let kept = salvage::take(store, &self.salvage_dir(), &label, &[part], progress);
        self.kept = Some(kept.map_err(|error| met(Obstacle::Salvage, &error))?.proof);
        Ok(())
    }
}
