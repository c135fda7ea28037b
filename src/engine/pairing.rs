//! Whether two superblocks are the two sides of one volume, and what they are when they are not.

use super::inquiry::InquiryError;
use super::shifted::{self, Shifted};
use crate::format::drbdmeta::BLOCK;
use crate::format::drbdmeta::geometry::{Shape, superblock_position};
use crate::format::drbdmeta::superblock;
use crate::judge::lineage::{Handshake, Incomparable, compare_in, view};
use crate::model::drbd::{MetadataFormat, Role, Superblock, device_flag};
use crate::model::evidence::{MetadataPlace, Source, Trust};
use crate::model::lineage::Relation;
use crate::model::policy::Settings;
use crate::model::side::{Pair, Side};
use crate::model::size::{SECTOR, human};
use crate::ports::disk::Disk;
use crate::ports::replica::Replica;

/// Refuses what is no pair. Returns remarks for the operator about a pair that is one.
///
/// # Errors
/// [`InquiryError`].
pub(super) fn check(
    replicas: Pair<&dyn Replica>,
    superblocks: &Pair<Superblock>,
    settings: &Settings,
) -> Result<Vec<String>, InquiryError> {
    let Pair { a, b } = superblocks;
    // First, because nothing else that differs between two generations means anything.
    if a.format != b.format {
        return Err(Incomparable::Formats { a: a.format, b: b.format }.into());
    }
    if a.device_uuid != 0 && a.device_uuid == b.device_uuid {
        return Err(InquiryError::SameDevice { uuid: a.device_uuid });
    }
    if a.format == MetadataFormat::V09 && a.node_id == b.node_id {
        return Err(InquiryError::SameNode { id: a.node_id });
    }
    for (side, superblock) in superblocks.iter() {
        if superblock.effective_size == 0 {
            return Err(InquiryError::NeverAttached { side });
        }
    }
    let sources = Pair::from_fn(|side| replicas[side].source());
    // What the kernel has attached is what it says.
    let attached = sources.iter().all(|(_, source)| source.trust == Trust::Attached);
    for side in Side::BOTH.into_iter().filter(|_| !attached) {
        if let Some(known) = knows_others_only(&superblocks[side], &superblocks[side.other()]) {
            let id = superblocks[side.other()].node_id;
            return Err(InquiryError::Strangers { side, other: side.other(), id, known });
        }
    }
    let inner = Pair::from_fn(|side| nested(replicas[side].data()));
    let rooms = rooms(superblocks, &sources);
    let roomy = room(superblocks, &sources, rooms)?;
    in_place(replicas, superblocks, &sources, rooms)?;
    same_size(superblocks, &sources, &inner, settings)?;
    let inner = inner.iter().filter_map(|(side, inner)| inner.as_ref().map(|inner| (side, inner)));
    Ok(inner.map(|(side, inner)| stacked(side, inner)).chain(roomy).collect())
}

/// The node ids that `own` keeps bitmaps for, when there are some and the peer's is not among them.
fn knows_others_only(own: &Superblock, peer: &Superblock) -> Option<String> {
    if own.format != MetadataFormat::V09 {
        return None;
    }
    let known: Vec<String> = (0..)
        .zip(&own.peers)
        .filter(|(id, slot)| slot.bitmap_index >= 0 && *id != own.node_id)
        .map(|(id, _)| id.to_string())
        .collect();
    let member =
        u32::try_from(peer.node_id).is_ok_and(|id| own.members.checked_shr(id).unwrap_or(0) & 1 == 1);
    let allocated = own.peer(Some(peer.node_id)).is_some_and(|slot| slot.bitmap_index >= 0);
    (!known.is_empty() && !allocated && !member).then(|| known.join(", "))
}

/// A superblock at the end of the replicated data: the metadata of another resource, whose backing device this volume is.
fn nested(data: &dyn Disk) -> Option<Superblock> {
    let at = superblock_position(MetadataPlace::Internal, data.size())?;
    let mut block = vec![0; BLOCK];
    data.read_at(at, &mut block).ok()?;
    let found = superblock::parse(&block).ok()?;
    let offsets = Shape::of(&found).offsets(MetadataPlace::Internal, data.size()).ok()?;
    ((offsets.al_offset, offsets.bm_offset) == (found.al_offset, found.bm_offset)).then_some(found)
}

