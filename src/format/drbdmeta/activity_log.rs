//! The activity log: which 4 MiB extents may hold writes that the bitmap does not show yet.
//!
//! A ring of 4 KiB transactions, spread over stripes. Each sets some slots of a table and repeats a window of the
//! others, so that a few transactions describe the whole table. What is done about damage follows `drbdmeta
//! apply-al` 9.22, found out by damaging logs and running it (the cases are kept in `tests/drbdmeta.rs`):
//!
//! * A block without magic or with a wrong checksum is skipped. The newest transaction may well be torn by the
//!   crash: the writes it announces had then not been issued.
//! * With no transaction at all, one bad block among initialised ones is taken as a torn first transaction; more are
//!   an error. With one good transaction any number of bad blocks is accepted.
//! * Counts in a transaction (updates, context size) are not looked at: all 64 and all 919 entries are taken.
//!
//! Where drbdmeta guesses, we take more: numbers that do not fit their places make every extent mentioned anywhere
//! hot, and a lost transaction in the middle that later ones do not repeat makes the result *incomplete*, which
//! callers must treat as "everything".

use super::{BLOCK, be16, be32};
use crate::model::drbd::{Superblock, device_flag};
use crate::model::evidence::LogState;
use crate::model::extent::{Extent, ExtentSet};
use drbd_sys::metadata::{self as sys, al};
use std::collections::BTreeSet;

/// What the log's state is, as far as the superblock tells.
///
/// Experiment (drbdmeta 9.22, v08 with both magics and v09, every combination of the flags below, log with two hot
/// extents): `apply-al` marks the extents exactly when `PRIMARY_IND` is set. `AL_CLEAN`, `CRASHED_PRIMARY`,
/// `AL_DISABLED` and the unclean magic make no difference: `AL_CLEAN` together with `PRIMARY_IND` still replays, and an unclean
/// magic without it only becomes clean. (`CRASHED_PRIMARY` alone means the replay happened at the attach after the
/// crash; leaving the Primary role flushes the bitmap.)
///
/// With `AL_DISABLED` the log proves nothing. The kernel then takes every block of a crashed Primary as out of sync at the
/// next attach, and so do we.
#[must_use]
pub fn log_state(superblock: &Superblock) -> LogState {
    let primary = superblock.has(device_flag::PRIMARY_IND);
    let was_primary = primary || superblock.has(device_flag::CRASHED_PRIMARY);
    if was_primary && superblock.has(device_flag::AL_DISABLED) {
        LogState::Disabled
    } else if primary {
        LogState::Hot
    } else {
        LogState::Clean
    }
}

/// Why a log says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActivityLogError {
    /// Not the size that the superblock says.
    #[error("the activity log is {expected} bytes, not {found}")]
    Length {
        /// What was handed in.
        found: usize,
        /// What the superblock says.
        expected: usize,
    },
    /// Not one block is readable.
    #[error("the activity log is destroyed: none of its {blocks} blocks has the right magic and checksum")]
    Destroyed {
        /// How many blocks there are.
        blocks: usize,
    },
    /// No transaction, and more bad blocks than one torn write explains.
    #[error(
        "the activity log is damaged: {corrupt} of {blocks} blocks are unreadable and no transaction is left"
    )]
    NoTransaction {
        /// Bad blocks.
        corrupt: usize,
        /// All blocks.
        blocks: usize,
    },
}

/// What the log says after replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActivityLog {
    hot: BTreeSet<u32>,
    /// Blocks without the right magic or checksum.
    pub corrupt: usize,
    /// Whether `hot` holds every extent that the log ever told to be hot. If not, everything counts as hot.
    pub complete: bool,
}

/// One valid update transaction, by place.
struct Transaction<'a> {
    number: u32,
    block: &'a [u8],
}

