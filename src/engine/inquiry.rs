//! Observe, compare, diff: everything that is found out before anything is decided. Reads only.

use super::contents;
use crate::digest::compare::CompareError;
use crate::digest::delta::Question;
use crate::digest::link::LinkError;
use crate::judge::lineage::{Handshake, Incomparable, compare_in, view};
use crate::model::delta::{Delta, Scope};
use crate::model::drbd::{MetadataFormat, Superblock};
use crate::model::evidence::Evidence;
use crate::model::extent::ExtentSet;
use crate::model::lineage::{Comparison, Lineage, Relation};
use crate::model::plan::RawBlock;
use crate::model::policy::Settings;
use crate::model::side::{Pair, Side};
use crate::model::size::human;
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
        "side a replicates {a_text} ({a} bytes) and side b {b_text} ({b} bytes): peers of one volume agree on its size. \
         Check that these are the right pair; if one was resized during the split, resize the other before healing"
    )]
    Sizes {
        /// Bytes.
        a: u64,
        /// For people.
        a_text: String,
        /// Bytes.
        b: u64,
        /// For people.
        b_text: String,
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
        "the two sides have no generation in common ({name}): they are unrelated data, or the common history is too old. \
         unsplit will not heal them; `--full` still compares their contents. If they do belong together, keep one and give the other \
         fresh metadata (`drbdadm create-md`), which makes DRBD sync it fully"
    )]
    Unrelated {
        /// The row that said so.
        name: String,
    },
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
    is_a_pair(&superblocks)?;
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
    let comparison = compare_in(lineages.as_ref(), names, settings, &with)?;
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

fn is_a_pair(superblocks: &Pair<Superblock>) -> Result<(), InquiryError> {
    let Pair { a, b } = superblocks;
    // First, because nothing else that differs between two generations means anything.
    if a.format != b.format {
        return Err(Incomparable::Formats { a: a.format, b: b.format }.into());
    }
    if a.device_uuid != 0 && a.device_uuid == b.device_uuid {
        return Err(InquiryError::SameDevice { uuid: a.device_uuid });
    }
    if a.format == MetadataFormat::V09 && b.format == MetadataFormat::V09 && a.node_id == b.node_id {
        return Err(InquiryError::SameNode { id: a.node_id });
    }
    for (side, superblock) in superblocks.iter() {
        if superblock.effective_size == 0 {
            return Err(InquiryError::NeverAttached { side });
        }
    }
    if a.effective_size != b.effective_size {
        let (a, b) = (a.effective_size * 512, b.effective_size * 512);
        return Err(InquiryError::Sizes { a, a_text: human(a), b, b_text: human(b) });
    }
    Ok(())
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
        return Err(InquiryError::Unrelated { name: sight.comparison.name.clone() });
    }
    let size = sight.evidence.a.superblock.effective_size * 512;
    let (marked, doubt) = attribute_marks(&sight.evidence, size);
    let scope = if full || !complete { Scope::Everything } else { Scope::Candidates };
    Ok(Question { size, marked, doubt, marks_complete: complete, scope })
}
