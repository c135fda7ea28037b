#![no_main]
//! Any bytes as a stored plan, of this version or of version 1: reading and auditing it must never panic, and what passes
//! the audit must keep its promises about order.

use unsplit::format::plan_v1;
use unsplit::judge::audit::{unseal_of_version_1, unseal_stored};
use unsplit::model::id::Digest;
use unsplit::model::plan::Plan;
use unsplit::model::stage::Stage;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let present = serde_json::from_slice::<Plan>(data);
    let unseal = if present.is_ok() { unseal_stored } else { unseal_of_version_1 };
    let plan = present
        .or_else(|_| serde_json::from_slice(data).map(plan_v1::Images::into_plan))
        .or_else(|_| serde_json::from_slice(data).map(plan_v1::Running::into_plan));
    let Ok(plan) = plan else { return };
    // The canonical form of a plan is JSON on one line.
    let Ok(mut bytes) = serde_json::to_vec(&plan) else { return };
    bytes.push(b'\n');
    let digest = Digest(*blake3::hash(&bytes).as_bytes());
    let again: Plan = serde_json::from_slice(&bytes).expect("what was written can be read");
    assert!(again == plan, "a plan changes on its way through its canonical form");
    let Ok(sealed) = unseal(plan, digest) else { return };
    let steps = sealed.plan().steps();
    let first = |stage: Stage| steps.iter().position(|step| step.stage == stage).expect("it has the stage");
    assert!(
        first(Stage::CheckBasis) < first(Stage::Overwrite),
        "sealed, although it overwrites before it checks"
    );
    assert!(sealed.plan().kind().is_some(), "sealed, although its ground is of other volumes");
});
