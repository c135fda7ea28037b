//! Putting back, through DRBD, what a live healing overwrote: a new incident in the other direction. One node is Primary and
//! writes what was kept; DRBD replicates it to the other. What stands there now is kept first.

use super::Context;
use super::basis::Seen;
use super::draw::content_of;
use super::note;
use super::others::primary_elsewhere;
use super::pair::{self, LivePair, PairedVolume};
use super::run::Execution;
use super::salvage_of;
use super::standing::Standing;
use crate::digest::content::content_digest;
use crate::engine::incident::Obstacle;
use crate::engine::inquiry::look;
use crate::engine::salvage::{self, dir_of};
use crate::model::drbd_live::words::{ConnectionState, Role};
use crate::model::extent::Extent;
use crate::model::id::IncidentId;
use crate::model::node::NodeAct;
use crate::model::plan::drbd::{DrbdVolume, Untouched};
use crate::model::plan::{Plan, Purpose};
use crate::model::policy::Settings;
use crate::model::salvage::PartKind;
use crate::model::seen::{End, in_words};
use crate::model::side::{Pair, Side};
use crate::ports::disk::{Disk, DiskFault};
use crate::ports::node::Node;
use crate::ports::replica::Replica;
use crate::ports::store::Store;
use crate::proof::{FencedPeer, Permit};
use std::time::Duration;

/// Bytes copied at once.
const CHUNK: u64 = 4 << 20;
/// After so many pieces it is looked again whether anybody else may write.
const PIECES_PER_LOOK: usize = 16;
/// What a disk writes as a whole.
const SECTOR: usize = 512;
const FOLDER: &str = "live-healed";

/// What the devices of all volumes show now, per side: to be compared later.
#[must_use]
pub fn untouched(pair: &LivePair) -> Vec<Pair<Untouched>> {
    pair.volumes
        .iter()
        .map(|volume| {
            Pair::from_fn(|side: Side| {
                let device = pair.told[side].devices.iter().find(|device| device.volume == volume.volume);
                Untouched {
                    boot: pair.states[side].boot.clone(),
                    written: device.and_then(|device| device.statistics.written),
                    current: device.and_then(|device| device.statistics.current),
                }
            })
        })
        .collect()
}

/// Notes what the devices show after a healing.
///
/// # Errors
/// In words.
pub fn note_healed(store: &dyn Store, incident: &IncidentId, seen: &[Pair<Untouched>]) -> Result<(), String> {
    note::put(store, FOLDER, incident, seen)
}

/// Looks once more, and notes what an undo will hold against what it finds.
///
/// # Errors
/// In words.
pub(super) fn note_the_end(context: &Context<'_>, plan: &Plan, incident: &IncidentId) -> Result<(), String> {
    let nodes = context.nodes.map(|node| node as &dyn Node);
    let pair = pair::look(nodes, &plan.resource).map_err(|error| in_words(&error))?;
    let since = since_kept(noted(context.store, incident)?, untouched(&pair), plan.survivor);
    let since = since.ok_or("what was written when the copy was taken was not noted")?;
    note_healed(context.store, incident, &since)
}

/// What is noted at the end of a healing: what the devices show now, but of the survivor what it had written when the rest was
/// kept. `None` when that was not noted.
fn since_kept(
    kept: Option<Vec<Pair<Untouched>>>,
    mut now: Vec<Pair<Untouched>>,
    survivor: Side,
) -> Option<Vec<Pair<Untouched>>> {
    let kept = kept.filter(|kept| kept.len() == now.len())?;
    for (now, kept) in now.iter_mut().zip(kept) {
        now[survivor].written = kept[survivor].written;
        now[survivor].boot.clone_from(&kept[survivor].boot);
    }
    Some(now)
}

/// What was noted after that healing; `None` when nothing was.
///
/// # Errors
/// In words.
pub fn noted(store: &dyn Store, incident: &IncidentId) -> Result<Option<Vec<Pair<Untouched>>>, String> {
    note::get(store, FOLDER, incident)
}

/// Whether nothing was written since, and no generation began; if not, or if it cannot be known, why.
#[must_use]
pub fn written_since(
    names: &Pair<crate::model::id::NodeName>,
    volumes: &[PairedVolume],
    then: &[Pair<Untouched>],
    now: &[Pair<Untouched>],
) -> Option<String> {
    if let Some(why) = writes_since(names, volumes, then, now) {
        return Some(why);
    }
    for ((then, now), volume) in then.iter().zip(now).zip(volumes) {
        for side in Side::BOTH {
            match (then[side].current, now[side].current) {
                (Some(then), Some(now)) if then.same(now) => {}
                _ => {
                    return Some(format!(
                        "volume {} has another generation on {} since",
                        volume.volume, names[side]
                    ));
                }
            }
        }
    }
    None
}

