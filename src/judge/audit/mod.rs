//! The audit: an independent reading of a plan before it may run. Shares no code with the planner; it knows the model,
//! the promises, and what the evidence says.
//!
//! The story is audited here, once for every backend: the order of the stages, what stands exactly once, the numbers, the
//! losses, and that all that differs is overwritten. What only a backend knows is in a file of its own: [`images`],
//! [`drbd`].
//!
//! A plan that was just drawn is held against all that it was drawn from. A stored one has only itself: what it tells must
//! be sound and add up. That it still fits the world is looked at when it runs.

pub mod drbd;
pub mod fence;
pub mod images;
#[cfg(feature = "memory-disks")]
pub mod memory;

use crate::model::delta::Delta;
use crate::model::drbd::device_flag;
use crate::model::evidence::{Evidence, Source};
use crate::model::id::{Digest, PlanId};
#[cfg(feature = "memory-disks")]
use crate::model::plan::memory::Observed;
use crate::model::plan::{Kind, Plan, Purpose, Told, VERSION, VolumePlan};
use crate::model::side::{Pair, Side};
use crate::model::stage::Stage;

/// One thing wrong with a plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{rule}: {what}")]
pub struct Finding {
    /// The rule that is broken.
    pub rule: &'static str,
    /// Where and how.
    pub what: String,
}

/// A plan that passed the audit, with its id. Only sealed plans run.
///
/// There is no other way to get one than [`seal`], [`seal_undo`], [`unseal_stored`] and [`unseal_of_version_1`]:
///
/// ```compile_fail,E0451
/// use unsplit::{judge::audit::SealedPlan, model::{id::PlanId, plan::Plan}};
/// fn forge(plan: Plan, id: PlanId) -> SealedPlan {
///     SealedPlan { plan, id }
/// }
/// ```
///
/// while asking the audit compiles:
///
/// ```
/// use unsplit::{judge::audit::{Finding, SealedPlan, unseal_stored}, model::{id::Digest, plan::Plan}};
/// fn ask(plan: Plan, canonical: Digest) -> Result<SealedPlan, Vec<Finding>> {
///     unseal_stored(plan, canonical)
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedPlan {
    plan: Plan,
    id: PlanId,
}

impl SealedPlan {
    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Its identity.
    #[must_use]
    pub fn id(&self) -> PlanId {
        self.id
    }
}

/// What was read of both sides, beside their contents: each backend's own.
#[derive(Debug, Clone, Copy)]
pub enum Looked<'e> {
    /// DRBD's metadata.
    Metadata(&'e Pair<Evidence>),
    /// What memory disks hold.
    #[cfg(feature = "memory-disks")]
    Memory(&'e Pair<Observed>),
}

/// What was found out about one volume.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'e> {
    /// What was read of both sides, beside their contents.
    pub looked: Looked<'e>,
    /// What differs.
    pub delta: &'e Delta,
}

impl<'e> Seen<'e> {
    /// Two replicas of a volume that DRBD replicates.
    #[must_use]
    pub fn of_replicas(evidence: &'e Pair<Evidence>, delta: &'e Delta) -> Seen<'e> {
        Seen { looked: Looked::Metadata(evidence), delta }
    }

    /// DRBD's metadata, and what differs; a finding where there is none.
    fn of_drbd(self, out: &mut Vec<Finding>) -> Option<(&'e Pair<Evidence>, &'e Delta)> {
        let found = self.looked.metadata();
        note(out, "basis", found.is_none(), || "no metadata of DRBD was read".to_owned());
        found.map(|evidence| (evidence, self.delta))
    }
}

impl<'e> Looked<'e> {
    /// Where each side was read.
    fn sources(self) -> Pair<&'e Source> {
        match self {
            Looked::Metadata(evidence) => evidence.as_ref().map(|seen| &seen.source),
            #[cfg(feature = "memory-disks")]
            Looked::Memory(seen) => seen.as_ref().map(|seen| &seen.source),
        }
    }

    /// DRBD's metadata, where there is any.
    #[cfg_attr(not(feature = "memory-disks"), allow(clippy::unnecessary_wraps))]
    fn metadata(self) -> Option<&'e Pair<Evidence>> {
        match self {
            Looked::Metadata(evidence) => Some(evidence),
            #[cfg(feature = "memory-disks")]
            Looked::Memory(_) => None,
        }
    }
}

