//! From a verdict to ordered, concrete steps with no choices left.

use crate::judge::aftermath::after_resync;
use crate::model::delta::{Delta, Scope};
use crate::model::evidence::Evidence;
use crate::model::extent::ExtentSet;
use crate::model::id::ResourceName;
use crate::model::plan::images::{Ground, ImagesPlan, RawBlock, SideBasis, Step};
use crate::model::plan::{self, Plan, Purpose, UnitLoss, VERSION, VolumePlan};
use crate::model::side::{Pair, Side};
use crate::model::size::human;
use crate::model::verdict::Trace;

/// What a plan is drawn from.
#[derive(Debug)]
pub struct Inputs<'a> {
    /// What the pair is called.
    pub resource: ResourceName,
    /// What was read of both sides.
    pub evidence: &'a Pair<Evidence>,
    /// Both superblocks as they stand on disk.
    pub superblocks: Pair<RawBlock>,
    /// What differs.
    pub delta: &'a Delta,
    /// Whose data is kept.
    pub survivor: Side,
    /// Whether the victim's content is kept first.
    pub salvage: bool,
    /// Whether the last step compares the whole volume.
    pub full: bool,
    /// What each unit would lose.
    pub losses: Vec<UnitLoss>,
    /// Why this survivor.
    pub trace: Trace,
}

/// Why no plan can be drawn, although the verdict says heal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Undrawable {
    /// Blocks could not be read: what cannot be read can be neither kept nor copied.
    #[error(
        "{count} extents ({bytes}) on side {side} cannot be read, the first at byte {first}: {why}. \
         What cannot be read can be neither kept nor copied: image that disk with ddrescue first and use the copy"
    )]
    Unreadable {
        /// Whose disk.
        side: Side,
        /// How many extents.
        count: usize,
        /// How many bytes, for people.
        bytes: String,
        /// First byte.
        first: u64,
        /// What the first read said.
        why: String,
    },
    /// The two sides have different sizes.
    #[error(
        "side a holds {a} bytes of replicated data and side b {b}: DRBD would not connect them as they are. \
         Resize the smaller backing device, or check that these are the right pair"
    )]
    Sizes {
        /// Bytes on side A.
        a: u64,
        /// Bytes on side B.
        b: u64,
    },
}

/// Draws the plan that makes the victim equal to the survivor.
///
/// # Errors
/// [`Undrawable`].
pub fn draw(inputs: Inputs<'_>) -> Result<Plan, Undrawable> {
    let Inputs { resource, evidence, superblocks, delta, survivor, salvage, full, losses, trace } = inputs;
    if let Some(first) = delta.unreadable.first() {
        let same: Vec<_> = delta.unreadable.iter().filter(|bad| bad.side == first.side).collect();
        return Err(Undrawable::Unreadable {
            side: first.side,
            count: same.len(),
            bytes: human(same.iter().map(|bad| bad.extent.len).sum()),
            first: first.extent.start,
            why: first.why.to_string(),
        });
    }
    let sectors = evidence.as_ref().map(|side| side.superblock.effective_size);
    if sectors.a != sectors.b {
        return Err(Undrawable::Sizes { a: sectors.a * 512, b: sectors.b * 512 });
    }
    let victim = survivor.other();
    let aftermath = after_resync(&evidence[survivor].superblock, &evidence[victim].superblock);
    let metadata = match survivor {
        Side::A => Pair::new(aftermath.survivor, aftermath.victim),
        Side::B => Pair::new(aftermath.victim, aftermath.survivor),
    };
    let bytes = delta.differs.bytes();
    let basis = Pair::from_fn(|side| SideBasis {
        superblock: superblocks[side].clone(),
        area: evidence[side].area_digest,
        content: delta.content[side],
    });
    let steps = vec![
        Step::Quiesce,
        Step::CheckBasis,
        Step::Preserve { bytes },
        Step::MarkInconsistent { side: victim },
        Step::Overwrite { side: victim, bytes },
        // Nothing says that they agree before that is proven: a cut at any moment leaves a pair that DRBD would sync,
        // or refuse to connect.
        Step::VerifyContent { full },
        Step::SettleMetadata { side: victim },
        Step::SettleMetadata { side: survivor },
        Step::VerifyRelation,
        Step::Record,
    ];
    let compared = Some(match delta.scope {
        Scope::Everything => ExtentSet::whole(delta.size),
        Scope::Candidates => delta.marked.a.union(&delta.marked.b).union(&delta.differs),
    });
    let common_base = delta.marks_complete;
    Ok(Plan {
        version: VERSION,
        purpose: Purpose::Heal,
        resource,
        names: evidence.as_ref().map(|side| side.name.clone()),
        survivor,
        salvage,
        volumes: vec![VolumePlan {
            number: 0,
            at: evidence.as_ref().map(|side| side.source.clone()),
            size: delta.size,
            overwrite: delta.differs.clone(),
            losses,
            doubtful: delta.doubtful(victim).bytes(),
        }],
        ground: plan::Ground::Images(Ground { basis, compared, metadata, common_base, steps }),
        trace,
    })
}

/// Draws the plan that puts back what `healed` overwrote. Its basis is what that healing left behind.
///
/// `present` are both superblocks as they stand on disk now, `areas` the digests of both metadata areas now.
#[must_use]
pub fn draw_undo(
    healed: ImagesPlan<'_>,
    incident: crate::model::id::IncidentId,
    present: Pair<RawBlock>,
    areas: Pair<crate::model::id::Digest>,
) -> Plan {
    let (survivor, victim) = (healed.survivor, healed.victim());
    let bytes = healed.bytes();
    // After the healing both sides held the survivor's bytes.
    let content = healed.ground.basis[survivor].content;
    let mut trace = healed.trace.clone();
    trace.push(
        "undo",
        format!("incident {incident} overwrote {} on {}", human(bytes), healed.names[victim]),
        format!("put back what {} held, and both sides' metadata, as they were", healed.names[victim]),
    );
    let basis =
        Pair::from_fn(|side| SideBasis { superblock: present[side].clone(), area: areas[side], content });
    let steps = vec![
        Step::Quiesce,
        Step::CheckBasis,
        Step::MarkInconsistent { side: victim },
        Step::Overwrite { side: victim, bytes },
        // Until then the victim stays Inconsistent.
        Step::VerifyContent { full: false },
        Step::RestoreMetadata { side: victim },
        Step::RestoreMetadata { side: survivor },
        Step::VerifyRelation,
        Step::Record,
    ];
    Plan {
        purpose: Purpose::Undo { incident },
        volumes: vec![VolumePlan { losses: Vec::new(), doubtful: 0, ..healed.volume.clone() }],
        ground: plan::Ground::Images(Ground { basis, steps, ..healed.ground.clone() }),
        trace,
        ..Plan::clone(&healed)
    }
}
