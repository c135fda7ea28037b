#![no_main]
//! Any bytes as a stored plan: reading and auditing it must never panic, and what passes the audit must keep its
//! promises about order.

use unsplit::judge::audit::unseal_stored;
use unsplit::model::id::Digest;
use unsplit::model::plan::{Plan, Step};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(plan) = serde_json::from_slice::<Plan>(data) else { return };
    // The canonical form of a plan is JSON on one line.
    let Ok(mut bytes) = serde_json::to_vec(&plan) else { return };
    bytes.push(b'\n');
    let digest = Digest(*blake3::hash(&bytes).as_bytes());
    let again: Plan = serde_json::from_slice(&bytes).expect("what was written can be read");
    assert!(again == plan, "a plan changes on its way through its canonical form");
    let Ok(sealed) = unseal_stored(plan, digest) else { return };
    let place =
        |is: fn(&Step) -> bool| sealed.plan().steps.iter().position(is).expect("a sealed plan has the step");
    assert!(
        place(|step| *step == Step::CheckBasis) < place(|step| matches!(step, Step::Overwrite { .. })),
        "sealed, although it overwrites before it checks"
    );
});
