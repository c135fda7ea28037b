//! One run of a sealed plan: its steps, and the proofs they make. Every overwriting act needs the proofs that earlier
//! steps made.

use super::basis::{Kept, Stale, Was, as_drawn, as_left, nothing_else_differs};
use super::{Context, Healed, Work};
use crate::engine::backend::{Ended, Obstacle, Part, Run};
use crate::engine::before::{self, Noted};
use crate::engine::salvage;
use crate::model::id::{IncidentId, PlanId};
use crate::model::plan::Purpose;
use crate::model::plan::images::{ImagesPlan, Step};
use crate::model::salvage::Piece;
use crate::model::seen::{End, Why, in_words};
use crate::model::side::{Pair, Side};
use crate::model::stage::Stage;
use crate::ports::disk::Disk;
use crate::ports::replica::Replica;
use crate::proof::{OperatorSaidNoSalvage, Permit, Preserved, Quiesced};

/// One run: the proofs gathered so far.
pub(super) struct Execution<'r, 'w> {
    pub(super) context: Context<'w>,
    pub(super) id: PlanId,
    pub(super) plan: ImagesPlan<'w>,
    pub(super) healed: Option<Healed<'w>>,
    pub(super) incident: &'r IncidentId,
    /// A side was, or may have been, changed: now or in an earlier run.
    pub(super) touched: bool,
    /// An earlier run of this incident touched a side.
    pub(super) again: bool,
    pub(super) waived: Option<OperatorSaidNoSalvage>,
    pub(super) quiet: Option<Quiesced>,
    pub(super) kept: Option<Preserved>,
    /// What an earlier run noted, of a plan that keeps nothing.
    pub(super) noted: Option<Noted<'w>>,
    /// What was seen on the victim in this run, where it is to be overwritten.
    pub(super) standing: Option<Vec<Piece>>,
    /// The contents were found to be what this run promises, after the last of them was written.
    pub(super) proven: bool,
    pub(super) obstacle: Option<Obstacle>,
}

impl Run for Execution<'_, '_> {
    fn perform(&mut self, permit: &Permit<'_>) -> Ended {
        self.obstacle = None;
        let end = match self.plan.ground.steps.get(permit.step()) {
            Some(step) => self.step(step, permit),
            None => End::NotDone("the plan has no such step".into()),
        };
        self.touched |= permit.stage() >= Stage::Overwrite && matches!(end, End::Done | End::AlreadySo);
        Ended { end, obstacle: self.obstacle.unwrap_or(Obstacle::Device) }
    }

    fn may_pass(&self, obstacle: Obstacle) -> bool {
        // Where somebody else wrote to a side, going on parks again and an undo refuses: a new plan sees what stands there
        // now, and keeps it.
        obstacle != Obstacle::Stale || self.plan.purpose != Purpose::Heal
    }

    fn over(&mut self) {
        if !self.plan.salvage {
            before::forget(self.context.store, self.incident);
        }
    }
}

impl<'r, 'w> Execution<'r, 'w> {
    pub(super) fn new(work: &'r Work<'w>, part: Part<'r>) -> Execution<'r, 'w> {
        Execution {
            context: work.context,
            id: work.sealed.id(),
            plan: work.plan,
            healed: work.healed,
            incident: part.incident,
            touched: part.again,
            again: part.again,
            waived: part.waived,
            quiet: None,
            kept: None,
            noted: None,
            standing: None,
            proven: false,
            obstacle: None,
        }
    }

    fn step(&mut self, step: &Step, permit: &Permit<'_>) -> End {
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

    pub(super) fn not_done(&mut self, obstacle: Obstacle, error: &dyn std::error::Error) -> End {
        self.obstacle = Some(obstacle);
        End::NotDone(Why(in_words(error)))
    }

    pub(super) fn stopped(&mut self, obstacle: Obstacle, why: impl Into<String>) -> End {
        self.obstacle = Some(obstacle);
        End::NotDone(Why(why.into()))
    }

    pub(super) fn stale(&mut self, stale: &Stale) -> End {
        let obstacle = match stale {
            Stale::Unreadable { .. } | Stale::NewGap { .. } => Obstacle::Device,
            Stale::NotWritten { .. } => Obstacle::Verify,
            _ => Obstacle::Stale,
        };
        self.not_done(obstacle, stale)
    }

    pub(super) fn acted(&mut self, result: Result<End, String>) -> End {
        match result {
            Ok(end) => {
                self.obstacle = Some(Obstacle::Device);
                end
            }
            Err(why) => self.stopped(Obstacle::Busy, why),
        }
    }

    pub(super) fn replicas(&self) -> Pair<&'w dyn Replica> {
        self.context.sides.map(|patient| patient as &dyn Replica)
    }

    /// The healing whose metadata is written, or written back.
    pub(super) fn healing(&self) -> ImagesPlan<'w> {
        self.healed.map_or(self.plan, |healed| healed.plan)
    }

    /// The proofs, asked again. Without them nothing is overwritten.
    pub(super) fn proofs(&self) -> Result<(&Quiesced, &Preserved), String> {
        let quiet = self.quiet.as_ref().ok_or("writers were not proven to be kept out")?;
        quiet.check().map_err(|error| error.to_string())?;
        let kept = self.kept.as_ref().ok_or("no verified copy of the victim exists")?;
        Ok((quiet, kept))
    }

    fn quiesce(&mut self) -> End {
        let hold = |side: Side| self.context.sides[side].hold();
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
        let Context { threads, progress, store, .. } = self.context;
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
            self.noted = match self.find_note() {
                Ok(noted) => noted,
                Err(error) => return self.not_done(Obstacle::Salvage, &error),
            };
            let was = match (&readers, &self.noted) {
                (Some((data, metadata)), _) => Was::Kept(Kept {
                    data,
                    metadata: metadata.as_ref().map(|part| (part as &dyn Disk, part.kept())),
                }),
                (None, Some(noted)) => Was::Noted(noted),
                (None, None) => Was::Unknown,
            };
            as_left(self.plan, self.healed.map(|healed| healed.plan), self.replicas(), was, threads, progress)
                .map(Some)
        } else {
            as_drawn(self.plan, self.replicas(), threads, progress)
                .and_then(|()| {
                    nothing_else_differs(self.plan, self.replicas(), self.context.clock, threads, progress)
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
}
