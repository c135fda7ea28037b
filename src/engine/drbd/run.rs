//! One run of a sealed plan: its steps, and the proofs they make.
//!
//! Every step looks first where the two nodes stand, so a run that was cut off is run again from its first step: what DRBD has
//! begun or done meanwhile by itself is found, not assumed. Nothing is given up without [`Standstill`] and [`Preserved`].

use super::basis::{Mark, Seen};
use super::others::in_the_way;
use super::pair::{LivePair, PairError, look};
use super::standing::{Standing, standing};
use super::undo::note_the_end;
use super::{Context, Work};
use crate::engine::backend::{Ended, Obstacle, Part, Run};
use crate::model::drbd_live::words::Role;
use crate::model::id::{IncidentId, PlanId};
use crate::model::node::NodeAct;
use crate::model::plan::Plan;
use crate::model::plan::drbd::{DrbdPlan, Step};
use crate::model::seen::{End, Why, in_words};
use crate::model::side::{Pair, Side};
use crate::model::stage::Stage;
use crate::ports::node::{Node, Operated};
use crate::proof::{OperatorSaidNoSalvage, Permit, Preserved, Standstill};

/// One run.
pub(super) struct Execution<'r, 'w> {
    pub(super) context: Context<'w>,
    pub(super) plan: DrbdPlan<'w>,
    pub(super) id: PlanId,
    pub(super) incident: &'r IncidentId,
    /// An overwriting step was done, or an earlier run came to one.
    pub(super) touched: bool,
    /// The victim was told, in this run, to give up its data.
    pub(super) armed: bool,
    /// Up to where both kernels had logged when this run first let the two connect.
    pub(super) heard: Option<Pair<u64>>,
    pub(super) waived: Option<OperatorSaidNoSalvage>,
    /// Of each volume, in order: what was seen of it; `None` of one that DRBD has begun to overwrite.
    pub(super) sights: Vec<Option<Seen>>,
    /// Of each volume whose content was last found as the plan has it: what the victim showed then.
    pub(super) marks: Vec<(u32, Mark)>,
    pub(super) kept: Option<Vec<Preserved>>,
    obstacle: Option<Obstacle>,
    /// What the plan was drawn from is gone for good.
    outdated: bool,
}

impl Run for Execution<'_, '_> {
    fn perform(&mut self, permit: &Permit<'_>) -> Ended {
        (self.obstacle, self.outdated) = (None, false);
        let overwrites = permit.stage() == Stage::Overwrite;
        let end = match self.plan.ground.steps.get(permit.step()) {
            Some(step) => self.step(*step, permit),
            None => End::NotDone("the plan has no such step".into()),
        };
        let end = match end {
            // Nobody knows what DRBD makes of what it was told by then.
            End::NotDone(why) if overwrites => End::Unknown(why),
            end => end,
        };
        self.touched |= permit.stage() >= Stage::Overwrite && matches!(end, End::Done | End::AlreadySo);
        Ended { end, obstacle: self.obstacle.unwrap_or(Obstacle::Device) }
    }

    fn may_pass(&self, _: Obstacle) -> bool {
        !self.outdated
    }

    fn finished(&mut self) -> Result<(), Why> {
        match self.plan.undoes() {
            None => note_the_end(&self.context, &self.plan, self.incident).map_err(Why),
            Some(_) => Ok(()),
        }
    }
}

impl<'r, 'w> Execution<'r, 'w> {
    pub(super) fn new(work: &'r Work<'w>, part: Part<'r>) -> Execution<'r, 'w> {
        Execution {
            context: work.context,
            plan: work.plan,
            id: work.sealed.id(),
            incident: part.incident,
            touched: part.again,
            armed: false,
            heard: None,
            waived: part.waived,
            sights: Vec::new(),
            marks: Vec::new(),
            kept: None,
            obstacle: None,
            outdated: false,
        }
    }

    /// Somebody wrote, or the generation went on: no waiting brings back what the plan was drawn from.
    pub(super) fn outdated(&mut self, why: impl Into<String>) -> End {
        self.outdated = true;
        self.stopped(Obstacle::Stale, why)
    }

    pub(super) fn stopped(&mut self, obstacle: Obstacle, why: impl Into<String>) -> End {
        self.obstacle = Some(obstacle);
        End::NotDone(Why(why.into()))
    }

    pub(super) fn not_done(&mut self, obstacle: Obstacle, error: &dyn std::error::Error) -> End {
        self.stopped(obstacle, in_words(error))
    }

