//! A side whose volume stands behind a header that nobody knows: everything would be read and written
//! at wrong places there, and in the end all that was compared would agree.
//!
//! The metadata tells how long such a header can be: as long as the room that it does not account for,
//! which DRBD rounded. So a few blocks of one side are looked for on the other, where they belong and
//! where they would stand behind a header of that length.
//!
//! Fair pairs that come here, and why they pass:
//! - A device that is larger than its peer's, or that DRBD was told to use in part: its blocks are
//!   where they belong, and three of them end the search.
//! - A pair of which one side was made anew, or that never had anything in common: its blocks are
//!   nowhere, or they are not all moved by the same distance.
//! - Volumes of zeros, or that repeat one pattern: such blocks say nothing and are passed over.
//! - A copy inside the volume that starts as far behind its original as there is room: then the
//!   original is where it belongs, too.

use crate::model::side::{Pair, Side};
use crate::model::size::SECTOR;
use crate::ports::disk::{Disk, Stretch};
use std::collections::HashSet;

const BLOCK: u64 = 4096;
/// Blocks that are looked for.
const SAMPLES: usize = 32;
/// Blocks that are read to find those.
const READ: usize = 512;
/// How often is asked where data begins.
const ASKED: usize = 4096;
/// As many blocks where they belong prove the pair.
const IN_PLACE: usize = 3;
/// As many blocks moved by one distance disprove it.
const MOVED: usize = 4;
/// Most that rounding hides of a header's length, in bytes.
const ROUNDED: i64 = 3584;

/// Where a side's volume begins in what was given for it, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shifted {
    /// Whose.
    pub(super) side: Side,
    /// Bytes before the volume.
    pub(super) start: u64,
}

/// Looks for it. `disks` begin where the volumes should and reach as far as can be read; `size` is that of the volume;
/// `room` is what each side's metadata does not account for, where that side may be in doubt at all.
///
/// What cannot be read is passed over: it is found out later, by who has to read all of it.
pub(super) fn find(disks: Pair<&dyn Disk>, size: u64, room: Pair<Option<u64>>) -> Option<Shifted> {
    if room.iter().all(|(_, room)| room.is_none()) {
        return None;
    }
    for from in Side::BOTH {
        let (mut samples, mut in_place) = (Vec::new(), 0);
        for (at, block) in distinct(disks[from], size) {
            in_place += usize::from(read(disks[from.other()], at, BLOCK).is_some_and(|there| there == block));
            if in_place == IN_PLACE {
                return None;
            }
            samples.push((at, block));
        }
        if let Some(found) = moved(disks[from.other()], from, &samples, room) {
            return Some(found);
        }
    }
    None
}

/// The distance by which enough samples are moved on the other side, as the header that would explain it.
fn moved(
    other: &dyn Disk,
    from: Side,
    samples: &[(u64, Vec<u8>)],
    room: Pair<Option<u64>>,
) -> Option<Shifted> {
    let there = from.other();
    // A header there moves the blocks on; one here means that they stand nearer to the beginning there.
    for (side, header) in [(there, room[there]), (from, room[from])] {
        let Some(header) = header.and_then(|room| i64::try_from(room).ok()) else { continue };
        let shifts = (-ROUNDED..=ROUNDED).step_by(512).map(|less| header + less).filter(|shift| *shift > 0);
        let (shifts, sign) = (Vec::from_iter(shifts), if side == there { 1 } else { -1 });
        if let Some(start) = shift(other, samples, &shifts, sign) {
            return Some(Shifted { side, start });
        }
    }
    // Headers of different lengths on both: the one there is longer by the distance, or shorter.
    let (here, behind) = (i64::try_from(room[from]?).ok()?, i64::try_from(room[there]?).ok()?);
    let between = behind - here;
    let shifts = (-ROUNDED..=ROUNDED).step_by(512).map(|less| between + less).filter(|shift| *shift != 0);
    let longer = shift_signed(other, samples, &Vec::from_iter(shifts))?;
    // The distance leaves open how much of each room was lost to rounding. Of all that fits, headers are what is round.
    let fits = (0..=ROUNDED).step_by(512).map(|more| behind - ROUNDED + more).filter(|start| {
        let first = *start - longer;
        *start > 0 && first > 0 && (0..=ROUNDED).contains(&(here - first))
    });
    let start = fits.max_by_key(|start| (start | (start - longer)).trailing_zeros())?;
    Some(Shifted { side: there, start: start.unsigned_abs() / SECTOR * SECTOR })
}