fn stacked(side: Side, inner: &Superblock) -> String {
    let node = if inner.format == MetadataFormat::V09 {
        format!(", node id {}", inner.node_id)
    } else {
        String::new()
    };
    format!(
        "Inside {side}'s volume stands the superblock of another resource ({} metadata{node}, generation {}, {}): a stacked \
         resource has this one below it. What is compared here is the lower one.",
        inner.format,
        inner.current,
        human(inner.effective_size * SECTOR)
    )
}

fn same_size(
    superblocks: &Pair<Superblock>,
    sources: &Pair<Source>,
    inner: &Pair<Option<Superblock>>,
    settings: &Settings,
) -> Result<(), InquiryError> {
    let size = |side: Side| superblocks[side].effective_size * SECTOR;
    let grown = Side::BOTH.into_iter().find(|side| sources[*side].grown_to.is_some());
    if size(Side::A) == size(Side::B) && grown.is_none() {
        return Ok(());
    }
    for side in Side::BOTH {
        let other = side.other();
        let the_other = |inner: &Superblock| {
            inner.device_uuid == superblocks[other].device_uuid
                || inner.effective_size == superblocks[other].effective_size
        };
        if inner[side].as_ref().is_some_and(the_other) {
            let bytes = size(side);
            return Err(InquiryError::Stacked { lower: side, upper: other, bytes });
        }
    }
    let told = told(superblocks, settings)?;
    if let Some((side, to)) = grown.and_then(|side| sources[side].grown_to.map(|to| (side, to))) {
        return Err(InquiryError::Grown {
            side,
            from: sources[side].data_size,
            to,
            at: sources[side].superblock_at,
            told,
            sizes: sizes(size),
        });
    }
    let (smaller, larger) =
        if size(Side::A) < size(Side::B) { (Side::A, Side::B) } else { (Side::B, Side::A) };
    Err(InquiryError::Sizes {
        sizes: sizes(size),
        told,
        smaller,
        larger,
        need: backing_for(&superblocks[smaller], sources[smaller].place, size(larger)),
    })
}

fn sizes(size: impl Fn(Side) -> u64) -> String {
    let words = |side: Side| format!("side {side} {} ({} bytes)", human(size(side)), size(side));
    format!("{} and {}", words(Side::A), words(Side::B))
}

/// What the generations say, in words.
fn told(superblocks: &Pair<Superblock>, settings: &Settings) -> Result<&'static str, InquiryError> {
    let lineage = |side: Side| {
        let own = &superblocks[side];
        let role = if own.has(device_flag::PRIMARY_IND) { Role::Primary } else { Role::Secondary };
        view(own, Some(superblocks[side.other()].node_id), 0, role)
    };
    let lineages = Pair::from_fn(lineage);
    let with = Handshake::newest(lineages.a.format);
    let found = compare_in(lineages.as_ref(), Pair::new("a", "b"), settings, &with)?;
    Ok(match found.relation {
        Relation::InSync => "both hold the same generation",
        Relation::Ahead => "b is BEHIND: a went on from b's generation",
        Relation::Behind => "a is BEHIND: b went on from a's generation",
        Relation::Diverged => "they are in SPLIT BRAIN: both went on from a common ancestor",
        Relation::Unrelated => "they are UNRELATED",
    })
}

/// Bytes of backing device that hold `replicated` bytes and the metadata.
fn backing_for(superblock: &Superblock, place: MetadataPlace, replicated: u64) -> u64 {
    let (shape, block) = (Shape::of(superblock), BLOCK as u64);
    let mut size = replicated.next_multiple_of(block);
    // The bitmap grows with the device, so this settles after a few rounds.
    for _ in 0..8 {
        let Ok(offsets) = shape.offsets(place, size) else { break };
        if place != MetadataPlace::Internal {
            break;
        }
        let need = (replicated + u64::from(offsets.md_size) * SECTOR).next_multiple_of(block);
        if need <= size {
            break;
        }
        size = need;
    }
    size
}

/// The least room that is no matter of rounding: DRBD rounds down to what a bit covers, and so loses less than that.
fn rounding(superblock: &Superblock) -> u64 {
    u64::from(superblock.bm_bytes_per_bit).max(BLOCK as u64)
}

