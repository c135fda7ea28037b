//! Keeping what will be overwritten, and proving again that it was kept.

use super::Context;
use super::basis::Seen;
use super::run::Execution;
use super::salvage_of;
use super::undo::{note_healed, noted, untouched};
use crate::engine::incident::Obstacle;
use crate::engine::salvage::{self, Label, PartSource, dir_of};
use crate::model::plan::Purpose;
use crate::model::plan::drbd::DrbdVolume;
use crate::model::policy::SalvageRule;
use crate::model::salvage::PartKind;
use crate::model::seen::End;
use crate::proof::{Preserved, Wanted};

impl Execution<'_, '_> {
    /// The salvages, where they must exist by now.
    pub(super) fn prove_kept(&mut self) -> Result<(), End> {
        if self.kept.is_some() {
            return Ok(());
        }
        if !self.plan.salvage {
            return self.waive();
        }
        let mut kept = Vec::new();
        for volume in self.plan.volumes() {
            kept.extend(self.prove_one(volume)?);
        }
        self.kept = Some(kept);
        Ok(())
    }

    /// The salvage of one volume, where it must exist by now.
    fn prove_one(&mut self, volume: DrbdVolume<'_>) -> Result<Option<Preserved>, End> {
        if volume.overwrite.is_empty() {
            return Ok(None);
        }
        let incident =
            salvage_of(self.incident, volume.number).map_err(|why| self.stopped(Obstacle::Salvage, why))?;
        let parts = vec![(PartKind::VictimData, volume.overwrite.clone())];
        let wanted = Wanted { incident: incident.clone(), plan: self.id, parts };
        let proof =
            salvage::prove_again(self.context.store, &dir_of(&incident), &wanted, self.context.progress);
        match proof {
            Ok((_, proof)) => Ok(Some(proof)),
            Err(error) => Err(self.not_done(Obstacle::Salvage, &error)),
        }
    }

    /// Of each volume that DRBD has begun to overwrite the salvage is there.
    pub(super) fn overwritten_are_kept(&mut self) -> Result<(), End> {
        if !self.plan.salvage {
            return Ok(());
        }
        let plan = self.plan;
        let begun: Vec<bool> = self.sights.iter().map(Option::is_none).collect();
        for (volume, begun) in plan.volumes().zip(begun) {
            if begun {
                self.prove_one(volume)?;
            }
        }
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

    pub(super) fn preserve(&mut self) -> End {
        if self.kept.is_some() {
            return End::AlreadySo;
        }
        if !self.plan.salvage {
            return self.waive().map_or_else(|end| end, |()| End::AlreadySo);
        }
        let mut kept = Vec::new();
        let sights = std::mem::take(&mut self.sights);
        let whole: Vec<bool> = sights.iter().map(Option::is_some).collect();
        for (planned, seen) in self.plan.volumes().zip(sights) {
            let proof = match seen {
                Some(seen) => self.preserve_one(planned, &seen),
                None => self.prove_one(planned),
            };
            match proof {
                Ok(Some(proof)) => kept.push(proof),
                Ok(None) => {}
                Err(end) => return end,
            }
        }
        if self.plan.purpose == Purpose::Heal
            && let Err(end) = self.note_counters(&whole)
        {
            return end;
        }
        self.kept = Some(kept);
        End::Done
    }

    /// Notes what the devices count as written while what differed was kept: what the survivor writes from here on is in no
    /// salvage, so an undo would mix it with what was kept. Of a volume that was kept in an earlier run what was noted then stays.
    fn note_counters(&mut self, anew: &[bool]) -> Result<(), End> {
        let pair = self.look()?;
        let before =
            noted(self.context.store, self.incident).map_err(|why| self.stopped(Obstacle::Salvage, why))?;
        let mut now = untouched(&pair);
        if let Some(before) = before.filter(|before| before.len() == now.len()) {
            for ((now, before), anew) in now.iter_mut().zip(before).zip(anew) {
                if !anew {
                    *now = before;
                }
            }
        }
        note_healed(self.context.store, self.incident, &now)
            .map_err(|why| self.stopped(Obstacle::Salvage, why))
    }

    /// Keeps all that differs now: the survivor may have gone on writing since the plan was drawn.
    fn preserve_one(&mut self, planned: DrbdVolume<'_>, seen: &Seen) -> Result<Option<Preserved>, End> {
        let Context { store, clock, progress, .. } = self.context;
        let replicas = seen.replicas.as_ref().map(|replica| &**replica);
        // An undo overwrites what the plan says, on both nodes; a healing all that differs.
        let extents = if self.plan.purpose == Purpose::Heal {
            let Some(delta) = &seen.delta else {
                return Err(self.stopped(Obstacle::Stale, "what differs now was not looked at"));
            };
            delta.differs.union(&planned.overwrite)
        } else {
            planned.overwrite.clone()
        };
        if extents.is_empty() {
            return Ok(None);
        }
        let incident =
            salvage_of(self.incident, planned.number).map_err(|why| self.stopped(Obstacle::Salvage, why))?;
        let (from, other) = match self.plan.undoes() {
            None => (self.plan.victim(), self.plan.survivor),
            Some(_) => (self.plan.survivor, self.plan.victim()),
        };
        let part = PartSource {
            kind: PartKind::VictimData,
            disk: replicas[from].data(),
            extents: &extents,
            virtual_size: planned.size,
            // A path of another machine would lead to something else here, or nowhere.
            backing: Some(&planned.at[other]).filter(|at| at.on.is_none()).map(|at| at.data.clone()),
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
}
