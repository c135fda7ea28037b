//! Is this still the pair the plan was drawn for? Fresh evidence against the plan's basis, before anything
//! is overwritten, and, after a cut in the middle, against everything the plan itself may have written.

use crate::digest::content::content_digest;
use crate::engine::before::{BeforeError, Blocks, Noted, sectors, stood};
use crate::engine::contents::{difference, same_within};
use crate::engine::inquiry::{InquiryError, look, question};
use crate::format::drbdmeta::superblock::{encode_into, parse};
use crate::judge::audit::Finding;
use crate::judge::audit::images::{against_basis, against_healing};
use crate::model::drbd::Superblock;
use crate::model::evidence::Source;
use crate::model::extent::{Extent, ExtentSet};
use crate::model::plan::images::{ImagesPlan, RawBlock};
use crate::model::policy::Settings;
use crate::model::salvage::Piece;
use crate::model::seen::{Why, in_words};
use crate::model::side::{Pair, Side};
use crate::model::size::SECTOR;
use crate::ports::clock::Clock;
use crate::ports::disk::{Disk, DiskFault};
use crate::ports::progress::Progress;
use crate::ports::replica::{AreaLeft, Replica, Unseen};
use crate::ports::store::StoreFault;
use crate::proof::preserved::ReadPiece;

/// Largest piece compared at once, in bytes.
const CHUNK: u64 = 1 << 20;

/// Why the world no longer fits the plan.
#[derive(Debug, thiserror::Error)]
pub enum Stale {
    /// It is somewhere else, or has another size.
    #[error("side {side} is not where or what the plan says: it was {was}, now it is {is}")]
    Elsewhere {
        /// Which.
        side: Side,
        /// Then.
        was: String,
        /// Now.
        is: String,
    },
    /// Its superblock changed.
    #[error("side {side}'s DRBD superblock is not as expected: it was attached or edited meanwhile")]
    Superblock {
        /// Which.
        side: Side,
    },
    /// The superblocks that the plan would write do not follow from those it was drawn from.
    #[error("the plan is not sound: {}. Nothing of it runs. Draw a new plan", in_a_row(findings))]
    Unsound {
        /// All that was found.
        findings: Vec<Finding>,
    },
    /// The superblock that the plan holds cannot be read.
    #[error(
        "the plan is not sound: what it holds as side {side}'s superblock is none ({why}). Draw a new plan"
    )]
    NoSuperblock {
        /// Whose.
        side: Side,
        /// What is wrong with it.
        why: String,
    },
    /// Its superblock is not what was written over the one that was found.
    #[error(
        "side {side}'s superblock is not what was written: the device lost the write, or somebody else wrote to it. Do not \
         let the two connect before that is mended"
    )]
    NotWritten {
        /// Which.
        side: Side,
    },
    /// Its bitmap or activity log changed.
    #[error("side {side}'s bitmap or activity log is not as expected: it was written to meanwhile")]
    Area {
        /// Which.
        side: Side,
    },
    /// Its data changed.
    #[error("side {side}'s data is not as expected: it was written to meanwhile")]
    Content {
        /// Which.
        side: Side,
    },
    /// Something differs that did not.
    #[error(
        "{bytes} bytes differ, the first at byte {offset}, that did not when the plan was drawn: a side was written to meanwhile. \
         Draw a new plan"
    )]
    NewDifference {
        /// How many.
        bytes: u64,
        /// The first.
        offset: u64,
    },
    /// It is marked now, and the plan did not compare it.
    #[error(
        "{bytes} bytes are marked as changed, the first at byte {offset}, that the plan did not compare. Draw a new plan"
    )]
    NotCompared {
        /// How many.
        bytes: u64,
        /// The first.
        offset: u64,
    },
    /// Something cannot be read that could.
    #[error("side {side} cannot be read any more at byte {offset}: {why}")]
    NewGap {
        /// Whose.
        side: Side,
        /// Where.
        offset: u64,
        /// What the read said.
        why: Why,
    },
    /// The comparison that the plan was drawn from cannot be made again.
    #[error("the sides cannot be compared again")]
    Incomparable(#[source] Box<InquiryError>),
    /// The victim holds bytes that are in neither copy.
    #[error(
        "side {side} holds data near byte {offset} that is neither the survivor's nor what stood there before: somebody \
         else wrote to it. Nothing more is overwritten. Keep a copy of that device before anything else"
    )]
    Foreign {
        /// Which.
        side: Side,
        /// Where.
        offset: u64,
    },
    /// The victim holds bytes that are not the survivor's, and nobody knows what stood there before.
    #[error(
        "side {side} holds data near byte {offset} that is not the survivor's, and what stood there before is not known: \
         this incident keeps no salvage, and an earlier version began it. Nothing more is overwritten. Keep a copy of that \
         device, end the incident (unsplit resolve --give-up), and draw a new plan"
    )]
    NotNoted {
        /// Which.
        side: Side,
        /// Where.
        offset: u64,
    },
    /// What stood there before cannot be read.
    #[error("what stood on side {side} before cannot be told")]
    Before {
        /// Which.
        side: Side,
        /// Why.
        #[source]
        source: BeforeError,
    },
    /// It could not be looked at.
    #[error("side {side} cannot be seen")]
    Unseen {
        /// Which.
        side: Side,
        /// Why.
        #[source]
        source: Unseen,
    },
    /// It could not be read.
    #[error("side {side} cannot be read")]
    Unreadable {
        /// Which.
        side: Side,
        /// Why.
        #[source]
        source: DiskFault,
    },
}