/// Audits a healing against what it claims to be drawn from: `seen`, one for each volume, in order. `canonical` is the
/// BLAKE3 of the plan's canonical form.
///
/// # Errors
/// Everything that is wrong with it.
pub fn seal(plan: Plan, canonical: Digest, seen: &[Seen<'_>]) -> Result<SealedPlan, Vec<Finding>> {
    let mut out = Vec::new();
    sound(&plan, &mut out);
    drawn(&plan, &mut out);
    note(&mut out, "purpose", plan.purpose != Purpose::Heal, || {
        "only a healing is drawn from a delta".to_owned()
    });
    note(&mut out, "volumes", plan.volumes.len() != seen.len(), || {
        format!("{} volumes were looked at, the plan has {}", seen.len(), plan.volumes.len())
    });
    for (volume, seen) in plan.volumes.iter().zip(seen) {
        against(plan.survivor, volume, *seen, &mut out);
    }
    match plan.kind() {
        Some(Kind::Images(plan)) => images::as_seen(plan, seen, &mut out),
        Some(Kind::Drbd(plan)) => drbd::as_seen(plan, seen, &mut out),
        Some(Kind::Fence(_)) => {}
        #[cfg(feature = "memory-disks")]
        Some(Kind::Memory(plan)) => memory::as_seen(plan, seen, &mut out),
        None => {}
    }
    finish(plan, canonical, out)
}

/// Audits a plan that fences the peer: there is nothing that it could be held against.
///
/// # Errors
/// Everything that is wrong with it.
pub fn seal_fence(plan: Plan, canonical: Digest) -> Result<SealedPlan, Vec<Finding>> {
    let mut out = Vec::new();
    sound(&plan, &mut out);
    note(&mut out, "purpose", plan.purpose != Purpose::Fence, || "this fences nobody".to_owned());
    finish(plan, canonical, out)
}

/// Audits an undo against the healing that it undoes.
///
/// # Errors
/// Everything that is wrong with it.
pub fn seal_undo(plan: Plan, canonical: Digest, healed: &Plan) -> Result<SealedPlan, Vec<Finding>> {
    let mut out = Vec::new();
    sound(&plan, &mut out);
    drawn(&plan, &mut out);
    let undo = matches!(plan.purpose, Purpose::Undo { .. });
    note(&mut out, "purpose", !undo, || "this is no undo".to_owned());
    let about =
        |plan: &Plan| -> Vec<_> { plan.volumes.iter().map(|volume| (volume.number, volume.size)).collect() };
    let same = plan.names == healed.names && about(&plan) == about(healed);
    note(&mut out, "undoes-that", !same, || {
        "the undo is about other sides or other volumes than the healing".to_owned()
    });
    note(&mut out, "undoes-that", plan.survivor != healed.survivor, || {
        format!("the healing kept side {}'s data", healed.survivor)
    });
    for (volume, healed) in plan.volumes.iter().zip(&healed.volumes) {
        let missing = healed.overwrite.subtract(&volume.overwrite).bytes();
        note(&mut out, "puts-all-back", missing > 0, || {
            of(volume, &format!("{missing} bytes that the healing overwrote are not put back"))
        });
    }
    match (plan.kind(), healed.kind()) {
        (Some(Kind::Images(plan)), Some(Kind::Images(healed))) => images::undoes(plan, healed, &mut out),
        (Some(Kind::Drbd(plan)), Some(Kind::Drbd(healed))) => drbd::undoes(plan, healed, &mut out),
        #[cfg(feature = "memory-disks")]
        (Some(Kind::Memory(plan)), Some(Kind::Memory(healed))) => memory::undoes(plan, healed, &mut out),
        _ => note(&mut out, "undoes-that", true, || "the undo is not of the healing's kind".to_owned()),
    }
    finish(plan, canonical, out)
}

/// Audits a plan of this version that was stored: everything that can be told from the plan itself.
///
/// # Errors
/// Everything that is wrong with it.
pub fn unseal_stored(plan: Plan, canonical: Digest) -> Result<SealedPlan, Vec<Finding>> {
    let mut out = Vec::new();
    sound(&plan, &mut out);
    drawn(&plan, &mut out);
    finish(plan, canonical, out)
}

/// The same for a plan that was stored in the form of version 1: some of those verify last. Whoever runs one verifies before
/// it settles all the same.
///
/// # Errors
/// Everything that is wrong with it.
pub fn unseal_of_version_1(plan: Plan, canonical: Digest) -> Result<SealedPlan, Vec<Finding>> {
    let mut out = Vec::new();
    sound(&plan, &mut out);
    finish(plan, canonical, out)
}

fn finish(plan: Plan, canonical: Digest, findings: Vec<Finding>) -> Result<SealedPlan, Vec<Finding>> {
    if findings.is_empty() { Ok(SealedPlan { plan, id: PlanId(canonical) }) } else { Err(findings) }
}

fn of(volume: &VolumePlan, text: &str) -> String {
    format!("volume {}: {text}", volume.number)
}

fn note(out: &mut Vec<Finding>, rule: &'static str, wrong: bool, what: impl FnOnce() -> String) {
    if wrong {
        out.push(Finding { rule, what: what() });
    }
}

/// What every plan must be, whenever it was drawn.
fn sound(plan: &Plan, out: &mut Vec<Finding>) {
    note(out, "schema", plan.version != VERSION, || format!("version {} is not {VERSION}", plan.version));
    note(out, "two-sides", plan.names.a == plan.names.b, || {
        format!("both sides are called {}", plan.names.a)
    });
    let fence = plan.purpose == Purpose::Fence;
    note(out, "volumes", plan.volumes.is_empty() != fence, || match fence {
        true => "a plan that fences the peer is about no volume".into(),
        false => "there is no volume".into(),
    });
    let ascending = plan.volumes.windows(2).all(|pair| pair[0].number < pair[1].number);
    note(out, "volumes", !ascending, || "a volume stands twice, or out of order".into());
    for volume in &plan.volumes {
        let (end, size) = (volume.overwrite.end(), volume.size);
        note(out, "inside", end > size, || of(volume, &format!("overwrites up to byte {end} of {size}")));
        for (side, source) in volume.at.iter() {
            note(out, "inside", size > source.data_size, || {
                let has = source.data_size;
                of(volume, &format!("side {side} has {has} bytes, fewer than the {size} replicated"))
            });
        }
    }
    let steps = plan.ground.steps();
    story(plan, &steps, out);
    numbers(plan, &steps, out);
    match plan.kind() {
        Some(Kind::Images(plan)) => images::sound(plan, out),
        Some(Kind::Drbd(plan)) => drbd::sound(plan, out),
        Some(Kind::Fence(plan)) => fence::sound(plan, out),
        #[cfg(feature = "memory-disks")]
        Some(Kind::Memory(plan)) => memory::sound(plan, out),
        None => note(out, "volumes", true, || "its ground is not of as many volumes as the plan".into()),
    }
}

/// The stages that stand exactly once, and their order.
fn story(plan: &Plan, steps: &[Told], out: &mut Vec<Finding>) {
    let of = |stage: Stage| {
        let steps = steps.iter().enumerate();
        steps.filter(move |(_, told)| told.name.stage == stage).map(|(at, _)| at)
    };
    if plan.purpose == Purpose::Fence {
        let stages: Vec<Stage> = steps.iter().map(|told| told.name.stage).collect();
        note(out, "order", stages != [Stage::Fence], || {
            "the peer is fenced, and nothing else is done".to_owned()
        });
        return;
    }
    let heal = plan.purpose == Purpose::Heal;
    for stage in [Stage::CheckBasis, Stage::Preserve, Stage::Record] {
        let count = of(stage).count();
        let fine = count == 1 || (count == 0 && stage == Stage::Preserve && !heal);
        note(out, "exactly-once", !fine, || {
            format!("a plan comes to {stage:?} exactly once, this one {count} times")
        });
    }
    for stage in [Stage::Quiesce, Stage::Overwrite, Stage::Verify] {
        note(out, "exactly-once", of(stage).next().is_none(), || {
            format!("a plan comes to {stage:?}, this one never")
        });
    }
    let mut after = |earlier: Option<usize>, later: Option<usize>, rule: &'static str, what: &str| {
        let turned = matches!((earlier, later), (Some(earlier), Some(later)) if earlier > later);
        note(out, rule, turned, || what.to_owned());
    };
    let first = of(Stage::Overwrite).next();
    let (check, keep) = (of(Stage::CheckBasis).next(), of(Stage::Preserve).next());
    let last_quiesce = of(Stage::Quiesce).next_back();
    after(last_quiesce, check, "quiesce-first", "the basis is checked before writers are kept out");
    after(last_quiesce, first, "quiesce-first", "something is overwritten before writers are kept out");
    after(check, keep, "stale-evidence", "the copy is taken before the basis is checked");
    after(check, first, "stale-evidence", "something is overwritten before the basis is checked");
    after(keep, first, "discard-before-preserve", "something is overwritten before it is kept");
    let (last, verify) = (of(Stage::Overwrite).next_back(), of(Stage::Verify).next());
    after(last, verify, "verify-last", "it is verified before the last of it is overwritten");
    let end = steps.len();
    note(out, "record-last", of(Stage::Record).next().is_some_and(|at| at + 1 != end), || {
        "steps follow the record".to_owned()
    });
    note(out, "salvage", !heal && !plan.salvage, || {
        "nothing was kept, so nothing can be put back".to_owned()
    });
}

