//! Putting back what DRBD itself discarded, by its own policy or by a hand: a handler kept it before the resync. There was no
//! plan; one is drawn from the salvage and what both nodes show now, and goes through the same line as the undo of a healing.

use super::access::{Access, Reading};
use super::both::Both;
use super::desk::{Desk, refuse_while_open};
use super::driver::Driver;
use super::failure::{Failure, Kind};
use super::opened::Opened;
use super::turns::Share;
use super::undo::DrawnUndo;
use super::volumes::{Compared, How, compare_all};
use crate::edge::events;
use crate::edge::peer::PeerSpec;
use crate::engine::drbd::draw::{Decision, Found, content_of, draw as draw_resync};
use crate::engine::drbd::pair::LivePair;
use crate::engine::drbd::policies::to_restore;
use crate::engine::drbd::standing::{Standing, standing};
use crate::engine::drbd::undo::{untouched, written_since};
use crate::engine::plans;
use crate::engine::salvage::{KeptDisk, OF_A_RESYNC, dir_of, load_manifest, reader};
use crate::engine::undone::undone_by;
use crate::judge::audit::SealedPlan;
use crate::judge::discarded::{Discarded, discarded};
use crate::judge::planner::drbd::draw_undo;
use crate::model::extent::{Extent, ExtentSet};
use crate::model::id::{IncidentId, NodeName};
use crate::model::plan::drbd::Untouched;
use crate::model::policy::Settings;
use crate::model::salvage::{Manifest, PartKind};
use crate::model::shell::shell_word;
use crate::model::side::{Pair, Side};
use crate::model::size::BLOCK;
use crate::model::verdict::{Reason, Trace};
use crate::ports::disk::{Disk, DiskFault};

/// Bytes compared at once.
const CHUNK: u64 = 4 << 20;

/// The salvage of a handler that a name means.
#[must_use]
pub(super) fn named(word: Option<&str>) -> Option<IncidentId> {
    IncidentId::new(word.filter(|word| word.starts_with(OF_A_RESYNC))?).ok()
}

fn refused(kind: Kind, text: String) -> Failure {
    Failure::new(kind, anyhow::Error::msg(text))
}

/// What cannot be put back as a whole can still be looked at.
fn beside(id: &IncidentId, why: &str) -> Failure {
    refused(Kind::Evidence, format!("salvage {id} cannot be put back as a whole: {why}"))
        .hint(format!("open it beside, and copy over what is needed:\nunsplit salvage show {id}"))
}

/// What the handlers wrote down of it, if that proves that it can be put back.
fn proven(desk: &Desk, id: &IncidentId) -> Result<Discarded, Failure> {
    let incidents = desk.journal.incidents();
    if let Some(by) = undone_by(&*desk.store, &incidents, id).map_err(Failure::internal)? {
        return Err(refused(Kind::Usage, format!("salvage {id} was put back by incident {}", by.id)));
    }
    let told = events::read(desk.store.path()).map_err(Failure::evidence)?.events;
    discarded(&told, id).map_err(|why| beside(id, &why))
}

fn manifest_of(desk: &Desk, id: &IncidentId) -> Result<Manifest, Failure> {
    load_manifest(&*desk.store, &dir_of(id)).map_err(Failure::evidence)
}

/// Both nodes. No plan tells how the other one is reached, so it must be named; what can be refused is, before that.
///
/// # Errors
/// It cannot be put back, or the peer is not named, or cannot be talked to.
pub fn reach(
    desk: &Desk,
    id: &IncidentId,
    peer: Option<&PeerSpec>,
    reading: &Reading,
) -> Result<Both, Failure> {
    let manifest = manifest_of(desk, id)?;
    proven(desk, id)?;
    let Some(peer) = peer else {
        let (survivor, victim) = (&manifest.survivor_name, &manifest.victim_name);
        return Err(Failure::usage(format!(
            "no plan tells how {survivor} is reached, and what {victim} held is written to both nodes"
        ))
        .hint(command(id.as_str(), &manifest)));
    };
    let name = |word: &str| NodeName::new(word).map_err(Failure::internal);
    let names = Pair::new(name("a")?, name("b")?);
    let access = Access::of(names, manifest.resource.clone(), Some(peer.clone()), reading.clone());
    Both::reach(manifest.resource.as_str(), &access, "undo")
}

/// Draws the undo from the salvage and what both nodes show now.
///
/// # Errors
/// Something was written since the resync, or the nodes are not as it left them.
pub fn draw(
    desk: &Desk,
    by: &dyn Driver,
    both: &Both,
    id: &IncidentId,
    reading: &Reading,
) -> Result<DrawnUndo, Failure> {
    let manifest = manifest_of(desk, id)?;
    let discarded = proven(desk, id)?;
    let pair = both.look(&manifest.resource)?;
    let shown = alone_since(id, &discarded, &pair)?;
    let sealed = drawn(desk, by, both, &pair, id, &discarded, reading.threads())?;
    let opened = Opened::Drbd(both.clone());
    Ok(DrawnUndo { of: id.clone(), sealed, healed: None, shown: Some(shown), opened })
}