    fn step(&mut self, step: Step, permit: &Permit<'_>) -> End {
        match step {
            Step::Isolate => self.isolate(permit),
            Step::Demote => self.demote(permit),
            Step::CheckBasis => match self.plan.undoes() {
                None => self.check_basis(),
                Some(_) => self.check_undo(),
            },
            Step::Preserve { .. } => self.preserve(),
            Step::Invalidate => self.invalidate(permit),
            Step::Reconnect => self.reconnect(permit),
            Step::Resync => self.resync(permit),
            Step::VerifyRelation => self.verify_relation(),
            Step::VerifyContent { full } => self.verify_content(full),
            Step::RestorePolicies => self.restore_policies(permit),
            Step::ConnectOthers => self.connect_others(permit),
            Step::Promote => self.promote(permit),
            Step::WriteBack { .. } => self.write_back(permit),
            Step::StepDown => self.step_down(permit),
            Step::Record => End::Done,
        }
    }

    pub(super) fn survivor(&self) -> &'w dyn Operated {
        self.context.nodes[self.plan.survivor]
    }

    pub(super) fn victim(&self) -> &'w dyn Operated {
        self.context.nodes[self.plan.victim()]
    }

    /// Both nodes, asked now. A plan runs only on the machines and the connection it was drawn for.
    pub(super) fn look(&mut self) -> Result<LivePair, End> {
        let nodes = self.context.nodes.map(|node| node as &dyn Node);
        match look(nodes, &self.plan.resource) {
            Ok(pair) => {
                let machines = pair.states.as_ref().map(|state| state.machine.clone());
                let volumes: Vec<u32> = pair.volumes.iter().map(|volume| volume.volume).collect();
                let planned: Vec<u32> = self.plan.volumes.iter().map(|volume| volume.number).collect();
                let ground = self.plan.ground;
                let same = machines == ground.machines
                    && pair.toward == ground.toward
                    && pair.generation == ground.generation
                    && volumes == planned;
                if !same {
                    return Err(self.stopped(
                        Obstacle::Stale,
                        format!(
                            "{} is not the resource on the nodes that the plan was drawn for. Draw a new plan",
                            self.plan.resource
                        ),
                    ));
                }
                match resized(&self.plan, &pair) {
                    None => Ok(pair),
                    Some(why) => Err(self.outdated(why)),
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
    pub(super) fn is_under_way(&mut self) -> Result<bool, End> {
        if !self.touched {
            return Ok(false);
        }
        let (_, standing) = self.standing()?;
        Ok(matches!(standing, Standing::Resyncing { .. } | Standing::Joined))
    }

    fn isolate(&mut self, permit: &Permit<'_>) -> End {
        let (_, standing) = match self.standing() {
            Ok(found) => found,
            Err(end) => return end,
        };
        match standing {
            Standing::Apart(_) => {}
            Standing::Resyncing { .. } | Standing::Joined if self.touched => return End::AlreadySo,
            Standing::Backwards { volume } if self.touched => return self.stop_backwards(volume, permit),
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
        let toward = self.plan.ground.toward[self.plan.victim()].clone();
        let end = self.victim().act(&NodeAct::Disconnect(toward), permit);
        match self.acted(Obstacle::Busy, end) {
            Ok(()) => End::Done,
            Err(end) => end,
        }
    }

    fn demote(&mut self, permit: &Permit<'_>) -> End {
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
        for volume in self.plan.volumes() {
            match self.victim().users(volume.ground.minors[self.plan.victim()]) {
                Ok(users) => in_use.extend(users.into_iter().map(|user| {
                    let end = user.ends_with.map(|how| format!(" (`{how}`)")).unwrap_or_default();
                    format!("volume {}: {}{end}", volume.number, user.who)
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
        let end = self.victim().act(&NodeAct::Demote { resource }, permit);
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
        if let Some(why) = in_the_way(pair, self.plan.survivor) {
            let next = why.what_to_type(&self.plan.resource);
            return Err(self.stopped(Obstacle::Busy, format!("{why}. To go on: {next}")));
        }
        Standstill::prove(&pair.told[victim], self.plan.ground.toward[victim].clone()).map_err(|error| {
            let name = &self.plan.names[victim];
            self.obstacle = Some(Obstacle::Busy);
            End::NotDone(Why(format!(
                "{name} does not stand still: {error}. Does a cluster manager, LINSTOR or `drbdadm adjust` act on it? Put \
                 that into maintenance mode first"
            )))
        })
    }
}

/// A volume that is larger or smaller now than planned, as far as the kernels tell.
fn resized(plan: &Plan, pair: &LivePair) -> Option<String> {
    plan.volumes.iter().find_map(|planned| {
        Side::BOTH.into_iter().find_map(|side| {
            let device = pair.told[side].devices.iter().find(|device| device.volume == planned.number)?;
            let now = device.statistics.size?.saturating_mul(512);
            (now != planned.size).then(|| {
                format!(
                    "volume {} was resized on {} since the plan was drawn: it has {now} bytes, the plan is for {}. Draw a new plan",
                    planned.number, plan.names[side], planned.size
                )
            })
        })
    })
}