impl Transaction<'_> {
    /// Slots that the context repeats, with their extents.
    fn context(&self) -> impl Iterator<Item = (usize, u32)> + '_ {
        let start = usize::from(be16(self.block, al::CONTEXT_START_SLOT));
        (0..al::CONTEXT_COUNT).map(move |i| (start + i, be32(self.block, al::CONTEXT + 4 * i)))
    }

    /// Slots that change, with their new extents.
    fn updates(&self) -> impl Iterator<Item = (usize, u32)> + '_ {
        (0..al::UPDATES).map(|i| {
            let slot = be16(self.block, al::UPDATE_SLOT_NR + 2 * i);
            (usize::from(slot), be32(self.block, al::UPDATE_EXTENT_NR + 4 * i))
        })
    }

    /// All assignments in the order they take effect.
    fn assignments(&self) -> impl Iterator<Item = (usize, u32)> + '_ {
        self.context().chain(self.updates()).filter(|(slot, _)| *slot < al::MAX_SLOTS)
    }
}

/// What stands in a block of the ring.
enum Block<'a> {
    Initialised,
    Transaction(Transaction<'a>),
    Corrupt,
}

fn classify(block: &[u8]) -> Block<'_> {
    if be32(block, al::MAGIC) != sys::MAGIC_AL || be32(block, al::CRC32C) != checksum(block) {
        Block::Corrupt
    } else if be16(block, al::TRANSACTION_TYPE) == al::TYPE_INITIALIZED {
        Block::Initialised
    } else {
        Block::Transaction(Transaction { number: be32(block, al::TR_NUMBER), block })
    }
}

/// CRC-32C of a transaction with its checksum field as zeros: start value 0, no final inversion.
fn checksum(block: &[u8]) -> u32 {
    let head = block.get(..al::CRC32C).unwrap_or_default();
    let tail = block.get(al::CRC32C + 4..).unwrap_or_default();
    // The crate inverts before and after; starting from !0 undoes the first, ! the last.
    let crc = crc32c::crc32c_append(!0, head);
    !crc32c::crc32c_append(crc32c::crc32c_append(crc, &[0; 4]), tail)
}

/// Index of the block that holds a transaction number.
fn block_of(number: u32, stripes: usize, per_stripe: usize) -> usize {
    let i = number as usize % (stripes * per_stripe).max(1);
    i % stripes.max(1) * per_stripe + i / stripes.max(1)
}

/// Parses and replays the log area of a superblock.
///
/// # Errors
/// [`ActivityLogError`] where drbdmeta, too, finds no usable log.
pub fn parse(area: &[u8], superblock: &Superblock) -> Result<ActivityLog, ActivityLogError> {
    let (stripes, per_stripe) = (superblock.al_stripes as usize, superblock.al_stripe_size_4k as usize);
    let expected = stripes.saturating_mul(per_stripe).saturating_mul(BLOCK);
    if area.len() != expected {
        return Err(ActivityLogError::Length { found: area.len(), expected });
    }
    if be32(area, 0) == sys::MAGIC_AL_PMEM {
        return Ok(persistent_memory(area, superblock.al_extents));
    }
    let blocks: Vec<Block<'_>> = area.chunks_exact(BLOCK).map(classify).collect();
    let corrupt = blocks.iter().filter(|block| matches!(block, Block::Corrupt)).count();
    let (count, none) = (blocks.len(), ActivityLog { hot: BTreeSet::new(), corrupt, complete: true });
    let any = blocks.iter().any(|block| matches!(block, Block::Transaction(_)));
    match (any, corrupt) {
        (true, _) => {}
        (false, corrupt) if corrupt == count => return Err(ActivityLogError::Destroyed { blocks: count }),
        (false, 0 | 1) => return Ok(none),
        (false, corrupt) => return Err(ActivityLogError::NoTransaction { corrupt, blocks: count }),
    }
    Ok(match in_order(&blocks, stripes, per_stripe) {
        Some(order) => {
            let hot = replay(&order);
            let complete = nothing_lost(&blocks, &order, stripes, per_stripe);
            ActivityLog { hot, corrupt, complete }
        }
        None => {
            let mentioned = blocks.iter().filter_map(|block| match block {
                Block::Transaction(transaction) => Some(transaction.assignments()),
                _ => None,
            });
            let hot = mentioned.flatten().map(|(_, extent)| extent).filter(|extent| *extent != al::FREE);
            ActivityLog { hot: hot.collect(), corrupt, complete: corrupt == 0 }
        }
    })
}

