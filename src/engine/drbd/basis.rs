//! What a plan rests on, looked at again: before anything is kept, and before each act that gives up data.

use super::Context;
use super::beside::look_beside;
use super::draw::{content_of, generations};
use super::pair::{LivePair, PairedVolume};
use super::run::Execution;
use super::undo::{noted, untouched};
use crate::engine::incident::Obstacle;
use crate::engine::inquiry::{self, InquiryError, Sight};
use crate::judge::audit;
use crate::judge::audit::drbd::against_now;
use crate::judge::planner::drbd::would_heal;
use crate::model::delta::Delta;
use crate::model::drbd::Superblock;
use crate::model::drbd_live::words::DiskState;
use crate::model::extent::ExtentSet;
use crate::model::id::Digest;
use crate::model::lineage::Relation;
use crate::model::plan::drbd::{DrbdVolume, Reach};
use crate::model::policy::Settings;
use crate::model::seen::End;
use crate::model::side::{Pair, Side};
use crate::ports::replica::Replica;

/// One volume, opened and looked at.
pub(super) struct Seen {
    pub(super) replicas: Pair<Box<dyn Replica>>,
    pub(super) sight: Sight,
    /// What differs now; a healing keeps that.
    pub(super) delta: Option<Delta>,
}

/// What shows, without reading its data again, that nobody wrote to the victim's volume meanwhile: the kernel counts writes
/// since the device was attached, and whoever attaches it anew and writes leaves traces in the metadata.
#[derive(PartialEq, Eq)]
pub(super) struct Mark {
    boot: Option<String>,
    written: Option<u64>,
    superblock: Superblock,
    area: Digest,
}

impl Mark {
    /// A node that tells nothing proves nothing.
    fn tells(&self) -> bool {
        self.boot.is_some() && self.written.is_some()
    }

    /// Whether nothing was written between two looks, whatever DRBD did to the metadata.
    fn counts_as(&self, earlier: &Mark) -> bool {
        self.tells() && self.boot == earlier.boot && self.written == earlier.written
    }
}

/// What was found of a volume.
enum Drawn {
    /// The victim holds all that it held when the plan was drawn.
    Whole(Box<Seen>),
    /// DRBD overwrote it, wholly or in part, or may have.
    Overwritten,
}

impl Execution<'_, '_> {
    pub(super) fn check_basis(&mut self) -> End {
        match self.is_under_way() {
            Ok(true) => {
                return match self.prove_kept() {
                    Ok(()) => End::AlreadySo,
                    Err(end) => end,
                };
            }
            Ok(false) => {}
            Err(end) => return end,
        }
        let pair = match self.look() {
            Ok(pair) => pair,
            Err(end) => return end,
        };
        if let Err(end) = self.still(&pair) {
            return end;
        }
        self.sights.clear();
        self.marks.clear();
        match self.all_as_drawn(&pair) {
            Ok(true) => {}
            // What is partly overwritten is in the salvage; what is still whole is looked at, and kept, like before the first act.
            Ok(false) => {
                if let Err(end) = self.overwritten_are_kept() {
                    return end;
                }
            }
            Err(end) => return end,
        }
        let end = self.not_written_since_kept(&pair).and_then(|()| self.compare_with_now());
        end.map_or_else(|end| end, |()| End::Done)
    }

    /// Whether the victim may have been overwritten already, now or in an earlier run.
    fn begun(&self) -> bool {
        self.touched || self.armed
    }

    /// What the plan rests on is still so. Looked at again before each act that gives up data: a cluster manager may have
    /// promoted the victim, and a guest may have written there, while it was kept or while a connection was refused. Where the
    /// kernel and the metadata show that nothing was written since the last look, the data is not read again.
    ///
    /// Whether every volume of the victim still holds all that it held: DRBD has overwritten nothing.
    pub(super) fn all_as_drawn(&mut self, pair: &LivePair) -> Result<bool, End> {
        let (plan, victim) = (self.plan, self.plan.victim());
        let mut whole = true;
        for (planned, found) in plan.volumes().zip(&pair.volumes) {
            // A resync that was cut off leaves the victim Inconsistent: nobody can have written there since, and all that
            // it held is in the salvage.
            if self.begun() && found.disks[victim] == DiskState::Inconsistent {
                whole = false;
                if self.kept.is_none() {
                    self.sights.push(None);
                }
                continue;
            }
            let open = |side: Side| self.context.nodes[side].replica(&found.backing[side]);
            let replicas = match (open(Side::A), open(Side::B)) {
                (Ok(a), Ok(b)) => Pair::new(a, b),
                (Err(error), _) | (_, Err(error)) => return Err(self.not_done(Obstacle::Device, &error)),
            };
            // Before the data is read: what is written during the reading counts as written after it.
            let mark = self.mark(planned, pair, &*replicas[victim])?;
            let last = self.marks.iter().position(|(volume, _)| *volume == planned.number);
            if last.is_some_and(|at| self.marks[at].1 == mark && mark.tells()) {
                continue;
            }
            let unwritten = last.is_some_and(|at| mark.counts_as(&self.marks[at].1));
            let drawn = self.as_drawn(planned, found, replicas, unwritten)?;
            if let Some(at) = last {
                self.marks.remove(at);
            }
            self.marks.push((planned.number, mark));
            match drawn {
                Drawn::Whole(seen) if self.kept.is_none() => self.sights.push(Some(*seen)),
                Drawn::Whole(_) => {}
                Drawn::Overwritten => {
                    whole = false;
                    if self.kept.is_none() {
                        self.sights.push(None);
                    }
                }
            }
        }
        Ok(whole)
    }

