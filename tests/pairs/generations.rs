//! Generations for each relation, as DRBD would have left them.

use super::case::{Case, Log, Relation, Third};
use super::metadata::{Format, JUST_CREATED, PeerTold, Told, flag};
use super::rng::Rng;

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
        Relation::FreshA | Relation::FreshB => [line(mine, x, &[base, old]), line(JUST_CREATED, 0, &[])],
    }
}

/// What both superblocks say.
pub(crate) fn told(case: &Case, rng: &mut Rng) -> [Told; 2] {
    let [mut a, mut b] = lines(case.relation, rng);
    if matches!(case.relation, Relation::BehindByBitmap | Relation::BehindByHistory | Relation::FreshA) {
        std::mem::swap(&mut a, &mut b);
    }
    let mut tell = |side: usize, line: Line| {
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
        let known = flag::PEER_DEVICE_SEEN | flag::PEER_NODE_EXISTS;
        let mut peers = vec![
            PeerTold { id: spec.node_id, bitmap_uuid: 0, flags: flag::PEER_NODE_EXISTS, slot: -1 },
            PeerTold { id: peer.node_id, bitmap_uuid: line.bitmap, flags: known, slot: slot(spec.slot) },
        ];
        let since = rng.generation();
        if spec.third != Third::None {
            let bitmap_uuid = if spec.third == Third::Since { since } else { 0 };
            peers.push(PeerTold { id: THIRD, bitmap_uuid, flags: known, slot: slot(third_slot(spec.slot)) });
        }
        Told {
            sectors: case.sectors,
            current: line.current | u64::from(primary),
            bitmap: line.bitmap,
            history: line.history,
            device: rng.generation(),
            flags,
            unclean: case.format == Format::V08 && flags & flag::AL_CLEAN == 0,
            node_id: spec.node_id,
            peers,
        }
    };
    [tell(0, a), tell(1, b)]
}

/// Node id of the third node.
pub(crate) const THIRD: u32 = 20;

/// The slot of the third node beside that of the peer.
pub(crate) fn third_slot(peer: u64) -> u64 {
    if peer == 0 { 1 } else { 0 }
}
