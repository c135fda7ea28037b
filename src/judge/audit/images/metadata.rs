//! What a healing does to a side's metadata: which bitmap slots, and what of the superblock.

use super::{Finding, note};
use crate::model::drbd::{GenerationUuid, MetadataFormat, Superblock, device_flag};
use crate::model::plan::images::{ImagesPlan, MetadataChange};
use crate::model::side::{Pair, Side};

/// Bitmap slots that DRBD has at most: one for each of its 32 node ids.
const MOST_SLOTS: usize = 32;

/// Bitmap slots that the metadata has room for.
fn room(superblock: &Superblock) -> u32 {
    match superblock.format {
        MetadataFormat::V08 => 1,
        MetadataFormat::V09 => superblock.max_peers,
    }
}

/// Every slot that a change names exists, stands once in its list, and is either cleared or marked.
pub(super) fn slots(plan: ImagesPlan<'_>, out: &mut Vec<Finding>) {
    for (side, change) in plan.ground.metadata.iter() {
        let MetadataChange { after, clear_slots, mark_slots, mark_hot_slots, .. } = change;
        let room = room(after);
        for list in [clear_slots, mark_slots, mark_hot_slots] {
            // More than there can be are not looked at one by one.
            let too_many = list.len() > MOST_SLOTS;
            note(out, "slots", too_many, || format!("side {side} would have {} bitmap slots", list.len()));
            for (at, slot) in list.iter().enumerate().take(MOST_SLOTS) {
                note(out, "slots", *slot >= room, || format!("side {side} has no bitmap slot {slot}"));
                note(out, "slots", list[..at].contains(slot), || {
                    format!("side {side}'s bitmap slot {slot} stands twice in one list")
                });
            }
        }
        for slot in clear_slots {
            note(out, "slots", mark_slots.contains(slot) || mark_hot_slots.contains(slot), || {
                format!("side {side}'s bitmap slot {slot} would be cleared and marked")
            });
        }
    }
}

/// What a healing that is drawn now does to every slot and to the log. Plans of version 1 are not asked.
pub(super) fn complete(plan: ImagesPlan<'_>, out: &mut Vec<Finding>) {
    for (side, change) in plan.ground.metadata.iter() {
        let others = |slot: &u32| !change.clear_slots.contains(slot);
        let all = |list: &[u32]| (0..room(&change.after)).filter(others).all(|slot| list.contains(&slot));
        note(out, "third-peers", side == plan.victim() && !all(&change.mark_slots), || {
            format!("a third peer of side {side} would not learn what was overwritten")
        });
        note(out, "survivor-untouched", side == plan.survivor && !change.mark_slots.is_empty(), || {
            format!("side {side} would mark what is not overwritten there")
        });
        let hot = &change.mark_hot_slots;
        note(out, "third-peers", !hot.is_empty() && !all(hot), || {
            format!("a third peer of side {side} would not learn what its activity log hides")
        });
        note(out, "log", !change.reset_log, || {
            format!("side {side}'s activity log would stay as it is, under a superblock that calls it clean")
        });
    }
}

/// What becomes of both superblocks, against those that were found (`before`): they stay where they are, and they stay
/// who they are. Nothing in them changes that no resync changes, and no generation appears that neither side had.
pub(super) fn against_superblocks(plan: ImagesPlan<'_>, before: Pair<&Superblock>, out: &mut Vec<Finding>) {
    for (side, change) in plan.ground.metadata.iter() {
        let was = before[side];
        for becomes in change.during.iter().chain([&change.after]) {
            note(out, "geometry", !same_place_and_identity(becomes, was), || {
                format!("side {side}'s metadata would get another geometry or identity")
            });
        }
        if let Some(during) = &change.during {
            let marked = Superblock { flags: was.flags & !device_flag::CONSISTENT, ..was.clone() };
            note(out, "half-written-unmarked", *during != marked, || {
                format!("side {side} would be marked Inconsistent, and otherwise not stay as it was")
            });
        }
        resync_only(side, &change.after, was, out);
        known_generations(side, &change.after, before, out);
        let hides = was.has(device_flag::PRIMARY_IND) || was.has(device_flag::CRASHED_PRIMARY);
        let others = (0..room(was)).any(|slot| !change.clear_slots.contains(&slot));
        note(out, "third-peers", hides && others && change.mark_hot_slots.is_empty(), || {
            format!("a third peer of side {side} would not learn what its activity log hides")
        });
    }
    let kept = before[plan.survivor];
    let becomes = plan.ground.metadata[plan.victim()].after.current;
    note(out, "same-generation", !becomes.same(kept.current), || {
        format!("afterwards both would have generation {becomes}, not the survivor's {}", kept.current)
    });
}

/// Everything a healing must never change in a superblock.
fn same_place_and_identity(after: &Superblock, before: &Superblock) -> bool {
    after.format == before.format
        && after.effective_size == before.effective_size
        && after.device_uuid == before.device_uuid
        && after.md_size == before.md_size
        && after.al_offset == before.al_offset
        && after.al_extents == before.al_extents
        && after.bm_offset == before.bm_offset
        && after.bm_bytes_per_bit == before.bm_bytes_per_bit
        && after.la_peer_max_bio_size == before.la_peer_max_bio_size
        && after.max_peers == before.max_peers
        && after.node_id == before.node_id
        && after.al_stripes == before.al_stripes
        && after.al_stripe_size_4k == before.al_stripe_size_4k
        && after.peers.len() == before.peers.len()
        && after.peers.iter().zip(&before.peers).all(|(now, was)| now.bitmap_index == was.bitmap_index)
}

/// Flags of a device that a resync, or going down in order after it, can change.
const OF_A_RESYNC: u32 = {
    use device_flag as flag;
    flag::CONSISTENT
        | flag::PRIMARY_IND
        | flag::CONNECTED_IND
        | flag::FULL_SYNC
        | flag::WAS_UP_TO_DATE
        | flag::PEER_OUT_DATED
        | flag::CRASHED_PRIMARY
        | flag::AL_CLEAN
        | flag::PRIMARY_LOST_QUORUM
};

fn resync_only(side: Side, after: &Superblock, was: &Superblock, out: &mut Vec<Finding>) {
    let changed = (after.flags ^ was.flags) & !OF_A_RESYNC;
    note(out, "flags", changed != 0, || {
        format!("side {side}'s flags {changed:#x} would change, which no resync does")
    });
}

/// Every generation that a superblock would name stood in one of the two.
fn known_generations(side: Side, after: &Superblock, before: Pair<&Superblock>, out: &mut Vec<Finding>) {
    let of = |superblock: &Superblock| -> Vec<GenerationUuid> {
        let single = [superblock.current, superblock.bitmap];
        let slots = superblock.peers.iter().map(|peer| peer.bitmap_uuid);
        single.into_iter().chain(superblock.history.iter().copied()).chain(slots).collect()
    };
    let known = [of(before.a), of(before.b)].concat();
    let strange = |uuid: &GenerationUuid| {
        !uuid.same(GenerationUuid::UNSET) && !known.iter().any(|known| known.same(*uuid))
    };
    if let Some(uuid) = of(after).into_iter().find(strange) {
        let what = format!("side {side} would name generation {uuid}, which neither side had");
        out.push(Finding { rule: "generations", what });
    }
}