fn in_a_row(findings: &[Finding]) -> String {
    findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// What a healing would write into both superblocks follows from those that it holds as found. The audit of a stored plan
/// cannot read them.
///
/// # Errors
/// [`Stale::Unsound`], [`Stale::NoSuperblock`].
pub fn sound_metadata(healing: ImagesPlan<'_>) -> Result<(), Stale> {
    let found = Pair::from_fn(|side| {
        let block = &healing.ground.basis[side].superblock;
        parse(&block.0[..]).map_err(|error| Stale::NoSuperblock { side, why: in_words(&error) })
    });
    against_basis(healing, found.transpose()?.as_ref()).map_err(|findings| Stale::Unsound { findings })
}

/// Both sides are exactly as the plan's basis says.
///
/// # Errors
/// [`Stale`].
pub fn as_drawn(
    plan: ImagesPlan<'_>,
    replicas: Pair<&dyn Replica>,
    threads: usize,
    progress: &dyn Progress,
) -> Result<(), Stale> {
    sound_metadata(plan)?;
    for (side, replica) in replicas.iter() {
        same_place(plan, side, *replica)?;
        let unseen = |source| Stale::Unseen { side, source };
        if replica.superblock_block().map_err(unseen)? != plan.ground.basis[side].superblock {
            return Err(Stale::Superblock { side });
        }
        if replica.area_digest().map_err(unseen)? != plan.ground.basis[side].area {
            return Err(Stale::Area { side });
        }
        same_content(plan, side, *replica, threads, progress)?;
    }
    Ok(())
}

/// What the salvage holds.
#[derive(Clone, Copy)]
pub struct Kept<'k> {
    /// The victim's bytes.
    pub data: &'k dyn Disk,
    /// Both sides' metadata blocks: as disks, and which of them are kept.
    pub metadata: Pair<(&'k dyn Disk, &'k ExtentSet)>,
}

/// What is known of the victim as it was before anything was overwritten.
#[derive(Clone, Copy)]
pub enum Was<'k> {
    /// All of it: it was kept.
    Kept(Kept<'k>),
    /// A digest of each sector of its data, and both sides' metadata blocks.
    Noted(&'k Noted<'k>),
    /// Nothing: neither was it kept, nor noted.
    Unknown,
}

