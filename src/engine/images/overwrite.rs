//! The acts that change a side. Each looks right before that what it changes is still what was found, or what this plan left.

use super::Context;
use super::basis::{Kept, Stale, Was, area_known, every_sector_known, metadata_of, superblock_known};
use super::run::Execution;
use super::undo::SuperblockLast;
use crate::engine::backend::Obstacle;
use crate::engine::replace::{Guarded, NotOverwritten, copy};
use crate::engine::salvage;
use crate::model::extent::{Extent, ExtentSet};
use crate::model::salvage::PartKind;
use crate::model::seen::{End, Why, in_words};
use crate::model::side::{Pair, Side};
use crate::ports::disk::{Disk, DiskFault};
use crate::proof::Permit;

impl Execution<'_, '_> {
    pub(super) fn mark(&mut self, side: Side, permit: &Permit<'_>) -> End {
        let Some(during) = &self.plan.ground.metadata[side].during else {
            return self.stopped(Obstacle::Stale, "the plan does not say how the victim is marked");
        };
        if let Err(stale) = superblock_known(self.healing(), side, self.replicas()[side]) {
            return self.stale(&stale);
        }
        let result = self
            .proofs()
            .map(|(quiet, kept)| self.context.sides[side].write_superblock(during, quiet, kept, permit));
        self.acted(result)
    }

    pub(super) fn overwrite(&mut self, side: Side, permit: &Permit<'_>) -> End {
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
        let Context { sides, store, clock, progress, .. } = self.context;
        let (quiet, kept) = self.proofs().map_err(|why| (Obstacle::Busy, why))?;
        let standing = self.standing.as_deref();
        let standing = standing
            .ok_or_else(|| (Obstacle::Stale, "what stands on the victim was not looked at".to_owned()))?;
        let into = Guarded::new(sides[side].data_mut(quiet, kept, permit), standing, quiet, clock);
        let failed = |error: &(dyn std::error::Error + 'static)| match (into.lost(), changed(error)) {
            (Some(who), _) => (Obstacle::Busy, who),
            (None, Some(piece)) => (Obstacle::Stale, self.what_changed(side, piece, error)),
            (None, None) => (Obstacle::Device, in_words(error)),
        };
        match self.plan.undoes() {
            None => {
                let (from, expected) =
                    (sides[side.other()].data(), self.plan.ground.basis[side.other()].content);
                copy(from, &into, expected, progress).map_err(|error| match error {
                    NotOverwritten::Source => (Obstacle::Stale, in_words(&error)),
                    NotOverwritten::Disk(fault) => failed(&fault),
                })
            }
            Some(_) => salvage::restore(store, &self.salvage_dir(), PartKind::VictimData, &into, progress)
                .map(drop)
                .map_err(|error| failed(&error)),
        }
    }

    /// Where in a piece that changed somebody else's bytes stand, as far as that can be told.
    fn what_changed(&self, side: Side, piece: Extent, error: &(dyn std::error::Error + 'static)) -> String {
        let of = |side: Side| self.context.sides[side].data();
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
        let was: Option<(&dyn Disk, &ExtentSet)> = match (&kept, &self.noted) {
            (Some((_, metadata)), _) => Some((&metadata[side], metadata[side].kept())),
            (None, Some(noted)) => Some(metadata_of(noted.metadata(side))),
            (None, None) => None,
        };
        let known = superblock_known(self.healing(), side, replica).and_then(|()| match was {
            Some(blocks) => area_known(self.healing(), side, replica, blocks),
            // An earlier version began it, and nobody knows any more what was there before.
            None if touched_before => Ok(()),
            None => match replica.area_digest() {
                Ok(found) if found == self.plan.ground.basis[side].area => Ok(()),
                Ok(_) => Err(Stale::Area { side }),
                Err(source) => Err(Stale::Unseen { side, source }),
            },
        });
        known.map_err(|stale| self.stale(&stale))
    }

    pub(super) fn settle(&mut self, side: Side, permit: &Permit<'_>) -> End {
        let proven = self.prove_content();
        if !matches!(proven, End::Done | End::AlreadySo) {
            return proven;
        }
        if let Err(end) = self.metadata_is_ours(side) {
            return end;
        }
        let change = &self.plan.ground.metadata[side];
        let result = self.proofs().map(|(quiet, kept)| {
            self.context.sides[side].settle(
                change,
                &self.plan.volume.overwrite,
                self.again,
                quiet,
                kept,
                permit,
            )
        });
        self.acted(result)
    }

    pub(super) fn restore_metadata(&mut self, side: Side, permit: &Permit<'_>) -> End {
        let proven = self.prove_content();
        if !matches!(proven, End::Done | End::AlreadySo) {
            return proven;
        }
        if let Err(end) = self.metadata_is_ours(side) {
            return end;
        }
        let kind = self.metadata_kind(side);
        let Context { sides, store, progress, .. } = self.context;
        let result = self.proofs().map(|(quiet, kept)| {
            let at = self.plan.volume.at[side].superblock_at;
            let into = SuperblockLast::new(sides[side].metadata_mut(quiet, kept, permit), at);
            match salvage::restore(store, &self.salvage_dir(), kind, &into, progress) {
                Ok(_) => End::Done,
                Err(error) => End::Unknown(Why(in_words(&error))),
            }
        });
        self.acted(result)
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