/// The same by the counters of writes alone: a Primary that loses its peer for a moment begins a generation, and an undo is Primary
/// itself.
fn writes_since(
    names: &Pair<crate::model::id::NodeName>,
    volumes: &[PairedVolume],
    then: &[Pair<Untouched>],
    now: &[Pair<Untouched>],
) -> Option<String> {
    if then.len() != now.len() || now.len() != volumes.len() {
        return Some("the resource has other volumes now".to_owned());
    }
    for ((then, now), volume) in then.iter().zip(now).zip(volumes) {
        for side in Side::BOTH {
            let (name, number) = (&names[side], volume.volume);
            let (then, now) = (&then[side], &now[side]);
            if then.boot.is_none() || then.boot != now.boot {
                return Some(format!(
                    "{name} was restarted since, so what was written is not counted any more"
                ));
            }
            match (then.written, now.written) {
                (Some(then), Some(now)) if then == now => {}
                (Some(then), Some(now)) if now > then => {
                    return Some(format!(
                        "{} KiB were written to volume {number} on {name} since",
                        (now - then).div_ceil(2)
                    ));
                }
                _ => {
                    return Some(format!(
                        "volume {number} was attached anew on {name} since, so what was written is not counted any more"
                    ));
                }
            }
        }
    }
    None
}

impl Execution<'_, '_> {
    pub(super) fn promote(&mut self, permit: &Permit<'_>) -> End {
        let (pair, standing) = match self.joined_soon() {
            Ok(found) => found,
            Err(end) => return end,
        };
        if let Err(end) = self.nothing_written_since(&pair) {
            return end;
        }
        if standing != Standing::Joined {
            let resource = &self.plan.resource;
            let why = format!(
                "{resource} is not connected and in sync on both nodes: `unsplit status {resource}` shows why. An undo writes to both"
            );
            return self.stopped(Obstacle::Stale, why);
        }
        // The other node must not be Primary: dual-primary resources would let both write.
        if pair.told.b.info.role != Some(Role::Secondary) {
            let why = format!(
                "{} is Primary on {}: stop what uses it there, and make it Secondary",
                self.plan.resource, self.plan.names.b
            );
            return self.stopped(Obstacle::Busy, why);
        }
        if let Some(why) = primary_elsewhere(&pair) {
            return self.stopped(Obstacle::Busy, why);
        }
        if pair.told.a.info.role == Some(Role::Primary) {
            return match self.used_here() {
                Ok(users) if users.is_empty() => End::AlreadySo,
                Ok(users) => {
                    let why = format!(
                        "{} is in use here: {}. Stop that first",
                        self.plan.resource,
                        users.join("; ")
                    );
                    self.stopped(Obstacle::Busy, why)
                }
                Err(end) => end,
            };
        }
        let peer = match FencedPeer::by_its_answer(&pair.told.b, &pair.toward.b) {
            Ok(peer) => peer,
            Err(error) => return self.not_done(Obstacle::Busy, &error),
        };
        let end = self.context.nodes.a.promote(&peer, permit);
        match self.acted(Obstacle::Busy, end) {
            Ok(()) => End::Done,
            Err(end) => end,
        }
    }

    /// Both nodes, asked until they are joined: after a power cut they connect, and resync what was being written, by themselves.
    /// Not longer than they try.
    fn joined_soon(&mut self) -> Result<(LivePair, Standing), End> {
        let (patience, pause) = (self.context.patience, self.context.pause);
        let mut waited = Duration::ZERO;
        loop {
            let (pair, standing) = self.standing()?;
            let trying = match &standing {
                Standing::Joined => false,
                Standing::Apart(states) => ![states.a, states.b].contains(&ConnectionState::StandAlone),
                Standing::Resyncing { .. } | Standing::Backwards { .. } => true,
            };
            if !trying || waited >= patience.connect {
                return Ok((pair, standing));
            }
            pause(patience.look);
            waited += patience.look;
        }
    }