/// What both devices are to show from now on; nothing was written since the resync.
fn alone_since(
    id: &IncidentId,
    discarded: &Discarded,
    pair: &LivePair,
) -> Result<Vec<Pair<Untouched>>, Failure> {
    if standing(pair.told.as_ref(), &pair.toward, Side::B) != Standing::Joined {
        let resource = &pair.resource;
        let why =
            format!("{resource} is not connected and in sync on both nodes, and an undo writes to both");
        return Err(refused(Kind::Evidence, why).hint(format!("unsplit status {resource}")));
    }
    let now = untouched(pair);
    let mut then = now.clone();
    let at = pair.volumes.iter().position(|volume| volume.volume == discarded.volume);
    let at = at.ok_or_else(|| beside(id, &format!("there is no volume {} now", discarded.volume)))?;
    then[at].a = Untouched {
        boot: Some(discarded.boot.clone()),
        written: Some(discarded.written),
        current: Some(discarded.current),
    };
    match written_since(&pair.names, &pair.volumes, &then, &now) {
        Some(why) => Err(beside(id, &format!("{why}, and would be mixed with it"))),
        None => Ok(then),
    }
}

/// The plan: nothing differs between the two nodes, and the salvage tells what is written to both.
fn drawn(
    desk: &Desk,
    by: &dyn Driver,
    both: &Both,
    pair: &LivePair,
    id: &IncidentId,
    discarded: &Discarded,
    threads: usize,
) -> Result<SealedPlan, Failure> {
    let progress = &*by.progress();
    let settings = Settings::drbd_defaults();
    let share = Share::whole(threads);
    let how = How { settings: &settings, full: false, believe: false, state_dir: None, progress, share };
    let mut compared: Vec<Compared> = Vec::new();
    compare_all(both, pair, how, |volume| {
        compared.push(volume);
        Ok(())
    })?;
    let store = &*desk.store;
    let mut kept = Vec::new();
    for volume in &compared {
        let sources = volume.sight.evidence.as_ref().map(|seen| &seen.source);
        refuse_while_open(sources, store, &desk.journal, &[])?;
        let here = volume.replicas().a;
        let extents = if volume.volume.volume == discarded.volume {
            let salvage = reader(store, &dir_of(id), PartKind::VictimData).map_err(Failure::evidence)?;
            if salvage.size() != volume.found.delta.size {
                return Err(beside(id, "the volume has another size now"));
            }
            differing(&salvage, here.data()).map_err(Failure::evidence)?
        } else {
            ExtentSet::empty()
        };
        let content = content_of(here, &extents, threads, progress).map_err(Failure::evidence)?;
        kept.push((extents, content));
    }
    let trace = Trace::new(Reason {
        rule: "discarded by DRBD".to_owned(),
        evidence: format!("salvage {id}"),
        conclusion: format!("{} was overwritten with {}'s data", pair.names.a, pair.names.b),
    });
    let restore = to_restore(both.asked(), pair);
    let decision = Decision {
        peer: both.peer().to_string(),
        survivor: Side::B,
        restore,
        salvage: true,
        full: false,
        trace,
    };
    let found = compared
        .iter()
        .map(|volume| Found {
            volume: &volume.volume,
            sight: &volume.sight,
            delta: &volume.found.delta,
            losses: Vec::new(),
            replicas: volume.replicas(),
        })
        .collect();
    let mut resync = draw_resync(pair, found, decision, threads, progress).map_err(Failure::evidence)?;
    for (volume, (extents, _)) in resync.volumes.iter_mut().zip(&kept) {
        volume.overwrite = extents.clone();
    }
    both.still_there()?;
    let undo = resync.drbd().map(|resync| draw_undo(resync, id.clone(), kept));
    let undo = undo.ok_or_else(|| Failure::internal(anyhow::anyhow!("the plan is not for what runs")))?;
    plans::seal_undo(undo, &resync).map_err(Failure::internal)
}

/// The blocks of a salvage that stand otherwise on the disk now.
fn differing(kept: &KeptDisk<'_>, now: &dyn Disk) -> Result<ExtentSet, DiskFault> {
    let mut found = ExtentSet::empty();
    for piece in kept.kept().iter().flat_map(|extent| extent.pieces(CHUNK)) {
        let read = |disk: &dyn Disk| {
            let mut bytes = vec![0; usize::try_from(piece.len).unwrap_or(0)];
            disk.read_at(piece.start, &mut bytes).map(|()| bytes)
        };
        let (then, now) = (read(kept)?, read(now)?);
        let block = usize::try_from(BLOCK).unwrap_or(usize::MAX);
        let blocks = then.chunks(block).zip(now.chunks(block));
        for (start, (then, now)) in (piece.start..).step_by(block).zip(blocks) {
            if then != now {
                found.push(Extent { start, len: then.len() as u64 });
            }
        }
    }
    Ok(found)
}

/// The command that puts it back.
#[must_use]
pub fn command(id: &str, manifest: &Manifest) -> String {
    let peer = shell_word(&format!("ssh:{}", manifest.survivor_name));
    format!("unsplit undo {id} --peer {peer}")
}