/// 9's variant for persistent memory: after the magic one extent per slot, in place.
fn persistent_memory(area: &[u8], slots: u32) -> ActivityLog {
    let table = area.as_chunks::<4>().0.iter().skip(1).take(slots as usize);
    let hot = table.map(|slot| u32::from_be_bytes(*slot)).filter(|extent| *extent != al::FREE).collect();
    ActivityLog { hot, corrupt: 0, complete: true }
}

/// The transactions from oldest to newest, if their numbers fit their places and each other.
fn in_order<'a, 'b>(
    blocks: &'b [Block<'a>],
    stripes: usize,
    per_stripe: usize,
) -> Option<Vec<&'b Transaction<'a>>> {
    let mut order = Vec::new();
    for (at, block) in blocks.iter().enumerate() {
        if let Block::Transaction(transaction) = block {
            if block_of(transaction.number, stripes, per_stripe) != at {
                return None;
            }
            order.push(transaction);
        }
    }
    // Numbers wrap: order them by their distance from any one of them.
    let origin = order.first()?.number;
    order.sort_by_key(|transaction| transaction.number.wrapping_sub(origin).cast_signed());
    let (oldest, newest) = (order.first()?.number, order.last()?.number);
    ((newest.wrapping_sub(oldest) as usize) < blocks.len()).then_some(order)
}

fn replay(order: &[&Transaction<'_>]) -> BTreeSet<u32> {
    let mut table = vec![al::FREE; al::MAX_SLOTS];
    for (slot, extent) in order.iter().flat_map(|transaction| transaction.assignments()) {
        table[slot] = extent;
    }
    table.into_iter().filter(|extent| *extent != al::FREE).collect()
}

/// Whether everything that a bad block may have said is repeated later.
fn nothing_lost(blocks: &[Block<'_>], order: &[&Transaction<'_>], stripes: usize, per_stripe: usize) -> bool {
    let Some(newest) = order.last() else { return false };
    let young = blocks.iter().any(|block| matches!(block, Block::Initialised));
    // Age of the youngest transaction that a bad block can have held, 0 being the newest good one's age. The oldest place
    // of the ring is the next to be written: a bad block there is a torn write, or about to be overwritten anyway.
    let lost = (1..blocks.len() as u32 - 1)
        .filter(|age| !young || *age <= newest.number)
        .map(|age| newest.number.wrapping_sub(age))
        .find(|number| {
            let at = block_of(*number, stripes, per_stripe);
            matches!(blocks.get(at), Some(Block::Corrupt))
        });
    let Some(lost) = lost else { return true };
    let size = order.iter().map(|transaction| be16(transaction.block, al::CONTEXT_SIZE)).max().unwrap_or(0);
    let mut repeated = vec![false; usize::from(size)];
    let later = order.iter().filter(|each| each.number.wrapping_sub(lost).cast_signed() > 0);
    for (slot, _) in later.flat_map(|transaction| transaction.assignments()) {
        if let Some(seen) = repeated.get_mut(slot) {
            *seen = true;
        }
    }
    // Any bad block is older than `lost`, or `lost` itself: what repeats the whole table repeats them all.
    size > 0 && repeated.into_iter().all(|seen| seen)
}

impl ActivityLog {
    /// Numbers of the hot extents, ascending.
    pub fn numbers(&self) -> impl Iterator<Item = u32> + '_ {
        self.hot.iter().copied()
    }

    /// What the hot extents cover, clipped to `data_size` bytes. Numbers beyond it mean nothing (drbdmeta ignores
    /// them with a warning).
    #[must_use]
    pub fn extents(&self, data_size: u64) -> ExtentSet {
        let mut set = ExtentSet::empty();
        for number in &self.hot {
            let start = u64::from(*number) * sys::AL_EXTENT_BYTES;
            if start < data_size {
                set.push(Extent::between(start, (start + sys::AL_EXTENT_BYTES).min(data_size)));
            }
        }
        set
    }
}

