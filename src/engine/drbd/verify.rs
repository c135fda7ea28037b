//! What is checked when DRBD has done its part, and what is put back then.

use super::Context;
use super::basis::inquiry_obstacle;
use super::run::Execution;
use super::standing::Standing;
use crate::engine::contents::same_within;
use crate::engine::incident::Obstacle;
use crate::model::extent::ExtentSet;
use crate::model::node::NodeAct;
use crate::model::seen::{End, Why};
use crate::model::side::{Pair, Side};
use crate::proof::Permit;
use std::time::Duration;

impl Execution<'_, '_> {
    pub(super) fn verify_relation(&mut self) -> End {
        let (pair, standing) = match self.standing() {
            Ok(found) => found,
            Err(end) => return end,
        };
        if standing != Standing::Joined {
            return self.stopped(Obstacle::Verify, format!("the two are not joined: {standing:?}"));
        }
        for planned in self.plan.volumes() {
            let current = |side: Side| {
                let device = pair.told[side].devices.iter().find(|device| device.volume == planned.number);
                device.and_then(|device| device.statistics.current)
            };
            match (current(Side::A), current(Side::B)) {
                // In the plan's direction the generation is the survivor's, or a later one; never the victim's.
                (Some(a), Some(b))
                    if a.same(b)
                        && a.same(planned.ground.generations[self.plan.victim()].current)
                        && !a.same(planned.ground.generations[self.plan.survivor].current) =>
                {
                    return self.stopped(
                        Obstacle::Verify,
                        format!(
                            "volume {}: both nodes now hold {}'s generation. Somebody let DRBD overwrite {} instead, whose data this plan \
                             keeps",
                            planned.number,
                            self.plan.names[self.plan.victim()],
                            self.plan.names[self.plan.survivor]
                        ),
                    );
                }
                (Some(a), Some(b)) if a.same(b) => {}
                (a, b) => {
                    let words = |uuid: Option<_>| {
                        uuid.map_or("unknown".to_owned(), |uuid: crate::model::drbd::GenerationUuid| {
                            uuid.to_string()
                        })
                    };
                    return self.stopped(
                        Obstacle::Verify,
                        format!(
                            "volume {}: the generations are {} and {}",
                            planned.number,
                            words(a),
                            words(b)
                        ),
                    );
                }
            }
        }
        End::Done
    }

    /// Compares the contents beside DRBD. A survivor that goes on writing shows differences for moments: only what differs at
    /// every look counts.
    pub(super) fn verify_content(&mut self, full: bool) -> End {
        const LOOKS: u32 = 12;
        let pair = match self.look() {
            Ok(pair) => pair,
            Err(end) => return end,
        };
        for (planned, found) in self.plan.volumes().zip(&pair.volumes) {
            let open = |side: Side| self.context.nodes[side].replica(&found.backing[side]);
            let replicas = match (open(Side::A), open(Side::B)) {
                (Ok(a), Ok(b)) => Pair::new(a, b),
                (Err(error), _) | (_, Err(error)) => return self.not_done(Obstacle::Device, &error),
            };
            let replicas = replicas.as_ref().map(|replica| &**replica);
            let mut scope = if full { ExtentSet::whole(planned.size) } else { planned.guarded() };
            for look in 1..=LOOKS {
                if scope.is_empty() {
                    break;
                }
                let Context { threads, progress, .. } = self.context;
                let compared = match same_within(replicas, planned.size, &scope, threads, progress) {
                    Ok(compared) => compared,
                    Err(error) => return self.not_done(inquiry_obstacle(&error), &error),
                };
                if let Some(bad) = compared.unreadable.first() {
                    let name = &self.plan.names[bad.side];
                    let why = format!(
                        "volume {} cannot be read on {name} at byte {}: {}",
                        planned.number, bad.extent.start, bad.why
                    );
                    return self.stopped(Obstacle::Device, why);
                }
                scope = compared.differs;
                if look < LOOKS && !scope.is_empty() {
                    (self.context.pause)(Duration::from_millis(400));
                }
            }
            if let Err(end) = self.verify_restored(planned, replicas) {
                return end;
            }
            if let Some(first) = scope.first() {
                return self.stopped(
                    Obstacle::Verify,
                    format!(
                        "volume {}: {} bytes still differ between the nodes, the first at byte {}, although DRBD calls them in sync",
                        planned.number, scope.bytes(), first.start
                    ),
                );
            }
        }
        End::Done
    }

    pub(super) fn restore_policies(&mut self, permit: &Permit<'_>) -> End {
        for side in Side::BOTH {
            let act = NodeAct::RestorePolicies {
                toward: self.plan.ground.toward[side].clone(),
                to: self.plan.ground.policies[side],
            };
            let end = self.context.nodes[side].act(&act, permit);
            if let Err(end) = self.acted(Obstacle::Verify, end) {
                return match end {
                    End::NotDone(why) => End::NotDone(Why(format!(
                        "healed, but the after-sb policies of {} on {} stay `disconnect`: {why}. `drbdadm adjust {}` puts the configured ones back",
                        self.plan.resource, self.plan.names[side], self.plan.resource
                    ))),
                    other => other,
                };
            }
        }
        End::Done
    }
}