/// Bytes that internal metadata takes on a device whose metadata is elsewhere: it may have been moved there.
fn former_metadata(superblock: &Superblock, source: &Source) -> u64 {
    match source.place {
        MetadataPlace::Internal => 0,
        _ => Shape::of(superblock)
            .offsets(MetadataPlace::Internal, source.data_size)
            .map_or(0, |offsets| u64::from(offsets.md_size) * SECTOR),
    }
}

/// Bytes that each device has beside what is replicated and DRBD's metadata.
fn rooms(superblocks: &Pair<Superblock>, sources: &Pair<Source>) -> Pair<u64> {
    Pair::from_fn(|side| {
        let (own, source) = (&superblocks[side], &sources[side]);
        let holds = match source.place {
            MetadataPlace::Internal => {
                source.superblock_at.saturating_add_signed(i64::from(own.bm_offset) * 512)
            }
            _ => source.data_size,
        };
        holds.saturating_sub(own.effective_size * SECTOR)
    })
}

/// Neither side's volume stands behind a header that nobody knows.
fn in_place(
    replicas: Pair<&dyn Replica>,
    superblocks: &Pair<Superblock>,
    sources: &Pair<Source>,
    rooms: Pair<u64>,
) -> Result<(), InquiryError> {
    let internal = |side: Side| sources[side].place == MetadataPlace::Internal;
    // With internal metadata that device holds the data, too, and can be read to its end.
    let disk = |side: Side| if internal(side) { replicas[side].metadata() } else { replicas[side].data() };
    let doubted =
        |side: Side| (sources[side].trust == Trust::Checked && rooms[side] >= SECTOR).then_some(rooms[side]);
    let size = superblocks.a.effective_size.min(superblocks.b.effective_size) * SECTOR;
    match shifted::find(Pair::from_fn(disk), size, Pair::from_fn(doubted)) {
        None => Ok(()),
        Some(Shifted { side, start }) => Err(InquiryError::Shifted {
            side,
            path: sources[side].data.clone(),
            start,
            len: disk(side).size().saturating_sub(start),
        }),
    }
}

/// DRBD replicates as much as the smaller of two devices holds. Where both hold more, something else is at work. The same room
/// on both is what two whole disks look like, or two files with the same header before the volume: then everything would be
/// read at wrong places, on both sides alike. Different room is told only: devices grow one by one.
fn room(
    superblocks: &Pair<Superblock>,
    sources: &Pair<Source>,
    bytes: Pair<u64>,
) -> Result<Option<String>, InquiryError> {
    let explained = |side: Side| {
        let own = &superblocks[side];
        let peers = own.peers.iter().filter(|slot| slot.bitmap_index >= 0).count();
        sources[side].trust != Trust::Checked
            || peers > 1
            || own.members.count_ones() > 2
            || bytes[side] < rounding(own)
            || bytes[side] <= former_metadata(own, &sources[side])
    };
    if Side::BOTH.into_iter().any(explained) {
        return Ok(None);
    }
    let Pair { a, b } = bytes;
    let replicated = superblocks.a.effective_size * SECTOR;
    if a == b {
        return Err(InquiryError::Room { room: a, replicated });
    }
    Ok(Some(format!(
        "Both devices have more room than the {replicated} bytes that DRBD replicates ({a} bytes more on a, {b} on b), and \
         nothing in their metadata explains it. If these are whole disks, give their partitions."
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::drbdmeta::create::{Wanted, create};

    #[test]
    fn the_backing_that_a_size_needs_holds_it() {
        for slots in [1, 7, 31] {
            let wanted = Wanted { max_peers: slots, ..Wanted::internal(MetadataFormat::V09, 64 << 20) };
            let own = create(&wanted, false).unwrap().superblock;
            for replicated in [64 << 20, (1 << 30) + 4096, 1 << 40] {
                let need = backing_for(&own, MetadataPlace::Internal, replicated);
                let holds = |size| {
                    let md = Shape::of(&own).offsets(MetadataPlace::Internal, size).unwrap().md_size;
                    size - u64::from(md) * SECTOR
                };
                assert!(holds(need) >= replicated);
                assert!(holds(need - 4096) < replicated, "{need} is more than is needed");
            }
        }
    }
}
