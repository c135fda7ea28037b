//! What DRBD would have left on disk after a completed resync: both sides attach, connect, and have nothing to do.
//!
//! The rules are DRBD's own for "resync finished" (8.4.11, 9.3.3), with both nodes down and Secondary afterwards.
//! `tests/aftermath.rs` compares them, field by field, with what both kernels left of one split brain each. Where we
//! depart on purpose:
//!
//! * v08's history does not get the UUID that 8.4 gives to each transfer (base + `UUID_NEW_BM_OFFSET`). No such transfer
//!   happened, and of two places one stays for a generation that was.
//! * AL_CLEAN is set, and v08's magic is the clean one: as `drbdmeta apply-al` leaves them before the next attach.
//! * v09's members are both nodes. The kernel strikes out the peer when it disconnects in order; and a node that was
//!   the only member takes its quorum up again when it attaches, alone. That must come from the kernel, not from us.
//! * A history that the victim inherits keeps its order. 9.3.3 turns it round.
//!
//! Third peers of v09 need care, because the victim's data changes under their bitmaps:
//!
//! * A slot that already collects against some generation goes on doing so, with the overwritten extents added: it
//!   then still covers every difference from that generation. (9.3.3 calls it by the victim's
//!   old generation, which costs that peer a full resync.)
//! * Unless the survivor has a slot for that peer and was in sync with it: then the victim is now, too, and has no bitmap UUID for it. Its
//!   bits stay, as DRBD leaves them; met again, the peer is the source of a resync of what it has marked itself.
//! * A peer with a slot but no bitmap UUID shared the victim's old generation. That generation becomes its bitmap
//!   UUID, as in every rotation, with the overwritten extents as its bits: met again, such a peer is a plain successor's
//!   target, instead of a stranger.
//! * Slots that no node has yet keep collecting for future peers ("day 0").
//! * What a hot activity log hides is marked in all of them before the log is reset, on both sides.

use crate::model::drbd::{GenerationUuid, MetadataFormat, PeerSlot, Superblock, device_flag, peer_flag};
use crate::model::plan::images::MetadataChange;

/// Both sides' metadata changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aftermath {
    /// The side whose data was kept.
    pub survivor: MetadataChange,
    /// The side that was overwritten.
    pub victim: MetadataChange,
}

/// What a finished resync from `survivor` to `victim` leaves. Both must be of one format; the numbers of the layout
/// (sizes, offsets, stripes, device UUID, node id) stay each side's own.
#[must_use]
pub fn after_resync(survivor: &Superblock, victim: &Superblock) -> Aftermath {
    let survivor_after = settle_survivor(survivor, victim);
    let victim_after = settle_victim(&survivor_after, victim, survivor);
    let during = Superblock { flags: victim.flags & !device_flag::CONSISTENT, ..victim.clone() };
    let change = |before: &Superblock, peer: &Superblock, after, during: Option<Superblock>| {
        let toward = slot_toward(before, peer);
        let others: Vec<u32> = (0..before.max_peers).filter(|slot| Some(*slot) != toward).collect();
        let log_hides = before.has(device_flag::PRIMARY_IND) || before.has(device_flag::CRASHED_PRIMARY);
        MetadataChange {
            after,
            clear_slots: toward.into_iter().collect(),
            mark_slots: if during.is_some() { others.clone() } else { Vec::new() },
            mark_hot_slots: if log_hides { others } else { Vec::new() },
            during,
            reset_log: true,
        }
    };
    Aftermath {
        survivor: change(survivor, victim, survivor_after, None),
        victim: change(victim, survivor, victim_after, Some(during)),
    }
}

/// The bitmap slot one side uses for the other: v08's only one; v09's by node id, if one is allocated.
#[must_use]
pub fn slot_toward(own: &Superblock, peer: &Superblock) -> Option<u32> {
    match own.format {
        MetadataFormat::V08 => Some(0),
        MetadataFormat::V09 => {
            own.peer(Some(peer.node_id)).and_then(|slot| u32::try_from(slot.bitmap_index).ok())
        }
    }
}

fn settle_survivor(survivor: &Superblock, victim: &Superblock) -> Superblock {
    let mut after = settled(survivor);
    let base = survivor.bitmap_toward(Some(victim.node_id));
    match survivor.format {
        MetadataFormat::V08 => {
            after.bitmap = GenerationUuid::UNSET;
            shift_history(&mut after, base);
        }
        MetadataFormat::V09 => {
            settle_peer(&mut after, victim.node_id, None);
            push_history(&mut after, base);
            share_generation(&mut after, survivor, victim);
        }
    }
    after
}

