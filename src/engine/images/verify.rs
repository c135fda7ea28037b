//! What is checked before any metadata says that all is well, and once more in the end.

use super::Context;
use super::basis::{same_content, still_equal, superblocks_written};
use super::run::Execution;
use crate::digest::content::content_digest;
use crate::engine::backend::Obstacle;
use crate::engine::contents::same_within;
use crate::engine::relation::relation;
use crate::engine::replace::digest_of_pieces;
use crate::engine::salvage;
use crate::model::extent::ExtentSet;
use crate::model::plan::Purpose;
use crate::model::plan::images::Step;
use crate::model::salvage::PartKind;
use crate::model::seen::{End, in_words};
use crate::proof::Permit;

impl Execution<'_, '_> {
    pub(super) fn verify_relation(&mut self, permit: &Permit<'_>) -> End {
        match self.plan.undoes() {
            None => match self.verify_in_sync() {
                End::Done => self.verify_still_equal(permit),
                end => end,
            },
            Some(_) => {
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
        match relation(replicas, self.context.clock) {
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

    pub(super) fn verify_content(&mut self) -> End {
        let proven = self.prove_content();
        let good = matches!(proven, End::Done | End::AlreadySo);
        // Undos of earlier versions verify everything last.
        if good
            && self.plan.purpose != Purpose::Heal
            && !self.plan.ground.steps.contains(&Step::VerifyRelation)
        {
            return self.verify_kept(&[PartKind::VictimMetadata, PartKind::SurvivorMetadata]);
        }
        proven
    }

    /// Compares the contents, once in a run: nothing is said of them in any metadata before.
    pub(super) fn prove_content(&mut self) -> End {
        if self.proven {
            return End::AlreadySo;
        }
        let end = match self.plan.undoes() {
            None => self.verify_equal(),
            Some(_) => self.verify_put_back(),
        };
        self.proven = end == End::Done;
        end
    }

    fn verify_equal(&mut self) -> End {
        let scope = self.plan.must_agree().union(&self.plan.volume.overwrite);
        match self.compare_again(&scope) {
            Ok(()) => End::Done,
            Err((obstacle, why)) => self.stopped(obstacle, format!("{why}. The victim stays Inconsistent")),
        }
    }

    /// Once more, now that the metadata says in sync: somebody may have written since the contents were verified. If so the
    /// metadata is made to say otherwise. Of a whole volume only what was overwritten is looked at again.
    fn verify_still_equal(&mut self, permit: &Permit<'_>) -> End {
        let mut scope = self.plan.volume.overwrite.clone();
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
        let Context { threads, progress, .. } = self.context;
        match same_within(self.replicas(), self.plan.volume.size, scope, threads, progress) {
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
        let Context { threads, progress, .. } = self.context;
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
        let Context { sides, store, threads, progress, .. } = self.context;
        let manifest = match salvage::load_manifest(store, &self.salvage_dir()) {
            Ok(manifest) => manifest,
            Err(error) => return self.not_done(Obstacle::Salvage, &error),
        };
        let victim = self.plan.victim();
        for part in manifest.parts.iter().filter(|part| kinds.contains(&part.kind)) {
            let disk = match part.kind {
                PartKind::VictimData => sides[victim].data(),
                PartKind::VictimMetadata => sides[victim].metadata(),
                PartKind::SurvivorMetadata => sides[self.plan.survivor].metadata(),
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