/// The bytes of a log in which nothing is hot, as `create-md` and `apply-al` write it.
#[must_use]
pub fn initial(superblock: &Superblock) -> Vec<u8> {
    let mut block = [0; BLOCK];
    block[al::MAGIC..al::MAGIC + 4].copy_from_slice(&sys::MAGIC_AL.to_be_bytes());
    block[al::TRANSACTION_TYPE..al::TRANSACTION_TYPE + 2]
        .copy_from_slice(&al::TYPE_INITIALIZED.to_be_bytes());
    let crc = checksum(&block);
    block[al::CRC32C..al::CRC32C + 4].copy_from_slice(&crc.to_be_bytes());
    block.repeat((superblock.al_stripes as usize).saturating_mul(superblock.al_stripe_size_4k as usize))
}

/// One update transaction to be written: some slots get new extents, and a window of the table is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Update<'a> {
    /// Its number, counted since the log was initialised.
    pub number: u32,
    /// Slots and their new extents; only the first [`al::UPDATES`] can be told.
    pub changes: &'a [(u16, u32)],
    /// Every slot's extent before the changes, [`al::FREE`] where there is none.
    pub table: &'a [u32],
    /// First slot of the window.
    pub window: u16,
}

/// The block of a transaction, as kernels write it.
#[must_use]
pub fn encode(update: &Update<'_>) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    let changes = update.changes.get(..al::UPDATES).unwrap_or(update.changes);
    put(al::MAGIC, &sys::MAGIC_AL.to_be_bytes());
    put(al::TR_NUMBER, &update.number.to_be_bytes());
    put(al::TRANSACTION_TYPE, &al::TYPE_UPDATE.to_be_bytes());
    put(al::N_UPDATES, &u16::try_from(changes.len()).unwrap_or(0).to_be_bytes());
    put(al::CONTEXT_SIZE, &u16::try_from(update.table.len()).unwrap_or(u16::MAX).to_be_bytes());
    put(al::CONTEXT_START_SLOT, &update.window.to_be_bytes());
    for i in 0..al::UPDATES {
        let (slot, extent) = changes.get(i).copied().unwrap_or((al::NO_SLOT, al::FREE));
        put(al::UPDATE_SLOT_NR + 2 * i, &slot.to_be_bytes());
        put(al::UPDATE_EXTENT_NR + 4 * i, &extent.to_be_bytes());
    }
    let window = update.table.iter().skip(usize::from(update.window)).chain(std::iter::repeat(&al::FREE));
    for (i, extent) in window.take(al::CONTEXT_COUNT).enumerate() {
        put(al::CONTEXT + 4 * i, &extent.to_be_bytes());
    }
    let crc = checksum(&block);
    block[al::CRC32C..al::CRC32C + 4].copy_from_slice(&crc.to_be_bytes());
    block
}

