//! Is this still what the plan was drawn from? After a cut in the middle: did only the plan itself write?

use super::Context;
use super::run::{Execution, NotDone, met};
use crate::digest::content::{content_digest, for_each_piece};
use crate::engine::backend::Obstacle;
use crate::engine::salvage::{self, reader};
use crate::model::extent::ExtentSet;
use crate::model::id::Digest;
use crate::model::plan::Purpose;
use crate::model::plan::memory::Observed;
use crate::model::salvage::{PartKind, Piece};
use crate::model::side::Side;
use crate::model::size::SECTOR;
use crate::ports::disk::{Disk, DiskFault};
use crate::ports::memory::MemoryReplica;
use crate::ports::progress::Silent;

/// What a disk is and holds now.
///
/// # Errors
/// It cannot be read.
pub fn observe(side: &dyn MemoryReplica, threads: usize) -> Result<Observed, DiskFault> {
    let whole = content_digest(side.data(), &ExtentSet::whole(side.data().size()), threads, &Silent)?;
    Ok(Observed { source: side.source(), whole })
}

/// Pieces of a disk as they stand there now, ascending.
fn pieces(disk: &dyn Disk, extents: &ExtentSet, threads: usize) -> Result<Vec<Piece>, DiskFault> {
    let mut found = Vec::new();
    for_each_piece(disk, extents, threads, &Silent, |extent, _, blake3| {
        found.push(Piece { start: extent.start, len: extent.len, blake3 });
        Ok::<(), DiskFault>(())
    })?;
    Ok(found)
}

impl Execution<'_, '_> {
    pub(super) fn check_basis(&mut self) -> Result<(), NotDone> {
        let Context { sides, store, progress, threads, .. } = self.context;
        let victim = self.plan.victim();
        if self.again || self.plan.purpose != Purpose::Heal {
            let (dir, wanted) = (self.salvage_dir(), self.wanted());
            let proven = salvage::prove_again(store, &dir, &wanted, progress);
            self.kept = Some(proven.map_err(|error| met(Obstacle::Salvage, &error))?.1);
        }
        for side in Side::BOTH {
            if self.again && side == victim {
                self.only_we_wrote()?;
            } else if self.whole(side)? != self.plan.ground.whole[side] {
                let why = format!("{} does not hold what the plan was drawn from", sides[side].data().name());
                return Err((Obstacle::Stale, why));
            }
        }
        let standing = pieces(sides[victim].data(), &self.plan.volume.overwrite, threads);
        self.standing = Some(standing.map_err(|error| met(Obstacle::Device, &error))?);
        Ok(())
    }

    pub(super) fn whole(&self, side: Side) -> Result<Digest, NotDone> {
        let seen = observe(self.context.sides[side], self.context.threads);
        Ok(seen.map_err(|error| met(Obstacle::Device, &error))?.whole)
    }

    /// Outside what is overwritten the victim holds what the survivor holds, and each sector within is the survivor's or the
    /// salvage's.
    fn only_we_wrote(&self) -> Result<(), NotDone> {
        let Context { sides, store, .. } = self.context;
        let (victim, survivor) = (sides[self.plan.victim()].data(), sides[self.plan.survivor].data());
        let kept = reader(store, &self.salvage_dir(), PartKind::VictimData);
        let kept = kept.map_err(|error| met(Obstacle::Salvage, &error))?;
        let (mut now, mut theirs, mut before) =
            ([0; SECTOR as usize], [0; SECTOR as usize], [0; SECTOR as usize]);
        for sector in ExtentSet::whole(self.plan.volume.size).iter().flat_map(|all| all.pieces(SECTOR)) {
            let len = usize::try_from(sector.len).unwrap_or(now.len());
            let device = |error: DiskFault| met(Obstacle::Device, &error);
            victim.read_at(sector.start, &mut now[..len]).map_err(device)?;
            survivor.read_at(sector.start, &mut theirs[..len]).map_err(device)?;
            if now[..len] == theirs[..len] {
                continue;
            }
            let ours = self.plan.volume.overwrite.covers(&sector) && {
                kept.read_at(sector.start, &mut before[..len])
                    .map_err(|error| met(Obstacle::Salvage, &error))?;
                now[..len] == before[..len]
            };
            if !ours {
                let why = format!("{}: somebody else wrote at byte {}", victim.name(), sector.start);
                return Err((Obstacle::Stale, why));
            }
        }
        Ok(())
    }
}