    /// An undo that has not begun to write, first run or taken up again, mixes nothing: what was written since the healing, anywhere
    /// on the volumes, is newer.
    fn nothing_written_since(&mut self, pair: &LivePair) -> Result<(), End> {
        let Purpose::Undo { incident } = self.plan.purpose.clone() else { return Ok(()) };
        if self.touched {
            return Ok(());
        }
        let then =
            noted(self.context.store, &incident).map_err(|why| self.stopped(Obstacle::Salvage, why))?;
        let why = match then {
            None => Some("what the devices showed after the healing was not noted".to_owned()),
            Some(then) => writes_since(&pair.names, &pair.volumes, &then, &untouched(pair)),
        };
        let Some(why) = why else { return Ok(()) };
        let overwritten = self.plan.volumes.iter().filter(|volume| !volume.overwrite.is_empty());
        let shows: Vec<String> = overwritten
            .filter_map(|volume| salvage_of(&incident, volume.number).ok())
            .map(|salvage| format!("unsplit salvage show {salvage}"))
            .collect();
        Err(self.stopped(
            Obstacle::Stale,
            format!(
                "incident {incident} cannot be undone as a whole any more: {why}. Putting back what was kept would mix it with newer data; \
                 open it beside, and copy over what is needed: {}",
                shows.join("; ")
            ),
        ))
    }

    fn used_here(&mut self) -> Result<Vec<String>, End> {
        let mut all = Vec::new();
        for volume in &self.plan.ground.volumes {
            match self.context.nodes.a.users(volume.minors.a) {
                Ok(users) => all.extend(users.into_iter().map(|user| user.who)),
                Err(error) => return Err(self.not_done(Obstacle::Busy, &error)),
            }
        }
        Ok(all)
    }

    /// Both nodes still hold what the healing left, unless this undo itself began to overwrite it.
    pub(super) fn check_undo(&mut self) -> End {
        let pair = match self.look() {
            Ok(pair) => pair,
            Err(end) => return end,
        };
        if self.touched {
            let kept = self.prove_kept().and_then(|()| self.rest_as_noted(&pair));
            return kept.map_or_else(|end| end, |()| End::Done);
        }
        if let Err(end) = self.nothing_written_since(&pair) {
            return end;
        }
        self.sights.clear();
        for (planned, found) in self.plan.volumes().zip(&pair.volumes) {
            match self.as_healed(planned, found) {
                Ok(seen) => self.sights.push(Some(seen)),
                Err(end) => return end,
            }
        }
        self.note_rest(&pair).map_or_else(|end| end, |()| End::Done)
    }

    fn as_healed(&mut self, planned: DrbdVolume<'_>, found: &PairedVolume) -> Result<Seen, End> {
        let open = |side: Side| self.context.nodes[side].replica(&found.backing[side]);
        let replicas = match (open(Side::A), open(Side::B)) {
            (Ok(a), Ok(b)) => Pair::new(a, b),
            (Err(error), _) | (_, Err(error)) => return Err(self.not_done(Obstacle::Device, &error)),
        };
        for side in Side::BOTH {
            let (threads, progress) = (self.context.threads, self.context.progress);
            let now = content_of(&*replicas[side], &planned.overwrite, threads, progress)
                .map_err(|error| self.not_done(Obstacle::Device, &error))?;
            if now != planned.ground.content {
                let why = format!(
                    "volume {} is not as the healing left it on {}: an undo never overwrites newer data",
                    planned.number, self.plan.names[side]
                );
                return Err(self.stopped(Obstacle::Stale, why));
            }
        }
        let borrowed = replicas.as_ref().map(|replica| &**replica);
        let sight = look(borrowed, &Settings::drbd_defaults(), self.context.clock)
            .map_err(|error| self.not_done(Obstacle::Device, &error))?;
        Ok(Seen { replicas, sight, delta: None })
    }

    /// Writes what was kept of the victim through this node's DRBD devices.
    pub(super) fn write_back(&mut self, permit: &Permit<'_>) -> End {
        let Purpose::Undo { incident } = self.plan.purpose.clone() else {
            return self.stopped(Obstacle::Stale, "this plan undoes nothing");
        };
        if self.kept.is_none() {
            return self.stopped(Obstacle::Salvage, "what stands there now was not kept");
        }
        if let Err(end) = self.may_write() {
            return end;
        }
        match self.used_here() {
            Ok(users) if users.is_empty() => {}
            Ok(users) => {
                let why =
                    format!("{} is in use here: {}. Stop that first", self.plan.resource, users.join("; "));
                return self.stopped(Obstacle::Busy, why);
            }
            Err(end) => return end,
        }
        let overwritten: Vec<_> = self.plan.volumes().filter(|volume| !volume.overwrite.is_empty()).collect();
        if self.touched {
            // Nothing more is written where others wrote anything since.
            for planned in &overwritten {
                if let Err(end) = self.put_back(*planned, &incident, false, permit) {
                    return end;
                }
            }
        }
        for planned in overwritten {
            if let Err(end) = self.put_back(planned, &incident, true, permit) {
                return end;
            }
        }
        End::Done
    }