/// Plans of this version go through the stages in their order. Some of version 1 verified last.
fn drawn(plan: &Plan, out: &mut Vec<Finding>) {
    let steps = plan.steps();
    let turned = steps.windows(2).find(|pair| pair[0].stage > pair[1].stage);
    if let Some([first, then]) = turned {
        let what = format!("`{}` comes before `{}`", first.word, then.word);
        out.push(Finding { rule: "order", what });
    }
    if let Some(plan) = plan.images() {
        images::as_drawn(plan, out);
    }
}

/// What a plan tells must add up: a person agreed to these numbers.
fn numbers(plan: &Plan, steps: &[Told], out: &mut Vec<Finding>) {
    let all = plan.bytes();
    for Told { name, bytes } in steps {
        note(out, "numbers", bytes.is_some_and(|bytes| bytes != all), || {
            format!("`{}` says {} bytes, {all} are overwritten", name.word, bytes.unwrap_or(0))
        });
    }
    if plan.purpose != Purpose::Heal {
        return;
    }
    for volume in &plan.volumes {
        let bytes = volume.overwrite.bytes();
        let lost: u64 = volume.losses.iter().fold(0, |sum, unit| {
            let parts = [unit.victim_only, unit.both, unit.survivor_only, unit.unmarked];
            parts.into_iter().fold(sum, u64::saturating_add)
        });
        note(out, "losses", lost != bytes, || {
            of(volume, &format!("the losses told add up to {lost} bytes, {bytes} are overwritten"))
        });
        note(out, "losses", volume.doubtful > bytes, || {
            of(volume, &format!("{} bytes in doubt, {bytes} are overwritten", volume.doubtful))
        });
    }
}

