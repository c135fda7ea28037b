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
pub mod images;

use crate::model::delta::Delta;
use crate::model::drbd::device_flag;
use crate::model::evidence::{Evidence, Source};
use crate::model::extent::ExtentSet;
use crate::model::id::{Digest, NodeName, PlanId};
use crate::model::live_plan::LivePlan;
use crate::model::plan::{Plan, Purpose, UnitLoss};
use crate::model::side::{Pair, Side};
use crate::model::stage::{Stage, StepName};

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
/// There is no other way to get one than [`seal`], [`seal_undo`] and [`unseal_stored`]:
///
/// ```compile_fail,E0451
/// use unsplit::{judge::audit::Sealed, model::{id::PlanId, plan::Plan}};
/// fn forge(plan: Plan, id: PlanId) -> Sealed<Plan> {
///     Sealed { plan, id }
/// }
/// ```
///
/// while asking the audit compiles:
///
/// ```
/// use unsplit::{judge::audit::{Finding, Sealed, unseal_stored}, model::{id::Digest, plan::Plan}};
/// fn ask(plan: Plan, canonical: Digest) -> Result<Sealed<Plan>, Vec<Finding>> {
///     unseal_stored(plan, canonical)
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed<P> {
    plan: P,
    id: PlanId,
}

/// A plan for two images.
pub type SealedPlan = Sealed<Plan>;
/// A plan for a running resource.
pub type SealedLivePlan = Sealed<LivePlan>;

impl<P> Sealed<P> {
    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &P {
        &self.plan
    }

    /// Its identity.
    #[must_use]
    pub fn id(&self) -> PlanId {
        self.id
    }
}

/// What was found out about one volume.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'e> {
    /// What was read of both sides' metadata.
    pub evidence: &'e Pair<Evidence>,
    /// What differs.
    pub delta: &'e Delta,
}

/// What every plan has, whatever it heals.
#[derive(Debug)]
pub struct Outline<'p> {
    version: u32,
    purpose: &'p Purpose,
    names: &'p Pair<NodeName>,
    survivor: Side,
    salvage: bool,
    /// Each step, and the bytes that it tells.
    steps: Vec<(StepName, Option<u64>)>,
    volumes: Vec<Volume<'p>>,
}

/// One volume of it.
#[derive(Debug)]
pub struct Volume<'p> {
    /// `None` when a plan has one that needs no number.
    number: Option<u32>,
    sources: Pair<&'p Source>,
    size: u64,
    overwrite: &'p ExtentSet,
    losses: &'p [UnitLoss],
    doubtful: u64,
}

impl Volume<'_> {
    fn finding(&self, text: &str) -> String {
        self.number.map_or_else(|| text.to_owned(), |number| format!("volume {number}: {text}"))
    }
}