    /// The two are connected, and nobody else may write: whatever promoted the other node since it was looked at last.
    fn may_write(&mut self) -> Result<(), End> {
        let (pair, standing) = self.standing()?;
        if !matches!(standing, Standing::Joined | Standing::Resyncing { .. }) {
            return Err(self.stopped(
                Obstacle::Link,
                "the two nodes are not connected: what is written now would reach only one",
            ));
        }
        if pair.told.b.info.role != Some(Role::Secondary) {
            let why = format!("{} is not Secondary on {} any more", self.plan.resource, self.plan.names.b);
            return Err(self.stopped(Obstacle::Busy, why));
        }
        primary_elsewhere(&pair).map_or(Ok(()), |why| Err(self.stopped(Obstacle::Busy, why)))
    }

    /// Goes over what an undo overwrites, piece by piece, and writes it where `write` says so. An undo, also one that was cut off, finds
    /// each sector either as it stood when it was kept or as it is put back. Anything else was written by others since, and is not
    /// overwritten.
    fn put_back(
        &mut self,
        planned: DrbdVolume<'_>,
        healing: &IncidentId,
        write: bool,
        permit: &Permit<'_>,
    ) -> Result<(), End> {
        let (store, progress) = (self.context.store, self.context.progress);
        let mut readers = Vec::new();
        for incident in [healing, self.incident] {
            let kept =
                salvage_of(incident, planned.number).map_err(|why| self.stopped(Obstacle::Salvage, why))?;
            let reader = salvage::reader(store, &dir_of(&kept), PartKind::VictimData);
            readers.push(reader.map_err(|error| self.not_done(Obstacle::Salvage, &error))?);
        }
        let device = self.context.nodes.a.device(planned.ground.minors.a, permit);
        let device = device.map_err(|error| self.not_done(Obstacle::Busy, &error))?;
        let word = if write { "write back" } else { "look at what stands there" };
        progress.begin(word, planned.overwrite.bytes());
        let mut copy = || -> Result<(), End> {
            let pieces = planned.overwrite.iter().flat_map(|extent| extent.pieces(CHUNK));
            for (number, piece) in pieces.enumerate() {
                if write && number > 0 && number.is_multiple_of(PIECES_PER_LOOK) {
                    self.may_write()?;
                }
                let wanted =
                    read(&readers[0], piece).map_err(|fault| self.not_done(Obstacle::Salvage, &fault))?;
                let before =
                    read(&readers[1], piece).map_err(|fault| self.not_done(Obstacle::Salvage, &fault))?;
                let now =
                    read(device.as_disk(), piece).map_err(|fault| self.not_done(Obstacle::Device, &fault))?;
                if let Some(at) = foreign(&now, &wanted, &before) {
                    let why = format!(
                        "somebody else wrote to volume {} at byte {} since it was kept: newer data is never overwritten. What was kept \
                         can be opened beside it (`unsplit salvage show`)",
                        planned.number,
                        piece.start + at
                    );
                    return Err(self.stopped(Obstacle::Stale, why));
                }
                if write {
                    device
                        .write_at(piece.start, &wanted)
                        .map_err(|fault| self.not_done(Obstacle::Device, &fault))?;
                }
                progress.advance(piece.len);
            }
            if write {
                device.flush().map_err(|fault| self.not_done(Obstacle::Device, &fault))?;
            }
            Ok(())
        };
        let copied = copy();
        progress.finish();
        copied
    }