fn shift(other: &dyn Disk, samples: &[(u64, Vec<u8>)], shifts: &[i64], sign: i64) -> Option<u64> {
    let signed: Vec<i64> = shifts.iter().map(|shift| shift * sign).collect();
    shift_signed(other, samples, &signed).map(i64::unsigned_abs)
}

fn shift_signed(other: &dyn Disk, samples: &[(u64, Vec<u8>)], shifts: &[i64]) -> Option<i64> {
    let mut found = vec![0; shifts.len()];
    for (at, block) in samples {
        let places = || shifts.iter().map(|shift| at.checked_add_signed(*shift));
        let (Some(first), Some(last)) = (places().flatten().min(), places().flatten().max()) else {
            continue;
        };
        let Some(window) = window(other, first, last) else { continue };
        for (count, place) in found.iter_mut().zip(places()) {
            let start = place.and_then(|place| usize::try_from(place - first).ok());
            let there = start.and_then(|start| window.get(start..start + block.len()));
            *count += usize::from(there == Some(&block[..]));
        }
    }
    let most = found.iter().zip(shifts).max_by_key(|(count, _)| **count)?;
    (*most.0 >= MOVED).then_some(*most.1)
}

/// The bytes from the first place to the end of a block at the last one, as far as the disk reaches.
fn window(disk: &dyn Disk, first: u64, last: u64) -> Option<Vec<u8>> {
    let end = last.checked_add(BLOCK)?.min(disk.size());
    read(disk, first, end.checked_sub(first)?)
}

fn read(disk: &dyn Disk, at: u64, len: u64) -> Option<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(len).ok()?];
    let inside = at.checked_add(len)? <= disk.size();
    (inside && disk.read_at(at, &mut bytes).is_ok()).then_some(bytes)
}

/// Blocks that differ from each other and do not repeat themselves: half of those that are read stand where data begins, the
/// others are spread over the volume.
fn distinct(disk: &dyn Disk, size: u64) -> impl Iterator<Item = (u64, Vec<u8>)> {
    let size = size.min(disk.size()) / BLOCK * BLOCK;
    let step = (size / (READ as u64 / 2)).max(BLOCK).next_multiple_of(BLOCK);
    let spread = (0..size).step_by(usize::try_from(step).unwrap_or(usize::MAX));
    let mut seen = HashSet::new();
    starts(disk, size)
        .take(READ / 2)
        .chain(spread)
        .take(READ)
        .filter_map(move |at| Some((at, read(disk, at, BLOCK)?)))
        .filter(move |(_, block)| tells(block) && seen.insert(blake3::hash(block)))
        .take(SAMPLES)
}

/// Blocks from where data begins; holes are passed over.
fn starts(disk: &dyn Disk, size: u64) -> impl Iterator<Item = u64> {
    let (mut at, mut asked, mut until) = (0, 0, 0);
    std::iter::from_fn(move || {
        while at < size {
            if at < until {
                at += BLOCK;
                return Some(at - BLOCK);
            }
            asked += 1;
            match disk.stretch(at) {
                _ if asked > ASKED => return None,
                Stretch::Hole(end) => at = end.max(at + 1).next_multiple_of(BLOCK),
                Stretch::Data(end) => until = end.max(at + 1),
            }
        }
        None
    })
}

/// Whether a block would be known again: it does not repeat itself by sectors, as zeros and patterns do.
fn tells(block: &[u8]) -> bool {
    let sector = usize::try_from(SECTOR).unwrap_or(512);
    block.get(sector..).is_some_and(|behind| !block.starts_with(behind))
}
