//! What an undo does not put back, and must find as the healing left it all the same: what was marked and taken for equal. Its digest is
//! noted before the first write, and compared whenever the undo is taken up again.

use super::draw::content_of;
use super::note;
use super::pair::LivePair;
use super::run::Execution;
use crate::engine::incident::Obstacle;
use crate::model::id::Digest;
use crate::model::seen::End;
use crate::model::side::{Pair, Side};

const FOLDER: &str = "live-undoing";

impl Execution<'_, '_> {
    /// Notes what both nodes hold there now.
    pub(super) fn note_rest(&mut self, pair: &LivePair) -> Result<(), End> {
        let digests = self.rest(pair)?;
        note::put(self.context.store, FOLDER, self.incident, &digests)
            .map_err(|why| self.stopped(Obstacle::Salvage, why))
    }

    /// Whether it is still so. An undo that an older unsplit began noted nothing.
    pub(super) fn rest_as_noted(&mut self, pair: &LivePair) -> Result<(), End> {
        let then: Option<Vec<Digest>> = note::get(self.context.store, FOLDER, self.incident)
            .map_err(|why| self.stopped(Obstacle::Salvage, why))?;
        let Some(then) = then else { return Ok(()) };
        let now = self.rest(pair)?;
        let changed = self.plan.volumes().zip(then.iter().zip(&now)).find(|(_, (then, now))| then != now);
        let number = match changed {
            None if then.len() == now.len() => return Ok(()),
            None => 0,
            Some((volume, _)) => volume.number,
        };
        Err(self.stopped(
            Obstacle::Stale,
            format!(
                "volume {number} was written to since the undo was cut off, beside what it puts back: going on would mix what was kept with \
                 newer data. What was kept can be opened beside it (`unsplit salvage show`)"
            ),
        ))
    }

    /// The digest of each volume, the same on both nodes.
    fn rest(&mut self, pair: &LivePair) -> Result<Vec<Digest>, End> {
        let (plan, threads, progress) = (self.plan, self.context.threads, self.context.progress);
        let mut digests = Vec::new();
        for (planned, found) in plan.volumes().zip(&pair.volumes) {
            let mut of = |side: Side| {
                let replica = self.context.nodes[side].replica(&found.backing[side]);
                let replica = replica.map_err(|error| self.not_done(Obstacle::Device, &error))?;
                content_of(&*replica, &planned.ground.victim_marks, threads, progress)
                    .map_err(|error| self.not_done(Obstacle::Device, &error))
            };
            let Pair { a, b } = Pair::new(of(Side::A)?, of(Side::B)?);
            if a != b {
                let why = format!(
                    "volume {} is not the same on both nodes where the healing found it equal: `unsplit diff {} --full` shows where",
                    planned.number, plan.resource
                );
                return Err(self.stopped(Obstacle::Stale, why));
            }
            digests.push(a);
        }
        Ok(digests)
    }
}