fn settle_victim(survivor_after: &Superblock, victim: &Superblock, survivor: &Superblock) -> Superblock {
    let mut after = settled(victim);
    after.current = survivor_after.current;
    match victim.format {
        MetadataFormat::V08 => {
            after.bitmap = GenerationUuid::UNSET;
            after.history.clone_from(&survivor_after.history);
        }
        MetadataFormat::V09 => {
            let old = victim.current.masked();
            let base = victim.bitmap_toward(Some(survivor.node_id));
            settle_peer(&mut after, survivor.node_id, Some(0));
            let mut retired = Vec::new();
            for ((id, peer), of_survivor) in (0..).zip(after.peers.iter_mut()).zip(&survivor.peers) {
                if id == victim.node_id || id == survivor.node_id || peer.bitmap_index < 0 {
                    continue;
                }
                if peer.bitmap_uuid != GenerationUuid::UNSET {
                    // A survivor without a slot for that peer knows nothing of it, and vouches for nothing.
                    let in_sync =
                        of_survivor.bitmap_index >= 0 && of_survivor.bitmap_uuid == GenerationUuid::UNSET;
                    if in_sync {
                        retired.push(peer.bitmap_uuid);
                        (peer.bitmap_uuid, peer.bitmap_dagtag) = (GenerationUuid::UNSET, 0);
                    }
                } else if is_generation(old) && !old.same(survivor_after.current) {
                    (peer.bitmap_uuid, peer.bitmap_dagtag) = (old, 0);
                }
            }
            // Oldest first, so that the newest ends up in front.
            for missing in survivor_after.history.iter().rev() {
                push_history(&mut after, *missing);
            }
            // What the survivor collects against for others is past for the victim, too.
            for collecting in &survivor.peers {
                push_history(&mut after, collecting.bitmap_uuid);
            }
            push_history(&mut after, base);
            for past in retired {
                push_history(&mut after, past);
            }
            // Not `old`, as 9.3.3 was seen to leave it out. A device that holds it, a backup of the victim say, holds what was
            // discarded; with `old` in the history it would be taken for an ancestor and overwritten without a question.
            after.members = survivor_after.members;
        }
    }
    after
}

/// Flags and marks of a device that went down in order as Secondary, up to date.
fn settled(before: &Superblock) -> Superblock {
    use device_flag as flag;
    let cleared = match before.format {
        MetadataFormat::V08 => flag::CONNECTED_IND | flag::FULL_SYNC | flag::PEER_OUT_DATED,
        MetadataFormat::V09 => flag::PRIMARY_LOST_QUORUM,
    } | flag::PRIMARY_IND
        | flag::CRASHED_PRIMARY;
    Superblock {
        unclean_magic: false,
        current: before.current.masked(),
        flags: before.flags & !cleared | flag::CONSISTENT | flag::WAS_UP_TO_DATE | flag::AL_CLEAN,
        ..before.clone()
    }
}

/// v09: the peer is in sync and its state known. A sync target resets the slot's data generation tag, a source does not.
fn settle_peer(after: &mut Superblock, node_id: i32, dagtag: Option<u64>) {
    if let Some(peer) = usize::try_from(node_id).ok().and_then(|id| after.peers.get_mut(id)) {
        let cleared = peer_flag::CONNECTED | peer_flag::OUTDATED | peer_flag::FENCING | peer_flag::FULL_SYNC;
        *peer = PeerSlot {
            bitmap_uuid: GenerationUuid::UNSET,
            bitmap_dagtag: dagtag.unwrap_or(peer.bitmap_dagtag),
            flags: peer.flags & !cleared | peer_flag::DEVICE_SEEN,
            bitmap_index: peer.bitmap_index,
        };
    }
}

/// v09: both node ids share the generation now. Kernels that do not keep the mask leave 0, and so do we.
fn share_generation(after: &mut Superblock, survivor: &Superblock, victim: &Superblock) {
    let bit = |id: i32| u32::try_from(id).ok().and_then(|id| 1u64.checked_shl(id)).unwrap_or(0);
    if survivor.members != 0 {
        after.members = survivor.members | bit(survivor.node_id) | bit(victim.node_id);
    }
}

fn is_generation(uuid: GenerationUuid) -> bool {
    !uuid.same(GenerationUuid::UNSET) && !uuid.same(GenerationUuid::JUST_CREATED)
}

/// 8.4's push: a plain shift of what is set.
fn shift_history(superblock: &mut Superblock, uuid: GenerationUuid) {
    if uuid != GenerationUuid::UNSET {
        superblock.history.insert(0, uuid);
        superblock.history.pop();
    }
}

/// 9's push: nothing unset, just created, current, or known already in the history or, once that has begun, in a bitmap UUID.
fn push_history(superblock: &mut Superblock, uuid: GenerationUuid) {
    let begun = superblock.history.first().is_some_and(|newest| *newest != GenerationUuid::UNSET);
    let known = uuid.same(superblock.current)
        || begun && superblock.peers.iter().any(|peer| peer.bitmap_uuid.same(uuid))
        || superblock.history.iter().any(|past| past.same(uuid));
    if is_generation(uuid) && !known {
        shift_history(superblock, uuid.masked());
    }
}

#[cfg(test)]
mod tests;