    /// Both nodes hold what was kept, not merely the same.
    pub(super) fn verify_restored(
        &mut self,
        planned: DrbdVolume<'_>,
        replicas: Pair<&dyn Replica>,
    ) -> Result<(), End> {
        let Purpose::Undo { incident } = &self.plan.purpose else { return Ok(()) };
        if planned.overwrite.is_empty() {
            return Ok(());
        }
        let kept =
            salvage_of(incident, planned.number).map_err(|why| self.stopped(Obstacle::Salvage, why))?;
        let reader = salvage::reader(self.context.store, &dir_of(&kept), PartKind::VictimData)
            .map_err(|error| self.not_done(Obstacle::Salvage, &error))?;
        let (threads, progress) = (self.context.threads, self.context.progress);
        let wanted = content_digest(&reader, &planned.overwrite, threads, progress)
            .map_err(|error| self.not_done(Obstacle::Salvage, &error))?;
        for side in Side::BOTH {
            let now = content_of(replicas[side], &planned.overwrite, threads, progress)
                .map_err(|error| self.not_done(Obstacle::Device, &error))?;
            if now != wanted {
                let why = format!(
                    "volume {} on {} does not hold what was kept of it",
                    planned.number, self.plan.names[side]
                );
                return Err(self.stopped(Obstacle::Verify, why));
            }
        }
        Ok(())
    }

    pub(super) fn step_down(&mut self, permit: &Permit<'_>) -> End {
        let end = self.context.nodes.a.act(&NodeAct::Demote { resource: self.plan.resource.clone() }, permit);
        match self.acted(Obstacle::Busy, end) {
            Ok(()) => End::Done,
            Err(end) => end,
        }
    }
}

fn read(from: &dyn Disk, piece: Extent) -> Result<Vec<u8>, DiskFault> {
    let mut bytes = vec![0; usize::try_from(piece.len).unwrap_or(0)];
    from.read_at(piece.start, &mut bytes)?;
    Ok(bytes)
}

/// Where the first sector begins that is neither as wanted nor as before.
fn foreign(now: &[u8], wanted: &[u8], before: &[u8]) -> Option<u64> {
    let sectors = now.chunks(SECTOR).zip(wanted.chunks(SECTOR)).zip(before.chunks(SECTOR));
    let at = sectors.into_iter().position(|((now, wanted), before)| now != wanted && now != before)?;
    Some((at * SECTOR) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::drbd::GenerationUuid;

    fn shows(written: u64) -> Untouched {
        Untouched {
            boot: Some("one".to_owned()),
            written: Some(written),
            current: Some(GenerationUuid(0x1234_5678_9ABC_DEF0)),
        }
    }

    #[test]
    fn what_the_survivor_wrote_while_it_was_healed_counts_as_written_since() {
        let names = ["n1", "n2"].map(|name| crate::model::id::NodeName::new(name).unwrap());
        let names = Pair::new(names[0].clone(), names[1].clone());
        let backing = crate::ports::node::Backing {
            data: "/dev/x".to_owned(),
            metadata: None,
            place: None,
            role: crate::model::drbd::Role::Secondary,
        };
        let volumes = [PairedVolume {
            volume: 0,
            minors: Pair::new(0, 0),
            backing: Pair::new(backing.clone(), backing),
            out_of_sync: Pair::new(None, None),
            disks: Pair::new(
                crate::model::drbd_live::words::DiskState::UpToDate,
                crate::model::drbd_live::words::DiskState::UpToDate,
            ),
        }];
        let at = |a, b| vec![Pair::new(shows(a), shows(b))];
        // Kept at (10, 20); the resync wrote 50 to the victim, b. The survivor wrote nothing: undo may go on.
        let noted = since_kept(Some(at(10, 20)), at(10, 70), Side::A).unwrap();
        assert_eq!(written_since(&names, &volumes, &noted, &at(10, 70)), None);
        assert!(written_since(&names, &volumes, &noted, &at(12, 70)).is_some());
        assert!(written_since(&names, &volumes, &noted, &at(10, 72)).is_some());
        // It wrote 8 sectors while it was healed.
        let noted = since_kept(Some(at(10, 20)), at(18, 78), Side::A).unwrap();
        assert!(written_since(&names, &volumes, &noted, &at(18, 78)).unwrap().contains("4 KiB were written"));
        let mut rebooted = at(10, 70);
        rebooted[0].a.boot = Some("two".to_owned());
        let noted = since_kept(Some(at(10, 20)), at(10, 70), Side::A).unwrap();
        assert!(written_since(&names, &volumes, &noted, &rebooted).unwrap().contains("restarted"));
        assert_eq!(since_kept(None, at(10, 70), Side::A), None);

        // The undo is Primary, and its peer was gone for a moment: a generation, and no write.
        let noted = at(10, 70);
        let mut began = at(10, 70);
        began[0].a.current = Some(GenerationUuid(0xABCD_EF00));
        assert_eq!(writes_since(&names, &volumes, &noted, &began), None);
        assert!(written_since(&names, &volumes, &noted, &began).unwrap().contains("another generation"));
    }
}
