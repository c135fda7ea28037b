//! What DRBD would make of both sides as their metadata stands now, and how many blocks it calls out of sync.

use crate::judge::lineage::{compare, view};
use crate::model::lineage::Comparison;
use crate::model::policy::Settings;
use crate::model::side::Pair;
use crate::ports::clock::Clock;
use crate::ports::replica::Replica;

/// The comparison of both superblocks, read anew, and the sum of both sides' marked blocks.
///
/// # Errors
/// A side cannot be read, or the two cannot be compared.
pub(super) fn relation(
    replicas: Pair<&dyn Replica>,
    clock: &dyn Clock,
) -> Result<(Comparison, u64), Box<dyn std::error::Error>> {
    let superblocks = Pair::new(replicas.a.superblock()?, replicas.b.superblock()?);
    let now = clock.now();
    let seen = Pair::new(replicas.a.observe(&superblocks.b, now)?, replicas.b.observe(&superblocks.a, now)?);
    let lineages = Pair::from_fn(|side| {
        let peer = (superblocks[side].max_peers > 0).then_some(superblocks[side.other()].node_id);
        view(&superblocks[side], peer, seen[side].marks.bits_after_replay, seen[side].role)
    });
    let comparison = compare(&lineages.a, &lineages.b, &Settings::drbd_defaults())?;
    Ok((comparison, lineages.a.dirty_bits + lineages.b.dirty_bits))
}