/// The same, of one piece.
enum Old {
    Bytes(Vec<u8>),
    Marks(Vec<u8>),
    Unknown,
}

impl Was<'_> {
    /// The blocks of a side's metadata, and which they are; `None` where nobody knows.
    fn metadata(&self, side: Side) -> Option<(&dyn Disk, &ExtentSet)> {
        match self {
            Was::Kept(kept) => Some(kept.metadata[side]),
            Was::Noted(noted) => Some(metadata_of(noted.metadata(side))),
            Was::Unknown => None,
        }
    }

    /// `before`: sectors of the plan's extents that come before this piece.
    fn of(&self, side: Side, before: u64, piece: Extent) -> Result<Old, Stale> {
        match self {
            Was::Kept(kept) => Ok(Old::Bytes(read(kept.data, side, piece)?)),
            Was::Noted(noted) => {
                let unread = |source: StoreFault| Stale::Before { side, source: source.into() };
                Ok(Old::Marks(noted.marks(before, piece).map_err(unread)?))
            }
            Was::Unknown => Ok(Old::Unknown),
        }
    }
}

/// Blocks of a note, as they are compared.
pub(super) fn metadata_of<'n>(blocks: &'n Blocks<'_>) -> (&'n dyn Disk, &'n ExtentSet) {
    (blocks, blocks.kept())
}

/// Nothing differs but what the plan overwrites. A node that is still Primary, or crashed later, can have written where its
/// bits were set and its log was hot already: that changes neither bitmap nor log nor superblock, and where the sides were
/// equal, no digest of the plan covers it. So the comparison is made again, over everything that is marked.
///
/// # Errors
/// [`Stale`].
pub fn nothing_else_differs(
    plan: ImagesPlan<'_>,
    replicas: Pair<&dyn Replica>,
    clock: &dyn Clock,
    threads: usize,
    progress: &dyn Progress,
) -> Result<(), Stale> {
    let failed = |error| Stale::Incomparable(Box::new(error));
    let sight = look(replicas, &Settings::drbd_defaults(), clock).map_err(failed)?;
    let asked = question(&sight, plan.is_full()).map_err(failed)?;
    if let Some(compared) = &plan.ground.compared {
        let unasked = asked.extents().subtract(compared);
        if let Some(first) = unasked.first() {
            return Err(Stale::NotCompared { bytes: unasked.bytes(), offset: first.start });
        }
    }
    let delta = difference(replicas, asked, threads, progress).map_err(failed)?;
    if let Some(gap) = delta.unreadable.first() {
        return Err(Stale::NewGap { side: gap.side, offset: gap.extent.start, why: gap.why.clone() });
    }
    let new = delta.differs.subtract(&plan.volume.overwrite);
    match new.first() {
        Some(first) => Err(Stale::NewDifference { bytes: new.bytes(), offset: first.start }),
        None => Ok(()),
    }
}

/// After a cut in the middle, and before an undo: the survivor's data is as the plan's basis says, what was equal is equal,
/// and whatever else is found could only have been left by this plan or by the healing it undoes.
///
/// `healed` is the healing that `plan` undoes; `None` when `plan` is the healing itself.
/// Of bitmaps and logs only what was kept or noted can be checked.
/// Returns what stands on the victim now, where the plan overwrites.
///
/// # Errors
/// [`Stale`].
pub fn as_left(
    plan: ImagesPlan<'_>,
    healed: Option<ImagesPlan<'_>>,
    replicas: Pair<&dyn Replica>,
    was: Was<'_>,
    threads: usize,
    progress: &dyn Progress,
) -> Result<Vec<Piece>, Stale> {
    let (survivor, victim) = (plan.survivor, plan.victim());
    match healed {
        Some(healed) => against_healing(plan, healed).map_err(|findings| Stale::Unsound { findings })?,
        None => sound_metadata(plan)?,
    }
    for (side, replica) in replicas.iter() {
        same_place(plan, side, *replica)?;
        superblock_known(healed.unwrap_or(plan), side, *replica)?;
    }
    same_content(plan, survivor, replicas[survivor], threads, progress)?;
    still_equal(plan, replicas, threads, progress)?;
    for (side, replica) in replicas.iter() {
        if let Some(blocks) = was.metadata(side) {
            area_known(healed.unwrap_or(plan), side, *replica, blocks)?;
        }
    }
    progress.begin("checking what the interruption left", plan.volume.overwrite.bytes());
    let (mut standing, mut before) = (Vec::new(), 0);
    for piece in plan.volume.overwrite.iter().flat_map(|extent| extent.pieces(CHUNK)) {
        let data = replicas.map(|replica| replica.data());
        standing.push(every_sector_known(victim, data, was, before, piece)?);
        before += sectors(piece);
        progress.advance(piece.len);
    }
    progress.finish();
    Ok(standing)
}

