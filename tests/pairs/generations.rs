//! Generations for each relation, as DRBD would have left them.

use super::case::{Case, Log, Relation, Third};
use super::image::rng::Rng;
use super::image::{Metadata, NOBODY};
use unsplit::model::drbd::{GenerationUuid, MetadataFormat, PeerSlot, device_flag as flag, peer_flag};

/// What one side's superblock says of generations.
struct Line {
    current: u64,
    bitmap: u64,
    history: Vec<u64>,
}

fn lines(relation: Relation, rng: &mut Rng) -> [Line; 2] {
    let [old, base, mine, theirs, x, y] = [0; 6].map(|_| rng.generation());
    let line = |current, bitmap, history: &[u64]| Line { current, bitmap, history: history.to_vec() };
    match relation {
        Relation::BitmapBoth => [line(mine, base, &[old, x]), line(theirs, base, &[old, x])],
        Relation::AheadByBitmap | Relation::BehindByBitmap => {
            [line(mine, base, &[old, x]), line(base, 0, &[old, x])]
        }
        Relation::AheadByHistory | Relation::BehindByHistory => {
            [line(mine, x, &[base, old]), line(base, 0, &[old, y])]
        }
        Relation::HistoryBoth => [line(mine, x, &[base, old]), line(theirs, y, &[base, old])],
        Relation::Leftover => [line(base, 0, &[old, x]), line(base, 0, &[old, x])],
        Relation::Unrelated => {
            [line(mine, x, &[base, old]), line(theirs, y, &[rng.generation(), rng.generation()])]
        }
        Relation::FreshA | Relation::FreshB => {
            [line(mine, x, &[base, old]), line(GenerationUuid::JUST_CREATED.0, 0, &[])]
        }
    }
}

/// Lets both superblocks say so.
pub(crate) fn tell(case: &Case, blank: [Metadata; 2], rng: &mut Rng) -> [Metadata; 2] {
    let [mut a, mut b] = lines(case.relation, rng);
    if matches!(case.relation, Relation::BehindByBitmap | Relation::BehindByHistory | Relation::FreshA) {
        std::mem::swap(&mut a, &mut b);
    }
    let [blank_a, blank_b] = blank;
    let mut tell = |side: usize, line: Line, blank: Metadata| {
        let (spec, peer) = (&case.sides[side], &case.sides[1 - side]);
        let primary = spec.log.primary();
        let whole = flag::CONSISTENT | flag::WAS_UP_TO_DATE;
        let flags = if case.relation.fresh() == Some(side) { 0 } else { whole }
            | match spec.log {
                Log::Clean | Log::Left => flag::AL_CLEAN,
                Log::Attached => 0,
                Log::Replayed => flag::CRASHED_PRIMARY,
                Log::Hot | Log::Wrapped => flag::PRIMARY_IND,
                Log::Disabled => flag::PRIMARY_IND | flag::AL_DISABLED,
            };
        let slot = |slot: u64| i32::try_from(slot).unwrap();
        let current = line.current | u64::from(primary);
        let mut metadata =
            blank.of_node(spec.node_id, peer.node_id).generations(current, line.bitmap, line.history);
        let since = rng.generation();
        let told = &mut metadata.told;
        if case.format == MetadataFormat::V09 {
            let known = peer_flag::DEVICE_SEEN | peer_flag::NODE_EXISTS;
            told.peers[usize::from(spec.node_id)].flags = peer_flag::NODE_EXISTS;
            told.peers[usize::from(peer.node_id)].bitmap_index = slot(spec.slot);
            if spec.third != Third::None {
                let bitmap_uuid = GenerationUuid(if spec.third == Third::Since { since } else { 0 });
                let bitmap_index = slot(third_slot(spec.slot));
                told.peers[usize::from(THIRD)] =
                    PeerSlot { bitmap_uuid, flags: known, bitmap_index, ..NOBODY };
            }
        }
        told.effective_size = case.sectors;
        told.device_uuid = rng.generation();
        told.flags = flags;
        told.unclean_magic = case.format == MetadataFormat::V08 && flags & flag::AL_CLEAN == 0;
        told.la_peer_max_bio_size = 1 << 20;
        metadata
    };
    [tell(0, a, blank_a), tell(1, b, blank_b)]
}

/// Node id of the third node.
pub(crate) const THIRD: u8 = 20;

/// The slot of the third node beside that of the peer.
pub(crate) fn third_slot(peer: u64) -> u64 {
    if peer == 0 { 1 } else { 0 }
}