    fn mark(&mut self, planned: DrbdVolume<'_>, pair: &LivePair, victim: &dyn Replica) -> Result<Mark, End> {
        let side = self.plan.victim();
        let device = pair.told[side].devices.iter().find(|device| device.volume == planned.number);
        let area = victim.area_digest().map_err(|error| self.not_done(Obstacle::Device, &error))?;
        let mut superblock = victim.superblock().map_err(|error| self.not_done(Obstacle::Device, &error))?;
        // Flags come and go with connections; a write shows in the activity log.
        superblock.flags = 0;
        superblock.peers.iter_mut().for_each(|peer| peer.flags = 0);
        let written = device.and_then(|device| device.statistics.written);
        Ok(Mark { boot: pair.states[side].boot.clone(), written, superblock, area })
    }

    /// `unwritten`: the kernel's counter shows that nothing was written since this run looked last.
    fn as_drawn(
        &mut self,
        planned: DrbdVolume<'_>,
        found: &PairedVolume,
        replicas: Pair<Box<dyn Replica>>,
        unwritten: bool,
    ) -> Result<Drawn, End> {
        let (victim, number) = (self.plan.victim(), planned.number);
        let Context { clock, pause, threads, progress, .. } = self.context;
        let settings = Settings::drbd_defaults();
        let sight = look_beside(replicas.as_ref().map(|replica| &**replica), found, &settings, clock, pause)
            .map_err(|error| self.not_done(inquiry_obstacle(&error), &error))?;
        let superblocks = sight.evidence.as_ref().map(|seen| &seen.superblock);
        let same = |side: Side| {
            generations(superblocks[side], superblocks[side.other()]).same(&planned.ground.generations[side])
        };
        // A resync that began, or came to its end, before the two parted again: the victim holds nothing of its own any more
        // that is not kept.
        let survivor_leads = if self.plan.survivor == Side::A { Relation::Ahead } else { Relation::Behind };
        if self.begun()
            && !same(victim)
            && (sight.comparison.relation == Relation::InSync || sight.comparison.relation == survivor_leads)
            && sight.comparison.source != Some(victim)
        {
            return Ok(Drawn::Overwritten);
        }
        for side in Side::BOTH {
            // Once it is begun, a survivor that goes on is no reason to stop half-way: what DRBD would do decides.
            let excused = self.begun() && side == self.plan.survivor;
            if !(same(side) || excused) {
                return Err(self.outdated(
                    format!(
                        "volume {number} has another generation on {} than when the plan was drawn. Draw a new plan",
                        self.plan.names[side]
                    ),
                ));
            }
        }
        let names = self.plan.names.as_ref().map(|name| name.as_str());
        let way = if self.begun() && marks_are_whole(&sight, planned.size) {
            Reach::Bitmaps
        } else {
            planned.ground.reach
        };
        if let Err(why) = would_heal(sight.lineages.as_ref(), names, self.plan.survivor, way) {
            return Err(self.outdated(format!("volume {number}: {why}. Draw a new plan")));
        }
        self.marks_are_known(planned, &sight, unwritten)?;
        let content = content_of(&*replicas[victim], &planned.guarded(), threads, progress)
            .map_err(|error| self.not_done(Obstacle::Device, &error))?;
        if content != planned.ground.content {
            return Err(self.outdated(format!(
                "{}'s data of volume {number} is not what it was when the plan was drawn. Draw a new plan",
                self.plan.names[victim]
            )));
        }
        Ok(Drawn::Whole(Box::new(Seen { replicas, sight, delta: None })))
    }