/// What the plan found equal, and so does not overwrite, is equal still: a write there shows in nothing else that is
/// looked at when a run goes on or is undone.
///
/// # Errors
/// [`Stale`].
pub fn still_equal(
    plan: ImagesPlan<'_>,
    replicas: Pair<&dyn Replica>,
    threads: usize,
    progress: &dyn Progress,
) -> Result<(), Stale> {
    let equal = plan.must_agree().subtract(&plan.volume.overwrite);
    let found = same_within(replicas, plan.volume.size, &equal, threads, progress)
        .map_err(|error| Stale::Incomparable(Box::new(error)))?;
    if let Some(gap) = found.unreadable.first() {
        return Err(Stale::NewGap { side: gap.side, offset: gap.extent.start, why: gap.why.clone() });
    }
    match found.differs.first() {
        Some(first) => Err(Stale::NewDifference { bytes: found.differs.bytes(), offset: first.start }),
        None => Ok(()),
    }
}

/// The superblock is one that `healing` found or writes.
///
/// # Errors
/// [`Stale`].
pub fn superblock_known(healing: ImagesPlan<'_>, side: Side, replica: &dyn Replica) -> Result<(), Stale> {
    let present = replica.superblock_block().map_err(|source| Stale::Unseen { side, source })?;
    if could_be(&present, &known_superblocks(healing, side)) {
        Ok(())
    } else {
        Err(Stale::Superblock { side })
    }
}

/// Both superblocks, every byte of them, are what `healing` writes in the end. That a disk says it wrote is no proof.
///
/// # Errors
/// [`Stale`].
pub fn superblocks_written(healing: ImagesPlan<'_>, replicas: Pair<&dyn Replica>) -> Result<(), Stale> {
    for (side, replica) in replicas.iter() {
        let found = replica.superblock_block().map_err(|source| Stale::Unseen { side, source })?;
        let after = &healing.ground.metadata[side].after;
        if found != written_over(&healing.ground.basis[side].superblock, after) {
            return Err(Stale::NotWritten { side });
        }
    }
    Ok(())
}

fn same_place(plan: ImagesPlan<'_>, side: Side, replica: &dyn Replica) -> Result<(), Stale> {
    let was = &plan.volume.at[side];
    // Why it is believed says nothing about where and what it is.
    let is = Source { trust: was.trust, ..replica.source() };
    if *was == is {
        return Ok(());
    }
    let words = |source: &Source| {
        format!(
            "{} ({} bytes, metadata {} at byte {})",
            source.place_words(),
            source.data_size,
            source.place,
            source.superblock_at
        )
    };
    Err(Stale::Elsewhere { side, was: words(was), is: words(&is) })
}