/// The bytes of a log to which these transactions (slots and their new extents) were written since it was initialised.
/// The table has as many slots as the superblock says; slots beyond it are left out.
#[must_use]
pub fn written(superblock: &Superblock, transactions: &[&[(u16, u32)]]) -> Vec<u8> {
    let (stripes, per_stripe) = (superblock.al_stripes as usize, superblock.al_stripe_size_4k as usize);
    let slots = (superblock.al_extents as usize).min(al::MAX_SLOTS);
    let (mut area, mut table, mut window) = (initial(superblock), vec![al::FREE; slots], 0);
    for (number, changes) in (0..).zip(transactions) {
        let changes: Vec<(u16, u32)> =
            changes.iter().copied().filter(|(slot, _)| usize::from(*slot) < slots).collect();
        let start = u16::try_from(window).unwrap_or(0);
        let block = encode(&Update { number, changes: &changes, table: &table, window: start });
        let at = block_of(number, stripes, per_stripe) * BLOCK;
        if let Some(place) = area.get_mut(at..at + BLOCK) {
            place.copy_from_slice(&block);
        }
        for (slot, extent) in changes {
            table[usize::from(slot)] = extent;
        }
        // The window goes round the table, so that a full round repeats all of it.
        window = if window + al::CONTEXT_COUNT < slots { window + al::CONTEXT_COUNT } else { 0 };
    }
    area
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::drbdmeta::create::{Wanted, create};
    use crate::model::drbd::MetadataFormat;

    fn superblock(stripes: u32) -> Superblock {
        let wanted = Wanted { al_stripes: stripes, ..Wanted::internal(MetadataFormat::V09, 64 << 20) };
        Superblock { al_extents: 1237, ..create(&wanted, false).unwrap().superblock }
    }

    fn hot(area: &[u8], superblock: &Superblock) -> Vec<u32> {
        let log = parse(area, superblock).unwrap();
        assert_eq!((log.corrupt, log.complete), (0, true));
        log.numbers().collect()
    }

    #[test]
    fn what_is_written_is_replayed() {
        let sb = superblock(1);
        assert_eq!(hot(&written(&sb, &[]), &sb), [0; 0]);
        assert_eq!(hot(&written(&sb, &[&[(1236, 7), (1235, 3)]]), &sb), [3, 7]);
        // Slot 1236 goes over to another extent; a slot outside the table does not count.
        assert_eq!(hot(&written(&sb, &[&[(1236, 7), (1235, 3)], &[(1236, 9), (2000, 5)]]), &sb), [3, 9]);
    }

    #[test]
    fn the_ring_goes_round() {
        for stripes in [1, 3] {
            let sb = superblock(stripes);
            let history: Vec<[(u16, u32); 1]> = (0..61).map(|n| [(n % 5, u32::from(n))]).collect();
            let history: Vec<&[(u16, u32)]> = history.iter().map(|each| &each[..]).collect();
            assert_eq!(hot(&written(&sb, &history), &sb), [56, 57, 58, 59, 60]);
        }
    }

    /// The numbers of transactions are 32 bits and go round: what comes after the highest is newer than it. Taken for older, the log
    /// would count as out of order, and every extent that it ever mentions as hot.
    #[test]
    fn the_numbers_go_round() {
        for stripes in [1, 2] {
            let sb = superblock(stripes);
            for newest in [0u32, 1, 2] {
                let (mut area, mut table) = (initial(&sb), vec![al::FREE; 1237]);
                for age in (0..4u32).rev() {
                    let number = newest.wrapping_sub(age);
                    let changes = [(5, 40 - age)];
                    let block = encode(&Update { number, changes: &changes, table: &table, window: 0 });
                    let at = block_of(number, stripes as usize, 8) * BLOCK;
                    area[at..at + BLOCK].copy_from_slice(&block);
                    table[5] = 40 - age;
                }
                // Slot 5 had four extents, one after the other; the last is hot.
                assert_eq!(hot(&area, &sb), [40], "newest: {newest}");
            }
        }
    }

    #[test]
    fn a_flipped_bit_is_found() {
        let sb = superblock(1);
        for at in [0, 5, 9, 13, 40, 170, BLOCK - 1] {
            let mut area = written(&sb, &[&[(0, 1)], &[(1, 2)]]);
            area[BLOCK + at] ^= 4;
            assert_eq!(parse(&area, &sb).unwrap().corrupt, 1, "byte {at}");
        }
    }
}
