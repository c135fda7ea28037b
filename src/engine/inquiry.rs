//! Observe, compare, diff: everything that is found out before anything is decided. Reads only.

use super::{contents, pairing};
use crate::digest::compare::CompareError;
use crate::digest::delta::Question;
use crate::digest::link::LinkError;
use crate::judge::lineage::{Handshake, Incomparable, compare_in, shared, view};
use crate::model::delta::{Delta, Scope};
use crate::model::drbd::{DiskState, MetadataFormat, Superblock};
use crate::model::evidence::Evidence;
use crate::model::extent::ExtentSet;
use crate::model::lineage::{Comparison, Lineage, Relation};
use crate::model::plan::images::RawBlock;
use crate::model::policy::Settings;
use crate::model::side::{Pair, Side};
use crate::ports::clock::Clock;
use crate::ports::progress::Progress;
use crate::ports::replica::{Replica, Unseen};

/// What was found out about a pair, short of its contents.
#[derive(Debug)]
pub struct Sight {
    /// What was read of both sides.
    pub evidence: Pair<Evidence>,
    /// Both superblocks as they stand on disk.
    pub superblocks: Pair<RawBlock>,
    /// Both lineages.
    pub lineages: Pair<Lineage>,
    /// What they say of each other.
    pub comparison: Comparison,
}

impl Sight {
    /// State of both disks.
    #[must_use]
    pub fn disks(&self) -> Pair<DiskState> {
        self.lineages.as_ref().map(|lineage| lineage.disk)
    }
}

/// Why a pair cannot be judged.
#[derive(Debug, thiserror::Error)]
pub enum InquiryError {
    /// One side could not be seen.
    #[error("{} cannot be used", side_words(*side, name))]
    Unseen {
        /// Which.
        side: Side,
        /// What it is called.
        name: String,
        /// Why.
        #[source]
        source: Unseen,
    },
    /// Both have the same device UUID.
    #[error(
        "both sides carry the same device UUID {uuid:016X}: they are copies of one node's disk, not the two nodes' disks. \
         Give one image of each node"
    )]
    SameDevice {
        /// The UUID.
        uuid: u64,
    },
    /// Both say they are the same node.
    #[error(
        "both sides say they are node id {id}: they are two images of one node. Give one image of each node"
    )]
    SameNode {
        /// The id.
        id: i32,
    },
    /// The effective sizes differ.
    #[error(
        "side a and side b replicate different sizes, {sizes}: peers of one volume agree on its size. By their generations \
         {told}. Check that these are the right pair. If {larger} was resized during the split, DRBD itself brings {smaller} to the \
         new size when the nodes connect, once {smaller}'s backing device has at least {need} bytes"
    )]
    Sizes {
        /// Both, for people.
        sizes: String,
        /// What the generations say.
        told: &'static str,
        /// The smaller side.
        smaller: Side,
        /// The larger one.
        larger: Side,
        /// Bytes of backing device that the smaller side needs.
        need: u64,
    },
    /// A backing device is larger than when DRBD last used it, and its metadata stands where the end was.
    #[error(
        "side {side}: it was grown from {from} to {to} bytes since DRBD last used it: the superblock stands at byte {at}, where \
         the old end was. DRBD replicates {sizes}. By their generations {told}"
    )]
    Grown {
        /// Which.
        side: Side,
        /// Bytes when DRBD last used it.
        from: u64,
        /// Bytes now.
        to: u64,
        /// Where its superblock stands.
        at: u64,
        /// What the generations say.
        told: &'static str,
        /// Both replicated sizes, for people.
        sizes: String,
    },
    /// One side's metadata stands inside the other side's volume.
    #[error(
        "side {upper} is what stands inside side {lower}'s volume: a stacked resource. {lower} is a device of the lower \
         resource, {upper} one of the upper. Give the upper one of both: on {lower}'s node that is the lower resource's \
         /dev/drbdN, or the first {bytes} bytes of what was given"
    )]
    Stacked {
        /// The side with two superblocks.
        lower: Side,
        /// The other one.
        upper: Side,
        /// Bytes that the lower resource replicates.
        bytes: u64,
    },
    /// One side keeps bitmaps for other nodes only.
    #[error(
        "side {other} says that it is node id {id}, but side {side} keeps bitmaps for node id {known} only: these two were never \
         connected. Give the images of two nodes that were, or compare bytes alone with `unsplit compare`"
    )]
    Strangers {
        /// Who does not know the other.
        side: Side,
        /// Who is not known.
        other: Side,
        /// Its node id.
        id: i32,
        /// The ids that are known.
        known: String,
    },
    /// Both devices hold more than is replicated, by the same room.
    #[error(
        "both sides have {room} bytes more room than the {replicated} that DRBD replicates, and nothing in their metadata \
         explains it: two whole disks in place of their partitions look like this, and two files with a header before the \
         volume"
    )]
    Room {
        /// Bytes.
        room: u64,
        /// Bytes.
        replicated: u64,
    },
    /// What stands on one side stands elsewhere on the other.
    #[error(
        "side {side}'s volume begins at byte {start} of {path}, behind a header: blocks of the other side stand there that \
         much further behind"
    )]
    Shifted {
        /// The side with the header.
        side: Side,
        /// What was given for it.
        path: String,
        /// Bytes before the volume.
        start: u64,
        /// Bytes behind the header, metadata included.
        len: u64,
    },
    /// A side never belonged to a running resource.
    #[error(
        "side {side} was never attached (its metadata is fresh and has no size): there is nothing to compare. \
         Attach it to its resource and let DRBD sync it"
    )]
    NeverAttached {
        /// Which.
        side: Side,
    },
    /// Different generations of metadata.
    #[error(transparent)]
    Incomparable(#[from] Incomparable),
    /// Reading for the comparison failed as a whole.
    #[error("the contents cannot be compared")]
    Compare(#[from] CompareError),
    /// Comparing across a link failed as a whole.
    #[error("the contents cannot be compared across the link")]
    Link(#[from] LinkError),
    /// Unrelated data, and nobody asked for the full comparison.
    #[error(
        "{}. unsplit will not heal them",
        unrelated(name, shared.as_deref())
    )]
    Unrelated {
        /// The row that said so.
        name: String,
        /// A generation that both know all the same, in words.
        shared: Option<String>,
    },
}