/// A side's bytes in what the plan overwrites are those it was drawn from.
///
/// # Errors
/// [`Stale`].
pub fn same_content(
    plan: ImagesPlan<'_>,
    side: Side,
    replica: &dyn Replica,
    threads: usize,
    progress: &dyn Progress,
) -> Result<(), Stale> {
    let present = replica
        .digest_there(&plan.volume.overwrite, threads)
        .unwrap_or_else(|| content_digest(replica.data(), &plan.volume.overwrite, threads, progress))
        .map_err(|source| Stale::Unreadable { side, source })?;
    if present == plan.ground.basis[side].content { Ok(()) } else { Err(Stale::Content { side }) }
}

/// Every superblock a healing writes, the one it found included. An undo writes none but these, either.
fn known_superblocks(healing: ImagesPlan<'_>, side: Side) -> Vec<RawBlock> {
    let basis = &healing.ground.basis[side].superblock;
    let change = &healing.ground.metadata[side];
    let mut known = vec![basis.clone()];
    known.extend(change.during.iter().chain([&change.after]).map(|written| written_over(basis, written)));
    known
}

/// The block as it stands after `superblock` was written over `basis`.
#[must_use]
pub fn written_over(basis: &RawBlock, superblock: &Superblock) -> RawBlock {
    let mut block = basis.clone();
    encode_into(superblock, &mut block.0);
    block
}

/// A torn write leaves a mixture of sectors, each wholly old or wholly new.
fn could_be(present: &RawBlock, known: &[RawBlock]) -> bool {
    let sector = usize::try_from(SECTOR).unwrap_or(512);
    present.0.chunks(sector).enumerate().all(|(at, found)| {
        known.iter().any(|block| block.0.chunks(sector).nth(at).is_some_and(|candidate| candidate == found))
    })
}

/// Activity log and bitmap are as `healing` found them, or as it leaves them, sector by sector.
///
/// # Errors
/// [`Stale`].
pub fn area_known(
    healing: ImagesPlan<'_>,
    side: Side,
    replica: &dyn Replica,
    (before, blocks): (&dyn Disk, &ExtentSet),
) -> Result<(), Stale> {
    let left = replica
        .area_left(&healing.ground.metadata[side], &healing.volume.overwrite, before, blocks)
        .map_err(|source| Stale::Unseen { side, source })?;
    match left {
        AreaLeft { foreign: None, before } if before == healing.ground.basis[side].area => Ok(()),
        _ => Err(Stale::Area { side }),
    }
}

/// Every sector of `piece` on the `victim` is what it was, or as the other side has it. Returns what stands there.
/// `before`: sectors of the plan's extents that come before this piece.
///
/// # Errors
/// [`Stale`].
pub fn every_sector_known(
    victim: Side,
    data: Pair<&dyn Disk>,
    was: Was<'_>,
    before: u64,
    piece: Extent,
) -> Result<Piece, Stale> {
    let (present, old) = (read(data[victim], victim, piece)?, was.of(victim, before, piece)?);
    let new = read(data[victim.other()], victim.other(), piece)?;
    let sector = usize::try_from(SECTOR).unwrap_or(512);
    for (at, (found, new)) in present.chunks(sector).zip(new.chunks(sector)).enumerate() {
        let known = found == new
            || match &old {
                Old::Bytes(old) => old.chunks(sector).nth(at) == Some(found),
                Old::Marks(marks) => stood(marks, at, found),
                Old::Unknown => false,
            };
        let offset = piece.start + at as u64 * SECTOR;
        match old {
            _ if known => {}
            Old::Unknown => return Err(Stale::NotNoted { side: victim, offset }),
            Old::Bytes(_) | Old::Marks(_) => return Err(Stale::Foreign { side: victim, offset }),
        }
    }
    Ok(ReadPiece::of(piece.start, &present).piece())
}

fn read(disk: &dyn Disk, side: Side, piece: Extent) -> Result<Vec<u8>, Stale> {
    let mut bytes = vec![0; usize::try_from(piece.len).unwrap_or_default()];
    let read = disk.read_at(piece.start, &mut bytes);
    read.map(|()| bytes).map_err(|source| Stale::Unreadable { side, source })
}