/// One volume of a healing, against what it was drawn from.
fn against(survivor: Side, volume: &VolumePlan, seen: Seen<'_>, out: &mut Vec<Finding>) {
    let Seen { looked, delta } = seen;
    note(out, "everything-that-differs", volume.overwrite != delta.differs, || {
        let missing = delta.differs.subtract(&volume.overwrite).bytes();
        let extra = volume.overwrite.subtract(&delta.differs).bytes();
        let what = format!("{missing} differing bytes are left out and {extra} equal bytes are included");
        of(volume, &what)
    });
    note(out, "unreadable", !delta.unreadable.is_empty(), || {
        of(volume, &format!("{} extents could not be read", delta.unreadable.len()))
    });
    note(out, "inside", volume.size != delta.size, || {
        of(volume, &format!("a plan for {} bytes, {} were compared", volume.size, delta.size))
    });
    note(out, "common-base", !delta.marks_complete && delta.compared != delta.size, || {
        let (compared, size) = (delta.compared, delta.size);
        let what = "the bitmaps have no common base, yet only";
        of(volume, &format!("{what} {compared} of {size} bytes were compared"))
    });
    for (side, at) in looked.sources().iter() {
        note(out, "basis", volume.at[side] != **at, || {
            of(volume, &format!("side {side} was read from another place"))
        });
    }
    let Some(evidence) = looked.metadata() else { return };
    let kept = &evidence[survivor].superblock;
    note(out, "survivor-consistent", !kept.has(device_flag::CONSISTENT), || {
        of(volume, &format!("side {survivor} is Inconsistent: its data is a mixture and cannot be kept"))
    });
}
