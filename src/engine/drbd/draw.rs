//! From a verdict to a plan for a running resource.

use super::others::others;
use super::pair::{LivePair, PairedVolume};
use super::undo::untouched;
use crate::digest::content::content_digest;
use crate::engine::inquiry::Sight;
use crate::judge::planner::drbd::{reach, steps};
use crate::model::delta::Delta;
use crate::model::drbd::{MetadataFormat, Superblock};
use crate::model::extent::ExtentSet;
use crate::model::id::Digest;
use crate::model::node::AfterSb;
use crate::model::plan::drbd::{Generations, Ground, Reach, VolumeGround};
use crate::model::plan::{self, Plan, Purpose, UnitLoss, VERSION, VolumePlan};
use crate::model::side::{Pair, Side};
use crate::model::verdict::Trace;
use crate::ports::disk::DiskFault;
use crate::ports::progress::Progress;
use crate::ports::replica::Replica;

/// The generation that a superblock says, toward `peer`.
#[must_use]
pub fn generations(superblock: &Superblock, peer: &Superblock) -> Generations {
    let id = (superblock.format == MetadataFormat::V09).then_some(peer.node_id);
    Generations {
        current: superblock.current,
        bitmap: superblock.bitmap_toward(id),
        history: superblock.history.clone(),
    }
}

/// The content digest of a side's data, made where the data is.
///
/// # Errors
/// [`DiskFault`].
pub fn content_of(
    replica: &dyn Replica,
    extents: &ExtentSet,
    threads: usize,
    progress: &dyn Progress,
) -> Result<Digest, DiskFault> {
    match replica.digest_there(extents, threads) {
        Some(made) => made,
        None => content_digest(replica.data(), extents, threads, progress),
    }
}

/// What was found out about one volume.
pub struct Found<'a> {
    /// Where it is.
    pub volume: &'a PairedVolume,
    /// Its metadata.
    pub sight: &'a Sight,
    /// What differs.
    pub delta: &'a Delta,
    /// What the victim loses, per unit.
    pub losses: Vec<UnitLoss>,
    /// Both sides, for reading.
    pub replicas: Pair<&'a dyn Replica>,
}

/// What was decided.
pub struct Decision {
    /// How side B is reached.
    pub peer: String,
    /// Whose data is kept.
    pub survivor: Side,
    /// The after-sb policies to be put back in the end ([`super::policies::to_restore`]).
    pub restore: Pair<Option<AfterSb>>,
    /// Whether the victim's content is kept first.
    pub salvage: bool,
    /// Whether everything is compared in the end.
    pub full: bool,
    /// Why.
    pub trace: Trace,
}

/// Draws the plan.
///
/// # Errors
/// The victim cannot be read where it would be overwritten.
pub fn draw(
    pair: &LivePair,
    found: Vec<Found<'_>>,
    decision: Decision,
    threads: usize,
    progress: &dyn Progress,
) -> Result<Plan, DiskFault> {
    let Decision { peer, survivor, restore, salvage, full, trace } = decision;
    let victim = survivor.other();
    let (mut volumes, mut grounds, mut shown) = (Vec::new(), Vec::new(), untouched(pair).into_iter());
    for Found { volume, sight, delta, losses, replicas } in found {
        let superblocks = sight.evidence.as_ref().map(|seen| &seen.superblock);
        // A Primary's bitmap lies on its disk as it was when the log's extents became hot: what it shows after the
        // demotion was written before, somewhere in these.
        let victim_marks = sight.evidence[victim].marks.candidates(delta.size);
        let guarded = victim_marks.union(&delta.differs);
        grounds.push(VolumeGround {
            minors: volume.minors,
            generations: Pair::from_fn(|side| generations(superblocks[side], superblocks[side.other()])),
            reach: reach(pair.generation, sight.comparison.common_base),
            victim_marks,
            survivor_marks: Some(sight.evidence[survivor].marks.candidates(delta.size)),
            shown: shown.next(),
            content: content_of(replicas[victim], &guarded, threads, progress)?,
        });
        volumes.push(VolumePlan {
            number: volume.volume,
            at: sight.evidence.as_ref().map(|seen| seen.source.clone()),
            size: delta.size,
            overwrite: delta.differs.clone(),
            losses,
            doubtful: delta.doubtful(victim).bytes(),
        });
    }
    let bytes = volumes.iter().map(|volume| volume.overwrite.bytes()).sum();
    let invalidate = grounds.iter().any(|volume| volume.reach == Reach::Invalidate);
    Ok(Plan {
        version: VERSION,
        purpose: Purpose::Heal,
        resource: pair.resource.clone(),
        names: pair.names.clone(),
        survivor,
        salvage,
        volumes,
        ground: plan::Ground::Drbd(Ground {
            peer,
            machines: pair.states.as_ref().map(|state| state.machine.clone()),
            generation: pair.generation,
            toward: pair.toward.clone(),
            policies: restore,
            volumes: grounds,
            steps: steps(bytes, invalidate, full, !others(pair).is_empty()),
        }),
        trace,
    })
}