    /// The victim has marked nothing since the plan was drawn. Once it was told to connect, DRBD may have exchanged the bitmaps and
    /// gone no further (a handler refused, the link broke): then the victim's holds the survivor's marks, too, or everything.
    fn marks_are_known(
        &mut self,
        planned: DrbdVolume<'_>,
        sight: &Sight,
        unwritten: bool,
    ) -> Result<(), End> {
        let (number, victim, survivor) = (planned.number, self.plan.victim(), self.plan.survivor);
        let name = self.plan.names[victim].clone();
        let more =
            sight.evidence[victim].marks.bitmap.clip(planned.size).subtract(&planned.ground.victim_marks);
        let unexplained = if !self.begun() {
            more.clone()
        } else if planned.ground.reach == Reach::Bitmaps {
            let at_plan = planned.ground.survivor_marks.clone().unwrap_or_else(ExtentSet::empty);
            more.subtract(&sight.evidence[survivor].marks.candidates(planned.size)).subtract(&at_plan)
        } else {
            ExtentSet::empty()
        };
        if let Some(first) = unexplained.first() {
            return Err(self.outdated(format!(
                "{name} wrote to volume {number} since the plan was drawn (at byte {}). Draw a new plan",
                first.start
            )));
        }
        // Under the survivor's marks a write of the victim's own would not show. What is kept was kept before.
        if !more.is_empty() && self.kept.is_some() && !unwritten {
            return Err(self.stopped(
                Obstacle::Stale,
                format!(
                    "DRBD exchanged the bitmaps of volume {number} for a resync that did not begin, and {name} does not count \
                     (any more) what it wrote since. Going on looks at all of it again, and keeps it anew"
                ),
            ));
        }
        Ok(())
    }

    /// A healing that is taken up again and has overwritten nothing: since the copy was taken the victim's devices count no write, as
    /// far as they count. What they do not count, the comparison of contents that follows finds.
    fn not_written_since_kept(&mut self, pair: &LivePair) -> Result<(), End> {
        if !self.touched {
            return Ok(());
        }
        let then =
            noted(self.context.store, self.incident).map_err(|why| self.stopped(Obstacle::Salvage, why))?;
        let (Some(then), now, victim) = (then, untouched(pair), self.plan.victim()) else { return Ok(()) };
        let still = self.plan.volumes().zip(&self.sights).zip(&then).zip(&now);
        for (((planned, seen), then), now) in still {
            if seen.is_none() {
                continue;
            }
            let (then, now) = (&then[victim], &now[victim]);
            if let (Some(before), Some(after)) = (then.written, now.written)
                && then.boot.is_some()
                && then.boot == now.boot
                && after > before
            {
                let why = format!(
                    "{} wrote {} KiB to volume {} since its copy was taken. Draw a new plan",
                    self.plan.names[victim],
                    (after - before).div_ceil(2),
                    planned.number
                );
                return Err(self.outdated(why));
            }
        }
        Ok(())
    }

    /// Compares what both sides hold now, and the plan with it.
    fn compare_with_now(&mut self) -> Result<(), End> {
        let Context { threads, progress, .. } = self.context;
        let plan = self.plan;
        let mut sights = std::mem::take(&mut self.sights);
        for (planned, seen) in plan.volumes().zip(&mut sights) {
            let Some(seen) = seen else { continue };
            let replicas = seen.replicas.as_ref().map(|replica| &**replica);
            let full = planned.ground.reach != Reach::Bitmaps;
            let delta = inquiry::diff(replicas, &seen.sight, full, threads, progress)
                .map_err(|error| self.not_done(inquiry_obstacle(&error), &error))?;
            if let Some(bad) = delta.unreadable.first() {
                let why = format!(
                    "volume {} cannot be read on {} at byte {}: {}. What cannot be read cannot be kept",
                    planned.number, plan.names[bad.side], bad.extent.start, bad.why
                );
                return Err(self.stopped(Obstacle::Device, why));
            }
            seen.delta = Some(delta);
        }
        // After the reading: what was written during it counts as written.
        let shown = untouched(&self.look()?);
        for ((planned, seen), shown) in plan.volumes().zip(&sights).zip(&shown) {
            let Some(seen) = seen else { continue };
            let Some(delta) = &seen.delta else { continue };
            let now = audit::Seen::of_replicas(&seen.sight.evidence, delta);
            if let Err(findings) = against_now(plan, planned, now, shown) {
                let all: Vec<String> = findings.iter().map(ToString::to_string).collect();
                let why = format!(
                    "what the plan says is not what both nodes hold ({}). Draw a new plan",
                    all.join("; ")
                );
                return Err(self.outdated(why));
            }
        }
        self.sights = sights;
        Ok(())
    }
}

/// Whether the two bitmaps, which DRBD takes together, mark everything: then a resync by them is a full one.
fn marks_are_whole(sight: &Sight, size: u64) -> bool {
    let [a, b] = [Side::A, Side::B].map(|side| sight.evidence[side].marks.bitmap.clip(size));
    a.union(&b).bytes() >= size
}

pub(super) fn inquiry_obstacle(error: &InquiryError) -> Obstacle {
    match error {
        InquiryError::Link(_) => Obstacle::Link,
        InquiryError::Unseen { .. } | InquiryError::Compare(_) => Obstacle::Device,
        _ => Obstacle::Stale,
    }
}
