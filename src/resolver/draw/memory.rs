//! From two memory disks to a plan. Nobody marks what is written to them, so a person, or a test, says whom to keep.

use super::{Agreed, Drawn, DrawnPlan, Held};
use crate::digest::delta::{Question, delta};
use crate::engine::memory::basis::observe;
use crate::engine::plans;
use crate::judge::audit::{Looked, Seen};
use crate::judge::planner::memory::draw;
use crate::model::delta::Scope;
use crate::model::extent::ExtentSet;
use crate::model::side::{Pair, Side};
use crate::model::verdict::{Reason, Trace, Verdict};
use crate::ports::memory::MemoryReplica;
use crate::resolver::access::{Access, Choice};
use crate::resolver::desk::{Desk, refuse_while_open};
use crate::resolver::driver::Driver;
use crate::resolver::failure::Failure;

/// Observes, compares, plans, seals; keeps the plan in the state directory.
///
/// # Errors
/// Anything that keeps a plan from being drawn; nobody said whom to keep.
pub(super) fn draw_plan(
    sides: Pair<&dyn MemoryReplica>,
    access: &Access,
    choice: &Choice,
    desk: &Desk,
    by: &mut dyn Driver,
) -> Result<Drawn, Failure> {
    let (threads, progress) = (access.threads(), by.progress());
    let seen = Pair::from_fn(|side| observe(sides[side], threads)).transpose().map_err(Failure::evidence)?;
    refuse_while_open(seen.as_ref().map(|seen| &seen.source), &*desk.store, &desk.journal, &[])?;
    let question = Question {
        size: seen.a.source.data_size.min(seen.b.source.data_size),
        marked: Pair::new(ExtentSet::empty(), ExtentSet::empty()),
        doubt: Pair::new(ExtentSet::empty(), ExtentSet::empty()),
        marks_complete: false,
        scope: Scope::Everything,
    };
    let delta = delta(sides.a.data(), sides.b.data(), question, threads, &*progress);
    let delta = delta.map_err(Failure::evidence)?;
    if delta.differs.is_empty() {
        let trace = reason("all bytes are equal", "there is nothing to heal");
        return Ok(Drawn::Agree(Agreed { trace, seen: delta.coverage() }));
    }
    let Some(survivor) = choice.keep_side(&access.names)? else {
        let trace =
            reason("nothing tells what was written since both were equal", "somebody must say whom to keep");
        let keepable = Side::BOTH.to_vec();
        let (names, seen) = (access.names.clone(), delta.coverage());
        return Ok(Drawn::Held(Box::new(Held { verdict: Verdict::Hold { trace }, names, keepable, seen })));
    };
    let about = (access.resource.clone(), access.names.clone());
    let trace = reason("somebody said whom to keep", access.names[survivor].as_str());
    let plan = draw(about, &seen, &delta, survivor, trace);
    let sealed = plans::seal_healing(plan, &[Seen { looked: Looked::Memory(&seen), delta: &delta }]);
    let sealed = sealed.map_err(Failure::internal)?;
    plans::keep(&*desk.store, &sealed).map_err(Failure::internal)?;
    Ok(Drawn::Sealed(Box::new(DrawnPlan { sealed, auto: false, in_use: None, seen: delta.coverage() })))
}

fn reason(evidence: &str, conclusion: &str) -> Trace {
    let [rule, evidence, conclusion] = ["memory", evidence, conclusion].map(str::to_owned);
    Trace::new(Reason { rule, evidence, conclusion })
}
