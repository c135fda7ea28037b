//! The act that changes a side.

use super::Context;
use super::run::{Execution, NotDone, met};
use crate::engine::backend::Obstacle;
use crate::engine::replace::{Guarded, copy};
use crate::engine::salvage;
use crate::model::salvage::PartKind;
use crate::model::side::Side;
use crate::proof::Permit;

impl Execution<'_, '_> {
    pub(super) fn overwrite(&self, side: Side, permit: &Permit<'_>) -> Result<(), NotDone> {
        let Context { sides, store, clock, progress, .. } = self.context;
        let (Some(quiet), Some(kept), Some(standing)) = (&self.quiet, &self.kept, &self.standing) else {
            return Err((Obstacle::Busy, "not all was proven that overwriting asks for".to_owned()));
        };
        let into = Guarded::new(sides[side].data_mut(quiet, kept, permit), standing, quiet, clock);
        match self.plan.undoes() {
            Some(_) => {
                let dir = self.salvage_dir();
                let restored = salvage::restore(store, &dir, PartKind::VictimData, &into, progress);
                restored.map(drop).map_err(|error| met(Obstacle::Device, &error))
            }
            None => {
                let (from, expected) = (sides[side.other()].data(), self.plan.ground.content[side.other()]);
                copy(from, &into, expected, progress).map_err(|error| met(Obstacle::Device, &error))
            }
        }
    }
}