fn unrelated(name: &str, shared: Option<&str>) -> String {
    match shared {
        None => format!(
            "the two sides have no generation in common ({name}): they are unrelated data, or the common history is too old"
        ),
        Some(shared) => format!("DRBD takes the two sides for unrelated data ({name}). {shared}"),
    }
}

/// Reads both sides and compares their lineages.
///
/// # Errors
/// [`InquiryError`].
pub fn look(
    replicas: Pair<&dyn Replica>,
    settings: &Settings,
    clock: &dyn Clock,
) -> Result<Sight, InquiryError> {
    let unseen = |side: Side| {
        move |source: Unseen| InquiryError::Unseen { side, name: replicas[side].name().to_string(), source }
    };
    let superblocks = Pair::new(
        replicas.a.superblock().map_err(unseen(Side::A))?,
        replicas.b.superblock().map_err(unseen(Side::B))?,
    );
    let remarks = pairing::check(replicas, &superblocks, settings)?;
    let blocks = Pair::new(
        replicas.a.superblock_block().map_err(unseen(Side::A))?,
        replicas.b.superblock_block().map_err(unseen(Side::B))?,
    );
    let now = clock.now();
    let evidence = Pair::new(
        replicas.a.observe(&superblocks.b, now).map_err(unseen(Side::A))?,
        replicas.b.observe(&superblocks.a, now).map_err(unseen(Side::B))?,
    );
    let lineages = Pair::from_fn(|side| {
        let seen = &evidence[side];
        view(&seen.superblock, peer_id(&superblocks[side.other()]), seen.marks.bits_after_replay, seen.role)
    });
    let names = evidence.as_ref().map(|seen| seen.name.as_str());
    let with = Handshake::newest(lineages.a.format);
    let mut comparison = compare_in(lineages.as_ref(), names, settings, &with)?;
    comparison.quirks.extend(remarks);
    Ok(Sight { evidence, superblocks: blocks, lineages, comparison })
}

/// The node id by which a v09 side's slots name this peer.
fn peer_id(peer: &Superblock) -> Option<i32> {
    (peer.format == MetadataFormat::V09).then_some(peer.node_id)
}

/// `side a`, with the side's name where that says more.
#[must_use]
pub fn side_words(side: Side, name: &str) -> String {
    if name == side.word() { format!("side {side}") } else { format!("side {side} ({name})") }
}

/// Who marked what. A bit in a bitmap is certain. A hot activity log extent of 4 MiB only says that its node *may* have written
/// there shortly before the evidence was taken; where the other side's bitmap is certain, the block is that side's and the hot log
/// is a doubt. Without this, two Primaries' logs would make every block of an extent look like a conflict. The union of the marks
/// stays the same, so nothing is compared less.
fn attribute_marks(evidence: &Pair<Evidence>, size: u64) -> (Pair<ExtentSet>, Pair<ExtentSet>) {
    let certain =
        |side: Side| evidence[side].marks.candidates(size).subtract(&evidence[side].marks.only_hot(size));
    let (mut marked, mut doubt) = (
        Pair::new(ExtentSet::empty(), ExtentSet::empty()),
        Pair::new(ExtentSet::empty(), ExtentSet::empty()),
    );
    for side in Side::BOTH {
        let (hot, theirs) = (evidence[side].marks.only_hot(size), certain(side.other()));
        marked[side] = certain(side).union(&hot.subtract(&theirs));
        doubt[side] = hot.intersect(&theirs);
    }
    (marked, doubt)
}

/// Compares contents: the candidates where the lineages have a common base, everything otherwise or when
/// `full` is asked for.
///
/// # Errors
/// [`InquiryError`].
pub fn diff(
    replicas: Pair<&dyn Replica>,
    sight: &Sight,
    full: bool,
    threads: usize,
    progress: &dyn Progress,
) -> Result<Delta, InquiryError> {
    let question = question(sight, full)?;
    contents::difference(replicas, question, threads, progress)
}

/// What there is to be compared: see [`diff`].
///
/// # Errors
/// [`InquiryError::Unrelated`].
pub fn question(sight: &Sight, full: bool) -> Result<Question, InquiryError> {
    let complete = sight.comparison.common_base;
    if sight.comparison.relation == Relation::Unrelated && !full {
        let names = sight.evidence.as_ref().map(|seen| seen.name.as_str());
        let shared = shared(sight.lineages.as_ref()).map(|known| known.sentence(names));
        return Err(InquiryError::Unrelated { name: sight.comparison.name.clone(), shared });
    }
    let size = sight.evidence.a.superblock.effective_size * 512;
    let (marked, mut doubt) = attribute_marks(&sight.evidence, size);
    if !complete {
        // The bitmaps do not start where the two parted: what a side wrote before its own did is in neither.
        for side in sight.comparison.relation.wrote_apart() {
            doubt[*side] = marked[side.other()].subtract(&marked[*side]);
        }
    }
    let scope = if full || !complete { Scope::Everything } else { Scope::Candidates };
    Ok(Question { size, marked, doubt, marks_complete: complete, scope })
}