/// What a backend adds to the audit.
pub trait Audited {
    /// What every plan has.
    fn outline(&self) -> Outline<'_>;
    /// What only this kind of plan must be.
    fn own(&self, out: &mut Vec<Finding>);
    /// What only one that was just drawn must be, besides.
    fn as_drawn(&self, _: &mut Vec<Finding>) {}
    /// Its own part against what it was drawn from: as many as it has volumes, in order.
    fn as_seen(&self, seen: &[Seen<'_>], out: &mut Vec<Finding>);
    /// What of an undo must be as in the healing.
    fn undoes(&self, healed: &Self, out: &mut Vec<Finding>);
}

/// Audits a healing against what it claims to be drawn from: `seen`, one for each volume, in order. `canonical` is the
/// BLAKE3 of the plan's canonical form.
///
/// # Errors
/// Everything that is wrong with it.
pub fn seal<P: Audited>(plan: P, canonical: Digest, seen: &[Seen<'_>]) -> Result<Sealed<P>, Vec<Finding>> {
    let mut out = Vec::new();
    let outline = plan.outline();
    structure(&outline, &mut out);
    drawn(&outline, &mut out);
    note(&mut out, "purpose", *outline.purpose != Purpose::Heal, || {
        "only a healing is drawn from a delta".to_owned()
    });
    note(&mut out, "volumes", outline.volumes.len() != seen.len(), || {
        format!("{} volumes were looked at, the plan has {}", seen.len(), outline.volumes.len())
    });
    for (volume, seen) in outline.volumes.iter().zip(seen) {
        against(outline.survivor, volume, *seen, &mut out);
    }
    plan.own(&mut out);
    plan.as_drawn(&mut out);
    plan.as_seen(seen, &mut out);
    finish(plan, canonical, out)
}

/// Audits an undo against the healing that it undoes.
///
/// # Errors
/// Everything that is wrong with it.
pub fn seal_undo<P: Audited>(plan: P, canonical: Digest, healed: &P) -> Result<Sealed<P>, Vec<Finding>> {
    let mut out = Vec::new();
    let (undo, healing) = (plan.outline(), healed.outline());
    structure(&undo, &mut out);
    drawn(&undo, &mut out);
    note(&mut out, "purpose", *undo.purpose == Purpose::Heal, || "this is no undo".to_owned());
    let about = |outline: &Outline<'_>| -> Vec<_> {
        outline.volumes.iter().map(|volume| (volume.number, volume.size)).collect()
    };
    let same = undo.names == healing.names && about(&undo) == about(&healing);
    note(&mut out, "undoes-that", !same, || {
        "the undo is about other sides or other volumes than the healing".to_owned()
    });
    note(&mut out, "undoes-that", undo.survivor != healing.survivor, || {
        format!("the healing kept side {}'s data", healing.survivor)
    });
    for (volume, healed) in undo.volumes.iter().zip(&healing.volumes) {
        let missing = healed.overwrite.subtract(volume.overwrite).bytes();
        note(&mut out, "puts-all-back", missing > 0, || {
            volume.finding(&format!("{missing} bytes that the healing overwrote are not put back"))
        });
    }
    plan.own(&mut out);
    plan.as_drawn(&mut out);
    plan.undoes(healed, &mut out);
    finish(plan, canonical, out)
}

/// Audits a plan that was stored: everything that can be told from the plan itself.
///
/// # Errors
/// Everything that is wrong with it.
pub fn unseal_stored<P: Audited>(plan: P, canonical: Digest) -> Result<Sealed<P>, Vec<Finding>> {
    let mut out = Vec::new();
    structure(&plan.outline(), &mut out);
    plan.own(&mut out);
    finish(plan, canonical, out)
}

fn finish<P>(plan: P, canonical: Digest, findings: Vec<Finding>) -> Result<Sealed<P>, Vec<Finding>> {
    if findings.is_empty() { Ok(Sealed { plan, id: PlanId(canonical) }) } else { Err(findings) }
}

fn note(out: &mut Vec<Finding>, rule: &'static str, wrong: bool, what: impl FnOnce() -> String) {
    if wrong {
        out.push(Finding { rule, what: what() });
    }
}

fn structure(plan: &Outline<'_>, out: &mut Vec<Finding>) {
    note(out, "schema", plan.version != 1, || format!("version {} is not 1", plan.version));
    note(out, "two-sides", plan.names.a == plan.names.b, || {
        format!("both sides are called {}", plan.names.a)
    });
    for volume in &plan.volumes {
        let (end, size) = (volume.overwrite.end(), volume.size);
        note(out, "inside", end > size, || volume.finding(&format!("overwrites up to byte {end} of {size}")));
        for (side, source) in volume.sources.iter() {
            note(out, "inside", size > source.data_size, || {
                let has = source.data_size;
                volume.finding(&format!("side {side} has {has} bytes, fewer than the {size} replicated"))
            });
        }
    }
    story(plan, out);
    numbers(plan, out);
}

/// The stages that stand exactly once, and their order.
fn story(plan: &Outline<'_>, out: &mut Vec<Finding>) {
    let of = |stage: Stage| {
        let steps = plan.steps.iter().enumerate();
        steps.filter(move |(_, (name, _))| name.stage == stage).map(|(at, _)| at)
    };
    let heal = *plan.purpose == Purpose::Heal;
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
    let end = plan.steps.len();
    note(out, "record-last", of(Stage::Record).next().is_some_and(|at| at + 1 != end), || {
        "steps follow the record".to_owned()
    });
    note(out, "salvage", !heal && !plan.salvage, || {
        "nothing was kept, so nothing can be put back".to_owned()
    });
}

/// Plans that are drawn now go through the stages in their order. Some of earlier versions verified last.
fn drawn(plan: &Outline<'_>, out: &mut Vec<Finding>) {
    let turned = plan.steps.windows(2).find(|pair| pair[0].0.stage > pair[1].0.stage);
    if let Some([(first, _), (then, _)]) = turned {
        let what = format!("`{}` comes before `{}`", first.word, then.word);
        out.push(Finding { rule: "order", what });
    }
}

/// What a plan tells must add up: a person agreed to these numbers.
fn numbers(plan: &Outline<'_>, out: &mut Vec<Finding>) {
    let all = plan.volumes.iter().fold(0u64, |sum, volume| sum.saturating_add(volume.overwrite.bytes()));
    for (name, bytes) in &plan.steps {
        note(out, "numbers", bytes.is_some_and(|bytes| bytes != all), || {
            format!("`{}` says {} bytes, {all} are overwritten", name.word, bytes.unwrap_or(0))
        });
    }
    if *plan.purpose != Purpose::Heal {
        return;
    }
    for volume in &plan.volumes {
        let bytes = volume.overwrite.bytes();
        let lost: u64 = volume.losses.iter().fold(0, |sum, unit| {
            let parts = [unit.victim_only, unit.both, unit.survivor_only, unit.unmarked];
            parts.into_iter().fold(sum, u64::saturating_add)
        });
        note(out, "losses", lost != bytes, || {
            volume.finding(&format!("the losses told add up to {lost} bytes, {bytes} are overwritten"))
        });
        note(out, "losses", volume.doubtful > bytes, || {
            volume.finding(&format!("{} bytes in doubt, {bytes} are overwritten", volume.doubtful))
        });
    }
}

/// One volume of a healing, against what it was drawn from.
fn against(survivor: Side, volume: &Volume<'_>, seen: Seen<'_>, out: &mut Vec<Finding>) {
    let Seen { evidence, delta } = seen;
    note(out, "everything-that-differs", *volume.overwrite != delta.differs, || {
        let missing = delta.differs.subtract(volume.overwrite).bytes();
        let extra = volume.overwrite.subtract(&delta.differs).bytes();
        let what = format!("{missing} differing bytes are left out and {extra} equal bytes are included");
        volume.finding(&what)
    });
    note(out, "unreadable", !delta.unreadable.is_empty(), || {
        volume.finding(&format!("{} extents could not be read", delta.unreadable.len()))
    });
    note(out, "inside", volume.size != delta.size, || {
        volume.finding(&format!("a plan for {} bytes, {} were compared", volume.size, delta.size))
    });
    note(out, "common-base", !delta.marks_complete && delta.compared != delta.size, || {
        let (compared, size) = (delta.compared, delta.size);
        let what = "the bitmaps have no common base, yet only";
        volume.finding(&format!("{what} {compared} of {size} bytes were compared"))
    });
    for (side, seen) in evidence.iter() {
        note(out, "basis", *volume.sources[side] != seen.source, || {
            volume.finding(&format!("side {side} was read from another place"))
        });
    }
    let kept = &evidence[survivor].superblock;
    note(out, "survivor-consistent", !kept.has(device_flag::CONSISTENT), || {
        volume.finding(&format!("side {survivor} is Inconsistent: its data is a mixture and cannot be kept"))
    });
}
